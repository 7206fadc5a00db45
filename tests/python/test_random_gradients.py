# SPDX-License-Identifier: Apache-2.0
"""Gradients of gamma, beta and Dirichlet numbers in their parameters: each number keeps its place in the distribution, so they
are slopes of SciPy's quantile functions, by finite differences."""
from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import tengen as tg
from tengen import _core, func

DEVICES = [d.name for d in tg.devices() if d.usable]
SHAPES = np.array([0.02, 0.3, 0.9, 1.0, 1.7, 5.0, 9.0, 30.0, 400.0])


def log_quantile_slope(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    """d log z / da where F(z; a) stays, from the tail that z is in."""
    h = 1e-4 * a
    lower, upper = special.gammainc(a, z), special.gammaincc(a, z)
    with np.errstate(all="ignore"):  # quantiles that underflow, where nobody looks
        from_below = np.log(special.gammaincinv(a + h, lower) / special.gammaincinv(a - h, lower))
        from_above = np.log(special.gammainccinv(a + h, upper) / special.gammainccinv(a - h, upper))
    return np.where(lower < 0.5, from_below, from_above) / (2 * h)


def drawn(alpha: np.ndarray, device: str, f) -> tuple[np.ndarray, tg.Tensor, tg.Tensor]:
    tg.manual_seed(11)
    parameter = tg.tensor(alpha, device=device).requires_grad_()
    y = f(parameter)
    return y.detach().cpu().numpy(), parameter, y


@pytest.mark.parametrize("device", DEVICES)
def test_gamma(device):
    alpha = np.tile(SHAPES, (300, 1))
    z, parameter, y = drawn(alpha, device, tg.standard_gamma)
    y.sum().backward()
    got = parameter.grad.cpu().numpy()
    fine = z > 1e-200  # below, SciPy's quantiles underflow
    assert fine.mean() > 0.95
    # Differences: 1e-8 of truncation, and SciPy's 1e-12 over the step.
    np.testing.assert_allclose(got[fine] / z[fine], log_quantile_slope(z, alpha)[fine], rtol=1e-6)


def test_gamma_of_tiny_shapes():
    """z^a / (a Gamma(a)) stays, for small z: slopes of the logarithm, where the number itself is 0."""
    alpha = np.full(200, 1e-3)
    y, parameter, drawn_log = drawn(alpha, "cpu:0", lambda a: _core.call("log_standard_gamma", (a,))[0])
    drawn_log.sum().backward()
    far = y < -50
    assert far.any()
    np.testing.assert_allclose(parameter.grad.numpy()[far], -(y[far] - special.digamma(1 + 1e-3)) / 1e-3, rtol=1e-12)


@pytest.mark.parametrize("dtype", [tg.float32, tg.bfloat16], ids=str)
def test_gamma_in_other_dtypes(dtype):
    tg.manual_seed(3)
    alpha = tg.tensor(np.tile(SHAPES, (50, 1)), dtype=dtype).requires_grad_()
    y = tg.standard_gamma(alpha)
    (g,) = tg.autograd.grad(y.sum(), [alpha])
    z, a = y.detach().to(tg.float64).numpy(), alpha.detach().to(tg.float64).numpy()
    fine = z > 1e-30
    assert g.dtype == dtype
    np.testing.assert_allclose(g.to(tg.float64).numpy()[fine], (z * log_quantile_slope(z, a))[fine], rtol=1e-3 if dtype == tg.float32 else 0.1)


def log_gammas(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the gamma numbers that the same seed gives, and their slopes."""
    y = _core.call("log_standard_gamma", (tg.tensor(alpha),))[0].numpy()
    return y, log_quantile_slope(np.exp(y), alpha)


@pytest.mark.parametrize("device", DEVICES)
def test_beta(device):
    """x = 1 / (1 + z_b / z_a) of two gamma numbers."""
    a, b = np.tile([0.4, 1.0, 6.0], (60, 1)), np.tile([2.0, 0.7, 3.0], (60, 1))
    tg.manual_seed(5)
    (log_a, slope_a), (log_b, slope_b) = log_gammas(a), log_gammas(b)
    x = special.expit(log_a - log_b)
    tg.manual_seed(5)
    p, q = (tg.tensor(v, device=device).requires_grad_() for v in (a, b))
    y = tg.beta(p, q)
    np.testing.assert_allclose(y.detach().cpu().numpy(), x, rtol=1e-12)
    y.sum().backward()
    np.testing.assert_allclose(p.grad.cpu().numpy(), x * (1 - x) * slope_a, rtol=1e-5)
    np.testing.assert_allclose(q.grad.cpu().numpy(), -x * (1 - x) * slope_b, rtol=1e-5)


def test_beta_at_the_ends():
    """Numbers that are 0 or 1 in the dtype have finite slopes."""
    tg.manual_seed(0)
    p, q = tg.full((500,), 0.004).requires_grad_(), tg.full((500,), 0.006).requires_grad_()
    y = tg.beta(p, q)
    assert ((y == 0) | (y == 1)).any()
    assert all(tg.isfinite(g).all() for g in tg.autograd.grad(y.sum(), [p, q]))


def test_dirichlet():
    alpha = np.tile([0.5, 3.0, 1.2, 8.0], (50, 1))
    weights = np.random.default_rng(0).normal(size=alpha.shape)
    tg.manual_seed(9)
    y, slope = log_gammas(alpha)
    share = special.softmax(y, axis=-1)
    tg.manual_seed(9)
    parameter = tg.tensor(alpha).requires_grad_()
    x = tg.dirichlet(parameter)
    np.testing.assert_allclose(x.detach().numpy(), share, rtol=1e-12)
    (x * tg.tensor(weights)).sum().backward()
    inner = (share * weights).sum(-1, keepdims=True)
    np.testing.assert_allclose(parameter.grad.numpy(), share * (weights - inner) * slope, rtol=1e-4, atol=1e-7)


def test_mean_of_the_slopes():
    """The mean of gamma numbers is alpha, of beta numbers a / (a + b): so are the means of the slopes, within 5 of their deviations."""
    tg.manual_seed(1)
    a = tg.full((20000,), 2.5, dtype=tg.float64).requires_grad_()
    for y, expected in ((tg.standard_gamma(a), 1.0), (tg.beta(a, tg.tensor(1.5, dtype=tg.float64)), 1.5 / 16)):
        (g,) = tg.autograd.grad(y.sum(), [a])
        g = g.numpy()
        assert abs(g.mean() - expected) < 5 * g.std() / len(g) ** 0.5


def test_forward_mode_and_vmap():
    alpha = tg.tensor(SHAPES)
    tg.manual_seed(2)
    leaf = alpha.clone().requires_grad_()
    y = tg.standard_gamma(leaf)
    (reverse,) = tg.autograd.grad(y.sum(), [leaf])
    tg.manual_seed(2)
    value, forward = func.jvp(tg.standard_gamma, (alpha,), (tg.ones_like(alpha),))
    np.testing.assert_array_equal(value.numpy(), y.detach().numpy())
    np.testing.assert_allclose(forward.numpy(), reverse.numpy(), rtol=1e-12)
    slopes = func.vmap(func.grad(lambda a: tg.standard_gamma(a).sum()), randomness="different")(alpha.expand((4, 9)))
    assert slopes.shape == (4, 9) and bool((slopes > 0).all())


def test_second_derivatives_say_that_there_are_none():
    a = tg.tensor([2.0, 3.0]).requires_grad_()
    (g,) = tg.autograd.grad(tg.standard_gamma(a).sum(), [a], create_graph=True)
    with pytest.raises(NotImplementedError, match="one derivative"):
        g.sum().backward()
