# SPDX-License-Identifier: Apache-2.0
"""Factorizations and solvers. What is unique is compared with NumPy and SciPy; factors whose signs are free are checked by
what defines them: they multiply to the matrix and are orthonormal, triangular, ordered.

Bounds are backward error bounds: a stable algorithm gives the exact answer of a matrix within n * eps * |A| of A, which
the problem's condition number then amplifies.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}
SHAPES = [(3, 3), (5, 3), (3, 5), (1, 1), (2, 1, 4, 3), (2, 3, 6), (0, 3, 3), (17, 12)]
EMPTY = [(0, 0), (3, 0), (0, 3), (2, 0, 0)]


def near_identity(rng, *shape):
    """Well-conditioned: the identity plus a tenth of noise."""
    return np.eye(shape[-2], shape[-1]) * 2 + rng.normal(size=shape) * 0.3


def positive(rng, *shape):
    x = rng.normal(size=shape)
    return x @ x.swapaxes(-1, -2) + shape[-1] * np.eye(shape[-1])


def size_of(a):
    return np.linalg.norm(a, 2, (-2, -1)) if a.size else np.zeros(a.shape[:-2])


def condition(a):
    return np.linalg.cond(a) if a.size else np.ones(a.shape[:-2])


def amplified(a, y):
    """cond(A) times the largest element of each result matrix, in the result's shape."""
    y = np.asarray(y)
    c = condition(a)
    whole = np.max(np.abs(y), initial=0)
    return np.full(y.shape, np.max(c, initial=1) * whole)


def order(case):
    return float(max(1, *[n for x in case.inputs if isinstance(x, np.ndarray) for n in x.shape[-2:]]))


def bad(*, square=True):
    cases = [
        Bad(ValueError, (np.ones(3),), {}),
        Bad(TypeError, (np.ones((2, 2), int),), {}),
    ]
    return (*cases, Bad(ValueError, (np.ones((2, 3)),), {}, ("square",))) if square else tuple(cases)


def one_output(name, oracle, make, shapes=((3, 3), (2, 4, 4), (1, 1), (2, 0, 3, 3), (0, 0)), scale=amplified, **extra):
    RECORDS[name] = Record(
        oracle,
        lambda rng: [Case((make(rng, *s),)) for s in shapes],
        FLOATS,
        length=lambda c: order(c) ** 1.5,
        scale=lambda a, **attrs: scale(a, oracle(a, **attrs)),
        bad=bad(),
        **extra,
    )


def batched(f, *outs):
    """A function of one matrix over a batch; `outs`: dtypes and shapes of the results of none."""

    def whole(a, *rest, **attrs):
        batch = a.shape[:-2]
        flat = a.reshape((int(np.prod(batch)), *a.shape[-2:]))
        results = [f(x, *rest, **attrs) for x in flat]
        if not results:
            results = [f(np.eye(*a.shape[-2:]), *rest, **attrs)]
            return tuple(np.zeros((*batch, *np.shape(r)), np.asarray(r).dtype) for r in results[0])
        return tuple(np.stack(r).reshape((*batch, *np.shape(r[0]))) for r in zip(*results))

    return whole


# ---- unique results ----------------------------------------------------------------------------------------------------

one_output("cholesky", np.linalg.cholesky, positive)
RECORDS["cholesky"].cases = lambda rng: [
    *[Case((positive(rng, *s),)) for s in ((3, 3), (2, 4, 4), (1, 1), (0, 3, 3), (0, 0))],
    Case((positive(rng, 2, 3, 3),), {"upper": True}),
]
RECORDS["cholesky"].oracle = lambda a, upper=False: np.linalg.cholesky(a).swapaxes(-1, -2) if upper else np.linalg.cholesky(a)
RECORDS["cholesky"].scale = lambda a, upper=False: amplified(a, np.linalg.cholesky(a))


