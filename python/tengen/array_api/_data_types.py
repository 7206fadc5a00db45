# SPDX-License-Identifier: Apache-2.0
"""Dtypes, and functions of dtypes."""
from __future__ import annotations

from typing import Any

import tengen as tg

_NAMES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "complex64",
          "complex128")
globals().update({name: getattr(tg, name) for name in _NAMES if hasattr(tg, name)})

__all__ = [*(name for name in _NAMES if hasattr(tg, name)), "astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]


def astype(x: tg.Tensor, dtype: Any, /, *, copy: Any = True, device: Any = None) -> tg.Tensor:
    """x as another dtype; itself when nothing changes and copy is False."""
    return tg.astype(x, dtype, copy=copy, device=device)


def can_cast(from_: Any, to: Any, /) -> Any:
    """Whether promotion takes a dtype (or an array's) to another."""
    return tg.can_cast(from_, to)


def finfo(type: Any, /) -> Any:
    """Limits of a floating-point dtype, or of an array's."""
    return tg.finfo(type.dtype if isinstance(type, tg.Tensor) else type)


def iinfo(type: Any, /) -> Any:
    """Limits of an integer dtype, or of an array's."""
    return tg.iinfo(type.dtype if isinstance(type, tg.Tensor) else type)


def isdtype(dtype: Any, kind: Any) -> Any:
    """Whether a dtype is of a kind, as tengen.isdtype."""
    return tg.isdtype(dtype, kind)


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that operands would be promoted to, as tengen.result_type."""
    return tg.result_type(*arrays_and_dtypes)
