# SPDX-License-Identifier: Apache-2.0
"""tengen.fft beyond the records of its ops: frequencies, shifts, transformations, and complex numbers inside them."""

from __future__ import annotations

import numpy as np
import pytest

import tengen as tg


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def sample(rng, *shape):
    return rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("d", [1.0, 0.25, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frequencies(n, d, dtype):
    for name in ("fftfreq", "rfftfreq"):
        got = getattr(tg.fft, name)(n, d, dtype=getattr(tg, dtype)).numpy()
        expected = getattr(np.fft, name)(n, d)
        assert got.dtype == dtype and got.shape == expected.shape
        assert (np.abs(got - expected) <= np.finfo(dtype).eps * np.abs(expected)).all()
    assert tg.fft.fftfreq(4).dtype is tg.float32


def test_frequencies_say_what_they_expect():
    with pytest.raises(ValueError, match="1 or more"):
        tg.fft.fftfreq(0)
    with pytest.raises(TypeError, match="floating"):
        tg.fft.rfftfreq(3, dtype=tg.int64)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (0, 2)])
def test_shifts(shape):
    x = np.arange(int(np.prod(shape))).reshape(shape)
    for axes in (None, *range(len(shape)), *([(0, -1)] if len(shape) > 1 else [])):
        for name in ("fftshift", "ifftshift"):
            got = getattr(tg.fft, name)(tg.tensor(x), axes)
            np.testing.assert_array_equal(got.numpy(), getattr(np.fft, name)(x, axes))
            np.testing.assert_array_equal(getattr(tg.fft, name)(tg.tensor(x), dim=axes).numpy(), got.numpy())
    with pytest.raises(IndexError, match="axis"):
        tg.fft.fftshift(tg.tensor(x), len(shape))


# The bound of the records for these sizes, relative to the norm of the result, is below 100 eps.
def close(got, expected):
    value = got.numpy()
    assert value.shape == expected.shape and value.dtype == expected.dtype
    assert np.linalg.norm((value - expected).ravel()) <= 100 * 2.0**-52 * (1 + np.linalg.norm(expected.ravel()))


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_forward_mode_and_vmap(rng, name):
    f, x, t = getattr(tg.fft, name), sample(rng, 3, 2, 6), sample(rng, 3, 2, 6)
    if name in ("rfft", "ihfft"):
        x, t = x.real, t.real
    reference = getattr(np.fft, name)
    y, tangent = tg.func.jvp(f, (tg.tensor(x),), (tg.tensor(t),))
    close(y, reference(x))
    close(tangent, reference(t))
    close(tg.vmap(f)(tg.tensor(x)), reference(x))
    close(tg.vmap(f, in_dims=2, out_dims=1)(tg.tensor(x)), np.moveaxis(reference(x, axis=1), 2, 1))
    close(tg.vmap(lambda t: tg.func.jvp(f, (t,), (t,))[1])(tg.tensor(x)), reference(x))


def test_a_filter_is_differentiated_in_every_way(rng):
    h, x, v = sample(rng, 5), rng.uniform(-1, 1, (2, 8)), rng.uniform(-1, 1, (2, 8))
    filtered = lambda t: tg.fft.irfft(tg.fft.rfft(t) * tg.tensor(h), 8)  # noqa: E731
    matrix = np.fft.irfft(np.fft.rfft(np.eye(8)) * h, 8)  # rows: the filter of unit vectors
    loss = lambda t: (filtered(t) ** 3).sum()  # noqa: E731
    y = x @ matrix
    close(tg.func.grad(loss)(tg.tensor(x)), 3 * y**2 @ matrix.T)
    t = tg.tensor(x, requires_grad=True)
    loss(t).backward()
    close(t.grad, 3 * y**2 @ matrix.T)
    close(tg.func.jvp(filtered, (tg.tensor(x),), (tg.tensor(v),))[1], v @ matrix)
    close(tg.func.vjp(filtered, tg.tensor(x))[1](tg.tensor(v))[0], v @ matrix.T)
    second = 6 * (y * (v @ matrix)) @ matrix.T
    close(tg.func.jvp(tg.func.grad(loss), (tg.tensor(x),), (tg.tensor(v),))[1], second)
    close(tg.func.grad(lambda t: (tg.func.grad(loss)(t) * tg.tensor(v)).sum())(tg.tensor(x)), second)
    close(tg.vmap(tg.func.grad(loss))(tg.tensor(x)), 3 * y**2 @ matrix.T)
    close(tg.vmap(tg.func.jacrev(filtered))(tg.tensor(x)), np.stack([matrix.T] * 2))
    close(tg.vmap(tg.func.jacfwd(filtered))(tg.tensor(x)), np.stack([matrix.T] * 2))


