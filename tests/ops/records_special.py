# SPDX-License-Identifier: Apache-2.0
"""Special functions, the gamma family, functions of two operands, parts of floats: against SciPy and NumPy."""

from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, REAL, Bad, Case, Record
from scipy import special

RECORDS: dict[str, Record] = {}
SHAPE = (3, 5)
INF, NAN = np.inf, np.nan
SHAPES_DIFFER = Bad(ValueError, (np.ones((2, 3)), np.ones((4,))), {}, ("expected", "got", "(2, 3)", "(4,)"))
BOOLS = Bad(TypeError, (np.array([True]),), {}, ("floats",))


def unary(name, oracle, cases, edges=(), scale=None, dtypes=FLOATS, grad=(0,), second=True, **attrs):
    """`cases`: ranges of uniform numbers; `edges`: single values, without gradients."""

    def made(rng):
        out = [Case((rng.uniform(low, high, SHAPE),), attrs) for low, high in cases]
        return out + ([Case((np.array(edges, float),), attrs, smooth=False)] if len(edges) else [])

    RECORDS[name] = Record(oracle, made, dtypes, grad, second, scale=scale)


one_plus = lambda f: lambda x, **a: 1 + np.abs(f(x, **a))  # noqa: E731
EXTREMES = (0.0, -0.0, INF, -INF, NAN, 1.0, -1.0)
TINY = (2.0**-140, -(2.0**-120), 2.0**120, -(2.0**100))

unary("cbrt", lambda x: np.cbrt(np.longdouble(x)), [(0.1, 4), (-90, -0.1)], (*EXTREMES, *TINY, 27.0, -8.0))
unary("asinh", np.arcsinh, [(-3, 3), (-200, 200)], (*EXTREMES, *TINY, 1e-6, 2.0**31))
unary("acosh", np.arccosh, [(1.2, 4), (4, 500)], (1.0, 1 + 2.0**-7, INF, NAN, 0.5, 2.0**100))
unary("atanh", np.arctanh, [(-0.9, 0.9)], (*EXTREMES, 1e-6, 1 - 2.0**-8, 1.5))
unary("erfinv", special.erfinv, [(-0.8, 0.8), (0.86, 0.99)], (*EXTREMES, 1e-6, 1 - 2.0**-8, 1.5, -1.5))
pole = lambda x: np.abs(np.sinc(x)) + 1 / np.maximum(np.abs(x), 1)  # noqa: E731
unary("sinc", np.sinc, [(-3, 3), (-0.4, 0.4)], (0.0, 1.0, -2.0, 1e-20, NAN), pole)
RECORDS["sinc"].skip["other dtypes"] = ("never", "at integers it is 0 exactly, which NumPy's is not")


def logit(x, eps=None):
    return special.logit(x if eps is None else np.where(x < eps, eps, np.minimum(x, 1 - eps)))


unary("logit", logit, [(0.05, 0.95)], (0.0, 1.0, 0.5, -0.5, 2.0, NAN), one_plus(logit))
RECORDS["logit"].cases = lambda rng: [
    Case((rng.uniform(0.05, 0.95, SHAPE),)),
    Case((rng.uniform(0.3, 0.6, SHAPE),), {"eps": 0.25}),
    Case((np.array([0.0, 1.0, 0.1, 0.9]),), {"eps": 0.25}),
    Case((np.array([0.0, 1.0, 0.5, -0.5, 2.0, NAN]),), smooth=False),
    Case((np.array([0.0, 0.5, 0.75, 1.0]),), {"eps": 0.625}, smooth=False),  # below eps: eps; else above 1 - eps: 1 - eps
]
for _name, _oracle in {"i0": special.i0, "i1": special.i1}.items():
    RECORDS[_name] = Record(
        _oracle,
        lambda rng: [
            Case((rng.uniform(-4, 4, SHAPE),)),
            Case((rng.uniform(-60, 60, SHAPE),), smooth=False),
            Case((np.array([0.0, -0.0, NAN, 10.0, -20.0, 85.0]),), smooth=False),
        ],
        FLOATS,
        (0,),
    )


