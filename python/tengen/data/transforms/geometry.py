# SPDX-License-Identifier: Apache-2.0
"""Where pixels go: sizes, crops, flips, turns, and rectangles erased."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import tengen as tg

from . import functional as F
from .basic import Geometric, Transform, draws
from .moves import Chain, Cropped, Flipped, Move, Padded, Resized, Turned


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))


class Resize(Geometric):
    """functional.resize."""

    def __init__(self, size: int | Sequence[int], interpolation: str = "bilinear", max_size: int | None = None,
                 antialias: bool = True) -> None:
        self.size, self.interpolation, self.max_size, self.antialias = size, interpolation, max_size, antialias

    def move(self, image: Any) -> Move:
        old = image.shape[-2:]
        return Resized(old, F.resized_size(old, self.size, self.max_size), self.interpolation, self.antialias)


class RandomResize(Geometric):
    """Both sides by one factor drawn from a range."""

    def __init__(self, scale_range: Sequence[float], interpolation: str = "bilinear", antialias: bool = True) -> None:
        self.scale_range, self.interpolation, self.antialias = (float(scale_range[0]), float(scale_range[1])), interpolation, antialias
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"[RandomResize] expected a range of factors above 0, got {scale_range}")

    def move(self, image: Any) -> Move:
        old, factor = image.shape[-2:], draws().uniform(*self.scale_range)
        return Resized(old, [max(1, round(n * factor)) for n in old], self.interpolation, self.antialias)


class ShortestEdgeResize(Geometric):
    """The shorter side to a length drawn from a range (or, with sample_style "choice", from some lengths); the longer one at most
    max_size."""

    def __init__(self, min_size: int | Sequence[int], max_size: int | None = None, sample_style: str = "range",
                 interpolation: str = "bilinear", antialias: bool = True) -> None:
        self.min_size = (min_size, min_size) if isinstance(min_size, int) else tuple(min_size)
        self.max_size, self.sample_style, self.interpolation, self.antialias = max_size, sample_style, interpolation, antialias
        if sample_style not in ("range", "choice") or not self.min_size or (sample_style == "range" and len(self.min_size) != 2):
            raise ValueError(f"[ShortestEdgeResize] expected sample_style 'range' with a least and a largest length or 'choice' with some, "
                             f"got {sample_style!r} and {min_size}")

    def move(self, image: Any) -> Move:
        random, old = draws(), image.shape[-2:]
        if self.sample_style == "range":
            size = int(random.integers(self.min_size[0], self.min_size[1] + 1))
        else:
            size = int(random.choice(self.min_size))
        return Resized(old, F.resized_size(old, size, self.max_size), self.interpolation, self.antialias)


class CenterCrop(Geometric):
    """The middle; a smaller image is padded with zeros first."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = _pair(size)

    def move(self, image: Any) -> Move:
        more, (h, w) = _at_least(image.shape[-2:], self.size)
        return Chain([*more, Cropped(round((h - self.size[0]) / 2), round((w - self.size[1]) / 2), *self.size)])


def _at_least(have: Sequence[int], want: Sequence[int], fill: float = 0, mode: str = "constant") -> tuple[list[Move], tuple[int, int]]:
    """What brings an image up to a size, and the size that it then has."""
    dh, dw = (max(0, w - h) for w, h in zip(want, have))
    more: list[Move] = [Padded((dw // 2, dh // 2, dw - dw // 2, dh - dh // 2), fill, mode)] if dh or dw else []
    return more, (have[0] + dh, have[1] + dw)


class Pad(Geometric):
    """functional.pad."""

    def __init__(self, padding: int | Sequence[int], fill: float = 0, mode: str = "constant") -> None:
        self.padding, self.fill, self.mode = padding, fill, mode

    def move(self, image: Any) -> Move:
        return Padded(self.padding, self.fill, self.mode)


class RandomCrop(Geometric):
    """A part of the given size at random, of the image padded first (and, where it is too small, padded up to it)."""

    def __init__(self, size: int | Sequence[int], padding: int | Sequence[int] | None = None, fill: float = 0,
                 padding_mode: str = "constant") -> None:
        self.size, self.padding, self.fill, self.padding_mode = _pair(size), padding, fill, padding_mode

    def move(self, image: Any) -> Move:
        size, moves = image.shape[-2:], []
        if self.padding is not None:
            moves.append(Padded(self.padding, self.fill, self.padding_mode))
            left, top, right, bottom = F.four_paddings(self.padding)
            size = (size[0] + top + bottom, size[1] + left + right)
        more, size = _at_least(size, self.size, self.fill, self.padding_mode)
        random = draws()
        top, left = (int(random.integers(0, have - want + 1)) for have, want in zip(size, self.size))
        return Chain([*moves, *more, Cropped(top, left, *self.size)])


class RandomResizedCrop(Geometric):
    """A part of random area and ratio, resized (Szegedy et al. 2015, "Going deeper with convolutions").

    scale: the part's share of the area; ratio: width / height, drawn uniformly in its logarithm. After ten draws that
    do not fit, the largest middle part within the ratio.
    """

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.08, 1.0),
                 ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: str = "bilinear", antialias: bool = True) -> None:
        self.size, self.scale, self.ratio = _pair(size), tuple(scale), tuple(ratio)
        self.interpolation, self.antialias = interpolation, antialias

    def _part(self, height: int, width: int) -> tuple[int, int, int, int]:
        random = draws()
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(*np.log(self.ratio)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1)), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def move(self, image: Any) -> Move:
        part = self._part(*image.shape[-2:])
        return Chain([Cropped(*part), Resized(part[2:], self.size, self.interpolation, self.antialias)])


