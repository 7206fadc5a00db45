# SPDX-License-Identifier: Apache-2.0
"""tengen.optim: every optimizer and schedule against its formula in NumPy, state, plans."""
import copy
import math

import numpy as np
import pytest

import tengen as tg
from tengen import nn, optim
from tengen.optim import lr_scheduler as ls

STEPS = 7


def np_sgd(p, grads, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    v = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
    return p


def np_adam(
    p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=None, maximize=False, decoupled=False, amsgrad=False
):
    weight_decay = (0.01 if decoupled else 0) if weight_decay is None else weight_decay
    m = v = top = np.zeros_like(p)
    for i, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        top = np.maximum(top, v)
        p = p - lr / (1 - betas[0]**i) * m / (np.sqrt((top if amsgrad else v) / (1 - betas[1]**i)) + eps)
    return p


CASES = [
    (optim.SGD, np_sgd, dict(lr=0.1)), (optim.SGD, np_sgd, dict(lr=0.1, weight_decay=0.2)),
    (optim.SGD, np_sgd, dict(lr=0.1, momentum=0.9)), (optim.SGD, np_sgd, dict(lr=0.1, momentum=0.9, dampening=0.3)),
    (optim.SGD, np_sgd, dict(lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.1)),
    (optim.SGD, np_sgd, dict(lr=0.1, momentum=0.5, maximize=True, weight_decay=0.1)),
    (optim.Adam, np_adam, {}), (optim.Adam, np_adam, dict(lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.3)),
    (optim.Adam, np_adam, dict(lr=0.1, maximize=True)), (optim.Adam, np_adam, dict(lr=0.1, amsgrad=True)),
    (optim.AdamW, lambda p, g, **k: np_adam(p, g, decoupled=True, **k), {}),
    (optim.AdamW, lambda p, g, **k: np_adam(p, g, decoupled=True, **k), dict(lr=0.1, weight_decay=0.5, maximize=True)),
    (optim.AdamW, lambda p, g, **k: np_adam(p, g, decoupled=True, **k), dict(lr=0.1, amsgrad=True)),
]


def problem(seed=0, shape=(5, 3), dtype=np.float32):
    rng = np.random.RandomState(seed)
    return rng.randn(*shape).astype(dtype), [rng.randn(*shape).astype(dtype) for _ in range(STEPS)]


@pytest.mark.parametrize("cls, formula, options", CASES, ids=lambda v: str(v)[:60])
@pytest.mark.parametrize("dtype, tol", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_formula(cls, formula, options, dtype, tol):
    start, grads = problem(dtype=dtype)
    p = nn.Parameter(tg.tensor(start))
    address = p.data_ptr()
    optimizer = cls([p], **options)
    for g in grads:
        p.grad = tg.tensor(g)
        before = p.grad.numpy().copy()
        assert optimizer.step() is None
        assert (p.grad.numpy() == before).all(), "the gradient must stay as it is"
    want = formula(start.astype(np.float64), [g.astype(np.float64) for g in grads], **options)
    np.testing.assert_allclose(p.detach().numpy(), want, rtol=tol, atol=tol)
    assert p.data_ptr() == address and p.requires_grad


def test_zero_sizes_and_scalars():
    for cls in (optim.SGD, optim.Adam, optim.AdamW):
        empty, scalar = nn.Parameter(tg.zeros((0, 3))), nn.Parameter(tg.tensor(2.0))
        optimizer = cls([empty, scalar], lr=0.1)
        empty.grad, scalar.grad = tg.zeros((0, 3)), tg.tensor(1.0)
        optimizer.step()
        assert scalar.item() == pytest.approx(1.9, abs=5e-3) and empty.shape == (0, 3)


def test_strided_parameter_and_gradient():
    start, grads = problem(shape=(4, 6))
    p = nn.Parameter(tg.tensor(start).transpose(0, 1))
    optimizer = optim.Adam([p], lr=0.1)
    for g in grads:
        p.grad = tg.tensor(g).transpose(0, 1)
        optimizer.step()
    np.testing.assert_allclose(
        p.detach().numpy().T, np_adam(start.astype(np.float64), grads, lr=0.1), rtol=1e-5, atol=1e-6
    )


def test_parameters_without_gradient_are_left():
    a, b = nn.Parameter(tg.ones((2,))), nn.Parameter(tg.ones((2,)))
    optimizer = optim.Adam([a, b], lr=0.1, weight_decay=0.5)
    a.grad = tg.ones((2,))
    optimizer.step()
    assert b.tolist() == [1, 1] and a.tolist() != [1, 1] and len(optimizer.state) == 1


def test_groups():
    a, b, c = (nn.Parameter(tg.zeros((1,))) for _ in range(3))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [("c", c)], "lr": 2.0, "momentum": 0.9})
    for p in (a, b, c):
        p.grad = tg.ones((1,))
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item(), c.item()], [-0.1, -0.5, -2], rtol=1e-6)
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    assert a.item() == pytest.approx(-1.1)
    assert [g["momentum"] for g in optimizer.param_groups] == [0, 0, 0.9]


