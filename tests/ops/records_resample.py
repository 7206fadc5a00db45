# SPDX-License-Identifier: Apache-2.0
"""Resampling: interpolation from one weight matrix per axis, sampling and affine grids element by element."""

from __future__ import annotations

import math

import numpy as np
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def n(rng, *shape):
    return rng.normal(size=shape)


def keys(x, a):
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def weights(size, out, mode, align, antialias, scale, magnitude=False):
    """[out, in]: how much of every input enters an output."""
    ratio = ((size - 1) / (out - 1) if out > 1 else 0.0) if align else 1 / scale if scale else size / out
    w = np.zeros((out, size))
    for i in range(out):
        if mode.startswith("nearest"):
            at = math.floor((i + (0.5 if mode == "nearest-exact" else 0)) * ratio + (0 if scale else 1e-9))
            w[i, min(at, size - 1)] = 1
        elif antialias:
            wide, centre = max(ratio, 1.0), (i + 0.5) * ratio
            reach = wide * (1 if mode == "linear" else 2)
            first, last = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), size)
            for j in range(first, last):
                d = (j + 0.5 - centre) / wide
                w[i, j] = max(0.0, 1 - abs(d)) if mode == "linear" else keys(d, -0.5)
            w[i] /= w[i].sum()
        else:
            at = i * ratio if align else (i + 0.5) * ratio - 0.5
            if mode == "linear":
                at = max(at, 0.0)
            base = math.floor(at)
            for j in range(base - 1, base + 3):
                d = at - j
                more = max(0.0, 1 - abs(d)) if mode == "linear" else keys(d, -0.75)
                w[i, min(max(j, 0), size - 1)] += abs(more) if magnitude else more
    return w


def interpolate(x, size, mode="nearest", align_corners=False, antialias=False, scales=None, magnitude=False):
    d = x.ndim - 2
    size = (size,) * d if isinstance(size, int) else size
    for i in range(d):
        w = weights(x.shape[2 + i], size[i], mode, align_corners, antialias, scales[i] if scales else 0, magnitude)
        x = np.moveaxis(np.moveaxis(x, 2 + i, -1) @ (np.abs(w) if magnitude else w).T, -1, 2 + i)
    return x


RESIZES = [
    ((1, 2, 5), 8, {}),
    ((1, 2, 5), 3, {"mode": "nearest-exact"}),
    ((2, 1, 4, 3), (7, 2), {}),
    ((1, 1, 3, 2, 4), (2, 5, 4), {"mode": "nearest"}),
    ((1, 1, 5), 7, {"scales": (1.5,)}),
    ((1, 1, 5), 7, {"scales": (1.5,), "mode": "linear"}),
    ((1, 2, 5), 8, {"mode": "linear"}),
    ((1, 2, 5), 8, {"mode": "linear", "align_corners": True}),
    ((2, 1, 4, 3), (7, 2), {"mode": "linear"}),
    ((2, 1, 4, 3), (1, 6), {"mode": "linear", "align_corners": True}),
    ((1, 1, 3, 2, 4), (2, 5, 6), {"mode": "linear"}),
    ((1, 2, 4, 5), (7, 3), {"mode": "cubic"}),
    ((1, 2, 4, 5), (7, 3), {"mode": "cubic", "align_corners": True}),
    ((1, 1, 9, 8), (4, 11), {"mode": "linear", "antialias": True}),
    ((1, 1, 9, 8), (4, 3), {"mode": "cubic", "antialias": True}),
    ((1, 1, 4, 4), (4, 4), {"mode": "linear"}),
    ((0, 1, 4, 4), (2, 2), {"mode": "cubic"}),
]
PLANE = np.ones((1, 1, 3, 3))
RECORDS["interpolate"] = Record(
    interpolate,
    lambda rng: [Case((n(rng, *s),), {"size": o, **a}) for s, o, a in RESIZES],
    FLOATS,
    (0,),
    # taps (a stretched cubic kernel has 4 ratios of them) and two roundings, per axis
    length=lambda c: sum(
        2 + 4 * max(1, math.ceil(i / o))
        for i, o in zip(c.inputs[0].shape[2:], np.broadcast_to(c.attrs["size"], c.inputs[0].ndim - 2))
    ),
    scale=lambda x, size, **a: interpolate(np.abs(x), size, **a, magnitude=True),
    bad=(
        Bad(ValueError, (PLANE,), {"size": 2, "mode": "bilinear"}),
        Bad(ValueError, (PLANE,), {"size": (2, 0)}),
        Bad(ValueError, (PLANE,), {"size": (2, 2, 2)}),
        Bad(ValueError, (PLANE,), {"size": 2, "align_corners": True}),
        Bad(ValueError, (PLANE,), {"size": 2, "scales": (1.0,)}),
        Bad(ValueError, (PLANE,), {"size": 2, "scales": (1.0, 0.0)}),
        Bad(TypeError, (PLANE.astype(int),), {"size": 2, "mode": "linear"}),
    ),
)


