# SPDX-License-Identifier: Apache-2.0
"""Complex numbers and 8-bit floats: values against NumPy, gradients against finite differences, files, NumPy, DLPack."""
import operator

import ml_dtypes
import numpy as np
import pytest
import scipy.linalg

import tengen as tg

COMPLEX = {"complex64": 2.0**-23, "complex128": 2.0**-52}
SMALL = {"float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2}
SHAPES = [(), (1,), (0,), (3, 0, 2), (5,), (4, 3)]


def sample(rng, shape, dtype="complex128"):
    return np.asarray(rng.uniform(-2, 2, shape) + 1j * rng.uniform(-2, 2, shape)).astype(dtype)


def every_code(dtype):
    return np.arange(256, dtype=np.uint8).view(SMALL[dtype])


# ---- in and out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("shape", SHAPES)
def test_numpy_both_ways(rng, dtype, shape):
    z = sample(rng, shape, dtype)
    for t in (tg.tensor(z), tg.from_numpy(z)):
        assert t.dtype == getattr(tg, dtype) and t.is_complex() and tuple(t.shape) == shape
        assert t.numpy().dtype == z.dtype and t.numpy().tobytes() == z.tobytes()
        assert t.tolist() == z.tolist()


@pytest.mark.parametrize("dtype", COMPLEX)
def test_dlpack_both_ways(rng, dtype):
    z = sample(rng, (4, 3), dtype)
    shared = tg.from_dlpack(z)
    z[1, 2] = 5 - 6j
    assert shared.dtype == getattr(tg, dtype) and shared[1, 2].item() == 5 - 6j
    t = tg.tensor(z)
    back = np.from_dlpack(t.T)
    assert back.dtype == z.dtype and (back == z.T).all()


@pytest.mark.parametrize("dtype", SMALL)
def test_small_floats_through_dlpack(dtype):
    codes = every_code(dtype)
    t = tg.tensor(codes)
    back = tg.from_dlpack(t)  # NumPy's own takes no 8-bit floats
    assert back.dtype == t.dtype and back.numpy().tobytes() == codes.tobytes()


def test_python_numbers():
    t = tg.tensor([1, 2.5, 3 - 4j])
    assert t.dtype == tg.complex64 and t.tolist() == [1, 2.5, 3 - 4j]
    assert complex(t[2]) == 3 - 4j and (t * 1j).dtype == tg.complex64
    assert (tg.tensor([1.0], dtype=tg.float64) + 1j).dtype == tg.complex128
    assert (tg.tensor([1]) + 1j).tolist() == [1 + 1j]
    t[0] = 7j
    assert t[0].item() == 7j
    assert tg.full((2,), 2j).tolist() == [2j, 2j]


@pytest.mark.parametrize("size", [3, 5000])
@pytest.mark.parametrize("dtype", [*COMPLEX, *SMALL])
def test_filled(size, dtype):
    t = tg.zeros(size, dtype=dtype)
    for made, value in ((t, 0), (tg.ones(size, dtype=dtype), 1), (tg.full((size,), 2, dtype=dtype), 2), (tg.full((size,), 1.5, dtype=dtype), 1.5),
                        (tg.zeros_like(t), 0), (tg.ones_like(t), 1), (tg.full_like(t, 3), 3)):
        assert made.dtype == getattr(tg, dtype)
        np.testing.assert_array_equal(made.numpy().astype("complex128"), np.full(size, value))


def test_over_nothing():
    z = tg.zeros((0, 3), dtype=tg.complex64)
    assert z.sum(0).tolist() == [0, 0, 0] and z.prod(0).tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", SMALL)
def test_small_floats_round_trip_every_code(dtype):
    codes = every_code(dtype)
    t = tg.tensor(codes)
    assert t.dtype == getattr(tg, dtype)
    assert t.numpy().dtype == codes.dtype and t.numpy().tobytes() == codes.tobytes()
    np.testing.assert_array_equal(t.to(tg.float32).numpy(), codes.astype(np.float32))


@pytest.mark.parametrize("dtype", SMALL)
def test_small_floats_round_to_nearest_even(rng, dtype):
    finite = np.unique(every_code(dtype).astype(np.float32)[np.isfinite(every_code(dtype).astype(np.float32))])
    x = np.concatenate([finite, (finite[1:] + finite[:-1]) / 2, rng.uniform(-500, 500, 999).astype(np.float32), [np.inf, -np.inf, np.nan]])
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(SMALL[dtype])
    got = tg.tensor(x).to(getattr(tg, dtype)).numpy()
    np.testing.assert_array_equal(got.astype(np.float32), expected.astype(np.float32))


@pytest.mark.parametrize("dtype", [*COMPLEX, *SMALL])
def test_save_and_load(tmp_path, rng, dtype):
    kept = {}
    for i, shape in enumerate(SHAPES):
        value = sample(rng, shape, dtype) if dtype in COMPLEX else np.asarray(rng.uniform(-9, 9, shape)).astype(SMALL[dtype])
        kept[str(i)] = tg.tensor(value)
    tg.save(kept, tmp_path / "t.safetensors")
    back = tg.load(tmp_path / "t.safetensors")
    assert list(back) == list(kept)
    for name, t in kept.items():
        assert back[name].dtype == t.dtype == getattr(tg, dtype) and back[name].shape == t.shape
        assert back[name].numpy().tobytes() == t.numpy().tobytes()


# ---- values ----------------------------------------------------------------------------------------------------------


def close(got, expected, bound):
    """|got - expected| <= bound, for numbers of the plane."""
    got = got.numpy()
    assert got.shape == expected.shape and got.dtype == expected.dtype
    assert (np.abs(got.astype("complex128") - expected.astype("complex128")) <= bound).all()


# In units of eps |result|. A product's parts err by at most sqrt(5) u (Brent, Percival, Zimmermann 2007) and NumPy's by as
# much; a quotient is a product with roundings of the denominator.
@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("op, bound", [(operator.add, 0), (operator.sub, 0), (operator.mul, 3), (operator.truediv, 12)])
def test_arithmetic(rng, dtype, op, bound):
    a, b = sample(rng, (4, 3), dtype), sample(rng, (4, 3), dtype)
    for x, y in ((a, b), (a, b[0]), (a.T, b.T), (a[:, ::2], b[:, 1:])):
        expected = op(x, y)
        close(op(tg.tensor(x), tg.tensor(y)), expected, bound * COMPLEX[dtype] * np.abs(expected))
    left, right = tg.tensor(a).T, tg.tensor(b).T  # strided operands
    close(op(left, right), op(a.T, b.T), bound * COMPLEX[dtype] * np.abs(op(a.T, b.T)))
    real = a.real.copy()
    expected = op(real, b)
    close(op(tg.tensor(real), tg.tensor(b)), expected, max(bound, 1) * COMPLEX[dtype] * np.abs(expected))


def test_division_stays_in_range():
    big = tg.tensor([1e300 + 1e300j], dtype=tg.complex128)
    assert abs((big / big).item() - 1) <= 4 * COMPLEX["complex128"]


@pytest.mark.parametrize("dtype", COMPLEX)
def test_exp_and_abs(rng, dtype):
    z = sample(rng, (4, 3), dtype)
    close(tg.exp(tg.tensor(z)), np.exp(z), 8 * COMPLEX[dtype] * np.abs(np.exp(z)))
    size = tg.abs(tg.tensor(z))
    assert size.dtype == getattr(tg, {"complex64": "float32", "complex128": "float64"}[dtype])
    close(size, np.abs(z), 4 * COMPLEX[dtype] * np.abs(z))
    assert tg.abs(tg.tensor([3 - 4j])).tolist() == [5.0]


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("shapes", [((4, 5), (5, 3)), ((2, 4, 5), (5, 3)), ((5,), (5, 3)), ((5,), (5,)), ((3, 0), (0, 2))])
def test_matmul(rng, dtype, shapes):
    a, b = (sample(rng, s, dtype) for s in shapes)
    k = a.shape[-1]
    size = np.abs(a).astype("float64") @ np.abs(b).astype("float64")  # each part is a sum of 2k products; twice for NumPy's
    close(tg.tensor(a) @ tg.tensor(b), np.asarray(a @ b), 4 * (k + 1) * COMPLEX[dtype] * size)


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)])
def test_sum(rng, dtype, axis):
    z = sample(rng, (4, 3, 5), dtype)
    bound = 2 * z.size * COMPLEX[dtype] * np.abs(z).sum(axis).astype("float64")
    close(tg.sum(tg.tensor(z), axis=axis), np.asarray(z.sum(axis)), bound)
    close(tg.sum(tg.tensor(z).transpose(0, 1), axis=axis), np.asarray(z.swapaxes(0, 1).sum(axis)), bound.max())


