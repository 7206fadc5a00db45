# SPDX-License-Identifier: Apache-2.0
"""Attention beyond its record: kernels against the decomposition, dropout, masks' gradients, memory, the cache."""
from __future__ import annotations

import numpy as np
import pytest

import tengen as tg
import tengen.nn.functional as F

SHAPES = [
    # B, H, K, L, S, E, V
    (2, 2, 2, 3, 5, 4, 6),
    (1, 4, 2, 1, 300, 16, 16),
    (2, 4, 1, 130, 200, 33, 17),
    (1, 1, 1, 97, 193, 64, 64),
]


def arrays(rng, shape):
    b, h, k, l, s, e, v = shape
    return [rng.normal(size=d) for d in ((b, h, l, e), (b, k, s, e), (b, k, s, v), (b, h, l, v))]


def both(values, dtype, device, **options):
    """The result and the gradients of query, key and value on a device, in float64."""
    q, k, v, dy = (tg.tensor(a, dtype=dtype, device=device) for a in values)
    for t in (q, k, v):
        t.requires_grad_()
    mask = options.pop("attn_mask", None)
    tg.manual_seed(3)
    y = F.scaled_dot_product_attention(q, k, v, None if mask is None else tg.tensor(mask, device=device),
                                       enable_gqa=True, **options)
    y.backward(dy)
    return [t.detach().to(tg.float64).cpu().numpy() for t in (y, q.grad, k.grad, v.grad)]


def magnitudes(values, attn_mask=None, is_causal=False, causal_offset=0, dropout_p=0.0):
    """What rounding errors of y, dq, dk and dv are relative to: their formulas with magnitudes for operands."""
    q, k, v, dy = values
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x, group, 1) for x in (k, v))
    scale = q.shape[-1] ** -0.5
    s = q @ k.swapaxes(-1, -2) * scale
    rows, columns = np.indices(s.shape[-2:])
    if is_causal:
        s = np.where(columns <= rows + causal_offset, s, -np.inf)
    if attn_mask is not None:
        s = np.where(attn_mask, s, -np.inf) if attn_mask.dtype == bool else s + attn_mask
    e = np.exp(s - s.max(-1, keepdims=True))
    q, k, v, dy = (np.abs(x) for x in (q, k, v, dy))
    # A score's rounding enters its weight.
    p = e / e.sum(-1, keepdims=True) * (1 + (q @ k.swapaxes(-1, -2) * scale).max()) / (1 - dropout_p)
    y = p @ v
    ds = p * (dy @ v.swapaxes(-1, -2) / (1 - dropout_p) + (dy * y).sum(-1, keepdims=True)) * scale
    shared = [x.reshape(x.shape[0], -1, group, *x.shape[2:]).sum(2) for x in (ds.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ dy)]
    return y, ds @ k, *shared


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"is_causal": True, "causal_offset": 70},
                                     {"dropout_p": 0.3}, {"mask": "bool"}, {"mask": "float", "is_causal": True}], ids=str)
def test_kernels_agree_with_the_decomposition(rng, second_device, shape, options):
    options = dict(options)
    values = arrays(rng, shape)
    if (kind := options.pop("mask", None)) is not None:
        mask = rng.normal(size=(shape[3], shape[4]))
        mask[:, 0] = 1
        options["attn_mask"] = mask > -0.5 if kind == "bool" else mask
    lengths = 4 * sum(shape[1:])
    slow = both(values, tg.float64, second_device, **options)
    for a, b, size in zip(both(values, tg.float64, "cpu:0", **options), slow, magnitudes(values, **options)):
        assert (np.abs(a - b) <= 2.0**-52 * lengths * size).all()
    # The others against f64 of the same rounded operands; y enters the gradients rounded to the dtype.
    for dtype, eps in ((tg.float32, 2.0**-23), (tg.bfloat16, 2.0**-7), (tg.float16, 2.0**-10)):
        same = [tg.tensor(a, dtype=dtype).to(tg.float64).numpy() for a in values]
        exact = both(same, tg.float64, "cpu:0", **options)
        for a, b, size in zip(both(same, dtype, "cpu:0", **options), exact, magnitudes(same, **options)):
            assert (np.abs(a - b) <= (2.0**-23 * lengths + 2 * eps) * size).all()


def test_dropout_zeroes_weights_and_keeps_their_mean(rng):
    tg.manual_seed(0)
    eye = tg.eye(64).reshape((1, 1, 64, 64))
    zero = tg.zeros((1, 1, 400, 8))
    weights = F.scaled_dot_product_attention(zero, tg.zeros((1, 1, 64, 8)), eye, dropout_p=0.25).numpy() * 64
    assert set(np.unique(weights)) <= {0.0, np.float32(1 / 0.75)}
    kept = (weights > 0).mean()  # 25600 draws: 5 sigma is 0.0135
    assert abs(kept - 0.75) < 0.0136
    assert not np.array_equal(weights[0, 0, 0], weights[0, 0, 1])
    again = F.scaled_dot_product_attention(zero, tg.zeros((1, 1, 64, 8)), eye, dropout_p=0.25).numpy() * 64
    assert not np.array_equal(weights, again)
    assert not F.scaled_dot_product_attention(zero, tg.zeros((1, 1, 64, 8)), eye, dropout_p=1.0).numpy().any()