for _name, _oracle in {"i0e": special.i0e, "i1e": special.i1e}.items():
    RECORDS[_name] = Record(
        _oracle,
        lambda rng: [
            Case((rng.uniform(0.5, 4, SHAPE),)),
            Case((rng.uniform(-9, -0.5, SHAPE),)),
            Case((rng.uniform(-60, 60, SHAPE),), smooth=False),
            Case((np.array([0.0, -0.0, NAN, INF, -INF, 10.0, -20.0, 85.0, 1e4]),), smooth=False),
        ],
        FLOATS,
        (0,),
    )


def _bessel_ends(tg, device):
    x = tg.tensor([INF, -INF, 0.0], device=device, requires_grad=True)
    assert tg.i0(x).tolist() == [INF, INF, 1.0] and tg.i1(x).tolist() == [INF, -INF, 0.0]
    (g,) = tg.autograd.grad(tg.i1(x[2:]).sum(), [x])
    assert g.tolist()[2] == 0.5


RECORDS["i1"].check = _bessel_ends


def _sinc_slope(tg, device):
    """sinc's first and second derivative near 0, where the quotients cancel: -pi^2 x / 3 and -pi^2 / 3."""
    x = tg.tensor([0.0, 1e-4, -1e-3, 0.49, 0.51], dtype=tg.float64, device=device, requires_grad=True)
    (g,) = tg.autograd.grad(tg.sinc(x).sum(), [x], create_graph=True)
    (h,) = tg.autograd.grad(g.sum(), [x])
    at = np.longdouble(x.detach().cpu().numpy())
    pi = np.longdouble("3.14159265358979323846")
    small = np.abs(at) < 0.01
    series = -(pi**2) * at / 3 + pi**4 * at**3 / 30
    np.testing.assert_allclose(g.detach().cpu().numpy()[small], series[small].astype(float), rtol=1e-12)
    np.testing.assert_allclose(h.cpu().numpy()[small], (-(pi**2) / 3 + pi**4 * at**2 / 10)[small].astype(float), rtol=1e-9)
    with np.errstate(all="ignore"):
        exact = ((np.cos(pi * at) - np.sin(pi * at) / (pi * at)) / at).astype(float)
    np.testing.assert_allclose(g.detach().cpu().numpy()[3:], exact[3:], rtol=1e-12)


RECORDS["sinc"].check = _sinc_slope
RECORDS["sinc_slope"] = Record(covered_by="sinc")

unary("ndtri", special.ndtri, [(0.1, 0.9), (0.04, 0.07), (0.93, 0.96)], (0.0, 1.0, 0.5, 0.001, 0.999, 2.0**-20, 1 - 2.0**-8, -0.5, 1.5, NAN))
unary("erfcx", special.erfcx, [(-2, 3), (2, 30)], (0.0, INF, -INF, NAN, 100.0, 2.0**60, -4.0, -9.0))
size = lambda x: 1 / np.sqrt(1 + np.abs(np.where(np.isfinite(x), x, 0)))  # noqa: E731
unary("bessel_j0", lambda x: np.where(np.isinf(x), 0, special.j0(x)), [(-7, 7), (8.5, 60), (-60, -8.5)], (0.0, 8.0, -8.0, INF, -INF, NAN, 100.0), size)
unary("bessel_j1", lambda x: np.where(np.isinf(x), 0, special.j1(x)), [(-7, 7), (8.5, 60), (-60, -8.5)], (0.0, 8.0, -8.0, INF, -INF, NAN, 100.0), size)


