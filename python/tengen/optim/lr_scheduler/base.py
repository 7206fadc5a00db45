# SPDX-License-Identifier: Apache-2.0
"""The base of schedulers, and schedulers made of functions or of other schedulers."""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from tengen._tracing import outside


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
        outside(f"{type(self).__name__}.step")
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


class MultiplicativeLR(LRScheduler):
    """The rate of before times lr_lambda(epoch); one function, or one per group."""

    def __init__(self, optimizer: Any, lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
                 last_epoch: int = -1) -> None:
        n = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * n
        if len(self.lr_lambdas) != n:
            raise ValueError(f"[MultiplicativeLR] expected {n} functions, one per group, got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def _rates(self, epoch: int) -> list[float]:
        if epoch == 0:
            return list(self.base_lrs)
        return [lr * fn(epoch) for lr, fn in zip(self._last_lr, self.lr_lambdas)]


class _Composite(LRScheduler):
    """Schedulers made of others, whose states it saves with its own."""

    def _take(self, optimizer: Any, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"[{name}] expected at least one scheduler, got none")
        for s in schedulers:
            if not isinstance(s, LRScheduler):
                raise TypeError(f"[{name}] expected schedulers whose rates depend on the step alone, got "
                                f"{type(s).__name__}")
            if s.optimizer is not optimizer:
                raise ValueError(f"[{name}] expected schedulers of one optimizer, got another's {type(s).__name__}")
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        state = {k: v for k, v in super().state_dict().items() if k != "_schedulers"}
        return {**state, "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        parts = state_dict["_schedulers"]
        if len(parts) != len(self._schedulers):
            raise ValueError(f"[{type(self).__name__}.load_state_dict] expected the states of {len(self._schedulers)} "
                             f"schedulers, got {len(parts)}")
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for s, part in zip(self._schedulers, parts):
            s.load_state_dict(part)


class SequentialLR(_Composite):
    """One scheduler after the other: each counts from its milestone on.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of schedulers
    milestones : list of int
        The steps at which the second, third, ... take over.

    >>> warmup = LinearLR(optimizer, 0.01, total_iters=5)
    >>> SequentialLR(optimizer, [warmup, CosineAnnealingLR(optimizer, 95)], [5])
    """

    def __init__(self, optimizer: Any, schedulers: Sequence[LRScheduler], milestones: Sequence[int],
                 last_epoch: int = -1) -> None:
        self._take(optimizer, schedulers)
        milestones = list(milestones)
        if len(milestones) != len(schedulers) - 1 or milestones != sorted(milestones):
            raise ValueError(f"[SequentialLR] expected {len(schedulers) - 1} rising milestones for {len(schedulers)} "
                             f"schedulers, got {milestones}")
        self.milestones = milestones
        super().__init__(optimizer, last_epoch)

    def _rates(self, epoch: int) -> list[float]:
        i = bisect_right(self.milestones, epoch)
        now = self._schedulers[i]
        now.step(epoch - (self.milestones[i - 1] if i else 0))
        return now.get_last_lr()


class ChainedScheduler(_Composite):
    """Several at once: the initial rate times what each of them would multiply it by."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Any = None) -> None:
        schedulers = list(schedulers)
        self._take(optimizer or getattr(schedulers[0] if schedulers else None, "optimizer", None), schedulers)
        super().__init__(schedulers[0].optimizer)

    def _rates(self, epoch: int) -> list[float]:
        rates = list(self.base_lrs)
        for s in self._schedulers:
            s.step(epoch)
            factors = [lr / base if base else 1.0 for lr, base in zip(s.get_last_lr(), s.base_lrs)]
            rates = [rate * factor for rate, factor in zip(rates, factors)]
        return rates


class WarmupLR(_Composite):
    """Rises in even steps to what another scheduler begins with, which then counts from there.

    Parameters
    ----------
    after : scheduler
    warmup_steps : int
    start_factor : float
        Share of the rate at the first step.

    >>> scheduler = WarmupLR(CosineAnnealingLR(optimizer, 1000), warmup_steps=100)
    """

    def __init__(self, after: LRScheduler, warmup_steps: int, start_factor: float = 0.0, last_epoch: int = -1) -> None:
        if warmup_steps < 0 or not 0 <= start_factor <= 1:
            raise ValueError(f"[WarmupLR] expected warmup_steps >= 0 and start_factor in [0, 1], got {warmup_steps}, "
                             f"{start_factor}")
        self._take(getattr(after, "optimizer", None), [after])
        self.warmup_steps = warmup_steps
        self.start_factor = start_factor
        super().__init__(after.optimizer, last_epoch)

    def _rates(self, epoch: int) -> list[float]:
        after = self._schedulers[0]
        after.step(max(0, epoch - self.warmup_steps))
        if epoch >= self.warmup_steps:
            return after.get_last_lr()
        factor = self.start_factor + (1 - self.start_factor) * epoch / self.warmup_steps
        return [lr * factor for lr in after.get_last_lr()]
