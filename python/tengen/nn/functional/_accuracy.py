# SPDX-License-Identifier: Apache-2.0
"""Accuracy as a function of tensors; tengen.metrics counts over batches."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["topk_accuracy"]


def topk_accuracy(logits: Any, target: Any, topk: int | tuple[int, ...] = 1) -> Any:
    """The share of targets [N] that are among the k highest scores [N, C]: a number, or for several k a list of them.

    Examples
    --------
    >>> scores = tg.tensor([[0.1, 0.9, 0.5], [0.9, 0.4, 0.3]])
    >>> [a.item() for a in tg.nn.functional.topk_accuracy(scores, tg.tensor([1, 1]), (1, 2))]
    [0.5, 1.0]
    """
    counts = (topk,) if isinstance(topk, int) else tuple(topk)
    if logits.ndim != 2 or tuple(target.shape) != (logits.shape[0],):
        raise ValueError(f"[topk_accuracy] expected scores [N, C] and targets [N], got {tuple(logits.shape)} and {tuple(target.shape)}")
    if not counts or min(counts) < 1 or max(counts) > logits.shape[1]:
        raise ValueError(f"[topk_accuracy] expected a topk between 1 and the {logits.shape[1]} classes, got {topk}")
    best = tg.topk(logits.detach(), max(counts), -1)[1]
    right = (best == target[:, None]).to(tg.float32)
    shares = [right[:, :k].sum(1).mean() for k in counts]
    return shares[0] if isinstance(topk, int) else shares
