# SPDX-License-Identifier: Apache-2.0
"""Resampling, shuffles and windows as functions and layers."""
import numpy as np
import pytest
from nn_tools import close, rand, t
from scipy import ndimage

import tengen as tg
import tengen.nn.functional as F
from tengen import nn


def test_interpolate_modes_by_what_they_must_do():
    x = rand(2, 3, 5, 4)
    close(F.interpolate(t(x), scale_factor=2), x.repeat(2, 2).repeat(2, 3))
    close(F.interpolate(t(x), size=(5, 4), mode="bicubic"), x)
    close(F.interpolate(t(x), 1, mode="area"), x.mean((2, 3), keepdims=True))
    # Aligned corners: SciPy's spline of order 1 over the same places.
    want = [[ndimage.zoom(plane, (9 / 5, 7 / 4), order=1) for plane in item] for item in x]
    close(F.interpolate(t(x), (9, 7), mode="bilinear", align_corners=True), np.array(want))
    # A line is kept by linear resampling away from the borders, a constant by all of them.
    line = np.arange(12, dtype=np.float32).reshape(1, 1, 1, 12)
    y = F.interpolate(t(line), (1, 24), mode="bilinear").numpy()[0, 0, 0]
    np.testing.assert_allclose(y[6:-6], (np.arange(24)[6:-6] + 0.5) / 2 - 0.5, atol=1e-5)
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        close(F.interpolate(tg.ones((1, 1, 5, 4)), (7, 3), mode=mode), np.ones((1, 1, 7, 3)))
    # Antialias: halving averages a long stripe pattern away, plain bilinear sampling does not see it.
    stripes = np.tile([0.0, 1.0, 0.0, 0.0], 8).astype(np.float32).reshape(1, 1, 1, 32)
    smooth = F.interpolate(t(stripes), (1, 8), mode="bilinear", antialias=True).numpy()[0, 0, 0, 1:-1]
    np.testing.assert_allclose(smooth, smooth[0], atol=1e-6)
    assert abs(smooth[0] - 0.25) < 0.1


def test_scale_factor_or_its_recomputation():
    x = t(rand(1, 1, 5))
    assert F.interpolate(x, scale_factor=1.5, mode="linear").shape == (1, 1, 7)
    kept = F.interpolate(x, scale_factor=1.5, mode="linear").numpy()[0, 0]
    again = F.interpolate(x, scale_factor=1.5, mode="linear", recompute_scale_factor=True).numpy()[0, 0]
    close(F.interpolate(x, 7, mode="linear"), again.reshape(1, 1, 7))
    v = x.numpy()[0, 0]
    for ratio, y in ((1 / 1.5, kept), (5 / 7, again)):
        at = np.clip((np.arange(7) + 0.5) * ratio - 0.5, 0, 4)
        np.testing.assert_allclose(y, np.interp(at, np.arange(5), v), atol=1e-6)


@pytest.mark.parametrize("options,says", [
    ({}, "either size or scale_factor"),
    ({"size": 2, "scale_factor": 2}, "either size or scale_factor"),
    ({"size": 2, "mode": "cubic"}, "mode"),
    ({"size": 2, "mode": "linear"}, "dimensions"),
    ({"size": 2, "align_corners": True}, "align_corners"),
    ({"size": 2, "antialias": True}, "antialias"),
    ({"scale_factor": 0}, "factor"),
    ({"scale_factor": (1, 2, 3)}, "factor"),
    ({"size": (0, 1)}, "size"),
    ({"size": 2, "recompute_scale_factor": True}, "recompute"),
], ids=str)
def test_bad_interpolations(options, says):
    with pytest.raises(ValueError, match=says):
        F.interpolate(tg.ones((1, 1, 4, 4)), **options)


def test_upsample_layers():
    x = rand(1, 2, 3, 4)
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2.0, mode='nearest')"
    assert repr(nn.Upsample(size=(2, 3), mode="bilinear")) == "Upsample(size=(2, 3), mode='bilinear')"
    close(nn.UpsamplingNearest2d(scale_factor=2)(t(x)), x.repeat(2, 2).repeat(2, 3))
    close(nn.UpsamplingBilinear2d(size=(5, 7))(t(x)),
          F.interpolate(t(x), (5, 7), mode="bilinear", align_corners=True).numpy())


@pytest.mark.parametrize("align", [False, True])
def test_affine_grids_move_images(align):
    x = t(rand(2, 3, 5, 6))
    same = tg.tensor([[[1.0, 0, 0], [0, 1, 0]]] * 2)
    close(F.grid_sample(x, F.affine_grid(same, x.shape, align), align_corners=align), x.numpy())
    mirror = tg.tensor([[[-1.0, 0, 0], [0, 1, 0]]] * 2)
    close(F.grid_sample(x, F.affine_grid(mirror, x.shape, align), align_corners=align), x.numpy()[..., ::-1])
    shift = tg.tensor([[[1.0, 0, 2 / 6], [0, 1, 0]]] * 2)  # one element to the left
    if not align:
        want = np.concatenate([x.numpy()[..., 1:], np.zeros((2, 3, 5, 1))], -1)
        close(F.grid_sample(x, F.affine_grid(shift, x.shape, align), align_corners=align), want)


