# SPDX-License-Identifier: Apache-2.0
"""Basic indexing against NumPy: what is read, that it is a view, what is written, what is refused."""
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
    (True, "bool"), ([0, 1], "index_select"), (np.array([0, 1]), "take_along_axis"), (A > 3, "masked_fill"),
])
def test_wrong_indices(index, message):
    x = tg.tensor(A)
    with pytest.raises(IndexError, match=message):
        x[index]
    with pytest.raises(IndexError, match=message):
        x[index] = 0


def test_tensor_masks_and_lists_are_refused_with_advice():
    x = tg.tensor([1.0, 2.0])
    for index in (x > 1, tg.tensor([0, 1])):
        with pytest.raises(IndexError, match="masked_fill"):
            x[index]
    with pytest.raises(TypeError):
        x[slice("a", None)]


def test_assignment_errors():
    x = tg.zeros(2, 3)
    with pytest.raises(ValueError, match=r"broadcasts to shape \(3,\)"):
        x[0] = tg.zeros(2)
    with pytest.raises(TypeError, match="to assign"):
        x[0] = "a"
    with pytest.raises(TypeError, match="deleted"):
        del x[0]
