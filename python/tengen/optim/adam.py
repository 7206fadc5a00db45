# SPDX-License-Identifier: Apache-2.0
"""Adam, AdamW, NAdam, RAdam, Adamax: running means of the gradient and of its square."""
from __future__ import annotations

import math
from typing import Any

from .optimizer import Optimizer


class Adam(Optimizer):
    """p -= lr * m^ / (sqrt(v^) + eps), with running means m of g and v of g^2 and their bias corrections m^, v^.

    Parameters
    ----------
    params : iterable
    lr : float
    betas : (float, float)
        How much of m and v stays at each step.
    eps : float
    weight_decay : float
        g += weight_decay * p.
    amsgrad : bool
        Divide by the largest v so far.
    maximize : bool
        Go uphill.
    foreach, fused : bool, optional
        Accepted; every step is one call for all parameters of a group anyway.
    decoupled_weight_decay : bool
        p *= 1 - lr * weight_decay instead.
    master_weights : bool
        16-bit parameters keep a float32 copy, which takes the steps.

    >>> optimizer = tg.optim.Adam(model.parameters(), lr=1e-3)
    """

    _positive = ("lr", "eps", "weight_decay")

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
                 fused: bool | None = None, decoupled_weight_decay: bool = False, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                                  "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay,
                                  "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]

        def numbers(step: int) -> tuple[float, ...]:
            return (group["lr"], beta1, beta2, group["eps"], 1 - beta1**step, math.sqrt(1 - beta2**step),
                    group["weight_decay"])

        names = ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * bool(group["amsgrad"])
        self._multi("multi_amsgrad" if group["amsgrad"] else "multi_adam", parameters, group, names, numbers,
                    (group["decoupled_weight_decay"], group["maximize"]))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves: p *= 1 - lr * weight_decay (Loshchilov and Hutter, 2019);
    arguments as Adam.
    """

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True,
                         master_weights=master_weights)


class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat, 2016), whose momentum follows mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2).

    Parameters
    ----------
    params : iterable
    lr, betas, eps, weight_decay
        As Adam's.
    momentum_decay : float
    decoupled_weight_decay, maximize, foreach, fused, master_weights
        As Adam's.
    """

    _positive = ("lr", "eps", "weight_decay", "momentum_decay")

    def __init__(self, params: Any, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
                 maximize: bool = False, foreach: bool | None = None, fused: bool | None = None,
                 master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
                                  "maximize": maximize, "master_weights": master_weights})

    @staticmethod
    def _momentum(step: int, group: dict[str, Any]) -> float:
        return group["betas"][0] * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))

    def _advance(self, state: dict[str, Any], group: dict[str, Any]) -> tuple[int, float]:
        step = super()._advance(state, group)
        state["mu_product"] = float(state.get("mu_product", 1.0)) * self._momentum(step, group)
        return step, state["mu_product"]

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]

        def numbers(key: tuple[int, float]) -> tuple[float, ...]:
            step, product = key
            mu, mu_next = self._momentum(step, group), self._momentum(step + 1, group)
            return (lr, beta1, beta2, group["eps"], math.sqrt(1 - beta2**step), lr * (1 - mu) / (1 - product),
                    lr * mu_next / (1 - product * mu_next), group["weight_decay"])

        self._multi("multi_nadam", parameters, group, ("exp_avg", "exp_avg_sq"), numbers,
                    (group["decoupled_weight_decay"], group["maximize"]))


class RAdam(Optimizer):
    """Adam that rectifies the variance of its first steps, when v knows too little, and goes along m^ alone while that
    cannot be done (Liu et al., 2020).

    Parameters
    ----------
    params : iterable
    lr, betas, eps, weight_decay, decoupled_weight_decay, maximize, foreach, fused, master_weights
        As Adam's.
    """

    _positive = ("lr", "eps", "weight_decay")

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, decoupled_weight_decay: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
                                  "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]

        def numbers(step: int) -> tuple[float, ...]:
            correction2 = 1 - beta2**step
            most = 2 / (1 - beta2) - 1
            length = most - 2 * step * beta2**step / correction2  # of the average that v amounts to
            rectifier = 0.0
            if length > 5:
                rectifier = math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
            return (group["lr"], beta1, beta2, group["eps"], 1 - beta1**step, math.sqrt(correction2), rectifier,
                    group["weight_decay"])

        self._multi("multi_radam", parameters, group, ("exp_avg", "exp_avg_sq"), numbers,
                    (group["decoupled_weight_decay"], group["maximize"]))


class Adamax(Optimizer):
    """Adam by the infinity norm: u = max(beta2 * u, |g| + eps); p -= lr * m^ / u (Kingma and Ba, 2015, section 7).

    Parameters
    ----------
    params : iterable
    lr, betas, eps, weight_decay, maximize, foreach, fused, master_weights
        As Adam's.
    """

    _positive = ("lr", "eps", "weight_decay")

    def __init__(self, params: Any, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, *, maximize: bool = False, foreach: bool | None = None,
                 fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize, "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        self._multi("multi_adamax", parameters, group, ("exp_avg", "exp_inf"),
                    lambda step: (group["lr"], beta1, beta2, group["eps"], 1 - beta1**step, group["weight_decay"]),
                    (group["maximize"],))
