# SPDX-License-Identifier: Apache-2.0
"""Functions that make arrays."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid", "ones",
           "ones_like", "tril", "triu", "zeros", "zeros_like"]


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """start, start + step, ... below stop; arange(stop) begins at 0."""
    return tg.arange(start, stop, step, dtype=dtype, device=device)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> tg.Tensor:
    """An array of numbers, nested sequences, another array or a buffer."""
    return tg.asarray(obj, dtype, device, copy=copy)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """An uninitialised array."""
    return tg.empty(shape=shape, dtype=dtype, device=device)


def empty_like(x: tg.Tensor, /, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """An uninitialised array of x's shape."""
    return tg.empty_like(x, dtype, device)


def eye(n_rows: int, n_cols: Any = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """Ones on the k-th diagonal."""
    m = n_rows if n_cols is None else n_cols
    return tg._core.ops["eye"](n_rows, m, k, dtype=dtype or tg.get_default_dtype(), device=device)


def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> tg.Tensor:
    """An array of another library's, sharing memory where that can be."""
    return tg.from_dlpack(x, device=device, copy=copy)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """An array of one value."""
    return tg.full(shape, fill_value, dtype, device)


def full_like(x: tg.Tensor, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """An array of one value, of x's shape."""
    return tg.full_like(x, fill_value, dtype, device)


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True) -> tg.Tensor:
    """num evenly spaced numbers from start to stop, the latter included if endpoint."""
    if endpoint or num == 0:
        return tg.linspace(start, stop, num, dtype=dtype, device=device)
    return tg.linspace(start, stop, num + 1, dtype=dtype, device=device)[:-1]


def meshgrid(*arrays: tg.Tensor, indexing: str = "xy") -> list:
    """Coordinates of a grid."""
    return list(tg.meshgrid(*arrays, indexing=indexing))


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """An array of ones."""
    return tg.ones(shape=shape, dtype=dtype, device=device)


def ones_like(x: tg.Tensor, /, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """Ones of x's shape."""
    return tg.ones_like(x, dtype, device)


def tril(x: tg.Tensor, /, *, k: int = 0) -> tg.Tensor:
    """The lower triangle of the last two axes."""
    return tg.tril(x, k)


def triu(x: tg.Tensor, /, *, k: int = 0) -> tg.Tensor:
    """The upper triangle of the last two axes."""
    return tg.triu(x, k)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """An array of zeros."""
    return tg.zeros(shape=shape, dtype=dtype, device=device)


def zeros_like(x: tg.Tensor, /, *, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """Zeros of x's shape."""
    return tg.zeros_like(x, dtype, device)
