# SPDX-License-Identifier: Apache-2.0
"""Properties on random shapes against NumPy: reading and writing by any index, their gradients, chains of views, broadcasting.

The cases are the same in every run (derandomized) and bounded in number.
"""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tengen as tg

bounded = settings(derandomize=True, max_examples=250, deadline=None, database=None)


def filled(shape):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(np.float32)


@st.composite
def slices(draw, n):
    edge = st.none() | st.integers(-n - 2, n + 2)
    return slice(draw(edge), draw(edge), draw(st.sampled_from([None, 1, 2, 3, -1, -2])))


@st.composite
def shapes_and_keys(draw, least=0):
    """A shape, and an index of it as NumPy takes it: any mixture of what there is."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=least, max_side=4))
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3))
    key, axis, dots = [], 0, False
    kinds = ["stop", "int", "slice", "none", "array", "list", "mask", "dots", "bool"]
    while len(key) < 7:
        kind = draw(st.sampled_from(kinds))
        n = shape[axis] if axis < len(shape) else None
        if kind == "stop":
            break
        if kind == "none":
            key.append(None)
        elif kind == "dots":
            if not dots:
                key.append(...)
                dots = True
                axis = max(axis, len(shape) - draw(st.integers(0, len(shape) - axis)))
        elif kind == "bool":
            key.append(draw(st.booleans()))
        elif n is None:
            continue
        elif kind == "slice":
            key.append(draw(slices(n)))
            axis += 1
        elif kind == "mask":
            rank = draw(st.integers(1, len(shape) - axis))
            key.append(draw(hnp.arrays(bool, shape[axis:axis + rank])))
            axis += rank
        elif n:
            if kind == "int":
                key.append(draw(st.integers(-n, n - 1)))
            else:
                own = tuple(draw(st.sampled_from([1, d])) for d in common)[draw(st.integers(0, len(common))):]
                index = draw(hnp.arrays(draw(st.sampled_from([np.int64, np.int32, np.uint8])), own, elements=st.integers(0, n - 1)))
                key.append(index.tolist() if kind == "list" and index.ndim else index)
            axis += 1
    return shape, tuple(key)


def numpy_read(a, key):
    try:
        return a[key]
    except IndexError as error:  # masks and arrays that do not broadcast to one another
        return error


def tengen_key(key, as_tensors):
    return tuple(tg.tensor(k) if as_tensors and isinstance(k, np.ndarray) and k.ndim else k for k in key)


@bounded
@given(shapes_and_keys(), st.booleans())
def test_reading(case, as_tensors):
    shape, key = case
    a = filled(shape)
    want = numpy_read(a, key)
    if isinstance(want, IndexError):
        with pytest.raises((IndexError, ValueError)):
            tg.tensor(a)[tengen_key(key, as_tensors)]
        return
    np.testing.assert_array_equal(tg.tensor(a)[tengen_key(key, as_tensors)].numpy(), want)
    if a.ndim > 1:  # other strides
        np.testing.assert_array_equal(tg.tensor(np.ascontiguousarray(a.T)).T[tengen_key(key, as_tensors)].numpy(), want)


@pytest.mark.slow
@bounded
@given(shapes_and_keys(), st.data())
def test_writing(case, data):
    shape, key = case
    a = filled(shape)
    place = numpy_read(np.arange(a.size).reshape(shape), key)
    if isinstance(place, IndexError):
        return
    part = tuple(data.draw(st.sampled_from([1, n])) for n in place.shape)[data.draw(st.integers(0, place.ndim)):]
    value = data.draw(st.sampled_from([7.5, np.float32(1000) + filled(part)]))
    spread = np.broadcast_to(value, place.shape)
    want = a.copy().reshape(-1)
    for p, v in zip(np.ravel(place), spread.ravel()):  # of equals the last one stays
        want[p] = v
    want = want.reshape(shape)
    for strided in (False, True):
        x = tg.tensor(np.ascontiguousarray(a.T)).T if strided else tg.tensor(a)
        x[key] = value
        np.testing.assert_array_equal(x.numpy(), want)
    base = tg.tensor(a, requires_grad=True)
    y = base * 1.0
    v = tg.tensor(value, requires_grad=True) if isinstance(value, np.ndarray) else value
    y[key] = v
    np.testing.assert_array_equal(y.detach().numpy(), want)
    if a.size == 0:
        return
    weight = np.sin(filled(shape))
    (y * tg.tensor(weight)).sum().backward()
    hit = np.zeros(a.size, bool)
    hit[np.ravel(place)] = True
    np.testing.assert_allclose(base.grad.numpy(), np.where(hit.reshape(shape), 0, weight))
    if isinstance(value, np.ndarray) and value.size and place.size:
        winner = {p: i for i, p in enumerate(np.ravel(place))}
        flows = np.array([weight.ravel()[p] if winner[p] == i else 0 for i, p in enumerate(np.ravel(place))], np.float64)
        source = np.broadcast_to(np.arange(value.size).reshape(value.shape), place.shape).ravel()
        want_v = np.bincount(source, flows, value.size).reshape(value.shape)
        np.testing.assert_allclose(v.grad.numpy(), want_v, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@bounded
@given(shapes_and_keys(least=1))
def test_adding_in_place(case):
    shape, key = case
    a, x = filled(shape), tg.tensor(filled(shape))
    if isinstance(numpy_read(a, key), IndexError):
        return
    a[key] += 3
    x[key] += 3
    np.testing.assert_array_equal(x.numpy(), a)


@pytest.mark.slow
@bounded
@given(shapes_and_keys(least=1))
def test_gradients_of_reading(case):
    shape, key = case
    a = filled(shape)
    place = numpy_read(np.arange(a.size).reshape(shape), key)
    if isinstance(place, IndexError):
        return
    x = tg.tensor(a, requires_grad=True)
    y = x[key]
    weight = np.cos(filled(place.shape))
    (y * tg.tensor(weight)).sum().backward()
    want = np.zeros(a.size, np.float64)
    np.add.at(want, place, weight)
    np.testing.assert_allclose(np.zeros(shape) if x.grad is None else x.grad.numpy(), want.reshape(shape), rtol=1e-4, atol=1e-5)


@st.composite
def view_steps(draw):
    """A shape, and steps that make views of views."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    return shape, draw(st.lists(st.tuples(st.sampled_from(["permute", "slice", "unsqueeze", "squeeze", "merge", "diagonal", "split"]),
                                          st.integers(0, 10**6)), max_size=6))


