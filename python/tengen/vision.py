# SPDX-License-Identifier: Apache-2.0
"""Boxes and what detectors do with them, by the names of torchvision.ops. docs/vision.md has an example.

Boxes are (x1, y1, x2, y2) unless said otherwise.

>>> import tengen as tg
>>> boxes = tg.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [3.0, 3.0, 4.0, 4.0]])
>>> tg.vision.nms(boxes, tg.tensor([0.5, 0.9, 0.1]), 0.5).tolist()
[1, 2]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import _core
from ._core import Tensor

_f = _core.ops
# Names that are ops.
nms_padded, box_convert, correlation = _f["nms_padded"], _f["box_convert"], _f["correlation"]
cvt_color, local_conv2d, region_restricted_conv = _f["cvt_color"], _f["local_conv2d"], _f["region_restricted_conv"]

__all__ = [
    "DeformConv2d", "DeformablePSROIPooling", "LocalConv2d", "RegionRestrictedConv", "RoIAlign", "RoIPool", "batched_nms",
    "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "complete_box_iou", "complete_box_iou_loss", "correlation",
    "cvt_color", "deform_conv2d", "deformable_psroi_pooling", "distance_box_iou", "distance_box_iou_loss", "generalized_box_iou",
    "generalized_box_iou_loss", "local_conv2d", "nms", "nms_padded", "region_restricted_conv", "remap", "remove_small_boxes",
    "roi_align", "roi_pool", "sigmoid_focal_loss", "warp_affine", "warp_perspective",
]  # fmt: skip


def _kept(boxes: Tensor, scores: Tensor, groups: Tensor | None, iou_threshold: float, max_output: int | None) -> Tensor:
    if boxes.ndim != 2:
        raise ValueError(f"[nms] expected boxes of shape (n, 4), got {tuple(boxes.shape)}; nms_padded takes several images at once")
    index, count = nms_padded(boxes.detach(), scores.detach(), groups, iou_threshold, max_output)
    return index[: count.item()]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, max_output: int | None = None) -> Tensor:
    """The boxes that stay when each one removes those that overlap it too much, the best score first.

    Waits for the device, since how many they are depends on values; nms_padded does not.

    Parameters
    ----------
    boxes : Tensor
        [n, 4] floats
    scores : Tensor
        [n]
    iou_threshold : float
        a box goes when its intersection over union with a better one that stays is above this
    max_output : int, optional
        at most so many

    Returns
    -------
    Tensor
        int64 indices, the best score first

    Raises
    ------
    ValueError
        where shapes do not fit, and for a threshold below 0

    Examples
    --------
    >>> boxes = tg.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9]])
    >>> tg.vision.nms(boxes, tg.tensor([0.5, 0.9]), 0.5).tolist()
    [1]
    """
    return _kept(boxes, scores, None, iou_threshold, max_output)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float, max_output: int | None = None) -> Tensor:
    """nms within groups: a box removes only those with its number in idxs (a class, an image, a level).

    Parameters and errors as nms; idxs : Tensor, integers [n].

    Examples
    --------
    >>> boxes = tg.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9]])
    >>> tg.vision.batched_nms(boxes, tg.tensor([0.5, 0.9]), tg.tensor([0, 1]), 0.5).tolist()
    [1, 0]
    """
    return _kept(boxes, scores, idxs, iou_threshold, max_output)


# ---- boxes ----


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of all pairs: [..., n, 4] and [..., m, 4] give [..., n, m]."""
    return _f["box_iou"](boxes1, boxes2)


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """box_iou less the share of the pair's hull that is outside both (Rezatofighi et al., 2019)."""
    return _f["box_iou"](boxes1, boxes2, "giou")


def distance_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """box_iou less the squared distance of the centres over the hull's squared diagonal (Zheng et al., 2020)."""
    return _f["box_iou"](boxes1, boxes2, "diou")


def complete_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """distance_box_iou less a weight, which is taken as a constant, times the difference of the shapes."""
    return _f["box_iou"](boxes1, boxes2, "ciou")


