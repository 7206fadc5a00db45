# SPDX-License-Identifier: Apache-2.0
"""Elements by mask."""
from __future__ import annotations

import numpy as np
from record import ALL, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def _select(x, m):
    x, m = np.broadcast_arrays(x, m)
    return x[m]


def _masks(rng):
    x = rng.normal(size=(3, 4))
    return [
        Case((x, rng.random((3, 4)) < 0.5), {}, (1,)),
        Case((x, np.array([True, False, True, True])), {}, (1,)),
        Case((x, np.zeros((3, 4), bool)), {}, (1,)),
        Case((x, np.ones((3, 1), bool)), {}, (1,)),
        Case((rng.normal(size=(2, 0)), np.ones((2, 0), bool)), {}, (1,)),
    ]


RECORDS["masked_select"] = Record(
    _select,
    lambda rng: [*_masks(rng), Case((rng.normal(size=4), rng.random((3, 4)) < 0.7), {}, (1,)), Case((rng.normal(size=()), np.array(True)), {}, (1,))],
    ALL,
    (0,),
    bad=(Bad(TypeError, (np.ones(2), np.ones(2)), {}), Bad(ValueError, (np.ones(2), np.ones(3, bool)), {}, ())),
    skip={"vmap": ("never", "the result's shape depends on the data")},
)


def _scatter(x, m, source):
    y, m = x.copy(), np.broadcast_to(m, x.shape)
    y[m] = source.ravel()[: m.sum()]
    return y


RECORDS["masked_scatter"] = Record(
    _scatter,
    lambda rng: [Case((*c.inputs, rng.normal(size=(3, 5))), {}, (1,)) for c in _masks(rng)] + [Case((np.ones(3), np.zeros(3, bool), np.ones(0)), {}, (1,))],
    ALL,
    (0, 2),
    bad=(
        Bad(TypeError, (np.ones(2), np.ones(2), np.ones(2)), {}),
        Bad(TypeError, (np.ones(2), np.ones(2, bool), np.ones(2, np.int64)), {}),
        Bad(ValueError, (np.ones(2), np.ones((2, 2), bool), np.ones(4)), {}),
        Bad(IndexError, (np.ones(2), np.ones(2, bool), np.ones(0)), {}),
    ),
)