def _cholesky_errors(tg, device):
    import pytest

    a = np.stack([np.eye(3), np.diag([1.0, 1.0, -1.0]), np.diag([0.0, 1.0, 1.0])])
    x = tg.tensor(a, device=device)
    with pytest.raises(tg.linalg.LinAlgError, match=r"\[cholesky\].*minor of order 3 .*matrix \(1,\) of the batch"):
        tg.cholesky(x)
    with pytest.raises(RuntimeError, match="order 1"):
        tg.cholesky(tg.tensor(a[2], device=device))
    with pytest.raises(RuntimeError, match="order 2"):
        tg.cholesky(tg.tensor([[1.0, 0.0], [np.nan, np.nan]], device=device))
    assert tg.cholesky_ex(x).info.tolist() == [0, 3, 1]
    assert str(tg.cholesky_ex(x).info.dtype).endswith("int32")
    # The other triangle is not looked at.
    b = positive(np.random.default_rng(0), 4, 4)
    low, high = tg.tensor(np.tril(b) + np.triu(np.full((4, 4), np.nan), 1), device=device), tg.tensor(np.triu(b), device=device)
    for got in (tg.cholesky(low), tg.cholesky(high, upper=True).mT):
        np.testing.assert_allclose(got.cpu().numpy(), np.linalg.cholesky(b), rtol=1e-13)


RECORDS["cholesky"].check = _cholesky_errors
RECORDS["cholesky_ex"] = Record(
    lambda a, upper=False: (np.linalg.cholesky(a), np.zeros(a.shape[:-2], np.int32)),
    lambda rng: [Case((positive(rng, *s),)) for s in ((3, 3), (2, 4, 4), (2, 0, 0))],
    FLOATS,
    length=order,
    scale=lambda a: np.max(condition(a), initial=1) * np.max(np.abs(a), initial=0),
    bad=bad(),
)

one_output("inv", np.linalg.inv, near_identity, grad=(0,))
RECORDS["inv_ex"] = Record(
    lambda a: (np.linalg.inv(a), np.zeros(a.shape[:-2], np.int32)),
    lambda rng: [Case((near_identity(rng, *s),)) for s in ((3, 3), (2, 4, 4), (2, 0, 0))],
    FLOATS,
    (0,),
    length=lambda c: order(c) ** 1.5,
    scale=lambda a: np.max(condition(a), initial=1) * np.max(np.abs(np.linalg.inv(a)), initial=0),
    bad=bad(),
)


def _rows(a, _):
    """Hadamard: an error of n eps in an element changes the determinant by its cofactor, at most the product of row norms."""
    return a.shape[-1] * np.prod(np.maximum(np.linalg.norm(a, axis=-1), 1), axis=-1)


one_output("det", np.linalg.det, near_identity, scale=_rows, grad=(0,))
RECORDS["slogdet"] = Record(
    lambda a: tuple(np.linalg.slogdet(a)),
    lambda rng: [Case((near_identity(rng, *s) * [[-1.0]],)) for s in ((3, 3), (2, 4, 4), (1, 1), (0, 2, 2), (0, 0))],
    FLOATS,
    (0,),
    length=order,
    scale=lambda a: a.shape[-1] * condition(a) + 1,
    bad=bad(),
)


