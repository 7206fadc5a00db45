# SPDX-License-Identifier: Apache-2.0
"""tengen.func: gradients, forward mode and their compositions, against closed forms and each other."""

from __future__ import annotations

import numpy as np
import pytest

import tengen as tg
from tengen import func

F64 = tg.float64


def t(x, **kw):
    return tg.tensor(x, dtype=F64, **kw)


def close(a, b, tol=1e-10):
    np.testing.assert_allclose(np.asarray(a.detach().numpy() if isinstance(a, tg.Tensor) else a), b, rtol=tol, atol=tol)


X = np.array([0.3, -1.2, 2.0])


def test_grad_and_value():
    (value, gradient) = func.value_and_grad(lambda x: (x.sin() * x).sum())(t(X))
    close(value, (np.sin(X) * X).sum())
    close(gradient, np.cos(X) * X + np.sin(X))
    assert not gradient.requires_grad and not value.requires_grad


def test_grad_of_trees_and_aux():
    def f(p, x):
        return (p["w"] * x + p["b"][0]).sum(), {"shape": x}

    g, aux = func.grad(f, has_aux=True)({"w": t(X), "b": (t(1.0),)}, t([1.0, 2.0, 3.0]))
    close(g["w"], [1, 2, 3])
    close(g["b"][0], 3)
    close(aux["shape"], [1, 2, 3])


def test_nested_grad_has_no_confusion():
    # d/dx x * d/dy (x + y) = 1
    close(func.grad(lambda x: x * func.grad(lambda y: x + y)(t(2.0)))(t(1.0)), 1.0)
    close(func.grad(func.grad(func.grad(lambda x: x**4)))(t(2.0)), 48.0)
    # forward: d/dx x * d/dy (x * y) = 2x
    close(func.jvp(lambda x: x * func.jvp(lambda y: x * y, (t(5.0),), (t(1.0),))[1], (t(3.0),), (t(1.0),))[1], 6.0)


def test_grad_sees_captured_leaves():
    w = t(X, requires_grad=True)
    g = func.grad(lambda x: (w * w * x * x).sum())(t([1.0, 2.0, 3.0]))
    g.sum().backward()
    close(w.grad, 4 * X * np.array([1, 2, 3]))


def test_jvp_values_and_errors():
    y, d = func.jvp(lambda x: x.exp(), (t(X),), (t([1.0, 2.0, 0.0]),))
    close(y, np.exp(X))
    close(d, np.exp(X) * [1, 2, 0])
    with pytest.raises(ValueError, match="expected a tangent of the primal's shape"):
        func.jvp(lambda x: x, (t(X),), (t([1.0]),))
    with pytest.raises(TypeError, match="tuples"):
        func.jvp(lambda x: x, t(X), t(X))
    with pytest.raises(RuntimeError, match="strict"):
        func.jvp(lambda x: t([1.0]), (t(X),), (t(X),), strict=True)


def test_jvp_in_place_and_views():
    def f(x):
        y = x * 1.0
        y[0] = x[1] * x[2]
        y.add_(x)
        z = tg.zeros(3, dtype=F64)
        z[1:] = y[:2]
        return z

    def g(x):
        return tg.stack([x[0] * 0, x[1] * x[2] + x[0], x[1] + x[1]])

    v = t([0.5, -1.0, 2.0])
    a, b = func.jvp(f, (t(X),), (v,)), func.jvp(g, (t(X),), (v,))
    close(a[0], b[0].numpy())
    close(a[1], b[1].numpy())
    w = t([1.0, 2.0, 3.0])
    close(func.grad(lambda x: (f(x) * w).sum())(t(X)), func.grad(lambda x: (g(x) * w).sum())(t(X)).numpy())


def test_hessians_agree():
    def f(x):
        return (x.sin() * x.flip(0)).sum() + x.prod()

    h = func.hessian(f)(t(X)).numpy()
    close(func.jacrev(func.jacrev(f))(t(X)), h)
    close(func.jacfwd(func.jacfwd(f))(t(X)), h)
    close(func.jacrev(func.jacfwd(f))(t(X)), h)
    v = np.array([1.0, -2.0, 0.5])
    close(func.hvp(f, (t(X),), (t(v),))[1][0], h @ v)
    close(tg.autograd.functional.hessian(f, t(X)), h)
    close(tg.autograd.functional.hvp(f, t(X), t(v))[1], h @ v)


