# SPDX-License-Identifier: Apache-2.0
"""What distributions have in common, and axes of a batch that belong together."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tengen as tg


class Distribution:
    """A distribution for each element of a batch.

    Parameters
    ----------
    batch_shape : tuple of int
        one distribution for each of its elements
    event_shape : tuple of int
        of one number, vector, ... that is drawn

    Attributes
    ----------
    has_rsample : bool
        whether rsample() carries gradients to the parameters
    mean, variance, stddev : Tensor
        of the batch shape and the event shape
    """

    has_rsample = False

    def __init__(self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = ()) -> None:
        self.batch_shape, self.event_shape = tuple(batch_shape), tuple(event_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Any:
        """Numbers [*sample_shape, *batch_shape, *event_shape], without gradients."""
        with tg.no_grad():
            return self._draw(self._extended(sample_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Any:
        """sample() as a differentiable function of the parameters. Errors: NotImplementedError where has_rsample is False."""
        if not self.has_rsample:
            raise NotImplementedError(f"[{type(self).__name__}] has no samples with gradients; use sample() and log_prob()")
        return self._draw(self._extended(sample_shape))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density or probability at `value`, whose shape broadcasts with batch and event; -inf outside."""
        raise NotImplementedError(f"[{type(self).__name__}] has no log_prob")

    def entropy(self) -> Any:
        """The entropy in nats, [*batch_shape]."""
        raise NotImplementedError(f"[{type(self).__name__}] has no entropy in closed form")

    def cdf(self, value: Any) -> Any:
        """The probability of at most `value`."""
        raise NotImplementedError(f"[{type(self).__name__}] has no cdf in closed form")

    def icdf(self, value: Any) -> Any:
        """The quantile: the number whose cdf is `value`."""
        raise NotImplementedError(f"[{type(self).__name__}] has no icdf in closed form")

    @property
    def mean(self) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] has no mean")

    @property
    def variance(self) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] has no variance")

    @property
    def stddev(self) -> Any:
        return self.variance.sqrt()

    def perplexity(self) -> Any:
        """exp(entropy())."""
        return self.entropy().exp()

    def _draw(self, shape: tuple[int, ...]) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] has no samples")

    def _extended(self, sample_shape: Sequence[int]) -> tuple[int, ...]:
        lead = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return (*lead, *self.batch_shape, *self.event_shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_shape={self.batch_shape}, event_shape={self.event_shape})"


class Independent(Distribution):
    """The last axes of a distribution's batch as axes of its event: log_prob() and entropy() are summed over them.

    Parameters
    ----------
    base_distribution : Distribution
    reinterpreted_batch_ndims : int
        how many axes

    Examples
    --------
    >>> from tengen.distributions import Independent, Normal
    >>> Independent(Normal(tg.zeros(5, 3), 1.0), 1).log_prob(tg.zeros(5, 3)).shape
    (5,)
    """

    def __init__(self, base_distribution: Distribution, reinterpreted_batch_ndims: int) -> None:
        n = len(base_distribution.batch_shape) - reinterpreted_batch_ndims
        if reinterpreted_batch_ndims < 0 or n < 0:
            raise ValueError(f"[Independent] expected at most {len(base_distribution.batch_shape)} axes of the batch, "
                             f"got {reinterpreted_batch_ndims}")
        shape = base_distribution.batch_shape
        super().__init__(shape[:n], shape[n:] + base_distribution.event_shape)
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, reinterpreted_batch_ndims
        self.has_rsample = base_distribution.has_rsample

    def _draw(self, shape: tuple[int, ...]) -> Any:
        return self.base_dist._draw(shape)

    def log_prob(self, value: Any) -> Any:
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Any:
        return self._summed(self.base_dist.entropy())

    @property
    def mean(self) -> Any:
        return self.base_dist.mean

    @property
    def variance(self) -> Any:
        return self.base_dist.variance

    def _summed(self, x: Any) -> Any:
        n = self.reinterpreted_batch_ndims
        return x.sum(tuple(range(-n, 0))) if n else x


def parameters(name: str, **given: Any) -> list[Any]:
    """Numbers and tensors as floating tensors of one shape and dtype."""
    like = next((v for v in given.values() if isinstance(v, tg.Tensor) and v.dtype.is_floating_point), None)
    if like is None:
        like = next((v for v in given.values() if isinstance(v, tg.Tensor)), None)
    device = None if like is None else like.device
    tensors = []
    for key, v in given.items():
        if not isinstance(v, (tg.Tensor, int, float)):
            raise TypeError(f"[{name}] expected a Tensor or a number for {key}, got {type(v).__name__}; use tg.tensor(...)")
        t = v if isinstance(v, tg.Tensor) else tg.tensor(float(v), dtype=like.dtype if like is not None and like.dtype.is_floating_point
                                                         else tg.get_default_dtype(), device=device)
        tensors.append(t if t.dtype.is_floating_point else t.to(tg.get_default_dtype()))
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        dtype = tg.promote_types(dtype, t.dtype)
    return list(tg.broadcast_tensors(*(t.to(dtype) for t in tensors)))


def require(name: str, ok: Any, what: str) -> None:
    """ValueError unless all of a bool tensor holds; NaN parameters fail, too."""
    if not bool(ok.all()):
        raise ValueError(f"[{name}] expected {what}")


def only_one(name: str, **given: Any) -> str:
    """The name of the one argument that is not None."""
    there = [k for k, v in given.items() if v is not None]
    if len(there) != 1:
        raise ValueError(f"[{name}] expected one of {' and '.join(given)}, got {len(there)}")
    return there[0]


def within(inside: Any, log_prob: Any) -> Any:
    """log_prob where inside, else -inf."""
    return tg.where(inside, log_prob, -float("inf"))