def _singular(tg, device):
    import pytest

    a = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    x = tg.tensor(np.stack([np.eye(3), a]), device=device)
    for f in (tg.inv, lambda t: tg.solve(t, tg.ones((3, 1), dtype=tg.float64, device=device)), tg.lu_factor):
        with pytest.raises(tg.linalg.LinAlgError, match=r"singular.*U\[2, 2\].*matrix \(1,\) of the batch"):
            f(x)
    assert tg.inv_ex(x).info.tolist() == tg.lu_factor_ex(x).info.tolist() == [0, 3]
    assert tg.det(x).tolist() == [1.0, 0.0]
    sign, log = tg.slogdet(x)
    assert sign.tolist() == [1.0, 0.0] and log.tolist() == [0.0, -np.inf]
    # The gradient of det is the matrix of cofactors, also where it is 0 and the inverse does not exist.
    x.requires_grad_()
    tg.det(x).sum().backward()
    minors = [[np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) * (-1) ** (i + j) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(x.grad.cpu().numpy()[1], minors, atol=1e-13)


RECORDS["det"].check = _singular


def singular_values(a):
    return np.linalg.svd(a, compute_uv=False)


def _vectors(a, y):
    return np.broadcast_to(size_of(a)[..., None], np.shape(y))


RECORDS["svdvals"] = Record(
    singular_values,
    lambda rng: [Case((rng.normal(size=s),)) for s in SHAPES + EMPTY],
    FLOATS,
    (0,),
    length=order,
    scale=lambda a: _vectors(a, singular_values(a)),
    bad=bad(square=False),
)
RECORDS["eigvalsh"] = Record(
    np.linalg.eigvalsh,
    lambda rng: [
        Case((rng.normal(size=s),), a)
        for s in ((3, 3), (2, 4, 4), (12, 12), (1, 1), (0, 2, 2), (0, 0))
        for a in ({}, {"UPLO": "U"})
    ],
    FLOATS,
    length=lambda c: 2 * order(c),
    scale=lambda a, UPLO="L": _vectors(a, np.linalg.eigvalsh(a, UPLO)),
    bad=(*bad(), Bad(ValueError, (np.eye(2),), {"UPLO": "lower"})),
)


# ---- systems -----------------------------------------------------------------------------------------------------------

SYSTEMS = [((3, 3), (3, 2)), ((3, 3), (3,)), ((2, 4, 4), (4, 1)), ((3, 3), (2, 3, 2)), ((2, 1, 3, 3), (4, 3, 2)), ((0, 0), (0, 2)), ((2, 3, 3), (3, 0))]


def _solve(a, b, left=True):
    return np.linalg.solve(a, b) if left else np.linalg.solve(a.swapaxes(-1, -2), b.swapaxes(-1, -2)).swapaxes(-1, -2)


def systems(make):
    def cases(rng):
        out = [Case((make(rng, *a), rng.normal(size=b))) for a, b in SYSTEMS]
        return [*out, Case((make(rng, 2, 3, 3), rng.normal(size=(4, 3))), {"left": False})]

    return cases


def not_fitting(*rest, attrs=None):
    return tuple(
        Bad(error, (np.ones(a), *rest, np.ones(b)), attrs or {}, ())
        for error, a, b in (
            (ValueError, (3, 3), (2, 3)),
            (ValueError, (3, 2), (3, 2)),
            (ValueError, (3, 3), ()),
            (ValueError, (2, 3, 3), (4, 3, 1)),
            (ValueError, (3,), (3,)),
        )
    )


RECORDS["solve"] = Record(
    _solve, systems(near_identity), FLOATS, (0, 1), length=order, scale=lambda a, b, **k: amplified(a, _solve(a, b, **k)),
    bad=not_fitting(),
)  # fmt: skip
RECORDS["solve_ex"] = Record(
    lambda a, b, left=True: (_solve(a, b, left), np.zeros(a.shape[:-2], np.int32)),
    systems(near_identity),
    FLOATS,
    (0, 1),
    length=order,
    scale=lambda a, b, **k: np.max(amplified(a, _solve(a, b, **k)), initial=0),
    bad=not_fitting(),
)


def _triangle(a, upper, unitriangular=False):
    t = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        i = np.arange(a.shape[-1])
        t = t.copy()
        t[..., i, i] = 1
    return t


def _solve_triangular(a, b, upper, left=True, unitriangular=False):
    return _solve(_triangle(a, upper, unitriangular), b, left)


RECORDS["solve_triangular"] = Record(
    _solve_triangular,
    lambda rng: [
        Case((near_identity(rng, *a), rng.normal(size=b)), {"upper": upper, "left": left, "unitriangular": unit})
        for a, b, left in (((3, 3), (3, 2), True), ((2, 3, 3), (4, 3), False), ((3, 3), (2, 3, 2), True), ((0, 0), (0, 1), True))
        for upper in (True, False)
        for unit in (False, True)
    ],
    FLOATS,
    (0, 1),
    length=order,
    scale=lambda a, b, upper, left=True, unitriangular=False: amplified(
        _triangle(a, upper, unitriangular), _solve_triangular(a, b, upper, left, unitriangular)
    ),
    bad=(*not_fitting(attrs={"upper": True}), Bad(ValueError, (np.eye(3), np.ones(3)), {"upper": True}, ("matrices",))),
)


def _factors(a):
    return batched(lambda x: tuple(scipy.linalg.lu_factor(x)))(a)


def _lu_case(a, b, **attrs):
    lu, pivots = _factors(a)
    return Case((lu, (pivots + 1).astype(np.int32), b), attrs, (1,))


def _from_lu(lu, pivots):
    def one(x):
        f, p = x
        y = (np.tril(f, -1) + np.eye(len(f))) @ np.triu(f)
        for i in reversed(range(len(p))):
            y[[i, p[i] - 1]] = y[[p[i] - 1, i]]
        return y

    batch = lu.shape[:-2]
    flat = [one(x) for x in zip(lu.reshape(-1, *lu.shape[-2:]), pivots.reshape(-1, pivots.shape[-1]))]
    return np.stack(flat).reshape(lu.shape) if flat else np.zeros((*batch, *lu.shape[-2:]))


def _lu_solve(lu, pivots, b, left=True, adjoint=False):
    a = _from_lu(lu, pivots)
    return _solve(a.swapaxes(-1, -2) if adjoint else a, b, left)


RECORDS["lu_solve"] = Record(
    _lu_solve,
    lambda rng: [
        _lu_case(rng.normal(size=(3, 3)), rng.normal(size=(3, 2))),
        _lu_case(rng.normal(size=(2, 4, 4)), rng.normal(size=(4,) * 2), adjoint=True),
        _lu_case(rng.normal(size=(3, 3)), rng.normal(size=3)),
        _lu_case(rng.normal(size=(3, 3)), rng.normal(size=(2, 3)), left=False),
        _lu_case(rng.normal(size=(3, 3)), rng.normal(size=(2, 3)), left=False, adjoint=True),
    ],
    FLOATS,
    (0, 2),
    length=lambda c: order(c) ** 2,
    scale=lambda lu, p, b, **k: amplified(_from_lu(lu, p), _lu_solve(lu, p, b, **k)),
    bad=(
        *not_fitting(np.ones(3, np.int32))[:1],
        Bad(TypeError, (np.eye(3), np.ones(3), np.ones(3)), {}),
        Bad(ValueError, (np.eye(3), np.ones(2, np.int32), np.ones(3)), {}),
        Bad(ValueError, (np.array(1.0), np.ones(1, np.int32), np.ones(1)), {}),
        Bad(ValueError, (np.eye(3), np.full(3, 4, np.int32), np.ones(3)), {}, ("pivots between 1 and 3",)),
    ),
)


def _cholesky_solve(b, c, upper=False):
    c = np.triu(c).swapaxes(-1, -2) if upper else np.tril(c)
    return _solve(c @ c.swapaxes(-1, -2), b)


RECORDS["cholesky_solve"] = Record(
    _cholesky_solve,
    lambda rng: [
        Case((rng.normal(size=b), near_identity(rng, *a)), attrs)
        for a, b in (((3, 3), (3, 2)), ((2, 3, 3), (3, 1)), ((3, 3), (3,)))
        for attrs in ({}, {"upper": True})
    ],
    FLOATS,
    (0, 1),
    length=order,
    scale=lambda b, c, upper=False: amplified(_triangle(c, upper), _cholesky_solve(b, c, upper))
    * np.max(condition(_triangle(c, upper))),
    bad=(Bad(ValueError, (np.ones((2, 1)), np.eye(3)), {}), Bad(TypeError, (np.ones((3, 1)), np.eye(3, dtype=int)), {})),
)

# ---- factors -----------------------------------------------------------------------------------------------------------


def _lu(a):
    lu, pivots = batched(lambda x: tuple(scipy.linalg.lu_factor(x)))(a)
    return lu, (pivots + 1).astype(np.int32)


LU_SHAPES = ((4, 4), (2, 5, 3), (3, 5), (1, 1))
RECORDS["lu_factor"] = Record(
    _lu,
    lambda rng: [Case((rng.normal(size=s),)) for s in LU_SHAPES],
    FLOATS,
    (0,),
    length=lambda c: order(c) ** 2,
    scale=lambda a: np.max([condition(a[..., :i, :i]) for i in range(1, min(a.shape[-2:]) + 1)]) * np.max(np.abs(a)),
    bad=bad(square=False),
)
RECORDS["lu_factor_ex"] = Record(
    lambda a: (*_lu(a), np.zeros(a.shape[:-2], np.int32)),
    RECORDS["lu_factor"].cases,
    FLOATS,
    (0,),
    length=RECORDS["lu_factor"].length,
    scale=RECORDS["lu_factor"].scale,
    bad=bad(square=False),
)


def arrays(tg, device, shape, seed=0):
    """(name, eps, array, tensor) of random matrices in each float dtype, plain and as a transposed view."""
    a = np.random.default_rng(seed).normal(size=shape)
    for dtype, eps in ((tg.float32, 2.0**-23), (tg.float64, 2.0**-52)):
        x = tg.tensor(a, dtype=dtype, device=device)
        for t in (x, x.mT.contiguous().mT):
            yield eps, t.to(tg.float64).cpu().numpy(), t


def close(got, expected, eps, what):
    """|got - expected| within n * eps of the norm, n from the shapes, the constant that of the ops' table (16)."""
    n = max(1, *expected.shape[-2:])
    size = np.maximum(size_of(expected), 1)[..., None, None]
    assert (np.abs(got - expected) <= 16 * n**1.5 * eps * size).all(), what


def doubles(*tensors):
    return [t.double().cpu().numpy() for t in tensors]


def orthonormal(q, eps, what):
    """Columns."""
    close(q.swapaxes(-1, -2) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*q.shape[:-2],) + (q.shape[-1],) * 2), eps, what)


