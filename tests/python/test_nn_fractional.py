# SPDX-License-Identifier: Apache-2.0
"""Fractional max pools against loops over the windows that the definition names."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tengen as tg

F, nn = tg.nn.functional, tg.nn
RNG = np.random.default_rng(0)


def starts(n, k, out, u):
    if out == 1:
        return [n - k]
    alpha = (n - k) / (out - 1)
    return [int((i + u) * alpha) - int(u * alpha) for i in range(out - 1)] + [n - k]


def by_hand(x, kernel, out, samples):
    rank = len(kernel)
    y, at = np.zeros((*x.shape[:2], *out)), np.zeros((*x.shape[:2], *out), np.int64)
    for n, c in np.ndindex(x.shape[:2]):
        u = samples[n, c][::-1] if rank == 2 else samples[n, c]
        begin = [starts(*a) for a in zip(x.shape[2:], kernel, out, u)]
        for place in np.ndindex(*out):
            first = [b[i] for b, i in zip(begin, place)]
            best = max(itertools.product(*(range(f, f + k) for f, k in zip(first, kernel))), key=lambda p: x[(n, c, *p)])
            y[(n, c, *place)] = x[(n, c, *best)]
            at[(n, c, *place)] = np.ravel_multi_index(best, x.shape[2:])
    return y, at


CASES = [((2, 3, 9, 11), (2, 3), (5, 4)), ((1, 2, 7, 7), (2, 2), (4, 4)), ((2, 1, 5, 6), (3, 2), (1, 5)), ((2, 2, 5, 6, 7), (2, 2, 3), (3, 2, 4))]


@pytest.mark.parametrize(("shape", "kernel", "out"), CASES)
def test_values_indices_and_gradients(shape, kernel, out):
    rank = len(kernel)
    x, u = RNG.normal(size=shape), RNG.uniform(size=(*shape[:2], rank))
    f = getattr(F, f"fractional_max_pool{rank}d_with_indices")
    t = tg.tensor(x, requires_grad=True)
    y, at = f(t, kernel, out, _random_samples=tg.tensor(u))
    want, where = by_hand(x, kernel, out, u)
    np.testing.assert_array_equal(y.detach().numpy(), want)
    np.testing.assert_array_equal(at.numpy(), where)
    g = RNG.normal(size=want.shape)
    y.backward(tg.tensor(g))
    grad = np.zeros((*shape[:2], np.prod(shape[2:])))
    for n, c in np.ndindex(shape[:2]):
        np.add.at(grad[n, c], where[n, c].ravel(), g[n, c].ravel())
    np.testing.assert_allclose(t.grad.numpy(), grad.reshape(shape), rtol=1e-12)
    one = f(t[0], kernel, out, _random_samples=tg.tensor(u[:1]))[0]
    np.testing.assert_array_equal(one.detach().numpy(), want[0])


def test_windows_are_random_and_in_place():
    x = tg.arange(400).float().reshape(1, 1, 20, 20)
    tg.manual_seed(0)
    layer = nn.FractionalMaxPool2d(2, output_ratio=0.7, return_indices=True)
    seen = {tuple(layer(x)[1].ravel().tolist()) for _ in range(8)}
    assert len(seen) > 3 and layer(x)[0].shape == (1, 1, 14, 14) and all(t[-1] == 399 for t in seen)
    rows = np.array(next(iter(seen))).reshape(14, 14)[:, 0] // 20
    assert set(np.diff(rows)) <= {1, 2}
    assert nn.FractionalMaxPool3d(2, (2, 3, 3))(tg.zeros(1, 2, 6, 6, 6)).shape == (1, 2, 2, 3, 3) and "output_ratio=0.7" in repr(layer)


@pytest.mark.parametrize(("f", "message"), [
    (lambda x: F.fractional_max_pool2d(x, 2), "one of output_size and output_ratio"), (lambda x: F.fractional_max_pool2d(x, 2, 3, 0.5), "one of"),
    (lambda x: F.fractional_max_pool2d(x, 3, 4), r"at most \(3, 3\)"), (lambda x: F.fractional_max_pool2d(x, 2, output_ratio=1.5), "between 0 and 1"),
    (lambda x: F.fractional_max_pool3d(x[0, 0], 2, 2), "expected 4 or 5 axes"), (lambda x: nn.FractionalMaxPool2d(2), "one of"),
])
def test_errors(f, message):
    with pytest.raises(ValueError, match=message):
        f(tg.zeros(1, 1, 5, 5))
