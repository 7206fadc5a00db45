# SPDX-License-Identifier: Apache-2.0
"""Histograms within given edges, weighted covariances, quantiles at tensors, k-th values, runs of equal rows: against NumPy."""

from __future__ import annotations

import numpy as np
from record import FLOATS, REAL, Bad, Case, Record

RECORDS: dict[str, Record] = {}
WRONG_AXIS = Bad(IndexError, (np.ones((2, 3)),), {"k": 1, "axis": 2}, ("expected", "got 2"))


def histogram_in(x, edges, weight=None):
    return np.histogram(x, edges, weights=weight)[0].astype(float)


EDGES = np.array([-1.25, -1.0, 0.0, 0.25, 2.0])
RECORDS["histogram_in"] = Record(
    histogram_in,
    lambda rng: [
        Case((rng.integers(-8, 9, (4, 9)) / 4, EDGES)),  # many on edges
        Case((rng.integers(-8, 9, (4, 9)) / 4, EDGES, rng.uniform(-1, 2, (4, 9)))),
        Case((np.array([0.25, 2.0, 2.0, 2.25]), np.array([0.0, 2.0]), np.array([1.0, 2.0, 4.0, 8.0]))),
        Case((np.zeros(0), EDGES)),
        Case((np.array(-1.0), EDGES)),
    ],
    FLOATS,
    length=lambda case: max(case.inputs[0].size, 1),
    scale=lambda x, edges, weight=None: histogram_in(x, edges, None if weight is None else np.abs(weight)),
    bad=(
        Bad(TypeError, (np.array([1, 2]), np.array([0, 1])), {}, ("floats", "int64")),
        Bad(ValueError, (np.ones(3), np.ones((2, 2))), {}, ("one axis", "(2, 2)")),
        Bad(ValueError, (np.ones(3), np.ones(2), np.ones(2)), {}, ("(3,)", "(2,)")),
    ),
)


def weighted_cov(x, fweights=None, aweights=None, correction=1.0):
    return np.cov(x, ddof=correction, fweights=fweights, aweights=aweights)


def cov_scale(x, fweights=None, aweights=None, correction=1.0):
    """The root of the product of the mean squares, and the cancellation in the number of observations."""
    rows = np.atleast_2d(x)
    f = np.ones(rows.shape[1]) if fweights is None else fweights
    a = np.ones(rows.shape[1]) if aweights is None else aweights
    w = f * a
    n = w.sum() - (correction * (w * a).sum() / w.sum() if aweights is not None else correction)
    d = np.sqrt((w * rows**2).sum(axis=1) / n) * np.sqrt(w.sum() / n)
    return np.outer(d, d) if x.ndim > 1 else np.squeeze(d * d)


RECORDS["weighted_cov"] = Record(
    weighted_cov,
    lambda rng: [
        Case((rng.uniform(-2, 2, (3, 8)), f, a), {"correction": c}, fixed=(1,))
        for f in (None, rng.integers(1, 4, 8))
        for a in (None, rng.uniform(0.5, 2, 8))
        for c in (0.0, 1.0)
    ]
    + [Case((rng.uniform(-2, 2, 8), rng.integers(0, 3, 8), rng.uniform(0.5, 2, 8)), fixed=(1,))],
    FLOATS,
    (0, 2),
    length=lambda case: case.inputs[0].shape[-1],
    scale=cov_scale,
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones(2, int)), {}, ("(3,)", "(2,)")),
        Bad(TypeError, (np.ones((2, 3)), np.ones(3)), {}, ("integers as fweights",)),
        Bad(TypeError, (np.ones((2, 3)), None, np.ones(3, int)), {}, ("floats as aweights",)),
    ),
)


def quantile_at(x, q, axis=None, keepdims=False, interpolation="linear", skip=False):
    f = np.nanquantile if skip else np.quantile
    return f(x, q, axis=axis, keepdims=keepdims, method=interpolation)


