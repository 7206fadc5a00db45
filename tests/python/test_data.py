# SPDX-License-Identifier: Apache-2.0
"""tengen.data: datasets, samplers, the loader with and without workers, IDX files, the embedded digits."""
import errno
import gzip
import multiprocessing
import os
import pickle
import signal
import struct
import subprocess
import sys
import textwrap
import time
from collections import namedtuple

import numpy as np
import pytest

import tengen as tg
from tengen.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
    load_digits,
    load_idx_directory,
    random_split,
    read_idx,
    stratified_split,
    transport,
    write_idx,
)

# ---- datasets and samplers (module level: workers must be able to import them) ---------------------------------------


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return np.full((2, 3), i * i, np.float32), i


class Slow(Squares):
    """Early items take longest: workers finish out of order."""

    def __getitem__(self, i):
        time.sleep(0.05 if i % 4 == 0 else 0)
        return super().__getitem__(i)


class FailsAt(Squares):
    def __init__(self, n, bad, error=ValueError):
        super().__init__(n)
        self.bad, self.error = bad, error

    def __getitem__(self, i):
        if i == self.bad:
            raise self.error(f"item {i} is broken")
        return super().__getitem__(i)


class Odd(Exception):
    """Cannot be pickled back: its __init__ wants two arguments."""

    def __init__(self, a, b="b"):
        super().__init__(f"{a}")
        self.unpicklable = lambda: b


class Dies(Squares):
    def __getitem__(self, i):
        if i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(i)


class Stream(IterableDataset):
    def __init__(self, n, shard=True):
        self.n, self.shard = n, shard

    def __iter__(self):
        info = get_worker_info()
        step = info.num_workers if info and self.shard else 1
        return iter(range(info.id if info and self.shard else 0, self.n, step))