# Elementwise functions against NumPy in the next wider precision. They are made of real functions of the parts, each of which may be off by a
# few eps of its own size (the table's bounds): 16 eps of |f|, and of |z f'(z)| for what a rounding of z or of a part of it does.
WIDER = {"complex64": "complex128", "complex128": "clongdouble"}
ELEMENTWISE = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
    "sqrt": np.sqrt, "rsqrt": lambda z: 1 / np.sqrt(z), "reciprocal": lambda z: 1 / z, "square": np.square, "neg": np.negative,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "sign": lambda z: z / np.abs(z), "conj": np.conj,
}


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(rng, dtype, name):
    f, oracle = getattr(tg, name), ELEMENTWISE[name]
    z = sample(rng, (40, 25), dtype)
    z[0, :20] *= 1e-3  # near 0, where expm1 and log1p matter
    z[1] *= 20
    wide = z.astype(WIDER[dtype])
    expected = oracle(wide)
    h = 1e-4
    moves = np.abs(oracle(wide * (1 + h)) - oracle(wide * (1 - h))) / (2 * h)  # |z f'(z)|, but at a branch cut
    bound = 16 * COMPLEX[dtype] * np.maximum(np.abs(expected), np.minimum(moves, 10 * (np.abs(expected) + np.abs(wide))))
    for part, slices in ((z, ...), (z[::2, 1:], (slice(None, None, 2), slice(1, None)))):
        got = f(tg.tensor(z)[slices] if slices is not ... else tg.tensor(part)).numpy()
        assert got.dtype == z.dtype
        off = np.abs(got.astype(wide.dtype) - expected[slices]) / bound[slices]
        assert (off <= 1).all(), f"{name} {part.ravel()[off.argmax()]}: {off.max() * 16:.3g} eps"


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n not in ("sign", "exp2", "log2", "sigmoid", "rsqrt", "reciprocal", "square")])
def test_elementwise_at_the_edges(name):
    """Zeros and infinities as C's Annex G has them (NumPy's complex functions), without the signs of zeros."""
    parts = [0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
    z = np.array([complex(a, b) for a in parts for b in parts])
    got = getattr(tg, name)(tg.tensor(z)).numpy()
    with np.errstate(all="ignore"):
        expected = np.exp(z) - 1 if name == "expm1" else ELEMENTWISE[name](z)  # NumPy's expm1 has NaN where exp has not
    for here, g, e in zip(z, got, expected):
        for a, b in ((g.real, e.real), (g.imag, e.imag)):
            if np.isinf(b) and np.isinf(a):
                continue  # the sign of an infinity is open in places
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-300, err_msg=f"{name}({here}): {g}, expected {e}")


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("name", ["pow", "fma", "lerp", "addcmul", "addcdiv", "xlogy"])
def test_elementwise_of_several(rng, dtype, name):
    a, b, c = (sample(rng, (40, 25), dtype) for _ in range(3))
    x, y, w = (v.astype(WIDER[dtype]) for v in (a, b, c))
    t, u, v = map(tg.tensor, (a, b, c))
    got, expected, size = {
        "pow": lambda: (tg.pow(t, u), x**y, np.abs(x**y) * (1 + np.abs(y * np.log(x)))),
        "fma": lambda: (tg.fma(t, u, v), x * y + w, np.abs(x * y) + np.abs(w)),
        "lerp": lambda: (tg.lerp(t, u, v), x + w * (y - x), np.abs(x) + np.abs(w) * (np.abs(x) + np.abs(y))),
        "addcmul": lambda: (tg.addcmul(t, u, v, value=0.5), x + y * w / 2, np.abs(x) + np.abs(y * w)),
        "addcdiv": lambda: (tg.addcdiv(t, u, v, value=0.5), x + y / w / 2, np.abs(x) + np.abs(y / w)),
        "xlogy": lambda: (tg.xlogy(t, u), x * np.log(y), np.abs(x) * (1 + np.abs(np.log(y)))),
    }[name]()
    assert str(got.dtype).endswith(dtype)
    assert (np.abs(got.numpy().astype(x.dtype) - expected) <= 16 * COMPLEX[dtype] * size).all()


