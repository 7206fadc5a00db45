# SPDX-License-Identifier: Apache-2.0
"""Every optimizer against the algorithm of its paper in NumPy (float64), over whole trajectories; plans, calls, 16-bit
parameters, hooks, state."""
import numpy as np
import pytest
from optimizer_papers import CASES, IDS, SHAPES, STEPS, problem, run

import tengen as tg
from tengen import nn, optim
from tengen.optim import lr_scheduler as ls


@pytest.mark.parametrize("cls, paper, options", CASES, ids=IDS)
def test_trajectory(cls, paper, options):
    params, problems, _ = run(cls, options, tg.float64)
    for p, (start, grads) in zip(params, problems):
        np.testing.assert_allclose(p.detach().numpy(), paper(start, grads, **options), rtol=1e-11, atol=1e-11)
    uphill, _, _ = run(cls, options, tg.float64, maximize=True)
    for p, q in zip(params, uphill):
        assert (p.detach().numpy() == q.detach().numpy()).all()


@pytest.mark.parametrize("cls, paper, options", [c for c in CASES if c[0] is not optim.Rprop],
                         ids=[i for i in IDS if "Rprop" not in i])
def test_trajectory_in_float32(cls, paper, options):
    """Rounding errors add up over the steps: 2^-23 for every operation on values of magnitude 4, times a condition of 100
    (division by small second moments)."""
    params, problems, _ = run(cls, options, tg.float32)
    for p, (start, grads) in zip(params, problems):
        start, grads = np.asarray(start, np.float32).astype(float), [np.asarray(g, np.float32).astype(float) for g in grads]
        np.testing.assert_allclose(p.detach().numpy(), paper(start, grads, **options), rtol=0, atol=STEPS * 4 * 100 * 2**-23)


@pytest.mark.parametrize("dtype, eps", [(tg.bfloat16, 2**-8), (tg.float16, 2**-11)], ids=["bf16", "f16"])
@pytest.mark.parametrize("cls", [optim.SGD, optim.AdamW, optim.LAMB, optim.Adafactor])
def test_16_bit_parameters(cls, dtype, eps):
    """States are in float32; with master weights the parameter is the rounded float32 trajectory."""
    options = dict(lr=0.01, **({"momentum": 0.9} if cls is optim.SGD else {}))
    exact = [(4, 3), (5,)]
    rng = np.random.RandomState(0)
    starts = [rng.randn(*s) for s in exact]
    low = [nn.Parameter(tg.tensor(s, dtype=tg.float32).to(dtype)) for s in starts]
    high = [nn.Parameter(p.detach().to(tg.float32)) for p in low]
    a, b = cls(low, master_weights=True, **options), cls(high, **options)
    if cls is optim.Adafactor:  # its least second moment is the epsilon of the parameter's dtype
        for o in (a, b):
            o.param_groups[0]["eps"] = (1e-7, 1e-3)
    for _ in range(8):
        for p, q in zip(low, high):
            p.grad = tg.tensor(rng.randn(*p.shape), dtype=tg.float32).to(dtype)
            q.grad = p.grad.to(tg.float32)
        a.step()
        b.step()
    for p, q in zip(low, high):
        assert p.dtype == dtype
        np.testing.assert_array_equal(a.state[p]["master_param"].numpy(), q.detach().numpy())
        np.testing.assert_array_equal(p.detach().to(tg.float32).numpy(), q.detach().to(dtype).to(tg.float32).numpy())
        assert all(v.dtype == tg.float32 for v in a.state[p].values() if isinstance(v, tg.Tensor))
    plain = nn.Parameter(tg.tensor([1.0, -2.0]).to(dtype))
    optimizer = cls([plain], **options)
    plain.grad = tg.tensor([1.0, 1.0]).to(dtype)
    optimizer.step()
    assert plain.dtype == dtype and 0 < abs(plain.detach().to(tg.float32).numpy()[0] - 1) < 0.05
    assert "master_param" not in optimizer.state[plain]


