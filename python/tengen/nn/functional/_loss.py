# SPDX-License-Identifier: Apache-2.0
"""Losses; `reduction` is 'mean', 'sum' or 'none'."""
from __future__ import annotations

from typing import Any

import tengen as tg

from ._arguments import check_reduction, reduce

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "l1_loss", "mse_loss", "nll_loss", "smooth_l1_loss",
]


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Any:
    """Of logits [N, C, ...] (or [C]) against class indices [N, ...] or probabilities of the logits' shape."""
    check_reduction(reduction, "cross_entropy")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"[cross_entropy] expected label_smoothing between 0 and 1, got {label_smoothing}")
    if not target.dtype.is_floating_point:
        return tg.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(f"[cross_entropy] probabilities must have the logits' shape {tuple(input.shape)}, got "
                         f"{tuple(target.shape)}")
    axis = 0 if input.ndim == 1 else 1
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    loss = -(tg.log_softmax(input, axis) * target)
    if weight is not None:
        loss = loss * weight.reshape((-1, *(1,) * (input.ndim - 1 - axis)))
    loss = loss.sum(axis)
    return reduce(loss, reduction)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[n, target[n], ...] of log-probabilities [N, C, ...]; the mean is weighted by the classes' weights."""
    return tg.nll_loss(input, target, weight, reduction, ignore_index)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2."""
    return tg.mse_loss(input, target, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|."""
    return tg.l1_loss(input, target, reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) for |d| < beta, else |d| - beta / 2."""
    return tg.smooth_l1_loss(input, target, reduction, beta)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, reduction: str = "mean",
                                     pos_weight: Any = None) -> Any:
    """-(p w log s(x) + (1 - w) log(1 - s(x))) for targets w, written so that it neither overflows nor cancels."""
    if weight is None and pos_weight is None:
        return tg.binary_cross_entropy_with_logits(input, target, reduction)
    check_reduction(reduction, "binary_cross_entropy_with_logits")
    if pos_weight is None:
        loss = tg.binary_cross_entropy_with_logits(input, target, "none")
    else:  # log(1 + exp(-x)) = softplus(-x)
        loss = (1 - target) * input + ((pos_weight - 1) * target + 1) * tg.softplus(-input)
    return reduce(loss if weight is None else loss * weight, reduction)