class WhoAmI(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        info = get_worker_info()
        return info.id, info.num_workers, np.random.randint(2**31) ^ tg.randint(0, 2**31, (1,)).item(), len(info.dataset), os.getpid()


class TensorItems(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return {"x": tg.tensor(np.arange(3) + i), "name": f"n{i}"}


def values(loader):
    return [np.asarray(b[1].numpy()).tolist() for b in loader]


def keep_list(items):
    return items


def fail_to_start(worker):
    raise RuntimeError(f"no start for {worker}")


def test_tensor_dataset():
    x, y = tg.tensor(np.arange(12).reshape(6, 2)), np.arange(6)
    data = TensorDataset(x, y)
    assert len(data) == 6
    assert data[2][0].tolist() == [4, 5] and data[2][1] == 2
    with pytest.raises(ValueError, match="one length, got 6, 5"):
        TensorDataset(x, np.arange(5))
    with pytest.raises(ValueError, match="at least one"):
        TensorDataset()


def test_subset_and_concat():
    data = ConcatDataset([Subset(Squares(5), [4, 2]), Squares(3)])
    assert len(data) == 5
    assert [data[i][1] for i in range(5)] == [4, 2, 0, 1, 2] and data[-1][1] == 2
    with pytest.raises(IndexError, match="index 5 is out of range for a dataset of 5"):
        data[5]
    assert len(Squares(2) + Squares(3)) == 5


def test_random_split():
    parts = random_split(range(10), [7, 3], generator=1)
    assert [len(p) for p in parts] == [7, 3]
    assert sorted([*parts[0].indices, *parts[1].indices]) == list(range(10))
    again = random_split(range(10), [0.7, 0.3], generator=1)
    assert [p.indices.tolist() for p in again] == [p.indices.tolist() for p in parts]
    assert [len(p) for p in random_split(range(10), [1 / 3, 1 / 3, 1 / 3])] == [4, 3, 3]
    with pytest.raises(ValueError, match="add up neither"):
        random_split(range(10), [5, 4])
    tg.manual_seed(3)
    a = random_split(range(100), [50, 50])[0].indices.tolist()
    tg.manual_seed(3)
    assert random_split(range(100), [50, 50])[0].indices.tolist() == a


def test_stratified_split():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    rest, held = stratified_split(labels, 0.25, seed=1)
    assert sorted([*rest, *held]) == list(range(160))
    assert np.bincount(labels[held]).tolist() in ([25, 13, 2], [25, 12, 3])
    assert len(stratified_split(labels, 33)[1]) == 33
    assert [len(p) for p in stratified_split(labels, 0)] == [160, 0]
    with pytest.raises(ValueError, match="between 0 and 160 items, got 161"):
        stratified_split(labels, 161)


def test_samplers():
    data = range(10)
    assert list(SequentialSampler(data)) == list(range(10))
    first = RandomSampler(data, generator=5)
    a, b = list(first), list(first)
    assert sorted(a) == sorted(b) == list(range(10)) and a != b
    assert list(RandomSampler(data, generator=5)) == a
    drawn = list(RandomSampler(data, replacement=True, num_samples=1000, generator=0))
    assert len(drawn) == 1000 and set(drawn) == set(range(10))
    assert len(list(RandomSampler(data, num_samples=25))) == 25
    assert sorted(SubsetRandomSampler([3, 5, 7])) == [3, 5, 7]
    weighted = list(WeightedRandomSampler([0, 1, 3], 4000, generator=0))
    assert 0 not in weighted and 2800 < sum(v == 2 for v in weighted) < 3200
    for sampler in (SequentialSampler(data), iter(data)):
        assert [list(b) for b in BatchSampler(sampler, 4, False)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [list(b) for b in BatchSampler(SequentialSampler(data), 4, True)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(BatchSampler(data, 4, False)) == 3 and len(BatchSampler(data, 4, True)) == 2
    with pytest.raises(ValueError, match="positive integer, got 0"):
        BatchSampler(data, 0, False)
    with pytest.raises(ValueError, match="none negative"):
        WeightedRandomSampler([-1, 2], 3)


# ---- collate ---------------------------------------------------------------------------------------------------------


def test_collate_types():
    Pair = namedtuple("Pair", "a b")
    batch = default_collate([{"i": 1, "f": 0.5, "b": True, "s": "x", "p": Pair(np.float32(1), [np.zeros(2)])},
                             {"i": 2, "f": 1.5, "b": False, "s": "y", "p": Pair(np.float32(2), [np.ones(2)])}])
    assert batch["i"].dtype == tg.int64 and batch["i"].tolist() == [1, 2]
    assert batch["f"].dtype == tg.float64 and batch["b"].dtype == tg.bool
    assert batch["s"] == ["x", "y"]
    assert isinstance(batch["p"], Pair) and batch["p"].a.dtype == tg.float32
    assert batch["p"].b[0].tolist() == [[0, 0], [1, 1]]
    assert default_collate([tg.tensor(np.ones(2)), tg.tensor(np.zeros(2))]).shape == (2, 2)


def test_collate_errors():
    with pytest.raises(ValueError, match=r"one shape, got \(2,\), \(3,\)"):
        default_collate([np.zeros(2), np.zeros(3)])
    with pytest.raises(TypeError, match="got object"):
        default_collate([object(), object()])
    with pytest.raises(ValueError, match="equally many parts, got 1, 2"):
        default_collate([(1, 2), (1,)])
    with pytest.raises(TypeError, match="cannot make a tensor of"):
        default_collate([np.array("a"), np.array("b")])


# ---- the loader in this process --------------------------------------------------------------------------------------


def test_serial_order_and_shapes():
    loader = DataLoader(Squares(7), batch_size=3)
    batches = list(loader)
    assert len(loader) == 3 and values(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[1][0].shape == (3, 2, 3) and batches[1][0].numpy()[2, 0, 0] == 25
    assert values(DataLoader(Squares(7), batch_size=3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert values(DataLoader(Squares(4), batch_sampler=[[3, 0], [1]])) == [[3, 0], [1]]
    assert values(DataLoader(Squares(4), batch_size=2, sampler=[2, 1, 0])) == [[2, 1], [0]]
    single = list(DataLoader(Squares(2), batch_size=None))
    assert single[1][0].shape == (2, 3) and single[1][1] == 1


def test_shuffle_follows_seeds():
    def order(**kw):
        return sum(values(DataLoader(Squares(20), batch_size=4, shuffle=True, **kw)), [])

    assert order(generator=1) == order(generator=1) != order(generator=2)
    tg.manual_seed(0)
    a = order()
    b = order()
    tg.manual_seed(0)
    assert order() == a != b
    loader = DataLoader(Squares(20), batch_size=20, shuffle=True, generator=1)
    assert values(loader) != values(loader)


def test_whole_batches_of_tensor_datasets():
    x = tg.tensor(np.arange(40, dtype=np.float32).reshape(10, 4))
    data = TensorDataset(x, tg.tensor(np.arange(10)))
    data.__class__ = type("NoItems", (TensorDataset,), {"__getitem__": None})  # the fast path only
    (a, i), (b, j) = DataLoader(data, batch_size=5)
    assert a.tolist() == x.numpy()[:5].tolist() and j.tolist() == [5, 6, 7, 8, 9] and b.dtype == tg.float32
    some = Subset(data, [9, 0, 3])
    [(c, k)] = DataLoader(some, batch_size=5)
    assert k.tolist() == [9, 0, 3] and c.tolist() == x.numpy()[[9, 0, 3]].tolist()


def test_iterable():
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="own order"):
        DataLoader(Stream(5), shuffle=True)
    with pytest.raises(TypeError):
        len(DataLoader(Stream(5)))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"num_workers": -1}, "num_workers >= 0"),
        ({"prefetch_factor": 2}, "prefetch_factor needs"),
        ({"persistent_workers": True}, "persistent_workers needs"),
        ({"shuffle": True, "sampler": [1]}, "exclude each other"),
        ({"batch_sampler": [[1]], "batch_size": 4}, "batch_sampler excludes"),
        ({"batch_size": 0}, "positive integer"),
        ({"timeout": -1}, "timeout >= 0"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(3), **wrong)


# ---- workers ---------------------------------------------------------------------------------------------------------


def alive(pids):
    """Those that still run (zombies do not)."""
    out = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rpartition(")")[2].split()[0] != "Z":
                    out.append(pid)
        except OSError:
            pass
    return out


def wait_gone(pids, seconds=5):
    end = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pids)


def test_workers_give_the_same_batches_in_order():
    plain = list(DataLoader(Slow(23), batch_size=4, shuffle=True, generator=3))
    loader = DataLoader(Slow(23), batch_size=4, shuffle=True, generator=3, num_workers=2, prefetch_factor=3)
    parallel = list(loader)
    assert len(plain) == len(parallel) == 6
    for (a, i), (b, j) in zip(plain, parallel):
        assert i.tolist() == j.tolist() and (a.numpy() == b.numpy()).all() and a.dtype == b.dtype


def test_workers_with_tensor_dataset_and_large_batches():
    x = np.random.RandomState(0).rand(64, 200, 100).astype(np.float32)  # larger than a pipe by far
    loader = DataLoader(TensorDataset(x, np.arange(64)), batch_size=16, num_workers=2)
    for k, (batch, i) in enumerate(loader):
        assert i.tolist() == list(range(16 * k, 16 * k + 16)) and (batch.numpy() == x[16 * k:16 * k + 16]).all()


def test_workers_transport_of_other_things():
    batches = list(DataLoader(TensorItems(), batch_size=3, num_workers=1))
    assert batches[1]["x"].tolist() == [[3, 4, 5], [4, 5, 6], [5, 6, 7]] and batches[1]["name"] == ["n3", "n4", "n5"]
    [items] = DataLoader(TensorItems(), batch_size=6, num_workers=1, collate_fn=keep_list)
    assert isinstance(items, list) and items[2]["x"].tolist() == [2, 3, 4]


def test_worker_info_and_seeds():
    batches = list(DataLoader(WhoAmI(), batch_size=2, num_workers=2, generator=1))
    assert [b[0].tolist() for b in batches] == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert batches[0][1].tolist() == [2, 2] and batches[0][3].tolist() == [8, 8]
    draws = np.concatenate([b[2].numpy() for b in batches])
    assert len(set(draws.tolist())) == 8  # workers draw different numbers
    again = np.concatenate([b[2].numpy() for b in DataLoader(WhoAmI(), batch_size=2, num_workers=2, generator=1)])
    assert (draws == again).all()
    assert get_worker_info() is None


def test_iterable_with_workers():
    got = [b.tolist() for b in DataLoader(Stream(11), batch_size=2, num_workers=2)]
    assert sorted(sum(got, [])) == list(range(11))
    twice = [b.tolist() for b in DataLoader(Stream(3, shard=False), batch_size=2, num_workers=2)]
    assert sorted(sum(twice, [])) == [0, 0, 1, 1, 2, 2]


def test_persistent_workers_are_kept_and_left_iterations_do_not_mix():
    loader = DataLoader(WhoAmI(), batch_size=1, num_workers=2, persistent_workers=True, prefetch_factor=4)
    pids = {b[4].item() for b in loader}
    for _ in loader:
        break
    assert {b[4].item() for b in loader} == pids and len(pids) == 2
    ordered = DataLoader(Slow(12), batch_size=2, num_workers=2, persistent_workers=True)
    for _ in range(3):
        for batch in ordered:
            break
        assert values(ordered) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    del ordered
    del loader
    assert wait_gone(pids)


def test_early_break_leaves_no_process():
    pids = None
    for batch in DataLoader(WhoAmI(), batch_size=1, num_workers=2):
        pids = [batch[4].item()]
        break
    assert wait_gone(pids)


def test_exception_keeps_type_and_worker_traceback():
    loader = DataLoader(FailsAt(8, 5), batch_size=2, num_workers=2)
    seen = []
    with pytest.raises(ValueError, match="item 5 is broken") as caught:
        for batch in loader:
            seen.append(batch[1].tolist())
    assert seen == [[0, 1], [2, 3]]
    text = str(caught.value.__cause__)
    assert "in worker 0" in text and "in __getitem__" in text and "raise self.error" in text


def test_exception_that_cannot_travel():
    with pytest.raises(RuntimeError, match="Odd: item 1 is broken"):
        list(DataLoader(FailsAt(4, 1, Odd), batch_size=2, num_workers=1))


def test_iteration_goes_on_after_an_exception():
    it = iter(DataLoader(FailsAt(8, 2), batch_size=2, num_workers=1))
    assert next(it)[1].tolist() == [0, 1]
    with pytest.raises(ValueError):
        next(it)
    assert next(it)[1].tolist() == [4, 5]
    it.close()


def test_worker_that_is_killed():
    with pytest.raises(RuntimeError, match=r"worker 0 \(process \d+\) died unexpectedly, exit code -9 \(killed"):
        list(DataLoader(Dies(12), batch_size=3, num_workers=1))


def test_worker_init_and_pickling_errors():
    with pytest.raises(RuntimeError, match="no start for"):
        list(DataLoader(Squares(4), num_workers=1, worker_init_fn=fail_to_start))
    with pytest.raises(TypeError, match="must be picklable"):
        iter(DataLoader(Squares(4), num_workers=1, collate_fn=lambda items: items))


def test_timeout():
    loader = DataLoader(Slow(1), num_workers=1, timeout=0.001)
    with pytest.raises(RuntimeError, match="no batch within timeout = 0.001 s"):
        next(iter(loader))


def run_script(text, **kw):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **kw)


SCRIPT = """
    import os, sys, time
    sys.path.insert(0, {folder!r})
    import test_data
    from tengen.data import DataLoader
    it = iter(DataLoader(test_data.WhoAmI(), batch_size=1, num_workers=2, persistent_workers={persistent}))
    print(next(it)[4].item(), next(it)[4].item(), flush=True)
    {then}
"""


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_interpreter_exit_ends_the_workers(persistent):
    process = run_script(SCRIPT.format(folder=os.path.dirname(__file__), then="pass", persistent=persistent))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == "", err
    assert wait_gone([int(p) for p in out.split()])


def test_killed_parent_leaves_no_worker():
    process = run_script(SCRIPT.format(folder=os.path.dirname(__file__), then="time.sleep(60)", persistent=False))
    pids = [int(p) for p in process.stdout.readline().split()]
    assert len(alive(pids)) == 2
    process.kill()
    process.communicate()
    assert wait_gone(pids)


# ---- IDX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_round_trip(tmp_path, name, dtype):
    array = (np.random.RandomState(0).rand(5, 3, 2) * 100).astype(dtype)
    write_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert back.dtype == array.dtype and (back == array).all() and back.flags.writeable
    empty = np.zeros((0, 4), dtype)
    write_idx(tmp_path / name, empty)
    assert read_idx(tmp_path / name).shape == (0, 4)


def test_idx_against_bytes_by_hand(tmp_path):
    (tmp_path / "a").write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0x01, 0x02, 0xFF, 0xFE]))
    assert read_idx(tmp_path / "a").tolist() == [[258], [-2]]


