# SPDX-License-Identifier: Apache-2.0
"""Optimizers along the gradient or its sign: SGD, ASGD, Lion, Rprop."""
from __future__ import annotations

from typing import Any

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
    foreach, fused : bool, optional
        Accepted; every step is one call for all parameters of a group anyway.
    master_weights : bool
        16-bit parameters keep a float32 copy, which takes the steps.

    >>> optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

    _positive = ("lr", "momentum", "weight_decay")

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
                 nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None,
                 fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                                  "nesterov": nesterov, "maximize": maximize, "master_weights": master_weights})

    def _check(self, group: dict[str, Any]) -> None:
        if group["nesterov"] and (not group["momentum"] or group["dampening"]):
            raise ValueError("[SGD] nesterov needs momentum > 0 and dampening = 0")

    def _advance(self, state: dict[str, Any], group: dict[str, Any]) -> bool:
        return "momentum_buffer" not in state  # the first step

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        lr, momentum, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
        if not momentum:
            self._multi("multi_sgd_plain", parameters, group, (), lambda first: (lr, weight_decay), (group["maximize"],))
            return
        self._multi("multi_sgd", parameters, group, ("momentum_buffer",),
                    lambda first: (lr, momentum, 0 if first else group["dampening"], weight_decay),
                    (group["nesterov"], group["maximize"]))


class ASGD(Optimizer):
    """Averaged SGD (Polyak and Juditsky, 1992): p = p * (1 - lambd * eta) - eta * g, eta = lr / (1 + lambd * lr * t)^alpha;
    state "ax" is the average of p from step t0 on.

    Parameters
    ----------
    params : iterable
    lr, lambd, alpha : float
    t0 : float
        Where averaging begins; before, "ax" is p.
    weight_decay : float
        g += weight_decay * p.
    maximize, foreach, fused, master_weights
        As SGD's.
    """

    _positive = ("lr", "weight_decay")

    def __init__(self, params: Any, lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
                 weight_decay: float = 0, *, maximize: bool = False, foreach: bool | None = None,
                 fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                                  "maximize": maximize, "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        lr, lambd = group["lr"], group["lambd"]

        def numbers(step: int) -> tuple[float, ...]:
            done = step - 1
            eta = lr / (1 + lambd * lr * done) ** group["alpha"]
            return eta, lambd, 1 / max(1, done - group["t0"]), group["weight_decay"]

        self._multi("multi_asgd", parameters, group, ("ax",), numbers, (group["maximize"],))


class Lion(Optimizer):
    """p -= lr * sign(beta1 * m + (1 - beta1) * g); then m = beta2 * m + (1 - beta2) * g (Chen et al., 2023). Weight decay is
    decoupled. Its steps are larger than Adam's: take a rate 3 to 10 times smaller, and a decay as much larger.

    Parameters
    ----------
    params : iterable
    lr : float
    betas : (float, float)
    weight_decay : float
        p *= 1 - lr * weight_decay.
    maximize, foreach, fused, master_weights
        As SGD's.
    """

    _positive = ("lr", "weight_decay")

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0, *,
                 maximize: bool = False, foreach: bool | None = None, fused: bool | None = None,
                 master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize,
                                  "master_weights": master_weights})

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        numbers = (group["lr"], *group["betas"], group["weight_decay"])
        self._multi("multi_lion", parameters, group, ("exp_avg",), lambda step: numbers, (group["maximize"],))


class Rprop(Optimizer):
    """Every element has a step of its own, which grows while its gradient keeps its sign and shrinks when that turns
    (Riedmiller and Braun, 1993; after a turn an element rests once). For whole-batch gradients.

    Parameters
    ----------
    params : iterable
    lr : float
        The first step.
    etas : (float, float)
        Factors after a turn and else.
    step_sizes : (float, float)
        Smallest and largest step.
    maximize, foreach, fused, master_weights
        As SGD's.
    """

    def __init__(self, params: Any, lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, maximize: bool = False, foreach: bool | None = None,
                 fused: bool | None = None, master_weights: bool = False) -> None:
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize,
                                  "master_weights": master_weights})

    def _check(self, group: dict[str, Any]) -> None:
        minus, plus = group["etas"]
        if not 0 < minus < 1 < plus:
            raise ValueError(f"[Rprop] expected etas with 0 < first < 1 < second, got {group['etas']}")

    def _new_state(self, p: Any, name: str, group: dict[str, Any]) -> Any:
        state = super()._new_state(p, name, group)
        return state.fill_(group["lr"]) if name == "step_size" else state

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        numbers = (*group["etas"], *group["step_sizes"])
        self._multi("multi_rprop", parameters, group, ("prev", "step_size"), lambda step: numbers, (group["maximize"],))
