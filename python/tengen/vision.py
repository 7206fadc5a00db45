# SPDX-License-Identifier: Apache-2.0
"""Boxes and what detectors do with them, by the names of torchvision.ops. docs/vision.md has an example.

Boxes are (x1, y1, x2, y2) unless said otherwise.

>>> import tengen as tg
>>> boxes = tg.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [3.0, 3.0, 4.0, 4.0]])
>>> tg.vision.nms(boxes, tg.tensor([0.5, 0.9, 0.1]), 0.5).tolist()
[1, 2]
"""

from __future__ import annotations

from . import _core
from ._core import Tensor

_f = _core.ops
nms_padded = _f["nms_padded"]
box_convert = _f["box_convert"]

__all__ = [
    "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "complete_box_iou", "complete_box_iou_loss",
    "distance_box_iou", "distance_box_iou_loss", "generalized_box_iou", "generalized_box_iou_loss", "nms", "nms_padded",
    "remove_small_boxes", "sigmoid_focal_loss",
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
    p = inputs.sigmoid()
    wrong = p * (1 - targets) + (1 - p) * targets
    loss = _f["binary_cross_entropy_with_logits"](inputs, targets, reduction="none") * wrong**gamma
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return _reduced("sigmoid_focal_loss", loss, reduction)
