# SPDX-License-Identifier: Apache-2.0
"""Sizes at which kernels split their work among threads, blocks and vectors, not divisible by anything, on every device: what
is not elementwise (test_transforms_of_ops.py has that). The oracles and bounds are the records'."""

from __future__ import annotations

import numpy as np
import pytest
from record import Case
from records import RECORDS
from test_ops import DEVICES, assert_close, call, oracle_of, respelled, seed, tensors_of

import tengen as tg


def normal(*shapes, **attrs):
    return lambda rng: Case(tuple(rng.normal(size=s) for s in shapes), attrs)


def with_(make, **attrs):
    def more(rng):
        case = make(rng)
        return Case(case.inputs, {**case.attrs, **attrs}, case.fixed)

    return more


def near_one(*shape, **attrs):
    return lambda rng: Case((np.exp(rng.normal(size=shape) / 300),), attrs)


def distinct(*shape, **attrs):
    """A permutation, so that there are no ties; exact in float32."""
    return lambda rng: Case((rng.permutation(int(np.prod(shape))).reshape(shape) - 999.0,), attrs)


def along(x, index, *values, axis=0):
    """Indices below the size of x's axis; then values of a shape."""
    return lambda rng: Case((rng.normal(size=x), rng.integers(0, x[axis], index), *(rng.normal(size=s) for s in values)), {"axis": axis}, fixed=(1,))


LONG, TALL, WIDE = (70001,), (1201, 67), (61, 1303)
REDUCED = [normal(LONG), *(normal(s, axis=a) for s in (TALL, WIDE) for a in (0, 1)), normal((31, 45, 53), axis=(0, 2))]
ORDERED = [distinct(*LONG), *(distinct(*s, axis=a) for s in (TALL, WIDE) for a in (0, 1))]
CASES = {
    **{n: REDUCED for n in ("sum", "mean", "max", "min", "logsumexp", "count_nonzero", "any", "all")},
    "norm": [with_(make, ord=2.0) for make in REDUCED],
    **{n: [with_(make, correction=1) for make in REDUCED] for n in ("var", "std")},
    "prod": [near_one(*LONG), near_one(*TALL, axis=0), near_one(*WIDE, axis=1)],
    **{n: ORDERED for n in ("argmax", "argmin", "sort", "argsort", "median")},
    "topk": [distinct(*LONG, k=300), distinct(*TALL, k=9, axis=0), distinct(*WIDE, k=70, axis=1, largest=False)],
    **{n: [normal(LONG, axis=0), normal(TALL, axis=0), normal(WIDE, axis=1)] for n in ("cumsum", "logcumsumexp")},
    **{n: [distinct(*LONG, axis=0), distinct(*TALL, axis=0), distinct(*WIDE, axis=1)] for n in ("cummax", "cummin")},
    "cumprod": [near_one(*LONG, axis=0), near_one(*TALL, axis=0), near_one(*WIDE, axis=1)],
    "matmul": [normal((257, 129), (129, 263)), normal((9, 65, 33), (9, 33, 41)), normal((70001, 3), (3, 2)), normal((1, 4099), (4099, 1)), normal((1301, 67), (67,))],
    **{n: [normal(s, axis=1) for s in (TALL, WIDE)] + [normal(TALL, axis=0)] for n in ("softmax", "log_softmax")},
    "take_along_axis": [along((301, 233), (301, 233), axis=1), along((301, 233), (77, 233), axis=0)],
    "index_select": [along((301, 233), (999,), axis=0), along((301, 233), (311,), axis=1)],
    "index_add": [along((301, 61), (999,), (999, 61)), along((61, 301), (999,), (61, 999), axis=1)],
    "concat": [lambda rng: Case(([rng.normal(size=(k, 67)) for k in (301, 1, 899)],), {"axis": 0}), lambda rng: Case(([rng.normal(size=(61, k)) for k in (301, 1, 899)],), {"axis": 1})],
    "flip": [normal(TALL, axes=(0,)), normal(WIDE, axes=(0, 1))],
    "roll": [normal(TALL, shift=(5,), axis=(0,)), normal(WIDE, shift=(700,), axis=(1,))],
    "tile": [normal((37, 41), reps=(7, 9))],
    "pad": [normal((61, 301), padding=(3, 0, 2, 500))],
    "copy": [normal(LONG), normal((31, 45, 53))],
    "searchsorted": [lambda rng: Case((np.sort(rng.normal(size=503)), rng.normal(size=20011)))],
    "max_pool": [lambda rng: Case((rng.permutation(3 * 5 * 67 * 71).reshape(3, 5, 67, 71) - 99.0,), {"kernel": 3, "stride": 2, "padding": 1})],
    "avg_pool": [normal((3, 5, 67, 71), kernel=3, stride=2)],
    "tril": [normal((301, 303))],
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [n for n in CASES if n in RECORDS])
def test_large(name, device):
    """Contiguous and, where the work is split along other axes, of strided inputs."""
    record, rng = RECORDS[name], seed(name + "large")
    for number, make in enumerate(CASES[name]):
        case = make(rng)
        inputs = tensors_of(case, "float32", device)
        expected = oracle_of(record, case, "float32")
        assert_close(name, record, case, "float32", call(name, inputs, case, device), expected)
        if number and device == DEVICES[0]:
            strided = [respelled(x, "permuted") if isinstance(x, tg.Tensor) else x for x in inputs]
            assert_close(name, record, case, "float32", call(name, strided, case, device), expected)


def test_every_name_is_an_op():
    assert not set(CASES) - set(RECORDS)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 5, 48])
def test_large_convolution(device, channels):
    """Against a sum over taps in NumPy; 48 channels fill blocks of 8 and of 16."""
    rng = np.random.default_rng(channels)
    x, w = rng.normal(size=(2, channels, 33, 37)).astype(np.float32), rng.normal(size=(7, channels, 3, 3)).astype(np.float32)
    got = tg.conv(tg.tensor(x, device=device), tg.tensor(w, device=device), padding=1).cpu().numpy()
    wide = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [(np.einsum("nchw,oc->nohw", f(wide[:, :, i : i + 33, j : j + 37]), f(w[:, :, i, j].astype(float)))) for f in (np.asarray, np.abs) for i in range(3) for j in range(3)]
    expected, size = sum(taps[:9]), sum(taps[9:])
    assert (np.abs(got - expected) <= 9 * channels * 2.0**-23 * size).all()


@pytest.mark.parametrize("device", DEVICES)
def test_large_normalization(device):
    rng = np.random.default_rng(3)
    x, w, b = rng.normal(size=(301, 233)), rng.uniform(0.5, 1, 233), rng.normal(size=233)
    t, tw, tb = (tg.tensor(v, dtype=tg.float32, device=device) for v in (x, w, b))
    for axis, got in ((1, tg.nn.functional.layer_norm(t, (233,), tw, tb)), (0, tg.nn.functional.batch_norm(t, None, None, tw, tb, training=True))):
        expected = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5) * w + b
        np.testing.assert_allclose(got.cpu().numpy(), expected, atol=301 * 2.0**-23 * 4, rtol=0)
