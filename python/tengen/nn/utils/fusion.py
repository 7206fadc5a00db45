# SPDX-License-Identifier: Apache-2.0
"""Batch norm folded into the layer before it, for inference."""
from __future__ import annotations

import copy
from typing import Any

import tengen as tg

from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def fuse_conv_bn_weights(conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any,
                         transpose: bool = False) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution (or linear layer) that does what it and the batch norm behind it do.

    Parameters
    ----------
    conv_w, conv_b : tensors
        Of the layer; the bias may be None.
    bn_rm, bn_rv, bn_w, bn_b : tensors
        Running mean and variance, weight and bias of the batch norm; the last two may be None.
    transpose : bool
        The output channels are axis 1 of conv_w instead of 0.
    """
    with tg.no_grad():
        scale = (bn_rv + bn_eps).rsqrt()
        scale = scale if bn_w is None else scale * bn_w
        shape = [1] * conv_w.ndim
        shape[1 if transpose else 0] = -1
        bias = -bn_rm if conv_b is None else conv_b - bn_rm
        bias = bias * scale if bn_b is None else bias * scale + bn_b
        weight = (conv_w * scale.reshape(shape)).to(conv_w.dtype)
    return (Parameter(weight, conv_w.requires_grad),
            Parameter(bias.to(conv_w.dtype), conv_w.requires_grad if conv_b is None else conv_b.requires_grad))


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of `conv` that does what `bn(conv(x))` does, both in evaluation mode.

    Raises
    ------
    RuntimeError
        One of them is in training mode, or the batch norm has no running statistics.
    """
    if conv.training or bn.training:
        raise RuntimeError("[fuse_conv_bn_eval] fusion is for evaluation: call eval() first")
    if bn.running_mean is None:
        raise RuntimeError("[fuse_conv_bn_eval] the batch norm has no running statistics")
    if transpose and conv.groups != 1:
        raise RuntimeError(f"[fuse_conv_bn_eval] expected a transposed convolution of one group, got {conv.groups}")
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose)
    return fused


def fuse_linear_bn_weights(linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any,
                           bn_b: Any) -> tuple[Parameter, Parameter]:
    """fuse_conv_bn_weights for a linear layer."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """fuse_conv_bn_eval for a linear layer."""
    return fuse_conv_bn_eval(linear, bn)
