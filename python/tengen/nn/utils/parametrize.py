# SPDX-License-Identifier: Apache-2.0
"""Parameters that are functions of other parameters.

>>> class Symmetric(nn.Module):
...     def forward(self, x):
...         return x.triu() + x.triu(1).T
>>> layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
>>> bool((layer.weight == layer.weight.T).all().item()), list(layer.state_dict())
(True, ['bias', 'parametrizations.weight.original'])
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tengen as tg

from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "type_before_parametrizations",
]

_cache: dict[tuple[int, str], Any] = {}
_caching = 0


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Inside, every parametrized tensor is computed once and kept, as where a layer is called many times in a step."""
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and what it is computed from.

    Attributes
    ----------
    original : parameter or buffer; or original0, original1, ...
        The second where right_inverse() of the first parametrization gives several tensors.
    """

    def __init__(self, modules: list[Module], original: Any, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        with tg.no_grad():
            value = self._inverted(original)
        self.is_tensor = isinstance(value, tg.Tensor)
        self.ntensors = 1 if self.is_tensor else len(value)
        for name, part in zip(self._names(), [value] if self.is_tensor else value):
            if not isinstance(part, tg.Tensor):
                raise ValueError(f"[register_parametrization] expected right_inverse() to give tensors, got "
                                 f"{type(part).__name__}")
            if not isinstance(original, Parameter):
                self.register_buffer(name, part)
            elif self.is_tensor:  # the same object, so that an optimizer goes on holding it
                if part is not original:
                    original.data = part.detach()
                self.register_parameter(name, original)
            else:
                self.register_parameter(name, Parameter(part.detach(), original.requires_grad))

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def _inverted(self, value: Any) -> Any:
        for module in reversed(self._values()):
            if hasattr(module, "right_inverse"):
                value = module.right_inverse(value)
        return value

    def right_inverse(self, value: Any) -> None:
        """Sets the originals so that the parametrized tensor becomes `value`; RuntimeError where that is not possible."""
        with tg.no_grad():
            parts = self._inverted(value)
            parts = [parts] if isinstance(parts, tg.Tensor) else list(parts)
            if len(parts) != self.ntensors:
                raise ValueError(f"[parametrize] expected right_inverse() to give {self.ntensors} tensors, got {len(parts)}")
            for name, part in zip(self._names(), parts):
                mine = getattr(self, name)
                if tuple(part.shape) != tuple(mine.shape):
                    raise ValueError(f"[parametrize] expected a value for {name} of shape {tuple(mine.shape)}, got "
                                     f"{tuple(part.shape)}")
                mine.copy_(part)

    def forward(self) -> Any:
        first, *rest = self._values()
        value = first(*(getattr(self, name) for name in self._names()))
        for module in rest:
            value = module(value)
        return value


def _parametrized_class(base: type) -> type:
    """A subclass for one module, which carries the properties of its parametrized tensors."""
    def reduce(self: Any, protocol: int) -> tuple:
        return _rebuild, (base, list(self.parametrizations)), dict(self.__dict__)

    def set_attribute(self: Any, name: str, value: Any) -> None:
        if name in type(self).__dict__ and "parametrizations" in self.__dict__ and name in self.parametrizations:
            self.parametrizations[name].right_inverse(value)
        else:
            base.__setattr__(self, name, value)

    return type(f"Parametrized{base.__name__}", (base,), {
        "__module__": base.__module__, "__reduce_ex__": reduce, "__setattr__": set_attribute, "_parametrized": base,
    })


def _rebuild(base: type, names: list[str]) -> Any:
    cls = _parametrized_class(base)
    for name in names:
        _add_property(cls, name)
    return cls.__new__(cls)


def _add_property(cls: type, name: str) -> None:
    def get(self: Any) -> Any:
        if not _caching:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    setattr(cls, name, property(get))


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *,
                             unsafe: bool = False) -> Module:
    """Makes a parameter or buffer a function of what it was; returns the module.

    Parameters
    ----------
    module : nn.Module
    tensor_name : str
        Of the parameter or buffer. A second parametrization is applied to the result of the first.
    parametrization : nn.Module
        forward(original) gives the tensor. A method right_inverse(tensor) says which original to start with and makes
        assignment `module.weight = value` work; it may give several tensors, which forward then takes.
    unsafe : bool
        The shape or dtype may change.

    Raises
    ------
    ValueError
        There is no such tensor, or its shape or dtype would change.
    """
    op = "register_parametrization"
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        parts = module.parametrizations[tensor_name]
        before = getattr(module, tensor_name)
        with tg.no_grad():
            after = parametrization(before)
            _check_same(op, tensor_name, before, after, unsafe)
            if hasattr(parametrization, "right_inverse"):
                parts.right_inverse(parametrization.right_inverse(before))
        parts.append(parametrization)
        parts.unsafe |= unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(f"[{op}] {type(module).__name__} has no parameter or buffer {tensor_name!r}")
    original = getattr(module, tensor_name)
    if original is None:
        raise ValueError(f"[{op}] {tensor_name} of {type(module).__name__} is None")
    before = original.detach().clone()
    parts = ParametrizationList([parametrization], original, unsafe)
    with tg.no_grad():
        try:
            _check_same(op, tensor_name, before, parts(), unsafe)
        except ValueError:
            if parts.is_tensor:
                original.data = before  # right_inverse may have changed it
            raise
    delattr(module, tensor_name)
    if not is_parametrized(module):
        object.__setattr__(module, "__class__", _parametrized_class(type(module)))
        module.add_module("parametrizations", ModuleDict())
    _add_property(type(module), tensor_name)
    module.parametrizations.add_module(tensor_name, parts)
    return module


def _check_same(op: str, name: str, before: Any, after: Any, unsafe: bool) -> None:
    if not isinstance(after, tg.Tensor):
        raise ValueError(f"[{op}] expected the parametrization of {name} to give a tensor, got {type(after).__name__}")
    if not unsafe and (tuple(before.shape) != tuple(after.shape) or before.dtype != after.dtype):
        raise ValueError(f"[{op}] expected the parametrization of {name} to keep shape {tuple(before.shape)} and "
                         f"{before.dtype}, got {tuple(after.shape)} and {after.dtype}; unsafe=True allows it")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module (this tensor of it) is parametrized."""
    parts = module.__dict__.get("parametrizations")
    if not isinstance(parts, ModuleDict) or not hasattr(type(module), "_parametrized"):
        return False
    return len(parts) > 0 if tensor_name is None else tensor_name in parts


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Makes the tensor a plain parameter or buffer again; returns the module.

    Parameters
    ----------
    leave_parametrized : bool
        With its present value; False: with its original one (only where that is a single tensor).

    Raises
    ------
    ValueError
        It is not parametrized, or has several originals and leave_parametrized is False.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"[remove_parametrizations] {tensor_name} of {type(module).__name__} is not parametrized")
    parts = module.parametrizations[tensor_name]
    if not parts.is_tensor and not leave_parametrized:
        raise ValueError(f"[remove_parametrizations] {tensor_name} has {parts.ntensors} originals; only "
                         f"leave_parametrized=True can remove it")
    original = getattr(parts, parts._names()[0])
    result = original
    if leave_parametrized:
        with tg.no_grad():
            value = getattr(module, tensor_name).detach().clone()
        if parts.is_tensor and value.shape == original.shape:
            original.data = value
        else:
            result = Parameter(value, original.requires_grad) if isinstance(original, Parameter) else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
        object.__setattr__(module, "__class__", type(module)._parametrized)
    if isinstance(result, Parameter):
        module.register_parameter(tensor_name, result)
    else:
        module.register_buffer(tensor_name, result)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module before it was parametrized."""
    return getattr(type(module), "_parametrized", type(module))
