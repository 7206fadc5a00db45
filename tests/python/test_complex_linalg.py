# SPDX-License-Identifier: Apache-2.0
"""Linear algebra of complex matrices against NumPy and SciPy, and its gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import tengen as tg

EPS = {np.complex64: 2.0**-23, np.complex128: 2.0**-52}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def sample(rng, *shape):
    return rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)


def regular(rng, n=4):
    """Matrices of a condition number below 10."""
    return sample(rng, 3, n, n) + 3 * np.sqrt(n) * np.eye(n)


def close(got, expected, eps, size):
    """Within the ops' bound, 8 n^2 eps relative to `size`, a bound of the condition times the norm of the result."""
    value = got.numpy()
    assert value.shape == expected.shape
    assert np.abs(value - expected).max(initial=0) <= 8 * 16 * eps * size


def slope(f, x):
    """d/d re + i d/d im of a real function by central differences against backward()."""
    t = tg.tensor(x, requires_grad=True)
    f(t).backward()
    h, numeric = 2.0**-17, np.zeros_like(x)
    for at in np.ndindex(x.shape):
        for unit in (1.0, 1j):
            step = np.zeros_like(x)
            step[at] = h * unit
            numeric[at] += unit * (f(tg.tensor(x + step)).item() - f(tg.tensor(x - step)).item()) / (2 * h)
    size = 1 + abs(f(t.detach()).item()) + np.abs(numeric).max()
    assert np.abs(t.grad.numpy() - numeric).max() <= (1e3 * h * h + 1e3 * 2.0**-52 / h) * size


def real(t):
    """A real number that depends on all parts of t, and not on the phases of rows or columns."""
    if not t.is_complex():
        return (t * (1 + tg.arange(t.numel(), dtype=t.dtype).reshape(t.shape))).sum()
    return (t * tg.tensor(np.exp(1j * np.arange(t.numel())).reshape(tuple(t.shape)))).real.sum()


@pytest.mark.parametrize("dtype", EPS)
def test_systems(rng, dtype):
    a, b, eps = regular(rng).astype(dtype), sample(rng, 3, 4, 2).astype(dtype), EPS[dtype]
    t, u = tg.tensor(a), tg.tensor(b)
    close(tg.linalg.inv(t), np.linalg.inv(a), eps, 10)
    close(tg.linalg.solve(t, u), np.linalg.solve(a, b), eps, 10)
    close(tg.linalg.solve(t, u.mT, left=False), np.linalg.solve(a.swapaxes(-1, -2), b).swapaxes(-1, -2), eps, 10)
    det = np.linalg.det(a)
    close(tg.linalg.det(t), det, eps, np.abs(det).max())
    sign, size = tg.linalg.slogdet(t)
    assert not size.is_complex()
    close(sign, np.linalg.slogdet(a)[0], eps, 1)
    close(size, np.linalg.slogdet(a)[1], eps, np.abs(np.log(np.abs(det))).max() + 1)
    p, low, up = tg.linalg.lu(t)
    close(p.to(t.dtype) @ low @ up, a, eps, 10)
    f = tg.linalg.lu_factor(t)
    for left in (True, False):
        for adjoint, m in ((False, a), (True, a.conj().swapaxes(-1, -2))):
            x = tg.linalg.lu_solve(f.LU, f.pivots, u if left else u.mT, left=left, adjoint=adjoint)
            close(tg.tensor(m) @ x if left else x @ tg.tensor(m), b if left else b.swapaxes(-1, -2), eps, 10)
    assert tg.linalg.inv_ex(tg.zeros(2, 2, dtype=t.dtype)).info.item() == 1
    with pytest.raises(tg.linalg.LinAlgError):
        tg.linalg.solve(tg.zeros(2, 2, dtype=t.dtype), tg.ones(2, dtype=t.dtype))


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (1, 1)])
def test_orthogonal_factors(rng, dtype, shape):
    a, eps = sample(rng, 2, *shape).astype(dtype), EPS[dtype]
    t, k = tg.tensor(a), min(shape)
    one = np.broadcast_to(np.eye(k), (2, k, k)).astype(dtype)
    q, r = tg.linalg.qr(t)
    close(q @ r, a, eps, 5)
    close(q.mH @ q, one, eps, 1)
    assert np.all(np.tril(r.numpy()[..., :k], -1) == 0) and np.all(np.abs(np.diagonal(r.numpy(), 0, -2, -1).imag) <= 16 * eps)
    whole = tg.linalg.qr(t, mode="complete").Q
    close(whole.mH @ whole, np.broadcast_to(np.eye(shape[0]), (2, shape[0], shape[0])).astype(dtype), eps, 1)
    for full in (False, True):
        u, s, vh = tg.linalg.svd(t, full_matrices=full)
        assert not s.is_complex()
        close(s, np.linalg.svd(a, compute_uv=False), eps, 5)
        close((u[..., :k] * s.unsqueeze(-2).to(t.dtype)) @ vh[..., :k, :], a, eps, 5)
        close(u.mH @ u, np.broadcast_to(np.eye(u.shape[-1]), (2, u.shape[-1], u.shape[-1])).astype(dtype), eps, 1)
        close(vh @ vh.mH, np.broadcast_to(np.eye(vh.shape[-2]), (2, vh.shape[-2], vh.shape[-2])).astype(dtype), eps, 1)
    close(tg.linalg.svdvals(t), np.linalg.svd(a, compute_uv=False), eps, 5)
    close(tg.linalg.pinv(t), np.linalg.pinv(a), eps, np.linalg.cond(a).max() * np.abs(np.linalg.pinv(a)).max() * 5)
    close(tg.linalg.pinv(t[:, :1].expand(2, 3, shape[1])), np.linalg.pinv(np.broadcast_to(a[:, :1], (2, 3, shape[1]))), eps, 20)
    assert tg.linalg.matrix_rank(t).tolist() == [k, k]
    for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        close(tg.linalg.matrix_norm(t, order), np.array([np.linalg.norm(m, order) for m in a]), eps, 20)


