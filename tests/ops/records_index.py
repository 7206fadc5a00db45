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
