# SPDX-License-Identifier: Apache-2.0
"""Functions behind the layers, with PyTorch's names and arguments, over the op table.

>>> import tengen.nn.functional as F
>>> F.max_pool2d(F.conv2d(x, weight, bias, padding=1).relu(), 2)
"""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

# ---- arguments -------------------------------------------------------------------------------------------------------


def sizes(value: Any, n: int, op: str, what: str, least: int) -> tuple[int, ...]:
    """`value` as n integers: itself, or a number n times."""
    if isinstance(value, int) and not isinstance(value, bool):
        out = (value,) * n
    else:
        try:
            out = tuple(int(v) for v in value)
        except (TypeError, ValueError):
            raise TypeError(f"[{op}] expected {what} to be an integer or {n} of them, got {value!r}") from None
        if len(out) == 1 and n > 1:
            out *= n
    if len(out) != n or any(v < least for v in out):
        raise ValueError(
            f"[{op}] expected {what} to be an integer or {n} of them, each at least {least}, got {value!r}"
        )
    return out


def check_reduction(reduction: str, op: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"[{op}] expected reduction to be 'mean', 'sum' or 'none', got {reduction!r}")


def _reduce(x: Any, reduction: str) -> Any:
    return x.mean() if reduction == "mean" else x.sum() if reduction == "sum" else x


def _with_batch(fn: Any, x: Any, rank: int, op: str) -> Any:
    """Calls fn with x[N, C, s...], adding and removing the batch axis of an unbatched x[C, s...]."""
    if x.ndim == rank + 2:
        return fn(x)
    if x.ndim == rank + 1:
        return fn(x.unsqueeze(0)).squeeze(0)
    raise ValueError(f"[{op}] expected {rank + 2} dimensions (or {rank + 1}, unbatched), got shape {tuple(x.shape)}")


# ---- linear, embedding, shape ----------------------------------------------------------------------------------------


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """input @ weight.T + bias; weight [out, in]."""
    return tg.linear(input, weight, bias)


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Rows of weight at the indices; the row padding_idx gets no gradient."""
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    if padding_idx is None or not (weight.requires_grad and tg.is_grad_enabled()):
        return tg.embedding(weight, input)
    rows = tg.embedding(weight, input)
    padded = (input == padding_idx).unsqueeze(-1)
    return tg.where(padded, rows.detach(), rows)


def one_hot(input: Any, num_classes: int) -> Any:
    """i64 [..., num_classes]."""
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
    """Pads the last axes: (last begin, last end, second last begin, ...)."""
    if mode != "constant":
        raise ValueError(f"[pad] expected mode 'constant', got {mode!r}")
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise ValueError(f"[pad] expected pairs for at most {input.ndim} axes, got {pad!r}")
    begins, ends = [0] * input.ndim, [0] * input.ndim
    for i in range(len(pad) // 2):
        begins[-1 - i], ends[-1 - i] = pad[2 * i], pad[2 * i + 1]
    return tg.pad(input, begins + ends, value)


# ---- convolution -----------------------------------------------------------------------------------------------------


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
    return _with_batch(lambda b: tg.conv(b, weight, bias, stride, padding, dilation, groups), x, rank, f"conv{rank}d")


def _conv(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, rank: int) -> Any:
    op = f"conv{rank}d"
    if weight.ndim != rank + 2:
        raise ValueError(f"[{op}] expected a weight of {rank + 2} dimensions, got shape {tuple(weight.shape)}")
    stride, dilation = sizes(stride, rank, op, "stride", 1), sizes(dilation, rank, op, "dilation", 1)
    if not isinstance(padding, str):
        padding = sizes(padding, rank, op, "padding", 0)
    elif padding not in ("same", "valid") or (padding == "same" and any(s != 1 for s in stride)):
        raise ValueError(f"[{op}] expected padding to be sizes, 'valid' or (with stride 1) 'same', got {padding!r}")
    padding = conv_padding(padding, tuple(weight.shape[2:]), dilation)
    return conv_op(x, weight, bias, stride, padding, dilation, groups, rank)


def conv1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Any:
    """Convolution of input[N, C, s] with weight[O, C / groups, k]."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Any:
    """Convolution of input[N, C, h, w] with weight[O, C / groups, kh, kw]."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, 2)


def conv3d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Any:
    """Convolution of input[N, C, d, h, w] with weight[O, C / groups, kd, kh, kw]."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, 3)


