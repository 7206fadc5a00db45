# SPDX-License-Identifier: Apache-2.0
"""Probability distributions with PyTorch's names: samples, densities, entropies and divergences.

>>> from tengen.distributions import Normal, kl_divergence
>>> p = Normal(tg.tensor([0.0, 1.0]), 2.0)
>>> p.sample((3,)).shape, p.batch_shape
((3, 2), (2,))
>>> kl_divergence(p, p).tolist()
[0.0, 0.0]

The densities are the textbooks' (N. L. Johnson, S. Kotz and N. Balakrishnan, Continuous Univariate Distributions, 1994; Univariate
Discrete Distributions, 2005).
"""
from .continuous import Beta, Exponential, Gamma, Laplace, LogNormal, Normal, Uniform
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution, Independent
from .kl import kl_divergence, register_kl
from .multivariate import Dirichlet, MultivariateNormal

__all__ = [
    "Bernoulli", "Beta", "Categorical", "Dirichlet", "Distribution", "Exponential", "Gamma", "Geometric", "Independent", "Laplace",
    "LogNormal", "MultivariateNormal", "Normal", "OneHotCategorical", "Poisson", "Uniform", "kl_divergence", "register_kl",
]
