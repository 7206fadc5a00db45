# SPDX-License-Identifier: Apache-2.0
"""Arguments of PyTorch's that ops do not have: calls with them, made of other calls."""
from __future__ import annotations

from typing import Any

from . import _core
from ._core import Tensor

_ops = _core.ops


def call(function: Any, args: tuple, keywords: dict[str, Any]) -> Any:
    """What an op's function or method gives with such an argument."""
    name = function.__name__.rstrip("_")
    if name in ("add", "sub"):
        x, y, keywords = _operands(function, args, keywords)
        return function(x, _scaled(y, keywords.pop("alpha")), **keywords)
    if name == "div":
        x, y, keywords = _operands(function, args, keywords)
        return _divide(function, x, y, keywords.pop("rounding_mode"), keywords)
    keywords = {k: v for k, v in keywords.items() if k not in ("stable", "sorted")}  # stable and sorted they are anyway
    return function(*args, **keywords)


def _operands(function: Any, args: tuple, keywords: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Both operands and the other keywords."""
    operands = [*args]
    for names in (("x", "input"), ("y", "other"))[len(args):]:
        found = next((k for k in names if k in keywords), None)
        if found is None:
            raise TypeError(f"{function.__name__}(): missing required argument '{names[0]}'")
        operands.append(keywords[found])
        keywords = {k: v for k, v in keywords.items() if k != found}
    if len(operands) != 2:
        raise TypeError(f"{function.__name__}() takes 2 positional arguments, got {len(operands)}")
    return operands[0], operands[1], dict(keywords)


def _scaled(y: Any, alpha: Any) -> Any:
    if not isinstance(alpha, Tensor) and alpha == 1:
        return y
    return _ops["mul"](y, alpha) if isinstance(y, Tensor) else y * alpha


def _divide(function: Any, x: Any, y: Any, mode: str | None, keywords: dict[str, Any]) -> Any:
    if mode not in (None, "floor", "trunc"):
        raise ValueError(f"[div] expected rounding_mode None, 'trunc' or 'floor', got {mode!r}")
    if mode is None:
        return function(x, y, **keywords)
    if function.__name__.endswith("_"):
        keywords = {**keywords, "out": x}
    if mode == "floor":
        return _ops["floor_divide"](x, y, **keywords)
    if not any(_core.asarray(v).dtype.is_floating_point for v in (x, y)):  # exact beyond a float's digits
        x = x if isinstance(x, Tensor) else _core.asarray(x)
        return _ops["floor_divide"](_ops["sub"](x, _ops["fmod"](x, y)), y, **keywords)
    return _ops["trunc"](_ops["div"](x, y), **keywords)
