# SPDX-License-Identifier: Apache-2.0
"""Generators of their own; random numbers written into tensors."""

import numpy as np
import pytest
from scipy import stats

import tengen as tg


def test_a_generator_is_apart():
    tg.manual_seed(5)
    plain = tg.rand(8).tolist()
    tg.manual_seed(5)
    g = tg.Generator(9)
    first = [f(generator=g).tolist() for f in (lambda **k: tg.rand(3, **k), lambda **k: tg.randn(3, **k), lambda **k: tg.randint(0, 9, (4,), **k),
                                               lambda **k: tg.randperm(6, **k))]
    assert tg.rand(8).tolist() == plain, "the global generator has not moved"
    tg.manual_seed(9)
    assert first == [tg.rand(3).tolist(), tg.randn(3).tolist(), tg.randint(0, 9, (4,)).tolist(), tg.randperm(6).tolist()]
    with tg.Generator(9):
        assert tg.rand(3).tolist() == first[0]


def test_state():
    g = tg.Generator(1)
    tg.rand(5, generator=g)
    state = g.get_state()
    a = tg.rand(5, generator=g)
    other = tg.Generator()
    other.set_state(state)
    assert tg.array_equal(a, tg.rand(5, generator=other)) and g.get_state() == other.get_state()
    assert g.initial_seed() == 1 and g.manual_seed(4) is g and g.get_state() == (4, 0)
    assert tg.Generator(2**64 - 1).get_state() == (-1, 0)
    with g:
        tg.rand(1)
        inside = g.get_state()
        with g:
            tg.rand(1)
        with pytest.raises(RuntimeError, match="not in use"):
            g.manual_seed(0)
    assert inside == (4, 1) and g.get_state() == (4, 2)
    assert tg.array_equal(tg.rand(3, generator=g.clone_state()), tg.rand(3, generator=g))
    assert 0 <= g.seed() < 2**63 and repr(g).startswith("Generator(seed=")
    with pytest.raises(ValueError, match="64 bits, got"):
        tg.Generator(2**64)
    with pytest.raises(TypeError):
        tg.Generator("a")
    with pytest.raises(ValueError, match="offset of 0 or more, got -1"):
        g.set_state((0, -1))


def test_fork():
    g = tg.Generator(3)
    a, b = g.fork(), g.fork()
    assert len({a.initial_seed(), b.initial_seed(), 3}) == 3
    again = tg.Generator(3)
    assert again.fork().initial_seed() == a.initial_seed() and again.fork().initial_seed() == b.initial_seed()


def test_the_global_one_as_an_object():
    d = tg.random.default_generator
    d.manual_seed(8)
    with d:
        a = tg.rand(3)
    tg.manual_seed(8)
    assert tg.array_equal(a, tg.rand(3, generator=d)) and d.get_state() == tg.random.get_rng_state() and d.initial_seed() == 8


def test_an_error_inside_puts_the_global_one_back():
    tg.manual_seed(0)
    with pytest.raises(ZeroDivisionError), tg.Generator(1):
        tg.rand(9)
        raise ZeroDivisionError
    assert tg.random.get_rng_state() == (0, 0)


@pytest.mark.parametrize(
    "name,args,distribution",
    [
        ("uniform_", (-1.0, 3.0), stats.uniform(-1, 4)),
        ("normal_", (1.0, 2.0), stats.norm(1, 2)),
        ("log_normal_", (0.5, 0.5), stats.lognorm(0.5, scale=np.exp(0.5))),
        ("exponential_", (2.0,), stats.expon(scale=0.5)),
        ("cauchy_", (1.0, 2.0), stats.cauchy(1, 2)),
    ],
)
def test_written_into_a_tensor(name, args, distribution):
    x = tg.empty(4000, dtype=tg.float64)
    assert getattr(x, name)(*args, generator=tg.Generator(2)) is x
    assert stats.kstest(x.numpy(), distribution.cdf).pvalue > 1e-3


def test_whole_numbers_written_into_a_tensor():
    g = tg.Generator(1)
    x = tg.empty(8000).geometric_(0.3, generator=g).numpy()
    seen = np.bincount(np.minimum(x.astype(int), 12), minlength=13)[1:]
    shares = stats.geom(0.3).pmf(np.arange(1, 13))
    shares[-1] = stats.geom(0.3).sf(11)
    assert stats.chisquare(seen, shares * 8000).pvalue > 1e-3
    with pytest.raises(ValueError, match="p between 0 and 1, got 1.5"):
        tg.empty(2).geometric_(1.5)
    y = tg.zeros(5000, dtype=tg.int32).bernoulli_(0.25, generator=g)
    assert set(y.tolist()) == {0, 1} and stats.binomtest(int(y.sum().item()), 5000, 0.25).pvalue > 1e-3
    z = tg.zeros(500, dtype=tg.int64).random_(3, 6, generator=g)
    assert set(z.tolist()) == {3, 4, 5} and set(z.random_(2).tolist()) == {0, 1}
    assert tg.zeros(50, dtype=tg.uint8).random_().max().item() > 127 and tg.zeros(50).random_().max().item() > 2**22
