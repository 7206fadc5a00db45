# SPDX-License-Identifier: Apache-2.0
"""DataLoader: batches of a dataset, made here or in worker processes.

>>> loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True, generator=0)
>>> for images, labels in loader: ...
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .collate import default_collate, to_tensors
from .dataset import Dataset, IterableDataset, as_generator
from .fetch import Fetcher
from .position import Epoch, begin_epoch, capture, restore, skipped
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from .worker import WorkerPool


class DataLoader:
    """Iterates over a dataset in batches.

    Parameters
    ----------
    dataset : Dataset or IterableDataset
    batch_size : int or None
        None gives single items.
    shuffle : bool
        A new random order in every iteration.
    sampler, batch_sampler : iterables, optional
        Where the indices (lists of indices) come from, in place of shuffle.
    num_workers : int
        Worker processes, started by forkserver; 0 works in this process. Batches come in the same order either way.
    collate_fn : callable, optional
        Makes a batch of a list of items; default_collate when None.
    pin_memory : bool
        Accepted; host batches need no pinning here.
    drop_last : bool
        Leave out a last batch that is not full.
    timeout : float
        Seconds to wait for a worker's batch; 0 waits on.
    worker_init_fn : callable, optional
        Called in every worker with its number.
    generator : None, int or numpy.random.Generator
        Order and worker seeds; None follows tengen's global random state, an int is a seed.
    prefetch_factor : int, optional
        Batches that every worker may be ahead (2).
    persistent_workers : bool
        Keep the workers between iterations.

    Raises
    ------
    What a dataset raises in a worker is raised here, with the worker's traceback as its cause.
    """

    def __init__(self, dataset: Dataset, batch_size: int | None = 1, shuffle: bool = False,
                 sampler: Iterable | None = None, batch_sampler: Iterable | None = None, num_workers: int = 0,
                 collate_fn: Callable | None = None, pin_memory: bool = False, drop_last: bool = False,
                 timeout: float = 0, worker_init_fn: Callable | None = None, *, generator: Any = None,
                 prefetch_factor: int | None = None, persistent_workers: bool = False) -> None:
        def check(ok: bool, message: str) -> None:
            if not ok:
                raise ValueError(f"[DataLoader] {message}")

        check(num_workers >= 0, f"expected num_workers >= 0, got {num_workers}")
        check(timeout >= 0, f"expected timeout >= 0, got {timeout}")
        check(num_workers > 0 or prefetch_factor is None, "prefetch_factor needs num_workers > 0")
        check(num_workers > 0 or not persistent_workers, "persistent_workers needs num_workers > 0")
        check(prefetch_factor is None or prefetch_factor > 0, f"expected prefetch_factor > 0, got {prefetch_factor}")
        check(not (sampler is not None and shuffle), "sampler and shuffle exclude each other")
        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            check(not shuffle and sampler is None and batch_sampler is None,
                  "an IterableDataset has its own order: no shuffle, sampler or batch_sampler")
        self.generator = None if generator is None else as_generator(generator)
        if batch_sampler is not None:
            check(batch_size in (1, None) and not shuffle and sampler is None and not drop_last,
                  "batch_sampler excludes batch_size, shuffle, sampler and drop_last")
            batch_size = None
        elif not iterable:
            if sampler is None:
                sampler = RandomSampler(dataset, generator=self.generator) if shuffle else SequentialSampler(dataset)
            if batch_size is not None:
                batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        check(batch_size is None or (isinstance(batch_size, int) and batch_size > 0),
              f"expected batch_size to be a positive integer or None, got {batch_size!r}")
        check(not (batch_size is None and batch_sampler is None and drop_last), "drop_last needs a batch_size")
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler: Sampler | Iterable | None = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.prefetch_factor = (prefetch_factor or 2) if num_workers else None
        self.persistent_workers = persistent_workers
        self._pool: WorkerPool | None = None
        self._epoch: Epoch | None = None  # the latest
        self._resume: tuple[dict[str, Any], int] | None = None

    def _fetcher(self) -> Fetcher:
        collate = None if self.collate_fn is default_collate else self.collate_fn
        return Fetcher(self.dataset, collate, self.batch_size, self.drop_last,
                       self.batch_sampler is not None or self.batch_size is not None)

    def _indices(self) -> Iterable:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        self._epoch, batches = begin_epoch(self, resume, self._start)
        return self._epoch.counted(batches)

    def _start(self, skip: int) -> Iterator[Any]:
        # Drawn with and without workers, so that these do not change what a run draws later.
        seed = int(as_generator(self.generator).integers(2**31))
        if self.num_workers:
            return _WorkerIterator(self, seed, skip)
        fetcher = self._fetcher()
        if fetcher.iterable:
            stream = fetcher.stream()
            for _ in range(skip):
                next(stream, None)
            return map(to_tensors, stream)
        return (to_tensors(fetcher.fetch(at)) for at in skipped(self._indices(), skip))

    def state_dict(self) -> dict[str, Any]:
        """Where the latest iteration is: {"given": batches so far, "begin": the random state that its order came from}.

        A loader like this one that loads it gives the very next batch first, with any number of workers. (The global
        random state is the caller's to save: tg.random.get_rng_state().)
        """
        if self._resume is not None:
            return {"given": self._resume[1], "begin": self._resume[0]}
        if self._epoch is None or self._epoch.ended:
            return {"given": None, "begin": capture(self)}  # the next iteration is a new one
        return {"given": self._epoch.given, "begin": self._epoch.begin}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The next iteration goes on where the saved one was.

        Raises
        ------
        ValueError
            The state is of a loader whose order comes from elsewhere (another sampler or generator).
        """
        self._epoch = self._resume = None
        restore(self, state_dict["begin"])
        if state_dict["given"] is not None:
            self._resume = (state_dict["begin"], int(state_dict["given"]))

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # TypeError when the stream's length is unknown
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self._indices())

    def _take_pool(self) -> WorkerPool:
        pool, self._pool = self._pool, None  # a second iteration meanwhile gets workers of its own
        if pool is None or pool.state.gone:
            pool = WorkerPool(self._fetcher(), self.num_workers, self.worker_init_fn, self.timeout)
        return pool

    def _give_pool(self, pool: WorkerPool) -> None:
        if self.persistent_workers and self._pool is None and not pool.state.gone:
            self._pool = pool
        else:
            pool.close()


