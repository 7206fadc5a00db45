# SPDX-License-Identifier: Apache-2.0
"""Gradients as functions, and functions with gradients of their own.

>>> x = tg.tensor([1.0, 2.0], requires_grad=True)
>>> tg.autograd.grad((x * x).sum(), x)[0].tolist()
[2.0, 4.0]
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _core
from ._core import Tensor

__all__ = ["Function", "FunctionContext", "backward", "grad"]


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
    """The gradients of `outputs` with respect to `inputs`; .grad is left alone.

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

    Examples
    --------
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (g,) = tg.autograd.grad(x ** 3, x, create_graph=True)
    >>> tg.autograd.grad(g, x)[0].item()
    18.0
    """
    keep = create_graph if retain_graph is None else retain_graph
    return _core._grad(_tuple(outputs), _tuple(inputs), None if grad_outputs is None else _tuple(grad_outputs), bool(keep),
                       bool(create_graph), bool(allow_unused))


class FunctionContext:
    """What forward hands to backward. Attributes of your own may be set on it."""

    def __init__(self) -> None:
        self._saved: list[tuple[Tensor | None, int, int]] = []  # tensor, its version, which output it is (-1: none)
        self._no_grad: list[Tensor] = []
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for backward, which finds them in `saved_tensors`; changing them in place meanwhile is an error."""
        self._saved = [(t, 0 if t is None else t._version, -1) for t in tensors]

    @property
    def saved_tensors(self) -> tuple:
        """What save_for_backward() kept."""
        found = []
        for t, version, output in self._saved:
            if t is not None and t._version != version:
                raise RuntimeError(f"a saved tensor of shape {t.shape} was changed in place since: expected version {version}, "
                                   f"got {t._version}; clone it before the change")
            found.append(t if output < 0 else _core._as_output(t, output))
        return tuple(found)

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Outputs through which no gradient flows."""
        self._no_grad.extend(outputs)

    def _let_go(self, outputs: Sequence[Tensor]) -> None:
        """Keeps saved outputs without their history: the graph holds this context and would hold itself."""
        for k, (t, version, _) in enumerate(self._saved):
            for i, y in enumerate(outputs):
                if t is not None and t is y:
                    self._saved[k] = (t.detach(), version, i)
        self._no_grad = []


class Function:
    """A function with a gradient of your own. Derive, write `forward` and `backward` as static methods, call `apply`.

    >>> class Cube(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x * x
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad.item()
    12.0
    """

    @staticmethod
    def forward(ctx: FunctionContext, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs; ops inside are not recorded."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: FunctionContext, *grads: Tensor | None) -> Any:
        """One gradient (or None) per argument of forward, from one gradient per output."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward, and records backward when an argument requires gradients."""
        ctx = FunctionContext()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        record = _core.is_grad_enabled() and any(ctx.needs_input_grad)
        outer = _core._set_grad_enabled(False)
        try:
            result = cls.forward(ctx, *args, **kwargs)
        finally:
            _core._set_grad_enabled(outer)
        if not record:
            return result
        single = isinstance(result, Tensor)
        # An input handed back gets a handle of its own, which the record can belong to.
        outputs = tuple(y.detach() if any(y is a for a in args) else y for y in ((result,) if single else result))
        for y in outputs:
            if not isinstance(y, Tensor):
                raise TypeError(f"{cls.__name__}.forward: expected tensors to be returned, got {type(y).__name__}")
        tensors = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        shapes = [a.shape if isinstance(a, Tensor) else None for a in args]
        kinds = [(y.shape, y.dtype, y.device) for y in outputs]
        flows = [y if not any(y is t for t in ctx._no_grad) else None for y in outputs]
        ctx._let_go(outputs)

        def run(grads: tuple) -> list:
            full = [_core._full(k[0], 0, k[1], k[2]) if g is None else g for g, k in zip(grads, kinds)]
            given = cls.backward(ctx, *full)
            given = (given,) if isinstance(given, Tensor) or given is None else tuple(given)
            if len(given) < len(args) or any(g is not None for g in given[len(args):]):
                raise ValueError(f"{cls.__name__}.backward: expected {len(args)} gradients, one per argument of forward, "
                                 f"got {len(given)}")
            for g, shape in zip(given, shapes):
                if g is not None and shape is not None and g.shape != shape:
                    raise ValueError(f"{cls.__name__}.backward: expected a gradient of shape {shape}, got {g.shape}")
            return [given[i] if ctx.needs_input_grad[i] else None for i in tensors]

        _core._record(cls.__name__, [args[i] for i in tensors], flows, run)
        return outputs[0] if single else outputs