ALL = [(c, o) for c, _, o in CASES] + [(optim.SGD, dict(lr=0.1)), (optim.SGD, dict(lr=0.1, momentum=0.9, dampening=0.2)),
                                       (optim.Adam, {}), (optim.Adam, dict(amsgrad=True)), (optim.AdamW, {})]
ALL_IDS = [f"{c.__name__}-{i}" for i, (c, _) in enumerate(ALL)]


@pytest.mark.parametrize("cls, options", ALL, ids=ALL_IDS)
def test_no_plan_after_the_first_step(cls, options):
    """Rates, steps, corrections, rectifiers are run attributes."""
    params = [nn.Parameter(tg.ones(s)) for s in SHAPES]
    optimizer = cls(params, **options)
    scheduler = ls.CosineAnnealingLR(optimizer, 20)
    plans = []
    for i in range(10):
        for p in params:
            p.grad = tg.full_like(p.detach(), 1.0 + i)
        before = tg.dispatch_stats()["plans_created"]
        optimizer.step()
        plans.append(tg.dispatch_stats()["plans_created"] - before)
        scheduler.step()
    assert plans[1:] == [0] * 9, plans


@pytest.mark.parametrize("cls, options", ALL, ids=ALL_IDS)
def test_one_call_for_a_group(cls, options, monkeypatch):
    import importlib

    calls = []
    module = importlib.import_module("tengen.optim.optimizer")
    inner = module.call_into
    monkeypatch.setattr(module, "call_into", lambda name, *a: (calls.append(name), inner(name, *a)))
    params = [nn.Parameter(tg.ones((2, s))) for s in (1, 2, 3)]
    optimizer = cls(params, foreach=True, fused=None, **options)
    for p in params:
        p.grad = tg.ones(tuple(p.shape))
    optimizer.step()
    assert len(calls) == 1 and calls[0].startswith("multi_"), calls
    late = nn.Parameter(tg.ones((2, 2)))
    late.grad = tg.ones((2, 2))
    optimizer.add_param_group({"params": [late]})
    optimizer.step()  # two groups: two calls
    assert len(calls) == 3


def test_parameters_at_different_steps():
    """A parameter without gradients at first is behind the others: its corrections are its own."""
    start, grads = problem((3, 2))
    a, b = (nn.Parameter(tg.tensor(start)) for _ in range(2))
    optimizer = optim.Adam([a, b], lr=0.1)
    for t, g in enumerate(grads):
        a.grad = tg.tensor(g)
        b.grad = tg.tensor(grads[t - 3]) if t >= 3 else None
        optimizer.step()
    alone = nn.Parameter(tg.tensor(start))
    other = optim.Adam([alone], lr=0.1)
    for g in grads[:-3]:
        alone.grad = tg.tensor(g)
        other.step()
    np.testing.assert_array_equal(b.detach().numpy(), alone.detach().numpy())
    assert optimizer.state[a]["step"] == STEPS and optimizer.state[b]["step"] == STEPS - 3


def test_parameters_on_two_devices(second_device):
    """One call per device; the total norm and the scaler's verdict are of both."""
    rng = np.random.RandomState(0)
    start, grad = rng.randn(3, 2), rng.randn(3, 2)
    there = [nn.Parameter(tg.tensor(start, device=d)) for d in (None, second_device)]
    alone = nn.Parameter(tg.tensor(start))
    a, b = optim.AdamW(there, lr=0.1), optim.AdamW([alone], lr=0.1)
    for _ in range(3):
        for p in (*there, alone):
            p.grad = tg.tensor(grad, device=p.device)
        total = nn.utils.clip_grad_norm_(there, 0.5)
        assert total.item() == pytest.approx(np.sqrt(2 * (grad**2).sum()), rel=1e-12)
        alone.grad = there[0].grad.clone()
        a.step()
        b.step()
    for p in there:
        np.testing.assert_allclose(p.detach().cpu().numpy(), alone.detach().numpy(), rtol=1e-12)
    scaler = tg.amp.GradScaler(init_scale=2.0)
    there[1].grad = tg.full((3, 2), float("nan"), dtype=tg.float64, device=second_device)
    scaler.step(a)
    assert (there[0].detach().numpy() == alone.detach().numpy()).all()


