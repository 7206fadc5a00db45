# SPDX-License-Identifier: Apache-2.0
"""Samplers: in which order a loader goes through a dataset."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from .dataset import as_generator


class Sampler:
    """Base: define `__iter__()` giving indices and, where it is known, `__len__()`."""

    def __iter__(self) -> Iterator[int]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__")


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def indices(self) -> np.ndarray:
        return np.arange(len(self.data_source))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """A new random order at every iteration.

    Parameters
    ----------
    data_source : sized
    replacement : bool
        Draw every index from all.
    num_samples : int, optional
        How many to draw; len(data_source) by default.
    generator : None, int or numpy.random.Generator
        A seed or generator of its own; None draws a seed from tengen's global random state at every iteration.
    """

    def __init__(self, data_source: Sized, replacement: bool = False, num_samples: int | None = None,
                 generator: Any = None) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self.num_samples = len(data_source) if num_samples is None else num_samples
        if self.num_samples < 0 or (self.num_samples and not len(data_source)):
            raise ValueError(f"[RandomSampler] cannot draw {num_samples} samples from {len(data_source)} items")
        self.generator = None if generator is None else as_generator(generator)

    def indices(self) -> np.ndarray:
        generator, n = as_generator(self.generator), len(self.data_source)
        if self.replacement:
            return generator.integers(0, n, self.num_samples)
        rounds = [generator.permutation(n) for _ in range(-(-self.num_samples // max(n, 1)))]
        return np.concatenate(rounds)[:self.num_samples] if rounds else np.empty(0, np.int64)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices, in a new random order at every iteration."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.subset = np.asarray(indices, np.int64)
        self.generator = None if generator is None else as_generator(generator)

    def indices(self) -> np.ndarray:
        return as_generator(self.generator).permutation(self.subset)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        return len(self.subset)


class WeightedRandomSampler(Sampler):
    """`num_samples` indices drawn with probability proportional to `weights`."""

    def __init__(self, weights: Sequence[float], num_samples: int, replacement: bool = True,
                 generator: Any = None) -> None:
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1 or not len(self.weights) or (self.weights < 0).any() or not self.weights.sum() > 0:
            raise ValueError("[WeightedRandomSampler] expected a list of weights, none negative and not all zero")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = None if generator is None else as_generator(generator)

    def indices(self) -> np.ndarray:
        p = self.weights / self.weights.sum()
        return as_generator(self.generator).choice(len(p), self.num_samples, replace=self.replacement, p=p)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of `batch_size` indices of another sampler; the last one shorter, or dropped."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"[BatchSampler] expected batch_size to be a positive integer, got {batch_size!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[Sequence[int]]:
        if hasattr(self.sampler, "indices"):  # whole batches, without a Python integer each
            order = self.sampler.indices()
            for i in range(0, len(order), self.batch_size):
                if i + self.batch_size <= len(order) or not self.drop_last:
                    yield order[i:i + self.batch_size]
            return
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
