# SPDX-License-Identifier: Apache-2.0
"""tengen.linalg: gradients of functions of symmetric matrices against finite differences, norms and least squares against
NumPy, and where the work is done (LAPACK, the reference kernels, host memory for other devices)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tengen as tg


def spread(x):
    """Symmetric positive definite with distinct eigenvalues, a smooth function of any square matrix near 0."""
    n = x.shape[-1]
    return x @ x.mT + tg.tensor(np.diag(np.arange(1.0, n + 1)))


def cholesky(x):
    return tg.cholesky(spread(x))


def upper(x):
    return tg.cholesky(spread(x), upper=True)


def solved(x):
    s = spread(x)
    return tg.cholesky_solve(x, tg.cholesky(s))


def eigenvalues(x):
    return tg.eigvalsh(spread(x))


def projector(x):
    """Of the eigenvectors only what their signs leave alone."""
    w, v = tg.eigh(spread(x), "U")
    return v[..., :, :2] @ v[..., :, :2].mT * w[..., :1, None]


def vectors(x):
    return tg.eigh(spread(x)).eigenvectors ** 2


def singular_vectors(x):
    u, s, vh = tg.svd(x + tg.tensor(np.diag(np.arange(1.0, x.shape[-1] + 1))))
    return u[..., :, :1] @ vh[..., :1, :] * s[..., -1:, None]


def low_rank(x):
    """pinv on matrices that all have rank 2."""
    y = x[..., :, :2] + tg.tensor(np.eye(x.shape[-1])[:, :2])
    return tg.linalg.pinv(y @ y.mT)


def symmetric_power(x):
    return tg.matrix_power(spread(x), -2)


FUNCTIONS = [cholesky, upper, solved, eigenvalues, projector, vectors, singular_vectors, low_rank, symmetric_power]


@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients(function, batch, rng):
    """First order against central differences of values, second order against those of the gradient."""
    x = rng.normal(size=(*batch, 4, 4)) * 0.5
    w = tg.tensor(rng.uniform(0.5, 1.5, function(tg.tensor(x)).shape))
    d, e = rng.normal(size=x.shape), rng.normal(size=x.shape)
    h = 2.0**-16

    def slope(array, create_graph=False):
        leaf = tg.tensor(array, requires_grad=True)
        (g,) = tg.autograd.grad((function(leaf) * w).sum(), [leaf], create_graph=create_graph)
        return leaf, g, (g * tg.tensor(d)).sum()

    leaf, g, s = slope(x, create_graph=True)
    values = [(function(tg.tensor(x + k * h * d)) * w).sum().item() for k in (1, -1)]
    size = np.abs(g.detach().numpy() * d).sum() + abs(values[0]) + 1
    # h^2 times third derivatives, eps / h of rounding in values that went through a condition number.
    bound = 1e4 * h * h + 1e3 * 2.0**-52 / h
    assert abs((values[0] - values[1]) / (2 * h) - s.item()) <= bound * size
    (second,) = tg.autograd.grad(s, [leaf])
    sides = [slope(x + k * h * e)[2].item() for k in (1, -1)]
    size = np.abs(second.numpy() * e).sum() + abs(sides[0]) + 1
    assert abs((sides[0] - sides[1]) / (2 * h) - (second.numpy() * e).sum()) <= 10 * bound * size


def test_gradients_that_do_not_exist():
    x = tg.tensor(np.ones((3, 2)) + np.eye(3, 2), requires_grad=True)
    with pytest.raises(RuntimeError, match="mode 'reduced'"):
        tg.qr(x, "complete").Q.sum().backward()
    with pytest.raises(RuntimeError, match="full_matrices=False"):
        tg.svd(x).U.sum().backward()
    x.grad = None
    # The first vectors are a function of the matrix, in the square U and Vh as in the others.
    found = []
    for full in (True, False):
        r = tg.svd(x, full)
        y = (r.U[:, :2] ** 2 * tg.arange(6.0, dtype=tg.float64).reshape((3, 2))).sum() + (r.Vh**2)[0, 0]
        found.append(tg.autograd.grad(y, [x])[0].numpy())
    np.testing.assert_allclose(*found, rtol=1e-9)
    tg.svd(x).S.sum().backward()  # the values have one all the same
    u, _, vh = np.linalg.svd(x.detach().numpy(), full_matrices=False)
    np.testing.assert_allclose(x.grad.numpy(), u @ vh, atol=1e-14)
    # Equal eigenvalues: eigenvectors have no gradient, and say so in numbers; eigenvalues have.
    y = tg.eye(3, dtype=tg.float64).requires_grad_()
    (g,) = tg.autograd.grad((tg.eigh(y).eigenvectors * tg.arange(9.0, dtype=tg.float64).reshape((3, 3))).sum(), [y])
    assert not np.isfinite(g.numpy()).all()
    (g,) = tg.autograd.grad(tg.eigvalsh(y).sum(), [y])
    np.testing.assert_allclose(g.numpy(), np.eye(3), atol=1e-15)


ORDERS = ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


@pytest.mark.parametrize("ord", ORDERS)
def test_matrix_norm(ord, rng):
    a = rng.normal(size=(2, 3, 4))
    x = tg.tensor(a)
    for axes in ((-2, -1), (0, 1), (2, 0)):
        for keep in (False, True):
            expected = np.linalg.norm(a, ord, axes, keep)
            np.testing.assert_allclose(tg.linalg.matrix_norm(x, ord, axes, keep).numpy(), expected, rtol=1e-12)
            np.testing.assert_allclose(tg.linalg.norm(x, ord, dim=axes, keepdim=keep).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(tg.linalg.norm(x[0], ord).item(), np.linalg.norm(a[0], ord), rtol=1e-12)


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 0.5, np.inf, -np.inf, -1])
def test_vector_norm(ord, rng):
    a = rng.normal(size=(2, 3, 4))
    x = tg.tensor(a)
    for axis in (None, 1, (0, 2)):
        expected = np.linalg.vector_norm(a, ord=ord, axis=axis)
        np.testing.assert_allclose(tg.linalg.vector_norm(x, ord, axis).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(tg.linalg.norm(x[0, 0], ord).item(), np.linalg.norm(a[0, 0], ord), rtol=1e-12)
    np.testing.assert_allclose(tg.linalg.norm(x).item(), np.linalg.norm(a.ravel()), rtol=1e-12)


def test_norm_errors():
    x = tg.ones((2, 3))
    for call, error in (
        (lambda: tg.linalg.matrix_norm(x, 3), ValueError),
        (lambda: tg.linalg.matrix_norm(x, "row"), ValueError),
        (lambda: tg.linalg.matrix_norm(x, axis=(1, -1)), ValueError),
        (lambda: tg.linalg.matrix_norm(x[0]), ValueError),
        (lambda: tg.linalg.norm(tg.ones((2, 2, 2)), 1), ValueError),
        (lambda: tg.linalg.cond(tg.ones((2, 2), dtype=tg.int64)), TypeError),
        (lambda: tg.linalg.matrix_transpose(x[0]), ValueError),
    ):
        with pytest.raises(error):
            call()


def test_cond_and_rank(rng):
    a = rng.normal(size=(2, 4, 4))
    for p in (None, 2, -2, "fro", 1, np.inf, "nuc"):
        np.testing.assert_allclose(tg.linalg.cond(tg.tensor(a), p).numpy(), np.linalg.cond(a, p), rtol=1e-10)
    assert tg.linalg.cond(tg.ones((2, 2)), 1).item() == np.inf
    low = rng.normal(size=(3, 5, 2)) @ rng.normal(size=(3, 2, 4))
    low[0] = 0
    assert tg.linalg.matrix_rank(tg.tensor(low)).tolist() == np.linalg.matrix_rank(low).tolist() == [0, 2, 2]
    d = tg.tensor(np.diag([4.0, -2.0, 0.5, 0.0]))
    assert tg.linalg.matrix_rank(d).item() == tg.linalg.matrix_rank(d, hermitian=True).item() == 3
    assert tg.linalg.matrix_rank(d, tol=1.0).item() == 2 and tg.linalg.matrix_rank(d, rtol=0.6).item() == 1
    assert tg.linalg.matrix_rank(tg.zeros((2, 0, 3))).tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)], ids=str)
def test_lstsq(shape, rng):
    a, b = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    got = tg.linalg.lstsq(tg.tensor(a), tg.tensor(b))
    solution, residuals, rank, s = np.linalg.lstsq(a, b)
    np.testing.assert_allclose(got.solution.numpy(), solution, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.residuals.numpy(), residuals, rtol=1e-10)
    np.testing.assert_allclose(got.singular_values.numpy(), s, rtol=1e-12)
    assert got.rank.item() == rank
    np.testing.assert_allclose(tg.linalg.lstsq(tg.tensor(a), tg.tensor(b[:, 0])).solution.numpy(), solution[:, 0], rtol=1e-10, atol=1e-12)
    batch = tg.linalg.lstsq(tg.tensor(np.stack([a, a])), tg.tensor(b))
    np.testing.assert_allclose(batch.solution.numpy()[1], solution, rtol=1e-10, atol=1e-12)


def test_lstsq_of_low_rank(rng):
    a, b = rng.normal(size=(5, 2)) @ rng.normal(size=(2, 4)), rng.normal(size=5)
    got = tg.linalg.lstsq(tg.tensor(a), tg.tensor(b))
    np.testing.assert_allclose(got.solution.numpy(), np.linalg.lstsq(a, b)[0], rtol=1e-9)
    assert got.rank.item() == 2 and got.residuals.shape == (0,)
    with pytest.raises(ValueError, match="5 rows"):
        tg.linalg.lstsq(tg.tensor(a), tg.tensor(b[:3]))


def test_namespace(rng):
    a = rng.normal(size=(2, 3, 3))
    x = tg.tensor(a)
    assert issubclass(tg.linalg.LinAlgError, RuntimeError)
    for name in tg.linalg.__all__:
        assert callable(getattr(tg.linalg, name)), name
    np.testing.assert_array_equal(tg.linalg.diagonal(x, offset=1).numpy(), np.linalg.diagonal(a, offset=1))
    np.testing.assert_allclose(tg.linalg.trace(x).numpy(), np.linalg.trace(a), rtol=1e-13)
    np.testing.assert_array_equal(tg.linalg.matrix_transpose(x).numpy(), a.swapaxes(1, 2))
    q, r = tg.linalg.qr(x, "r")
    assert q.shape == (0,) and r.shape == (2, 3, 3)
    assert tg.linalg.qr(x).Q.shape == (2, 3, 3)


RUN = """
import json
import numpy as np
import tengen as tg

