# SPDX-License-Identifier: Apache-2.0
"""Weight normalisation, spectral normalisation and orthogonal weights."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from .. import functional as F
from ..conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from . import parametrize

__all__ = ["orthogonal", "remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"]


def _norm_except(v: Any, dim: int | None) -> Any:
    """The norm over all axes but `dim`, kept with size 1; over all for None."""
    if dim is None:
        return tg.norm(v)
    axes = tuple(i for i in range(v.ndim) if i != dim % v.ndim)
    return tg.norm(v, 2.0, axes, True) if axes else v.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Any, v: Any) -> Any:
        return v * (g / _norm_except(v, self.dim))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        return _norm_except(weight, self.dim), weight.clone()


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Splits a weight into length and direction, weight = g v / |v| (Salimans and Kingma 2016); returns the module.

    Parameters
    ----------
    module : nn.Module
    name : str
        Of the parameter; its parts are parametrizations.<name>.original0 (g) and .original1 (v).
    dim : int, optional
        A length for each index of this axis; None: one for the whole.
    """
    return parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    def __init__(self, weight: Any, steps: int, dim: int, eps: float) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"[spectral_norm] expected n_power_iterations of at least 1, got {steps}")
        if not weight.ndim:
            raise ValueError("[spectral_norm] expected a weight of at least one axis, got ()")
        self.steps, self.dim, self.eps = steps, dim % weight.ndim, eps
        if weight.ndim > 1:
            with tg.no_grad():
                matrix = self._matrix(weight)
                for label, n in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                    start = tg.randn((n,), dtype=weight.dtype, device=weight.device)
                    self.register_buffer(label, F.normalize(start, dim=0, eps=eps))
                self._iterate(matrix, 15)

    def _matrix(self, weight: Any) -> Any:
        order = (self.dim, *(i for i in range(weight.ndim) if i != self.dim))
        return weight.permute(order).reshape((weight.shape[self.dim], -1))

    def _iterate(self, matrix: Any, steps: int) -> None:
        """The power method: u and v become the singular vectors of the largest singular value."""
        with tg.no_grad():
            for _ in range(steps):
                self._u.copy_(F.normalize(matrix @ self._v, dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.T @ self._u, dim=0, eps=self.eps))

    def forward(self, weight: Any) -> Any:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.steps)
        u, v = self._u.clone(), self._v.clone()  # a later call must not change what this one's gradient needs
        return weight / (u * (matrix @ v)).sum()

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> Module:
    """Divides a weight by its largest singular value (Miyato et al. 2018), found by the power method; returns the module.

    Parameters
    ----------
    module : nn.Module
    name : str
        Of the parameter, seen as a matrix [axis dim, everything else].
    n_power_iterations : int
        Steps of the power method with every use in training.
    eps : float
        Least length in normalisations.
    dim : int, optional
        The axis of outputs: 1 for transposed convolutions, else 0 by default.
    """
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    if parametrize.is_parametrized(module, name) or module._parameters.get(name) is not None:
        made = _SpectralNorm(getattr(module, name).detach(), n_power_iterations, dim, eps)
        return parametrize.register_parametrization(module, name, made)
    raise ValueError(f"[spectral_norm] {type(module).__name__} has no parameter {name!r}")


def _matrix_exp(a: Any) -> Any:
    """exp(a): Taylor's series of a / 2^s, squared s times. For skew a the result is orthogonal."""
    with tg.no_grad():
        size = tg.norm(a).item()
    # Below 1/2 the remainder after 18 terms is under 2^-18 / 18! < 1e-21.
    squarings = max(0, math.ceil(math.log2(size)) + 1) if 0 < size < math.inf else 0
    x = a / 2.0**squarings
    term = total = tg.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    for k in range(1, 19):
        term = (term @ x) / float(k)
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