def _check_lu(tg, device):
    for shape in SHAPES:
        for eps, a, t in arrays(tg, device, shape):
            p, low, up = doubles(*tg.lu(t))
            close(p @ low @ up, a, eps, shape)
            assert (np.tril(up, -1) == 0).all() and (np.triu(low, 1) == 0).all() and (np.abs(low) <= 1).all()
            assert (p.sum(-1) == 1).all() and (p.sum(-2) == 1).all() and set(np.unique(p)) <= {0.0, 1.0}
    for shape in EMPTY:
        p, low, up = doubles(*tg.lu(tg.zeros(shape, device=device)))
        m, k, n = shape[-2], min(shape[-2:]), shape[-1]
        assert (p.shape[-2:], low.shape[-2:], up.shape[-2:]) == ((m, m), (m, k), (k, n))
        assert (p == np.eye(m)).all()


RECORDS["lu"] = Record(
    cases=lambda rng: [Case((rng.normal(size=s),)) for s in ((3, 3), (4, 3), (3, 4))],
    grad=(0,),
    check=_check_lu,
    bad=bad(square=False),
)


def _check_qr(tg, device):
    for shape in SHAPES:
        for eps, a, t in arrays(tg, device, shape):
            for mode in ("reduced", "complete"):
                q, r = doubles(*tg.qr(t, mode))
                m, n = shape[-2:]
                k = m if mode == "complete" else min(m, n)
                assert q.shape[-2:] == (m, k) and r.shape[-2:] == (k, n)
                close(q @ r, a, eps, (shape, mode))
                orthonormal(q, eps, (shape, mode))
                assert (np.tril(r, -1) == 0).all()
    for shape in EMPTY:
        for mode in ("reduced", "complete"):
            q, r = doubles(*tg.qr(tg.zeros(shape, device=device), mode))
            expected = np.linalg.qr(np.zeros(shape), mode)
            assert q.shape == expected[0].shape and r.shape == expected[1].shape
            orthonormal(q, 0, shape)
    # A column of zeros, a rank of one.
    for a in (np.zeros((3, 2)), np.ones((4, 3)), np.diag([1e200, 1.0]), np.diag([1e-200, 1.0])):
        q, r = doubles(*tg.qr(tg.tensor(a, device=device)))
        close(q @ r / max(1, np.abs(a).max()), a / max(1, np.abs(a).max()), 2.0**-52, a)
        orthonormal(q, 2.0**-52, a)


