# SPDX-License-Identifier: Apache-2.0
"""Gradients of prod and cumprod, first and second order, where elements are 0: against sums over products written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tengen as tg

ROWS = ([2.0, 3.0, -4.0, 0.5], [2.0, 0.0, 3.0, 5.0], [0.0, 2.0, 0.0, 3.0], [0.0, 0.0, 0.0, 1.0])


def derivative(x, g, subsets, order):
    """The derivatives of sum over i of g[i] prod(x[subsets[i]]): each product without the elements it is derived by."""
    n = len(x)
    out = np.zeros((n,) * order)
    for at in itertools.product(range(n), repeat=order):
        for weight, s in zip(g, subsets):
            if len(set(at)) == order and set(at) <= set(s):
                out[at] += weight * np.prod([x[j] for j in s if j not in at])
    return out


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", ["prod", "cumprod"])
def test_with_zeros(name, row):
    n = len(row)
    subsets = [range(n)] if name == "prod" else [range(i + 1) for i in range(n)]
    weights = np.arange(1.0, len(subsets) + 1)
    x = tg.tensor(row, dtype=tg.float64, requires_grad=True)
    y = tg.prod(x) if name == "prod" else tg.cumprod(x, 0)
    (g,) = tg.autograd.grad((y * tg.tensor(weights)).sum(), [x], create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), derivative(row, weights, subsets, 1), rtol=1e-14)
    rows = [tg.autograd.grad(g[i], [x], retain_graph=True)[0].numpy() for i in range(n)]
    np.testing.assert_allclose(np.stack(rows), derivative(row, weights, subsets, 2), rtol=1e-14)


def test_prod_over_axes():
    x = tg.tensor(np.arange(24.0).reshape(2, 3, 4) % 5, requires_grad=True)
    tg.prod(x, axis=(0, 2)).sum().backward()
    values = x.detach().numpy()
    for at in np.ndindex(2, 3, 4):
        rest = values[:, at[1], :].copy()
        rest[at[0], at[2]] = 1
        assert x.grad[at].item() == rest.prod()


def test_cumprod_along_the_middle():
    rng = np.random.default_rng(0)
    values = rng.integers(-2, 3, (2, 5, 3)).astype(float)
    x = tg.tensor(values, requires_grad=True)
    tg.cumprod(x, 1).sum().backward()
    for i, j in itertools.product(range(2), range(3)):
        exact = derivative(values[i, :, j], np.ones(5), [range(k + 1) for k in range(5)], 1)
        np.testing.assert_allclose(x.grad.numpy()[i, :, j], exact, rtol=1e-14)