@pytest.mark.parametrize("cls, options", ALL, ids=ALL_IDS)
def test_state_goes_on_exactly_through_a_file(cls, options, tmp_path):
    rng = np.random.RandomState(1)
    shapes = [(3, 2), (4,)]
    starts, grads = [rng.randn(*s) for s in shapes], [[rng.randn(*s) for s in shapes] for _ in range(8)]

    def go(optimizer, params, steps):
        for step in steps:
            for p, g in zip(params, grads[step]):
                p.grad = tg.tensor(g)
            optimizer.step()

    straight = [nn.Parameter(tg.tensor(s)) for s in starts]
    go(cls(straight, **options), straight, range(8))
    first = [nn.Parameter(tg.tensor(s)) for s in starts]
    optimizer = cls(first, **options)
    go(optimizer, first, range(4))
    tg.save({"o": optimizer.state_dict(), "p": [p.detach() for p in first]}, tmp_path / "c")
    saved = tg.load(tmp_path / "c")
    second = [nn.Parameter(p) for p in saved["p"]]
    again = cls(second, **{**options, "lr": 7.0})
    again.load_state_dict(saved["o"])
    go(again, second, range(4, 8))
    for p, q in zip(straight, second):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_state_dict_of_pytorch_s_layout():
    """Steps that are tensors, as PyTorch saves them, become numbers."""
    p = nn.Parameter(tg.zeros((2,)))
    state = {"state": {0: {"step": tg.tensor(3.0), "exp_avg": tg.ones((2,)), "exp_avg_sq": tg.ones((2,))}},
             "param_groups": [{"lr": 0.5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False,
                               "maximize": False, "foreach": None, "capturable": False, "params": [0]}]}
    optimizer = optim.Adam([p])
    optimizer.load_state_dict(state)
    p.grad = tg.zeros((2,))
    optimizer.step()
    assert optimizer.state[p]["step"] == 4
    m, v = 0.9, 0.999
    np.testing.assert_allclose(p.detach().numpy(), -0.5 * m / (1 - 0.9**4) / np.sqrt(v / (1 - 0.999**4)), rtol=1e-5)


@pytest.mark.parametrize("make, message", [
    (lambda p: optim.Rprop([p], etas=(1.2, 0.5)), "etas"),
    (lambda p: optim.Adadelta([p], rho=2), "rho in"),
    (lambda p: optim.RMSprop([p], momentum=-1), "momentum >= 0"),
    (lambda p: optim.Adafactor([p], d=0.5), "d >= 1"),
    (lambda p: optim.Lion([p], betas=(0.9, 1.5)), "betas"),
    (lambda p: optim.LBFGS([p], line_search_fn="armijo"), "strong_wolfe"),
    (lambda p: optim.LBFGS([{"params": [p]}, {"params": [nn.Parameter(tg.ones((1,)))]}]), "one group"),
])
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(nn.Parameter(tg.ones((2,))))


def test_step_hooks():
    p = nn.Parameter(tg.tensor([1.0]))
    p.grad = tg.tensor([1.0])
    optimizer = optim.SGD([p], lr=0.5)
    seen = []
    pre = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(("pre", p.item(), o is optimizer)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("post", p.item(), args)))
    optimizer.step()
    assert seen == [("pre", 1.0, True), ("post", 0.5, (None,))]
    pre.remove()
    optimizer.step()
    assert len(seen) == 3
    replace = optimizer.register_step_pre_hook(lambda o, args, kwargs: ((lambda: "loss",), {}))
    assert optimizer.step() == "loss"
    replace.remove()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="pre-hook"):
        optimizer.step()
