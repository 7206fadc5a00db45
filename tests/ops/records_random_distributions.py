# SPDX-License-Identifier: Apache-2.0
"""Random numbers of distributions: against SciPy's (Kolmogorov-Smirnov, chi-square, at fixed seeds), and bit for bit against one
checksum on every device and plugin. test_orders.py repeats this with `reference` first."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from record import Bad, Case, Record
from scipy import special, stats

RECORDS: dict[str, Record] = {}
N = 20000
LEVEL = 1e-3  # of each test; the seeds are fixed, so that one that passes always does


def fits(x, distribution):
    assert np.isfinite(x).all()
    assert stats.kstest(x, distribution.cdf).pvalue > LEVEL, distribution


def counts_fit(x, distribution):
    """Chi-square of whole numbers; tails of less than five expected ones are joined."""
    assert np.array_equal(x, np.round(x)) and x.min() >= 0
    low, high = (int(distribution.ppf(q)) for q in (10 / len(x), 1 - 10 / len(x)))
    seen = np.clip(x, low, high).astype(int) - low
    shares = distribution.pmf(np.arange(low, high + 1))
    shares[0], shares[-1] = distribution.cdf(low), distribution.sf(high - 1)
    if low == high:
        assert np.all(x == low)
    else:
        observed = np.bincount(seen, minlength=high - low + 1)
        assert stats.chisquare(observed, shares * len(x)).pvalue > LEVEL, distribution


def checksum(t) -> int:
    return zlib.crc32(np.ascontiguousarray(t.cpu().numpy()).tobytes())


def seeded(tg, f, bits):
    """f's numbers at a seed; their bits are the same on every plugin."""
    tg.manual_seed(20)
    t = f()
    assert checksum(t) == bits, f"0x{checksum(t):08x}"
    return t.cpu().numpy().astype(np.float64)


def source(name, distribution, bits, *args):
    """An op that takes a shape and parameters; `bits` of float32 and float64."""

    def check(tg, device):
        f = getattr(tg, name)
        for dtype, expected in zip((tg.float32, tg.float64), bits):
            x = seeded(tg, lambda d=dtype: f((N + 1,), *args, dtype=d, device=device), expected)
            fits(x, distribution)
        half = f((64,), *args, dtype=tg.float16, device=device)
        assert half.dtype == tg.float16 and f((0, 3), *args, device=device).shape == (0, 3)
        assert tuple(f((), *args, device=device).shape) == ()
        with pytest.raises(TypeError, match=rf"\[{name}\] expected a floating dtype, got int64"):
            f((2,), *args, dtype=tg.int64, device=device)
        with pytest.raises(ValueError, match=rf"\[{name}\] expected sizes of 0 or more"):
            f((2, -1), *args, device=device)

    RECORDS[name] = Record(check=check)


def negative(attrs, *says):
    return Bad(ValueError, (), {"shape": (2,), **attrs}, says)


BITS = {
    "log_normal": (0xbc8566c1, 0x5a6decca),
    "cauchy": (0x564fb3e8, 0x2a20a537),
    "laplace": (0x9da162b0, 0x3b635458),
    "gumbel": (0x313c4e37, 0x6cb6d4bd),
    "exponential": (0xeb1eccb9, 0x430b15df),
    "standard_gamma": (0x474c499f, 0xb30fb014),
    "beta": (0x3d6f2e0b, 0xf3b0969d),
    "dirichlet": (0xa7fa767d, 0x5e9a7d9f),
    "poisson": 0x11905954,
    "binomial": 0x17181ad7,
    "multinomial": (0x479543ca, 0x967e4e9c),
}
source("log_normal", stats.lognorm(0.75, scale=np.exp(0.5)), BITS["log_normal"], 0.5, 0.75)
source("cauchy", stats.cauchy(1, 2), BITS["cauchy"], 1.0, 2.0)
source("laplace", stats.laplace(1, 2), BITS["laplace"], 1.0, 2.0)
source("gumbel", stats.gumbel_r(1, 2), BITS["gumbel"], 1.0, 2.0)
source("exponential", stats.expon(scale=0.5), BITS["exponential"], 2.0)
for _name in ("log_normal", "cauchy", "laplace", "gumbel"):
    RECORDS[_name].bad = (negative({"std" if _name == "log_normal" else "scale": -1.0}, "0 or more", "got -1"),)
RECORDS["exponential"].bad = (negative({"rate": 0.0}, "rate above 0", "got 0"), negative({"rate": -2.0}, "got -2"))


