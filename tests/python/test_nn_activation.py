# SPDX-License-Identifier: Apache-2.0
"""Activation and dropout layers: formulas, in-place forms, PyTorch's representations, what is random."""
import math

import numpy as np
import pytest
from nn_tools import close, np_softmax, rand, t
from scipy import special

import tengen as tg
import tengen.nn.functional as F
from tengen import nn

X = np.array([[-30.0, -4.2, -2.1, -0.7], [-0.2, 0.2, 0.7, 2.1], [4.2, 6.5, 30.0, 1.1]], np.float32)
SELU, ALPHA = 1.0507009873554805, 1.6732632423543772
LAYERS = [
    (nn.ReLU6, {}, lambda x: np.clip(x, 0, 6), ""),
    (nn.ELU, {"alpha": 0.5}, lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)), "alpha=0.5"),
    (nn.SELU, {}, lambda x: SELU * np.where(x > 0, x, ALPHA * np.expm1(x)), ""),
    (nn.CELU, {"alpha": 2.0}, lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2)), "alpha=2.0"),
    (nn.Hardtanh, {}, lambda x: np.clip(x, -1, 1), "min_val=-1.0, max_val=1.0"),
    (nn.Hardtanh, {"min_val": -3, "max_val": 0.5}, lambda x: np.clip(x, -3, 0.5), "min_val=-3, max_val=0.5"),
    (nn.Threshold, {"threshold": 0.1, "value": 20}, lambda x: np.where(x > 0.1, x, 20), "threshold=0.1, value=20"),
    (nn.Hardshrink, {}, lambda x: np.where(abs(x) > 0.5, x, 0), "0.5"),
    (nn.Softshrink, {"lambd": 1.0}, lambda x: np.sign(x) * np.maximum(abs(x) - 1, 0), "1.0"),
    (nn.Tanhshrink, {}, lambda x: x - np.tanh(x), ""),
    (nn.Softsign, {}, lambda x: x / (1 + abs(x)), ""),
    (nn.LogSigmoid, {}, lambda x: -np.logaddexp(0, -x), ""),
    (nn.Hardsigmoid, {}, lambda x: np.clip(x / 6 + 0.5, 0, 1), ""),
    (nn.Hardswish, {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1), ""),
    (nn.Mish, {}, lambda x: x * np.tanh(np.logaddexp(0, x)), ""),
    (nn.Softplus, {}, lambda x: np.logaddexp(0, x), "beta=1.0, threshold=20.0"),
    (nn.Softplus, {"beta": 2.0, "threshold": 1.0}, lambda x: np.where(2 * x > 1, x, np.logaddexp(0, 2 * x) / 2),
     "beta=2.0, threshold=1.0"),
    (nn.PReLU, {}, lambda x: np.where(x > 0, x, 0.25 * x), "num_parameters=1"),
    (nn.GLU, {}, lambda x: x[:, :2] * special.expit(x[:, 2:]), "dim=-1"),
    (nn.Softmin, {"dim": 1}, lambda x: np_softmax(-x, 1), "dim=1"),
]


@pytest.mark.parametrize("layer,options,formula,text", LAYERS, ids=lambda v: getattr(v, "__name__", None))
def test_formula_and_representation(layer, options, formula, text):
    made = layer(**options)
    assert repr(made) == f"{layer.__name__}({text})"
    x = t(X, grad=True)
    y = made(x)
    close(y, formula(X.astype(np.float64)))
    y.sum().backward()
    assert x.grad.shape == x.shape and np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("layer", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.Hardtanh, nn.Hardsigmoid,
                                   nn.Hardswish, nn.Mish, nn.SiLU], ids=lambda v: v.__name__)
def test_in_place_layers(layer):
    assert "inplace=True" in repr(layer(inplace=True))
    x = t(X)
    want, got = layer()(x), layer(inplace=True)(x)
    assert got is x
    close(x, want.numpy())


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "celu", "hardtanh"])
def test_in_place_functions(name):
    x, leaf = t(X), t(X, grad=True)
    want = getattr(F, name)(x).numpy()
    assert getattr(F, name + "_")(x) is x
    close(x, want)
    middle = leaf * 1.0
    getattr(F, name + "_")(middle).sum().backward()
    other = t(X, grad=True)
    getattr(F, name)(other).sum().backward()
    close(leaf.grad, other.grad.numpy())
    x = t(X)
    assert F.threshold_(x, 0.1, 2.0) is x and x.numpy().min() > 0.1


