# SPDX-License-Identifier: Apache-2.0
"""tg.set_memory_limit: what is evicted comes back bit for bit, and what must not be evicted is not."""
from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tengen as tg
from tengen import nn
from tengen.nn import functional as F


class Block(nn.Module):
    """Pre-norm attention and MLP, with dropout."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.drop = nn.Linear(width, 2 * width), nn.Linear(2 * width, width), nn.Dropout(0.1)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)[i] for i in range(3))
        x = x + self.drop(self.out(F.scaled_dot_product_attention(q, k, v).permute(0, 2, 1, 3).reshape(n, t, d)))
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))


def cnn(device):
    layers, channels = [], 3
    for i in range(5):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=i == 2), nn.Dropout(0.1)]
        channels = 8
    net = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 36, 10)).to(device)
    return net, tg.randn(6, 3, 12, 12, device=device), tg.arange(6, device=device) % 10


def transformer(device):
    net = nn.Sequential(*(Block(24, 2) for _ in range(4)), nn.Flatten(), nn.Linear(16 * 24, 10)).to(device)
    return net, tg.randn(6, 16, 24, device=device), tg.arange(6, device=device) % 10


def mlp(device, depth=12, width=32, batch=256):
    net = nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Tanh()))).to(device)
    return net, tg.randn(batch, width, device=device), tg.arange(batch, device=device) % 10


def step(net, x, y):
    """Loss and gradients of one step, as bytes."""
    tg.manual_seed(5)
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    result = [loss.detach().cpu().numpy().tobytes()] + [p.grad.cpu().numpy().tobytes() for p in net.parameters()]
    net.zero_grad()
    return result


def measured(net, x, y, device, run=step):
    """The step, and the memory that it starts with and takes at most."""
    run(net, x, y)  # plans, caches
    gc.collect()
    tg.reset_peak_memory_stats(device)
    base = tg.memory_stats(device)["current"]
    result = run(net, x, y)
    return result, base, tg.memory_stats(device)["peak"]


@pytest.fixture(autouse=True)
def one_thread():
    """Workspaces grow with the number of threads, and with them the least that a call can do with."""
    threads = tg.get_num_threads()
    tg.set_num_threads(1)
    yield
    tg.set_num_threads(threads)


def compare(make, device, fractions=(0.75, 0.5), run=step):
    tg.manual_seed(3)
    net, x, y = make(device)
    expected, base, peak = measured(net, x, y, device, run)
    for fraction in fractions:
        limit = int(base + fraction * (peak - base))
        before = tg.memory_stats(device)
        with tg.set_memory_limit(limit, device):
            tg.reset_peak_memory_stats(device)
            got = run(net, x, y)
            after = tg.memory_stats(device)
        assert got == expected
        assert after["peak"] <= limit < peak
        for count in ("evictions", "evicted_bytes", "rematerialised", "rematerialise_us"):
            assert after[count] > before[count], count
    assert run(net, x, y) == expected


@pytest.mark.parametrize("make", [cnn, transformer, mlp])
def test_a_step_under_a_limit_gives_the_same_gradients(make):
    compare(make, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("make", [cnn, transformer])
def test_a_step_on_an_asynchronous_device(make, second_device):
    compare(make, second_device, fractions=(0.8, 0.65))  # parts of a decomposed gradient are not evicted


@pytest.mark.slow
@pytest.mark.parametrize("make", ["cnn", "transformer"])
def test_a_step_with_reference_kernels(make):
    environment = os.environ | {"TENGEN_PLUGIN": "reference", "TENGEN_DEVICE": "cpu"}
    code = f"import tengen as tg, test_rematerialisation as t; tg.set_num_threads(1); t.compare(t.{make}, 'cpu')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compare_with_nothing_kept(make, device):
    """In a process with TENGEN_EVICT_ALWAYS: no activation outlives the next allocation."""
    tg.manual_seed(3)
    net, x, y = make(device)
    expected = step(net, x, y)
    with tg.set_memory_limit(1 << 40, device):
        assert step(net, x, y) == expected
    assert tg.memory_stats(device)["rematerialised"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("make", ["cnn", "transformer"])
def test_a_step_that_keeps_nothing(make, second_device):
    code = f"import test_rematerialisation as t\nfor d in 'cpu', '{second_device}': t.compare_with_nothing_kept(t.{make}, d)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"TENGEN_EVICT_ALWAYS": "1"}, cwd=Path(__file__).parent,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_on_a_stream_of_its_own(second_device):
    def run(net, x, y):
        tg.synchronize(second_device)
        with tg.Stream(second_device):
            return step(net, x, y)

    compare(mlp, second_device, run=run)


def test_an_impossible_limit_says_what_would_do():
    net, x, y = mlp("cpu")
    expected, base, peak = measured(net, x, y, "cpu")
    with tg.set_memory_limit(base + 8192, "cpu"):
        with pytest.raises(MemoryError, match="set_memory_limit.*evicted.*would do") as caught:
            step(net, x, y)
        text = str(caught.value)
    del caught
    enough = int(text.split("about ")[1].split()[0])
    assert base + 8192 < enough < peak
    net.zero_grad()
    assert step(net, x, y) == expected
    with tg.set_memory_limit(base + (peak - base) // 2, "cpu"):
        assert step(net, x, y) == expected


class Tight:
    """A limit, and pressure that evicts all that can be."""

    def __enter__(self):
        gc.collect()
        self.limit = tg.set_memory_limit(tg.memory_stats("cpu")["current"] + (8 << 20), "cpu")
        return self

    def evict(self):
        before = tg.memory_stats("cpu")["evictions"]
        room = tg.get_memory_limit("cpu")
        for size in (room, room // 2, room // 4, room // 8, room // 16):  # too much at first: everything goes
            try:
                tg.empty(size, dtype=tg.uint8, device="cpu")
            except MemoryError:
                pass
        return tg.memory_stats("cpu")["evictions"] - before

    def __exit__(self, *exception):
        self.limit.__exit__()


def test_views_and_layouts_come_back():
    x = tg.randn(64, 48)
    with Tight() as tight:
        base = x.exp()
        views = [base, base.T, base[3:60:2], base.reshape(48, 64), base[:, 5], base.T.contiguous().T]
        expected = [v.tolist() for v in views]
        assert tight.evict() >= 1
        strides = [v.stride() for v in views]
        assert [v.tolist() for v in views] == expected
        assert [v.stride() for v in views] == strides
        tight.evict()
        assert (base[0] + base.T[:, 0]).tolist() == (x.exp()[0] * 2).tolist()


@pytest.mark.parametrize("dead", [False, True])
def test_a_change_in_place_does_not_reach_what_was_computed_before(dead):
    leaf = tg.randn(64, 64)
    with Tight() as tight:
        made = leaf + 1  # recorded
        from_leaf, from_made = leaf * 3, (made * 5).tanh()
        expected = [from_leaf.tolist(), from_made.tolist()]
        kept = None if dead else leaf.clone()
        assert tight.evict() >= 2
        leaf.mul_(0)
        made.mul_(0)
        tight.evict()
        assert [from_leaf.tolist(), from_made.tolist()] == expected
        assert leaf.abs().sum().item() == 0 and made.abs().sum().item() == 0
        if dead:
            del leaf, made
            tight.evict()
            assert from_made.tolist() == expected[1]
        else:
            assert (kept * 3).tolist() == expected[0]
        # writes through a view, and by index
        other = tg.ones(64, 64) * 2
        after = other * 7
        tight.evict()
        other.T[0] = 0
        other[5, 5] = -1
        tight.evict()
        assert after.sum().item() == 14 * 64 * 64 and other.sum().item() == 2 * 63 * 64 - 3


def test_memory_that_others_see_stays():
    x = tg.randn(64, 64)
    with Tight() as tight:
        y = x * 2
        later = y + 1
        expected = later.tolist()
        tight.evict()
        array = y.numpy()  # comes back; the array is its memory
        array[0, 0] = 100
        tight.evict()
        assert y[0, 0].item() == 100 and array[0, 0] == 100
        assert later.tolist() == expected
        from_shared = y * 3
        array[0, 1] = 50
        tight.evict()
        assert from_shared[0, 1].item() != 150
        exchanged = np.from_dlpack(x.exp())
        copy = exchanged.copy()
        tight.evict()
        assert (exchanged == copy).all()
        array = np.ones((64, 64), np.float32)
        borrowed = tg.from_numpy(array)
        doubled = borrowed * 2
        array[:] = 9
        tight.evict()
        assert doubled.sum().item() == 2 * 64 * 64
        pointer = y.data_ptr()
        tight.evict()
        assert y.data_ptr() == pointer


def test_random_numbers_come_back_and_do_not_move_the_generator():
    with Tight() as tight:
        x = tg.rand(4096) + tg.randn(4096)
        mask = F.dropout(x, 0.3)
        expected, state = (x.tolist(), mask.tolist()), tg.random.get_rng_state()
        assert tight.evict() >= 2
        assert (x.tolist(), mask.tolist()) == expected
        assert (tg.random.get_rng_state() == state).all() if isinstance(state, tg.Tensor) else tg.random.get_rng_state() == state


def test_a_long_chain_comes_back_without_recursion():
    with Tight() as tight:
        x = tg.ones(2048)
        y = x
        for _ in range(3000):
            y = y + 1
        before = tg.memory_stats("cpu")["rematerialised"]
        assert tight.evict() >= 1
        assert y.tolist() == [3001.0] * 2048
        assert tg.memory_stats("cpu")["rematerialised"] - before >= 3000
        del y


def test_a_loop_does_not_remember_its_past():
    with Tight():
        total = tg.zeros(2048)
        before = tg.memory_stats("cpu")
        for i in range(6000):
            total = total + tg.full((2048,), float(i % 3))
        assert total[0].item() == 6000
        assert tg.memory_stats("cpu")["current"] <= before["current"] + (1 << 20)
        # data that only recipes refer to is given up when room is needed
        for i in range(2000):
            total = total * tg.from_numpy(np.ones(2048, np.float32)).clone()
        total = total * 1
        for i in range(1500):
            with tg.no_grad():
                data = tg.tensor(np.full(2048, 1.0, np.float32))
            total = total * data
        assert total[0].item() == 6000


def test_double_backward():
    def run(net, x, y):
        w = next(net.parameters())
        loss = F.cross_entropy(net(x), y)
        (g,) = tg.autograd.grad(loss, [w], create_graph=True)
        (g * g).sum().backward()
        result = [p.grad.numpy().tobytes() for p in net.parameters() if p.grad is not None]
        net.zero_grad()
        return result

    compare(lambda d: mlp(d, depth=5), "cpu", fractions=(0.8,), run=run)


@pytest.mark.slow
def test_with_checkpoint_anomaly_mode_and_autocast():
    def checkpointed(net, x, y):
        loss = F.cross_entropy(tg.utils.checkpoint.checkpoint_sequential(net, 2, x), y)
        loss.backward()
        result = [p.grad.numpy().tobytes() for p in net.parameters()]
        net.zero_grad()
        return result

    def anomalous(net, x, y):
        with tg.autograd.detect_anomaly():
            return step(net, x, y)

    def cast(net, x, y):
        with tg.autocast("cpu", dtype=tg.bfloat16):
            out = net(x)
        F.cross_entropy(out.float(), y).backward()
        result = [p.grad.numpy().tobytes() for p in net.parameters()]
        net.zero_grad()
        return result

    for run in (checkpointed, anomalous, cast):
        compare(mlp, "cpu", fractions=(0.8,), run=run)


def test_no_grad_records_nothing_and_still_fits():
    net, x, y = mlp("cpu")
    with tg.no_grad():
        expected = net(x).tolist()
        with Tight():
            before = tg.memory_stats("cpu")["evictions"]
            assert net(x).tolist() == expected
            assert tg.memory_stats("cpu")["evictions"] == before


def test_functions_of_the_user():
    class Cube(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    def run(net, x, y):
        for layer in net:
            x = Cube.apply(layer(x))
        loss = F.cross_entropy(x, y)
        loss.backward()
        result = [p.grad.numpy().tobytes() for p in net.parameters()]
        net.zero_grad()
        return result

    compare(mlp, "cpu", fractions=(0.85,), run=run)


def test_training_with_a_loader():
    images = tg.randn(768, 32)
    data = tg.data.TensorDataset(images, tg.arange(768) % 10)

    def train():
        tg.manual_seed(11)
        net, _, _ = mlp("cpu", depth=6)
        optimizer = tg.optim.Adam(net.parameters(), 1e-2)
        for _ in range(2):
            for x, y in tg.data.DataLoader(data, batch_size=384, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
        return [p.detach().numpy().tobytes() for p in net.parameters()]

    expected = train()
    gc.collect()
    tg.reset_peak_memory_stats("cpu")
    base = tg.memory_stats("cpu")["current"]
    assert train() == expected
    peak = tg.memory_stats("cpu")["peak"]
    before = tg.memory_stats("cpu")["evictions"]
    with tg.set_memory_limit(base + int(0.85 * (peak - base)), "cpu"):
        assert train() == expected
    assert tg.memory_stats("cpu")["evictions"] > before


def test_threads():
    net, x, y = mlp("cpu", depth=8)
    expected, base, peak = measured(net, x, y, "cpu")
    with tg.no_grad():
        single = (x[:64] @ x[:64].T).sum().item()
    results, errors = {}, []

    def work(i):
        try:
            mine, _, _ = mlp("cpu", depth=8)
            mine.load_state_dict(net.state_dict())
            for _ in range(3):
                loss = F.cross_entropy(mine(x), y)
                loss.backward()
                results[i] = [p.grad.numpy().tobytes() for p in mine.parameters()]
                mine.zero_grad()
                with tg.no_grad():
                    assert (x[:64] @ x[:64].T).sum().item() == single
        except BaseException as e:  # noqa: BLE001
            errors.append(e)

    before = tg.memory_stats("cpu")["evictions"]
    with tg.set_memory_limit(int(base + 1.6 * (peak - base)), "cpu"):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not errors
    assert all(results[i] == expected[1:] for i in range(3))
    assert tg.memory_stats("cpu")["evictions"] >= before


def test_the_limit_itself():
    assert tg.get_memory_limit("cpu") is None
    with tg.set_memory_limit(1 << 33, "cpu"):
        assert tg.get_memory_limit("cpu") == 1 << 33
        with tg.set_memory_limit(None, "cpu"):
            assert tg.get_memory_limit("cpu") is None
        assert tg.get_memory_limit("cpu") == 1 << 33
    assert tg.get_memory_limit("cpu") is None
    for bad in (0, -5):
        with pytest.raises(ValueError, match="positive"):
            tg.set_memory_limit(bad, "cpu")
    with pytest.raises(MemoryError, match="limit of 4096"):
        with tg.set_memory_limit(4096, "cpu"):
            tg.empty(1 << 20, device="cpu")


def test_the_cache_counts_towards_the_limit():
    tg.empty_cache("cpu")
    base = tg.memory_stats("cpu")["reserved"]
    with tg.set_memory_limit(base + (4 << 20), "cpu"):
        for size in (1 << 20, 3 << 19, 3 << 20, 1 << 21):
            tg.empty(size, dtype=tg.uint8, device="cpu")
            assert tg.memory_stats("cpu")["reserved"] <= base + (4 << 20)
