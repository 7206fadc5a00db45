# SPDX-License-Identifier: Apache-2.0
"""L-BFGS: quadratics, Rosenbrock's valley as SciPy, state."""
import numpy as np
import pytest

import tengen as tg
from tengen import nn, optim


def rosenbrock(a, b):
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_on_a_quadratic(search):
    """Of a positive definite quadratic form in 6 variables, the minimum: the solution of a linear system."""
    rng = np.random.RandomState(0)
    a = rng.randn(6, 6)
    matrix, vector = a @ a.T + 6 * np.eye(6), rng.randn(6)
    x, y = nn.Parameter(tg.zeros((2,), dtype=tg.float64)), nn.Parameter(tg.zeros((2, 2), dtype=tg.float64))
    optimizer = optim.LBFGS([x, y], lr=1, max_iter=60, max_eval=200, line_search_fn=search, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        z = tg.cat([x, y.reshape((-1,))])
        loss = 0.5 * (z @ (tg.tensor(matrix) @ z)) - (tg.tensor(vector) * z).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert first.item() == 0
    got = np.concatenate([x.detach().numpy(), y.detach().numpy().ravel()])
    np.testing.assert_allclose(got, np.linalg.solve(matrix, vector), atol=1e-6)


def test_lbfgs_on_rosenbrock_s_valley_as_scipy():
    from scipy.optimize import minimize

    p = nn.Parameter(tg.tensor([-1.2, 1.0], dtype=tg.float64))
    optimizer = optim.LBFGS([p], lr=1, max_iter=100, line_search_fn="strong_wolfe", history_size=10)
    calls = [0]

    def closure():
        calls[0] += 1
        optimizer.zero_grad()
        loss = rosenbrock(p[0], p[1])
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-5)
    peer = minimize(lambda v: rosenbrock(*v), [-1.2, 1.0], method="L-BFGS-B", jac=lambda v: np.array(
        [-2 * (1 - v[0]) - 400 * v[0] * (v[1] - v[0]**2), 200 * (v[1] - v[0]**2)]))
    assert calls[0] <= 2 * peer.nfev, (calls[0], peer.nfev)
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()


def test_lbfgs_in_several_calls_and_from_a_file(tmp_path):
    def make(start):
        p = nn.Parameter(tg.tensor(start))
        optimizer = optim.LBFGS([p], lr=0.5, max_iter=4)

        def closure():
            optimizer.zero_grad()
            loss = ((p - tg.tensor([1.0, 2.0, 3.0])) ** 4).sum() + (p * p).sum()
            loss.backward()
            return loss

        return p, optimizer, closure

    p, a, closure = make([0.0, 0.0, 0.0])
    for _ in range(4):
        a.step(closure)
    q, b, closure = make([0.0, 0.0, 0.0])
    for _ in range(2):
        b.step(closure)
    tg.save(b.state_dict(), tmp_path / "o")
    r, c, closure = make(q.detach().numpy().copy())
    c.load_state_dict(tg.load(tmp_path / "o"))
    for _ in range(2):
        c.step(closure)
    np.testing.assert_array_equal(p.detach().numpy(), r.detach().numpy())
