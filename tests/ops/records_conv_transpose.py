# SPDX-License-Identifier: Apache-2.0
"""Transposed convolution, element by element."""

from __future__ import annotations

import numpy as np
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def fill(v, d):
    return (v,) * d if isinstance(v, int) else tuple(v)


def conv_transpose(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    d = x.ndim - 2
    stride, more, dilation, padding = (fill(v, d) for v in (stride, output_padding, dilation, padding))
    begins, ends = (padding, padding) if len(padding) == d else (padding[:d], padding[d:])
    whole = [(n - 1) * s + t * (k - 1) + 1 + m for n, s, t, k, m in zip(x.shape[2:], stride, dilation, w.shape[2:], more)]
    each = w.shape[1]
    y = np.zeros((x.shape[0], each * groups, *whole))
    per = x.shape[1] // groups
    for at in np.ndindex(*x.shape[2:]):
        for tap in np.ndindex(*w.shape[2:]):
            place = tuple(a * s + k * t for a, s, k, t in zip(at, stride, tap, dilation))
            for g in range(groups):
                y[(slice(None), slice(g * each, (g + 1) * each), *place)] += (
                    x[(slice(None), slice(g * per, (g + 1) * per), *at)] @ w[(slice(g * per, (g + 1) * per), slice(None), *tap)]
                )
    y = y[(slice(None), slice(None), *(slice(p, n - e) for p, e, n in zip(begins, ends, whole)))]
    return y if b is None else y + b.reshape(-1, *(1,) * d)


CASES = [
    ((2, 3, 5), (3, 2, 3), 1, {}),
    ((1, 4, 4), (4, 3, 2), 1, {"stride": 2, "groups": 2, "output_padding": 1}),
    ((2, 2, 3, 4), (2, 3, 2, 3), 1, {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}),
    ((1, 2, 3, 3), (2, 2, 3, 2), 0, {"padding": (1, 0, 0, 1), "stride": 2}),
    ((1, 2, 3), (2, 2, 2), 1, {"dilation": 3, "output_padding": 2}),
    ((1, 1, 2, 2, 2), (1, 2, 2, 2, 2), 1, {"stride": 2, "padding": 1, "output_padding": 1}),
]
X, W = np.ones((1, 2, 4)), np.ones((2, 3, 2))
RECORDS["conv_transpose"] = Record(
    conv_transpose,
    lambda rng: [
        Case((rng.normal(size=x), rng.normal(size=w), rng.normal(size=w[1] * a.get("groups", 1)) if b else None), a)
        for x, w, b, a in CASES
    ],
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].shape[1] * int(np.prod(c.inputs[1].shape[2:])) + 1,
    scale=lambda x, w, b=None, **a: conv_transpose(np.abs(x), np.abs(w), None if b is None else np.abs(b), **a),
    bad=(
        Bad(ValueError, (X, np.ones((3, 2, 2)), None), {}),
        Bad(ValueError, (X, W, np.ones(2)), {}),
        Bad(ValueError, (X, W, None), {"output_padding": 1}),
        Bad(ValueError, (X, W, None), {"padding": 5}),
        Bad(ValueError, (X, W, None), {"groups": 3}),
        Bad(ValueError, (X[0], W[0], None), {}),
        Bad(TypeError, (X.astype(int), W.astype(int), None), {}),
        Bad(TypeError, (X, W.astype(np.float32), None), {}),
    ),
)