class _WorkerIterator:
    """One iteration with workers: keeps `prefetch_factor` tasks with each and gives the batches in order."""

    def __init__(self, loader: DataLoader, seed: int, skip: int) -> None:
        self._loader = loader
        stream = isinstance(loader.dataset, IterableDataset)
        self._indices = None if stream else skipped(loader._indices(), skip)
        self._seed = seed
        self._number = 0 if stream else skip
        self._pending: deque[tuple[int, int]] = deque()  # (worker, number), oldest first
        self._active = list(range(loader.num_workers))
        self._pool: WorkerPool | None = loader._take_pool()
        self._pool.begin()
        for _ in range(loader.prefetch_factor):
            for worker in range(loader.num_workers):
                self._give(worker)
        for _ in range(skip if stream else 0):  # a stream has to be gone through
            next(self, None)

    def _give(self, worker: int) -> None:
        indices = None
        if self._indices is not None:
            try:
                indices = next(self._indices)
            except StopIteration:
                return
        self._pool.put(worker, self._number, indices, self._seed)
        self._pending.append((worker, self._number))
        self._number += 1

    def __iter__(self) -> _WorkerIterator:
        return self

    def __next__(self) -> Any:
        while self._pending:
            worker, number = self._pending.popleft()
            try:
                there, batch = self._pool.get(worker, number)
            except BaseException:
                if worker in self._pool.state.gone:
                    self.close()
                else:
                    self._give(worker)
                raise
            if there:
                if worker in self._active:
                    self._give(worker)
                return to_tensors(batch)
            if worker in self._active:  # its stream has ended
                self._active.remove(worker)
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Ends the iteration; the workers go, or back to the loader when they are persistent."""
        pool, self._pool = self._pool, None
        self._pending.clear()
        if pool is not None:
            self._loader._give_pool(pool)

    def __del__(self) -> None:
        if getattr(self, "_pool", None) is not None:
            self.close()