@pytest.mark.parametrize("spread", [(3, 5), (1, 5), (3, 1), (2, 1, 3, 5), (1, 2, 3, 5), (1, 1, 1, 1)], ids=str)
def test_gradient_of_a_floating_mask(rng, spread):
    q, k, v, dy = (tg.tensor(a) for a in arrays(rng, (2, 2, 2, 3, 5, 4, 6)))
    mask, way = tg.tensor(rng.normal(size=spread)).requires_grad_(), rng.normal(size=spread)

    def loss(m):
        return (F.scaled_dot_product_attention(q, k, v, m) * dy).sum()

    loss(mask).backward()
    h = 2.0**-17
    numeric = (loss(mask.detach() + h * tg.tensor(way)) - loss(mask.detach() - h * tg.tensor(way))).item() / (2 * h)
    assert mask.grad.shape == mask.shape
    assert abs((mask.grad.numpy() * way).sum() - numeric) < 1e-7


def test_rows_that_see_nothing_give_zeros_and_no_gradient(rng):
    q, k, v, dy = (tg.tensor(a).requires_grad_() for a in arrays(rng, (1, 1, 1, 2, 3, 4, 4)))
    mask = tg.tensor([[False] * 3, [True, False, True]])
    y = F.scaled_dot_product_attention(q, k, v, mask)
    y.backward(dy.detach())
    y = y.detach()
    assert not y.numpy()[0, 0, 0].any() and not q.grad.numpy()[0, 0, 0].any()
    for t in (y, q.grad, k.grad, v.grad):
        assert np.isfinite(t.numpy()).all()


def test_nan_stays_in_its_row(rng):
    q, k, v, _ = arrays(rng, (1, 1, 1, 3, 5, 4, 4))
    q[0, 0, 1, 2] = np.nan
    y = F.scaled_dot_product_attention(*(tg.tensor(a) for a in (q, k, v))).numpy()
    assert np.isnan(y[0, 0, 1]).all() and np.isfinite(y[0, 0, [0, 2]]).all()


def test_memory_does_not_grow_with_length_squared(rng):
    heads, length, width = 2, 2048, 32
    shape = (1, heads, length, width)
    q, k, v = (tg.tensor(rng.normal(size=shape).astype("f")).requires_grad_() for _ in range(3))
    tensor, scores = heads * length * width * 4, heads * length * length * 4
    # design 006; rounded up to lines of the allocator
    tile = (4 * (2 * 96 * 192 + (96 + 2 * 192) * 2 * width) + 8192) * tg.get_num_threads()
    for causal in (False, True):
        tg.reset_peak_memory_stats("cpu")
        before = tg.memory_stats("cpu")["current"]
        with tg.no_grad():
            F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        forward = tg.memory_stats("cpu")["peak"] - before
        assert forward <= 1.25 * tensor + tile, (forward, tensor, tile)  # the result and a tile
        tg.reset_peak_memory_stats("cpu")
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        y.backward(tg.ones(shape))
        backward = tg.memory_stats("cpu")["peak"] - before
        # y, its gradient, three gradients, the workers' dq, and lse; a block of scores would be `scores`.
        assert backward <= 8 * tensor + tile < scores, (backward, tensor, scores)
        del y
        for t in (q, k, v):
            t.grad = None


def test_one_plan_serves_all_steps_of_a_cache(rng):
    heads, size, width = 2, 48, 8
    keys, values = (rng.normal(size=(1, heads, size, width)).astype("f") for _ in range(2))
    queries = rng.normal(size=(1, heads, size, width)).astype("f")
    caches = [tg.zeros((1, heads, size, width)) for _ in range(2)]
    whole = F.scaled_dot_product_attention(*(tg.tensor(a) for a in (queries, keys, values)), is_causal=True).numpy()
    plans = None
    for at in range(size):
        for cache, new in zip(caches, (keys, values)):
            assert F.kv_cache_append(cache, tg.tensor(new[:, :, at:at + 1]), at) is cache
        y = F.scaled_dot_product_attention(tg.tensor(queries[:, :, at:at + 1]), *caches, is_causal=True,
                                           causal_offset=at)
        np.testing.assert_allclose(y.numpy(), whole[:, :, at:at + 1], rtol=0, atol=2e-6)
        made = tg.dispatch_stats()["plans_created"]
        assert at < 2 or made == plans, "a step made a plan"
        plans = made
    np.testing.assert_array_equal(caches[0].numpy(), keys)