def step_of(a, x, kind, seed):
    """One step on both; (a, x) as they are where it does not apply."""
    rng = np.random.default_rng(seed)
    if kind == "permute":
        order = tuple(int(i) for i in rng.permutation(a.ndim))
        return a.transpose(order), x.permute(order)
    if kind == "slice" and a.ndim:
        axis = int(rng.integers(a.ndim))
        start, step = int(rng.integers(a.shape[axis])), int(rng.integers(1, 3))
        key = (slice(None),) * axis + (slice(start, None, step),)
        return a[key], x[key]
    if kind == "unsqueeze" and a.ndim < 5:
        axis = int(rng.integers(a.ndim + 1))
        return np.expand_dims(a, axis), x.unsqueeze(axis)
    if kind == "squeeze":
        return np.squeeze(a), x.squeeze()
    if kind == "merge" and a.ndim > 1:
        shape = (a.shape[0] * a.shape[1], *a.shape[2:])
        try:
            merged = a.reshape(shape, copy=False)
        except ValueError:
            with pytest.raises(ValueError, match="needs no copy"):
                x.view(shape)
        else:
            return merged, x.view(shape)
    if kind == "diagonal" and a.ndim > 1:
        return np.diagonal(a, 0, 0, 1), x.diagonal(0, 0, 1)
    if kind == "split" and a.ndim and a.shape[0] > 1:
        return a[1:], x.split([1, a.shape[0] - 1])[1]
    return a, x


@pytest.mark.slow
@bounded
@given(view_steps())
def test_views_of_views(case):
    shape, steps = case
    a = filled(shape)
    x, place = tg.tensor(a), tg.tensor(a)
    base_a, base_x = a, x
    for kind, seed in steps:
        place = step_of(a, place, kind, seed)[1]
        a, x = step_of(a, x, kind, seed)
        np.testing.assert_array_equal(x.numpy(), a)
    assert x.storage_offset() < max(base_x.numel(), 1)
    x += 100.0  # seen through the base
    want = base_a.copy().reshape(-1)
    want[np.ravel(place.numpy()).astype(int)] += 100
    np.testing.assert_array_equal(base_x.numpy(), want.reshape(shape))


@bounded
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=3, min_side=0))
def test_broadcasting(shapes):
    a, b, c = (filled(s) for s in shapes.input_shapes)
    x, y, z = tg.tensor(a), tg.tensor(b), tg.tensor(c)
    assert tg.broadcast_shapes(*shapes.input_shapes) == shapes.result_shape
    np.testing.assert_array_equal((x + y * z).numpy(), a + b * c)
    np.testing.assert_array_equal(tg.where(x > 1, y, z).numpy(), np.where(a > 1, b, c))
    for t, want in zip(tg.broadcast_tensors(x, y, z), np.broadcast_arrays(a, b, c)):
        np.testing.assert_array_equal(t.numpy(), want)


@bounded
@given(hnp.array_shapes(max_dims=3, min_side=0, max_side=3), hnp.array_shapes(max_dims=3, min_side=0, max_side=3))
def test_shapes_that_do_not_broadcast(s, t):
    try:
        np.broadcast_shapes(s, t)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            tg.tensor(filled(s)) + tg.tensor(filled(t))
        with pytest.raises(ValueError, match="broadcast"):
            tg.broadcast_shapes(s, t)