def _bessel_of_x(tg, device):
    """Absolutely, down to zeros and between the two series: against SciPy's own series in float64."""
    x = np.concatenate([np.linspace(0, 20, 4001), np.linspace(20, 1000, 2000)])
    for name, f in (("bessel_j0", special.j0), ("bessel_j1", special.j1)):
        got = getattr(tg, name)(tg.tensor(x, device=device)).cpu().numpy()
        error = np.abs((got - f(x)) / size(x))
        assert error[x < 50].max() < 40 * 2.0**-52 and error.max() < 2000 * 2.0**-52  # SciPy rounds x - pi / 4
    low = tg.bessel_j1(tg.tensor([1e-30, -1e-300, -0.0], dtype=tg.float64, device=device)).cpu().numpy()
    np.testing.assert_allclose(low, [0.5e-30, -0.5e-300, 0.0], rtol=1e-14)


RECORDS["bessel_j0"].check = _bessel_of_x

# ---- gamma ----

terms = lambda x: 1 + np.abs(special.gammaln(x)) + np.abs(np.log(np.abs(x)))  # noqa: E731
unary("lgamma", special.gammaln, [(0.2, 9), (-0.8, -0.2), (9, 300)], (0.0, INF, -INF, NAN, -1.0, -2.0, 1e-30, 1e20), terms)


def _lgamma_zeros(tg, device):
    """lgamma is relatively exact about its zeros, 1 and 2: against Taylor's series there, whose next term is below eps."""
    gamma, zeta2, zeta3 = (np.longdouble(v) for v in ("0.57721566490153286061", "1.64493406684822643647", "1.20205690315959428540"))
    z = np.longdouble(2.0) ** -np.arange(18, 44, 3)
    z = np.concatenate([z, -z])
    one = -gamma * z + zeta2 / 2 * z**2 - zeta3 / 3 * z**3
    two = (1 - gamma) * z + (zeta2 - 1) / 2 * z**2 - (zeta3 - 1) / 3 * z**3
    for at, exact in ((1, one), (2, two)):
        got = tg.lgamma(tg.tensor((at + z).astype(float), device=device)).cpu().numpy()
        np.testing.assert_allclose(got, exact.astype(float), rtol=40 * 2.0**-52)
    assert tg.lgamma(tg.tensor([1.0, 2.0], device=device)).tolist() == [0.0, 0.0]


RECORDS["lgamma"].check = _lgamma_zeros


def cotangent(x):
    """pi |cot(pi x)| of negative x, the part that a reflection adds."""
    d = x - np.round(x)
    return np.where(x < 0, np.pi / np.maximum(np.abs(np.tan(np.pi * d)), 1e-300), 0)


unary(
    "digamma",
    special.digamma,
    [(0.2, 9), (-0.8, -0.2), (9, 300)],
    (INF, NAN, -1.0, 1e-20, 1.4616321449683623),
    lambda x: 2 + np.abs(special.digamma(x)) + cotangent(x),
)


def polygamma(x, n):
    if n == 0:
        return special.digamma(x)
    positive = special.polygamma(n, np.where(x > 0, x, 1 - x))
    d = np.longdouble(x - np.round(x))
    c = 1 / np.tan(np.longdouble("3.14159265358979323846") * np.where(d == 0, 0.5, d))
    pi = np.longdouble("3.14159265358979323846")
    bend = {1: -(pi**2) * (1 + c * c), 2: 2 * pi**3 * c * (1 + c * c)}.get(n, np.zeros(()))
    return np.where(x > 0, positive, (-1.0) ** n * positive - bend).astype(float)


RECORDS["polygamma"] = Record(
    polygamma,
    lambda rng: (
        [Case((rng.uniform(0.3, 9, SHAPE),), {"n": n}) for n in (1, 2, 3, 6, 11)]
        + [Case((rng.uniform(-0.8, -0.2, SHAPE) - 3,), {"n": n}) for n in (1, 2)]
        + [Case((np.array([1e3, INF, NAN]),), {"n": 2}, smooth=False), Case((rng.uniform(1, 2, SHAPE),), {"n": 0})]
    ),
    ("float32", "float64"),
    (0,),
    skip={"other dtypes": ("never", "integers below 1 are poles, and SciPy has none")},
    scale=lambda x, n: np.abs(polygamma(x, n)) + np.where(x < 0, cotangent(x) ** (n + 1), 0) + (n == 0) * 2,
    bad=(
        Bad(ValueError, (np.ones(2),), {"n": -1}, ("n between 0 and 12", "got -1")),
        Bad(ValueError, (np.ones(2),), {"n": 13}, ("got 13",)),
    ),
)

