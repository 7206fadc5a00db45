# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: linear, embedding, normalisation, activations against NumPy formulas."""
import math

import numpy as np
import pytest
from nn_tools import RNG, close, np_softmax, rand, t

import tengen as tg
import tengen.nn.functional as F
from tengen import nn

# ---- linear, embedding, shape ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(lead, bias):
    layer, x = nn.Linear(4, 3, bias=bias), rand(*lead, 4) if lead else rand(4)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy() if bias else 0
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, x @ w.T + b)
    g = rand(*lead, 3) if lead else rand(3)
    y.backward(t(g))
    close(xt.grad, g @ w)
    close(layer.weight.grad, g.reshape(-1, 3).T @ x.reshape(-1, 4))
    if bias:
        close(layer.bias.grad, g.reshape(-1, 3).sum(0))


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=1)
    i = np.array([[0, 1], [4, 4]])
    y = layer(t(i))
    close(y, layer.weight.detach().numpy()[i])
    y.sum().backward()
    close(layer.weight.grad, np.array([[1] * 3, [0] * 3, [0] * 3, [0] * 3, [2] * 3]))
    frozen = nn.Embedding.from_pretrained(t(rand(4, 2)))
    assert not frozen.weight.requires_grad and frozen(t([3])).shape == (1, 2)
    with pytest.raises(ValueError, match="padding_idx 7 is outside a table of 5 rows"):
        nn.Embedding(5, 3, padding_idx=7)


def test_flatten_unflatten():
    x = t(rand(2, 3, 4, 5))
    assert nn.Flatten()(x).shape == (2, 60) and nn.Flatten(0, -2)(x).shape == (24, 5)
    assert nn.Unflatten(1, (3, -1))(nn.Flatten()(x)).shape == (2, 3, 20)
    assert F.flatten(x).shape == (120,) and F.flatten(t(np.float32(3))).shape == (1,)
    with pytest.raises(ValueError, match="do not fit shape"):
        F.flatten(x, 3, 1)


def test_one_hot_and_pad():
    assert F.one_hot(t([0, 2]), 3).tolist() == F.one_hot(t([0, 2])).tolist() == F.one_hot(t([0, 2]), -1).tolist() == [[1, 0, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match="no elements"):
        F.one_hot(tg.zeros(0, dtype=tg.int64))
    with pytest.raises(ValueError, match="classes of 0 or more, got -3"):
        F.one_hot(t([0, -3]))
    x = rand(2, 3)
    close(F.pad(t(x), (1, 2)), np.pad(x, [(0, 0), (1, 2)]))
    close(F.pad(t(x), (0, 1, 2, 0), value=7.0), np.pad(x, [(2, 0), (0, 1)], constant_values=7))


# ---- normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls, shape",
    [
        (nn.BatchNorm1d, (6, 3)),
        (nn.BatchNorm1d, (4, 3, 5)),
        (nn.BatchNorm2d, (4, 3, 5, 2)),
        (nn.BatchNorm3d, (2, 3, 2, 3, 2)),
    ],
)
def test_batch_norm(cls, shape):
    layer, x = cls(3), rand(*shape) * 2 + 1
    with tg.no_grad():
        layer.weight.copy_(t([1.0, 2.0, -0.5]).to(tg.float32))
        layer.bias.copy_(t([0.0, 1.0, 2.0]).to(tg.float32))
    axes = (0, *range(2, len(shape)))
    view = (3, *[1] * (len(shape) - 2))
    mean, var = x.mean(axes), x.var(axes)
    w, b = layer.weight.detach().numpy().reshape(view), layer.bias.detach().numpy().reshape(view)
    norm = (x - mean.reshape(view)) / np.sqrt(var.reshape(view) + 1e-5)
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, norm * w + b, 1e-4)
    n = x.size // 3
    close(layer.running_mean, 0.1 * mean)
    close(layer.running_var, 0.9 + 0.1 * var * n / (n - 1))
    assert layer.num_batches_tracked.item() == 1
    g = rand(*shape)
    y.backward(t(g))
    close(layer.bias.grad, g.sum(axes), 1e-4)
    close(layer.weight.grad, (g * norm).sum(axes), 1e-4)
    gn = g * w
    mean_of = lambda a: a.mean(axes).reshape(view)
    close(xt.grad, (gn - mean_of(gn) - norm * mean_of(gn * norm)) / np.sqrt(var.reshape(view) + 1e-5), 1e-4)
    layer.eval()
    rm, rv = layer.running_mean.numpy().reshape(view), layer.running_var.numpy().reshape(view)
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, (x - rm) / np.sqrt(rv + 1e-5) * w + b, 1e-4)
    y.sum().backward()
    close(xt.grad, np.broadcast_to(w / np.sqrt(rv + 1e-5), shape), 1e-4)
    assert layer.num_batches_tracked.item() == 1


def test_batch_norm_options():
    x = rand(8, 3)
    plain = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert list(plain.parameters()) == [] and list(plain.state_dict()) == []
    close(plain.eval()(t(x)), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 1e-4)
    average = nn.BatchNorm1d(3, momentum=None)
    average(t(x))
    average(t(x + 1))
    close(average.running_mean, x.mean(0) + 0.5)
    with pytest.raises(ValueError, match="more than one value per channel"):
        nn.BatchNorm1d(3)(t(rand(1, 3)))
    with pytest.raises(ValueError, match=r"\[BatchNorm2d\] expected 4 dimensions"):
        nn.BatchNorm2d(3)(t(x))