def conv_transpose_op(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
                      dilation: Any, rank: int) -> Any:
    """The data gradient of the convolution whose weight is `weight` and whose output has x's shape."""
    op = f"conv_transpose{rank}d"
    if any(o >= max(s, d) for o, s, d in zip(output_padding, stride, dilation)):
        raise ValueError(
            f"[{op}] output_padding {output_padding} must be smaller than stride {stride} or dilation {dilation}"
        )

    def run(b: Any) -> Any:
        spatial = tuple((n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, s, p, d, k, o in zip(
            b.shape[2:], stride, padding, dilation, weight.shape[2:], output_padding))
        # output_padding only says which of the sizes that this stride maps to x's is meant.
        y = tg.conv_backward_data(b, weight, stride, (*padding, *padding), dilation, groups, spatial)
        return y if bias is None else y + bias.reshape((-1, *(1,) * rank))

    return _with_batch(run, x, rank, op)


def _conv_transpose(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    rank: int,
) -> Any:
    op = f"conv_transpose{rank}d"
    return conv_transpose_op(
        x,
        weight,
        bias,
        sizes(stride, rank, op, "stride", 1),
        sizes(padding, rank, op, "padding", 0),
        sizes(output_padding, rank, op, "output_padding", 0),
        groups,
        sizes(dilation, rank, op, "dilation", 1),
        rank,
    )


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Transposed convolution of input[N, C, s] with weight[C, O / groups, k]."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 1)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Transposed convolution of input[N, C, h, w] with weight[C, O / groups, kh, kw]."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 2)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Transposed convolution of input[N, C, d, h, w] with weight[C, O / groups, kd, kh, kw]."""
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 3)


# ---- pooling ---------------------------------------------------------------------------------------------------------


def _pool_arguments(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, rank: int,
                    op: str) -> tuple:
    kernel = sizes(kernel, rank, op, "kernel_size", 1)
    stride = kernel if stride is None else sizes(stride, rank, op, "stride", 1)
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


def max_pool_op(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, rank: int) -> Any:
    op = f"max_pool{rank}d"
    kernel, stride, padding, dilation = _pool_arguments(x, kernel, stride, padding, dilation, ceil_mode, rank, op)
    return _with_batch(lambda b: tg.max_pool(b, kernel, stride, padding, dilation), x, rank, op)


def max_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False) -> Any:
    return max_pool_op(input, kernel_size, stride, padding, dilation, ceil_mode, 1)


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False) -> Any:
    return max_pool_op(input, kernel_size, stride, padding, dilation, ceil_mode, 2)


def max_pool3d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False) -> Any:
    return max_pool_op(input, kernel_size, stride, padding, dilation, ceil_mode, 3)


def avg_pool_op(
    x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, rank: int
) -> Any:
    op = f"avg_pool{rank}d"
    plain = _pool_arguments(x, kernel, stride, padding, 1, False, rank, op)
    kernel, stride, padding, _ = _pool_arguments(x, kernel, stride, padding, 1, ceil_mode, rank, op)
    if padding == plain[2] or not count_include_pad:
        return _with_batch(lambda b: tg.avg_pool(b, kernel, stride, padding, count_include_pad), x, rank, op)
    # Ceil mode's last windows reach past the padding, and only what is padded counts: pad, then leave the rest out.
    begins, ends, grown = plain[2][:rank], plain[2][rank:], padding[rank:]
    around = [v for i in reversed(range(rank)) for v in (begins[i], ends[i])]
    more = (*(0,) * rank, *(g - e for g, e in zip(grown, ends)))
    return _with_batch(lambda b: tg.avg_pool(pad(b, tuple(around)), kernel, stride, more, False), x, rank, op)


def avg_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Any:
    return avg_pool_op(input, kernel_size, stride, padding, ceil_mode, count_include_pad, 1)


def avg_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Any:
    return avg_pool_op(input, kernel_size, stride, padding, ceil_mode, count_include_pad, 2)


def avg_pool3d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Any:
    return avg_pool_op(input, kernel_size, stride, padding, ceil_mode, count_include_pad, 3)


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
    return _with_batch(lambda b: tg.adaptive_avg_pool(b, want), x, rank, op)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    return adaptive_avg_pool_op(input, output_size, 1)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    return adaptive_avg_pool_op(input, output_size, 2)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    return adaptive_avg_pool_op(input, output_size, 3)


# ---- normalisation ---------------------------------------------------------------------------------------------------


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


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """input divided by its p-norm along dim, which counts as at least eps."""
    norm = (input.abs() ** p).sum(dim, keepdim=True) ** (1 / p)
    return input / norm.maximum(tg.full_like(norm, eps))


# ---- activations -----------------------------------------------------------------------------------------------------


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


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None) -> Any:
    """softmax(query @ key^T * scale + mask) @ value; scale is 1 / sqrt(features) by default."""
    return tg.scaled_dot_product_attention(query, key, value, attn_mask, is_causal, scale, dropout_p)


# ---- losses ----------------------------------------------------------------------------------------------------------


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Any:
    """Of logits [N, C, ...] (or [C]) against class indices [N, ...] or probabilities of the logits' shape."""
    check_reduction(reduction, "cross_entropy")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"[cross_entropy] expected label_smoothing between 0 and 1, got {label_smoothing}")
    if not target.dtype.is_floating_point:
        return tg.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(f"[cross_entropy] probabilities must have the logits' shape {tuple(input.shape)}, got "
                         f"{tuple(target.shape)}")
    axis = 0 if input.ndim == 1 else 1
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    loss = -(tg.log_softmax(input, axis) * target)
    if weight is not None:
        loss = loss * weight.reshape((-1, *(1,) * (input.ndim - 1 - axis)))
    loss = loss.sum(axis)
    return _reduce(loss, reduction)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[n, target[n], ...] of log-probabilities [N, C, ...]; the mean is weighted by the classes' weights."""
    return tg.nll_loss(input, target, weight, reduction, ignore_index)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2."""
    return tg.mse_loss(input, target, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|."""
    return tg.l1_loss(input, target, reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) for |d| < beta, else |d| - beta / 2."""
    return tg.smooth_l1_loss(input, target, reduction, beta)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, reduction: str = "mean",
                                     pos_weight: Any = None) -> Any:
    """-(p w log s(x) + (1 - w) log(1 - s(x))) for targets w, written so that it neither overflows nor cancels."""
    if weight is None and pos_weight is None:
        return tg.binary_cross_entropy_with_logits(input, target, reduction)
    check_reduction(reduction, "binary_cross_entropy_with_logits")
    if pos_weight is None:
        loss = tg.binary_cross_entropy_with_logits(input, target, "none")
    else:  # log(1 + exp(-x)) = softplus(-x)
        loss = (1 - target) * input + ((pos_weight - 1) * target + 1) * tg.softplus(-input)
    return _reduce(loss if weight is None else loss * weight, reduction)
