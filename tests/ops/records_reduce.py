# SPDX-License-Identifier: Apache-2.0
"""Reductions, running sums, sorting."""

from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, REAL, Bad, Case, Record

RECORDS: dict[str, Record] = {}
AXES = ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 2)}, {"axis": (2, 0), "keepdims": True})
WRONG_AXIS = Bad(IndexError, (np.ones((2, 3)),), {"axis": 2}, ("expected", "got 2"))
TWICE = Bad(ValueError, (np.ones((2, 3)),), {"axis": (0, -2)}, ("distinct", "got"))
FLOATS_ONLY = Bad(TypeError, (np.array([1, 2]),), {}, ("floats", "int64"))


def count(case: Case) -> float:
    shape, axis = case.inputs[0].shape, case.attrs.get("axis")
    if axis is None:
        return max(int(np.prod(shape)), 1)
    return max(int(np.prod([shape[a] for a in ((axis,) if isinstance(axis, int) else axis)])), 1)


def axes(case_attrs):
    a = case_attrs.get("axis")
    return {"axis": a if a is None or isinstance(a, int) else tuple(a), "keepdims": case_attrs.get("keepdims", False)}


def reduction(
    name,
    oracle,
    low=-2.0,
    high=2.0,
    grad=(0,),
    dtypes=FLOATS,
    scale=None,
    empty=True,
    attrs=({},),
    bad=(),
    second=True,
    length=count,
):
    def cases(rng):
        out = [Case((rng.uniform(low, high, (3, 4, 5)),), {**a, **more}) for a in AXES for more in attrs]
        out.append(Case((np.array(1.5),), dict(attrs[0]), smooth=name != "std"))
        if empty:
            out += [
                Case((np.zeros((0, 3)),), {"axis": 0, **attrs[0]}),
                Case((np.zeros((2, 0)),), {"axis": 0, **attrs[0]}),
            ]
        return out

    RECORDS[name] = Record(
        lambda x, **a: oracle(x, **axes(a), **{k: v for k, v in a.items() if k not in ("axis", "keepdims")}),
        cases,
        dtypes,
        grad,
        second,
        length,
        None if scale is None else (lambda x, **a: scale(x, **axes(a))),
        (WRONG_AXIS, TWICE, *bad),
    )


magnitude = lambda x, **a: np.sum(np.abs(x), **a)  # noqa: E731
reduction("sum", np.sum, dtypes=REAL, scale=magnitude)
reduction("prod", np.prod, 0.5, 1.5, dtypes=FLOATS)
reduction(
    "mean", np.mean, scale=lambda x, **a: np.mean(np.abs(x), **a), bad=(FLOATS_ONLY,), length=lambda c: count(c) + 1
)
spread = lambda x, **a: np.mean(np.square(x), **a) * 2  # noqa: E731
reduction(
    "var",
    lambda x, axis, keepdims, correction: np.var(x, axis=axis, keepdims=keepdims, ddof=correction),
    scale=spread,
    empty=False,
    bad=(FLOATS_ONLY,),
    attrs=({"correction": 0}, {"correction": 1}),
)
reduction(
    "std",
    lambda x, axis, keepdims, correction: np.std(x, axis=axis, keepdims=keepdims, ddof=correction),
    scale=lambda x, **a: np.sqrt(spread(x, **a)) + spread(x, **a),
    empty=False,
    bad=(FLOATS_ONLY,),
    attrs=({"correction": 0},),
)
reduction(
    "count_nonzero", lambda x, axis, keepdims: np.count_nonzero(x, axis=axis, keepdims=keepdims), grad=None, dtypes=ALL
)
reduction("any", np.any, grad=None, dtypes=ALL)
reduction("all", np.all, grad=None, dtypes=ALL)
NOTHING = Bad(ValueError, (np.zeros((2, 0)),), {"axis": 1}, ("at least one element", "(2, 0)"))
reduction("max", np.max, dtypes=REAL, empty=False, bad=(NOTHING,))
reduction("min", np.min, dtypes=REAL, empty=False, bad=(NOTHING,))


def _norm(x, axis, keepdims, ord):
    a = np.abs(x)
    if np.isinf(ord):
        return (np.max if ord > 0 else np.min)(a, axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(x != 0, axis=axis, keepdims=keepdims).astype(float)
    return np.sum(a**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


reduction(
    "norm",
    _norm,
    0.2,
    2,
    empty=False,
    bad=(FLOATS_ONLY,),
    attrs=tuple({"ord": p} for p in (2.0, 1.0, 3.0, np.inf, -np.inf)),
    length=lambda c: count(c) + 16,
)
reduction(
    "logsumexp",
    lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims)),
    scale=lambda x, **a: 4 + 0 * np.sum(x, **a),
    empty=False,
    bad=(FLOATS_ONLY,),
)


def _zero_gradients(tg, device):
    """The gradient of a norm at 0 is 0, and a product's with zeros is exact."""
    x = tg.zeros((3,), device=device, requires_grad=True)
    tg.norm(x).backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    for values, expected in (([2.0, 0.0, 3.0], [0.0, 6.0, 0.0]), ([0.0, 0.0, 3.0], [0.0, 0.0, 0.0])):
        y = tg.tensor(values, device=device, requires_grad=True)
        tg.prod(y).backward()
        assert y.grad.tolist() == expected


