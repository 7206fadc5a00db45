# SPDX-License-Identifier: Apache-2.0
"""Promotion against the tables of the Python array API standard (2024.12, "Type promotion rules"), written out here."""
from __future__ import annotations

import itertools

import pytest

import tengen as tg

SIGNED = {8: tg.int8, 16: tg.int16, 32: tg.int32, 64: tg.int64}
UNSIGNED = {8: tg.uint8, 16: tg.uint16, 32: tg.uint32, 64: tg.uint64}
FLOATS = {32: tg.float32, 64: tg.float64}
COMPLEX = {64: tg.complex64, 128: tg.complex128}
ALL = (tg.bool, *SIGNED.values(), *UNSIGNED.values(), tg.float16, tg.bfloat16, *FLOATS.values(), *COMPLEX.values())


def standard():
    """The standard's tables."""
    table = {(tg.bool, tg.bool): tg.bool}
    for kind in (SIGNED, UNSIGNED, FLOATS, COMPLEX):
        for a, b in itertools.product(kind, kind):
            table[kind[a], kind[b]] = kind[max(a, b)]
    for (u, unsigned), (s, signed) in itertools.product(UNSIGNED.items(), SIGNED.items()):
        if u < 64:
            table[unsigned, signed] = table[signed, unsigned] = SIGNED[s if s > u else 2 * u]
    for (f, real), (c, number) in itertools.product(FLOATS.items(), COMPLEX.items()):
        table[real, number] = table[number, real] = COMPLEX[max(2 * f, c)]
    return table


STANDARD = standard()
# What the standard leaves open, decided here: kinds mix to the higher one; 16-bit floats meet in float32.
OPEN = {
    **{(u, s): tg.float32 for u in (tg.uint64,) for s in SIGNED.values()},
    **{(f, i): f for f in (tg.float16, tg.bfloat16, *FLOATS.values()) for i in (tg.bool, *SIGNED.values(), *UNSIGNED.values())},
    **{(tg.bool, i): i for i in (*SIGNED.values(), *UNSIGNED.values())},
    (tg.float16, tg.bfloat16): tg.float32,
    **{(h, f): f for h in (tg.float16, tg.bfloat16) for f in FLOATS.values()},
    **{(h, h): h for h in (tg.float16, tg.bfloat16)},
    **{(t, c): c for t in (tg.bool, tg.float16, tg.bfloat16, *SIGNED.values(), *UNSIGNED.values()) for c in COMPLEX.values()},
}
TABLE = {**OPEN, **{(b, a): t for (a, b), t in OPEN.items()}, **STANDARD}


def test_the_tables_are_whole():
    assert set(TABLE) == set(itertools.product(ALL, ALL))


@pytest.mark.parametrize("a, b", list(TABLE), ids=str)
def test_two_dtypes(a, b):
    want = TABLE[a, b]
    assert tg.promote_types(a, b) is want and tg.result_type(a, b) is want
    assert tg.can_cast(a, b) == (want is b)
    for shapes in (((2,), (2,)), ((), (2,)), ((2,), ()), ((), ())):  # 0-d tensors are as strong as others
        x, y = tg.ones(shapes[0], dtype=a), tg.ones(shapes[1], dtype=b)
        assert tg.result_type(x, y) is want
        assert (want in COMPLEX.values() or tg.maximum(x, y).dtype is want) and tg.where(x == y, x, y).dtype is want
        assert (x == y).dtype is tg.bool
        assert tg.concat([x.reshape(-1), y.reshape(-1)]).dtype is want
        if want is not tg.bool:
            assert (x + y).dtype is want and (x * y).dtype is want


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_python_numbers_are_weak(dtype):
    x = tg.ones(2, dtype=dtype)
    floating = dtype if dtype.is_floating_point or dtype in COMPLEX.values() else tg.float32
    whole = tg.int64 if dtype is tg.bool else dtype
    both = dtype if dtype in COMPLEX.values() else tg.complex128 if dtype is tg.float64 else tg.complex64
    for scalar, want in ((True, dtype), (2, whole), (2.0, floating), (2j, both)):
        assert tg.result_type(x, scalar) is want and tg.result_type(scalar, dtype) is want
        if want is not tg.bool:
            assert (x + scalar).dtype is want and (scalar * x).dtype is want
        assert tg.where(x == x, x, scalar).dtype is want


def test_result_type_of_several():
    assert tg.result_type(tg.int8, tg.uint8, 3) is tg.int16
    assert tg.result_type(1, 2.0) is tg.float32 and tg.result_type(True) is tg.bool
    assert tg.result_type(tg.ones(2, dtype=tg.float16), tg.int64, 1.0) is tg.float16
    with pytest.raises(ValueError, match="at least one"):
        tg.result_type()
    with pytest.raises((TypeError, ValueError)):
        tg.result_type("no dtype")


KINDS = {
    "bool": {tg.bool}, "signed integer": set(SIGNED.values()), "unsigned integer": set(UNSIGNED.values()),
    "integral": {*SIGNED.values(), *UNSIGNED.values()}, "real floating": {tg.float16, tg.bfloat16, *FLOATS.values()},
    "complex floating": set(COMPLEX.values()), "numeric": set(ALL) - {tg.bool},
}


@pytest.mark.parametrize("kind", KINDS)
def test_isdtype(kind):
    for dtype in ALL:
        assert tg.isdtype(dtype, kind) == (dtype in KINDS[kind])
        assert tg.isdtype(dtype, (kind, tg.bool)) == (dtype in KINDS[kind] or dtype is tg.bool)
    with pytest.raises(ValueError, match="expected a kind"):
        tg.isdtype(tg.bool, "number")


def test_astype():
    x = tg.tensor([1.5, -2.5])
    assert x.astype(tg.int32).tolist() == [1, -2]
    assert tg.astype(x, tg.float32, copy=False) is x and tg.astype(x, tg.float32) is not x