def test_closure_and_zero_grad():
    p = nn.Parameter(tg.tensor([3.0]))
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 9
    assert p.item() == pytest.approx(2.4)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: optim.SGD([], 0.1), "empty list of parameters"),
        (lambda p: optim.SGD(p, 0.1), "got one tensor"),
        (lambda p: optim.SGD([p, p], 0.1), "is given twice"),
        (lambda p: optim.SGD([p * 1], 0.1), "result of an op"),
        (lambda p: optim.SGD([3], 0.1), "expected tensors as parameters, got int"),
        (lambda p: optim.SGD([p], -1), "expected lr >= 0"),
        (lambda p: optim.SGD([p], 0.1, nesterov=True), "nesterov needs momentum"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), "betas"),
        (lambda p: optim.Adam([p], eps=-1), "expected eps >= 0"),
        (lambda p: optim.AdamW([{"lr": 1}]), "a dict with 'params'"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(nn.Parameter(tg.ones((2,))))


def test_repr():
    assert repr(optim.SGD([nn.Parameter(tg.ones((1,)))], lr=0.1)) == """\
SGD (
Parameter Group 0
    dampening: 0
    lr: 0.1
    master_weights: False
    maximize: False
    momentum: 0
    nesterov: False
    weight_decay: 0
)"""


# ---- state -----------------------------------------------------------------------------------------------------------


def run(optimizer, p, grads):
    for g in grads:
        p.grad = tg.tensor(g)
        optimizer.step()


@pytest.mark.parametrize("through_file", [False, True])
@pytest.mark.parametrize("cls, options", [(optim.SGD, dict(lr=0.1, momentum=0.9)), (optim.Adam, dict(lr=0.1)),
                                          (optim.AdamW, dict(lr=0.1, amsgrad=True))])
def test_state_dict_goes_on_exactly(tmp_path, cls, options, through_file):
    start, grads = problem()
    p = nn.Parameter(tg.tensor(start))
    straight = cls([p], **options)
    run(straight, p, grads)
    q = nn.Parameter(tg.tensor(start))
    first = cls([q], **options)
    run(first, q, grads[:3])
    state = first.state_dict()
    assert state["param_groups"][0]["params"] == [0] and list(state["state"]) == [0]
    if through_file:
        tg.save({"optimizer": state, "p": q.detach()}, tmp_path / "c")
        saved = tg.load(tmp_path / "c")
        state, q = saved["optimizer"], nn.Parameter(saved["p"])
    second = cls([q], lr=99.0)
    second.load_state_dict(copy.deepcopy(state))
    assert second.param_groups[0]["lr"] == 0.1
    run(second, q, grads[3:])
    assert (p.detach().numpy() == q.detach().numpy()).all()


def test_load_state_dict_errors():
    p = nn.Parameter(tg.ones((2,)))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    run(optimizer, p, [np.ones(2, np.float32)])
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"groups of \[2\] parameters, got \[1\]"):
        optim.SGD([p, nn.Parameter(tg.ones((1,)))], lr=0.1).load_state_dict(state)
    with pytest.raises(ValueError, match=r"momentum_buffer: expected shape \(3,\), got \(2,\)"):
        optim.SGD([nn.Parameter(tg.ones((3,)))], lr=0.1).load_state_dict(state)


# ---- schedules -------------------------------------------------------------------------------------------------------


def rates(make, n, lr=1.0):
    p = nn.Parameter(tg.ones((1,)))
    optimizer = optim.SGD(
        [{"params": [p]}, {"params": [nn.Parameter(tg.ones((1,)))], "lr": lr / 2}], lr=lr, momentum=0.9
    )
    scheduler = make(optimizer)
    out = []
    for _ in range(n):
        assert scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        out.append(scheduler.get_last_lr()[0])
        assert scheduler.get_last_lr()[1] == pytest.approx(out[-1] / 2)
        scheduler.step()
    return out


def test_schedules():
    assert rates(lambda o: ls.StepLR(o, 3, 0.5), 7) == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5, 0.25])
    assert rates(lambda o: ls.LambdaLR(o, lambda e: 1 / (1 + e)), 4) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert rates(lambda o: ls.LinearLR(o, 0.5, 1.0, 4), 6) == pytest.approx([0.5, 0.625, 0.75, 0.875, 1, 1])
    want = [(1 + math.cos(math.pi * i / 5)) / 2 for i in range(7)]
    assert rates(lambda o: ls.CosineAnnealingLR(o, 5), 7) == pytest.approx(want)