@pytest.mark.parametrize("number", [0, 1, 2, -1, 0.5, 3, 1j, 2 - 1j])
def test_powers_by_numbers(rng, number):
    z = sample(rng, (50,))
    expected = z.astype("clongdouble") ** number
    bound = 16 * COMPLEX["complex128"] * np.abs(expected) * (1 + np.abs(number * np.log(z)))
    assert (np.abs((tg.tensor(z) ** number).numpy() - expected) <= bound).all()


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_running(rng, dtype, axis, name):
    z = sample(rng, (4, 7, 3), dtype)
    wide = z.astype(WIDER[dtype])
    expected = getattr(np, name)(wide, axis=axis)
    size = np.cumsum(np.abs(wide), axis) if name == "cumsum" else np.abs(expected) * 3
    for t in (tg.tensor(z), tg.tensor(np.asfortranarray(z).T).T):
        got = getattr(tg, name)(t, axis=axis).numpy().astype(wide.dtype)
        assert (np.abs(got - expected) <= z.shape[axis] * COMPLEX[dtype] * size).all()


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1])
@pytest.mark.parametrize("name", ["mean", "prod", "var", "std", "nansum", "norm", "count_nonzero", "any", "all"])
def test_reductions(rng, dtype, axis, name):
    z = sample(rng, (4, 3, 5), dtype)
    z[1, 2, 3] = 0
    if name == "prod":
        z = z / np.abs(z).clip(0.5)
    wide = z.astype(WIDER[dtype])
    n = z.size // np.asarray(z.sum(axis)).size
    a = {} if axis is None else {"axis": axis}
    oracle = {"norm": lambda v, axis=None: np.sqrt((np.abs(v) ** 2).sum(axis))}.get(name) or getattr(np, name)
    expected = np.asarray(oracle(wide, **a, **({"ddof": 1} if name in ("var", "std") else {})))
    got = getattr(tg, name)(tg.tensor(z), **a)
    assert got.numpy().dtype == oracle(z, **a).dtype and tuple(got.shape) == expected.shape
    if expected.dtype.kind in "bi":
        np.testing.assert_array_equal(got.numpy(), expected)
        return
    size = {"prod": np.abs(expected) * 3, "std": 2 * np.abs(wide).max()}.get(name, (np.abs(wide) ** (2 if name == "var" else 1)).sum(**a))
    assert (np.abs(got.numpy() - expected) <= 2 * (n + 2) * COMPLEX[dtype] * size).all()


