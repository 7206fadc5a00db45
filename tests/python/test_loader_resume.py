# SPDX-License-Identifier: Apache-2.0
"""DataLoader.state_dict: the very next batch, from anywhere, with any number of workers."""
import numpy as np
import pytest

import tengen as tg
from tengen.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    WeightedRandomSampler,
)


class Noisy(Dataset):
    """Items with random noise: of tengen, NumPy and Python."""

    def __len__(self):
        return 23

    def __getitem__(self, i):
        return i, np.random.rand(), tg.rand(1)


class Stream(IterableDataset):
    def __iter__(self):
        for i in range(23):
            yield i, np.float64(i)


def sampler(kind, data):
    if kind == "weighted":
        return dict(batch_size=4, sampler=WeightedRandomSampler(np.arange(1, 24), 20, generator=3))
    if kind == "batches":
        return dict(batch_sampler=BatchSampler(RandomSampler(data), 4, False))
    if kind == "single":
        return dict(batch_size=None, shuffle=True)
    if kind == "order":
        return dict(batch_size=4)
    return dict(batch_size=4, shuffle=True, generator=5 if kind == "own" else None)


def numbers(batches):
    return [np.atleast_1d(np.asarray(b[0])).tolist() for b in batches]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["global", "own", "weighted", "batches", "single", "order"])
def test_goes_on_in_the_middle(kind, workers, tmp_path):
    def make():
        data = Noisy()
        return DataLoader(data, num_workers=workers, **sampler(kind, data))

    tg.manual_seed(7)
    loader, seen = make(), []
    seen += numbers(loader)  # an epoch before
    it = iter(loader)
    head = numbers(next(it) for _ in range(3))
    tg.rand(5)  # the model draws too
    tg.save({"loader": loader.state_dict(), "rng": list(tg.random.get_rng_state())}, tmp_path / "s")
    tail = numbers(it)
    after = numbers(loader)
    tg.manual_seed(99)
    other = make()
    saved = tg.load(tmp_path / "s")
    tg.random.set_rng_state(tuple(saved["rng"]))
    other.load_state_dict(saved["loader"])
    assert other.state_dict() == saved["loader"]
    assert numbers(other) == tail
    assert numbers(other) == after
    assert head + tail != after or kind == "order"


def test_goes_on_between_epochs():
    tg.manual_seed(1)
    loader = DataLoader(Noisy(), batch_size=4, shuffle=True, generator=2)
    list(loader)
    state, rng = loader.state_dict(), tg.random.get_rng_state()
    assert state["given"] is None
    want = numbers(loader)
    other = DataLoader(Noisy(), batch_size=4, shuffle=True, generator=8)
    other.load_state_dict(state)
    tg.random.set_rng_state(rng)
    assert numbers(other) == want


def test_before_the_first_batch():
    """An iteration that has begun has drawn its order."""
    tg.manual_seed(1)
    loader = DataLoader(Noisy(), batch_size=4, shuffle=True)
    it = iter(loader)
    state = loader.state_dict()
    assert state["given"] == 0
    want = numbers(it)
    tg.manual_seed(50)
    other = DataLoader(Noisy(), batch_size=4, shuffle=True)
    other.load_state_dict(state)
    rng = tg.random.get_rng_state()
    it = iter(other)
    assert tg.random.get_rng_state() == rng  # the global state is the caller's
    assert numbers(it) == want


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_noise_of_workers_does_not_depend_on_them(workers):
    """Random numbers belong to batches: any number of workers makes the same ones, and so does a resumed loader."""
    def batches(loader):
        return [[np.asarray(p).tolist() for p in b] for b in loader]

    tg.manual_seed(4)
    want = batches(DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2))
    tg.manual_seed(4)
    loader = DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=workers)
    it = iter(loader)
    assert batches([next(it), next(it)]) == want[:2]
    other = DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=3 - workers if workers < 3 else 2)
    other.load_state_dict(loader.state_dict())
    assert batches(other) == want[2:]
    assert len({tuple(np.ravel(b[1])) for b in want}) == len(want)


@pytest.mark.parametrize("workers", [0, 1])
def test_streams_are_gone_through(workers):
    loader = DataLoader(Stream(), batch_size=4, num_workers=workers)
    it = iter(loader)
    next(it), next(it)
    state = loader.state_dict()
    other = DataLoader(Stream(), batch_size=4, num_workers=workers)
    other.load_state_dict(state)
    assert numbers(other) == numbers(it) == [[8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22]]


def test_samplers_that_save_themselves():
    class Own:
        def __init__(self):
            self.round = 0

        def __iter__(self):
            self.round += 1
            return iter([(i * self.round) % 7 for i in range(7)])

        def __len__(self):
            return 7

        def state_dict(self):
            return {"round": self.round}

        def load_state_dict(self, state):
            self.round = state["round"]

    loader = DataLoader(Noisy(), batch_size=2, sampler=Own())
    list(loader)
    it = iter(loader)
    next(it)
    other = DataLoader(Noisy(), batch_size=2, sampler=Own())
    other.load_state_dict(loader.state_dict())
    assert numbers(other) == numbers(it)
    assert other.sampler.round == 2


def test_states_must_fit():
    state = DataLoader(Noisy(), shuffle=True, generator=1).state_dict()
    with pytest.raises(ValueError, match="random sources"):
        DataLoader(Noisy(), shuffle=True).load_state_dict(state)
