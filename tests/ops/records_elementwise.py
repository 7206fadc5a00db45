# SPDX-License-Identifier: Apache-2.0
"""Elementwise ops: arithmetic, functions, comparisons, activations, casts, optimizer steps."""

from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, INTS, REAL, Bad, Case, Record
from scipy import special

RECORDS: dict[str, Record] = {}
SHAPE = (3, 5)
FLOAT_ONLY = ("float32", "float64")


def between(low, high, shape=SHAPE):
    return lambda rng: rng.uniform(low, high, shape)


def unary(
    name, oracle, low=-3.0, high=3.0, grad=True, dtypes=FLOATS, scale=None, special_values=(), second=True, **attrs
):
    """`special_values`: where finite differences cannot go; a case of their own, without gradients."""

    def cases(rng):
        return [Case((rng.uniform(low, high, SHAPE),), attrs)]

    RECORDS[name] = Record(oracle, cases, dtypes, (0,) if grad else None, second, scale=scale)
    if special_values:
        values = np.array(special_values)
        RECORDS[name].check = lambda tg, device: np.testing.assert_allclose(
            getattr(tg, name)(tg.tensor(values.astype(np.float32), device=device), **attrs)
            .cpu()
            .numpy()
            .astype(np.float64),
            _quiet(
                lambda v: np.asarray(oracle(v, **attrs)).astype(np.float32),
                values.astype(np.float32).astype(np.float64),
            ),
            rtol=1e-5,
            atol=1e-30,
        )


def _quiet(f, *args, **attrs):
    with np.errstate(all="ignore"):
        return f(*args, **attrs)


INF, NAN = np.inf, np.nan
EXTREMES = (0.0, -0.0, INF, -INF, NAN, 1.0, -1.0)

unary("sqrt", np.sqrt, 0.1, 4, special_values=EXTREMES)
unary("rsqrt", lambda x: 1 / np.sqrt(x), 0.1, 4)
unary("reciprocal", lambda x: 1 / x, 0.2, 4, special_values=EXTREMES)
unary("exp", np.exp, special_values=(*EXTREMES, 200.0, -200.0))
unary("exp2", np.exp2, special_values=EXTREMES)
unary("expm1", np.expm1, special_values=(*EXTREMES, 1e-6, 200.0))
unary("log", np.log, 0.1, 4, scale=lambda x: np.abs(np.log(x)) + 1, special_values=EXTREMES)
unary("log2", np.log2, 0.1, 4, scale=lambda x: np.abs(np.log2(x)) + 1)
unary("log10", np.log10, 0.1, 4, scale=lambda x: np.abs(np.log10(x)) + 1)
unary("log1p", np.log1p, -0.9, 4, special_values=(0.0, INF, NAN, 1e-6))
unary("sin", np.sin, scale=lambda x: np.abs(np.sin(x)) + 0.25)
unary("cos", np.cos, scale=lambda x: np.abs(np.cos(x)) + 0.25)
unary("tan", np.tan, -1.4, 1.4, scale=lambda x: np.abs(np.tan(x)) * (1 + 0.25 / np.abs(np.cos(x))) + 0.25)
unary("asin", np.arcsin, -0.95, 0.95, scale=lambda x: 1 + 0 * x)
unary("acos", np.arccos, -0.95, 0.95, scale=lambda x: 1 + 0 * x)
unary("atan", np.arctan)
unary("sinh", np.sinh)
unary("cosh", np.cosh)
unary("tanh", np.tanh, special_values=EXTREMES)
unary("erf", special.erf, special_values=EXTREMES)
unary("erfc", special.erfc, scale=lambda x: 1 + 0 * x)
unary("neg", np.negative, dtypes=REAL)
unary("abs", np.abs, dtypes=REAL, special_values=EXTREMES)
unary("square", np.square, dtypes=REAL)
unary("sign", np.sign, dtypes=REAL, special_values=EXTREMES)
unary("floor", np.floor, dtypes=REAL, special_values=EXTREMES)
unary("ceil", np.ceil, dtypes=REAL)
unary("round", np.round, dtypes=REAL, special_values=(0.5, 1.5, 2.5, -0.5))
unary("trunc", np.trunc, dtypes=REAL)
RECORDS["neg"].bad = (Bad(TypeError, (np.array([True]),), {}),)
RECORDS["floor"].bad = (Bad(TypeError, (np.array([True]),), {}),)


def sigmoid(x):
    return special.expit(x)


