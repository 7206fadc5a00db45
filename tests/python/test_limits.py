# SPDX-License-Identifier: Apache-2.0
"""The ends of ranges: Python integers that a dtype does not hold (as NumPy 2 treats them), and sizes near 2^63."""
from __future__ import annotations

import operator

import numpy as np
import pytest

import tengen as tg

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.and_, operator.or_,
              operator.xor, operator.lshift, operator.rshift, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def beyond(dtype: str) -> list[int]:
    info = np.iinfo(dtype)
    return [info.max + 1, info.min - 1, info.max + 257, 2**63, 2**64, 2**100, -(2**100), 10**400, -(10**400)]


# ---- Python integers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", INTEGERS)
def test_arithmetic_refuses_integers_beyond_the_dtype(dtype):
    x, info = tg.ones(3, dtype=dtype), np.iinfo(dtype)
    for value in beyond(dtype):
        if info.min <= value <= info.max:
            continue
        for f in ARITHMETIC:
            for _ in range(2):  # the second call finds its plan
                with pytest.raises(OverflowError, match=rf"\[\w+\] expected an integer that {dtype} holds \({info.min} to {info.max}\), got"):
                    f(x, value)
                with pytest.raises(OverflowError, match=dtype):
                    f(value, x)
        with pytest.raises(OverflowError, match=dtype):
            x += value
        with pytest.raises(OverflowError, match=dtype):
            tg.where(tg.tensor([True, False, True]), x, value)
    assert x.tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_ends_of_the_range_are_in_it(dtype):
    info = np.iinfo(dtype)
    a = np.array([info.min, 0, 1, info.max], dtype)
    x = tg.tensor(a)
    for value in (int(info.min), int(info.max)):
        for f in (operator.add, operator.sub, operator.and_, operator.xor, *COMPARISONS):
            with np.errstate(over="ignore"):
                np.testing.assert_array_equal(f(x, value).numpy(), f(a, value), f"{f} {value}")
        assert tg.full((2,), value, dtype=dtype).tolist() == [value] * 2
        assert tg.full((5000,), value, dtype=dtype)[4999].item() == value
        assert tg.tensor([value], dtype=dtype).tolist() == [value]
        x[0] = value
        assert x[0].item() == value


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (3, 2)])
def test_comparisons_answer_for_any_integer(dtype, shape):
    a = np.random.RandomState(0).randint(0, 100, shape).astype(dtype)
    x = tg.tensor(a)
    for value in beyond(dtype):
        for f in COMPARISONS:
            for _ in range(2):
                got, reverse = f(x, value), f(value, x)
                assert got.dtype == tg.bool and got.shape == a.shape
                np.testing.assert_array_equal(got.numpy(), np.full(shape, f(0, value)), f"{f} {value}")
                np.testing.assert_array_equal(reverse.numpy(), np.full(shape, f(value, 0)), f"{f} {value}")
        into = tg.zeros(shape, dtype=bool)
        tg.lt(x, value, out=into)
        np.testing.assert_array_equal(into.numpy(), np.full(shape, value > 0))


def test_comparisons_of_a_strided_tensor():
    x = tg.tensor(np.arange(12, dtype="uint8").reshape(3, 4)).T[::2]
    assert (x < 300).numpy().all() and not (x == 261).numpy().any() and (x != -1).numpy().all()


def test_floats_and_bools_take_any_integer():
    assert (tg.tensor([1.5, np.inf]) < 2**100).tolist() == [True, False]
    assert (tg.tensor([1.5]) * 2**70).item() == 1.5 * 2**70
    assert (tg.tensor([True]) + 300).tolist() == [301]
    assert (tg.tensor([1], dtype=tg.uint8) / 300).item() == pytest.approx(1 / 300)
    with pytest.raises(OverflowError, match="int64"):
        tg.tensor([True]) + 2**63


@pytest.mark.parametrize("dtype", INTEGERS)
def test_creation_refuses_integers_beyond_the_dtype(dtype):
    info = np.iinfo(dtype)
    like = tg.zeros(2, dtype=dtype)
    for value in (info.max + 1, info.min - 1):
        for name, make in {
            "tensor": lambda v: tg.tensor([v], dtype=dtype), "scalar": lambda v: tg.tensor(v, dtype=dtype),
            "full": lambda v: tg.full((2,), v, dtype=dtype), "large full": lambda v: tg.full((100, 100), v, dtype=dtype),
            "full_like": lambda v: tg.full_like(like, v), "assignment": lambda v: like.__setitem__(0, v),
            "list assignment": lambda v: like.__setitem__(slice(None), [v, v]),
            "masked_fill": lambda v: like.masked_fill(tg.tensor([True, False]), v), "fill_": lambda v: like.fill_(v),
            "pad": lambda v: tg.pad(like, (1, 1), v),
        }.items():
            with pytest.raises(OverflowError):
                make(value)
                pytest.fail(f"{name} took {value}")
    assert like.tolist() == [0, 0]