def test_prelu_by_channel_learns():
    layer = nn.PReLU(3)
    x = t(rand(2, 3, 4))
    layer(x).sum().backward()
    close(layer.weight.grad, np.minimum(x.numpy(), 0).sum((0, 2)))


def test_softmax2d():
    x = rand(2, 3, 4, 5)
    close(nn.Softmax2d()(t(x)), np_softmax(x, 1))
    close(nn.Softmax2d()(t(x[0])), np_softmax(x[0], 0))
    with pytest.raises(ValueError, match="Softmax2d"):
        nn.Softmax2d()(t(x[0, 0]))


def test_rrelu():
    x = t(-np.ones(4000, np.float32))
    layer = nn.RReLU(0.1, 0.3)
    assert repr(layer) == "RReLU(lower=0.1, upper=0.3)"
    y = layer(x).numpy()
    assert y.min() >= -0.3 and y.max() <= -0.1
    assert abs(y.mean() + 0.2) < 5 * 0.2 / math.sqrt(12 * 4000)
    close(layer.eval()(x), -0.2 * np.ones(4000))
    with pytest.raises(ValueError, match="lower"):
        F.rrelu(x, 0.5, 0.1)


def test_gumbel_softmax_draws_from_the_distribution():
    p = np.array([0.2, 0.5, 0.3], np.float32)
    logits = t(np.log(np.tile(p, (6000, 1))), grad=True)
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    values = hard.detach().numpy()
    np.testing.assert_allclose(np.sort(values, 1), np.tile([0, 0, 1], (6000, 1)), atol=1e-6)
    assert (abs(values.mean(0) - p) < 5 * np.sqrt(p * (1 - p) / 6000)).all()
    (hard * t(np.array([0.0, 1.0, 2.0], np.float32))).sum().backward()
    assert abs(logits.grad.numpy()).sum() > 0  # the soft samples' gradient
    soft = F.gumbel_softmax(logits, tau=2.0).detach().numpy()
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-5)
    assert F.gumbel_softmax(logits, hard=True, dim=0).detach().numpy().sum(0).round().tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="tau"):
        F.gumbel_softmax(logits, tau=0)


# ---- dropout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer,rank", [(nn.Dropout1d, 1), (nn.Dropout2d, 2), (nn.Dropout3d, 3)])
def test_channel_dropout(layer, rank):
    made = layer(0.25)
    assert repr(made) == f"{layer.__name__}(p=0.25, inplace=False)"
    x = tg.ones((40, 50, *(2,) * rank)).requires_grad_()
    y = made(x)
    flat = y.detach().numpy().reshape(40, 50, -1)
    assert (flat == flat[..., :1]).all()  # a channel lives or dies as a whole
    assert set(np.unique(flat)) == {0.0, np.float32(1 / 0.75)}
    assert abs((flat[..., 0] > 0).mean() - 0.75) < 5 * math.sqrt(0.25 * 0.75 / 2000)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())  # the same mask back
    one = made(x.detach()[0]).numpy().reshape(50, -1)  # unbatched
    assert (one == one[:, :1]).all() and 0 < (one > 0).mean() < 1
    assert made.eval()(x) is x
    with pytest.raises(ValueError, match="dimensions"):
        layer()(tg.ones((3,)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        layer(1.5)


@pytest.mark.parametrize("layer,shape", [(nn.AlphaDropout, (400, 200)), (nn.FeatureAlphaDropout, (400, 200, 3))])
def test_alpha_dropout_keeps_mean_and_variance(layer, shape):
    x = tg.randn(shape)
    y = layer(0.2)(x).numpy()
    n = 80000  # independent draws
    assert abs(y.mean()) < 5 / math.sqrt(n) and abs(y.var() - 1) < 5 * math.sqrt(2.5 / n)
    low = -SELU * ALPHA
    a = 1 / math.sqrt((1 + 0.2 * low**2) * 0.8)
    dropped = np.isclose(y, low * a - a * 0.2 * low, rtol=1e-6)
    if y.ndim == 3:  # a channel as a whole; one normal number may come near by chance
        assert (dropped.sum(-1) != 2).all()
        dropped = dropped.all(-1)
    assert abs(dropped.mean() - 0.2) < 5 * math.sqrt(0.16 / n)
    assert layer(0.2).eval()(x) is x
    assert not layer(1.0)(x).numpy().any()
