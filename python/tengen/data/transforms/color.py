# SPDX-License-Identifier: Apache-2.0
"""What colours pixels have."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import functional as F
from .basic import Transform, draws


def _range(value: float | Sequence[float], name: str, centre: float, least: float, most: float) -> tuple[float, float]:
    low, high = (max(least, centre - value), centre + value) if isinstance(value, (int, float)) else (value[0], value[1])
    if not least <= low <= high <= most or (isinstance(value, (int, float)) and value < 0):
        raise ValueError(f"[ColorJitter] expected {name} of 0 or more, or a range within [{least}, {most}], got {value}")
    return low, high


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by random factors, in random order.

    Each is a strength v, for factors in [1 - v, 1 + v] (hue: shifts in [-v, v], at most 0.5), or a range.
    """

    keeps_places = True

    def __init__(self, brightness: float | Sequence[float] = 0, contrast: float | Sequence[float] = 0,
                 saturation: float | Sequence[float] = 0, hue: float | Sequence[float] = 0) -> None:
        self.brightness = _range(brightness, "brightness", 1, 0, float("inf"))
        self.contrast = _range(contrast, "contrast", 1, 0, float("inf"))
        self.saturation = _range(saturation, "saturation", 1, 0, float("inf"))
        self.hue = _range(hue, "hue", 0, -0.5, 0.5)

    def __call__(self, image: Any) -> Any:
        random = draws()
        steps = ((F.adjust_brightness, self.brightness, 1), (F.adjust_contrast, self.contrast, 1),
                 (F.adjust_saturation, self.saturation, 1), (F.adjust_hue, self.hue, 0))
        for i in random.permutation(len(steps)):
            function, (low, high), neutral = steps[i]
            if (low, high) != (neutral, neutral):
                image = function(image, random.uniform(low, high))
        return image


class Grayscale(Transform):
    """functional.grayscale."""

    keeps_places = True

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels

    def __call__(self, image: Any) -> Any:
        return F.grayscale(image, self.channels)


class RandomGrayscale(Transform):
    """Gray with probability p, in as many channels as before."""

    keeps_places = True

    def __init__(self, p: float = 0.1) -> None:
        self.p = p

    def __call__(self, image: Any) -> Any:
        return F.grayscale(image, image.shape[-3]) if draws().random() < self.p else image
