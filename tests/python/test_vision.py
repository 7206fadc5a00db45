# SPDX-License-Identifier: Apache-2.0
"""tengen.vision: what its functions add to the ops."""

import doctest

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


RAMP = t(np.add.outer(10.0 * np.arange(12), np.arange(12)))[None, None]


@pytest.mark.parametrize("ratio", [-1, 2, (1, 3)])
def test_roi_align_of_a_ramp_is_its_value_at_the_bins_centre(ratio):
    box = t([[1.25, 2.5, 7.25, 9.0]])
    y = vision.roi_align(RAMP, [box], (2, 3), sampling_ratio=ratio, aligned=True)
    centres = np.add.outer(10 * (2.5 - 0.5 + 6.5 * np.array([0.25, 0.75])), 1.25 - 0.5 + 6 * np.array([1, 3, 5]) / 6)
    np.testing.assert_allclose(y[0, 0].tolist(), centres, rtol=1e-13)


def test_adaptive_samples_are_one_per_element():
    rng = np.random.default_rng(0)
    x = t(rng.normal(size=(1, 2, 12, 12)))
    boxes = t([[0, 0.5, 0.5, 10.5, 8.5], [0, 2, 2, 3, 3]])  # bins of 4 x 5 elements, and of less than one
    y = vision.roi_align(x, boxes, 2, aligned=True)
    # Samples of the first box lie on elements: 0, 1, 2, 3 and 0, ..., 4 after the half that alignment takes, plus a half of a sample.
    quads = [x[0, :, i : i + 4, j : j + 5].numpy() for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(y[0, :, 0, 0].tolist(), np.mean(quads, 0).mean((1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(y[1].tolist(), vision.roi_align(x, boxes[1:], 2, sampling_ratio=1, aligned=True)[0].tolist())
    assert vision.roi_align(x, boxes[:0], 2).shape == (0, 2, 2, 2)


def test_boxes_of_regions():
    rng = np.random.default_rng(1)
    x = t(rng.normal(size=(2, 3, 9, 8)))
    corners = rng.uniform(0, 5, (5, 2))
    boxes = t(np.concatenate([corners, corners + rng.uniform(0, 6, (5, 2))], 1))
    whole = tg.concat([t([[0.0], [0], [1], [1], [1]]), boxes], 1)
    for f in (vision.roi_align, vision.roi_pool):
        assert f(x, [boxes[:2], boxes[2:]], (3, 2)).tolist() == f(x, whole, (3, 2)).tolist()
        with pytest.raises(ValueError, match=rf"\[{f.__name__}\] expected boxes \[k, 4\]"):
            f(x, [whole], 2)
        with pytest.raises(ValueError, match="got an empty list"):
            f(x, [], 2)
        for bad in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match="of finite size"):
                f(x, t([[0, 1, 1, bad, 2]]), 2)
        with pytest.raises(ValueError, match="output_size"):
            f(x, whole, 0)
        with pytest.raises(ValueError, match=r"\(K, 5\)"):
            f(x, boxes, 2)
    # The largest bin that is read from the boxes is never too small.
    for scale in (0.3, 1.0, 1.7):
        assert vision.roi_pool(x, whole, (3, 2), scale).tolist() == tg.roi_pool(x, whole, (3, 2), scale).tolist()
    layers = [tg.nn.RoIAlign(2, 0.5, 2, True), tg.nn.RoIPool((2, 1)), tg.nn.DeformablePSROIPooling(2, 0.5)]
    assert [tuple(f(x, whole).shape) for f in layers] == [(5, 3, 2, 2), (5, 3, 2, 1), (5, 3, 2, 2)]
    assert "spatial_scale=0.5" in repr(layers[0])


def test_deformed_convolution():
    rng = np.random.default_rng(2)
    x, offset = t(rng.normal(size=(2, 4, 6, 6))), t(np.zeros((2, 18, 4, 4)))
    w, b = t(rng.normal(size=(6, 2, 3, 3))), t(rng.normal(size=6))
    want = tg.nn.functional.conv2d(x, w, b, groups=2)
    np.testing.assert_allclose(vision.deform_conv2d(x, offset, w, b).tolist(), want.tolist(), atol=1e-13)
    half = t(np.full((2, 9, 4, 4), 0.5))
    np.testing.assert_allclose(vision.deform_conv2d(x, offset, w, mask=half).tolist(), (0.5 * tg.nn.functional.conv2d(x, w, groups=2)).tolist(), atol=1e-13)
    # One element to the right everywhere.
    right = t(np.tile([0.0, 1.0], 9)).reshape(1, 18, 1, 1).expand(2, 18, 4, 4)
    moved = tg.nn.functional.conv2d(tg.nn.functional.pad(x, (0, 1))[..., 1:], w, b, groups=2)
    np.testing.assert_allclose(vision.deform_conv2d(x, right, w, b).tolist(), moved.tolist(), atol=1e-13)


def test_layers_learn():
    tg.manual_seed(0)
    x = tg.randn(4, 2, 6, 6)
    regions = tg.randint(0, 2, (4, 6, 6))
    layers = {
        tg.nn.DeformConv2d(2, 2, 3, padding=1): (0.3 * tg.randn(4, 18, 6, 6), tg.rand(4, 9, 6, 6)),
        tg.nn.LocalConv2d(2, 2, 6, 6, 3, padding=1, bias=True): (),
        tg.nn.RegionRestrictedConv(2, 2, 3, padding=1, groups=2): (regions, regions),
    }
    shapes = [(2, 2, 3, 3), (1, 6, 6, 2, 3, 3, 2), (2, 1, 3, 3)]
    for (layer, more), shape in zip(layers.items(), shapes):
        assert tuple(layer.weight.shape) == shape and list(layer.state_dict()) == ["weight", "bias"]
        optimizer = tg.optim.SGD(layer.parameters(), lr=0.3)
        losses = []
        for _ in range(30):
            loss = (layer(x, *more) - x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0], type(layer).__name__
    with pytest.raises(ValueError, match="expected groups that divide"):
        tg.nn.DeformConv2d(3, 4, 1, groups=2)
    with pytest.raises(ValueError, match="at least the kernel's extent"):
        tg.nn.LocalConv2d(2, 2, 2, 2, 3)


def test_warps():
    image = np.arange(24.0).reshape(1, 4, 6, 1)
    shift = t([[[1, 0, 2], [0, 1, 1]]])
    y = vision.warp_affine(t(image), shift, (2, 3), format="NHWC")
    np.testing.assert_array_equal(y.numpy(), image[:, 1:3, 2:5])
    x = t(image).permute(0, 3, 1, 2)
    turn = t([[[0, -1, 3], [1, 0, 0], [0, 0, 1]]])  # a quarter
    np.testing.assert_array_equal(vision.warp_perspective(x, turn, (4, 4))[0, 0].numpy(), np.rot90(image[0, :, :4, 0]))
    two = vision.warp_affine(tg.concat([x, -x]), shift.expand(3, 2, 3), (2, 3), mat_idx=[1, 0, 1])
    assert [v[0, 0, 0].item() for v in two] == [-8, 8, -8]
    places = t([[[[0.5, 0.0], [-5, 0]]]])
    assert vision.remap(x, places, "constant", 7.0).tolist() == [[[[0.5, 7.0]]]]
    with pytest.raises(ValueError, match="expected format"):
        vision.remap(x, places, format="CHW")


def test_examples():
    result = doctest.testmod(vision, extraglobs={"tg": tg})
    assert result.attempted > 10 and result.failed == 0
