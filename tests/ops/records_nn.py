# SPDX-License-Identifier: Apache-2.0
"""Matrix products, convolution, pooling, normalisation, softmax."""

from __future__ import annotations

import itertools
import math

import numpy as np
from record import FLOATS, Bad, Case, Record
from scipy import special

RECORDS: dict[str, Record] = {}


def n(rng, *shape):
    return rng.normal(size=shape)


# ---- products ----

MATMULS = (
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (3, 4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 3, 4), (4,)),
    ((3, 0), (0, 2)),
    ((0, 3), (3, 2)),
    ((4,), (2, 4, 3)),
)
RECORDS["matmul"] = Record(
    np.matmul,
    lambda rng: [Case((n(rng, *a), n(rng, *b))) for a, b in MATMULS],
    FLOATS,
    (0, 1),
    length=lambda c: c.inputs[0].shape[-1] + 1,
    scale=lambda a, b: np.matmul(np.abs(a), np.abs(b)),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones((4, 5))), {}, ("expected", "got 3 and 4", "(2, 3)", "(4, 5)")),
        Bad(ValueError, (np.array(1.0), np.ones(3)), {}),
        Bad(TypeError, (np.ones((2, 2)) > 0, np.ones((2, 2)) > 0), {}),
    ),
)


def _integers(tg, device):
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4) - 5
    for dtype in ("int64", "int32"):
        got = tg.matmul(tg.tensor(a.astype(dtype), device=device), tg.tensor(b.astype(dtype), device=device))
        assert str(got.dtype).endswith(dtype)
        np.testing.assert_array_equal(got.cpu().numpy(), a @ b)


RECORDS["matmul"].check = _integers
RECORDS["outer"] = Record(
    np.outer,
    lambda rng: [Case((n(rng, 3), n(rng, 4)))],
    FLOATS,
    (0, 1),
    bad=(Bad(ValueError, (np.ones((2, 2)), np.ones(2)), {}),),
)


def activated(y, activation):
    return (
        lambda v: v,
        lambda v: np.maximum(v, 0),
        lambda v: v * special.ndtr(v),
        lambda v: 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
        lambda v: v * special.expit(v),
        special.expit,
        np.tanh,
    )[activation](y)


def _linear(x, w, b=None, activation=0):
    y = x @ w.T
    return activated(y if b is None else y + b, activation)


# The activations' own bounds enter besides the product's: 32 roundings at most.
RECORDS["linear"] = Record(
    _linear,
    lambda rng: (
        [Case((n(rng, 3, 4), n(rng, 5, 4), n(rng, 5)), {"activation": a}) for a in range(7)]
        + [Case((n(rng, 2, 3, 4), n(rng, 5, 4), None)), Case((n(rng, 4), n(rng, 5, 4), n(rng, 5)))]
    ),
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].shape[-1] + 2 + 32 * (c.attrs.get("activation", 0) > 1),
    scale=lambda x, w, b=None, activation=0: np.abs(x) @ np.abs(w).T + (0 if b is None else np.abs(b)) + 1.0,
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones((4, 5)), None), {}),
        Bad(ValueError, (np.ones((2, 3)), np.ones((4, 3)), np.ones(3)), {}),
        Bad(ValueError, (np.ones((2, 3)), np.ones((4, 3)), None), {"activation": 7}),
        Bad(TypeError, (np.array([[1]]), np.array([[1]]), None), {}),
    ),
)

# ---- convolution, from its definition ----


def _fill(v, d):
    return (v,) * d if isinstance(v, int) else tuple(v)


