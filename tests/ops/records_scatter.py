# SPDX-License-Identifier: Apache-2.0
"""gather and scatter with an index that may be smaller than x: loops over the index are the oracle."""
from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, REAL, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def _places(i, axis):
    """Where in x every element of the index points, row-major."""
    where = list(np.unravel_index(np.arange(i.size), i.shape))
    where[axis] = i.ravel()
    return tuple(where)


def _fit(v, i):
    return np.broadcast_to(v, i.shape) if v.ndim == 0 else v[tuple(slice(n) for n in i.shape)]


def _set(x, i, v, axis=-1):
    y = x.copy()
    for p, u in zip(zip(*_places(i, axis)), _fit(v, i).ravel()):
        y[p] = u
    return y


def _at(ufunc):
    def f(x, i, v, axis=-1):
        y = x.copy()
        ufunc.at(y, _places(i, axis), _fit(v, i).ravel())
        return y

    return f


def _cases(rng):
    x = rng.normal(size=(3, 4))
    distinct = np.stack([rng.permutation(4)[:2] for _ in range(3)])
    return [
        Case((x, distinct, rng.normal(size=(3, 2))), {"axis": 1}, (1,)),
        Case((x, np.stack([rng.permutation(3) for _ in range(4)], 1) - 3, rng.normal(size=(3, 4))), {"axis": 0}, (1,)),
        Case((x, rng.integers(0, 4, (3, 6)), rng.normal(size=(3, 6))), {"axis": -1}, (1,)),
        Case((x, rng.integers(0, 4, (2, 5)), rng.normal(size=(4, 6))), {"axis": 1}, (1,)),
        Case((x, rng.integers(0, 3, (7, 2)).astype(np.int32), rng.normal(size=())), {"axis": 0}, (1,)),
        Case((x, np.zeros((3, 0), np.int64), rng.normal(size=(3, 0))), {"axis": 1}, (1,)),
        Case((rng.normal(size=(2, 3, 4)), rng.integers(-3, 3, (2, 5, 4)), rng.normal(size=(2, 5, 4))), {"axis": 1}, (1,)),
    ]


ONES, FIRST = np.ones((2, 2)), np.zeros((2, 1), np.int64)
WRONG = (
    Bad(ValueError, (ONES, FIRST, np.ones((1, 1))), {}),
    Bad(ValueError, (ONES, np.zeros((3, 1), np.int64), np.ones((3, 1))), {}),
    Bad(ValueError, (ONES, np.array([0]), np.ones(1)), {}),
    Bad(TypeError, (ONES, ONES, ONES), {}),
    Bad(TypeError, (ONES, FIRST, np.ones((2, 1), np.int64)), {}),
)
RECORDS["gather"] = Record(
    lambda x, i, axis=-1: x[_places(i, axis)].reshape(i.shape),
    lambda rng: [Case(c.inputs[:2], c.attrs, (1,)) for c in _cases(rng)],
    ALL,
    (0,),
    bad=tuple(Bad(b.error, b.inputs[:2], {}) for b in WRONG[1:4]),
)
RECORDS["scatter"] = Record(_set, _cases, ALL, (0, 2), bad=WRONG)
RECORDS["scatter_add"] = Record(
    _at(np.add),
    _cases,
    FLOATS,
    (0, 2),
    length=lambda c: c.inputs[1].size + 1,
    scale=lambda x, i, v, axis=-1: _at(np.add)(np.abs(x), i, np.abs(v), axis),
    bad=WRONG,
)
RECORDS["scatter_max"] = Record(_at(np.maximum), _cases, REAL, (0, 2), bad=WRONG)


def _reduce(x, i, v, axis=-1, reduce="sum", include_self=True):
    """Collects what goes to every place, then reduces it."""
    parts: dict = {}
    for p, u in zip(zip(*_places(i, axis)), _fit(v, i).ravel()):
        p = tuple(int(k) % n for k, n in zip(p, x.shape))
        parts.setdefault(p, [x[p]] if include_self else []).append(u)
    f = {"sum": np.sum, "prod": np.prod, "amax": np.max, "amin": np.min, "mean": np.mean}[reduce]
    y = x.copy()
    for p, values in parts.items():
        floored = reduce == "mean" and x.dtype.kind in "iu"
        y[p] = np.floor_divide(np.sum(values), len(values)) if floored else f(values)
    return y


def _reductions(rng):
    kinds = [(r, s) for r in ("sum", "prod", "mean", "amax", "amin") for s in (True, False)]
    cases = _cases(rng)
    return [Case(c.inputs, {**c.attrs, "reduce": r, "include_self": s}, (1,)) for n, (r, s) in enumerate(kinds)
            for c in (cases[2], cases[n % len(cases)])]


def _magnitude(x, i, v, axis=-1, reduce="sum", include_self=True):
    how = reduce if reduce == "prod" else "sum"
    return _reduce(np.abs(x), i, np.abs(v), axis, how, include_self)


RECORDS["scatter_reduce"] = Record(
    _reduce,
    _reductions,
    ("float32", "float64", "int64", "int32"),
    (0, 2),
    length=lambda c: c.inputs[1].size + 1,
    scale=_magnitude,
    bad=(*WRONG, Bad(ValueError, (ONES, FIRST, np.ones((2, 1))), {"reduce": "median"})),
)
