# SPDX-License-Identifier: Apache-2.0
"""gradcheck, anomaly mode, hooks, saved tensors, checkpoint, and what a Function may say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tengen as tg
from tengen import autograd, func
from tengen.utils.checkpoint import checkpoint, checkpoint_sequential


def t(x, grad=True):
    return tg.tensor(x, dtype=tg.float64, requires_grad=grad)


class Wrong(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return g * 3 * ctx.saved_tensors[0]


def test_gradcheck():
    x, y = t([[0.5, 1.5], [2.0, -1.0]]), t([1.0, 2.0])
    assert autograd.gradcheck(lambda x, y: (x @ y, x.sin()), (x, y), check_forward_ad=True, check_batched_grad=True)
    assert autograd.gradgradcheck(lambda x, y: x.exp() @ y, (x, y))
    with pytest.raises(RuntimeError, match=r"element \d of the input and \d of the output: analytic .*numeric"):
        autograd.gradcheck(Wrong.apply, (x,))
    assert not autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)
    with pytest.raises(ValueError, match="requires gradients"):
        autograd.gradcheck(lambda x: x, (x.detach(),))
    with pytest.warns(UserWarning, match="float64"):
        autograd.gradcheck(lambda x: x, (tg.ones(2, requires_grad=True),), eps=1e-2)


def test_gradcheck_of_complex_numbers():
    rng = np.random.default_rng(0)
    z = tg.tensor(rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)), requires_grad=True)
    w, x = tg.tensor(rng.normal(size=3) + 1j, requires_grad=True), t([1.0, 2.0, 3.0])
    for f in (lambda z, w, x: z * w + x, lambda z, w, x: (z * x).exp() / w, lambda z, w, x: ((z @ w).abs(), z.conj() * x),
              lambda z, w, x: tg.fft.fft(z * x).real + w.imag):
        assert autograd.gradcheck(f, (z, w, x), check_forward_ad=True, check_batched_grad=True)
        assert autograd.gradgradcheck(f, (z, w, x))

    class Unconjugated(autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    with pytest.raises(RuntimeError, match="to match finite differences"):
        autograd.gradcheck(Unconjugated.apply, (z,))
    with pytest.warns(UserWarning, match="complex64"):
        autograd.gradcheck(lambda z: z, (tg.ones(2, dtype=tg.complex64, requires_grad=True),), eps=1e-2)


def test_anomaly_names_the_forward_line():
    x = t([0.0, 1.0])
    with autograd.detect_anomaly():
        y = x.sqrt()  # the line
        with pytest.raises(RuntimeError, match=r"\[sqrt\].*test_autograd_tools\.py:\d+.*y = x\.sqrt\(\)"):
            y.sum().backward()
    x.sqrt().sum().backward()  # off again


def test_anomaly_reports_the_loss_once():
    def reports(times):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(times):
                y = t([-1.0]).log()  # the line
                (y * 2).sum().backward()  # log's own backward is finite; mul passes NaN on
        return [str(w.message) for w in caught]

    with autograd.detect_anomaly():
        (message,) = reports(3)
        assert "first made by [log] called at" in message and "test_autograd_tools.py" in message and "y = t([-1.0]).log()  # the line" in message
    with autograd.detect_anomaly():
        assert len(reports(2)) == 1, "once each time that the mode is switched on"
    before = autograd.set_detect_anomaly(True)
    before.__exit__()
    assert not reports(1)


def test_post_accumulate_hook():
    x = t([1.0, 2.0])
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
    (x * 3).sum().backward()
    (x * 3).sum().backward()
    handle.remove()
    (x * 3).sum().backward()
    assert seen == [[3.0, 3.0], [6.0, 6.0]]
    with pytest.raises(ValueError, match="leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_multi_grad_hook():
    x, y = t([1.0]), t([2.0])
    seen = []
    handle = autograd.graph.register_multi_grad_hook((x, y), lambda g: seen.append([v.item() for v in g]))
    (x * y).sum().backward()
    assert seen == [[2.0, 1.0]]
    handle.remove()


def test_saved_tensors_hooks():
    packed = []

    def pack(v):
        packed.append(v)
        return v.numpy().copy()

    x = t([1.0, 2.0])
    with autograd.graph.saved_tensors_hooks(pack, lambda a: tg.tensor(a)):
        y = (x * x).exp()
    assert packed
    (g,) = autograd.grad(y.sum(), x, create_graph=True)
    e = np.exp(np.array([1.0, 4.0]))
    np.testing.assert_allclose(g.detach().numpy(), 2 * np.array([1, 2]) * e)
    (h,) = autograd.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), (2 + 4 * np.array([1, 4])) * e)
    with autograd.graph.save_on_cpu():
        (x * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [2, 4])


def test_checkpoint_repeats_dropout_and_nests():
    tg.manual_seed(3)
    w = tg.randn(6, 6, dtype=tg.float64)
    x = tg.randn(2, 6, dtype=tg.float64)

    def block(v, *, scale=1.0):
        return tg.dropout(v @ w, 0.5).tanh() * scale

    def loss(use, v):
        tg.manual_seed(5)
        y = use(lambda u: use(block, u, scale=2.0) + u, v)
        return (use(block, y) ** 2).sum()

    grads = []
    for use in (lambda f, *a, **k: f(*a, **k), checkpoint):
        v = x.detach().requires_grad_()
        wanted = w.requires_grad_(False)
        assert wanted is w
        total = loss(use, v)
        after = tg.rand(1).item()
        total.backward()
        grads.append((total.item(), v.grad.numpy(), after))
    assert grads[0][0] == grads[1][0] and grads[0][2] == grads[1][2]
    np.testing.assert_array_equal(grads[0][1], grads[1][1])


def test_checkpoint_frees_and_gives_parameters_gradients():
    layers = [tg.nn.Linear(4, 4), tg.nn.ReLU(), tg.nn.Linear(4, 4), tg.nn.Tanh()]
    x = tg.randn(3, 4)
    expected = []
    for p in (q for layer in layers for q in layer.parameters()):
        expected.append(p)
    y = x
    for layer in layers:
        y = layer(y)
    plain = autograd.grad(y.sum(), expected)
    again = autograd.grad(checkpoint_sequential(layers, 2, x).sum(), expected)
    for a, b in zip(plain, again):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    calls = []

    def counted(v):
        calls.append(1)
        return (v * v).exp()

    v = tg.ones(2, requires_grad=True)
    z = checkpoint(counted, v)
    z.sum().backward()
    assert len(calls) == 2
    state = [0]

    def changing(v):
        state[0] += 1
        return v * v if state[0] > 1 else (v * v).exp() * v

    with pytest.raises(RuntimeError, match=r"\[checkpoint\].*the same"):
        checkpoint(changing, v).sum().backward()


def test_function_with_setup_context_jvp_and_vmap():
    class Scale(autograd.Function):
        @staticmethod
        def forward(x, k):
            return tg.tensor(x.detach().numpy() * k) if isinstance(k, float) and k > 100 else x * k

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.k = inputs[1]

        @staticmethod
        def backward(ctx, g):
            return g * ctx.k, None

        @staticmethod
        def jvp(ctx, tx, _):
            return tx * ctx.k

    x = t([1.0, 2.0])
    Scale.apply(x, 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    d = func.jvp(lambda v: Scale.apply(v, 3.0), (x.detach(),), (t([1.0, 0.5], False),))[1]
    assert d.tolist() == [3.0, 1.5]
    rows = t([[1.0, 2.0], [3.0, 4.0]], False)
    assert func.vmap(lambda r: Scale.apply(r, 2.0))(rows).tolist() == [[2.0, 4.0], [6.0, 8.0]]
    g = func.vmap(func.grad(lambda r: Scale.apply(r * r, 2.0).sum()))(rows)
    assert g.tolist() == [[4.0, 8.0], [12.0, 16.0]]
    assert func.grad(func.grad(lambda v: Scale.apply(v**3, 2.0)))(t(2.0, False)).item() == 24.0
    with pytest.raises(NotImplementedError, match="jvp"):
        func.jvp(Wrong.apply, (x.detach(),), (x.detach(),))

    class Mapped(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x + 1

        @staticmethod
        def vmap(info, in_dims, x):
            assert info.batch_size == 2 and in_dims == (0,)
            return x + 10, 0

    assert func.vmap(Mapped.apply)(rows).tolist() == [[11.0, 12.0], [13.0, 14.0]]


def test_function_dirty_once_and_undefined():
    class AddOne(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    x = t([1.0])
    y = x * 2
    z = AddOne.apply(y)
    assert z is y and y.tolist() == [3.0]
    z.sum().backward()
    assert x.grad.tolist() == [10.0]

    class Once(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @autograd.once_differentiable
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    (g,) = autograd.grad(Once.apply(x).sum(), x, create_graph=True)
    assert g.tolist() == [2.0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_modes():
    x = t([1.0])

    @tg.inference_mode()
    def f(v):
        return v * 2

    assert not f(x).requires_grad
    with tg.inference_mode():
        assert not (x * 2).requires_grad
    with tg.inference_mode(False):
        assert (x * 2).requires_grad


def test_top_level_names():
    x = t([1.0, 2.0])
    (g,) = tg.grad((x**3).sum(), x, create_graph=True)
    assert g.detach().tolist() == [3.0, 12.0] and tg.grad(g.sum(), [x])[0].tolist() == [6.0, 12.0]
    assert tg.grad is autograd.grad and tg.gradcheck is autograd.gradcheck and tg.gradgradcheck is autograd.gradgradcheck
    for name in ("vjp", "jvp", "vmap", "jacobian", "jacfwd", "jacrev", "hessian", "value_and_grad"):
        assert getattr(tg, name) is getattr(func, name) and name in dir(tg)
    with pytest.raises(TypeError, match=r"tg\.func\.grad\(f\) is the gradient of a function"):
        tg.grad(lambda x: x * x, x)
