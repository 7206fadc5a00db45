# SPDX-License-Identifier: Apache-2.0
"""Pruning, against masks made with NumPy."""
from __future__ import annotations

import doctest

import numpy as np
import pytest

import tengen as tg
from tengen import nn
from tengen.nn.utils import prune

W = np.array([[0.5, -3.0, 0.1, 2.0], [-0.2, 1.0, -4.0, 0.3]], np.float32)


def layer():
    m = nn.Linear(4, 2)
    with tg.no_grad():
        m.weight.copy_(tg.tensor(W))
    return m


@pytest.mark.parametrize("amount, n", [(0.5, 4), (3, 3), (0.0, 0), (0, 0), (1.0, 8), (8, 8)])
def test_smallest_magnitudes(amount, n):
    m = layer()
    weight = m.weight
    assert prune.l1_unstructured(m, "weight", amount) is m and prune.is_pruned(m)
    keep = np.ones(8, bool)
    keep[np.argsort(np.abs(W.ravel()))[:n]] = False
    want = W * keep.reshape(W.shape)
    np.testing.assert_array_equal(m.weight.detach().numpy(), want)
    assert any(p is weight for p in m.parameters()), "the optimizer's object"
    m(tg.ones(3, 4)).sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), 3.0 * keep.reshape(W.shape))
    m.load_state_dict(m.state_dict())
    prune.remove(m, "weight")
    assert not prune.is_pruned(m) and type(m) is nn.Linear and m.weight is weight
    np.testing.assert_array_equal(m.weight.detach().numpy(), want)


def test_a_second_time_prunes_what_is_left():
    m = layer()
    prune.l1_unstructured(m, "weight", 4)
    prune.l1_unstructured(m, "weight", 0.5)
    np.testing.assert_array_equal(m.weight.detach().numpy(), np.where(np.abs(W) > 2, W, 0))
    prune.ln_structured(m, "weight", 1, n=1, dim=0)
    np.testing.assert_array_equal(m.weight.detach().numpy(), [[0, 0, 0, 0], [0, 0, -4, 0]])
    assert len(list(m.parametrizations["weight"].children())) == 1


@pytest.mark.parametrize("n, dim, gone", [(1, 1, [0]), (2, 0, [0]), (np.inf, 1, [0]), (2, -1, [0, 3])])
def test_slices(n, dim, gone):
    m = layer()
    prune.ln_structured(m, "weight", len(gone), n, dim)
    want = W.copy()
    np.moveaxis(want, dim, 0)[np.argsort(np.linalg.norm(W, n, axis=1 - dim % 2))[:len(gone)]] = 0
    np.testing.assert_array_equal(m.weight.detach().numpy(), want)


def test_random():
    m = nn.Linear(50, 40)
    tg.manual_seed(0)
    prune.random_unstructured(m, "weight", 0.25)
    assert int((m.weight == 0).sum().item()) == 500
    prune.random_structured(m, "weight", 10, dim=1)
    assert int((m.weight == 0).all(0).sum().item()) == 10


def test_over_several_and_by_hand():
    a, b = layer(), layer()
    with tg.no_grad():
        b.weight.mul_(10.0)
    prune.global_unstructured([(a, "weight"), (b, "weight")], 0.5)
    both = np.concatenate([W.ravel(), 10 * W.ravel()])
    keep = np.ones(16, bool)
    keep[np.argsort(np.abs(both))[:8]] = False
    np.testing.assert_array_equal(np.concatenate([a.weight.detach().numpy().ravel(), b.weight.detach().numpy().ravel()]), both * keep)
    m = prune.identity(layer(), "weight")
    assert prune.is_pruned(nn.Sequential(m)) and (m.weight.detach().numpy() == W).all()
    prune.custom_from_mask(m, "weight", tg.tensor(W > 0))
    np.testing.assert_array_equal(m.weight.detach().numpy(), np.maximum(W, 0))
    prune.l1_unstructured(m, "bias", 1, importance_scores=tg.tensor([2.0, 1.0]))
    assert m.bias[1].item() == 0 and m.bias[0].item() != 0


@pytest.mark.parametrize("call, error, message", [
    (lambda m: prune.l1_unstructured(m, "weight", 1.5), ValueError, "between 0 and 1, or a number of at most 8, got 1.5"),
    (lambda m: prune.l1_unstructured(m, "weight", 9), ValueError, "at most 8"), (lambda m: prune.l1_unstructured(m, "weight", -1), ValueError, "got -1"),
    (lambda m: prune.l1_unstructured(m, "nothing", 1), ValueError, "no parameter 'nothing'"), (lambda m: prune.remove(m, "weight"), ValueError, "not pruned"),
    (lambda m: prune.ln_structured(m, "weight", 1, dim=2), IndexError, "axis in"),
    (lambda m: prune.custom_from_mask(m, "weight", tg.ones(2)), ValueError, "mask of shape"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(layer())


def test_example():
    assert doctest.testmod(prune, extraglobs={"tg": tg}).failed == 0
