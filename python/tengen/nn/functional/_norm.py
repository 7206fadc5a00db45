# SPDX-License-Identifier: Apache-2.0
"""Normalisation."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from ._linear import pad

__all__ = [
    "batch_norm", "general_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "normalize", "rms_norm",
]


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalises every channel (axis 1); in training with the batch's statistics, which then enter the running ones."""
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("[batch_norm] needs running_mean and running_var unless training")
        return tg.batch_norm_infer(input, running_mean, running_var, weight, bias, eps)
    if input.ndim < 2:
        raise ValueError(f"[batch_norm] expected input of shape (N, C, ...), got {tuple(input.shape)}")
    n = input.numel() // max(input.shape[1], 1)
    if n <= 1:
        raise ValueError(
            f"[batch_norm] expected more than one value per channel when training, got shape {tuple(input.shape)}"
        )
    y, mean, var = tg.batch_norm(input, weight, bias, eps)
    if running_mean is not None:
        with tg.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * (n / (n - 1)), momentum)
    return y


def _inner(input: Any, normalized_shape: Any, op: str) -> int:
    shape = tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape):]) != shape:
        raise ValueError(f"[{op}] expected the last axes to be {shape}, got shape {tuple(input.shape)}")
    return len(shape)


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalises over the last axes, whose sizes are normalized_shape."""
    return tg.layer_norm(input, weight, bias, _inner(input, normalized_shape, "layer_norm"), eps)


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """input / sqrt(mean(input^2) + eps) * weight over the last axes."""
    inner = _inner(input, normalized_shape, "rms_norm")
    return tg.rms_norm(input, weight, inner, tg.finfo(input.dtype).eps if eps is None else eps)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalises each of num_groups groups of channels of every item."""
    return tg.group_norm(input, weight, bias, num_groups, eps)


def instance_norm(input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
                  use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> Any:
    """Normalises every channel of every item of [N, C, s...] by itself, or by the running statistics.

    With use_input_stats the items' mean statistics (the unbiased variance) enter the running ones.
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("[instance_norm] needs running_mean and running_var unless use_input_stats")
        return tg.batch_norm_infer(input, running_mean, running_var, weight, bias, eps)
    if input.ndim < 3:
        raise ValueError(f"[instance_norm] expected x of shape (N, C, spatial...), got {tuple(input.shape)}")
    places = math.prod(input.shape[2:])
    if places <= 1:
        raise ValueError(f"[instance_norm] expected more than one element per channel, got shape {tuple(input.shape)}")
    if running_mean is not None:
        with tg.no_grad():
            axes, x = tuple(range(2, input.ndim)), input.to(running_mean.dtype)
            running_mean.lerp_(x.mean(axes).mean(0), momentum)
            running_var.lerp_(x.var(axes, correction=1).mean(0), momentum)
    return tg.group_norm(input, weight, bias, input.shape[1], eps)


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """input / (k + alpha * mean of squares over `size` neighbouring channels)^beta (Krizhevsky et al., 2012).

    Channels beyond the ends count as zeros.
    """
    if input.ndim < 3:
        raise ValueError(f"[local_response_norm] expected x of shape (N, C, spatial...), got {tuple(input.shape)}")
    if size < 1:
        raise ValueError(f"[local_response_norm] expected a size of at least 1, got {size}")
    if input.numel() == 0:
        return input
    squares = (input * input).reshape((input.shape[0], 1, input.shape[1], -1))
    squares = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = tg.avg_pool(squares, (size, 1), 1).reshape(tuple(input.shape))
    return input / (mean * alpha + k) ** beta


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """input divided by its p-norm along dim, which counts as at least eps."""
    return input / tg.norm(input, p, dim, True).maximum(eps)


def general_norm(input: Any, normalized_axis: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """layer_norm over any axes: normalized_axis is one of them or several; weight and bias have their sizes, in their order.

    Examples
    --------
    >>> tg.nn.functional.general_norm(tg.tensor([[1.0, 5.0], [3.0, 9.0]]), 0, eps=0.0).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """
    axes = (normalized_axis,) if isinstance(normalized_axis, int) else tuple(normalized_axis)
    if not axes:
        raise ValueError("[general_norm] expected one axis or more, got none")
    last = tuple(range(-len(axes), 0))
    inner = tg.movedim(input, axes, last)
    sizes = tuple(inner.shape[-len(axes):])
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and tuple(value.shape) != sizes:
            raise ValueError(f"[general_norm] expected a {name} of shape {sizes}, got {tuple(value.shape)}")
    return tg.movedim(tg.layer_norm(inner, weight, bias, len(axes), eps), last, axes)