def test_cache_positions_from_a_tensor_and_bad_ones():
    cache = tg.zeros((2, 4, 1))
    F.kv_cache_append(cache, tg.ones((2, 2, 1)), tg.tensor(1))
    np.testing.assert_array_equal(cache.numpy()[..., 0], [[0, 1, 1, 0]] * 2)
    F.kv_cache_append(cache, tg.full((2, 4, 0), 1.0).reshape((2, 0, 1)), 4)
    with pytest.raises(IndexError, match="from 0 to 2"):
        F.kv_cache_append(cache, tg.ones((2, 2, 1)), 3)
    with pytest.raises(ValueError, match="sizes"):
        F.kv_cache_append(cache, tg.ones((1, 2, 1)), 0)
    with pytest.raises(TypeError, match="dtype"):
        F.kv_cache_append(cache, tg.ones((2, 2, 1), dtype=tg.float64), 0)
    with pytest.raises(IndexError):
        F.kv_cache_append(cache, tg.ones((2, 2, 1)), 0, axis=3)


def test_rotation_makes_products_relative(rng):
    q, k = (tg.tensor(rng.normal(size=(1, 16))) for _ in range(2))
    for interleaved in (False, True):
        at = [[(F.rope(q, interleaved=interleaved, offset=i) * F.rope(k, interleaved=interleaved, offset=i + 5)).sum().item()]
              for i in (0, 40)]
        assert abs(at[0][0] - at[1][0]) < 1e-10


def test_threads_do_not_change_a_bit(rng):
    values = arrays(rng, (2, 4, 2, 130, 210, 24, 16))
    threads = tg.get_num_threads()
    try:
        results = []
        for n in (1, 3):
            tg.set_num_threads(n)
            results.append(both(values, tg.float32, "cpu:0", is_causal=True, causal_offset=50, dropout_p=0.2))
    finally:
        tg.set_num_threads(threads)
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{"dropout_p": 0.4}, {"is_causal": True, "causal_offset": 1}, {"attn_mask": True}], ids=str)
def test_second_gradients(rng, options):
    """The gradient's directional derivative against differences of gradients; a mask takes part."""
    values = [tg.tensor(a) for a in arrays(rng, (1, 4, 2, 3, 5, 4, 3))[:3]]
    if options.pop("attn_mask", None):
        values.append(tg.tensor(rng.normal(size=(3, 5))))
    ways, others = ([tg.tensor(rng.normal(size=t.shape)) for t in values] for _ in range(2))
    weight = tg.tensor(rng.normal(size=(1, 4, 3, 3)))

    def slope(leaves, create_graph):
        tg.manual_seed(5)
        y = F.scaled_dot_product_attention(*leaves, enable_gqa=True, **options)
        gradients = tg.autograd.grad((y * y * weight).sum(), leaves, create_graph=create_graph)
        return sum((g * w).sum() for g, w in zip(gradients, ways))

    leaves = [t.detach().requires_grad_() for t in values]
    seconds = tg.autograd.grad(slope(leaves, True), leaves)
    analytic = sum((g * o).sum().item() for g, o in zip(seconds, others))
    h = 2.0**-17
    ends = [slope([(t + s * h * o).requires_grad_() for t, o in zip(values, others)], False).item() for s in (1, -1)]
    numeric = (ends[0] - ends[1]) / (2 * h)
    size = 1 + abs(numeric) + sum((g * o).abs().sum().item() for g, o in zip(seconds, others))
    assert abs(analytic - numeric) <= (1e3 * h * h + 1e2 * 2.0**-52 / h) * size


@pytest.mark.parametrize("offset, rows", [(2**63 - 1, 1.0), (-2**63, 0.0)])
def test_causal_offsets_at_the_ends_of_the_range(offset, rows):
    y = tg.scaled_dot_product_attention(tg.ones((3, 4)), tg.ones((5, 4)), tg.ones((5, 4)), is_causal=True, causal_offset=offset)
    assert (y == rows).all().item()


@pytest.mark.parametrize("query, key", [((1, 0, 3, 4), (1, 2, 5, 4)), ((1, 0, 3, 4), (1, 0, 5, 4)), ((2, 2, 3, 0), (2, 2, 5, 0)), ((0, 2, 3, 4), (0, 2, 5, 4))])
def test_no_heads_features_or_batch(query, key):
    q, k, v = (tg.ones(*s, requires_grad=True) for s in (query, key, key))
    y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert y.shape == query
    y.sum().backward()
    assert all(not x.grad.isnan().any() and x.grad.shape == x.shape for x in (q, k, v))
    with pytest.raises(ValueError, match="divisible by the 0 key heads"):
        F.scaled_dot_product_attention(tg.ones(1, 2, 3, 4), tg.ones(1, 0, 5, 4), tg.ones(1, 0, 5, 4), enable_gqa=True)
