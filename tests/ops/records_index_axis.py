# SPDX-License-Identifier: Apache-2.0
"""Slices of an axis by index, and elements of the flat tensor."""
from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def _key(i, axis, rank):
    return (slice(None),) * (axis % rank) + (np.atleast_1d(i),)


def _add(x, i, v, axis=0, alpha=1.0):
    y = x.copy()
    np.add.at(y, _key(i, axis, x.ndim), alpha * v)
    return y


def _copy(x, i, v, axis=0):
    y = np.moveaxis(x.copy(), axis, 0)
    i = np.atleast_1d(i)
    values = np.moveaxis(np.broadcast_to(v, np.moveaxis(y[i], 0, axis).shape), axis, 0)
    for place, part in zip(i, values):
        y[place] = part
    return np.moveaxis(y, 0, axis)


def _cases(rng):
    x = rng.normal(size=(3, 4, 2))
    return [
        Case((x, np.array([2, 0]), rng.normal(size=(2, 4, 2))), {"axis": 0}, (1,)),
        Case((x, np.array([1, 1, -1, 0, 1]), rng.normal(size=(3, 5, 2))), {"axis": 1}, (1,)),
        Case((x, np.array([1, -2], np.int32), rng.normal(size=())), {"axis": -1}, (1,)),
        Case((x, np.array(1), rng.normal(size=(3, 1, 2))), {"axis": 1}, (1,)),
        Case((x, np.zeros(0, np.int64), rng.normal(size=(0, 4, 2))), {"axis": 0}, (1,)),
    ]


X = np.ones((2, 3))
WRONG = (
    Bad(ValueError, (X, np.array([0]), np.ones((2, 3))), {}),
    Bad(ValueError, (X, np.array([[0]]), np.ones((1, 3))), {}),
    Bad(TypeError, (X, np.array([0.0]), np.ones((1, 3))), {}),
    Bad(IndexError, (X, np.array([0]), np.ones((1, 3))), {"axis": 2}),
)
RECORDS["index_add"] = Record(
    _add,
    lambda rng: [Case(c.inputs, {**c.attrs, "alpha": a}, c.fixed) for c, a in zip(_cases(rng), (1.0, -0.5, 2.0, 1.0, 3.0))],
    FLOATS,
    (0, 2),
    length=lambda c: c.inputs[1].size + 1,
    scale=lambda x, i, v, axis=0, alpha=1.0: _add(np.abs(x), i, np.abs(alpha * v), axis),
    bad=WRONG,
)
RECORDS["index_copy"] = Record(_copy, _cases, ALL, (0, 2), bad=WRONG)
RECORDS["index_fill"] = Record(
    _copy,
    lambda rng: [Case((*c.inputs[:2], rng.normal(size=())), c.attrs, (1,)) for c in _cases(rng)],
    ALL,
    (0, 2),
    bad=(Bad(ValueError, (X, np.array([0]), np.ones(1)), {}), *(Bad(b.error, (*b.inputs[:2], np.ones(())), b.attrs) for b in WRONG[1:])),
)


def _flat(rng):
    x = rng.normal(size=(3, 4))
    return [
        Case((x, rng.integers(-12, 12, (2, 3))), {}, (1,)),
        Case((x, np.array(5)), {}, (1,)),
        Case((x, rng.integers(0, 4, (2, 2))), {"axis": 1}, (1,)),
        Case((x, np.array([-1, 0, 0])), {"axis": 0}, (1,)),
        Case((x, np.array(2)), {"axis": -1}, (1,)),
    ]


RECORDS["take"] = Record(
    lambda x, i, axis=None: np.take(x, i, axis),
    _flat,
    ALL,
    (0,),
    bad=(Bad(TypeError, (X, X), {}), Bad(IndexError, (X, np.array([0])), {"axis": 2})),
)


def _put(x, i, v, accumulate=False):
    y = x.copy().reshape(-1)
    values = np.broadcast_to(v, i.shape) if v.ndim == 0 else v
    for p, u in zip(i.ravel(), values.ravel()):
        y[p] = y[p] + u if accumulate else u
    return y.reshape(x.shape)


RECORDS["put"] = Record(
    _put,
    lambda rng: [
        Case((rng.normal(size=(3, 4)), i, v), {"accumulate": a}, (1,))
        for a in (False, True)
        for i, v in (
            (np.array([[0, 5], [-1, 5]]), rng.normal(size=(2, 2))),
            (np.array([3, 3, 1]), rng.normal(size=(3,))),
            (np.array([2, 7]), rng.normal(size=())),
        )
    ],
    ("float32", "float64", "int64", "int32"),
    (0, 2),
    length=lambda c: c.inputs[1].size + 1,
    scale=lambda x, i, v, accumulate=False: _put(np.abs(x), i, np.abs(v), True),
    bad=(Bad(ValueError, (X, np.array([0, 1]), np.ones(3)), {}), Bad(TypeError, (X, np.ones(2), np.ones(2)), {})),
)