# ---- two operands ----


def binary(name, oracle, low=-3.0, high=3.0, edges=None, scale=None, grad=(0, 1), second=True, dtypes=FLOATS, bad=(), number=2.0):
    def cases(rng):
        a, b = rng.uniform(low, high, SHAPE), rng.uniform(low, high, SHAPE)
        out = [Case((a, b)), Case((a, b[:1])), Case((a, number)), Case((number, b))]
        if edges is not None:
            x, y = (v.ravel() for v in np.meshgrid(edges, edges))
            out.append(Case((x, y), smooth=False))
        return out

    RECORDS[name] = Record(oracle, cases, dtypes, grad, second, scale=scale, bad=(SHAPES_DIFFER, *bad))


def pairs(oracle, ranges, edges, scale=None, grad=(0, 1), second=True):
    """Operands of ranges of their own."""

    def cases(rng):
        out = [Case((rng.uniform(*a, SHAPE), rng.uniform(*b, SHAPE))) for a, b in ranges]
        (low, high), b = ranges[0]
        out += [Case((rng.uniform(low, high, SHAPE), rng.uniform(*b, SHAPE[1:]))), Case((0.5 * (low + high), rng.uniform(*b, SHAPE)))]
        x, y = (v.ravel() for v in np.meshgrid(*edges))
        return [*out, Case((x, y), smooth=False)]

    return Record(oracle, cases, FLOATS, grad, second, scale=scale, bad=(SHAPES_DIFFER,))


RECORDS["zeta"] = pairs(lambda s, q: np.where(s == 1, INF, np.where(q < 0, NAN, special.zeta(s, np.where(q < 0, 1, q)))),
                        [((1.5, 6), (0.3, 9)), ((6, 30), (1, 3))], ((2.0, 3.5, 1.0, 0.5, 60.0), (1.0, 0.25, 40.0, -0.5)), grad=(1,))


def _zeta_in_s(tg, device):
    s = tg.tensor([2.0], device=device, requires_grad=True)
    try:
        tg.zeta(s, 1.0).sum().backward()
    except NotImplementedError as e:
        assert "no closed form" in str(e)
    else:
        raise AssertionError("a gradient in s")
    assert tg.zeta(tg.tensor([2.0], device=device), tg.tensor([0.0, -3.0], device=device)).tolist() == [INF, INF]


RECORDS["zeta"].check = _zeta_in_s
INCOMPLETE = [((0.3, 6), (0.2, 7)), ((9, 40), (5, 60)), ((0.05, 0.9), (1.5, 9))]
ENDS = ((0.0, 0.5, 1.0, 12.0, INF, -1.0, NAN), (0.0, 0.5, 1.0, 20.0, INF, -1.0, NAN))
for _name, _oracle in {"gammainc": special.gammainc, "gammaincc": special.gammaincc}.items():
    RECORDS[_name] = pairs(_oracle, INCOMPLETE, ENDS, scale=lambda a, x: np.ones(np.broadcast_shapes(np.shape(a), np.shape(x))), second=False)


