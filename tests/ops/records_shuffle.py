# SPDX-License-Identifier: Apache-2.0
"""Pixel and channel shuffles, unfold and fold, pools with indices: element by element."""

from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def n(rng, *shape):
    return rng.normal(size=shape)


def pixel_shuffle(x, factor):
    r, (c, h, w) = factor, x.shape[-3:]
    y = np.zeros((*x.shape[:-3], c // r**2, h * r, w * r), x.dtype)
    for i, j in np.ndindex(r, r):
        y[..., i::r, j::r] = x[..., i * r + j :: r * r, :, :]
    return y


def pixel_unshuffle(x, factor):
    r, (c, h, w) = factor, x.shape[-3:]
    y = np.zeros((*x.shape[:-3], c * r**2, h // r, w // r), x.dtype)
    for i, j in np.ndindex(r, r):
        y[..., i * r + j :: r * r, :, :] = x[..., i::r, j::r]
    return y


BLOCK = np.ones((1, 3, 3, 3))
RECORDS["pixel_shuffle"] = Record(
    pixel_shuffle,
    lambda rng: [
        Case((n(rng, 2, 8, 3, 2) * 9,), {"factor": 2}),
        Case((n(rng, 9, 1, 2) * 9,), {"factor": 3}),
        Case((n(rng, 0, 4, 2, 2),), {"factor": 1}),
    ],
    ALL,
    (0,),
    bad=(
        Bad(ValueError, (BLOCK,), {"factor": 2}),
        Bad(ValueError, (BLOCK,), {"factor": 0}),
        Bad(ValueError, (BLOCK[0, 0],), {"factor": 1}),
    ),
)
RECORDS["pixel_unshuffle"] = Record(
    pixel_unshuffle,
    lambda rng: [Case((n(rng, 2, 3, 4, 6) * 9,), {"factor": 2}), Case((n(rng, 1, 3, 6) * 9,), {"factor": 3})],
    ALL,
    (0,),
    bad=(Bad(ValueError, (BLOCK,), {"factor": 2}), Bad(ValueError, (BLOCK,), {"factor": 0})),
)
RECORDS["channel_shuffle"] = Record(
    lambda x, groups: np.concatenate([x[:, i :: x.shape[1] // groups] for i in range(x.shape[1] // groups)], 1),
    lambda rng: (
        [Case((n(rng, 2, 6, 3, 2) * 9,), {"groups": g}) for g in (1, 2, 3, 6)] + [Case((n(rng, 1, 4),), {"groups": 2})]
    ),
    ALL,
    (0,),
    bad=(
        Bad(ValueError, (BLOCK,), {"groups": 2}),
        Bad(ValueError, (BLOCK,), {"groups": 0}),
        Bad(ValueError, (np.ones(3),), {"groups": 1}),
    ),
)


# ---- windows as columns ----


def fill(v, d):
    return (v,) * d if isinstance(v, int) else tuple(v)


def window(shape, kernel, stride=1, padding=0, dilation=1):
    """For every tap and window the place in the padded image, and the paddings."""
    d = len(shape)
    kernel, stride, dilation = (fill(v, d) for v in (kernel, stride, dilation))
    padding = fill(padding, d)
    begins, ends = (padding, padding) if len(padding) == d else (padding[:d], padding[d:])
    counts = [
        (s + b + e - k_d * (k - 1) - 1) // t + 1
        for s, b, e, k, t, k_d in zip(shape, begins, ends, kernel, stride, dilation)
    ]
    places = [
        [tuple(o * t + k * w for o, t, k, w in zip(out, stride, tap, dilation)) for out in np.ndindex(*counts)]
        for tap in np.ndindex(*kernel)
    ]
    return places, list(zip(begins, ends))


def unfold(x, **a):
    places, around = window(x.shape[2:], **a)
    x = np.pad(x, [(0, 0), (0, 0), *around])
    cols = np.array([[x[(slice(None), slice(None), *at)] for at in tap] for tap in places])  # K, L, N, C
    return cols.transpose(2, 3, 0, 1).reshape(x.shape[0], -1, cols.shape[1])


def fold(cols, size, **a):
    places, around = window(size, **a)
    c = cols.shape[1] // len(places)
    x = np.zeros((cols.shape[0], c, *(s + b + e for s, (b, e) in zip(size, around))))
    by_tap = cols.reshape(cols.shape[0], c, len(places), -1)
    for k, tap in enumerate(places):
        for w, at in enumerate(tap):
            x[(slice(None), slice(None), *at)] += by_tap[:, :, k, w]
    return x[(slice(None), slice(None), *(slice(b, b + s) for s, (b, _) in zip(size, around)))]


WINDOWS = [
    ((2, 3, 5), {"kernel": 2}),
    ((1, 2, 5, 4), {"kernel": (3, 2), "stride": (2, 1), "padding": 1}),
    ((1, 2, 6, 5), {"kernel": 2, "dilation": (2, 1), "padding": (1, 0, 0, 2)}),
    ((1, 1, 3, 3, 3), {"kernel": 2}),
    ((0, 2, 4, 4), {"kernel": 2}),
]
RECORDS["unfold"] = Record(
    unfold,
    lambda rng: [Case((n(rng, *s),), a) for s, a in WINDOWS if s[0]],
    FLOATS,
    (0,),
    bad=(
        Bad(ValueError, (BLOCK,), {"kernel": 4}),
        Bad(ValueError, (BLOCK,), {"kernel": (1, 2, 3)}),
        Bad(ValueError, (BLOCK[0, 0],), {"kernel": 1}),
    ),
)
RECORDS["fold"] = Record(
    fold,
    lambda rng: [Case((n(rng, *unfold(np.zeros(s), **a).shape),), {**a, "size": s[2:]}) for s, a in WINDOWS if s[0]],
    FLOATS,
    (0,),
    length=lambda c: 9,
    scale=lambda cols, **a: fold(np.abs(cols), **a),
    bad=(
        Bad(ValueError, (np.ones((1, 4, 5)),), {"kernel": 2, "size": (3, 3)}),
        Bad(ValueError, (np.ones((1, 3, 4)),), {"kernel": 2, "size": (3, 3)}),
        Bad(ValueError, (np.ones((3, 4)),), {"kernel": 2, "size": (3, 3)}),
    ),
)


# ---- pools with indices ----


def first_of_largest(x, places):
    """The largest of x[n, c, places] (NaN counts as such) and the place of the first of them."""
    values = np.stack([x[(slice(None), slice(None), *at)] for at in places], -1)
    best = np.argmax(values, -1)
    flat = np.array([np.ravel_multi_index(at, x.shape[2:]) for at in places])
    return np.take_along_axis(values, best[..., None], -1)[..., 0], flat[best]


def max_pool(x, kernel, stride=(), padding=0, dilation=1):
    d = x.ndim - 2
    places, around = window(x.shape[2:], kernel, kernel if stride == () else stride, padding, dilation)
    counts = [len({at[i] for at in places[0]}) for i in range(d)]
    out = []
    for w in range(len(places[0])):
        at = [tuple(p - b for p, (b, _) in zip(tap[w], around)) for tap in places]
        out.append(first_of_largest(x, [p for p in at if all(0 <= v < s for v, s in zip(p, x.shape[2:]))]))
    return tuple(np.stack(part, -1).reshape(*x.shape[:2], *counts) for part in zip(*out))


def adaptive_max_pool(x, output_size):
    d = x.ndim - 2
    out = []
    for at in np.ndindex(*fill(output_size, d)):
        lines = [range(a * m // o, -(-(a + 1) * m // o)) for a, m, o in zip(at, x.shape[2:], fill(output_size, d))]
        out.append(
            first_of_largest(x, [tuple(p) for p in np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, d)])
        )
    return tuple(np.stack(part, -1).reshape(*x.shape[:2], *fill(output_size, d)) for part in zip(*out))


def distinct(rng, *shape):
    return rng.permutation(int(np.prod(shape))).reshape(shape) / 7.0


RECORDS["max_pool_with_index"] = Record(
    max_pool,
    lambda rng: [
        Case((distinct(rng, 2, 2, 6),), {"kernel": 2}),
        Case((distinct(rng, 1, 2, 5, 6),), {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
        Case((distinct(rng, 1, 1, 4, 4, 4),), {"kernel": 2, "stride": 1, "dilation": 2}),
        Case((np.zeros((1, 1, 4, 4)),), {"kernel": 2}, smooth=False),
    ],
    FLOATS,
    (0,),
    bad=(
        Bad(ValueError, (BLOCK,), {"kernel": 0}, ("expected",)),
        Bad(ValueError, (BLOCK,), {"kernel": 2, "padding": 2}, ("expected",)),
    ),
)
RECORDS["adaptive_max_pool"] = Record(
    adaptive_max_pool,
    lambda rng: (
        [Case((distinct(rng, 2, 2, 7, 5),), {"output_size": o}) for o in (1, (3, 2), (7, 5), (9, 3))]
        + [
            Case((distinct(rng, 1, 2, 6),), {"output_size": 4}),
            Case((distinct(rng, 1, 1, 3, 4, 5),), {"output_size": (2, 2, 3)}),
            Case((np.zeros((1, 1, 4, 4)),), {"output_size": 2}, smooth=False),
            Case((np.array([[[1.0, np.nan, 3, 2]]]),), {"output_size": 2}, smooth=False),
        ]
    ),
    FLOATS,
    (0,),
    bad=(
        Bad(ValueError, (BLOCK,), {"output_size": 0}),
        Bad(ValueError, (BLOCK,), {"output_size": (1, 2, 3)}),
        Bad(ValueError, (np.ones((1, 1, 0)),), {"output_size": 1}),
    ),
)


def max_unpool(x, index, size):
    y = np.zeros((*x.shape[:2], int(np.prod(size))))
    np.put_along_axis(y, index.reshape(*x.shape[:2], -1), x.reshape(*x.shape[:2], -1), 2)
    return y.reshape(*x.shape[:2], *size)


RECORDS["max_unpool"] = Record(
    max_unpool,
    lambda rng: [
        Case(
            (n(rng, 2, 3, 2), np.stack([[rng.permutation(5)[:2] for _ in range(3)] for _ in range(2)])),
            {"size": (5,)},
            (1,),
        ),
        Case((n(rng, 1, 1, 2, 2), np.array([[[[1, 3], [8, 10]]]])), {"size": (4, 4)}, (1,)),
        Case((n(rng, 1, 1, 1, 1, 1), np.array([[[[[7]]]]], np.int32)), {"size": (2, 2, 2)}, (1,)),
    ],
    FLOATS,
    (0,),
    bad=(
        Bad(ValueError, (np.ones((1, 1, 2)), np.zeros((1, 1, 3), int)), {"size": (4,)}),
        Bad(ValueError, (np.ones((1, 1, 2)), np.zeros((1, 1, 2), int)), {"size": (4, 4)}),
        Bad(TypeError, (np.ones((1, 1, 2)), np.zeros((1, 1, 2))), {"size": (4,)}),
    ),
)


def _outside(tg, device):
    try:
        tg.max_unpool(
            tg.ones((1, 1, 1), device=device), tg.full((1, 1, 1), 4, dtype=tg.int64, device=device), (4,)
        ).cpu()
        tg.synchronize()
    except IndexError:
        return
    raise AssertionError("an index outside the plane passed")


RECORDS["max_unpool"].check = _outside
