# SPDX-License-Identifier: Apache-2.0
"""Losses of numbers against numbers."""

from __future__ import annotations

import numpy as np
from loss_record import REDUCTIONS, pair, reduced, reducing
from record import FLOATS, Bad, Case, Record
from scipy import stats

RECORDS: dict[str, Record] = {
    "mse_loss": pair(lambda x, t: (x - t) ** 2),
    "l1_loss": pair(lambda x, t: np.abs(x - t)),
    "smooth_l1_loss": pair(
        lambda x, t, beta=1.0: np.where(np.abs(x - t) < beta, (x - t) ** 2 / (2 * beta), np.abs(x - t) - beta / 2),
        calls=({}, {"beta": 0.5}),
        bad=(Bad(ValueError, (np.ones(2), np.ones(2)), {"beta": -1.0}),),
    ),
    "huber_loss": pair(
        lambda x, t, delta=1.0: np.where(np.abs(x - t) <= delta, (x - t) ** 2 / 2, delta * (np.abs(x - t) - delta / 2)),
        calls=({}, {"delta": 0.5}),
        bad=(Bad(ValueError, (np.ones(2), np.ones(2)), {"delta": 0.0}),),
    ),
}


def _poisson(x, t, log_input=True, full=False, eps=1e-8):
    y = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    if full:
        safe = np.where(t > 1, t, 1.0)
        y = y + np.where(t > 1, safe * np.log(safe) - safe + 0.5 * np.log(2 * np.pi * safe), 0)
    return y


RECORDS["poisson_nll_loss"] = pair(
    _poisson,
    0.1,
    2.0,
    0.5,
    5.0,
    calls=({}, {"full": True}, {"log_input": False}, {"log_input": False, "full": True, "eps": 1e-3}),
    size=16.0,  # exp's 8 and the target's logarithms
)


def _gaussian(x, t, var, full=False, eps=1e-6):
    v = np.maximum(var if var.ndim in (0, x.ndim) else var[..., None], eps)
    y = -stats.norm.logpdf(t, x, np.sqrt(v))
    return y if full else y - 0.5 * np.log(2 * np.pi)


def _straight_through(tg, device):
    """The gradient of the variance is the one at max(var, eps), also below eps."""
    x, t = (tg.tensor([v], dtype=tg.float64, device=device) for v in (1.0, 3.0))
    for value in (0.25, 0.75):
        var = tg.tensor([value], dtype=tg.float64, device=device, requires_grad=True)
        tg.gaussian_nll_loss(x, t, var, eps=0.5).backward()
        v = max(value, 0.5)
        np.testing.assert_allclose(var.grad.cpu().numpy(), [0.5 / v - 2.0 / v**2], rtol=1e-14)


RECORDS["gaussian_nll_loss"] = Record(
    reducing(_gaussian),
    lambda rng: (
        [
            Case(
                (rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.uniform(0.5, 2, shape)),
                {"reduction": r, "full": shape == (3, 4)},
            )
            for r in REDUCTIONS
            for shape in ((3, 4), (3, 1), (3,), ())
        ]
        + [Case((rng.normal(size=5), rng.normal(size=5), rng.uniform(0.1, 2, 5)), {"eps": 0.5}, smooth=False)]
    ),
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size,
    scale=lambda x, t, var, reduction="mean", **a: reduced((np.abs(x) + np.abs(t)) ** 2 / var.min() + 4, reduction),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), {}),
        Bad(ValueError, (np.ones((2, 3)), np.ones((3, 2)), np.ones((2, 3))), {}),
        Bad(ValueError, (np.ones(3), np.ones(3), np.ones(3)), {"eps": 0.0}),
        Bad(TypeError, (np.array([1]), np.array([1]), np.array([1])), {}),
    ),
    check=_straight_through,
)
