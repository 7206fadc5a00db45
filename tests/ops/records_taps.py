# SPDX-License-Identifier: Apache-2.0
"""Relatives of convolution, as loops over places and taps: deformed, local, restricted to regions; correlation of two maps."""

from __future__ import annotations

import math

import numpy as np
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def n(rng, *shape):
    return rng.normal(size=shape)


def pair(v):
    return (v, v) if isinstance(v, int) else tuple(v)


def window(size, kernel, stride=1, padding=0, dilation=1):
    """Output sizes, strides, begins and dilations."""
    stride, dilation, padding = pair(stride), pair(dilation), pair(padding)
    begin, end = (padding[:2], padding[2:]) if len(padding) == 4 else (padding, padding)
    out = [(s + b + e - d * (k - 1) - 1) // t + 1 for s, k, t, b, e, d in zip(size, kernel, stride, begin, end, dilation)]
    return out, stride, begin, dilation


def zero_bilinear(plane, y, x):
    """Of [C, H, W], 0 outside."""
    total = np.zeros(plane.shape[0])
    for iy in (math.floor(y), math.floor(y) + 1):
        for ix in (math.floor(x), math.floor(x) + 1):
            if 0 <= iy < plane.shape[1] and 0 <= ix < plane.shape[2]:
                total = total + plane[:, iy, ix] * (1 - abs(y - iy)) * (1 - abs(x - ix))
    return total


def deform_conv(x, w, offset, mask=None, b=None, stride=1, padding=0, dilation=1, groups=1):
    (h, l), stride, begin, dilation = window(x.shape[2:], w.shape[2:], stride, padding, dilation)
    o, c, kh, kw = w.shape
    parts = offset.shape[1] // (2 * kh * kw)
    y = np.zeros((x.shape[0], o, h, l))
    for item, i, j in np.ndindex(x.shape[0], h, l):
        for u, v in np.ndindex(kh, kw):
            tap, seen = u * kw + v, []
            for p in range(parts):
                at = 2 * (p * kh * kw + tap)
                py = i * stride[0] - begin[0] + u * dilation[0] + offset[item, at, i, j]
                px = j * stride[1] - begin[1] + v * dilation[1] + offset[item, at + 1, i, j]
                some = x[item, p * x.shape[1] // parts : (p + 1) * x.shape[1] // parts]
                seen.append(zero_bilinear(some, py, px) * (1 if mask is None else mask[item, p * kh * kw + tap, i, j]))
            seen = np.concatenate(seen)
            for k in range(o):
                group = k // (o // groups)
                y[item, k, i, j] += w[k, :, u, v] @ seen[group * c : (group + 1) * c]
    return y if b is None else y + b[:, None, None]


def shifts(rng, *shape):
    """Offsets off the elements' centres, which f16 holds."""
    return np.round(rng.uniform(-2, 2, shape) * 16) / 16 + 1 / 32


def conv_taps(c):
    return int(np.prod(c.inputs[1].shape[1:])) + 1


X, W = np.ones((1, 2, 4, 4)), np.ones((2, 2, 3, 3))
RECORDS["deform_conv"] = Record(
    deform_conv,
    lambda rng: [
        Case((n(rng, 2, 4, 5, 4), n(rng, 3, 4, 3, 2), shifts(rng, 2, 12, 3, 3))),
        Case((n(rng, 2, 4, 5, 4), n(rng, 4, 2, 3, 2), shifts(rng, 2, 24, 3, 4), n(rng, 2, 12, 3, 4), n(rng, 4)),
             {"stride": (2, 1), "padding": (1, 0, 1, 1), "groups": 2}),
        Case((n(rng, 1, 2, 5, 5), n(rng, 2, 1, 2, 2), shifts(rng, 1, 8, 5, 5), None, n(rng, 2)), {"padding": 1, "dilation": 2, "groups": 2}),
        Case((n(rng, 1, 2, 5, 5), n(rng, 2, 2, 2, 2), 3 * shifts(rng, 1, 16, 4, 4), n(rng, 1, 8, 4, 4))),
        Case((n(rng, 0, 2, 4, 4), n(rng, 2, 2, 3, 3), np.zeros((0, 18, 2, 2)))),
    ],
    FLOATS,
    (0, 1, 2, 3, 4),
    length=conv_taps,
    scale=lambda x, w, offset, mask=None, b=None, **a: (
        np.abs(x).max(initial=0) * np.abs(w).max() * (1 if mask is None else np.abs(mask).max()) * (max(x.shape[2:]) + np.abs(offset).max(initial=0))
        + (0 if b is None else np.abs(b).max())
    ),
    bad=(
        Bad(ValueError, (X[0], W, np.zeros((1, 18, 2, 2))), {}),
        Bad(ValueError, (X, W, np.zeros((1, 18, 2, 3))), {}),
        Bad(ValueError, (X, W, np.zeros((1, 17, 2, 2))), {}),
        Bad(ValueError, (X, W, np.zeros((1, 54, 2, 2))), {}),
        Bad(ValueError, (X, W, np.zeros((1, 18, 2, 2)), np.zeros((1, 18, 2, 2))), {}),
        Bad(ValueError, (X, W, np.zeros((1, 18, 2, 2)), None, np.zeros(3)), {}),
        Bad(ValueError, (X, W, np.zeros((1, 18, 2, 2))), {"groups": 2}),
        Bad(TypeError, (X, W, np.zeros((1, 18, 2, 2), np.float32)), {}),
        Bad(TypeError, (X.astype(int), W, np.zeros((1, 18, 2, 2))), {}),
    ),
)


def _no_offsets(tg, device):
    """Without offsets and masks it is a convolution."""
    rng = np.random.default_rng(5)
    x, w, b = (tg.tensor(n(rng, *s), device=device) for s in ((2, 4, 6, 5), (6, 2, 3, 3), (6,)))
    want = tg.conv(x, w, b, stride=2, padding=1, groups=2)
    got = tg.deform_conv(x, w, tg.zeros(2, 18, *want.shape[2:], dtype=tg.float64, device=device), None, b, stride=2, padding=1, groups=2)
    np.testing.assert_allclose(got.cpu().numpy(), want.cpu().numpy(), atol=1e-13)


RECORDS["deform_conv"].check = _no_offsets


def local_conv2d(x, w, b=None, stride=1, padding=0, dilation=1):
    g, _, _, c, kh, kw, o = w.shape
    (h, l), stride, begin, dilation = window(x.shape[2:], (kh, kw), stride, padding, dilation)
    y = np.zeros((x.shape[0], g * o, h, l))
    for k, i, j, u, v in np.ndindex(g, h, l, kh, kw):
        p, q = i * stride[0] - begin[0] + u * dilation[0], j * stride[1] - begin[1] + v * dilation[1]
        if 0 <= p < x.shape[2] and 0 <= q < x.shape[3]:
            y[:, k * o : (k + 1) * o, i, j] += x[:, k * c : (k + 1) * c, p, q] @ w[k, i, j, :, u, v, :]
    if b is None:
        return y
    return y + (b if b.ndim == 3 else b[:, None, None])


def magnitudes(f):
    return lambda *inputs, **a: f(*(np.abs(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for v in inputs), **a)


LOCAL = np.ones((1, 2, 2, 2, 3, 3, 1))
RECORDS["local_conv2d"] = Record(
    local_conv2d,
    lambda rng: [
        Case((n(rng, 2, 4, 5, 4), n(rng, 1, 3, 3, 4, 3, 2, 3))),
        Case((n(rng, 2, 4, 5, 4), n(rng, 2, 3, 4, 2, 3, 2, 3), n(rng, 6)), {"stride": (2, 1), "padding": (1, 0, 1, 1)}),
        Case((n(rng, 1, 2, 5, 5), n(rng, 2, 5, 5, 1, 2, 2, 1), n(rng, 2, 5, 5)), {"padding": 1, "dilation": 2}),
        Case((n(rng, 0, 2, 4, 4), LOCAL)),
    ],
    FLOATS,
    (0, 1, 2),
    length=lambda c: float(np.prod(c.inputs[1].shape[3:6])) + 1,
    scale=magnitudes(local_conv2d),
    bad=(
        Bad(ValueError, (X, W), {}),
        Bad(ValueError, (X[:, :1], LOCAL), {}),
        Bad(ValueError, (X, LOCAL), {"padding": 1}),
        Bad(ValueError, (X, LOCAL, np.ones(2)), {}),
        Bad(TypeError, (X, LOCAL.astype(np.float32)), {}),
        Bad(TypeError, (X.astype(int), LOCAL), {}),
    ),
)


def region_restricted_conv(x, w, x_regions, y_regions, b=None, stride=1, padding=0, dilation=1, groups=1):
    o, c, kh, kw = w.shape
    (h, l), stride, begin, dilation = window(x.shape[2:], (kh, kw), stride, padding, dilation)
    y = np.zeros((x.shape[0], o, h, l))
    for item, k, i, j, u, v in np.ndindex(x.shape[0], o, h, l, kh, kw):
        p, q = i * stride[0] - begin[0] + u * dilation[0], j * stride[1] - begin[1] + v * dilation[1]
        if 0 <= p < x.shape[2] and 0 <= q < x.shape[3] and x_regions[item, p, q] == y_regions[item, i, j]:
            group = k // (o // groups)
            y[item, k, i, j] += x[item, group * c : (group + 1) * c, p, q] @ w[k, :, u, v]
    return y if b is None else y + b[:, None, None]


R4, R2 = np.zeros((1, 4, 4), int), np.zeros((1, 2, 2), int)
RECORDS["region_restricted_conv"] = Record(
    region_restricted_conv,
    lambda rng: [
        Case((n(rng, 2, 4, 5, 4), n(rng, 3, 4, 3, 2), rng.integers(0, 2, (2, 5, 4)), rng.integers(0, 2, (2, 3, 3))), fixed=(2, 3)),
        Case((n(rng, 2, 4, 5, 4), n(rng, 4, 1, 3, 2), rng.integers(0, 3, (2, 5, 4)), rng.integers(0, 3, (2, 3, 4)), n(rng, 4)),
             {"stride": (2, 1), "padding": (1, 0, 1, 1), "groups": 4}, fixed=(2, 3)),
        Case((n(rng, 1, 2, 5, 5), n(rng, 2, 1, 2, 2), rng.integers(0, 2, (1, 5, 5)), rng.integers(0, 2, (1, 5, 5))), {"padding": 1, "dilation": 2, "groups": 2},
             fixed=(2, 3)),
        Case((n(rng, 0, 2, 4, 4), W, R4[:0], R2[:0]), fixed=(2, 3)),
    ],
    FLOATS,
    (0, 1, 4),
    length=conv_taps,
    scale=magnitudes(region_restricted_conv),
    bad=(
        Bad(ValueError, (X, W, R2, R2), {}),
        Bad(ValueError, (X, W, R4, R4), {}),
        Bad(ValueError, (X, W, R4, R2, np.ones(3)), {}),
        Bad(ValueError, (X, W, R4, R2), {"groups": 2}),
        Bad(TypeError, (X, W, R4 + 0.5, R2), {}),
        Bad(TypeError, (X, W.astype(np.float32), R4, R2), {}),
    ),
)


def correlation(a, b, kernel_size=1, max_displacement=1, stride1=1, stride2=1, padding=0, multiply=True):
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    a, b = np.pad(a, around), np.pad(b, around)
    border = max_displacement + kernel_size // 2
    h, w = (math.ceil((s - 2 * border) / stride1) for s in a.shape[2:])
    half = max_displacement // stride2
    side = 2 * half + 1
    y = np.zeros((a.shape[0], side * side, h, w))
    for k, i, j in np.ndindex(side * side, h, w):
        p, q = max_displacement + i * stride1, max_displacement + j * stride1
        dy, dx = (k // side - half) * stride2, (k % side - half) * stride2
        first = a[:, :, p : p + kernel_size, q : q + kernel_size]
        second = b[:, :, p + dy : p + dy + kernel_size, q + dx : q + dx + kernel_size]
        y[:, k, i, j] = (first * second if multiply else np.abs(first - second)).mean((1, 2, 3))
    return y


def correlation_scale(a, b, **attrs):
    if attrs.get("multiply", True):
        return correlation(np.abs(a), np.abs(b), **attrs)
    return correlation(np.abs(a), -np.abs(b), **attrs)  # |a| + |b|


RECORDS["correlation"] = Record(
    correlation,
    lambda rng: [
        Case((n(rng, 2, 3, 6, 5), n(rng, 2, 3, 6, 5)), a)
        for a in (
            {},
            {"max_displacement": 2, "stride2": 2, "padding": 3},
            {"kernel_size": 3, "stride1": 2, "padding": 2},
            {"multiply": False, "padding": 1},
            {"kernel_size": 3, "max_displacement": 3, "stride1": 2, "stride2": 2, "padding": 4, "multiply": False},
            {"max_displacement": 0},
        )
    ]
    + [Case((n(rng, 0, 3, 6, 5), n(rng, 0, 3, 6, 5)))],
    FLOATS,
    (0, 1),
    length=lambda c: 3.0 * c.attrs.get("kernel_size", 1) ** 2 + 3,
    scale=correlation_scale,
    bad=(
        Bad(ValueError, (X, X[:, :, :2]), {}),
        Bad(ValueError, (X, X), {"kernel_size": 2}),
        Bad(ValueError, (X, X), {"stride2": 0}),
        Bad(ValueError, (X, X), {"max_displacement": 2}),
        Bad(ValueError, (X[:, :0], X[:, :0]), {}),
        Bad(TypeError, (X, X.astype(np.float32)), {}),
        Bad(TypeError, (X.astype(int), X), {}),
    ),
)