@pytest.mark.parametrize("dtype", EPS)
def test_hermitian_matrices(rng, dtype):
    x, eps = sample(rng, 3, 4, 4), EPS[dtype]
    a = (x @ x.conj().swapaxes(-1, -2) + np.eye(4)).astype(dtype)
    t = tg.tensor(a)
    low = np.linalg.cholesky(a)
    close(tg.linalg.cholesky(tg.tril(t)), low, eps, 10)
    close(tg.cholesky(tg.triu(t), upper=True), low.conj().swapaxes(-1, -2), eps, 10)
    close(tg.linalg.cholesky_solve(tg.tensor(x.astype(dtype)), tg.tensor(low)), np.linalg.solve(a, x), eps, 20)
    for triangle, part in (("L", tg.tril), ("U", tg.triu)):
        w, v = tg.linalg.eigh(part(t), triangle)
        assert not w.is_complex()
        close(w, np.linalg.eigvalsh(a), eps, 20)
        close(tg.linalg.eigvalsh(part(t), triangle), np.linalg.eigvalsh(a), eps, 20)
        close((v * w.unsqueeze(-2).to(t.dtype)) @ v.mH, a, eps, 20)
        close(v.mH @ v, np.broadcast_to(np.eye(4), (3, 4, 4)).astype(dtype), eps, 1)
    degenerate = tg.tensor(np.kron(np.eye(3), np.array([[2, 1j], [-1j, 2]])).astype(dtype))
    w, v = tg.linalg.eigh(degenerate)
    close(w, np.array([1, 1, 1, 3, 3, 3.0]), eps, 3)
    close(v.mH @ v, np.eye(6).astype(dtype), eps, 1)


def test_other_functions(rng):
    a, b = sample(rng, 2, 4, 3), sample(rng, 2, 4, 2)
    t, eps = tg.tensor(a), 2.0**-52
    found = tg.linalg.lstsq(t, tg.tensor(b))
    for i in range(2):
        x, residuals, _, _ = np.linalg.lstsq(a[i], b[i], rcond=None)
        close(found.solution[i], x, eps, 20)
        close(found.residuals[i], residuals, eps, 20)
    square = sample(rng, 4, 4)
    close(tg.matrix_exp(tg.tensor(square)), scipy.linalg.expm(square), eps, np.exp(np.linalg.norm(square)))
    close(tg.linalg.matrix_power(tg.tensor(square), -2), np.linalg.matrix_power(square, -2), eps, np.linalg.cond(square) ** 3)
    close(tg.linalg.vecdot(t, tg.tensor(a[::-1].copy())), np.vecdot(a, a[::-1]), eps, 10)
    assert abs(complex(tg.linalg.vecdot(tg.tensor([1j, 2j, 3j]), tg.tensor([1, 2j, 3]))) - (4 - 10j)) < 1e-6


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "solve", "lu", "qr", "tall", "wide", "svdvals", "svd", "svd wide", "svd tall",
                                  "pinv", "cholesky", "eigh", "eigvalsh", "exp"])
def test_gradients(rng, name):
    x = sample(rng, 3, 3) + 2 * np.eye(3)
    shape = {"tall": (4, 2), "wide": (2, 4), "svd wide": (2, 3), "svd tall": (3, 2), "pinv": (3, 2)}.get(name)
    x = x if shape is None else sample(rng, *shape)
    b = tg.tensor(sample(rng, 3, 2))

    def qr(t):
        q, r = tg.linalg.qr(t)
        return real(q) + real(r)

    def svd(t):  # what does not depend on phases
        u, s, vh = tg.linalg.svd(t, full_matrices=False)
        return real((u * tg.exp(s).unsqueeze(-2)) @ vh) + real(u[..., :1] @ u[..., :1].mH) + real(vh[:1].mH @ vh[:1]) + real(s)

    def eigh(t):
        w, v = tg.linalg.eigh((t + t.mH) / 2)
        return real(w) + real(v[..., :1] @ v[..., :1].mH)

    slope({
        "inv": lambda t: real(tg.linalg.inv(t)),
        "det": lambda t: real(tg.linalg.det(t)),
        "slogdet": lambda t: real(tg.linalg.slogdet(t)[0]) + 2 * tg.linalg.slogdet(t)[1],
        "solve": lambda t: real(tg.linalg.solve(t, b)),
        "lu": lambda t: sum(real(y) for y in tg.linalg.lu(t)[1:]),
        "qr": qr, "tall": qr, "wide": qr, "svd": svd, "svd wide": svd, "svd tall": svd,
        "svdvals": lambda t: real(tg.linalg.svdvals(t)),
        "pinv": lambda t: real(tg.linalg.pinv(t)),
        "cholesky": lambda t: real(tg.linalg.cholesky(t @ t.mH)),
        "eigh": eigh,
        "eigvalsh": lambda t: real(tg.linalg.eigvalsh((t + t.mH) / 2)),
        "exp": lambda t: real(tg.matrix_exp(t)),
    }[name], x)


def test_determinant_of_a_singular_matrix_has_its_gradient(rng):
    u = sample(rng, 3, 2)
    slope(lambda t: real(tg.linalg.det(t)), u @ sample(rng, 2, 3))
