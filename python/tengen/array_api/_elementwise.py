# SPDX-License-Identifier: Apache-2.0
"""Elementwise functions: Tengen's ops under the standard's names, with positional operands only."""
from __future__ import annotations

from typing import Any

import tengen as tg

# The standard's name -> Tengen's, where it differs.
_UNARY = {
    **{name: name for name in (
        "abs acos acosh asin asinh atan atanh ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log1p log2 "
        "log10 logical_not real reciprocal round sign signbit sin sinh square sqrt tan tanh trunc").split()},
    "bitwise_invert": "bitwise_not", "negative": "neg", "positive": "positive",
}
_BINARY = {
    **{name: name for name in (
        "atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign floor_divide hypot logaddexp "
        "logical_and logical_or logical_xor maximum minimum nextafter pow remainder").split()},
    "add": "add", "divide": "div", "equal": "eq", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "multiply": "mul", "not_equal": "ne", "subtract": "sub",
}
__all__ = ["clip"]


def _unary(name: str, op: Any) -> Any:
    def function(x: tg.Tensor, /) -> tg.Tensor:
        return op(x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    return function


def _binary(name: str, op: Any) -> Any:
    def function(x1: Any, x2: Any, /) -> tg.Tensor:
        return op(x1, x2)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    return function


for _table, _make in ((_UNARY, _unary), (_BINARY, _binary)):
    for _name, _op in _table.items():
        if hasattr(tg, _op):
            globals()[_name] = _make(_name, getattr(tg, _op))
            __all__.append(_name)


def _whole(name: str) -> None:
    """Roundings of integers are the integers themselves."""
    op = globals()[name]

    def function(x: tg.Tensor, /) -> tg.Tensor:
        return op(x) if x.dtype.is_floating_point or tg.isdtype(x.dtype, "complex floating") else x.clone()

    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    globals()[name] = function


for _name in ("ceil", "floor", "round", "trunc"):
    _whole(_name)

if "positive" not in __all__:
    def positive(x: tg.Tensor, /) -> tg.Tensor:
        """x itself, as a copy."""
        return x.clone()

    __all__.append("positive")


def _of_real(name: str, doc: str) -> None:
    def function(x: tg.Tensor, /) -> tg.Tensor:
        return x.clone()

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    globals()[name] = function
    __all__.append(name)


if "conj" not in __all__:  # without complex dtypes
    _of_real("conj", "The complex conjugate: of real numbers a copy.")
    _of_real("real", "The real part: of real numbers a copy.")


def clip(x: tg.Tensor, /, min: Any = None, max: Any = None) -> tg.Tensor:
    """x with elements below min raised to it and above max lowered to it; x's dtype."""
    y = x
    if min is not None:
        y = tg.maximum(y, min).to(x.dtype)
    if max is not None:
        y = tg.minimum(y, max).to(x.dtype)
    return y.clone() if y is x else y
