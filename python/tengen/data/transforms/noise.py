# SPDX-License-Identifier: Apache-2.0
"""Noise: of pixels, and of the light."""
from __future__ import annotations

from typing import Any

import numpy as np

from . import functional as F
from .basic import Transform, draws

# Principal components of ImageNet's RGB, in 0 to 1, and their standard deviations (Krizhevsky et al. 2012).
_DEVIATIONS = np.array([0.2175, 0.0188, 0.0045])
_COMPONENTS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


def _added(image: Any, more: Any) -> Any:
    """image + more(array) * white, in the image's dtype."""

    @F.on_arrays
    def add(array: np.ndarray) -> np.ndarray:
        wide = array if array.dtype == np.float64 else array.astype(np.float32)
        return F.as_kind(wide + (more(array) * F.white(array)).astype(wide.dtype), array)

    return add(image)


class GaussianNoise(Transform):
    """Normal noise added to every element; mean and std in terms of full brightness (255 of u8, 1 of floats)."""

    keeps_places = True

    def __init__(self, mean: float = 0.0, std: float = 0.05) -> None:
        if std < 0:
            raise ValueError(f"[GaussianNoise] expected a std of 0 or more, got {std}")
        self.mean, self.std = mean, std

    def __call__(self, image: Any) -> Any:
        return _added(image, lambda array: draws().normal(self.mean, self.std, array.shape))


class Lighting(Transform):
    """The colour of the light: all pixels of three channels along ImageNet's principal components, by normal factors of std
    `scale` (Krizhevsky et al. 2012)."""

    keeps_places = True

    def __init__(self, scale: float = 0.1) -> None:
        if scale < 0:
            raise ValueError(f"[Lighting] expected a scale of 0 or more, got {scale}")
        self.scale = scale

    def __call__(self, image: Any) -> Any:
        if image.shape[-3] != 3:
            raise ValueError(f"[Lighting] expected 3 channels, got {image.shape[-3]}")
        shift = _COMPONENTS @ (draws().normal(0, self.scale, 3) * _DEVIATIONS)
        return _added(image, lambda array: shift.reshape(3, 1, 1))
