# SPDX-License-Identifier: Apache-2.0
"""Places in sorted sequences, bins, membership: against NumPy. And results of data-dependent size, as buffers."""

from __future__ import annotations

import numpy as np
from record import FLOATS, REAL, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def searchsorted(s, v, side="left", right=False):
    side = "right" if right else side
    if s.ndim == 1:
        return np.searchsorted(s, v, side)
    out = np.zeros(v.shape, np.int64)
    for at in np.ndindex(s.shape[:-1]):
        out[at] = np.searchsorted(s[at], v[at], side)
    return out


SORTED = np.array([-3.0, 0.0, 0.0, 2.0, 5.0])
VALUES = np.array([[-4.0, -3.0, 0.0, 1.0], [2.0, 5.0, 6.0, -0.0]])
SIDES = ({}, {"side": "right"}, {"right": True})
RECORDS["searchsorted"] = Record(
    searchsorted,
    lambda rng: (
        [Case((SORTED, VALUES), a) for a in SIDES]
        + [Case((np.sort(rng.integers(-5, 5, n)), rng.integers(-6, 6, (3, 7))), a) for n in (1, 2, 3, 4, 8, 33) for a in SIDES[:2]]
        + [Case((np.sort(rng.integers(-5, 5, (2, 3, 9))), rng.integers(-6, 6, (2, 3, 4))), a) for a in SIDES[:2]]
        + [Case((np.zeros(0), VALUES)), Case((SORTED, np.array(1.0))), Case((SORTED, np.zeros((0, 2))))]
    ),
    ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int8"),
    bad=(
        Bad(ValueError, (np.ones(3), np.ones(2)), {"side": "middle"}, ("left or right", "got 'middle'")),
        Bad(ValueError, (np.ones((2, 3)), np.ones((3, 3))), {}, ("(2, 3)", "(3, 3)")),
        Bad(ValueError, (np.array(1.0), np.ones(2)), {}, ("at least one axis",)),
    ),
)


def _nan_last(tg, device):
    s = np.array([1.0, np.inf, np.nan, np.nan])
    v = np.array([np.nan, np.inf, 0.0, -np.inf])
    for side in ("left", "right"):
        got = tg.searchsorted(tg.tensor(s, device=device), tg.tensor(v, device=device), side).tolist()
        assert got == np.searchsorted(s, v, side).tolist()


RECORDS["searchsorted"].check = _nan_last
RECORDS["bucketize"] = Record(
    lambda v, b, right=False: np.searchsorted(b, v, "right" if right else "left"),
    [Case((VALUES, SORTED), a) for a in ({}, {"right": True})],
    ("float32", "float64", "int64"),
    bad=(Bad(ValueError, (np.ones(3), np.ones((2, 2))), {}, ("one axis", "(2, 2)")),),
)
RECORDS["isin"] = Record(
    lambda x, t, invert=False: np.isin(x, t, invert=invert),
    lambda rng: [
        Case((rng.integers(0, 9, (3, 4)), rng.integers(0, 9, n)), a) for n in (0, 1, 5) for a in ({}, {"invert": True})
    ]
    + [Case((np.array([1, 2]), np.array([[1, 3], [4, 5]])))],
    REAL,
)


def _nan_is_in_none(tg, device):
    x = tg.tensor([1.0, np.nan], device=device)
    assert tg.isin(x, x).tolist() == [True, False] and tg.isin(x, x, invert=True).tolist() == [False, True]


RECORDS["isin"].check = _nan_is_in_none


def histogram(x, bins=10, low=0.0, high=0.0):
    counts, edges = np.histogram(x, bins, None if low == high == 0 else (low, high))
    return counts.astype(float), edges


