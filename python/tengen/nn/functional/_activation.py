# SPDX-License-Identifier: Apache-2.0
"""Activations and dropout."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = [
    "dropout", "gelu", "leaky_relu", "log_softmax", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh",
]


def relu(input: Any, inplace: bool = False) -> Any:
    return input.relu_() if inplace else input.relu()


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    y = tg.leaky_relu(input, negative_slope)
    return input.copy_(y) if inplace else y


def gelu(input: Any, approximate: str = "none") -> Any:
    """x * Phi(x); approximate 'none' or 'tanh'."""
    return tg.gelu(input, approximate)


def silu(input: Any, inplace: bool = False) -> Any:
    y = tg.silu(input)
    return input.copy_(y) if inplace else y


def sigmoid(input: Any) -> Any:
    return input.sigmoid()


def tanh(input: Any) -> Any:
    return input.tanh()


def softplus(input: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return tg.softplus(input)


def _dim(input: Any, dim: int | None, op: str) -> int:
    if dim is None:
        raise ValueError(f"[{op}] expected dim: along which axis?")
    return dim


def softmax(input: Any, dim: int | None = None) -> Any:
    return tg.softmax(input, _dim(input, dim, "softmax"))


def log_softmax(input: Any, dim: int | None = None) -> Any:
    return tg.log_softmax(input, _dim(input, dim, "log_softmax"))


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zeroes elements with probability p and scales the others by 1 / (1 - p)."""
    if not 0 <= p <= 1:
        raise ValueError(f"[dropout] expected p between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    y = tg.dropout(input, p)
    return input.copy_(y) if inplace else y
