# SPDX-License-Identifier: Apache-2.0
"""Pruning: a parameter's elements, or slices of it, held at zero by a mask.

>>> layer = tg.nn.Linear(4, 2)
>>> _ = l1_unstructured(layer, "weight", 0.5)
>>> int((layer.weight == 0).sum().item())
4

The mask is a parametrization (utils.parametrize): what the optimizer holds stays the parameter itself, and gradients of masked elements are
zero. A second call prunes among what is left. The magnitudes are S. Han, J. Pool, J. Tran and W. Dally's, Learning both weights and
connections (2015).
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tengen as tg

from ..module import Module
from .parametrize import is_parametrized, register_parametrization, remove_parametrizations

__all__ = [
    "custom_from_mask", "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured", "random_structured",
    "random_unstructured", "remove",
]


class _Mask(Module):
    def __init__(self, mask: Any) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x: Any) -> Any:
        return tg.where(self.mask, x, 0.0)

    def right_inverse(self, x: Any) -> Any:
        return x


def _mask_of(module: Module, name: str) -> _Mask | None:
    if not is_parametrized(module, name):
        return None
    return next((m for m in module.parametrizations[name].children() if isinstance(m, _Mask)), None)


def _parameter(op: str, module: Module, name: str) -> Any:
    value = getattr(module, name, None)
    if not isinstance(value, tg.Tensor):
        raise ValueError(f"[{op}] {type(module).__name__} has no parameter {name!r}")
    return value.detach()


def _apply(op: str, module: Module, name: str, mask: Any) -> Module:
    """Adds a mask to the one that is there."""
    old = _mask_of(module, name)
    if old is None:
        return register_parametrization(module, name, _Mask(mask))
    old.mask = tg.logical_and(old.mask, mask)
    return module


def _kept(module: Module, name: str, like: Any) -> Any:
    """The mask as it is, flat."""
    old = _mask_of(module, name)
    return (tg.ones_like(like, dtype=tg.bool) if old is None else old.mask).reshape((-1,))


def _count(op: str, amount: float, n: int) -> int:
    """How many of n: an integer as it is, a float as their share."""
    if isinstance(amount, bool) or amount < 0 or (isinstance(amount, float) and amount > 1) or (isinstance(amount, int) and amount > n):
        raise ValueError(f"[{op}] expected an amount between 0 and 1, or a number of at most {n}, got {amount}")
    return amount if isinstance(amount, int) else round(amount * n)


def _without_least(op: str, scores: Any, kept: Any, amount: float) -> Any:
    """The flat mask without the kept elements of smallest score."""
    left = int(kept.sum().item())
    n = _count(op, amount, left)
    order = tg.where(kept, scores, float("inf")).argsort()
    return tg.scatter(kept, order[:n], tg.tensor(False, device=kept.device), 0) if n else kept


def identity(module: Module, name: str) -> Module:
    """A mask that leaves all elements; returns the module."""
    return _apply("identity", module, name, tg.ones_like(_parameter("identity", module, name), dtype=tg.bool))


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Any = None) -> Module:
    """Prunes the elements of smallest magnitude; returns the module.

    Parameters
    ----------
    module : nn.Module
    name : str
        of the parameter
    amount : float or int
        the share of the elements that are left, or how many
    importance_scores : Tensor, optional
        of the parameter's shape, instead of the magnitudes

    Raises
    ------
    ValueError
        for a name or an amount that does not fit
    """
    op = "l1_unstructured"
    value = _parameter(op, module, name)
    scores = value.abs() if importance_scores is None else importance_scores
    if scores.shape != value.shape:
        raise ValueError(f"[{op}] expected importance_scores of shape {tuple(value.shape)}, got {tuple(scores.shape)}")
    mask = _without_least(op, scores.reshape((-1,)), _kept(module, name, value), amount)
    return _apply(op, module, name, mask.reshape(value.shape))


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prunes elements at random; as l1_unstructured()."""
    value = _parameter("random_unstructured", module, name)
    return l1_unstructured(module, name, amount, tg.rand(value.shape, device=value.device))


def _structured(op: str, module: Module, name: str, amount: float, dim: int, score: Callable[[Any], Any]) -> Module:
    value = _parameter(op, module, name)
    if not -value.ndim <= dim < value.ndim:
        raise IndexError(f"[{op}] expected an axis in [{-value.ndim}, {value.ndim}), got {dim}")
    rows = value.movedim(dim, 0).reshape((value.shape[dim], -1))
    kept = _kept(module, name, value).reshape(value.shape).movedim(dim, 0).reshape((value.shape[dim], -1)).any(1)
    mask = _without_least(op, score(rows), kept, amount)
    shape = [1] * value.ndim
    shape[dim] = -1
    return _apply(op, module, name, mask.reshape(shape).expand(value.shape).contiguous())


def ln_structured(module: Module, name: str, amount: float, n: float = 2, dim: int = 0) -> Module:
    """Prunes the slices of an axis whose n-norm is smallest (dim 0: whole output channels); returns the module."""
    return _structured("ln_structured", module, name, amount, dim, lambda rows: tg.norm(rows, n, 1))


def random_structured(module: Module, name: str, amount: float, dim: int = 0) -> Module:
    """Prunes slices of an axis at random; returns the module."""
    return _structured("random_structured", module, name, amount, dim, lambda rows: tg.rand(rows.shape[0], device=rows.device))


def custom_from_mask(module: Module, name: str, mask: Any) -> Module:
    """Prunes where a mask is False or 0; returns the module."""
    value = _parameter("custom_from_mask", module, name)
    if mask.shape != value.shape:
        raise ValueError(f"[custom_from_mask] expected a mask of shape {tuple(value.shape)}, got {tuple(mask.shape)}")
    return _apply("custom_from_mask", module, name, (mask != 0).to(value.device))


def global_unstructured(parameters: Iterable[tuple[Module, str]], amount: float) -> None:
    """Prunes the elements of smallest magnitude of several parameters together: [(module, name), ...]."""
    op = "global_unstructured"
    pairs = list(parameters)
    values = [_parameter(op, *pair) for pair in pairs]
    scores, kept = tg.cat([v.abs().reshape((-1,)) for v in values]), tg.cat([_kept(*pair, v) for pair, v in zip(pairs, values)])
    masks = _without_least(op, scores, kept, amount).split([v.numel() for v in values])
    for (module, name), value, mask in zip(pairs, values, masks):
        _apply(op, module, name, mask.reshape(value.shape).contiguous())


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module, or of a module in it, is pruned."""
    return any(isinstance(m, _Mask) for m in module.modules())


def remove(module: Module, name: str) -> Module:
    """Makes the pruned parameter a plain one that holds the zeros; returns the module. Errors: ValueError where it is not pruned."""
    if _mask_of(module, name) is None:
        raise ValueError(f"[remove] {name} of {type(module).__name__} is not pruned")
    return remove_parametrizations(module, name)
