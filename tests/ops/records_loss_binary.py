# SPDX-License-Identifier: Apache-2.0
"""Losses of probabilities."""

from __future__ import annotations

import numpy as np
from loss_record import REDUCTIONS, pair, reduced, reducing
from record import FLOATS, Bad, Case, Record
from scipy import special

RECORDS: dict[str, Record] = {}


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def _bce(x, t, w=None):
    return -(1 if w is None else w) * (special.xlogy(t, x) + special.xlog1py(1 - t, -x))


def _logits(x, t, w=None, pos_weight=None):
    y = -(t * (1 if pos_weight is None else pos_weight) * log_sigmoid(x) + (1 - t) * log_sigmoid(-x))
    return y if w is None else y * w


def _weighted_cases(rng, low, high, *weights):
    """x [3, 4] with weights of shapes that broadcast to it (None: left out)."""
    return [
        Case(
            (
                rng.uniform(low, high, (3, 4)),
                rng.uniform(0, 1, (3, 4)),
                *(None if s is None else rng.uniform(0.5, 2, s) for s in shapes),
            ),
            {"reduction": r},
        )
        for r in REDUCTIONS
        for shapes in weights
    ]


def _magnitude(x, t, *weights, reduction="mean", **a):
    return reduced((np.abs(x) * 4 + np.abs(t) * 4 + 8) * (4 if weights else 1), reduction)


def _weighted_bad(n):
    none = (None,) * n
    return (
        Bad(ValueError, (np.ones(2), np.ones(3), *none), {}),
        Bad(ValueError, (np.ones(2), np.ones(2), *none), {"reduction": "avg"}),
        Bad(TypeError, (np.array([1]), np.array([1]), *none), {}),
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3)), *none[1:], np.ones(2)), {}),
        Bad(ValueError, (np.ones(3), np.ones(3), *none[1:], np.ones((1, 3))), {}),
    )


def _certain(tg, device):
    """Logarithms of 0 count as -100."""
    x = tg.tensor([0.0, 1.0, 0.0, 1.0], device=device)
    t = tg.tensor([0.0, 1.0, 1.0, 0.0], device=device)
    assert tg.binary_cross_entropy(x, t, reduction="none").tolist() == [0.0, 0.0, 100.0, 100.0]


RECORDS["binary_cross_entropy"] = Record(
    reducing(_bce),
    lambda rng: _weighted_cases(rng, 0.1, 0.9, (None,), ((4,),), ((3, 1),), ((),)),
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size,
    scale=_magnitude,
    bad=_weighted_bad(1),
    check=_certain,
)


def _extreme(tg, device):
    x = tg.tensor([1000.0, -1000.0, 1000.0, -1000.0], device=device)
    t = tg.tensor([1.0, 0.0, 0.0, 1.0], device=device)
    assert tg.binary_cross_entropy_with_logits(x, t, reduction="none").tolist() == [0.0, 0.0, 1000.0, 1000.0]


RECORDS["binary_cross_entropy_with_logits"] = Record(
    reducing(_logits),
    lambda rng: _weighted_cases(
        rng, -3, 3, (None, None), ((4,), None), (None, (4,)), ((3, 4), (3, 1)), ((1,), ()), ((), (3, 4))
    ),
    FLOATS,
    (0, 1, 2, 3),
    length=lambda c: c.inputs[0].size,
    scale=_magnitude,
    bad=_weighted_bad(2),
    check=_extreme,
)


def _focal(x, t, alpha=0.25, gamma=2.0):
    p = special.expit(x)
    right = p * t + (1 - p) * (1 - t)
    y = _logits(x, t) * (1 - right) ** gamma
    return y if alpha < 0 else y * (alpha * t + (1 - alpha) * (1 - t))


focal = pair(
    _focal,
    -3,
    3,
    0,
    1,
    calls=({}, {"alpha": -1.0}, {"gamma": 0.0}, {"gamma": 1.0, "alpha": 0.6}, {"gamma": 2.5}),
)
RECORDS["sigmoid_focal_loss"] = focal
RECORDS["soft_margin_loss"] = pair(lambda x, t: np.logaddexp(0, -t * x), target=(-1.0, 1.0), grad=(0,))
RECORDS["multilabel_soft_margin_loss"] = Record(
    reducing(lambda x, t, w=None: _logits(x, t, w).mean(-1)),
    lambda rng: [
        *_weighted_cases(rng, -3, 3, (None,), ((4,),)),
        Case((rng.normal(size=4), rng.uniform(0, 1, 4), None)),
    ],
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size,
    scale=lambda x, t, *w, reduction="mean": reduced(np.abs(x).max(-1) * 16 + 32, reduction),
    bad=(*_weighted_bad(1), Bad(ValueError, (np.array(1.0), np.array(1.0), None), {})),
)


def _kl(x, t, reduction="mean", log_target=False):
    y = np.exp(t) * (t - x) if log_target else special.xlogy(t, t) - t * x
    return np.asarray(y.sum() / len(x)) if reduction == "batchmean" else reduced(y, reduction)


kl = pair(_kl, -2, 0, 0.1, 1, bad=(Bad(ValueError, (np.array(1.0), np.array(1.0)), {"reduction": "batchmean"}),))
kl.oracle = _kl
kl.cases = lambda rng: (
    [
        Case((rng.uniform(-2, 0, (3, 4)), rng.uniform(*span, (3, 4))), {"reduction": r, "log_target": log_target})
        for r in (*REDUCTIONS, "batchmean")
        for log_target, span in ((False, (0.1, 1)), (True, (-2, 0)))
    ]
    + [Case((np.array([-1.0, -2.0]), np.array([0.0, 1.0])), {"reduction": "none"}, smooth=False)]
)
kl.scale = lambda x, t, reduction="mean", **a: reduced(
    np.abs(x) * 4 + np.abs(t) * 4 + 8, "sum" if reduction == "batchmean" else reduction
)
RECORDS["kl_div"] = kl
