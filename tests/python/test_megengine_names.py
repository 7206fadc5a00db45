# SPDX-License-Identifier: Apache-2.0
"""Functions that MegEngine has and PyTorch has not."""

import numpy as np
import pytest
from scipy import stats

import tengen as tg
import tengen.nn.functional as F

RNG = np.random.default_rng(0)


def t(x):
    return tg.tensor(np.asarray(x, np.float64))


@pytest.mark.parametrize("axes", [0, (1,), (0, 2), (2, 0), (1, -1), (0, 1, 2)], ids=str)
def test_general_norm(axes):
    x = RNG.normal(size=(3, 4, 5))
    axis = (axes,) if isinstance(axes, int) else axes
    sizes = tuple(x.shape[a] for a in axis)
    w, b = RNG.normal(size=sizes), RNG.normal(size=sizes)
    plain = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.general_norm(t(x), axes).numpy(), plain, atol=1e-12)
    moved = np.moveaxis(np.moveaxis(plain, axis, range(-len(axis), 0)) * w + b, range(-len(axis), 0), axis)
    np.testing.assert_allclose(F.general_norm(t(x), axes, t(w), t(b)).numpy(), moved, atol=1e-12)


def test_general_norm_layer():
    layer = tg.nn.GeneralNorm((3, 5), (0, 2), dtype=tg.float64)
    x = t(RNG.normal(size=(3, 4, 5)))
    y = layer(x)
    np.testing.assert_allclose(y.mean((0, 2)).tolist(), np.zeros(4), atol=1e-14)
    y.square().sum().backward()
    assert tuple(layer.weight.grad.shape) == (3, 5) and list(layer.state_dict()) == ["weight", "bias"]
    assert list(tg.nn.GeneralNorm(4, 1, affine=False).state_dict()) == []
    with pytest.raises(ValueError, match=r"expected sizes \(3, 5\) on axes \(0, 2\)"):
        layer(x[:2])
    with pytest.raises(ValueError, match="a size for every axis"):
        tg.nn.GeneralNorm((3, 5), 0)
    with pytest.raises(ValueError, match="expected a weight of shape"):
        F.general_norm(x, 0, x)
    with pytest.raises(ValueError, match="one axis or more"):
        F.general_norm(x, ())


def test_hinge_loss():
    x, y = RNG.normal(size=(4, 3)), RNG.choice([-1.0, 1.0], (4, 3))
    short = np.maximum(0, 1 - x * y)
    np.testing.assert_allclose(F.hinge_loss(t(x), t(y)).item(), short.sum(1).mean())
    np.testing.assert_allclose(F.hinge_loss(t(x), t(y), "L2", "none").tolist(), (short**2).sum(1))
    np.testing.assert_allclose(F.hinge_loss(t(x), t(y), "L2", "sum").item(), (short**2).sum())
    leaf = t(x).requires_grad_()
    F.hinge_loss(leaf, t(y), reduction="sum").backward()
    np.testing.assert_array_equal(leaf.grad.tolist(), np.where(short > 0, -y, 0))
    for bad in ((t(x), t(y[:2])), (t(x), t(y), "L3"), (t(x), t(y), "L1", "average"), (t(x[0]), t(y[0]))):
        with pytest.raises(ValueError, match=r"\[hinge_loss\] expected"):
            F.hinge_loss(*bad)


def test_topk_accuracy():
    scores, target = RNG.normal(size=(50, 7)), RNG.integers(0, 7, 50)
    place = (scores > scores[np.arange(50), target][:, None]).sum(1)
    for k in (1, 3, 7):
        assert abs(F.topk_accuracy(t(scores), tg.tensor(target), k).item() - (place < k).mean()) < 1e-6
    assert [a.item() for a in F.topk_accuracy(t(scores), tg.tensor(target), (7, 7))] == [1.0, 1.0]
    for bad in ((t(scores), tg.tensor(target), 8), (t(scores), tg.tensor(target), 0), (t(scores), tg.tensor(target[:3]))):
        with pytest.raises(ValueError, match=r"\[topk_accuracy\] expected"):
            F.topk_accuracy(*bad)


