# SPDX-License-Identifier: Apache-2.0
"""Distributions against scipy.stats; divergences against their defining integral or sum; samples by tests of fit (fixed seeds)."""
from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from scipy import integrate, stats

import tengen as tg
from tengen import distributions as D

A, B = np.array([0.5, 1.0, 2.5]), np.array([1.5, 0.7, 3.0])
P = np.array([0.1, 0.5, 0.8])


def t(a, grad=False):
    return tg.tensor(np.asarray(a, np.float64), requires_grad=grad)


# name: (ours, scipy's, points)
LINE = np.array([-1.3, 0.2, 0.9])
CASES = {
    "Normal": (D.Normal(t(LINE), t(B)), stats.norm(LINE, B), [-2.0, 0.0, 0.4, 3.0]),
    "LogNormal": (D.LogNormal(t(LINE), t(A)), stats.lognorm(A, scale=np.exp(LINE)), [-1.0, 0.0, 0.3, 2.0]),
    "Laplace": (D.Laplace(t(LINE), t(B)), stats.laplace(LINE, B), [-2.0, 0.0, 0.2, 3.0]),
    "Uniform": (D.Uniform(t(LINE), t(LINE + B)), stats.uniform(LINE, B), [-2.0, 0.0, 0.3, 5.0]),
    "Exponential": (D.Exponential(t(A)), stats.expon(scale=1 / A), [-1.0, 0.0, 0.3, 2.0]),
    "Gamma": (D.Gamma(t(A), t(B)), stats.gamma(A, scale=1 / B), [-1.0, 0.3, 2.0]),
    "Beta": (D.Beta(t(A), t(B)), stats.beta(A, B), [-1.0, 0.3, 0.8, 2.0]),
    "Bernoulli": (D.Bernoulli(t(P)), stats.bernoulli(P), [-1.0, 0.0, 0.5, 1.0, 2.0]),
    "Bernoulli logits": (D.Bernoulli(logits=t(np.log(P / (1 - P)))), stats.bernoulli(P), [-1.0, 0.0, 1.0, 2.0]),
    "Geometric": (D.Geometric(t(P)), stats.geom(P, -1), [-1.0, 0.0, 1.0, 1.5, 7.0]),
    "Poisson": (D.Poisson(t(A)), stats.poisson(A), [-1.0, 0.0, 1.0, 1.5, 7.0]),
    "StudentT": (D.StudentT(t(A + 1), t(LINE), t(B)), stats.t(A + 1, LINE, B), [-2.0, 0.0, 0.3, 90.0]),
    "Cauchy": (D.Cauchy(t(LINE), t(B)), stats.cauchy(LINE, B), [-2.0, 0.0, 0.3, 90.0]),
    "Gumbel": (D.Gumbel(t(LINE), t(B)), stats.gumbel_r(LINE, B), [-2.0, 0.0, 0.3, 9.0]),
    "Chi2": (D.Chi2(t(A)), stats.chi2(A), [-1.0, 0.3, 2.0]),
    "HalfNormal": (D.HalfNormal(t(B)), stats.halfnorm(scale=B), [-1.0, 0.0, 0.3, 4.0]),
    "Binomial": (D.Binomial(t([3.0, 1.0, 20.0]), t(P)), stats.binom([3, 1, 20], P), [-1.0, 0.0, 1.0, 1.5, 3.0, 20.0]),
    "Binomial logits": (D.Binomial(7, logits=t(np.log(P / (1 - P)))), stats.binom(7, P), [-1.0, 0.0, 1.0, 1.5, 7.0, 8.0]),
    "NegativeBinomial": (D.NegativeBinomial(t([3.0, 0.5, 4.0]), t(P)), stats.nbinom([3, 0.5, 4], 1 - P), [-1.0, 0.0, 1.0, 1.5, 7.0]),
}
DISCRETE = ("Bernoulli", "Bernoulli logits", "Geometric", "Poisson", "Binomial", "Binomial logits", "NegativeBinomial")