@pytest.mark.parametrize("name", ["eq", "ne", "logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite", "isreal"])
def test_predicates(name):
    values = np.array([0, 1, 1j, 1 + 1j, complex(np.nan, 0), complex(0, np.nan), complex(np.inf, np.nan), complex(0, -np.inf), -0.0])
    oracle = {"eq": np.equal, "ne": np.not_equal}.get(name) or getattr(np, name)
    pairs = name in ("eq", "ne") or name.startswith("logical") and name != "logical_not"
    x, y = (values[:, None], values[None]) if pairs else (values, None)
    got = getattr(tg, name)(tg.tensor(x), tg.tensor(y)) if pairs else getattr(tg, name)(tg.tensor(x))
    np.testing.assert_array_equal(got.numpy(), oracle(x, y) if pairs else oracle(x))


MOVES = {
    "where": (lambda t: tg.where(t.real > 0, t, 2j), lambda z: np.where(z.real > 0, z, 2j)),
    "masked_fill": (lambda t: t.masked_fill(t.imag > 0, 3j), lambda z: np.where(z.imag > 0, 3j, z)),
    "concat": (lambda t: tg.concat([t, t[:1]], 1 - 1), lambda z: np.concatenate([z, z[:1]])),
    "pad": (lambda t: tg.pad(t, (0, 1, 0, 2)), lambda z: np.pad(z, ((0, 0), (1, 2)))),
    "index": (lambda t: t[[2, 0], 1:], lambda z: z[[2, 0], 1:]),
    "take_along_axis": (lambda t: tg.take_along_axis(t, tg.tensor([[1, 0]] * 4), 1), lambda z: np.take_along_axis(z, np.array([[1, 0]] * 4), 1)),
    "roll": (lambda t: tg.roll(t, 1, 1), lambda z: np.roll(z, 1, 1)),
    "flip": (lambda t: tg.flip(t, 0), lambda z: np.flip(z, 0)),
    "tril": (tg.tril, np.tril), "diagonal": (lambda t: t.diagonal(), np.diagonal), "tile": (lambda t: tg.tile(t, (2, 3)), lambda z: np.tile(z, (2, 3))),
    "trace": (lambda t: tg.trace(t), np.trace),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(rng, name):
    z = sample(rng, (4, 3))
    f, oracle = MOVES[name]
    np.testing.assert_array_equal(f(tg.tensor(z)).numpy(), oracle(z)) if name != "trace" else np.testing.assert_allclose(f(tg.tensor(z)).item(), oracle(z), rtol=1e-15)


def test_written_into(rng):
    z, w = sample(rng, (4, 3)), sample(rng, (3,))
    t = tg.tensor(z)
    t *= tg.tensor(w)
    close(t, z * w, 3 * COMPLEX["complex128"] * np.abs(z * w))
    t = tg.tensor(z)
    t[1:] = t[:-1]  # overlapping memory
    np.testing.assert_array_equal(t.numpy(), np.concatenate([z[:1], z[:-1]]))


@pytest.mark.parametrize("y", [2, 0.5, 1 - 0.5j])
def test_float_power(rng, y):
    z = sample(rng, 5).astype(np.complex64)
    got = tg.float_power(tg.tensor(z), y)
    assert got.dtype == tg.complex128
    np.testing.assert_allclose(got.numpy(), np.float_power(z, y), rtol=1e-12)


def test_linspace():
    np.testing.assert_allclose(tg.linspace(1 + 1j, -2, 7, dtype=tg.complex128).numpy(), np.linspace(1 + 1j, -2, 7), atol=1e-15)
    assert tg.linspace(tg.tensor(1j), 2, 3).dtype == tg.complex64 and tg.linspace(0, 1, 2, dtype=tg.complex64).tolist() == [0, 1]
    with pytest.raises(TypeError, match="floating|real"):
        tg.linspace(1j, 2, 3, dtype=tg.float32)


def test_unique_by_both_parts(rng):
    z = (rng.integers(0, 3, (4, 6)) + 1j * rng.integers(0, 2, (4, 6))).astype(np.complex64)
    got = tg.unique(tg.tensor(z), return_index=True, return_inverse=True, return_counts=True)
    want = np.unique(z, return_index=True, return_inverse=True, return_counts=True)
    assert got[0].dtype == tg.complex64 and tuple(got[2].shape) == z.shape
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g.numpy(), w.reshape(tuple(g.shape)))
    np.testing.assert_array_equal(tg.unique_consecutive(tg.tensor([1j, 1j, 1, 1j])).numpy(), [1j, 1, 1j])
    assert tg.unique(tg.tensor(np.zeros(0, np.complex64))).shape == (0,)


