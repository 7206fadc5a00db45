# SPDX-License-Identifier: Apache-2.0
"""Learning rates that change: call `scheduler.step()` after `optimizer.step()`, per epoch or (OneCycleLR) per batch.

>>> scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
>>> for epoch in range(10):
...     train(); scheduler.step()
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


class LRScheduler:
    """Base: a subclass gives `_rates(epoch)`, the learning rate of every group after `epoch` steps."""

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"[{type(self).__name__}] last_epoch = {last_epoch} needs 'initial_lr' in every group of the "
                    f"optimizer: load its state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def _rates(self, epoch: int) -> list[float]:
        raise NotImplementedError(f"{type(self).__name__} has no _rates()")

    def step(self, epoch: int | None = None) -> None:
        """Goes one on (or to `epoch`) and sets the optimizer's learning rates."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        for group, lr in zip(self.optimizer.param_groups, self._rates(self.last_epoch)):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not callable(v)
                and not (isinstance(v, list) and any(map(callable, v)))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """initial_lr * lr_lambda(epoch); one function, or one per group."""

    def __init__(self, optimizer: Any, lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
                 last_epoch: int = -1) -> None:
        n = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * n
        if len(self.lr_lambdas) != n:
            raise ValueError(f"[LambdaLR] expected {n} functions, one per group, got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def _rates(self, epoch: int) -> list[float]:
        return [base * fn(epoch) for base, fn in zip(self.base_lrs, self.lr_lambdas)]


class StepLR(LRScheduler):
    """initial_lr * gamma ** (epoch // step_size)."""

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"[StepLR] expected step_size >= 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rates(self, epoch: int) -> list[float]:
        return [base * self.gamma ** (epoch // self.step_size) for base in self.base_lrs]


class LinearLR(LRScheduler):
    """From initial_lr * start_factor to initial_lr * end_factor in total_iters even steps, then constant."""

    def __init__(self, optimizer: Any, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
                 last_epoch: int = -1) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1 or total_iters < 1:
            raise ValueError(
                f"[LinearLR] expected 0 < start_factor <= 1, 0 <= end_factor <= 1 and total_iters >= 1, got "
                f"{start_factor}, {end_factor}, {total_iters}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rates(self, epoch: int) -> list[float]:
        done = min(epoch, self.total_iters) / self.total_iters
        return [base * (self.start_factor + (self.end_factor - self.start_factor) * done) for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """From initial_lr to eta_min along half a cosine of T_max steps (and back, beyond it)."""

    def __init__(self, optimizer: Any, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ValueError(f"[CosineAnnealingLR] expected T_max >= 1, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _rates(self, epoch: int) -> list[float]:
        wave = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * wave for base in self.base_lrs]


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
            momentum = self._at(epoch, self.momenta)
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                elif "momentum" in group:
                    group["momentum"] = momentum
        return [self._at(epoch, level) for level in self.levels]


class ReduceLROnPlateau:
    """Multiplies the learning rates by `factor` when a measure has not improved for more than `patience` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : 'min' or 'max'
        Which way is better.
    factor : float
        Below 1.
    patience : int
    threshold : float
    threshold_mode : 'rel' or 'abs'
        Better means by this share of the best, or by this much.
    cooldown : int
        Steps after a reduction that do not count.
    min_lr : float or list
    eps : float
        Smaller changes of the rate are left out.
    """

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs") or not 0 < factor < 1:
            raise ValueError(f"[ReduceLROnPlateau] expected mode 'min' or 'max', threshold_mode 'rel' or 'abs' and "
                             f"0 < factor < 1, got {mode!r}, {threshold_mode!r}, {factor}")
        n = len(optimizer.param_groups)
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * n
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _better(self, value: float) -> bool:
        if math.isinf(self.best):
            return value < self.best if self.mode == "min" else value > self.best
        margin = self.threshold * self.best if self.threshold_mode == "rel" else self.threshold
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, metrics: Any) -> None:
        """Takes note of a measure (a number or a tensor of one element)."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                new = max(group["lr"] * self.factor, least)
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        return self._last_lr

    state_dict = LRScheduler.state_dict
    load_state_dict = LRScheduler.load_state_dict
