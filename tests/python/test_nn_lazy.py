# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: layers that take their input's size become the ordinary ones."""
import copy
import pickle

import pytest
from nn_tools import close, rand, t

import tengen as tg
from tengen import nn

LAYERS = [
    (lambda: nn.LazyLinear(3), lambda: nn.Linear(5, 3), (2, 5)),
    (lambda: nn.LazyLinear(3, bias=False), lambda: nn.Linear(5, 3, bias=False), (5,)),
    (lambda: nn.LazyConv1d(4, 3, groups=2), lambda: nn.Conv1d(6, 4, 3, groups=2), (2, 6, 7)),
    (lambda: nn.LazyConv2d(4, 3, padding="same"), lambda: nn.Conv2d(2, 4, 3, padding="same"), (2, 5, 6)),
    (lambda: nn.LazyConv3d(4, 1, bias=False), lambda: nn.Conv3d(2, 4, 1, bias=False), (1, 2, 3, 3, 3)),
    (lambda: nn.LazyConvTranspose1d(4, 2), lambda: nn.ConvTranspose1d(6, 4, 2), (2, 6, 7)),
    (lambda: nn.LazyConvTranspose2d(4, 2, 2), lambda: nn.ConvTranspose2d(6, 4, 2, 2), (2, 6, 3, 3)),
    (lambda: nn.LazyConvTranspose3d(4, 2), lambda: nn.ConvTranspose3d(6, 4, 2), (1, 6, 2, 2, 2)),
    (lambda: nn.LazyBatchNorm1d(), lambda: nn.BatchNorm1d(6), (4, 6)),
    (lambda: nn.LazyBatchNorm2d(affine=False), lambda: nn.BatchNorm2d(6, affine=False), (4, 6, 2, 2)),
    (lambda: nn.LazyBatchNorm3d(), lambda: nn.BatchNorm3d(6), (4, 6, 2, 2, 2)),
    (lambda: nn.LazyInstanceNorm1d(affine=True), lambda: nn.InstanceNorm1d(6, affine=True), (4, 6, 5)),
    (lambda: nn.LazyInstanceNorm2d(affine=True, track_running_stats=True), lambda: nn.InstanceNorm2d(6, affine=True, track_running_stats=True), (4, 6, 2, 3)),
    (lambda: nn.LazyInstanceNorm3d(track_running_stats=True), lambda: nn.InstanceNorm3d(6, track_running_stats=True), (4, 6, 2, 2, 2)),
]


@pytest.mark.parametrize("lazy, ready, shape", LAYERS, ids=range(len(LAYERS)))
def test_becomes_the_real_layer(lazy, ready, shape):
    layer, want, x = lazy(), ready(), t(rand(*shape))
    before = list(layer.parameters())
    layer(x)
    assert type(layer) is type(want) and repr(layer) == repr(want)
    assert all(a is b for a, b in zip(before, layer.parameters()))
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {k: tuple(v.shape) for k, v in want.state_dict().items()}
    layer.load_state_dict(want.state_dict())
    close(layer(x), want(x).detach().numpy())


@pytest.mark.parametrize("lazy, ready, shape", LAYERS, ids=range(len(LAYERS)))
def test_takes_a_state(lazy, ready, shape):
    layer, want, x = lazy(), ready(), t(rand(*shape))
    want(x)
    layer.load_state_dict(want.state_dict())
    assert type(layer) is type(want)
    close(layer.eval()(x), want.eval()(x).detach().numpy())


def test_in_a_model_with_an_optimizer():
    tg.manual_seed(0)
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).double()
    optimizer = tg.optim.Adam(net.parameters(), lr=0.01)
    assert [p.numel() for p in net.parameters()] == [0, 4, 0, 0, 0, 2]
    x = t(rand(8, 3, 6, 6)).double()
    losses = []
    for _ in range(5):
        loss = (net(x) - 1.0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and net[4].in_features == 64 and net[4].weight.dtype == tg.float64
    assert net[0].weight.abs().max().item() > 0


def test_copies_before_the_first_input():
    layer = nn.LazyConv2d(4, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(t(rand(1, 2, 5, 5))).shape == (1, 4, 3, 3) and type(twin) is nn.Conv2d
    assert type(layer) is nn.LazyConv2d


def test_errors():
    with pytest.raises(ValueError, match="at least 3 dimensions"):
        nn.LazyConv2d(4, 3)(t(rand(5, 5)))
    layer = nn.LazyConv1d(4, 1, groups=2)
    with pytest.raises(ValueError, match="groups = 2"):
        layer(t(rand(1, 3, 5)))
    assert type(layer) is nn.LazyConv1d and layer(t(rand(1, 4, 5))).shape == (1, 4, 5)
    with pytest.raises(ValueError, match="expected 4 dimensions"):
        nn.LazyBatchNorm2d()(t(rand(2, 3)))
    with pytest.raises(RuntimeError, match="missing: weight"):
        nn.LazyLinear(2).load_state_dict({"bias": tg.zeros(2)})
