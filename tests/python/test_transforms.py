# SPDX-License-Identifier: Apache-2.0
"""tengen.data.transforms against Pillow, SciPy, colorsys and the definitions of the papers."""
import colorsys
import math
import pickle

import numpy as np
import PIL.Image as PIL
import PIL.ImageEnhance as enhance
import PIL.ImageOps as pil
import pytest
from scipy import ndimage

import tengen as tg
from tengen.data import DataLoader, TensorDataset, transforms
from tengen.data.transforms import functional as F
from tengen.data.transforms.augment import CHANGES

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (3, 21, 34)).astype(np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(21) * 5, np.arange(34) * k) for k in (1, 2, 4)]).astype(np.uint8)


def picture(image):
    return PIL.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0).copy())


def array(pic):
    a = np.asarray(pic)
    return a[None] if a.ndim == 2 else a.transpose(2, 0, 1)


def close(got, expected, levels=1):
    assert got.shape == expected.shape and got.dtype == expected.dtype
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= levels


@pytest.mark.parametrize("size", [(10, 17), (40, 50), (21, 70), (5, 5)], ids=str)
@pytest.mark.parametrize("kind, filter", [("bilinear", PIL.Resampling.BILINEAR), ("bicubic", PIL.Resampling.BICUBIC), ("nearest", PIL.Resampling.NEAREST)])
def test_resize_is_pillows(size, kind, filter):
    expected = array(picture(IMAGE).resize(size[::-1], filter))
    close(F.resize(IMAGE, size, kind), expected, 0 if kind == "nearest" else 1)


def test_resize_without_antialias_against_map_coordinates():
    x = RNG.uniform(size=(1, 12, 15))
    for h, w in ((6, 5), (20, 31)):
        rows, columns = (np.arange(h) + 0.5) * 12 / h - 0.5, (np.arange(w) + 0.5) * 15 / w - 0.5
        grid = np.meshgrid(rows, columns, indexing="ij")
        expected = ndimage.map_coordinates(x[0], grid, order=1, mode="nearest")
        np.testing.assert_allclose(F.resize(x, (h, w), antialias=False)[0], expected, atol=1e-6)


def test_resize_by_the_shorter_side():
    assert F.resize(IMAGE, 42).shape == (3, 42, 68) and F.resize(IMAGE.transpose(0, 2, 1), 42).shape == (3, 68, 42)
    assert F.resize(IMAGE, 42, max_size=50).shape == (3, 30, 50)
    assert F.resize(IMAGE, 21) is IMAGE
    with pytest.raises(ValueError, match="at least 1 x 1"):
        F.resize(IMAGE, (0, 4))


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_enhancements_are_pillows(factor):
    for image in (IMAGE, SMOOTH):
        close(F.adjust_brightness(image, factor), array(enhance.Brightness(picture(image)).enhance(factor)))
        close(F.adjust_contrast(image, factor), array(enhance.Contrast(picture(image)).enhance(factor)))
        close(F.adjust_saturation(image, factor), array(enhance.Color(picture(image)).enhance(factor)))
        close(F.adjust_sharpness(image, factor), array(enhance.Sharpness(picture(image)).enhance(factor)))