# Sizes in multiples of 1/4 and bins between them: no element rounds across an edge.
RECORDS["histogram"] = Record(
    histogram,
    lambda rng: [
        Case((rng.integers(-8, 9, (4, 9)) / 4,), {"bins": 5, "low": -1.3, "high": 1.9}),
        Case((np.array([0.0, 0.5, 1.0, 1.0, 2.0, -1.0, 4.0]),), {"bins": 4, "low": 0.0, "high": 2.0}),
        Case((np.array([0.0, 0.5, 1.0, 1.0, 4.0]),), {"bins": 8}),
        Case((np.array([3.0, 3.0]),), {"bins": 2}),
        Case((np.zeros(0),), {"bins": 2, "low": 0.0, "high": 1.0}),
    ],
    FLOATS,
    scale=lambda x, bins=10, low=0.0, high=0.0: np.max(np.abs(histogram(x, bins, low, high)[1])),
    bad=(
        Bad(ValueError, (np.ones(3),), {"bins": 0}, ("at least one bin", "got 0")),
        Bad(ValueError, (np.ones(3),), {"low": 2.0, "high": 1.0}, ("low <= high",)),
        Bad(TypeError, (np.array([1, 2]),), {}, ("floats", "int64")),
        Bad(ValueError, (np.array([1.0, np.nan]),), {}, ("finite elements", "nan")),
        Bad(ValueError, (np.array([1.0, np.inf]),), {}, ("finite elements", "1 to inf")),
    ),
)


def _nan_does_not_count(tg, device):
    x = tg.tensor([np.nan, 0.5, np.inf], device=device)
    assert tg.histogram(x, 2, 0.0, 1.0).counts.tolist() == [0.0, 1.0]


RECORDS["histogram"].check = _nan_does_not_count
RECORDS["histc"] = Record(
    lambda x, bins=100, min=0.0, max=0.0: histogram(x, bins, min, max)[0],
    [Case((np.array([0.0, 0.5, 1.0, 1.0, 2.0, -1.0]),), {"bins": 4, "min": 0.0, "max": 2.0}), Case((np.array([1.0, 2.0, 9.0]),))],
    FLOATS,
    bad=(
        Bad(ValueError, (np.ones(3),), {"bins": -1}, ("at least one bin", "got -1")),
        Bad(ValueError, (np.ones(3),), {"min": 2.0, "max": 1.0}, ("min <= max",)),
    ),
)


def _bincount(tg, device):
    import pytest

    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 9, 50), rng.integers(0, 5, 50).astype(float)
    for dtype in ("int64", "int32", "uint8"):
        t = tg.tensor(x.astype(dtype), device=device)
        assert tg.bincount(t).tolist() == np.bincount(x).tolist()
        assert tg.bincount(t, minlength=12).tolist() == np.bincount(x, minlength=12).tolist()
        assert tg.bincount(t, tg.tensor(w, device=device)).tolist() == np.bincount(x, w).tolist()
    assert tg.bincount(tg.zeros(0, dtype=tg.int64, device=device), minlength=2).tolist() == [0, 0]
    weights = tg.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
    (tg.bincount(tg.tensor([1, 0, 1], device=device), weights) * tg.tensor([2.0, 5.0], device=device)).sum().backward()
    assert weights.grad.tolist() == [5.0, 2.0, 5.0]
    for error, bad, says in (
        (ValueError, np.array([1, -1]), "0 or more, got -1"),
        (TypeError, np.array([1.0]), "integers, got"),
        (ValueError, np.ones((2, 2), int), "one axis"),
    ):
        with pytest.raises(error, match=says):
            tg.bincount(tg.tensor(bad, device=device))
    with pytest.raises(ValueError, match="minlength of 0 or more, got -1"):
        tg.bincount(tg.tensor([1], device=device), minlength=-1)


RECORDS["bincount_of"] = Record(
    cases=lambda rng: [Case((rng.integers(0, 7, 20), rng.uniform(size=20)), {"size": 7}, fixed=(0,))], dtypes=("float32", "float64"), check=_bincount
)


def _arrays(rng):
    yield rng.integers(-3, 4, (5, 6))
    yield rng.integers(-3, 4, (40,)) / 2.0
    yield np.array([True, False, True])
    yield np.array(7)
    yield np.zeros((0, 3))
    yield np.array([2.0, np.nan, 1.0, np.nan])
    yield rng.integers(0, 5, 30).astype(np.uint8)
    yield rng.normal(size=100).astype(np.float32)


