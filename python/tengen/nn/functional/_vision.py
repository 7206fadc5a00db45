# SPDX-License-Identifier: Apache-2.0
"""Resampling, sampling grids, shuffles, and windows as columns."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from ._arguments import sizes
from ._pool import adaptive_avg_pool_op

__all__ = [
    "affine_grid", "channel_shuffle", "fold", "grid_sample", "interpolate", "pixel_shuffle", "pixel_unshuffle", "unfold",
    "upsample", "upsample_bilinear",
]

# mode: the op's, and how many spatial axes it takes (None: any)
_MODES = {
    "nearest": ("nearest", None), "nearest-exact": ("nearest-exact", None), "linear": ("linear", 1),
    "bilinear": ("linear", 2), "trilinear": ("linear", 3), "bicubic": ("cubic", 2), "area": ("area", None),
}


def interpolate(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                antialias: bool = False) -> Any:
    """Resamples the spatial axes of [N, C, s...].

    Parameters
    ----------
    input : Tensor
    size : int or tuple
        Spatial sizes of the result. Either this or scale_factor.
    scale_factor : float or tuple
        Sizes are floor(size * factor); places follow from the factor itself unless recompute_scale_factor.
    mode : str
        nearest, nearest-exact, area (any number of spatial axes), linear (1), bilinear (2), bicubic (2), trilinear (3).
    align_corners : bool, optional
        The outermost elements' centres, not the borders, keep their places; for the linear and cubic modes.
    recompute_scale_factor : bool, optional
    antialias : bool
        Average over what an element of the result covers; for bilinear and bicubic.

    Examples
    --------
    >>> tg.nn.functional.interpolate(tg.tensor([[[1.0, 2.0]]]), scale_factor=2).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """
    op, rank = "interpolate", input.ndim - 2
    if mode not in _MODES:
        raise ValueError(f"[{op}] expected mode to be one of {', '.join(_MODES)}, got {mode!r}")
    kind, axes = _MODES[mode]
    if rank not in (1, 2, 3) or (axes is not None and rank != axes):
        raise ValueError(f"[{op}] expected {'3 to 5' if axes is None else axes + 2} dimensions for mode {mode!r}, got "
                         f"shape {tuple(input.shape)}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"[{op}] expected either size or scale_factor, got {size!r} and {scale_factor!r}")
    if align_corners is not None and kind not in ("linear", "cubic"):
        raise ValueError(f"[{op}] expected align_corners for linear and cubic modes only, got mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"[{op}] expected antialias for bilinear and bicubic only, got mode {mode!r}")
    factors = None
    if size is None:
        factors = (scale_factor,) * rank if isinstance(scale_factor, (int, float)) else tuple(scale_factor)
        if len(factors) != rank or any(not f > 0 for f in factors):
            raise ValueError(f"[{op}] expected a factor above 0 or {rank} of them, got {scale_factor!r}")
        size = tuple(math.floor(n * f) for n, f in zip(input.shape[2:], factors))
        if recompute_scale_factor:
            factors = None
    elif recompute_scale_factor:
        raise ValueError(f"[{op}] recompute_scale_factor needs scale_factor, got size {size!r}")
    size = sizes(size, rank, op, "size", 1)
    if kind == "area":
        return adaptive_avg_pool_op(input, size, rank)
    return tg.interpolate(input, size, kind, bool(align_corners), antialias, factors)


def upsample(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
             align_corners: bool | None = None) -> Any:
    """interpolate under its older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """interpolate with mode bilinear and aligned corners, under its older name."""
    return interpolate(input, size, scale_factor, "bilinear", True)


def grid_sample(input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Any:
    """input[N, C, H, W] (or with D) at grid[N, h, w, 2]'s places, which run from -1 to 1: (x, y) or (x, y, z)."""
    return tg.grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The grid of affine maps theta[N, 2, 3] (or [N, 3, 4]) for an output of `size`, for grid_sample."""
    return tg.affine_grid(theta, tuple(size), bool(align_corners))


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """[..., C r^2, H, W] to [..., C, H r, W r]."""
    return tg.pixel_shuffle(input, upscale_factor)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """[..., C, H r, W r] to [..., C r^2, H, W]."""
    return tg.pixel_unshuffle(input, downscale_factor)


def channel_shuffle(input: Any, groups: int) -> Any:
    """Takes channels (axis 1) from the groups in turn."""
    return tg.channel_shuffle(input, groups)


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The windows of [N, C, H, W] (or [C, H, W]) as columns [N, C kh kw, L]."""
    if input.ndim not in (3, 4):
        raise ValueError(f"[unfold] expected 4 dimensions (or 3, unbatched), got shape {tuple(input.shape)}")
    x = input.unsqueeze(0) if input.ndim == 3 else input
    y = tg.unfold(x, *(sizes(v, 2, "unfold", what, least) for v, what, least in (
        (kernel_size, "kernel_size", 1), (stride, "stride", 1), (padding, "padding", 0), (dilation, "dilation", 1))))
    return y.squeeze(0) if input.ndim == 3 else y


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The sum of columns [N, C kh kw, L] (or without N) at their windows' places in [N, C, *output_size]."""
    if input.ndim not in (2, 3):
        raise ValueError(f"[fold] expected 3 dimensions (or 2, unbatched), got shape {tuple(input.shape)}")
    x = input.unsqueeze(0) if input.ndim == 2 else input
    y = tg.fold(x, *(sizes(v, 2, "fold", what, least) for v, what, least in (
        (kernel_size, "kernel_size", 1), (stride, "stride", 1), (padding, "padding", 0), (dilation, "dilation", 1),
        (output_size, "output_size", 1))))
    return y.squeeze(0) if input.ndim == 2 else y
