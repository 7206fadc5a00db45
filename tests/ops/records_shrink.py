# SPDX-License-Identifier: Apache-2.0
"""Activations by pieces and gated units."""

from __future__ import annotations

import numpy as np
from record import FLOATS, Bad, Case, Record
from scipy import special

RECORDS: dict[str, Record] = {}
X = np.array([-40.0, -3.25, -1.1, -0.3, -0.01, 0.01, 0.3, 1.1, 3.25, 40.0])  # no kink, no rounding over one
EDGES = np.array([np.inf, -np.inf, 0.0, -0.0])


def piecewise(name, oracle, attrs=({},), scale=None, edges=EDGES, bad=()):
    RECORDS[name] = Record(
        oracle,
        [Case((X.copy(),), a) for a in attrs]
        + [Case((edges,), a, smooth=False) for a in attrs]
        + [Case((X.reshape(2, 5).copy(),), attrs[0])],
        FLOATS,
        (0,),
        scale=scale,
        bad=bad,
    )


piecewise(
    "hardtanh",
    lambda x, low=-1, high=1: np.clip(x, low, high),
    ({}, {"low": -0.5, "high": 2.0}),
    bad=(Bad(ValueError, (X,), {"low": 1.0, "high": 0.0}),),
)
piecewise(
    "threshold", lambda x, threshold, value: np.where(x > threshold, x, value), ({"threshold": 0.5, "value": -2.0},)
)
piecewise("hardshrink", lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0), ({}, {"lambd": 1.0}))
piecewise(
    "softshrink",
    lambda x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
    ({}, {"lambd": 1.0}),
    scale=lambda x, lambd=0.5: np.abs(x) + lambd,
)
piecewise("tanhshrink", lambda x: x - np.tanh(x), scale=np.abs)
piecewise("softsign", lambda x: x / (1 + np.abs(x)), edges=EDGES[2:])
piecewise(
    "celu",
    lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
    ({}, {"alpha": 1.5}),
    scale=lambda x, alpha=1.0: np.where(x > 0, x, alpha - alpha * np.expm1(np.minimum(x, 0) / alpha)),
    bad=(Bad(ValueError, (X,), {"alpha": 0.0}),),
)


def n(rng, *shape):
    return rng.normal(size=shape)


def prelu(x, weight):
    w = weight if x.ndim < 2 else weight.reshape(1, -1, *(1,) * (x.ndim - 2))
    return np.where(x > 0, x, w * x)


RECORDS["prelu"] = Record(
    prelu,
    lambda rng: [
        Case((n(rng, 2, 3, 4), n(rng, 3))),
        Case((n(rng, 2, 3, 2, 2), n(rng, 1))),
        Case((n(rng, 4), n(rng, 1))),
    ],
    FLOATS,
    (0, 1),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones(2)), {}),
        Bad(ValueError, (np.ones(3), np.ones(3)), {}),
        Bad(TypeError, (np.ones((2, 3)), np.ones(3, np.float32)), {}),
    ),
)


def gated(name, gate):
    def oracle(x, axis=-1):
        a, b = np.split(x, 2, axis)
        return gate(a, b)

    RECORDS[name] = Record(
        oracle,
        lambda rng: [Case((n(rng, 3, 4),)), Case((n(rng, 2, 6, 3) * 3,), {"axis": 1}), Case((n(rng, 0, 2),))],
        FLOATS,
        (0,),
        scale=lambda x, axis=-1: (
            np.abs(np.prod(np.split(x, 2, axis), 0)) if name != "glu" else np.abs(np.split(x, 2, axis)[0])
        ),
        bad=(
            Bad(ValueError, (np.ones((2, 3)),), {}),
            Bad(IndexError, (np.ones((2, 2)),), {"axis": 2}),
            Bad(TypeError, (np.ones(2, int),), {}),
        ),
    )


gated("glu", lambda a, b: a * special.expit(b))
gated("swiglu", lambda a, b: a * special.expit(a) * b)
gated("geglu", lambda a, b: a * special.ndtr(a) * b)
