# SPDX-License-Identifier: Apache-2.0
"""Transforms without chance, as functions of images [..., channels, height, width] (u8 or floats 0 to 1)."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any

import numpy as np

import tengen as tg


def on_arrays(f: Callable[..., np.ndarray]) -> Callable[..., Any]:
    """Lets a function of arrays take host tensors, too, and give them back."""

    @wraps(f)
    def call(image: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(image, tg.Tensor):
            return f(_checked(f, np.asarray(image)), *args, **kwargs)
        out = np.ascontiguousarray(f(_checked(f, image.detach().numpy()), *args, **kwargs))
        return tg.from_numpy(out if out.flags.writeable else out.copy())

    return call


def _checked(f: Callable, image: np.ndarray) -> np.ndarray:
    if image.ndim < 3 or not (image.dtype == np.uint8 or image.dtype.kind == "f"):
        raise TypeError(f"[{f.__name__}] expected u8 or floats [..., channels, height, width], got {image.dtype} of shape {image.shape}")
    return image


def as_kind(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Floats back in the dtype of an image: u8 rounded and clipped."""
    if like.dtype == np.uint8:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return values.astype(like.dtype, copy=False)


def white(image: np.ndarray) -> float:
    """The value of full brightness."""
    return 255.0 if image.dtype == np.uint8 else 1.0


@on_arrays
def to_float(image: np.ndarray) -> np.ndarray:
    """u8 0 to 255 as f32 0 to 1; floats as they are."""
    return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image


@on_arrays
def normalize(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(x - mean) / std per channel; u8 is scaled to 0 to 1 first. ValueError for a std of 0."""
    x = to_float(image)
    shift, scale = (np.asarray(v, x.dtype).reshape(-1, 1, 1) for v in (mean, std))
    if (scale == 0).any() or any(len(v) not in (1, x.shape[-3]) for v in (shift, scale)):
        raise ValueError(f"[normalize] expected a mean and a std other than 0 for each of {x.shape[-3]} channels, got {mean} and {std}")
    return (x - shift) / scale


@on_arrays
def hflip(image: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[..., ::-1])


@on_arrays
def vflip(image: np.ndarray) -> np.ndarray:
    """Top and bottom exchanged."""
    return np.ascontiguousarray(image[..., ::-1, :])


@on_arrays
def crop(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A part. ValueError where it leaves the image."""
    if top < 0 or left < 0 or top + height > image.shape[-2] or left + width > image.shape[-1]:
        raise ValueError(f"[crop] expected a part of {image.shape[-2]} x {image.shape[-1]}, got rows {top} to {top + height} and "
                         f"columns {left} to {left + width}; pad first")
    return image[..., top:top + height, left:left + width]


def four_paddings(padding: int | Sequence[int]) -> tuple[int, ...]:
    """(left, top, right, bottom) of what pad() takes."""
    p = (padding,) if isinstance(padding, int) else tuple(padding)
    return p * 4 if len(p) == 1 else p * 2 if len(p) == 2 else p


@on_arrays
def pad(image: np.ndarray, padding: int | Sequence[int], fill: float = 0, mode: str = "constant") -> np.ndarray:
    """Rows and columns around: one number, (horizontal, vertical) or (left, top, right, bottom); mode constant, edge,
    reflect or symmetric."""
    left, top, right, bottom = four_paddings(padding)
    widths = [(0, 0)] * (image.ndim - 2) + [(top, bottom), (left, right)]
    options = {"constant_values": fill} if mode == "constant" else {}
    return np.pad(image, widths, mode=mode, **options)


# ---- resampling ------------------------------------------------------------------------------------------------------


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:  # Keys 1981, "Cubic convolution interpolation"
    x = np.abs(x)
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_KERNELS = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}


@lru_cache(64)
def _weights(old: int, new: int, kernel: str, antialias: bool) -> np.ndarray:
    """[new, old]: how much of each old pixel goes into a new one. When shrinking, the kernel is widened by the ratio."""
    function, reach = _KERNELS[kernel]
    ratio = old / new
    scale = max(ratio, 1.0) if antialias else 1.0
    centre = (np.arange(new) + 0.5) * ratio
    first = np.maximum(np.floor(centre - reach * scale + 0.5), 0).astype(int)
    last = np.minimum(np.floor(centre + reach * scale + 0.5), old).astype(int)
    at = np.arange(old)
    w = function((at + 0.5 - centre[:, None]) / scale)
    if antialias:  # what lies outside does not count
        w = np.where((at >= first[:, None]) & (at < last[:, None]), w, 0)
    else:  # what lies outside is the border's pixel
        offsets = np.arange(-int(reach) + 1, int(reach) + 1)
        base = np.floor(centre - 0.5).astype(int)[:, None] + offsets
        w = np.zeros((new, old))
        np.add.at(w, (np.arange(new)[:, None], np.clip(base, 0, old - 1)), function(base + 0.5 - centre[:, None]))
    return (w / w.sum(1, keepdims=True)).astype(np.float32)