def box_area(boxes: Tensor) -> Tensor:
    """Areas of boxes [..., 4].

    Examples
    --------
    >>> tg.vision.box_area(tg.tensor([[1.0, 2.0, 5.0, 8.0]])).tolist()
    [24.0]
    """
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes [..., 4] with their sides moved into an image of size (height, width)."""
    height, width = size
    limits = _core.asarray([width, height, width, height], dtype=boxes.dtype, device=boxes.device)
    return _f["minimum"](_f["maximum"](boxes, 0), limits)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """The indices of the boxes [n, 4] whose sides are at least min_size."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return _f["all"](sides >= min_size, -1).nonzero().squeeze(1)


# ---- losses ----


def _reduced(name: str, loss: Tensor, reduction: str) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"[{name}] expected reduction 'none', 'mean' or 'sum', got {reduction!r}")
    if reduction == "none":
        return loss
    # The mean over no boxes is 0: an image without objects adds nothing.
    return loss.mean() if reduction == "mean" and loss.numel() else loss.sum()


def _box_loss(kind: str, name: str, boxes1: Tensor, boxes2: Tensor, reduction: str) -> Tensor:
    return _reduced(name, 1 - _f["box_iou"](boxes1, boxes2, kind, False), reduction)


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none") -> Tensor:
    """1 - generalized_box_iou of boxes [..., 4] one by one; reduction 'none', 'mean' or 'sum'.

    Examples
    --------
    >>> box = tg.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> tg.vision.generalized_box_iou_loss(box, box).tolist()
    [0.0]
    """
    return _box_loss("giou", "generalized_box_iou_loss", boxes1, boxes2, reduction)


def distance_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none") -> Tensor:
    """1 - distance_box_iou of boxes [..., 4] one by one; reduction 'none', 'mean' or 'sum'."""
    return _box_loss("diou", "distance_box_iou_loss", boxes1, boxes2, reduction)


def complete_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none") -> Tensor:
    """1 - complete_box_iou of boxes [..., 4] one by one; reduction 'none', 'mean' or 'sum'."""
    return _box_loss("ciou", "complete_box_iou_loss", boxes1, boxes2, reduction)