def test_elements_by_masks_and_indices():
    x = RNG.normal(size=(3, 4))
    leaf = t(x).requires_grad_()
    values, index = tg.cond_take(t(x) > 0, leaf)
    np.testing.assert_array_equal(values.tolist(), x[x > 0])
    np.testing.assert_array_equal(index.tolist(), np.flatnonzero(x > 0))
    values.sum().backward()
    np.testing.assert_array_equal(leaf.grad.tolist(), x > 0)
    assert tg.cond_take(t(x) > 9, t(x))[0].tolist() == []
    i = RNG.integers(0, 4, 3)
    np.testing.assert_array_equal(tg.indexing_one_hot(t(x), tg.tensor(i)).tolist(), x[np.arange(3), i])
    j = RNG.integers(0, 3, 4)
    assert tuple(tg.indexing_one_hot(t(x), tg.tensor(j), 0, keepdims=True).shape) == (1, 4)
    np.testing.assert_array_equal(tg.indexing_one_hot(t(x), tg.tensor(j), 0).tolist(), x[j, np.arange(4)])
    with pytest.raises(ValueError, match=r"expected an index of shape \(3,\)"):
        tg.indexing_one_hot(t(x), tg.tensor(j))
    with pytest.raises(ValueError, match="expected a mask of x's shape"):
        tg.cond_take(t(x[0]) > 0, t(x))
    a = RNG.normal(size=(2, 3, 3))
    np.testing.assert_allclose(tg.matinv(t(a)).numpy(), np.linalg.inv(a), atol=1e-10)


R = tg.random
DRAWS = {
    "uniform": (lambda: R.uniform(2.0, 5.0, 4000), stats.uniform(2, 3)),
    "normal": (lambda: R.normal(1.0, 2.0, 4000), stats.norm(1, 2)),
    "exponential": (lambda: R.exponential(2.0, 4000), stats.expon(scale=2)),
    "gamma": (lambda: R.gamma(3.0, 0.5, 4000), stats.gamma(3, scale=0.5)),
    "beta": (lambda: R.beta(2.0, 0.7, 4000), stats.beta(2, 0.7)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_have_their_distribution(name):
    tg.manual_seed(3)
    draw, law = DRAWS[name]
    x = draw().numpy()
    # Kolmogorov-Smirnov: 2.2 / sqrt(n) is passed once in ten thousand seeds; this one is fixed.
    assert stats.kstest(x, law.cdf).statistic < 2.2 / np.sqrt(x.size)
    tg.manual_seed(3)
    np.testing.assert_array_equal(draw().numpy(), x)


def test_poisson_draws():
    tg.manual_seed(4)
    x = R.poisson(2.5, 4000).numpy()
    counts = np.bincount(x.astype(int), minlength=12)[:12]
    chances = stats.poisson(2.5).pmf(np.arange(12))
    assert (x == np.rint(x)).all()
    assert (np.abs(counts - 4000 * chances) < 5 * np.sqrt(4000 * chances) + 3).all()


def test_parameters_may_be_tensors():
    k = tg.tensor([1.0, 50.0], dtype=tg.float64).requires_grad_()
    x = R.gamma(k, tg.tensor([[1.0], [0.0]], dtype=tg.float64), size=(3,))
    assert tuple(x.shape) == (3, 2, 2) and x.dtype == tg.float64 and (x[:, 1] == 0).all()
    x.sum().backward()
    assert (k.grad > 0).all()
    assert tuple(R.normal(tg.zeros(2, 3), 1.0).shape) == (2, 3)
    assert tuple(R.uniform().shape) == ()


def test_shuffles():
    tg.manual_seed(5)
    x = tg.arange(40).reshape(20, 2)
    y = x.clone()
    assert R.shuffle(y) is None
    assert y.tolist() != x.tolist() and sorted(y.tolist()) == x.tolist()
    assert sorted(R.permutation(20).tolist()) == list(range(20))
    moved = R.permutation(x)
    assert sorted(moved.tolist()) == x.tolist() and x.tolist() == tg.arange(40).reshape(20, 2).tolist()
    with pytest.raises(ValueError, match="at least one axis"):
        R.shuffle(tg.tensor(1.0))
