# SPDX-License-Identifier: Apache-2.0
"""Random numbers: the bits against Philox itself, the distributions against their moments, and that a recorded call keeps
its numbers."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from record import Bad, Case, Record
from scipy import stats

RECORDS: dict[str, Record] = {}
N = 20000
NORMAL_BITS = (0xe4331f43, 0x999c7d48)


def philox(seed: int, block: int) -> list[int]:
    """Philox4x32-10 (Salmon et al. 2011), of a 64-bit key and counter."""
    low = 0xFFFFFFFF
    x, k = [block & low, block >> 32 & low, 0, 0], [seed & low, seed >> 32 & low]
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [b >> 32 ^ x[1] ^ k[0], b & low, a >> 32 ^ x[3] ^ k[1], a & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return x


def _bits(tg, device):
    tg.manual_seed(0)
    words = tg.random_bits((2, 3), device=device).cpu().numpy().ravel().tolist()
    assert [f"{w:08x}" for w in words[:4]] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    assert words == (philox(0, 0) + philox(0, 1))[:6]
    again = tg.random_bits((1,), device=device).cpu().numpy().tolist()
    assert again == philox(0, 2)[:1], "the next call begins with the next block"
    tg.manual_seed(2**40 + 3)
    assert tg.random_bits((4,), device=device).cpu().numpy().tolist() == philox(2**40 + 3, 0)


RECORDS["random_bits"] = Record(cases=[Case((), {"shape": (3, 5)})], check=_bits)


def sample(tg, f):
    tg.manual_seed(11)
    a = f()
    tg.manual_seed(11)
    assert (a == f()).all().item(), "equal seeds, equal numbers"
    assert not (a == f()).all().item()
    return a.to(tg.float64).cpu().numpy()


# Of 1000 numbers (and what dropout leaves of 1 to 1000) at seed 20: the same on every plugin and device.
BITS = {"randint": 0xbbd0f6f7, "randint, wide": 0xdb49ae0b, "randint, int8": 0xec0302e4, "randperm": 0x50ab8f33, "bernoulli": 0x473ea768, "bernoulli, f64": 0xde0496aa, "dropout": 0x9e73173, "uniform, f64": 0xa8e353ea, "uniform, f16": 0x23d2e151}


def same_bits(tg, what, f):
    tg.manual_seed(20)
    t = f()
    found = zlib.crc32(np.ascontiguousarray(t.cpu().numpy()).tobytes())
    assert found == BITS[what], f"{what}: {found:#010x}"


def moments(x, mean, std):
    """Mean and standard deviation within six standard errors."""
    assert abs(x.mean() - mean) < 6 * std / np.sqrt(x.size)
    assert (
        abs(x.std() - std) < 6 * std * np.sqrt((np.mean((x - x.mean()) ** 4) / x.std() ** 4 - 1) / (4 * x.size)) + 1e-12
    )


def _uniform(tg, device):
    for dtype in (tg.float32, tg.float64, tg.float16, tg.bfloat16):
        x = sample(tg, lambda: tg.uniform((N,), dtype=dtype, device=device))
        assert x.min() >= 0 and x.max() < 1
        moments(x, 0.5 - {tg.float16: 2.0**-12, tg.bfloat16: 2.0**-9}.get(dtype, 0), np.sqrt(1 / 12))
    x = sample(tg, lambda: tg.uniform((N,), -3.0, 5.0, device=device))
    assert x.min() >= -3 and x.max() <= 5
    moments(x, 1, np.sqrt(64 / 12))
    words = np.array([w for block in range(1000) for w in philox(5, block)])
    tg.manual_seed(5)
    np.testing.assert_array_equal(tg.uniform((4000,), device=device).cpu().numpy(), (words >> 8) / 2.0**24)
    for what, dtype in (("uniform, f64", tg.float64), ("uniform, f16", tg.float16)):
        same_bits(tg, what, lambda d=dtype: tg.uniform((1000,), dtype=d, device=device))


RECORDS["uniform"] = Record(cases=[Case((), {"shape": (3, 5), "low": -1.0, "high": 2.0})], check=_uniform)


def _normal(tg, device):
    for dtype in (tg.float32, tg.float64):
        x = sample(tg, lambda: tg.normal((N,), dtype=dtype, device=device))
        moments(x, 0, 1)
        assert (
            abs(np.mean(x**3)) < 6 * np.sqrt(15 / N)
            and abs(np.mean(x**4) - 3) < 6 * np.sqrt(96 / N)
            and np.isfinite(x).all()
        )
    moments(sample(tg, lambda: tg.normal((N,), 3.0, 0.5, device=device)), 3, 0.5)
    for dtype, bits in ((tg.float32, NORMAL_BITS[0]), (tg.float64, NORMAL_BITS[1])):  # the same on every plugin
        tg.manual_seed(20)
        x = tg.normal((N + 1,), dtype=dtype, device=device).cpu().numpy()
        assert zlib.crc32(x.tobytes()) == bits, f"0x{zlib.crc32(x.tobytes()):08x}"
        assert stats.kstest(x, stats.norm.cdf).pvalue > 1e-3


RECORDS["normal"] = Record(cases=[Case((), {"shape": (3, 5)})], check=_normal)


def _randint(tg, device):
    from tengen import _core

    f = lambda low, high, shape: _core.ops["randint"](low, high, shape, device=device)  # noqa: E731
    x = sample(tg, lambda: f(-3, 7, (N,)))
    assert x.min() == -3 and x.max() == 6
    counts = np.bincount((x + 3).astype(int), minlength=10)
    assert np.all(np.abs(counts - N / 10) < 6 * np.sqrt(N * 0.09))
    big = sample(tg, lambda: f(0, 2**62, (1000,)))
    assert big.max() > 2**61 and big.min() >= 0
    same_bits(tg, "randint", lambda: f(-3, 7, (1000,)))
    same_bits(tg, "randint, wide", lambda: f(-(2**61), 2**61, (1000,)))
    same_bits(tg, "randint, int8", lambda: _core.ops["randint"](-100, 100, (1000,), dtype=tg.int8, device=device))
    with pytest.raises(ValueError, match="fewer than 2.63 numbers"):
        f(-2**63, 2**63 - 1, (2,))


RECORDS["randint"] = Record(cases=[Case((), {"low": -3, "high": 7, "shape": (3, 5)})], check=_randint)


def _randperm(tg, device):
    x = sample(tg, lambda: tg.randperm(1000, device=device))
    same_bits(tg, "randperm", lambda: tg.randperm(1000, device=device))
    assert sorted(x.tolist()) == list(range(1000)) and not np.array_equal(x, np.arange(1000))
    assert sorted(tg.randperm(128, dtype=tg.int8, device=device).tolist()) == list(range(128))
    with pytest.raises(OverflowError, match="randperm"):
        tg.randperm(129, dtype=tg.int8, device=device)


RECORDS["randperm"] = Record(cases=[Case((), {"n": 9})], check=_randperm)


def _bernoulli(tg, device):
    p = tg.full((N,), 0.3, device=device)
    x = sample(tg, lambda: tg.bernoulli(p))
    assert set(np.unique(x)) == {0.0, 1.0}
    moments(x, 0.3, np.sqrt(0.21))
    for what, dtype in (("bernoulli", tg.float32), ("bernoulli, f64", tg.float64)):
        same_bits(tg, what, lambda d=dtype: tg.bernoulli(tg.linspace(0, 1, 1000, dtype=d, device=device)))
    ends = tg.tensor([0.0, 1.0] * 500, device=device)
    assert (tg.bernoulli(ends) == ends).all().item()
    assert tg.bernoulli(tg.tensor([1.5, -0.5, np.nan], device=device)).tolist() == [1, 0, 0]  # as documented: nothing is read


RECORDS["bernoulli"] = Record(cases=lambda rng: [Case((rng.uniform(size=(3, 5)),))], check=_bernoulli)


def _dropout(tg, device):
    for dtype in (tg.float32, tg.float64):
        x = tg.ones((N,), dtype=dtype, device=device).requires_grad_()
        y = tg.dropout(x, 0.25)
        values = y.detach().to(tg.float64).cpu().numpy()
        one = np.float32(1 / 0.75) if dtype == tg.float32 else 1 / 0.75
        assert set(np.unique(values)) == {0.0, float(one)}
        moments((values > 0).astype(float), 0.75, np.sqrt(0.1875))
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.to(tg.float64).cpu().numpy(), values)  # the same mask
        assert not (tg.dropout(x, 0.25) == y).all().item()
    same_bits(tg, "dropout", lambda: tg.dropout(tg.arange(1, 1001, dtype=tg.float32, device=device), 0.25))
    x = tg.tensor([1.0, -2.0], device=device)
    assert tg.dropout(x, 0.0).tolist() == [1.0, -2.0] and tg.dropout(x, 1.0).tolist() == [0.0, 0.0]
    import pytest

    with pytest.raises(ValueError, match=r"dropout.*expected p between 0 and 1, got 1\.5"):
        tg.dropout(x, 1.5)


RECORDS["dropout"] = Record(cases=lambda rng: [Case((rng.normal(size=(3, 5)),), {"p": 0.25})], check=_dropout)
RECORDS["random_bits"].bad = (Bad(ValueError, (), {"shape": (-2,)}),)
RECORDS["uniform"].bad = (Bad(ValueError, (), {"shape": (-2,)}), Bad(ValueError, (), {"shape": (2,), "low": 3.0, "high": 1.0}), Bad(TypeError, (), {"shape": (2,), "dtype": "int32"}))
RECORDS["normal"].bad = (Bad(ValueError, (), {"shape": (-2,)}), Bad(ValueError, (), {"shape": (2,), "std": -1.0}), Bad(TypeError, (), {"shape": (2,), "dtype": "int32"}))
RECORDS["randint"].bad = (
    Bad(ValueError, (), {"low": 0, "high": 5, "shape": (-2,)}), Bad(ValueError, (), {"low": 5, "high": 5, "shape": (2,)}), Bad(OverflowError, (), {"low": 0, "high": 300, "shape": (2,), "dtype": "uint8"}),
)
RECORDS["randperm"].bad = (Bad(ValueError, (), {"n": -1}),)
RECORDS["bernoulli"].bad = (Bad(TypeError, (np.array([1, 2]),), {}), Bad(TypeError, (np.array([True]),), {}))
RECORDS["dropout"].bad = (Bad(ValueError, (np.ones(2),), {"p": 1.5}), Bad(ValueError, (np.ones(2),), {"p": -0.5}), Bad(TypeError, (np.array([1]),), {"p": 0.5}))
RECORDS["dropout_at"] = Record(covered_by="dropout")
RECORDS["dropout_apply"] = Record(covered_by="dropout")
RECORDS["uniform_between"] = Record(covered_by="uniform")
RECORDS["unit_from_bits"] = Record(covered_by="uniform normal")
