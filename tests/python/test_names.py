# SPDX-License-Identifier: Apache-2.0
"""Names that no other file has: printing, streams, older names, derivatives as functions."""

from __future__ import annotations

import numpy as np
import pytest

import tengen as tg
from tengen import autograd, func
from tengen.nn import functional as F
from tengen.optim import swa_utils


def test_var_mean_and_std_mean(rng):
    x = rng.normal(size=(3, 4, 5))
    t = tg.tensor(x)
    for axis, correction, keepdims in ((None, 1, False), (0, 0, True), ((1, 2), 1, False), (-1, 2, True)):
        for f, spread in ((tg.var_mean, np.var), (tg.std_mean, np.std)):
            got = f(t, axis, correction=correction, keepdims=keepdims)
            expected = (spread(x, axis=axis, ddof=correction, keepdims=keepdims), x.mean(axis, keepdims=keepdims))
            for g, e in zip(got, expected, strict=True):
                np.testing.assert_allclose(g.numpy(), e, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(tg.var_mean(t, dim=1, keepdim=True)[1].numpy(), tg.mean(t, 1, keepdims=True).numpy())
    leaf = tg.tensor(x, requires_grad=True)
    tg.std_mean(leaf)[0].backward()
    np.testing.assert_allclose(leaf.grad.numpy(), (x - x.mean()) / (x.std(ddof=1) * (x.size - 1)), rtol=1e-12)


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.float16])
def test_random_numbers_like(dtype):
    x = tg.zeros(200, 50, dtype=dtype)
    for f, like, mean, std in ((tg.rand, tg.rand_like, 0.5, 12**-0.5), (tg.randn, tg.randn_like, 0.0, 1.0)):
        tg.manual_seed(7)
        got = like(x)
        tg.manual_seed(7)
        assert got.dtype == dtype and got.shape == x.shape and (got == f(200, 50, dtype=dtype)).all().item()
        values = got.to(tg.float64).numpy()
        assert abs(values.mean() - mean) < 6 * std / 100 and abs(values.std() - std) < 0.05
    assert tg.rand_like(x, dtype=tg.float64).dtype == tg.float64 and tg.randn_like(x, requires_grad=True).requires_grad


def test_is_tensor():
    assert tg.is_tensor(tg.ones(2)) and tg.is_tensor(tg.nn.Parameter(tg.ones(2)))
    assert not any(map(tg.is_tensor, (np.ones(2), [1.0], 1.0, None, tg.Tensor)))


def test_set_printoptions():
    x = tg.tensor([1.23456789, 1000.5])
    try:
        tg.set_printoptions(precision=2)
        assert str(x) == "tensor([   1.23, 1000.50])"
        tg.set_printoptions(sci_mode=True)
        assert str(x) == "tensor([1.23e+00, 1.00e+03])"
        tg.set_printoptions(threshold=10, edgeitems=1)
        assert str(tg.arange(11)) == "tensor([ 0,  ..., 10])"
        tg.set_printoptions(threshold=1000, linewidth=20)
        assert max(map(len, str(tg.arange(30)).splitlines())) <= 20
    finally:
        tg.set_printoptions(precision=4, threshold=1000, edgeitems=3, linewidth=80)
    assert str(tg.tensor([1.23456789])) == "tensor([1.2346])"


def test_current_stream(second_device):
    outside = tg.current_stream(second_device)
    assert outside.device == second_device
    stream = tg.Stream(second_device)
    with stream as entered:
        assert entered is stream and tg.current_stream(second_device).device == second_device
        x = tg.ones(5, device=second_device) * 2
    stream.synchronize()
    assert stream.query() and x.cpu().tolist() == [2.0] * 5
    tg.current_stream(second_device).wait_stream(stream)
    tg.current_stream(second_device).synchronize()
    assert tg.current_stream().device == tg.default_device()


def test_add_plugin_path(tmp_path):
    """Only before the plugins are looked for: later it says so, or has nothing to add."""
    import subprocess
    import sys

    code = f"import tengen as tg; tg.add_plugin_path({str(tmp_path)!r}); print(sum(d.usable for d in tg.devices()) > 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0 and result.stdout.strip() == "True", result.stderr


def test_linearize(rng):
    x, t = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    y, slope = func.linearize(lambda a, b: (a.sin() * b, a + b), tg.tensor(x), tg.tensor(2 * x))
    np.testing.assert_allclose(y[0].numpy(), np.sin(x) * 2 * x)
    first, second = slope(tg.tensor(t), tg.tensor(3 * t))
    np.testing.assert_allclose(first.numpy(), np.cos(x) * t * 2 * x + np.sin(x) * 3 * t, rtol=1e-12)
    np.testing.assert_allclose(second.numpy(), 4 * t)


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_functional_jacobian_and_vhp(rng, strategy):
    a, x, b = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=3)
    f = lambda v: (tg.tensor(a) @ v).exp()  # noqa: E731
    np.testing.assert_allclose(autograd.functional.jacobian(f, tg.tensor(x), strategy=strategy).numpy(), np.exp(a @ x)[:, None] * a, rtol=1e-12)
    rows = autograd.functional.jacobian(lambda v, w: w * (tg.tensor(a) @ v), (tg.tensor(x), tg.tensor(b)), strategy=strategy)
    np.testing.assert_allclose(rows[0].numpy(), b[:, None] * a, rtol=1e-12)
    np.testing.assert_allclose(rows[1].numpy(), np.diag(a @ x), rtol=1e-12, atol=1e-14)
    v = rng.normal(size=4)
    y, product = autograd.functional.vhp(lambda u: f(u).sum(), tg.tensor(x), tg.tensor(v))
    hessian = a.T @ (np.exp(a @ x)[:, None] * a)
    np.testing.assert_allclose(y.item(), np.exp(a @ x).sum())
    np.testing.assert_allclose(product.numpy(), v @ hessian, rtol=1e-12)
    with pytest.raises(ValueError, match="strategy"):
        autograd.functional.jacobian(f, tg.tensor(x), strategy="sideways")


def test_upsample_by_older_names(rng):
    x = tg.tensor(rng.normal(size=(2, 3, 4, 5)))
    np.testing.assert_array_equal(F.upsample(x, scale_factor=2).numpy(), np.repeat(np.repeat(x.numpy(), 2, 2), 2, 3))
    got = F.upsample_bilinear(x, (7, 9)).numpy()
    rows, columns = np.linspace(0, 3, 7), np.linspace(0, 4, 9)
    by_rows = np.apply_along_axis(lambda v: np.interp(rows, np.arange(4), v), 2, x.numpy())
    np.testing.assert_allclose(got, np.apply_along_axis(lambda v: np.interp(columns, np.arange(5), v), 3, by_rows), rtol=1e-12)
    np.testing.assert_array_equal(F.upsample(x, (7, 9), mode="bilinear", align_corners=True).numpy(), got)


def test_mean_of_weights_by_one_function():
    model = tg.nn.Linear(2, 1, bias=False)
    averaged = swa_utils.AveragedModel(model, avg_fn=swa_utils.get_swa_avg_fn())
    for i in range(4):
        with tg.no_grad():
            model.weight.copy_(tg.full((1, 2), float(i * i)))
        averaged.update_parameters(model)
    np.testing.assert_allclose(averaged.module.weight.detach().numpy(), np.full((1, 2), np.mean([0, 1, 4, 9])), rtol=1e-6)
