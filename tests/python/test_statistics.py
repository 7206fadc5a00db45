# SPDX-License-Identifier: Apache-2.0
"""Histograms, covariances, quantiles and sums with the arguments of NumPy and PyTorch, against NumPy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import tengen as tg

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bins", [4, np.array([-1.0, 0.0, 0.25, 2.0])])
def test_histogram(bins, weighted, density):
    x, w = RNG.normal(size=(5, 9)), RNG.uniform(0.5, 2, (5, 9))
    expected = np.histogram(x, bins, weights=w if weighted else None, density=density)
    edges = bins if isinstance(bins, int) else tg.tensor(bins)
    got = tg.histogram(tg.tensor(x), edges, weight=tg.tensor(w) if weighted else None, density=density)
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g.numpy(), e, rtol=1e-13, atol=1e-13)
    assert got.hist is got.counts and got.bin_edges is got.edges


def test_histogram_range():
    x = RNG.normal(size=40)
    expected = np.histogram(x, 5, (-0.5, 1.0))
    for got in (tg.histogram(tg.tensor(x), 5, range=(-0.5, 1.0)), tg.tensor(x).histogram(5, -0.5, 1.0)):
        np.testing.assert_array_equal(got.counts.numpy(), expected[0])
        np.testing.assert_allclose(got.edges.numpy(), expected[1], rtol=1e-15, atol=1e-15)
    with pytest.raises(ValueError, match="edges or a range"):
        tg.histogram(tg.tensor(x), tg.tensor([0.0, 1.0]), range=(0.0, 1.0))
    with pytest.raises(ValueError, match="smallest and the largest"):
        tg.histogram(tg.tensor(x), 3, range=(0, 0))


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_histogramdd(weighted, density):
    x, w = RNG.normal(size=(60, 2)), RNG.uniform(0.5, 2, 60)
    x[0] = [-0.5, 1.0]  # on edges
    edges = [np.array([-1.0, -0.5, 0.5, 1.5]), np.array([-2.0, 0.0, 1.0])]
    kwargs = {"weights": w if weighted else None, "density": density}
    weight = tg.tensor(w) if weighted else None
    got = tg.histogramdd(tg.tensor(x), [tg.tensor(e) for e in edges], weight=weight, density=density)
    np.testing.assert_allclose(got.counts.numpy(), np.histogramdd(x, edges, **kwargs)[0], rtol=1e-13)
    got = tg.histogramdd(tg.tensor(x), [3, 2], range=(-1.0, 1.5, -2.0, 1.0), weight=weight, density=density)
    expected = np.histogramdd(x, [3, 2], [(-1.0, 1.5), (-2.0, 1.0)], **kwargs)
    np.testing.assert_allclose(got.counts.numpy(), expected[0], rtol=1e-13)
    for g, e in zip(got.edges, expected[1]):
        np.testing.assert_allclose(g.numpy(), e, rtol=1e-15, atol=1e-15)
    np.testing.assert_array_equal(tg.histogramdd(tg.tensor(x), 3).counts.numpy(), np.histogramdd(x, 3)[0])
    with pytest.raises(ValueError, match="2 coordinates, got 3"):
        tg.histogramdd(tg.tensor(x), [1, 2, 3])


def test_cov_of_weights_and_of_one_variable():
    x, f, a = RNG.normal(size=(3, 6)), RNG.integers(1, 4, 6), RNG.uniform(0.5, 2, 6)
    got = tg.cov(tg.tensor(x), correction=1, fweights=tg.tensor(f), aweights=tg.tensor(a))
    np.testing.assert_allclose(got.numpy(), np.cov(x, ddof=1, fweights=f, aweights=a), rtol=1e-12)
    np.testing.assert_allclose(tg.tensor(x).cov(0).numpy(), np.cov(x, ddof=0), rtol=1e-12)
    for f in (tg.cov, tg.corrcoef):
        assert f(tg.tensor(x[:1])).shape == f(tg.tensor(x[0])).shape == ()


def test_quantile_of_a_tensor_has_a_gradient():
    x, q, h = RNG.permutation(35).reshape(5, 7) / 4.0, np.array([0.2, 0.55]), 1e-6
    t = tg.tensor(q, requires_grad=True)
    weights = np.arange(1.0, 11.0).reshape(2, 5)
    y = tg.quantile(tg.tensor(x), t, dim=1)
    np.testing.assert_allclose(y.detach().numpy(), np.quantile(x, q, axis=1), rtol=1e-14)
    (y * tg.tensor(weights)).sum().backward()
    slopes = (np.quantile(x, q + h, axis=1) - np.quantile(x, q - h, axis=1)) / (2 * h)
    np.testing.assert_allclose(t.grad.numpy(), (slopes * weights).sum(axis=1), rtol=1e-7)
    with pytest.raises(ValueError, match=r"q between 0 and 1, got 1\.5"):
        tg.quantile(tg.tensor(x), tg.tensor(1.5))


def test_dtype_of_sums():
    x = tg.tensor([[1.5, 2.5], [3.5, 4.5]], requires_grad=True)
    for f, expected in ((tg.sum, 12), (tg.prod, 59.0625), (tg.mean, 3)):
        y = f(x, dtype=tg.float64)
        assert y.dtype == tg.float64 and y.item() == expected
        (g,) = tg.autograd.grad(y, [x])
        assert g.dtype == tg.float32
        np.testing.assert_allclose(g.numpy(), tg.autograd.grad(f(x.double()), [x])[0].numpy())
    assert x.sum(dtype=tg.int32).item() == 10 and x.sum(dtype=tg.int32).dtype == tg.int32  # cast first
    assert tg.mean(tg.tensor([1, 2]), dtype=tg.float32).item() == 1.5
    for f in (tg.cumsum, tg.cumprod):
        assert f(tg.tensor([1, 2]), 0, dtype=tg.float32).dtype == tg.float32
        (g,) = tg.autograd.grad(f(x, 1, dtype=tg.float64).sum(), [x])
        np.testing.assert_array_equal(g.numpy(), tg.autograd.grad(f(x, 1).sum(), [x])[0].numpy())
    with pytest.raises(TypeError, match="dtype of numbers, got bool"):
        tg.sum(x, dtype=tg.bool)
    with pytest.raises(TypeError, match="floats"):
        tg.mean(x, dtype=tg.int32)


@pytest.mark.parametrize("driver, empty", [("gels", (2, 3)), ("gelsy", (1, 3)), ("gelss", ()), ("gelsd", ())])
def test_lstsq_drivers(driver, empty):
    a, b = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))
    expected = np.linalg.lstsq(a, b)
    got = tg.linalg.lstsq(tg.tensor(a), tg.tensor(b), driver=driver)
    for i, (g, e) in enumerate(zip(got, expected)):
        assert g.shape == ((0,) if i in empty else np.shape(e))
        if i not in empty:
            np.testing.assert_allclose(g.numpy(), e, rtol=1e-10)
    with pytest.raises(ValueError, match="gelsd', got 'qr'"):
        tg.linalg.lstsq(tg.tensor(a), tg.tensor(b), driver="qr")


def test_rank_with_a_tolerance_for_each_matrix():
    a = np.stack([np.diag([1.0, 0.1, 0.01])] * 3)
    tol = np.array([0.001, 0.05, 0.5])
    for name in ("rtol", "atol"):
        assert tg.linalg.matrix_rank(tg.tensor(a), **{name: tg.tensor(tol)}).tolist() == [3, 2, 1]
    assert tg.linalg.matrix_rank(tg.zeros((0, 5, 5)), rtol=tg.zeros((0,))).shape == (0,)


def test_functional_shapes():
    f = tg.nn.functional
    x, w = RNG.normal(size=(2, 3, 4)), RNG.normal(size=4)
    np.testing.assert_allclose(f.linear(tg.tensor(x), tg.tensor(w), tg.tensor(0.5, dtype=tg.float64)).numpy(), x @ w + 0.5, rtol=1e-12)
    q, k = tg.tensor(RNG.normal(size=(4, 3, 8))), tg.tensor(RNG.normal(size=(2, 4, 6, 8)))
    np.testing.assert_array_equal(
        f.scaled_dot_product_attention(q, k, k).numpy(), f.scaled_dot_product_attention(q.expand((2, 4, 3, 8)), k, k).numpy()
    )
    assert f.avg_pool2d(tg.ones((1, 1, 4, 4)), 2, ()).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match=r"\(N, C, ...\), got \(0,\)"):
        f.batch_norm(tg.zeros(0), None, None, training=True)