def resized_size(old: Sequence[int], size: int | Sequence[int], max_size: int | None = None) -> tuple[int, int]:
    """The size that resize() gives an image of another."""
    if not isinstance(size, int):
        return size[0], size[1]
    h, w = old
    short, long = min(h, w), max(h, w)
    new_short, new_long = size, int(size * long / short)
    if max_size is not None and new_long > max_size:
        new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_long, new_short) if h > w else (new_short, new_long)


@on_arrays
def resize(image: np.ndarray, size: int | Sequence[int], interpolation: str = "bilinear", antialias: bool = True,
           max_size: int | None = None) -> np.ndarray:
    """Another size: (height, width), or one number for the shorter side, the ratio kept (the longer one at most max_size).

    interpolation "nearest", "bilinear" or "bicubic"; antialias widens the kernel when shrinking, as Pillow does.
    """
    h, w = image.shape[-2:]
    new_h, new_w = resized_size((h, w), size, max_size)
    if new_h < 1 or new_w < 1 or interpolation not in ("nearest", *_KERNELS):
        raise ValueError(f"[resize] expected a size of at least 1 x 1 and interpolation nearest, bilinear or bicubic, got "
                         f"{new_h} x {new_w} and {interpolation!r}")
    if (new_h, new_w) == (h, w):
        return image
    if interpolation == "nearest":
        rows = np.minimum(((np.arange(new_h) + 0.5) * h / new_h).astype(int), h - 1)
        columns = np.minimum(((np.arange(new_w) + 0.5) * w / new_w).astype(int), w - 1)
        return image[..., rows[:, None], columns]
    x = image if image.dtype == np.float64 else image.astype(np.float32)
    x = x @ _weights(w, new_w, interpolation, antialias).T
    if image.dtype == np.uint8:  # rounded between the passes, as Pillow does
        x = np.clip(np.rint(x), 0, 255)
    return as_kind(_weights(h, new_h, interpolation, antialias) @ x, image)


@on_arrays
def affine(image: np.ndarray, matrix: Sequence[Sequence[float]], interpolation: str = "nearest", fill: float = 0) -> np.ndarray:
    """Each pixel (x, y) of the result is the image's at matrix @ (x, y, 1), coordinates counted from the centre; `fill`
    outside. matrix [2][3]."""
    h, w = image.shape[-2:]
    m = np.asarray(matrix, np.float64)
    y, x = np.mgrid[:h, :w] - np.array([(h - 1) / 2, (w - 1) / 2]).reshape(2, 1, 1)
    sx = m[0, 0] * x + m[0, 1] * y + m[0, 2] + (w - 1) / 2
    sy = m[1, 0] * x + m[1, 1] * y + m[1, 2] + (h - 1) / 2
    return _sampled("affine", image, sy, sx, interpolation, fill)


def _sampled(name: str, image: np.ndarray, sy: np.ndarray, sx: np.ndarray, interpolation: str, fill: float) -> np.ndarray:
    """The image at rows sy and columns sx."""
    h, w = image.shape[-2:]

    def at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
        return np.where(inside, image[..., np.clip(rows, 0, h - 1), np.clip(columns, 0, w - 1)], np.asarray(fill, image.dtype))

    if interpolation == "nearest":
        return at(np.rint(sy).astype(int), np.rint(sx).astype(int))
    if interpolation != "bilinear":
        raise ValueError(f"[{name}] expected interpolation nearest or bilinear, got {interpolation!r}")
    y0, x0 = np.floor(sy).astype(int), np.floor(sx).astype(int)
    fy, fx = sy - y0, sx - x0
    total = sum(wy * wx * at(y0 + j, x0 + i) for j, wy in ((0, 1 - fy), (1, fy)) for i, wx in ((0, 1 - fx), (1, fx)))
    return as_kind(total, image)


def affine_matrix(angle: float = 0, translate: Sequence[float] = (0, 0), scale: float = 1,
                  shear: Sequence[float] = (0, 0)) -> list[list[float]]:
    """The matrix for affine() that turns an image by `angle` degrees counterclockwise, scales, shears by degrees along x
    and y, and moves it by pixels to the right and down: the inverse of move . turn . shear . scale."""
    a, sx, sy = (math.radians(v) for v in (angle, *shear))
    # Rows and columns point right and down: counterclockwise on the screen is a negative angle here.
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    forward = turn @ np.array([[1, math.tan(sx)], [math.tan(sy), 1]]) * scale
    inverse = np.linalg.inv(forward)
    return np.column_stack([inverse, -inverse @ np.asarray(translate, float)]).tolist()


