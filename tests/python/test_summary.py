# SPDX-License-Identifier: Apache-2.0
"""tg.summary: shapes, parameters and multiply-accumulates against sums by hand."""
import numpy as np
import pytest
from nn_tools import rand, t

import tengen as tg
from tengen import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 10)
        self.unused = nn.Linear(2, 2)
        self.unused.requires_grad_(False)

    def forward(self, x):
        y = self.up(self.features(x)).mean((2, 3))
        return self.head(y) @ tg.ones((10, 5))


def test_rows_and_totals():
    got = tg.summary(Net(), (2, 3, 8, 6))
    assert [(r.name, r.type, r.depth, r.output_shape, r.parameters, r.macs) for r in got.rows] == [
        ("", "Net", 0, (2, 5), 0, 2 * 10 * 5),
        ("features", "Sequential", 1, (2, 8, 4, 3), 0, 0),
        ("features.0", "Conv2d", 2, (2, 8, 4, 3), 8 * 27, 2 * 8 * 12 * 27),
        ("features.1", "BatchNorm2d", 2, (2, 8, 4, 3), 16, 0),
        ("features.2", "ReLU", 2, (2, 8, 4, 3), 0, 0),
        ("up", "ConvTranspose2d", 1, (2, 4, 8, 6), 8 * 4 * 4 + 4, 2 * 8 * 12 * 4 * 4),
        ("head", "Linear", 1, (2, 10), 50, 2 * 10 * 4),
        ("unused", "Linear", 1, None, 6, 0),
    ]
    assert got.macs == sum(r.macs for r in got.rows)
    assert got.parameters == 216 + 16 + 132 + 50 + 6 and got.not_trainable == 6 and got.trainable == got.parameters - 6
    assert got.parameter_bytes == 4 * got.parameters and got.buffer_bytes == 2 * 8 * 4 + 8
    assert got.output_bytes == 4 * (3 * 2 * 8 * 12 + 2 * 4 * 48 + 2 * 10)
    assert [r.calls for r in got.rows] == [1] * 7 + [0]


def test_depth_gathers_what_is_below():
    deep, flat = tg.summary(Net(), (2, 3, 8, 6)), tg.summary(Net(), (2, 3, 8, 6), depth=1)
    assert [r.name for r in flat.rows] == ["", "features", "up", "head", "unused"]
    row = flat.rows[1]
    assert row.parameters == 232 and row.macs == 2 * 8 * 12 * 27
    only = tg.summary(Net(), (2, 3, 8, 6), depth=0)
    assert [r.name for r in only.rows] == [""] and only.rows[0].macs == deep.macs == flat.macs
    assert only.rows[0].parameters == deep.parameters and only.rows[0].trainable == deep.trainable


def test_text():
    lines = str(tg.summary(Net(), (2, 3, 8, 6))).split("\n")
    assert lines[0].split() == ["layer", "output", "shape", "parameters", "MACs"]
    assert lines[4].split() == ["0:", "Conv2d", "(2,", "8,", "4,", "3)", "216", "5,184"]
    assert lines[9].split() == ["unused:", "Linear", "(not", "called)", "6*", "-"]
    assert "420 (414 trainable, 6 not trainable (*))" in lines[11]
    assert all(len(line) < 80 for line in lines)


@pytest.mark.parametrize("layer, shape, macs", [
    (nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9), 2 * 6 * 7 * 2 * 3),
    (nn.Conv3d(1, 2, (1, 2, 3)), (1, 1, 2, 3, 4), 2 * 2 * 2 * 2 * 6),
    (nn.LSTM(3, 5), (7, 2, 3), 14 * (20 * 3 + 20 * 5)),
    (nn.LSTM(3, 5, proj_size=2), (7, 2, 3), 14 * (20 * 3 + 20 * 2 + 2 * 5)),
    (nn.GRU(3, 5, num_layers=2, bidirectional=True), (7, 2, 3), 14 * 2 * (15 * 3 + 15 * 5 + 15 * 10 + 15 * 5)),
    (nn.RNN(3, 5), (7, 2, 3), 14 * (5 * 3 + 5 * 5)),
    (nn.TransformerEncoderLayer(6, 2, 10), (7, 2, 6), 2 * (7 * 4 * 36 + 2 * 7 * 7 * 2 * 3 + 7 * 2 * 60)),
])
def test_macs_of_layers(layer, shape, macs):
    assert tg.summary(layer, shape).macs == macs


def test_inputs_of_all_kinds():
    class Two(nn.Module):
        def forward(self, a, b=None):
            return (a @ a.T, {"b": b})

    want = [(2, 2), (3,)]
    for inputs in (((2, 4), t(rand(3))), [(2, 4), (3,)], {"a": t(rand(2, 4)), "b": t(rand(3))}):
        got = tg.summary(Two(), inputs)
        assert got.rows[0].output_shape == want and got.macs == 2 * 2 * 4
    assert tg.summary(nn.Embedding(5, 3), (2, 4), dtype=tg.int64).rows[0].output_shape == (2, 4, 3)
    assert tg.summary(nn.Linear(2, 2).double(), (1, 2)).parameter_bytes == 6 * 8


def test_leaves_the_model_as_it_was():
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 4))
    net[1].eval()
    before, random = net[1].running_mean.numpy().copy(), tg.get_rng_state()
    tg.summary(net, (8, 4))
    assert net.training and not net[1].training and net[0].training
    np.testing.assert_array_equal(net[1].running_mean.numpy(), before)
    assert tg.get_rng_state() == random and net[2].weight.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    net(t(rand(2, 4)))
    assert not any(m._hooked for m in net.modules())
    with pytest.raises(ValueError):
        tg.summary(net, (8, 5))
    assert net.training and not any(m._forward_hooks for m in net.modules())


def test_shared_modules_and_parameters_count_once():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, layer)
    got = tg.summary(net, (2, 3))
    assert got.parameters == 12 and got.macs == 2 * 2 * 9 and got.rows[1].calls == 2


def test_errors():
    for model, inputs in ((lambda x: x, (1,)), (nn.ReLU(), 3.0)):
        with pytest.raises(TypeError, match=r"\[summary\] expected"):
            tg.summary(model, inputs)
    with pytest.raises(ValueError, match="depth"):
        tg.summary(nn.ReLU(), (1,), depth=-1)