def test_householder_product(rng):
    m = sample(rng, (5, 3))
    (h, tau), _ = scipy.linalg.qr(m, mode="raw")
    got = tg.linalg.householder_product(tg.tensor(np.ascontiguousarray(h)), tg.tensor(tau)).numpy()
    np.testing.assert_allclose(got, scipy.linalg.qr(m, mode="economic")[0], atol=1e-13)


# ---- gradients -------------------------------------------------------------------------------------------------------

SMOOTH = [n for n in ELEMENTWISE if n != "exp"]  # random points are not near a branch cut or a pole


@pytest.mark.parametrize("f, shapes", [
    (lambda a, b: a * b, ((4, 3), (3,))), (lambda a: tg.exp(a), ((4, 3),)), (lambda a, b: a @ b, ((4, 5), (5, 3))),
    (lambda a, b: a / b, ((4, 3), (4, 3))), (lambda a: tg.abs(a), ((4, 3),)), (lambda a, b: tg.lerp(a, b, 0.4 + 0.3j), ((4, 3), (3,))),
    (lambda a: tg.tanhshrink(0.25 * a), ((4, 3),)),
    *((lambda a, n=n: getattr(tg, n)(a), ((4, 3),)) for n in SMOOTH), (lambda a, b: a**b, ((4, 3), (4, 3))),
    (lambda a: tg.cumsum(a, 0), ((4, 3),)), (lambda a: tg.cumprod(a, 1), ((4, 3),)), (lambda a: a.mean(0), ((4, 3),)), (lambda a: a.var(1), ((4, 3),)),
    (lambda a: a.prod(0), ((4, 3),)), (lambda a: tg.norm(a), ((4, 3),)),
], ids=["mul", "exp", "matmul", "div", "abs", "lerp", "tanhshrink", *SMOOTH, "pow", "cumsum", "cumprod", "mean", "var", "prod", "norm"])
def test_gradients_are_slopes_of_both_parts(rng, f, shapes):
    """d/d re + i d/d im of a real number, by central differences."""
    values = [sample(rng, s) for s in shapes]
    weight = sample(rng, f(*map(tg.tensor, values)).shape)

    def loss(*tensors):
        return (f(*tensors) * tg.tensor(weight)).real.sum()

    leaves = [tg.tensor(v, requires_grad=True) for v in values]
    loss(*leaves).backward()
    h = 2.0**-17
    for i, (value, leaf) in enumerate(zip(values, leaves, strict=True)):
        numeric = np.zeros_like(value)
        for at in np.ndindex(value.shape):
            for unit in (1.0, 1j):
                step = np.zeros_like(value)
                step[at] = h * unit
                ends = [loss(*map(tg.tensor, [*values[:i], value + s * step, *values[i + 1:]])).item() for s in (1, -1)]
                numeric[at] += unit * (ends[0] - ends[1]) / (2 * h)
        assert leaf.grad.dtype == tg.complex128
        # truncation h^2 f''' and rounding eps |loss| / h, with room for the third derivatives of a quotient near 0
        np.testing.assert_allclose(leaf.grad.numpy(), numeric, atol=1e-7 * (1 + np.abs(numeric).max()), rtol=0)


