# SPDX-License-Identifier: Apache-2.0
"""Indexing against NumPy: what is read, what of it is a view, what is written, what is refused."""
from __future__ import annotations

import numpy as np
import pytest

import tengen as tg

A = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.float32)
S = slice
INDICES = [
    0, -1, (0,), (1, 2), (1, 2, 3), (1, -1, 0, 4), S(None), S(1, None), S(0, 1), S(0, 0), S(5, 9), S(None, None, 2), (S(None), S(1, 3)),
    (S(None), 1), (S(None), S(None), S(None), S(1, 5, 2)), ..., (..., 0), (0, ...), (0, ..., 1), (..., S(1, 3)), None, (None, 0),
    (0, None), (..., None), (None, S(None), None, 1, None, ...), (S(None), None, 2), (S(-2, None), ..., S(None, -1)), (),
    np.int64(1), (np.int32(1), S(None)), np.array(1), (S(2, 0),), (S(None), S(None), S(3, 1)),
]
NEGATIVE = [S(None, None, -1), S(1, None, -1), (S(None), S(None, None, -2)), (..., S(3, 0, -1)), (S(None, None, -1), 1, None, S(None, None, -3)),
            (S(0, 1, -1),), (..., S(None, None, -7))]


@pytest.mark.parametrize("index", INDICES, ids=repr)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_views_match_numpy(index, requires_grad):
    x = tg.tensor(A, requires_grad=requires_grad)
    y = x[index]
    want = A[index]
    assert y.shape == want.shape
    np.testing.assert_array_equal(y.detach().numpy(), want)
    if want.size:
        assert x.data_ptr() <= y.data_ptr() < x.data_ptr() + x.nbytes, "not a view"
    assert y.requires_grad == requires_grad


@pytest.mark.parametrize("index", NEGATIVE, ids=repr)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_negative_steps_match_numpy(index, requires_grad):
    x = tg.tensor(A, requires_grad=requires_grad)
    np.testing.assert_array_equal(x[index].detach().numpy(), A[index])


@pytest.mark.parametrize("index", INDICES + NEGATIVE, ids=repr)
def test_gradients_of_indexing(index):
    x = tg.tensor(A, requires_grad=True)
    y = x[index]
    w = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    (y * tg.tensor(w)).sum().backward()
    want = np.zeros_like(A)
    want[index] = w
    got = np.zeros_like(A) if x.grad is None else x.grad.numpy()
    np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("index", INDICES + NEGATIVE, ids=repr)
@pytest.mark.parametrize("value", ["number", "same", "broadcast", "numpy"])
def test_assignment_matches_numpy(index, value):
    a, x = A.copy(), tg.tensor(A)
    shape = a[index].shape
    v = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    if value == "number":
        v = 7
    elif value == "broadcast":
        v = np.asarray(v[..., :1] if v.ndim else v)
    a[index] = v
    x[index] = v if value in ("number", "numpy") else tg.tensor(v)
    np.testing.assert_array_equal(x.numpy(), a)


def test_views_of_views_and_writes_through_them():
    x = tg.tensor(A)
    y = x.permute(3, 2, 1, 0)[1:, ::2][..., 1, :]
    np.testing.assert_array_equal(y.numpy(), A.transpose(3, 2, 1, 0)[1:, ::2][..., 1, :])
    y.zero_()
    a = A.copy()
    a.transpose(3, 2, 1, 0)[1:, ::2][..., 1, :] = 0
    np.testing.assert_array_equal(x.numpy(), a)


def test_overlapping_assignment():
    a, x = np.arange(6.0), tg.arange(6).double()
    a[1:] = a[:-1].copy()
    x[1:] = x[:-1]
    np.testing.assert_array_equal(x.numpy(), a)


def test_assignment_casts_and_takes_lists():
    x = tg.zeros(2, 2, dtype=tg.int64)
    x[0] = [1, 2]
    x[1] = tg.tensor([3.7, 4.2])
    assert x.tolist() == [[1, 2], [3, 4]]


def test_tensor_indices_of_rank_0():
    x = tg.tensor(A)
    np.testing.assert_array_equal(x[tg.tensor(1), :, tg.tensor(-1)].numpy(), A[1, :, -1])


@pytest.mark.parametrize("index, message", [
    (2, "index 2 is out of range for axis 0 of size 2"), ((0, 3), "index 3 is out of range for axis 1 of size 3"),
    ((0, 0, 0, 0, 0), "too many indices"), ((..., ...), "one ellipsis"), ("a", "expected integers, slices"), (1.5, "expected integers"),
    ([0, 2], "index 2 is out of range for axis 0 of size 2"), ((slice(None), [[0], [-4]]), "index -4 is out of range for axis 1 of size 3"),
    ((0, np.array([0, 1]), ..., [4, 5]), "index 5 is out of range for axis 3 of size 5"), ([0.5], "integers or bools"),
    ((slice(None), [True, False]), r"mask of size 3 for axis 1"), (np.ones((2, 3, 5), bool), "mask of size 4 for axis 2"),
    (([0, 1], [0, 1, 2]), "broadcast"), ((np.ones((2, 3), bool), 0, 0, 0), "too many indices"),
])
def test_wrong_indices(index, message):
    x = tg.tensor(A)
    error = ValueError if message == "broadcast" else IndexError
    with pytest.raises(error, match=message):
        x[index]
    with pytest.raises(error, match=message):
        x[index] = np.zeros(2) if message == "broadcast" else 0


