# SPDX-License-Identifier: Apache-2.0
"""Layers of detectors: regions of interest, and convolutions whose taps move or belong to places; functions in tengen.vision."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["DeformConv2d", "DeformablePSROIPooling", "LocalConv2d", "RegionRestrictedConv", "RoIAlign", "RoIPool"]


class RoIAlign(Module):
    """Bilinear samples in the bins of boxes: see vision.roi_align. Called with (input, boxes).

    Parameters
    ----------
    output_size : int or tuple
    spatial_scale : float
    sampling_ratio : int or tuple
    aligned : bool
    mode : 'average' or 'max'
    """

    def __init__(self, output_size: Any, spatial_scale: float = 1.0, sampling_ratio: Any = -1, aligned: bool = False,
                 mode: str = "average") -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.mode = mode

    def forward(self, input: Any, boxes: Any) -> Any:
        return tg.vision.roi_align(input, boxes, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned, self.mode)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, sampling_ratio={self.sampling_ratio}, "
                f"aligned={self.aligned}")


class RoIPool(Module):
    """The largest elements in the bins of boxes: see vision.roi_pool. Called with (input, boxes)."""

    def __init__(self, output_size: Any, spatial_scale: float = 1.0, mode: str = "max") -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.mode = mode

    def forward(self, input: Any, boxes: Any) -> Any:
        return tg.vision.roi_pool(input, boxes, self.output_size, self.spatial_scale, self.mode)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, mode={self.mode!r}"


class DeformablePSROIPooling(Module):
    """Samples in the bins of boxes, moved by offsets: see vision.deformable_psroi_pooling. Called with (input, boxes, offset)."""

    def __init__(self, output_size: Any, spatial_scale: float = 1.0, samples: int = 4, offset_scale: float = 0.1) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.samples = samples
        self.offset_scale = offset_scale

    def forward(self, input: Any, boxes: Any, offset: Any = None) -> Any:
        return tg.vision.deformable_psroi_pooling(input, boxes, offset, self.output_size, self.spatial_scale, self.samples,
                                                  self.offset_scale)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, samples={self.samples}, "
                f"offset_scale={self.offset_scale}")


class _Taps(Module):
    """What convolutions over two axes share: sizes, a weight and a bias, and how these begin."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
        super().__init__()
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"[{name}] expected groups that divide in_channels {in_channels} and out_channels {out_channels}, got {groups}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = F.sizes(kernel_size, 2, name, "kernel_size", 1)
        self.stride = F.sizes(stride, 2, name, "stride", 1)
        self.padding = F.sizes(padding, 2, name, "padding", 0)
        self.dilation = F.sizes(dilation, 2, name, "dilation", 1)
        self.groups = groups

    def _parameters_of(self, weight: tuple[int, ...], bias: tuple[int, ...] | None, device: Any, dtype: Any) -> None:
        self.weight = Parameter(tg.empty(weight, device=device, dtype=dtype))
        if bias is None:
            self.register_parameter("bias", None)
        else:
            self.bias = Parameter(tg.empty(bias, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(inputs of an output), as Conv2d."""
        bound = 1 / math.sqrt(max(1, self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]))
        for p in (self.weight, self.bias):
            if p is not None:
                init.uniform_(p, -bound, bound)

    def extra_repr(self) -> str:
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}")


class DeformConv2d(_Taps):
    """Convolution whose taps are moved by offsets: see vision.deform_conv2d. Called with (input, offset) or (input, offset, mask).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or tuple
    groups : int
    bias : bool
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                 groups: int = 1, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self._parameters_of((out_channels, in_channels // groups, *self.kernel_size), (out_channels,) if bias else None, device, dtype)

    def forward(self, input: Any, offset: Any, mask: Any = None) -> Any:
        return tg.deform_conv(input, self.weight, offset, mask, self.bias, self.stride, self.padding, self.dilation, self.groups)


class LocalConv2d(_Taps):
    """Convolution with weights of its own at every place of an image of fixed size: see vision.local_conv2d.

    Parameters
    ----------
    in_channels, out_channels : int
    input_height, input_width : int
    kernel_size, stride, padding, dilation : int or tuple
    groups : int
    bias : bool
        one number per channel and place
    """

    def __init__(self, in_channels: int, out_channels: int, input_height: int, input_width: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = False, device: Any = None, dtype: Any = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.input_size = (input_height, input_width)
        places = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(
            self.input_size, self.padding, self.dilation, self.kernel_size, self.stride))
        if min(places) < 1:
            raise ValueError(f"[LocalConv2d] expected an image of at least the kernel's extent, got {self.input_size} for kernel "
                             f"{self.kernel_size}, padding {self.padding} and dilation {self.dilation}")
        self._parameters_of((groups, *places, in_channels // groups, *self.kernel_size, out_channels // groups),
                            (out_channels, *places) if bias else None, device, dtype)

    def forward(self, input: Any) -> Any:
        return tg.local_conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation)


class RegionRestrictedConv(_Taps):
    """Convolution within regions: see vision.region_restricted_conv. Called with (input, input_regions, output_regions).

    Parameters as DeformConv2d.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                 groups: int = 1, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self._parameters_of((out_channels, in_channels // groups, *self.kernel_size), (out_channels,) if bias else None, device, dtype)

    def forward(self, input: Any, input_regions: Any, output_regions: Any) -> Any:
        return tg.region_restricted_conv(input, self.weight, input_regions, output_regions, self.bias, self.stride, self.padding,
                                         self.dilation, self.groups)
