# SPDX-License-Identifier: Apache-2.0
"""Linear maps, embedding, and the functions that only move elements."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

__all__ = ["bilinear", "embedding", "flatten", "linear", "one_hot", "pad"]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """input @ weight.T + bias; weight [out, in], or [in] for one output without an axis."""
    if weight.ndim == 1:
        y = tg.matmul(input, weight)
        return y if bias is None else y + bias
    return tg.linear(input, weight, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y[..., o] = input1 . weight[o] . input2 + bias[o]; weight [out, in1, in2]."""
    if weight.ndim != 3 or input1.shape[:-1] != input2.shape[:-1] or (input1.shape[-1], input2.shape[-1]) != tuple(weight.shape[1:]):
        raise ValueError(f"[bilinear] expected inputs [..., in1] and [..., in2] and weight [out, in1, in2], got {tuple(input1.shape)}, "
                         f"{tuple(input2.shape)} and {tuple(weight.shape)}")
    n, m, k = weight.shape
    products = tg.matmul(input1, weight.permute((1, 0, 2)).reshape((m, n * k))).reshape((*input1.shape[:-1], n, k))
    y = (products * input2.unsqueeze(-2)).sum(-1)
    return y if bias is None else y + bias


def embedding(input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
              scale_grad_by_freq: bool = False) -> Any:
    """Rows of weight at the indices; the row padding_idx gets no gradient.

    Parameters
    ----------
    input : Tensor
        integers of any shape
    weight : Tensor
        [rows, features]
    padding_idx : int, optional
    max_norm, norm_type : float
        rows that are looked up are first scaled, in place, to a norm of at most max_norm
    scale_grad_by_freq : bool
        a row's gradient is divided by how often its index is there

    Examples
    --------
    >>> F.embedding(tg.tensor([1, 0]), tg.tensor([[1.0], [2.0]])).tolist()
    [[2.0], [1.0]]
    """
    if max_norm is not None and input.numel():
        with tg.no_grad():
            used = tg.unique(input.reshape(-1))
            rows = tg.embedding(weight, used)
            norm = tg.linalg.vector_norm(rows, norm_type, -1, True)
            weight[used] = tg.where(norm > max_norm, rows * (max_norm / (norm + 1e-7)), rows)
    if scale_grad_by_freq and weight.requires_grad and tg.is_grad_enabled():
        count = tg.bincount(input.reshape(-1), minlength=weight.shape[0])
        rows = embedding(input, weight, padding_idx)
        there = rows.detach()
        return there + (rows - there) / tg.embedding(count, input).unsqueeze(-1).to(rows.dtype)  # there, exactly
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    if padding_idx is None or not (weight.requires_grad and tg.is_grad_enabled()):
        return tg.embedding(weight, input)
    rows = tg.embedding(weight, input)
    padded = (input == padding_idx).unsqueeze(-1)
    return tg.where(padded, rows.detach(), rows)


def one_hot(input: Any, num_classes: int = -1) -> Any:
    """i64 [..., num_classes]: 1 at the class, else 0; all 0 for a class outside.

    Parameters
    ----------
    input : Tensor
        integers of any shape
    num_classes : int
        -1: one more than the largest class, which waits for the device

    Raises
    ------
    ValueError
        for -1 and no elements, or a negative class

    Examples
    --------
    >>> F.one_hot(tg.tensor([2, 0])).tolist()
    [[0, 0, 1], [1, 0, 0]]
    """
    if num_classes == -1:
        if input.numel() == 0:
            raise ValueError("[one_hot] expected num_classes for an input of no elements, got -1")
        low, high = (int(v.item()) for v in tg.aminmax(input))
        if low < 0:
            raise ValueError(f"[one_hot] expected classes of 0 or more, got {low}")
        num_classes = high + 1
    return tg.one_hot(input, num_classes)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    n = input.ndim
    start, end = (start_dim + n if start_dim < 0 else start_dim), (end_dim + n if end_dim < 0 else end_dim)
    if n == 0:
        return input.reshape((1,))
    if not 0 <= start <= end < n:
        raise ValueError(
            f"[flatten] start_dim = {start_dim} and end_dim = {end_dim} do not fit shape {tuple(input.shape)}"
        )
    shape = tuple(input.shape)
    return input.reshape((*shape[:start], math.prod(shape[start:end + 1]), *shape[end + 1:]))


def pad(input: Any, pad: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> Any:
    """Pads the last axes: (last begin, last end, second last begin, ...).

    Parameters
    ----------
    input : Tensor
        of any shape
    pad : sequence of int
        pairs, from the last axis on; negative: crops
    mode : str
        constant (with `value`), reflect, replicate or circular

    Examples
    --------
    >>> F.pad(tg.tensor([[1, 2, 3]]), (1, 2), "circular").tolist()
    [[3, 1, 2, 3, 1, 2]]
    """
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise ValueError(f"[pad] expected pairs for at most {input.ndim} axes, got {pad!r}")
    begins, ends = [0] * input.ndim, [0] * input.ndim
    for i in range(len(pad) // 2):
        begins[-1 - i], ends[-1 - i] = pad[2 * i], pad[2 * i + 1]
    return tg.pad(input, begins + ends, value, mode)