def _small_shares(tg, device):
    """Relatively, where one of the two is small; and the second derivative in x."""
    rng = np.random.default_rng(0)
    a = np.exp(rng.uniform(np.log(0.05), np.log(2000), 3000))
    x = a * np.exp(rng.normal(size=3000) * np.minimum(1.5, 4 / np.sqrt(a)))
    p, q = special.gammainc(a, x), special.gammaincc(a, x)
    ta, tx = tg.tensor(a, device=device), tg.tensor(x, device=device)
    for got, want in ((tg.gammainc(ta, tx), p), (tg.gammaincc(ta, tx), q)):
        seen = (want < 0.5) & (want > 1e-30)
        np.testing.assert_allclose(got.cpu().numpy()[seen], want[seen], rtol=1e-11)
    x = tg.tensor([2.0], dtype=tg.float64, device=device, requires_grad=True)
    (g,) = tg.autograd.grad(tg.gammainc(tg.tensor([3.0], dtype=tg.float64, device=device), x).sum(), [x], create_graph=True)
    (h,) = tg.autograd.grad(g.sum(), [x])
    np.testing.assert_allclose([g.item(), h.item()], [2 * np.exp(-2.0), 0.0], atol=1e-14)  # x^2 e^-x / 2 and its slope at 2


RECORDS["gammainc"].check = _small_shares

sums = lambda f: lambda x, y: 1 + np.abs(f(x, y))  # noqa: E731
EDGES = (0.0, -0.0, 1.0, -2.0, INF, -INF, NAN)
binary("hypot", np.hypot, edges=(*EDGES, 2.0**-120, 2.0**120), scale=None)
RECORDS["hypot"].dtypes = ("float32", "float64", "bfloat16")
binary("logaddexp", np.logaddexp, edges=EDGES, scale=sums(np.logaddexp))
binary("logaddexp2", np.logaddexp2, edges=EDGES, scale=sums(np.logaddexp2))
binary("xlogy", special.xlogy, 0.3, 3, edges=EDGES, scale=lambda x, y: np.abs(x) * (1 + np.abs(np.log(np.abs(y)))))


def _xlogy(tg, device):
    """Gradients at x = 0 are finite."""
    x = tg.tensor([0.0, 0.0, 0.0], device=device, requires_grad=True)
    y = tg.tensor([0.0, -1.0, 2.0], device=device, requires_grad=True)
    tg.xlogy(x, y).sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), [0, 0, np.log(2)], rtol=1e-6)
    assert y.grad.tolist()[1:] == [0.0, 0.0]


RECORDS["xlogy"].check = _xlogy
RECORDS["float_power"] = Record(
    np.float_power,
    lambda rng: [Case((rng.uniform(0.3, 3, SHAPE), rng.uniform(-2, 2, SHAPE))), Case((rng.uniform(0.3, 3, SHAPE), 2))],
    ("float64", "float32", "int32"),
    (0, 1),
    bad=(SHAPES_DIFFER,),
)
RECORDS["float_power"].scale = lambda x, y: np.abs(np.float_power(x, y)) * (1 + np.abs(y * np.log(x)))


def _float_power(tg, device):
    y = tg.float_power(tg.tensor([2, 3], device=device), -1)
    assert y.dtype == tg.float64 and y.tolist() == [0.5, 1 / 3]


RECORDS["float_power"].check = _float_power
binary("heaviside", np.heaviside, edges=(0.0, -0.0, 2.0, -1.0, INF, -INF), grad=(0, 1), bad=(Bad(TypeError, (np.array([True]), np.array([True])), {}),))
binary("copysign", np.copysign, edges=(0.0, -0.0, 2.0, -1.0, INF, -INF), grad=(0, 1))


def _signs(tg, device):
    for dtype in (tg.float32, tg.float64, tg.float16, tg.bfloat16):
        z = tg.copysign(tg.tensor([0.0, -0.0, 1.0], dtype=dtype, device=device), tg.tensor([-0.0, 1.0, -0.0], dtype=dtype, device=device))
        assert tg.signbit(z).tolist() == [True, False, True]
        assert np.signbit(z.to(tg.float64).cpu().numpy()).tolist() == [True, False, True]


RECORDS["copysign"].check = _signs


def isclose(x, y, rtol=1e-5, atol=1e-8, equal_nan=False):
    return np.isclose(x, y, rtol, atol, equal_nan)


