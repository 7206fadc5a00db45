# SPDX-License-Identifier: Apache-2.0
"""Turning indices into batches, in this process or in a worker."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .collate import arrays_to_marks, collate_marks
from .dataset import Dataset, IterableDataset


class Fetcher:
    """Knows a dataset and how its batches are made. What it returns holds marks (see collate.py) in place of arrays."""

    def __init__(self, dataset: Dataset, collate_fn: Callable | None, batch_size: int | None, drop_last: bool,
                 batched: bool) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.batched = batched
        self.iterable = isinstance(dataset, IterableDataset)

    def fetch(self, at: Any) -> Any:
        """The batch at a list of indices, or, unbatched, the item at an index."""
        if not self.batched:
            return self._convert(self.dataset[int(at) if isinstance(at, np.integer) else at])
        if self.collate_fn is None and hasattr(self.dataset, "get_batch"):
            return arrays_to_marks(self.dataset.get_batch(np.asarray(at, np.int64)))
        indices = at.tolist() if isinstance(at, np.ndarray) else at
        return self._collate([self.dataset[i] for i in indices])

    def stream(self) -> Iterator[Any]:
        """The batches of an iterable dataset."""
        items = iter(self.dataset)
        if not self.batched:
            yield from map(self._convert, items)
            return
        while batch := list(itertools.islice(items, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield self._collate(batch)

    def _collate(self, items: Sequence[Any]) -> Any:
        return collate_marks(items) if self.collate_fn is None else self.collate_fn(items)

    def _convert(self, item: Any) -> Any:
        return arrays_to_marks(item) if self.collate_fn is None else self.collate_fn(item)