GOOD = bytes([0, 0, 8, 1]) + struct.pack(">I", 6) + b"abcdef"
WRONG = {
    "empty": (b"", "4-byte IDX magic"),
    "short magic": (GOOD[:3], "4-byte IDX magic"),
    "magic": (b"\1" + GOOD[1:], "two zero bytes"),
    "type": (GOOD[:2] + b"\x0a" + GOOD[3:], "unknown type code 0x0a"),
    "rank 0": (GOOD[:3] + b"\0" + GOOD[4:], "rank of 1 to 8, got 0"),
    "rank 255": (GOOD[:3] + b"\xff" + GOOD[4:], "rank of 1 to 8, got 255"),
    "header": (GOOD[:6], "ends inside its header"),
    "truncated": (GOOD[:-1], "needs 6 bytes of elements, the file has 5|is truncated"),
    "too long": (GOOD + b"g", "needs 6 bytes of elements, the file has 7|bytes after"),
    "huge": (bytes([0, 0, 14, 4]) + struct.pack(">4I", *[2**32 - 1] * 4) + b"x", "bytes of elements"),
    "huge and empty": (bytes([0, 0, 14, 4]) + struct.pack(">4I", *[2**32 - 1] * 3, 0), "2.63 bytes of elements"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_idx_damage(tmp_path, case, zipped):
    data, message = WRONG[case]
    (tmp_path / "bad").write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(tmp_path / "bad")
    assert str(tmp_path / "bad") in str(caught.value)


def test_idx_damaged_gzip(tmp_path):
    data = gzip.compress(GOOD + b"")
    path = tmp_path / "bad"
    random = np.random.RandomState(0)
    for cut in range(2, len(data)):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError):
            read_idx(path)
    for _ in range(300):  # one byte changed: an error, or (in fields that say nothing) the same content
        at = random.randint(2, len(data))
        changed = bytearray(data)
        changed[at] ^= random.randint(1, 256)
        path.write_bytes(changed)
        try:
            assert read_idx(path).tobytes() == b"abcdef"
        except ValueError:
            pass
    path.write_bytes(data + b"garbage")
    with pytest.raises(ValueError):
        read_idx(path)


def test_idx_claims_are_not_believed(tmp_path):
    """A small gzip file that claims 60 MB: refused for its claim or at its end, without 60 MB of memory."""
    import tracemalloc

    path = tmp_path / "liar"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 60_000_000) + bytes(200_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="truncated|more than"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


def test_idx_directory(tmp_path):
    images, labels = np.zeros((4, 5, 6), np.uint8), np.arange(4, dtype=np.uint8)
    with pytest.raises(FileNotFoundError, match="holds none of train-images-idx3-ubyte, "):
        load_idx_directory(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels)
    write_idx(tmp_path / "t10k-images.idx3-ubyte", images[:2])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels[:2])
    data = load_idx_directory(tmp_path)
    assert data.train_images.shape == (4, 5, 6) and data.test_labels.tolist() == [0, 1] and data.scale == 255
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels[:3])
    with pytest.raises(ValueError, match="has 2 images, .* has 3 labels"):
        load_idx_directory(tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels.astype(np.float32))
    with pytest.raises(ValueError, match="expected uint8 of rank 1, got float32"):
        load_idx_directory(tmp_path)