RECORDS["qr"] = Record(
    cases=lambda rng: [Case((rng.normal(size=s),)) for s in ((3, 3), (4, 3), (3, 4), (2, 4, 2))],
    grad=(0,),
    check=_check_qr,
    bad=(*bad(square=False), Bad(ValueError, (np.eye(2),), {"mode": "full"})),
)


def _check_svd(tg, device):
    import pytest

    for shape in SHAPES:
        for eps, a, t in arrays(tg, device, shape):
            for full in (True, False):
                u, s, vh = doubles(*tg.svd(t, full))
                m, n, k = *shape[-2:], min(shape[-2:])
                assert u.shape[-2:] == (m, m if full else k) and vh.shape[-2:] == (n if full else k, n)
                close(u[..., :k] * s[..., None, :] @ vh[..., :k, :], a, eps, (shape, full))
                orthonormal(u, eps, (shape, full))
                orthonormal(vh.swapaxes(-1, -2), eps, (shape, full))
                assert (s >= 0).all() and (np.diff(s, axis=-1) <= 0).all()
    for shape in EMPTY:
        for full in (True, False):
            got = doubles(*tg.svd(tg.zeros(shape, device=device), full))
            expected = np.linalg.svd(np.zeros(shape), full)
            assert [g.shape for g in got] == [e.shape for e in expected]
            orthonormal(got[0], 0, shape)
            orthonormal(got[2].swapaxes(-1, -2), 0, shape)
    rng = np.random.default_rng(3)
    low_rank = rng.normal(size=(6, 2)) @ rng.normal(size=(2, 5))
    for a in (np.zeros((3, 2)), np.ones((4, 4)), low_rank, np.eye(3), np.diag([1e150, 1e-150]), low_rank * 1e-200):
        u, s, vh = doubles(*tg.svd(tg.tensor(a, device=device)))
        scale = np.abs(a).max() or 1
        close(u[:, : len(s)] * (s / scale) @ vh[: len(s)], a / scale, 2.0**-52, a)
        orthonormal(u, 2.0**-52, a)
        orthonormal(vh.T, 2.0**-52, a)
    for value in (np.nan, np.inf):
        with pytest.raises(tg.linalg.LinAlgError, match="finite"):
            tg.svd(tg.tensor([[1.0, value], [0.0, 1.0]], device=device))


