# SPDX-License-Identifier: Apache-2.0
"""Convolution and its transpose."""
from __future__ import annotations

from typing import Any

import tengen as tg

from ._arguments import sizes, with_batch

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_op", "conv_padding", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "conv_transpose_op",
]


def conv_padding(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """The op's padding - all begins, then all ends - from sizes, 'same' or 'valid'."""
    if padding == "valid":
        return (0,) * (2 * len(kernel))
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return (*(t // 2 for t in total), *(t - t // 2 for t in total))
    return (*padding, *padding)


def conv_op(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, rank: int) -> Any:
    if x.ndim == rank + 2:
        return tg.conv(x, weight, bias, stride, padding, dilation, groups)
    return with_batch(lambda b: tg.conv(b, weight, bias, stride, padding, dilation, groups), x, rank, f"conv{rank}d")


def _conv(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, rank: int) -> Any:
    op = f"conv{rank}d"
    if weight.ndim != rank + 2:
        raise ValueError(f"[{op}] expected a weight of {rank + 2} dimensions, got shape {tuple(weight.shape)}")
    stride, dilation = sizes(stride, rank, op, "stride", 1), sizes(dilation, rank, op, "dilation", 1)
    if not isinstance(padding, (str, int)) and len(padding) == 2 * rank:  # all begins, then all ends
        padding = sizes(padding, 2 * rank, op, "padding", 0)
        return conv_op(x, weight, bias, stride, padding, dilation, groups, rank)
    if not isinstance(padding, str):
        padding = sizes(padding, rank, op, "padding", 0)
    elif padding not in ("same", "valid") or (padding == "same" and any(s != 1 for s in stride)):
        raise ValueError(f"[{op}] expected padding to be sizes, 'valid' or (with stride 1) 'same', got {padding!r}")
    padding = conv_padding(padding, tuple(weight.shape[2:]), dilation)
    return conv_op(x, weight, bias, stride, padding, dilation, groups, rank)


def conv1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Any:
    """Convolution of input[N, C, s] with weight[O, C / groups, k]; padding also (begin, end)."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Any:
    """Convolution of input[N, C, h, w] with weight[O, C / groups, kh, kw]; padding also all begins, then all ends."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, 2)


def conv3d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Any:
    """Convolution of input[N, C, d, h, w] with weight[O, C / groups, kd, kh, kw]."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, 3)


def conv_transpose_op(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
                      dilation: Any, rank: int) -> Any:
    return with_batch(lambda b: tg.conv_transpose(b, weight, bias, stride, padding, output_padding, groups, dilation), x,
                      rank, f"conv_transpose{rank}d")


def _conv_transpose(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
                    groups: int, dilation: Any, rank: int) -> Any:
    op = f"conv_transpose{rank}d"
    ends = not isinstance(padding, int) and len(padding) == 2 * rank  # all begins, then all ends
    return conv_transpose_op(x, weight, bias, sizes(stride, rank, op, "stride", 1), sizes(padding, (1 + ends) * rank, op, "padding", 0),
                             sizes(output_padding, rank, op, "output_padding", 0), groups, sizes(dilation, rank, op, "dilation", 1), rank)


def conv_transpose1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Any:
    """Transposed convolution of input[N, C, s] with weight[C, O / groups, k]; padding also (begin, end)."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 1)


def conv_transpose2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Any:
    """Transposed convolution of input[N, C, h, w] with weight[C, O / groups, kh, kw]; padding also all begins, then all ends."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 2)


def conv_transpose3d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Any:
    """Transposed convolution of input[N, C, d, h, w] with weight[C, O / groups, kd, kh, kw]; padding also all begins, then all ends."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 3)
