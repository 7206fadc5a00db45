# SPDX-License-Identifier: Apache-2.0
"""Distributions of vectors."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from .distribution import Distribution, only_one, parameters, require, within


class Dirichlet(Distribution):
    """Shares with sum 1, whose density is in proportion to the product of x_k^(concentration_k - 1)."""

    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        (self.concentration,) = parameters("Dirichlet", concentration=concentration)
        if self.concentration.ndim == 0:
            raise ValueError("[Dirichlet] expected a concentration of at least one axis, got shape ()")
        if validate_args is not False:
            require("Dirichlet", self.concentration > 0, "concentrations above 0")
        super().__init__(self.concentration.shape[:-1], self.concentration.shape[-1:])

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.dirichlet(self.concentration.expand(shape))

    def log_beta(self) -> Any:
        """The logarithm of the beta function of the concentrations."""
        return tg.lgamma(self.concentration).sum(-1) - tg.lgamma(self.concentration.sum(-1))

    def log_prob(self, value: Any) -> Any:
        inside = (value >= 0).all(-1)
        x = tg.where(value >= 0, value, 1.0)
        return within(inside, tg.xlogy(self.concentration - 1, x).sum(-1) - self.log_beta())

    def entropy(self) -> Any:
        a = self.concentration
        total = a.sum(-1)
        return self.log_beta() + (total - a.shape[-1]) * tg.digamma(total) - ((a - 1) * tg.digamma(a)).sum(-1)

    @property
    def mean(self) -> Any:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def variance(self) -> Any:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))


class MultivariateNormal(Distribution):
    """Normal vectors of a mean and a covariance matrix, its inverse, or its lower Cholesky factor.

    Parameters
    ----------
    loc : Tensor
        [..., n]
    covariance_matrix, precision_matrix, scale_tril : Tensor
        [..., n, n], one of them

    Examples
    --------
    >>> from tengen.distributions import MultivariateNormal
    >>> MultivariateNormal(tg.zeros(3), tg.eye(3)).rsample((5,)).shape
    (5, 3)
    """

    has_rsample = True

    def __init__(self, loc: Any, covariance_matrix: Any = None, precision_matrix: Any = None, scale_tril: Any = None,
                 validate_args: bool | None = None) -> None:
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        which = only_one("MultivariateNormal", **given)
        matrix = given[which]
        if loc.ndim == 0 or matrix.ndim < 2 or tuple(matrix.shape[-2:]) != (loc.shape[-1],) * 2:
            raise ValueError(f"[MultivariateNormal] expected loc [..., n] and {which} [..., n, n], got shapes {tuple(loc.shape)} and "
                             f"{tuple(matrix.shape)}")
        if which == "covariance_matrix":
            root = tg.linalg.cholesky(matrix)
        elif which == "precision_matrix":
            root = tg.linalg.cholesky(tg.linalg.inv(matrix))
        else:
            root = matrix.tril()
            if validate_args is not False:
                require("MultivariateNormal", root.diagonal(0, -2, -1) > 0, "a scale_tril with a diagonal above 0")
        n = loc.shape[-1]
        batch = tg.broadcast_shapes(loc.shape[:-1], root.shape[:-2])
        self.loc, self.scale_tril = loc.expand((*batch, n)), root.expand((*batch, n, n))
        super().__init__(batch, (n,))

    @property
    def covariance_matrix(self) -> Any:
        return self.scale_tril @ self.scale_tril.mT

    @property
    def precision_matrix(self) -> Any:
        return tg.linalg.inv(self.covariance_matrix)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        noise = tg.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def half_log_det(self) -> Any:
        """Half the logarithm of the covariance matrix's determinant."""
        return self.scale_tril.diagonal(0, -2, -1).log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        return -0.5 * _whitened(self.scale_tril, value - self.loc) - self.half_log_det() - 0.5 * self.event_shape[0] * math.log(2 * math.pi)

    def entropy(self) -> Any:
        return 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi)) + self.half_log_det()

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return (self.scale_tril**2).sum(-1)


def _whitened(root: Any, d: Any) -> Any:
    """The squared length of root^-1 d."""
    batch = tg.broadcast_shapes(root.shape[:-2], d.shape[:-1])
    n = d.shape[-1]
    y = tg.linalg.solve_triangular(root.expand((*batch, n, n)), d.expand((*batch, n)).unsqueeze(-1), upper=False)
    return (y**2).sum((-2, -1))