@pytest.mark.parametrize("shape, inner", [((4, 6), (6,)), ((2, 3, 4), (3, 4)), ((2, 5, 8), (8,))])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(shape, inner, bias):
    layer, x = nn.LayerNorm(inner if len(inner) > 1 else inner[0], bias=bias), rand(*shape)
    with tg.no_grad():
        layer.weight.copy_(t(rand(*inner)))
    axes = tuple(range(-len(inner), 0))
    w = layer.weight.detach().numpy()
    rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    norm = (x - x.mean(axes, keepdims=True)) * rstd
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, norm * w, 1e-4)
    g = rand(*shape)
    y.backward(t(g))
    gn = g * w
    close(xt.grad, (gn - gn.mean(axes, keepdims=True) - norm * (gn * norm).mean(axes, keepdims=True)) * rstd, 1e-4)
    lead = tuple(range(len(shape) - len(inner)))
    close(layer.weight.grad, (g * norm).sum(lead), 1e-4)
    assert (layer.bias is not None) == bias
    with pytest.raises(ValueError, match=r"expected the last axes to be \(7,\)"):
        nn.LayerNorm(7)(t(x))


def test_rms_and_group_norm():
    x = rand(3, 4, 5)
    close(nn.RMSNorm(5, eps=1e-6)(t(x)), x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6), 1e-4)
    layer = nn.GroupNorm(2, 4)
    with tg.no_grad():
        layer.weight.copy_(t(rand(4)))
        layer.bias.copy_(t(rand(4)))
    g = x.reshape(3, 2, -1)
    norm = ((g - g.mean(-1, keepdims=True)) / np.sqrt(g.var(-1, keepdims=True) + 1e-5)).reshape(x.shape)
    w, b = (p.detach().numpy().reshape(4, 1) for p in (layer.weight, layer.bias))
    close(layer(t(x)), norm * w + b, 1e-4)
    with pytest.raises(ValueError, match="num_groups = 3 must divide num_channels = 4"):
        nn.GroupNorm(3, 4)
    close(F.normalize(t(x), dim=2), x / np.sqrt((x * x).sum(2, keepdims=True)))


# ---- activations -----------------------------------------------------------------------------------------------------

erf = np.vectorize(math.erf)


@pytest.mark.parametrize("layer, formula", [
    (nn.ReLU(), lambda x: np.maximum(x, 0)), (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.GELU(), lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
    (nn.GELU("tanh"), lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))), (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))), (nn.Tanh(), np.tanh),
    (nn.Softmax(1), lambda x: np_softmax(x, 1)), (nn.LogSoftmax(0), lambda x: np.log(np_softmax(x, 0))),
    (F.softplus, lambda x: np.log1p(np.exp(x)))], ids=lambda v: repr(v)[:20])
def test_activations(layer, formula):
    x = rand(4, 5) * 2
    xt = t(x, grad=True)
    y = layer(xt)
    close(y, formula(x.astype(np.float64)), 1e-5)
    g, d, h = rand(4, 5), rand(4, 5).astype(np.float64), 1e-5
    y.backward(t(g))
    slope = (g * (formula(x + h * d) - formula(x - h * d)) / (2 * h)).sum()
    assert (xt.grad.numpy() * d).sum() == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_inplace_activations():
    for f, want in [(F.relu, [0, 2]), (F.leaky_relu, [-0.01, 2])]:
        x = t(np.array([-1, 2], np.float32))
        assert f(x, inplace=True) is x
        close(x, want)
    with pytest.raises(ValueError, match="along which axis"):
        nn.Softmax()(t(rand(2)))


def test_dropout():
    tg.manual_seed(0)
    layer, x = nn.Dropout(0.25), t(np.ones((200, 100), np.float32), grad=True)
    y = layer(x)
    values = y.detach().numpy()
    np.testing.assert_allclose(np.unique(values), [0, 4 / 3], rtol=1e-6)
    assert (values == 0).mean() == pytest.approx(0.25, abs=0.01)
    y.sum().backward()
    close(x.grad, values)
    assert not (layer(x).detach().numpy() == values).all()
    tg.manual_seed(0)
    assert (layer(x).detach().numpy() == values).all()
    assert layer.eval()(x) is x and nn.Dropout(0)(x) is x
    assert (nn.Dropout(1.0)(x).detach().numpy() == 0).all()
    with pytest.raises(ValueError, match="p between 0 and 1, got 1.5"):
        nn.Dropout(1.5)


@pytest.mark.parametrize("causal, mask", [(False, None), (True, None), (False, "bool"), (False, "add"), (True, "bool")])
def test_attention(causal, mask):
    q, k, v = rand(2, 3, 4, 8), rand(2, 3, 5, 8), rand(2, 3, 5, 6)
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(8)
    m = None
    if mask == "bool":
        m = RNG.rand(4, 5) < 0.7
        m[:, 0] = True
        scores = np.where(m, scores, -np.inf)
    elif mask == "add":
        m = rand(4, 5)
        scores = scores + m
    if causal:
        scores = np.where(np.tril(np.ones((4, 5), bool)), scores, -np.inf)
    got = F.scaled_dot_product_attention(t(q), t(k), t(v), None if m is None else t(m), is_causal=causal)
    close(got, np_softmax(scores, -1) @ v, 1e-5)
