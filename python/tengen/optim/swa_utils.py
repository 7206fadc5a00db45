# SPDX-License-Identifier: Apache-2.0
"""Averages of weights: stochastic weight averaging and exponential moving averages.

>>> average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
>>> for x, y in loader:
...     step(x, y); average.update_parameters(model)
>>> update_bn(loader, average)
"""
from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tengen as tg
from tengen import nn
from tengen._core import call_into
from tengen._tracing import outside

from .lr_scheduler import LRScheduler


def _lerp(averages: Sequence[Any], values: Sequence[Any], weight: float) -> None:
    """averages += weight * (values - averages), one call per device."""
    with tg.no_grad():
        for device in {a.device for a in averages}:
            pairs = [(a, v) for a, v in zip(averages, values) if a.device == device]
            call_into("multi_lerp", tuple(t for pair in pairs for t in pair), (float(weight),), tuple(a for a, _ in pairs))


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Sequence[Any], Sequence[Any], int], None]:
    """average = decay * average + (1 - decay) * value."""
    if not 0 <= decay <= 1:
        raise ValueError(f"[get_ema_multi_avg_fn] expected decay in [0, 1], got {decay}")
    return lambda averages, values, n: _lerp(averages, values, 1 - decay)


def get_swa_multi_avg_fn() -> Callable[[Sequence[Any], Sequence[Any], int], None]:
    """The plain mean of all values so far."""
    return lambda averages, values, n: _lerp(averages, values, 1 / (n + 1))


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, int], Any]:
    """The same for one tensor at a time, as a value."""
    return lambda average, value, n: average * decay + value * (1 - decay)


def get_swa_avg_fn() -> Callable[[Any, Any, int], Any]:
    """The same for one tensor at a time, as a value."""
    return lambda average, value, n: average + (value - average) / (n + 1)


class AveragedModel(nn.Module):
    """A copy of a model whose parameters are averages of the model's; use it as the model.

    Parameters
    ----------
    model : Module
    device : device, optional
        Where the copy lives.
    avg_fn : callable, optional
        new average = avg_fn(average, value, number of values so far), for every parameter.
    multi_avg_fn : callable, optional
        multi_avg_fn(averages, values, number) changes the averages in place; the plain mean when neither is given.
    use_buffers : bool
        Average floating buffers too; else they are copied.
    """

    def __init__(self, model: nn.Module, device: Any = None, avg_fn: Callable | None = None,
                 multi_avg_fn: Callable | None = None, use_buffers: bool = False) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("[AveragedModel] expected avg_fn or multi_avg_fn, got both")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", tg.tensor(0))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn or get_swa_multi_avg_fn()
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: nn.Module) -> None:
        """Takes the model's present parameters into the average."""
        outside("AveragedModel.update_parameters")
        n = int(self.n_averaged.item())
        mine, theirs = list(self.module.parameters()), list(model.parameters())
        buffers = list(zip(self.module.buffers(), model.buffers()))
        if self.use_buffers:
            averaged = [(a, b) for a, b in buffers if a.dtype.is_floating_point]
            mine += [a for a, _ in averaged]
            theirs += [b for _, b in averaged]
            buffers = [(a, b) for a, b in buffers if not a.dtype.is_floating_point]
        with tg.no_grad():
            theirs = [v.detach().to(a.device) for a, v in zip(mine, theirs)]
            if n == 0:
                for a, v in zip(mine, theirs):
                    a.copy_(v)
            elif self.avg_fn is not None:
                for a, v in zip(mine, theirs):
                    a.copy_(self.avg_fn(a.detach(), v, n))
            else:
                self.multi_avg_fn([a.detach() for a in mine], theirs, n)
            for a, b in buffers:
                a.copy_(b.detach().to(a.device))
            self.n_averaged.copy_(tg.tensor(n + 1))


def update_bn(loader: Iterable[Any], model: nn.Module, device: Any = None) -> None:
    """Computes the running statistics of all batch norms anew, as means over the loader's batches.

    A batch that is a list or tuple gives its first item to the model.
    """
    norms = [m for m in model.modules() if hasattr(m, "running_mean") and m.running_mean is not None]
    if not norms:
        return
    was_training, momenta = model.training, [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
    model.train()
    try:
        with tg.no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else x.to(device))
    finally:
        for m, momentum in zip(norms, momenta):
            m.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From the rate that it finds to swa_lr in anneal_epochs steps, then constant.

    Parameters
    ----------
    optimizer : Optimizer
    swa_lr : float or list of floats
    anneal_epochs : int
    anneal_strategy : 'cos' or 'linear'
    """

    def __init__(self, optimizer: Any, swa_lr: float | list[float], anneal_epochs: int = 10,
                 anneal_strategy: str = "cos", last_epoch: int = -1) -> None:
        if anneal_strategy not in ("cos", "linear") or anneal_epochs < 0:
            raise ValueError(f"[SWALR] expected anneal_strategy 'cos' or 'linear' and anneal_epochs >= 0, got "
                             f"{anneal_strategy!r}, {anneal_epochs}")
        n = len(optimizer.param_groups)
        self.swa_lrs = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * n
        if len(self.swa_lrs) != n:
            raise ValueError(f"[SWALR] expected {n} values of swa_lr, one per group, got {len(self.swa_lrs)}")
        self.anneal_epochs = anneal_epochs
        self.anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: int) -> float:
        t = min(1.0, epoch / self.anneal_epochs) if self.anneal_epochs else 1.0
        return (1 - math.cos(math.pi * t)) / 2 if self.anneal_strategy == "cos" else t

    def _rates(self, epoch: int) -> list[float]:
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        if epoch == 0:
            return lrs
        before, now = self._share(epoch - 1), self._share(epoch)
        if before >= 1 or now >= 1:
            return list(self.swa_lrs)
        # The rate at the start follows from the present one: another scheduler may have led to it.
        starts = [(lr - before * swa) / (1 - before) for lr, swa in zip(lrs, self.swa_lrs)]
        return [start + (swa - start) * now for start, swa in zip(starts, self.swa_lrs)]
