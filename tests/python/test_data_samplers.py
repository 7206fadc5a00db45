# SPDX-License-Identifier: Apache-2.0
"""Samplers that share out, repeat or group; what workers send; training with workers behind threaded kernels."""
import itertools
import os

import numpy as np
import pytest

import tengen as tg
from tengen.data import (
    BucketBatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    InfiniteSampler,
    TensorDataset,
    lengths_of,
    load_digits,
    transport,
)


@pytest.mark.parametrize("n, ranks", [(10, 3), (12, 4), (2, 5)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_distributed_shares_are_equal_and_cover(n, ranks, drop_last):
    shares = [list(DistributedSampler(range(n), ranks, r, drop_last=drop_last, seed=3)) for r in range(ranks)]
    assert {len(s) for s in shares} == {n // ranks if drop_last else -(-n // ranks)} == {len(DistributedSampler(range(n), ranks, 0, drop_last=drop_last))}
    seen = sorted(itertools.chain(*shares))
    if drop_last:
        assert len(set(seen)) == len(seen)
    else:
        assert set(seen) == set(range(n))
        assert np.bincount(seen).max() <= -(-ranks // n) + 1


def test_distributed_order_follows_the_epoch_and_state():
    a, b = (DistributedSampler(range(50), 2, 0, seed=1) for _ in range(2))
    first = list(a)
    a.set_epoch(1)
    assert list(a) != first == list(b)
    b.load_state_dict(a.state_dict())
    assert list(a) == list(b)
    assert list(DistributedSampler(range(7), 2, 1, shuffle=False)) == [1, 3, 5, 0]
    with pytest.raises(ValueError, match="rank < num_replicas = 2, got 2"):
        DistributedSampler(range(4), 2, 2)


def test_infinite_goes_on_through_every_item():
    taken = list(itertools.islice(InfiniteSampler(range(5), generator=0), 15))
    rounds = [sorted(taken[i:i + 5]) for i in (0, 5, 10)]
    assert rounds == [[0, 1, 2, 3, 4]] * 3 and taken[:5] != taken[5:10]
    assert list(itertools.islice(InfiniteSampler(range(2), shuffle=False), 5)) == [0, 1, 0, 1, 0]
    loader = DataLoader(TensorDataset(np.arange(5)), batch_size=4, sampler=InfiniteSampler(range(5), generator=0))
    assert [len(x[0]) for x in itertools.islice(loader, 3)] == [4, 4, 4]
    with pytest.raises(ValueError, match="empty"):
        InfiniteSampler([])


def test_buckets_hold_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 200, 1003)
    sampler = BucketBatchSampler(lengths, 16, generator=0, pool_batches=20)
    batches = list(sampler)
    assert sorted(np.concatenate(batches)) == list(range(1003)) and len(batches) == len(sampler)
    padded = sum(len(b) * lengths[b].max() for b in batches)
    plain = sum(len(b) * lengths[b].max() for b in np.array_split(np.arange(1003), len(batches)))
    assert padded < 1.15 * lengths.sum() < 1.5 * lengths.sum() < plain
    assert [b.tolist() for b in sampler] != [b.tolist() for b in batches], "another order in the next epoch"


def test_buckets_within_a_number_of_tokens():
    lengths = np.random.default_rng(1).integers(1, 50, 200)
    batches = list(BucketBatchSampler(lengths, 32, max_tokens=300, generator=0))
    assert all(len(b) <= 32 and len(b) * lengths[b].max() <= 300 for b in batches)
    assert sorted(np.concatenate(batches)) == list(range(200))
    full = BucketBatchSampler(lengths, 7, drop_last=True, generator=0, pool_batches=3)
    assert all(len(b) == 7 for b in full) and len(list(full)) == len(full)
    ordered = BucketBatchSampler([3, 1, 2], 2, shuffle=False)
    assert [b.tolist() for b in ordered] == [[1, 2], [0]] and len(ordered) == 2
    with pytest.raises(ValueError, match="max_tokens = 10, got one of 11"):
        BucketBatchSampler([11], 2, max_tokens=10)
    assert lengths_of(["a", "bcd"]).tolist() == [1, 3]


# ---- what workers send -----------------------------------------------------------------------------------------------


class Large(Dataset):
    """Items on both sides of the size from which memory is shared."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        n = (transport.SHARED // 4 + 3) if i % 2 else 5
        return {"x": np.arange(n, dtype=np.float32) + i, "empty": np.empty((0, 3)), "byte": np.array([i], np.uint8), "name": str(i)}


def test_large_batches_share_memory():
    files = set(os.listdir("/proc/self/fd"))
    loader = DataLoader(Large(), batch_size=None, num_workers=2)
    for i, item in enumerate(loader):
        n = (transport.SHARED // 4 + 3) if i % 2 else 5
        np.testing.assert_array_equal(item["x"].numpy(), np.arange(n, dtype=np.float32) + i)
        assert item["empty"].shape == (0, 3) and item["byte"].tolist() == [i] and item["name"] == str(i)
        if i % 2:
            assert "tengen-batch" in open("/proc/self/maps").read()
        item["x"].add_(1)  # the memory is ours to write
    del item
    assert "tengen-batch" not in open("/proc/self/maps").read(), "the memory goes with its tensors"
    del loader
    assert len(set(os.listdir("/proc/self/fd")) - files) <= 4, "descriptors stay open"


@pytest.mark.parametrize("sizes", [[], [0], [5, 0, 100], [transport.SHARED, 7], [3, transport.SHARED * 3]])
def test_transport_round_trip(sizes):
    import multiprocessing
    import pickle
    import threading

    here, there = multiprocessing.Pipe()
    value = [np.random.default_rng(i).integers(0, 255, n).astype(np.uint8) for i, n in enumerate(sizes)]
    thread = threading.Thread(target=transport.send, args=(there, 3, 4, 1, value))
    thread.start()
    epoch, number, kind, parts = transport.receive(here)
    thread.join()
    assert (epoch, number, kind) == (3, 4, 1)
    for got, sent in zip(pickle.loads(parts[0], buffers=parts[1:]), value, strict=True):
        np.testing.assert_array_equal(got, sent)
        assert got.flags.writeable


def test_training_with_workers_after_threaded_kernels():
    """OpenMP's threads are running in this process before the workers start, and go on beside them."""
    before = tg.get_num_threads()
    tg.set_num_threads(2)
    try:
        a = tg.rand(256, 256)
        expected = (a @ a).numpy()
        digits = load_digits()
        data = TensorDataset(digits.train_images.astype(np.float32)[:, None] / 16, digits.train_labels.astype(np.int64))
        tg.manual_seed(0)
        model = tg.nn.Sequential(tg.nn.Flatten(), tg.nn.Linear(64, 32), tg.nn.ReLU(), tg.nn.Linear(32, 10))
        optimizer = tg.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
        loader = DataLoader(data, batch_size=64, shuffle=True, num_workers=2, generator=0)
        losses = []
        for _ in range(3):
            for x, y in loader:
                loss = tg.nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        assert np.mean(losses[-10:]) < 0.5 < losses[0]
        np.testing.assert_array_equal((a @ a).numpy(), expected)
    finally:
        tg.set_num_threads(before)
