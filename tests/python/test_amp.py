# SPDX-License-Identifier: Apache-2.0
"""Autocast by the rules of the op table, and the gradient scaler."""
import json
import subprocess
import threading

import numpy as np
import pytest

import tengen as tg
import tengen.nn.functional as F
from tengen import _core, nn
from tengen.amp import GradScaler, autocast, is_autocast_enabled

TABLE = {op["name"]: op for op in json.loads(_core._op_table_json())}


def test_rules_of_the_table():
    """The words that the documentation promises: products low, sums, exponentials, norms and losses f32."""
    assert {op["amp"] for op in TABLE.values()} == {"none", "low", "f32", "promote"}
    assert all(TABLE[n]["amp"] == "low" for n in ("matmul", "linear", "conv", "scaled_dot_product_attention"))
    assert all(TABLE[n]["amp"] == "f32" for n in ("exp", "log", "pow", "sum", "softmax", "log_softmax", "layer_norm"))
    losses = [op for op in TABLE.values() if op["family"] == "loss" and not op["internal"]]
    assert len(losses) > 5 and all(op["amp"] == "f32" for op in losses)


@pytest.mark.parametrize("dtype", [tg.bfloat16, tg.float16], ids=str)
def test_dtypes_of_results(dtype):
    x, w = tg.rand(3, 4), tg.rand(4, 4)
    low, exact = x.to(dtype), x.to(tg.float64)
    with autocast(dtype=dtype):
        assert (x @ w).dtype == dtype and F.linear(x, w).dtype == dtype
        assert low.exp().dtype == tg.float32 and low.sum().dtype == tg.float32
        assert F.softmax(low, -1).dtype == tg.float32 and F.mse_loss(low, low).dtype == tg.float32
        assert F.layer_norm(low, (4,)).dtype == tg.float32
        assert (low + x).dtype == tg.float32 and (low + low).dtype == dtype and low.relu().dtype == dtype
        assert tg.cat([low, x]).dtype == tg.float32 and tg.where(x > 0, low, x).dtype == tg.float32
        assert (exact @ exact.T).dtype == tg.float64 and exact.exp().dtype == tg.float64
        assert (tg.ones((2, 2), dtype=tg.int64) @ tg.ones((2, 2), dtype=tg.int64)).dtype == tg.int64
        assert F.conv2d(tg.rand(1, 2, 5, 5), tg.rand(3, 2, 3, 3)).dtype == dtype
    assert (x @ w).dtype == tg.float32 and low.sum().dtype == dtype


def test_values_are_those_of_explicit_casts():
    x, w = tg.randn(5, 8), tg.randn(8, 3)
    with autocast():
        y, s = x @ w, (x @ w).exp().sum(0)
    want = x.to(tg.bfloat16) @ w.to(tg.bfloat16)
    assert (y.float() == want.float()).all().item()
    assert (s == want.float().exp().sum(0)).all().item()


@pytest.mark.parametrize("dtype", [tg.bfloat16, tg.float16], ids=str)
@pytest.mark.parametrize("make, shape, low", [
    (lambda: nn.Conv1d(3, 4, 3), (2, 3, 8), True), (lambda: nn.ConvTranspose2d(3, 4, 3), (2, 3, 8, 8), True),
    (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2)), (2, 3, 8, 8), True),
    (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), (2, 3, 8, 8), False),
    (lambda: nn.LSTM(8, 6, num_layers=2, bidirectional=True), (5, 2, 8), True), (lambda: nn.GRU(8, 6), (5, 2, 8), True),
    (lambda: nn.TransformerEncoderLayer(8, 2, 16), (5, 2, 8), False),
], ids=range(7))
def test_modules(make, shape, low, dtype):
    """Float32 parameters, 16-bit products; every parameter gets a float32 gradient near that without autocast."""
    model, x = make().eval(), tg.randn(*shape)

    def gradients(enabled):
        model.zero_grad()
        with autocast(dtype=dtype, enabled=enabled):
            out = model(x)
            out = out[0] if isinstance(out, tuple) else out
            loss = (out.float() ** 2).mean()
        loss.backward()
        assert out.dtype == (tg.float32 if not enabled or not low else dtype)
        return [p.grad.clone() for p in model.parameters()]

    exact, got = gradients(False), gradients(True)
    assert all(g.dtype == tg.float32 for g in got)
    size = max(g.abs().max().item() for g in exact)
    for g, e in zip(got, exact):  # some dozen roundings to 8 bits
        assert (g - e).abs().max().item() <= 32 * 2**-8 * size


