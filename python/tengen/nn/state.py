# SPDX-License-Identifier: Apache-2.0
"""A module's state by name: state_dict, load_state_dict and what hooks into them."""
from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tengen as tg

from . import hooks as _hooks
from .parameter import Parameter

_EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateDict:
    """The part of Module that gives and takes state."""

    # ---- hooks and what is no tensor ---------------------------------------------------------------------------------

    def _add_state_hook(self, kind: str, hook: Callable) -> _hooks.RemovableHandle:
        return _hooks.add(self._state_hooks.setdefault(kind, OrderedDict()), hook)

    def _call_state_hooks(self, kind: str, *args: Any) -> None:
        for hook in list(self._state_hooks.get(kind, {}).values()):
            hook(self, *args)

    def register_state_dict_pre_hook(self, hook: Callable) -> _hooks.RemovableHandle:
        """`hook(module, prefix, keep_vars)` before the module's state is collected."""
        return self._add_state_hook("save_pre", hook)

    def register_state_dict_post_hook(self, hook: Callable) -> _hooks.RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata)` afterwards; may change the dictionary."""
        return self._add_state_hook("save_post", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> _hooks.RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)` before the
        module takes its state; may change the dictionary (a copy of the caller's) and the lists."""
        return self._add_state_hook("load_pre", hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> _hooks.RemovableHandle:
        """`hook(module, incompatible_keys)` afterwards; may change the lists of keys before they are complained about."""
        return self._add_state_hook("load_post", hook)

    def get_extra_state(self) -> Any:
        """State besides parameters and buffers for the state_dict; override it together with set_extra_state."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: override get_extra_state() and set_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Takes what get_extra_state gave."""
        raise RuntimeError(f"{type(self).__name__} takes no extra state: override get_extra_state() and set_extra_state()")

    def _overrides(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(StateDict, method)

    # ---- giving ------------------------------------------------------------------------------------------------------

    def _own_state(self) -> Iterator[tuple[dict, str]]:
        """(registry, name) of this module's parameters and persistent buffers."""
        for registry in (self._parameters, self._buffers):
            for name, value in list(registry.items()):
                if value is not None and name not in self._not_persistent:
                    yield registry, name

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        for registry, name in self._own_state():
            destination[prefix + name] = registry[name] if keep_vars else registry[name].detach()
        if self._overrides("get_extra_state"):
            destination[prefix + _EXTRA] = self.get_extra_state()

    def state_dict(
        self, *, destination: dict | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name. The tensors share memory with the module's."""
        destination = OrderedDict() if destination is None else destination
        self._call_state_hooks("save_pre", prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        self._call_state_hooks("save_post", destination, prefix, {})
        return destination

    # ---- taking ------------------------------------------------------------------------------------------------------

    def _load_from_state_dict(
        self, state: Mapping, prefix: str, missing: list[str], errors: list[str], assign: bool
    ) -> None:
        for registry, name in self._own_state():
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
        if self._overrides("set_extra_state"):
            if prefix + _EXTRA in state:
                self.set_extra_state(state[prefix + _EXTRA])
            else:
                missing.append(prefix + _EXTRA)

    def _known_keys(self) -> set[str]:
        keys = set()
        for path, module in self.named_modules(remove_duplicate=False):
            prefix = f"{path}." if path else ""
            keys.update(prefix + name for _, name in module._own_state())
            if module._overrides("set_extra_state"):
                keys.add(prefix + _EXTRA)
        return keys

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
        state = OrderedDict(state_dict)
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []

        def take(module: Any, prefix: str) -> None:
            module._call_state_hooks("load_pre", state, prefix, {}, strict, missing, unexpected, errors)
            module._load_from_state_dict(state, prefix, missing, errors, assign)
            for name, child in module._modules.items():
                if child is not None:
                    take(child, f"{prefix}{name}.")

        def report(module: Any, keys: IncompatibleKeys) -> None:
            for child in module._modules.values():
                if child is not None:
                    report(child, keys)
            module._call_state_hooks("load_post", keys)

        with tg.no_grad():
            take(self, "")
        known = self._known_keys()
        unexpected += [key for key in state if key not in known and key not in unexpected]
        report(self, IncompatibleKeys(missing, unexpected))
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
