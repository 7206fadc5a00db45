# SPDX-License-Identifier: Apache-2.0
"""Every optimizer against the algorithm of its paper in NumPy (float64), over whole trajectories; plans, calls, 16-bit
parameters, hooks, state."""
import math

import numpy as np
import pytest

import tengen as tg
from tengen import nn, optim
from tengen.optim import lr_scheduler as ls
from tengen.optim import swa_utils

STEPS = 12
SHAPES = [(5, 3), (4,), (), (2, 3, 2)]


# ---- the papers -------------------------------------------------------------------------------------------------------
# Each takes p and the gradients of all steps, and yields nothing but the last p.


def asgd(p, grads, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0):
    for t, g in enumerate(grads):
        eta = lr / (1 + lambd * lr * t) ** alpha
        p = p - eta * (g + weight_decay * p) - eta * lambd * p
    return p


def lion(p, grads, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    m = np.zeros_like(p)
    for g in grads:
        p = p - lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
    return p


def rprop(p, grads, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    step, last = np.full_like(p, lr), np.zeros_like(p)
    p, step, last = p.reshape(-1).copy(), step.reshape(-1), last.reshape(-1)
    shape = grads[0].shape
    for g in (g.reshape(-1) for g in grads):
        for i in range(len(p)):
            now = g[i]
            if now * last[i] > 0:
                step[i] = min(step[i] * etas[1], step_sizes[1])
            elif now * last[i] < 0:
                step[i] = max(step[i] * etas[0], step_sizes[0])
                now = 0.0
            p[i] -= np.sign(now) * step[i]
            last[i] = now
    return p.reshape(shape)


def nadam(p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3,
          decoupled_weight_decay=False):
    m = v = np.zeros_like(p)
    mu = lambda t: betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    for t, g in enumerate(grads, 1):
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        product = math.prod(mu(i) for i in range(1, t + 1))
        m_hat = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        p = p - lr * m_hat / (np.sqrt(v / (1 - betas[1]**t)) + eps)
    return p


def radam(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False):
    m = v = np.zeros_like(p)
    b1, b2 = betas
    inf = 2 / (1 - b2) - 1
    for t, g in enumerate(grads, 1):
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat = m / (1 - b1**t)
        rho = inf - 2 * t * b2**t / (1 - b2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * inf / ((inf - 4) * (inf - 2) * rho))
            p = p - lr * m_hat * r * math.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
        else:
            p = p - lr * m_hat
    return p


def adamax(p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m = u = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        g = g + weight_decay * p
        m, u = betas[0] * m + (1 - betas[0]) * g, np.maximum(betas[1] * u, np.abs(g) + eps)
        p = p - lr / (1 - betas[0]**t) * m / u
    return p


def adagrad(p, grads, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    total = np.full_like(p, initial_accumulator_value)
    for t, g in enumerate(grads, 1):
        g = g + weight_decay * p
        total = total + g * g
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(total) + eps)
    return p


def adadelta(p, grads, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    v = u = np.zeros_like(p)
    for g in grads:
        g = g + weight_decay * p
        v = rho * v + (1 - rho) * g * g
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d * d
        p = p - lr * d
    return p


def rmsprop(p, grads, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    v = a = b = np.zeros_like(p)
    for g in grads:
        g = g + weight_decay * p
        v, a = alpha * v + (1 - alpha) * g * g, alpha * a + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(v - a * a if centered else v) + eps)
        p = p - lr * b
    return p


def lamb(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
    m = v = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        r = m / (1 - betas[0]**t) / (np.sqrt(v / (1 - betas[1]**t)) + eps) + weight_decay * p
        norms = np.linalg.norm(p.ravel()), np.linalg.norm(r.ravel())
        p = p - lr * (norms[0] / norms[1] if min(norms) > 0 else 1) * r
    return p


def lars(p, grads, lr=0.1, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-8):
    v = np.zeros_like(p)
    for g in grads:
        w, n = np.linalg.norm(p.ravel()), np.linalg.norm(g.ravel())
        local = trust_coefficient * w / (n + weight_decay * w + eps) if w > 0 and n > 0 else 1.0
        v = momentum * v + lr * local * (g + weight_decay * p)
        p = p - v
    return p


def adafactor(p, grads, lr=1e-2, beta2_decay=-0.8, eps=(1e-10, 1e-3), d=1.0, weight_decay=0.0):
    rms = lambda x: math.sqrt((x * x).mean())
    row = col = v = 0.0
    for t, g in enumerate(grads, 1):
        beta2 = 1 - t**beta2_decay
        alpha = max(eps[1], rms(p)) * min(lr, 1 / math.sqrt(t))
        p = p * (1 - lr * weight_decay)
        if g.ndim > 1:
            row = beta2 * row + (1 - beta2) * (g * g).mean(-1, keepdims=True)
            col = beta2 * col + (1 - beta2) * (g * g).mean(-2, keepdims=True)
            v = row * col / row.mean(-2, keepdims=True)
        else:
            v = beta2 * v + (1 - beta2) * g * g
        u = g / np.sqrt(v)
        p = p - alpha * u / max(1.0, rms(u) / d)
    return p


CASES = [
    (optim.ASGD, asgd, {}), (optim.ASGD, asgd, dict(lr=0.1, lambd=0.3, alpha=0.5, weight_decay=0.2)),
    (optim.Lion, lion, {}), (optim.Lion, lion, dict(lr=0.1, betas=(0.6, 0.8), weight_decay=0.3)),
    (optim.Rprop, rprop, {}), (optim.Rprop, rprop, dict(lr=0.1, etas=(0.3, 1.5), step_sizes=(0.05, 0.2))),
    (optim.NAdam, nadam, {}), (optim.NAdam, nadam, dict(lr=0.1, betas=(0.7, 0.9), weight_decay=0.2, momentum_decay=0.5)),
    (optim.NAdam, nadam, dict(lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)),
    (optim.RAdam, radam, {}), (optim.RAdam, radam, dict(lr=0.1, betas=(0.7, 0.99), weight_decay=0.2)),
    (optim.RAdam, radam, dict(lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)),
    (optim.Adamax, adamax, {}), (optim.Adamax, adamax, dict(lr=0.1, betas=(0.5, 0.7), eps=1e-2, weight_decay=0.3)),
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, dict(lr=0.1, lr_decay=0.2, weight_decay=0.3, initial_accumulator_value=0.5, eps=1e-2)),
    (optim.Adadelta, adadelta, {}), (optim.Adadelta, adadelta, dict(lr=0.5, rho=0.6, eps=1e-2, weight_decay=0.2)),
    (optim.RMSprop, rmsprop, {}), (optim.RMSprop, rmsprop, dict(momentum=0.8, alpha=0.7, weight_decay=0.2)),
    (optim.RMSprop, rmsprop, dict(centered=True, alpha=0.7, eps=0.1)),
    (optim.RMSprop, rmsprop, dict(centered=True, momentum=0.5, alpha=0.6, eps=0.1, weight_decay=0.1)),
    (optim.LAMB, lamb, {}), (optim.LAMB, lamb, dict(lr=0.1, weight_decay=0.2)),
    (optim.LARS, lars, {}), (optim.LARS, lars, dict(lr=1.0, momentum=0.5, weight_decay=0.2, trust_coefficient=0.1)),
    (optim.Adafactor, adafactor, dict(eps=(1e-10, 1e-3))),
    (optim.Adafactor, adafactor, dict(lr=0.5, beta2_decay=-0.5, eps=(1e-10, 0.1), d=1.5, weight_decay=0.1)),
]
IDS = [f"{c.__name__}-{i}" for i, (c, _, _) in enumerate(CASES)]


def problem(shape, seed=0):
    rng = np.random.RandomState(seed)
    return np.float64(rng.randn(*shape)), [np.float64(rng.randn(*shape)) for _ in range(STEPS)]  # 0-d ones are NumPy scalars


def run(cls, options, dtype, maximize=False):
    """All SHAPES at once, in one group; gives parameters and what they began with and met."""
    problems = [problem(s, i) for i, s in enumerate(SHAPES)]
    params = [nn.Parameter(tg.tensor(np.asarray(p), dtype=dtype)) for p, _ in problems]
    optimizer = cls(params, maximize=maximize, **options)
    for t in range(STEPS):
        for p, (_, grads) in zip(params, problems):
            p.grad = tg.tensor(np.asarray(-grads[t] if maximize else grads[t]), dtype=dtype)
        optimizer.step()
    return params, problems, optimizer


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


# ---- L-BFGS ------------------------------------------------------------------------------------------------------------


def rosenbrock(a, b):
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_on_a_quadratic(search):
    """Of a positive definite quadratic form in 6 variables, the minimum: the solution of a linear system."""
    rng = np.random.RandomState(0)
    a = rng.randn(6, 6)
    matrix, vector = a @ a.T + 6 * np.eye(6), rng.randn(6)
    x, y = nn.Parameter(tg.zeros((2,), dtype=tg.float64)), nn.Parameter(tg.zeros((2, 2), dtype=tg.float64))
    optimizer = optim.LBFGS([x, y], lr=1, max_iter=60, max_eval=200, line_search_fn=search, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        z = tg.cat([x, y.reshape((-1,))])
        loss = 0.5 * (z @ (tg.tensor(matrix) @ z)) - (tg.tensor(vector) * z).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert first.item() == 0
    got = np.concatenate([x.detach().numpy(), y.detach().numpy().ravel()])
    np.testing.assert_allclose(got, np.linalg.solve(matrix, vector), atol=1e-6)


def test_lbfgs_on_rosenbrock_s_valley_as_scipy():
    from scipy.optimize import minimize

    p = nn.Parameter(tg.tensor([-1.2, 1.0], dtype=tg.float64))
    optimizer = optim.LBFGS([p], lr=1, max_iter=100, line_search_fn="strong_wolfe", history_size=10)
    calls = [0]

    def closure():
        calls[0] += 1
        optimizer.zero_grad()
        loss = rosenbrock(p[0], p[1])
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-5)
    peer = minimize(lambda v: rosenbrock(*v), [-1.2, 1.0], method="L-BFGS-B", jac=lambda v: np.array(
        [-2 * (1 - v[0]) - 400 * v[0] * (v[1] - v[0]**2), 200 * (v[1] - v[0]**2)]))
    assert calls[0] <= 2 * peer.nfev, (calls[0], peer.nfev)
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()


def test_lbfgs_in_several_calls_and_from_a_file(tmp_path):
    def make(start):
        p = nn.Parameter(tg.tensor(start))
        optimizer = optim.LBFGS([p], lr=0.5, max_iter=4)

        def closure():
            optimizer.zero_grad()
            loss = ((p - tg.tensor([1.0, 2.0, 3.0])) ** 4).sum() + (p * p).sum()
            loss.backward()
            return loss

        return p, optimizer, closure

    p, a, closure = make([0.0, 0.0, 0.0])
    for _ in range(4):
        a.step(closure)
    q, b, closure = make([0.0, 0.0, 0.0])
    for _ in range(2):
        b.step(closure)
    tg.save(b.state_dict(), tmp_path / "o")
    r, c, closure = make(q.detach().numpy().copy())
    c.load_state_dict(tg.load(tmp_path / "o"))
    for _ in range(2):
        c.step(closure)
    np.testing.assert_array_equal(p.detach().numpy(), r.detach().numpy())


# ---- gradients' norms, averages ----------------------------------------------------------------------------------------


def test_clipping_by_norm():
    rng = np.random.RandomState(0)
    arrays = [rng.randn(*s) * 3 for s in SHAPES]
    params = [nn.Parameter(tg.tensor(np.asarray(a))) for a in arrays]
    for norm_type in (1.0, 2.0, 3.0, math.inf):
        for p, a in zip(params, arrays):
            p.grad = tg.tensor(np.asarray(a))
        total = nn.utils.clip_grad_norm_(params, 0.7, norm_type)
        flat = np.concatenate([np.ravel(a) for a in arrays])
        want = np.linalg.norm(flat, norm_type)
        assert total.item() == pytest.approx(want, rel=1e-12)
        for p, a in zip(params, arrays):
            np.testing.assert_allclose(p.grad.numpy(), a * 0.7 / (want + 1e-6), rtol=1e-12)
        nn.utils.clip_grad_norm_(params, 1e9, norm_type)
        np.testing.assert_allclose(params[0].grad.numpy(), arrays[0] * 0.7 / (want + 1e-6), rtol=1e-12)
    params[0].grad = tg.full((5, 3), float("inf"), dtype=tg.float64)
    with pytest.raises(RuntimeError, match="norm"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert nn.utils.get_total_norm([]).item() == 0


def test_averaged_model_and_update_bn():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    mean, ema = swa_utils.AveragedModel(model), swa_utils.AveragedModel(
        model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.8))
    single = swa_utils.AveragedModel(model, avg_fn=swa_utils.get_ema_avg_fn(0.8))
    seen, average = [], None
    for i in range(5):
        with tg.no_grad():
            model[0].weight.copy_(tg.full((4, 3), float(i * i)))
        for m in (mean, ema, single):
            m.update_parameters(model)
        seen.append(i * i)
        average = seen[-1] if average is None else 0.8 * average + 0.2 * seen[-1]
    assert mean.module[0].weight.detach().numpy() == pytest.approx(np.mean(seen), rel=1e-6)
    assert ema.module[0].weight.detach().numpy() == pytest.approx(average, rel=1e-6)
    assert single.module[0].weight.detach().numpy() == pytest.approx(average, rel=1e-6)
    assert mean.n_averaged.item() == 5 and model[0].weight.detach().numpy()[0, 0] == 16
    x = [tg.rand(8, 3) for _ in range(3)]
    swa_utils.update_bn(x, mean)
    inner = [mean.module[0](b).detach().numpy() for b in x]
    np.testing.assert_allclose(mean.module[1].running_mean.numpy(), np.mean([b.mean(0) for b in inner], 0), rtol=1e-4)
    np.testing.assert_allclose(mean.module[1].running_var.numpy(), np.mean([b.var(0, ddof=1) for b in inner], 0), rtol=1e-3,
                               atol=1e-6)
    assert mean.module[1].momentum == 0.1 and mean.training
    with pytest.raises(ValueError, match="got both"):
        swa_utils.AveragedModel(model, avg_fn=lambda *a: 0, multi_avg_fn=lambda *a: 0)