def test_shuffles_as_layers():
    x = rand(2, 8, 3, 4)
    up, down = nn.PixelShuffle(2), nn.PixelUnshuffle(2)
    assert repr(up) == "PixelShuffle(upscale_factor=2)" and repr(down) == "PixelUnshuffle(downscale_factor=2)"
    np.testing.assert_array_equal(down(up(t(x))).numpy(), x)
    assert repr(nn.ChannelShuffle(2)) == "ChannelShuffle(groups=2)"
    np.testing.assert_array_equal(nn.ChannelShuffle(2)(t(x)).numpy(), x[:, [0, 4, 1, 5, 2, 6, 3, 7]])


def test_a_convolution_is_a_product_of_columns():
    x, w = rand(2, 3, 7, 6), rand(4, 3, 3, 2)
    layer = nn.Unfold((3, 2), padding=1, stride=2)
    assert repr(layer) == "Unfold(kernel_size=(3, 2), dilation=1, padding=1, stride=2)"
    cols = layer(t(x))
    y = (t(w.reshape(4, -1)) @ cols).reshape((2, 4, 4, 4))
    np.testing.assert_allclose(y.numpy(), F.conv2d(t(x), t(w), stride=2, padding=1).numpy(), atol=1e-4)
    counts = nn.Fold((7, 6), (3, 2), padding=1, stride=2)(layer(tg.ones((1, 1, 7, 6)))).numpy()
    close(F.fold(cols, (7, 6), (3, 2), padding=1, stride=2), x * counts)
    close(F.fold(F.unfold(t(x[0]), 2), (7, 6), 2), F.fold(F.unfold(t(x), 2), (7, 6), 2).numpy()[0])
    with pytest.raises(ValueError, match="unfold"):
        F.unfold(tg.ones((3, 3)), 2)


# ---- bags and distances ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 1])
def test_embedding_bag(mode, padding):
    weight = rand(6, 4)
    bags = [[0, 1, 5], [], [1, 1], [2]]
    flat, offsets = np.array([i for b in bags for i in b]), np.array([0, 3, 3, 5])

    def bag(b):
        rows = weight[[i for i in b if i != padding]]
        return getattr(rows, mode)(0) if len(rows) else np.zeros(4)

    want = np.array([bag(b) for b in bags])
    w = t(weight, grad=True)
    y = F.embedding_bag(t(flat), w, t(offsets), mode=mode, padding_idx=padding)
    close(y, want)
    y.sum().backward()
    assert np.isfinite(w.grad.numpy()).all() and (padding is None or not w.grad.numpy()[padding].any())
    whole = t(np.append(offsets, 6))
    close(F.embedding_bag(t(flat), w, whole, mode=mode, include_last_offset=True, padding_idx=padding), want)
    layer = nn.EmbeddingBag(6, 4, mode=mode, padding_idx=padding)
    assert repr(layer).startswith("EmbeddingBag(6, 4") and repr(layer).endswith(f"mode='{mode}')")
    with tg.no_grad():
        layer.weight.copy_(t(weight))
    close(layer(t([[0, 1], [2, 3]])), np.array([bag([0, 1]), bag([2, 3])]))


def test_weighted_bags_and_bad_ones():
    weight, share = rand(5, 2), rand(3)
    y = F.embedding_bag(t([4, 0, 2]), t(weight), t([0, 1]), mode="sum", per_sample_weights=t(share))
    close(y, np.array([share[0] * weight[4], share[1] * weight[0] + share[2] * weight[2]]))
    for arguments, options, says in (
        ((t([1]), t(weight)), {}, "offsets"), ((t([[1]]), t(weight), t([0])), {}, "offsets"),
        ((t([[1]]), t(weight)), {"mode": "median"}, "mode"),
        ((t([[1]]), t(weight)), {"per_sample_weights": t([[1.0]])}, "per_sample_weights"),
    ):
        with pytest.raises(ValueError, match=says):
            F.embedding_bag(*arguments, **options)


@pytest.mark.parametrize("p", [0, 1, 2, 3, np.inf])
def test_cdist_and_pdist(p):
    from scipy.spatial import distance
    a, b = rand(2, 4, 3), rand(2, 5, 3)
    metric = {0: lambda u, v: np.count_nonzero(u - v), np.inf: "chebyshev"}.get(p, "minkowski")
    more = {"p": p} if metric == "minkowski" else {}
    close(F.cdist(t(a), t(b), p), np.array([distance.cdist(x, y, metric, **more) for x, y in zip(a, b)]))
    close(F.pdist(t(a[0]), p), distance.pdist(a[0], metric, **more))


def test_distances_have_gradients_where_points_meet():
    x = t(np.zeros((3, 2), np.float32), grad=True)
    (F.cdist(x, x).sum() + F.pdist(x).sum()).backward()
    assert not x.grad.numpy().any()
    assert F.pdist(tg.ones((1, 3))).shape == (0,)
    for bad in (lambda: F.cdist(tg.ones((2, 3)), tg.ones((2, 4))), lambda: F.pdist(tg.ones((3,))),
                lambda: F.cdist(x, x, -1.0)):
        with pytest.raises(ValueError):
            bad()
