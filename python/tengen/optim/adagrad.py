# SPDX-License-Identifier: Apache-2.0
"""Optimizers that divide by what the gradient has been: Adagrad, Adadelta, RMSprop."""
from __future__ import annotations

from typing import Any

from .optimizer import Optimizer


class Adagrad(Optimizer):
    """s += g^2; p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps) (Duchi et al., 2011).

    Parameters
    ----------
    params : iterable
    lr, lr_decay : float
    weight_decay : float
        g += weight_decay * p.
    initial_accumulator_value : float
        What s begins with.
    eps : float
    maximize, foreach, fused, master_weights
        As SGD's.
    """

    _positive = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def __init__(self, params: Any, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, *, maximize: bool = False,
                 foreach: bool | None = None, fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
                                  "initial_accumulator_value": initial_accumulator_value, "eps": eps,
                                  "maximize": maximize, "master_weights": master_weights})

    def _new_state(self, p: Any, name: str, group: dict[str, Any]) -> Any:
        return super()._new_state(p, name, group).fill_(group["initial_accumulator_value"])

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        self._multi("multi_adagrad", parameters, group, ("sum",),
                    lambda step: (group["lr"] / (1 + (step - 1) * group["lr_decay"]), group["eps"],
                                  group["weight_decay"]), (group["maximize"],))


class Adadelta(Optimizer):
    """Steps d in the units of p: d = sqrt(u + eps) / sqrt(v + eps) * g, with running means v of g^2 and u of d^2; p -= lr * d
    (Zeiler, 2012).

    Parameters
    ----------
    params : iterable
    lr : float
    rho : float
        How much of the means stays at each step.
    eps : float
    weight_decay : float
        g += weight_decay * p.
    maximize, foreach, fused, master_weights
        As SGD's.
    """

    _positive = ("lr", "eps", "weight_decay")

    def __init__(self, params: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0, *,
                 maximize: bool = False, foreach: bool | None = None, fused: bool | None = None,
                 master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                                  "master_weights": master_weights})

    def _check(self, group: dict[str, Any]) -> None:
        if not 0 <= group["rho"] <= 1:
            raise ValueError(f"[Adadelta] expected rho in [0, 1], got {group['rho']}")

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        numbers = (group["lr"], group["rho"], group["eps"], group["weight_decay"])
        self._multi("multi_adadelta", parameters, group, ("square_avg", "acc_delta"), lambda step: numbers,
                    (group["maximize"],))


class RMSprop(Optimizer):
    """v = alpha * v + (1 - alpha) * g^2; p -= lr * g / (sqrt(v) + eps) (Hinton's lecture 6e, 2012).

    Parameters
    ----------
    params : iterable
    lr, alpha, eps : float
    weight_decay : float
        g += weight_decay * p.
    momentum : float
        Updates gather: b = momentum * b + g / (sqrt(v) + eps); p -= lr * b.
    centered : bool
        Divide by the standard deviation: v less the square of the running mean of g.
    maximize, foreach, fused, master_weights
        As SGD's.
    """

    _positive = ("lr", "alpha", "eps", "weight_decay", "momentum")

    def __init__(self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
                 momentum: float = 0, centered: bool = False, *, maximize: bool = False, foreach: bool | None = None,
                 fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
                                  "momentum": momentum, "centered": centered, "maximize": maximize,
                                  "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        op, names = "multi_rmsprop", ("square_avg",)
        numbers = (group["lr"], group["alpha"], group["eps"], group["weight_decay"])
        if group["centered"]:
            op, names = f"{op}_centered", (*names, "grad_avg")
        if group["momentum"]:
            op, names, numbers = f"{op}_momentum", (*names, "momentum_buffer"), (*numbers, group["momentum"])
        self._multi(op, parameters, group, names, lambda step: numbers, (group["maximize"],))
