# SPDX-License-Identifier: Apache-2.0
"""Gradient clipping."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import tengen as tg
from tengen._core import call, call_into

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm"]


def _gradients(parameters: Any) -> list[Any]:
    parameters = [parameters] if isinstance(parameters, tg.Tensor) else list(parameters)
    return [p.grad for p in parameters if p.grad is not None]


def _by_device(tensors: Iterable[Any]) -> list[tuple[Any, ...]]:
    groups: dict[Any, list[Any]] = {}
    for t in tensors:
        groups.setdefault(t.device, []).append(t)
    return [tuple(group) for group in groups.values()]


def get_total_norm(tensors: Iterable[Any], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Any:
    """The norm of all elements together, as a 0-d tensor: one call per device.

    Raises
    ------
    RuntimeError
        The norm is not finite and error_if_nonfinite.
    """
    tensors = [tensors] if isinstance(tensors, tg.Tensor) else list(tensors)
    if not tensors:
        return tg.tensor(0.0)
    with tg.no_grad():
        norms = [call("multi_norm", group, (float(norm_type),))[0] for group in _by_device(tensors)]
        total = norms[0]
        if len(norms) > 1:
            total = call("multi_norm", tuple(n.to(total.device) for n in norms), (float(norm_type),))[0]
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"[get_total_norm] expected a finite norm, the norm is {total.item()}; look for the cause, or pass "
                           f"error_if_nonfinite=False")
    return total


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Any:
    """Scales the gradients in place so that their total norm is at most max_norm; returns the norm before.

    Raises
    ------
    RuntimeError
        The norm is not finite and error_if_nonfinite.
    """
    grads = _gradients(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    with tg.no_grad():
        scale = (max_norm / (total + 1e-6)).clip(0.0, 1.0)
        for group in _by_device(grads):
            call_into("multi_scale", (scale.to(group[0].device), *group), (), group)
    return total


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Limits every element of the gradients to [-clip_value, clip_value], in place."""
    with tg.no_grad():
        for g in _gradients(parameters):
            g.copy_(g.clip(-clip_value, clip_value))
