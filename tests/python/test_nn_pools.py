# SPDX-License-Identifier: Apache-2.0
"""Pools with indices, adaptive maxima, unpooling, power-average pools, divisors: against loops in NumPy."""
import itertools

import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen as tg
import tengen.nn.functional as F
from tengen import nn


def windows(n, k, s, p, ceil=False):
    """[first, last) of every window on an axis, cut to the input, as PyTorch counts them."""
    out = (n + 2 * p - k + (s - 1 if ceil else 0)) // s + 1
    if ceil and (out - 1) * s >= n + p:
        out -= 1
    return [(max(i * s - p, 0), min(i * s - p + k, n)) for i in range(out)]


def pooled(x, spans, f):
    """f(part, place of its first element) over the last axes."""
    d = len(spans)
    shape = [len(s) for s in spans]
    flat = [f(x[(..., *(slice(*w) for w in at))], [w[0] for w in at]) for at in itertools.product(*spans)]
    return np.stack(flat, -1).reshape(*x.shape[:-d], *shape)


def place_of_max(x):
    def f(part, first):
        d = len(first)
        best = part.reshape(*part.shape[:-d], -1).argmax(-1)
        at = np.unravel_index(best, part.shape[-d:])
        return np.ravel_multi_index([a + o for a, o in zip(at, first)], x.shape[-d:])

    return f


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("rank,options", [(1, (3, 2, 1)), (2, (3, 2, 1)), (2, (2, 3, 0)), (3, (2, 2, 1))], ids=str)
def test_max_pool_with_indices_and_back(rank, options, ceil):
    k, s, p = options
    x = rand(2, 3, *(7, 6, 5)[:rank])
    spans = [windows(n, k, s, p, ceil) for n in x.shape[2:]]
    layer = getattr(nn, f"MaxPool{rank}d")(k, s, p, return_indices=True, ceil_mode=ceil)
    xt = t(x, grad=True)
    y, index = layer(xt)
    close(y, pooled(x, spans, lambda part, _: part.max(tuple(range(-rank, 0)))))
    assert index.dtype == tg.int64
    np.testing.assert_array_equal(index.numpy(), pooled(x, spans, place_of_max(x)))
    y.sum().backward()
    hits = np.zeros((2, 3, int(np.prod(x.shape[2:]))))
    np.add.at(hits, (*np.ogrid[:2, :3, :1][:2], index.numpy().reshape(2, 3, -1)), 1)
    close(xt.grad, hits.reshape(x.shape))
    single, at = layer(t(x[0]))
    close(single, y.detach().numpy()[0])
    np.testing.assert_array_equal(at.numpy(), index.numpy()[0])
    back = tg.max_unpool(y.detach(), index, x.shape[2:]).numpy()
    np.testing.assert_array_equal(back, np.where(hits.reshape(x.shape) > 0, x, 0))


def test_unpool_sizes():
    x = t(rand(1, 1, 5, 7))
    y, index = F.max_pool2d(x, 2, return_indices=True)
    even, places = F.max_pool2d(x[..., :4, :6], 2, return_indices=True)
    assert F.max_unpool2d(even, places, 2).shape == (1, 1, 4, 6)
    assert F.max_unpool2d(even[0], places[0], 2).shape == (1, 4, 6)
    layer = nn.MaxUnpool2d(2)
    assert repr(layer) == "MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))"
    whole = layer(y, index, output_size=(1, 1, 5, 7))
    assert whole.shape == x.shape
    np.testing.assert_array_equal(whole.numpy(), np.where(whole.numpy() != 0, x.numpy(), 0))
    with pytest.raises(ValueError, match="output sizes"):
        layer(y, index, output_size=(9, 9))


@pytest.mark.parametrize("rank,want", [(1, 3), (2, (3, None)), (3, (2, 4, 1))], ids=str)
def test_adaptive_max_pool(rank, want):
    x = rand(2, 3, *(7, 6, 5)[:rank])
    sizes = [n if w is None else w for n, w in zip(x.shape[2:], (want,) * rank if isinstance(want, int) else want)]
    spans = [[(i * n // o, -(-(i + 1) * n // o)) for i in range(o)] for n, o in zip(x.shape[2:], sizes)]
    layer = getattr(nn, f"AdaptiveMaxPool{rank}d")(want, return_indices=True)
    assert repr(layer) == f"AdaptiveMaxPool{rank}d(output_size={want})"
    y, index = layer(t(x))
    close(y, pooled(x, spans, lambda part, _: part.max(tuple(range(-rank, 0)))))
    np.testing.assert_array_equal(index.numpy(), pooled(x, spans, place_of_max(x)))
    close(getattr(F, f"adaptive_max_pool{rank}d")(t(x[0]), want), y.numpy()[0])


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_lp_pool(rank, ceil):
    x = np.abs(rand(2, 3, *(7, 6, 5)[:rank])) + 0.1
    layer = getattr(nn, f"LPPool{rank}d")(3, 2, ceil_mode=ceil)
    assert repr(layer) == f"LPPool{rank}d(norm_type=3, kernel_size=2, stride=None, ceil_mode={ceil})"
    spans = [windows(n, 2, 2, 0, ceil) for n in x.shape[2:]]
    # PyTorch's: the mean over what is there, times the window's size.
    close(layer(t(x)), pooled(x, spans, lambda part, _: ((part**3).mean(tuple(range(-rank, 0))) * 2**rank) ** (1 / 3)))


@pytest.mark.parametrize("ceil", [False, True])
def test_avg_pool_with_a_divisor(ceil):
    x = rand(2, 3, 7, 6)
    spans = [windows(n, 3, 2, 1, ceil) for n in x.shape[2:]]
    y = F.avg_pool2d(t(x), 3, 2, 1, ceil, divisor_override=5)
    close(y, pooled(x, spans, lambda part, _: part.sum((-1, -2)) / 5))
    close(nn.AvgPool2d(3, 2, 1, ceil, divisor_override=5)(t(x[0])), y.numpy()[0])
    with pytest.raises(ValueError, match="divisor_override"):
        F.avg_pool2d(t(x), 2, divisor_override=0)
