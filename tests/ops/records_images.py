# SPDX-License-Identifier: Apache-2.0
"""Warps and colours: place by place and, for bytes and borders, against what they must give."""

from __future__ import annotations

import math

import numpy as np
from record import FLOATS, Bad, Case, Record
from records_resample import keys, n

RECORDS: dict[str, Record] = {}


def bordered(p, border, size):
    """NumPy's own padding says what stands outside."""
    if 0 <= p < size:
        return p
    mode = {"replicate": "edge", "reflect": "symmetric", "reflect_101": "reflect", "wrap": "wrap"}[border]
    return int(np.pad(np.arange(size), 64, mode)[p + 64])


def remap(x, places, index, mode="linear", border="replicate", value=0.0):
    y = np.zeros((places.shape[0], x.shape[1], *places.shape[1:3]))
    reach = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[mode]
    for at in np.ndindex(places.shape[:3]):
        image = x[at[0] if index is None else index[at[0]]]
        px, py = places[at]
        base = [round(v) if mode == "nearest" else math.floor(v) for v in (py, px)]
        for u in reach:
            for v in reach:
                iy, ix = base[0] + u, base[1] + v
                w = 1.0
                if mode != "nearest":
                    weight = (lambda d: max(0.0, 1 - abs(d))) if mode == "linear" else (lambda d: keys(d, -0.75))
                    w = weight(py - iy) * weight(px - ix)
                if border == "constant":
                    seen = image[:, iy, ix] if 0 <= iy < image.shape[1] and 0 <= ix < image.shape[2] else value
                else:
                    seen = image[:, bordered(iy, border, image.shape[1]), bordered(ix, border, image.shape[2])]
                y[(at[0], slice(None), *at[1:])] += w * seen
    return y


def places(rng, *shape):
    """Coordinates in elements, some outside, off centres and halves."""
    return np.round(rng.uniform(-3, 8, (*shape, 2)) * 16) / 16 + 1 / 64


BORDERS = ("replicate", "reflect", "reflect_101", "wrap", "constant")
IMAGE = np.ones((1, 1, 3, 3))
PLACES = np.zeros((1, 2, 2, 2))
RECORDS["remap"] = Record(
    remap,
    lambda rng: [
        Case((n(rng, 1, 2, 5, 4), places(rng, 1, 3, 3), None), {"mode": m, "border": b, "value": 0.5}, smooth=m != "nearest")
        for b in BORDERS
        for m in ("linear", "cubic", "nearest")
    ]
    + [
        Case((n(rng, 2, 2, 5, 4), places(rng, 3, 2, 2), np.array([1, 0, 1])), fixed=(2,)),
        Case((n(rng, 1, 1, 1, 4), places(rng, 1, 2, 2), None), {"border": "reflect_101"}),
        Case((n(rng, 1, 1, 3, 3), np.zeros((1, 0, 2, 2)), None)),
    ],
    ("float32", "float64"),
    (0, 1),
    scale=lambda x, places, index, **a: (np.abs(x).max() + abs(a.get("value", 0.0))) * (np.abs(places).max(initial=0) + 1),
    bad=(
        Bad(ValueError, (IMAGE[0], PLACES, None), {}),
        Bad(ValueError, (IMAGE, PLACES[..., :1], None), {}),
        Bad(ValueError, (np.ones((2, 1, 3, 3)), PLACES, None), {}),
        Bad(ValueError, (IMAGE, PLACES, np.zeros(2, int)), {}),
        Bad(ValueError, (IMAGE, PLACES, None), {"mode": "bilinear"}),
        Bad(ValueError, (IMAGE, PLACES, None), {"border": "zeros"}),
        Bad(ValueError, (IMAGE[:, :, :0], PLACES, None), {}),
        Bad(TypeError, (IMAGE, PLACES.astype(np.float32), None), {}),
        Bad(TypeError, (IMAGE.astype(int), PLACES, None), {}),
    ),
)


def _bytes_and_edges(tg, device):
    x = tg.tensor(np.array([[[[10, 21], [30, 255]]]], np.uint8), device=device)
    at = tg.tensor([[[[0.5, 0.0], [1.0, 1.0], [0.0, 0.5]]]], device=device)
    assert tg.remap(x, at).tolist() == [[[[16, 255, 20]]]]
    # Cubic weights overshoot: bytes are clipped.
    edge = tg.tensor(np.array([[[[0, 0, 255, 255]]]], np.uint8), device=device)
    assert tg.remap(edge, tg.tensor([[[[0.5, 0.0], [2.5, 0.0]]]], device=device), mode="cubic").tolist() == [[[[0, 255]]]]
    # Places that are no numbers raise nothing, and the nearest mode has no gradient in the places.
    y = tg.remap(tg.ones(1, 1, 2, 2, device=device), tg.full((1, 1, 1, 2), float("nan"), device=device))
    assert math.isnan(y.item())
    half = tg.remap(tg.ones(1, 1, 2, 2, device=device).to(tg.float16), tg.zeros(1, 1, 1, 2, dtype=tg.float16, device=device))
    assert half.dtype == tg.float16 and half.item() == 1


