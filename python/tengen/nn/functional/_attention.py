# SPDX-License-Identifier: Apache-2.0
"""Attention, rotary positions and the cache of keys and values (docs/design/006-attention.md)."""
from __future__ import annotations

from typing import Any

import tengen as tg
from tengen._core import call_into

__all__ = ["kv_cache_append", "rope", "scaled_dot_product_attention"]


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False, *,
                                 causal_offset: int = 0) -> Any:
    """softmax(query @ key^T * scale + mask) @ value, without a buffer of all scores.

    Parameters
    ----------
    query : Tensor
        [..., L, E]; [..., H, L, E] with enable_gqa.
    key, value : Tensor
        [..., S, E] and [..., S, V]; with enable_gqa their head axis divides the query's. Where operands have fewer axes than
        others, axes of size 1 are put in front; sizes of 1 broadcast.
    attn_mask : Tensor, optional
        Broadcasts to [..., L, S]: bool (True: look) or floats that are added.
    dropout_p : float
        Probability of a weight to be zeroed. Applied always: pass 0.0 in evaluation.
    is_causal : bool
        Query i sees keys up to i + causal_offset; together with attn_mask both count.
    scale : float, optional
        1 / sqrt(E) by default.
    enable_gqa : bool
        H / K query heads in a row share a head of keys and values.
    causal_offset : int
        0 aligns the first query with the first key (as PyTorch does), S - L the last with the last. With a preallocated
        cache it is the position of the first query: keys behind it are not read.

    Examples
    --------
    >>> x = tg.ones((1, 4, 2))
    >>> tg.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    (1, 4, 2)
    """
    rank = max(query.ndim, key.ndim, value.ndim)
    query, key, value = (t.reshape((1,) * (rank - t.ndim) + tuple(t.shape)) if t.ndim < rank else t for t in (query, key, value))
    return tg.scaled_dot_product_attention(query, key, value, attn_mask, is_causal, scale, dropout_p, enable_gqa,
                                           causal_offset)


def rope(input: Any, positions: Any = None, base: float = 10000.0, interleaved: bool = False,
         rotary_dim: int | None = None, *, offset: int = 0) -> Any:
    """Rotary position embedding of [..., L, E]: positions are 0, 1, ... or given, plus `offset`."""
    return tg.rope(input, positions, base, interleaved, rotary_dim, False, offset)


def kv_cache_append(cache: Any, new: Any, position: Any, axis: int = -2) -> Any:
    """Writes `new` into the preallocated `cache` in place, from `position` on; returns the cache.

    One plan serves all positions, which may also come from a device as a 0-d integer tensor. Records no gradient.

    Parameters
    ----------
    cache : Tensor
        [..., S, E]; of zeros at first (what nobody wrote has weight 0, but 0 * nan is nan where attention decomposes).
    new : Tensor
        [..., n, E], the cache's sizes off the axis, and its dtype.
    position : int or Tensor
        Where along the axis the first of new goes.
    axis : int

    Raises
    ------
    ValueError
        Sizes differ off the axis.
    IndexError
        position + n is beyond the cache.

    Examples
    --------
    >>> cache = tg.zeros((4, 1))
    >>> tg.nn.functional.kv_cache_append(cache, tg.ones((1, 1)), 2).tolist()
    [[0.0], [0.0], [1.0], [0.0]]
    """
    op = "kv_cache_append"
    rank = cache.ndim
    if not -rank <= axis < rank:
        raise IndexError(f"[{op}] expected an axis of the cache's {rank}, got {axis}")
    axis %= rank
    size, n = cache.shape[axis], new.shape[axis] if new.ndim == rank else -1
    if new.ndim != rank or any(c != m for i, (c, m) in enumerate(zip(cache.shape, new.shape)) if i != axis):
        raise ValueError(f"[{op}] expected new to have the cache's sizes {tuple(cache.shape)} off axis {axis}, got "
                         f"{tuple(new.shape)}")
    if new.dtype != cache.dtype:
        raise TypeError(f"[{op}] expected new of the cache's dtype {cache.dtype}, got {new.dtype}")
    if isinstance(position, int) and not 0 <= position <= size - n:
        raise IndexError(f"[{op}] expected a position from 0 to {size - n} for {n} new of {size}, got {position}")
    with tg.no_grad():
        if isinstance(position, int):
            index = tg.arange(position, position + n, device=cache.device)
        else:
            index = tg.arange(n, device=cache.device) + position
        line = [1] * rank
        line[axis] = n
        if new.numel():
            call_into("floor_scatter", (index.reshape(line).expand(tuple(new.shape)), new.detach()), (axis, 0, size),
                      (cache,))
    return cache
