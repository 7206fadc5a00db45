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
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tengen as tg

from . import hooks as _hooks
from .parameter import Parameter

__all__ = ["IncompatibleKeys", "Module", "RemovableHandle"]


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


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


class Module:
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

    # ---- attributes --------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
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

    def _add_hook(self, hooks: dict, entry: Any, prepend: bool) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = entry
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        object.__setattr__(self, "_hooked", True)
        return handle

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

    def get_parameter(self, target: str) -> Parameter:
        path, _, name = target.rpartition(".")
        value = self.get_submodule(path)._parameters.get(name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return value

    def get_buffer(self, target: str) -> Any:
        path, _, name = target.rpartition(".")
        value = self.get_submodule(path)._buffers.get(name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return value

    # ---- state -------------------------------------------------------------------------------------------------------

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        for name, value in self._parameters.items():
            if value is not None:
                destination[prefix + name] = value if keep_vars else value.detach()
        for name, value in self._buffers.items():
            if value is not None and name not in self._not_persistent:
                destination[prefix + name] = value if keep_vars else value.detach()

    def state_dict(
        self, *, destination: dict | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name. The tensors share memory with the module's."""
        destination = OrderedDict() if destination is None else destination
        for path, module in self.named_modules(remove_duplicate=False):
            module._save_to_state_dict(destination, prefix + (f"{path}." if path else ""), keep_vars)
        return destination

    def _load_from_state_dict(
        self, state: Mapping, prefix: str, missing: list[str], errors: list[str], assign: bool
    ) -> None:
        for registry in (self._parameters, self._buffers):
            for name in list(registry):
                if registry[name] is None or name in self._not_persistent:
                    continue
                key, current = prefix + name, registry[name]
                if key not in state:
                    missing.append(key)
                    continue
                value = state[key]
                if not isinstance(value, tg.Tensor):
                    try:
                        value = tg.tensor(value)
                    except (TypeError, ValueError):
                        errors.append(f"{key}: expected a tensor, got {type(value).__name__}")
                        continue
                if tuple(value.shape) != tuple(current.shape):
                    errors.append(f"{key}: expected shape {tuple(current.shape)}, got {tuple(value.shape)}")
                elif assign:
                    if registry is self._parameters:
                        value = value if isinstance(value, Parameter) else Parameter(value, current.requires_grad)
                    registry[name] = self.__dict__[name] = value
                else:
                    current.copy_(value.detach().to(current.device).to(current.dtype))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copies tensors into parameters and buffers of the same names.

        Parameters
        ----------
        state_dict : mapping of names to tensors
        strict : bool
            Names must match exactly.
        assign : bool
            Take the tensors themselves in place of copying from them.

        Raises
        ------
        RuntimeError
            Names are missing or unexpected (when strict) or shapes differ; the message lists every one.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"[load_state_dict] expected a mapping of names to tensors, got {type(state_dict).__name__}"
            )
        missing: list[str] = []
        errors: list[str] = []
        with tg.no_grad():
            for path, module in self.named_modules(remove_duplicate=False):
                module._load_from_state_dict(state_dict, f"{path}." if path else "", missing, errors, assign)
        known = set(self.state_dict(keep_vars=True))
        unexpected = [key for key in state_dict if key not in known]
        lines = list(errors)
        if strict and missing:
            lines.append("missing: " + ", ".join(missing))
        if strict and unexpected:
            hints = []
            for key in unexpected:
                near = difflib.get_close_matches(key, missing, 1)
                hints.append(key + (f" (did you mean {near[0]}?)" if near else ""))
            lines.append("unexpected: " + ", ".join(hints))
        if lines:
            raise RuntimeError(
                f"[load_state_dict] the state does not fit {type(self).__name__}:\n  " + "\n  ".join(lines)
            )
        return IncompatibleKeys(missing, unexpected)

    # ---- changes to the whole ----------------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Calls `fn` with every module, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Any], Any]) -> Module:
        with tg.no_grad():
            done: dict[int, Any] = {}
            for module in self.modules():
                for registry in (module._parameters, module._buffers):
                    for name, value in registry.items():
                        if value is None:
                            continue
                        if id(value) not in done:
                            done[id(value)] = (_hooks.changed_parameter(value, fn) if registry is module._parameters
                                               else fn(value)), value
                        registry[name] = module.__dict__[name] = done[id(value)][0]
        return self

    def to(self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Module:
        """Moves all to a device, the floating ones to a dtype: `to(device)`, `to(dtype)`, `to(tensor)`.

        Parameters stay the same objects, so that an optimizer goes on holding them.
        """
        for arg in args:
            if isinstance(arg, tg.Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, (tg.dtype, type)):
                dtype = arg
            elif arg is not None:
                device = arg
        if dtype is not None:
            probe = tg.empty((0,), dtype=dtype)
            if not probe.is_floating_point():
                raise TypeError(f"[Module.to] expected a floating dtype, got {probe.dtype}")

        def move(t: Any) -> Any:
            if device is not None:
                t = t.to(device)
            if dtype is not None and t.is_floating_point():
                t = t.to(dtype)
            return t

        return self._apply(move)

    def cpu(self) -> Module:
        return self.to(device="cpu")

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