def _window(x, kernel, stride, padding, dilation):
    """The padded x, and for every output position its window's index."""
    d = len(kernel)
    stride, dilation = _fill(stride, d), _fill(dilation, d)
    padding = _fill(padding, d)
    begins, ends = (padding, padding) if len(padding) == d else (padding[:d], padding[d:])
    out = [
        (x.shape[2 + i] + begins[i] + ends[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(d)
    ]
    return begins, ends, out, stride, dilation


def _conv(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, activation=0):
    kernel = w.shape[2:]
    begins, ends, out, s, dil = _window(x, kernel, stride, padding, dilation)
    xp = np.pad(x, [(0, 0), (0, 0), *zip(begins, ends)])
    y = np.zeros((x.shape[0], w.shape[0], *out))
    o, c = w.shape[0] // groups, w.shape[1]
    for tap in itertools.product(*map(range, kernel)):
        part = xp[
            (
                slice(None),
                slice(None),
                *(slice(t * dl, t * dl + (m - 1) * st + 1, st) for t, dl, m, st in zip(tap, dil, out, s)),
            )
        ]
        for g in range(groups):
            y[:, g * o : (g + 1) * o] += np.einsum(
                "oc,nc...->no...", w[(slice(g * o, (g + 1) * o), slice(None), *tap)], part[:, g * c : (g + 1) * c]
            )
    if b is not None:
        y += b.reshape(-1, *(1,) * len(kernel))
    return activated(y, activation)


def _conv_cases(rng):
    return [
        Case((n(rng, 2, 3, 6, 5), n(rng, 4, 3, 3, 2), n(rng, 4)), {"padding": 1}),
        Case((n(rng, 2, 3, 7, 7), n(rng, 4, 3, 3, 3), None), {"stride": 2, "padding": (0, 1, 2, 1)}),
        Case((n(rng, 1, 4, 8, 6), n(rng, 6, 2, 2, 3), n(rng, 6)), {"groups": 2, "dilation": (2, 1)}),
        Case((n(rng, 2, 2, 9), n(rng, 3, 2, 4), n(rng, 3)), {"stride": 3, "padding": 2}),
        Case((n(rng, 1, 2, 4, 4, 3), n(rng, 2, 2, 2, 2, 2), None)),
        Case((n(rng, 2, 4, 5, 5), n(rng, 4, 1, 3, 3), n(rng, 4)), {"groups": 4, "padding": 1, "activation": 1}),
        Case((n(rng, 1, 2, 4, 4), n(rng, 3, 2, 1, 1), n(rng, 3)), {"activation": 4}),
        Case((n(rng, 1, 1, 1, 1), n(rng, 1, 1, 3, 3), None), {"padding": 4}),
    ]


def _taps(c):
    return int(np.prod(c.inputs[1].shape[1:])) + 2 + 32 * (c.attrs.get("activation", 0) > 1)


X, W = np.ones((1, 3, 5, 5)), np.ones((4, 3, 3, 3))
RECORDS["conv"] = Record(
    _conv,
    _conv_cases,
    FLOATS,
    (0, 1, 2),
    length=_taps,
    scale=lambda x, w, b=None, **a: (
        _conv(np.abs(x), np.abs(w), None if b is None else np.abs(b), **{**a, "activation": 0}) + 1.0
    ),
    bad=(
        Bad(ValueError, (X, np.ones((4, 2, 3, 3)), None), {}, ("expected input channels 2", "got 3")),
        Bad(ValueError, (X, np.ones((4, 3, 6, 3)), None), {}),
        Bad(ValueError, (X, W, np.ones(3)), {}),
        Bad(ValueError, (X, W, None), {"stride": 0}),
        Bad(ValueError, (X, W, None), {"padding": -1}),
        Bad(ValueError, (X, W, None), {"groups": 2}),
        Bad(ValueError, (np.ones((3, 5)), W, None), {}),
        Bad(ValueError, (X, W, None), {"stride": (1, 1, 1)}),
        Bad(TypeError, (X.astype(np.int64), W.astype(np.int64), None), {}),
    ),
)


def _adjoint(like, f, dy):
    """The transpose of a linear map, from its values at the unit vectors."""
    out = np.zeros(like)
    for i in np.ndindex(*like):
        unit = np.zeros(like)
        unit[i] = 1
        out[i] = np.sum(f(unit) * dy)
    return out


def _backward_data(dy, w, size, **a):
    size = _fill(size, w.ndim - 2)
    return _adjoint((dy.shape[0], w.shape[1] * a.get("groups", 1), *size), lambda x: _conv(x, w, **a), dy)


def _backward_weight(x, dy, kernel, **a):
    kernel = _fill(kernel, x.ndim - 2)
    return _adjoint((dy.shape[1], x.shape[1] // a.get("groups", 1), *kernel), lambda w: _conv(x, w, **a), dy)


def _windows(rng):
    """(x, w, attributes) of small convolutions, and their output's shape."""
    for x, w, a in (
        ((2, 2, 5, 4), (2, 2, 3, 2), {"padding": 1}),
        ((1, 2, 6, 5), (4, 1, 2, 2), {"stride": 2, "groups": 2}),
        ((1, 1, 7), (2, 1, 3), {"dilation": 2, "padding": (1, 0), "stride": 2}),
        ((2, 1, 3, 3), (1, 1, 1, 1), {"stride": 2}),
    ):
        yield x, w, a, _conv(np.zeros(x), np.zeros(w), **a).shape


def sized(x):
    return tuple(x[2:])


RECORDS["conv_backward_data"] = Record(
    _backward_data,
    lambda rng: [Case((n(rng, *y), n(rng, *w)), {**a, "size": sized(x)}) for x, w, a, y in _windows(rng)],
    FLOATS,
    (0, 1),
    length=lambda c: int(np.prod(c.inputs[1].shape)) + 1,
    scale=lambda dy, w, **a: _backward_data(np.abs(dy), np.abs(w), **a),
    bad=(
        Bad(ValueError, (np.ones((1, 4, 3, 3)), W), {"size": (9, 9)}),
        Bad(ValueError, (np.ones((1, 5, 3, 3)), W), {"size": (5, 5)}),
    ),
)
RECORDS["conv_backward_weight"] = Record(
    _backward_weight,
    lambda rng: [Case((n(rng, *x), n(rng, *y)), {**a, "kernel": sized(w)}) for x, w, a, y in _windows(rng)],
    FLOATS,
    (0, 1),
    length=lambda c: int(np.prod(c.inputs[1].shape)) + 1,
    scale=lambda x, dy, **a: _backward_weight(np.abs(x), np.abs(dy), **a),
    bad=(
        Bad(ValueError, (X, np.ones((1, 4, 4, 4))), {"kernel": 3}),
        Bad(ValueError, (X, np.ones((2, 4, 3, 3))), {"kernel": 3}),
    ),
)

# ---- pooling ----


def _pooled(x, kernel, stride, padding, dilation, f, outside):
    d = x.ndim - 2
    kernel = _fill(kernel, d)
    begins, ends, out, s, dil = _window(x, kernel, kernel if stride is None else stride, padding, dilation)
    xp = np.pad(x, [(0, 0), (0, 0), *zip(begins, ends)], constant_values=outside)
    y = np.zeros((*x.shape[:2], *out))
    for at in np.ndindex(*out):
        y[(slice(None), slice(None), *at)] = f(
            xp[
                (
                    slice(None),
                    slice(None),
                    *(slice(a * st, a * st + dl * (k - 1) + 1, dl) for a, st, dl, k in zip(at, s, dil, kernel)),
                )
            ].reshape(*x.shape[:2], -1)
        )
    return y


def _max_pool(x, kernel, stride=None, padding=0, dilation=1):
    return _pooled(x.astype(float), kernel, stride, padding, dilation, lambda v: v.max(-1), -np.inf)


def _avg_pool(x, kernel, stride=None, padding=0, count_include_pad=1):
    total = _pooled(x, kernel, stride, padding, 1, lambda v: v.sum(-1), 0)
    counts = np.ones_like(x) if not count_include_pad else None
    return total / (
        np.prod(_fill(kernel, x.ndim - 2))
        if counts is None
        else _pooled(counts, kernel, stride, padding, 1, lambda v: v.sum(-1), 0)
    )


POOLS = (
    ((2, 3, 6, 5), {"kernel": 2}),
    ((1, 2, 7, 7), {"kernel": 3, "stride": 2, "padding": 1}),
    ((2, 1, 9), {"kernel": 3, "stride": 2}),
    ((1, 2, 4, 4, 4), {"kernel": 2, "stride": 1}),
    ((1, 1, 5, 6), {"kernel": (2, 3), "stride": (1, 2), "padding": (0, 1, 1, 0)}),
)
NO_POOL = (
    Bad(ValueError, (X,), {"kernel": 6}),
    Bad(ValueError, (X,), {"kernel": 2, "padding": 2}),
    Bad(ValueError, (np.ones((2, 2)),), {"kernel": 2}),
    Bad(ValueError, (X,), {"kernel": 2, "stride": -1}),
)
RECORDS["max_pool"] = Record(
    _max_pool,
    lambda rng: (
        [Case((rng.permutation(int(np.prod(s))).reshape(s) / 7.0,), a) for s, a in POOLS]
        + [Case((n(rng, 1, 1, 7, 7),), {"kernel": 2, "dilation": 2, "stride": 1})]
    ),
    FLOATS,
    (0,),
    bad=NO_POOL,
)


def _max_pool_edges(tg, device):
    """Padding never wins, equals go to the first, NaN counts as the maximum; 0-size batches pass."""
    x = tg.tensor(np.full((1, 1, 2, 2), -5.0), device=device)
    assert tg.max_pool(x, 2, 1, 1).tolist() == [[[[-5.0] * 3] * 3]]
    x = tg.tensor(np.ones((1, 1, 1, 4)), device=device).requires_grad_()
    tg.max_pool(x, (1, 2)).sum().backward()
    assert x.grad.tolist() == [[[[1.0, 0.0, 1.0, 0.0]]]]
    x = tg.tensor(np.array([[[1.0, np.nan, 3.0, 2.0]]]), device=device).requires_grad_()
    y = tg.max_pool(x, 2)
    assert np.isnan(y.detach().cpu().numpy()[0, 0, 0]) and y.tolist()[0][0][1] == 3.0
    y.backward(tg.ones_like(y))
    assert x.grad.tolist() == [[[0.0, 1.0, 1.0, 0.0]]]
    assert tg.max_pool(tg.zeros((0, 2, 4, 4), device=device), 2).shape == (0, 2, 2, 2)


RECORDS["max_pool"].check = _max_pool_edges
RECORDS["max_pool_step"] = Record(covered_by="max_pool")


def _pool_scatter(dy, index, kernel, size, **a):
    out = np.zeros((*dy.shape[:2], int(np.prod(_fill(size, dy.ndim - 2)))))
    for i in np.ndindex(*dy.shape[:2]):
        np.add.at(out[i], index[i].ravel(), dy[i].ravel())
    return out.reshape(*dy.shape[:2], *_fill(size, dy.ndim - 2))


RECORDS["max_pool_backward"] = Record(
    _pool_scatter,
    lambda rng: [
        Case(
            (n(rng, 2, 1, 2, 2), rng.integers(0, 16, (2, 1, 2, 2)).astype(np.int32)),
            {"kernel": 2, "size": (4, 4)},
            (1,),
        )
    ],
    FLOATS,
    (0,),
    length=lambda c: 4,
    scale=lambda dy, index, **a: _pool_scatter(np.abs(dy), index, **a),
    bad=(
        Bad(ValueError, (np.ones((1, 1, 2)), np.zeros((1, 1, 3), np.int32)), {"kernel": 2, "size": 4}),
        Bad(TypeError, (np.ones((1, 1, 2)), np.zeros((1, 1, 2))), {"kernel": 2, "size": 4}),
    ),
)
AVG = [(s, {**a, "count_include_pad": c}) for s, a in POOLS for c in (0, 1)]
RECORDS["avg_pool"] = Record(
    _avg_pool,
    lambda rng: [Case((n(rng, *s),), a) for s, a in AVG],
    FLOATS,
    (0,),
    length=lambda c: 1 + int(np.prod(_fill(c.attrs["kernel"], c.inputs[0].ndim - 2))),
    scale=lambda x, **a: _avg_pool(np.abs(x), **a),
    bad=(*NO_POOL, Bad(TypeError, (X.astype(np.int64),), {"kernel": 2})),
)
RECORDS["avg_pool_backward"] = Record(
    lambda dy, size, **a: _adjoint((*dy.shape[:2], *size), lambda x: _avg_pool(x, **a), dy),
    lambda rng: [Case((n(rng, *_avg_pool(np.zeros(s), **a).shape),), {**a, "size": sized(s)}) for s, a in AVG[:4]],
    FLOATS,
    (0,),
    length=lambda c: 10,
    scale=lambda dy, size, **a: _adjoint((*dy.shape[:2], *size), lambda x: _avg_pool(x, **a), np.abs(dy)),
    bad=(Bad(ValueError, (np.ones((1, 1, 2)),), {"kernel": 2, "size": 9}),),
)


def _adaptive(x, output_size):
    d = x.ndim - 2
    out = _fill(output_size, d)
    y = np.zeros((*x.shape[:2], *out))
    for at in np.ndindex(*out):
        y[(slice(None), slice(None), *at)] = (
            x[
                (
                    slice(None),
                    slice(None),
                    *(slice(a * m // o, -(-(a + 1) * m // o)) for a, m, o in zip(at, x.shape[2:], out)),
                )
            ]
            .reshape(*x.shape[:2], -1)
            .mean(-1)
        )
    return y


RECORDS["adaptive_avg_pool"] = Record(
    _adaptive,
    lambda rng: (
        [Case((n(rng, 2, 3, 7, 5),), {"output_size": o}) for o in (1, (3, 2), (7, 5), (8, 3))]
        + [Case((n(rng, 1, 2, 6),), {"output_size": 3})]
    ),
    FLOATS,
    (0,),
    length=lambda c: c.inputs[0][0, 0].size,
    scale=lambda x, **a: _adaptive(np.abs(x), **a),
    bad=(Bad(ValueError, (X,), {"output_size": 0}), Bad(ValueError, (X,), {"output_size": (1, 2, 3)})),
)

# ---- normalisation ----


def _line(v, x):
    return v.reshape(-1, *(1,) * (x.ndim - 2))


def _infer(x, mean, var, w=None, b=None, eps=1e-5):
    y = (x - _line(mean, x)) / np.sqrt(_line(var, x) + eps)
    y = y if w is None else y * _line(w, x)
    return y if b is None else y + _line(b, x)


def _batch(x, w=None, b=None, eps=1e-5):
    axes = tuple(i for i in range(x.ndim) if i != 1)
    return _infer(x, x.mean(axes), x.var(axes), w, b, eps), x.mean(axes), x.var(axes)


BATCHES = [((4, 3, 5), True), ((2, 3, 4, 2), False), ((6, 2), True)]
# Of unit inputs, |x| + |mean| stays below 8 and 1/std below 3: 32 covers the scale of the table's bound.
RECORDS["batch_norm"] = Record(
    _batch,
    lambda rng: [
        Case((n(rng, *s), *((n(rng, s[1]), n(rng, s[1])) if affine else (None, None)))) for s, affine in BATCHES
    ],
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size // c.inputs[0].shape[1] + 8,
    scale=lambda x, w=None, b=None, **a: 32.0,
    bad=(
        Bad(ValueError, (X, np.ones(4), None), {}),
        Bad(ValueError, (np.ones(3), None, None), {}),
        Bad(TypeError, (X.astype(np.int64), None, None), {}),
    ),
)
RECORDS["batch_norm_backward"] = Record(covered_by="batch_norm")
RECORDS["batch_norm_infer"] = Record(
    _infer,
    lambda rng: [
        Case(
            (
                n(rng, *s),
                n(rng, s[1]),
                rng.uniform(0.5, 2, s[1]),
                *((n(rng, s[1]), n(rng, s[1])) if affine else (None, None)),
            )
        )
        for s, affine in BATCHES
    ],
    FLOATS,
    (0, 1, 2, 3, 4),
    scale=lambda *a, **k: 32.0,
    bad=(Bad(ValueError, (X, np.ones(4), np.ones(4), None, None), {}),),
)


def _layer(x, w=None, b=None, inner_axes=1, eps=1e-5):
    axes = tuple(range(x.ndim - inner_axes, x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = y if w is None else y * w
    return y if b is None else y + b


RECORDS["layer_norm"] = Record(
    _layer,
    lambda rng: [
        Case((n(rng, 3, 6), n(rng, 6), n(rng, 6))),
        Case((n(rng, 2, 3, 4), n(rng, 3, 4), None), {"inner_axes": 2, "eps": 1e-3}),
        Case((n(rng, 5), None, None)),
    ],
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size,
    scale=lambda *a, **k: 32.0,
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones(2), None), {}),
        Bad(ValueError, (np.ones((2, 3)), None, None), {"inner_axes": 3}),
    ),
)
RECORDS["layer_norm_backward"] = Record(covered_by="layer_norm")


def _group(x, w=None, b=None, groups=1, eps=1e-5):
    y = _layer(x.reshape(x.shape[0], groups, -1), eps=eps).reshape(x.shape)
    y = y if w is None else y * _line(w, x)
    return y if b is None else y + _line(b, x)


RECORDS["group_norm"] = Record(
    _group,
    lambda rng: [
        Case((n(rng, 2, 6, 4), n(rng, 6), n(rng, 6)), {"groups": 3}),
        Case((n(rng, 3, 4), None, None), {"groups": 2}),
    ],
    FLOATS,
    (0, 1, 2),
    length=lambda c: c.inputs[0].size,
    scale=lambda *a, **k: 32.0,
    bad=(Bad(ValueError, (X, None, None), {"groups": 2}),),
)
RECORDS["rms_norm"] = Record(
    lambda x, w=None, inner_axes=1, eps=1e-6: (
        x
        / np.sqrt(np.mean(x * x, tuple(range(x.ndim - inner_axes, x.ndim)), keepdims=True) + eps)
        * (1 if w is None else w)
    ),
    lambda rng: [Case((n(rng, 3, 6), n(rng, 6))), Case((n(rng, 2, 3, 4), None), {"inner_axes": 2})],
    FLOATS,
    (0, 1),
    length=lambda c: c.inputs[0].size,
    scale=lambda *a, **k: 8.0,
    bad=(Bad(ValueError, (np.ones((2, 3)), np.ones(2)), {}),),
)

# ---- softmax ----

SOFT = [((3, 5), {}), ((3, 5), {"axis": 0}), ((2, 3, 4), {"axis": 1}), ((4,), {"axis": -1})]
WRONG = (Bad(IndexError, (np.ones((2, 3)),), {"axis": 2}), Bad(TypeError, (np.array([1]),), {}))
RECORDS["softmax"] = Record(
    lambda x, axis=-1: special.softmax(x, axis),
    lambda rng: [Case((n(rng, *s) * 3,), a) for s, a in SOFT],
    FLOATS,
    (0,),
    length=lambda c: 2,
    bad=WRONG,
    scale=lambda x, axis=-1: special.softmax(x, axis) * (1 + np.abs(x - x.max(axis, keepdims=True))),
)
RECORDS["log_softmax"] = Record(
    lambda x, axis=-1: special.log_softmax(x, axis),
    lambda rng: [Case((n(rng, *s) * 3,), a) for s, a in SOFT],
    FLOATS,
    (0,),
    scale=lambda x, axis=-1: np.abs(x).max() + 1,
    bad=WRONG,
)


def _soft_edges(tg, device):
    x = tg.tensor(np.array([[1e4, 0.0], [-np.inf, 0.0]], np.float32), device=device)
    assert tg.softmax(x, 1).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert tg.log_softmax(x, 1).tolist() == [[0.0, -1e4], [-np.inf, 0.0]]
    assert tg.softmax(tg.zeros((0, 3), device=device), 1).shape == (0, 3)


RECORDS["softmax"].check = _soft_edges
RECORDS["softmax_backward"] = Record(covered_by="softmax")
RECORDS["log_softmax_backward"] = Record(covered_by="log_softmax")
