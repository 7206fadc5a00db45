# SPDX-License-Identifier: Apache-2.0
"""Samplers that share out, repeat or group: over processes, without end, by length."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized

import numpy as np

from .dataset import as_generator
from .sampler import Sampler


class DistributedSampler(Sampler):
    """The share of one process: every `num_replicas`-th index of an order that all processes agree on.

    Parameters
    ----------
    dataset : sized
    num_replicas, rank : int
        How many processes there are, and which this is.
    shuffle : bool
        A new random order per epoch; call `set_epoch()` before each.
    seed : int
        Of the order: equal in all processes.
    drop_last : bool
        Leave out what does not divide evenly; otherwise the first indices come again, so that all shares are equal.
    """

    def __init__(self, dataset: Sized, num_replicas: int, rank: int, shuffle: bool = True, seed: int = 0,
                 drop_last: bool = False) -> None:
        if not 0 <= rank < num_replicas:
            raise ValueError(f"[DistributedSampler] expected 0 <= rank < num_replicas = {num_replicas}, got {rank}")
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next iteration is of: its number decides the order."""
        self.epoch = epoch

    def indices(self) -> np.ndarray:
        n, total = len(self.dataset), len(self) * self.num_replicas
        order = np.random.default_rng([self.seed, self.epoch]).permutation(n) if self.shuffle else np.arange(n)
        if total > n and n:
            order = np.resize(order, total)
        return order[:total][self.rank::self.num_replicas]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        n = len(self.dataset)
        return n // self.num_replicas if self.drop_last else -(-n // self.num_replicas)

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.epoch = int(state_dict["epoch"])


class InfiniteSampler(Sampler):
    """All indices in order, or in a new random order each time, again and again; for training by steps.

    >>> loader = DataLoader(data, batch_size=64, sampler=InfiniteSampler(data, generator=0))
    >>> for step, batch in zip(range(1000), loader): ...
    """

    def __init__(self, data_source: Sized, shuffle: bool = True, generator: object = None) -> None:
        if not len(data_source):
            raise ValueError("[InfiniteSampler] expected a dataset with items, got an empty one")
        self.data_source, self.shuffle = data_source, shuffle
        self.generator = None if generator is None else as_generator(generator)

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = as_generator(self.generator) if self.shuffle else None
        while True:
            yield from (range(n) if generator is None else generator.permutation(n).tolist())


class BucketBatchSampler(Sampler):
    """Batches of items of similar length, so that little is padded.

    The shuffled items are cut into pools of `batch_size * pool_batches`; each pool is sorted by length and cut into
    batches, whose order is shuffled again.

    Parameters
    ----------
    lengths : sequence of int
        The length of every item (`lengths_of(dataset)`).
    batch_size : int
    shuffle : bool
        False: all items sorted by length, the same batches every time.
    drop_last : bool
        Leave out batches that are not full.
    pool_batches : int
        Batches per pool: more pad less, fewer shuffle better.
    max_tokens : int, optional
        Cut batches also so that items x longest length stays within this.
    generator : None, int or numpy.random.Generator
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, shuffle: bool = True, drop_last: bool = False,
                 pool_batches: int = 100, max_tokens: int | None = None, generator: object = None) -> None:
        if batch_size < 1 or pool_batches < 1:
            raise ValueError(f"[BucketBatchSampler] expected batch_size and pool_batches of at least 1, got {batch_size} "
                             f"and {pool_batches}")
        self.lengths = np.asarray(lengths, np.int64)
        if max_tokens is not None and len(self.lengths) and self.lengths.max() > max_tokens:
            raise ValueError(f"[BucketBatchSampler] expected items of at most max_tokens = {max_tokens}, got one of "
                             f"{self.lengths.max()}")
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.pool_batches, self.max_tokens = pool_batches, max_tokens
        self.generator = None if generator is None else as_generator(generator)

    def _cut(self, pool: np.ndarray) -> Iterator[np.ndarray]:
        pool = pool[np.argsort(self.lengths[pool], kind="stable")]
        start = 0
        for end in range(1, len(pool) + 1):
            full = end - start == self.batch_size
            if not full and self.max_tokens is not None and end < len(pool):
                full = (end - start + 1) * self.lengths[pool[end]] > self.max_tokens
            if full or end == len(pool):
                if full or not self.drop_last:
                    yield pool[start:end]
                start = end

    def _batches(self, generator: np.random.Generator | None) -> list[np.ndarray]:
        n = len(self.lengths)
        if generator is None:
            return list(self._cut(np.arange(n)))
        order, size = generator.permutation(n), self.batch_size * self.pool_batches
        batches = [batch for i in range(0, n, size) for batch in self._cut(order[i:i + size])]
        return [batches[i] for i in generator.permutation(len(batches))]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._batches(as_generator(self.generator) if self.shuffle else None))

    def __len__(self) -> int:
        if self.max_tokens is not None and self.shuffle:
            raise TypeError("[BucketBatchSampler] the number of batches depends on the order when max_tokens is given")
        if self.max_tokens is not None:
            return len(self._batches(None))
        n, size = len(self.lengths), self.batch_size * self.pool_batches
        pools = [min(size, n - i) for i in range(0, n, size)] if self.shuffle else [n]
        return sum(p // self.batch_size if self.drop_last else -(-p // self.batch_size) for p in pools)


def lengths_of(dataset: Sized, length: Callable[[object], int] = len) -> np.ndarray:
    """The length of every item of a dataset, i64 [n]: what BucketBatchSampler takes."""
    return np.array([length(dataset[i]) for i in range(len(dataset))], np.int64)
