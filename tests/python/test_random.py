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
    with pytest.raises(ValueError, match="offset from 0 to .*, got -1"):
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


def test_seeds_of_64_bits():
    for seed, same in ((2**64 - 1, -1), (2**63, -(2**63)), (np.int64(7), 7), (True, 1)):
        assert tg.manual_seed(seed) is tg.random.default_generator
        a = tg.rand(4)
        tg.manual_seed(same)
        assert tg.array_equal(a, tg.rand(4)) and tg.initial_seed() == int(seed) % 2**64
    for bad in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=r"\[manual_seed\] expected a seed of 64 bits"):
            tg.manual_seed(bad)
    for bad in (1.5, "a", None):
        with pytest.raises(TypeError, match=r"\[manual_seed\] expected an integer"):
            tg.manual_seed(bad)


@pytest.mark.parametrize("put", [tg.set_rng_state, tg.random.set_rng_state, lambda s: tg.Generator().set_state(s)], ids=range(3))
def test_states_are_checked(put):
    before = tg.get_rng_state()
    for bad in ((1,), (1, 2, 3), 3, "ab", (1.5, 2), (1, None), tg.ones(2), tg.tensor([1, 2, 3])):
        with pytest.raises(TypeError, match=r"expected a state \(seed, offset\)"):
            put(bad)
    for bad in ((1, -5), (1, 2**63), (2**64, 0)):
        with pytest.raises(ValueError, match="expected"):
            put(bad)
    assert tg.get_rng_state() == before
    put(list(before))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_stays_below_its_bound(name):
    """The ends of a dtype, neighbours, powers of two: finite, low <= x < high, and both ends' neighbourhoods are met."""
    t = tg.dtype(name)
    most = tg.finfo(t).max
    eps = tg.finfo(t).eps
    tg.manual_seed(0)
    for low, high in ((-most, most), (0, most), (-most, 0), (-most, -most / 2), (1, 2), (-2, -1), (1, 1 + eps), (1, 1 + 2 * eps), (-1, 0), (3, 3)):
        x = tg.uniform((1 << 16,), low, high, dtype=t).to(tg.float64).numpy()
        assert np.isfinite(x).all() and x.min() >= low and (x.max() < high or low == high), (low, high, x.min(), x.max())
        if high - low > abs(high) / 2 and low != high:
            width = high / 2 - low / 2
            assert x.min() / 2 < low / 2 + 0.01 * width and x.max() / 2 > high / 2 - 0.01 * width
    for low, high in ((0, 2.0 * most if most < 1e300 else np.inf), (-np.inf, 0), (0, np.nan)):
        with pytest.raises(ValueError, match=r"\[uniform\] expected"):
            tg.uniform((2,), low, high, dtype=t)


def test_multinomial_of_numbers_whose_sum_overflows():
    p = tg.tensor([1e308, 1e308, 0.0, 1e308], dtype=tg.float64)
    counts = np.bincount(tg.multinomial(p, 6000, replacement=True).numpy(), minlength=4)
    assert counts[2] == 0 and stats.chisquare(counts[[0, 1, 3]]).pvalue > 1e-6
    assert sorted(tg.multinomial(p, 3).tolist()) == [0, 1, 3]
    for _ in range(20):  # a tiny probability is above none
        assert sorted(tg.multinomial(tg.tensor([0.0, 1e-320, 1e308], dtype=tg.float64), 2).tolist()) == [1, 2]
