# SPDX-License-Identifier: Apache-2.0
"""Discrete Fourier transforms against numpy.fft in long double, and gradients of both orders by finite differences.

The bound is on the norm of the error. By Higham, Accuracy and Stability of Numerical Algorithms (2002), theorem 24.2: every factor p of
n adds at most a product with a root of unity (4 roundings of half an eps) and a sum of p products, (p + 2) / 2 eps sqrt(p) of
its norm. A prime factor of 64 or more makes it a convolution with a chirp of a power of two L >= 2 n - 1: three transforms, the
last ones' errors times max |B| / sqrt(n) <= 1.5, B being the chirp's spectrum (stationary phase, with Fresnel's overshoot).
"""

from __future__ import annotations

import math

import numpy as np
from record import EPS, Bad, Case, Record
from records_complex import slope

RECORDS: dict[str, Record] = {}
REAL = {"complex64": "float32", "complex128": "float64", "float32": "float32", "float64": "float64"}
SIZES = (1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 30, 61, 64, 67, 97, 105, 128, 210, 211, 256, 1000, 1024)


def depth(n):
    """Multiples of eps by which the norm of a transform of n numbers may be off."""
    factors, p, rest = [], 2, n
    while rest > 1:
        while rest % p == 0:
            factors.append(p)
            rest //= p
        p += 1
    if factors and factors[-1] >= 64:
        return 1.5 * (3 * depth(2 ** math.ceil(math.log2(2 * n - 1))) + 8)
    return 2 + sum(2 + math.sqrt(p) * (p + 2) / 2 for p in factors)  # 2: the factor and the rounding to the result's dtype


def other(norm):
    """The norm with which the inverse has the same factor."""
    return {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}[norm]


def hfftn(x, s=None, axes=None, norm=None):
    return np.fft.irfftn(np.conj(x), s, axes, norm=other(norm))


def ihfftn(x, s=None, axes=None, norm=None):
    return np.conj(np.fft.rfftn(x, s, axes, norm=other(norm)))


ORACLES = {"fft": np.fft.fftn, "ifft": np.fft.ifftn, "rfft": np.fft.rfftn, "irfft": np.fft.irfftn, "hfft": hfftn, "ihfft": ihfftn}


def sample(rng, shape, dtype):
    x = rng.uniform(-1, 1, shape)
    return (x + 1j * rng.uniform(-1, 1, shape)).astype(dtype) if dtype.startswith("complex") else x.astype(dtype)


def sizes_of(kind, x, result, s, axes):
    """The sizes of the transforms along `axes`."""
    return [result.shape[a] if kind not in ("rfft", "ihfft") or a != axes[-1] else (x.shape[a] if s is None else s[-1]) for a in axes]


def size_of(kind, x, n, norm):
    """The norm that the result has at most."""
    backward = kind in ("ifft", "irfft", "ihfft")
    factor = n**-0.5 if norm == "ortho" else 1.0 if (norm == "forward") == backward else 1 / n
    return factor * math.sqrt(n) * np.linalg.norm(x.ravel()) * (math.sqrt(2) if kind in ("irfft", "hfft") else 1)


def compare(got, x, kind, s, axes, norm):
    """`got` is the transform of x with sizes s along axes."""
    wide = x.astype(np.clongdouble if np.iscomplexobj(x) else np.longdouble)
    expected = ORACLES[kind](wide, s, axes, norm=norm)
    value, real = got.cpu().numpy(), REAL[str(x.dtype)]
    assert value.shape == expected.shape and value.dtype == np.dtype(real if kind in ("irfft", "hfft") else REAL_TO_COMPLEX[real])
    sizes = sizes_of(kind, x, expected, s, axes)
    size = size_of(kind, x, math.prod(sizes), norm)
    error = float(np.linalg.norm((value - expected).ravel()))
    assert error <= EPS[real] * sum(map(depth, sizes)) * size, (kind, x.shape, s, axes, norm, error / (EPS[real] * size))


REAL_TO_COMPLEX = {"float32": "complex64", "float64": "complex128"}


