# SPDX-License-Identifier: Apache-2.0
"""Gradients as functions, functions with gradients of their own, and tools around them.

>>> x = tg.tensor([1.0, 2.0], requires_grad=True)
>>> tg.autograd.grad((x * x).sum(), x)[0].tolist()
[2.0, 4.0]
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core
from .._core import Tensor
from . import forward_ad, functional, graph
from .anomaly import detect_anomaly, set_detect_anomaly
from .function import Function, FunctionContext, once_differentiable
from .gradcheck import gradcheck, gradgradcheck

__all__ = ["Function", "FunctionContext", "backward", "detect_anomaly", "forward_ad", "functional", "grad", "gradcheck", "gradgradcheck",
           "graph", "once_differentiable", "set_detect_anomaly"]


def _tuple(x: Any) -> tuple:
    return (x,) if isinstance(x, Tensor) or x is None else tuple(x)


def backward(tensors: Tensor | Sequence[Tensor], grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
             retain_graph: bool | None = None, create_graph: bool = False) -> None:
    """Adds the gradients of `tensors` to the .grad of the leaves they depend on.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        what is differentiated
    grad_tensors : Tensor or sequence of Tensor, optional
        one gradient per tensor; may be left out for scalars
    retain_graph : bool, optional
        keep the graph for another pass; by default only when create_graph is set
    create_graph : bool
        record the backward pass, so that the gradients can be differentiated

    Raises
    ------
    RuntimeError
        for a tensor that is not recorded, a missing gradient, a graph that was freed
    """
    keep = create_graph if retain_graph is None else retain_graph
    _core._backward(_tuple(tensors), None if grad_tensors is None else _tuple(grad_tensors), bool(keep), bool(create_graph))


def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor],
         grad_outputs: Tensor | Sequence[Tensor | None] | None = None, retain_graph: bool | None = None,
         create_graph: bool = False, allow_unused: bool = False) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`; .grad is left alone. tg.grad is this function.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
    grad_outputs : Tensor or sequence of Tensor, optional
        one gradient per output; may be left out for scalars
    retain_graph, create_graph : bool
        as for backward()
    allow_unused : bool
        give None for an input that no output depends on instead of raising

    Returns
    -------
    tuple of Tensor
        one per input

    Raises
    ------
    TypeError
        for a function, of which tg.func.grad makes its gradient's function
    RuntimeError
        for outputs that are not recorded, an input that none depends on (unless allow_unused), a graph that was freed

    Examples
    --------
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (g,) = tg.autograd.grad(x ** 3, x, create_graph=True)
    >>> tg.autograd.grad(g, x)[0].item()
    18.0
    """
    if callable(outputs):
        raise TypeError(f"[grad] expected tensors to differentiate, got {type(outputs).__name__}; tg.func.grad(f) is the gradient of a function")
    keep = create_graph if retain_graph is None else retain_graph
    return _core._grad(_tuple(outputs), _tuple(inputs), None if grad_outputs is None else _tuple(grad_outputs), bool(keep),
                       bool(create_graph), bool(allow_unused))
