# SPDX-License-Identifier: Apache-2.0
"""Mixing images of a batch with each other; labels become probabilities, which cross_entropy takes.

>>> loader = DataLoader(data, batch_size=128, collate_fn=MixUp(10))       # as the batch is made
>>> images, targets = CutMix(10)(images, labels)                          # or in the loop
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

import tengen as tg

from ..collate import default_collate
from .basic import Transform, draws


class _Mix(Transform):
    def __init__(self, num_classes: int, alpha: float = 1.0) -> None:
        if num_classes < 1 or not alpha > 0:
            raise ValueError(f"[{type(self).__name__}] expected num_classes of at least 1 and alpha above 0, got {num_classes} and {alpha}")
        self.num_classes, self.alpha = num_classes, alpha

    def __call__(self, images: Any, labels: Any = None) -> tuple[tg.Tensor, tg.Tensor]:
        """Images [n, channels, height, width] and labels i64 [n], or one list of (image, label), mixed: f32 images and f32
        targets [n, num_classes]."""
        if labels is None:
            images, labels = default_collate(images)
        if not images.dtype.is_floating_point:
            images = images.to(tg.float32) / 255
        random = draws()
        share, order = float(random.beta(self.alpha, self.alpha)), random.permutation(len(images))
        images, share = self._mixed(images, tg.tensor(order, device=images.device), share, random)
        targets = tg.one_hot(labels, self.num_classes).to(tg.float32)
        return images, targets * share + targets[tg.tensor(order, device=targets.device)] * (1 - share)

    def _mixed(self, images: tg.Tensor, order: tg.Tensor, share: float, random: np.random.Generator) -> tuple[tg.Tensor, float]:
        raise NotImplementedError


class MixUp(_Mix):
    """share * x + (1 - share) * another x, share drawn from Beta(alpha, alpha) (Zhang et al. 2018, arXiv:1710.09412)."""

    def _mixed(self, images: tg.Tensor, order: tg.Tensor, share: float, random: np.random.Generator) -> tuple[tg.Tensor, float]:
        return images * share + images[order] * (1 - share), share


class CutMix(_Mix):
    """A rectangle of another image, of 1 - share of the area, put into each (Yun et al. 2019, arXiv:1905.04899)."""

    def _mixed(self, images: tg.Tensor, order: tg.Tensor, share: float, random: np.random.Generator) -> tuple[tg.Tensor, float]:
        h, w = images.shape[-2:]
        half = 0.5 * math.sqrt(1 - share)
        y, x = int(random.integers(0, h)), int(random.integers(0, w))
        top, bottom = max(0, round(y - half * h)), min(h, round(y + half * h))
        left, right = max(0, round(x - half * w)), min(w, round(x + half * w))
        rows = tg.arange(h, device=images.device).reshape((h, 1))
        columns = tg.arange(w, device=images.device)
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        return tg.where(inside, images[order], images), 1 - (bottom - top) * (right - left) / (h * w)
