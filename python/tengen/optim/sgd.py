# SPDX-License-Identifier: Apache-2.0
"""Stochastic gradient descent."""
from __future__ import annotations

from typing import Any

import tengen as tg
from tengen._core import call_into

from .optimizer import Optimizer


class SGD(Optimizer):
    """p -= lr * v, with v = g, or v = momentum * v + (1 - dampening) * g.

    Parameters
    ----------
    params : iterable
    lr : float
    momentum, dampening : float
        The first gradient enters the momentum undamped.
    weight_decay : float
        g += weight_decay * p.
    nesterov : bool
        Step along g + momentum * v; needs momentum and no dampening.
    maximize : bool
        Go uphill.

    >>> optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

    _positive = ("lr", "momentum", "weight_decay")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                                  "nesterov": nesterov, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        if group["nesterov"] and (not group["momentum"] or group["dampening"]):
            raise ValueError("[SGD] nesterov needs momentum > 0 and dampening = 0")

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        # What changes from step to step goes in as numbers, which need no new plan; always floats, for the same reason.
        lr, weight_decay = float(group["lr"]), float(group["weight_decay"])
        momentum, dampening = float(group["momentum"]), float(group["dampening"])
        nesterov, maximize = bool(group["nesterov"]), bool(group["maximize"])
        if not momentum:
            for p in parameters:
                call_into("sgd_plain_step", (p, p.grad, lr, weight_decay), (maximize,), (p,))
            return
        for p in parameters:
            state = self.state[p]
            buffer = state.get("momentum_buffer")
            first = buffer is None
            if first:
                buffer = state["momentum_buffer"] = tg.empty_like(p)
            call_into(
                "sgd_step",
                (p, p.grad, buffer, lr, momentum, dampening, weight_decay),
                (nesterov, maximize, first),
                (p, buffer),
            )
