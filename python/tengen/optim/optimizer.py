# SPDX-License-Identifier: Apache-2.0
"""Optimizer: the base of all, with parameter groups and a state that can be saved."""
from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any

import tengen as tg
from tengen._core import call_into
from tengen._tracing import Outdated, tracing
from tengen.nn.module import RemovableHandle


class _Update:
    """A call of `_update` as tg.jit traced it."""

    def __init__(self, parameters: list[Any], group: dict[str, Any]) -> None:
        self.parameters, self.group = parameters, group
        self.kinds: list[tuple] = []  # of its calls: op, flags, how many numbers and tensors
        self.asked: list[tuple[tuple, tuple[float, ...]]] = []


class Optimizer:
    """Holds parameters in groups, each with its own settings.

    Parameters
    ----------
    params : iterable of tensors, of (name, tensor), or of dicts {"params": ..., "lr": ...}
    defaults : dict
        Settings of groups that do not say otherwise.

    Every optimizer here updates the parameters of a group with one call of a multi-tensor op of the op table (`multi_adam`
    and so on). That is what PyTorch's `foreach` and `fused` ask for: both are accepted everywhere, and change nothing.
    16-bit parameters have states in float32, and steps are computed in float32; with `master_weights` a float32 copy of such
    a parameter takes the steps, so that small ones are not lost to rounding.

    A subclass defines `_update(parameters, group)`, which gets the parameters of one group that have gradients.
    """

    _positive = ("lr",)  # settings that must not be negative

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: dict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._generation = 0  # grows when groups or states become others; what tg.jit made of a step is made again
        self._traced: _Update | None = None  # by tg.jit, at this moment
        self._asked: list | None = None  # numbers alone are wanted: they go here
        self._pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._post_hooks: OrderedDict[int, Callable] = OrderedDict()
        if isinstance(params, tg.Tensor):
            raise TypeError(
                f"[{type(self).__name__}] expected an iterable of parameters, got one tensor; give [tensor]"
            )
        if not isinstance(params, Iterable):
            way_out = "; give .parameters()" if hasattr(params, "parameters") else ""
            raise TypeError(f"[{type(self).__name__}] expected an iterable of parameters, got {type(params).__name__}{way_out}")
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
        if "betas" in group and (len(group["betas"]) != 2 or not all(0 <= b < 1 for b in group["betas"])):
            raise ValueError(f"[{name}] expected betas to be two numbers in [0, 1), got {group['betas']}")
        self._check(group)
        self.param_groups.append(group)
        self._generation += 1

    def _check(self, group: dict[str, Any]) -> None:
        """Further rules for a group's settings."""

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _update()")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. `closure` computes the loss anew (with gradients); its value is returned."""
        args, kwargs = (closure,), {}
        for hook in tuple(self._pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(f"[{type(self).__name__}.step] expected a step pre-hook to return None or (args, "
                                       f"kwargs), got {type(changed).__name__}")
                args, kwargs = changed
        loss = self._step(*args, **kwargs)
        for hook in tuple(self._post_hooks.values()):
            hook(self, args, kwargs)
        return loss

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with tg.enable_grad():
                loss = closure()
        with tg.no_grad():
            for group in self.param_groups:
                with_grad = [p for p in group["params"] if p.grad is not None]
                if with_grad:
                    if (trace := tracing()) is not None:
                        trace.saw_optimizer(self)
                        self._traced = _Update(with_grad, group)
                    self._update(with_grad, group)
        return loss

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(optimizer, args, kwargs)` runs before every step; may return new (args, kwargs) of the step."""
        return self._register(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(optimizer, args, kwargs)` runs after every step."""
        return self._register(self._post_hooks, hook)

    @staticmethod
    def _register(hooks: OrderedDict, hook: Callable) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    # ---- one call for all --------------------------------------------------------------------------------------------

    def _advance(self, state: dict[str, Any], group: dict[str, Any]) -> Hashable:
        """What the numbers of a step depend on; parameters for which it is equal share a call."""
        state["step"] = state.get("step", 0) + 1
        return state["step"]

    def _state_shape(self, p: Any, name: str) -> tuple[int, ...]:
        return tuple(p.shape)

    def _new_state(self, p: Any, name: str, group: dict[str, Any]) -> Any:
        dtype = tg.float32 if p.dtype.itemsize < 4 else p.dtype
        return tg.zeros(self._state_shape(p, name), dtype=dtype, device=p.device)

    def _multi(self, op: str, parameters: Iterable[Any], group: dict[str, Any], names: tuple[str, ...],
               numbers: Callable[[Any], tuple[float, ...]], flags: tuple[bool, ...] = ()) -> None:
        """Calls a multi-tensor op with every parameter, its gradient and its states `names`.

        `numbers(what _advance gave)` are run attributes: floats, always, so that no step needs a new plan.
        """
        batches: dict[Any, tuple[list, list]] = {}
        mastered = []
        for p in parameters:
            state = self.state[p]
            key = self._advance(state, group)
            for name in names:
                if name not in state:
                    state[name] = self._new_state(p, name, group)
            target = p
            if group.get("master_weights") and p.dtype.itemsize < 4:
                target = state.get("master_param")
                if target is None:
                    target = state["master_param"] = p.detach().to(tg.float32)
                mastered.append((p, target))
            tensors, outs = batches.setdefault((p.device, key), ([], []))
            values = [state[name] for name in names]
            tensors += (target, p.grad, *values)
            outs += (target, *values)
        trace = tracing()  # a static graph asks for the numbers of every step
        for (_, key), (tensors, outs) in batches.items():
            now = tuple(map(float, numbers(key)))
            kind = (op, flags, len(now), len(tensors))
            if self._asked is not None:
                self._asked.append((kind, now))
                continue
            if trace is not None:
                trace.host_call(partial(self._next_numbers, self._traced, len(self._traced.kinds)), now)
                self._traced.kinds.append(kind)
            call_into(op, tuple(tensors), (*now, *map(bool, flags)), tuple(outs))
        for p, master in mastered if self._asked is None else ():
            p.copy_(master)

    def _next_numbers(self, update: _Update, k: int) -> tuple[float, ...]:
        """What the k-th call of a traced update has as numbers in the next step; the first one asked makes that step."""
        if k == 0:
            self._asked = update.asked = []
            try:
                self._update(update.parameters, update.group)
            finally:
                self._asked = None
        if [kind for kind, _ in update.asked] != update.kinds:
            raise Outdated(f"[{type(self).__name__}.step] expected parameters and settings of the kind that there were when the step was traced")
        return update.asked[k][1]

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
        self._generation += 1
        for mine, saved in zip(self.param_groups, groups):
            mine.update({k: v for k, v in saved.items() if k != "params"})

    def _own_copy(self, p: Any, key: str, value: Any) -> Any:
        if not isinstance(value, tg.Tensor):
            return value
        if key == "step":  # a tensor in PyTorch's files
            return int(value.item())
        expected = self._state_shape(p, key)
        if tuple(value.shape) not in ((), expected):
            raise ValueError(f"[{type(self).__name__}.load_state_dict] {key}: expected shape {expected}, got "
                             f"{tuple(value.shape)}")
        return value.detach().clone().to(p.device)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])
