# SPDX-License-Identifier: Apache-2.0
"""Gradients from Python: backward, grad, hooks, modes, functions of one's own, threads."""
from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import tengen as tg


def numeric_grad(f, a, eps=1e-5):
    g = np.zeros_like(a)
    for i in np.ndindex(a.shape):
        up, down = a.copy(), a.copy()
        up[i] += eps
        down[i] -= eps
        g[i] = (f(tg.tensor(up)).item() - f(tg.tensor(down)).item()) / (2 * eps)
    return g


@pytest.mark.parametrize("f", [
    lambda x: (x * x * 3 - x / 2).sum(), lambda x: (x.exp() + x.tanh()).sum(), lambda x: (x @ x.T).sum(),
    lambda x: (x - x.sum(1, True)).exp().sum(), lambda x: (x[1] * x[0, 2] + x[:, ::2].sum()).sum(),
    lambda x: (x[None, ..., 1:] * 2).sum(), lambda x: (2.0 ** x + 1.0 / (x * x + 1)).sum(),
    lambda x: x.reshape(-1)[::-1][:3].exp().sum(), lambda x: x.permute(1, 0).expand(2, 3, 2).exp().sum(),
], ids=range(9))
def test_gradients_match_differences(f, rng):
    a = rng.uniform(-1, 1, (2, 3))
    x = tg.tensor(a, requires_grad=True)
    f(x).backward()
    assert x.grad.dtype is tg.float64
    np.testing.assert_allclose(x.grad.numpy(), numeric_grad(f, a), rtol=1e-6, atol=1e-8)


def test_backward_accumulates():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]
    x.grad = None
    assert x.grad is None
    y = x * x
    y.backward(gradient=tg.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 40.0]


def test_backward_needs_a_scalar_or_a_gradient():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="scalar"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="requires grad"):
        tg.tensor(1.0).backward()
    with pytest.raises(ValueError, match="shape"):
        (x * 2).backward(tg.ones(3))


