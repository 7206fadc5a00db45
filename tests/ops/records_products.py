# SPDX-License-Identifier: Apache-2.0
"""dot, inner, kron, cross, trace, differences, the trapezoidal rule, covariance: against NumPy."""

from __future__ import annotations

import math

import numpy as np
from record import FLOATS, REAL, Bad, Case, Record

RECORDS: dict[str, Record] = {}
WRONG_AXIS = Bad(IndexError, (np.ones((2, 3)),), {"axis": 2}, ("expected", "got 2"))
FLOATS_ONLY = Bad(TypeError, (np.array([1, 2]),), {}, ("floats", "int64"))


def two(name, oracle, shapes, length, bad=(), dtypes=FLOATS, scale=None, **attrs):
    def cases(rng):
        return [Case((rng.uniform(-2, 2, a), rng.uniform(-2, 2, b)), attrs) for a, b in shapes]

    magnitude = lambda x, y, **a: oracle(np.abs(x), np.abs(y), **a)  # noqa: E731
    RECORDS[name] = Record(oracle, cases, dtypes, (0, 1), length=length, scale=scale or magnitude, bad=bad)


last = lambda case: max(case.inputs[0].shape[-1] if case.inputs[0].ndim else 1, 1)  # noqa: E731
SHAPES_DIFFER = Bad(ValueError, (np.ones(3), np.ones(4)), {}, ("expected", "(3,)", "(4,)"))
two("dot", np.dot, [(5, 5), (0, 0)], last, (SHAPES_DIFFER, Bad(ValueError, (np.ones((2, 2)), np.ones(2)), {})), REAL)
two("vdot", np.vdot, [((2, 3), (3, 2)), ((), ())], lambda case: case.inputs[0].size, (SHAPES_DIFFER,))
two("inner", np.inner, [((2, 3, 4), (5, 4)), (4, 4), ((), (3,)), ((2, 0), (3, 0))], last, (SHAPES_DIFFER,))
two("kron", np.kron, [((2, 3), (3, 2)), (3, (2, 2)), ((2, 1, 2), 3), ((), 3)], lambda case: 1, (), REAL)


def cross(x, y, axis=-1):
    x, y = np.broadcast_arrays(x, y)
    return np.cross(x, y, axis=axis)


def cross_size(x, y, axis=-1):
    x, y = (np.moveaxis(np.abs(v), axis, -1) for v in np.broadcast_arrays(x, y))
    z = x[..., [1, 2, 0]] * y[..., [2, 0, 1]] + x[..., [2, 0, 1]] * y[..., [1, 2, 0]]
    return np.moveaxis(z, -1, axis)


BAD_CROSS = (Bad(ValueError, (np.ones(4), np.ones(4)), {}, ("size 3", "(4,)")), Bad(IndexError, (np.ones(3), np.ones(3)), {"axis": 1}))
two("cross", cross, [((4, 3), (4, 3)), ((2, 4, 3), (4, 3)), (3, (2, 3))], lambda case: 1, BAD_CROSS, FLOATS, cross_size)


def _columns(tg, device):
    x, y = np.arange(6.0).reshape(3, 2), np.arange(6.0)[::-1].reshape(3, 2)
    got = tg.cross(tg.tensor(x, device=device), tg.tensor(y.copy(), device=device), axis=0).cpu().numpy()
    np.testing.assert_array_equal(got, np.cross(x, y, axis=0))


RECORDS["cross"].check = _columns

RECORDS["trace"] = Record(
    np.trace,
    lambda rng: [
        Case((rng.uniform(-2, 2, (4, 5)),), a) for a in ({}, {"offset": 1}, {"offset": -2}, {"offset": 7}, {"axis1": 1, "axis2": 0})
    ]
    + [Case((rng.uniform(-2, 2, (2, 3, 4)),), {"axis1": 2, "axis2": 0})],
    FLOATS,
    (0,),
    length=lambda case: 5,
    scale=lambda x, **a: np.trace(np.abs(x), **a),
    bad=(Bad(ValueError, (np.ones(3),), {}, ("at least 2 axes", "(3,)")), Bad(ValueError, (np.ones((3, 3)),), {"axis2": 0}, ("distinct",))),
)


