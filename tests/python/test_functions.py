# SPDX-License-Identifier: Apache-2.0
"""Functions by PyTorch's and NumPy's names, tg.special and tg.signal.windows, against NumPy, SciPy and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import linalg, signal, spatial, special

import tengen as tg

RNG = np.random.default_rng(11)
NAN = math.nan


def close(got, expected, rtol=1e-12, atol=1e-13):
    np.testing.assert_allclose(np.asarray(got.detach().numpy() if isinstance(got, tg.Tensor) else got), expected, rtol=rtol, atol=atol)


def check_slope(f, x, rtol=1e-6):
    """The gradient of sum(f(x) * weights) along one direction, against central differences in float64."""
    t, h, d = tg.tensor(x, requires_grad=True), 1e-6, RNG.uniform(-1, 1, np.shape(x))
    y = f(t)
    w = tg.tensor(RNG.uniform(0.5, 1.5, tuple(y.shape)))
    (g,) = tg.autograd.grad((y * w).sum(), [t])
    ends = [(f(tg.tensor(x + s * h * d)) * w).sum().item() for s in (1, -1)]
    slope = (g.numpy() * d).sum()
    assert abs((ends[0] - ends[1]) / (2 * h) - slope) <= rtol * (abs(slope) + np.abs(g.numpy() * d).sum() + 1)


def test_fmax_fmin():
    x, y = np.array([1.0, NAN, 3.0, NAN]), np.array([2.0, 2.0, NAN, NAN])
    close(tg.fmax(tg.tensor(x), tg.tensor(y)), np.fmax(x, y))
    close(tg.tensor(x).fmin(tg.tensor(y)), np.fmin(x, y))
    a = tg.tensor([1.0, NAN], requires_grad=True)
    tg.fmax(a, tg.tensor([0.0, 2.0])).sum().backward()
    assert a.grad.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name, f", [("addcmul", np.multiply), ("addcdiv", np.divide)])
def test_products_added(name, f):
    x, y, z = RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.uniform(1, 2, (3, 1))
    for value in ((), (2.5,)):
        expected = x + (value or (1,))[0] * f(y, z)
        t, (u, w) = tg.tensor(x), (tg.tensor(v) for v in (y, z))
        close(getattr(tg, name)(t, u, w, *value), expected)
        close(getattr(t, name)(u, w, *value), expected)
        assert getattr(t, name + "_")(u, w, *value) is t
        close(t, expected)
    out = tg.zeros((3, 4), dtype=tg.float64)
    assert getattr(tg, name)(tg.tensor(x), u, w, value=2, out=out) is out
    check_slope(lambda v: getattr(tg, name)(tg.tensor(x), u, v), z)
    leaf = tg.tensor(x, requires_grad=True)
    with pytest.raises(RuntimeError):
        getattr(leaf, name + "_")(u, w)
    y = leaf * 1
    getattr(y, name + "_")(u, w).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), np.ones((3, 4)))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_gcd_lcm(dtype):
    low = 0 if dtype == "uint8" else -40
    x, y = RNG.integers(low, 40, (6, 5)).astype(dtype), RNG.integers(low, 6, 5).astype(dtype)
    x[0, :2] = y[0] = 0
    for name in ("gcd", "lcm"):
        got = getattr(tg, name)(tg.tensor(x), tg.tensor(y))
        np.testing.assert_array_equal(got.numpy(), getattr(np, name)(x, y))
        assert got.numpy().dtype == dtype
    assert tg.gcd(tg.tensor([12, 18]), 8).tolist() == [4, 2]
    with pytest.raises(TypeError, match=r"\[gcd\] expected integers, got float32"):
        tg.gcd(tg.tensor([1.0]), tg.tensor([2]))


def test_gamma():
    x = RNG.uniform(2, 9, 7)
    for p in (1, 2, 4):
        close(tg.mvlgamma(tg.tensor(x), p), special.multigammaln(x, p))
        check_slope(lambda t, p=p: tg.mvlgamma(t, p), x)
    with pytest.raises(ValueError, match="p of 1 or more, got 0"):
        tg.mvlgamma(tg.tensor(x), 0)


def test_sequences():
    close(tg.logspace(-2, 3, 7, dtype=tg.float64), np.logspace(-2, 3, 7))
    close(tg.logspace(0, 5, steps=6, base=2.0), 2.0 ** np.arange(6))
    assert tg.logspace(0, 1, 0).shape == (0,) and tg.logspace(0, 3, 4, dtype=tg.int64).tolist() == [1, 10, 100, 1000]
    x = np.array([2.0, -3.0, 0.0])
    for n in (None, 0, 1, 5):
        for increasing in (False, True):
            close(tg.vander(tg.tensor(x), n, increasing), np.vander(x, n, increasing))
    close(tg.linalg.vander(tg.tensor(np.stack([x, x + 1])), 4), np.stack([np.vander(v, 4, True) for v in (x, x + 1)]))
    index = RNG.integers(0, 24, (3, 2))
    for g, e in zip(tg.unravel_index(tg.tensor(index), (2, 3, 4)), np.unravel_index(index, (2, 3, 4))):
        np.testing.assert_array_equal(g.numpy(), e)
    y = tg.randint_like(tg.zeros((50, 2), dtype=tg.float64), 3, 6)
    assert y.dtype == tg.float64 and set(y.ravel().tolist()) == {3.0, 4.0, 5.0}


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient(edge_order):
    x, at = RNG.normal(size=(5, 6)), [np.cumsum(RNG.uniform(0.5, 2, n)) for n in (5, 6)]
    for spacing, given in ((None, ()), (0.5, (0.5,)), ([2.0, 0.3], (2.0, 0.3)), ([tg.tensor(a) for a in at], at)):
        for g, e in zip(tg.gradient(tg.tensor(x), spacing=spacing, edge_order=edge_order), np.gradient(x, *given, edge_order=edge_order)):
            close(g, e, rtol=1e-11)
    close(tg.gradient(tg.tensor(x), spacing=tg.tensor(at[1]), dim=1)[0], np.gradient(x, at[1], axis=1), rtol=1e-11)
    check_slope(lambda t: tg.gradient(t, edge_order=edge_order)[0], x)
    with pytest.raises(ValueError, match="more than"):
        tg.gradient(tg.ones((1, 5)), edge_order=edge_order)


def test_cumulative_trapezoid():
    from scipy.integrate import cumulative_trapezoid

    y, x = RNG.normal(size=(4, 5)), np.cumsum(RNG.uniform(0.1, 1, (4, 5)), axis=1)
    close(tg.cumulative_trapezoid(tg.tensor(y), dx=0.5, dim=0), cumulative_trapezoid(y, dx=0.5, axis=0))
    close(tg.cumulative_trapezoid(tg.tensor(y), tg.tensor(x)), cumulative_trapezoid(y, x))
    close(tg.cumulative_trapezoid(tg.tensor(y), tg.tensor(x[:, 0]), dim=0), cumulative_trapezoid(y, x[:, 0], axis=0))
    check_slope(lambda t: tg.cumulative_trapezoid(tg.tensor(y), t), x)


def test_renorm():
    x = RNG.normal(size=(3, 4, 5)) * 3
    for p, axis, most in ((2, 0, 1.5), (1, -1, 20.0), (math.inf, 1, 2.0)):
        size = np.max(np.abs(x), axis=tuple(i for i in range(3) if i != axis % 3), keepdims=True) if p == math.inf else \
            (np.abs(x) ** p).sum(axis=tuple(i for i in range(3) if i != axis % 3), keepdims=True) ** (1 / p)
        close(tg.renorm(tg.tensor(x), p, axis, most), np.where(size > most, most / (size + 1e-7), 1) * x)
    check_slope(lambda t: tg.renorm(t, 2, 1, 1.0), x)
    with pytest.raises(ValueError, match="p above 0"):
        tg.renorm(tg.tensor(x), 0, 0, 1.0)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce, f", [("prod", np.prod), ("mean", np.mean), ("amax", np.max), ("amin", np.min)])
def test_index_reduce(reduce, f, include_self):
    x, index, source = RNG.uniform(0.5, 2, (2, 4)), np.array([3, 0, 3, 3]), RNG.uniform(0.5, 2, (2, 4))
    expected = x.copy()
    for i in set(index.tolist()):
        parts = [source[:, j] for j in np.flatnonzero(index == i)] + [x[:, i]] * include_self
        expected[:, i] = f(np.stack(parts), axis=0)
    close(tg.index_reduce(tg.tensor(x), 1, tg.tensor(index), tg.tensor(source), reduce, include_self=include_self), expected)
    with pytest.raises(ValueError, match=r"\(4,\) and \(2, 3\)"):
        tg.index_reduce(tg.tensor(x), 1, tg.tensor(index), tg.tensor(source[:, :3]), reduce)


def test_distances():
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
    close(tg.cdist(tg.tensor(x), tg.tensor(y)), spatial.distance.cdist(x, y))
    close(tg.dist(tg.tensor(x), tg.tensor(y[:4]), 3), (np.abs(x - y[:4]) ** 3).sum() ** (1 / 3))


def test_matrices():
    a = RNG.normal(size=(2, 4, 4)) + 4 * np.eye(4)
    close(tg.inverse(tg.tensor(a)), np.linalg.inv(a), rtol=1e-10)
    close(tg.pinverse(tg.tensor(a[0, :, :2])), np.linalg.pinv(a[0, :, :2]), rtol=1e-9)
    close(tg.logdet(tg.tensor(a)), np.log(np.linalg.det(a)))
    assert math.isnan(tg.logdet(tg.tensor([[-1.0]])).item()) and tg.logdet(tg.zeros((2, 2))).item() == -math.inf
    s = a @ a.swapaxes(-1, -2)
    close(tg.cholesky_inverse(tg.cholesky(tg.tensor(s))), np.linalg.inv(s), rtol=1e-9)
    close(tg.cholesky_inverse(tg.cholesky(tg.tensor(s), upper=True), upper=True), np.linalg.inv(s), rtol=1e-9)
    for shape in ((4, 4), (3, 5), (2, 5, 3), (0, 3), (3, 0), (2, 0, 0)):
        m = RNG.normal(size=shape)
        p, lower, upper = tg.lu_unpack(*tg.lu_factor_ex(tg.tensor(m))[:2])
        close(p @ lower @ upper, m)
        assert p.shape == (*shape[:-1], shape[-2])
        for g, e in zip(tg.linalg.lu(tg.tensor(m)), (p, lower, upper)):
            close(g, e.numpy())
    f = tg.lu_factor(tg.tensor(a))
    assert tg.lu_unpack(*f, unpack_data=False)[1].shape == (0,) and tg.lu_unpack(*f, unpack_pivots=False)[0].shape == (0,)


def test_tensor_solvers():
    a, b = RNG.normal(size=(2, 3, 6)), RNG.normal(size=(2, 3))
    close(tg.linalg.tensorsolve(tg.tensor(a), tg.tensor(b)), np.linalg.tensorsolve(a, b), rtol=1e-9)
    a = RNG.normal(size=(3, 4, 4, 3))
    expected = np.linalg.tensorsolve(a, np.ones((4, 3)), (0, 2))
    close(tg.linalg.tensorsolve(tg.tensor(a), tg.ones((4, 3), dtype=tg.float64), dims=(0, 2)), expected, rtol=1e-8)
    a = RNG.normal(size=(4, 6, 8, 3))
    close(tg.linalg.tensorinv(tg.tensor(a)), np.linalg.tensorinv(a), rtol=1e-7, atol=1e-10)
    with pytest.raises(ValueError, match="halves"):
        tg.linalg.tensorinv(tg.tensor(a), 1)


@pytest.mark.parametrize("shape", [(5, 5), (6, 4), (3, 0)])
def test_householder_product(shape):
    m = RNG.normal(size=shape)
    (h, tau), _ = linalg.qr(m, mode="raw") if shape[1] else ((np.zeros(shape), np.zeros(0)), None)
    q = np.linalg.qr(m)[0] if shape[1] else np.zeros(shape)
    got = tg.linalg.householder_product(tg.tensor(np.ascontiguousarray(h)), tg.tensor(tau))
    close(got, q if not shape[1] else linalg.qr(m, mode="economic")[0])
    if shape[1]:
        check_slope(lambda t: tg.linalg.householder_product(tg.tensor(np.ascontiguousarray(h)), t), tau)
    with pytest.raises(ValueError, match="m >= n"):
        tg.linalg.householder_product(tg.ones((2, 3)), tg.ones(2))


def test_bilinear():
    x, y, w, b = RNG.normal(size=(2, 5, 3)), RNG.normal(size=(2, 5, 4)), RNG.normal(size=(6, 3, 4)), RNG.normal(size=6)
    expected = np.einsum("...i,oij,...j->...o", x, w, y) + b
    close(tg.nn.functional.bilinear(*(tg.tensor(v) for v in (x, y, w, b))), expected)
    check_slope(lambda t: tg.nn.functional.bilinear(tg.tensor(x), tg.tensor(y), t), w)
    layer = tg.nn.Bilinear(3, 4, 6)
    assert layer(tg.ones((7, 3)), tg.ones((7, 4))).shape == (7, 6) and layer.weight.abs().max().item() <= 3**-0.5
    assert tg.nn.functional.bilinear(tg.ones((0, 3)), tg.ones((0, 4)), tg.ones((6, 3, 4))).shape == (0, 6)
    with pytest.raises(ValueError, match=r"\[out, in1, in2\]"):
        layer(tg.ones((7, 3)), tg.ones((6, 4)))


POINTS = np.array([-80.0, -40.0, -30.5, -29.5, -12.0, -9.0, -3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0, 8.0, 30.0])


def test_special():
    # A rounding of x is x^2 of them in exp(-x^2 / 2); the logarithm of that has no more than a few.
    for dtype, eps in (("float64", 2.0**-52), ("float32", 2.0**-23)):
        points = POINTS.astype(dtype)
        points = points[points < 12] if dtype == "float32" else points  # beyond, 1 - ndtr is not normal
        for f, slack in (("ndtr", points**2), ("log_ndtr", np.where(points > 0, points**2, 0))):
            expected = getattr(special, f)(points.astype(float))
            error = np.abs(getattr(tg.special, f)(tg.tensor(points)).numpy() - expected)
            assert (error <= (32 + 2 * slack) * eps * np.abs(expected) + np.finfo(dtype).tiny).all()
    check_slope(tg.special.log_ndtr, np.array([-33.0, -20.0, -2.0, 0.5, 3.0]))
    x = np.array([0.0, 0.5, 1.0, 7.0, -1.0, NAN])
    close(tg.special.entr(tg.tensor(x)), special.entr(x))
    check_slope(tg.special.entr, x[1:4])
    a, b = np.array([0.0, 0.0, 2.0, 0.0, 1.0]), np.array([-1.0, NAN, 0.5, math.inf, 1e-20])
    close(tg.special.xlog1py(tg.tensor(a), tg.tensor(b)), special.xlog1py(a, b))
    close(tg.special.xlog1py(2.0, tg.tensor(b[2:3])), special.xlog1py(2.0, b[2:3]))
    check_slope(lambda t: tg.special.xlog1py(t, tg.tensor(a[2:3] + 3)), a[:1])
    for name, data in (("expit", POINTS), ("gammaln", POINTS[-4:]), ("psi", POINTS[-4:]), ("i0", POINTS[5:11]), ("expm1", POINTS[4:9])):
        close(getattr(tg.special, name)(tg.tensor(data)), getattr(special, name)(data), rtol=1e-13)
    close(tg.special.polygamma(1, tg.tensor(POINTS[-4:])), special.polygamma(1, POINTS[-4:]), rtol=1e-13)
    close(tg.special.round(tg.tensor([1.234, -5.678]), decimals=1), [1.2, -5.7], rtol=1e-6)
    assert all(callable(getattr(tg.special, n)) for n in tg.special.__all__)


WINDOWS = {
    "bartlett": {}, "blackman": {}, "cosine": {}, "hamming": {}, "hann": {}, "nuttall": {}, "exponential": {"tau": 2.0},
    "gaussian": {"std": 1.5}, "kaiser": {"beta": 8.0}, "general_cosine": {"a": [0.5, 0.3, 0.2]}, "general_hamming": {"alpha": 0.6},
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name):
    given = WINDOWS[name]
    for n in (0, 1, 2, 9, 16):
        for sym in (True, False):
            got = getattr(tg.signal.windows, name)(n, sym=sym, dtype=tg.float64, **given)
            close(got, getattr(signal.windows, name)(n, sym=sym, **given), rtol=1e-12, atol=1e-15)
    assert getattr(tg.signal.windows, name)(4, **given).dtype == tg.float32
    with pytest.raises(ValueError, match="M of 0 or more, got -1"):
        getattr(tg.signal.windows, name)(-1, **given)
    with pytest.raises(TypeError, match="floating-point"):
        getattr(tg.signal.windows, name)(4, dtype=tg.int32, **given)


def test_softmax_dtype():
    x = tg.tensor([[1.0, 2.0]], dtype=tg.float16)
    for f in (tg.nn.functional.softmax, tg.nn.functional.log_softmax):
        assert f(x, -1, dtype=tg.float32).dtype == tg.float32