def sigmoid_focal_loss(inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none") -> Tensor:
    """Binary cross entropy of logits in which what is right already counts little (Lin et al., 2017).

    Parameters
    ----------
    inputs : Tensor
        logits of any shape
    targets : Tensor
        0 and 1, of the same shape
    alpha : float
        weight of the ones, 1 - alpha of the zeros; below 0: neither
    gamma : float
        power of the probability of being wrong
    reduction : str
        'none', 'mean' or 'sum'

    Examples
    --------
    >>> round(tg.vision.sigmoid_focal_loss(tg.tensor([0.0]), tg.tensor([1.0])).item(), 4)
    0.0433
    """
    return _f["sigmoid_focal_loss"](inputs, targets, reduction, alpha, gamma)


# ---- regions of interest ----

Boxes = Any  # [K, 5] with an image's number in front, or for every image a tensor [k, 4]


def _with_images(name: str, boxes: Boxes) -> Tensor:
    """Boxes [K, 5]: image number, x1, y1, x2, y2."""
    if isinstance(boxes, Tensor):
        return boxes
    parts = []
    for i, b in enumerate(boxes):
        if b.ndim != 2 or b.shape[1] != 4:
            raise ValueError(f"[{name}] expected boxes [k, 4] for every image, got shape {tuple(b.shape)} for image {i}; "
                             "a tensor [K, 5] has the image's number in front")
        parts.append(_f["concat"]([_f["full"]((b.shape[0], 1), float(i), dtype=b.dtype, device=b.device), b], 1))
    if not parts:
        raise ValueError(f"[{name}] expected a tensor [K, 5], or for every image a tensor [k, 4], got an empty list")
    return _f["concat"](parts, 0)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _largest_bins(name: str, boxes: Tensor, bins: tuple[int, int], scale: float) -> tuple[float, float]:
    """Elements of the largest bin of any box; waits for the device."""
    if boxes.ndim != 2 or boxes.shape[0] == 0 or boxes.shape[1] != 5 or min(bins) < 1:
        return 1.0, 1.0  # none, or nothing that the op will take
    b = boxes.detach().to(_core.float64)
    height, width = (s.max().item() * scale / n for s, n in zip((b[:, 4] - b[:, 2], b[:, 3] - b[:, 1]), bins))
    if not (math.isfinite(height) and math.isfinite(width)):
        raise ValueError(f"[{name}] expected boxes of finite size, got bins of up to {height} x {width} elements")
    return height, width


def roi_align(input: Tensor, boxes: Boxes, output_size: int | tuple[int, int], spatial_scale: float = 1.0,
              sampling_ratio: int | tuple[int, int] = -1, aligned: bool = False, mode: str = "average") -> Tensor:
    """The mean (or maximum) of bilinear samples in the bins of boxes (He et al., "Mask R-CNN", 2017).

    Differentiable in input and boxes.

    Parameters
    ----------
    input : Tensor
        [N, C, H, W]
    boxes : Tensor or list of Tensor
        [K, 5] with an image's number in front, or for every image [k, 4]
    output_size : int or tuple
        bins: height and width
    spatial_scale : float
        from a box's units to elements of input
    sampling_ratio : int or tuple
        samples of a bin on an axis; 0 or below: one per element, which waits for the device to learn the largest bin
    aligned : bool
        an element's centre is at half its size (right); False is the first published form
    mode : str
        'average' or 'max'

    Returns
    -------
    Tensor
        [K, C, *output_size]

    Raises
    ------
    ValueError
        for shapes and sizes that do not fit
    IndexError
        for an image that is not there

    Examples
    --------
    >>> x = tg.arange(16, dtype=tg.float32).reshape(1, 1, 4, 4)
    >>> tg.vision.roi_align(x, [tg.tensor([[0.0, 0.0, 2.0, 2.0]])], 1, aligned=True).item()
    2.5
    """
    rois, bins = _with_images("roi_align", boxes), _pair(output_size)
    sampling, adaptive = _pair(sampling_ratio), False
    if min(sampling) <= 0:
        height, width = _largest_bins("roi_align", rois, bins, spatial_scale)
        sampling, adaptive = (max(1, math.ceil(height)), max(1, math.ceil(width))), True
    return _f["roi_align"](input, rois, bins, spatial_scale, sampling, adaptive, aligned, mode)


def roi_pool(input: Tensor, boxes: Boxes, output_size: int | tuple[int, int], spatial_scale: float = 1.0, mode: str = "max") -> Tensor:
    """The largest element (or the mean) in the bins of boxes rounded to elements (Girshick, "Fast R-CNN", 2015).

    Parameters and errors as roi_align; mode : str, 'max' or 'average'. Differentiable in input. Waits for the device to learn the
    largest bin; the op tg.roi_pool without `reach` does not.

    Examples
    --------
    >>> x = tg.arange(16, dtype=tg.float32).reshape(1, 1, 4, 4)
    >>> tg.vision.roi_pool(x, [tg.tensor([[0.0, 0.0, 3.0, 3.0]])], 2).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    rois, bins = _with_images("roi_pool", boxes), _pair(output_size)
    # A side's ends round by a half each, and a bin's by less than one each.
    most = [math.ceil(s + 2 / max(n, 1)) + 2 for s, n in zip(_largest_bins("roi_pool", rois, bins, spatial_scale), bins)]
    reach = [max(1, min(m, n)) for m, n in zip(most, input.shape[2:])]
    return _f["roi_pool"](input, rois, bins, spatial_scale, mode, reach)


def deformable_psroi_pooling(input: Tensor, boxes: Boxes, offset: Tensor | None, output_size: int | tuple[int, int],
                             spatial_scale: float = 1.0, samples: int = 4, offset_scale: float = 0.1) -> Tensor:
    """The mean of bilinear samples in the bins of boxes, moved by offsets (Dai et al., 2017); without offsets they stay.

    Parameters and errors as roi_align. Differentiable in input and offset.

    offset : Tensor, optional
        [K, 2 classes, parts, parts]: x, then y, for each class (of C / classes channels) and part of a box
    samples : int
        of a bin on either axis
    offset_scale : float
        from an offset to parts of the box's size
    """
    rois = _with_images("deformable_psroi_pooling", boxes)
    return _f["deformable_psroi_pooling"](input, rois, offset, _pair(output_size), spatial_scale, samples, offset_scale)


# ---- convolutions ----


def deform_conv2d(input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
                  dilation: Any = 1, mask: Tensor | None = None) -> Tensor:
    """Convolution whose taps are moved by offsets, and weighted by a mask (Dai et al., 2017; Zhu et al., 2019).

    Differentiable in all tensors. Groups follow from the channels, as in torchvision.

    Parameters
    ----------
    input : Tensor
        [N, C, H, W]
    offset : Tensor
        [N, 2 parts kh kw, h, w]: for each part of the channels and each tap y, then x
    weight : Tensor
        [O, C / groups, kh, kw]
    bias : Tensor, optional
        [O]
    stride, padding, dilation : int or tuple
    mask : Tensor, optional
        [N, parts kh kw, h, w]

    Raises
    ------
    ValueError
        where channels, groups or sizes do not fit

    Examples
    --------
    >>> offset = tg.tensor([0.0, 0.5]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    >>> tg.vision.deform_conv2d(tg.tensor([[[[1.0, 2.0, 3.0]]]]), offset, tg.ones(1, 1, 1, 1)).tolist()
    [[[[1.5, 2.5, 1.5]]]]
    """
    groups = input.shape[1] // weight.shape[1] if input.ndim == 4 and weight.ndim == 4 and weight.shape[1] else 1
    return _f["deform_conv"](input, weight, offset, mask, bias, stride, padding, dilation, max(groups, 1))


# ---- warps ----

_FORMATS = ("NCHW", "NHWC")


def _read(name: str, input: Tensor, where: Tensor, index: Any, attrs: tuple, format: str) -> Tensor:
    if format not in _FORMATS:
        raise ValueError(f"[{name}] expected format 'NCHW' or 'NHWC', got {format!r}")
    if index is not None and not isinstance(index, Tensor):
        index = _core.asarray(index, dtype=_core.int64, device=input.device)
    last = format == "NHWC"
    y = _f[name](input.permute(0, 3, 1, 2) if last else input, where, index, *attrs)
    return y.permute(0, 2, 3, 1) if last else y


def remap(input: Tensor, map_xy: Tensor, border_mode: str = "replicate", scalar: float = 0.0, interp_mode: str = "linear",
          format: str = "NCHW") -> Tensor:
    """input at places [N, h, w, 2] (x, then y, in elements), as OpenCV's remap.

    Parameters
    ----------
    input : Tensor
        [N, C, H, W] (or, with format 'NHWC', [N, H, W, C]); floats or uint8
    map_xy : Tensor
        [N, h, w, 2], of input's dtype (a float for uint8)
    border_mode : str
        what is outside: 'replicate', 'reflect', 'reflect_101', 'wrap' or 'constant'
    scalar : float
        what is outside with 'constant'
    interp_mode : str
        'linear', 'nearest' or 'cubic'

    Examples
    --------
    >>> x = tg.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> tg.vision.remap(x, tg.tensor([[[[0.5, 0.0], [1.0, 9.0]]]])).tolist()
    [[[[1.5, 4.0]]]]
    """
    return _read("remap", input, map_xy, None, (interp_mode, border_mode, scalar), format)


def warp_affine(input: Tensor, mat: Tensor, out_shape: Sequence[int], border_mode: str = "replicate", border_val: float = 0.0,
                format: str = "NCHW", interp_mode: str = "linear", mat_idx: Any = None) -> Tensor:
    """Affine transformations mat[N, 2, 3], which lead from places of the result to places of input (x, then y, in elements).

    out_shape : height and width of the result. mat_idx : the image for each matrix. The others as remap.
    """
    return _read("warp_affine", input, mat, mat_idx, (_pair(out_shape), interp_mode, border_mode, border_val), format)


def warp_perspective(input: Tensor, mat: Tensor, out_shape: Sequence[int], mat_idx: Any = None, border_mode: str = "replicate",
                     border_val: float = 0.0, format: str = "NCHW", interp_mode: str = "linear") -> Tensor:
    """Perspective transformations mat[N, 3, 3], which lead from places of the result to places of input; else as warp_affine."""
    return _read("warp_perspective", input, mat, mat_idx, (_pair(out_shape), interp_mode, border_mode, border_val), format)


from .nn.regions import (  # noqa: E402, F401
    DeformablePSROIPooling,
    DeformConv2d,
    LocalConv2d,
    RegionRestrictedConv,
    RoIAlign,
    RoIPool,
)