def _unique(tg, device):
    for x in _arrays(np.random.default_rng(2)):
        t = tg.tensor(x, device=device)
        got = [v.cpu().numpy() for v in tg.unique(t, return_inverse=True, return_counts=True, return_index=True)]
        exact = np.unique(x, True, True, True, equal_nan=False)
        for g, e in zip(got, exact):
            np.testing.assert_array_equal(g, e.reshape(g.shape))
        assert got[0].dtype == x.dtype and got[2].shape == x.shape
        np.testing.assert_array_equal(tg.unique(t).cpu().numpy(), exact[0])
    assert tg.unique_all(tg.tensor([3, 1, 3], device=device)).counts.tolist() == [1, 2]


def _consecutive(tg, device):
    for x in _arrays(np.random.default_rng(3)):
        values, inverse, counts = (
            v.cpu().numpy() for v in tg.unique_consecutive(tg.tensor(x, device=device), return_inverse=True, return_counts=True)
        )
        flat = x.ravel()
        starts = [i for i in range(flat.size) if i == 0 or flat[i] != flat[i - 1]]
        np.testing.assert_array_equal(values, flat[starts])
        np.testing.assert_array_equal(counts, np.diff([*starts, flat.size]))
        if not np.isnan(flat.astype(float)).any():
            np.testing.assert_array_equal(values[inverse], x)


def _nonzero(tg, device):
    for x in (*_arrays(np.random.default_rng(4)), np.zeros((2, 3)), np.arange(24).reshape(2, 3, 4) % 3):
        t = tg.tensor(x, device=device)
        if x.ndim:
            np.testing.assert_array_equal(tg.nonzero(t).cpu().numpy(), np.argwhere(x))
            for g, e in zip(tg.nonzero(t, as_tuple=True), np.nonzero(x)):
                np.testing.assert_array_equal(g.cpu().numpy(), e)
            np.testing.assert_array_equal(t.argwhere().cpu().numpy(), np.argwhere(x))
    assert tg.nonzero(tg.tensor(7, device=device)).shape == (1, 0) and tg.nonzero(tg.tensor(0, device=device)).shape == (0, 0)


def _rows(tg, device):
    import pytest

    rng = np.random.default_rng(5)
    for x, axis in (
        (rng.integers(0, 2, (20, 3)), 0),
        (rng.integers(0, 2, (3, 20)) / 2.0, 1),
        (rng.integers(0, 2, (2, 9, 2)), -2),
        (rng.integers(0, 3, 9), 0),
        (np.zeros((0, 3)), 0),
        (np.array([[1.0, np.nan], [1.0, np.nan]]), 0),
    ):
        got = [v.cpu().numpy() for v in tg.unique(tg.tensor(x, device=device), True, True, True, axis, return_index=True)]
        exact = np.unique(x, True, True, True, axis, equal_nan=False)
        for g, e in zip(got, exact):
            np.testing.assert_array_equal(g, e.reshape(g.shape))
        assert tg.unique(tg.tensor(x, device=device), dim=axis).shape == exact[0].shape
    with pytest.raises(IndexError, match=r"\[unique\] expected an axis in \[-1, 1\), got 1"):
        tg.unique(tg.ones(3, device=device), axis=1)


RECORDS["unique_rows_padded"] = Record(check=_rows)
RECORDS["unique_padded"] = Record(check=_unique)
RECORDS["unique_consecutive_padded"] = Record(check=_consecutive)
RECORDS["nonzero_padded"] = Record(check=_nonzero)
for _name in ("unique_rows_padded", "unique_padded", "unique_consecutive_padded", "nonzero_padded"):
    RECORDS[_name].cases = lambda rng: [Case((rng.integers(0, 3, (6, 2)).astype(float),))]
    RECORDS[_name].skip["vmap"] = ("never", "how many there are depends on the data")
