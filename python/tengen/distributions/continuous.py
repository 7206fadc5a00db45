# SPDX-License-Identifier: Apache-2.0
"""Distributions of one real number. All check their parameters, which waits for the device, unless validate_args=False."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from .distribution import Distribution, parameters, require, within


def _uniform(shape: tuple[int, ...], like: Any) -> Any:
    return tg.rand(shape, dtype=like.dtype, device=like.device)


class _LocScale(Distribution):
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = parameters(type(self).__name__, loc=loc, scale=scale)
        if validate_args is not False:
            require(type(self).__name__, self.scale > 0, "a scale above 0")
        super().__init__(self.loc.shape)

    @property
    def mean(self) -> Any:
        return self.loc


class Normal(_LocScale):
    """The normal distribution of mean loc and standard deviation scale.

    Examples
    --------
    >>> from tengen.distributions import Normal
    >>> round(Normal(0.0, 1.0).log_prob(tg.tensor(0.0)).item(), 4)
    -0.9189
    """

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.loc + self.scale * tg.randn(shape, dtype=self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Any) -> Any:
        return -0.5 * ((value - self.loc) / self.scale) ** 2 - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def entropy(self) -> Any:
        return self.scale.log() + 0.5 * (1 + math.log(2 * math.pi))

    def cdf(self, value: Any) -> Any:
        return 0.5 * tg.erfc((self.loc - value) / (self.scale * math.sqrt(2)))

    def icdf(self, value: Any) -> Any:
        return self.loc + self.scale * math.sqrt(2) * tg.erfinv(2 * value - 1)

    @property
    def variance(self) -> Any:
        return self.scale**2


class LogNormal(_LocScale):
    """exp of a normal number of mean loc and standard deviation scale."""

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, validate_args)
        self.base_dist = Normal(self.loc, self.scale, False)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.base_dist._draw(shape).exp()

    def log_prob(self, value: Any) -> Any:
        log = tg.where(value > 0, value, 1.0).log()
        return within(value > 0, self.base_dist.log_prob(log) - log)

    def entropy(self) -> Any:
        return self.base_dist.entropy() + self.loc

    def cdf(self, value: Any) -> Any:
        return self.base_dist.cdf(value.clip(min=0).log())

    def icdf(self, value: Any) -> Any:
        return self.base_dist.icdf(value).exp()

    @property
    def mean(self) -> Any:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def variance(self) -> Any:
        return tg.expm1(self.scale**2) * (2 * self.loc + self.scale**2).exp()


class Laplace(_LocScale):
    """The density exp(-|x - loc| / scale) / (2 scale)."""

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.loc + self.scale * tg.laplace(shape, 0.0, 1.0, self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Any) -> Any:
        return -(value - self.loc).abs() / self.scale - (2 * self.scale).log()

    def entropy(self) -> Any:
        return 1 + (2 * self.scale).log()

    def cdf(self, value: Any) -> Any:
        d = (value - self.loc) / self.scale
        return 0.5 - 0.5 * d.sign() * tg.expm1(-d.abs())

    def icdf(self, value: Any) -> Any:
        d = value - 0.5
        return self.loc - self.scale * d.sign() * tg.log1p(-2 * d.abs())

    @property
    def variance(self) -> Any:
        return 2 * self.scale**2


class Uniform(Distribution):
    """All numbers of [low, high) alike."""

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = parameters("Uniform", low=low, high=high)
        if validate_args is not False:
            require("Uniform", self.low < self.high, "low < high")
        super().__init__(self.low.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.low + (self.high - self.low) * _uniform(shape, self.low)

    def log_prob(self, value: Any) -> Any:
        return within((self.low <= value) & (value < self.high), -(self.high - self.low).log())

    def entropy(self) -> Any:
        return (self.high - self.low).log()

    def cdf(self, value: Any) -> Any:
        return ((value - self.low) / (self.high - self.low)).clip(0, 1)

    def icdf(self, value: Any) -> Any:
        return self.low + (self.high - self.low) * value

    @property
    def mean(self) -> Any:
        return (self.low + self.high) / 2

    @property
    def variance(self) -> Any:
        return (self.high - self.low) ** 2 / 12


class Exponential(Distribution):
    """The density rate exp(-rate x) of x >= 0."""

    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = parameters("Exponential", rate=rate)
        if validate_args is not False:
            require("Exponential", self.rate > 0, "a rate above 0")
        super().__init__(self.rate.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.exponential(shape, 1.0, self.rate.dtype, device=self.rate.device) / self.rate

    def log_prob(self, value: Any) -> Any:
        return within(value >= 0, self.rate.log() - self.rate * value)

    def entropy(self) -> Any:
        return 1 - self.rate.log()

    def cdf(self, value: Any) -> Any:
        return -tg.expm1(-self.rate * value.clip(min=0))

    def icdf(self, value: Any) -> Any:
        return -tg.log1p(-value) / self.rate

    @property
    def mean(self) -> Any:
        return 1 / self.rate

    @property
    def variance(self) -> Any:
        return self.rate**-2


class Gamma(Distribution):
    """The density in proportion to x^(concentration - 1) exp(-rate x) of x > 0."""

    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = parameters("Gamma", concentration=concentration, rate=rate)
        if validate_args is not False:
            require("Gamma", (self.concentration > 0) & (self.rate > 0), "a concentration and a rate above 0")
        super().__init__(self.rate.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.standard_gamma(self.concentration.expand(shape)) / self.rate

    def log_prob(self, value: Any) -> Any:
        a, inside = self.concentration, value >= 0
        x = tg.where(inside, value, 1.0)
        return within(inside, tg.xlogy(a, self.rate) + tg.xlogy(a - 1, x) - self.rate * x - tg.lgamma(a))

    def entropy(self) -> Any:
        a = self.concentration
        return a - self.rate.log() + tg.lgamma(a) + (1 - a) * tg.digamma(a)

    @property
    def mean(self) -> Any:
        return self.concentration / self.rate

    @property
    def variance(self) -> Any:
        return self.concentration / self.rate**2


class Beta(Distribution):
    """The density in proportion to x^(concentration1 - 1) (1 - x)^(concentration0 - 1) of x in (0, 1)."""

    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = parameters("Beta", concentration1=concentration1, concentration0=concentration0)
        if validate_args is not False:
            require("Beta", (self.concentration1 > 0) & (self.concentration0 > 0), "concentrations above 0")
        super().__init__(self.concentration1.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.beta(self.concentration1.expand(shape), self.concentration0.expand(shape))

    def log_beta(self) -> Any:
        """The logarithm of the beta function of both concentrations."""
        a, b = self.concentration1, self.concentration0
        return tg.lgamma(a) + tg.lgamma(b) - tg.lgamma(a + b)

    def log_prob(self, value: Any) -> Any:
        a, b, inside = self.concentration1, self.concentration0, (0 <= value) & (value <= 1)
        x = tg.where(inside, value, 0.5)
        return within(inside, tg.xlogy(a - 1, x) + tg.xlogy(b - 1, 1 - x) - self.log_beta())

    def entropy(self) -> Any:
        a, b = self.concentration1, self.concentration0
        return self.log_beta() - (a - 1) * tg.digamma(a) - (b - 1) * tg.digamma(b) + (a + b - 2) * tg.digamma(a + b)

    @property
    def mean(self) -> Any:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Any:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total**2 * (total + 1))


class Chi2(Gamma):
    """The sum of the squares of df standard normal numbers; df need not be whole."""

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (self.df,) = parameters("Chi2", df=df)
        super().__init__(0.5 * self.df, 0.5, validate_args)


class StudentT(Distribution):
    """loc + scale * z / sqrt(c / df) of a standard normal z and a Chi2 number c of df degrees of freedom."""

    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = parameters("StudentT", df=df, loc=loc, scale=scale)
        if validate_args is not False:
            require("StudentT", (self.df > 0) & (self.scale > 0), "a df and a scale above 0")
        super().__init__(self.df.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        z = tg.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        c = 2.0 * tg.standard_gamma((0.5 * self.df).expand(shape))
        return self.loc + self.scale * z * (self.df / c).sqrt()

    def log_prob(self, value: Any) -> Any:
        y = (value - self.loc) / self.scale
        return (tg.lgamma(0.5 * (self.df + 1)) - tg.lgamma(0.5 * self.df) - 0.5 * (math.pi * self.df).log() - self.scale.log()
                - 0.5 * (self.df + 1) * tg.log1p(y**2 / self.df))

    def entropy(self) -> Any:
        half, more = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = tg.lgamma(half) + math.lgamma(0.5) - tg.lgamma(more)
        return self.scale.log() + more * (tg.digamma(more) - tg.digamma(half)) + 0.5 * self.df.log() + log_beta

    @property
    def mean(self) -> Any:
        return tg.where(self.df > 1, self.loc, float("nan"))

    @property
    def variance(self) -> Any:
        finite = self.df > 2
        value = self.scale**2 * self.df / (tg.where(finite, self.df, 3.0) - 2)
        return tg.where(finite, value, tg.where(self.df > 1, float("inf"), float("nan")))


class Cauchy(_LocScale):
    """The density 1 / (pi scale (1 + ((x - loc) / scale)^2)). Mean and variance are NaN."""

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.loc + self.scale * tg.cauchy(shape, 0.0, 1.0, self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Any) -> Any:
        return -math.log(math.pi) - self.scale.log() - tg.log1p(((value - self.loc) / self.scale) ** 2)

    def entropy(self) -> Any:
        return math.log(4 * math.pi) + self.scale.log()

    def cdf(self, value: Any) -> Any:
        return tg.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: Any) -> Any:
        return self.loc + self.scale * tg.tan(math.pi * (value - 0.5))

    @property
    def mean(self) -> Any:
        return tg.full_like(self.loc, float("nan"))

    @property
    def variance(self) -> Any:
        return tg.full_like(self.loc, float("nan"))


class Gumbel(_LocScale):
    """The greatest of many: the probability of at most x is exp(-exp(-(x - loc) / scale))."""

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.loc + self.scale * tg.gumbel(shape, 0.0, 1.0, self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Any) -> Any:
        y = (value - self.loc) / self.scale
        return -y - (-y).exp() - self.scale.log()

    def entropy(self) -> Any:
        return self.scale.log() + (1 + _EULER)

    def cdf(self, value: Any) -> Any:
        return (-((self.loc - value) / self.scale).exp()).exp()

    def icdf(self, value: Any) -> Any:
        return self.loc - self.scale * (-value.log()).log()

    @property
    def mean(self) -> Any:
        return self.loc + self.scale * _EULER

    @property
    def variance(self) -> Any:
        return (math.pi**2 / 6) * self.scale**2


class HalfNormal(Distribution):
    """The absolute value of a normal number of mean 0 and standard deviation scale."""

    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = parameters("HalfNormal", scale=scale)
        if validate_args is not False:
            require("HalfNormal", self.scale > 0, "a scale above 0")
        super().__init__(self.scale.shape)
        self.base_dist = Normal(tg.zeros_like(self.scale), self.scale, False)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.base_dist._draw(shape).abs()

    def log_prob(self, value: Any) -> Any:
        return within(value >= 0, self.base_dist.log_prob(value) + math.log(2))

    def entropy(self) -> Any:
        return self.base_dist.entropy() - math.log(2)

    def cdf(self, value: Any) -> Any:
        return tg.erf(value.clip(min=0) / (self.scale * math.sqrt(2)))

    def icdf(self, value: Any) -> Any:
        return self.scale * math.sqrt(2) * tg.erfinv(value)

    @property
    def mean(self) -> Any:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Any:
        return self.scale**2 * (1 - 2 / math.pi)


_EULER = 0.5772156649015329