def test_histograms_are_pillows():
    for image in (IMAGE, SMOOTH, IMAGE // 3 + 40, np.full((3, 8, 8), 9, np.uint8)):
        close(F.autocontrast(image), array(pil.autocontrast(picture(image))))
        close(F.equalize(image), array(pil.equalize(picture(image))), 0)
        close(F.posterize(image, 3), array(pil.posterize(picture(image), 3)), 0)
        close(F.solarize(image, 100), array(pil.solarize(picture(image), 100)), 0)
        close(F.invert(image), array(pil.invert(picture(image))), 0)
        close(F.grayscale(image), array(picture(image).convert("L")))


def test_hue_against_colorsys():
    x = RNG.uniform(size=(3, 4, 5))
    for shift in (-0.5, -0.2, 0.0, 0.31):
        got = F.adjust_hue(x, shift)
        for i, j in np.ndindex(4, 5):
            h, s, v = colorsys.rgb_to_hsv(*x[:, i, j])
            np.testing.assert_allclose(got[:, i, j], colorsys.hsv_to_rgb((h + shift) % 1, s, v), atol=2e-6)
    np.testing.assert_array_equal(F.adjust_hue(IMAGE, 0.0), IMAGE)
    with pytest.raises(ValueError, match="between -0.5 and 0.5, got 0.7"):
        F.adjust_hue(IMAGE, 0.7)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_right_angles_are_exact(angle):
    square = IMAGE[:, :20, :20]
    np.testing.assert_array_equal(F.rotate(square, angle), np.rot90(square, angle // 90, axes=(1, 2)))


def test_affine_against_scipy():
    x = RNG.uniform(size=(1, 15, 18))
    m = np.array(F.affine_matrix(25, (2, -1), 1.3, (10, 5)))
    # SciPy counts rows and columns from the corner.
    linear = m[:, :2][::-1, ::-1]
    centre = np.array([7, 8.5])
    offset = centre + m[::-1, 2] - linear @ centre
    expected = ndimage.affine_transform(x[0], linear, offset, order=1, mode="grid-constant")
    np.testing.assert_allclose(F.affine(x, m, "bilinear")[0], expected, atol=1e-9)
    # The matrix undoes turning, shearing, scaling and moving a point.
    a, sx, sy = np.radians([25, 10, 5])
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    point = np.array([3.0, -2.0])
    moved = turn @ np.array([[1, np.tan(sx)], [np.tan(sy), 1]]) @ point * 1.3 + [2, -1]
    np.testing.assert_allclose(m @ [*moved, 1], point, atol=1e-12)


def test_flips_crops_and_padding():
    np.testing.assert_array_equal(F.hflip(IMAGE), IMAGE[..., ::-1])
    np.testing.assert_array_equal(F.vflip(IMAGE), IMAGE[:, ::-1])
    np.testing.assert_array_equal(F.pad(IMAGE, (1, 2, 3, 4), fill=7), np.pad(IMAGE, [(0, 0), (2, 4), (1, 3)], constant_values=7))
    np.testing.assert_array_equal(F.pad(IMAGE, 2, mode="reflect"), np.pad(IMAGE, [(0, 0), (2, 2), (2, 2)], mode="reflect"))
    np.testing.assert_array_equal(transforms.CenterCrop(11)(IMAGE), IMAGE[:, 5:16, 12:23])
    assert transforms.CenterCrop((30, 10))(IMAGE).shape == (3, 30, 10)
    with pytest.raises(ValueError, match="expected a part of 21 x 34"):
        F.crop(IMAGE, 15, 0, 10, 10)


def test_tensors_and_arrays_alike():
    for step in (transforms.Resize(8), transforms.CenterCrop(6), transforms.ToFloat(), transforms.Normalize((0.5,) * 3, (0.25,) * 3),
                 transforms.Grayscale(3), transforms.Pad(2), transforms.Lambda(F.hflip)):
        got = step(tg.tensor(IMAGE))
        assert isinstance(got, tg.Tensor)
        np.testing.assert_array_equal(got.numpy(), step(IMAGE))
    np.testing.assert_allclose(transforms.Normalize((0.5,), (0.25,))(IMAGE), (IMAGE / 255 - 0.5) / 0.25, atol=1e-6)
    assert transforms.ToTensor()(IMAGE[..., ::-1]).dtype == tg.uint8
    with pytest.raises(TypeError, match="channels, height, width"):
        F.hflip(np.zeros((3, 4), np.uint8))
    with pytest.raises(TypeError, match="got int64"):
        F.hflip(np.zeros((3, 4, 4), np.int64))
    with pytest.raises(ValueError, match="std other than 0"):
        F.normalize(IMAGE, (0.5,) * 3, (0.1, 0.0, 0.1))


RANDOM = [
    transforms.RandomCrop(12, padding=2), transforms.RandomResizedCrop(9), transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip(),
    transforms.RandomRotation(30, "bilinear"), transforms.RandomAffine(10, (0.1, 0.2), (0.8, 1.2), 5), transforms.RandomErasing(1.0, value="random"),
    transforms.ColorJitter(0.4, 0.4, 0.4, 0.1), transforms.RandomGrayscale(0.5), transforms.RandAugment(3, 15),
    transforms.RandomApply([transforms.Grayscale(3)]), transforms.RandomChoice([transforms.Pad(1), transforms.Resize(5)]),
]


@pytest.mark.parametrize("step", RANDOM, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", ["u8", "float"])
def test_chance_follows_the_seed(step, kind):
    image = IMAGE if kind == "u8" else (IMAGE / 255).astype(np.float32)
    before = image.copy()

    def run(seed):
        tg.manual_seed(seed)
        return [step(image) for _ in range(12)]

    a, b, c = run(1), run(1), run(2)
    assert all(np.array_equal(x, y) for x, y in zip(a, b)), "equal seeds, equal images"
    assert any(x.shape != y.shape or not np.array_equal(x, y) for x, y in zip(a, c)), "other seeds, other images"
    assert all(x.dtype == image.dtype for x in a)
    np.testing.assert_array_equal(image, before, "the image itself stays")
    assert repr(pickle.loads(pickle.dumps(step))) == repr(step)


def test_distributions():
    tg.manual_seed(0)
    flips = sum(np.array_equal(transforms.RandomHorizontalFlip(0.25)(IMAGE), IMAGE) for _ in range(400))
    assert abs(flips - 300) < 4 * math.sqrt(400 * 0.25 * 0.75)
    tops = [transforms.RandomCrop(20)(IMAGE[:, :22, :20])[0, 0, 0] for _ in range(300)]
    counts = [tops.count(v) for v in {int(IMAGE[0, i, 0]) for i in range(2)}]
    assert sum(counts) == 300 and min(counts) > 110
    grid = np.broadcast_to(np.arange(100, dtype=np.float32)[:, None] * 100 + np.arange(100, dtype=np.float32), (1, 100, 100))
    crop = transforms.RandomResizedCrop(4)
    for _ in range(50):
        top, left, h, w = crop._part(100, 100)
        assert 0.05 < h * w / 1e4 <= 1.02 and 0.7 < w / h < 1.4 and top + h <= 100 and left + w <= 100
    assert crop(grid).shape == (1, 4, 4)
    assert crop._part(10, 1000)[2:] == (10, 13), "no draw fits such a ratio: the middle within it"
    erased = transforms.RandomErasing(1.0, scale=(0.1, 0.1), ratio=(1, 1), value=0)(np.ones((1, 100, 100), np.float32))
    assert (erased == 0).sum() == 32 * 32


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_randaugment(name):
    own = transforms.RandAugment()
    for image in (IMAGE, (IMAGE / 255).astype(np.float32)):
        weak, strong = own.change(image, name, 0.0), own.change(image, name, 1.0)
        assert strong.shape == image.shape and strong.dtype == image.dtype
        if name not in ("AutoContrast", "Equalize", "Posterize", "Solarize"):
            np.testing.assert_allclose(weak.astype(float), image, atol=1 if image.dtype == np.uint8 else 1e-6)
        if name not in ("Identity", "AutoContrast"):
            assert not np.array_equal(strong, image)
    shifted = own.change(IMAGE, "TranslateX", 1.0)
    np.testing.assert_array_equal(shifted[..., 15:], IMAGE[..., :-15])  # 150 / 331 of 34 pixels
    np.testing.assert_array_equal(own.change(IMAGE, "Posterize", 1.0), IMAGE & 0xF0)
    with pytest.raises(ValueError, match="magnitude 0 to 30, got 2 and 31"):
        transforms.RandAugment(2, 31)


def test_mixup_and_cutmix():
    tg.manual_seed(3)
    images = tg.tensor(np.stack([np.full((2, 16, 16), v, np.uint8) for v in range(0, 250, 50)]))
    labels = tg.tensor([0, 1, 2, 3, 1])
    x, t = transforms.MixUp(4, alpha=0.4)(images, labels)
    assert x.dtype == tg.float32 and x.shape == images.shape and t.shape == (5, 4)
    np.testing.assert_allclose(t.sum(axis=1).numpy(), 1, atol=1e-6)
    value = {0: [0], 1: [50, 200], 2: [100], 3: [150]}
    for picture_, target in zip(x.numpy(), t.numpy()):  # the same share of pixels and labels
        assert np.ptp(picture_) < 1e-6
        classes = np.flatnonzero(target)
        possible = [sum(target[c] * v for c, v in zip(classes, vs)) / 255 for vs in np.array(np.meshgrid(*(value[c] for c in classes))).T.reshape(-1, len(classes))]
        if len(classes) > 1 or classes[0] != 1:
            assert min(abs(picture_[0, 0, 0] - p) for p in possible) < 1e-5
    for seed in range(6):
        tg.manual_seed(seed)
        x, t = transforms.CutMix(5)(images, tg.arange(5))
        for i, (p, target) in enumerate(zip(x.numpy()[:, 0], t.numpy())):
            own = (np.abs(p - images.numpy()[i, 0, 0, 0] / 255) < 1e-6).mean()
            assert own == pytest.approx(target[i], abs=1e-6)
    loader = DataLoader(TensorDataset(images.numpy(), labels.numpy()), batch_size=5, collate_fn=transforms.MixUp(4))
    x, t = next(iter(loader))
    loss = tg.nn.functional.cross_entropy(tg.zeros(5, 4), t)
    assert loss.item() == pytest.approx(math.log(4), rel=16 * 2.0**-23)  # a dozen roundings of f32
    with pytest.raises(ValueError, match="alpha above 0"):
        transforms.MixUp(3, 0)


def test_compose_prints_and_applies_in_order():
    both = transforms.Compose([transforms.Resize(8), transforms.ToFloat(), transforms.Normalize((0.5,) * 3, (0.5,) * 3), transforms.ToTensor()])
    out = both(IMAGE)
    assert isinstance(out, tg.Tensor) and out.shape == (3, 8, 12) and out.dtype == tg.float32
    assert "Resize(size=8" in repr(both)
    with pytest.raises(ValueError, match="hue"):
        transforms.ColorJitter(hue=0.6)


def test_gaussian_blur_against_scipy():
    for size, sigma in ((5, 1.2), ((3, 7), (0.8, 2.0)), (1, 1.0), (9, None)):
        sizes = (size, size) if isinstance(size, int) else size
        sigmas = (sigma, sigma) if isinstance(sigma, float) else sigma or tuple(0.3 * ((k - 1) * 0.5 - 1) + 0.8 for k in sizes)
        want = IMAGE.astype(np.float64)
        for axis, k, s in zip((1, 2), sizes, sigmas):
            want = ndimage.gaussian_filter1d(want, s, axis, mode="mirror", radius=k // 2)
        close(F.gaussian_blur(IMAGE, size, sigma), np.rint(want).astype(np.uint8))
        np.testing.assert_allclose(F.gaussian_blur(IMAGE / 255.0, size, sigma), want / 255, atol=1e-12)
    for bad in ((4, 1.0), (0, 1.0), (43, 1.0), (3, 0.0)):
        with pytest.raises(ValueError, match="expected odd sizes"):
            F.gaussian_blur(IMAGE, *bad)
    with pytest.raises(ValueError, match="sigmas above 0"):
        transforms.GaussianBlur(3, 0.0)


@pytest.mark.parametrize("kind, method", [("nearest", PIL.Resampling.NEAREST), ("bilinear", PIL.Resampling.BILINEAR)])
def test_perspective_is_pillows(kind, method):
    h, w = SMOOTH.shape[-2:]
    start, end = [(0, 0), (w - 1, 0), (w - 1, h - 1), (0, h - 1)], [(3, 2), (w - 6, 1), (w - 2, h - 4), (5, h - 2)]
    got = F.perspective(SMOOTH, start, end, kind)
    for (x, y), (u, v) in zip(start, end):
        assert np.array_equal(got[:, v, u], SMOOTH[:, y, x])
    # Pillow's coefficients are of pixels' corners: the same map between coordinates moved by a half
    rows = []
    for (x, y), (u, v) in zip(start, end):
        x, y, u, v = (c + 0.5 for c in (x, y, u, v))
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
    m = np.linalg.solve(np.array(rows), np.array(start, float).ravel() + 0.5)
    want = array(picture(SMOOTH).transform((w, h), PIL.Transform.PERSPECTIVE, m, method))
    inner = (slice(None), slice(6, -6), slice(8, -8))
    assert np.abs(got[inner].astype(int) - want[inner]).max() <= (1 if kind == "bilinear" else 9)
    np.testing.assert_array_equal(F.perspective(IMAGE, start, start, kind), IMAGE)
    with pytest.raises(ValueError, match="no three are on one line"):
        F.perspective(IMAGE, start, [(0, 0), (1, 1), (2, 2), (3, 3)])
    with pytest.raises(ValueError, match="four points"):
        F.perspective(IMAGE, start[:3], end[:3])


def test_random_perspective_keeps_to_its_scale():
    tg.manual_seed(0)
    assert transforms.RandomPerspective(p=0)(IMAGE) is IMAGE
    ones = np.full((1, 21, 34), 255, np.uint8)
    shares = [float((transforms.RandomPerspective(0.5, 1.0)(ones) > 0).mean()) for _ in range(30)]
    assert min(shares) > 0.25 and max(shares) < 1 and len(set(shares)) > 20
    with pytest.raises(ValueError, match="between 0 and 1"):
        transforms.RandomPerspective(2)


def test_several_crops():
    five = transforms.FiveCrop((5, 8))(IMAGE)
    corners = (IMAGE[:, :5, :8], IMAGE[:, :5, -8:], IMAGE[:, -5:, :8], IMAGE[:, -5:, -8:], transforms.CenterCrop((5, 8))(IMAGE))
    assert len(five) == 5 and all(map(np.array_equal, five, corners))
    for vertical in (False, True):
        ten = transforms.TenCrop((5, 8), vertical)(tg.tensor(IMAGE))
        flipped = transforms.FiveCrop((5, 8))(IMAGE[:, ::-1] if vertical else IMAGE[..., ::-1])
        assert len(ten) == 10 and all(np.array_equal(a.numpy(), b) for a, b in zip(ten, five + flipped))
    with pytest.raises(ValueError, match=r"\[FiveCrop\] expected an image of at least 50 x 8"):
        transforms.FiveCrop((50, 8))(IMAGE)


def test_tones_by_chance():
    soft = IMAGE // 2 + 40
    for make, want in ((lambda p: transforms.RandomInvert(p), F.invert(soft)), (lambda p: transforms.RandomEqualize(p), F.equalize(soft)),
                       (lambda p: transforms.RandomAutocontrast(p), F.autocontrast(soft)), (lambda p: transforms.RandomPosterize(3, p), F.posterize(soft, 3)),
                       (lambda p: transforms.RandomSolarize(99, p), F.solarize(soft, 99)),
                       (lambda p: transforms.RandomAdjustSharpness(2, p), F.adjust_sharpness(soft, 2))):
        assert make(0.0)(soft) is soft and np.array_equal(make(1.0)(soft), want) and not np.array_equal(want, soft)
    tg.manual_seed(1)
    steps = [lambda x: [*x, 1], lambda x: [*x, 2], lambda x: [*x, 3]]
    seen = {tuple(transforms.RandomOrder(steps)([])) for _ in range(100)}
    assert len(seen) == 6


def test_to_and_from_pillow():
    for image in (IMAGE, IMAGE[:1], np.concatenate([IMAGE, IMAGE[:1]])):
        pic = transforms.ToPILImage()(image)
        assert np.array_equal(transforms.ToTensor()(pic).numpy(), image)
        assert np.array_equal(transforms.ToTensor()(transforms.ToPILImage()(tg.tensor(image / 255.0))).numpy(), image)
    with pytest.raises(ValueError, match="1 to 4 channels"):
        transforms.ToPILImage()(IMAGE[0])
    with pytest.raises(TypeError, match="u8 or floats"):
        transforms.ToPILImage()(IMAGE.astype(np.int64))