def test_jacobians_against_differences():
    def f(x, y):
        return tg.tanh(x @ y), (x * x).sum()

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((3, 2))
    for of in (func.jacrev, func.jacfwd):
        (a, b), (c, d) = of(f, (0, 1))(t(x), t(y))
        assert a.shape == (2, 2, 2, 3) and b.shape == (2, 2, 3, 2) and c.shape == (2, 3) and d.shape == (3, 2)
        close(c, 2 * x)
        close(d, 0 * y)
        h = 1e-6
        dx = np.zeros_like(x)
        dx[1, 2] = h
        close(a[..., 1, 2], (np.tanh((x + dx) @ y) - np.tanh((x - dx) @ y)) / (2 * h), 1e-8)
    close(func.jacrev(f, chunk_size=2)(t(x), t(y))[0], func.jacrev(f)(t(x), t(y))[0].numpy())


def test_vjp_is_reusable():
    y, pull = func.vjp(lambda x: x * x, t(X))
    for k in (1.0, 2.0):
        close(pull(t([k, k, k]))[0], 2 * k * X)
    with pytest.raises(ValueError, match="cotangent"):
        pull(t([1.0]))


def test_errors():
    with pytest.raises(RuntimeError, match=r"\[grad\] expected a function that returns one tensor"):
        func.grad(lambda x: x)(t(X))
    with pytest.raises(TypeError, match="floating"):
        func.grad(lambda x: x.sum())(tg.tensor([1, 2]))
    with pytest.raises(IndexError, match="argnums"):
        func.grad(lambda x: x.sum(), 3)(t(X))
    kept = []
    func.grad(lambda x: kept.append(x) or x.sum())(t(X))
    close(kept[0].detach() + 1, X + 1)  # what outlives its function is a value


def test_modules():
    layer = tg.nn.Linear(3, 2)
    parameters = {k: p.detach() for k, p in layer.named_parameters()}
    x = tg.ones(4, 3)
    g = func.grad(lambda p: func.functional_call(layer, p, x).sum())(parameters)
    assert g["weight"].tolist() == [[4.0] * 3] * 2
    assert layer.weight.grad is None
    per_example = func.vmap(func.grad(lambda p, row: func.functional_call(layer, p, row).square().sum()), (None, 0))
    rows = per_example(parameters, x * tg.arange(4.0).reshape(4, 1))
    one = func.grad(lambda p: func.functional_call(layer, p, x[0] * 3.0).square().sum())(parameters)
    np.testing.assert_allclose(rows["weight"][3].numpy(), one["weight"].numpy(), rtol=1e-5)
    models = [tg.nn.Linear(3, 2) for _ in range(3)]
    p, b = func.stack_module_state(models)
    y = func.vmap(lambda p, x: func.functional_call(models[0], p, x), (0, None))(p, x)
    for i, m in enumerate(models):
        np.testing.assert_allclose(y[i].detach().numpy(), m(x).detach().numpy(), rtol=1e-6)
    with pytest.raises(KeyError, match="functional_call"):
        func.functional_call(layer, {"nothing": x}, x)


def test_backward_through_jvp_and_vmap():
    x = t(X, requires_grad=True)
    _, d = func.jvp(lambda v: v**3, (x,), (t([1.0, 1.0, 1.0]),))
    d.sum().backward()
    close(x.grad, 6 * X)
    w = t(X, requires_grad=True)
    func.vmap(lambda r: (r * w).sum())(t(np.eye(3))).sum().backward()
    close(w.grad, np.ones(3))


def test_forward_ad_levels():
    from tengen.autograd import forward_ad as fwd

    with fwd.dual_level():
        x = fwd.make_dual(t(3.0), t(1.0))
        y = fwd.unpack_dual(x * x)
        close(y.primal, 9.0)
        close(y.tangent, 6.0)
        assert fwd.unpack_dual(t(1.0)).tangent is None
    with pytest.raises(RuntimeError, match="dual_level"):
        fwd.make_dual(t(1.0), t(1.0))


@pytest.mark.parametrize("index", [(slice(1, None, 2), slice(0, None, 2)), (slice(1, 3), slice(2, 5)), (0, slice(None, None, 3))], ids=str)
def test_mapped_gradients_of_slices_of_several_axes(index):
    """The gradient of such a slice is written into zeros that belong to no index of vmap."""
    x = tg.randn(4, 6, dtype=tg.float64)
    f = lambda v: (v[index] ** 3).sum()  # noqa: E731
    expected = np.zeros((4, 6, 4, 6))
    chosen = np.zeros((4, 6), bool)
    chosen[index] = True
    for at in zip(*np.nonzero(chosen)):
        expected[at + at] = 6 * x.numpy()[at]
    for hessian in (func.hessian(f), func.jacrev(func.grad(f)), func.jacfwd(func.grad(f)), func.jacrev(func.jacrev(f))):
        np.testing.assert_allclose(hessian(x).numpy(), expected, rtol=1e-12, atol=1e-12)
    rows = tg.randn(3, 4, 6, dtype=tg.float64)
    mapped = func.vmap(func.grad(f))(rows).numpy()
    np.testing.assert_allclose(mapped, np.where(chosen, 3 * rows.numpy() ** 2, 0), rtol=1e-12)