RECORDS["svd"] = Record(
    cases=lambda rng: [Case((rng.normal(size=s),), {"full_matrices": False}) for s in ((3, 3), (4, 3), (3, 4), (2, 4, 2))],
    grad=(0,),
    check=_check_svd,
    bad=bad(square=False),
)


def _check_eigh(tg, device):
    import pytest

    for shape in ((3, 3), (1, 1), (2, 5, 5), (0, 3, 3), (20, 20)):
        for eps, a, t in arrays(tg, device, shape):
            for uplo in ("L", "U"):
                w, v = doubles(*tg.eigh(t, uplo))
                half = np.tril(a) if uplo == "L" else np.triu(a).swapaxes(-1, -2)
                whole = half + np.tril(half, -1).swapaxes(-1, -2)
                close(v * w[..., None, :] @ v.swapaxes(-1, -2), whole, eps, (shape, uplo))
                orthonormal(v, eps, (shape, uplo))
                assert (np.diff(w, axis=-1) >= 0).all()
    for a in (np.zeros((3, 3)), np.ones((4, 4)), np.eye(3), np.diag([1e150, 1e-150])):
        w, v = doubles(*tg.eigh(tg.tensor(a, device=device)))
        scale = np.abs(a).max() or 1
        close(v * (w / scale) @ v.T, a / scale, 2.0**-52, a)
        orthonormal(v, 2.0**-52, a)
    with pytest.raises(tg.linalg.LinAlgError, match="finite"):
        tg.eigvalsh(tg.tensor([[np.nan]], device=device))
    # The upper triangle may hold anything.
    assert tg.eigvalsh(tg.tensor([[1.0, np.nan], [0.0, 2.0]], device=device)).tolist() == [1.0, 2.0]


