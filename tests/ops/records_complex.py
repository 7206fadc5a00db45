# SPDX-License-Identifier: Apache-2.0
"""Complex numbers against NumPy: values, strides, and gradients by finite differences of both parts."""

from __future__ import annotations

import numpy as np
from record import EPS, Case, Record

RECORDS: dict[str, Record] = {}
PARTS = {"complex64": "float32", "complex128": "float64"}


def sample(rng, dtype, shape=(3, 4)):
    return (rng.uniform(-2, 2, shape) + 1j * rng.uniform(-2, 2, shape)).astype(dtype)


def compare(got, expected, eps, bound):
    value = got.detach().cpu().numpy()
    assert value.shape == expected.shape
    if value.dtype == np.bool_:
        np.testing.assert_array_equal(value, expected)
        return
    assert (np.abs(value - expected) <= bound * eps * np.abs(expected)).all()


def slope(tg, device, f, x):
    """d/d re + i d/d im of the real number sum(|f(x) - 1|^2), by central differences, and as backward() gives it."""

    def loss(t):
        y = f(t) - 1.0
        return (y * tg.conj(y)).real.sum() if y.is_complex() else (y * y).sum()

    t = tg.tensor(x, device=device, requires_grad=True)
    loss(t).backward()
    h, numeric = 2.0**-17, np.zeros_like(x)
    for at in np.ndindex(x.shape):
        for unit in (1.0, 1j) if np.iscomplexobj(x) else (1.0,):
            step = np.zeros_like(x)
            step[at] = h * unit
            ends = [loss(tg.tensor(x + s * step, device=device)).item() for s in (1, -1)]
            numeric[at] += unit * (ends[0] - ends[1]) / (2 * h)
    size = 1 + abs(loss(t.detach()).item()) + np.abs(numeric).max()
    assert np.abs(t.grad.cpu().numpy() - numeric).max() <= (1e3 * h * h + 1e2 * EPS["float64"] / h) * size


def function(name, oracle, bound, grad=True):
    def check(tg, device):
        rng = np.random.default_rng(7)
        f = getattr(tg, name)
        for dtype, part in PARTS.items():
            z = sample(rng, dtype)
            for a in (z, z.T, z[:, ::2]):
                compare(f(tg.tensor(z, device=device).T if a is z.T else tg.tensor(a, device=device)), oracle(a), EPS[part], bound)
            compare(f(tg.tensor(z, device=device)[:, ::2]), oracle(z[:, ::2]), EPS[part], bound)
        if grad:
            slope(tg, device, f, sample(rng, "complex128"))

    RECORDS[name] = Record(
        oracle, lambda rng: [Case((sample(rng, "complex128"),)), Case((sample(rng, "complex128", (2, 0)),))], ("float64", "float32"),
        (0,) if grad else None, check=check,
    )


function("real", np.real, 0)
function("imag", np.imag, 0)
function("conj", np.conj, 0)
function("angle", np.angle, 6)
function("isreal", np.isreal, 0, grad=False)
function("view_as_real", lambda z: np.stack([z.real, z.imag], -1), 0)


def check_view_as_complex(tg, device):
    x = np.random.default_rng(3).uniform(-1, 1, (3, 4, 2))
    t = tg.tensor(x, device=device)
    compare(tg.view_as_complex(t), x[..., 0] + 1j * x[..., 1], 0, 0)
    slope(tg, device, tg.view_as_complex, x)
    for wrong, error in ((t[..., :1], ValueError), (t.to(tg.int64), TypeError), (t.transpose(1, 2)[:, :, :2], ValueError)):
        try:
            tg.view_as_complex(wrong)
        except error as e:
            assert "view_as_complex" in str(e) and "expected" in str(e) and "got" in str(e)
        else:
            raise AssertionError("no error")


def check_complex(tg, device):
    re, im = np.random.default_rng(4).uniform(-1, 1, (2, 3, 4))
    a, b = tg.tensor(re, device=device), tg.tensor(im, device=device)
    compare(tg.complex(a, b), re + 1j * im, 0, 0)
    slope(tg, device, lambda x: tg.complex(x, b), re)
    slope(tg, device, lambda x: tg.complex(a, x), im)


def check_polar(tg, device):
    r, t = np.random.default_rng(5).uniform(0.5, 1, (2, 3, 4))
    a, b = tg.tensor(r, device=device), tg.tensor(t, device=device)
    compare(tg.polar(a, b), r * np.exp(1j * t), EPS["float64"], 6)
    slope(tg, device, lambda x: tg.polar(x, b), r)
    slope(tg, device, lambda x: tg.polar(a, x), t)


RECORDS["view_as_complex"] = Record(
    lambda x: x[..., 0] + 1j * x[..., 1], lambda rng: [Case((rng.uniform(-1, 1, (3, 4, 2)),)), Case((np.zeros((0, 2)),))], ("float64", "float32"), (0,),
    check=check_view_as_complex, skip={"strides": ("never", "the last axis must be dense; the check has what is refused")},
)
for _name, _oracle, _check in (("complex", lambda a, b: a + 1j * b, check_complex), ("polar", lambda r, t: r * np.exp(1j * t), check_polar)):
    RECORDS[_name] = Record(
        _oracle, lambda rng: [Case((rng.uniform(0.5, 1, (3, 4)), rng.uniform(0.5, 1, (3, 4)))), Case((rng.uniform(0.5, 1, (3, 4)), rng.uniform(0.5, 1, 4)))],
        ("float64", "float32"), (0, 1), check=_check,
    )