def test_decompositions_follow_the_rules_of_their_parts_or_their_own():
    """An op with a rule computes as its operands say; nothing inside it is cast again."""
    q = tg.rand(2, 3, 4, 8)
    with autocast():
        y = F.scaled_dot_product_attention(q, q, q)
    low = q.to(tg.bfloat16)
    assert y.dtype == tg.bfloat16
    assert (y.float() == F.scaled_dot_product_attention(low, low, low).float()).all().item()
    m = nn.BatchNorm1d(8)
    with autocast():
        z = m(tg.rand(4, 8).to(tg.bfloat16))
    assert z.dtype == tg.bfloat16 and m.running_mean.dtype == tg.float32


def test_regions_nest_and_decorate():
    x = tg.rand(2, 2)

    @autocast(dtype=tg.float16)
    def product():
        return (x @ x).dtype

    assert not is_autocast_enabled()
    with autocast() as region:
        assert is_autocast_enabled() and (x @ x).dtype == tg.bfloat16
        with autocast(enabled=False):
            assert not is_autocast_enabled() and (x @ x).dtype == tg.float32
            with autocast(dtype=tg.float16):
                assert (x @ x).dtype == tg.float16
            assert (x @ x).dtype == tg.float32
        assert product() == tg.float16 and (x @ x).dtype == tg.bfloat16
        with region:  # again, inside itself
            assert (x @ x).dtype == tg.bfloat16
    assert product() == tg.float16 and not is_autocast_enabled()
    with pytest.raises(ZeroDivisionError), autocast():
        1 / 0
    assert not is_autocast_enabled()


def test_regions_are_a_thread_s_own():
    x, seen = tg.rand(2, 2), []
    with autocast():
        t = threading.Thread(target=lambda: seen.append((is_autocast_enabled(), (x @ x).dtype)))
        t.start()
        t.join()
        assert (x @ x).dtype == tg.bfloat16
    assert seen == [(False, tg.float32)]


def test_kind_of_device(second_device):
    a, b = tg.rand(2, 2), tg.rand(2, 2).to(second_device)
    with autocast("cpu"):
        assert (a @ a).dtype == tg.bfloat16
        assert (b @ b).dtype == tg.float32
    with autocast(second_device.type):
        assert (a @ a).dtype == tg.float32 and (b @ b).dtype == tg.bfloat16


def test_wrong_arguments():
    with pytest.raises(ValueError, match="float16 or bfloat16, got"):
        autocast(dtype=tg.float32)
    with pytest.raises(TypeError, match="kind of a device"):
        autocast(tg.bfloat16)


def test_in_place_ops_take_no_part():
    x, low = tg.ones(3), tg.ones(3).to(tg.bfloat16)
    with autocast():
        x.add_(low)
        assert x.dtype == tg.float32 and low.exp_().dtype == tg.bfloat16


# ---- gradients ---------------------------------------------------------------------------------------------------------


def test_gradients_have_the_dtype_of_their_parameters():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
    x, y = tg.rand(6, 4), tg.tensor([0, 1, 2, 0, 1, 2])
    with autocast():
        loss = F.cross_entropy(model(x), y)
    loss.backward()
    low = [p.grad for p in model.parameters()]
    assert loss.dtype == tg.float32 and all(g.dtype == tg.float32 for g in low)
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    for g, p in zip(low, model.parameters()):  # bf16 has 8 bits: four products one after the other
        scale = p.grad.abs().max().item()
        assert (g - p.grad).abs().max().item() <= 8 * 2**-8 * scale


def test_backward_inside_a_region():
    """The pass takes the dtypes that the graph has; the casts that were remembered for the region are made anew."""
    w, x = tg.rand(3, 3, requires_grad=True), tg.rand(2, 3)
    with autocast():
        for i in range(3):
            (x @ w).sum().backward()
    want = 3 * x.to(tg.bfloat16).float().sum(0)
    np.testing.assert_allclose(w.grad.numpy(), np.tile(want.numpy()[:, None], (1, 3)), rtol=2**-7)


def test_what_a_hook_sets_does_not_stay():
    """A backward pass runs with autocast off, and leaves the region as it found it."""
    w = tg.rand(3, 3, requires_grad=True)
    seen = []

    def hook(g):
        seen.append(tg.amp.is_autocast_enabled())
        autocast(dtype=tg.float16).__enter__()  # never left

    w.register_hook(hook)
    with autocast(dtype=tg.bfloat16):
        (w @ w).sum().backward()
        assert tg.amp.is_autocast_enabled() and (w @ w).dtype == tg.bfloat16
    assert seen == [False] and not tg.amp.is_autocast_enabled() and (w @ w).dtype == tg.float32


def test_casts_of_parameters_are_remembered():
    w, x = tg.rand(64, 64, requires_grad=True), tg.rand(64, 64)

    def launches(**options):
        with autocast(**options):
            x @ w
            before = tg.dispatch_stats()["launches"]
            for _ in range(5):
                x @ w
            return tg.dispatch_stats()["launches"] - before

    assert launches() == launches(cache_enabled=False) - 5
    with autocast():
        first = x @ w
        with tg.no_grad():
            w.mul_(0.0)  # another version: the old cast must not be used
            quiet = x @ w
        second = x @ w
    assert first.abs().sum().item() > 0 and quiet.abs().sum().item() == second.abs().sum().item() == 0
    assert not quiet.requires_grad and second.requires_grad
    second.sum().backward()
    assert w.grad is not None


