# SPDX-License-Identifier: Apache-2.0
"""Putting transforms together, and leaving u8."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tengen as tg

from ..dataset import as_generator
from . import functional as F
from .moves import KINDS, Move, is_kind


class Transform:
    """Base: `__call__(image)`; prints its public attributes.

    One that moves pixels says how in `move(image)`, so that boxes and masks go with the image; one that does not sets
    `keeps_places`.
    """

    keeps_places = False

    def __call__(self, image: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def apply(self, sample: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
        """A sample whose parts are called "image", "mask" [..., height, width], "coords" [n, 2], "boxes" [n, 4] (x1, y1, x2, y2),
        "keypoints" [n, k, 3] (x, y and a label), "polygons" (lists of coords), or end in "category" or "info", which stay."""
        if not self.keeps_places and any(kind in KINDS[1:] for kind in order):
            raise NotImplementedError(f"[{type(self).__name__}] expected a sample of images alone, got {tuple(order)}; a transform that moves "
                                      "no pixels says keeps_places = True, one that does derives from Geometric")
        return tuple(self(part) if kind == "image" else part for part, kind in zip(sample, order))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))})"


class Geometric(Transform):
    """Base of those that move pixels: `move(image)` decides what happens, by the image's size and by chance; None: nothing."""

    def move(self, image: Any) -> Move | None:
        raise NotImplementedError(f"{type(self).__name__} has no move")

    def __call__(self, image: Any) -> Any:
        move = self.move(image)
        return image if move is None else move.image(image)

    def apply(self, sample: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
        move = self.move(_image_of(sample, order))
        return tuple(sample) if move is None else tuple(move.apply(kind, part) for part, kind in zip(sample, order))


def _image_of(sample: Sequence[Any], order: Sequence[str]) -> Any:
    if "image" not in order:
        raise ValueError(f"[transforms] expected an image among the parts of a sample, got {tuple(order)}")
    return sample[list(order).index("image")]


def draws() -> np.random.Generator:
    """Random numbers that follow tg.manual_seed()."""
    return as_generator(None)


def _applied(transform: Callable[[Any], Any], sample: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
    """A transform, or any function, which then has to do with an image alone."""
    return (transform if isinstance(transform, Transform) else Lambda(transform)).apply(sample, order)


class Compose(Transform):
    """One after the other.

    Parameters
    ----------
    transforms : sequence
    order : sequence of str, optional
        What the parts of a sample are, such as ("image", "boxes", "category"); see Transform.apply. It is then called with
        them, or with one tuple of them, and gives a tuple; chance is the same for all parts.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], order: Sequence[str] | None = None) -> None:
        self.transforms = list(transforms)
        self.order = None if order is None else tuple(order)
        if self.order is not None and ("image" not in self.order or not all(map(is_kind, self.order))):
            raise ValueError(f"[Compose] expected an order of image and {', '.join(KINDS[1:])} or names that end in category or info, got "
                             f"{self.order}")

    def __call__(self, image: Any, *others: Any) -> Any:
        if self.order is not None:
            sample = (image, *others) if others or len(self.order) == 1 else tuple(image)
            if len(sample) != len(self.order):
                raise ValueError(f"[Compose] expected {len(self.order)} parts {self.order}, got {len(sample)}")
            return self.apply(sample, self.order)
        if others:
            raise TypeError(f"[Compose] expected one image without an order, got {1 + len(others)} parts; give order=")
        for transform in self.transforms:
            image = transform(image)
        return image

    def apply(self, sample: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
        for transform in self.transforms:
            sample = _applied(transform, sample, order)
        return tuple(sample)

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {t!r}\n" for t in self.transforms) + ")"


class Lambda(Transform):
    """A function of your own (a named one where workers are used: it has to be pickled). keeps_places: it moves no pixels, and so
    may change images that have boxes."""

    def __init__(self, function: Callable[[Any], Any], keeps_places: bool = False) -> None:
        self.function, self.keeps_places = function, keeps_places

    def __call__(self, image: Any) -> Any:
        return self.function(image)


class RandomApply(Transform):
    """All of some transforms with probability p, or none."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        self.transforms, self.p = list(transforms), p

    def __call__(self, image: Any) -> Any:
        return Compose(self.transforms)(image) if draws().random() < self.p else image

    def apply(self, sample: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
        return Compose(self.transforms).apply(sample, order) if draws().random() < self.p else tuple(sample)


class RandomChoice(Transform):
    """One of some transforms, with probabilities p (equal ones by default)."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        self.transforms, self.p = list(transforms), p

    def _chosen(self) -> Callable[[Any], Any]:
        p = None if self.p is None else np.asarray(self.p) / np.sum(self.p)
        return self.transforms[int(draws().choice(len(self.transforms), p=p))]

    def __call__(self, image: Any) -> Any:
        return self._chosen()(image)

    def apply(self, sample: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
        return _applied(self._chosen(), sample, order)


class RandomOrder(Transform):
    """All of some transforms, in an order at random."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def _ordered(self) -> Compose:
        return Compose([self.transforms[i] for i in draws().permutation(len(self.transforms))])

    def __call__(self, image: Any) -> Any:
        return self._ordered()(image)

    def apply(self, sample: Sequence[Any], order: Sequence[str]) -> tuple[Any, ...]:
        return self._ordered().apply(sample, order)


class ToFloat(Transform):
    """u8 0 to 255 becomes f32 0 to 1; floats stay."""

    keeps_places = True

    def __call__(self, image: Any) -> Any:
        return F.to_float(image)


class ToTensor(Transform):
    """A NumPy array becomes a tensor (sharing memory where it can), a Pillow image one of u8 [channels, height, width]; u8 stays u8:
    ToFloat scales."""

    keeps_places = True

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

    keeps_places = True

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = tuple(mean), tuple(std)

    def __call__(self, image: Any) -> Any:
        return F.normalize(image, self.mean, self.std)