def test_arange_and_randint_stay_in_the_dtype():
    assert tg.arange(0, 300, 100, dtype=tg.uint8).tolist() == [0, 100, 200]  # the stop is no element
    assert tg.arange(250, 256, dtype=tg.uint8).tolist() == list(range(250, 256))
    assert tg.arange(5, 0, -2, dtype=tg.uint8).tolist() == [5, 3, 1]
    for arguments in ((0, 257), (-1, 3), (3, -2, -1)):
        with pytest.raises(OverflowError, match=r"\[arange\].*uint8"):
            tg.arange(*arguments, dtype=tg.uint8)
    lo, hi = -(2**63), 2**63 - 1
    assert tg.arange(lo, hi, 2**62).tolist() == [lo, -(2**62), 0, 2**62]
    assert tg.arange(hi, lo, -(2**62)).tolist() == [hi - i * 2**62 for i in range(4)]
    with pytest.raises(ValueError, match="arange"):
        tg.arange(lo, hi)
    assert tg.randint(0, 256, (4,), dtype=tg.uint8).dtype == tg.uint8
    with pytest.raises(OverflowError, match=r"\[randint\].*uint8"):
        tg.randint(0, 257, (4,), dtype=tg.uint8)


def test_recorded_scalars_keep_their_precision():
    x = tg.ones((2,), dtype=tg.float64, requires_grad=True)
    assert x.masked_fill(tg.tensor([True, False]), 1e300).tolist() == [1e300, 1.0]


# ---- sizes -------------------------------------------------------------------------------------------------------------

BIG = 2**62


@pytest.mark.parametrize("call", [
    lambda x: tg.conv(x, tg.ones(1, 1, 3, 3), padding=BIG),
    lambda x: tg.conv(x, tg.ones(1, 1, 3, 3), padding=(BIG, BIG, BIG, BIG)),
    lambda x: tg.conv(x, tg.ones(1, 1, 3, 3), dilation=BIG),
    lambda x: tg.max_pool(x, BIG, 1, BIG),
    lambda x: tg.max_pool(x, 3, 1, 1, dilation=BIG),
    lambda x: tg.avg_pool(x, 2**63 - 1, 2**63 - 1, BIG),
    lambda x: tg.pad(x, (BIG,) * 8),
    lambda x: tg.tile(x, (BIG, BIG)),
    lambda x: tg.repeat_interleave(x, BIG),
    lambda x: tg.concat([tg.zeros(1).expand(BIG), tg.zeros(1).expand(BIG)]),
    lambda x: x.reshape(BIG, 4, -1),
    lambda x: tg.zeros(1, 1).expand(BIG, BIG).reshape(-1),
    lambda x: tg.zeros(0, BIG, BIG),
], ids=range(13))
def test_sizes_near_the_end_of_int64_raise(call):
    with pytest.raises((ValueError, MemoryError), match=r"expected|memory") as error:
        call(tg.zeros(1, 1, 4, 4))
    assert "-" not in str(error.value).replace("-1", "").replace("channels-last", ""), "a size has wrapped"


def test_large_steps_are_not_sizes():
    x = tg.arange(6.0)
    assert x[::BIG].tolist() == [0.0] and tg.slice(x, 0, 1, 5, 2**63 - 1).tolist() == [1.0]
    assert x.reshape(2, 3)[:, ::BIG].tolist() == [[0.0], [3.0]]
    y = tg.max_pool(x.reshape(1, 1, 6), 3, 2**63 - 1, 1)
    assert y.tolist() == [[[1.0]]]
    assert tg.avg_pool(x.reshape(1, 1, 6), 3, BIG, 1).shape == (1, 1, 1)
    assert tg.conv(x.reshape(1, 1, 6), tg.ones(1, 1, 3), stride=2**63 - 1, padding=1).tolist() == [[[1.0]]]


@pytest.mark.parametrize("shape", [(2**61,), (2**62 - 1,), (2**63 - 1,), (2**40, 2**40), (2**32, 2**31)])
def test_memory_that_no_machine_has(shape):
    with pytest.raises((MemoryError, ValueError)):
        tg.empty(shape)
    with pytest.raises((MemoryError, ValueError)):
        tg.zeros(shape, dtype=tg.uint8)
    assert tg.zeros(2).sum().item() == 0
