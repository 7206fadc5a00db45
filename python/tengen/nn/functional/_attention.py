# SPDX-License-Identifier: Apache-2.0
"""Attention."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None) -> Any:
    """softmax(query @ key^T * scale + mask) @ value; scale is 1 / sqrt(features) by default."""
    return tg.scaled_dot_product_attention(query, key, value, attn_mask, is_causal, scale, dropout_p)
