# SPDX-License-Identifier: Apache-2.0
"""Stochastic gradient descent."""
from __future__ import annotations

from typing import Any

import tengen as tg

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

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
                 nesterov: bool = False, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                                  "nesterov": nesterov, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        if group["nesterov"] and (not group["momentum"] or group["dampening"]):
            raise ValueError("[SGD] nesterov needs momentum > 0 and dampening = 0")

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        raise NotImplementedError
