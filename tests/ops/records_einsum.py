# SPDX-License-Identifier: Apache-2.0
"""einsum and tensordot against NumPy's."""

from __future__ import annotations

import numpy as np
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}



EQUATIONS = {
    "ij,jk->ik": ((3, 4), (4, 5)),
    "ij,jk": ((3, 4), (4, 5)),
    "bij,bkj->bik": ((2, 3, 4), (2, 5, 4)),
    "...ij,...jk->...ik": ((2, 1, 3, 4), (5, 4, 2)),
    "i...,i...": ((3, 2), (3, 4, 2)),
    "ii": ((4, 4),),
    "ii->i": ((4, 4),),
    "...ii->...i": ((2, 3, 3),),
    "iij,ji->ij": ((3, 3, 2), (2, 3)),
    "iijj->ij": ((2, 2, 3, 3),),
    "ijk->": ((2, 3, 4),),
    "ijk->kij": ((2, 3, 4),),
    "ba": ((2, 3),),
    "i,j->ij": ((3,), (4,)),
    "ij,ij->ij": ((3, 4), (3, 4)),
    "ij,ij->": ((3, 4), (3, 4)),
    ",ij->ji": ((), (2, 3)),
    "i,i": ((3,), (3,)),
    "ij,k->jk": ((3, 4), (2,)),
    "ijkl,lkm->ijm": ((2, 3, 4, 2), (2, 4, 3)),
    "ij,jk->ik ": ((3, 1), (4, 5)),
    " i j , j k -> i k ": ((3, 0), (0, 5)),
    "ij,jk,kl,lm->im": ((2, 6), (6, 3), (3, 5), (5, 2)),
    "bi,oij,bj->bo": ((3, 2), (4, 2, 5), (3, 5)),
    "aB,Bc->ca": ((2, 3), (3, 2)),
    "ij,ji,i->": ((3, 4), (4, 3), (3,)),
    "a,b,c->cab": ((2,), (3,), (4,)),
}



def _length(case):
    """Terms under one sum: the product of the sizes of all letters bounds it; a rounding per operand."""
    sizes: dict = {}
    for term, x in zip(case.attrs["equation"].replace(" ", "").split("->")[0].split(","), case.inputs[0]):
        head, _, tail = term.partition("...")
        sizes.update(zip(head, x.shape))
        sizes.update(zip(tail[::-1], x.shape[::-1]))
    return float(np.prod([max(sizes[k], 1) for k in sizes])) + len(case.inputs[0])


RECORDS["einsum"] = Record(
    lambda operands, equation, **_: np.einsum(equation, *operands),
    lambda rng: (
        [
            Case(([rng.normal(size=s) for s in shapes],), {"equation": equation})
            for equation, shapes in EQUATIONS.items()
        ]
        + [
            Case(([rng.normal(size=s) for s in EQUATIONS["ij,jk,kl,lm->im"]],), {"equation": "ij,jk,kl,lm->im", **how})
            for how in ({"optimize": "greedy"}, {"optimize": "left"}, {"path": (1, 2, 0, 2, 0, 1)})
        ]
    ),
    FLOATS,
    (0,),
    length=_length,
    scale=lambda operands, equation, **_: np.einsum(equation, *map(np.abs, operands)),
    bad=(
        Bad(ValueError, ([np.ones((2, 3)), np.ones((4, 2))],), {"equation": "ij,jk->ik"}, ("expected size 3", "got 4")),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "ii"}, ("repeated axis 'i'",)),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "ijk"}),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "ij,jk"}, ("expected 2 operands", "got 1")),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "i1"}, ("expected letters",)),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "i.j"}, ("ellipsis",)),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "ij->ik"}, ("output axes", "'k'")),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "ij->ii"}, ("once",)),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "...j->j"}, ("'...' in the output",)),
        Bad(ValueError, ([np.ones((2, 3))],), {"equation": "ij", "optimize": "best"}),
        Bad(ValueError, ([np.ones(2), np.ones(2)],), {"equation": "i,i", "path": (0, 2)}, ("two positions",)),
        Bad(TypeError, ([np.ones(2, bool)],), {"equation": "i"}),
    ),
)

RECORDS["tensordot"] = Record(
    lambda a, b, axes_a, axes_b: np.tensordot(a, b, (axes_a, axes_b)),
    lambda rng: [
        Case((rng.normal(size=a), rng.normal(size=b)), {"axes_a": i, "axes_b": j})
        for a, b, i, j in (
            ((2, 3, 4), (4, 3, 5), (1, 2), (1, 0)),
            ((2, 3), (3, 2), (0,), (-1,)),
            ((2, 3), (4,), (), ()),
            ((2, 3), (2, 3), (0, 1), (0, 1)),
            ((2, 0), (0, 3), (1,), (0,)),
            ((), (3,), (), ()),
        )
    ],
    FLOATS,
    (0, 1),
    length=lambda c: float(np.prod([c.inputs[0].shape[i] for i in c.attrs["axes_a"]])) + 1,
    scale=lambda a, b, axes_a, axes_b: np.tensordot(np.abs(a), np.abs(b), (axes_a, axes_b)),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3))), {"axes_a": (1,), "axes_b": (0,)}),
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3))), {"axes_a": (1, 1), "axes_b": (1, 1)}, ("distinct",)),
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3))), {"axes_a": (1,), "axes_b": ()}),
        Bad(IndexError, (np.ones((2, 3)), np.ones((2, 3))), {"axes_a": (2,), "axes_b": (0,)}),
    ),
)
