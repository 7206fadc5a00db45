# SPDX-License-Identifier: Apache-2.0
"""Distances and similarities of vectors."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["cdist", "cosine_similarity", "pairwise_distance", "pdist"]


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (|x1| |x2|) along dim, where each length counts as at least eps; x1 and x2 broadcast."""
    x1, x2 = tg.broadcast_tensors(x1, x2)  # dim is an axis of both together, and may be 1 in one of them
    lengths = [tg.norm(x, axis=dim).maximum(eps) for x in (x1, x2)]
    return (x1 * x2).sum(dim) / (lengths[0] * lengths[1])


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """||x1 - x2 + eps||_p along the last axis; x1 and x2 broadcast."""
    return tg.norm(x1 - x2 + eps, p, -1, keepdim)


def cdist(x1: Any, x2: Any, p: float = 2.0) -> Any:
    """||x1[..., i, :] - x2[..., j, :]||_p of all pairs: [..., P, M] and [..., R, M] give [..., P, R].

    The differences themselves are held: P * R * M elements.
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ValueError(f"[cdist] expected [..., P, M] and [..., R, M], got {tuple(x1.shape)} and {tuple(x2.shape)}")
    if p < 0:
        raise ValueError(f"[cdist] expected p of 0 or more, got {p}")
    return tg.norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def pdist(input: Any, p: float = 2.0) -> Any:
    """||x[i] - x[j]||_p of all pairs i < j of rows [N, M], in the order of the upper triangle: N (N - 1) / 2 of them."""
    if input.ndim != 2:
        raise ValueError(f"[pdist] expected [N, M], got shape {tuple(input.shape)}")
    if p < 0:
        raise ValueError(f"[pdist] expected p of 0 or more, got {p}")
    n = input.shape[0]
    first = tg.tensor([i for i in range(n) for _ in range(i + 1, n)], dtype=tg.int64, device=input.device)
    second = tg.tensor([j for i in range(n) for j in range(i + 1, n)], dtype=tg.int64, device=input.device)
    return tg.norm(tg.index_select(input, first) - tg.index_select(input, second), p, -1)
