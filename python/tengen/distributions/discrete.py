# SPDX-License-Identifier: Apache-2.0
"""Distributions of whole numbers; samples are floats, of Categorical i64. Parameters are checked unless validate_args=False."""
from __future__ import annotations

from typing import Any

import tengen as tg
import tengen.nn.functional as F

from .distribution import Distribution, only_one, parameters, require, within


class _OfProbability(Distribution):
    """probs, or logits = log(probs / (1 - probs))."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name = type(self).__name__
        self._by_logits = only_one(name, probs=probs, logits=logits) == "logits"
        if self._by_logits:
            (self.logits,) = parameters(name, logits=logits)
            self.probs = self.logits.sigmoid()
        else:
            (self.probs,) = parameters(name, probs=probs)
            if validate_args is not False:
                require(name, self._allowed(self.probs), self._what)
            self.logits = tg.log(self.probs) - tg.log1p(-self.probs)
        super().__init__(self.probs.shape)

    _what = "probs between 0 and 1"

    @staticmethod
    def _allowed(p: Any) -> Any:
        return (p >= 0) & (p <= 1)

    def _log_one(self) -> Any:  # log p
        return -F.softplus(-self.logits) if self._by_logits else self.probs.log()

    def _log_zero(self) -> Any:  # log (1 - p)
        return -F.softplus(self.logits) if self._by_logits else tg.log1p(-self.probs)


class Bernoulli(_OfProbability):
    """1 with probability probs, else 0.

    Examples
    --------
    >>> from tengen.distributions import Bernoulli
    >>> Bernoulli(tg.tensor([0.25])).log_prob(tg.tensor([1.0])).exp().tolist()
    [0.25]
    """

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.bernoulli(self.probs.expand(shape))

    def log_prob(self, value: Any) -> Any:
        return tg.where(value == 1, self._log_one(), within(value == 0, self._log_zero()))

    def entropy(self) -> Any:
        p, q = self.probs, (-self.logits).sigmoid() if self._by_logits else 1 - self.probs
        return -(_times_log(p, self._log_one()) + _times_log(q, self._log_zero()))

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)


class Geometric(_OfProbability):
    """How many trials of probability probs fail before the first success: 0, 1, ..."""

    _what = "probs above 0, at most 1"

    @staticmethod
    def _allowed(p: Any) -> Any:
        return (p > 0) & (p <= 1)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        waits = tg.exponential(shape, 1.0, self.probs.dtype, device=self.probs.device)
        return (waits / -self._log_zero()).floor()

    def log_prob(self, value: Any) -> Any:
        inside = (value >= 0) & (value == value.floor())
        return within(inside, _times_log(tg.where(inside, value, 0.0), self._log_zero()) + self._log_one())

    def entropy(self) -> Any:
        return -(_times_log(1 - self.probs, self._log_zero()) / self.probs + self._log_one())

    @property
    def mean(self) -> Any:
        return 1 / self.probs - 1

    @property
    def variance(self) -> Any:
        return (1 - self.probs) / self.probs**2


class Categorical(Distribution):
    """A class k with probability probs[..., k]; probs are divided by their sum, logits are their logarithms up to a constant.

    Examples
    --------
    >>> from tengen.distributions import Categorical
    >>> p = Categorical(probs=tg.tensor([1.0, 3.0]))
    >>> p.log_prob(tg.tensor([0, 1])).exp().tolist()
    [0.25, 0.75]
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name = type(self).__name__
        if only_one(name, probs=probs, logits=logits) == "logits":
            (given,) = parameters(name, logits=logits)
            self._check_axes(given)
            self.logits = given.log_softmax(-1)
            self.probs = given.softmax(-1)
        else:
            (given,) = parameters(name, probs=probs)
            self._check_axes(given)
            if validate_args is not False:
                require(name, (given >= 0) & (given.sum(-1, True) > 0), "probs of 0 or more with a sum above 0")
            self.probs = given / given.sum(-1, True)
            self.logits = self.probs.log()
        super().__init__(given.shape[:-1])

    def _check_axes(self, given: Any) -> None:
        if given.ndim == 0 or given.shape[-1] == 0:
            raise ValueError(f"[{type(self).__name__}] expected classes along the last axis, got shape {tuple(given.shape)}")

    def _draw(self, shape: tuple[int, ...]) -> Any:
        rows = self.probs.expand((*shape, self.probs.shape[-1])).reshape((-1, self.probs.shape[-1]))
        return tg.multinomial(rows, 1, True).reshape(shape)

    def log_prob(self, value: Any) -> Any:
        classes = self.logits.shape[-1]
        shape = tg.broadcast_shapes(value.shape, self.batch_shape)
        at = value.to(tg.int64).expand(shape)
        inside = (at >= 0) & (at < classes) & (at == value)
        rows = self.logits.expand((*shape, classes))
        return within(inside, tg.take_along_axis(rows, tg.where(inside, at, 0).unsqueeze(-1), -1).squeeze(-1))

    def entropy(self) -> Any:
        return -_times_log(self.probs, self.logits).sum(-1)


class OneHotCategorical(Categorical):
    """Categorical, whose classes are vectors with 1 at the class."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        self.event_shape = tuple(self.probs.shape[-1:])

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.one_hot(super()._draw(shape[:-1]), shape[-1]).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        return super().log_prob(value.argmax(-1))

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)


class Poisson(Distribution):
    """How many events of a rate happen."""

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = parameters("Poisson", rate=rate)
        if validate_args is not False:
            require("Poisson", self.rate >= 0, "a rate of 0 or more")
        super().__init__(self.rate.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.poisson(self.rate.expand(shape))

    def log_prob(self, value: Any) -> Any:
        inside = (value >= 0) & (value == value.floor())
        k = tg.where(inside, value, 0.0)
        return within(inside, tg.xlogy(k, self.rate) - self.rate - tg.lgamma(k + 1))

    @property
    def mean(self) -> Any:
        return self.rate

    @property
    def variance(self) -> Any:
        return self.rate


def _times_log(p: Any, log: Any) -> Any:
    """p log, which is 0 where p is."""
    return tg.where(p == 0, 0.0, p * tg.where(p == 0, 0.0, log))