def _truncated(tg, device):
    for dtype in (tg.float32, tg.float64):
        for mean, std, low, high in ((0, 1, -2, 2), (1, 2, 2, 5), (0, 1, 3, 20), (0, 1, -9, -4), (-1, 0.5, -1, 9)):
            tg.manual_seed(7)
            x = tg.truncated_normal((N,), mean, std, low, high, dtype=dtype, device=device).cpu().numpy().astype(float)
            assert low <= x.min() and x.max() <= high
            fits(x, stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std))


RECORDS["truncated_normal"] = Record(
    check=_truncated,
    bad=(
        negative({"std": 0.0}, "above 0", "got 0"),
        negative({"low": 2.0, "high": 2.0}, "low < high"),
        negative({"low": 50.0, "high": 60.0}, "37 deviations"),
    ),
)


def _gamma(tg, device):
    for dtype, bits in zip((tg.float32, tg.float64), BITS["standard_gamma"]):
        shapes = np.array([0.25, 0.9, 1.0, 3.5, 200.0])
        alpha = tg.tensor(shapes, device=device).to(dtype).expand((N, 5))
        x = seeded(tg, lambda a=alpha: tg.standard_gamma(a), bits)
        for i, a in enumerate(shapes):
            fits(x[:, i], stats.gamma(a))
    small = tg.standard_gamma(tg.full((N,), 0.01, dtype=tg.float64, device=device)).cpu().numpy()
    fits(small, stats.gamma(0.01))
    wrong = tg.standard_gamma(tg.tensor([0.0, -1.0, np.nan], device=device)).cpu().numpy()
    assert np.isnan(wrong).all()
    assert tg.standard_gamma(tg.ones(9, dtype=tg.bfloat16, device=device)).dtype == tg.bfloat16


NOT_FLOATS = Bad(TypeError, (np.array([1, 2]),), {}, ("floats", "int64"))
RECORDS["standard_gamma"] = Record(check=_gamma, bad=(NOT_FLOATS,))


def _beta(tg, device):
    a, b = np.array([0.5, 2.0, 0.01]), np.array([0.5, 5.0, 0.02])
    for dtype, bits in zip((tg.float32, tg.float64), BITS["beta"]):
        p, q = (tg.tensor(v, device=device).to(dtype) for v in (a, b))
        x = seeded(tg, lambda p=p, q=q: tg.beta(p.expand((N, 3)), q), bits)
        for i in range(2):
            fits(x[:, i], stats.beta(a[i], b[i]))
        # Almost all of the third is at the ends: 1 of them with probability a / (a + b).
        assert np.isfinite(x).all() and 0 <= x.min() and x.max() <= 1
        assert stats.binomtest(int((x[:, 2] > 0.5).sum()), N, stats.beta(a[2], b[2]).sf(0.5)).pvalue > LEVEL


RECORDS["beta"] = Record(
    check=_beta, bad=(Bad(ValueError, (np.ones(3), np.ones(4)), {}), Bad(TypeError, (np.array([1]), np.array([2])), {}, ("floats",)))
)


def _dirichlet(tg, device):
    alpha = np.array([0.5, 1.0, 3.0, 2.0, 0.25])
    for dtype, bits in zip((tg.float32, tg.float64), BITS["dirichlet"]):
        x = seeded(tg, lambda d=dtype: tg.dirichlet(tg.tensor(alpha, device=device).to(d).expand((N, 5))), bits)
        np.testing.assert_allclose(x.sum(-1), 1, rtol=8 * tg.finfo(dtype).eps)
        for i in range(5):
            fits(x[:, i], stats.beta(alpha[i], alpha.sum() - alpha[i]))
    assert tg.dirichlet(tg.ones((2, 0), device=device)).shape == (2, 0)


RECORDS["dirichlet"] = Record(check=_dirichlet, bad=(NOT_FLOATS, Bad(ValueError, (np.array(1.0),), {}, ("at least one axis",))))


def _poisson(tg, device):
    rates = np.array([0.0, 0.01, 1.0, 9.9, 10.0, 30.0, 1000.0])
    rate = tg.tensor(rates, device=device)
    x = seeded(tg, lambda: tg.poisson(rate.expand((N, 7))), BITS["poisson"])
    for i, r in enumerate(rates):
        if r:
            counts_fit(x[:, i], stats.poisson(r))
        else:
            assert not x[:, i].any()
    y = tg.poisson(tg.tensor([-1.0, np.nan, np.inf, 3.0], device=device))
    assert y.dtype == tg.float32 and np.isnan(y.cpu().numpy()[:3]).all() and np.isfinite(y.cpu().numpy()[3])


