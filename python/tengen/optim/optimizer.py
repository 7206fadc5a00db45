# SPDX-License-Identifier: Apache-2.0
"""Optimizer: the base of all, with parameter groups and a state that can be saved."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import tengen as tg


class Optimizer:
    """Holds parameters in groups, each with its own settings.

    Parameters
    ----------
    params : iterable of tensors, of (name, tensor), or of dicts {"params": ..., "lr": ...}
    defaults : dict
        Settings of groups that do not say otherwise.

    A subclass defines `_update(parameters, group)`, which gets the parameters of one group that have gradients.
    """

    _positive = ("lr",)  # settings that must not be negative

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: dict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        if isinstance(params, tg.Tensor):
            raise TypeError(
                f"[{type(self).__name__}] expected an iterable of parameters, got one tensor; give [tensor]"
            )
        groups = list(params)
        if not groups:
            raise ValueError(f"[{type(self).__name__}] got an empty list of parameters")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with settings of their own."""
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"[{name}] expected a group to be a dict with 'params', got {type(param_group).__name__}")
        params = param_group["params"]
        params = [params] if isinstance(params, tg.Tensor) else list(params)
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, tg.Tensor):
                raise TypeError(f"[{name}] expected tensors as parameters, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"[{name}] cannot optimise the result of an op; give the leaf it was made from")
            if id(p) in known:
                raise ValueError(f"[{name}] a parameter of shape {tuple(p.shape)} is given twice")
            known.add(id(p))
        group = {**self.defaults, **param_group, "params": params}
        for key in self._positive:
            if group.get(key) is None or group[key] < 0:
                raise ValueError(f"[{name}] expected {key} >= 0, got {group.get(key)}")
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: dict[str, Any]) -> None:
        """Further rules for a group's settings."""

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _update()")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. `closure` computes the loss anew (with gradients); its value is returned."""
        loss = None
        if closure is not None:
            with tg.enable_grad():
                loss = closure()
        with tg.no_grad():
            for group in self.param_groups:
                with_grad = [p for p in group["params"] if p.grad is not None]
                if with_grad:
                    self._update(with_grad, group)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, or fills them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = tg.zeros_like(p.detach())

    # ---- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: {...}}, "param_groups": [{..., "params": [numbers]}]}, numbered through the groups."""
        number: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                number[id(p)] = len(number)
            packed = {k: v for k, v in group.items() if k != "params"}
            groups.append({**packed, "params": [number[id(p)] for p in group["params"]]})
        state = {number[id(p)]: dict(s) for p, s in self.state.items() if id(p) in number and s}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the settings and (copies of) the state of an optimizer with groups of the same sizes.

        Raises
        ------
        ValueError
            The groups differ in number or size, or a tensor of the state does not have its parameter's shape.
        """
        name = type(self).__name__
        groups = state_dict["param_groups"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(
                f"[{name}.load_state_dict] expected groups of {[len(g['params']) for g in self.param_groups]} "
                f"parameters, got {[len(g['params']) for g in groups]}"
            )
        by_number: dict[int, Any] = {}
        for mine, saved in zip(self.param_groups, groups):
            by_number.update(zip(saved["params"], mine["params"]))
        state: dict[Any, dict[str, Any]] = defaultdict(dict)
        for key, saved in state_dict["state"].items():
            p = by_number.get(int(key))
            if p is None:
                raise ValueError(f"[{name}.load_state_dict] the state of parameter {key} belongs to no group")
            state[p] = {k: self._own_copy(p, k, v) for k, v in saved.items()}
        self.state = state
        for mine, saved in zip(self.param_groups, groups):
            mine.update({k: v for k, v in saved.items() if k != "params"})

    def _own_copy(self, p: Any, key: str, value: Any) -> Any:
        if not isinstance(value, tg.Tensor):
            return value
        if tuple(value.shape) not in ((), tuple(p.shape)):
            raise ValueError(f"[{type(self).__name__}.load_state_dict] {key}: expected shape {tuple(p.shape)}, got "
                             f"{tuple(value.shape)}")
        return value.detach().clone().to(p.device)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


