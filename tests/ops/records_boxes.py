# SPDX-License-Identifier: Apache-2.0
"""Boxes: overlaps of one pair at a time, in scalars; suppression by the loop that defines it."""

from __future__ import annotations

import math

import numpy as np
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def boxes(rng, *shape):
    """Corners on multiples of 1/8, which every dtype holds; no two boxes share a side."""
    first = rng.integers(0, 40, (*shape, 2)) / 8 + 0.0
    size = rng.integers(4, 40, (*shape, 2)) / 8
    place = np.arange(np.prod(shape)).reshape(*shape, 1) / 512
    return np.concatenate([first + place, first + size + 2 * place], -1)


def overlap(a, b, kind="iou"):
    """Of two boxes, in Python's floats."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = map(float, a), map(float, b)
    inner = max(min(ax2, bx2) - max(ax1, bx1), 0.0) * max(min(ay2, by2) - max(ay1, by1), 0.0)
    both = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inner
    iou = inner / both if both else math.nan
    w, h = max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1)
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (w * h - both) / (w * h)
    away = math.hypot((ax1 + ax2 - bx1 - bx2) / 2, (ay1 + ay2 - by1 - by2) / 2)
    diou = iou - away**2 / (w**2 + h**2 + 1e-7)
    if kind == "diou":
        return diou
    v = 4 / math.pi**2 * (math.atan((ax2 - ax1) / (ay2 - ay1)) - math.atan((bx2 - bx1) / (by2 - by1))) ** 2
    return diou - v * v / (1 - iou + v + 1e-7)


def box_iou(a, b, kind="iou", pairwise=True):
    if pairwise:
        a, b = a[..., :, None, :], b[..., None, :, :]
    a, b = np.broadcast_arrays(a, b)
    y = np.zeros(a.shape[:-1])
    for at in np.ndindex(y.shape):
        y[at] = overlap(a[at], b[at], kind)
    return y


KINDS = ("iou", "giou", "diou", "ciou")
ONE = np.array([[0.0, 0.0, 2.0, 3.0]])
RECORDS["box_iou"] = Record(
    box_iou,
    lambda rng: [
        *[Case((boxes(rng, 3), boxes(rng, 4) + 0.3), {"kind": k}, smooth=k != "ciou") for k in KINDS],
        *[Case((boxes(rng, 2, 3), boxes(rng, 3) + 0.3), {"kind": k, "pairwise": False}, smooth=k != "ciou") for k in KINDS],
        Case((boxes(rng, 2, 3), boxes(rng, 1, 2) + 0.3)),
        Case((boxes(rng, 0), boxes(rng, 2))),
        Case((ONE, ONE + 2.0), smooth=False),
        Case((ONE[:, [0, 1, 0, 1]], ONE[:, [0, 1, 0, 1]]), smooth=False),
    ],
    FLOATS,
    (0, 1),
    scale=lambda a, b, **attrs: 1.0,
    bad=(
        Bad(ValueError, (np.ones((2, 3)), ONE), {}),
        Bad(ValueError, (ONE, ONE), {"kind": "miou"}),
        Bad(ValueError, (ONE[0], ONE), {}),
        Bad(TypeError, (ONE.astype(int), ONE), {}),
        Bad(TypeError, (ONE, ONE.astype(np.float32)), {}),
    ),
)


def _ciou_gradient(tg, device):
    """The weight of the shapes' difference is a constant: the slope of diou - weight * v by finite differences."""
    a, b = np.array([0.0, 0.0, 2.0, 3.0]), np.array([1.0, 1.0, 5.0, 2.5])
    v = lambda box: 4 / math.pi**2 * (math.atan((box[2] - box[0]) / (box[3] - box[1])) - math.atan(4 / 1.5)) ** 2  # noqa: E731
    weight = v(a) / (1 - overlap(a, b) + v(a) + 1e-7)
    leaf = tg.tensor(a, device=device).requires_grad_()
    tg.box_iou(leaf, tg.tensor(b, device=device), "ciou", False).backward()
    for i, g in enumerate(leaf.grad.tolist()):
        step = np.eye(4)[i] * 1e-5
        value = lambda box: overlap(box, b, "diou") - weight * v(box)  # noqa: E731
        assert abs(g - (value(a + step) - value(a - step)) / 2e-5) < 1e-8


RECORDS["box_iou"].check = _ciou_gradient


def box_convert(x, in_fmt, out_fmt):
    a, b, c, d = np.moveaxis(x, -1, 0)
    if in_fmt == "xywh":
        c, d = a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    if out_fmt == "xywh":
        c, d = c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return np.stack([a, b, c, d], -1)


FORMS = ("xyxy", "xywh", "cxcywh")
RECORDS["box_convert"] = Record(
    box_convert,
    lambda rng: [Case((boxes(rng, 2, 3),), {"in_fmt": i, "out_fmt": o}) for i in FORMS for o in FORMS]
    + [Case((boxes(rng, 0),), {"in_fmt": "xyxy", "out_fmt": "xywh"}), Case((ONE[0],), {"in_fmt": "xyxy", "out_fmt": "cxcywh"})],
    FLOATS,
    (0,),
    scale=lambda x, **forms: np.abs(x).sum(-1, keepdims=True),
    bad=(
        Bad(ValueError, (np.ones((2, 3)),), {"in_fmt": "xyxy", "out_fmt": "xywh"}),
        Bad(ValueError, (ONE,), {"in_fmt": "yxyx", "out_fmt": "xywh"}),
        Bad(TypeError, (ONE.astype(int),), {"in_fmt": "xyxy", "out_fmt": "cxcywh"}),
        Bad(TypeError, (ONE > 0,), {"in_fmt": "xyxy", "out_fmt": "xywh"}),
    ),
)


