# SPDX-License-Identifier: Apache-2.0
"""Module: the base of everything that holds parameters.

>>> class Net(nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.fc = nn.Linear(4, 2)
...     def forward(self, x):
...         return self.fc(x).relu()
>>> list(Net().state_dict())
['fc.weight', 'fc.bias']
"""
from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import tengen as tg
from tengen._tracing import module_changes

from . import hooks as _hooks
from .hooks import RemovableHandle
from .parameter import Buffer, Parameter
from .state import IncompatibleKeys, StateDict

__all__ = ["IncompatibleKeys", "Module", "RemovableHandle"]


class Module(StateDict):
    """Base class of layers and models: assign parameters, buffers and other modules to attributes, define `forward`.

    The registries `_parameters`, `_buffers` and `_modules` say which attributes are what; the instance's own dictionary
    holds the same objects, so that reading `self.weight` is an ordinary attribute access.
    """

    training: bool

    def __init__(self) -> None:
        set_ = super().__setattr__
        set_("training", True)
        set_("_parameters", {})
        set_("_buffers", {})
        set_("_not_persistent", set())
        set_("_modules", {})
        set_("_hooked", False)  # any hook at all: __call__ takes the long way
        set_("_forward_pre_hooks", OrderedDict())
        set_("_forward_hooks", OrderedDict())
        set_("_backward_pre_hooks", OrderedDict())
        set_("_backward_hooks", OrderedDict())
        set_("_state_hooks", {})  # by kind, see StateDict

    # ---- attributes --------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        module_changes[0] += 1
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Buffer) and name not in own.get("_buffers", ()):
            own.pop(name, None)
            self.register_buffer(name, value, value.persistent)
        elif isinstance(value, Module):
            self._check_ready("module")
            self._parameters.pop(name, None)
            self._buffers.pop(name, None)
            self._modules[name] = value
            own[name] = value
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(f"cannot assign {type(value).__name__} to parameter {name!r} of {type(self).__name__}: "
                                f"expected nn.Parameter or None")
            self._parameters[name] = own[name] = None
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, tg.Tensor):
                raise TypeError(f"cannot assign {type(value).__name__} to buffer {name!r} of {type(self).__name__}: "
                                f"expected a tensor or None")
            self._buffers[name] = own[name] = value
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(f"cannot assign {type(value).__name__} to module {name!r} of {type(self).__name__}: "
                                f"expected nn.Module or None")
            self._modules[name] = own[name] = None
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        module_changes[0] += 1
        for registry in (self._parameters, self._buffers, self._modules):
            registry.pop(name, None)
        self._not_persistent.discard(name)
        object.__delattr__(self, name)

    def __getattr__(self, name: str) -> Any:  # only where ordinary access found nothing
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if not name.startswith("__"):
            near = difflib.get_close_matches(name, [n for n in dir(self) if not n.startswith("_")], 1)
            if near:
                message += f"; did you mean {near[0]!r}?"
            elif "_parameters" not in self.__dict__:
                message += f" (super().__init__() of {type(self).__name__} has not been called)"
        raise AttributeError(message)

    def __dir__(self) -> list[str]:
        return sorted(set(object.__dir__(self)))

    def _check_ready(self, what: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"cannot assign a {what} before super().__init__() of {type(self).__name__} was called"
            )

    def _check_name(self, name: str, what: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"expected the name of a {what} to be a string without dots, got {name!r}")
        known = name in self._parameters or name in self._buffers or name in self._modules
        if not known and (name in self.__dict__ or hasattr(type(self), name)):
            raise KeyError(f"attribute {name!r} of {type(self).__name__} exists already")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter; None reserves the name."""
        self._check_ready("parameter")
        self._check_name(name, "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot register {type(param).__name__} as parameter {name!r}: expected nn.Parameter or None"
            )
        self._buffers.pop(name, None)
        self._modules.pop(name, None)
        self._parameters[name] = param
        self.__dict__[name] = param

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Adds a tensor that is state and no parameter; `persistent=False` keeps it out of the state_dict."""
        self._check_ready("buffer")
        if name not in self._buffers:
            self._check_name(name, "buffer")
        if tensor is not None and not isinstance(tensor, tg.Tensor):
            raise TypeError(f"cannot register {type(tensor).__name__} as buffer {name!r}: expected a tensor or None")
        self._parameters.pop(name, None)
        self._buffers[name] = tensor
        self.__dict__[name] = tensor
        (self._not_persistent.discard if persistent else self._not_persistent.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child under a name that need not be an identifier."""
        self._check_ready("module")
        self._check_name(name, "module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"cannot add {type(module).__name__} as module {name!r}: expected nn.Module or None")
        self._modules[name] = module
        self.__dict__[name] = module

    register_module = add_module

    # ---- calling -----------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._hooked:
            return self.forward(*args, **kwargs)
        return _hooks.call(self, args, kwargs)

    def _add_hook(self, hooks: OrderedDict, entry: Any, prepend: bool) -> RemovableHandle:
        module_changes[0] += 1
        object.__setattr__(self, "_hooked", True)
        return _hooks.add(hooks, entry, prepend)

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """`hook(module, args)` before forward; may return other arguments. With kwargs: `(module, args, kwargs)`."""
        return self._add_hook(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """`hook(module, args, output)` after forward; may return another output."""
        return self._add_hook(self._forward_hooks, (hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_output)` when the gradients of all outputs are there; may return others."""
        return self._add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_input, grad_output)` when the gradients of all inputs are there; may return other ones."""
        return self._add_hook(self._backward_hooks, hook, prepend)

    # ---- walking -----------------------------------------------------------------------------------------------------

    def named_modules(self, memo: set | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def _named(self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        ):
            for name, value in getattr(module, registry).items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of this module and, with `recurse`, of all below it; a shared one once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module with this dotted name; AttributeError."""
        module = self
        for part in target.split(".") if target else ():
            child = module._modules.get(part)
            if child is None:
                raise AttributeError(
                    f"{type(self).__name__} has no submodule {target!r}: {type(module).__name__} has no "
                    f"{part!r}, only {', '.join(module._modules) or 'none'}"
                )
            module = child
        return module

    def set_submodule(self, target: str, module: Module) -> None:
        """Puts a module in the place of a dotted name; AttributeError where the path to it does not exist."""
        if not target:
            raise ValueError("[set_submodule] expected a name, got ''")
        path, _, name = target.rpartition(".")
        setattr(self.get_submodule(path), name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with this dotted name; AttributeError."""
        path, _, name = target.rpartition(".")
        value = self.get_submodule(path)._parameters.get(name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return value

    def get_buffer(self, target: str) -> Any:
        """The buffer with this dotted name; AttributeError."""
        path, _, name = target.rpartition(".")
        value = self.get_submodule(path)._buffers.get(name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return value

    # ---- changes to the whole ----------------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Calls `fn` with every module, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Module:
        with tg.no_grad():
            done: dict[int, Any] = {}
            for module in self.modules() if recurse else [self]:
                for registry in (module._parameters, module._buffers):
                    for name, value in registry.items():
                        if value is None:
                            continue
                        if id(value) not in done:
                            done[id(value)] = (_hooks.changed_parameter(value, fn) if registry is module._parameters
                                               else fn(value)), value
                        registry[name] = module.__dict__[name] = done[id(value)][0]
        return self

    def to(self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Module:
        """Moves all to a device, the floating ones to a dtype: `to(device)`, `to(dtype)`, `to(tensor)`; with
        memory_format=tg.channels_last weights of images (4 axes) get their channels innermost, with tg.contiguous_format last.

        Parameters stay the same objects, so that an optimizer goes on holding them.
        """
        for arg in args:
            if isinstance(arg, tg.Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, (tg.dtype, type)):
                dtype = arg
            elif arg is not None:
                device = arg
        if memory_format not in (None, "channels_last", "contiguous_format", "preserve_format"):
            raise ValueError(f"[Module.to] expected memory_format channels_last or contiguous_format, got {memory_format!r}")
        if dtype is not None:
            probe = tg.empty((0,), dtype=dtype)
            if not probe.is_floating_point():
                raise TypeError(f"[Module.to] expected a floating dtype, got {probe.dtype}")

        def move(t: Any) -> Any:
            if device is not None:
                t = t.to(device)
            if dtype is not None and t.is_floating_point():
                t = t.to(dtype)
            if memory_format == "contiguous_format" or (memory_format == "channels_last" and t.ndim == 4):
                t = t.contiguous(memory_format=memory_format)
            return t

        return self._apply(move)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Moves to a device without the values, which are then anything."""
        return self._apply(lambda t: tg.empty(t.shape, dtype=t.dtype, device=device), recurse)

    def type(self, dst_type: Any) -> Module:
        """to(dtype)."""
        return self.to(dtype=dst_type)

    def cpu(self) -> Module:
        return self.to(device="cpu")

    def cuda(self, device: Any = None) -> Module:
        return self.to(device=f"cuda:{device}" if type(device).__name__ == "int" else device or "cuda")

    def float(self) -> Module:
        return self.to(dtype=tg.float32)

    def double(self) -> Module:
        return self.to(dtype=tg.float64)

    def half(self) -> Module:
        return self.to(dtype=tg.float16)

    def bfloat16(self) -> Module:
        return self.to(dtype=tg.bfloat16)

    def train(self, mode: bool = True) -> Module:
        """Training mode for this module and all below it (dropout drops, batch norm uses the batch)."""
        if not isinstance(mode, bool):
            raise ValueError(f"[Module.train] expected a bool, got {type(mode).__name__}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for p in self.parameters():
            if p.grad is not None:
                if set_to_none:
                    p.grad = None
                else:
                    with tg.no_grad():
                        p.grad = tg.zeros_like(p)

    # ---- printing ----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses; override it."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def _child_lines(self) -> list[str]:
        return [f"({name}): " + _indent(repr(module)) for name, module in self._modules.items()]

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = self._child_lines()
        if not children:
            if "\n" not in extra:
                return f"{self._get_name()}({extra})"
            return f"{self._get_name()}(\n  " + "\n  ".join(extra.split("\n")) + "\n)"
        lines = (extra.split("\n") if extra else []) + children
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


def _indent(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *("  " + line for line in rest)])
