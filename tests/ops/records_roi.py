# SPDX-License-Identifier: Apache-2.0
"""Regions of interest: sample by sample, element by element."""

from __future__ import annotations

import math

import numpy as np
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def n(rng, *shape):
    return rng.normal(size=shape)


def two(v):
    return (v, v) if isinstance(v, int) else tuple(v)


def rois(rng, count, images, size):
    """Corners that every dtype holds, off the elements' centres and borders, of which some are outside."""
    first = rng.integers(-8, 8 * size - 16, (count, 2)) / 8 + 1 / 128  # samples are not on kinks
    sides = rng.integers(5, 8 * size // 2, (count, 2)) / 8
    return np.concatenate([rng.integers(0, images, (count, 1)), first, first + sides], 1)


def bilinear(plane, y, x):
    """Of [C, H, W] at a place inside."""
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, plane.shape[1] - 1), min(x0 + 1, plane.shape[2] - 1)
    ly, lx = y - y0, x - x0
    top = plane[:, y0, x0] * (1 - lx) + plane[:, y0, x1] * lx
    return top * (1 - ly) + (plane[:, y1, x0] * (1 - lx) + plane[:, y1, x1] * lx) * ly


def roi_align(x, boxes, output_size, spatial_scale=1.0, sampling=2, adaptive=False, aligned=False, mode="average"):
    h, w = two(output_size)
    most = two(sampling)
    y = np.zeros((len(boxes), x.shape[1], h, w))
    for k, (image, *corners) in enumerate(boxes):
        x1, y1, x2, y2 = (v * spatial_scale - (0.5 if aligned else 0) for v in corners)
        tall, wide = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        ny, nx = (max(0, min(math.ceil(size / bins), m)) if adaptive else m for size, bins, m in ((tall, h, most[0]), (wide, w, most[1])))
        for i, j in np.ndindex(h, w):
            seen = []
            for a, b in np.ndindex(ny, nx):
                py, px = y1 + (i + (a + 0.5) / ny) * tall / h, x1 + (j + (b + 0.5) / nx) * wide / w
                inside = -1 <= py <= x.shape[2] and -1 <= px <= x.shape[3]
                py, px = min(max(py, 0), x.shape[2] - 1), min(max(px, 0), x.shape[3] - 1)
                seen.append(bilinear(x[int(image)], py, px) if inside else np.zeros(x.shape[1]))
            if seen:
                y[k, :, i, j] = np.max(seen, 0) if mode == "max" else np.mean(seen, 0)
    return y


def reach_of(x, boxes, **attrs):
    """The largest |x| times the largest coordinate, in elements."""
    scale = attrs.get("spatial_scale", 1.0)
    return np.abs(x).max(initial=0) * (np.abs(boxes[:, 1:]).max(initial=0) * scale + 2)


IMAGE = np.ones((1, 2, 4, 4))
BOX = np.array([[0.0, 0.0, 0.0, 2.0, 2.0]])
RECORDS["roi_align"] = Record(
    roi_align,
    lambda rng: [
        Case((n(rng, 2, 3, 7, 6), rois(rng, 4, 2, 6)), {"output_size": (2, 3), **a}, smooth=a.get("mode") != "max")
        for a in (
            {},
            {"aligned": True},
            {"aligned": True, "spatial_scale": 0.625, "sampling": (1, 3)},
            {"adaptive": True, "sampling": 4},
            {"adaptive": True, "sampling": (2, 3), "aligned": True, "spatial_scale": 1.4375},
            {"mode": "max", "sampling": 3},
            {"mode": "max", "adaptive": True, "sampling": 3, "aligned": True},
        )
    ]
    + [
        Case((n(rng, 1, 2, 5, 5), rois(rng, 2, 1, 5)), {"output_size": 3}),
        Case((n(rng, 1, 2, 5, 5), np.zeros((0, 5))), {"output_size": 3}, smooth=False),
        # A box turned inside out has no samples; one far outside sees zeros.
        Case((n(rng, 1, 2, 5, 5), np.array([[0, 3.0, 3.0, 1.0, 1.0], [0, 90.0, 90.0, 95.0, 95.0]])), {"output_size": 2, "adaptive": True, "aligned": True, "mode": "max"}, smooth=False),
    ],
    FLOATS,
    (0, 1),
    scale=reach_of,
    bad=(
        Bad(ValueError, (IMAGE[0], BOX), {"output_size": 2}),
        Bad(ValueError, (IMAGE, BOX[:, 1:]), {"output_size": 2}),
        Bad(ValueError, (IMAGE, BOX), {"output_size": 0}),
        Bad(ValueError, (IMAGE, BOX), {"output_size": (1, 2, 3)}),
        Bad(ValueError, (IMAGE, BOX), {"output_size": 2, "sampling": 0}),
        Bad(ValueError, (IMAGE, BOX), {"output_size": 2, "mode": "mean"}),
        Bad(ValueError, (IMAGE[:, :, :0], BOX), {"output_size": 2}),
        Bad(TypeError, (IMAGE.astype(int), BOX), {"output_size": 2}),
        Bad(TypeError, (IMAGE.astype(np.float32), BOX), {"output_size": 2}),
    ),
)


