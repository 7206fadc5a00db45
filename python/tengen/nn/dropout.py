# SPDX-License-Identifier: Apache-2.0
"""Dropout layers: of elements, of channels, and the ones that go with selu."""
from __future__ import annotations

from typing import Any

from . import functional as F
from .module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class Dropout(Module):
    """In training, zeroes elements with probability p and scales the others by 1 / (1 - p)."""

    _function = staticmethod(F.dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"[{type(self).__name__}] expected p between 0 and 1, got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        return type(self)._function(x, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """In training, zeroes whole channels of [N, C, L] (or [C, L]) with probability p and scales the others."""

    _function = staticmethod(F.dropout1d)


class Dropout2d(Dropout):
    """In training, zeroes whole channels of [N, C, H, W] (or [C, H, W]) with probability p and scales the others."""

    _function = staticmethod(F.dropout2d)


class Dropout3d(Dropout):
    """In training, zeroes whole channels of [N, C, D, H, W] (or [C, D, H, W]) and scales the others."""

    _function = staticmethod(F.dropout3d)


class AlphaDropout(Dropout):
    """In training, sets elements to selu's lower limit with probability p and keeps mean 0 and variance 1."""

    _function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(Dropout):
    """AlphaDropout of whole channels of [N, C, ...]."""

    _function = staticmethod(F.feature_alpha_dropout)
