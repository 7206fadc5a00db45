# SPDX-License-Identifier: Apache-2.0
"""Where a loader is in its dataset, so that a run that was stopped goes on with the very next batch.

An epoch's order follows from the random state at its beginning. So a position is that state and the number of batches
given since: going on means to begin the epoch as it began, to skip the indices of those batches, and to put the global
random state back.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import tengen as tg


def _sources(loader: Any) -> dict[str, Any]:
    """What draws an epoch's order: generators, and samplers that save themselves."""
    found: dict[str, Any] = {}
    batch, sampler = loader.batch_sampler, loader.sampler
    for name, owner in (("loader", loader), ("sampler", sampler), ("batch_sampler", batch),
                        ("inner", getattr(batch, "sampler", None))):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, np.random.Generator) and all(generator is not g for g in found.values()):
            found[name] = generator
        if owner is not loader and hasattr(owner, "state_dict") and hasattr(owner, "load_state_dict"):
            found[f"{name}.state"] = owner
    return found


def _plain(state: Any) -> Any:
    """A bit generator's state as dicts, lists and numbers."""
    if isinstance(state, dict):
        return {k: _plain(v) for k, v in state.items()}
    return int(state) if isinstance(state, np.integer) else state


def capture(loader: Any) -> dict[str, Any]:
    """The random state from which an epoch would begin now."""
    state: dict[str, Any] = {"global": list(tg.random.get_rng_state())}
    for name, source in _sources(loader).items():
        own = isinstance(source, np.random.Generator)
        state[name] = _plain(source.bit_generator.state) if own else source.state_dict()
    return state


def restore(loader: Any, state: dict[str, Any]) -> None:
    """Puts the loader's own generators and samplers into a captured state, not the global one."""
    sources = _sources(loader)
    if set(sources) != set(state) - {"global"}:
        raise ValueError(f"[DataLoader.load_state_dict] expected the state of a loader with {sorted(sources) or 'no'} random "
                         f"sources of its own, got one with {sorted(set(state) - {'global'}) or 'none'}")
    for name, source in sources.items():
        if isinstance(source, np.random.Generator):
            source.bit_generator.state = state[name]
        else:
            source.load_state_dict(state[name])


class Epoch:
    """One pass over the dataset: its beginning, how many batches it has given, and whether it has ended."""

    def __init__(self, loader: Any, begin: dict[str, Any] | None = None, skip: int = 0) -> None:
        self.begin = capture(loader) if begin is None else begin
        self.given = self.skip = skip
        self.ended = False

    def counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        return _Counted(self, batches)


class _Counted:
    """An iterator that keeps an Epoch up to date."""

    def __init__(self, epoch: Epoch, batches: Iterator[Any]) -> None:
        self._epoch = epoch
        self._batches = batches

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Any:
        self._epoch.given += 1  # a batch that raises was this one's turn as well
        try:
            return next(self._batches)
        except StopIteration:
            self._epoch.given -= 1
            self._epoch.ended = True
            raise

    def close(self) -> None:
        """Ends the iteration early; workers go."""
        if hasattr(self._batches, "close"):
            self._batches.close()


def skipped(indices: Iterable[Any], count: int) -> Iterator[Any]:
    """The indices behind the first `count`; what draws their order has drawn when this returns."""
    it = iter(indices)
    for _ in range(count):
        next(it, None)
    return itertools.chain(list(itertools.islice(it, 1)), it)


def begin_epoch(loader: Any, resume: tuple[dict[str, Any], int] | None, start: Callable[[int], Any]) -> tuple[Epoch, Any]:
    """`start(skip)` in the random state of the epoch's beginning; gives the epoch and what start() gave."""
    if resume is None:
        epoch = Epoch(loader)
        return epoch, start(0)
    begin, skip = resume
    here = tg.random.get_rng_state()
    restore(loader, begin)
    tg.random.set_rng_state(tuple(begin["global"]))
    try:
        return Epoch(loader, begin, skip), start(skip)
    finally:
        tg.random.set_rng_state(here)