@on_arrays
def rotate(image: np.ndarray, angle: float, interpolation: str = "nearest", fill: float = 0) -> np.ndarray:
    """Turned about its centre by `angle` degrees counterclockwise; the size stays."""
    return affine(image, affine_matrix(angle), interpolation, fill)


@on_arrays
def perspective(image: np.ndarray, startpoints: Sequence[Sequence[float]], endpoints: Sequence[Sequence[float]],
                interpolation: str = "bilinear", fill: float = 0) -> np.ndarray:
    """Four pixels (x, y) of the image moved to four places, straight lines staying straight; `fill` outside.

    Raises
    ------
    ValueError
        for another number of points, and for three on one line
    """
    m = perspective_matrix(startpoints, endpoints)
    y, x = np.mgrid[:image.shape[-2], :image.shape[-1]]
    u, v, d = np.tensordot(m, np.stack([x, y, np.ones_like(x)]), 1)
    far = d <= 0  # behind the eye
    d = np.where(far, 1, d)
    return _sampled("perspective", image, np.where(far, -9, v / d), np.where(far, -9, u / d), interpolation, fill)


def perspective_matrix(startpoints: Sequence[Sequence[float]], endpoints: Sequence[Sequence[float]]) -> np.ndarray:
    """The matrix [3, 3] that leads from four places (x, y) in the result to four pixels of the image."""
    start, end = (np.asarray(p, np.float64) for p in (startpoints, endpoints))
    if start.shape != (4, 2) or end.shape != (4, 2):
        raise ValueError(f"[perspective] expected four points (x, y) each, got shapes {start.shape} and {end.shape}")
    # (u, v) = ((a x + b y + c) / d, (e x + f y + g) / d), d = i x + j y + 1: two linear equations for each point
    rows = [[x, y, 1, 0, 0, 0, -u * x, -u * y] for (x, y), (u, _) in zip(end, start)]
    rows += [[0, 0, 0, x, y, 1, -v * x, -v * y] for (x, y), (_, v) in zip(end, start)]
    try:
        return np.append(np.linalg.solve(np.array(rows), start.T.ravel()), 1).reshape(3, 3)
    except np.linalg.LinAlgError:
        raise ValueError(f"[perspective] expected points of which no three are on one line, got {start.tolist()} and {end.tolist()}") from None


