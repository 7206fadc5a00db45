# SPDX-License-Identifier: Apache-2.0
"""Putting transforms together, and leaving u8."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tengen as tg

from ..dataset import as_generator
from . import functional as F


class Transform:
    """Base: `__call__(image)`; prints its public attributes."""

    def __call__(self, image: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))})"


def draws() -> np.random.Generator:
    """Random numbers that follow tg.manual_seed()."""
    return as_generator(None)


class Compose(Transform):
    """One after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {t!r}\n" for t in self.transforms) + ")"


class Lambda(Transform):
    """A function of your own (a named one where workers are used: it has to be pickled)."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, image: Any) -> Any:
        return self.function(image)


class RandomApply(Transform):
    """All of some transforms with probability p, or none."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        self.transforms, self.p = list(transforms), p

    def __call__(self, image: Any) -> Any:
        return Compose(self.transforms)(image) if draws().random() < self.p else image


class RandomChoice(Transform):
    """One of some transforms, with probabilities p (equal ones by default)."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        self.transforms, self.p = list(transforms), p

    def __call__(self, image: Any) -> Any:
        p = None if self.p is None else np.asarray(self.p) / np.sum(self.p)
        return self.transforms[int(draws().choice(len(self.transforms), p=p))](image)


class RandomOrder(Transform):
    """All of some transforms, in an order at random."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        return Compose([self.transforms[i] for i in draws().permutation(len(self.transforms))])(image)


class ToFloat(Transform):
    """u8 0 to 255 becomes f32 0 to 1; floats stay."""

    def __call__(self, image: Any) -> Any:
        return F.to_float(image)


class ToTensor(Transform):
    """A NumPy array becomes a tensor (sharing memory where it can), a Pillow image one of u8 [channels, height, width]; u8 stays u8:
    ToFloat scales."""

    def __call__(self, image: Any) -> Any:
        if isinstance(image, tg.Tensor):
            return image
        if hasattr(image, "getbands"):  # Pillow's
            image = np.asarray(image)
            image = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        image = np.ascontiguousarray(image)
        return tg.from_numpy(image if image.flags.writeable else image.copy())


class ToPILImage(Transform):
    """[channels, height, width] of 1 to 4 channels, u8 or floats 0 to 1, becomes a Pillow image."""

    def __call__(self, image: Any) -> Any:
        from ..image import _pillow

        array = np.asarray(image.detach().cpu().numpy() if isinstance(image, tg.Tensor) else image)
        if array.ndim != 3 or not 1 <= array.shape[0] <= 4:
            raise ValueError(f"[ToPILImage] expected [1 to 4 channels, height, width], got shape {array.shape}")
        if array.dtype.kind == "f":
            array = np.clip(np.rint(array * 255), 0, 255).astype(np.uint8)
        if array.dtype != np.uint8:
            raise TypeError(f"[ToPILImage] expected u8 or floats, got {array.dtype}")
        return _pillow()[0].fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


class Normalize(Transform):
    """(x - mean) / std per channel, of floats or (scaled to 0 to 1 first) u8."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = tuple(mean), tuple(std)

    def __call__(self, image: Any) -> Any:
        return F.normalize(image, self.mean, self.std)