# ---- complex numbers inside tg.func: every kind of rule against finite differences --------------------------------------------

FUNCTIONS = {
    "mul": lambda z: z * (2 - 1j) * z, "div": lambda z: 1 / z, "exp": tg.exp, "sqrt": tg.sqrt, "tanh": tg.tanh, "abs": tg.abs, "angle": tg.angle,
    "sign": tg.sign, "conj": lambda z: tg.conj(z) * z * z, "real": lambda z: z.real * z, "imag": lambda z: z.imag, "complex": lambda z: tg.complex(z.imag, z.real * z.real),
    "polar": lambda z: tg.polar(tg.abs(z), z.real), "views": lambda z: tg.view_as_complex(tg.view_as_real(z) * 2), "expand": lambda z: z.sum().expand(3) * z[0],
    "matmul": lambda z: z @ tg.conj(z.mT), "var": lambda z: tg.var(z), "norm": lambda z: tg.norm(z), "prod": lambda z: z.prod(),
    "cumprod": lambda z: tg.cumprod(z, 1), "softmax of abs": lambda z: tg.softmax(tg.abs(z), -1), "inv": lambda z: tg.linalg.inv(z @ z.mH),
    "svdvals": lambda z: tg.linalg.svdvals(z), "cholesky": lambda z: tg.linalg.cholesky(z @ z.mH), "cast": lambda z: z.to(tg.float64) * z,
}  # fmt: skip


def derivative(f, z, v):
    """Along v, by central differences."""
    h = 2.0**-17
    return (f(tg.tensor(z + h * v)).numpy() - f(tg.tensor(z - h * v)).numpy()) / (2 * h)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex_numbers_in_func(rng, name):
    f, z, v = FUNCTIONS[name], sample(rng, 2, 3), sample(rng, 2, 3)
    expected = derivative(f, z, v)
    y, tangent = tg.func.jvp(f, (tg.tensor(z),), (tg.tensor(v),))
    assert tangent.dtype == y.dtype
    bound = (1e3 * 2.0**-34 + 1e3 * 2.0**-52 * 2**17) * (1 + np.abs(expected).max() + np.abs(y.numpy()).max())
    assert np.abs(tangent.numpy() - expected).max() <= bound
    # <vjp(w), v> = Re <w, jvp(v)>
    w = rng.uniform(-1, 1, expected.shape) + (1j * rng.uniform(-1, 1, expected.shape) if y.is_complex() else 0)
    pulled = tg.func.vjp(f, tg.tensor(z))[1](tg.tensor(w))[0].numpy()
    t = tg.tensor(z, requires_grad=True)
    (found,) = tg.autograd.grad([f(t)], [t], [tg.tensor(w)])
    np.testing.assert_array_equal(found.numpy(), pulled)
    assert abs(np.vdot(pulled, v).real - np.vdot(w, tangent.numpy()).real) <= 1e3 * 2.0**-52 * (1 + np.abs(pulled).sum() + np.abs(tangent.numpy()).sum())


def test_gradients_of_complex_results_say_what_to_write():
    with pytest.raises(RuntimeError, match="real number.*vjp"):
        tg.func.grad(lambda z: z.sum())(tg.tensor([1j]))