def _integer_boxes(tg, device):
    x = tg.tensor([[1, 2, 5, 8]], device=device)
    assert tg.box_convert(x, "xyxy", "xywh").tolist() == [[1, 2, 4, 6]]


RECORDS["box_convert"].check = _integer_boxes


def kept(box, score, group, threshold):
    """The definition: by score, a box stays unless one that stays, of its group, overlaps it by more than the threshold."""
    stay: list[int] = []
    for i in np.argsort(-score, kind="stable"):
        if not any((group is None or group[i] == group[j]) and overlap(box[i], box[j]) > threshold for j in stay):
            stay.append(int(i))
    return stay


def nms_padded(box, score, group, iou_threshold, max_output=None):
    n = box.shape[-2]
    room = n if max_output is None else min(n, max_output)
    index, count = np.zeros((*box.shape[:-2], room), np.int64), np.zeros(box.shape[:-2], np.int64)
    for at in np.ndindex(box.shape[:-2]):
        stay = kept(box[at], score[at], None if group is None else group[at], iou_threshold)[:room]
        index[(*at, slice(0, len(stay)))] = stay
        count[at] = len(stay)
    return index, count


def scores(rng, *shape):
    """No two equal ones, whatever the dtype."""
    return rng.permuted(np.broadcast_to(np.arange(shape[-1]) / 4, shape), axis=-1) - 3


RECORDS["nms_padded"] = Record(
    nms_padded,
    lambda rng: [
        Case((boxes(rng, 20), scores(rng, 20), None), {"iou_threshold": 0.3}),
        Case((boxes(rng, 20), scores(rng, 20), rng.integers(0, 3, 20)), {"iou_threshold": 0.2}, fixed=(2,)),
        Case((boxes(rng, 2, 3, 15), scores(rng, 2, 3, 15), None), {"iou_threshold": 0.3, "max_output": 4}),
        Case((boxes(rng, 2, 15), scores(rng, 2, 15), rng.integers(0, 3, (2, 15))), {"iou_threshold": 0.1, "max_output": 99}, fixed=(2,)),
        Case((boxes(rng, 150), scores(rng, 150), None), {"iou_threshold": 0.15}),
        Case((boxes(rng, 20), scores(rng, 20), None), {"iou_threshold": 0.0}),
        Case((boxes(rng, 20), scores(rng, 20), None), {"iou_threshold": 1}),
        Case((boxes(rng, 3), scores(rng, 3), None), {"iou_threshold": 0.5, "max_output": 0}),
        Case((boxes(rng, 0), scores(rng, 0), None), {"iou_threshold": 0.5}),
        Case((boxes(rng, 1), scores(rng, 1), None), {"iou_threshold": 0.5}),
    ],
    ("float32", "float64"),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones(2), None), {"iou_threshold": 0.5}),
        Bad(ValueError, (np.ones((2, 4)), np.ones(3), None), {"iou_threshold": 0.5}),
        Bad(ValueError, (np.ones((2, 4)), np.ones(2), np.ones(3, int)), {"iou_threshold": 0.5}),
        Bad(ValueError, (np.ones((2, 4)), np.ones(2), None), {"iou_threshold": -0.1}),
        Bad(ValueError, (np.ones((2, 4)), np.ones(2), None), {"iou_threshold": 0.1, "max_output": -1}),
        Bad(TypeError, (np.ones((2, 4)), np.ones(2), np.ones(2)), {"iou_threshold": 0.5}),
        Bad(TypeError, (np.ones((2, 4), int), np.ones(2), None), {"iou_threshold": 0.5}),
    ),
)


def _kernel_and_steps(tg, device):
    """The kernel's choice and the decomposition's are equal, also for NaN, infinite and empty boxes, and at the threshold."""
    rng = np.random.default_rng(3)
    box = boxes(rng, 2, 140)
    box[0, 3] = np.nan
    box[0, 9, 2] = np.inf
    box[1, 5] = box[1, 6] = 1.0
    half = np.array([[0.0, 0.0, 4.0, 1.0], [0.0, 0.0, 2.0, 1.0]])  # 0.5 is not above 0.5
    group = rng.integers(0, 2, (2, 140))
    core = tg._core
    for dtype in (tg.float32, tg.float64):
        x, g = tg.tensor(box, device=device).to(dtype), tg.tensor(group, device=device)
        for args in ((x, None), (x, g)):
            for threshold in (0.0, 0.2, 0.5):
                assert core.call("nms_keep", args, (threshold,))[0].tolist() == core._call_decomposed("nms_keep", args, (threshold,))[0].tolist()
        pair = tg.tensor(half, device=device).to(dtype)
        assert core.call("nms_keep", (pair, None), (0.5,))[0].tolist() == [True, True]
        assert core.call("nms_keep", (pair, None), (0.49,))[0].tolist() == [True, False]
    # Equal scores count in their order; 16-bit boxes are compared in float32.
    same = tg.tensor(np.ones((3, 1)) * half[:1], device=device)
    index, count = tg.nms_padded(same.to(tg.bfloat16), tg.zeros(3, device=device), iou_threshold=0.5)
    assert index.tolist() == [0, 0, 0] and count.item() == 1


RECORDS["nms_padded"].check = _kernel_and_steps
for name in ("nms_keep", "nms_step", "iou_above"):
    RECORDS[name] = Record(covered_by="nms_padded")
