# SPDX-License-Identifier: Apache-2.0
"""Losses of margins, each from its definition, element by element where that is clearer."""

from __future__ import annotations

import numpy as np
from loss_record import REDUCTIONS, pair, reduced, reducing
from record import FLOATS, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def n(rng, *shape):
    return rng.normal(size=shape)


RECORDS["hinge_embedding_loss"] = pair(
    lambda x, t, margin=1.0: np.where(t == 1, x, np.maximum(0, margin - x)),
    calls=({}, {"margin": 0.5}),
    target=(-1.0, 1.0),
    grad=(0,),
)
RECORDS["margin_ranking_loss"] = Record(
    reducing(lambda a, b, t, margin=0.0: np.maximum(0, margin - t * (a - b))),
    lambda rng: [
        Case((n(rng, 3, 4), n(rng, 3, 4), rng.choice([-1.0, 1.0], (3, 4))), {"margin": m, "reduction": r})
        for r in REDUCTIONS
        for m in (0.0, 0.7)
    ],
    FLOATS,
    (0, 1),
    length=lambda c: c.inputs[0].size,
    scale=lambda a, b, t, reduction="mean", margin=0.0: reduced(np.abs(a) + np.abs(b) + margin, reduction),
    bad=(
        Bad(ValueError, (np.ones(2), np.ones(3), np.ones(2)), {}),
        Bad(ValueError, (np.ones(2), np.ones(2), np.ones(1)), {}),
        Bad(ValueError, (np.ones(2), np.ones(2), np.ones(2)), {"reduction": "avg"}),
        Bad(TypeError, (np.array([1]), np.array([1]), np.array([1])), {}),
    ),
)


def _rows(f, x, target):
    """f(row, target of the row) of [N, C], or of the one row [C]."""
    return np.asarray([f(a, t) for a, t in zip(x, target)]) if x.ndim == 2 else np.asarray(f(x, target))


def _multi(x, target, weight=None, margin=1.0, p=1):
    def row(v, t):
        others = [max(0, margin - v[t] + v[i]) ** p for i in range(len(v)) if i != t]
        return sum(others) / len(v) * (1 if weight is None else weight[t])

    return _rows(row, x, target)


RECORDS["multi_margin_loss"] = Record(
    reducing(_multi),
    lambda rng: (
        [
            Case(
                (n(rng, 5, 4), rng.integers(0, 4, 5), rng.uniform(0.5, 2, 4) if p == 2 else None),
                {"p": p, "margin": 0.5 * p, "reduction": r},
                (1,),
            )
            for r in REDUCTIONS
            for p in (1, 2)
        ]
        + [Case((n(rng, 4), np.array(2), None), {}, (1,))]
    ),
    FLOATS,
    (0, 2),
    length=lambda c: c.inputs[0].size,
    scale=lambda x, t, w=None, reduction="mean", **a: (
        2 * (2 * np.abs(x).max() + 2) ** 2 * (t.size if reduction == "sum" else 1)
    ),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.array([0]), None), {}),
        Bad(ValueError, (np.ones((2, 3, 1)), np.array([0, 1]), None), {}),
        Bad(ValueError, (np.ones((2, 3)), np.array([0, 1]), np.ones(2)), {}),
        Bad(ValueError, (np.ones((2, 3)), np.array([0, 1]), None), {"p": 3}),
        Bad(ValueError, (np.ones((2, 3)), np.array([0, 1]), None), {"reduction": "avg"}),
        Bad(TypeError, (np.ones((2, 3)), np.ones(2), None), {}),
    ),
)


def _multilabel(x, target):
    def row(v, labels):
        ends = np.flatnonzero(labels < 0)
        right = labels[: ends[0]] if len(ends) else labels
        wrong = [i for i in range(len(v)) if i not in right]
        return sum(max(0, 1 - (v[t] - v[i])) for t in right for i in wrong) / len(v)

    return _rows(row, x, target)


LABELS = np.array([[0, 2, -1, 3], [-1, 1, 2, 3], [3, 1, 2, 0], [1, -1, -1, -1], [2, 2, -1, 0]])
RECORDS["multilabel_margin_loss"] = Record(
    reducing(_multilabel),
    lambda rng: (
        [Case((n(rng, 5, 4), LABELS), {"reduction": r}, (1,)) for r in REDUCTIONS]
        + [Case((n(rng, 4), LABELS[0]), {}, (1,))]
    ),
    FLOATS,
    (0,),
    length=lambda c: c.inputs[0].size,
    scale=lambda x, t, reduction="mean": 4 * (2 * np.abs(x).max() + 1) * (5 if reduction == "sum" else 1),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.array([0, 1])), {}),
        Bad(ValueError, (np.ones((2, 3, 1)), np.zeros((2, 3, 1), np.int64)), {}),
        Bad(ValueError, (np.ones((1, 2)), np.array([[0, 1]])), {"reduction": "avg"}),
        Bad(TypeError, (np.ones((2, 3)), np.ones((2, 3))), {}),
    ),
)


def _cosine(a, b, t, margin=0.0):
    cos = (a * b).sum(-1) / np.sqrt(((a * a).sum(-1) + 1e-12) * ((b * b).sum(-1) + 1e-12))
    return np.where(t == 1, 1 - cos, np.maximum(0, cos - margin))


RECORDS["cosine_embedding_loss"] = Record(
    reducing(_cosine),
    lambda rng: (
        [
            Case((n(rng, 5, 4), n(rng, 5, 4), rng.choice([-1.0, 1.0], 5)), {"margin": m, "reduction": r})
            for r in REDUCTIONS
            for m in (0.0, 0.3)
        ]
        + [Case((n(rng, 4), n(rng, 4), np.array(1.0)))]
    ),
    FLOATS,
    (0, 1),
    length=lambda c: c.inputs[0].size,
    scale=lambda a, b, t, reduction="mean", margin=0.0: 1.5 * (t.size if reduction == "sum" else 1),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 4)), np.ones(2)), {}),
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), {}),
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3)), np.ones(2)), {"reduction": "avg"}),
    ),
)


def _triplet(a, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False):
    def d(u, v):
        return np.linalg.norm(u - v + eps, p, -1)

    far = np.minimum(d(a, negative), d(positive, negative)) if swap else d(a, negative)
    return np.maximum(0, d(a, positive) - far + margin)


RECORDS["triplet_margin_loss"] = Record(
    reducing(_triplet),
    lambda rng: (
        [
            Case((n(rng, 5, 4), n(rng, 5, 4), n(rng, 5, 4)), {"reduction": r, **a})
            for r in REDUCTIONS
            for a in ({}, {"swap": True, "margin": 2.0}, {"p": 1.0, "eps": 0.01}, {"p": 3.0}, {"p": np.inf})
        ]
        + [Case((n(rng, 4), n(rng, 4), n(rng, 4)))]
    ),
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size,
    scale=lambda *x, reduction="mean", **a: (
        (4 * sum(np.abs(v).max() for v in x) + 2) * (len(x[0]) if reduction == "sum" else 1)
    ),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 4))), {}),
        Bad(ValueError, (np.array(1.0), np.array(1.0), np.array(1.0)), {}),
        Bad(ValueError, (np.ones(3), np.ones(3), np.ones(3)), {"p": 0.0}),
        Bad(ValueError, (np.ones(3), np.ones(3), np.ones(3)), {"reduction": "avg"}),
    ),
)
