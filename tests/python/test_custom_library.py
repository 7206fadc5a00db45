# SPDX-License-Identifier: Apache-2.0
"""Custom ops in C++: a library built outside of the tree from the package's headers alone, and loaded."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tengen as tg
from tengen import func

COMPILER = shutil.which("c++") or shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="never: there is no C++ compiler")
DEVICES = [d.name for d in tg.devices() if d.usable]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict:
    place = tmp_path_factory.mktemp("custom")
    source = place / "ops.cc"
    source.write_text((Path(__file__).parent / "custom_ops.cc").read_text())
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{tg.library.include_path()}"]
    subprocess.run([COMPILER, *flags, source, "-o", place / "ops.so"], check=True)
    return tg.library.load(place / "ops.so")


def test_loads_its_ops(loaded):
    assert sorted(loaded) == ["testlib::cube", "testlib::rows", "testlib::total"]
    assert loaded["testlib::cube"].__doc__ == "by x^3, elementwise."
    assert tg.ops.testlib.cube(tg.tensor([2.0])).tolist() == [8.0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64], ids=str)
def test_values_and_gradients(loaded, device, dtype):
    values = np.random.default_rng(0).normal(size=(3, 4))
    x = tg.tensor(values, dtype=dtype, device=device).T.requires_grad_()
    y = tg.ops.testlib.cube(x, by=2.0)
    assert y.device == x.device and y.dtype == dtype
    np.testing.assert_allclose(y.detach().cpu().numpy(), 2 * values.T**3, rtol=1e-6)
    (g,) = tg.autograd.grad(y.sum(), [x])
    np.testing.assert_allclose(g.cpu().numpy(), 6 * values.T**2, rtol=1e-6)


def test_passes_opcheck(loaded):
    report = tg.library.opcheck(tg.ops.testlib.cube, (tg.tensor([1.5, -2.0], dtype=tg.float64, requires_grad=True), 0.5))
    assert report["gradient"] == report["vmap"] == "ok"


def test_optional_tensors_lists_and_outputs(loaded):
    rng = np.random.default_rng(1)
    values, scale, index = rng.normal(size=(4, 3)), rng.normal(size=3), np.array([2, 0, 2])
    x, w = (tg.tensor(v, requires_grad=True) for v in (values, scale))
    y, counts = tg.ops.testlib.rows(x, tg.tensor(index), w, pad=[1])
    np.testing.assert_allclose(y.detach().numpy(), np.vstack([values[index] * scale, np.zeros((1, 3))]))
    assert counts.tolist() == [1, 0, 2, 0]
    gx, gw = tg.autograd.grad(y.sum(), [x, w])
    np.testing.assert_allclose(gx.numpy(), np.array([1, 0, 2, 0])[:, None] * scale)
    np.testing.assert_allclose(gw.numpy(), values[index].sum(0))
    plain, _ = tg.ops.testlib.rows(x, tg.tensor(index), None)
    np.testing.assert_allclose(plain.detach().numpy(), values[index])
    (gx,) = tg.autograd.grad(plain.sum(), [x])
    np.testing.assert_allclose(gx.numpy(), np.array([1, 0, 2, 0])[:, None] * np.ones(3))
    assert tg.ops.testlib.total([tg.ones(3, dtype=tg.float64), tg.ones((2, 0), dtype=tg.float64), tg.full((), 4.0, dtype=tg.float64)]).item() == 7.0


def test_empty_tensors_and_vmap(loaded):
    assert tg.ops.testlib.cube(tg.zeros((0, 3))).shape == (0, 3)
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert func.vmap(tg.ops.testlib.cube)(x).tolist() == [[1.0, 8.0], [27.0, 64.0]]


@pytest.mark.parametrize(("error", "call", "says"), [
    (ValueError, lambda: tg.ops.testlib.cube(tg.tensor([1])), "expected float32 or float64, got i64"),
    (ValueError, lambda: tg.ops.testlib.rows(tg.ones(3), tg.tensor([0]), None), "ranks 1 and 1"),
    (IndexError, lambda: tg.ops.testlib.rows(tg.ones((2, 2), dtype=tg.float64), tg.tensor([2]), None), "below 2, got 2"),
    (NotImplementedError, lambda: tg.ops.testlib.rows(tg.ones((2, 2), dtype=tg.float64), tg.tensor([0]), None, name="columns"), "got columns"),
], ids=["dtype", "shape", "index", "name"])
def test_failures_are_exceptions_with_the_op_s_name(loaded, error, call, says):
    with pytest.raises(error, match=says) as caught:
        call()
    assert "[testlib::" in str(caught.value)


def test_derivatives_that_there_are_not(loaded):
    x = tg.tensor([2.0], requires_grad=True)
    (g,) = tg.autograd.grad(tg.ops.testlib.cube(x).sum(), [x], create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        g.sum().backward()
    x = tg.ones(2, dtype=tg.float64, requires_grad=True)
    with pytest.raises(NotImplementedError, match="no backward function"):
        tg.ops.testlib.total([x]).backward()


def test_files_that_are_no_such_library(loaded, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        tg.library.load(tmp_path / "nowhere.so")
    with pytest.raises(RuntimeError, match="tg_custom_query"):
        tg.library.load(tg._core.__file__)