A = np.array([1.0, 1.0, 0.0, INF, INF, NAN, NAN, -2.0, 100.0])
B = np.array([1.5, 1.0, 0.25, INF, -INF, NAN, 1.0, -2.25, INF])
RECORDS["isclose"] = Record(
    isclose,
    [Case((A, B), {"rtol": r, "atol": a, "equal_nan": n}) for r, a, n in ((0, 0.25, False), (0.5, 0, True), (0.125, 0.125, False))]
    + [Case((np.array([[1, 2], [3, 4]]), 2)), Case((A, B))],
    REAL,
    bad=(SHAPES_DIFFER,),
)



def _whole_numbers_are_exact(tg, device):
    x, y = tg.tensor([2**24, 2**40], device=device), tg.tensor([2**24 + 1, 2**40 + 1], device=device)
    assert tg.isclose(x, y, 0.0, 0.0).tolist() == [False, False] and tg.isclose(x, y, 0.0, 1.0).tolist() == [True, True]
    assert tg.isclose(tg.tensor([True], device=device), 1).tolist() == [True]


RECORDS["isclose"].check = _whole_numbers_are_exact

# ---- parts of floats ----

unary("deg2rad", np.deg2rad, [(-400, 400)], EXTREMES)
unary("rad2deg", np.rad2deg, [(-7, 7)], EXTREMES)
EDGE = np.array([0.0, -0.0, INF, -INF, 1.5, -2.5])
for _name, _oracle in {"signbit": np.signbit, "isposinf": np.isposinf, "isneginf": np.isneginf}.items():
    RECORDS[_name] = Record(_oracle, [Case((EDGE,)), Case((np.array([[3, -4], [0, 5]]),))], ALL)
for _name in ("isposinf", "isneginf"):
    RECORDS[_name].dtypes = FLOATS
unary("frac", lambda x: x - np.trunc(x), [(-9, 9)], (0.0, 1.5, -2.25, NAN))
RECORDS["frac"].bad = (Bad(TypeError, (np.array([1, 2]),), {}, ("floats", "int64")),)


def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


RECORDS["nan_to_num"] = Record(
    nan_to_num,
    [
        Case((np.array([1.0, NAN, INF, -INF, -0.5]),), {"nan": 2.0, "posinf": 7.0, "neginf": -8.0}, smooth=False),
        Case((np.array([[1.0, -2.0], [0.5, 4.0]]),), {}),
    ],
    REAL,
    (0,),
)


def _largest(tg, device):
    for dtype in (tg.float32, tg.float64, tg.float16, tg.bfloat16):
        y = tg.nan_to_num(tg.tensor([INF, -INF, NAN], dtype=dtype, device=device))
        assert y.tolist() == [tg.finfo(dtype).max, tg.finfo(dtype).min, 0.0]


RECORDS["nan_to_num"].check = _largest
RECORDS["nan_to_num"].dtypes = FLOATS
SIZES = np.array([0.0, -0.0, INF, -INF, NAN, 6.0, -0.4, 1.0, 0.5, 2.0**-14, 2.0**15, -(2.0**-24)])
RECORDS["frexp"] = Record(
    np.frexp,
    lambda rng: [
        Case((rng.uniform(1.1, 1.9, SHAPE) * 2.0 ** rng.integers(-9, 9, SHAPE),)),
        Case((SIZES,), smooth=False),
    ],
    FLOATS,
    (0,),
)


def _whole_range(tg, device):
    rng = np.random.default_rng(3)
    for dtype, low, high in ((np.float32, -149, 128), (np.float64, -1074, 1024)):
        x = np.ldexp(rng.uniform(1, 2, 2000), rng.integers(low, high, 2000)).astype(dtype)
        m, e = tg.frexp(tg.tensor(x, device=device))
        mantissa, exponent = np.frexp(x)
        np.testing.assert_array_equal(m.cpu().numpy(), mantissa)
        np.testing.assert_array_equal(e.cpu().numpy(), exponent)
        np.testing.assert_array_equal(tg.ldexp(m, e).cpu().numpy(), x)
        shift = rng.integers(-2 * high, 2 * high, 2000)
        with np.errstate(over="ignore"):
            exact = np.ldexp(x, shift)
        got = tg.ldexp(tg.tensor(x, device=device), tg.tensor(shift, device=device)).cpu().numpy()
        normal = (np.abs(exact) >= np.finfo(dtype).tiny) & np.isfinite(exact) | (exact == got)
        np.testing.assert_array_equal(got[normal], exact[normal])
        assert np.all(np.abs(got[~normal] - exact[~normal]) <= np.finfo(dtype).smallest_subnormal)