class _Orthogonal(Module):
    """Of a weight's matrix [n, k], turned so that n >= k: the first k columns of an orthogonal matrix, times a base."""

    def __init__(self, weight: Any, map_name: str, trivialization: bool) -> None:
        super().__init__()
        self.map_name = map_name
        self.shape = tuple(weight.shape)
        self.register_buffer("base", self._columns(weight) if trivialization else None)

    def _tall(self, weight: Any) -> Any:
        return weight.T if weight.shape[-2] < weight.shape[-1] else weight

    def _columns(self, weight: Any) -> Any:
        """An orthogonal matrix [n, n] whose first columns span the weight's (those of an orthogonal weight themselves)."""
        import numpy as np

        tall = self._tall(weight).detach().double().cpu().numpy()
        q, r = np.linalg.qr(tall, mode="complete")
        k = tall.shape[1]
        q[:, :k] *= np.where(np.diagonal(r)[:k] < 0, -1.0, 1.0)
        return tg.tensor(q, device=weight.device).to(weight.dtype)

    def forward(self, weight: Any) -> Any:
        tall = self._tall(weight)
        n, k = tall.shape
        low = tall.tril(-1)
        if self.map_name == "matrix_exp":
            square = low if n == k else tg.pad(low, (0, 0, 0, n - k))
            q = _matrix_exp(square - square.T)
        else:  # householder: the product of reflections at the columns of the unit lower triangle
            q = tg.eye(n, dtype=low.dtype, device=low.device)
            eye = tg.eye(n, k, dtype=low.dtype, device=low.device)
            for i in range(k):
                v = low[:, i] + eye[:, i]
                q = q - (q @ v).unsqueeze(1) * (v * (2.0 / (v * v).sum()))
        q = q[:, :k] if self.base is None else (self.base @ q)[:, :k]
        return q.T if weight.shape[-2] < weight.shape[-1] else q

    def right_inverse(self, value: Any) -> Any:
        if tuple(value.shape) != self.shape:
            raise ValueError(f"[orthogonal] expected a value of shape {self.shape}, got {tuple(value.shape)}")
        if self.base is None:
            return value
        self.base.copy_(self._columns(value))
        if self.map_name == "householder":  # reflections at e_1 ... e_k turn the signs of as many columns
            self.base[:, :min(self.shape)].mul_(-1.0)
        return tg.zeros_like(value)


def orthogonal(module: Module, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> Module:
    """Keeps a weight matrix orthogonal (its rows or columns orthonormal, the fewer ones); returns the module.

    Parameters
    ----------
    module : nn.Module
    name : str
        Of a parameter with two axes.
    orthogonal_map : 'matrix_exp' or 'householder', optional
        How free numbers become an orthogonal matrix; by default matrix_exp for square matrices, else householder.
    use_trivialization : bool
        Start from the weight's own orthogonal factor, and from that of what is assigned (Lezcano-Casado 2019). False: the
        weight, and what is assigned, are the free numbers.

    Raises
    ------
    ValueError
        The map is unknown, or there is no such parameter of two axes.
    """
    weight = module._parameters.get(name)
    if weight is None or weight.ndim != 2:
        raise ValueError(f"[orthogonal] expected {name!r} to be a parameter of two axes of {type(module).__name__}")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[0] == weight.shape[1] else "householder"
    if orthogonal_map not in ("matrix_exp", "householder"):
        raise ValueError(f"[orthogonal] expected orthogonal_map to be 'matrix_exp' or 'householder', got "
                         f"{orthogonal_map!r}")
    return parametrize.register_parametrization(module, name, _Orthogonal(weight, orthogonal_map, use_trivialization))


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Makes a parameter under weight_norm() a plain one of its present value; returns the module. Errors: ValueError where there is none."""
    return _removed("remove_weight_norm", module, name, _WeightNorm)


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Makes a parameter under spectral_norm() a plain one of its present value; returns the module. Errors: ValueError where there is none."""
    return _removed("remove_spectral_norm", module, name, _SpectralNorm)


def _removed(op: str, module: Module, name: str, kind: type) -> Module:
    parts = module.parametrizations[name].children() if parametrize.is_parametrized(module, name) else ()
    if not any(isinstance(p, kind) for p in parts):
        raise ValueError(f"[{op}] {name} of {type(module).__name__} is not under {op[len('remove_'):]}")
    return parametrize.remove_parametrizations(module, name)
