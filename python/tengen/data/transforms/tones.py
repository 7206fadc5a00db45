# SPDX-License-Identifier: Apache-2.0
"""Changes of tones that happen with a probability."""
from __future__ import annotations

from typing import Any

from . import functional as F
from .basic import Transform, draws


class _Sometimes(Transform):
    keeps_places = True

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Any) -> Any:
        return self._changed(image) if draws().random() < self.p else image

    def _changed(self, image: Any) -> Any:
        raise NotImplementedError


class RandomInvert(_Sometimes):
    """functional.invert with probability p."""

    def _changed(self, image: Any) -> Any:
        return F.invert(image)


class RandomAutocontrast(_Sometimes):
    """functional.autocontrast with probability p."""

    def _changed(self, image: Any) -> Any:
        return F.autocontrast(image)


class RandomEqualize(_Sometimes):
    """functional.equalize with probability p."""

    def _changed(self, image: Any) -> Any:
        return F.equalize(image)


class RandomPosterize(_Sometimes):
    """functional.posterize to `bits` bits with probability p."""

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits

    def _changed(self, image: Any) -> Any:
        return F.posterize(image, self.bits)


class RandomSolarize(_Sometimes):
    """functional.solarize from `threshold` on with probability p."""

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def _changed(self, image: Any) -> Any:
        return F.solarize(image, self.threshold)


class RandomAdjustSharpness(_Sometimes):
    """functional.adjust_sharpness by a factor with probability p."""

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def _changed(self, image: Any) -> Any:
        return F.adjust_sharpness(image, self.sharpness_factor)
