# SPDX-License-Identifier: Apache-2.0
"""What a transform does to places, once chance has decided: to images, to masks, and to points, boxes, keypoints and polygons.

Points are (x, y) from the image's left upper corner, so that the first pixel's centre is (0.5, 0.5).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tengen as tg

from . import functional as F

KINDS = ("image", "mask", "coords", "boxes", "keypoints", "polygons")


def is_kind(name: str) -> bool:
    """Whether a sample's part may be called so: categories and infos stay as they are."""
    return name in KINDS or name.endswith(("category", "info"))


class Move:
    """Base: what happens to an image, to a mask (by default the same) and to points [n, 2]."""

    def image(self, image: Any) -> Any:
        raise NotImplementedError

    def mask(self, mask: Any) -> Any:
        return self.image(mask)

    def points(self, xy: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def apply(self, kind: str, value: Any) -> Any:
        """The part of a sample that is called `kind`, moved."""
        if kind == "image":
            return self.image(value)
        if kind == "mask":
            return _as_image(value, self.mask)
        if kind == "coords":
            return _as_array(value, 2, kind, self.points)
        if kind == "boxes":
            return _as_array(value, 4, kind, self._boxes)
        if kind == "keypoints":
            return _as_array(value, 3, kind, self._keypoints)
        if kind == "polygons":
            return self._polygons(value)
        return value

    def _boxes(self, boxes: np.ndarray) -> np.ndarray:
        """The least upright boxes around the moved corners."""
        corners = self.points(boxes[..., [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 2)).reshape(*boxes.shape[:-1], 4, 2)
        return np.concatenate([corners.min(-2), corners.max(-2)], -1)

    def _keypoints(self, keypoints: np.ndarray) -> np.ndarray:
        xy = self.points(keypoints[..., :2].reshape(-1, 2)).reshape(keypoints[..., :2].shape)
        return np.concatenate([xy, keypoints[..., 2:]], -1)

    def _polygons(self, polygons: Any) -> Any:
        if isinstance(polygons, (list, tuple)):
            return [self._polygons(p) for p in polygons]
        return _as_array(polygons, 2, "polygons", self.points)


def _as_array(value: Any, last: int, kind: str, f: Callable[[np.ndarray], np.ndarray]) -> Any:
    """f of an array or host tensor whose last axis is known; integers become f32."""
    array = value.detach().numpy() if isinstance(value, tg.Tensor) else np.asarray(value)
    if array.ndim < 1 or array.shape[-1] != last:
        raise ValueError(f"[transforms] expected {kind} [..., {last}], got shape {array.shape}")
    dtype = array.dtype if array.dtype.kind == "f" else np.float32
    out = np.ascontiguousarray(f(array.astype(np.float64)).reshape(array.shape), dtype)
    return tg.from_numpy(out) if isinstance(value, tg.Tensor) else out


def _as_image(value: Any, f: Callable[[Any], Any]) -> Any:
    """f of a mask [..., height, width] of any dtype; all that f does is to move elements."""
    array = value.detach().numpy() if isinstance(value, tg.Tensor) else np.asarray(value)
    if array.ndim < 2:
        raise ValueError(f"[transforms] expected a mask [..., height, width], got shape {array.shape}")
    plane = array if array.dtype == np.uint8 or array.dtype.kind == "f" else array.astype(np.float64)
    out = f(plane[None] if array.ndim == 2 else plane)
    out = np.ascontiguousarray(out[0] if array.ndim == 2 else out, array.dtype)
    return tg.from_numpy(out) if isinstance(value, tg.Tensor) else out


class Chain(Move):
    """One after the other."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self.moves = list(moves)

    def apply(self, kind: str, value: Any) -> Any:
        for move in self.moves:
            value = move.apply(kind, value)
        return value

    def image(self, image: Any) -> Any:
        return self.apply("image", image)


class Resized(Move):
    """To another size, from the one of an image; masks take the nearest element."""

    def __init__(self, old: Sequence[int], new: Sequence[int], interpolation: str, antialias: bool) -> None:
        self.old, self.new, self.interpolation, self.antialias = tuple(old), tuple(new), interpolation, antialias

    def image(self, image: Any) -> Any:
        return F.resize(image, self.new, self.interpolation, self.antialias)

    def mask(self, mask: Any) -> Any:
        return F.resize(mask, self.new, "nearest")

    def points(self, xy: np.ndarray) -> np.ndarray:
        return xy * [self.new[1] / self.old[1], self.new[0] / self.old[0]]


class Cropped(Move):
    """A part."""

    def __init__(self, top: int, left: int, height: int, width: int) -> None:
        self.part = (top, left, height, width)

    def image(self, image: Any) -> Any:
        return F.crop(image, *self.part)

    def points(self, xy: np.ndarray) -> np.ndarray:
        return xy - [self.part[1], self.part[0]]


class Padded(Move):
    """Rows and columns around; masks get zeros where images get a value."""

    def __init__(self, padding: int | Sequence[int], fill: float, mode: str) -> None:
        self.padding, self.fill, self.mode = padding, fill, mode

    def image(self, image: Any) -> Any:
        return F.pad(image, self.padding, self.fill, self.mode)

    def mask(self, mask: Any) -> Any:
        return F.pad(mask, self.padding, 0, self.mode)

    def points(self, xy: np.ndarray) -> np.ndarray:
        return xy + [*F.four_paddings(self.padding)[:2]]


class Flipped(Move):
    """Left and right, or top and bottom, exchanged in an image of a size."""

    def __init__(self, size: Sequence[int], vertical: bool) -> None:
        self.size, self.vertical = tuple(size), vertical

    def image(self, image: Any) -> Any:
        return F.vflip(image) if self.vertical else F.hflip(image)

    def points(self, xy: np.ndarray) -> np.ndarray:
        return [0, self.size[0]] + xy * [1, -1] if self.vertical else [self.size[1], 0] + xy * [-1, 1]


class Turned(Move):
    """functional.affine of an image of a size; masks take the nearest element and zeros outside."""

    def __init__(self, size: Sequence[int], matrix: Sequence[Sequence[float]], interpolation: str, fill: float) -> None:
        self.size, self.matrix, self.interpolation, self.fill = tuple(size), matrix, interpolation, fill

    def image(self, image: Any) -> Any:
        return F.affine(image, self.matrix, self.interpolation, self.fill)

    def mask(self, mask: Any) -> Any:
        return F.affine(mask, self.matrix, "nearest", 0)

    def points(self, xy: np.ndarray) -> np.ndarray:
        m, middle = np.asarray(self.matrix, np.float64), np.array([self.size[1] / 2, self.size[0] / 2])
        return np.linalg.solve(m[:, :2], (xy - middle - m[:, 2]).T).T + middle  # the matrix leads back to the image


class Seen(Move):
    """functional.perspective; masks take the nearest element and zeros outside."""

    def __init__(self, start: np.ndarray, end: np.ndarray, interpolation: str, fill: float) -> None:
        self.start, self.end, self.interpolation, self.fill = start, end, interpolation, fill

    def image(self, image: Any) -> Any:
        return F.perspective(image, self.start, self.end, self.interpolation, self.fill)

    def mask(self, mask: Any) -> Any:
        return F.perspective(mask, self.start, self.end, "nearest", 0)

    def points(self, xy: np.ndarray) -> np.ndarray:
        u, v, d = np.tensordot(F.perspective_matrix(self.end, self.start), np.stack([*(xy - 0.5).T, np.ones(len(xy))]), 1)
        return np.stack([u / d, v / d], -1) + 0.5
