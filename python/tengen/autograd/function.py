# SPDX-License-Identifier: Apache-2.0
"""Functions whose gradient, forward-mode rule and batching rule a user writes."""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import _core
from .._core import Tensor
from .._tree import spread

__all__ = ["Function", "FunctionContext", "once_differentiable"]


class FunctionContext:
    """What forward hands to backward. Attributes of your own may be set on it."""

    def __init__(self) -> None:
        self._saved: list[tuple[Tensor | None, int, int]] = []  # tensor, its version, which output it is (-1: none)
        self._no_grad: list[Tensor] = []
        self._dirty: list[Tensor] = []
        self._materialize = True
        self._forward: tuple = ()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for backward, which finds them in `saved_tensors`; changing them in place meanwhile is an error."""
        self._saved = [(t, 0 if t is None else t._version, -1) for t in tensors]

    @property
    def saved_tensors(self) -> tuple:
        """What save_for_backward() kept."""
        if self._forward and not self._saved:
            return self._forward
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

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Inputs that forward changed in place; it must return them."""
        self._dirty.extend(inputs)

    def set_materialize_grads(self, value: bool) -> None:
        """False: backward gets None instead of zeros for outputs through which nothing flows back."""
        self._materialize = bool(value)

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for jvp, which finds them in `saved_tensors`."""
        self._forward = tensors

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

    @staticmethod
    def setup_context(ctx: FunctionContext, inputs: tuple, output: Any) -> None:
        """If written: forward takes no ctx, and this saves what backward needs."""
        raise NotImplementedError

    @staticmethod
    def jvp(ctx: FunctionContext, *tangents: Tensor | None) -> Any:
        """Forward mode: one tangent per output, from one (or None) per argument."""
        raise NotImplementedError("a Function needs a static method jvp(ctx, *tangents) for forward mode")

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> Any:
        """(outputs, out_dims) of arguments with a mapped axis; by default vmap goes through forward and backward."""
        raise NotImplementedError

    @classmethod
    def _forward(cls, ctx: FunctionContext, args: tuple, kwargs: dict) -> Any:
        if cls.setup_context is Function.setup_context:
            return cls.forward(ctx, *args, **kwargs)
        result = cls.forward(*args, **kwargs)
        cls.setup_context(ctx, args, result)
        return result

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward, and records backward when an argument requires gradients."""
        layers = [found for a in args if isinstance(a, Tensor) and (found := _core._layer(a)) is not None]
        if layers:
            kind, level, _ = max(layers, key=lambda found: found[1])
            if kind == "dual":
                return _dual(cls, level, args, kwargs)
            if kind == "batched":
                return _batched(cls, level, args, kwargs)
        ctx = FunctionContext()
        top = max((found[1] for found in layers), default=0)

        def needs(a: Any) -> bool:
            return isinstance(a, Tensor) and a.requires_grad and (not layers or (_core._layer(a) or (0, 0))[1] == top)

        ctx.needs_input_grad = tuple(needs(a) for a in args)
        record = _core.is_grad_enabled() and any(ctx.needs_input_grad)
        # Within a nested gradient only its own level stops to record.
        outer = _core._pause_level(top, True) if layers else _core._set_grad_enabled(False)
        try:
            result = cls._forward(ctx, args, kwargs)
        finally:
            _core._pause_level(top, outer) if layers else _core._set_grad_enabled(outer)
        if not record:
            return result
        single = isinstance(result, Tensor)
        # An input handed back gets a handle of its own, which the record can belong to.
        outputs = tuple(
            y.detach() if any(y is a for a in args) and not any(y is d for d in ctx._dirty) else y for y in ((result,) if single else result)
        )
        for y in outputs:
            if not isinstance(y, Tensor):
                raise TypeError(f"{cls.__name__}.forward: expected tensors to be returned, got {type(y).__name__}")
        for d in ctx._dirty:
            if d.requires_grad and d.is_leaf:
                raise RuntimeError(f"{cls.__name__}: expected no leaf that requires gradients in mark_dirty; clone it first")
        tensors = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        shapes = [a.shape if isinstance(a, Tensor) else None for a in args]
        kinds = [(y.shape, y.dtype, y.device) for y in outputs]
        flows = [y if not any(y is t for t in ctx._no_grad) else None for y in outputs]
        ctx._let_go(outputs)

        def run(grads: tuple) -> list:
            full = [_core._full(k[0], 0, k[1], k[2]) if g is None and ctx._materialize else g for g, k in zip(grads, kinds)]
            given = cls.backward(ctx, *full)
            given = (given,) if isinstance(given, Tensor) or given is None else tuple(given)
            if len(given) < len(args) or any(g is not None for g in given[len(args):]):
                raise ValueError(f"{cls.__name__}.backward: expected {len(args)} gradients, one per argument of forward, "
                                 f"got {len(given)}")
            for g, shape in zip(given, shapes):
                if g is not None and shape is not None and g.shape != shape:
                    raise ValueError(f"{cls.__name__}.backward: expected a gradient of shape {shape}, got {g.shape}")
            return [given[i] if ctx.needs_input_grad[i] else None for i in tensors]

        _core._record(cls.__name__, [args[i] if ctx.needs_input_grad[i] else None for i in tensors], flows, run)
        return outputs[0] if single else outputs


