# SPDX-License-Identifier: Apache-2.0
"""Adam and AdamW."""
from __future__ import annotations

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

    >>> optimizer = tg.optim.Adam(model.parameters(), lr=1e-3)
    """

    _positive = ("lr", "eps", "weight_decay")
    _decoupled = False

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                                  "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        if len(group["betas"]) != 2 or not all(0 <= b < 1 for b in group["betas"]):
            raise ValueError(f"[{type(self).__name__}] expected betas to be two numbers in [0, 1), got {group['betas']}")
