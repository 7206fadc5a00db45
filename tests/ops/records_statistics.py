# SPDX-License-Identifier: Apache-2.0
"""Order statistics, reductions without NaN, extrema with places: against NumPy."""

from __future__ import annotations

import numpy as np
from record import FLOATS, REAL, Bad, Case, Record
from scipy import stats

RECORDS: dict[str, Record] = {}
AXES = ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 2)}, {"axis": (2, 0), "keepdims": True})
WRONG_AXIS = Bad(IndexError, (np.ones((2, 3)),), {"axis": 2}, ("expected", "got 2"))
FLOATS_ONLY = Bad(TypeError, (np.array([1, 2]),), {}, ("floats", "int64"))
NOTHING = Bad(ValueError, (np.zeros((2, 0)),), {"axis": 1}, ("at least one element", "(2, 0)"))
NAN, INF = np.nan, np.inf
HOLES = np.array([[1.0, NAN, 3.0, -2.0, 7.0], [NAN, NAN, NAN, NAN, NAN], [4.0, 4.5, -INF, INF, 0.0]])


def axes(a):
    axis = a.get("axis")
    return {"axis": axis if axis is None or isinstance(axis, int) else tuple(axis), "keepdims": a.get("keepdims", False)}


def with_q(bad, **more):
    return Bad(bad.error, bad.inputs, {"q": 0.5, **bad.attrs, **more}, bad.says)


def quantile(f):
    return lambda x, q, interpolation="linear", **a: f(x, q, method=interpolation, **axes(a))


def neighbours(f):
    """The larger magnitude of the two elements that are mixed."""
    return lambda x, q, interpolation="linear", **a: np.maximum(
        *(np.abs(f(x, q, method=m, **axes(a))) for m in ("lower", "higher"))
    )


HOW = ("linear", "lower", "higher", "midpoint", "nearest")
for _name, _f in {"quantile": np.quantile, "nanquantile": np.nanquantile}.items():
    RECORDS[_name] = Record(
        quantile(_f),
        lambda rng: (
            [Case((rng.permutation(60).reshape(3, 4, 5) / 4 - 5,), {"q": 0.3, **a}) for a in AXES]
            + [Case((rng.permutation(60).reshape(3, 4, 5) / 4 - 5,), {"q": [0.0, 0.75, 1.0], "axis": (0, 1)})]
            + [Case((rng.permutation(14).reshape(2, 7) / 2,), {"q": [0.1, 0.4], "axis": 1, "interpolation": h}) for h in HOW]
            + [Case((HOLES,), {"q": [0.0, 0.5, 1.0], "axis": 1, "interpolation": h}, smooth=False) for h in ("lower", "nearest")]
            + [Case((np.array(3.5),), {"q": 0.5})]
        ),
        FLOATS,
        (0,),
        scale=neighbours(_f),
        bad=(
            with_q(WRONG_AXIS),
            with_q(FLOATS_ONLY),
            with_q(NOTHING),
            Bad(ValueError, (np.ones(3),), {"q": 1.5}, ("q between 0 and 1", "got 1.5")),
            Bad(ValueError, (np.ones(3),), {"q": 0.5, "interpolation": "cubic"}, ("linear", "got 'cubic'")),
        ),
    )


