# SPDX-License-Identifier: Apache-2.0
"""tengen.array_api against NumPy, whose main namespace follows the same standard. tests/external/array_api.py runs the standard's suite."""
from __future__ import annotations

import inspect

import numpy as np
import pytest

import tengen as tg
import tengen.array_api as xp

A = np.array([[3.0, -1.5, 2.0], [0.5, 4.0, -2.5]], np.float32)
I = np.array([[3, 1, 2], [1, 1, 5]])  # noqa: E741

CALLS = {
    "add": lambda f, a: f.add(a(A), 1), "pow": lambda f, a: f.pow(2, a(A)), "divide": lambda f, a: f.divide(a(A), a(A[0])),
    "bitwise_invert": lambda f, a: f.bitwise_invert(a(I)), "floor of ints": lambda f, a: f.floor(a(I)), "round": lambda f, a: f.round(a(A)),
    "clip": lambda f, a: f.clip(a(A), -1, 2), "clip min": lambda f, a: f.clip(a(A), min=0.0), "clip ints": lambda f, a: f.clip(a(I), 2, None),
    "arange": lambda f, a: f.arange(2, 9, 3), "eye": lambda f, a: f.eye(3, 4, k=1), "linspace": lambda f, a: f.linspace(0, 1, 4, endpoint=False),
    "full": lambda f, a: f.full((2, 1), 7), "tril": lambda f, a: f.tril(a(A), k=-1), "meshgrid": lambda f, a: f.meshgrid(a(A[0]), a(A[1])),
    "concat flat": lambda f, a: f.concat([a(A), a(I[0])], axis=None), "repeat": lambda f, a: f.repeat(a(A), 2),
    "repeat counts": lambda f, a: f.repeat(a(A), a(np.array([2, 0, 1])), axis=1), "roll": lambda f, a: f.roll(a(A), 1, axis=(0, 1)),
    "flip": lambda f, a: f.flip(a(A)), "expand_dims": lambda f, a: f.expand_dims(a(A), axis=-1), "squeeze": lambda f, a: f.squeeze(a(A[:1]), 0),
    "unstack": lambda f, a: f.unstack(a(A), axis=1), "tile": lambda f, a: f.tile(a(A), (2, 1)), "moveaxis": lambda f, a: f.moveaxis(a(A), 0, 1),
    "broadcast_arrays": lambda f, a: f.broadcast_arrays(a(A), a(A[0])), "take": lambda f, a: f.take(a(A), a(np.array([2, 0])), axis=1),
    "take_along_axis": lambda f, a: f.take_along_axis(a(A), a(I % 3), axis=1), "argmax": lambda f, a: f.argmax(a(A), keepdims=True),
    "argsort": lambda f, a: f.argsort(a(I), axis=0, stable=True), "sort": lambda f, a: f.sort(a(A)), "nonzero": lambda f, a: f.nonzero(a(I - 1)),
    "count_nonzero": lambda f, a: f.count_nonzero(a(I - 1), axis=0), "unique_all": lambda f, a: f.unique_all(a(I)),
    "unique_counts": lambda f, a: f.unique_counts(a(I)), "unique_inverse": lambda f, a: f.unique_inverse(a(I)), "max": lambda f, a: f.max(a(A), axis=0),
    "sum dtype": lambda f, a: f.sum(a(I), dtype=f.float32), "sum of bytes": lambda f, a: f.sum(a(I.astype(np.uint8))),
    "var": lambda f, a: f.var(a(A), axis=1, correction=1), "cumulative_sum": lambda f, a: f.cumulative_sum(a(A), axis=1, include_initial=True),
    "cumulative_prod": lambda f, a: f.cumulative_prod(a(I), axis=0), "diff": lambda f, a: f.diff(a(A), n=2), "all": lambda f, a: f.all(a(I), axis=0),
    "diff around": lambda f, a: f.diff(a(A), prepend=a(A[:, :1]), append=a(A[:, 1:])), "vecdot": lambda f, a: f.vecdot(a(A), a(A)),
    "matmul": lambda f, a: f.matmul(a(A), f.matrix_transpose(a(A))), "permute_dims": lambda f, a: f.permute_dims(a(A), (1, 0)),
}


def flat(x):
    return list(x) if isinstance(x, (tuple, list)) else [x]


@pytest.mark.parametrize("name", CALLS)
def test_against_numpy(name):
    got, want = flat(CALLS[name](xp, xp.asarray)), flat(CALLS[name](np, lambda a: a))
    assert len(got) == len(want)
    for g, w in zip(got, want):
        assert isinstance(g, tg.Tensor) and g.shape == w.shape
        np.testing.assert_allclose(g.numpy(), w, rtol=1e-6)
        if w.dtype.kind != "f":  # defaults of floats differ
            assert g.dtype.name == w.dtype.name


def test_signatures_are_the_standards():
    def of(name):
        return [(p.name, p.kind) for p in inspect.signature(getattr(xp, name)).parameters.values()]

    only, either, keyword = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    assert of("add") == [("x1", only), ("x2", only)] and of("exp") == [("x", only)]
    assert of("sum") == [("x", only), ("axis", keyword), ("dtype", keyword), ("keepdims", keyword)]
    assert of("clip") == [("x", only), ("min", either), ("max", either)]


def test_the_namespace_and_its_inspection():
    x = xp.asarray([1.0])
    assert x.__array_namespace__() is xp and x.__array_namespace__(api_version="2023.12") is xp
    with pytest.raises(ValueError, match="version"):
        x.__array_namespace__(api_version="1999.12")
    info = xp.__array_namespace_info__()
    assert info.default_device() in info.devices() and info.dtypes(kind="bool") == {"bool": tg.bool}
    assert info.default_dtypes()["indexing"] is tg.int64
    assert x.to_device(x.device) is x and all(hasattr(xp, name) for name in xp.__all__)


def test_dlpack_both_ways():
    a = np.arange(6.0).reshape(2, 3)
    x = xp.from_dlpack(a)
    a[0, 0] = 9
    assert x[0, 0].item() == 9 and np.from_dlpack(x).ctypes.data == a.ctypes.data
    assert xp.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert xp.from_dlpack(x.T).stride() == (1, 3)
    for d in tg.devices():
        if d.usable and not tg.Device(d.name).is_host:
            y = x.to(d.name)
            np.testing.assert_array_equal(xp.from_dlpack(y, device="cpu:0").numpy(), a)
            with pytest.raises(ValueError, match="copy=False"):
                xp.from_dlpack(x, device=d.name, copy=False)
            with pytest.raises(BufferError):
                y.__dlpack__(dl_device=(1, 0), copy=False)


def test_numpy_leaves_expressions_to_tensors():
    a, x = np.ones(3), tg.tensor([1.0, 2.0, 3.0])
    assert isinstance(a + x, tg.Tensor) and isinstance(a[0] * x, tg.Tensor) and isinstance(a @ x.double(), tg.Tensor)
    assert isinstance(np.add(a, x.numpy()), np.ndarray)
    np.testing.assert_array_equal(np.asarray(x), [1, 2, 3])
    assert memoryview(x).tolist() == [1.0, 2.0, 3.0] and complex(x[0]) == 1 + 0j
