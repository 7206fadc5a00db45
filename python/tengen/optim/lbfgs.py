# SPDX-License-Identifier: Apache-2.0
"""L-BFGS: a quasi-Newton method for whole-batch losses that a closure can compute again."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tengen as tg

from .optimizer import Optimizer


def _cubic_minimum(a: float, fa: float, ga: float, b: float, fb: float, gb: float, low: float, high: float) -> float:
    """Where the cubic through two values and slopes is least (Nocedal and Wright, 2006, equation 3.59), kept in bounds."""
    if a > b:
        a, fa, ga, b, fb, gb = b, fb, gb, a, fa, ga
    d1 = ga + gb - 3 * (fa - fb) / (a - b) if a != b else 0.0
    inside = d1 * d1 - ga * gb
    if inside < 0 or not math.isfinite(inside):
        return (low + high) / 2
    d2 = math.sqrt(inside)
    denominator = gb - ga + 2 * d2
    if denominator == 0:
        return (low + high) / 2
    return min(max(b - (b - a) * (gb + d2 - d1) / denominator, low), high)


class LBFGS(Optimizer):
    """Steps along -H g, where H approximates the inverse Hessian by the last `history_size` changes of p and g (Nocedal and
    Wright, 2006, algorithm 7.4). All parameters are one vector, in one group.

    Parameters
    ----------
    params : iterable
    lr : float
        Length of a step; with a line search, of the first trial.
    max_iter : int
        Iterations in one call of step().
    max_eval : int, optional
        Calls of the closure in one step(); max_iter * 5 / 4 by default.
    tolerance_grad, tolerance_change : float
        Stop when no element of the gradient is larger, or nothing changes by more.
    history_size : int
    line_search_fn : None or 'strong_wolfe'

    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = loss_fn(model(x), y)
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)
    """

    def __init__(self, params: Any, lr: float = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f"[LBFGS] expected line_search_fn to be None or 'strong_wolfe', got {line_search_fn!r}")
        super().__init__(params, {"lr": lr, "max_iter": max_iter, "max_eval": max_eval or max_iter * 5 // 4,
                                  "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                                  "history_size": history_size, "line_search_fn": line_search_fn})
        if len(self.param_groups) != 1:
            raise ValueError("[LBFGS] expected one group of parameters: it has no options per group")
        self._params = self.param_groups[0]["params"]

    def _state_shape(self, p: Any, name: str) -> tuple[int, ...]:
        return (sum(q.numel() for q in self._params),)

    def _own_copy(self, p: Any, key: str, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._own_copy(p, key, v) for v in value]
        return super()._own_copy(p, key, value)

    def _flat_grad(self) -> Any:
        return tg.cat([(tg.zeros_like(p) if p.grad is None else p.grad).reshape((-1,)) for p in self._params])

    def _move(self, t: float, direction: Any) -> None:
        at = 0
        for p in self._params:
            n = p.numel()
            p.add_(direction[at:at + n].reshape(tuple(p.shape)) * t)
            at += n

    def _set(self, values: list[Any]) -> None:
        for p, value in zip(self._params, values):
            p.copy_(value)

    def _direction(self, g: Any, state: dict[str, Any]) -> Any:
        """-H g by the two-loop recursion."""
        q = -g
        alphas = []
        for s, y, rho in reversed(list(zip(state["old_stps"], state["old_dirs"], state["ro"]))):
            alphas.append((s * q).sum().item() * rho)
            q = q - y * alphas[-1]
        r = q * state["H_diag"]
        for s, y, rho, alpha in zip(state["old_stps"], state["old_dirs"], state["ro"], reversed(alphas)):
            r = r + s * (alpha - (y * r).sum().item() * rho)
        return r

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise TypeError("[LBFGS.step] expected a closure that computes the loss and its gradients, got None")
        group, state = self.param_groups[0], self.state[self._params[0]]

        def evaluate() -> tuple[float, Any]:
            with tg.enable_grad():
                loss = closure()
            state["func_evals"] = state.get("func_evals", 0) + 1
            return loss, self._flat_grad()

        with tg.no_grad():
            loss, g = evaluate()
            first, f, evals = loss, float(loss), 1
            if g.abs().max().item() <= group["tolerance_grad"]:
                return first
            for _ in range(group["max_iter"]):
                state["n_iter"] = state.get("n_iter", 0) + 1
                if state["n_iter"] == 1:
                    d = -g
                    state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
                else:
                    y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
                    ys = (y * s).sum().item()
                    if ys > 1e-10:
                        for key, value in (("old_dirs", y), ("old_stps", s), ("ro", 1 / ys)):
                            state[key].append(value)
                            del state[key][:-group["history_size"]]
                        state["H_diag"] = ys / (y * y).sum().item()
                    d = self._direction(g, state)
                slope = (g * d).sum().item()
                t = min(1.0, 1 / g.abs().sum().item()) * group["lr"] if state["n_iter"] == 1 else group["lr"]
                before, state["prev_flat_grad"] = f, g
                if slope > -group["tolerance_change"]:
                    break
                if group["line_search_fn"]:
                    f, g, t, used = self._strong_wolfe(evaluate, d, t, f, g, slope, group["tolerance_change"])
                else:
                    self._move(t, d)
                    used = 0
                    if state["n_iter"] != group["max_iter"]:
                        loss, g = evaluate()
                        f, used = float(loss), 1
                evals += used
                state["d"], state["t"] = d, t
                if evals >= group["max_eval"] or g.abs().max().item() <= group["tolerance_grad"]:
                    break
                if (d.abs().max().item() * t <= group["tolerance_change"]
                        or abs(f - before) < group["tolerance_change"]):
                    break
        return first

    def _strong_wolfe(self, evaluate: Callable, d: Any, t: float, f0: float, g0: Any, slope0: float, least: float,
                      c1: float = 1e-4, c2: float = 0.9, most: int = 25) -> tuple[float, Any, float, int]:
        """A step length that fulfils the strong Wolfe conditions (Nocedal and Wright, algorithms 3.5 and 3.6)."""
        start = [p.detach().clone() for p in self._params]
        calls = 0

        def phi(length: float) -> tuple[float, float, Any, float]:
            nonlocal calls
            calls += 1
            self._set(start)
            self._move(length, d)
            loss, g = evaluate()
            return length, float(loss), g, (g * d).sum().item()

        def done(x: tuple) -> bool:
            return x[1] <= f0 + c1 * x[0] * slope0 and abs(x[3]) <= -c2 * slope0

        last, low, high = (0.0, f0, g0, slope0), None, None
        now = phi(t)
        while calls < most:
            if now[1] > f0 + c1 * now[0] * slope0 or (calls > 1 and now[1] >= last[1]) or not math.isfinite(now[1]):
                low, high = last, now
                break
            if done(now):
                low = now
                break
            if now[3] >= 0:
                low, high = now, last
                break
            longer = _cubic_minimum(last[0], last[1], last[3], now[0], now[1], now[3],
                                    now[0] + 0.01 * (now[0] - last[0]), 10 * now[0])
            last, now = now, phi(longer)
        while high is not None and calls < most and abs(high[0] - low[0]) * d.abs().max().item() > least:
            ends = sorted((low[0], high[0]))
            margin = 0.1 * (ends[1] - ends[0])
            trial = phi(_cubic_minimum(low[0], low[1], low[3], high[0], high[1], high[3], ends[0] + margin,
                                       ends[1] - margin))
            if trial[1] > f0 + c1 * trial[0] * slope0 or trial[1] >= low[1] or not math.isfinite(trial[1]):
                high = trial
                continue
            if done(trial):
                low = trial
                break
            if trial[3] * (high[0] - low[0]) >= 0:
                high = low
            low = trial
        best = low if low is not None else now
        self._set(start)
        self._move(best[0], d)
        return best[1], best[2], best[0], calls
