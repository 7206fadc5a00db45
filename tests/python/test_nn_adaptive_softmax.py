# SPDX-License-Identifier: Apache-2.0
"""The adaptive softmax against its definition in NumPy."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

import tengen as tg

nn = tg.nn


def probabilities(layer, x):
    """All log probabilities: clusters split the probability of their class of the head."""
    w = {k: v.numpy() for k, v in layer.state_dict().items()}
    head = log_softmax(x @ w["head.weight"].T + w.get("head.bias", 0), 1)
    parts = [head[:, :layer.cutoffs[0]]]
    for i in range(layer.n_clusters):
        inner = x @ w[f"tail.{i}.0.weight"].T @ w[f"tail.{i}.1.weight"].T
        parts.append(log_softmax(inner, 1) + head[:, layer.cutoffs[0] + i:layer.cutoffs[0] + i + 1])
    return np.concatenate(parts, 1)


@pytest.mark.parametrize(("cutoffs", "bias"), [([4, 10], True), ([1], False), ([2, 3, 15], True)])
def test_values_and_gradients(cutoffs, bias):
    tg.manual_seed(0)
    layer = nn.AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs, div_value=2.0, head_bias=bias, dtype=tg.float64)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 16)), rng.integers(0, 20, 9)
    want = probabilities(layer, x)
    np.testing.assert_allclose(np.exp(want).sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(layer.log_prob(tg.tensor(x)).detach().numpy(), want, rtol=1e-11)
    assert layer.predict(tg.tensor(x)).tolist() == want.argmax(1).tolist()
    t = tg.tensor(x, requires_grad=True)
    output, loss = layer(t, tg.tensor(y))
    np.testing.assert_allclose(output.detach().numpy(), want[np.arange(9), y], rtol=1e-11)
    np.testing.assert_allclose(loss.item(), -want[np.arange(9), y].mean(), rtol=1e-12)
    loss.backward()
    fast = {k: p.grad for k, p in layer.named_parameters()}
    g, t.grad = t.grad, None
    layer.zero_grad()
    tg.nn.functional.nll_loss(layer.log_prob(t), tg.tensor(y)).backward()
    np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=1e-9, atol=1e-14)
    for k, p in layer.named_parameters():
        if fast[k] is None:  # no target of that cluster was there
            assert np.abs(p.grad.numpy()).max() < 1e-12
        else:
            np.testing.assert_allclose(fast[k].numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-14)
    one = layer(tg.tensor(x[0]), tg.tensor(int(y[0])))
    np.testing.assert_allclose(one.output.item(), want[0, y[0]], rtol=1e-11)


def test_widths_and_errors():
    layer = nn.AdaptiveLogSoftmaxWithLoss(64, 100, [10, 40, 80])
    assert [t[0].out_features for t in layer.tail] == [16, 4, 1] and layer.head.out_features == 13 and layer.head.bias is None
    layer.reset_parameters()
    for bad in ([], [0, 3], [5, 5], [7, 3], [100]):
        with pytest.raises(ValueError, match="ascending cutoffs from 1 to 99"):
            nn.AdaptiveLogSoftmaxWithLoss(64, 100, bad)
    with pytest.raises(ValueError, match="width of at least 1"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 100, [10, 40])
    with pytest.raises(ValueError, match="targets from 0 to 99, got 3 to 100"):
        layer(tg.zeros(2, 64), tg.tensor([3, 100]))
    with pytest.raises(ValueError, match="expected input"):
        layer(tg.zeros(2, 64), tg.tensor([3]))
