# SPDX-License-Identifier: Apache-2.0
"""Products of vectors and matrices by their names, against NumPy."""

from __future__ import annotations

import numpy as np
from record import FLOATS, INTS, Bad, Case, Record

RECORDS: dict[str, Record] = {}
NUMBERS = (*FLOATS, *INTS)


def _pairs(*shapes):
    return lambda rng: [Case((np.rint(rng.normal(size=a) * 4), np.rint(rng.normal(size=b) * 4))) for a, b in shapes]


def _product(name, oracle, shapes, bad, dtypes=NUMBERS):
    RECORDS[name] = Record(
        oracle,
        _pairs(*shapes),
        dtypes,
        (0, 1),
        length=lambda c: float(max(1, *(c.inputs[0].shape or (1,))) * max(1, *(c.inputs[1].shape or (1,)))) + 1,
        scale=lambda x, y, **a: oracle(np.abs(x), np.abs(y), **a),
        bad=tuple(Bad(ValueError, (np.ones(a), np.ones(b)), {}) for a, b in bad),
    )


_product("matvec", np.matvec, [((3, 4), (4,)), ((2, 1, 3, 4), (5, 4)), ((3, 0), (0,))], [((3, 4), (3,)), ((3,), (3,))])
_product("vecmat", np.vecmat, [((4,), (4, 3)), ((5, 4), (2, 1, 4, 3)), ((0,), (0, 3))], [((3,), (4, 3)), ((3,), (3,))])
_product("vecdot", np.vecdot, [((4,), (4,)), ((2, 1, 4), (3, 4)), ((2, 0), (2, 0))], [((3,), (4,)), ((2,), (2, 1))])
RECORDS["vecdot"].cases = lambda rng: [
    *_pairs(((4,), (4,)), ((2, 1, 4), (3, 4)), ((2, 0), (2, 0)))(rng),
    Case((rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 1))), {"axis": -2}),
]
RECORDS["vecdot"].dtypes = FLOATS
RECORDS["vecdot"].bad += (
    Bad(ValueError, (np.ones(3), np.ones(3)), {"axis": 0}, ("counted from the end",)),
    Bad(IndexError, (np.ones(3), np.ones(3)), {"axis": -2}, ()),
)
def _bilinear(x, y, w, b=None):
    out = np.einsum("...i,oij,...j->...o", x, w, y)
    return out if b is None else out + b


RECORDS["bilinear"] = Record(
    _bilinear,
    lambda rng: [
        Case(tuple(rng.normal(size=s) for s in shapes))
        for shapes in (((4, 2), (4, 3), (5, 2, 3), (5,)), ((2,), (3,), (4, 2, 3)), ((2, 1, 2), (3, 3), (1, 2, 3), (1,)))
    ],
    FLOATS,
    (0, 1, 2, 3),
    length=lambda c: 6 + 3,
    scale=lambda *a: _bilinear(*map(np.abs, a)),
    bad=(
        Bad(ValueError, (np.ones((4, 2)), np.ones((4, 3)), np.ones((5, 3, 3))), {}),
        Bad(ValueError, (np.ones((4, 2)), np.ones((4, 3)), np.ones((5, 2, 3)), np.ones(4)), {}),
        Bad(TypeError, (np.ones((4, 2), int), np.ones((4, 3), int), np.ones((5, 2, 3), int)), {}),
    ),
)


def _blend(product):
    return lambda c, a, b, beta=1, alpha=1: (0 if beta == 0 else beta * c) + alpha * product(a, b)


PRODUCTS = {
    "addmm": (np.matmul, (2, 3), (3, 4), [(2, 4), (4,), (2, 1), ()]),
    "addmv": (np.matmul, (2, 3), (3,), [(2,), (1,), ()]),
    "addr": (np.outer, (2,), (3,), [(2, 3), (3,)]),
    "baddbmm": (np.matmul, (2, 3, 4), (2, 4, 5), [(2, 3, 5), (5,), (2, 1, 1)]),
    "addbmm": (lambda a, b: np.matmul(a, b).sum(0), (2, 3, 4), (2, 4, 5), [(3, 5), (5,)]),
}
for _name, (_f, _a, _b, _bases) in PRODUCTS.items():
    RECORDS[_name] = Record(
        _blend(_f),
        lambda rng, a=_a, b=_b, bases=_bases: [
            Case((rng.normal(size=c), rng.normal(size=a), rng.normal(size=b)), attrs)
            for c in bases
            for attrs in ({}, {"beta": 0.5, "alpha": -2.0})
        ]
        + [Case((np.full(bases[0], np.nan), rng.normal(size=a), rng.normal(size=b)), {"beta": 0}, smooth=False)],
        FLOATS,
        (0, 1, 2),
        length=lambda c: float(np.prod(c.inputs[1].shape)) + 3,
        scale=lambda c, a, b, beta=1, alpha=1, f=_f: _blend(f)(np.abs(c), np.abs(a), np.abs(b), abs(beta), abs(alpha)),
        bad=(
            Bad(ValueError, (np.ones((7, 7)), np.ones(_a), np.ones(_b)), {}, ()),
            Bad(ValueError, (np.ones(()), np.ones((*_a, 2)), np.ones(_b)), {}),
            Bad(TypeError, (np.ones((), np.int64), np.ones(_a), np.ones(_b)), {}),
            Bad(TypeError, (np.ones((), int), np.ones(_a, int), np.ones(_b, int)), {"alpha": 0.5}),
        ),
    )