device = tg.default_device()
rng = np.random.default_rng(0)
a = rng.normal(size=(2, 6, 4))
s = a.swapaxes(1, 2) @ a + np.eye(4)
x, y = tg.tensor(a, device=device), tg.tensor(s, device=device)
out = {
    "cholesky": tg.cholesky(y), "det": tg.det(y), "solve": tg.solve(y, y), "singular": tg.svdvals(x), "eigen": tg.eigvalsh(y),
    "qr": tg.qr(x).R, "values": tg.svd(x, False).S, "vectors": tg.eigh(y).eigenvalues,
    "triangular": tg.solve_triangular(y, y, upper=False),
}
print(json.dumps([{k: v.cpu().tolist() for k, v in out.items()}, tg.fallback_table()]))
"""


def run(**env):
    done = subprocess.run(
        [sys.executable, "-c", RUN], env={**os.environ, "OMP_NUM_THREADS": "1", **env}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    results, table = json.loads(done.stdout)
    return results, table, done.stderr


def agree(one, other):
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_lapack_and_reference_agree():
    """The same numbers from the system's LAPACK (where there is one) and from the reference kernels, and who did it."""
    here, table, _ = run(TENGEN_DEVICE="cpu:0")
    assert table == []
    off, table, log = run(TENGEN_DEVICE="cpu:0", TENGEN_LAPACK="off", TENGEN_DEBUG="1")
    assert table == []
    assert "cpu.cholesky refused" in log.replace("cpu/", "") and "TENGEN_LAPACK is off" in log
    assert "reference/reference.svd" in log
    agree(here, off)