def test_off_means_no_casts():
    x = tg.rand(8, 8)
    before = tg.dispatch_stats()["launches"]
    x @ x
    plain = tg.dispatch_stats()["launches"] - before
    with autocast(enabled=False):
        before = tg.dispatch_stats()["launches"]
        x @ x
        assert tg.dispatch_stats()["launches"] - before == plain


@pytest.mark.slow
def test_the_command_says_so():
    import os
    import sys

    env = {**os.environ, "COLUMNS": "100"}
    for name, text in (("matmul", "16-bit dtype"), ("softmax", "operands to f32"), ("relu", "as they are")):
        out = subprocess.run([sys.executable, "-m", "tengen", "ops", name], capture_output=True, text=True, env=env)
        assert out.returncode == 0 and text in out.stdout, out.stdout + out.stderr


# ---- GradScaler ----------------------------------------------------------------------------------------------------------


def sgd(value=1.0):
    p = nn.Parameter(tg.tensor([value]))
    return p, tg.optim.SGD([p], lr=1.0)


def test_scaler_scales_unscales_and_grows():
    p, optimizer = sgd()
    scaler = GradScaler(init_scale=8.0, growth_factor=2.0, backoff_factor=0.25, growth_interval=2)
    seen = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = scaler.scale((p * 0.5).sum())
        loss.backward()
        assert p.grad.item() == 0.5 * scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        seen.append((p.item(), scaler.get_scale()))
    assert seen == [(0.5, 8.0), (0.0, 16.0), (-0.5, 16.0), (-1.0, 32.0)]


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_scaler_skips_overflow(bad):
    p, optimizer = sgd()
    q, other = sgd()
    scaler = GradScaler(init_scale=8.0, growth_interval=1)
    p.grad, q.grad = tg.tensor([bad]), tg.tensor([8.0])
    scaler.step(optimizer)
    scaler.step(other)
    scaler.update()
    assert p.item() == 1.0 and q.item() == 0.0 and scaler.get_scale() == 4.0
    p.grad = tg.tensor([4.0])
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == 0.0 and scaler.get_scale() == 8.0


def test_scaler_and_clipping():
    p, optimizer = sgd(0.0)
    scaler = GradScaler(init_scale=1024.0)
    p.grad = tg.tensor([3.0 * 1024])
    scaler.unscale_(optimizer)
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == 3.0
    scaler.step(optimizer)
    assert p.item() == pytest.approx(-1.0, abs=1e-6)
    with pytest.raises(RuntimeError, match="got two"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="after it"):
        scaler.unscale_(optimizer)
    scaler.update()


def test_scaler_errors_and_state():
    p, optimizer = sgd()
    scaler = GradScaler(init_scale=4.0)
    with pytest.raises(RuntimeError, match="got neither"):
        scaler.update()
    p.grad = tg.tensor([1.0])
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="got two"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="no closure"):
        scaler.step(optimizer, lambda: 0)
    with pytest.raises(ValueError, match="growth_factor"):
        GradScaler(growth_factor=0.5)
    half = nn.Parameter(tg.ones((2,)).to(tg.float16))
    half.grad = tg.ones((2,)).to(tg.float16)
    with pytest.raises(ValueError, match="float16"):
        GradScaler().unscale_(tg.optim.SGD([half]))
    scaler.update(new_scale=32.0)
    again = GradScaler()
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 32.0 and again.state_dict() == scaler.state_dict()
    off = GradScaler(enabled=False)
    assert off.state_dict() == {} and off.scale(p) is p and off.get_scale() == 1.0
    with pytest.raises(RuntimeError, match="empty"):
        scaler.load_state_dict({})
    a, b = scaler.scale((p, [p]))
    assert a.item() == 32.0 and b[0].item() == 32.0


def test_float16_training_with_tiny_gradients():
    """Gradients below float16's least number are kept by the scaler and lost without it."""
    def step(scaler):
        w = nn.Parameter(tg.ones((4, 4)))
        optimizer = tg.optim.SGD([w], lr=1.0)
        x = tg.full((2, 4), 1e-4)
        with autocast(dtype=tg.float16):
            loss = (x @ w).float().mean() * 1e-5
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return (1 - w.detach()).abs().max().item(), w.grad.abs().max().item()

    assert step(GradScaler(enabled=False))[1] == 0
    assert step(GradScaler(init_scale=2.0**16))[1] == pytest.approx(1e-4 * 1e-5 / 4, rel=0.01)