@pytest.mark.parametrize("name", CASES)
def test_log_prob_and_moments(name):
    ours, theirs, points = CASES[name]
    log = theirs.logpmf if name in DISCRETE else theirs.logpdf
    for v in points:
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(ours.log_prob(t(v)).numpy(), log(v), rtol=1e-11, atol=1e-13, err_msg=str(v))
    np.testing.assert_allclose(ours.mean.numpy(), theirs.mean(), rtol=1e-12)
    np.testing.assert_allclose(ours.variance.numpy(), theirs.var(), rtol=1e-11)
    np.testing.assert_allclose(ours.stddev.numpy(), theirs.std(), rtol=1e-11)
    assert ours.batch_shape == (3,) and ours.event_shape == () and ours.log_prob(t(np.zeros((4, 1)))).shape == (4, 3)
    if name in ("Poisson", "NegativeBinomial"):
        with pytest.raises(NotImplementedError, match="closed form"):
            ours.entropy()
    else:
        np.testing.assert_allclose(ours.entropy().numpy(), theirs.entropy(), rtol=1e-10)
        np.testing.assert_allclose(ours.perplexity().numpy(), np.exp(theirs.entropy()), rtol=1e-10)


@pytest.mark.parametrize("name", ["Normal", "LogNormal", "Laplace", "Uniform", "Exponential", "Cauchy", "Gumbel", "HalfNormal"])
def test_cdf_and_quantiles(name):
    ours, theirs, points = CASES[name]
    for v in points:
        np.testing.assert_allclose(ours.cdf(t(v)).numpy(), theirs.cdf(v), rtol=1e-11, atol=1e-15)
    for q in (0.01, 0.5, 0.7):
        np.testing.assert_allclose(ours.icdf(t(q)).numpy(), theirs.ppf(q), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_samples_follow_the_distribution(name):
    ours, theirs, _ = CASES[name]
    tg.manual_seed(3)
    x = ours.sample((4000,))
    assert x.shape == (4000, 3) and not x.requires_grad and ours.sample().shape == (3,) and ours.sample((2, 5)).shape == (2, 5, 3)
    x = x.numpy()
    for i in range(3):
        cdf = lambda v, i=i: theirs.cdf(np.asarray(v)[..., None])[..., i]  # noqa: E731
        if name in DISCRETE:
            k = np.arange(0, x[:, i].max() + 2)
            p = np.append(np.diff(cdf(k - 1)), 1 - cdf(k[-2:-1]))
            expected, seen = p * 4000, np.histogram(x[:, i], np.append(k, k[-1] + 1))[0]
            big = expected > 5
            seen, expected = np.append(seen[big], seen[~big].sum()), np.append(expected[big], expected[~big].sum())
            assert stats.chisquare(seen[expected > 0], expected[expected > 0]).pvalue > 1e-5
        else:
            assert stats.kstest(x[:, i], cdf).pvalue > 1e-5


def test_gradients_reach_the_parameters():
    for make, scale in ((D.Normal, B), (D.Laplace, B), (D.Uniform, None)):
        loc, other = t(LINE, True), t(B if scale is not None else LINE + B, True)
        tg.manual_seed(1)
        x = make(loc, other).rsample((5,))
        tg.manual_seed(1)
        assert tg.array_equal(x.detach(), make(loc, other).sample((5,)))
        x.sum().backward()
        h = 1e-6
        tg.manual_seed(1)
        up = make(loc.detach(), other.detach() + h).rsample((5,)).sum(0)
        np.testing.assert_allclose(other.grad.numpy(), ((up - x.detach().sum(0)) / h).numpy(), rtol=1e-6, atol=1e-6)
    rate = t(A, True)
    x = D.Exponential(rate).rsample((7,))
    x.sum().backward()
    np.testing.assert_allclose(rate.grad.numpy(), -(x.detach() / rate.detach()).sum(0).numpy(), rtol=1e-12)
    for p in (D.Bernoulli(0.5), D.Poisson(1.0), D.Binomial(2, 0.5), D.NegativeBinomial(2, 0.5), D.Multinomial(3, tg.ones(2))):
        assert not p.has_rsample
        with pytest.raises(NotImplementedError, match="no samples with gradients"):
            p.rsample()
    logits = t([0.3, -2.0], True)  # the score function
    D.Bernoulli(logits=logits).log_prob(t([1.0, 0.0])).sum().backward()
    s = 1 / (1 + np.exp(-logits.detach().numpy()))
    np.testing.assert_allclose(logits.grad.numpy(), [1 - s[0], -s[1]], rtol=1e-12)


Q = {
    "Normal": D.Normal(t([0.0, 1.0, 0.5]), t([1.0, 2.0, 0.5])), "LogNormal": D.LogNormal(t([0.0, 1.0, 0.5]), t([1.0, 2.0, 1.5])),
    "Laplace": D.Laplace(t([0.0, 1.0, 0.5]), t([1.0, 2.0, 0.5])), "Uniform": D.Uniform(t(LINE - 1), t(LINE + B + 0.5)),
    "Exponential": D.Exponential(t(B)), "Gamma": D.Gamma(t(B), t(A)), "Beta": D.Beta(t(B), t(A)), "Bernoulli": D.Bernoulli(t([0.3, 0.9, 0.2])),
    "Cauchy": D.Cauchy(t([0.0, 1.0, 0.5]), t([1.0, 2.0, 0.5])), "Gumbel": D.Gumbel(t([0.0, 1.0, 0.5]), t([1.0, 2.0, 2.5])),
    "HalfNormal": D.HalfNormal(t(A)), "Chi2": D.Gamma(t(B), t(A)), "Binomial": D.Binomial(t([3.0, 1.0, 20.0]), t([0.3, 0.9, 0.2])),
    "Bernoulli logits": D.Bernoulli(logits=t([0.3, 0.9, 0.2])), "Geometric": D.Geometric(t([0.3, 0.9, 0.2])), "Poisson": D.Poisson(t(B)),
}


@pytest.mark.parametrize("name", Q)
def test_divergences(name):
    p, q = CASES[name][0], Q[name]
    got = D.kl_divergence(p, q).numpy()
    for i in range(3):
        def term(v, i=i):
            a, b = (float(d.log_prob(t(v))[i].item()) for d in (p, q))
            return 0.0 if a == -np.inf else np.exp(a) * (a - b)

        if name in DISCRETE:
            want = sum(term(float(k)) for k in range(2 if "Bern" in name else 21 if "Bin" in name else 400))
        else:
            low, high = CASES[name][1].support()
            low, high = np.broadcast_to(low, 3)[i], np.broadcast_to(high, 3)[i]
            middle = CASES[name][1].median()[i]
            want = sum(integrate.quad(term, *ends, limit=200)[0] for ends in ((low, middle), (middle, high)))
        assert got[i] == pytest.approx(want, rel=1e-6, abs=1e-8)
    assert np.abs(D.kl_divergence(p, p).numpy()).max() < 1e-14


def test_divergence_corners():
    assert D.kl_divergence(D.Uniform(0.0, 2.0), D.Uniform(0.5, 3.0)).item() == np.inf
    assert D.kl_divergence(D.Bernoulli(0.0), D.Bernoulli(0.5)).item() == pytest.approx(np.log(2))
    assert D.kl_divergence(D.Bernoulli(0.5), D.Bernoulli(1.0)).item() == np.inf
    with pytest.raises(NotImplementedError, match="no rule for Normal and Gamma"):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Gamma(1.0, 1.0))


