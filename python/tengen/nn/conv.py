# SPDX-License-Identifier: Apache-2.0
"""Convolutions over 1, 2 or 3 spatial axes: one class for all, the public ones fix the number of axes."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvBase(Module):
    _rank: int
    _transposed = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
                 output_padding: Any = 0, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        name, n = type(self).__name__, self._rank
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"[{name}] groups = {groups} must divide in_channels = {in_channels} and "
                             f"out_channels = {out_channels}")
        modes = ("zeros",) if self._transposed else ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"[{name}] expected padding_mode to be one of {', '.join(modes)}, got {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = F.sizes(kernel_size, n, name, "kernel_size", 1)
        self.stride = F.sizes(stride, n, name, "stride", 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid") or self._transposed:
                raise ValueError(f"[{name}] expected padding to be sizes, 'same' or 'valid', got {padding!r}")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError(f"[{name}] padding 'same' needs stride 1, got {self.stride}")
            self.padding: Any = padding
        else:
            self.padding = F.sizes(padding, n, name, "padding", 0)
        self.dilation = F.sizes(dilation, n, name, "dilation", 1)
        self.output_padding = F.sizes(output_padding, n, name, "output_padding", 0)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        self.weight = Parameter(tg.empty((first, second // groups, *self.kernel_size), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(tg.empty((out_channels,), device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = init.fans(self.weight)[0]
            bound = 1 / math.sqrt(fan_in) if fan_in else 0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        zero, one = (0,) * self._rank, (1,) * self._rank
        if self.padding != zero:
            text += f", padding={self.padding}"
        if self.dilation != one:
            text += f", dilation={self.dilation}"
        if self.output_padding != zero:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvBase):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device=device, dtype=dtype)
        # What the op takes, made once: begins, then ends.
        self._op_padding = F.conv_padding(self.padding, self.kernel_size, self.dilation)
        self._around = None  # what F.pad takes: pairs from the last axis on
        if padding_mode != "zeros":
            begins, ends = self._op_padding[:self._rank], self._op_padding[self._rank:]
            self._around = tuple(v for pair in zip(reversed(begins), reversed(ends)) for v in pair)
            self._op_padding = (0,) * (2 * self._rank)

    def forward(self, x: Any) -> Any:
        if self._around is not None:
            x = F.pad(x, self._around, self.padding_mode)
        return F.conv_op(
            x, self.weight, self.bias, self.stride, self._op_padding, self.dilation, self.groups, self._rank
        )


class Conv1d(_Conv):
    """Convolution over x[N, C, s] (or [C, s]); weight [O, C / groups, k].

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or tuple
    padding : int, tuple, 'same' (stride 1: as large as the input) or 'valid' (none)
    groups : int
        Input and output channels are split into this many groups that do not see each other.
    bias : bool
    padding_mode : 'zeros', 'reflect', 'replicate' or 'circular'
    """

    _rank = 1


class Conv2d(_Conv):
    __doc__ = Conv1d.__doc__.replace("x[N, C, s] (or [C, s])", "x[N, C, h, w] (or [C, h, w])").replace("k]", "kh, kw]")
    _rank = 2


class Conv3d(_Conv):
    __doc__ = Conv1d.__doc__.replace("x[N, C, s] (or [C, s])", "x[N, C, d, h, w]").replace("k]", "kd, kh, kw]")
    _rank = 3


class _ConvTranspose(_ConvBase):
    _transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
                 padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         output_padding, device=device, dtype=dtype)

    def forward(self, x: Any) -> Any:
        return F.conv_transpose_op(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
            self._rank,
        )


class ConvTranspose1d(_ConvTranspose):
    """The gradient of a Conv1d with respect to its input, as a layer; weight [in, out / groups, k]."""

    _rank = 1


class ConvTranspose2d(_ConvTranspose):
    """The gradient of a Conv2d with respect to its input, as a layer; weight [in, out / groups, kh, kw]."""

    _rank = 2


class ConvTranspose3d(_ConvTranspose):
    """The gradient of a Conv3d with respect to its input, as a layer; weight [in, out / groups, kd, kh, kw]."""

    _rank = 3
