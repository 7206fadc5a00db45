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
from .continuous import (
    Beta,
    Cauchy,
    Chi2,
    Exponential,
    Gamma,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    StudentT,
    Uniform,
)
from .counts import Binomial, Multinomial, NegativeBinomial
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution, Independent
from .kl import kl_divergence, register_kl
from .mixture import MixtureSameFamily
from .multivariate import Dirichlet, MultivariateNormal
from .transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    Transform,
    TransformedDistribution,
)

__all__ = [
    "AffineTransform", "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ComposeTransform", "Dirichlet", "Distribution", "ExpTransform",
    "Exponential", "Gamma", "Geometric", "Gumbel", "HalfNormal", "Independent", "Laplace", "LogNormal", "MixtureSameFamily", "Multinomial",
    "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical", "Poisson", "PowerTransform", "SigmoidTransform", "SoftplusTransform",
    "StudentT", "TanhTransform", "Transform", "TransformedDistribution", "Uniform", "kl_divergence", "register_kl",
]
