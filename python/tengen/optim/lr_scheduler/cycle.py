# SPDX-License-Identifier: Apache-2.0
"""Schedulers that go up and down, and move the momentum the other way: step them after every batch."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .base import LRScheduler


def set_momentum(optimizer: Any, values: list[float]) -> None:
    """Sets the momentum (Adam and the like: beta1) of every group that has one."""
    for group, value in zip(optimizer.param_groups, values):
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = value


def per_group(name: str, what: str, value: Any, n: int) -> list[float]:
    values = list(value) if isinstance(value, (list, tuple)) else [value] * n
    if len(values) != n:
        raise ValueError(f"[{name}] expected {n} values of {what}, one per group, got {len(values)}")
    return values


class OneCycleLR(LRScheduler):
    """Up to max_lr, then down to almost nothing, in one cycle of total_steps; step it after every batch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or list of floats
        The peak, for all groups or per group.
    total_steps : int, or epochs and steps_per_epoch
    pct_start : float
        Share of the steps that go up.
    anneal_strategy : 'cos' or 'linear'
    cycle_momentum : bool
        Move momentum (Adam: beta1) the other way, between max_momentum and base_momentum.
    div_factor, final_div_factor : float
        It begins at max_lr / div_factor and ends at that / final_div_factor.
    three_phase : bool
        Come down in two phases: as long as it went up, then to the end.
    """

    def __init__(self, optimizer: Any, max_lr: float | list[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
                 max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
                 three_phase: bool = False, last_epoch: int = -1) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("[OneCycleLR] expected total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1 or not 0 <= pct_start <= 1 or anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"[OneCycleLR] expected total_steps >= 1, 0 <= pct_start <= 1 and anneal_strategy 'cos' or "
                f"'linear', got {total_steps}, {pct_start}, {anneal_strategy!r}"
            )
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        n = len(optimizer.param_groups)
        peaks = list(max_lr) if isinstance(max_lr, (list, tuple)) else [max_lr] * n
        if len(peaks) != n:
            raise ValueError(f"[OneCycleLR] expected {n} values of max_lr, one per group, got {len(peaks)}")
        up = pct_start * total_steps - 1
        if three_phase:
            self.phases = [[up, "initial", "max"], [2 * pct_start * total_steps - 2, "max", "initial"],
                           [total_steps - 1, "initial", "min"]]
        else:
            self.phases = [[up, "initial", "max"], [total_steps - 1, "max", "min"]]
        self.levels = [{"max": peak, "initial": peak / div_factor, "min": peak / div_factor / final_div_factor}
                       for peak in peaks]
        # momentum is high where the rate is low
        self.momenta = {"max": base_momentum, "initial": max_momentum, "min": max_momentum}
        if last_epoch == -1:
            for group, level in zip(optimizer.param_groups, self.levels):
                group["initial_lr"] = level["initial"]
        super().__init__(optimizer, last_epoch)

    def _between(self, a: float, b: float, t: float) -> float:
        return b + (a - b) * (1 + math.cos(math.pi * t)) / 2 if self.anneal_strategy == "cos" else a + (b - a) * t

    def _at(self, epoch: int, level: dict[str, float]) -> float:
        begin = 0.0
        for i, (end, a, b) in enumerate(self.phases):
            if epoch <= end or i == len(self.phases) - 1:
                return self._between(level[a], level[b], (epoch - begin) / (end - begin) if end > begin else 1.0)
            begin = end
        raise AssertionError

    def _rates(self, epoch: int) -> list[float]:
        if epoch > self.total_steps:
            raise ValueError(f"[OneCycleLR] expected at most {self.total_steps} steps (total_steps), got one more")
        epoch = min(epoch, self.total_steps - 1)  # the step after the last batch changes nothing
        if self.cycle_momentum:
            set_momentum(self.optimizer, [self._at(epoch, self.momenta)] * len(self.levels))
        return [self._at(epoch, level) for level in self.levels]


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr and down again, over and over (Smith, 2017).

    Parameters
    ----------
    optimizer : Optimizer
    base_lr, max_lr : float or list of floats
    step_size_up, step_size_down : int
        Steps of each half; the second as the first by default.
    mode : 'triangular', 'triangular2' or 'exp_range'
        Heights stay, halve with every cycle, or shrink by gamma ** step.
    gamma : float
    scale_fn : callable, optional
        The height's factor in place of mode: of the cycle (from 1) or of the step, as scale_mode says.
    scale_mode : 'cycle' or 'iterations'
    cycle_momentum : bool
        Move momentum (Adam: beta1) the other way, between max_momentum and base_momentum.
    """

    def __init__(self, optimizer: Any, base_lr: float | list[float], max_lr: float | list[float],
                 step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular",
                 gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
                 cycle_momentum: bool = True, base_momentum: float | list[float] = 0.8,
                 max_momentum: float | list[float] = 0.9, last_epoch: int = -1) -> None:
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"[CyclicLR] expected mode 'triangular', 'triangular2' or 'exp_range', or a scale_fn, got {mode!r}"
            )
        n = len(optimizer.param_groups)
        self.low = per_group("CyclicLR", "base_lr", base_lr, n)
        self.high = per_group("CyclicLR", "max_lr", max_lr, n)
        self.momenta = list(zip(per_group("CyclicLR", "base_momentum", base_momentum, n),
                                per_group("CyclicLR", "max_momentum", max_momentum, n)))
        self.up = float(step_size_up)
        self.total = self.up + float(step_size_up if step_size_down is None else step_size_down)
        self.mode = mode
        self.gamma = gamma
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum and not all("betas" in g or "momentum" in g for g in optimizer.param_groups):
            raise ValueError("[CyclicLR] cycle_momentum needs an optimizer with momentum or betas")
        super().__init__(optimizer, last_epoch)

    def _scale(self, cycle: int, step: int) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else step)
        if self.mode == "triangular2":
            return 1 / 2 ** (cycle - 1)
        return self.gamma**step if self.mode == "exp_range" else 1.0

    def _rates(self, epoch: int) -> list[float]:
        cycle = int(epoch // self.total) + 1
        at = epoch % self.total
        height = at / self.up if at <= self.up else (self.total - at) / (self.total - self.up)
        height *= self._scale(cycle, epoch)
        if self.cycle_momentum:
            set_momentum(self.optimizer, [high - (high - low) * height for low, high in self.momenta])
        return [low + (high - low) * height for low, high in zip(self.low, self.high)]