RECORDS["eigh"] = Record(
    check=_check_eigh, cases=lambda rng: [Case((a + np.swapaxes(a, -1, -2),)) for a in (rng.normal(size=s) for s in ((4, 4), (2, 3, 3)))], dtypes=("float64", "float32"),
    bad=(*bad(), Bad(ValueError, (np.eye(2),), {"UPLO": "x"})))

def _check_eig(tg, device):
    import pytest

    rng = np.random.default_rng(4)
    for n in (1, 2, 3, 5, 20):
        for complex_ in (False, True):
            a = rng.normal(size=(2, n, n)) + (1j * rng.normal(size=(2, n, n)) if complex_ else 0)
            for dtype in (np.complex64, np.complex128) if complex_ else (np.float32, np.float64):
                x = a.astype(dtype)
                eps = np.finfo(dtype).eps
                w, v = (t.cpu().numpy() for t in tg.eig(tg.tensor(x, device=device)))
                assert w.dtype == v.dtype == (np.complex64 if eps > 1e-10 else np.complex128) and w.shape == (2, n)
                close(x @ v, v * w[:, None, :], eps, (n, dtype))
                np.testing.assert_allclose(np.linalg.norm(v, axis=-2), 1, rtol=1e-5)
                want = np.linalg.eigvals(x.astype(np.complex128))
                only = tg.eigvals(tg.tensor(x, device=device)).cpu().numpy()
                for i in range(2):  # the same numbers, in any order
                    for got in (w[i], only[i]):
                        near = np.abs(got[:, None] - want[i][None, :])
                        assert sorted(near.argmin(1)) == list(range(n)) and near.min(1).max() <= 4000 * eps * np.abs(want[i]).max()
    for a in (np.zeros((3, 3)), np.eye(3), np.diag([1e150, 1.0, 1e-150]), np.ones((4, 4)), np.triu(np.ones((3, 3))), np.diag([1.0, 1.0], 1),
              np.roll(np.eye(6), 1, 0), np.array([[0.0, 1.0], [-1.0, 0.0]])):
        scale = np.abs(a).max() or 1
        w, v = (t.cpu().numpy() for t in tg.eig(tg.tensor(a, device=device)))
        close(a / scale @ v, v * (w / scale), 2.0**-52, a)
    assert tg.eigvals(tg.zeros(0, 3, 3, device=device)).shape == (0, 3) and tg.eig(tg.zeros(2, 0, 0, device=device)).eigenvectors.shape == (2, 0, 0)
    with pytest.raises(tg.linalg.LinAlgError, match="finite"):
        tg.eigvals(tg.tensor([[np.nan]], device=device))
    # Gradients of what does not depend on order and phases: sums of f(w) are traces of f(A), |V|^2-weighted sums see the vectors.
    m = rng.normal(size=(4, 4))
    weight = rng.normal(size=4)

    def loss(x):
        w, v = tg.eig(x)
        squares = (v.abs() ** 2 * tg.tensor(weight, device=device)[:, None]).sum(-2)
        return (tg.exp(w).real + (w * squares).imag ** 2 + (w.real + 3) ** 2 * squares).sum()

    x = tg.tensor(m, device=device, requires_grad=True)
    assert tg.autograd.gradcheck(loss, (x,))
    (g,) = tg.autograd.grad(tg.exp(tg.eigvals(x)).real.sum(), x)
    np.testing.assert_allclose(g.cpu().numpy(), tg.matrix_exp(x.detach()).mT.cpu().numpy(), rtol=1e-10, atol=1e-12)
    z = tg.tensor(m + 1j * rng.normal(size=(4, 4)), device=device, requires_grad=True)
    assert tg.autograd.gradcheck(loss, (z,)) and tg.autograd.gradgradcheck(lambda z: (tg.eigvals(z) ** 3).sum(), (z,))
    rows = tg.tensor(rng.normal(size=(3, 4, 4)), device=device)
    mapped = tg.vmap(tg.eigvals)(rows)
    np.testing.assert_allclose(mapped.cpu().numpy(), tg.eigvals(rows).cpu().numpy(), rtol=1e-12)


