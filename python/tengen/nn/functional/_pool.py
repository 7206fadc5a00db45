# SPDX-License-Identifier: Apache-2.0
"""Pooling."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from ._arguments import sizes, with_batch, with_batch_pair
from ._linear import pad

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_avg_pool_op", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "avg_pool_op", "max_pool1d", "max_pool2d", "max_pool3d", "max_pool_op",
]


def pool_arguments(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, rank: int,
                    op: str) -> tuple:
    kernel = sizes(kernel, rank, op, "kernel_size", 1)
    stride = kernel if stride is None or stride == () or stride == [] else sizes(stride, rank, op, "stride", 1)
    padding = sizes(padding, rank, op, "padding", 0)
    dilation = sizes(dilation, rank, op, "dilation", 1)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"[{op}] expected padding of at most half the kernel {kernel}, got {padding}")
    ends = list(padding)
    if ceil_mode:  # one more window where it begins inside the input or its left padding
        for i, n in enumerate(x.shape[-rank:]):
            span = dilation[i] * (kernel[i] - 1) + 1
            out = -(-(n + 2 * padding[i] - span) // stride[i]) + 1
            if (out - 1) * stride[i] >= n + padding[i]:
                out -= 1
            ends[i] = max(ends[i], (out - 1) * stride[i] + span - n - padding[i])
    return kernel, stride, (*padding, *ends), dilation


def max_pool_op(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, rank: int,
                return_indices: bool = False) -> Any:
    op = f"max_pool{rank}d"
    kernel, stride, padding, dilation = pool_arguments(x, kernel, stride, padding, dilation, ceil_mode, rank, op)
    if return_indices:
        return with_batch_pair(lambda b: tuple(tg.max_pool_with_index(b, kernel, stride, padding, dilation)), x, rank, op)
    return with_batch(lambda b: tg.max_pool(b, kernel, stride, padding, dilation), x, rank, op)


def max_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of every window, with return_indices also its flat place among the spatial axes."""
    return max_pool_op(input, kernel_size, stride, padding, dilation, ceil_mode, 1, return_indices)


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of every window, with return_indices also its flat place among the spatial axes."""
    return max_pool_op(input, kernel_size, stride, padding, dilation, ceil_mode, 2, return_indices)


def max_pool3d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of every window, with return_indices also its flat place among the spatial axes."""
    return max_pool_op(input, kernel_size, stride, padding, dilation, ceil_mode, 3, return_indices)


def avg_pool_op(x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, rank: int,
                divisor_override: int | None = None) -> Any:
    op = f"avg_pool{rank}d"
    if divisor_override == 0:
        raise ValueError(f"[{op}] expected a divisor_override other than 0, got 0")
    plain = pool_arguments(x, kernel, stride, padding, 1, False, rank, op)
    kernel, stride, padding, _ = pool_arguments(x, kernel, stride, padding, 1, ceil_mode, rank, op)
    if divisor_override is not None:  # the op's mean over all of a window, padding included, times the window's size
        share = math.prod(kernel) / divisor_override
        return with_batch(lambda b: tg.avg_pool(b, kernel, stride, padding, True) * share, x, rank, op)
    if padding == plain[2] or not count_include_pad:
        return with_batch(lambda b: tg.avg_pool(b, kernel, stride, padding, count_include_pad), x, rank, op)
    # Ceil mode's last windows reach past the padding, and only what is padded counts: pad, then leave the rest out.
    begins, ends, grown = plain[2][:rank], plain[2][rank:], padding[rank:]
    around = [v for i in reversed(range(rank)) for v in (begins[i], ends[i])]
    more = (*(0,) * rank, *(g - e for g, e in zip(grown, ends)))
    return with_batch(lambda b: tg.avg_pool(pad(b, tuple(around)), kernel, stride, more, False), x, rank, op)


def avg_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Any:
    """The mean of every window."""
    return avg_pool_op(input, kernel_size, stride, padding, ceil_mode, count_include_pad, 1)


def avg_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Any:
    """The mean of every window; divisor_override: the sum divided by this number."""
    return avg_pool_op(input, kernel_size, stride, padding, ceil_mode, count_include_pad, 2, divisor_override)


def avg_pool3d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Any:
    """The mean of every window; divisor_override: the sum divided by this number."""
    return avg_pool_op(input, kernel_size, stride, padding, ceil_mode, count_include_pad, 3, divisor_override)


def adaptive_avg_pool_op(x: Any, output_size: Any, rank: int) -> Any:
    op = f"adaptive_avg_pool{rank}d"
    want = (output_size,) * rank if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(want) != rank or x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"[{op}] expected {rank} output sizes and {rank + 2} dimensions (or {rank + 1}, unbatched), got "
            f"{output_size!r} and shape {tuple(x.shape)}"
        )
    have = tuple(x.shape[-rank:])
    want = tuple(h if w is None else w for h, w in zip(have, want))
    if want == have:
        return x
    if all(w == 1 for w in want):
        return x.mean(tuple(range(-rank, 0)), keepdim=True)
    return with_batch(lambda b: tg.adaptive_avg_pool(b, want), x, rank, op)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    return adaptive_avg_pool_op(input, output_size, 1)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    return adaptive_avg_pool_op(input, output_size, 2)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    return adaptive_avg_pool_op(input, output_size, 3)
