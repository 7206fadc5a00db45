# SPDX-License-Identifier: Apache-2.0
"""Gather, scatter and what is made of them."""

from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}
OUTSIDE = ("outside", "3")


def _take(rng):
    x = rng.normal(size=(3, 4))
    return [
        Case((x, rng.integers(-4, 4, (3, 2))), {"axis": 1}, (1,)),
        Case((x, rng.integers(0, 3, (5, 4))), {"axis": 0}, (1,)),
        Case((x, rng.integers(0, 4, (1, 2))), {"axis": -1}, (1,)),
        Case((x, rng.integers(0, 3, (2, 4)).astype(np.int32)), {"axis": 0}, (1,)),
        Case((x, np.zeros((3, 0), np.int64)), {"axis": 1}, (1,)),
    ]


RECORDS["take_along_axis"] = Record(
    lambda x, i, axis=-1: np.take_along_axis(x, i.astype(np.int64), axis),
    _take,
    ALL,
    (0,),
    bad=(Bad(TypeError, (np.ones((2, 2)), np.ones((2, 2))), {}), Bad(ValueError, (np.ones((2, 2)), np.array([0])), {})),
)


def _scatter(rng):
    x = rng.normal(size=(3, 4))
    return [
        Case((x, np.stack([rng.permutation(4)[:2] for _ in range(3)]), rng.normal(size=(3, 2))), {"axis": 1}, (1,)),
        Case((x, np.stack([rng.permutation(3) for _ in range(4)], 1) - 3, rng.normal(size=(3, 4))), {"axis": 0}, (1,)),
    ]


def _put(x, i, v, axis=-1):
    y = x.copy()
    np.put_along_axis(y, i, v, axis)
    return y


def _add(x, i, v, axis=-1):
    y = x.copy()
    where = list(np.ix_(*[np.arange(n) for n in i.shape]))
    where[axis] = i
    np.add.at(y, tuple(where), v)
    return y


WRONG = (
    Bad(ValueError, (np.ones((2, 2)), np.zeros((2, 1), np.int64), np.ones((2, 2))), {}),
    Bad(TypeError, (np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 2))), {}),
)
RECORDS["scatter"] = Record(_put, _scatter, ALL, (0, 2), bad=WRONG)
RECORDS["scatter_add"] = Record(
    _add,
    lambda rng: (
        _scatter(rng)
        + [Case((rng.normal(size=(3, 4)), rng.integers(0, 4, (3, 6)), rng.normal(size=(3, 6))), {"axis": 1}, (1,))]
    ),
    FLOATS,
    (0, 2),
    length=lambda c: c.inputs[1].size,
    scale=lambda x, i, v, axis: _add(np.abs(x), i, np.abs(v), axis),
    bad=WRONG,
)
RECORDS["index_select"] = Record(
    lambda x, i, axis=0: np.take(x, i, axis),
    lambda rng: [Case((rng.normal(size=(3, 4, 2)), np.array([2, 0, 0, -1])), {"axis": a}, (1,)) for a in (0, 1)],
    ALL,
    (0,),
    bad=(
        Bad(ValueError, (np.ones(3), np.zeros((1, 1), np.int64)), {}),
        Bad(IndexError, (np.ones(3), np.array([0])), {"axis": 1}),
    ),
)
RECORDS["embedding"] = Record(
    lambda w, i: w[i],
    lambda rng: [
        Case((rng.normal(size=(5, 3)), rng.integers(0, 5, (2, 4))), {}, (1,)),
        Case((rng.normal(size=(5, 3)), np.array(2)), {}, (1,)),
    ],
    FLOATS,
    (0,),
    bad=(Bad(TypeError, (np.ones((2, 2)), np.ones(2)), {}),),
)
RECORDS["one_hot"] = Record(
    lambda i, n: np.eye(n, dtype=np.int64)[i],
    [Case((np.array([[0, 2], [1, 1]]),), {"n": 3}, (0,)), Case((np.array(1),), {"n": 2}, (0,))],
    ("int64",),
    bad=(Bad(TypeError, (np.ones(2),), {"n": 2}), Bad(ValueError, (np.array([0]),), {"n": -1})),
)


def _range(tg, device):
    """An index outside its axis is an IndexError (on an asynchronous device: at the next wait) and writes nothing elsewhere."""
    import pytest

    if not device.startswith("cpu"):
        return
    x, i = tg.tensor([1.0, 2.0, 3.0], device=device), tg.tensor([3], device=device)
    for f in (
        lambda: tg.index_select(x, i),
        lambda: tg.take_along_axis(x, i),
        lambda: tg.scatter(x, i, tg.ones((1,), device=device)),
        lambda: tg.embedding(x.reshape((3, 1)), i),
    ):
        with pytest.raises(IndexError, match="3"):
            f()


RECORDS["index_select"].check = _range
