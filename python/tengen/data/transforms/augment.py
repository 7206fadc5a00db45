# SPDX-License-Identifier: Apache-2.0
"""RandAugment: a few random changes of one strength (Cubuk et al. 2020, arXiv:1909.13719)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import functional as F
from .basic import Transform, draws

Change = Callable[[Any, float, "RandAugment"], Any]


def _moved(image: Any, own: RandAugment, **how: Any) -> Any:
    return F.affine(image, F.affine_matrix(**how), own.interpolation, own.fill)


def _dark(image: Any, share: float) -> float:
    top = 255 if "uint8" in str(image.dtype) else 1
    return top - share * top


# Of a strength s in [0, 1], whose sign is drawn where the change has two directions.
_SHEAR, _TURN = 16.7, 30.0  # degrees; a shear of 0.3
_SIGNED: dict[str, Change] = {
    "ShearX": lambda x, s, own: _moved(x, own, shear=(_SHEAR * s, 0)),
    "ShearY": lambda x, s, own: _moved(x, own, shear=(0, _SHEAR * s)),
    "TranslateX": lambda x, s, own: _moved(x, own, translate=(round(150 / 331 * x.shape[-1] * s), 0)),
    "TranslateY": lambda x, s, own: _moved(x, own, translate=(0, round(150 / 331 * x.shape[-2] * s))),
    "Rotate": lambda x, s, own: _moved(x, own, angle=_TURN * s),
    "Brightness": lambda x, s, own: F.adjust_brightness(x, 1 + 0.9 * s),
    "Color": lambda x, s, own: F.adjust_saturation(x, 1 + 0.9 * s),
    "Contrast": lambda x, s, own: F.adjust_contrast(x, 1 + 0.9 * s),
    "Sharpness": lambda x, s, own: F.adjust_sharpness(x, 1 + 0.9 * s),
}
_UNSIGNED: dict[str, Change] = {
    "Identity": lambda x, s, own: x,
    "Posterize": lambda x, s, own: F.posterize(x, 8 - round(4 * s)),
    "Solarize": lambda x, s, own: F.solarize(x, _dark(x, s)),
    "AutoContrast": lambda x, s, own: F.autocontrast(x),
    "Equalize": lambda x, s, own: F.equalize(x),
}
CHANGES = (*_SIGNED, *_UNSIGNED)


class RandAugment(Transform):
    """`num_ops` changes in a row, each drawn from 14, of strength magnitude / 30 of what is sensible.

    Parameters
    ----------
    num_ops : int
    magnitude : int
        0 to 30.
    interpolation : str
        Of turns, shears and moves: "nearest" or "bilinear".
    fill : float
        What comes in from outside.
    """

    def __init__(self, num_ops: int = 2, magnitude: int = 9, interpolation: str = "nearest", fill: float = 0) -> None:
        if num_ops < 0 or not 0 <= magnitude <= 30:
            raise ValueError(f"[RandAugment] expected num_ops of 0 or more and magnitude 0 to 30, got {num_ops} and {magnitude}")
        self.num_ops, self.magnitude, self.interpolation, self.fill = num_ops, magnitude, interpolation, fill

    def __call__(self, image: Any) -> Any:
        random = draws()
        for i in random.integers(0, len(CHANGES), self.num_ops):
            sign = 1 if random.random() < 0.5 else -1
            image = self.change(image, CHANGES[i], sign * self.magnitude / 30)
        return image

    def change(self, image: Any, name: str, strength: float) -> Any:
        """One change by name; strength -1 to 1, its sign a direction where there are two."""
        if name in _SIGNED:
            return _SIGNED[name](image, strength, self)
        return _UNSIGNED[name](image, abs(strength), self)
