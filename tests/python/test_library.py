# SPDX-License-Identifier: Apache-2.0
"""Custom ops: schema, gradients, vmap, errors, opcheck."""

from __future__ import annotations

import numpy as np
import pytest

import tengen as tg
from tengen import func, library


@library.custom_op("test::sin_scaled")
def sin_scaled(x: tg.Tensor, scale: float = 1.0, *, shift: int = 0) -> tg.Tensor:
    """sin(x) * scale + shift, in NumPy."""
    return tg.tensor(np.sin(x.detach().numpy()) * scale + shift, dtype=x.dtype)


sin_scaled.register_autograd(
    lambda ctx, g: (g * ctx.saved_tensors[0].cos() * ctx.scale, None, None),
    setup_context=lambda ctx, inputs, output: (ctx.save_for_backward(inputs[0]), setattr(ctx, "scale", inputs[1])),
)
sin_scaled.register_fake(lambda x, scale, shift: x.new_empty(x.shape))


@library.custom_op("test::split_sum")
def split_sum(xs: list[tg.Tensor], weights: list[float] | None = None) -> tuple[tg.Tensor, tg.Tensor]:
    w = weights or [1.0] * len(xs)
    total = sum(x * k for x, k in zip(xs, w))
    return total, total * total


def test_calls():
    x = tg.tensor([0.5, 1.0])
    np.testing.assert_allclose(sin_scaled(x, 2.0, shift=1).numpy(), np.sin([0.5, 1.0]) * 2 + 1, rtol=1e-6)
    np.testing.assert_allclose(tg.ops.test.sin_scaled(x).numpy(), np.sin([0.5, 1.0]), rtol=1e-6)
    a, b = split_sum([x, x], (1.0, 2.0))
    assert a.tolist() == [1.5, 3.0] and b.tolist() == [2.25, 9.0]
    assert "sin_scaled" in dir(tg.ops.test) and "test" in dir(tg.ops)
    assert "sin_scaled" in repr(sin_scaled)


def test_gradients_of_every_order_and_mode():
    x = tg.tensor([0.5, 1.0, -2.0], dtype=tg.float64, requires_grad=True)
    assert tg.autograd.gradcheck(lambda x: sin_scaled(x, 3.0), (x,), check_forward_ad=True)
    (g,) = tg.autograd.grad(sin_scaled(x, 3.0).sum(), x, create_graph=True)
    (h,) = tg.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), -3 * np.sin(x.detach().numpy()))
    assert tg.autograd.gradcheck(lambda *xs: split_sum(list(xs)), (x, x.detach().clone().requires_grad_()))


def test_vmap_by_loop_and_by_rule():
    rows = tg.tensor([[0.5, 1.0], [2.0, 3.0]], dtype=tg.float64)
    np.testing.assert_allclose(func.vmap(sin_scaled)(rows).numpy(), np.sin(rows.numpy()))
    np.testing.assert_allclose(func.vmap(func.grad(lambda r: sin_scaled(r).sum()))(rows).numpy(), np.cos(rows.numpy()))

    @library.custom_op("test::row_max")
    def row_max(x: tg.Tensor) -> tg.Tensor:
        return tg.tensor(x.numpy().max(-1))

    seen = []

    @row_max.register_vmap
    def rule(info, in_dims, x):
        seen.append((info.batch_size, in_dims))
        return row_max(x), 0

    assert func.vmap(row_max)(rows).tolist() == [1.0, 3.0]
    assert seen == [(2, (0,))]


def test_opcheck():
    x = tg.tensor([0.5, 1.0], dtype=tg.float64, requires_grad=True)
    report = library.opcheck(sin_scaled, (x, 2.0))
    assert report == {"inputs unchanged": "ok", "repeatable": "ok", "gradient": "ok", "vmap": "ok"}

    @library.custom_op("test::wrong_gradient")
    def wrong(x: tg.Tensor) -> tg.Tensor:
        return x * x

    wrong.register_autograd(lambda ctx, g: g)
    with pytest.raises(RuntimeError, match="gradcheck"):
        library.opcheck(wrong, (x,))


def test_errors():
    x = tg.tensor([1.0])
    with pytest.raises(ValueError, match="namespace::op"):
        library.custom_op("plain", lambda x: x)
    with pytest.raises(ValueError, match="new name"):
        library.custom_op("test::sin_scaled", sin_scaled._function)
    with pytest.raises(TypeError, match="type hint"):
        library.custom_op("test::bare", lambda x: x)
    with pytest.raises(TypeError, match="unexpected keyword"):
        sin_scaled(x, nothing=1)
    with pytest.raises(TypeError, match="missing required argument|expected the argument"):
        sin_scaled()

    @library.custom_op("test::itself")
    def itself(x: tg.Tensor) -> tg.Tensor:
        return x

    with pytest.raises(RuntimeError, match="clone"):
        itself(x)

    @library.custom_op("test::two")
    def two(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        return x * 2

    with pytest.raises(ValueError, match="return 2 tensors, got 1"):
        two(x)


def test_autocast_rules():
    seen = []

    @tg.library.custom_op("t::watched")
    def watched(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        seen.append((x.dtype, y.dtype))
        return x * y

    watched.register_autograd(lambda ctx, g: (g * ctx.saved_tensors[1], g * ctx.saved_tensors[0]),
                              setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    f32, bf16, f64 = tg.ones(2), tg.ones(2, dtype=tg.bfloat16), tg.ones(2, dtype=tg.float64)

    def types(x, y):
        seen.clear()
        with tg.autocast("cpu", tg.bfloat16):
            watched(x, y)
        return [t.name for t in seen[0]]

    assert types(f32, bf16) == ["float32", "bfloat16"]
    for rule, want in (("low", ["bfloat16"] * 2), (tg.bfloat16, ["bfloat16"] * 2), ("f32", ["float32"] * 2), (tg.float32, ["float32"] * 2),
                       ("promote", ["float32"] * 2), (None, ["float32", "bfloat16"])):
        watched.register_autocast(rule)
        assert types(f32, bf16) == want, rule
        assert types(f64, f64) == ["float64"] * 2
    seen.clear()
    watched.register_autocast("low")
    watched(f32, f32)
    assert seen == [(tg.float32, tg.float32)]
    x = tg.ones(2, requires_grad=True)
    with tg.autocast("cpu", tg.bfloat16):
        y = watched(x, x)
    y.sum().backward()
    assert y.dtype is tg.bfloat16 and x.grad.dtype is tg.float32 and x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="expected \"low\", \"f32\", \"promote\""):
        watched.register_autocast("high")
    with pytest.raises(ValueError, match="expected \"low\""):
        watched.register_autocast(tg.int8)