def _any_matrices(rng):
    return [Case((rng.normal(size=s),)) for s in ((4, 4), (2, 3, 3))]


RECORDS["eig"] = Record(check=_check_eig, cases=_any_matrices, dtypes=("float64", "float32"), bad=bad())


def _check_eigvals(tg, device):
    """Of a companion matrix: the roots of its polynomial."""
    roots = np.array([1.0, -2.0, 0.5, 3.0])
    companion = np.diag(np.ones(3), -1)
    companion[0] = -np.poly(roots)[1:]
    w = tg.eigvals(tg.tensor(companion, device=device)).cpu().numpy()
    np.testing.assert_allclose(sorted(w.real), sorted(roots), rtol=1e-11)
    assert np.abs(w.imag).max() < 1e-11


RECORDS["eigvals"] = Record(check=_check_eigvals, cases=_any_matrices, dtypes=("float64", "float32"), bad=bad())

# ---- pseudoinverse, exponential ----------------------------------------------------------------------------------------


def _pinv(a, atol=None, rtol=None, hermitian=False):
    if a.size == 0:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]))
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    rtol = rtol if rtol is not None else 0 if atol else max(a.shape[-2:]) * 2.0**-23
    keep = s > np.maximum(atol or 0, rtol * s.max(-1, keepdims=True))
    inverse = np.where(keep, 1 / np.where(keep, s, 1), 0)
    return vh.swapaxes(-1, -2) * inverse[..., None, :] @ u.swapaxes(-1, -2)


RECORDS["pinv"] = Record(
    _pinv,
    lambda rng: [
        *[Case((rng.normal(size=s),)) for s in ((4, 3), (3, 4), (2, 3, 3), (0, 2, 3), (3, 0), (0, 0))],
        Case((np.diag([4.0, 2.0, 0.5, 0.0]),), {"atol": 1.0}, smooth=False),
        Case((np.diag([4.0, 2.0, 0.5, 0.0]),), {"rtol": 0.25}, smooth=False),
        Case((np.diag([4.0, -2.0, 0.5, 0.0]),), {"hermitian": True}, smooth=False),
    ],
    FLOATS,
    (0,),
    length=lambda c: order(c) ** 1.5,
    scale=lambda a, **k: (
        np.max(np.linalg.cond(a + 1e-30), initial=1, where=np.linalg.cond(a + 1e-30) < 1e6) * np.max(np.abs(_pinv(a, **k)))
        if a.size
        else 1
    ),
    bad=(*bad(square=False), Bad(ValueError, (np.ones((2, 3)),), {"hermitian": True})),
)



def grown(norm):
    return np.exp(norm) * (1 + 4 * norm)


one_output(
    "matrix_exp", scipy.linalg.expm, lambda rng, *s: rng.normal(size=s), ((3, 3), (2, 4, 4), (1, 1), (0, 2, 2), (0, 0)),
    # Rounding errors of the polynomial, n eps of e^|A|, double with every squaring: 4 |A| times for norms up to 1/2.
    scale=lambda a, y: np.full(np.shape(y), grown(np.max(np.abs(a).sum(-2), initial=0))),
    grad=(0,),
)  # fmt: skip
RECORDS["matrix_exp"].cases = lambda rng: [
    Case((rng.normal(size=s) * f,))
    for s, f in (((3, 3), 1.0), ((2, 4, 4), 0.5), ((1, 1), 1.0), ((3, 3), 1e-3), ((2, 2, 2), 3.0), ((0, 2, 2), 1.0), ((0, 0), 1.0))
]

for _leaf, _through in {
    "leaf_cholesky": "cholesky cholesky_ex cholesky_solve",
    "leaf_lu": "lu lu_factor lu_factor_ex solve inv det",
    "leaf_qr": "qr",
    "leaf_svd": "svd svdvals pinv",
    "leaf_eig": "eig eigvals",
    "leaf_eigh": "eigh eigvalsh",
    "leaf_triangular_solve": "solve_triangular solve cholesky_solve lu_solve",
}.items():
    RECORDS[_leaf] = Record(covered_by=_through)
