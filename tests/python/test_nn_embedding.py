# SPDX-License-Identifier: Apache-2.0
"""Embeddings whose rows are held to a norm, and whose gradients are divided by frequency: against NumPy."""
from __future__ import annotations

import numpy as np
import pytest

import tengen as tg

F, nn = tg.nn.functional, tg.nn
W = np.random.default_rng(0).normal(size=(6, 3)) * 2
I = np.array([[1, 4, 1], [0, 1, 4]])


@pytest.mark.parametrize("p", [2.0, 1.0, float("inf")])
def test_max_norm(p):
    layer = nn.Embedding(6, 3, max_norm=1.5, norm_type=p, dtype=tg.float64)
    with tg.no_grad():
        layer.weight.copy_(tg.tensor(W))
    want = W.copy()
    for r in (0, 1, 4):
        n = np.linalg.norm(W[r], p)
        if n > 1.5:
            want[r] *= 1.5 / (n + 1e-7)
    y = layer(tg.tensor(I))
    np.testing.assert_allclose(y.detach().numpy(), want[I], rtol=1e-12)
    np.testing.assert_allclose(layer.weight.detach().numpy(), want, rtol=1e-12)  # 2, 3, 5 as they were
    y.sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy(), np.bincount(I.ravel(), minlength=6)[:, None] * np.ones(3))
    assert "max_norm=1.5" in repr(layer)


def test_gradients_by_frequency():
    w = tg.tensor(W, requires_grad=True)
    g = np.random.default_rng(1).normal(size=(2, 3, 3))
    y = F.embedding(tg.tensor(I), w, scale_grad_by_freq=True)
    np.testing.assert_array_equal(y.detach().numpy(), W[I])
    y.backward(tg.tensor(g))
    want = np.zeros((6, 3))
    np.add.at(want, I, g)
    want /= np.maximum(np.bincount(I.ravel(), minlength=6), 1)[:, None]
    np.testing.assert_allclose(w.grad.numpy(), want, rtol=1e-12)
    padded = nn.Embedding(6, 3, 1, scale_grad_by_freq=True)
    padded(tg.tensor(I)).sum().backward()
    assert padded.weight.grad[1].tolist() == [0.0] * 3 and padded.weight.grad[4].tolist() == [1.0] * 3


def test_from_pretrained():
    layer = nn.Embedding.from_pretrained(tg.tensor(W), max_norm=1.0)
    assert layer.max_norm == 1.0 and not layer.weight.requires_grad
    assert (tg.linalg.vector_norm(layer(tg.tensor(I)), axis=-1) <= 1).all()
    assert layer(tg.zeros(0, dtype=tg.int64)).shape == (0, 3)