unary("relu", lambda x: np.maximum(x, 0), dtypes=REAL, special_values=EXTREMES)
unary("sigmoid", sigmoid, special_values=(*EXTREMES, 100.0, -100.0))
unary("silu", lambda x: x * sigmoid(x))
unary("relu6", lambda x: np.clip(x, 0, 6), -8, 8)
unary("leaky_relu", lambda x, slope: np.where(x > 0, x, slope * x), slope=0.25)
unary("elu", lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), alpha=1.5)
unary("selu", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))))
unary("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6, -5, 5)
unary("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6, -5, 5, scale=lambda x: np.abs(x) + 0 * x)
unary("softplus", lambda x: np.logaddexp(0, x), special_values=(0.0, 100.0, -100.0, INF))
unary("mish", lambda x: x * np.tanh(np.logaddexp(0, x)), scale=lambda x: np.abs(x))
unary("logsigmoid", lambda x: -np.logaddexp(0, -x))
RECORDS["relu"].bad = (Bad(TypeError, (np.array([True]),), {}),)


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))
    return x * special.ndtr(x)


RECORDS["gelu"] = Record(
    gelu,
    lambda rng: [Case((rng.uniform(-3, 3, SHAPE),), {"approximate": a}) for a in ("none", "tanh")],
    FLOATS,
    (0,),
    scale=lambda x, approximate: np.abs(x),
    bad=(Bad(ValueError, (np.ones(2),), {"approximate": "erf"}),),
)


def binary(
    name,
    oracle,
    x=between(-3, 3),
    y=between(-3, 3),
    grad=(0, 1),
    dtypes=FLOATS,
    second=True,
    scale=None,
    bad=(),
    with_number=2.0,
):
    def cases(rng):
        a, b = x(rng), y(rng)
        out = [Case((a, b)), Case((a, b[:1]))]
        if with_number is not None:
            out += [Case((a, with_number)), Case((with_number, b))]
        return out

    RECORDS[name] = Record(oracle, cases, dtypes, grad, second, scale=scale, bad=bad)


SHAPES_DIFFER = Bad(ValueError, (np.ones((2, 3)), np.ones((4,))), {}, ("expected", "got", "(2, 3)", "(4,)"))
size = lambda x, y: np.abs(x) + np.abs(y)  # noqa: E731

binary("add", np.add, dtypes=FLOATS, scale=size, bad=(SHAPES_DIFFER,))
binary("sub", np.subtract, scale=size, bad=(SHAPES_DIFFER, Bad(TypeError, (np.array([True]), np.array([True])), {})))
binary("mul", np.multiply, bad=(SHAPES_DIFFER,))
binary("div", np.divide, y=between(0.5, 3))
binary("pow", np.power, x=between(0.2, 3), scale=lambda x, y: np.abs(np.power(x, y)) * (1 + np.abs(y * np.log(x))))
binary("maximum", np.maximum, dtypes=FLOATS)
binary("minimum", np.minimum, dtypes=FLOATS)
binary("atan2", np.arctan2, x=between(0.5, 3), y=between(0.5, 3))
binary("remainder", np.remainder, y=between(0.5, 3), with_number=None, scale=size)
binary("fmod", np.fmod, y=between(0.5, 3), with_number=None)
binary("floor_divide", np.floor_divide, y=between(0.5, 3), grad=None, with_number=None)

# Integers: NumPy's rules, and the table's where NumPy has none (division by 0 gives 0).
PAIRS = (np.array([7, -7, 7, -7, 0, 100]), np.array([3, 3, -3, -3, 5, 2]))


def integer_check(name, oracle):
    def check(tg, device):
        for dtype in ("int64", "int32", "int16", "int8"):
            a, b = (p.astype(dtype) for p in PAIRS)
            got = getattr(tg, name)(tg.tensor(a, device=device), tg.tensor(b, device=device))
            assert str(got.dtype).endswith(dtype)
            np.testing.assert_array_equal(got.cpu().numpy(), oracle(a, b).astype(dtype))

    RECORDS[name].check = check


for _name, _oracle in {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "floor_divide": np.floor_divide,
}.items():
    integer_check(_name, _oracle)


def _promotion(tg, device):
    """Dtypes of the Python array API standard."""
    t = lambda dtype: tg.ones((2,), dtype=getattr(tg, dtype), device=device)  # noqa: E731
    for a, b, result in (
        ("int8", "int32", "int32"),
        ("uint8", "int8", "int16"),
        ("float32", "float64", "float64"),
        ("int64", "float32", "float32"),
        ("float16", "bfloat16", "float32"),
        ("bool", "uint8", "uint8"),
    ):
        assert (t(a) + t(b)).dtype == getattr(tg, result), (a, b)
    assert (
        (t("float16") + 1.5).dtype == tg.float16
        and (t("int32") + 1).dtype == tg.int32
        and (t("int32") + 0.5).dtype == tg.float32
    )
    assert (t("bool") + t("bool")).dtype == tg.bool and (t("int64") / t("int64")).dtype == tg.float32
    integer_zero = tg.floor_divide(tg.tensor([5, -5], device=device), 0)
    assert integer_zero.tolist() == [0, 0]


