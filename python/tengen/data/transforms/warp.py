# SPDX-License-Identifier: Apache-2.0
"""Blur, perspective, and several crops of one image."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import functional as F
from .basic import Geometric, Transform, draws
from .geometry import _pair
from .moves import Move, Seen


class GaussianBlur(Transform):
    """Smoothed by a Gaussian kernel of odd sizes, of a sigma drawn from a range (or of one sigma)."""

    keeps_places = True

    def __init__(self, kernel_size: int | Sequence[int], sigma: float | Sequence[float] = (0.1, 2.0)) -> None:
        self.kernel_size, self.sigma = _pair(kernel_size), (sigma, sigma) if isinstance(sigma, (int, float)) else tuple(sigma)
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"[GaussianBlur] expected a range of sigmas above 0, got {sigma}")

    def __call__(self, image: Any) -> Any:
        return F.gaussian_blur(image, self.kernel_size, float(draws().uniform(*self.sigma)))


class RandomPerspective(Geometric):
    """With probability p seen from aside: each corner moves inwards by up to distortion_scale of half the size."""

    def __init__(self, distortion_scale: float = 0.5, p: float = 0.5, interpolation: str = "bilinear", fill: float = 0) -> None:
        if not 0 <= distortion_scale <= 1:
            raise ValueError(f"[RandomPerspective] expected a distortion_scale between 0 and 1, got {distortion_scale}")
        self.distortion_scale, self.p, self.interpolation, self.fill = distortion_scale, p, interpolation, fill

    def move(self, image: Any) -> Move | None:
        random, (h, w) = draws(), image.shape[-2:]
        if random.random() >= self.p:
            return None
        corners = np.array([(0, 0), (w - 1, 0), (w - 1, h - 1), (0, h - 1)])
        most = [int(self.distortion_scale * (n // 2)) + 1 for n in (w, h)]
        moved = corners + random.integers(0, most, (4, 2)) * [(1, 1), (-1, 1), (-1, -1), (1, -1)]
        return Seen(corners, moved, self.interpolation, self.fill)


class FiveCrop(Transform):
    """The four corners and the middle: a tuple of five images."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = _pair(size)

    def __call__(self, image: Any) -> tuple[Any, ...]:
        (h, w), (height, width) = self.size, image.shape[-2:]
        if h > height or w > width:
            raise ValueError(f"[{type(self).__name__}] expected an image of at least {h} x {w}, got {height} x {width}")
        places = ((0, 0), (0, width - w), (height - h, 0), (height - h, width - w), (round((height - h) / 2), round((width - w) / 2)))
        return tuple(F.crop(image, *place, h, w) for place in places)


class TenCrop(FiveCrop):
    """FiveCrop's five images, and those of the flipped image."""

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        super().__init__(size)
        self.vertical_flip = vertical_flip

    def __call__(self, image: Any) -> tuple[Any, ...]:
        return (*super().__call__(image), *super().__call__((F.vflip if self.vertical_flip else F.hflip)(image)))
