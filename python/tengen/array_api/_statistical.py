# SPDX-License-Identifier: Apache-2.0
"""Reductions, running sums, differences."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["all", "any", "cumulative_prod", "cumulative_sum", "diff", "max", "mean", "min", "prod", "std", "sum", "var"]


def _reduce(op: Any, x: tg.Tensor, axis: Any, keepdims: bool, *rest: Any) -> tg.Tensor:
    if axis == ():  # over no axes: of each element alone
        return op(tg.unsqueeze(x, -1), -1, *rest, False)
    return op(x, () if axis is None else axis, *rest, keepdims)


def max(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """The largest element."""
    return _reduce(tg.max, x, axis, keepdims)


def min(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """The smallest element."""
    return _reduce(tg.min, x, axis, keepdims)


def mean(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """The mean."""
    return _reduce(tg.mean, x, axis, keepdims)


def _summed(op: Any, x: tg.Tensor, axis: Any, dtype: Any, keepdims: bool) -> tg.Tensor:
    y = _reduce(op, x if dtype is None else x.to(dtype), axis, keepdims)
    return y if dtype is None else y.to(dtype)


def sum(x: tg.Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> tg.Tensor:
    """The sum; integers as int64 or uint64 by default."""
    return _summed(tg.sum, x, axis, dtype, keepdims)


def prod(x: tg.Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> tg.Tensor:
    """The product; integers as int64 or uint64 by default."""
    return _summed(tg.prod, x, axis, dtype, keepdims)


def std(x: tg.Tensor, /, *, axis: Any = None, correction: Any = 0.0, keepdims: bool = False) -> tg.Tensor:
    """The standard deviation, of n - correction degrees of freedom."""
    return _reduce(tg.std, x, axis, keepdims, correction)


def var(x: tg.Tensor, /, *, axis: Any = None, correction: Any = 0.0, keepdims: bool = False) -> tg.Tensor:
    """The variance, of n - correction degrees of freedom."""
    return _reduce(tg.var, x, axis, keepdims, correction)


def any(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """Whether any element is not 0."""
    return _reduce(tg.any, x, axis, keepdims)


def all(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False) -> tg.Tensor:
    """Whether all elements are not 0."""
    return _reduce(tg.all, x, axis, keepdims)


def _running(op: Any, first: int, x: tg.Tensor, axis: Any, dtype: Any, include_initial: bool) -> tg.Tensor:
    if axis is None:
        if x.ndim > 1:
            raise ValueError(f"expected an axis for an array of shape {x.shape}, got none")
        axis, x = 0, x.reshape((-1,))
    y = op(x if dtype is None else x.to(dtype), axis)
    y = y if dtype is None else y.to(dtype)
    if not include_initial:
        return y
    shape = list(y.shape)
    shape[axis] = 1
    return tg.concat([tg.full(shape, first, y.dtype, y.device), y], axis)


def cumulative_sum(x: tg.Tensor, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> tg.Tensor:
    """Running sums along an axis, beginning with 0 if include_initial."""
    return _running(tg.cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(x: tg.Tensor, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> tg.Tensor:
    """Running products along an axis, beginning with 1 if include_initial."""
    return _running(tg.cumprod, 1, x, axis, dtype, include_initial)


def diff(x: tg.Tensor, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> tg.Tensor:
    """Differences of neighbours along an axis, n times."""
    parts = [t for t in (prepend, x, append) if t is not None]
    x = tg.concat(parts, axis) if len(parts) > 1 else x
    for _ in range(n):
        size = x.shape[axis]
        later, earlier = tg.slice(x, axis, 1), tg.slice(x, axis, 0, size - 1 if size else 0)
        x = tg.ne(later, earlier) if x.dtype is tg.bool else later - earlier
    return x
