# SPDX-License-Identifier: Apache-2.0
"""Sums, means and maxima of bags of embeddings."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["embedding_bag"]


def embedding_bag(input: Any, weight: Any, offsets: Any = None, *, mode: str = "mean", per_sample_weights: Any = None,
                  include_last_offset: bool = False, padding_idx: int | None = None) -> Any:
    """The sum, mean or maximum of the rows of weight that each bag of indices names.

    Parameters
    ----------
    input : Tensor
        Integers: [B, n], or [n] with offsets.
    weight : Tensor
        [rows, features].
    offsets : Tensor, optional
        [B]: where in a one-dimensional input each bag begins; ascending from 0. An empty bag gives zeros.
    mode : str
        'sum', 'mean' or 'max'. 'max' over offsets holds a [B, n, features] buffer.
    per_sample_weights : Tensor, optional
        Of input's shape, for mode 'sum'.
    include_last_offset : bool
        The last offset is the end of the last bag.
    padding_idx : int, optional
        These indices do not count.
    """
    op = "embedding_bag"
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"[{op}] expected mode to be 'sum', 'mean' or 'max', got {mode!r}")
    if per_sample_weights is not None and (mode != "sum" or tuple(per_sample_weights.shape) != tuple(input.shape)):
        raise ValueError(f"[{op}] expected per_sample_weights of input's shape {tuple(input.shape)} with mode 'sum', got "
                         f"{tuple(per_sample_weights.shape)} with mode {mode!r}")
    if (input.ndim, offsets is None) not in ((2, True), (1, False)):
        raise ValueError(f"[{op}] expected input [B, n] without offsets or [n] with offsets, got shape "
                         f"{tuple(input.shape)} {'without' if offsets is None else 'with'} offsets")
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    counts = tg.ones_like(input).bool() if padding_idx is None else input != padding_idx
    rows = tg.embedding(weight, input)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    if offsets is None:
        member = counts.unsqueeze(-1)  # [B, n, 1]
    else:
        ends = offsets[1:] if include_last_offset else tg.concat([offsets[1:], tg.full_like(offsets[:1], input.shape[0])])
        place = tg.arange(input.shape[0], device=input.device)
        starts = offsets[:-1] if include_last_offset else offsets
        member = ((place >= starts.unsqueeze(1)) & (place < ends.unsqueeze(1)) & counts).unsqueeze(-1)
        if mode != "max":  # a product with the bags' membership
            share = member.squeeze(-1).to(weight.dtype)
            total = share @ rows
            return total if mode == "sum" else total / share.sum(1, keepdims=True).maximum(1.0)
    size = member.sum(1)
    if mode == "max":
        best = tg.where(member, rows, float("-inf")).max(1)
        return tg.where(size > 0, best, 0.0)
    total = tg.where(member, rows, 0.0).sum(1)
    return total if mode == "sum" else total / size.to(weight.dtype).maximum(1.0)