RECORDS["div"].check = _promotion


def _pow_edges(tg, device):
    x = tg.tensor([0.0, 0.0, 2.0], dtype=tg.float64, device=device, requires_grad=True)
    y = tg.tensor([0.0, 2.0, 0.0], dtype=tg.float64, device=device, requires_grad=True)
    tg.pow(x, y).sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), [0, 0, 0])
    np.testing.assert_allclose(y.grad.cpu().numpy(), [0, 0, np.log(2)])
    for dtype in ("int64", "int32", "int16", "int8"):
        a, b = (tg.tensor(np.array(v, dtype), device=device) for v in ([2, 3, -2, 0, 5, 2, 1, -1, -1, -3], [3, 4, 5, 0, 0, -1, -3, -3, -2, -1]))
        assert tg.pow(a, b).tolist() == [8, 81, -32, 1, 1, 0, 1, -1, 1, 0]  # a power below 0 is a quotient, rounded towards 0
    for dtype in ("uint64", "uint32", "uint16", "uint8"):
        assert tg.pow(tg.tensor(np.array([2, 3, 0, 5], dtype), device=device), 3).tolist() == [8, 27, 0, 125]


RECORDS["pow"].check = _pow_edges
RECORDS["pow"].skip["other dtypes"] = ("never", "NumPy refuses powers of integers below 0; the check has integers")


def _share(tg, device):
    for f in (tg.maximum, tg.minimum):
        x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
        y = tg.tensor([1.0, 1.0], device=device, requires_grad=True)
        f(x, y).sum().backward()
        assert (x.grad + y.grad).tolist() == [1.0, 1.0] and x.grad.tolist()[0] == 0.5


RECORDS["minimum"].check = _share
RECORDS["greater_share"] = Record(covered_by="maximum minimum")

# ---- comparisons, logic, bits ----

