# SPDX-License-Identifier: Apache-2.0
"""Datasets: things with `__getitem__` and `__len__`, or things to iterate over.

>>> data = TensorDataset(images, labels)
>>> train, held = random_split(data, [0.9, 0.1], generator=0)
"""
from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

import tengen as tg


class Dataset:
    """Base of map-style datasets: define `__getitem__(index)` and `__len__()`.

    A dataset that can make whole batches faster than item by item defines `get_batch(indices)` too: it gets an i64
    array and returns what `default_collate` would have made of the items, as NumPy arrays or tensors.
    """

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base of stream-style datasets: define `__iter__()`. Workers share out the stream by `get_worker_info()`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__")


def take(array: Any, indices: np.ndarray) -> Any:
    """Rows of a tensor (on its device) or of an array."""
    if isinstance(array, tg.Tensor):
        if array.device.is_host and not array.requires_grad:
            return tg.from_numpy(np.take(array.numpy(), indices, axis=0))
        return array[tg.tensor(indices, device=array.device)]
    return np.take(array, indices, axis=0)


class TensorDataset(Dataset):
    """Rows of tensors (or NumPy arrays) of equal length: item i is the tuple of the i-th rows."""

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("[TensorDataset] expected at least one tensor, got none")
        lengths = [len(t) for t in tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"[TensorDataset] expected tensors of one length, got {', '.join(map(str, lengths))}")
        self.tensors = tensors

    def __getitem__(self, index: int) -> tuple:
        return tuple(t[index] for t in self.tensors)

    def get_batch(self, indices: np.ndarray) -> tuple:
        return tuple(take(t, indices) for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset):
    """The items of `dataset` at `indices`."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.int64)
        if hasattr(dataset, "get_batch"):
            self.get_batch = lambda at: dataset.get_batch(self.indices[at])

    def __getstate__(self) -> dict:  # the lambda is made again
        return {"dataset": self.dataset, "indices": self.indices}

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("[ConcatDataset] expected at least one dataset, got none")
        self.cumulative_sizes = np.cumsum([len(d) for d in self.datasets]).tolist()

    def __getitem__(self, index: int) -> Any:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index {index} is out of range for a dataset of {n}")
        index += n if index < 0 else 0
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def as_generator(generator: Any = None) -> np.random.Generator:
    """A NumPy generator: itself, from an integer seed, or (None) seeded from tengen's global random state."""
    if isinstance(generator, np.random.Generator):
        return generator
    if generator is None:
        generator = int(tg.randint(0, 2**31 - 1, (1,), dtype=tg.int64).item())
    if isinstance(generator, (int, np.integer)):
        return np.random.default_rng(int(generator))
    raise TypeError(
        f"expected generator to be None, a seed or a numpy.random.Generator, got {type(generator).__name__}"
    )


def random_split(dataset: Dataset, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Splits at random into parts of the given lengths, or of the given fractions when they add up to 1.

    Raises
    ------
    ValueError
        The lengths add up neither to len(dataset) nor to 1.
    """
    n = len(dataset)
    if math.isclose(sum(lengths), 1) and all(0 <= f <= 1 for f in lengths) and n != 1:
        sizes = [int(math.floor(n * f)) for f in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    else:
        sizes = [int(size) for size in lengths]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise ValueError(f"[random_split] lengths {list(lengths)} add up neither to len(dataset) = {n} nor to 1")
    order = as_generator(generator).permutation(n)
    ends = np.cumsum(sizes)
    return [Subset(dataset, order[end - size:end]) for size, end in zip(sizes, ends)]


def stratified_split(labels: Any, held_out: int | float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two parts in which every class has its share.

    Parameters
    ----------
    labels : array of integers [n]
    held_out : int or float
        Size of the second part, or its fraction.
    seed : int
        Equal seeds give equal splits, whatever the NumPy version.

    Returns
    -------
    (rest, held) : i64 arrays in rising order
    """
    labels = np.asarray(labels.numpy() if isinstance(labels, tg.Tensor) else labels)
    n = len(labels)
    size = round(n * held_out) if isinstance(held_out, float) else int(held_out)
    if not 0 <= size <= n:
        raise ValueError(f"[stratified_split] expected held_out between 0 and {n} items, got {size}")
    random = np.random.RandomState(seed)  # its stream is frozen, unlike Generator's
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (size / max(n, 1))
    quota = np.floor(exact).astype(int)
    quota[np.argsort(-(exact - quota), kind="stable")[:size - quota.sum()]] += 1  # largest remainders
    held = [random.permutation(np.flatnonzero(labels == c))[:q] for c, q in zip(classes, quota)]
    mask = np.zeros(n, bool)
    mask[np.concatenate(held) if held else []] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)
