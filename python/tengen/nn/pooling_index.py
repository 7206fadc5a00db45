# SPDX-License-Identifier: Apache-2.0
"""Adaptive max pools, unpooling and power-average pools as layers."""
from __future__ import annotations

from typing import Any

from . import functional as F
from .module import Module

__all__ = [
    "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxUnpool1d",
    "MaxUnpool2d", "MaxUnpool3d",
]


class _AdaptiveMaxPool(Module):
    """The maximum of as many windows as the output has elements; output_size: int or tuple, None keeps an axis."""

    _rank: int

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool_op(x, self.output_size, self.return_indices, self._rank)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _rank = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _rank = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _rank = 3


class _MaxUnpool(Module):
    """Zeros, with x at the places that a max pool's indices name. kernel_size, stride, padding: the max pool's."""

    _rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        name, n = type(self).__name__, self._rank
        self.kernel_size = F.sizes(kernel_size, n, name, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else F.sizes(stride, n, name, "stride", 1)
        self.padding = F.sizes(padding, n, name, "padding", 0)

    def forward(self, x: Any, indices: Any, output_size: Any = None) -> Any:
        return F.max_unpool_op(x, indices, self.kernel_size, self.stride, self.padding, output_size, self._rank)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _rank = 1


class MaxUnpool2d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _rank = 2


class MaxUnpool3d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _rank = 3


class _LPPool(Module):
    """(sum of x^p)^(1/p) of every window, p = norm_type; a negative sum counts as 0."""

    _rank: int

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        return F.lp_pool_op(x, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode, self._rank)

    def extra_repr(self) -> str:
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


class LPPool1d(_LPPool):
    __doc__ = _LPPool.__doc__
    _rank = 1


class LPPool2d(_LPPool):
    __doc__ = _LPPool.__doc__
    _rank = 2


class LPPool3d(_LPPool):
    __doc__ = _LPPool.__doc__
    _rank = 3


class _FractionalMaxPool(Module):
    """The largest elements of windows that begin at random, about evenly spread places.

    Parameters
    ----------
    kernel_size : int or tuple
    output_size : int or tuple
        how many windows; or
    output_ratio : float or tuple
        their number over the input's size
    return_indices : bool
        also where the largest element was
    """

    _rank: int

    def __init__(self, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False) -> None:
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"[{type(self).__name__}] expected one of output_size and output_ratio")
        self.kernel_size, self.output_size, self.output_ratio = kernel_size, output_size, output_ratio
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        return F.fractional_max_pool_op(x, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, None, self._rank)

    def extra_repr(self) -> str:
        many = f"output_size={self.output_size}" if self.output_ratio is None else f"output_ratio={self.output_ratio}"
        return f"kernel_size={self.kernel_size}, {many}"


class FractionalMaxPool2d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    _rank = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    _rank = 3