def _dual(cls: type[Function], level: int, args: tuple, kwargs: dict) -> Any:
    """apply on tensors with tangents."""
    pairs = [(_core._unwrap_on(level, a) or (a, None)) if isinstance(a, Tensor) else (a, None) for a in args]
    values = tuple(v for v, _ in pairs)
    if cls.jvp is Function.jvp:
        raise NotImplementedError(f"{cls.__name__} has no forward-mode derivative: write a static method jvp(ctx, *tangents)")
    ctx = FunctionContext()
    with_ctx = _core._set_grad_enabled(False)
    try:
        cls._forward(ctx, values, kwargs)
    finally:
        _core._set_grad_enabled(with_ctx)
    result = cls.apply(*values, **kwargs)
    single = isinstance(result, Tensor)
    tangents = cls.jvp(ctx, *(t for _, t in pairs))
    tangents = (tangents,) if isinstance(tangents, Tensor) or tangents is None else tuple(tangents)
    outputs = (result,) if single else tuple(result)
    if len(tangents) != len(outputs):
        raise ValueError(f"{cls.__name__}.jvp: expected {len(outputs)} tangents, one per output of forward, got {len(tangents)}")
    duals = tuple(y if t is None else _core._wrap_on(level, y, t) for y, t in zip(outputs, tangents))
    return duals[0] if single else duals


class _Info:
    """What a vmap rule is told: how many indices, and how they share random numbers."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.randomness = batch_size, "error"


def _batched(cls: type[Function], level: int, args: tuple, kwargs: dict) -> Any:
    """apply on mapped tensors: the function's own rule, else forward and backward under a level of their own."""
    found = [_core._unwrap_on(level, a) if isinstance(a, Tensor) else None for a in args]
    inner = tuple(a if f is None else f[0] for a, f in zip(args, found))
    dims = tuple(None if f is None else 0 for f in found)
    size = next(f[0].shape[0] for f in found if f is not None)
    if cls.vmap is not Function.vmap:
        result, places = cls.vmap(_Info(size), dims, *inner, **kwargs)
        outputs = (result,) if isinstance(result, Tensor) else tuple(result)
        places = spread(places, tuple(outputs) if not isinstance(result, Tensor) else result, "out_dims")
        wrapped = tuple(y if d is None else _core._wrap_on(level, _core.ops["movedim"](y, d, 0) if d else y, None) for y, d in zip(outputs, places))
        return wrapped[0] if isinstance(result, Tensor) else wrapped
    result = _over_axis(cls, dims, size).apply(*inner, **kwargs)
    if isinstance(result, Tensor):
        return _core._wrap_on(level, result, None)
    return tuple(_core._wrap_on(level, y, None) for y in result)


def _over_axis(cls: type[Function], dims: tuple, size: int) -> type[Function]:
    """The function over a first axis of the arguments with dims 0, as a function."""

    def on(level: int, values: Any, at: Any) -> tuple:
        return tuple(_core._wrap_on(level, v, None) if d == 0 and isinstance(v, Tensor) else v for v, d in zip(values, at))

    def off(level: int, y: Any) -> Any:
        if not isinstance(y, Tensor):
            return y
        pair = _core._unwrap_on(level, y)
        return _core.ops["expand"](y, (size, *y.shape)) if pair is None else pair[0]

    class Mapped(Function):
        @staticmethod
        def forward(ctx: FunctionContext, *args: Any, **kwargs: Any) -> Any:
            level = _core._open_level("batched", size, "error", 0)
            try:
                ctx.inner = FunctionContext()
                ctx.inner.needs_input_grad = ctx.needs_input_grad
                ctx.level = level
                result = cls._forward(ctx.inner, on(level, args, dims), kwargs)
                ctx.shapes = tuple(a.shape if isinstance(a, Tensor) else None for a in args)
                return off(level, result) if isinstance(result, Tensor) else tuple(off(level, y) for y in result)
            finally:
                _core._close_level(level)

        @staticmethod
        def backward(ctx: FunctionContext, *grads: Any) -> Any:
            level = _core._open_level("batched", size, "error", ctx.level)
            try:
                given = cls.backward(ctx.inner, *on(level, grads, (0,) * len(grads)))
                given = (given,) if isinstance(given, Tensor) or given is None else tuple(given)
                out = []
                for g, d in zip(given, dims):
                    g = off(level, g)
                    out.append(g if g is None or d == 0 else g.sum(0))
                return tuple(out)
            finally:
                _core._close_level(level)

    Mapped.__name__ = f"{cls.__name__} (vmapped)"
    return Mapped


def once_differentiable(backward: Callable) -> Callable:
    """For a backward that cannot be differentiated itself: a second derivative through it raises.

    >>> class Square(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     @tg.autograd.once_differentiable
    ...     def backward(ctx, g):
    ...         return 2 * g * ctx.saved_tensors[0]
    """

    @functools.wraps(backward)
    def wrapper(ctx: FunctionContext, *grads: Any) -> Any:
        record = _core.is_grad_enabled()
        outer = _core._set_grad_enabled(False)
        try:
            result = backward(ctx, *grads)
        finally:
            _core._set_grad_enabled(outer)
        if not record:
            return result

        def refuse(_: tuple) -> list:
            raise RuntimeError("the backward of a Function marked once_differentiable was differentiated; write it with ops and without the mark")

        found = (result,) if isinstance(result, Tensor) else tuple(result)
        guarded = tuple(g if g is None else g.detach() for g in found)
        sources = [g for g in (*grads, *ctx.saved_tensors) if isinstance(g, Tensor) and g.requires_grad]
        if sources:
            _core._record("once_differentiable", sources, list(guarded), refuse)
        return guarded[0] if isinstance(result, Tensor) else guarded

    return wrapper
