# SPDX-License-Identifier: Apache-2.0
"""Borders: numpy.pad is the oracle."""
from __future__ import annotations

import numpy as np
from record import REAL, Bad, Case, Record

RECORDS: dict[str, Record] = {}
NUMPY_MODE = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "edge": "edge", "circular": "wrap", "wrap": "wrap"}


def _pad(x, padding, value=0.0, mode="constant"):
    r = x.ndim
    if r == 0:
        return x
    crop = tuple(slice(max(-padding[i], 0), x.shape[i] - max(-padding[r + i], 0)) for i in range(r))
    pairs = [(max(padding[i], 0), max(padding[r + i], 0)) for i in range(r)]
    if mode == "constant":
        return np.pad(x[crop], pairs, constant_values=value)
    if NUMPY_MODE[mode] == "wrap":  # what is cropped does not come round again
        return np.pad(x[crop], pairs, "wrap")
    wide = np.pad(x, pairs, NUMPY_MODE[mode])
    return wide[tuple(slice(max(-padding[i], 0), n - max(-padding[r + i], 0)) for i, n in enumerate(wide.shape))]


CALLS = [
    {"padding": (0, 1, 0, 0, 2, 0)},
    {"padding": (1, 0, 2, 0, 0, 3), "value": 7.0},
    {"padding": (0,) * 6},
    {"padding": (-1, 2, 0, 0, -1, -2)},
    *({"padding": (1, 0, 3, 0, 2, 1), "mode": m} for m in NUMPY_MODE),
    {"padding": (5, 4, 0, 1, 7, 9), "mode": "circular"},
    {"padding": (3, 0, 8, 3, 6, 0), "mode": "reflect"},
    {"padding": (-1, 2, 0, 1, -1, -2), "mode": "replicate"},
    {"padding": (0, 0, 0, 0, 0, 0), "mode": "reflect"},
    {"padding": (-1, 2, -2, 3, -1, 1), "mode": "circular"},
]
ONE = np.ones((1, 2))
RECORDS["pad"] = Record(
    _pad,
    lambda rng: [Case((rng.normal(size=(2, 3, 4)),), a) for a in CALLS]
    + [Case((rng.normal(size=(0, 2)),), {"padding": (1, 0, 0, 1), "value": 2.0}), Case((rng.normal(size=()),), {"padding": ()})],
    REAL,
    (0,),
    bad=(
        Bad(ValueError, (ONE,), {"padding": (1, 1)}),
        Bad(ValueError, (ONE,), {"padding": (-2, 0, 0, 0)}),
        Bad(ValueError, (ONE,), {"padding": (1, 0, 0, 0), "mode": "reflect"}),
        Bad(ValueError, (np.ones((0, 2)),), {"padding": (1, 0, 0, 0), "mode": "circular"}),
        Bad(ValueError, (ONE,), {"padding": (1, 0, 0, 0), "mode": "mirror"}),
        Bad(ValueError, (ONE,), {"padding": (-1, 0, 2, 0), "mode": "circular"}),
    ),
)
