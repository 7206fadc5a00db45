# SPDX-License-Identifier: Apache-2.0
"""Whole training runs: losses fall, runs repeat exactly, checkpoints go on exactly, plans stay few."""

import numpy as np
import pytest

import tengen as tg
import tengen.nn.functional as F
from tengen import nn, optim
from tengen.data import DataLoader, TensorDataset


def spirals(n=300, seed=0):
    """Two spirals: needs a hidden layer."""
    rng = np.random.RandomState(seed)
    a = rng.rand(n) * 1.5 * np.pi + 0.5
    side = np.arange(n) % 2
    x = np.stack([np.cos(a + np.pi * side), np.sin(a + np.pi * side)], 1) * a[:, None] / 5
    return (x + rng.randn(n, 2) * 0.01).astype(np.float32), side.astype(np.int64)


def mlp():
    return nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))


def fit(net, optimizer, epochs, loader, losses=None):
    for _ in range(epochs):
        for x, y in loader:
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            if losses is not None:
                losses.append(loss.item())
    return net


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
                                  lambda p: optim.Adam(p, lr=5e-3), lambda p: optim.AdamW(p, lr=5e-3)])
def test_learns_spirals(make):
    tg.manual_seed(0)
    x, y = spirals()
    net = mlp()
    losses = []
    fit(net, make(net.parameters()), 80, DataLoader(TensorDataset(x, y), 50, shuffle=True, generator=0), losses)
    assert losses[0] > 0.6 and np.mean(losses[-6:]) < 0.1
    with tg.no_grad():
        assert (net(tg.tensor(x)).argmax(1).numpy() == y).mean() > 0.97


def test_a_step_by_hand():
    """One step of a two-layer net with mean squared error, every gradient by the chain rule in NumPy."""
    rng = np.random.RandomState(0)
    x, y = rng.randn(6, 3).astype(np.float32), rng.randn(6, 2).astype(np.float32)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    w1, b1, w2, b2 = (p.detach().numpy().astype(np.float64) for p in net.parameters())
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    F.mse_loss(net(tg.tensor(x)), tg.tensor(y)).backward()
    optimizer.step()
    z = x @ w1.T + b1
    h = np.maximum(z, 0)
    d = 2 * (h @ w2.T + b2 - y) / y.size
    dz = (d @ w2) * (z > 0)
    want = [w1 - 0.5 * dz.T @ x, b1 - 0.5 * dz.sum(0), w2 - 0.5 * d.T @ h, b2 - 0.5 * d.sum(0)]
    for p, v in zip(net.parameters(), want):
        np.testing.assert_allclose(p.detach().numpy(), v, rtol=1e-5, atol=1e-6)


def conv_net():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Dropout(0.2), nn.Flatten(), nn.Linear(128, 10))


def images(n=64):
    rng = np.random.RandomState(0)
    return TensorDataset(rng.rand(n, 1, 8, 8).astype(np.float32), rng.randint(0, 10, n))


def conv_run(epochs=2):
    tg.manual_seed(7)
    net = conv_net()
    fit(net, optim.AdamW(net.parameters(), lr=1e-2), epochs, DataLoader(images(), 16, shuffle=True))
    return net


def test_runs_repeat_exactly():
    a, b = conv_run().state_dict(), conv_run().state_dict()
    for name in a:
        assert (a[name].numpy() == b[name].numpy()).all(), name
    other = fit(conv_net(), optim.SGD(conv_net().parameters(), 0.1), 0, [])
    assert not (other.state_dict()["0.weight"].numpy() == a["0.weight"].numpy()).all()


def test_workers_do_not_change_a_run():
    """The order of batches follows tengen's seed, with and without workers."""
    def run(workers, generator):
        tg.manual_seed(3)
        net = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10))
        fit(net, optim.SGD(net.parameters(), 0.1), 2,
            DataLoader(images(), 16, shuffle=True, generator=generator, num_workers=workers))
        return net[2].weight.detach().numpy()

    for generator in (1, None):
        assert (run(0, generator) == run(2, generator)).all()


def test_checkpoint_goes_on_exactly(tmp_path):
    """Two epochs and two more from a file are four in one go, batch norm's statistics and dropout's draws included."""
    straight = conv_run(4).state_dict()
    tg.manual_seed(7)
    net = conv_net()
    optimizer = optim.AdamW(net.parameters(), lr=1e-2)
    fit(net, optimizer, 2, DataLoader(images(), 16, shuffle=True))
    tg.save(
        {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "random": tg.random.get_rng_state()},
        tmp_path / "c",
    )
    saved = tg.load(tmp_path / "c")
    again = conv_net()
    again.load_state_dict(saved["net"])
    optimizer = optim.AdamW(again.parameters(), lr=1.0)
    optimizer.load_state_dict(saved["optimizer"])
    tg.random.set_rng_state(saved["random"])
    fit(again, optimizer, 2, DataLoader(images(), 16, shuffle=True))
    for name, value in again.state_dict().items():
        assert (value.numpy() == straight[name].numpy()).all(), name


def test_only_the_first_steps_make_plans():
    tg.clear_plan_cache()
    net = conv_net()
    optimizer = optim.AdamW(net.parameters(), lr=1e-2)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=20)
    x, y = (tg.tensor(a) for a in images(16).tensors)
    plans = []
    for _ in range(8):
        before = tg.dispatch_stats()["plans_created"]
        loss = nn.CrossEntropyLoss(label_smoothing=0.1)(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        plans.append(tg.dispatch_stats()["plans_created"] - before)
    assert plans[0] > 10 and plans[2:] == [0] * 6, plans


def test_memory_does_not_grow():
    net = conv_net()
    optimizer = optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)
    loader = DataLoader(images(), 16)
    fit(net, optimizer, 2, loader)
    before = tg.memory_stats()["current"]
    fit(net, optimizer, 10, loader)
    assert tg.memory_stats()["current"] <= before + 4096
