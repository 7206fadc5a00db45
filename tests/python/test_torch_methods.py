# SPDX-License-Identifier: Apache-2.0
"""What users of PyTorch try first: its methods and arguments, or an error that says what to write instead."""
from __future__ import annotations

import numpy as np
import pytest

import tengen as tg

A = np.array([[3.0, -4.0, 1.0], [0.0, 2.0, -2.0]])


def x():
    return tg.tensor(A)


def test_norm_has_its_order_first():
    for p in (2, 1, 0, np.inf, -np.inf, 3):
        np.testing.assert_allclose(x().norm(p).item(), np.linalg.norm(A.ravel(), p), rtol=1e-14)
        np.testing.assert_allclose(tg.norm(x(), p, 1).numpy(), np.linalg.norm(A, p, 1), rtol=1e-14)
        np.testing.assert_allclose(x().norm(p, dim=0, keepdim=True).numpy(), np.linalg.norm(A, p, 0, True), rtol=1e-14)
    assert x().norm().item() == x().norm("fro").item() == pytest.approx(np.linalg.norm(A))
    np.testing.assert_allclose(x().norm("nuc").item(), np.linalg.norm(A, "nuc"), rtol=1e-12)
    np.testing.assert_allclose(tg.norm(x(), axis=1, ord=1).numpy(), np.abs(A).sum(1))
    assert tg.tensor([3, 4]).norm(dtype=tg.float64).dtype is tg.float64
    out = tg.zeros(2, dtype=tg.float64)
    assert tg.norm(x(), 1, 1, out=out) is out and out.tolist() == [8.0, 4.0]
    with pytest.raises(ValueError, match="'fro' or 'nuc' as order, got 'l2'"):
        x().norm("l2")


def test_alpha():
    b = np.arange(6.0).reshape(2, 3)
    y = tg.tensor(b)
    for f, sign in ((tg.add, 1), (tg.sub, -1), (tg.subtract, -1)):
        np.testing.assert_array_equal(f(x(), y, alpha=0.5).numpy(), A + sign * 0.5 * b)
        np.testing.assert_array_equal(f(x(), other=2, alpha=3).numpy(), A + sign * 6)
    assert tg.add(tg.tensor([1, 2]), tg.tensor([3, 4]), alpha=2).tolist() == [7, 10]
    z, out = x(), tg.zeros(2, 3, dtype=tg.float64)
    assert z.add_(y, alpha=-2) is z and tg.sub(x(), y, alpha=2, out=out) is out
    np.testing.assert_array_equal(z.numpy(), A - 2 * b)
    np.testing.assert_array_equal(out.numpy(), A - 2 * b)
    w = tg.tensor(A, requires_grad=True)
    y.add(w, alpha=3).sum().backward()
    assert (w.grad == 3).all()


