# SPDX-License-Identifier: Apache-2.0
"""Adam and AdamW."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg
from tengen._core import call_into

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

    >>> optimizer = tg.optim.Adam(model.parameters(), lr=1e-3)
    """

    _positive = ("lr", "eps", "weight_decay")
    _decoupled = False

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, maximize: bool = False) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        if len(group["betas"]) != 2 or not all(0 <= b < 1 for b in group["betas"]):
            raise ValueError(
                f"[{type(self).__name__}] expected betas to be two numbers in [0, 1), got {group['betas']}"
            )

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        # What changes from step to step goes in as numbers, which need no new plan; always floats, for the same reason.
        lr, eps, weight_decay = float(group["lr"]), float(group["eps"]), float(group["weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        flags = (self._decoupled, bool(group["maximize"]))
        for p in parameters:
            state = self.state[p]
            if not state:
                state.update(step=0, exp_avg=tg.zeros_like(p), exp_avg_sq=tg.zeros_like(p))
            state["step"] = step = state["step"] + 1
            m, v = state["exp_avg"], state["exp_avg_sq"]
            correction1, correction2_sqrt = 1 - beta1**step, math.sqrt(1 - beta2**step)
            if group["amsgrad"]:
                self._amsgrad(p, state, group, lr, correction1, correction2_sqrt)
            else:
                call_into(
                    "adam_step",
                    (p, p.grad, m, v, lr, beta1, beta2, eps, correction1, correction2_sqrt, weight_decay),
                    flags,
                    (p, m, v),
                )

    def _amsgrad(self, p: Any, state: dict[str, Any], group: dict[str, Any], lr: float, correction1: float,
                 correction2_sqrt: float) -> None:
        """Op by op: the table has no fused step for it."""
        beta1, beta2 = group["betas"]
        g = -p.grad if group["maximize"] else p.grad
        if self._decoupled:
            p.mul_(1 - lr * group["weight_decay"])
        elif group["weight_decay"]:
            g = g + p * group["weight_decay"]
        largest = state.setdefault("max_exp_avg_sq", tg.zeros_like(p))
        state["exp_avg"].lerp_(g, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).add_(g * g * (1 - beta2))
        largest.maximum_(state["exp_avg_sq"])
        p.sub_(state["exp_avg"] / (largest.sqrt() / correction2_sqrt + group["eps"]) * (lr / correction1))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves: p *= 1 - lr * weight_decay; arguments as Adam."""

    _decoupled = True

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
