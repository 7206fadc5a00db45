# SPDX-License-Identifier: Apache-2.0
"""Activations."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = [
    "celu", "celu_", "elu", "elu_", "geglu", "gelu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "log_softmax", "logsigmoid", "mish", "prelu", "relu", "relu6",
    "relu_", "rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu", "softmax", "softmin", "softplus", "softshrink",
    "softsign", "swiglu", "tanh", "tanhshrink", "threshold", "threshold_",
]


def _apply(f: Any, input: Any, inplace: bool) -> Any:
    """f(input); in place, what the gradient looks at is a copy."""
    if not inplace:
        return f(input)
    return input.copy_(f(input.clone() if tg.is_grad_enabled() and input.requires_grad else input))


def relu(input: Any, inplace: bool = False) -> Any:
    return input.relu_() if inplace else input.relu()


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    return _apply(lambda x: tg.leaky_relu(x, negative_slope), input, inplace)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x * Phi(x); approximate 'none' or 'tanh'."""
    return tg.gelu(input, approximate)


def silu(input: Any, inplace: bool = False) -> Any:
    return _apply(tg.silu, input, inplace)


def sigmoid(input: Any) -> Any:
    return input.sigmoid()


def tanh(input: Any) -> Any:
    return input.tanh()


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta, without overflow; x itself where beta x is above the threshold."""
    if beta == 1 and threshold == 20:  # the difference is below exp(-20), and softplus itself gives x soon after
        return tg.softplus(input)
    return tg.where(input * beta > threshold, input, tg.softplus(input * beta) / beta)


def _dim(input: Any, dim: int | None, op: str) -> int:
    if dim is None:
        raise ValueError(f"[{op}] expected dim: along which axis?")
    return dim


def softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    return tg.softmax(input if dtype is None else input.to(dtype), _dim(input, dim, "softmax"))


def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    return tg.log_softmax(input if dtype is None else input.to(dtype), _dim(input, dim, "log_softmax"))


def relu_(input: Any) -> Any:
    """relu in place."""
    return input.relu_()


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6)."""
    return _apply(tg.relu6, input, inplace)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Any:
    """leaky_relu in place."""
    return leaky_relu(input, negative_slope, True)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x above 0, alpha * (exp(x) - 1) below."""
    return _apply(lambda x: tg.elu(x, alpha), input, inplace)


def elu_(input: Any, alpha: float = 1.0) -> Any:
    """elu in place."""
    return elu(input, alpha, True)


def selu(input: Any, inplace: bool = False) -> Any:
    """elu with the constants that keep mean 0 and variance 1, scaled."""
    return _apply(tg.selu, input, inplace)


def selu_(input: Any) -> Any:
    """selu in place."""
    return selu(input, True)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x above 0, alpha * (exp(x / alpha) - 1) below."""
    return _apply(lambda x: tg.celu(x, alpha), input, inplace)


def celu_(input: Any, alpha: float = 1.0) -> Any:
    """celu in place."""
    return celu(input, alpha, True)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x clipped to [min_val, max_val]."""
    return _apply(lambda x: tg.hardtanh(x, min_val, max_val), input, inplace)


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """hardtanh in place."""
    return hardtanh(input, min_val, max_val, True)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where it is above the threshold, else value."""
    return _apply(lambda x: tg.threshold(x, threshold, value), input, inplace)


def threshold_(input: Any, threshold: float, value: float) -> Any:
    """threshold in place."""
    return _apply(lambda x: tg.threshold(x, threshold, value), input, True)


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """x where |x| is above lambd, else 0."""
    return tg.hardshrink(input, lambd)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved by lambd towards 0, where it stays."""
    if lambd < 0:
        raise ValueError(f"[softshrink] expected a lambd of 0 or more, got {lambd}")
    return tg.softshrink(input, lambd)


def tanhshrink(input: Any) -> Any:
    """x - tanh(x)."""
    return tg.tanhshrink(input)


def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    return tg.softsign(input)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """clip(x / 6 + 1 / 2, 0, 1)."""
    return _apply(tg.hardsigmoid, input, inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x * hardsigmoid(x)."""
    return _apply(tg.hardswish, input, inplace)


def mish(input: Any, inplace: bool = False) -> Any:
    """x * tanh(softplus(x))."""
    return _apply(tg.mish, input, inplace)


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)), without overflow."""
    return tg.logsigmoid(input)


def prelu(input: Any, weight: Any) -> Any:
    """x above 0, weight * x below; one weight per channel (axis 1) or one for all."""
    return tg.prelu(input, weight)


def rrelu(input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False) -> Any:
    """x above 0, slope * x below: slopes are drawn from [lower, upper) in training, else their mean.

    Xu et al., "Empirical evaluation of rectified activations in convolutional network", 2015.
    """
    if not lower <= upper:
        raise ValueError(f"[rrelu] expected lower <= upper, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = tg.uniform(tuple(input.shape), lower, upper, dtype=input.dtype, device=input.device)
    return _apply(lambda x: tg.where(x > 0, x, x * slopes), input, inplace)


def rrelu_(input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Any:
    """rrelu in place."""
    return rrelu(input, lower, upper, training, True)


def glu(input: Any, dim: int = -1) -> Any:
    """a * sigmoid(b) of the halves of an axis."""
    return tg.glu(input, dim)


def swiglu(input: Any, dim: int = -1) -> Any:
    """silu(a) * b of the halves of an axis."""
    return tg.swiglu(input, dim)


def geglu(input: Any, dim: int = -1) -> Any:
    """gelu(a) * b of the halves of an axis."""
    return tg.geglu(input, dim)


def softmin(input: Any, dim: int | None = None) -> Any:
    """softmax(-x)."""
    return tg.softmax(-input, _dim(input, dim, "softmin"))


def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, dim: int = -1) -> Any:
    """Samples of a categorical distribution that are differentiable in its logits (Jang et al., 2017).

    Parameters
    ----------
    logits : Tensor
        Unnormalised log-probabilities.
    tau : float
        Temperature: small values come near one-hot samples.
    hard : bool
        One-hot values with the soft samples' gradients.
    dim : int
    """
    if not tau > 0:
        raise ValueError(f"[gumbel_softmax] expected tau above 0, got {tau}")
    u = tg.rand(tuple(logits.shape), dtype=logits.dtype, device=logits.device)
    waits = (-(-u).log1p()).maximum(tg.finfo(logits.dtype).tiny)  # exponential; u is in [0, 1)
    soft = tg.softmax((logits - waits.log()) / tau, dim)
    if not hard:
        return soft
    best = soft.detach().argmax(dim, keepdims=True)
    line = [1] * soft.ndim
    line[dim] = soft.shape[dim]
    one = (tg.arange(soft.shape[dim], device=soft.device).reshape(line) == best).to(soft.dtype)
    return one - soft.detach() + soft
