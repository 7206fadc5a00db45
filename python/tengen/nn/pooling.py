# SPDX-License-Identifier: Apache-2.0
"""Pooling layers: one class per kind, the public ones fix the number of spatial axes."""
from __future__ import annotations

from typing import Any

from . import functional as F
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d",
]


class _MaxPool(Module):
    """The maximum of every window. kernel_size, stride (the kernel's by default), padding, dilation: int or tuple."""

    _rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                 return_indices: bool = False, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        return F.max_pool_op(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self._rank,
                             self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _rank = 1


class MaxPool2d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _rank = 2


class MaxPool3d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _rank = 3


class _AvgPool(Module):
    """The mean of every window. kernel_size, stride (the kernel's by default) and padding: int or tuple."""

    _rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = F.sizes(kernel_size, 1, name, "kernel_size", 1) if self._rank == 1 else kernel_size
        stride = kernel_size if stride is None else stride
        self.stride = F.sizes(stride, 1, name, "stride", 1) if self._rank == 1 else stride
        self.padding = F.sizes(padding, 1, name, "padding", 0) if self._rank == 1 else padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Any:
        return F.avg_pool_op(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                             self._rank, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _rank = 1


class AvgPool2d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _rank = 2


class AvgPool3d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _rank = 3


class _AdaptiveAvgPool(Module):
    """The mean of as many windows as the output has elements; output_size: int or tuple, None keeps an axis."""

    _rank: int

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool_op(x, self.output_size, self._rank)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _rank = 3