def raises(error, says, f):
    try:
        f()
    except error as e:
        assert all(word in str(e) for word in ("expected", "got", *says)), str(e)
    else:
        raise AssertionError(f"no {error.__name__}")


def second(tg, device, f, x):
    """Finite differences of a gradient: <c, d/dx sum |f(x)|^4>, as a function of x."""
    c = np.cos(np.arange(x.size)).reshape(x.shape).astype(x.dtype)

    def slope_along(t):
        t = t if t.requires_grad else t.detach().requires_grad_()
        y = f(t)
        power = (y * tg.conj(y)).real if y.is_complex() else y * y
        (g,) = tg.autograd.grad([(power * power).sum()], [t], create_graph=True)
        return (tg.conj(tg.tensor(c, device=device)) * g).real if g.is_complex() else tg.tensor(c, device=device) * g

    slope(tg, device, slope_along, x)


def generated(kind, several):
    """What a record needs for the checks of every op: an oracle of the op's own arguments, its bound, cases."""

    def arguments(x, given):
        if not several:
            axes = (given.get("axis", -1),)
            s = None if given.get("n") is None else (given["n"],)
        else:
            s = given.get("s")
            axes = given.get("axes") or ((-2, -1) if several == "2" else tuple(range(x.ndim)) if s is None else tuple(range(x.ndim - len(s), x.ndim)))
        return s, tuple(axes), given.get("norm")

    def oracle(x, **given):
        s, axes, norm = arguments(x, given)
        return ORACLES[kind](x.astype(np.clongdouble if np.iscomplexobj(x) else np.longdouble), s, axes, norm=norm)

    def whole(x, given):
        s, axes, norm = arguments(x, given)
        return sizes_of(kind, x, oracle(x, **given), s, axes), norm

    choices = [{"s": (4, 5), "axes": (0, 2)}, {}, {"norm": "ortho", "axes": (2, 0)}] if several else [{"n": 5}, {}, {"axis": 0, "norm": "forward"}, {"n": 8, "axis": 1}]
    real = kind in ("rfft", "ihfft")
    return {
        "oracle": oracle,
        "cases": lambda rng: [Case((sample(rng, (4, 3, 6), "float64" if real else "complex128"),), a) for a in choices],
        "dtypes": ("float64", "float32"),
        "grad": (0,),
        "bad": (Bad(ValueError, (np.ones((2, 3)),), {"s": (2, 0), "axes": (0, 1)} if several else {"n": 0}), Bad(ValueError, (np.ones((2, 3)),), {"norm": "none"})),
        "length": lambda case: sum(map(depth, whole(case.inputs[0], case.attrs)[0])),
        "scale": lambda x, **given: size_of(kind, x, math.prod(whole(x, given)[0]), given.get("norm")),
    }


def dtypes_of(kind):
    return ("float32", "float64") if kind in ("rfft", "ihfft") else tuple(REAL)


