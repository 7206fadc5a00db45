# SPDX-License-Identifier: Apache-2.0
"""Jacobians and products with them, under the names and with the arguments of torch.autograd.functional.

>>> tg.autograd.functional.jacobian(lambda x: x * x, tg.tensor([1.0, 2.0])).tolist()
[[2.0, 0.0], [0.0, 4.0]]
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import func as _func
from .._core import Tensor
from .._tree import map_tree

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _pack(x: Any) -> tuple:
    return (x,) if isinstance(x, Tensor) else tuple(x)


def _like(x: Any, of: Any) -> Any:
    return x[0] if isinstance(of, Tensor) else tuple(x)


def _finish(tree: Any, create_graph: bool) -> Any:
    return tree if create_graph else map_tree(lambda t: t.detach() if isinstance(t, Tensor) and t.requires_grad else t, tree)


def _ones(func: Callable, inputs: tuple, v: Any, name: str) -> tuple:
    if v is not None:
        return _pack(v)
    y = func(*inputs)
    if not isinstance(y, Tensor) or y.numel() != 1:
        raise RuntimeError(f"[{name}] expected v, as the function does not return one number")
    return (y.detach() * 0 + 1,)


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(output, v times the Jacobian)."""
    x = _pack(inputs)
    v = _ones(func, x, v, "vjp")
    y, pull = _func.vjp(func, *x)
    g = pull(v[0] if isinstance(y, Tensor) else v)
    return _finish(y, create_graph), _like(_finish(g, create_graph), inputs)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(output, the Jacobian times v), in forward mode."""
    x = _pack(inputs)
    if v is None:
        if len(x) != 1 or x[0].numel() != 1:
            raise RuntimeError("[jvp] expected v, as the input is not one number")
        v = x[0].detach() * 0 + 1
    return _finish(_func.jvp(func, x, _pack(v), strict=strict), create_graph)


def jacobian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = True,
             strategy: str = "reverse-mode") -> Any:
    """The Jacobian: a tensor, or tuples of tensors [output][input] where there are several."""
    x = _pack(inputs)
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"[jacobian] expected strategy \"reverse-mode\" or \"forward-mode\", got {strategy!r}")
    of = _func.jacfwd if strategy == "forward-mode" else _func.jacrev
    argnums = 0 if isinstance(inputs, Tensor) else tuple(range(len(x)))
    return _finish(of(func, argnums)(*x), create_graph)


def hessian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = True,
            outer_jacobian_strategy: str = "forward-mode") -> Any:
    """The second derivatives of a function that returns one number: a tensor, or tuples [input][input]."""
    x = _pack(inputs)
    argnums = 0 if isinstance(inputs, Tensor) else tuple(range(len(x)))
    outer = _func.jacrev if outer_jacobian_strategy == "reverse-mode" else _func.jacfwd
    return _finish(outer(_func.grad(func, argnums), argnums)(*x), create_graph)


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(output, Hessian times v), forward over reverse."""
    x = _pack(inputs)
    v = (x[0].detach() * 0 + 1,) if v is None and x[0].numel() == 1 else _pack(v)
    _, h = _func.hvp(func, x, v)
    return _finish(func(*x), create_graph), _like(_finish(h, create_graph), inputs)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(output, v times Hessian): the Hessian is symmetric, so this is hvp."""
    return hvp(func, inputs, v, create_graph, strict)