def _many(tg, device):
    """All shares of an uneven number of elements, against NumPy in float64."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1001,))
    q = rng.uniform(size=50).tolist()
    for how in HOW:
        got = tg.quantile(tg.tensor(x, device=device), q, interpolation=how).cpu().numpy()
        np.testing.assert_allclose(got, np.quantile(x, q, method=how), rtol=1e-12)


RECORDS["quantile"].check = _many
for _name, _f in {"median": np.median, "nanmedian": np.nanmedian}.items():
    RECORDS[_name] = Record(
        lambda x, f=_f, **a: f(x, **axes(a)),
        lambda rng: (
            [Case((rng.permutation(60).reshape(3, 4, 5) / 4 - 5,), a) for a in AXES]
            + [Case((HOLES[:2],), {"axis": 1}, smooth=False), Case((np.array(3.5),))]
        ),
        FLOATS,
        (0,),
        scale=lambda x, **a: np.nanmax(np.abs(x), **axes(a)),
        bad=(WRONG_AXIS, FLOATS_ONLY, NOTHING),
    )


def count(case: Case) -> float:
    shape, axis = case.inputs[0].shape, case.attrs.get("axis")
    return max(int(np.prod(shape if axis is None else [shape[a] for a in np.atleast_1d(axis)])), 1) + 1


for _name, _f in {"nansum": np.nansum, "nanmean": np.nanmean}.items():
    RECORDS[_name] = Record(
        lambda x, f=_f, **a: f(x, **axes(a)),
        lambda rng: (
            [Case((rng.uniform(-2, 2, (3, 4, 5)),), a) for a in AXES]
            + [Case((HOLES,), {"axis": 1}, smooth=False), Case((np.array(NAN),), smooth=False)]
            + [Case((np.array([1.0, NAN, 3.0]),))]
        ),
        FLOATS,
        (0,),
        length=count,
        scale=lambda x, f=_f, **a: f(np.abs(x), **axes(a)),
        bad=(WRONG_AXIS,) + ((FLOATS_ONLY,) if _name == "nanmean" else ()),
    )


def _holes_have_no_gradient(tg, device):
    x = tg.tensor([1.0, NAN, 3.0], device=device, requires_grad=True)
    tg.nanmean(x).backward()
    assert x.grad.tolist() == [0.5, 0.0, 0.5]
    assert tg.nansum(tg.tensor([1, 2], device=device)).dtype == tg.int64


RECORDS["nanmean"].check = _holes_have_no_gradient

for _name, _arg, _f in (("max_with_indices", np.argmax, np.max), ("min_with_indices", np.argmin, np.min)):
    RECORDS[_name] = Record(
        lambda x, axis, keepdims=False, arg=_arg, f=_f: (
            f(x, axis=axis, keepdims=keepdims),
            arg(x, axis=axis, keepdims=keepdims),
        ),
        lambda rng: (
            [Case((rng.permutation(60).reshape(3, 4, 5) - 20.0,), a) for a in ({"axis": 0}, {"axis": -1, "keepdims": True})]
            + [Case((np.array([[1.0, 3.0, 3.0, 1.0], [1.0, NAN, 3.0, NAN]]),), {"axis": 1}, smooth=False)]
        ),
        FLOATS,
        (0,),
        bad=(WRONG_AXIS, NOTHING),
    )
RECORDS["aminmax"] = Record(
    lambda x, **a: (np.min(x, **axes(a)), np.max(x, **axes(a))),
    lambda rng: [Case((rng.permutation(60).reshape(3, 4, 5) - 20.0,), a) for a in AXES],
    FLOATS,
    (0,),
    bad=(WRONG_AXIS, NOTHING),
)


def mode(x, axis=-1, keepdims=False):
    values = stats.mode(x, axis=axis, keepdims=True).mode
    flipped = np.flip(x == values, axis)
    at = x.shape[axis] - 1 - np.argmax(flipped, axis=axis, keepdims=True)
    return (values, at) if keepdims else (values.squeeze(axis), at.squeeze(axis))


RECORDS["mode"] = Record(
    mode,
    lambda rng: [
        Case((rng.integers(0, 4, (5, 9)),), a, smooth=False) for a in ({}, {"axis": 0}, {"axis": 1, "keepdims": True})
    ]
    + [Case((np.array([[3.0], [4.0]]),), {"axis": 1})]
    + [Case((rng.permutation(np.arange(15.0)).reshape(3, 5),), a) for a in ({}, {"axis": 0})],  # no ties: the least of all, smooth
    REAL,
    (0,),
    bad=(WRONG_AXIS, NOTHING),
)