def test_one_cycle():
    p = nn.Parameter(tg.ones((1,)))
    optimizer = optim.Adam([p], lr=9)
    scheduler = ls.OneCycleLR(optimizer, 1.0, total_steps=10, pct_start=0.4, div_factor=10, final_div_factor=100)
    got, betas = [], []
    for i in range(10):
        got.append(optimizer.param_groups[0]["lr"])
        betas.append(optimizer.param_groups[0]["betas"])
        if i < 9:
            scheduler.step()

    def wave(a, b, t):
        return b + (a - b) * (1 + math.cos(math.pi * t)) / 2

    want = [wave(0.1, 1, i / 3) for i in range(4)] + [wave(1, 0.001, i / 6) for i in range(1, 7)]
    assert got == pytest.approx(want)
    assert betas[0] == (0.95, 0.999) and betas[3][0] == pytest.approx(0.85) and betas[9][0] == pytest.approx(0.95)
    scheduler.step()  # behind the last batch, as a loop does it
    assert optimizer.param_groups[0]["lr"] == got[-1]
    with pytest.raises(ValueError, match="expected at most 10 steps"):
        scheduler.step()
    linear = rates(
        lambda o: ls.OneCycleLR(
            o,
            [1.0, 0.5],
            epochs=2,
            steps_per_epoch=4,
            pct_start=0.5,
            anneal_strategy="linear",
            div_factor=4,
            final_div_factor=1,
        ),
        7,
    )
    assert linear == pytest.approx([0.25, 0.5, 0.75, 1, 0.8125, 0.625, 0.4375])
    with pytest.raises(ValueError, match="expected total_steps, or epochs"):
        ls.OneCycleLR(optimizer, 1.0)


def test_reduce_on_plateau():
    optimizer = optim.SGD([nn.Parameter(tg.ones((1,)))], lr=1.0)
    scheduler = ls.ReduceLROnPlateau(optimizer, factor=0.1, patience=1, cooldown=1, min_lr=0.005)
    got = []
    for value in [5, 4, 4, 4, 4, 4, 4, 4, 4, tg.tensor(4.0)]:
        scheduler.step(value)
        got.append(optimizer.param_groups[0]["lr"])
    assert got == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.005])
    best = ls.ReduceLROnPlateau(optimizer, mode="max", patience=0, threshold=0.1, threshold_mode="abs")
    best.step(1)
    best.step(1.05)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0005) and best.num_bad_epochs == 0


def test_scheduler_state_dict(tmp_path):
    make = lambda o: ls.OneCycleLR(o, 1.0, total_steps=10)
    a = optim.SGD([nn.Parameter(tg.ones((1,)))], lr=1.0, momentum=0.9)
    first = make(a)
    for _ in range(4):
        first.step()
    tg.save({"s": first.state_dict(), "o": a.state_dict()}, tmp_path / "c")
    saved = tg.load(tmp_path / "c")
    b = optim.SGD([nn.Parameter(tg.ones((1,)))], lr=1.0, momentum=0.9)
    second = make(b)
    b.load_state_dict(saved["o"])
    second.load_state_dict(saved["s"])
    first.step()
    second.step()
    assert a.param_groups[0]["lr"] == b.param_groups[0]["lr"] and first.get_last_lr() == second.get_last_lr()


# ---- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls, options",
    [
        (optim.SGD, {}),
        (optim.SGD, dict(momentum=0.9, nesterov=True, weight_decay=0.1)),
        (optim.Adam, dict(weight_decay=0.1)),
        (optim.AdamW, {}),
        (optim.AdamW, dict(amsgrad=True)),
    ],
)
def test_a_changing_rate_makes_no_new_plans(cls, options):
    """The learning rate, Adam's step and bias corrections are run attributes: only the first steps may plan."""
    p = nn.Parameter(tg.ones((8, 8)))
    optimizer = cls([p], lr=0.1, **options)
    scheduler = ls.CosineAnnealingLR(optimizer, 20)
    plans, launches = [], []
    for i in range(12):
        p.grad = tg.ones((8, 8))
        before = tg.dispatch_stats()
        optimizer.step()
        after = tg.dispatch_stats()
        plans.append(after["plans_created"] - before["plans_created"])
        launches.append(after["launches"] - before["launches"])
        scheduler.step()
    assert plans[2:] == [0] * 10, plans
    assert launches[-1] >= 1


@pytest.mark.parametrize("cls, options", [(optim.SGD, dict(momentum=0.9)), (optim.Adam, {}), (optim.AdamW, {})])
def test_a_step_is_one_launch_per_parameter(cls, options):
    ps = [nn.Parameter(tg.ones((4, 4))) for _ in range(3)]
    optimizer = cls(ps, lr=0.1, **options)
    for i in range(4):
        for p in ps:
            p.grad = tg.ones((4, 4))
        before = tg.dispatch_stats()["launches"]
        optimizer.step()
        launches = tg.dispatch_stats()["launches"] - before
    assert launches == 3


def test_a_module_is_no_iterable_of_parameters():
    with pytest.raises(TypeError, match=r"\[SGD\] expected an iterable of parameters, got Linear; give \.parameters\(\)"):
        tg.optim.SGD(tg.nn.Linear(2, 2), lr=0.1)