def test_digits():
    digits = load_digits()
    assert digits.train_images.shape == (1297, 8, 8) and digits.test_images.shape == (500, 8, 8)
    assert digits.train_images.dtype == np.uint8 and digits.train_images.max() == digits.scale == 16
    counts = np.bincount(digits.train_labels) + np.bincount(digits.test_labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(digits.test_labels).min() >= 48
    again = load_digits()
    assert (again.test_images == digits.test_images).all()
    assert not (load_digits(seed=1).test_images == digits.test_images).all()


def test_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed: nothing to compare with")
    theirs = datasets.load_digits()
    ours = load_digits(held_out=0)
    assert (ours.train_images == theirs.images).all() and (ours.train_labels == theirs.target).all()


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[400_001, 0], [0, 400_001], [400_001, 3, 0, 0]])
def test_large_messages_with_empty_arrays(sizes):
    """A picture without boxes: the empty array lies at the end of the shared file."""
    here, there = multiprocessing.Pipe()
    arrays = [np.arange(n, dtype=np.uint8) for n in sizes]
    transport.send(here, 1, 2, 0, arrays)
    epoch, number, kind, parts = transport.receive(there)
    assert (epoch, number, kind) == (1, 2, 0)
    for a, b in zip(arrays, pickle.loads(parts[0], buffers=parts[1:])):
        np.testing.assert_array_equal(a, b)


def test_nothing_is_sent_when_memory_runs_out(monkeypatch):
    """Else the error that the worker sends instead would be read as the message's arrays."""
    def full(*_):
        raise OSError(errno.ENOSPC, "no space")

    here, there = multiprocessing.Pipe()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="no space"):
        transport.send(here, 1, 2, 0, np.zeros(400_000, np.uint8))
    assert not there.poll()
