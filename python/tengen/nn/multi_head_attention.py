# SPDX-License-Identifier: Apache-2.0
"""Multi-head attention with PyTorch's parameters and masks."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from . import functional as F
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention of several heads, each over its own projections of queries, keys and values.

    Parameters
    ----------
    embed_dim : int
        Features of queries and of the output; a multiple of num_heads.
    num_heads : int
    dropout : float
        Of the attention weights, in training.
    bias : bool
    add_bias_kv : bool
        One learnt key and value behind the others.
    add_zero_attn : bool
        One key and value of zeros behind the others.
    kdim, vdim : int, optional
        Features of keys and values; embed_dim by default.
    batch_first : bool
        Tensors are [N, L, E] instead of [L, N, E].

    The projections are in_proj_weight [3 * embed_dim, embed_dim] (queries, keys, values), or q_proj_weight, k_proj_weight and
    v_proj_weight where kdim or vdim differ; in_proj_bias [3 * embed_dim]; out_proj.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"[MultiheadAttention] expected embed_dim to be a multiple of num_heads, got {embed_dim} and "
                             f"{num_heads}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        together = self.kdim == self.vdim == embed_dim
        for name, shape, there in (
            ("in_proj_weight", (3 * embed_dim, embed_dim), together),
            ("q_proj_weight", (embed_dim, embed_dim), not together),
            ("k_proj_weight", (embed_dim, self.kdim), not together),
            ("v_proj_weight", (embed_dim, self.vdim), not together),
            ("in_proj_bias", (3 * embed_dim,), bias),
            ("bias_k", (1, 1, embed_dim), add_bias_kv),
            ("bias_v", (1, 1, embed_dim), add_bias_kv),
        ):
            made = Parameter(tg.empty(shape, device=device, dtype=dtype)) if there else None
            self.register_parameter(name, made)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def _projected(self, query: Any, key: Any, value: Any) -> list[Any]:
        """Queries, keys and values [N, L, E]; one product for those that come from the same tensor."""
        e, w, b = self.embed_dim, self.in_proj_weight, self.in_proj_bias
        if w is None:
            biases = [None] * 3 if b is None else [b[:e], b[e:2 * e], b[2 * e:]]
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            return [tg.linear(x, weight, bias) for x, weight, bias in zip((query, key, value), weights, biases)]
        if key is value:
            if query is key:
                y = tg.linear(query, w, b)
                return [y[..., :e], y[..., e:2 * e], y[..., 2 * e:]]
            y = tg.linear(key, w[e:], None if b is None else b[e:])
            return [tg.linear(query, w[:e], None if b is None else b[:e]), y[..., :e], y[..., e:]]
        return [tg.linear(x, w[i * e:(i + 1) * e], None if b is None else b[i * e:(i + 1) * e])
                for i, x in enumerate((query, key, value))]

    def _mask(self, attn_mask: Any, key_padding_mask: Any, shape: tuple[int, int, int], dtype: Any, extra: int) -> Any:
        """Both masks as one for scaled_dot_product_attention: bools that say where to look, or floats to add."""
        batch, length, keys = shape
        masks = []
        for name, mask, shapes in (
            ("attn_mask", attn_mask, [(length, keys), (batch * self.num_heads, length, keys)]),
            ("key_padding_mask", key_padding_mask, [(batch, keys)]),
        ):
            if mask is None:
                continue
            if tuple(mask.shape) not in shapes:
                raise ValueError(f"[MultiheadAttention] expected {name} of shape {' or '.join(map(str, shapes))}, got "
                                 f"{tuple(mask.shape)}")
            if mask.dtype != tg.bool and not mask.dtype.is_floating_point:
                raise TypeError(f"[MultiheadAttention] expected {name} of bools or floats, got {mask.dtype}")
            if name == "key_padding_mask":
                mask = mask.reshape((batch, 1, 1, keys))
            elif mask.ndim == 3:
                mask = mask.reshape((batch, self.num_heads, length, keys))
            if extra:  # what add_bias_kv and add_zero_attn put behind the keys is always looked at
                mask = tg.pad(mask, (*(0,) * (2 * mask.ndim - 1), extra))
            masks.append(mask)
        if not masks:
            return None
        if all(m.dtype == tg.bool for m in masks):
            return ~masks[0] if len(masks) == 1 else ~(masks[0] | masks[1])
        added = [tg.zeros(m.shape, dtype=dtype, device=m.device).masked_fill(m, -math.inf) if m.dtype == tg.bool
                 else m.to(dtype) for m in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def forward(self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
                attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False) -> tuple[Any, Any]:
        """(output, weights or None).

        Parameters
        ----------
        query, key, value : tensors [L, N, E], [S, N, kdim], [S, N, vdim]
            [N, L, E] ... with batch_first, without N for a single item.
        key_padding_mask : [N, S] or [S], bools (True: ignore this key) or floats to add to the scores
        need_weights : bool
            Give the attention weights [N, L, S] too; False lets fused kernels run.
        attn_mask : [L, S] or [N * num_heads, L, S], bools (True: do not look) or floats to add to the scores
        average_attn_weights : bool
            The weights' mean over heads; False: [N, num_heads, L, S].
        is_causal : bool
            With an attn_mask, a hint that this is what it says; without one, position i looks at positions up to i.
        """
        if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
            raise ValueError(f"[MultiheadAttention] expected query, key and value of 3 dimensions (or 2, unbatched), got "
                             f"shapes {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}")
        unbatched = query.ndim == 2
        if unbatched or not self.batch_first:
            same = (key is query, value is key)
            query = query.unsqueeze(0) if unbatched else query.transpose(0, 1)
            key = query if same[0] else key.unsqueeze(0) if unbatched else key.transpose(0, 1)
            value = key if same[1] else value.unsqueeze(0) if unbatched else value.transpose(0, 1)
        if unbatched and key_padding_mask is not None and key_padding_mask.ndim == 1:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        batch, length, _ = query.shape
        keys = key.shape[1]
        if key.shape[:2] != value.shape[:2] or key.shape[0] != batch:
            raise ValueError(f"[MultiheadAttention] expected a value for every key, and keys for {batch} items, got keys "
                             f"{tuple(key.shape)} and values {tuple(value.shape)} (batch first)")
        q, k, v = self._projected(query, key, value)
        if self.bias_k is not None:
            k = tg.cat([k, self.bias_k.expand((batch, 1, self.embed_dim))], 1)
            v = tg.cat([v, self.bias_v.expand((batch, 1, self.embed_dim))], 1)
        if self.add_zero_attn:
            k, v = (tg.pad(x, (0, 0, 0, 0, 1, 0)) for x in (k, v))
        q, k, v = (x.reshape((batch, x.shape[1], self.num_heads, self.head_dim)).transpose(1, 2) for x in (q, k, v))
        causal = is_causal and attn_mask is None
        extra = k.shape[2] - keys
        if causal and (key_padding_mask is not None or need_weights or extra):
            attn_mask = tg.ones((length, keys), device=query.device).triu(1) > 0
            causal = False
        mask = self._mask(attn_mask, key_padding_mask, (batch, length, keys), q.dtype, extra)
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            scores = (q * (1 / math.sqrt(self.head_dim))) @ k.transpose(-1, -2)
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == tg.bool else scores + mask
                blind = scores.detach().amax(-1, keepdim=True) == -math.inf  # a query that sees nothing has weights of 0
                weights = tg.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)
            else:
                weights = tg.softmax(scores, -1)
            weights = F.dropout(weights, dropout)
            out = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights.squeeze(0) if unbatched else weights
        else:
            out, weights = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal), None
        out = self.out_proj(out.transpose(1, 2).reshape((batch, length, self.embed_dim)))
        out = out.squeeze(0) if unbatched else out if self.batch_first else out.transpose(0, 1)
        return out, weights