def _int_trace(tg, device):
    t = tg.trace(tg.tensor([[100, 2], [3, 100]], dtype=tg.int8, device=device))
    assert t.dtype == tg.int64 and t.item() == 200


RECORDS["trace"].check = _int_trace


def spread(x, n=1, axis=-1):
    """The sum of |x| times the binomial coefficients of the n-th difference."""
    if x.shape[axis] <= n:
        return np.diff(x, n, axis)
    x, m = np.moveaxis(np.abs(x), axis, -1), x.shape[axis]
    return np.moveaxis(sum(math.comb(n, k) * x[..., k : m - n + k] for k in range(n + 1)), -1, axis)


RECORDS["diff"] = Record(
    np.diff,
    lambda rng: [Case((rng.uniform(-2, 2, (4, 5)),), a) for a in ({}, {"axis": 0}, {"n": 2}, {"n": 3, "axis": 0}, {"n": 0}, {"n": 7})],
    FLOATS,
    (0,),
    length=lambda case: case.attrs.get("n", 1),
    scale=spread,
    bad=(WRONG_AXIS, Bad(ValueError, (np.ones(3),), {"n": -1}, ("n of 0 or more", "got -1"))),
)


def _other_differences(tg, device):
    assert tg.diff(tg.tensor([True, False, False], device=device)).tolist() == [True, False]
    assert tg.diff(tg.tensor([1, 4, 9], device=device), 2).tolist() == [2]


RECORDS["diff"].check = _other_differences


def trapezoid(y, x=None, dx=1.0, axis=-1):
    return np.trapezoid(y, x, dx, axis)


def area(y, x=None, dx=1.0, axis=-1):
    if x is None:
        return np.trapezoid(np.abs(y), None, abs(dx), axis)
    wide = np.full(y.shape[axis] - 1, 2 * np.abs(x).max())
    return np.trapezoid(np.abs(y), np.concatenate([[0], np.cumsum(wide)]), axis=axis)


RECORDS["trapezoid"] = Record(
    trapezoid,
    lambda rng: [
        Case((rng.uniform(-2, 2, (4, 5)),), {}),
        Case((rng.uniform(-2, 2, (4, 5)),), {"dx": 0.5, "axis": 0}),
        Case((rng.uniform(-2, 2, (4, 5)), rng.uniform(-2, 2, 5)), {}),
        Case((rng.uniform(-2, 2, (4, 5)), rng.uniform(-2, 2, (4, 5))), {"axis": 0}),
        Case((np.ones((2, 1)),), {}),
    ],
    FLOATS,
    (0, 1),
    length=lambda case: 8,
    scale=area,
    bad=(WRONG_AXIS, FLOATS_ONLY, Bad(ValueError, (np.ones((2, 3)), np.ones(2)), {}, ("(3,)", "got (2,)"))),
)


def covariance(x, correction=1.0):
    return np.cov(x, ddof=int(correction))


def variances(x, correction=1.0):
    rows = np.atleast_2d(x)
    d = np.sqrt(np.mean(rows**2, axis=1) * rows.shape[1] / (rows.shape[1] - correction))
    return np.outer(d, d) if x.ndim > 1 else np.squeeze(d * d)


RECORDS["cov"] = Record(
    covariance,
    lambda rng: [Case((rng.uniform(-2, 2, (3, 8)),), a) for a in ({}, {"correction": 0})] + [Case((rng.uniform(-2, 2, 8),), {})],
    FLOATS,
    (0,),
    length=lambda case: case.inputs[0].shape[-1],
    scale=variances,
    bad=(FLOATS_ONLY, Bad(ValueError, (np.ones((2, 2, 2)),), {}, ("expected", "(2, 2, 2)"))),
)
RECORDS["corrcoef"] = Record(
    np.corrcoef,
    lambda rng: [Case((rng.uniform(-1, 1, (3, 8)),), {})],
    FLOATS,
    (0,),
    length=lambda case: case.inputs[0].shape[-1],
    scale=lambda x: np.outer(*[np.sqrt(np.mean(x**2, axis=1) / np.var(x, axis=1))] * 2),
    bad=(FLOATS_ONLY,),
)