def _integers_and_limits(tg, device):
    x = tg.tensor(np.arange(6).reshape(1, 1, 6), device=device)
    assert tg.interpolate(x, 3).tolist() == [[[0, 2, 4]]]
    # 7 * i // 49 in integers: f32 ratios get some of these wrong.
    x = tg.tensor(np.arange(7).reshape(1, 1, 7), device=device)
    assert tg.interpolate(x, 49).tolist()[0][0] == [i // 7 for i in range(49)]


RECORDS["interpolate"].check = _integers_and_limits


# ---- grid_sample ----


def bounced(x, low, high):
    span = high - low
    if span <= 0:
        return 0.0
    rest = math.fmod(abs(x - low), 2 * span)
    return low + (rest if rest <= span else 2 * span - rest)


def ruled(x, rule, align, size):
    if rule == "reflection":
        x = bounced(x, 0, size - 1) if align else bounced(x, -0.5, size - 0.5)
    return x if rule == "zeros" else min(max(x, 0), size - 1)


def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    d, size = x.ndim - 2, x.shape[2:]
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))

    def element(item, place):
        place = [int(ruled(p, padding_mode, align_corners, s)) if mode == "bicubic" else p for p, s in zip(place, size)]
        inside = all(0 <= p < s for p, s in zip(place, size))
        return x[(item, slice(None), *(int(p) for p in place))] if inside else np.zeros(x.shape[1])

    for at in np.ndindex(grid.shape[:-1]):
        g = grid[at][::-1]
        p = [((v + 1) / 2 * (s - 1)) if align_corners else ((v + 1) * s - 1) / 2 for v, s in zip(g, size)]
        if mode != "bicubic":
            p = [ruled(v, padding_mode, align_corners, s) for v, s in zip(p, size)]
        total = np.zeros(x.shape[1])
        if mode == "nearest":
            total = element(at[0], [round(v) for v in p])
        else:
            reach = (0, 1) if mode == "bilinear" else (-1, 0, 1, 2)
            for tap in np.ndindex(*(len(reach),) * d):
                place = [math.floor(v) + reach[t] for v, t in zip(p, tap)]
                w = np.prod(
                    [max(0, 1 - abs(v - q)) if mode == "bilinear" else keys(v - q, -0.75) for v, q in zip(p, place)]
                )
                total = total + w * element(at[0], place)
        y[(at[0], slice(None), *at[1:])] = total
    return y


def places(rng, *shape):
    """Coordinates that no rounding of f16 moves over an element's border: multiples of 1/64, no kinks within 1/256."""
    return np.round(rng.uniform(-1.6, 1.6, shape) * 64) / 64 + 1 / 256


