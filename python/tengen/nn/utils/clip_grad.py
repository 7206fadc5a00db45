# SPDX-License-Identifier: Apache-2.0
"""Gradient clipping."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import tengen as tg

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm"]


def _gradients(parameters: Any) -> list[Any]:
    parameters = [parameters] if isinstance(parameters, tg.Tensor) else list(parameters)
    return [p.grad for p in parameters if p.grad is not None]


def get_total_norm(tensors: Iterable[Any], norm_type: float = 2.0) -> Any:
    """The norm of all elements together, as a 0-d tensor."""
    tensors = list(tensors)
    if not tensors:
        return tg.tensor(0.0)
    with tg.no_grad():
        device = tensors[0].device
        if math.isinf(norm_type):
            return tg.stack([t.abs().max().to(device) for t in tensors]).max()
        powers = [(t * t if norm_type == 2 else t.abs() ** norm_type).sum().to(device) for t in tensors]
        return tg.stack(powers).sum() ** (1 / norm_type)


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Any:
    """Scales the gradients in place so that their total norm is at most max_norm; returns the norm before.

    Raises
    ------
    RuntimeError
        The norm is not finite and error_if_nonfinite.
    """
    grads = _gradients(parameters)
    total = get_total_norm(grads, norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"[clip_grad_norm_] the gradients' norm is {total.item()}")
    with tg.no_grad():
        scale = (max_norm / (total + 1e-6)).clip(0.0, 1.0)
        for g in grads:
            g.mul_(scale.to(g.device).to(g.dtype))
    return total


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Limits every element of the gradients to [-clip_value, clip_value], in place."""
    with tg.no_grad():
        for g in _gradients(parameters):
            g.copy_(g.clip(-clip_value, clip_value))
