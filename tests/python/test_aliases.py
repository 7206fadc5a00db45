# SPDX-License-Identifier: Apache-2.0
"""Other names of ops; clip with one bound; functions that are a line of other ones."""

import numpy as np
import pytest

import tengen as tg
from tengen import _aliases


def test_names_mean_the_same():
    for alias, name in _aliases.ALIASES.items():
        assert getattr(tg, alias) is getattr(tg, name), alias
        for end in ("", "_"):
            if hasattr(tg.Tensor, name + end):
                assert getattr(tg.Tensor, alias + end) is getattr(tg.Tensor, name + end)


def test_in_place():
    x = tg.tensor([-1.0, 4.0])
    assert x.absolute_() is x and x.tolist() == [1.0, 4.0]
    assert x.clamp_(max=2.0) is x and x.tolist() == [1.0, 2.0]
    assert x.multiply_(3).tolist() == [3.0, 6.0] and x.clamp_min_(4).tolist() == [4.0, 6.0]


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_clip_with_one_bound(dtype):
    a = np.array([-3, 0, 2, 9], dtype)
    x = tg.tensor(a)
    for low, high in ((None, 1), (1, None), (0, 2)):
        for got in (tg.clip(x, low, high), x.clamp(min=low, max=high), x.clip(low=low, high=high), x.clone().clip_(low, high)):
            assert got.dtype == x.dtype
            np.testing.assert_array_equal(got.numpy(), np.clip(a, low, high))
    bound = np.array([1, -1, 5, 7], dtype)
    np.testing.assert_array_equal(x.clamp(min=tg.tensor(bound)).numpy(), np.maximum(a, bound))
    with pytest.raises(ValueError, match=r"\[clip\] expected a bound"):
        x.clip()
    with pytest.raises(TypeError):
        tg.tensor([True]).clip(False, True)


def test_gradient_on_one_bound():
    x = tg.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    x.clamp(min=0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0]


def test_positive_and_msort():
    x = tg.tensor([[3.0, 1.0], [2.0, 5.0]])
    assert tg.positive(x).tolist() == x.tolist() and tg.msort(x).tolist() == [[2.0, 1.0], [3.0, 5.0]]
    with pytest.raises(TypeError, match="numbers, got bool"):
        tg.positive(tg.tensor([True]))


def test_equality():
    x, nan = tg.tensor([1.0, 2.0]), tg.tensor([float("nan")])
    assert tg.array_equal(x, x.clone()) and not tg.array_equal(x, x[:1])
    assert not tg.array_equal(nan, nan) and tg.array_equal(nan, nan, equal_nan=True)
    assert tg.allclose(x, x + 1e-6) and not x.allclose(x + 1e-3) and x.allclose(x + 1e-3, atol=1e-2)
    assert not tg.allclose(nan, nan) and tg.allclose(nan, nan, equal_nan=True)
    assert tg.allclose(tg.tensor([3, 4]), tg.tensor([3, 4]))


def test_diff_with_ends():
    a, before, after = np.arange(12.0).reshape(3, 4) ** 2, np.ones((3, 1)), np.zeros((3, 2))
    for n in (0, 1, 2):
        got = tg.diff(tg.tensor(a), n, prepend=tg.tensor(before), append=tg.tensor(after))
        np.testing.assert_array_equal(got.numpy(), np.diff(a, n, prepend=before, append=after))
        np.testing.assert_array_equal(tg.tensor(a).diff(n, dim=0).numpy(), np.diff(a, n, 0))
    with pytest.raises(IndexError, match=r"\[diff\]"):
        tg.diff(tg.tensor(a), axis=2)


def test_quantile_takes_tensors_of_shares():
    x = tg.tensor([1.0, 2.0, 4.0])
    assert tg.quantile(x, tg.tensor([0.0, 0.5])).tolist() == [1.0, 2.0] and tg.quantile(x, tg.tensor(0.5)).item() == 2.0
    assert tg.quantile(x, np.array([1.0])).tolist() == [4.0] and x.quantile(0.25, dim=0).item() == 1.5


def test_arrays_and_others():
    a = np.array([3, 1, 3])
    assert tg.unique(a).tolist() == [1, 3] and tg.bincount(a).tolist() == [0, 1, 0, 2] and tg.nonzero(a - 1).tolist() == [[0], [2]]
    assert tg.clip(a, max=2).tolist() == [2, 1, 2]
    for f in (tg.unique, tg.unique_consecutive, tg.nonzero, tg.bincount):
        with pytest.raises(TypeError, match=rf"\[{f.__name__}\] expected a Tensor, got list"):
            f([1, 2])


def test_names_of_functions_and_dtypes():
    assert tg.float is tg.float32 and tg.int is tg.int32
    x = tg.ones(2)
    assert tg.as_tensor(x) is x and tg.as_tensor([1, 2]).tolist() == [1, 2]
    w = tg.ones(2, requires_grad=True)
    with tg.inference_mode():
        assert not (w * 2).requires_grad


def test_arguments_of_torch():
    a = np.arange(12.0).reshape(3, 4) ** 2
    x = tg.tensor(a)
    assert np.array_equal(tg.triu(x, diagonal=1).numpy(), np.triu(a, 1))
    assert np.array_equal(x.tril(diagonal=-1).numpy(), np.tril(a, -1))
    assert tg.diagonal(x, offset=1, dim1=1, dim2=0).tolist() == np.diagonal(a, 1, 1, 0).tolist()
    for unbiased in (False, True):
        np.testing.assert_allclose(x.std(dim=0, unbiased=unbiased).numpy(), a.std(0, ddof=int(unbiased)), rtol=1e-14)
        np.testing.assert_allclose(tg.var(x, 1, unbiased=unbiased).numpy(), a.var(1, ddof=int(unbiased)), rtol=1e-14)
    np.testing.assert_allclose(x.norm(p=1, dim=-1, keepdim=True).numpy(), np.linalg.norm(a, 1, -1, True), rtol=1e-14)


@pytest.mark.parametrize(("call", "way_out"), [
    (lambda x: tg.mul(x, x, alpha=2), r"mul\(\) got an unexpected keyword argument 'alpha'"),
    (lambda x: tg.add(x, alpha=2), "missing required argument 'y'"),
    (lambda x: x.softmax(-1, dtype=tg.float64), r"x\.to\(dtype\)"),
])
def test_arguments_that_no_op_takes_say_what_does(call, way_out):
    with pytest.raises(TypeError, match=way_out):
        call(tg.ones(2))


@pytest.mark.parametrize("device", [d.name for d in tg.devices() if d.usable])
@pytest.mark.parametrize("name", ["tril", "triu"])
def test_triangles_of_bools(name, device):
    a = np.arange(12).reshape(3, 4) % 5 > 0
    y = getattr(tg, name)(tg.tensor(a, device=device), 1)
    assert y.dtype is tg.bool and np.array_equal(y.cpu().numpy(), getattr(np, name)(a, 1))