HOW = ("linear", "lower", "higher", "midpoint", "nearest")
HOLES = np.array([[1.0, np.nan, 3.0, 0.5], [np.nan, np.nan, 2.0, 7.0]])
# Fractions that 16-bit floats hold, so that all dtypes take the same elements.
RECORDS["quantile_at"] = Record(
    quantile_at,
    lambda rng: (
        [Case((rng.permutation(60).reshape(3, 4, 5) / 4 - 5, np.array(0.3125)), a) for a in ({}, {"axis": (0, 2), "keepdims": True})]
        + [Case((rng.permutation(14).reshape(2, 7) / 2, np.array([0.0625, 0.40625, 0.78125])), {"axis": (1,), "interpolation": h}, smooth=h == "linear")
           for h in HOW]  # q has a gradient in linear alone
        + [Case((HOLES, np.array([0.0, 0.5, 1.0])), {"axis": (1,), "interpolation": h, "skip": True}, smooth=False) for h in HOW[1:3]]
        + [Case((HOLES, np.array(0.25)), {"axis": (1,)}, smooth=False), Case((np.ones(3), np.zeros(0)))]
    ),
    FLOATS,
    (0, 1),
    scale=lambda x, q, **a: np.maximum(
        *(np.abs(quantile_at(x, q, **{**a, "interpolation": m})) for m in ("lower", "higher"))
    ),
    bad=(
        Bad(TypeError, (np.ones(3), np.array(1)), {}, ("floats as q", "int64")),
        Bad(ValueError, (np.ones(3), np.ones((1, 1))), {}, ("one axis", "(1, 1)")),
        Bad(ValueError, (np.ones(3), np.array(0.5)), {"interpolation": "cubic"}, ("linear", "got 'cubic'")),
    ),
)


def kthvalue(x, k, axis=-1, keepdims=False):
    order = np.take(np.argsort(x, axis=axis, kind="stable"), [k - 1], axis=axis)
    found = np.take_along_axis(x, order, axis)
    return (found, order) if keepdims else (found.squeeze(axis), order.squeeze(axis))


RECORDS["kthvalue"] = Record(
    kthvalue,
    lambda rng: [
        Case((rng.permutation(60).reshape(3, 4, 5) - 20.0,), a)
        for a in ({"k": 1}, {"k": 4, "axis": 1}, {"k": 2, "axis": 0, "keepdims": True})
    ]
    + [Case((np.array([2.0, 1.0, np.nan, 1.0]),), {"k": k}, smooth=False) for k in (1, 2, 3, 4)],
    REAL,
    (0,),
    bad=(
        WRONG_AXIS,
        Bad(ValueError, (np.ones(3),), {"k": 0}, ("k between 1 and 3", "got 0")),
        Bad(ValueError, (np.ones(3),), {"k": 4}, ("k between 1 and 3", "got 4")),
    ),
)


def _runs_of_rows(tg, device):
    import pytest

    rng = np.random.default_rng(5)
    for x, axis in (
        (rng.integers(0, 2, (30, 2)), 0),
        (rng.integers(0, 2, (1, 30)) / 2.0, 1),
        (rng.integers(0, 2, (2, 20, 2)), -2),
        (rng.integers(0, 2, 9), 0),
        (np.zeros((0, 3)), 0),
        (np.array([[1.0, np.nan], [1.0, np.nan]]), 0),
    ):
        values, inverse, counts = (
            v.cpu().numpy() for v in tg.unique_consecutive(tg.tensor(x, device=device), True, True, axis)
        )
        rows = np.moveaxis(x, axis, 0)
        starts = [i for i in range(len(rows)) if i == 0 or not np.array_equal(rows[i], rows[i - 1])]
        np.testing.assert_array_equal(values, np.moveaxis(rows[starts], 0, axis))
        np.testing.assert_array_equal(counts, np.diff([*starts, len(rows)]) if len(rows) else [])
        np.testing.assert_array_equal(np.moveaxis(values, axis, 0)[inverse] if len(rows) else rows, rows)
    with pytest.raises(IndexError, match=r"\[unique_consecutive\] expected an axis in \[-1, 1\), got 1"):
        tg.unique_consecutive(tg.ones(3, device=device), dim=1)


RECORDS["unique_consecutive_rows_padded"] = Record(
    cases=lambda rng: [Case((rng.integers(0, 3, (6, 2)).astype(float),))], check=_runs_of_rows, skip={"vmap": ("never", "how many there are depends on the data")}
)
