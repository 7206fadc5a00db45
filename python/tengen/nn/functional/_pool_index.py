# SPDX-License-Identifier: Apache-2.0
"""Pools that tell where the maxima were, their inverse, and power-average pools."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from ._arguments import sizes, with_batch_pair
from ._pool import avg_pool_op

__all__ = [
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "adaptive_max_pool_op", "lp_pool1d", "lp_pool2d",
    "lp_pool3d", "lp_pool_op", "max_unpool1d", "max_unpool2d", "max_unpool3d", "max_unpool_op",
]


def adaptive_max_pool_op(x: Any, output_size: Any, return_indices: bool, rank: int) -> Any:
    op = f"adaptive_max_pool{rank}d"
    want = (output_size,) * rank if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(want) != rank:
        raise ValueError(f"[{op}] expected {rank} output sizes, got {output_size!r}")
    want = tuple(h if w is None else w for h, w in zip(x.shape[-rank:], want))
    both = with_batch_pair(lambda b: tuple(tg.adaptive_max_pool(b, want)), x, rank, op)
    return both if return_indices else both[0]


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of output_size windows, with return_indices also where it was."""
    return adaptive_max_pool_op(input, output_size, return_indices, 1)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of output_size windows, with return_indices also where it was in the plane."""
    return adaptive_max_pool_op(input, output_size, return_indices, 2)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of output_size windows, with return_indices also where it was in the volume."""
    return adaptive_max_pool_op(input, output_size, return_indices, 3)


def max_unpool_op(x: Any, indices: Any, kernel: Any, stride: Any, padding: Any, output_size: Any, rank: int) -> Any:
    op = f"max_unpool{rank}d"
    kernel = sizes(kernel, rank, op, "kernel_size", 1)
    stride = kernel if stride is None else sizes(stride, rank, op, "stride", 1)
    padding = sizes(padding, rank, op, "padding", 0)
    usual = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(x.shape[-rank:], stride, padding, kernel)]
    want = usual
    if output_size is not None:
        want = list(output_size)[-rank:]
        if len(want) != rank or any(abs(w - u) >= s for w, u, s in zip(want, usual, stride)):
            raise ValueError(f"[{op}] expected output sizes within a stride of {tuple(usual)}, got {tuple(output_size)}")
    if x.ndim == rank + 1:
        return tg.max_unpool(x.unsqueeze(0), indices.unsqueeze(0), want).squeeze(0)
    return tg.max_unpool(x, indices, want)


def max_unpool1d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Any:
    """Zeros, with input at the places that max_pool1d's indices name."""
    return max_unpool_op(input, indices, kernel_size, stride, padding, output_size, 1)


def max_unpool2d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Any:
    """Zeros, with input at the places that max_pool2d's indices name."""
    return max_unpool_op(input, indices, kernel_size, stride, padding, output_size, 2)


def max_unpool3d(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Any:
    """Zeros, with input at the places that max_pool3d's indices name."""
    return max_unpool_op(input, indices, kernel_size, stride, padding, output_size, 3)


def lp_pool_op(x: Any, norm_type: float, kernel: Any, stride: Any, ceil_mode: bool, rank: int) -> Any:
    op = f"lp_pool{rank}d"
    kernel = sizes(kernel, rank, op, "kernel_size", 1)
    mean = avg_pool_op(x**norm_type, kernel, stride, 0, ceil_mode, True, rank)
    return (mean.relu() * math.prod(kernel)) ** (1 / norm_type)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(sum of x^p)^(1/p) of every window; a negative sum counts as 0."""
    return lp_pool_op(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(sum of x^p)^(1/p) of every window; a negative sum counts as 0."""
    return lp_pool_op(input, norm_type, kernel_size, stride, ceil_mode, 2)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(sum of x^p)^(1/p) of every window; a negative sum counts as 0."""
    return lp_pool_op(input, norm_type, kernel_size, stride, ceil_mode, 3)
