# SPDX-License-Identifier: Apache-2.0
"""tg.func.vmap: axes, trees, nesting, randomness, errors. (Every op under vmap: tests/ops/test_transforms_of_ops.py.)"""

from __future__ import annotations

import numpy as np
import pytest

import tengen as tg
from tengen import func

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((4, 3, 5)), RNG.standard_normal((4, 5, 2))


def t(x):
    return tg.tensor(x)


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-6, atol=1e-7)


def test_axes_and_trees():
    close(func.vmap(lambda a, b: a @ b)(t(A), t(B)), A @ B)
    close(func.vmap(lambda a, b: a @ b, (0, None))(t(A), t(B[0])), A @ B[0])
    close(func.vmap(lambda a: a * 2, 1, 2)(t(A)), np.moveaxis(A * 2, 1, 2))
    close(func.vmap(lambda a: a.sum(0), -1, -1)(t(A)), A.sum(0))
    out = func.vmap(lambda d, s: {"x": d["a"] + s[0], "y": (s[1],)}, ({"a": 0}, (None, 0)))({"a": t(A)}, (t(1.0), t(A)))
    close(out["x"], A + 1)
    close(out["y"][0], A)
    close(func.vmap(lambda a: t([1.0, 2.0]))(t(A)), np.tile([1.0, 2.0], (4, 1)))  # a result that is not mapped
    close(func.vmap(lambda a, scale=None: a * scale)(t(A), scale=t(np.arange(4.0))), A * np.arange(4.0)[:, None, None])


def test_nesting():
    f = func.vmap(func.vmap(lambda x, y: (x * y).sum(), (None, 0)), (0, None))
    x, y = RNG.standard_normal((4, 3)), RNG.standard_normal((5, 3))
    close(f(t(x), t(y)), x @ y.T)
    g = func.vmap(func.grad(lambda w, x: (w * x).sin().sum()), (None, 0))
    close(g(t(x[0]), t(y)), np.cos(x[0] * y) * y)
    g = func.grad(lambda w: func.vmap(lambda x: (w * x).sin().sum())(t(y)).sum())
    close(g(t(x[0])), (np.cos(x[0] * y) * y).sum(0))
    j = func.jvp(lambda w: func.vmap(lambda x: (w * x).sin())(t(y)), (t(x[0]),), (t(x[1]),))[1]
    close(j, np.cos(x[0] * y) * y * x[1])
    h = func.vmap(func.hessian(lambda x: (x**3).sum()))(t(x))
    close(h, np.stack([np.diag(6 * r) for r in x]))


def test_per_example_gradients_of_a_network():
    model = tg.nn.Sequential(tg.nn.Conv2d(1, 2, 3), tg.nn.ReLU(), tg.nn.MaxPool2d(2), tg.nn.Flatten(), tg.nn.Linear(8, 3))
    p = {k: v.detach() for k, v in model.named_parameters()}
    x, y = t(RNG.standard_normal((5, 1, 6, 6)).astype(np.float32)), tg.tensor([0, 1, 2, 0, 1])

    def loss(p, x, y):
        return tg.nn.functional.cross_entropy(func.functional_call(model, p, x.unsqueeze(0)), y.unsqueeze(0))

    together = func.vmap(func.grad(loss), (None, 0, 0))(p, x, y)
    for i in range(5):
        alone = func.grad(loss)(p, x[i], y[i])
        for k in p:
            np.testing.assert_allclose(together[k][i].numpy(), alone[k].numpy(), rtol=1e-4, atol=1e-6)


def test_chunks():
    f = lambda a: (a * a).sum(0)  # noqa: E731
    close(func.vmap(f, chunk_size=3)(t(A)), func.vmap(f)(t(A)).numpy())
    close(func.vmap(f, 1, 1, chunk_size=2)(t(A)), func.vmap(f, 1, 1)(t(A)).numpy())


def test_randomness():
    x = tg.zeros(4, 100)
    with pytest.raises(RuntimeError, match='randomness="same"'):
        func.vmap(lambda r: r + tg.rand(100))(x)
    same = func.vmap(lambda r: r + tg.rand(100), randomness="same")(x).numpy()
    assert (same == same[0]).all()
    different = func.vmap(lambda r: r + tg.rand(100), randomness="different")(x).numpy()
    assert len({r.tobytes() for r in different}) == 4
    for how, n in (("same", 1), ("different", 4)):
        d = func.vmap(lambda r: tg.dropout(r, 0.5), randomness=how)(tg.ones(4, 100)).numpy()
        assert len({r.tobytes() for r in d}) == n and set(np.unique(d)) == {0.0, 2.0}
    p = func.vmap(lambda r: tg.randperm(20), randomness="different")(x).numpy()
    assert (np.sort(p, 1) == np.arange(20)).all() and len({r.tobytes() for r in p}) == 4


def test_in_place():
    def f(x):
        y = tg.zeros_like(x)
        y[1:] = x[:-1]
        y.add_(1)
        return y

    x = RNG.standard_normal((3, 4))
    expected = np.ones((3, 4))
    expected[:, 1:] += x[:, :-1]
    close(func.vmap(f)(t(x)), expected)
    with pytest.raises(ValueError, match="share"):
        func.vmap(lambda r: tg.zeros(4).add_(r))(t(x.astype(np.float32)))


def test_reading_a_mapped_tensor_raises():
    for read in (lambda x: x.sum().item(), lambda x: x.numpy(), lambda x: 1 if x.sum() > 0 else 0, lambda x: x.tolist(), float):
        with pytest.raises(RuntimeError, match="inside vmap"):
            func.vmap(read)(t(A[:, 0, 0]))


def test_errors():
    with pytest.raises(ValueError, match="one size"):
        func.vmap(lambda a, b: a)(t(A), t(B[:2]))
    with pytest.raises(ValueError, match="at least one"):
        func.vmap(lambda a: a, None)(t(A))
    with pytest.raises(ValueError, match="in_dims"):
        func.vmap(lambda a: a, 5)(t(A))
    with pytest.raises(TypeError, match="results"):
        func.vmap(lambda a: 1)(t(A))
    with pytest.raises(ValueError, match="randomness"):
        func.vmap(lambda a: a, randomness="some")
    kept = []
    func.vmap(lambda a: kept.append(a) or a)(t(A))
    with pytest.raises(RuntimeError, match="has returned"):
        kept[0] * 2


def test_complex_views_and_transforms_run_once():
    rng = np.random.default_rng(0)
    z = tg.tensor(rng.normal(size=(3, 4, 6)) + 1j * rng.normal(size=(3, 4, 6)))
    r = tg.tensor(rng.normal(size=(3, 5, 6, 2)))
    before = tg.dispatch_stats()["batch_loops"]
    for f, x in ((tg.real, z), (tg.imag, z), (tg.view_as_real, z), (tg.view_as_complex, r), (tg.fft.fft, z), (tg.fft.ifft2, z), (tg.fft.irfft, z),
                 (tg.fft.rfftn, z.real.contiguous()), (tg.fft.hfft, z)):
        mapped = func.vmap(f)(x)
        np.testing.assert_allclose(mapped.numpy(), np.stack([f(row).numpy() for row in x]), atol=1e-12)
        np.testing.assert_allclose(func.vmap(f, 1, 1)(x).numpy(), np.stack([f(x[:, i].contiguous()).numpy() for i in range(x.shape[1])], 1), atol=1e-12)
    assert tg.dispatch_stats()["batch_loops"] == before