RECORDS["poisson"] = Record(check=_poisson, bad=(NOT_FLOATS,))


def _binomial(tg, device):
    count = np.array([0.0, 1.0, 5.0, 40.0, 20.0, 100.0, 1000.0, 1e6, 7.0, 7.0])
    p = np.array([0.5, 0.3, 0.3, 0.9, 0.5, 0.3, 0.7, 1e-6, 0.0, 1.0])
    x = seeded(tg, lambda: tg.binomial(tg.tensor(count, device=device).expand((N, 10)), tg.tensor(p, device=device)), BITS["binomial"])
    for i in range(1, 8):
        counts_fit(x[:, i], stats.binom(int(count[i]), p[i]))
    assert not x[:, 0].any() and not x[:, 8].any() and np.all(x[:, 9] == 7) and np.all(x <= count)
    wrong = tg.binomial(tg.tensor([-1.0, 5.0, 5.0, np.nan], device=device), tg.tensor([0.5, 1.5, -0.5, 0.5], device=device))
    assert np.isnan(wrong.cpu().numpy()).all()


RECORDS["binomial"] = Record(check=_binomial, bad=RECORDS["beta"].bad)


def _multinomial(tg, device):
    p = np.array([0.1, 0.0, 0.2, 0.3, 0.4])
    t = tg.tensor(p * 7, dtype=tg.float32, device=device)
    again = seeded(tg, lambda: tg.multinomial(t, N, True), BITS["multinomial"][0]).astype(int)
    shares = np.bincount(again, minlength=5)
    assert shares[1] == 0 and stats.chisquare(shares[p > 0], p[p > 0] * N).pvalue > LEVEL
    once = seeded(tg, lambda: tg.multinomial(t.expand((N, 5)), 4), BITS["multinomial"][1]).astype(int)
    assert np.array_equal(np.sort(once, axis=1), np.tile([0, 2, 3, 4], (N, 1)))
    first = np.bincount(once[:, 0], minlength=5)
    assert stats.chisquare(first[p > 0], p[p > 0] * N).pvalue > LEVEL
    pairs = {(i, j): p[i] * p[j] / (1 - p[i]) for i in (0, 2, 3, 4) for j in (0, 2, 3, 4) if i != j}
    seen = [np.sum((once[:, 0] == i) & (once[:, 1] == j)) for i, j in pairs]
    assert stats.chisquare(seen, np.array(list(pairs.values())) * N).pvalue > LEVEL


RECORDS["multinomial"] = Record(
    check=_multinomial,
    bad=(
        Bad(TypeError, (np.array([1, 2]),), {"num_samples": 1}, ("floats", "int64")),
        Bad(ValueError, (np.ones((2, 2, 2)),), {"num_samples": 1}, ("one or two axes",)),
        Bad(ValueError, (np.ones(3),), {"num_samples": 0}, ("at least one sample", "got 0")),
        Bad(ValueError, (np.ones(3),), {"num_samples": 4}, ("at least num_samples",)),
        Bad(ValueError, (np.array([1.0, -1.0]),), {"num_samples": 1}, ("0 or more",)),
        Bad(ValueError, (np.array([1.0, np.inf]),), {"num_samples": 1, "replacement": True}, ("finite",)),
        Bad(ValueError, (np.array([[1.0, 1.0], [0.0, 0.0]]),), {"num_samples": 1, "replacement": True}, ("above 0",)),
    ),
)


# ---- the steps themselves: a few ulp of the functions they stand for -----------------------------------------------------------


def ulps(got, exact, dtype):
    exact = np.asarray(exact, np.longdouble)
    with np.errstate(all="ignore"):
        return np.nanmax(np.abs(got - exact) / np.maximum(np.abs(exact), np.finfo(dtype).tiny)) / np.finfo(dtype).eps


def step(name, exact, points, bound):
    def check(tg, device):
        for dtype in (np.float32, np.float64):
            x = points(dtype).astype(dtype)
            (got,) = tg._core.call(name, (tg.tensor(x, device=device),))
            assert ulps(got.cpu().numpy(), exact(np.longdouble(x)), dtype) <= bound, name

    RECORDS[name] = Record(check=check)