GRIDS = [
    ((2, 3, 4, 5), (2, 3, 2, 2), {}),
    ((2, 3, 4, 5), (2, 3, 2, 2), {"align_corners": True}),
    *[
        ((1, 2, 4, 5), (1, 3, 4, 2), {"padding_mode": p, "align_corners": a, "mode": m})
        for p in ("zeros", "border", "reflection")
        for a in (False, True)
        for m in ("bilinear", "nearest", "bicubic")
    ],
    *[
        ((1, 2, 3, 4, 5), (1, 2, 1, 2, 3) if m == "bicubic" else (1, 2, 2, 3, 3), {"padding_mode": p, "mode": m})
        for p in ("zeros", "border", "reflection")
        for m in ("bilinear", "nearest", "bicubic")
    ],
    ((1, 1, 1, 4), (1, 2, 2, 2), {"padding_mode": "reflection", "align_corners": True}),
    ((1, 2, 4, 5), (1, 0, 4, 2), {}),
]
RECORDS["grid_sample"] = Record(
    grid_sample,
    lambda rng: [Case((n(rng, *s), places(rng, *g)), a, smooth=a.get("mode") != "nearest") for s, g, a in GRIDS],
    ("float32", "float64"),
    (0, 1),
    scale=lambda x, grid, **a: np.abs(x).max(initial=0) * max(x.shape[2:]) * 4,
    bad=(
        Bad(ValueError, (PLANE, np.zeros((1, 2, 2, 3))), {}),
        Bad(ValueError, (PLANE, np.zeros((2, 2, 2, 2))), {}),
        Bad(ValueError, (PLANE, np.zeros((1, 2, 2, 2))), {"mode": "linear"}),
        Bad(ValueError, (PLANE, np.zeros((1, 2, 2, 2))), {"padding_mode": "wrap"}),
        Bad(ValueError, (np.ones((1, 1, 2, 2, 2)), np.zeros((1, 1, 1, 1, 3))), {"mode": "cubic"}),
        Bad(ValueError, (np.ones((1, 1, 4)), np.zeros((1, 2, 1))), {}),
        Bad(TypeError, (PLANE, np.zeros((1, 2, 2, 2), np.float32)), {}),
    ),
)


def _nan_places(tg, device):
    x = tg.tensor(np.ones((1, 1, 2, 2), np.float32), device=device)
    for rule in ("zeros", "border", "reflection"):
        tg.grid_sample(x, tg.full((1, 1, 1, 2), float("nan"), device=device), padding_mode=rule)  # no IndexError
    # The nearest mode has a gradient in x alone: how often an element was taken.
    leaf = tg.tensor(np.zeros((1, 1, 2, 2)), device=device).requires_grad_()
    at = tg.tensor(np.array([[[[-0.5, -0.5], [-0.6, -0.4], [0.5, -0.5], [5.0, 0.0]]]]), device=device)
    tg.grid_sample(leaf, at, "nearest").sum().backward()
    assert leaf.grad.tolist() == [[[[2.0, 1.0], [0.0, 0.0]]]]
    huge = tg.full((1, 1, 1, 2), 1e30, device=device)
    assert tg.grid_sample(x, huge).tolist() == [[[[0.0]]]]
    assert tg.grid_sample(x, huge, padding_mode="border").tolist() == [[[[1.0]]]]


RECORDS["grid_sample"].check = _nan_places


def affine_grid(theta, size, align_corners=False):
    lines = []
    for s in size[2:]:
        ends = np.linspace(-1, 1, s) if s > 1 else np.zeros(s)
        lines.append(ends if align_corners or s <= 1 else ends * (s - 1) / s)
    place = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(size[2:])], -1)
    return np.einsum("...k,njk->n...j", place, theta)


RECORDS["affine_grid"] = Record(
    affine_grid,
    lambda rng: [
        Case((n(rng, 2, 2, 3),), {"size": (2, 1, 3, 4)}),
        Case((n(rng, 2, 2, 3),), {"size": (2, 1, 3, 1), "align_corners": True}),
        Case((n(rng, 1, 3, 4),), {"size": (1, 1, 2, 3, 4)}),
        Case((n(rng, 1, 3, 4),), {"size": (1, 1, 2, 3, 4), "align_corners": True}),
    ],
    FLOATS,
    (0,),
    scale=lambda theta, size, **_: np.abs(theta).sum(-1).reshape(theta.shape[0], *(1,) * (len(size) - 2), -1),
    bad=(
        Bad(ValueError, (np.ones((2, 2, 3)),), {"size": (1, 1, 2, 2)}),
        Bad(ValueError, (np.ones((1, 2, 3)),), {"size": (1, 1, 2)}),
        Bad(TypeError, (np.ones((1, 2, 3), int),), {"size": (1, 1, 2, 2)}),
    ),
)
