# SPDX-License-Identifier: Apache-2.0
"""A mixture: a number of the component that a Categorical chooses."""
from __future__ import annotations

from typing import Any

import tengen as tg

from .discrete import Categorical
from .distribution import Distribution


class MixtureSameFamily(Distribution):
    """Numbers of one of several components.

    Parameters
    ----------
    mixture_distribution : Categorical
        chooses among the last axis of the components' batch
    component_distribution : Distribution
        of batch shape [..., components]

    Examples
    --------
    >>> from tengen.distributions import Categorical, MixtureSameFamily, Normal
    >>> d = MixtureSameFamily(Categorical(tg.ones(2)), Normal(tg.tensor([-3.0, 3.0]), 1.0))
    >>> d.sample((5,)).shape, d.mean.item(), d.variance.item()
    ((5,), 0.0, 10.0)
    """

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution, validate_args: bool | None = None) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise TypeError(f"[MixtureSameFamily] expected a Categorical to choose by, got {type(mixture_distribution).__name__}")
        batch = component_distribution.batch_shape
        if not batch or batch[-1] != mixture_distribution.probs.shape[-1]:
            raise ValueError(f"[MixtureSameFamily] expected components [..., {mixture_distribution.probs.shape[-1]}], as many as classes, got a batch "
                             f"of shape {batch}")
        mixed = mixture_distribution.batch_shape
        if len(mixed) > len(batch) - 1 or any(m not in (1, b) for m, b in zip(mixed[::-1], batch[-2::-1])):
            raise ValueError(f"[MixtureSameFamily] expected a choice for each of {batch[:-1]}, got a batch of shape {mixed}")
        self.mixture_distribution, self.component_distribution = mixture_distribution, component_distribution
        super().__init__(batch[:-1], component_distribution.event_shape)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        events, lead = len(self.event_shape), len(shape) - len(self.batch_shape) - len(self.event_shape)
        batch = shape[:len(shape) - events]
        chosen = self.mixture_distribution._draw(batch)
        drawn = self.component_distribution._draw((*shape[:lead], *self.component_distribution.batch_shape, *self.event_shape))
        at = chosen.reshape(*batch, 1, *(1 for _ in self.event_shape)).expand((*batch, 1, *self.event_shape))
        return tg.take_along_axis(drawn, at, -1 - events).squeeze(-1 - events)

    def _spread(self, value: Any) -> Any:
        return value.unsqueeze(-1 - len(self.event_shape))

    def _mean(self, x: Any) -> Any:
        """The mean over components of [..., components, *event]."""
        p = self.mixture_distribution.probs
        p = p.reshape(*p.shape, *(1 for _ in self.event_shape))
        return (p * x).sum(-1 - len(self.event_shape))

    def log_prob(self, value: Any) -> Any:
        return tg.logsumexp(self.component_distribution.log_prob(self._spread(value)) + self.mixture_distribution.logits, -1)

    def cdf(self, value: Any) -> Any:
        return (self.component_distribution.cdf(self._spread(value)) * self.mixture_distribution.probs).sum(-1)

    @property
    def mean(self) -> Any:
        return self._mean(self.component_distribution.mean)

    @property
    def variance(self) -> Any:
        means = self.component_distribution.mean
        return self._mean(self.component_distribution.variance) + self._mean((means - self._spread(self.mean)) ** 2)