rng = lambda: np.random.default_rng(6)  # noqa: E731
units = lambda dtype: np.arange(1, 2**24, 997) / 2.0**24  # noqa: E731
# Bounds: the roundings of the last steps (2 ulp), and of their operands where those are not exact.
step("exact_log", np.log, lambda d: np.concatenate([np.exp(rng().uniform(-80, 80, 4000)), rng().uniform(1.1, 3, 4000)]), 4)
step("exact_exp", np.exp, lambda d: rng().uniform(-80, 80, 4000), 4)
step("exponential_of", lambda u: -np.log1p(-u), units, 4)
step("gumbel_of", lambda u: -np.log(-np.log1p(-u)), lambda d: np.concatenate([units(d)[:5000], units(d)[-4000:]]), 8)
step("laplace_of", lambda u: np.where(u < 0.5, np.log1p(-2 * u), -np.log1p(-(2 * u - 1))), lambda d: units(d)[np.abs(units(d) - 0.5) > 1e-3], 4)
PI = np.longdouble("3.14159265358979323846")
step("cauchy_of", lambda u: -1 / np.tan(PI * u), lambda d: units(d)[np.abs(units(d) - 0.5) > 1e-3], 1e3)


def _pair(tg, device):
    """Radius and angle of Box and Muller: relative to the radius."""
    for dtype in (np.float32, np.float64):
        v = units(dtype).astype(dtype)
        u = v[::-1].copy()
        x, y = (t.cpu().numpy() for t in tg._core.call("normal_pair", (tg.tensor(u, device=device), tg.tensor(v, device=device))))
        radius, angle = np.sqrt(-2 * np.log1p(-np.longdouble(u))), 2 * PI * np.longdouble(v)
        for got, exact in ((x, np.cos(angle)), (y, np.sin(angle))):
            assert np.max(np.abs(got - radius * exact) / radius) <= 8 * np.finfo(dtype).eps


def _quantile(tg, device):
    p = np.concatenate([units(0), 10.0 ** -np.arange(8.0, 36)])
    for dtype in (np.float32, np.float64):
        (got,) = tg._core.call("normal_quantile", (tg.tensor(p.astype(dtype), device=device),))
        exact = special.ndtri(p.astype(dtype).astype(float))
        np.testing.assert_allclose(got.cpu().numpy(), exact, rtol=1e-6, atol=1e-6)


def _edges(tg, device):
    (y,) = tg._core.call("exact_log", (tg.tensor([0.0, np.inf, 1.0, -1.0, np.nan], device=device),))
    np.testing.assert_array_equal(y.cpu().numpy(), [-np.inf, np.inf, 0.0, np.nan, np.nan])
    (y,) = tg._core.call("exact_exp", (tg.tensor([-np.inf, np.inf, 0.0, np.nan], device=device),))
    np.testing.assert_array_equal(y.cpu().numpy(), [0.0, np.inf, 1.0, np.nan])


RECORDS["normal_pair"] = Record(check=_pair)
RECORDS["normal_quantile"] = Record(check=_quantile)
for _name in ("gamma_round", "gamma_log", "gamma_slope", "log_standard_gamma", "exact_logistic"):
    RECORDS[_name] = Record(covered_by="standard_gamma beta dirichlet")
for _name in ("poisson", "binomial"):
    RECORDS[f"{_name}_round"] = RECORDS[f"{_name}_last"] = Record(covered_by=_name)
for _name in ("standard_gamma", "beta", "dirichlet"):
    RECORDS[_name].skip["second"] = ("not-yet", "a second derivative of incomplete gamma functions in their shape")
_log = RECORDS["exact_log"].check
RECORDS["exact_log"].check = lambda tg, device: (_log(tg, device), _edges(tg, device))

for _name in ("log_normal", "cauchy", "laplace", "gumbel", "exponential", "truncated_normal"):
    RECORDS[_name].cases = [Case((), {"shape": (3, 5)})]
between = lambda low, high, *shapes: lambda rng: [Case(tuple(rng.uniform(low, high, s) for s in shapes))]  # noqa: E731
for _name, _cases in {
    "standard_gamma": between(0.3, 4, (3, 5)), "beta": between(0.3, 4, (3, 5), (5,)), "dirichlet": between(0.3, 4, (3, 5)), "poisson": between(0, 30, (3, 5)),
    "binomial": lambda rng: [Case((rng.integers(1, 40, (3, 5)).astype(float), rng.uniform(size=5)))],
    "multinomial": lambda rng: [Case((rng.uniform(0.1, 1, (3, 5)),), {"num_samples": 4, "replacement": r}) for r in (True, False)],
    "normal_pair": between(0.1, 0.9, (3, 5), (3, 5)),
    **{n: between(0.1, 0.9, (3, 5)) for n in ("exact_log", "exact_exp", "exponential_of", "gumbel_of", "laplace_of", "cauchy_of", "normal_quantile")},
}.items():
    RECORDS[_name].cases = _cases
