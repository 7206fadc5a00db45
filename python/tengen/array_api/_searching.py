# SPDX-License-Identifier: Apache-2.0
"""Searching, sorting and set functions."""
from __future__ import annotations

from typing import Any, NamedTuple

import tengen as tg

__all__ = ["argmax", "argmin", "argsort", "count_nonzero", "nonzero", "sort", "unique_all", "unique_counts", "unique_inverse",
           "unique_values", "where"]


def _extreme(op: Any, x: tg.Tensor, axis: Any, keepdims: bool) -> tg.Tensor:
    if axis is not None:
        return op(x, axis, keepdims)
    y = op(x.reshape((-1,)), 0)
    return y.reshape((1,) * x.ndim) if keepdims else y


def argmax(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """Where the largest element is: along an axis, or in the flat array."""
    return _extreme(tg.argmax, x, axis, keepdims)


def argmin(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """Where the smallest element is: along an axis, or in the flat array."""
    return _extreme(tg.argmin, x, axis, keepdims)


def count_nonzero(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """How many elements are not 0."""
    return tg.sum(x != 0, () if axis is None else axis, keepdims)


def nonzero(x: tg.Tensor, /) -> tuple:
    """The indices of the elements that are not 0, one array per axis."""
    if x.ndim == 0:
        raise ValueError("nonzero() expected an array of at least one axis, got shape ()")
    return tg.where(x)


def where(condition: tg.Tensor, x1: Any, x2: Any, /) -> tg.Tensor:
    """x1 where the condition holds, else x2."""
    return tg.where(condition, x1, x2)


def sort(x: tg.Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> tg.Tensor:
    """Elements in order along an axis; always stable."""
    return tg.sort(x, axis, descending)[0]


def argsort(x: tg.Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> tg.Tensor:
    """The indices that sort along an axis; always stable."""
    return tg.argsort(x, axis, descending)


if hasattr(tg, "searchsorted"):
    def searchsorted(x1: tg.Tensor, x2: Any, /, *, side: str = "left", sorter: Any = None) -> tg.Tensor:
        """Where elements of x2 go in the sorted x1."""
        x1 = x1 if sorter is None else tg.take(x1, sorter)
        return tg.searchsorted(x1, x2, right=side == "right")

    __all__.append("searchsorted")


def unique_all(x: tg.Tensor, /) -> Any:
    """Distinct values in ascending order, with indices and counts."""
    return tg.unique_all(x)


class UniqueCounts(NamedTuple):
    """Distinct values and how often each is there."""

    values: tg.Tensor
    counts: tg.Tensor


class UniqueInverse(NamedTuple):
    """Distinct values and which one every element is."""

    values: tg.Tensor
    inverse_indices: tg.Tensor


def unique_counts(x: tg.Tensor, /) -> UniqueCounts:
    """Distinct values and how often each is there."""
    return UniqueCounts(*tg.unique_counts(x))


def unique_inverse(x: tg.Tensor, /) -> UniqueInverse:
    """Distinct values and which one every element is."""
    return UniqueInverse(*tg.unique_inverse(x))


def unique_values(x: tg.Tensor, /) -> tg.Tensor:
    """Distinct values in ascending order."""
    return tg.unique_values(x)