def _no_such_image(tg, device):
    x, box = tg.ones(1, 1, 2, 2, device=device), tg.tensor([[3.0, 0, 0, 1, 1]], device=device)
    for call in (tg.roi_align, tg.roi_pool):
        try:
            call(x, box, 1).tolist()
        except IndexError:
            continue
        raise AssertionError("an image that is not there raises IndexError")


RECORDS["roi_align"].check = _no_such_image


def away(v):
    """C's round."""
    return math.copysign(math.floor(abs(v) + 0.5), v)


def pool_bins(x, boxes, output_size, spatial_scale):
    """For every bin its place in the result, and its part of x [C, ...]."""
    h, w = two(output_size)
    for k, (image, *corners) in enumerate(boxes):
        x1, y1, x2, y2 = (away(v * spatial_scale) for v in corners)
        tall, wide = max(y2 - y1 + 1, 1) / h, max(x2 - x1 + 1, 1) / w
        for i, j in np.ndindex(h, w):
            ends = (math.floor(i * tall) + y1, math.ceil((i + 1) * tall) + y1, math.floor(j * wide) + x1, math.ceil((j + 1) * wide) + x1)
            a, b, c, d = (int(min(max(v, 0), s)) for v, s in zip(ends, np.repeat(x.shape[2:], 2)))
            yield (k, slice(None), i, j), x[int(image)][:, a:b, c:d].reshape(x.shape[1], -1)


def roi_pool(x, boxes, output_size, spatial_scale=1.0, mode="max", reach=0):
    y = np.zeros((len(boxes), x.shape[1], *two(output_size)))
    for place, part in pool_bins(x, boxes, output_size, spatial_scale):
        if part.size:
            y[place] = part.max(1) if mode == "max" else part.mean(1)
    return y


def pool_magnitudes(x, boxes, output_size, spatial_scale=1.0, mode="max", reach=0):
    return roi_pool(np.abs(x), boxes, output_size, spatial_scale, mode)


RECORDS["roi_pool"] = Record(
    roi_pool,
    lambda rng: [
        Case((n(rng, 2, 3, 7, 6), rois(rng, 4, 2, 6)), {"output_size": (2, 3), **a})
        for a in ({}, {"mode": "average"}, {"reach": (5, 4)}, {"spatial_scale": 0.625}, {"spatial_scale": 2.0, "mode": "average"})
    ]
    + [
        Case((n(rng, 1, 2, 5, 5), rois(rng, 2, 1, 5)), {"output_size": 3}),
        Case((n(rng, 1, 2, 5, 5), np.zeros((0, 5))), {"output_size": 3}, smooth=False),
        Case((n(rng, 1, 2, 5, 5), np.array([[0, 90.0, 90.0, 95.0, 95.0]])), {"output_size": 2}),
    ],
    FLOATS,
    (0,),
    length=lambda c: 50.0,
    scale=pool_magnitudes,
    bad=(
        Bad(ValueError, (IMAGE[0], BOX), {"output_size": 2}),
        Bad(ValueError, (IMAGE, BOX), {"output_size": 2, "mode": "min"}),
        Bad(ValueError, (IMAGE, BOX), {"output_size": 2, "reach": (-1, 0)}),
        Bad(TypeError, (IMAGE.astype(int), BOX), {"output_size": 2}),
    ),
)