def one(kind):
    name = f"fft_{kind}"

    def check(tg, device):
        rng, f = np.random.default_rng(1), getattr(tg, name)
        for dtype in dtypes_of(kind):
            for n in SIZES:
                x = sample(rng, (2, n), dtype)
                for norm in (None, "backward", "ortho", "forward") if n < 9 else (None,):
                    m = 2 * (n - 1) if kind in ("irfft", "hfft") else n
                    if m:
                        compare(f(tg.tensor(x, device=device), norm=norm), x, kind, None if m == n else (m,), (-1,), norm)
                for m in {max(1, n - 3), n, n + 1, n + 6}:
                    compare(f(tg.tensor(x, device=device), m), x, kind, (m,), (-1,), None)
            x = sample(rng, (4, 3, 6), dtype)
            for axis in (0, 1, -1):
                t, m = tg.tensor(x, device=device), 2 * (x.shape[axis] - 1) if kind in ("irfft", "hfft") else x.shape[axis]
                compare(f(t, axis=axis), x, kind, (m,), (axis,), None)
                compare(f(t.transpose(0, 2), 5, dim=axis), x.swapaxes(0, 2), kind, (5,), (axis,), None)
                compare(f(t[::2, :, ::2], 7, axis), x[::2, :, ::2], kind, (7,), (axis,), "backward")
            assert tuple(f(tg.zeros(0, 4, device=device)).shape)[0] == 0
        x = sample(rng, (2, 5), "float64" if kind in ("rfft", "ihfft") else "complex128")
        for n in (None, 3, 7, 8):
            slope(tg, device, lambda t, n=n: f(t, n), x)
            second(tg, device, lambda t, n=n: f(t, n, norm="ortho"), x)
        t = tg.tensor(x, device=device)
        assert f(tg.arange(4, device=device)).dtype in (tg.complex64, tg.float32)
        assert f(tg.ones(4, device=device).half()).dtype in (tg.complex64, tg.float32)
        raises(ValueError, [name, "1 or more"], lambda: f(t, 0))
        raises(ValueError, [name, "1 or more"], lambda: f(t, -1))
        raises(ValueError, [name, "1 or more"], lambda: f(t[:, :0]))
        raises(ValueError, [name, "ortho"], lambda: f(t, norm="none"))
        raises(IndexError, [name], lambda: f(t, axis=2))
        if kind in ("rfft", "ihfft"):
            raises(TypeError, [name, "real"], lambda: f(tg.tensor([1j], device=device)))

    return Record(check=check, **generated(kind, None))


def several(kind, suffix):
    name = f"fft_{kind}{suffix}"

    def check(tg, device):
        rng, f = np.random.default_rng(2), getattr(tg, name)
        half = kind in ("irfft", "hfft")
        choices = [(None, (-2, -1)), ((3, 6), (-2, -1)), ((4, 5), (0, 2)), ((2, 7), (2, 0)), (None, (1, 0))]
        if suffix == "n":
            choices += [(None, (0, 1, 2)), ((3, 4, 6), (0, 1, 2)), ((6,), (1,)), ((5, 6, 2), (2, 0, 1))]
        for dtype in dtypes_of(kind):
            x = sample(rng, (4, 3, 6), dtype)
            t = tg.tensor(x, device=device)
            for s, axes in choices:
                for norm in (None, "ortho", "forward"):
                    full = [x.shape[a] for a in axes] if s is None else list(s)
                    if s is None and half:
                        full[-1] = 2 * (full[-1] - 1)
                    compare(f(t, s, axes, norm), x, kind, tuple(full), axes, norm)
        x = sample(rng, (2, 3, 2), "float64" if kind in ("rfft", "ihfft") else "complex128")
        slope(tg, device, lambda t: f(t, (3, 4), (2, 1)), x)
        second(tg, device, lambda t: f(t, norm="ortho"), x)
        t = tg.tensor(x, device=device)
        if suffix == "n":
            np.testing.assert_array_equal(f(t).cpu(), f(t, axes=(0, 1, 2)).cpu())
            np.testing.assert_array_equal(f(t, s=(3, 4)).cpu(), f(t, (3, 4), (1, 2)).cpu())
            raises(ValueError, [name], lambda: f(t, s=(1, 2, 3, 4)))
        np.testing.assert_array_equal(f(t, (-1, 4), (0, 2)).cpu(), f(t, (2, 4), (0, 2)).cpu())
        raises(ValueError, [name, "distinct"], lambda: f(t, axes=(0, -3)))
        raises(ValueError, [name, "size for each"], lambda: f(t, (2, 2, 2), (0, 1)))
        raises(ValueError, [name, "1 or more"], lambda: f(t, (2, 0), (0, 1)))
        raises(IndexError, [name], lambda: f(t, axes=(0, 3)))

    return Record(check=check, **generated(kind, suffix))


for _kind in ORACLES:
    RECORDS[f"fft_{_kind}"] = one(_kind)
    RECORDS[f"fft_{_kind}2"] = several(_kind, "2")
    RECORDS[f"fft_{_kind}n"] = several(_kind, "n")
RECORDS["leaf_fft"] = Record(covered_by="fft_fft fft_ifft")
