# SPDX-License-Identifier: Apache-2.0
"""Dropout of elements and of whole channels. Masks are made from Philox numbers of the global generator."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

_LOWEST = -1.7580993408473766  # the limit of selu at -inf


def _check(p: float, op: str) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"[{op}] expected p between 0 and 1, got {p}")


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zeroes elements with probability p and scales the others by 1 / (1 - p)."""
    _check(p, "dropout")
    if not training or p == 0:
        return input
    y = tg.dropout(input, p)
    return input.copy_(y) if inplace else y


def _channels(input: Any, batched: bool) -> Any:
    """Ones, one for every channel of every item, shaped to spread over input."""
    lead = 2 if batched else 1
    shape = tuple(input.shape)
    return tg.ones((*shape[:lead], *(1,) * (len(shape) - lead)), dtype=input.dtype, device=input.device)


def _channel_dropout(input: Any, p: float, training: bool, inplace: bool, rank: int) -> Any:
    op = f"dropout{rank}d"
    _check(p, op)
    if input.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"[{op}] expected {rank + 2} dimensions (or {rank + 1}, unbatched), got shape {tuple(input.shape)}"
        )
    if not training or p == 0:
        return input
    y = input * tg.dropout(_channels(input, input.ndim == rank + 2), p)
    return input.copy_(y) if inplace else y


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zeroes whole channels of [N, C, L] (or [C, L]) with probability p; scales the others by 1 / (1 - p)."""
    return _channel_dropout(input, p, training, inplace, 1)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zeroes whole channels of [N, C, H, W] (or [C, H, W]) with probability p; scales the others by 1 / (1 - p)."""
    return _channel_dropout(input, p, training, inplace, 2)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zeroes whole channels of [N, C, D, H, W] (or [C, D, H, W]) with probability p; scales the others."""
    return _channel_dropout(input, p, training, inplace, 3)


def _alpha(input: Any, ones: Any, p: float, inplace: bool) -> Any:
    if p == 1:
        y = input * 0
    else:
        a = 1 / math.sqrt((1 + p * _LOWEST**2) * (1 - p))
        y = tg.where(tg.dropout(ones, p) > 0, input, _LOWEST) * a - a * p * _LOWEST
    return input.copy_(y) if inplace else y


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Sets elements to selu's lower limit with probability p; mean 0 and variance 1 stay (Klambauer et al., 2017)."""
    _check(p, "alpha_dropout")
    return _alpha(input, tg.ones_like(input), p, inplace) if training and p > 0 else input


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """alpha_dropout of whole channels of [N, C, ...]."""
    _check(p, "feature_alpha_dropout")
    if input.ndim < 2:
        raise ValueError(f"[feature_alpha_dropout] expected at least 2 dimensions, got shape {tuple(input.shape)}")
    return _alpha(input, _channels(input, True), p, inplace) if training and p > 0 else input