@on_arrays
def gaussian_blur(image: np.ndarray, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None) -> np.ndarray:
    """Smoothed by the product of two Gaussians of odd sizes (height, width), the border reflected.

    sigma: of both, or (vertical, horizontal); 0.15 size + 0.35 by default. ValueError for even sizes and those that reach
    across the image.
    """
    sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    sigmas = tuple(0.15 * k + 0.35 for k in sizes) if sigma is None else (sigma, sigma) if isinstance(sigma, (int, float)) else tuple(sigma)
    if any(k < 1 or k % 2 == 0 or k // 2 >= n for k, n in zip(sizes, image.shape[-2:])) or any(s <= 0 for s in sigmas):
        raise ValueError(f"[gaussian_blur] expected odd sizes with halves within {image.shape[-2]} x {image.shape[-1]} and sigmas above 0, "
                         f"got {sizes} and {sigmas}")
    x = image if image.dtype == np.float64 else image.astype(np.float32)
    for axis, k, s in zip((-2, -1), sizes, sigmas):
        weights = np.exp(-0.5 * ((np.arange(k) - k // 2) / s) ** 2)
        weights /= weights.sum()
        padded = np.pad(x, [(k // 2, k // 2) if a == x.ndim + axis else (0, 0) for a in range(x.ndim)], "reflect")
        x = sum(x.dtype.type(v) * padded.take(range(i, i + image.shape[axis]), axis) for i, v in enumerate(weights))
    return as_kind(x, image)


# ---- colour ----------------------------------------------------------------------------------------------------------


def blend(image: np.ndarray, other: Any, factor: float) -> np.ndarray:
    """other + factor * (image - other), clipped to what an image may have."""
    x = image.astype(np.float32)
    return as_kind(np.clip(other + np.float32(factor) * (x - other), 0, white(image)), image)


def luma(image: np.ndarray) -> np.ndarray:
    """Brightness by ITU-R BT.601, f32 [..., 1, height, width]; one channel as it is."""
    x = image.astype(np.float32)
    if image.shape[-3] == 1:
        return x
    if image.shape[-3] != 3:
        raise ValueError(f"[grayscale] expected 1 or 3 channels, got {image.shape[-3]}")
    r, g, b = x[..., 0, :, :], x[..., 1, :, :], x[..., 2, :, :]
    return (np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b)[..., None, :, :]


@on_arrays
def grayscale(image: np.ndarray, channels: int = 1) -> np.ndarray:
    """Brightness alone (ITU-R BT.601), in 1 or 3 equal channels."""
    return np.repeat(as_kind(luma(image), image), channels, axis=-3)


@on_arrays
def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Towards black (0) or beyond itself (above 1)."""
    return blend(image, np.float32(0), factor)


@on_arrays
def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Towards its mean brightness (0) or away from it (above 1)."""
    gray = luma(image)
    if image.dtype == np.uint8:
        gray = np.rint(gray)
    mean = gray.mean(axis=(-3, -2, -1), keepdims=True, dtype=np.float64).astype(np.float32)
    return blend(image, np.floor(mean + 0.5) if image.dtype == np.uint8 else mean, factor)


@on_arrays
def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Towards gray (0) or away from it (above 1)."""
    gray = luma(image)
    return blend(image, np.rint(gray) if image.dtype == np.uint8 else gray, factor)


@on_arrays
def adjust_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Colours moved around the circle by `shift` of a turn, -0.5 to 0.5, in HSV; one channel stays."""
    if not -0.5 <= shift <= 0.5:
        raise ValueError(f"[adjust_hue] expected a shift between -0.5 and 0.5, got {shift}")
    if image.shape[-3] == 1:
        return image
    x = image.astype(np.float32) / np.float32(white(image))
    r, g, b = x[..., 0, :, :], x[..., 1, :, :], x[..., 2, :, :]
    high, low = x.max(-3), x.min(-3)
    span = high - low
    safe = np.where(span > 0, span, 1)
    hue = np.where(high == r, (g - b) / safe, np.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe)) / 6
    hue = (hue + np.float32(shift)) % 1
    saturation = np.where(high > 0, span / np.where(high > 0, high, 1), 0)
    # A channel is at its floor for a third of the circle, at its peak for another, and linear between.
    out = [high * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
           for k in ((n + hue * 6) % 6 for n in (5, 3, 1))]
    return as_kind(np.stack(out, axis=-3) * np.float32(white(image)), image)


@on_arrays
def invert(image: np.ndarray) -> np.ndarray:
    """White minus the image."""
    return image.dtype.type(white(image)) - image


@on_arrays
def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """What is at least `threshold` bright is inverted."""
    return np.where(image >= threshold, invert(image), image)


@on_arrays
def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Only the highest `bits` of 8 stay."""
    levels = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8) if image.dtype != np.uint8 else image
    out = levels & np.uint8(256 - (1 << (8 - bits)))
    return out if image.dtype == np.uint8 else (out / 255).astype(image.dtype)


@on_arrays
def autocontrast(image: np.ndarray) -> np.ndarray:
    """Each channel stretched to the whole range; a channel of one value stays."""
    x = image.astype(np.float32)
    low, high = x.min((-2, -1), keepdims=True), x.max((-2, -1), keepdims=True)
    flat = high == low
    out = (x - low) * (np.float32(white(image)) / np.where(flat, 1, high - low))
    if image.dtype == np.uint8:  # as Pillow: truncated
        return np.where(flat, image, np.floor(out + 1e-3).clip(0, 255)).astype(np.uint8)
    return np.where(flat, image, out).astype(image.dtype)


@on_arrays
def equalize(image: np.ndarray) -> np.ndarray:
    """Each channel's histogram made as flat as 256 levels allow (the last filled level does not count, as in Pillow)."""
    levels = image if image.dtype == np.uint8 else np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    flat = levels.reshape(-1, *levels.shape[-2:])
    out = np.empty_like(flat)
    for plane, to in zip(flat, out):
        counts = np.bincount(plane.ravel(), minlength=256)
        filled = counts[counts > 0]
        step = (filled.sum() - filled[-1]) // 255
        if len(filled) <= 1 or step == 0:
            to[:] = plane
            continue
        table = (step // 2 + np.concatenate([[0], np.cumsum(counts)[:-1]])) // step
        to[:] = np.minimum(table, 255).astype(np.uint8)[plane]
    out = out.reshape(levels.shape)
    return out if image.dtype == np.uint8 else (out / 255).astype(image.dtype)


@on_arrays
def adjust_sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """Towards smoothed (0) or away from it (above 1); the smoothing is 3 x 3 of ones with 5 in the middle, the border
    stays."""
    x = image.astype(np.float32)
    if min(image.shape[-2:]) < 3:
        return image
    total = sum(x[..., i:x.shape[-2] - 2 + i, j:x.shape[-1] - 2 + j] for i in range(3) for j in range(3))
    smooth = x.copy()
    inner = (total + 4 * x[..., 1:-1, 1:-1]) / np.float32(13)
    smooth[..., 1:-1, 1:-1] = np.floor(inner + 0.5) if image.dtype == np.uint8 else inner
    return blend(image, smooth, factor)
