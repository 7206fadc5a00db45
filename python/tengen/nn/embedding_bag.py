# SPDX-License-Identifier: Apache-2.0
"""Bags of embeddings as a layer."""
from __future__ import annotations

from typing import Any

from . import functional as F
from .linear import Embedding

__all__ = ["EmbeddingBag"]


class EmbeddingBag(Embedding):
    """The sum, mean or maximum of the embeddings of every bag of indices: see nn.functional.embedding_bag.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    mode : 'sum', 'mean' or 'max'
    include_last_offset : bool
        The last offset is the end of the last bag.
    padding_idx : int, optional
        This index does not count.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, mode: str = "mean", include_last_offset: bool = False,
                 padding_idx: int | None = None, device: Any = None, dtype: Any = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, device=device, dtype=dtype)
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, x: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return F.embedding_bag(x, self.weight, offsets, mode=self.mode, per_sample_weights=per_sample_weights,
                               include_last_offset=self.include_last_offset, padding_idx=self.padding_idx)

    def extra_repr(self) -> str:
        return super().extra_repr() + f", mode={self.mode!r}"
