# SPDX-License-Identifier: Apache-2.0
"""Windows and diagonals. The internal ops of slices and strides are run whole: through x[...] = v, as_strided and tg.jit."""
from __future__ import annotations

import numpy as np
from record import ALL, Bad, Case, Record

RECORDS: dict[str, Record] = {}


def _window(x, axis, size, step=1):
    y = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    return np.moveaxis(np.moveaxis(y, axis, 0)[::step], 0, axis)


RECORDS["sliding_window"] = Record(
    _window,
    lambda rng: [
        Case((rng.normal(size=(3, 6)),), a)
        for a in ({"axis": 1, "size": 3}, {"axis": 1, "size": 2, "step": 2}, {"axis": 0, "size": 3}, {"axis": 1, "size": 1, "step": 4})
    ],
    ALL,
    (0,),
    bad=(
        Bad(ValueError, (np.ones(3),), {"axis": 0, "size": 4}),
        Bad(ValueError, (np.ones(3),), {"axis": 0, "size": 0}),
        Bad(IndexError, (np.ones(3),), {"axis": 1, "size": 1}),
    ),
)


def _embed(x, offset=0, axis1=-2, axis2=-1):
    n = x.shape[-1] + abs(offset)
    y = np.zeros((*x.shape[:-1], n, n), x.dtype)
    for i in range(x.shape[-1]):
        y[..., i + max(-offset, 0), i + max(offset, 0)] = x[..., i]
    return np.moveaxis(y, (-2, -1), (axis1, axis2))


RECORDS["diag_embed"] = Record(
    _embed,
    lambda rng: [Case((rng.normal(size=(2, 3)),), a) for a in ({}, {"offset": 2}, {"offset": -1}, {"axis1": 0, "axis2": 2}, {"axis1": 2, "axis2": 0, "offset": 1})]
    + [Case((rng.normal(size=0),), {"offset": 1})],
    ALL,
    (0,),
    bad=(Bad(ValueError, (np.ones(()),), {}), Bad(ValueError, (np.ones(2),), {"axis1": 0, "axis2": 0}), Bad(IndexError, (np.ones(2),), {"axis1": 2})),
)


def _slices(tg, device):
    """Values, gradients and second gradients of x[slices] = v, against the same written with where."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(4, 5)), rng.normal(size=(2, 2))
    mask = np.zeros((4, 5), bool)
    mask[1::2, ::3] = True
    spread = np.zeros((4, 5))
    spread[1::2, ::3] = b

    def by_slices(x, v):
        y = x * 1.0
        y[1::2, ::3] = v * v
        return y

    def by_where(x, v):
        rows = tg.tensor(np.where(mask, np.cumsum(mask.ravel()).reshape(mask.shape) - 1, 0), device=device)
        return tg.where(tg.tensor(mask, device=device), (v * v).reshape((4,))[rows], x)

    found = []
    for f in (by_slices, by_where):
        x = tg.tensor(a, device=device, requires_grad=True)
        v = tg.tensor(b, device=device, requires_grad=True)
        y = f(x, v)
        first = tg.autograd.grad((y * y * y).sum(), [x, v], create_graph=True)
        second = tg.autograd.grad((first[0] * first[0]).sum() + (first[1] * first[1]).sum(), [x, v])
        found.append([t.detach().cpu().numpy() for t in (y, *first, *second)])
    for got, expected in zip(*found):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_array_equal(found[0][0], np.where(mask, spread**2, a))


def _strided(tg, device):
    """Values and two gradients of as_strided, against the index of every element."""
    a = np.random.default_rng(6).normal(size=(3, 4))
    place = np.array([[1 + 2 * i + 3 * j for j in range(3)] for i in range(2)])
    found = []
    for f in (lambda x: tg.as_strided(x, (2, 3), (2, 3), 1), lambda x: tg.take(x, tg.tensor(place, device=device))):
        x = tg.tensor(a, device=device, requires_grad=True)
        y = f(x)
        (g,) = tg.autograd.grad((y * y * y).sum(), [x], create_graph=True)
        (h,) = tg.autograd.grad((g * g).sum(), [x])
        found.append([t.detach().cpu().numpy() for t in (y, g, h)])
    for got, expected in zip(*found):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_array_equal(found[0][0], a.ravel()[place])


RECORDS["slice_update"] = Record(
    cases=lambda rng: [Case((rng.normal(size=(4, 6)), rng.normal(size=(2, 3))), {"starts": (1, 0), "steps": (2, 2)})], check=_slices
)
RECORDS["strided_slice"] = Record(covered_by="slice_update")
RECORDS["strided_view"] = Record(check=_strided)


def _memory(tg, device):
    """Views and writes inside a static graph, where they are these ops, against NumPy's views."""
    a, row = np.random.default_rng(7).normal(size=(4, 6)), np.arange(3.0)

    def f(x, v):
        y = x * 1.0
        part = y[1::2, 1:6:2]
        part.add_(v)
        y[0] = 2.0
        return y, part * 1.0, y.t()[2:4].contiguous()

    g = tg.jit(f)
    got = [t.cpu().numpy() for t in g(tg.tensor(a, device=device), tg.tensor(row, dtype=tg.float64, device=device))]
    want = a.copy()
    want[1::2, 1:6:2] += row
    want[0] = 2.0
    for x, y in zip(got, (want, want[1::2, 1:6:2], want.T[2:4])):
        np.testing.assert_array_equal(x, y)
    assert {"as_strided", "as_strided_update"} <= set(g._last.traced_graph.ops())


RECORDS["as_strided"] = Record(check=_memory)
RECORDS["as_strided_update"] = Record(covered_by="as_strided")