def _pool_ties(tg, device):
    """Of equals the first one has the gradient; a bin with NaN is NaN."""
    x = tg.ones(1, 1, 2, 2, device=device).requires_grad_()
    tg.roi_pool(x, tg.tensor([[0.0, 0, 0, 1, 1]], device=device), 1).sum().backward()
    assert x.grad.tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]
    x = tg.tensor([[[[1.0, float("nan")], [3.0, 2.0]]]], device=device)
    assert math.isnan(tg.roi_pool(x, tg.tensor([[0.0, 0, 0, 1, 1]], device=device), 1).item())


RECORDS["roi_pool"].check = _pool_ties


def psroi(x, boxes, offsets, output_size, spatial_scale=1.0, samples=4, offset_scale=0.1):
    h, w = two(output_size)
    y = np.zeros((len(boxes), x.shape[1], h, w))
    classes = 1 if offsets is None else offsets.shape[1] // 2
    for k, (image, *corners) in enumerate(boxes):
        x1, y1 = (away(v) * spatial_scale - 0.5 for v in corners[:2])
        x2, y2 = ((away(v) + 1) * spatial_scale - 0.5 for v in corners[2:])
        wide, tall = max(x2 - x1, 0.1), max(y2 - y1, 0.1)
        for c, i, j in np.ndindex(x.shape[1], h, w):
            dx = dy = 0.0
            if offsets is not None:
                kind, parts = c // (x.shape[1] // classes), offsets.shape[2:]
                dx, dy = offsets[k, 2 * kind : 2 * kind + 2, i * parts[0] // h, j * parts[1] // w] * offset_scale
            seen = []
            for a, b in np.ndindex(samples, samples):
                py = y1 + (i + a / samples) * tall / h + dy * tall
                px = x1 + (j + b / samples) * wide / w + dx * wide
                if -0.5 <= py <= x.shape[2] - 0.5 and -0.5 <= px <= x.shape[3] - 0.5:
                    py, px = min(max(py, 0), x.shape[2] - 1), min(max(px, 0), x.shape[3] - 1)
                    seen.append(bilinear(x[int(image), c : c + 1], py, px)[0])
            y[k, c, i, j] = np.mean(seen) if seen else 0.0
    return y


OFFSETS = np.zeros((1, 2, 1, 1))
RECORDS["deformable_psroi_pooling"] = Record(
    psroi,
    lambda rng: [
        Case((n(rng, 2, 4, 7, 6), rois(rng, 3, 2, 6), None), {"output_size": (2, 3), "samples": 3, "spatial_scale": 0.61}),
        Case((n(rng, 2, 4, 7, 6), rois(rng, 3, 2, 6), n(rng, 3, 4, 2, 3)), {"output_size": (3, 4), "samples": 2, "spatial_scale": 0.61}),
        Case((n(rng, 2, 4, 7, 6), rois(rng, 3, 2, 6), n(rng, 3, 2, 3, 3)), {"output_size": 3, "offset_scale": 0.4}),
        Case((n(rng, 1, 2, 5, 5), np.zeros((0, 5)), None), {"output_size": 3}, smooth=False),
        Case((n(rng, 1, 2, 5, 5), np.array([[0, 90.0, 90.0, 95.0, 95.0]]), None), {"output_size": 2}),
    ],
    ("float32", "float64"),
    (0, 2),
    scale=lambda x, boxes, offsets, **a: reach_of(x, boxes, **a),
    bad=(
        Bad(ValueError, (IMAGE, BOX[:, 1:], None), {"output_size": 2}),
        Bad(ValueError, (IMAGE, BOX, OFFSETS), {"output_size": 2, "samples": 0}),
        Bad(ValueError, (IMAGE, BOX, np.zeros((2, 2, 1, 1))), {"output_size": 2}),
        Bad(ValueError, (IMAGE, BOX, np.zeros((1, 3, 1, 1))), {"output_size": 2}),
        Bad(ValueError, (IMAGE, BOX, np.zeros((1, 6, 1, 1))), {"output_size": 2}),
        Bad(TypeError, (IMAGE, BOX, OFFSETS.astype(np.float32)), {"output_size": 2}),
    ),
)
