# SPDX-License-Identifier: Apache-2.0
"""Transforms of samples: what is drawn into an image must be found where the transform says that points, boxes and masks go."""

import pickle

import numpy as np
import pytest

import tengen as tg
from tengen.data import transforms as T

H, W = 60, 80
SPOT = np.array([37.0, 33.5])  # x, y
MOVES = {
    "resize": T.Resize((45, 100)),
    "shorter side": T.Resize(30),
    "shortest edge": T.ShortestEdgeResize((40, 70), 90),
    "edges of a choice": T.ShortestEdgeResize((40, 48, 56), None, "choice"),
    "factor": T.RandomResize((0.6, 1.4)),
    "middle": T.CenterCrop((40, 50)),
    "middle of more": T.CenterCrop((70, 50)),
    "pad": T.Pad((3, 5, 7, 9)),
    "pad two": T.Pad((3, 5)),
    "crop": T.RandomCrop((50, 70), padding=6),
    "crop of more": T.RandomCrop((64, 84)),
    "resized crop": T.RandomResizedCrop((50, 60), scale=(0.9, 1.0)),
    "left and right": T.RandomHorizontalFlip(1.0),
    "top and bottom": T.RandomVerticalFlip(1.0),
    "affine": T.RandomAffine(40, (0.1, 0.1), (0.8, 1.2), 10, "bilinear"),
    "turn": T.RandomRotation((20, 30), "bilinear"),
    "perspective": T.RandomPerspective(0.3, 1.0),
    "all": T.Compose([T.RandomHorizontalFlip(0.5), T.RandomApply([T.Pad(4)], 0.5), T.RandomChoice([T.Resize((50, 90)), T.RandomVerticalFlip(1.0)]),
                      T.RandomOrder([T.RandomResize((0.8, 1.2)), T.RandomPerspective(0.2, 1.0)]), T.ColorJitter(0.1), T.ToFloat()]),
}  # fmt: skip
ORDER = ("image", "coords", "boxes", "mask", "keypoints", "polygons", "image_info", "boxes_category")


def picture(dtype=np.float32):
    """A round spot, and what is said about it."""
    y, x = np.mgrid[:H, :W] + 0.5
    distance = np.hypot(x - SPOT[0], y - SPOT[1])
    image = np.clip(6 - distance, 0, 1)[None].repeat(3, 0)
    return (image * 255).astype(np.uint8) if dtype == np.uint8 else image.astype(dtype), (distance < 5.5).astype(np.int64)


def centre(plane):
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]] + 0.5
    return np.array([(plane * x).sum(), (plane * y).sum()]) / plane.sum()


@pytest.mark.parametrize("name", MOVES)
def test_all_parts_go_along(name):
    image, mask = picture()
    box = np.concatenate([SPOT - 5.5, SPOT + 5.5])[None]
    polygon = SPOT + np.array([[-4.0, -4.0], [4.0, -4.0], [4.0, 4.0], [-4.0, 4.0]])
    sample = (image, SPOT[None], box, mask, np.array([[[*SPOT, 2.0], [0, 0, 0.0]]]), [[polygon], [polygon[:3], polygon]], {"id": 3}, np.array([7]))
    transform = T.Compose([MOVES[name]], order=ORDER)
    for seed in range(6):
        tg.manual_seed(seed)
        out = dict(zip(ORDER, transform(sample)))
        found = centre(out["image"][0].astype(float))
        np.testing.assert_allclose(out["coords"][0], found, atol=0.35)
        assert out["mask"].dtype == np.int64 and out["mask"].shape == out["image"].shape[1:] and set(np.unique(out["mask"])) <= {0, 1}
        np.testing.assert_allclose(centre(out["mask"]), found, atol=0.5)
        rows, columns = np.nonzero(out["mask"])
        x1, y1, x2, y2 = out["boxes"][0]
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (np.array([x1, y1, -x2, -y2]) <= np.array([tight[0], tight[1], -tight[2], -tight[3]]) + 1).all(), "the box holds the spot"
        np.testing.assert_allclose([(x1 + x2) / 2, (y1 + y2) / 2], found, atol=0.8)
        np.testing.assert_allclose(out["keypoints"][0, 0, :2], out["coords"][0], rtol=1e-6)
        assert out["keypoints"][0, :, 2].tolist() == [2.0, 0.0]
        assert [len(p) for p in out["polygons"]] == [1, 2] and out["polygons"][1][0].shape == (3, 2)
        np.testing.assert_allclose(out["polygons"][1][1], out["polygons"][0][0])
        assert out["image_info"] == {"id": 3} and out["boxes_category"].tolist() == [7]
        # The image alone, from the same seed, is the same.
        tg.manual_seed(seed)
        np.testing.assert_array_equal(MOVES[name](image), out["image"])
    # What went in is as it was.
    np.testing.assert_array_equal(image, picture()[0])
    assert sample[1].tolist() == [SPOT.tolist()]