RECORDS["remap"].check = _bytes_and_edges


def warp(x, m, index, size, **attrs):
    h, w = size
    at = np.zeros((m.shape[0], h, w, 2))
    for k, i, j in np.ndindex(m.shape[0], h, w):
        p = m[k] @ np.array([j, i, 1.0])
        at[k, i, j] = p[:2] / p[2] if len(p) == 3 else p
    return remap(x, at, index, **attrs)


def matrices(rng, k, rows):
    """Near the identity, off the places' kinks; in a perspective the last row is near (0, 0, 1)."""
    m = np.eye(3) + rng.uniform(-0.3, 0.3, (k, 3, 3)) * [[1, 1, 4], [1, 1, 4], [0.2, 0.2, 0.2]]
    return np.round(m[:, :rows] * 256) / 256


def warp_scale(x, m, index, size, **a):
    far = np.abs(m[:, :2]) @ np.array([size[1], size[0], 1.0])
    depth = np.abs(warp_depth(m, size)).min(initial=1) if m.shape[1] == 3 else 1.0
    return (np.abs(x).max() + abs(a.get("value", 0.0))) * (far.max(initial=0) / depth**2 * (3 if m.shape[1] == 3 else 1) + 1)


def warp_depth(m, size):
    """What places are divided by."""
    return np.array([m[:, 2] @ np.array([j, i, 1.0]) for i in range(size[0]) for j in range(size[1])])


def warp_record(rows):
    eye = np.eye(3)[None, :rows]
    return Record(
        warp,
        lambda rng: [
            Case((n(rng, 2, 2, 5, 4), matrices(rng, 2, rows), None), {"size": (3, 4), "mode": m, "border": b, "value": 0.5}, smooth=m != "nearest")
            for m, b in (("linear", "replicate"), ("linear", "constant"), ("cubic", "reflect"), ("nearest", "wrap"))
        ]
        + [
            Case((n(rng, 2, 1, 5, 4), matrices(rng, 3, rows), np.array([0, 1, 1])), {"size": (2, 2)}, fixed=(2,)),
            Case((n(rng, 1, 1, 3, 3), eye, None), {"size": (0, 2)}, smooth=False),
        ],
        ("float32", "float64"),
        (0, 1),
        scale=warp_scale,
        bad=(
            Bad(ValueError, (IMAGE, eye[:, :1], None), {"size": (2, 2)}),
            Bad(ValueError, (IMAGE, eye, None), {"size": (2,)}),
            Bad(ValueError, (IMAGE, eye, None), {"size": (2, -1)}),
            Bad(ValueError, (IMAGE, eye, None), {"size": (2, 2), "mode": "area"}),
            Bad(ValueError, (IMAGE, np.repeat(eye, 2, 0), None), {"size": (2, 2)}),
            Bad(TypeError, (IMAGE, eye.astype(np.float32), None), {"size": (2, 2)}),
        ),
    )


RECORDS["warp_affine"] = warp_record(2)
RECORDS["warp_perspective"] = warp_record(3)


def luma(r, g, b):
    return 0.299 * r + 0.587 * g + 0.114 * b


def to_yuv(r, g, b):
    y = luma(r, g, b)
    return y, 0.492 * (b - y) + 0.5, 0.877 * (r - y) + 0.5


def to_ycrcb(r, g, b):
    y = luma(r, g, b)
    return y, 0.713 * (r - y) + 0.5, 0.564 * (b - y) + 0.5


def from_yuv(y, u, v):
    u, v = u - 0.5, v - 0.5
    return y + 1.14 * v, y - 0.395 * u - 0.581 * v, y + 2.032 * u


def from_ycrcb(y, cr, cb):
    cr, cb = cr - 0.5, cb - 0.5
    return y + 1.403 * cr, y - 0.714 * cr - 0.344 * cb, y + 1.773 * cb


def cvt_color(x, mode, axis=-1):
    source, target = mode.split("2")
    c = list(np.moveaxis(x, axis, 0))
    rgb = {"GRAY": lambda v: (v, v, v), "YUV": from_yuv, "YCrCb": from_ycrcb}.get(source, lambda *v: v[:3] if source[0] == "R" else v[2::-1])(*c)
    alpha = c[3] if len(c) == 4 else np.ones_like(c[0])
    out = {
        "GRAY": lambda r, g, b: (luma(r, g, b),), "YUV": to_yuv, "YCrCb": to_ycrcb,
        "RGBA": lambda r, g, b: (r, g, b, alpha), "BGRA": lambda r, g, b: (b, g, r, alpha), "BGR": lambda r, g, b: (b, g, r),
    }.get(target, lambda *v: v)(*rgb)  # fmt: skip
    return np.stack(out, axis)


