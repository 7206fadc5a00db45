# SPDX-License-Identifier: Apache-2.0
"""tg.set_default_dtype: Python's floats, what makes tensors, layers, and elementwise functions of integers."""
from __future__ import annotations

import numpy as np
import pytest

import tengen as tg

F = tg.nn.functional


@pytest.fixture(params=["float64", "float32", "float16", "bfloat16"])
def default(request):
    tg.set_default_dtype(request.param)
    yield getattr(tg, request.param)
    tg.set_default_dtype(tg.float32)


def test_what_follows(default):
    assert tg.get_default_dtype() is default
    ints = tg.arange(3)
    made = {
        "tensor": tg.tensor([1.5]), "number": tg.tensor(1.5), "empty": tg.tensor([]), "zeros": tg.zeros(2), "ones": tg.ones(2), "full": tg.full((2,), 0.5),
        "empty()": tg.empty(2), "arange": tg.arange(0.0, 1.0, 0.25), "linspace": tg.linspace(0, 1, 3), "eye": tg.eye(2), "rand": tg.rand(2),
        "randn": tg.randn(2), "normal": tg.normal(0.0, 1.0, (2,)), "uniform": tg.uniform((2,)), "exponential": tg.exponential((2,)),
        "logspace": tg.logspace(0, 1, 3), "asarray": tg.asarray([0.5, 1]), "tri": tg.tri(2), "float": tg.tensor([1], dtype=float),
        "divided": ints / 2, "times": ints * 0.5, "sin": ints.sin(), "where": tg.where(ints > 1, 0.5, ints), "fftfreq": tg.fft.fftfreq(4),
        "nested": tg.tensor([[tg.tensor(1), 0.5]]), "new": tg.Tensor([1.0]) if hasattr(tg, "Tensor") else tg.zeros(1),
    }
    assert {k: v.dtype for k, v in made.items() if v.dtype is not default} == {}
    assert ints.dtype is tg.int64 and tg.zeros(2, dtype=tg.float32).dtype is tg.float32 and (tg.zeros(2, dtype=tg.float32) * 0.5).dtype is tg.float32
    assert tg.tensor(np.zeros(2, np.float32)).dtype is tg.float32
    wide = tg.complex128 if default is tg.float64 else tg.complex64
    assert tg.tensor([1j]).dtype is wide and (ints * 1j).dtype is wide and tg.result_type(tg.int8, 1j) is wide
    assert tg.result_type(tg.int8, 0.5) is default and tg.finfo().dtype is default
    assert repr(tg.zeros(1)) == "tensor([0.])" and ("dtype" in repr(tg.zeros(1, dtype=tg.float32))) == (default is not tg.float32)


def test_plans_made_before_do_not_stay(default):
    x = tg.arange(4)
    tg.set_default_dtype(tg.float32)
    assert (x / 3).dtype is tg.float32 and tg.exp(x).dtype is tg.float32
    tg.set_default_dtype(default)
    assert (x / 3).dtype is default and tg.exp(x).dtype is default
    eps = tg.finfo(default).eps
    np.testing.assert_allclose((x / 3).to(tg.float64).numpy(), np.arange(4) / 3, rtol=eps)


def test_layers_train(default):
    tg.manual_seed(0)
    net = tg.nn.Sequential(tg.nn.Linear(4, 8), tg.nn.LayerNorm(8), tg.nn.PReLU(), tg.nn.Dropout(0.1), tg.nn.Linear(8, 2))
    assert {p.dtype for p in net.parameters()} == {default}
    loss = F.cross_entropy(net(tg.randn(5, 4)), tg.tensor([0, 1, 0, 1, 1]))
    loss.backward()
    tg.optim.SGD(net.parameters(), lr=0.1).step()
    assert loss.dtype is default and all(p.grad.dtype is default for p in net.parameters())


def test_distributions_follow(default):
    assert tg.distributions.Normal(0.0, 1.0).sample((2,)).dtype is default


def test_bad():
    for bad in (tg.int32, tg.complex64, tg.float8_e5m2, tg.bool):
        with pytest.raises(TypeError, match="expected float16, bfloat16, float32 or float64, got"):
            tg.set_default_dtype(bad)
    assert tg.get_default_dtype() is tg.float32
