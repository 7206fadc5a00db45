# SPDX-License-Identifier: Apache-2.0
"""Every schedule against its closed form; compositions; states."""
import math

import numpy as np
import pytest

import tengen as tg
from tengen import nn, optim
from tengen.optim import lr_scheduler as ls
from tengen.optim.swa_utils import SWALR


def make_optimizer(lr=1.0, momentum=0.9):
    groups = [{"params": [nn.Parameter(tg.ones((1,)))]}, {"params": [nn.Parameter(tg.ones((1,)))], "lr": lr / 2}]
    return optim.SGD(groups, lr=lr, momentum=momentum)


def rates(make, n, lr=1.0):
    """The first group's rate at n steps; the second group's must be half of it."""
    optimizer = make_optimizer(lr)
    scheduler = make(optimizer)
    out = []
    for _ in range(n):
        assert scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        out.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(out[-1] / 2)
        optimizer.step()
        scheduler.step()
    return out


def restarts(e, t0, mult):
    length = t0
    while e >= length:
        e -= length
        length *= mult
    return (1 + math.cos(math.pi * e / length)) / 2


def triangle(e, up, down):
    e %= up + down
    return e / up if e <= up else (up + down - e) / down


N = 25
CASES = {
    "multistep": (lambda o: ls.MultiStepLR(o, [12, 3], 0.1), lambda e: 0.1 ** ((e >= 3) + (e >= 12))),
    "constant": (lambda o: ls.ConstantLR(o, 0.25, 4), lambda e: 0.25 if e < 4 else 1),
    "exponential": (lambda o: ls.ExponentialLR(o, 0.9), lambda e: 0.9**e),
    "polynomial": (lambda o: ls.PolynomialLR(o, 10, 2.0), lambda e: (1 - min(e, 10) / 10) ** 2),
    "restarts": (lambda o: ls.CosineAnnealingWarmRestarts(o, 4), lambda e: restarts(e, 4, 1)),
    "growing restarts": (lambda o: ls.CosineAnnealingWarmRestarts(o, 3, 2), lambda e: restarts(e, 3, 2)),
    "multiplicative": (lambda o: ls.MultiplicativeLR(o, lambda e: e / (e + 1)), lambda e: 1 / (e + 1)),
    "warm-up": (lambda o: ls.WarmupLR(ls.ExponentialLR(o, 0.5), 5, 0.1),
                lambda e: 0.1 + 0.9 * e / 5 if e < 5 else 0.5 ** (e - 5)),
    "chained": (lambda o: ls.ChainedScheduler([ls.ConstantLR(o, 0.1, 3), ls.ExponentialLR(o, 0.9)]),
                lambda e: (0.1 if e < 3 else 1) * 0.9**e),
    "sequential": (lambda o: ls.SequentialLR(o, [ls.LinearLR(o, 0.2, 1.0, 4), ls.ExponentialLR(o, 0.8),
                                                 ls.MultiplicativeLR(o, lambda e: 0.5)], [4, 10]),
                   lambda e: 0.2 + 0.2 * e if e < 4 else 0.8 ** (e - 4) if e < 10 else 0.5 ** (e - 10)),
    "cyclic": (lambda o: ls.CyclicLR(o, [0.1, 0.05], [1.0, 0.5], 4, 2), lambda e: 0.1 + 0.9 * triangle(e, 4, 2)),
    "cyclic halves": (lambda o: ls.CyclicLR(o, [0.1, 0.05], [1.0, 0.5], 3, mode="triangular2"),
                      lambda e: 0.1 + 0.9 * triangle(e, 3, 3) / 2 ** (e // 6)),
    "cyclic shrinks": (lambda o: ls.CyclicLR(o, [0.1, 0.05], [1.0, 0.5], 3, mode="exp_range", gamma=0.9),
                       lambda e: 0.1 + 0.9 * triangle(e, 3, 3) * 0.9**e),
    "cyclic by function": (lambda o: ls.CyclicLR(o, [0.1, 0.05], [1.0, 0.5], 3, scale_fn=lambda c: 1 / c),
                           lambda e: 0.1 + 0.9 * triangle(e, 3, 3) / (1 + e // 6)),
    "swa linear": (lambda o: SWALR(o, [0.2, 0.1], 4, "linear"), lambda e: 1 + (0.2 - 1) * min(1, e / 4)),
    "swa cosine": (lambda o: SWALR(o, [0.2, 0.1], 4),
                   lambda e: 1 + (0.2 - 1) * (1 - math.cos(math.pi * min(1, e / 4))) / 2),
}


@pytest.mark.parametrize("name", CASES)
def test_closed_form(name):
    make, formula = CASES[name]
    assert rates(make, N) == pytest.approx([formula(e) for e in range(N)], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("multiplicative", "sequential", "cyclic by function")])
def test_state_goes_on(name, tmp_path):
    make, _ = CASES[name]
    a = make_optimizer()
    first = make(a)
    for _ in range(7):
        first.step()
    tg.save({"s": first.state_dict(), "o": a.state_dict()}, tmp_path / "c")
    saved = tg.load(tmp_path / "c")
    b = make_optimizer()
    second = make(b)
    b.load_state_dict(saved["o"])
    second.load_state_dict(saved["s"])
    for _ in range(9):
        first.step()
        second.step()
        assert [g["lr"] for g in a.param_groups] == [g["lr"] for g in b.param_groups]
        assert [g["momentum"] for g in a.param_groups] == [g["momentum"] for g in b.param_groups]


def test_cycles_move_momentum_the_other_way():
    optimizer = make_optimizer()
    scheduler = ls.CyclicLR(optimizer, 0.1, 1.0, 4, base_momentum=0.6, max_momentum=0.9)
    for e in range(9):
        assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.9 - 0.3 * triangle(e, 4, 4))
        scheduler.step()
    plain = optim.Adagrad([nn.Parameter(tg.ones((1,)))])
    with pytest.raises(ValueError, match="cycle_momentum needs"):
        ls.CyclicLR(plain, 0.1, 1.0)
    ls.CyclicLR(plain, 0.1, 1.0, cycle_momentum=False)


def test_restarts_take_fractions():
    optimizer = make_optimizer()
    scheduler = ls.CosineAnnealingWarmRestarts(optimizer, 4, 2, eta_min=0.1)
    for e in (0.5, 3.75, 4.25, 11.5, 12.0):
        scheduler.step(e)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 + 0.9 * restarts(e, 4, 2))


def test_swa_rate_begins_where_another_scheduler_ended():
    optimizer = make_optimizer()
    before, swa = ls.ExponentialLR(optimizer, 0.5), SWALR(optimizer, 0.05, 2, "linear")
    before.step()
    before.step()
    assert optimizer.param_groups[0]["lr"] == 0.25
    swa.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx((0.25 + 0.05) / 2)
    swa.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


@pytest.mark.parametrize("make, error, message", [
    (lambda o: ls.SequentialLR(o, [ls.ExponentialLR(o, 0.5)], [3]), ValueError, "0 rising milestones"),
    (lambda o: ls.SequentialLR(o, [ls.ExponentialLR(o, 0.5), ls.ReduceLROnPlateau(o)], [3]), TypeError, "ReduceLROnPlateau"),
    (lambda o: ls.SequentialLR(o, [ls.ExponentialLR(make_optimizer(), 0.5)], []), ValueError, "of one optimizer"),
    (lambda o: ls.ChainedScheduler([]), ValueError, "at least one"),
    (lambda o: ls.CyclicLR(o, 0.1, 1.0, mode="saw"), ValueError, "mode"),
    (lambda o: ls.CyclicLR(o, [0.1], 1.0), ValueError, "one per group"),
    (lambda o: ls.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0"),
    (lambda o: ls.PolynomialLR(o, 0), ValueError, "total_iters"),
    (lambda o: ls.ConstantLR(o, 2.0), ValueError, "factor"),
    (lambda o: ls.MultiplicativeLR(o, [abs]), ValueError, "one per group"),
    (lambda o: ls.WarmupLR(ls.ExponentialLR(o, 0.5), -1), ValueError, "warmup_steps"),
    (lambda o: SWALR(o, 0.1, anneal_strategy="cube"), ValueError, "anneal_strategy"),
    (lambda o: ls.ExponentialLR(o, 0.5, last_epoch=3), KeyError, "initial_lr"),
])
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make(make_optimizer())


def test_composite_states_must_fit():
    o = make_optimizer()
    one = ls.ChainedScheduler([ls.ExponentialLR(o, 0.5)])
    two = ls.ChainedScheduler([ls.ExponentialLR(o, 0.5), ls.ConstantLR(o)])
    with pytest.raises(ValueError, match="states of 2 schedulers, got 1"):
        two.load_state_dict(one.state_dict())
    assert np.isfinite(one.get_last_lr()).all()
