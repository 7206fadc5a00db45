# SPDX-License-Identifier: Apache-2.0
"""Distances and similarities of vectors."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["cosine_similarity", "pairwise_distance"]


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (|x1| |x2|) along dim, where each length counts as at least eps; x1 and x2 broadcast."""
    lengths = [tg.norm(x, dim).maximum(eps) for x in (x1, x2)]
    return (x1 * x2).sum(dim) / (lengths[0] * lengths[1])


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """||x1 - x2 + eps||_p along the last axis; x1 and x2 broadcast."""
    return tg.norm(x1 - x2 + eps, -1, p, keepdim)
