# SPDX-License-Identifier: Apache-2.0
"""Functions of shapes and data movement that are made of ops, against NumPy (or its spelling of PyTorch's)."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tengen as tg

A = np.arange(24.0).reshape(2, 3, 4)
M = np.arange(12).reshape(3, 4)
V = np.arange(5)


def t(a):
    return tg.tensor(a)


def plain(x):
    if isinstance(x, tg.Tensor):
        return x.numpy()
    return [plain(v) for v in x] if isinstance(x, (tuple, list)) else x


def equal(got, want):
    got, want = plain(got), [np.asarray(w) for w in want] if isinstance(want, (list, tuple)) else want
    if isinstance(got, list):
        assert len(got) == len(want)
        for g, w in zip(got, want):
            np.testing.assert_array_equal(g, w)
            assert g.shape == w.shape
    else:
        np.testing.assert_array_equal(got, want)
        assert got.shape == np.shape(want)


CASES = {
    "tensor_split": lambda f, a: f.array_split(a(V), 3) if f is np else tg.tensor_split(a(V), 3),
    "tensor_split at a tensor": lambda f, a: f.array_split(a(A), [1, 3], 2) if f is np else tg.tensor_split(a(A), tg.tensor([1, 3]), 2),
    "tensor_split at": lambda f, a: f.array_split(a(A), [1, 3], 2) if f is np else tg.tensor_split(a(A), [1, 3], 2),
    "hsplit": lambda f, a: f.hsplit(a(M), 2),
    "hsplit 1d": lambda f, a: f.hsplit(a(V), [2, 3]),
    "vsplit": lambda f, a: f.vsplit(a(A), 2),
    "dsplit": lambda f, a: f.dsplit(a(A), [1, 3]),
    "hstack": lambda f, a: f.hstack([a(M), a(M)]),
    "hstack 1d": lambda f, a: f.hstack([a(V), a(V), a(V)]),
    "vstack": lambda f, a: f.vstack([a(V), a(V)]),
    "dstack": lambda f, a: f.dstack([a(M), a(M)]),
    "dstack 1d": lambda f, a: f.dstack([a(V), a(V)]),
    "column_stack": lambda f, a: f.column_stack([a(np.arange(3)), a(M)]),
    "atleast_1d": lambda f, a: list(f.atleast_1d(a(np.array(3)), a(M))),
    "atleast_2d": lambda f, a: list(f.atleast_2d(a(np.array(3)), a(V), a(M))),
    "atleast_3d": lambda f, a: list(f.atleast_3d(a(np.array(3)), a(V), a(M), a(A))),
    "fliplr": lambda f, a: f.fliplr(a(A)),
    "flipud": lambda f, a: f.flipud(a(A)),
    "rot90": lambda f, a: [f.rot90(a(A), k, axes) for k in range(-2, 6) for axes in ((0, 1), (2, 0))],
    "meshgrid ij": lambda f, a: list(f.meshgrid(a(V), a(np.arange(2)), a(np.arange(3)), indexing="ij")),
    "meshgrid xy": lambda f, a: list(f.meshgrid(a(V), a(np.arange(2)), a(np.arange(3)), indexing="xy")),
    "diag": lambda f, a: [f.diag(a(V), k) for k in (-1, 0, 2)] + [f.diag(a(M), k) for k in (-1, 0, 1, 4)],
    "diagflat": lambda f, a: [f.diagflat(a(M), k) for k in (0, -1)],
    "tri": lambda f, a: [f.tri(3, 4, k) for k in (-1, 0, 2)] + [f.tri(2)],
    "ravel": lambda f, a: [f.ravel(a(A)), f.ravel(a(A.T)), f.ravel(a(np.array(2.0)))],
    "swapaxes": lambda f, a: f.swapaxes(a(A), 0, 2),
    "moveaxis": lambda f, a: f.moveaxis(a(A), (0, 2), (1, 0)),
    "expand_dims": lambda f, a: f.expand_dims(a(A), (0, 2)),
    "squeeze": lambda f, a: f.squeeze(a(A[:1, :, :1]), (0, 2)),
    "roll": lambda f, a: f.roll(a(A), (1, -2), (0, 2)),
    "tile": lambda f, a: f.tile(a(M), (2, 1, 2)),
    "broadcast": lambda f, a: list(f.broadcast_arrays(a(V[:, None]), a(M[:1])) if f is np else tg.broadcast_tensors(a(V[:, None]), a(M[:1]))),
}


@pytest.mark.parametrize("name", CASES)
def test_against_numpy(name):
    equal(CASES[name](tg, t), CASES[name](np, lambda a: a))


def test_where_with_one_argument():
    for a in (M % 3, A > 5, np.array([0, 0]), np.array(3), np.array(0)):
        equal(tg.where(t(a)), np.nonzero(np.atleast_1d(a)))
    with pytest.raises(TypeError, match="two arguments"):
        tg.where(t(M), t(M))


def test_triangle_indices():
    for k, (m, n) in itertools.product((-1, 0, 1), ((3, 3), (2, 4), (4, 2))):
        equal(tg.tril_indices(m, n, k), np.stack(np.tril_indices(m, k, n)))
        equal(tg.triu_indices(m, n, k), np.stack(np.triu_indices(m, k, n)))


def test_block_diag_and_products():
    scipy = pytest.importorskip("scipy.linalg")
    blocks = [np.ones((2, 1)), M.astype(float), np.arange(3.0)]
    equal(tg.block_diag(*map(t, blocks)), scipy.block_diag(*blocks))
    equal(tg.cartesian_prod(t(V), t(np.arange(2)), t(np.arange(3))), np.array(list(itertools.product(range(5), range(2), range(3)))))
    equal(tg.combinations(t(V * 2), 3), np.array(list(itertools.combinations(V * 2, 3))))
    equal(tg.combinations(t(V), 2, True), np.array(list(itertools.combinations_with_replacement(V, 2))))
    assert tg.combinations(t(V), 6).shape == (0, 6)


@pytest.mark.parametrize("repeats", [2, [2, 0, 1], np.array([0, 0, 3]), [0, 0, 0], [3]], ids=str)
def test_repeat_interleave(repeats):
    want = np.repeat(M, repeats, 0)
    given = t(repeats) if isinstance(repeats, np.ndarray) else repeats
    equal(tg.repeat_interleave(t(M), given, 0), want)
    equal(t(M).repeat_interleave(given, dim=0, output_size=want.shape[0]), want)
    equal(tg.repeat_interleave(t(V), 2), np.repeat(V, 2))
    with pytest.raises(ValueError, match="repeats"):
        tg.repeat_interleave(t(M), [1, 2], 0)
    with pytest.raises(ValueError, match="negative"):
        tg.repeat_interleave(t(M), [1, -2, 1], 0)


def test_copies_with_a_part_replaced():
    x = t(A)
    want = A.copy()
    want[:, 1] = 0
    equal(tg.select_scatter(x, tg.zeros(2, 4, dtype=tg.float64), 1, 1), want)
    want = A.copy()
    want[..., 1:4:2] = -1
    equal(x.slice_scatter(tg.full((2, 3, 2), -1.0), -1, 1, 4, 2), want)
    for k in (-1, 0, 2):
        want = M.copy()
        n = len(np.diagonal(M, k))
        want[np.arange(n) + max(-k, 0), np.arange(n) + max(k, 0)] = 100 + np.arange(n)
        equal(tg.diagonal_scatter(t(M), 100 + tg.arange(n), k), want)
    equal(x, A)


def test_updates_in_place_and_their_gradients():
    x = tg.zeros(3, 4)
    i = tg.tensor([[0, 2, 1, 0]])
    assert x.scatter_(0, i, tg.ones(1, 4)) is x and x.sum().item() == 4
    x.scatter_add_(0, i, tg.ones(1, 4)).index_fill_(1, tg.tensor([3]), 7.0).masked_fill_(x == 0, -1.0)
    want = np.full((3, 4), -1.0)
    want[[0, 2, 1], [0, 1, 2]] = 2
    want[:, 3] = 7
    equal(x, want)
    a = tg.tensor(A, requires_grad=True)
    v = tg.tensor(np.ones((2, 3, 2)), requires_grad=True)
    y = a * 1.0
    y.index_add_(2, tg.tensor([1, 1]), v, alpha=3)
    y.sum().backward()
    equal(v.grad, np.full((2, 3, 2), 3.0))
    with pytest.raises(RuntimeError, match="leaf"):
        a.index_fill_(0, tg.tensor([0]), 0.0)


def test_pytorch_order_of_arguments():
    x, i = t(M.astype(float)), tg.tensor([[1, 0, 2, 0]])
    equal(x.gather(0, i), x.gather(i, 0).numpy())
    equal(tg.gather(x, 0, index=i), x.gather(index=i, dim=0).numpy())
    equal(x.scatter(0, i, x), x.scatter(i, x, 0).numpy())
    equal(x.scatter(0, i, 5.0), x.scatter(dim=0, index=i, value=5.0).numpy())
    equal(x.index_select(1, tg.tensor([3, 0])), M[:, [3, 0]])
    equal(x.scatter_reduce(0, i, x, "amax", include_self=False), tg.scatter_reduce(x, i, x, 0, "amax", include_self=False).numpy())


def test_index_put():
    x = tg.zeros(3, 4)
    rows, columns = tg.tensor([0, 0, 2]), tg.tensor([1, 1, 3])
    equal(x.index_put((rows, columns), tg.tensor([1.0, 2.0, 3.0]), accumulate=True)[0, 1], 3.0)
    x.index_put_((rows, columns), tg.tensor([1.0, 2.0, 3.0]))
    assert (x[0, 1].item(), x[2, 3].item(), x.sum().item()) == (2.0, 3.0, 5.0)
    equal(x.index_put((None, tg.tensor([0])), 9.0)[:, 0], np.full(3, 9.0))


def test_strides_by_hand():
    x = tg.arange(12)
    equal(x.as_strided((3, 4), (1, 2), 1), np.lib.stride_tricks.as_strided(np.arange(1, 12), (3, 4), (8, 16)))
    part = x[4:8]
    with pytest.raises(ValueError, match="inside"):
        part.as_strided((5,), (1,))
    with pytest.raises(ValueError, match="inside"):
        part.as_strided((1,), (1,), 0)
    with pytest.raises(ValueError, match="strides"):
        x.as_strided((2,), (-1,), 5)
    equal(x.unfold(0, 3, 4), np.arange(12).reshape(3, 4)[:, :3])
    equal(tg.tensor(V).repeat(2, 2), np.tile(V, (2, 2)))
    with pytest.raises(ValueError, match="use tile"):
        t(M).repeat(2)


@pytest.mark.parametrize("call, message", [
    (lambda: tg.hsplit(t(V), 2), "equal parts"), (lambda: tg.vsplit(t(V), 1), "at least 2 axes"),
    (lambda: tg.tensor_split(t(V), 0), "at least 1 part"), (lambda: tg.rot90(t(M), 1, (0, 0)), "different axes"),
    (lambda: tg.meshgrid(t(V), indexing="ji"), "'ij' or 'xy'"), (lambda: tg.meshgrid(t(M)), "one axis"),
    (lambda: tg.diag(t(A)), "vector or a matrix"), (lambda: tg.block_diag(t(A)), "at most 2 axes"),
    (lambda: tg.combinations(t(M)), "one axis"),
])
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