def test_rounding_mode():
    a, b = np.array([7, -7, 7, -7, 2**62 + 1]), np.array([2, 2, -2, -2, 3])
    p, q = tg.tensor(a), tg.tensor(b)
    assert tg.div(p, q, rounding_mode="floor").tolist() == (a // b).tolist()
    assert p.div(q, rounding_mode="trunc").tolist() == [int(abs(int(u)) // abs(int(v))) * (1 if (u < 0) == (v < 0) else -1) for u, v in zip(a, b)]
    assert p.div(q, rounding_mode=None).dtype is tg.float32 and tg.div(7, p, rounding_mode="trunc").tolist() == [1, -1, 1, -1, 0]
    np.testing.assert_array_equal(x().div(0.3, rounding_mode="trunc").numpy(), np.trunc(A / 0.3))
    np.testing.assert_array_equal(x().div(0.3, rounding_mode="floor").numpy(), np.floor_divide(A, 0.3))
    z = x()
    assert z.div_(2.5, rounding_mode="trunc") is z
    np.testing.assert_array_equal(z.numpy(), np.trunc(A / 2.5))
    assert p.div_(2, rounding_mode="floor") is p and p.tolist() == (a // 2).tolist()
    with pytest.raises(ValueError, match="rounding_mode None, 'trunc' or 'floor', got 'ceil'"):
        tg.div(p, q, rounding_mode="ceil")


def test_stable_and_sorted():
    values, indices = x().sort(stable=True, dim=1, descending=True)
    assert values.tolist() == np.sort(A, 1)[:, ::-1].tolist() and np.take_along_axis(A, indices.numpy(), 1).tolist() == values.tolist()
    assert tg.tensor([1, 0, 1, 0]).argsort(stable=True).tolist() == [1, 3, 0, 2]
    assert x().topk(2, dim=1, sorted=False).values.tolist() == [[3.0, 1.0], [2.0, 0.0]]


@pytest.mark.parametrize(("try_", "way_out"), [
    (lambda: x().max(1).values, r"max_with_indices\(axis\)"), (lambda: x().min(dim=1).indices, r"min_with_indices\(axis\)"),
    (lambda: x().unsqueeze_(0), r"x = x.unsqueeze\(\)"), (lambda: x().resize_(3), "new_empty"), (lambda: x().storage(), "data_ptr"),
    (lambda: tg.compile(len), r"tg.jit\(f\)"), (lambda: tg.utils.data.DataLoader, "tengen.data"),
    (lambda: tg.cuda.is_available(), r"tg.devices\(\)"), (lambda: tg.LongTensor([1]), "dtype=tg.int64"), (lambda: tg.Size([1]), "tuples"),
])
def test_what_does_not_exist_says_what_does(try_, way_out):
    with pytest.raises(AttributeError, match=way_out):
        try_()


def test_questions():
    t = x()
    assert t.nelement() == 6 and t.ndimension() == 2 and t.element_size() == 8 and t.get_device() == -1 and not t.is_cuda and not t.is_sparse
    assert t.is_signed() and not tg.zeros(1, dtype=tg.uint8).is_signed() and not tg.zeros(1, dtype=tg.bool).is_signed()
    assert not t.is_complex() and not tg.is_complex(t) and t.is_same_size(tg.zeros(2, 3)) and not t.is_same_size(tg.zeros(3, 2))
    assert t.type() == "tengen.float64" and t.type(tg.int32).dtype is tg.int32 and t.char().dtype is tg.int8
    assert t.pin_memory() is t and not t.is_pinned() and not hasattr(t, "values")
    assert tg.is_nonzero(tg.tensor([2])) and not tg.is_nonzero(tg.tensor(0.0)) and tg.are_deterministic_algorithms_enabled()
    assert tg.get_default_dtype() is tg.float32 and tg.set_default_dtype(tg.float32) is None


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3), (7, 3), (0, 3), (1, 1), (9, 2)])
@pytest.mark.parametrize("wrap", [False, True])
def test_fill_diagonal(shape, wrap):
    want = np.zeros(shape)
    if want.size:
        np.fill_diagonal(want, 5, wrap)
    t = tg.zeros(*shape)
    assert t.fill_diagonal_(5, wrap) is t and t.tolist() == want.tolist()


def test_fill_diagonal_of_a_cube():
    want = np.zeros((3, 3, 3))
    np.fill_diagonal(want, 2)
    assert tg.zeros(3, 3, 3).fill_diagonal_(2).tolist() == want.tolist()
    for bad in ((3,), (2, 3, 3)):
        with pytest.raises(ValueError, match=r"\[fill_diagonal_\] expected a matrix"):
            tg.zeros(*bad).fill_diagonal_(1)


def test_written_in_place():
    for name in ("tril", "triu"):
        t = x()
        assert getattr(t, name + "_")(diagonal=1) is t and t.tolist() == getattr(np, name)(A, 1).tolist()
    t, a = tg.ones(2, 2, dtype=tg.float64), x()
    assert t.addmm_(a, a.T, beta=2, alpha=3) is t
    np.testing.assert_allclose(t.numpy(), 2 + 3 * A @ A.T)


def test_sum_to_size():
    assert x().sum_to_size(1, 3).tolist() == A.sum(0, keepdims=True).tolist() and x().sum_to_size((3,)).tolist() == A.sum(0).tolist()
    assert x().sum_to_size(2, 3).tolist() == A.tolist() and x().sum_to_size(()).item() == A.sum()
    with pytest.raises(ValueError, match="broadcasts to"):
        x().sum_to_size(2)


def test_normal_in_both_orders():
    def drawn(*args, **keywords):
        tg.manual_seed(3)
        return tg.normal(*args, **keywords)

    want = drawn((2, 3), 1.5, 2.0)
    z = drawn((2, 3))
    for args, keywords in (((1.5, 2.0, (2, 3)), {}), ((1.5, 2.0), {"size": (2, 3)}), ((), {"mean": 1.5, "std": 2.0, "size": (2, 3)}),
                           (((2, 3),), {"mean": 1.5, "std": 2.0})):
        assert tg.array_equal(drawn(*args, **keywords), want)
    assert tg.array_equal(drawn(0, 1, (2, 3)), z) and drawn(4).shape == (4,) and drawn((2,), 0, 1, tg.float64).dtype is tg.float64
    mean, std = tg.tensor([[0.0], [10.0]]), tg.tensor([1.0, 2.0, 3.0])
    np.testing.assert_allclose(drawn(mean, std).numpy(), (z * std + mean).numpy(), rtol=1e-6)
    assert drawn(mean).shape == (2, 1) and drawn(0.0, std).shape == (3,) and tg.array_equal(drawn((2, 3), generator=tg.Generator(5)), tg.randn(2, 3, generator=tg.Generator(5)))
    out = tg.zeros(2, 3)
    assert drawn((2, 3), out=out) is out and tg.array_equal(out, z)
    for bad in ((0.0, 1.0), (0.0, -1.0, (2,)), (mean, -std), ((2,), 0.0, 1.0, tg.float32, 1)):
        with pytest.raises((TypeError, ValueError), match=r"\[normal\] expected"):
            tg.normal(*bad)


def test_a_module_moves_to_cuda_or_says_what_there_is():
    module = tg.nn.Linear(1, 1)
    if any(d.usable and d.kind == "cuda" for d in tg.devices()):
        assert module.cuda().weight.is_cuda
    else:
        for call in (module.cuda, lambda: module.cuda(0), lambda: module.weight.cuda(0)):
            with pytest.raises(ValueError, match="expected a device of this machine, got 'cuda"):
                call()
