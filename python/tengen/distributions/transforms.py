# SPDX-License-Identifier: Apache-2.0
"""Invertible functions of single numbers, and the distributions of what they make of another one's samples."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tengen as tg
import tengen.nn.functional as F

from .distribution import Distribution, within

__all__ = ["AffineTransform", "ComposeTransform", "ExpTransform", "PowerTransform", "SigmoidTransform", "SoftplusTransform", "TanhTransform",
           "Transform", "TransformedDistribution"]


class Transform:
    """y = t(x), elementwise and one to one. A class of your own gives _call, _inverse, log_abs_det_jacobian, and sign if it has a cdf.

    Attributes
    ----------
    inv : Transform
        the inverse
    sign : int or Tensor
        1 where y grows with x, -1 where it falls
    """

    sign: Any = 1

    def __call__(self, x: Any) -> Any:
        return self._call(x)

    def _call(self, x: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] has no _call")

    def _inverse(self, y: Any) -> Any:
        """The x of y; NaN where there is none."""
        raise NotImplementedError(f"[{type(self).__name__}] has no _inverse")

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log |dy/dx|, elementwise."""
        raise NotImplementedError(f"[{type(self).__name__}] has no log_abs_det_jacobian")

    @property
    def inv(self) -> Transform:
        return _Inverse(self)


class _Inverse(Transform):
    def __init__(self, of: Transform) -> None:
        self._of, self.sign = of, of.sign
        self._call, self._inverse = of._inverse, of._call

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -self._of.log_abs_det_jacobian(y, x)

    @property
    def inv(self) -> Transform:
        return self._of


class AffineTransform(Transform):
    """loc + scale x."""

    def __init__(self, loc: Any, scale: Any) -> None:
        self.loc, self.scale = loc, scale
        self.sign = scale.sign() if isinstance(scale, tg.Tensor) else math.copysign(1, scale)

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        log = self.scale.abs().log() if isinstance(self.scale, tg.Tensor) else math.log(abs(self.scale))
        return tg.zeros_like(x) + log


class ExpTransform(Transform):
    """exp(x)."""

    def _call(self, x: Any) -> Any:
        return x.exp()

    def _inverse(self, y: Any) -> Any:
        return y.log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return x


class PowerTransform(Transform):
    """x^exponent of x > 0."""

    def __init__(self, exponent: float) -> None:
        self.exponent, self.sign = exponent, math.copysign(1, exponent)

    def _call(self, x: Any) -> Any:
        return x**self.exponent

    def _inverse(self, y: Any) -> Any:
        return tg.where(y < 0, float("nan"), y) ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return math.log(abs(self.exponent)) + (self.exponent - 1) * x.log()


class SigmoidTransform(Transform):
    """1 / (1 + exp(-x))."""

    def _call(self, x: Any) -> Any:
        return x.sigmoid()

    def _inverse(self, y: Any) -> Any:
        return y.log() - tg.log1p(-y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -F.softplus(-x) - F.softplus(x)


class TanhTransform(Transform):
    """tanh(x)."""

    def _call(self, x: Any) -> Any:
        return x.tanh()

    def _inverse(self, y: Any) -> Any:
        return tg.atanh(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return 2 * (math.log(2) - x - F.softplus(-2 * x))


class SoftplusTransform(Transform):
    """log(1 + exp(x))."""

    def _call(self, x: Any) -> Any:
        return F.softplus(x)

    def _inverse(self, y: Any) -> Any:
        return y + tg.log(-tg.expm1(-y))

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -F.softplus(-x)


class ComposeTransform(Transform):
    """The parts one after the other."""

    def __init__(self, parts: Sequence[Transform]) -> None:
        self.parts = list(parts)

    @property
    def sign(self) -> Any:
        sign = 1
        for t in self.parts:
            sign = t.sign * sign
        return sign

    def _call(self, x: Any) -> Any:
        for t in self.parts:
            x = t(x)
        return x

    def _inverse(self, y: Any) -> Any:
        for t in reversed(self.parts):
            y = t._inverse(y)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        total = 0
        for t in self.parts:
            z = t(x)
            total = total + t.log_abs_det_jacobian(x, z)
            x = z
        return total


class TransformedDistribution(Distribution):
    """What transforms make of the numbers of a distribution.

    Parameters
    ----------
    base_distribution : Distribution
    transforms : Transform or list of Transform
        applied in order, to every element

    Examples
    --------
    >>> from tengen.distributions import ExpTransform, Normal, TransformedDistribution
    >>> d = TransformedDistribution(Normal(0.0, 1.0), [ExpTransform()])
    >>> round(d.log_prob(tg.tensor(1.0)).item(), 4)
    -0.9189
    """

    def __init__(self, base_distribution: Distribution, transforms: Transform | Sequence[Transform], validate_args: bool | None = None) -> None:
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        for t in self.transforms:
            if not isinstance(t, Transform):
                raise TypeError(f"[TransformedDistribution] expected Transforms, got {type(t).__name__}")
        self.base_dist, self.has_rsample = base_distribution, base_distribution.has_rsample
        batch = base_distribution.batch_shape
        for t in self.transforms:
            for v in vars(t).values():
                if isinstance(v, tg.Tensor) and not base_distribution.event_shape:
                    batch = tg.broadcast_shapes(batch, v.shape)
        super().__init__(batch, base_distribution.event_shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        x = self.base_dist._draw(shape)
        for t in self.transforms:
            x = t(x)
        return x

    def log_prob(self, value: Any) -> Any:
        y, log = value, 0.0
        for t in reversed(self.transforms):
            x = t._inverse(y)
            there = x.isfinite()
            safe = tg.where(there, x, _inside(t, x))
            log = log + tg.where(there, t.log_abs_det_jacobian(safe, tg.where(there, y, t(safe))), float("inf"))
            y = safe
        base = self.base_dist.log_prob(y)
        n = len(self.event_shape)
        log = log.sum(tuple(range(-n, 0))) if n and isinstance(log, tg.Tensor) else log
        if not isinstance(log, tg.Tensor):
            return base
        return within(log != float("inf"), base - tg.where(log == float("inf"), 0.0, log))

    def cdf(self, value: Any) -> Any:
        sign: Any = 1
        for t in reversed(self.transforms):
            value, sign = t._inverse(value), sign * t.sign
        p = self.base_dist.cdf(value)
        return tg.where(tg.asarray(sign, device=p.device) > 0, p, 1 - p)

    def icdf(self, value: Any) -> Any:
        sign: Any = ComposeTransform(self.transforms).sign
        x = self.base_dist.icdf(tg.where(tg.asarray(sign, device=value.device) > 0, value, 1 - value))
        for t in self.transforms:
            x = t(x)
        return x


def _inside(t: Transform, x: Any) -> Any:
    """Numbers that t takes, of x's shape, for where nothing comes from."""
    return tg.full_like(x, 1.0)