RECORDS["frexp"].check = _whole_range
RECORDS["ldexp"] = Record(
    lambda x, e: np.ldexp(x, e),
    lambda rng: [
        Case((rng.uniform(-3, 3, SHAPE), rng.integers(-4, 4, SHAPE)), fixed=(1,)),
        Case((np.array([0.0, INF, -INF, NAN, 1.0]), np.array([3, 3, -3, 2, 4])), fixed=(1,), smooth=False),
    ],
    FLOATS,
    (0,),
    bad=(Bad(TypeError, (np.ones(2), np.ones(2)), {}, ("integers", "float64")), Bad(ValueError, (np.ones((2, 3)), np.ones(4, int)), {})),
)
NEAR = tuple(v.ravel() for v in np.meshgrid((0.0, -0.0, 1.0, -2.0, 2.0**-14, INF, -INF, NAN), (0.0, -0.0, 1.5, -2.5, INF, -INF, NAN)))
RECORDS["nextafter"] = Record(
    lambda x, y: np.nextafter(x, y),
    lambda rng: [Case((rng.uniform(0.5, 1, SHAPE), rng.uniform(2, 3, SHAPE[1:]))), Case(NEAR, smooth=False)],
    ("float64",),
    (0, 1),
    skip={"other dtypes": ("never", "a step is one of the dtype; the check has float32, float16 and bfloat16")},
    bad=(Bad(TypeError, (np.array([1]), np.array([2])), {}, ("floats", "int64")), SHAPES_DIFFER),
)


def _next(tg, device):
    for dtype in (np.float32, np.float16):
        x, y = (v.astype(dtype) for v in NEAR)
        top = np.array([np.finfo(dtype).max, -np.finfo(dtype).max], dtype)
        x, y = np.concatenate([x, top]), np.concatenate([y, [np.inf, 0]]).astype(dtype)
        got = tg.nextafter(tg.tensor(x, device=device), tg.tensor(y, device=device)).cpu().numpy()
        with np.errstate(all="ignore"):
            exact = np.nextafter(x, y)
        np.testing.assert_array_equal(got, exact)
        same = (x == 0) & (y == 0)  # C gives y, NumPy's float16 x
        np.testing.assert_array_equal(np.signbit(got[same]), np.signbit(y[same]))
    assert tg.nextafter(tg.ones(1, dtype=tg.bfloat16, device=device), tg.zeros(1, dtype=tg.bfloat16, device=device)).item() == 1 - 2.0**-8


RECORDS["nextafter"].check = _next
RECORDS["next_bits"] = Record(covered_by="nextafter")


def _pow_as_numpy(tg, device):
    """C's special cases of pow, as NumPy has them, and log1p, expm1, exp2 at theirs."""
    edges = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, INF, -INF, NAN])
    x, y = (v.ravel() for v in np.meshgrid(edges, edges))
    for dtype in (np.float32, np.float64):
        a, b = x.astype(dtype), y.astype(dtype)
        with np.errstate(all="ignore"):
            exact = np.power(a, b)
        got = tg.pow(tg.tensor(a, device=device), tg.tensor(b, device=device)).cpu().numpy()
        np.testing.assert_allclose(got, exact, rtol=16 * np.finfo(dtype).eps)
        known = ~np.isnan(exact)
        np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(exact[known]))


RECORDS["float_power"].check = lambda tg, device: (_float_power(tg, device), _pow_as_numpy(tg, device))
