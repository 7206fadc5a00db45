# SPDX-License-Identifier: Apache-2.0
"""CTC: the oracle enumerates all C^T alignments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from loss_record import REDUCTIONS, reduced
from record import FLOATS, Bad, Case, Record
from scipy import special

RECORDS: dict[str, Record] = {}


def collapse(path, blank):
    """Equal neighbours count once, blanks not at all."""
    return [k for k, _ in itertools.groupby(path) if k != blank]


def _one(log_p, target, blank):
    steps, classes = log_p.shape
    scores = [
        sum(log_p[t, k] for t, k in enumerate(path))
        for path in itertools.product(range(classes), repeat=steps)
        if collapse(path, blank) == list(target)
    ]
    return -special.logsumexp(scores) if scores else np.inf


def _ctc(log_p, targets, lengths, target_lengths, reduction="mean", blank=0, zero_infinity=False):
    loss = np.array(
        [
            _one(log_p[:t, i], targets[i, :s], blank) if t else (0.0 if s == 0 else np.inf)
            for i, (t, s) in enumerate(zip(lengths, target_lengths))
        ]
    )
    if zero_infinity:
        loss = np.where(np.isinf(loss), 0.0, loss)
    if reduction == "mean":
        loss = loss / np.maximum(target_lengths, 1)
    return reduced(loss, reduction)


def _scores(rng, *shape):
    return special.log_softmax(rng.normal(size=shape), -1)


# Repeated labels, targets of no label, inputs shorter than the batch's, and one that does not fit.
TARGETS = np.array([[1, 2, -7], [2, 2, 1], [1, 1, 9], [0, 0, 0], [2, 1, 2]])
LENGTHS, TARGET_LENGTHS = np.array([5, 5, 4, 3, 3]), np.array([2, 3, 2, 0, 3])
FIXED = (1, 2, 3)


def _cases(rng):
    labels = np.where(np.arange(3) < TARGET_LENGTHS[:, None], TARGETS, 0)
    fit = [Case((_scores(rng, 5, 5, 3), labels, LENGTHS, TARGET_LENGTHS), {"reduction": r}, FIXED) for r in REDUCTIONS]
    other = np.array([[0, 1], [1, 0]])
    short = (_scores(rng, 4, 2, 3), np.array([[1, 1], [2, 2]]), np.array([2, 4]), np.array([2, 2]))
    return [
        *fit,
        Case((_scores(rng, 4, 2, 4), other, np.array([4, 3]), np.array([2, 1])), {"blank": 3}, FIXED),
        Case((rng.normal(size=(3, 2, 2)), np.array([[1], [1]]), np.array([3, 1]), np.array([1, 0])), {}, FIXED),
        Case((_scores(rng, 1, 2, 2), np.zeros((2, 0), np.int64), np.array([1, 0]), np.array([0, 0])), {}, FIXED),
        Case(short, {"reduction": "none"}, FIXED, smooth=False),
        Case(short, {"zero_infinity": True}, FIXED),
    ]


def _edges(tg, device):
    """No alignment: inf and a gradient of 0. Probabilities of 0 on the way; labels and lengths out of range."""

    def at(x, dtype):
        return tg.tensor(np.asarray(x), dtype=dtype, device=device)

    x = at(np.log(np.full((2, 1, 2), 0.5)), tg.float64).requires_grad_()
    one = at([2], tg.int64)
    loss = tg.ctc_loss(x, at([[1, 1]], tg.int64), one, one)
    loss.backward()
    assert loss.item() == np.inf and not x.grad.cpu().numpy().any()

    with np.errstate(divide="ignore"):
        p = np.log(np.array([[[0.5, 0.5]], [[0.0, 1.0]], [[1.0, 0.0]]]))
    x = at(p, tg.float64).requires_grad_()
    loss = tg.ctc_loss(x, at([[1]], tg.int64), at([3], tg.int64), at([1], tg.int64))
    loss.backward()
    assert loss.item() == 0.0  # paths 0 1 0 and 1 1 0, of probability 1/2 each
    np.testing.assert_allclose(x.grad.cpu().numpy(), [[[-0.5, -0.5]], [[0, -1]], [[-1, 0]]], atol=1e-15)
    for label, steps, labels in ((2, 3, 1), (-1, 3, 1), (1, 4, 1), (1, 3, 2)):
        with pytest.raises(IndexError):
            tg.ctc_loss(x.detach(), at([[label]], tg.int64), at([steps], tg.int64), at([labels], tg.int64)).item()


RECORDS["ctc_loss"] = Record(
    _ctc,
    _cases,
    FLOATS,
    (0,),
    length=lambda c: c.inputs[0].shape[0],
    scale=lambda x, targets, lengths, *a, reduction="mean", **k: (
        (np.abs(x).max() * len(x) + 1) * (len(lengths) if reduction == "sum" else 1)
    ),
    bad=(
        Bad(ValueError, (np.ones((3, 2)), np.ones((2, 1), int), np.array([3, 3]), np.array([1, 1])), {}),
        Bad(ValueError, (np.ones((3, 2, 2)), np.ones((3, 1), int), np.array([3, 3]), np.array([1, 1])), {}),
        Bad(ValueError, (np.ones((3, 2, 2)), np.ones((2, 1), int), np.array([3]), np.array([1, 1])), {}),
        Bad(ValueError, (np.ones((3, 2, 2)), np.ones((2, 1), int), np.array([3, 3]), np.array([1, 1])), {"blank": 2}),
        Bad(ValueError, (np.ones((0, 2, 2)), np.ones((2, 1), int), np.array([3, 3]), np.array([1, 1])), {}),
        Bad(TypeError, (np.ones((3, 2, 2)), np.ones((2, 1)), np.array([3, 3]), np.array([1, 1])), {}),
    ),
    check=_edges,
)
for part in ("ctc_step", "ctc_scan", "ctc_scan_backward"):
    RECORDS[part] = Record(covered_by="ctc_loss")
