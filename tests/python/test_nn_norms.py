# SPDX-License-Identifier: Apache-2.0
"""Instance and local response norm, batch norm's variants, gradients and layouts of the others."""
import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen as tg
import tengen.nn.functional as F
from tengen import nn


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm(rank, affine):
    x = rand(3, 4, *(5, 2, 3)[:rank])
    layer = getattr(nn, f"InstanceNorm{rank}d")(4, affine=affine)
    assert repr(layer) == (f"InstanceNorm{rank}d(4, eps=1e-05, momentum=0.1, affine={affine}, "
                           "track_running_stats=False)")
    axes = tuple(range(2, 2 + rank))
    want = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    if affine:
        w, b = rand(4), rand(4)
        with tg.no_grad():
            layer.weight.copy_(t(w))
            layer.bias.copy_(t(b))
        line = (1, 4, *(1,) * rank)
        want = want * w.reshape(line) + b.reshape(line)
    close(layer(t(x)), want, 1e-4)
    close(layer.eval()(t(x)), want, 1e-4)
    close(layer(t(x[0])), want[0], 1e-4)
    with pytest.raises(ValueError, match="channels"):
        layer(t(rand(3, 5, *(5, 2, 3)[:rank])))


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_of_instance_norm(momentum):
    layer = nn.InstanceNorm1d(2, momentum=momentum, track_running_stats=True)
    mean, var = np.zeros(2), np.ones(2)
    for step in range(1, 4):
        x = rand(3, 2, 7)
        layer(t(x))
        share = 1 / step if momentum is None else momentum
        mean += share * (x.mean(2).mean(0) - mean)
        var += share * (x.var(2, ddof=1).mean(0) - var)
    close(layer.running_mean, mean)
    close(layer.running_var, var)
    x = rand(3, 2, 7)
    close(layer.eval()(t(x)), (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5), 1e-4)


def test_bad_instance_norms():
    with pytest.raises(ValueError, match="more than one element"):
        F.instance_norm(tg.ones((2, 3, 1)))
    with pytest.raises(ValueError, match="running_mean"):
        F.instance_norm(tg.ones((2, 3, 4)), use_input_stats=False)
    with pytest.raises(ValueError, match="spatial"):
        F.instance_norm(tg.ones((2, 3)))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_local_response_norm(size):
    x = rand(2, 6, 3, 2)
    want = np.empty_like(x)
    for c in range(6):  # (size - size//2 - 1) channels after, size // 2 before
        near = x[:, max(c - size // 2, 0):c + (size - 1) // 2 + 1]
        want[:, c] = x[:, c] / (2 + 0.5 * (near**2).sum(1) / size) ** 0.75
    layer = nn.LocalResponseNorm(size, alpha=0.5, k=2.0)
    assert repr(layer) == f"LocalResponseNorm({size}, alpha=0.5, beta=0.75, k=2.0)"
    close(layer(t(x)), want)
    close(layer(t(x[:, :, 0])), want[:, :, 0])
    x64 = t(x.astype(np.float64), grad=True)
    way, h = rand(2, 6, 3, 2).astype(np.float64), 2.0**-17
    layer(x64).sum().backward()
    ends = [layer(t(x + s * h * way)).sum().item() for s in (1, -1)]
    assert abs((x64.grad.numpy() * way).sum() - (ends[0] - ends[1]) / (2 * h)) < 1e-6


def test_batch_norm_without_weights_averages_all_batches():
    layer = nn.BatchNorm2d(3, momentum=None, affine=False)
    assert layer.weight is None and list(layer.parameters()) == []
    batches = [rand(4, 3, 2, 2) for _ in range(3)]
    for x in batches:
        y = layer(t(x))
        close(y, (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5), 1e-4)
    close(layer.running_mean, np.mean([x.mean((0, 2, 3)) for x in batches], 0))
    close(layer.running_var, np.mean([x.var((0, 2, 3), ddof=1) for x in batches], 0))


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.BatchNorm2d(4),
                                  nn.LocalResponseNorm(3)], ids=lambda v: type(v).__name__)
def test_channels_last_gives_the_same(norm):
    x = rand(2, 4, 3, 5)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    plain, other = t(x, grad=True), tg.from_numpy(last).requires_grad_()
    assert not other.is_contiguous()
    dy = t(rand(2, 4, 3, 5))
    for leaf in (plain, other):
        norm(leaf).backward(dy)
    close(other.grad, plain.grad.numpy(), 1e-4)
    close(norm(other), norm(plain).detach().numpy(), 1e-4)


def test_normalize_by_any_norm():
    x = rand(3, 4)
    for p in (1, 2, 3, np.inf):
        close(F.normalize(t(x), p), x / np.linalg.norm(x, p, 1, keepdims=True))
    zero = t(np.zeros((1, 4), np.float32), grad=True)
    F.normalize(zero).sum().backward()
    assert np.isfinite(zero.grad.numpy()).all()


def test_sync_batch_norm_of_one_process():
    x = rand(4, 3, 5, 5)
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.BatchNorm2d(3, momentum=0.3)), nn.BatchNorm2d(3, affine=False)).eval()
    want, parameters = net.train()(t(x)), list(net.parameters())
    state = {k: v.clone() for k, v in net.state_dict().items()}
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert [type(m) for m in net.modules()].count(nn.SyncBatchNorm) == 2 and not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True)) and net[1][0].momentum == 0.3
    assert all(tg.array_equal(v, state[k]) for k, v in net.state_dict().items())
    close(net(t(x)), want.detach().numpy())
    assert nn.SyncBatchNorm(3)(t(rand(4, 3))).shape == (4, 3) and isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(3)), nn.SyncBatchNorm)
    with pytest.raises(NotImplementedError, match="process_group=None"):
        nn.SyncBatchNorm(3, process_group="all")
