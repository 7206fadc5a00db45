# SPDX-License-Identifier: Apache-2.0
"""Recurrent scans: the oracle runs every sequence by itself, one step after the other."""

from __future__ import annotations

import numpy as np
from record import FLOATS, Bad, Case, Record
from scipy.special import expit

RECORDS: dict[str, Record] = {}
SIZES = ((2, 2, 2), (3, 2, 2, 1), (1,), (2, 1))


def _sequences(step, outputs, sizes, reverse):
    """step(row, n, first) for the packed rows of every sequence n, in its order; fills `outputs` with what it returns."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for n in range(sizes[0]):
        rows = [start + n for start, size in zip(starts, sizes) if n < size]
        last = None
        for row in rows[::-1] if reverse else rows:
            last = step(row, n, last)
            for out, value in zip(outputs, last):
                out[row] = value
    return tuple(outputs)


def _lstm(gates, h0, c0, w_hh, w_hr=None, batch_sizes=(), reverse=False):
    hidden = c0.shape[1]

    def step(row, n, last):
        h, c = (h0[n], c0[n]) if last is None else last
        i, f, g, o = np.split(gates[row] + w_hh @ h, 4)
        c = expit(f) * c + expit(i) * np.tanh(g)
        h = expit(o) * np.tanh(c)
        return (h if w_hr is None else w_hr @ h), c

    return _sequences(step, [np.zeros((len(gates), h0.shape[1])), np.zeros((len(gates), hidden))], batch_sizes, reverse)


def _gru(gates, h0, w_hh, b_hh=None, batch_sizes=(), reverse=False):
    def step(row, n, last):
        h = h0[n] if last is None else last[0]
        (xr, xz, xn), (hr, hz, hn) = np.split(gates[row], 3), np.split(w_hh @ h + (0 if b_hh is None else b_hh), 3)
        r, z = expit(xr + hr), expit(xz + hz)
        return ((1 - z) * np.tanh(xn + r * hn) + z * h,)

    return _sequences(step, [np.zeros((len(gates), h0.shape[1]))], batch_sizes, reverse)[0]


def _rnn(gates, h0, w_hh, batch_sizes=(), reverse=False, nonlinearity="tanh"):
    f = np.tanh if nonlinearity == "tanh" else lambda v: np.maximum(v, 0)

    def step(row, n, last):
        return (f(gates[row] + w_hh @ (h0[n] if last is None else last[0])),)

    return _sequences(step, [np.zeros_like(gates)], batch_sizes, reverse)[0]


def n(rng, *shape):
    return rng.normal(size=shape)


def _cases(gates, inputs, options=({},)):
    """Cases of every packing and direction; inputs(rng, N) gives what follows the gates."""

    def cases(rng):
        return [
            Case(
                (n(rng, sum(sizes), gates), *inputs(rng, sizes[0], k)),
                {"batch_sizes": sizes, "reverse": reverse, **option},
            )
            for sizes in SIZES
            for reverse in (False, True)
            for k, option in enumerate(options)
        ]

    return cases


def _bad(gates, *rest):
    sizes = {"batch_sizes": (2, 1)}
    g = np.ones((3, gates))
    return (
        Bad(ValueError, (g, *rest), {"batch_sizes": (1, 2)}),
        Bad(ValueError, (g, *rest), {"batch_sizes": (2, 2)}),
        Bad(ValueError, (g, np.ones((1, 2)), *rest[1:]), sizes),
        Bad(ValueError, (np.ones((3, gates + 1)), *rest), sizes),
        Bad(ValueError, (np.ones(3), *rest), sizes),
        Bad(TypeError, (g.astype(np.int64), *rest), sizes),
    )


RECORDS["lstm_scan"] = Record(
    _lstm,
    _cases(
        12,
        lambda rng, batch, k: (
            (n(rng, batch, 3), n(rng, batch, 3), n(rng, 12, 3), None)
            if k == 0
            else (n(rng, batch, 2), n(rng, batch, 3), n(rng, 12, 2), n(rng, 2, 3))
        ),
        ({}, {}),
    ),
    FLOATS,
    (0, 1, 2, 3, 4),
    length=lambda c: 4 * len(c.attrs["batch_sizes"]),
    scale=lambda g, h0, c0, w, wr=None, batch_sizes=(), reverse=False: (
        8.0 * (1 if wr is None else 1 + np.abs(wr).sum()) * (1 + np.abs(w).max()) ** len(batch_sizes)
    ),
    bad=(
        *_bad(8, np.ones((2, 2)), np.ones((2, 2)), np.ones((8, 2)), None),
        Bad(
            ValueError,
            (np.ones((1, 8)), np.ones((1, 3)), np.ones((1, 2)), np.ones((8, 3)), None),
            {"batch_sizes": (1,)},
        ),
        Bad(
            ValueError,
            (np.ones((1, 8)), np.ones((1, 3)), np.ones((1, 2)), np.ones((8, 3)), np.ones((2, 3))),
            {"batch_sizes": (1,)},
        ),
        Bad(
            ValueError,
            (np.ones((1, 8)), np.ones((1, 2)), np.ones((1, 3)), np.ones((8, 2)), None),
            {"batch_sizes": (1,)},
        ),
    ),
)
RECORDS["gru_scan"] = Record(
    _gru,
    _cases(
        9,
        lambda rng, batch, k: (n(rng, batch, 3), n(rng, 9, 3), n(rng, 9) if k else None),
        ({}, {}),
    ),
    FLOATS,
    (0, 1, 2, 3),
    length=lambda c: 4 * len(c.attrs["batch_sizes"]),
    scale=lambda g, h0, w, b=None, batch_sizes=(), reverse=False: 8.0 * (1 + np.abs(w).max()) ** len(batch_sizes),
    bad=(
        *_bad(6, np.ones((2, 2)), np.ones((6, 2)), None),
        Bad(ValueError, (np.ones((1, 6)), np.ones((1, 2)), np.ones((6, 2)), np.ones(2)), {"batch_sizes": (1,)}),
        Bad(ValueError, (np.ones((1, 6)), np.ones((1, 3)), np.ones((6, 3)), None), {"batch_sizes": (1,)}),
    ),
)
RECORDS["rnn_scan"] = Record(
    _rnn,
    _cases(
        3,
        lambda rng, batch, k: (n(rng, batch, 3), n(rng, 3, 3)),
        ({}, {"nonlinearity": "relu"}),
    ),
    FLOATS,
    (0, 1, 2),
    length=lambda c: 4 * len(c.attrs["batch_sizes"]),
    scale=lambda g, h0, w, batch_sizes=(), reverse=False, **a: (
        (np.abs(g).max() + np.abs(h0).max() + 1) * (1 + np.abs(w).sum(1).max()) ** len(batch_sizes)
    ),
    bad=(
        *_bad(2, np.ones((2, 2)), np.ones((2, 2))),
        Bad(
            ValueError,
            (np.ones((1, 2)), np.ones((1, 2)), np.ones((2, 2))),
            {"batch_sizes": (1,), "nonlinearity": "elu"},
        ),
    ),
)
RECORDS["lstm_cell"] = RECORDS["lstm_scan_backward"] = Record(covered_by="lstm_scan")
RECORDS["gru_cell"] = Record(covered_by="gru_scan")
RECORDS["state_scan_backward"] = Record(covered_by="gru_scan rnn_scan")