class RandomHorizontalFlip(Geometric):
    """Left and right exchanged with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def move(self, image: Any) -> Move | None:
        return Flipped(image.shape[-2:], False) if draws().random() < self.p else None


class RandomVerticalFlip(Geometric):
    """Top and bottom exchanged with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def move(self, image: Any) -> Move | None:
        return Flipped(image.shape[-2:], True) if draws().random() < self.p else None


class RandomAffine(Geometric):
    """Turned, moved, scaled and sheared at random.

    degrees: up to that many either way, or (least, most); translate: up to these shares of width and height; scale: range
    of a factor; shear: degrees along x, up to that many either way or (least, most).
    """

    def __init__(self, degrees: float | Sequence[float], translate: Sequence[float] | None = None,
                 scale: Sequence[float] | None = None, shear: float | Sequence[float] | None = None,
                 interpolation: str = "nearest", fill: float = 0) -> None:
        self.degrees, self.translate, self.scale = _either_way(degrees), translate, scale
        self.shear = None if shear is None else _either_way(shear)
        self.interpolation, self.fill = interpolation, fill

    def move(self, image: Any) -> Move:
        random, (h, w) = draws(), image.shape[-2:]
        angle = random.uniform(*self.degrees)
        move = (0, 0) if self.translate is None else tuple(
            round(random.uniform(-share, share) * size) for share, size in zip(self.translate, (w, h)))
        scale = 1.0 if self.scale is None else random.uniform(*self.scale)
        shear = 0.0 if self.shear is None else random.uniform(*self.shear)
        return Turned((h, w), F.affine_matrix(angle, move, scale, (shear, 0)), self.interpolation, self.fill)


def _either_way(value: float | Sequence[float]) -> tuple[float, float]:
    return (-value, value) if isinstance(value, (int, float)) else (value[0], value[1])


class RandomRotation(RandomAffine):
    """Turned by up to `degrees` either way, or (least, most)."""

    def __init__(self, degrees: float | Sequence[float], interpolation: str = "nearest", fill: float = 0) -> None:
        super().__init__(degrees, interpolation=interpolation, fill=fill)


class RandomErasing(Transform):
    """With probability p a rectangle of random area and ratio is overwritten with `value`, or with noise for "random"
    (Zhong et al. 2020, arXiv:1708.04896)."""

    keeps_places = True

    def __init__(self, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33), ratio: Sequence[float] = (0.3, 3.3),
                 value: float | str = 0) -> None:
        self.p, self.scale, self.ratio, self.value = p, tuple(scale), tuple(ratio), value

    def __call__(self, image: Any) -> Any:
        random, (height, width) = draws(), image.shape[-2:]
        if random.random() >= self.p:
            return image
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(*np.log(self.ratio)))  # height / width
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < h < height and 0 < w < width:
                top, left = int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1))
                out = image.clone() if isinstance(image, tg.Tensor) else image.copy()
                array = out.numpy() if isinstance(out, tg.Tensor) else out
                part = array[..., top:top + h, left:left + w]
                if self.value == "random":
                    noise = random.integers(0, 256, part.shape) if array.dtype == np.uint8 else random.standard_normal(part.shape)
                    part[...] = noise
                else:
                    part[...] = self.value
                return out
        return image