def test_a_real_operand_gets_a_real_gradient(rng):
    x, z = rng.uniform(-1, 1, 3), sample(rng, 3)
    t = tg.tensor(x, requires_grad=True)
    (t * tg.tensor(z)).real.sum().backward()
    assert t.grad.dtype == tg.float64
    np.testing.assert_allclose(t.grad.numpy(), z.real, rtol=1e-15)


# ---- what is not supported says so -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [
    lambda z: tg.hypot(z, z), lambda z: tg.isposinf(z), lambda z: tg.isneginf(z), lambda z: tg.nan_to_num(z), lambda z: tg.randn(2, dtype=z.dtype),
    lambda z: z < z, lambda z: tg.floor(z), lambda z: tg.maximum(z, z), lambda z: z & z, lambda z: float(z[0]),
    lambda z: tg.full((2,), 1j, dtype=tg.float32), lambda z: tg.zeros(2).__setitem__(0, 1j),
    lambda z: tg.mse_loss(tg.ones(2), z), lambda z: tg.nn.functional.gaussian_nll_loss(tg.ones(2), z, tg.ones(2)),
], ids=["hypot", "isposinf", "isneginf", "nan_to_num", "randn", "less", "floor", "maximum", "and", "float", "full", "setitem", "mse_loss", "gaussian_nll_loss"])
def test_complex_where_real_is_wanted(call):
    with pytest.raises(TypeError, match="(?i)real|complex"):
        call(tg.tensor([1 + 2j, 3j]))


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("op", [operator.add, operator.mul, operator.matmul])
def test_small_floats_do_not_compute(dtype, op):
    t = tg.ones((2, 2)).to(getattr(tg, dtype))
    with pytest.raises(TypeError, match="cast|float8"):
        op(t, t)


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("op", ["floor", "ceil", "round", "trunc", "sum", "prod", "nansum", "cumsum", "cumprod", "trace", "nan_to_num", "mean", "sort", "argmax"])
def test_small_floats_are_not_taken_for_integers(dtype, op):
    t = tg.tensor([[1.5, -2.75], [3.5, 0.25]]).to(getattr(tg, dtype))
    axis = {"axis": 0} if op.startswith("cum") else {}
    with pytest.raises(TypeError, match="expected .*, got float8"):
        getattr(tg, op)(t, **axis)
    if op in ("sum", "prod", "cumsum", "cumprod"):
        wide = getattr(tg, op)(t, dtype=tg.float32, **axis)
        np.testing.assert_array_equal(wide.numpy(), getattr(np, op)(t.numpy().astype(np.float32), **axis))


def test_small_floats_meet_no_other_dtype():
    with pytest.raises(TypeError, match="cast"):
        tg.ones(2).to(tg.float8_e5m2) + tg.ones(2)