def test_other_threads_are_refused(tmp_path):
    """A library that does not run on OpenMP (or is none) is not opened; the reference kernels take the calls."""
    fake = tmp_path / "libopenblas.so.0"
    fake.write_bytes(b"not for libpthread alone")
    results, _, log = run(TENGEN_DEVICE="cpu:0", TENGEN_LAPACK=str(fake), TENGEN_DEBUG="1")
    assert "is not built for OpenMP" in log and "reference/reference.lu" in log
    fake.write_bytes(b"libgomp.so.1 is named, but this is no library")
    _, _, log = run(TENGEN_DEVICE="cpu:0", TENGEN_LAPACK=str(fake), TENGEN_DEBUG="1")
    assert "libopenblas.so.0" in log and "reference/reference.lu" in log


def test_devices_without_rows_fall_back():
    """Factorizations on a device that has none run in host memory, are warned of once, and counted in the table at exit."""
    if not any(d.name == "chaos:0" and d.usable for d in tg.devices()):
        pytest.skip("the chaos plugin is not here")
    results, table, log = run(TENGEN_DEVICE="chaos:0")
    host, _, _ = run(TENGEN_DEVICE="cpu:0")
    agree(results, host)
    counted = {row["op"]: row["count"] for row in table}
    assert counted == {
        "leaf_cholesky": 1, "leaf_lu": 2, "leaf_qr": 1, "leaf_svd": 2, "leaf_eigh": 2, "leaf_triangular_solve": 3,
    }  # fmt: skip
    assert log.count("[leaf_svd] chaos:0 has no kernel for f64") == 1
    assert "error" not in log
