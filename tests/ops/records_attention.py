# SPDX-License-Identifier: Apache-2.0
"""Attention, from its definition; one case is large enough for several blocks of queries."""

from __future__ import annotations

import math

import numpy as np
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def n(rng, *shape):
    return rng.normal(size=shape)


def scores_of(q, k, scale):
    return (q * (1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale)) @ np.swapaxes(k, -1, -2)


def repeated(x, heads, enable_gqa):
    return np.repeat(x, heads // x.shape[-3], axis=-3) if enable_gqa else x


def attention(q, k, v, mask=None, is_causal=False, scale=None, enable_gqa=False, causal_offset=0):
    k, v = (repeated(x, q.shape[-3] if enable_gqa else 1, enable_gqa) for x in (k, v))
    s = scores_of(q, k, scale)
    if is_causal:
        rows, columns = np.indices(s.shape[-2:])
        s = np.where(columns <= rows + causal_offset, s, -np.inf)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if s.shape[-1] == 0:
        return np.zeros((*s.shape[:-1], v.shape[-1]))
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isfinite(top), top, 0))
    total = e.sum(-1, keepdims=True)
    return (e / np.where(total == 0, 1, total)) @ v


def size(q, k, v, *mask, scale=None, enable_gqa=False, **_):
    """max |value| times (1 + the largest sum of |q k| scale), and a mask's rounding."""
    k = repeated(np.abs(k), q.shape[-3] if enable_gqa else 1, enable_gqa)
    largest = scores_of(np.abs(q), k, None if scale is None else abs(scale)).max(initial=0)
    return np.abs(v).max(initial=0) * (1 + largest + sum(np.abs(m).max() for m in mask if m is not None))


def cases(rng):
    some = rng.uniform(size=(3, 5)) > 0.3
    some[1] = False  # sees nothing
    return [
        Case((n(rng, 2, 3, 4), n(rng, 2, 5, 4), n(rng, 2, 5, 6), None)),
        Case((n(rng, 4, 5, 3), n(rng, 2, 4, 3), n(rng, 2, 4, 2), None), {"enable_gqa": True, "is_causal": True}),
        Case((n(rng, 4, 3), n(rng, 4, 3), n(rng, 4, 2), None), {"is_causal": True}),
        Case((n(rng, 2, 3, 3), n(rng, 2, 7, 3), n(rng, 2, 7, 2), None), {"is_causal": True, "causal_offset": 4}),
        Case((n(rng, 5, 3), n(rng, 3, 3), n(rng, 3, 2), None), {"is_causal": True, "causal_offset": -2}),
        Case((n(rng, 3, 4), n(rng, 5, 4), n(rng, 5, 2), some), {"scale": 0.3}, (3,)),
        Case((n(rng, 3, 4), n(rng, 5, 4), n(rng, 5, 2), n(rng, 3, 5))),
        Case((n(rng, 2, 3, 2, 4), n(rng, 2, 3, 5, 4), n(rng, 2, 3, 5, 2), n(rng, 2, 1, 1, 5))),
        Case((n(rng, 2, 1, 2, 2, 4), n(rng, 1, 3, 2, 5, 4), n(rng, 2, 3, 2, 5, 2), n(rng, 3, 1, 2, 1))),
        Case((n(rng, 2, 4, 2, 3), n(rng, 1, 2, 4, 3), n(rng, 2, 2, 4, 3), n(rng, 2, 4, 2, 4)), {"enable_gqa": True}),
        Case((n(rng, 3, 0), n(rng, 4, 0), n(rng, 4, 2), None)),
        Case((n(rng, 3, 2), n(rng, 0, 2), n(rng, 0, 2), None)),
        Case((n(rng, 2, 0, 2), n(rng, 2, 4, 2), n(rng, 2, 4, 3), None)),
        Case((n(rng, 1, 1100, 2), n(rng, 1, 1000, 2), n(rng, 1, 1000, 3), None), {"is_causal": True, "causal_offset": -40}),
        Case((n(rng, 2, 200, 70), n(rng, 2, 400, 70), n(rng, 2, 400, 65), rng.uniform(size=(200, 400)) > 0.5), {}, (3,)),
    ]


