# SPDX-License-Identifier: Apache-2.0
"""Losses of classes."""

from __future__ import annotations

import numpy as np
from loss_record import REDUCTIONS, reduced
from record import FLOATS, Bad, Case, Record
from scipy import special

RECORDS: dict[str, Record] = {}


def _classes(log_p, target, weight, reduction, ignore_index, smoothing):
    axis = 0 if log_p.ndim == 1 else 1
    counts = target != ignore_index
    safe = np.where(counts, target, 0)
    w = np.ones(log_p.shape[axis]) if weight is None else weight
    picked = np.take_along_axis(log_p, np.expand_dims(safe, axis), axis).squeeze(axis) * w[safe]
    smooth = (log_p * w.reshape(-1, *(1,) * (log_p.ndim - axis - 1))).sum(axis) / log_p.shape[axis]
    loss = np.where(counts, -(1 - smoothing) * picked - smoothing * smooth, 0)
    return np.asarray(
        loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.sum() / (w[safe] * counts).sum()
    )


def _cross_entropy(x, target, weight=None, reduction="mean", ignore_index=-100, label_smoothing=0.0):
    axis = 0 if x.ndim == 1 else 1
    log_p = special.log_softmax(x, axis)
    if target.dtype.kind == "i":
        return _classes(log_p, target, weight, reduction, ignore_index, label_smoothing)
    soft = target * (1 - label_smoothing) + label_smoothing / x.shape[axis]
    w = 1.0 if weight is None else weight.reshape(-1, *(1,) * (x.ndim - axis - 1))
    return reduced(-(w * soft * log_p).sum(axis), reduction)


def n(rng, *shape):
    return rng.normal(size=shape)


def _class_cases(rng, smoothing):
    more = [{"label_smoothing": 0.1}] if smoothing else []
    return (
        [
            Case((n(rng, 6, 4), rng.integers(0, 4, 6), None), {"reduction": r, **a}, (1,))
            for r in REDUCTIONS
            for a in ({}, *more)
        ]
        + [
            Case((n(rng, 2, 4, 3), rng.integers(0, 4, (2, 3)), rng.uniform(0.5, 2, 4)), {**a}, (1,))
            for a in ({}, *more)
        ]
        + [
            Case((n(rng, 4, 3), np.array([0, -1, 2, -1]), rng.uniform(0.5, 2, 3)), {"ignore_index": -1, **a}, (1,))
            for a in ({}, *more)
        ]
        + [Case((n(rng, 5), np.array(3), None), {}, (1,))]
    )


def _soft_cases(rng):
    return [
        Case(
            (n(rng, *s), special.softmax(n(rng, *s), 1), rng.uniform(0.5, 2, s[1]) if weighted else None),
            {"reduction": r, "label_smoothing": 0.2 * weighted},
        )
        for s, weighted in (((5, 4), False), ((2, 3, 4), True))
        for r in REDUCTIONS
    ] + [Case((n(rng, 5), rng.uniform(0, 1, 5), None))]


def _scale(x, t, w=None, reduction="mean", **a):
    return (np.abs(x).max() + 1) * 2 * (t.size if reduction == "sum" else 1)


CLASS_BAD = (
    Bad(ValueError, (np.ones((2, 3)), np.array([0]), None), {}),
    Bad(ValueError, (np.ones((2, 3)), np.array([0, 1]), np.ones(2)), {}),
    Bad(ValueError, (np.ones((2, 3)), np.array([0, 1]), None), {"reduction": "avg"}),
    Bad(ValueError, (np.array(1.0), np.array(0), None), {}),
    Bad(TypeError, (np.ones((2, 3)), np.array([True, False]), None), {}),
)
RECORDS["cross_entropy"] = Record(
    _cross_entropy,
    lambda rng: _class_cases(rng, True) + _soft_cases(rng),
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size,
    scale=_scale,
    bad=(
        *CLASS_BAD,
        Bad(ValueError, (np.ones((2, 3)), np.array([0, 1]), None), {"label_smoothing": 2.0}),
        Bad(ValueError, (np.ones((2, 3)), np.ones(2), None), {}, ("expected", "got", "indices are integers")),
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3)), None), {"ignore_index": 1}),
    ),
)
RECORDS["nll_loss"] = Record(
    lambda x, t, w=None, reduction="mean", ignore_index=-100: _classes(x, t, w, reduction, ignore_index, 0),
    lambda rng: _class_cases(rng, False),
    FLOATS,
    (0, 2),
    length=lambda c: c.inputs[0].size,
    scale=_scale,
    bad=(*CLASS_BAD, Bad(TypeError, (np.ones((2, 3)), np.ones((2, 3)), None), {})),
)


def _no_class(tg, device):
    """A target that is no class is an IndexError, where it does not wait for the device; what is ignored may be inf."""
    x = tg.tensor(np.array([[0.0, -np.inf], [0.0, 0.0]]), device=device)
    loss = tg.nll_loss(x, tg.tensor(np.array([1, 0]), device=device), ignore_index=1)
    assert loss.item() == 0.0


RECORDS["nll_loss"].check = _no_class
