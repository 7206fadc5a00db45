# SPDX-License-Identifier: Apache-2.0
"""tengen.vision: what its functions add to the ops."""

import numpy as np
import pytest

import tengen as tg
from tengen import vision


def t(x):
    return tg.tensor(np.asarray(x, np.float64))


BOXES = t([[0, 0, 2, 2], [0, 0, 2, 1.9], [3, 3, 4, 4], [3, 3, 4, 4.1]])
SCORES = t([0.5, 0.9, 0.1, 0.2])


def test_nms_gives_indices_by_score():
    assert vision.nms(BOXES, SCORES, 0.5).tolist() == [1, 3]
    assert vision.nms(BOXES, SCORES, 0.5, max_output=1).tolist() == [1]
    assert vision.nms(BOXES, SCORES, 0.95).tolist() == [1, 0, 3, 2]
    assert vision.batched_nms(BOXES, SCORES, tg.tensor([0, 1, 0, 0]), 0.5).tolist() == [1, 0, 3]
    assert vision.nms(BOXES[:0], SCORES[:0], 0.5).tolist() == []
    # Values that need gradients go in as they are; indices have none.
    assert vision.nms(BOXES.clone().requires_grad_(), SCORES.clone().requires_grad_(), 0.5).tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"expected boxes of shape \(n, 4\), got \(2, 2, 4\)"):
        vision.nms(BOXES.reshape(2, 2, 4), SCORES, 0.5)


def test_boxes():
    assert vision.box_area(BOXES[:2]).tolist() == [4.0, 3.8]
    clipped = vision.clip_boxes_to_image(t([[-1, -2, 9, 3], [1, 1, 2, 7]]), (5, 6))
    assert clipped.tolist() == [[0, 0, 6, 3], [1, 1, 2, 5]]
    assert vision.remove_small_boxes(BOXES, 1.5).tolist() == [0, 1]
    assert vision.box_iou(BOXES[:1], BOXES).tolist() == [[1.0, 0.95, 0.0, 0.0]]
    far = vision.generalized_box_iou(BOXES[:1], BOXES[2:3]).item()
    assert far == -11 / 16  # of the hull's 16, 5 are in a box


def test_box_losses():
    a = t([[0, 0, 2, 2], [0, 0, 1, 1]]).requires_grad_()
    b = t([[0, 0, 2, 2], [2, 2, 3, 3]])
    loss = vision.generalized_box_iou_loss(a, b)
    np.testing.assert_allclose(loss.tolist(), [0, 1 + 7 / 9], atol=1e-15)
    assert vision.generalized_box_iou_loss(a, b, "sum").item() == loss.sum().item()
    assert vision.generalized_box_iou_loss(a[:0], b[:0], "mean").item() == 0
    vision.generalized_box_iou_loss(a, b, "mean").backward()
    assert (a.grad[1, 2:] < 0).all()  # growing towards the other box lowers the loss
    np.testing.assert_allclose(vision.distance_box_iou_loss(a, b).tolist(), [0, 1 + 8 / 18], atol=1e-7)
    np.testing.assert_allclose(vision.complete_box_iou_loss(a, b).tolist(), [0, 1 + 8 / 18], atol=1e-7)  # equal shapes
    with pytest.raises(ValueError, match="expected reduction"):
        vision.distance_box_iou_loss(a, b, "average")


def test_focal_loss():
    x, y = np.array([-2.0, 0.5, 3.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    p = 1 / (1 + np.exp(-x))
    right = np.where(y == 1, p, 1 - p)
    plain = -((1 - right) ** 3) * np.log(right)
    np.testing.assert_allclose(vision.sigmoid_focal_loss(t(x), t(y), -1, 3).tolist(), plain, rtol=1e-12)
    weighted = np.where(y == 1, 0.3, 0.7) * plain
    assert abs(vision.sigmoid_focal_loss(t(x), t(y), 0.3, 3, "mean").item() - weighted.mean()) < 1e-12
