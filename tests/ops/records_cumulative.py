# SPDX-License-Identifier: Apache-2.0
"""Running maxima, minima and logsumexp; the gradients of products with zeros."""

from __future__ import annotations

import numpy as np
from record import Bad, Case, Record

RECORDS: dict[str, Record] = {}
WRONG_AXIS = Bad(IndexError, (np.ones((2, 3)),), {"axis": 2}, ("expected", "got 2"))


def running(better):
    def oracle(x, axis):
        moved = np.moveaxis(x, axis, 0)
        values, places = moved.copy(), np.zeros(moved.shape, np.int64)
        for i in range(1, len(moved)):
            before, here = values[i - 1], moved[i]
            take = np.isnan(here) | (better(here, before) & ~np.isnan(before))
            values[i] = np.where(take, here, before)
            places[i] = np.where(take, i, places[i - 1])
        return np.moveaxis(values, 0, axis), np.moveaxis(places, 0, axis)

    return oracle


for _name, _better in {"cummax": np.greater_equal, "cummin": np.less_equal}.items():
    RECORDS[_name] = Record(
        running(_better),
        lambda rng: (
            [Case((rng.permutation(24).reshape(4, 6) - 9.0,), {"axis": a}) for a in (0, 1, -1)]
            + [Case((np.array([2.0, 2.0, 1.0, 2.0, np.nan, 3.0, np.nan, 0.0]),), {"axis": 0}, smooth=False)]
            + [Case((np.array([-np.inf, -np.inf, np.inf]),), {"axis": 0}, smooth=False), Case((np.zeros((0, 2)),), {"axis": 0})]
        ),
        ("float32", "float64", "float16", "bfloat16"),
        (0,),
        bad=(WRONG_AXIS,),
    )


def _integers(tg, device):
    for dtype in (tg.int64, tg.int32, tg.uint8):
        values, places = tg.cummax(tg.tensor([1, 3, 2, 3, 0], dtype=dtype, device=device), axis=0)
        assert values.dtype == dtype and values.tolist() == [1, 3, 3, 3, 3] and places.tolist() == [0, 1, 1, 3, 3]


RECORDS["cummax"].check = _integers


def logcumsumexp(x, axis):
    return np.logaddexp.accumulate(x, axis=axis)


RECORDS["logcumsumexp"] = Record(
    logcumsumexp,
    lambda rng: (
        [Case((rng.uniform(-3, 3, (4, 7)),), {"axis": a}) for a in (0, -1)]
        + [Case((np.array([-np.inf, -np.inf, 1.0, 2.0, np.inf, 0.0]),), {"axis": 0}, smooth=False)]
        + [Case((np.array([1000.0, 1000.0, -1000.0]),), {"axis": 0}), Case((np.zeros((0, 2)),), {"axis": 0})]
    ),
    ("float32", "float64", "float16", "bfloat16"),
    (0,),
    length=lambda case: max(1, int(np.ceil(np.log2(max(case.inputs[0].shape))))),
    scale=lambda x, axis: 1 + np.abs(logcumsumexp(x, axis)) + np.abs(x),
    bad=(WRONG_AXIS, Bad(TypeError, (np.array([1, 2]),), {"axis": 0}, ("floats", "int64"))),
)