def test_graph_is_freed_unless_kept():
    x = tg.tensor([1.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0]
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_higher_order():
    x = tg.tensor(2.0, requires_grad=True)
    y = x * x * x
    (g,) = tg.autograd.grad(y, x, create_graph=True)
    (h,) = tg.autograd.grad(g, x, create_graph=True)
    (k,) = tg.autograd.grad(h, x)
    assert (g.item(), h.item(), k.item()) == (12.0, 12.0, 6.0)
    assert x.grad is None


def test_grad_of_unused_inputs():
    x, z = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    y = (x * 2).sum()
    with pytest.raises(RuntimeError, match="allow_unused"):
        tg.autograd.grad(y, [x, z], retain_graph=True)
    gx, gz = tg.autograd.grad(y, [x, z], allow_unused=True)
    assert gx.tolist() == [2.0, 2.0] and gz is None
    tg.autograd.backward([(x * 1).sum(), (x * 4).sum()])
    assert x.grad.tolist() == [5.0, 5.0]


def test_modes():
    x = tg.ones(2, requires_grad=True)
    with tg.no_grad():
        assert not tg.is_grad_enabled() and not (x * 2).requires_grad
        with tg.enable_grad():
            assert (x * 2).requires_grad
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()

    @tg.no_grad()
    def f():
        return (x * 2).requires_grad

    @tg.no_grad
    def g():
        return (x * 2).requires_grad

    @tg.set_grad_enabled(False)
    def h():
        return (x * 2).requires_grad

    assert not f() and not g() and not h() and tg.is_grad_enabled() and f.__name__ == "f"
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert tg.is_grad_enabled()
    with tg.set_grad_enabled(False):
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()
    tg.set_grad_enabled(False)
    try:
        assert not tg.is_grad_enabled()
    finally:
        tg.set_grad_enabled(True)


def test_mode_belongs_to_the_thread():
    seen = []
    with tg.no_grad():
        t = threading.Thread(target=lambda: seen.append(tg.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


def test_leaves():
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    assert x.is_leaf and not y.is_leaf and y.requires_grad
    assert repr(y.grad_fn) == "<MulBackward>" and y.grad_fn.name() == "MulBackward"
    assert y.detach().is_leaf and not y.detach().requires_grad
    with pytest.raises(RuntimeError, match="leaf"):
        x += 1
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False
    with pytest.raises(TypeError, match="float"):
        tg.tensor([1]).requires_grad_()
    with tg.no_grad():
        x += 1
    assert x.tolist() == [2.0, 2.0]


def test_in_place_change_of_a_saved_tensor_is_noticed():
    x = tg.ones(2, requires_grad=True)
    w = tg.ones(2)
    y = (x * w).sum()
    w += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_in_place_ops_are_recorded():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y *= 3
    y += x
    y.exp_()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 7 * np.exp([7.0, 14.0]), rtol=1e-6)
    y = x * 1
    y *= x  # the gradient needs the old y, which is gone
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_setitem_is_recorded():
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = tg.tensor(5.0, requires_grad=True)
    y = x * 2
    y[1] = v * 3
    (y * y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [8.0, 0.0, 24.0])
    assert v.grad.item() == 2 * 15 * 3
    y = tg.zeros(3)
    y[:2] = x[1:]
    assert y.requires_grad
    x.grad = None
    (y * tg.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0]


# ---- hooks --------------------------------------------------------------------------------------------------------------


def test_hooks_see_and_replace_gradients():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    assert seen == [[1.0, 1.0]] and x.grad.tolist() == [20.0, 20.0]
    handle.remove()
    handle.remove()
    y.sum().backward()
    assert len(seen) == 1
    x.grad = None
    with x.register_hook(lambda g: -g):
        (x * 1).sum().backward()
    assert x.grad.tolist() == [-1.0, -1.0]


def test_hooks_that_raise_end_the_pass():
    x = tg.ones(1, requires_grad=True)
    y = x * 2

    def bad(g):
        raise ZeroDivisionError("from the hook")

    y.register_hook(bad)
    with pytest.raises(ZeroDivisionError, match="from the hook"):
        y.sum().backward()
    z = x * 2
    z.register_hook(lambda g: 3)
    with pytest.raises(TypeError, match="hook to return a Tensor"):
        z.sum().backward()
    with pytest.raises(TypeError, match="function as hook"):
        z.register_hook(3)


def test_a_hook_changes_only_its_own_path():
    """The sum hands one gradient to both operands; a seed belongs to the caller; a saved tensor to the graph."""
    a, b = tg.ones((3,), requires_grad=True), tg.ones((3,), requires_grad=True)
    left, right = a * 1.0, b * 1.0
    left.register_hook(lambda g: [g.mul_(5.0)] and None)
    seed = tg.tensor([1.0, 2.0, 3.0])
    (left + right).backward(seed)
    assert a.grad.tolist() == [5.0, 10.0, 15.0] and b.grad.tolist() == [1.0, 2.0, 3.0] and seed.tolist() == [1.0, 2.0, 3.0]
    # On leaves, and whichever operand comes first.
    for first in (True, False):
        a, b = tg.ones((3,), requires_grad=True), tg.ones((3,), requires_grad=True)
        a.register_hook(lambda g: [g.zero_()] and None)
        (a + b if first else b + a).backward(tg.ones(3))
        assert a.grad.tolist() == [0.0] * 3 and b.grad.tolist() == [1.0] * 3
    # A hook that keeps what it saw keeps that.
    kept = []
    a = tg.ones((3,), requires_grad=True)
    a.register_hook(kept.append)
    a.register_hook(lambda g: [g.mul_(2.0)] and None)
    (a * 3.0).sum().backward()
    assert kept[0].tolist() == [3.0] * 3 and a.grad.tolist() == [6.0] * 3


@pytest.mark.slow
def test_a_hook_that_refers_to_its_tensor_is_collected():
    def leaf():
        return tg.ones((2,), requires_grad=True)

    def parameter():
        return tg.nn.Parameter(tg.ones(2))

    def result():
        return leaf() * 2.0

    for make in (leaf, parameter, result):
        x = make()
        x.register_hook(lambda g, x=x: g * x)
        ref = weakref.ref(x)
        del x
        gc.collect()
        assert ref() is None, make.__name__

    # While a graph needs the hook, it lives although Python refers to the tensor no more.
    x = leaf()
    seen = []
    x.register_hook(lambda g, x=x: seen.append(g + x.detach()))
    y, ref = (x * 3.0).sum(), weakref.ref(x)
    del x
    gc.collect()
    y.backward()
    assert seen[0].tolist() == [4.0, 4.0]
    del y
    gc.collect()
    assert ref() is None


def test_hook_functions_are_let_go():
    class Callable:
        def __call__(self, g):
            return None

    f = Callable()
    ref = weakref.ref(f)
    x = tg.ones(1, requires_grad=True)
    y = x * 2
    y.register_hook(f)
    del f
    assert ref() is not None
    del y
    gc.collect()
    assert ref() is None


def test_retain_grad():
    x = tg.ones(2, requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [6.0, 6.0]


# ---- functions of one's own ---------------------------------------------------------------------------------------------


class Cube(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale=1.0):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x * ctx.scale, None


class Exp(tg.autograd.Function):  # saves its own output
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


def test_function():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = Cube.apply(x, 2.0)
    assert y.grad_fn.name() == "CubeBackward" and not y.is_leaf
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 24.0]
    with tg.no_grad():
        assert Cube.apply(x, 2.0).is_leaf
    assert not Cube.apply(x.detach(), 2.0).requires_grad


def test_function_higher_order():
    x = tg.tensor(2.0, requires_grad=True)
    (g,) = tg.autograd.grad(Cube.apply(x, 1.0), x, create_graph=True)
    assert g.item() == 12.0
    assert tg.autograd.grad(g, x)[0].item() == 12.0
    y = Exp.apply(x)
    (g,) = tg.autograd.grad(y, x, create_graph=True)
    (h,) = tg.autograd.grad(g, x)
    np.testing.assert_allclose([g.item(), h.item()], np.exp(2.0), rtol=1e-6)


def test_function_that_saves_its_output_is_let_go():
    class Probe(Exp):
        @staticmethod
        def forward(ctx, x):
            Probe.ctx = weakref.ref(ctx)
            return Exp.forward(ctx, x)

    x = tg.tensor(1.0, requires_grad=True)
    y = Probe.apply(x)
    assert Probe.ctx() is not None
    del y
    gc.collect()
    assert Probe.ctx() is None


class Split(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        index = (x > y).long()
        ctx.mark_non_differentiable(index)
        return x + y, x - y, index

    @staticmethod
    def backward(ctx, a, b, _):
        assert ctx.needs_input_grad == (True, False)
        return a + b, None


def test_function_with_several_outputs():
    x, y = tg.tensor([1.0, 5.0], requires_grad=True), tg.tensor([2.0, 2.0])
    s, d, i = Split.apply(x, y)
    assert i.tolist() == [0, 1] and not i.requires_grad
    (s * 3).sum().backward()  # nothing flows through d: its gradient arrives as zeros
    assert x.grad.tolist() == [3.0, 3.0]


def test_function_errors():
    class Wrong(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    x = tg.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="Wrong.backward: expected 2 gradients"):
        Wrong.apply(x, x).sum().backward()

    class Shape(Cube):
        @staticmethod
        def backward(ctx, g):
            return tg.ones(3), None

    with pytest.raises(ValueError, match=r"expected a gradient of shape \(2,\), got \(3,\)"):
        Shape.apply(x, 1.0).sum().backward()
    y = Cube.apply(x, 1.0)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.sum().backward()
    z = x.detach().clone()
    z.requires_grad_()
    y = Cube.apply(z, 1.0)
    with tg.no_grad():
        z += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
    with pytest.raises(NotImplementedError):
        tg.autograd.Function.apply(x)


# ---- threads ------------------------------------------------------------------------------------------------------------


def test_threads_run_ops_and_backward_at_once():
    """Large and small work, hooks that take the GIL back, NumPy storages that die in either: no deadlock, right numbers."""
    errors = []

    def work(k):
        try:
            for i in range(20):
                a = np.full((300, 300), float(k), np.float32)
                x = tg.from_numpy(a).requires_grad_()
                y = (x * 2 + tg.tensor(1.0)).exp() if i % 5 == 0 else x * 2
                y.register_hook(lambda g: g * 2)
                small = tg.tensor([float(i)], requires_grad=True)
                (small * small).sum().backward()
                assert small.grad.item() == 2 * i
                y.sum().backward()
                if i % 5:
                    assert x.grad[0, 0].item() == 4.0
        except Exception as error:  # noqa: BLE001 (reported below)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "deadlock"
    assert not errors, errors


def test_deep_graphs():
    x = tg.ones(1, requires_grad=True)
    y = x
    for _ in range(20000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1.0]
    z = x
    for _ in range(20000):
        z = z * 1.0
    del z  # freed without recursion
