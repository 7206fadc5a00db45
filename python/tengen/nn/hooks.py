# SPDX-License-Identifier: Apache-2.0
"""How a module with hooks is called, and how a parameter changes device or dtype."""
from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import tengen as tg

from .parameter import Parameter


class RemovableHandle:
    """Takes a hook away again; also as a context manager."""

    _ids = itertools.count()

    def __init__(self, hooks: dict) -> None:
        self._hooks = hooks
        self.id = next(self._ids)

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()


def add(hooks: OrderedDict, entry: Any, prepend: bool = False) -> RemovableHandle:
    """Adds a hook behind (before) the others."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = entry
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def call(module: Any, args: tuple, kwargs: dict) -> Any:
    """forward() between its hooks."""
    if not (module._forward_pre_hooks or module._forward_hooks or module._backward_hooks or module._backward_pre_hooks):
        object.__setattr__(module, "_hooked", False)  # all were removed
        return module.forward(*args, **kwargs)
    for hook, with_kwargs in list(module._forward_pre_hooks.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError("a forward pre-hook with kwargs must return None or (args, kwargs)")
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    backward = None
    if (module._backward_hooks or module._backward_pre_hooks) and tg.is_grad_enabled():
        backward = _BackwardHooks(module)
        args = backward.enter(args)
    called = set()
    try:
        output = module.forward(*args, **kwargs)
        for id_, (hook, with_kwargs, _) in list(module._forward_hooks.items()):
            called.add(id_)
            changed = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
            output = output if changed is None else changed
    except BaseException:
        for id_, (hook, with_kwargs, always) in list(module._forward_hooks.items()):
            if always and id_ not in called:
                hook(module, args, kwargs, None) if with_kwargs else hook(module, args, None)
        raise
    return output if backward is None else backward.leave(output)


def _tuple_of(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


class _BackwardHooks:
    """The backward hooks of one call: identities before and behind the module see its gradients together."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.grad_output: tuple = ()
        self.waiting = False  # no input asks for a gradient: the hooks run when the output's is there

    def enter(self, args: tuple) -> tuple:
        at = [i for i, a in enumerate(args) if isinstance(a, tg.Tensor) and a.requires_grad]
        self.waiting = not at
        if not at:
            self.arity = len(args)
            return args

        def after(grads: tuple) -> tuple:
            full: list[Any] = [None] * len(args)
            for i, g in zip(at, grads):
                full[i] = g
            full = self.run(tuple(full))
            return tuple(full[i] for i in at)

        new = list(args)
        for i, t in zip(at, _identity(after, [args[i] for i in at])):
            new[i] = t
        return tuple(new)

    def leave(self, output: Any) -> Any:
        parts = _tuple_of(output)
        at = [i for i, a in enumerate(parts) if isinstance(a, tg.Tensor) and a.requires_grad]
        if not at:
            return output

        def before(grads: tuple) -> tuple:
            full: list[Any] = [None] * len(parts)
            for i, g in zip(at, grads):
                full[i] = g
            self.grad_output = tuple(full)
            for hook in list(self.module._backward_pre_hooks.values()):
                changed = hook(self.module, self.grad_output)
                if changed is not None:
                    self.grad_output = _tuple_of(changed)
            if self.waiting:
                self.run((None,) * self.arity)
            return tuple(self.grad_output[i] for i in at)

        new = list(parts)
        for i, t in zip(at, _identity(before, [parts[i] for i in at])):
            new[i] = t
        return tuple(new) if isinstance(output, tuple) else new[0]

    def run(self, grad_input: tuple) -> tuple:
        for hook in list(self.module._backward_hooks.values()):
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None:
                grad_input = _tuple_of(changed)
        return grad_input


def _identity(see: Callable[[tuple], tuple], tensors: list[Any]) -> tuple:
    """The tensors again, recorded as one step whose backward passes its gradients through `see`."""

    class Watch(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            return tuple(t.view(t.shape) for t in inputs)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return see(grads)

    return _tuple_of(Watch.apply(*tensors))


def changed_parameter(p: Parameter, fn: Callable[[Any], Any]) -> Parameter:
    """`p` itself, with `fn` applied to its values and its gradient: optimizers go on holding it."""
    new = fn(p.detach())
    if new.device == p.device and new.dtype == p.dtype and new.stride() == p.stride():
        return p
    grad, p.grad = p.grad, None
    p.data = new
    p.grad = None if grad is None else fn(grad)
    return p