ONES = np.ones
RECORDS["scaled_dot_product_attention"] = Record(
    attention,
    cases,
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].shape[-1] + c.inputs[1].shape[-2],
    scale=size,
    bad=(
        Bad(ValueError, (ONES((3, 4)), ONES((5, 3)), ONES((5, 2)), None), {}, ("features", "got 3")),
        Bad(ValueError, (ONES((3, 4)), ONES((5, 4)), ONES((4, 2)), None), {}, ("values", "got 4")),
        Bad(ValueError, (ONES((3, 3, 4)), ONES((2, 5, 4)), ONES((2, 5, 2)), None), {"enable_gqa": True}, ("heads",)),
        Bad(ValueError, (ONES((3, 3, 4)), ONES((2, 5, 4)), ONES((2, 5, 2)), None), {}, ()),
        Bad(ValueError, (ONES((3, 4)), ONES((5, 4)), ONES((5, 2)), ONES((4, 5))), {}, ()),
        Bad(ValueError, (ONES((3, 4)), ONES((5, 4)), ONES((5, 2)), ONES((2, 3, 5))), {}, ("mask",)),
        Bad(ValueError, (ONES((3, 4)), ONES((5, 4)), ONES((5, 2)), None), {"dropout_p": 1.5}, ("dropout_p",)),
        Bad(TypeError, (ONES((3, 4)), ONES((5, 4), np.float32), ONES((5, 2)), None), {}),
        Bad(TypeError, (ONES((3, 4)), ONES((5, 4)), ONES((5, 2)), ONES((3, 5), int)), {}),
    ),
)
RECORDS["attention"] = Record(covered_by="scaled_dot_product_attention")
RECORDS["attention_backward"] = Record(covered_by="scaled_dot_product_attention")


# ---- rotary positions ----


def turned(x, positions=None, base=10000.0, interleaved=False, rotary_dim=None, inverse=False, offset=0, angles=False):
    d = x.shape[-1] if rotary_dim is None else rotary_dim
    p = (np.arange(x.shape[-2]) if positions is None else positions) + offset
    angle = p[..., None] * base ** (-np.arange(0, d, 2) / max(d, 1)) * (-1 if inverse else 1)
    pairs = (np.arange(0, d, 2), np.arange(1, d, 2)) if interleaved else (np.arange(d // 2), np.arange(d // 2, d))
    y = np.array(x, np.float64)
    a, b = x[..., pairs[0]], x[..., pairs[1]]
    if angles:  # what the bound is relative to
        y[..., pairs[0]] = y[..., pairs[1]] = (abs(a) + abs(b)) * (1 + abs(angle).max(initial=0))
        return np.abs(y)
    turn = (a + 1j * b) * np.exp(1j * angle)
    y[..., pairs[0]], y[..., pairs[1]] = turn.real, turn.imag
    return y


RECORDS["rope"] = Record(
    turned,
    lambda rng: [
        Case((n(rng, 2, 5, 8), None)),
        Case((n(rng, 2, 5, 8), None), {"interleaved": True, "offset": 100}),
        Case((n(rng, 5, 7), None), {"rotary_dim": 4, "base": 100.0}),
        Case((n(rng, 3, 2, 4, 6), rng.integers(0, 50, (3, 1, 4))), {}, (1,)),
        Case((n(rng, 4, 2), np.array([7, 0, 3, 3])), {"inverse": True, "interleaved": True}, (1,)),
        Case((n(rng, 4, 3), None), {"rotary_dim": 0}),
        Case((n(rng, 0, 2), None)),
    ],
    FLOATS,
    (0,),
    scale=lambda x, p=None, **a: turned(x, p, angles=True, **a),
    bad=(
        Bad(ValueError, (ONES((4, 3)), None), {}, ("even", "got 3")),
        Bad(ValueError, (ONES((4,)), None), {}),
        Bad(ValueError, (ONES((4, 2)), np.arange(3)), {}, ()),
        Bad(ValueError, (ONES((4, 2)), None), {"base": 0.0}),
        Bad(TypeError, (np.ones((4, 2), int), None), {}),
        Bad(TypeError, (ONES((4, 2)), ONES(4)), {}),
    ),
)
