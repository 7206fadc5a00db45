# SPDX-License-Identifier: Apache-2.0
"""Optimizers whose step depends on the norms of whole tensors: LAMB, LARS, Adafactor. No step waits for a norm."""
from __future__ import annotations

import math
from typing import Any

from .optimizer import Optimizer


class LAMB(Optimizer):
    """Adam's direction plus weight_decay * p, scaled in every tensor by |p| / |direction| (You et al., 2020, algorithm 2):
    for large batches.

    Parameters
    ----------
    params : iterable
    lr, betas, eps : float
        As Adam's.
    weight_decay : float
        Enters the direction.
    maximize, foreach, fused, master_weights
        As Adam's.
    """

    _positive = ("lr", "eps", "weight_decay")

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6,
                 weight_decay: float = 0, *, maximize: bool = False, foreach: bool | None = None,
                 fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize, "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        self._multi("multi_lamb", parameters, group, ("exp_avg", "exp_avg_sq"),
                    lambda step: (group["lr"], beta1, beta2, group["eps"], 1 - beta1**step, math.sqrt(1 - beta2**step),
                                  group["weight_decay"]), (group["maximize"],))


class LARS(Optimizer):
    """SGD whose rate is scaled in every tensor by trust_coefficient * |p| / (|g| + weight_decay * |p| + eps) (You et al.,
    2017, algorithm 1).

    Parameters
    ----------
    params : iterable
    lr, momentum, weight_decay : float
    trust_coefficient, eps : float
    maximize, foreach, fused, master_weights
        As SGD's.
    """

    _positive = ("lr", "momentum", "weight_decay", "trust_coefficient", "eps")

    def __init__(self, params: Any, lr: float = 1e-1, momentum: float = 0.9, weight_decay: float = 0,
                 trust_coefficient: float = 1e-3, eps: float = 1e-8, *, maximize: bool = False,
                 foreach: bool | None = None, fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay,
                                  "trust_coefficient": trust_coefficient, "eps": eps, "maximize": maximize,
                                  "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        numbers = tuple(group[k] for k in ("lr", "momentum", "weight_decay", "trust_coefficient", "eps"))
        self._multi("multi_lars", parameters, group, ("momentum_buffer",), lambda step: numbers, (group["maximize"],))


class Adafactor(Optimizer):
    """Adam without momentum whose second moment of a matrix is kept as means over rows and columns, with steps relative to
    the size of p and clipped updates (Shazeer and Stern, 2018, algorithms 4 to 6).

    Parameters
    ----------
    params : iterable
    lr : float
        The relative step is min(lr, 1 / sqrt(t)).
    beta2_decay : float
        1 - t^beta2_decay of the second moment stays at step t.
    eps : (float or None, float)
        Least root of the second moment (None: the machine epsilon of the parameter's dtype), and least size of p.
    d : float
        Updates are scaled down to this root mean square.
    weight_decay : float
        p *= 1 - lr * weight_decay.
    maximize, foreach, fused, master_weights
        As Adam's.
    """

    _positive = ("lr", "weight_decay")

    def __init__(self, params: Any, lr: float = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
                 foreach: bool | None = None, maximize: bool = False, fused: bool | None = None,
                 master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
                                  "maximize": maximize, "master_weights": master_weights})

    def _check(self, group: dict[str, Any]) -> None:
        eps1, eps2 = group["eps"]
        if (eps1 is not None and eps1 < 0) or eps2 < 0 or group["d"] < 1 or group["beta2_decay"] > 0:
            raise ValueError(f"[Adafactor] expected eps >= 0, d >= 1 and beta2_decay <= 0, got {group['eps']}, "
                             f"{group['d']}, {group['beta2_decay']}")

    def _state_shape(self, p: Any, name: str) -> tuple[int, ...]:
        shape = tuple(p.shape)
        if name == "row_var":
            return (*shape[:-1], 1)
        return (*shape[:-2], 1, shape[-1]) if name == "col_var" else shape

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        import tengen as tg

        for dtype in {p.dtype for p in parameters}:
            eps1, eps2 = group["eps"]
            eps1 = tg.finfo(dtype).eps if eps1 is None else eps1

            def numbers(step: int, eps1: float = eps1) -> tuple[float, ...]:
                return (min(group["lr"], 1 / math.sqrt(step)), 1 - step ** group["beta2_decay"], eps1, eps2, group["d"],
                        1 - group["lr"] * group["weight_decay"])

            same = [p for p in parameters if p.dtype == dtype]
            for op, names, part in (
                ("multi_adafactor", ("row_var", "col_var"), [p for p in same if p.ndim > 1]),
                ("multi_adafactor_vector", ("variance",), [p for p in same if p.ndim < 2]),
            ):
                self._multi(op, part, group, names, numbers, (group["maximize"],))
