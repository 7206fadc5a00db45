# SPDX-License-Identifier: Apache-2.0
"""How many of several trials: successes, successes before failures, hits of each class."""
from __future__ import annotations

from typing import Any

import tengen as tg

from .discrete import Categorical, _OfProbability, _times_log
from .distribution import Distribution, parameters, require, within


def _log_choices(n: Any, k: Any) -> Any:
    """The logarithm of how many ways there are to choose k of n."""
    return tg.lgamma(n + 1) - tg.lgamma(k + 1) - tg.lgamma(n - k + 1)


class Binomial(_OfProbability):
    """How many of total_count trials succeed, each with probability probs.

    Examples
    --------
    >>> from tengen.distributions import Binomial
    >>> Binomial(2, tg.tensor(0.5)).log_prob(tg.tensor([0.0, 1.0])).exp().tolist()
    [0.25, 0.5]
    """

    def __init__(self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        self.total_count, self.probs, self.logits = parameters("Binomial", total_count=total_count, probs=self.probs, logits=self.logits)
        if validate_args is not False:
            require("Binomial", (self.total_count >= 0) & (self.total_count == self.total_count.floor()), "a whole total_count of 0 or more")
        self.batch_shape = tuple(self.probs.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Any) -> Any:
        n = self.total_count
        inside = (value >= 0) & (value <= n) & (value == value.floor())
        k = tg.where(inside, value, 0.0)
        return within(inside, _log_choices(n, k) + _times_log(k, self._log_one()) + _times_log(n - k, self._log_zero()))

    def entropy(self) -> Any:
        return -_expected(self, lambda k: self.log_prob(k))

    @property
    def mean(self) -> Any:
        return self.total_count * self.probs

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)


def _expected(p: Binomial, f: Any) -> Any:
    """The mean of f(k), summed over all counts; -inf of what cannot happen counts as 0."""
    k = tg.arange(0, int(p.total_count.max().item()) + 1, device=p.probs.device).to(p.probs.dtype)
    k = k.reshape(-1, *(1 for _ in p.batch_shape))
    return _times_log(p.log_prob(k).exp(), f(k)).sum(0)


class NegativeBinomial(_OfProbability):
    """How many trials, each of probability probs, succeed before total_count fail; total_count need not be whole."""

    _what = "probs of 0 or more, below 1"

    @staticmethod
    def _allowed(p: Any) -> Any:
        return (p >= 0) & (p < 1)

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        self.total_count, self.probs, self.logits = parameters("NegativeBinomial", total_count=total_count, probs=self.probs, logits=self.logits)
        if validate_args is not False:
            require("NegativeBinomial", self.total_count > 0, "a total_count above 0")
        self.batch_shape = tuple(self.probs.shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return tg.poisson(tg.standard_gamma(self.total_count.expand(shape)) * self.logits.exp())

    def log_prob(self, value: Any) -> Any:
        inside = (value >= 0) & (value == value.floor())
        k, n = tg.where(inside, value, 0.0), self.total_count
        choices = tg.lgamma(n + k) - tg.lgamma(k + 1) - tg.lgamma(n)
        return within(inside, choices + n * self._log_zero() + _times_log(k, self._log_one()))

    @property
    def mean(self) -> Any:
        return self.total_count * self.logits.exp()

    @property
    def variance(self) -> Any:
        return self.mean / (1 - self.probs)


class Multinomial(Distribution):
    """How often each class is hit by total_count draws of Categorical(probs or logits); the counts are floats."""

    def __init__(self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if not isinstance(total_count, int) or total_count < 0:
            raise ValueError(f"[Multinomial] expected a whole total_count of 0 or more, one for the batch, got {total_count!r}")
        self.total_count, self._categorical = total_count, Categorical(probs, logits, validate_args)
        self.probs, self.logits = self._categorical.probs, self._categorical.logits
        super().__init__(self._categorical.batch_shape, self.probs.shape[-1:])

    def _draw(self, shape: tuple[int, ...]) -> Any:
        hits = self._categorical._draw((self.total_count, *shape[:-1]))
        return tg.one_hot(hits, shape[-1]).sum(0).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        inside = ((value >= 0) & (value == value.floor())).all(-1) & (value.sum(-1) == self.total_count)
        k = tg.where(inside.unsqueeze(-1), value, 0.0)
        n = tg.full_like(k.sum(-1), float(self.total_count))
        return within(inside, tg.lgamma(n + 1) - tg.lgamma(k + 1).sum(-1) + _times_log(k, self.logits).sum(-1))

    def entropy(self) -> Any:
        n = float(self.total_count)
        each = Binomial(n, probs=self.probs, validate_args=False)
        repeats = _expected(each, lambda k: tg.lgamma(k + 1).expand((*k.shape[:1], *each.batch_shape))).sum(-1)
        return n * self._categorical.entropy() - tg.lgamma(tg.full_like(repeats, n + 1)) + repeats

    @property
    def mean(self) -> Any:
        return self.total_count * self.probs

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)