def test_tensors_stay_tensors_and_floats_stay_floats():
    image, mask = picture(np.uint8)
    flip = T.Compose([T.RandomHorizontalFlip(1.0)], order=("image", "boxes", "mask", "coords"))
    y, boxes, m, coords = flip(tg.from_numpy(image), tg.tensor([[10.0, 20.0, 30.0, 40.0]], dtype=tg.float64), tg.from_numpy(mask.astype(bool)),
                               np.array([[8, 2]]))
    assert isinstance(y, tg.Tensor) and boxes.dtype == tg.float64 and m.dtype == tg.bool
    assert boxes.tolist() == [[W - 30, 20, W - 10, 40]] and coords.dtype == np.float32 and coords.tolist() == [[W - 8, 2]]
    assert m.numpy().tolist() == mask[:, ::-1].astype(bool).tolist()
    # No boxes at all are boxes, too.
    assert flip(image, np.zeros((0, 4)), mask, np.zeros((0, 2)))[1].shape == (0, 4)
    assert pickle.loads(pickle.dumps(flip))(image, np.zeros((0, 4)), mask, np.zeros((0, 2)))[0].shape == image.shape


def test_what_a_sample_must_be():
    image, _ = picture()
    box = np.zeros((1, 4))
    for order in ((), ("boxes",), ("image", "label")):
        with pytest.raises(ValueError, match=r"\[Compose\] expected an order"):
            T.Compose([], order=order)
    with pytest.raises(ValueError, match="expected 2 parts"):
        T.Compose([], order=("image", "boxes"))((image,))
    with pytest.raises(TypeError, match="without an order"):
        T.Compose([T.Pad(1)])(image, box)
    with pytest.raises(ValueError, match=r"expected boxes \[..., 4\], got shape \(1, 3\)"):
        T.Compose([T.Pad(1)], order=("image", "boxes"))(image, box[:, :3])
    with pytest.raises(ValueError, match="expected a mask"):
        T.Compose([T.Pad(1)], order=("image", "mask"))(image, box[0])
    # Transforms that may move pixels without saying so do not meet boxes.
    for unknown in (T.RandAugment(), T.FiveCrop(8), abs, T.Lambda(abs)):
        with pytest.raises(NotImplementedError, match="keeps_places"):
            T.Compose([unknown], order=("image", "boxes"))(image, box)
        T.Compose([unknown], order=("image", "category"))(image, 3)
    assert T.Compose([T.Lambda(abs, keeps_places=True)], order=("image", "boxes"))(-image, box)[0].max() == 1

    class Moved(T.Geometric):
        def move(self, image):
            return T.moves.Cropped(0, 10, 20, 20)

    y, moved = T.Compose([Moved()], order=("image", "boxes"))(image, box)
    assert y.shape == (3, 20, 20) and moved.tolist() == [[-10, 0, -10, 0]]


def test_gaussian_noise():
    tg.manual_seed(0)
    flat = np.full((3, 100, 100), 100, np.uint8)
    y = T.GaussianNoise(0.1, 0.05)(flat)
    assert y.dtype == np.uint8
    assert abs(y.mean() - 125.5) < 0.5 and abs(y.std() - 12.75) < 0.5  # 0.1 and 0.05 of 255
    y = T.GaussianNoise(0, 0.05)(np.zeros((1, 100, 100), np.float32))
    assert y.dtype == np.float32 and abs(y.mean()) < 0.005 and abs(y.std() - 0.05) < 0.005
    assert (T.GaussianNoise(0, 0)(flat) == flat).all()
    with pytest.raises(ValueError, match="a std of 0 or more"):
        T.GaussianNoise(0, -1)


def test_lighting_moves_all_pixels_alike():
    tg.manual_seed(0)
    image = np.random.default_rng(0).uniform(0.3, 0.6, (3, 5, 5))
    shifts = np.stack([(T.Lighting(0.1)(image) - image).reshape(3, -1) for _ in range(3000)])
    np.testing.assert_allclose(shifts.std(-1), 0, atol=1e-12)
    # The covariance of the shifts is the components' with these deviations: its largest one is gray.
    covariance = np.cov(shifts[..., 0].T)
    values, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(np.sqrt(values[::-1]), 0.1 * np.array([0.2175, 0.0188, 0.0045]), rtol=0.1)
    assert abs(vectors[:, -1] @ np.ones(3) / np.sqrt(3)) > 0.99
    assert T.Lighting(0.1)(tg.from_numpy((image * 255).astype(np.uint8))).dtype == tg.uint8
    with pytest.raises(ValueError, match="3 channels"):
        T.Lighting()(image[:1])
    with pytest.raises(ValueError, match="a scale of 0 or more"):
        T.Lighting(-1)


def test_resizes_draw_within_their_ranges():
    image = np.zeros((3, 30, 60), np.uint8)
    tg.manual_seed(0)
    sides = {T.ShortestEdgeResize((20, 24))(image).shape[-2:] for _ in range(60)}
    assert sides == {(h, 2 * h) for h in range(20, 25)}
    assert {T.ShortestEdgeResize((20, 24), sample_style="choice")(image).shape[-2] for _ in range(30)} == {20, 24}
    assert T.ShortestEdgeResize(30, 40)(image).shape[-2:] == (20, 40)
    factors = [T.RandomResize((0.5, 2.0))(image).shape[-1] / 60 for _ in range(60)]
    assert 0.5 <= min(factors) < 0.8 and 1.6 < max(factors) <= 2.0
    for bad in (lambda: T.RandomResize((0, 1)), lambda: T.ShortestEdgeResize((1, 2, 3)), lambda: T.ShortestEdgeResize(3, sample_style="any")):
        with pytest.raises(ValueError, match="expected"):
            bad()