SAME = np.array([[1, 2, 3], [0, 2, -3]])
OTHER = np.array([[1, 3, 2], [0, -2, 5]])
for _name, _oracle in {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    RECORDS[_name] = Record(
        _oracle,
        [Case((SAME, OTHER)), Case((SAME, 2)), Case((2, OTHER))],
        ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"),
        bad=(SHAPES_DIFFER,),
    )
for _name, _oracle in {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}.items():
    RECORDS[_name] = Record(_oracle, [Case((SAME, OTHER)), Case((SAME, OTHER[:1]))], ALL)
RECORDS["logical_not"] = Record(np.logical_not, [Case((SAME,))], ALL)
for _name, _oracle in {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
}.items():
    RECORDS[_name] = Record(
        _oracle, [Case((SAME, OTHER))], (*INTS, "bool"), bad=(Bad(TypeError, (np.ones(2), np.ones(2)), {}),)
    )
RECORDS["bitwise_not"] = Record(
    np.bitwise_not, [Case((SAME,))], (*INTS, "bool"), bad=(Bad(TypeError, (np.ones(2),), {}),)
)
SHIFTS = np.array([[0, 1, 2], [3, 1, 0]])
RECORDS["bitwise_left_shift"] = Record(
    np.left_shift, [Case((SAME, SHIFTS))], INTS, bad=(Bad(TypeError, (np.ones(2), np.ones(2)), {}),)
)
RECORDS["bitwise_right_shift"] = Record(
    np.right_shift, [Case((SAME, SHIFTS))], INTS, bad=(Bad(TypeError, (np.array([True]), np.array([True])), {}),)
)
ODD = np.array([0.0, 1.0, INF, -INF, NAN])
for _name, _oracle in {"isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite}.items():
    RECORDS[_name] = Record(_oracle, [Case((ODD,))], FLOATS)

# ---- three operands and more ----


def three(name, oracle, grad, scale=None, **more):
    def cases(rng):
        a, b, c = (rng.uniform(0.5, 2, SHAPE) for _ in range(3))
        return [Case((a, b, c)), Case((a, b[:1], 0.5))]

    RECORDS[name] = Record(oracle, cases, FLOATS, grad, scale=scale, **more)


RECORDS["where"] = Record(
    np.where,
    lambda rng: [
        Case((rng.uniform(size=SHAPE) > 0.5, rng.normal(size=SHAPE), rng.normal(size=SHAPE[1:])), fixed=(0,)),
        Case((rng.uniform(size=SHAPE) > 0.5, rng.normal(size=SHAPE), 0.0), fixed=(0,)),
    ],
    REAL,
    (1, 2),
    bad=(Bad(ValueError, (np.ones((2,)) > 0, np.ones((3,)), np.ones((3,))), {}),),
    skip={"in_place": ("never", "its first input is a condition, which holds no result")},
)
RECORDS["clip"] = Record(
    np.clip,
    lambda rng: [
        Case((rng.uniform(-3, 3, SHAPE), -1.0, 1.5)),
        Case((rng.uniform(-3, 3, SHAPE), rng.uniform(-2, -1, SHAPE), rng.uniform(1, 2, SHAPE))),
    ],
    FLOATS,
    (0, 1, 2),
    bad=(Bad(TypeError, (np.array([True]), False, True), {}),),
)
three(
    "fma",
    lambda x, y, z: np.longdouble(x) * y + z,
    (0, 1, 2),
    scale=lambda x, y, z: np.abs(x * y) + np.abs(z),
    bad=(Bad(TypeError, (np.array([True]), True, True), {}),),
)
three(
    "lerp",
    lambda x, y, w: x + w * (y - x),
    (0, 1, 2),
    scale=lambda x, y, w: np.abs(x) + np.abs(w) * (np.abs(x) + np.abs(y)),
)
for _name, _oracle in {
    "addcmul": lambda x, y, z, v: x + v * y * z,
    "addcdiv": lambda x, y, z, v: x + v * y / z,
}.items():
    RECORDS[_name] = Record(
        _oracle,
        lambda rng: [Case(tuple(rng.uniform(0.5, 2, SHAPE) for _ in range(3)) + (0.5,))],
        FLOATS,
        (0, 1, 2),
        scale=lambda x, y, z, v, f=_oracle: np.abs(x) + f(0 * x, np.abs(y), np.abs(z), abs(v)),
    )
RECORDS["masked_fill"] = Record(
    lambda x, m, v: np.where(m, v, x),
    lambda rng: [Case((rng.normal(size=SHAPE), rng.uniform(size=SHAPE[1:]) > 0.5, 2.0), fixed=(1,))],
    REAL,
    (0,),
    bad=(Bad(ValueError, (np.ones(3), np.ones((2, 3)) > 0, 0.0), {}),),
)

# ---- copies and casts ----

RECORDS["copy"] = Record(
    lambda x: x,
    lambda rng: [Case((rng.uniform(0, 100, (2, 3, 4)),)), Case((np.zeros((0, 3)),)), Case((np.array(3.0),))],
    ALL,
    (0,),
)


def _cast(tg, device):
    x = tg.tensor(np.array([1.7, -1.7, 300.0, -300.0, NAN, INF, 0.0]), device=device)
    assert x.to(tg.int32).tolist() == [1, -1, 300, -300, 0, 2**31 - 1, 0]
    assert x.to(tg.uint8).tolist() == [1, 0, 255, 0, 0, 255, 0]
    assert x.to(tg.bool).tolist() == [True, True, True, True, True, True, False]
    assert tg.tensor([300, -1], device=device).to(tg.uint8).tolist() == [44, 255]
    y = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    (y.to(tg.float64) * tg.tensor([3.0, 4.0], dtype=tg.float64, device=device)).sum().backward()
    assert y.grad.dtype == tg.float32 and y.grad.tolist() == [3.0, 4.0]


RECORDS["cast"] = Record(
    lambda x, dtype: x,
    lambda rng: [
        Case((rng.integers(0, 100, SHAPE).astype(float),), {"dtype": d})
        for d in ("float64", "float32", "int64", "int32", "uint8")
    ],
    ALL,
    check=_cast,
)


def _bitcast(tg, device):
    x = tg.tensor([1.0, -2.0], device=device)
    bits = tg.bitcast(x, tg.int32)
    assert bits.tolist() == np.array([1, -2], np.float32).view(np.int32).tolist()
    assert tg.bitcast(bits, tg.float32).tolist() == [1.0, -2.0]


RECORDS["bitcast"] = Record(
    lambda x, dtype: x.astype(np.float32).view(dtype),
    lambda rng: [Case((rng.normal(size=SHAPE),), {"dtype": "int32"})],
    ("float32",),
    check=_bitcast,
    bad=(Bad(ValueError, (np.ones(2),), {"dtype": "uint8"}),),
    skip={"other dtypes": ("never", "a dtype of another size is a ValueError; tests/python/test_numpy_interop.py has the others")},
)

# ---- backward programs: tested by the gradients of their ops ----

for _name in ("relu", "sigmoid", "tanh", "silu", "gelu"):
    RECORDS[f"{_name}_backward"] = Record(covered_by=_name)