ARRAYS = [
    [0], [1, 0, 1], [[0], [1]], [], np.array([1, 0], np.uint8), (slice(None), [2, 0, 1]), ([0, 1], [1, 2]), ([0, 1], slice(None), [1, 2]),
    (0, slice(None), [3, 0]), (slice(None), 0, [3, 0]), ([[0], [1]], ..., [0, 4]), (..., [0, 1], slice(None, None, -2)),
    (slice(None, None, -1), [0, 2], None, 1), (None, [1], 0), A > 50, A > 1e9, A[:, 0, 0, 0] > 3, (slice(None), A[0] > 30), (1, A[1, ..., 0] > 70),
    (A[..., 0] % 2 == 0, [0]), (slice(None), [True, False, True], [0, 3]), True, False, (slice(None), True, [1]), (True, [1, 0], None),
    (range(2),), (np.array([[True, False, True], [False, True, False]]), slice(1, None, 2)),
]


@pytest.mark.parametrize("index", ARRAYS, ids=lambda i: repr(i)[:40])
def test_arrays_and_masks_match_numpy(index):
    x = tg.tensor(A)
    np.testing.assert_array_equal(x[index].numpy(), A[index])
    for value in (5, np.float32(3) + A[index]):
        a, y = A.copy(), x.clone()
        a[index] = value
        y[index] = value
        np.testing.assert_array_equal(y.numpy(), a)
        a[index] *= 2
        y[index] *= 2
        np.testing.assert_array_equal(y.numpy(), a)


@pytest.mark.parametrize("index", ARRAYS, ids=lambda i: repr(i)[:40])
def test_second_gradients_through_arrays(index):
    """Of sum of cubes after x[index] = v * v, against the elementwise rule: every element comes from x or from one of v."""
    a = A.astype(np.float64) / 50 + 0.5
    b = np.linspace(0.5, 1.5, a[index].size).reshape(a[index].shape)
    x, v = (tg.tensor(t, requires_grad=True) for t in (a, b))
    y = x * 1.0
    y[index] = v * v
    z = y[index]
    gx, gv = tg.autograd.grad((y ** 3).sum() + (z ** 3).sum(), [x, v], create_graph=True)
    hx, hv = tg.autograd.grad((gx ** 2).sum() + (gv ** 2).sum(), [x, v])
    place = np.arange(a.size).reshape(a.shape)[index]
    hit = np.zeros(a.size, bool)
    hit[place.ravel()] = True
    np.testing.assert_allclose(gx.detach().numpy(), np.where(hit.reshape(a.shape), 0, 3 * a**2))
    np.testing.assert_allclose(hx.numpy(), np.where(hit.reshape(a.shape), 0, 36 * a**3))
    last = {p: i for i, p in enumerate(place.ravel())}
    times = np.bincount(place.ravel(), minlength=a.size)  # how often z reads a place
    wins = np.array([(last[p] == i) * (1 + times[p]) for i, p in enumerate(place.ravel())], float).reshape(b.shape)
    np.testing.assert_allclose(gv.detach().numpy(), wins * 6 * b**5)
    np.testing.assert_allclose(hv.numpy(), wins**2 * 360 * b**9)


def test_writes_of_reversed_views_reach_the_base():
    a, x = A.copy(), tg.tensor(A)
    a[::-1, ..., ::-2] += np.arange(3)
    x[::-1, ..., ::-2] += tg.arange(3)
    a[:, ::-1][0] = a[1]
    x[:, ::-1] = x[:, ::-1]
    x[0, ::-1] = x[1]
    np.testing.assert_array_equal(x.numpy(), a)


def test_indices_of_the_tensor_itself():
    x = tg.tensor([2, 0, 1])
    x[x] = x
    assert x.tolist() == [0, 1, 2]
    y = tg.tensor([1.0, 2.0, 3.0])
    y[[2, 1, 0]] = y
    assert y.tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("device", [d.name for d in tg.devices() if d.usable])
def test_arrays_on_every_device(device):
    x = tg.tensor(A, device=device)
    i, m = tg.tensor([1, 0], device=device), x > 50
    np.testing.assert_array_equal(x[:, i, ..., i].cpu().numpy(), A[:, [1, 0], ..., [1, 0]])
    np.testing.assert_array_equal(x[m].cpu().numpy(), A[A > 50])
    x[m] = -1.0
    x[..., i] = tg.tensor([8.0, 9.0], device=device)
    a = np.where(A > 50, -1, A)
    a[..., [1, 0]] = [8, 9]
    np.testing.assert_array_equal(x.cpu().numpy(), a)


def test_assignment_errors():
    x = tg.zeros(2, 3)
    with pytest.raises(ValueError, match=r"broadcasts to shape \(3,\)"):
        x[0] = tg.zeros(2)
    with pytest.raises(TypeError, match="to assign"):
        x[0] = "a"
    with pytest.raises(TypeError, match="deleted"):
        del x[0]


def test_index_add_of_integers_with_a_factor_is_exact():
    x = tg.index_add(tg.tensor([1, 2]), tg.tensor([0]), tg.tensor([2**60 + 1]), alpha=2)
    assert x.tolist() == [2**61 + 3, 2] and x.dtype == tg.int64
