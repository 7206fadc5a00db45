# SPDX-License-Identifier: Apache-2.0
"""Kullback-Leibler divergences in closed form."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tengen as tg

from .continuous import (
    _EULER,
    Beta,
    Cauchy,
    Exponential,
    Gamma,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from .counts import Binomial
from .discrete import Bernoulli, Categorical, Geometric, Poisson, _times_log
from .distribution import Distribution, Independent
from .multivariate import Dirichlet, MultivariateNormal, _whitened

_RULES: dict[tuple[type, type], Callable[[Any, Any], Any]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """A decorator for a function of p and q of these classes that gives KL(p || q); kl_divergence() then uses it.

    Examples
    --------
    >>> from tengen.distributions import Normal, kl_divergence, register_kl
    >>> class Mine(Normal): pass
    >>> @register_kl(Mine, Mine)
    ... def _(p, q): return p.loc - q.loc
    >>> kl_divergence(Mine(3.0, 1.0), Mine(1.0, 1.0)).item()
    2.0
    """
    def add(rule: Callable) -> Callable:
        _RULES[type_p, type_q] = rule
        return rule

    return add


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """The mean of log p(x) - log q(x) over x of p, [*batch_shape].

    Raises
    ------
    NotImplementedError
        where no rule for the two classes is known
    """
    for a in type(p).__mro__:
        for b in type(q).__mro__:
            if (a, b) in _RULES:
                return _RULES[a, b](p, q)
    raise NotImplementedError(f"[kl_divergence] has no rule for {type(p).__name__} and {type(q).__name__}; add one with register_kl")


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Any:
    ratio = p.scale / q.scale
    return 0.5 * (ratio**2 + ((p.loc - q.loc) / q.scale) ** 2 - 1) - ratio.log()


@register_kl(LogNormal, LogNormal)
def _log_normal(p: LogNormal, q: LogNormal) -> Any:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Any:
    ratio, d = p.scale / q.scale, (p.loc - q.loc).abs()
    return d / q.scale + ratio * (-d / p.scale).exp() - 1 - ratio.log()


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Any:
    inside = (q.low <= p.low) & (p.high <= q.high)
    return tg.where(inside, ((q.high - q.low) / (p.high - p.low)).log(), float("inf"))


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Any:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Any:
    a, b = p.concentration, q.concentration
    return (a - b) * tg.digamma(a) - tg.lgamma(a) + tg.lgamma(b) + b * (p.rate / q.rate).log() + a * (q.rate / p.rate - 1)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Any:
    a, b = p.concentration1, p.concentration0
    da, db = a - q.concentration1, b - q.concentration0
    return q.log_beta() - p.log_beta() + da * tg.digamma(a) + db * tg.digamma(b) - (da + db) * tg.digamma(a + b)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Any:
    a = p.concentration
    d = a - q.concentration
    return q.log_beta() - p.log_beta() + (d * (tg.digamma(a) - tg.digamma(a.sum(-1, True)))).sum(-1)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Any:
    return _times_log(p.probs, p._log_one() - q._log_one()) + _times_log(1 - p.probs, p._log_zero() - q._log_zero())


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Any:
    return p._log_one() - q._log_one() + _times_log(1 - p.probs, p._log_zero() - q._log_zero()) / p.probs


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Any:
    return _times_log(p.probs, p.logits - q.logits).sum(-1)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Any:
    return (((p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2) / (4 * p.scale * q.scale)).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Any:
    ratio, d = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return -ratio.log() + d + ratio * _EULER + (tg.lgamma(1 + ratio) - d).exp() - (1 + _EULER)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Any:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Any:
    if not bool((p.total_count == q.total_count).all()):
        raise NotImplementedError("[kl_divergence] expected binomial distributions of as many trials")
    return p.total_count * _bernoulli(p, q)


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Any:
    return _times_log(p.rate, p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Any:
    batch, n = tg.broadcast_shapes(p.batch_shape, q.batch_shape), p.event_shape[0]
    mixed = tg.linalg.solve_triangular(q.scale_tril.expand((*batch, n, n)), p.scale_tril.expand((*batch, n, n)), upper=False)
    return 0.5 * ((mixed**2).sum((-2, -1)) + _whitened(q.scale_tril, q.loc - p.loc) - n) + q.half_log_det() - p.half_log_det()


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("[kl_divergence] expected as many axes of the event in both")
    return p._summed(kl_divergence(p.base_dist, q.base_dist))
