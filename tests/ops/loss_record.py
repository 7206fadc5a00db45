# SPDX-License-Identifier: Apache-2.0
"""What the records of losses share."""

from __future__ import annotations

import numpy as np
from record import FLOATS, Bad, Case, Record

REDUCTIONS = ("mean", "sum", "none")


def reduced(v, reduction):
    return np.asarray(v.mean() if reduction == "mean" else v.sum() if reduction == "sum" else v)


def reducing(each):
    """The oracle of a loss with `reduction` from its elements."""
    return lambda *inputs, reduction="mean", **attrs: reduced(each(*inputs, **attrs), reduction)


def pair(f, low=-2.0, high=2.0, tlow=-2.0, thigh=2.0, calls=({},), grad=(0, 1), size=8.0, bad=(), target=None):
    """The record of a loss of x and a target of its shape, f(x, target); its elements are at most `size` plus four times
    the inputs."""

    def cases(rng):
        return [
            Case(
                (
                    rng.uniform(low, high, shape),
                    rng.uniform(tlow, thigh, shape) if target is None else rng.choice(target, shape),
                ),
                {**a, "reduction": r},
            )
            for a in calls
            for r in REDUCTIONS
            for shape in ((3, 4), (2, 3, 2))
        ]

    return Record(
        reducing(f),
        cases,
        FLOATS,
        grad,
        length=lambda c: c.inputs[0].size,
        scale=lambda x, t, reduction="mean", **a: reduced(np.abs(x) * 4 + np.abs(t) * 4 + size, reduction),
        bad=(
            Bad(ValueError, (np.ones(2), np.ones(3)), {}),
            Bad(ValueError, (np.ones(2), np.ones(2)), {"reduction": "avg"}),
            Bad(TypeError, (np.array([1]), np.array([1])), {}),
            *bad,
        ),
    )