def test_gradients_of_rejection_samples():
    """A number that keeps its place in the distribution moves by -(dF/dparameter) / density: SciPy's cdf, differenced."""
    h = 1e-5
    cases = {
        "gamma": (D.Gamma, stats.gamma, lambda a, b: {"a": a, "scale": 1 / b}), "t": (lambda a, b: D.StudentT(a, 0.0, b), stats.t, lambda a, b: {"df": a, "scale": b}),
    }
    for name, (make, theirs, of) in cases.items():
        a, b = t(A + 1, True), t(B, True)
        tg.manual_seed(5)
        x = make(a, b).rsample((4,))
        x.sum().backward()
        if name == "t":  # two numbers, a normal and a Chi2 one: only the mean of the gradients is known; the scale's is x / scale
            np.testing.assert_allclose(b.grad.numpy(), (x.detach().sum(0) / b.detach()).numpy(), rtol=1e-10)
            continue
        v = x.detach().numpy()
        for p, (da, db) in ((a, (h, 0)), (b, (0, h))):
            slope = (theirs.cdf(v, **of(A + 1 + da, B + db)) - theirs.cdf(v, **of(A + 1 - da, B - db))) / (2 * h)
            np.testing.assert_allclose(p.grad.numpy(), -(slope / theirs.pdf(v, **of(A + 1, B))).sum(0), rtol=1e-5, err_msg=name)
    c = t([0.7, 1.5, 3.0], True)
    tg.manual_seed(0)
    y = D.Dirichlet(c).rsample((20000,))
    (y**2).sum(-1).mean().backward()
    s = 5.2
    second = lambda c, s: (c * (c + 1)).sum() / (s * (s + 1))  # noqa: E731
    k = np.array([0.7, 1.5, 3.0])
    want = [(second(k + h * e, s + h) - second(k - h * e, s - h)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(c.grad.numpy(), want, atol=0.01)
    a, b = t(2.0, True), t(3.0, True)  # beta: a quotient of two gamma numbers; the mean of x^2 is a (a + 1) / (s (s + 1))
    (D.Beta(a, b).rsample((40000,)) ** 2).mean().backward()
    square = lambda a, b: a * (a + 1) / ((a + b) * (a + b + 1))  # noqa: E731
    assert abs(a.grad.item() - (square(2 + h, 3) - square(2 - h, 3)) / (2 * h)) < 0.005
    assert abs(b.grad.item() - (square(2, 3 + h) - square(2, 3 - h)) / (2 * h)) < 0.005
    df = t(6.0, True)
    (D.StudentT(df).rsample((40000,)) ** 2).mean().backward()  # the variance is df / (df - 2)
    assert abs(df.grad.item() + 2 / 16) < 0.04


def test_multinomial():
    w = np.array([[1.0, 3.0, 2.0], [2.0, 2.0, 1.0]])
    p = w / w.sum(1, keepdims=True)
    for d in (D.Multinomial(5, t(w)), D.Multinomial(5, logits=t(np.log(w)))):
        x = np.array([[1.0, 3.0, 1.0], [5.0, 0.0, 0.0]])
        want = [stats.multinomial(5, q).logpmf(v) for q, v in zip(p, x)]
        np.testing.assert_allclose(d.log_prob(t(x)).numpy(), want, rtol=1e-11)
        assert d.log_prob(t([[1.0, 1.0, 1.0], [2.5, 2.5, 0.0]])).tolist() == [-np.inf] * 2
        np.testing.assert_allclose(d.entropy().numpy(), [stats.multinomial(5, q).entropy() for q in p], rtol=1e-10)
        np.testing.assert_allclose(d.mean.numpy(), 5 * p, rtol=1e-12)
        np.testing.assert_allclose(d.variance.numpy(), [np.diag(stats.multinomial(5, q).cov()) for q in p], rtol=1e-12)
    tg.manual_seed(0)
    y = d.sample((4000,))
    assert y.shape == (4000, 2, 3) and (y.sum(-1) == 5).all() and d.batch_shape == (2,) and d.event_shape == (3,)
    k = y.numpy()[:, 0, 1].astype(int)
    expected = stats.binom(5, 0.5).pmf(np.arange(6)) * 4000
    assert stats.chisquare(np.bincount(k, minlength=6), expected).pvalue > 1e-5
    assert D.Multinomial(0, t(w)).sample((2,)).tolist() == [[[0.0] * 3] * 2] * 2
    with pytest.raises(ValueError, match="whole total_count"):
        D.Multinomial(2.5, t(w))


def test_mixtures():
    w, m, s = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[-1.0, 2.0], [0.0, 3.0]]), np.array([[1.0, 0.5], [2.0, 1.0]])
    d = D.MixtureSameFamily(D.Categorical(t(w)), D.Normal(t(m), t(s)))
    x = np.array([0.3, 2.5])
    parts = stats.norm(m, s)
    np.testing.assert_allclose(d.log_prob(t(x)).numpy(), np.log((w * parts.pdf(x[:, None])).sum(1)), rtol=1e-12)
    np.testing.assert_allclose(d.cdf(t(x)).numpy(), (w * parts.cdf(x[:, None])).sum(1), rtol=1e-12)
    mean = (w * m).sum(1)
    np.testing.assert_allclose(d.mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(d.variance.numpy(), (w * (s**2 + m**2)).sum(1) - mean**2, rtol=1e-12)
    tg.manual_seed(0)
    y = d.sample((4000,)).numpy()
    assert y.shape == (4000, 2) and d.batch_shape == (2,) and not d.has_rsample
    for i in range(2):
        assert stats.kstest(y[:, i], lambda v, i=i: (w[i] * stats.norm(m[i], s[i]).cdf(np.asarray(v)[..., None])).sum(-1)).pvalue > 1e-5
    vectors = D.MixtureSameFamily(D.Categorical(t([1.0, 3.0])), D.Independent(D.Normal(t(m), t(s)), 1))
    assert vectors.batch_shape == () and vectors.event_shape == (2,) and vectors.sample((5,)).shape == (5, 2)
    want = np.log(0.25 * np.prod(stats.norm(m[0], s[0]).pdf(x)) + 0.75 * np.prod(stats.norm(m[1], s[1]).pdf(x)))
    np.testing.assert_allclose(vectors.log_prob(t(x)).item(), want, rtol=1e-12)
    np.testing.assert_allclose(vectors.mean.numpy(), 0.25 * m[0] + 0.75 * m[1], rtol=1e-12)
    for make, error in ((lambda: D.MixtureSameFamily(D.Categorical(t(w)), D.Normal(t(LINE), 1.0)), ValueError),
                        (lambda: D.MixtureSameFamily(D.Categorical(tg.ones(3, 2)), D.Normal(t(m), 1.0)), ValueError),
                        (lambda: D.MixtureSameFamily(D.Normal(0.0, 1.0), D.Normal(t(m), 1.0)), TypeError)):
        with pytest.raises(error, match="MixtureSameFamily"):
            make()


TRANSFORMED = {
    "log-normal": (D.TransformedDistribution(D.Normal(t(LINE), t(A)), D.ExpTransform()), stats.lognorm(A, scale=np.exp(LINE)), [-1.0, 0.0, 0.3, 2.0]),
    "moved": (D.TransformedDistribution(D.Gumbel(t(LINE), 1.0), D.AffineTransform(2.0, t(B))), stats.gumbel_r(2 + B * LINE, B), [-2.0, 0.3, 5.0]),
    "mirrored": (D.TransformedDistribution(D.Gumbel(t(LINE), 1.0), D.AffineTransform(0.0, -1.0)), stats.gumbel_l(-LINE), [-2.0, 0.3, 5.0]),
    "logistic": (D.TransformedDistribution(D.Uniform(tg.zeros(3, dtype=tg.float64), 1.0), [D.SigmoidTransform().inv, D.AffineTransform(t(LINE), 2.0)]),
                 stats.logistic(LINE, 2.0), [-3.0, 0.0, 4.0]),
    "Weibull": (D.TransformedDistribution(D.Exponential(tg.ones(3, dtype=tg.float64)), D.PowerTransform(1 / 1.7)), stats.weibull_min(1.7, scale=np.ones(3)),
                [-1.0, 0.3, 2.0]),
    "inverse gamma": (D.TransformedDistribution(D.Gamma(t(A + 2), t(B)), D.PowerTransform(-1.0)), stats.invgamma(A + 2, scale=B), [0.3, 2.0]),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformed(name):
    ours, theirs, points = TRANSFORMED[name]
    for v in points:
        np.testing.assert_allclose(ours.log_prob(t(v)).numpy(), theirs.logpdf(v), rtol=1e-10, atol=1e-12, err_msg=str(v))
        if name != "inverse gamma":
            np.testing.assert_allclose(np.nan_to_num(ours.cdf(t(v)).numpy()), theirs.cdf(v), rtol=1e-10, atol=1e-14)
    if name != "inverse gamma":
        np.testing.assert_allclose(ours.icdf(t(0.3)).numpy(), theirs.ppf(0.3), rtol=1e-9)
    tg.manual_seed(2)
    x = ours.sample((3000,)).numpy()
    for i in range(3):
        assert stats.kstest(x[:, i], lambda v, i=i: theirs.cdf(np.asarray(v)[..., None])[..., i]).pvalue > 1e-5


@pytest.mark.parametrize("make", [D.ExpTransform, D.SigmoidTransform, D.TanhTransform, D.SoftplusTransform, lambda: D.PowerTransform(3.0),
                                  lambda: D.AffineTransform(1.0, -2.0), lambda: D.ComposeTransform([D.AffineTransform(0.5, 0.1), D.TanhTransform()])])
def test_transforms(make):
    f = make()
    x = t([0.2, 0.7, 1.4], True)
    y = f(x)
    (slope,) = tg.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(f.log_abs_det_jacobian(x, y).detach().numpy(), np.log(np.abs(slope.numpy())), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(f.inv(y).detach().numpy(), x.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(f.inv.log_abs_det_jacobian(y, x).detach().numpy(), -np.log(np.abs(slope.numpy())), rtol=1e-10, atol=1e-13)
    assert f.inv.inv is f and (np.sign(slope.numpy()) == f.sign).all()


def test_transformed_vectors_and_gradients():
    base = D.Independent(D.Normal(t(np.zeros((4, 3))), 1.0), 1)
    d = D.TransformedDistribution(base, [D.AffineTransform(1.0, 2.0), D.ExpTransform()])
    x = np.exp(np.linspace(-1, 2, 12)).reshape(4, 3)
    np.testing.assert_allclose(d.log_prob(t(x)).numpy(), stats.lognorm(2.0, scale=np.e).logpdf(x).sum(1), rtol=1e-11)
    assert d.rsample((2,)).shape == (2, 4, 3) and d.has_rsample
    scale = t(2.0, True)
    tg.manual_seed(0)
    y = D.TransformedDistribution(D.Normal(t(0.0), 1.0), [D.AffineTransform(0.0, scale)]).rsample((5,))
    y.sum().backward()
    np.testing.assert_allclose(scale.grad.item(), (y.detach().sum() / 2).item(), rtol=1e-12)
    with pytest.raises(TypeError, match="expected Transforms"):
        D.TransformedDistribution(base, [tg.exp])


W = np.array([[1.0, 3.0, 0.0, 4.0], [2.0, 2.0, 1.0, 5.0]])


@pytest.mark.parametrize("how", ["probs", "logits"])
def test_categorical(how):
    w = W if how == "probs" else np.log(np.maximum(W, 1e-300))
    p = W / W.sum(1, keepdims=True)
    d = D.Categorical(**{how: t(w)})
    with np.errstate(divide="ignore"):
        want = np.log(p)
    np.testing.assert_allclose(d.log_prob(tg.tensor([[0], [1], [3]])).numpy(), want[:, [0, 1, 3]].T, rtol=1e-12)
    assert d.log_prob(tg.tensor([-1, 4])).tolist() == [-np.inf] * 2 and d.batch_shape == (2,)
    np.testing.assert_allclose(d.entropy().numpy(), [stats.entropy(r) for r in p], rtol=1e-12)
    tg.manual_seed(0)
    x = d.sample((3000,))
    assert x.shape == (3000, 2) and x.dtype is tg.int64 and d.sample().shape == (2,)
    for i in range(2):
        seen = np.bincount(x.numpy()[:, i], minlength=4)
        assert seen[p[i] == 0].sum() == 0 and stats.chisquare(seen[p[i] > 0], 3000 * p[i][p[i] > 0]).pvalue > 1e-5
    other = D.Categorical(probs=t(np.ones((2, 4))))
    np.testing.assert_allclose(D.kl_divergence(d, other).numpy(), [stats.entropy(r, np.full(4, 0.25)) for r in p], rtol=1e-12)
    one = D.OneHotCategorical(**{how: t(w)})
    y = one.sample((7,))
    assert y.shape == (7, 2, 4) and (y.sum(-1) == 1).all() and one.event_shape == (4,)
    np.testing.assert_allclose(one.log_prob(t(np.eye(4)[:2])).numpy(), [want[0, 0], want[1, 1]], rtol=1e-12)


def test_dirichlet():
    a, x = np.array([0.7, 1.0, 3.0]), np.array([0.2, 0.5, 0.3])
    d = D.Dirichlet(t(np.stack([a, a + 1])))
    np.testing.assert_allclose(d.log_prob(t(x)).numpy(), [stats.dirichlet(v).logpdf(x) for v in (a, a + 1)], rtol=1e-12)
    np.testing.assert_allclose(d.entropy().numpy(), [stats.dirichlet(v).entropy() for v in (a, a + 1)], rtol=1e-11)
    np.testing.assert_allclose(d.mean[0].numpy(), stats.dirichlet(a).mean())
    np.testing.assert_allclose(d.variance[0].numpy(), stats.dirichlet(a).var())
    tg.manual_seed(0)
    y = d.sample((4000,)).numpy()
    assert y.shape == (4000, 2, 3) and stats.kstest(y[:, 0, 0], stats.beta(0.7, 4.0).cdf).pvalue > 1e-5
    p, q = D.Dirichlet(t([0.7, 2.0])), D.Dirichlet(t([1.5, 1.2]))  # two shares are a beta number
    assert D.kl_divergence(p, q).item() == pytest.approx(D.kl_divergence(D.Beta(t(0.7), t(2.0)), D.Beta(t(1.5), t(1.2))).item(), rel=1e-11)


def test_multivariate_normal():
    rng = np.random.default_rng(0)
    m = rng.normal(size=(3, 3))
    cov, loc, x = m @ m.T + np.eye(3), rng.normal(size=3), rng.normal(size=(5, 3))
    want = stats.multivariate_normal(loc, cov)
    for key, matrix in (("covariance_matrix", cov), ("precision_matrix", np.linalg.inv(cov)), ("scale_tril", np.linalg.cholesky(cov))):
        d = D.MultivariateNormal(t(loc), **{key: t(matrix)})
        np.testing.assert_allclose(d.log_prob(t(x)).numpy(), want.logpdf(x), rtol=1e-10)
        np.testing.assert_allclose(d.entropy().item(), want.entropy(), rtol=1e-11)
        np.testing.assert_allclose(d.covariance_matrix.numpy(), cov, rtol=1e-10)
        np.testing.assert_allclose(d.precision_matrix.numpy(), np.linalg.inv(cov), rtol=1e-9)
        np.testing.assert_allclose(d.variance.numpy(), np.diag(cov), rtol=1e-11)
    tg.manual_seed(0)
    y = d.sample((4000,)).numpy()
    z = np.linalg.solve(np.linalg.cholesky(cov), (y - loc).T)
    assert all(stats.kstest(r, "norm").pvalue > 1e-5 for r in z) and np.abs(np.corrcoef(z) - np.eye(3)).max() < 0.08
    q = D.MultivariateNormal(t(np.zeros(3)), t(np.eye(3) * 2))
    inverse = np.eye(3) / 2
    kl = 0.5 * (np.trace(inverse @ cov) + loc @ inverse @ loc - 3 + np.log(8) - np.log(np.linalg.det(cov)))
    assert D.kl_divergence(d, q).item() == pytest.approx(kl, rel=1e-11)
    many = D.MultivariateNormal(t(np.zeros((4, 3))), t(cov))
    assert many.batch_shape == (4,) and many.rsample((2,)).shape == (2, 4, 3) and many.log_prob(t(x[0])).shape == (4,)
    with pytest.raises(ValueError, match="expected one of covariance_matrix and precision_matrix and scale_tril, got 0"):
        D.MultivariateNormal(t(loc))
    with pytest.raises(ValueError, match=r"expected loc \[..., n\]"):
        D.MultivariateNormal(t(loc), t(np.eye(2)))


def test_independent():
    p, q = (D.Independent(D.Normal(t(np.full((4, 3), m)), 1.0), 1) for m in (0.0, 1.0))
    assert p.batch_shape == (4,) and p.event_shape == (3,) and p.rsample((2,)).shape == (2, 4, 3)
    x = np.linspace(-1, 1, 12).reshape(4, 3)
    np.testing.assert_allclose(p.log_prob(t(x)).numpy(), stats.norm.logpdf(x).sum(1), rtol=1e-12)
    np.testing.assert_allclose(p.entropy().numpy(), np.full(4, 3 * stats.norm.entropy()), rtol=1e-12)
    np.testing.assert_allclose(D.kl_divergence(p, q).numpy(), np.full(4, 1.5), rtol=1e-12)
    with pytest.raises(ValueError, match="at most 1 axes"):
        D.Independent(D.Normal(t([0.0]), 1.0), 2)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: D.Normal(0.0, -1.0), r"\[Normal\] expected a scale above 0"), (lambda: D.Normal(0.0, tg.tensor(float("nan"))), "scale above 0"),
    (lambda: D.Uniform(1.0, 1.0), "low < high"), (lambda: D.Gamma(0.0, 1.0), "above 0"), (lambda: D.Bernoulli(1.5), "between 0 and 1"),
    (lambda: D.Bernoulli(), "one of probs and logits, got 0"), (lambda: D.Bernoulli(0.5, 0.5), "one of probs and logits, got 2"),
    (lambda: D.Categorical(tg.zeros(3)), "sum above 0"), (lambda: D.Categorical(tg.tensor(1.0)), "classes along the last axis"),
    (lambda: D.Poisson(-1.0), "rate of 0 or more"), (lambda: D.Geometric(0.0), "probs above 0"), (lambda: D.Dirichlet(1.0), "at least one axis"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dtypes_and_numbers():
    assert D.Normal(0, 1).sample((2,)).dtype is tg.float32 and D.Normal(tg.zeros(2, dtype=tg.float64), 1).sample().dtype is tg.float64
    assert D.Normal(0.0, -1.0, validate_args=False).scale.item() == -1 and repr(D.Normal(0.0, 1.0)) == "Normal(batch_shape=(), event_shape=())"
    with pytest.raises(TypeError, match="a Tensor or a number for loc, got str"):
        D.Normal("0", 1.0)


@pytest.mark.parametrize("device", [d.name for d in tg.devices() if d.usable])
def test_devices(device):
    loc = tg.zeros(3, device=device)
    d = D.Normal(loc, 2.0)
    assert d.sample((2,)).device == d.log_prob(loc).device == D.kl_divergence(d, D.Normal(loc, 1.0)).device == tg.device(device)
    assert D.Categorical(tg.ones(3, device=device)).sample((4,)).device == tg.device(device)


@pytest.mark.parametrize("module", ["", ".continuous", ".counts", ".discrete", ".distribution", ".kl", ".mixture", ".multivariate", ".transforms"])
def test_examples(module):
    found = importlib.import_module("tengen.distributions" + module)
    assert doctest.testmod(found, extraglobs={"tg": tg}).failed == 0