RECORDS["norm"].check = _zero_gradients


def _large(tg, device):
    x = tg.tensor([1000.0, 1000.0], device=device)
    np.testing.assert_allclose(tg.logsumexp(x).item(), 1000 + np.log(2), rtol=1e-6)
    assert tg.logsumexp(tg.tensor([-np.inf, -np.inf], device=device)).item() == -np.inf
    assert tg.logsumexp(tg.tensor([np.inf, 0.0], device=device)).item() == np.inf


RECORDS["logsumexp"].check = _large


def _sixteen(tg, device):
    """16-bit sums accumulate in f32: 4096 ones and a half are not lost, and a mean does not overflow."""
    x = tg.ones((5000,), dtype=tg.bfloat16, device=device)
    assert x.sum().item() == 4992.0  # 5000 rounded to bfloat16
    assert tg.full((1000,), 60000.0, dtype=tg.float16, device=device).mean().item() == 60000.0


RECORDS["mean"].check = _sixteen


def _int_sums(tg, device):
    for dtype, result in ((tg.int8, tg.int64), (tg.uint8, tg.uint64), (tg.bool, tg.int64), (tg.int32, tg.int64)):
        s = tg.ones((300,), dtype=dtype, device=device).sum()
        assert s.dtype == result and s.item() == 300


RECORDS["sum"].check = _int_sums


def _shares(tg, device):
    for f in (tg.max, tg.min):
        x = tg.ones((4,), device=device, requires_grad=True)
        f(x).backward()
        assert x.grad.tolist() == [0.25] * 4
        assert np.isnan(f(tg.tensor([1.0, float("nan"), 2.0], device=device)).item())


RECORDS["max"].check = _shares

for _name, _oracle in {"argmax": np.argmax, "argmin": np.argmin}.items():
    RECORDS[_name] = Record(
        lambda x, axis=None, keepdims=False, f=_oracle: np.asarray(f(x, axis=axis, keepdims=keepdims)),
        lambda rng: (
            [
                Case((rng.permutation(60).reshape(3, 4, 5) - 20.0,), a)
                for a in ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"keepdims": True})
            ]
            + [
                Case((np.array([1.0, 3.0, 3.0, 1.0]),)),
                Case((np.array([1.0, np.nan, 3.0, np.nan]),)),
                Case((np.array(2.0),)),
            ]
        ),
        FLOATS,
        bad=(WRONG_AXIS, NOTHING),
    )

# ---- running and order ----

for _name, _oracle in {"cumsum": np.cumsum, "cumprod": np.cumprod}.items():
    RECORDS[_name] = Record(
        _oracle,
        lambda rng: (
            [Case((rng.uniform(0.5, 1.5, (3, 4)),), {"axis": a}) for a in (0, 1, -1)]
            + [Case((np.zeros((0, 2)),), {"axis": 0})]
        ),
        FLOATS,
        (0,),
        length=lambda c: max(c.inputs[0].shape),
        bad=(WRONG_AXIS,),
    )


def _sorted(x, axis=-1, descending=False):
    wide = x if x.dtype.kind == "f" else x.astype(np.int64)  # -x of unsigned numbers wraps
    order = np.argsort(-wide if descending else wide, axis=axis, kind="stable")
    return np.take_along_axis(x, order, axis), order


ORDER = [{}, {"axis": 0}, {"descending": True}, {"axis": 0, "descending": True}]
RECORDS["sort"] = Record(
    _sorted,
    lambda rng: (
        [Case((rng.permutation(24).reshape(4, 6) - 5.0,), a) for a in ORDER]
        + [Case((np.array([2.0, 1.0, 2.0, 1.0]),), a, smooth=False) for a in ({}, {"descending": True})]
        + [Case((np.array([3.0, np.nan, 1.0]),), smooth=False)]
    ),
    ("float32", "float64", "float16", "bfloat16"),
    (0,),
    second=True,
    bad=(WRONG_AXIS,),
)
RECORDS["argsort"] = Record(
    lambda x, **a: _sorted(x, **a)[1],
    lambda rng: [Case((rng.permutation(24).reshape(4, 6) - 5.0,), a) for a in ORDER],
    ("float32", "float64", "int64", "int32"),
    bad=(WRONG_AXIS,),
)


def _topk(x, k, axis=-1, largest=True):
    values, index = _sorted(x, axis, largest)
    part = [slice(None)] * x.ndim
    part[axis] = slice(0, k)
    return values[tuple(part)], index[tuple(part)]


RECORDS["topk"] = Record(
    _topk,
    lambda rng: [
        Case((rng.permutation(24).reshape(4, 6) - 5.0,), {"k": 2, **a}) for a in ({}, {"axis": 0}, {"largest": False})
    ],
    FLOATS,
    (0,),
    bad=(Bad(ValueError, (np.ones(3),), {"k": 4}, ("expected k", "got 4")),),
)