MODES = [f"{a}2{b}" for a in ("RGB", "BGR") for b in ("GRAY", "YUV", "YCrCb")] + [f"{b}2{a}" for a in ("RGB", "BGR") for b in ("GRAY", "YUV", "YCrCb")] + [
    "RGB2BGR", "BGR2RGB", "RGB2RGBA", "BGR2BGRA", "RGBA2RGB", "BGRA2BGR", "RGBA2BGR", "BGRA2RGB", "RGBA2GRAY", "BGRA2GRAY",
]  # fmt: skip
COLOURS = np.ones((2, 2, 3))
RECORDS["cvt_color"] = Record(
    cvt_color,
    lambda rng: [Case((rng.uniform(0, 1, (2, 3, 1 if m[0] == "G" else 4 if m[3] == "A" else 3)),), {"mode": m}) for m in MODES]
    + [Case((rng.uniform(0, 1, (2, 3, 2, 2)),), {"mode": "RGB2YUV", "axis": -3}), Case((np.zeros((0, 3)),), {"mode": "RGB2YUV"})],
    FLOATS,
    (0,),
    scale=lambda x, mode, axis=-1: 4 * (np.abs(x).sum(axis, keepdims=True) + 1),
    bad=(
        Bad(ValueError, (COLOURS,), {"mode": "RGB2HLS"}),
        Bad(ValueError, (COLOURS,), {"mode": "RGBA2RGB"}),
        Bad(IndexError, (COLOURS,), {"mode": "RGB2YUV", "axis": 3}),
        Bad(TypeError, (COLOURS.astype(int),), {"mode": "RGB2YUV"}),
        Bad(TypeError, (np.ones((3, 2, 1)),), {"mode": "YUV2RGB_NV12"}),
        Bad(ValueError, (np.ones((4, 2, 1), np.uint8),), {"mode": "YUV2RGB_NV12"}),
        Bad(ValueError, (np.ones((3, 3, 1), np.uint8),), {"mode": "YUV2RGB_NV12"}),
        Bad(ValueError, (np.ones((3, 2, 3), np.uint8),), {"mode": "YUV2RGB_NV12"}),
        Bad(ValueError, (np.ones((1, 3, 2), np.uint8),), {"mode": "YUV2RGB_NV12", "axis": 1}),
    ),
)


def _bytes(tg, device):
    """Bytes round and clip: within one of the exact value, and exact for what only moves."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    for mode in ("RGB2GRAY", "RGB2YUV", "YUV2RGB", "BGR2YCrCb", "YCrCb2BGR"):
        got = tg.cvt_color(tg.tensor(x, device=device), mode)
        exact = cvt_color(x / 255 * (255 / 256), mode) * 256  # 128 is the middle of 256
        assert got.dtype == tg.uint8
        assert np.abs(got.cpu().numpy() - np.clip(exact, 0, 255)).max() <= 0.501
    assert (tg.cvt_color(tg.tensor(x, device=device), "RGB2RGBA").cpu().numpy() == np.concatenate([x, np.full((16, 16, 1), 255)], -1)).all()


def planes_to_rgb(x, pairs, v_first, video):
    """[3 H / 2, W] pixel by pixel."""
    h, w = x.shape[0] * 2 // 3, x.shape[1]
    y = np.zeros((h, w, 3))
    chroma = x[h:].ravel().astype(float)
    for i, j in np.ndindex(h, w):
        at = (i // 2) * (w // 2) + j // 2
        first, second = chroma[[2 * at, 2 * at + 1] if pairs else [at, at + h * w // 4]] - 128
        u, v = (second, first) if v_first else (first, second)
        if video:
            light = 1.164 * (float(x[i, j]) - 16)
            y[i, j] = light + 1.596 * v, light - 0.391 * u - 0.813 * v, light + 2.018 * u
        else:
            y[i, j] = x[i, j] + 1.402 * v, x[i, j] - 0.344 * u - 0.714 * v, x[i, j] + 1.772 * u
    return np.clip(y, 0, 255)


def _colours(tg, device):
    _bytes(tg, device)
    x = np.random.default_rng(4).integers(0, 256, (2, 9, 8)).astype(np.uint8)
    t = tg.tensor(x[..., None], device=device)
    for form, pairs, v_first in (("NV12", True, False), ("NV21", True, True), ("YU12", False, False), ("YV12", False, True)):
        assert (tg.cvt_color(t, f"YUV2GRAY_{form}").cpu().numpy() == x[:, :6, :, None]).all()
        for video in (False, True):
            want = np.stack([planes_to_rgb(item, pairs, v_first, video) for item in x])
            mode = ("BT601_" if video else "") + "YUV2{}_" + form
            rgb = tg.cvt_color(t, mode.format("RGB")).cpu().numpy()
            assert rgb.dtype == np.uint8 and np.abs(rgb - want).max() <= 0.501
            assert (tg.cvt_color(t, mode.format("BGR")).cpu().numpy() == rgb[..., ::-1]).all()
            first = tg.cvt_color(tg.tensor(x[:, None], device=device), mode.format("RGB"), axis=-3).cpu().numpy()
            assert (first == rgb.transpose(0, 3, 1, 2)).all()
    assert tuple(tg.cvt_color(t[:0], "YUV2RGB_NV12").shape) == (0, 6, 8, 3)


RECORDS["cvt_color"].check = _colours
RECORDS["cvt_color"].skip["other dtypes"] = ("never", "bytes have 128 for no colour; the check has them")
