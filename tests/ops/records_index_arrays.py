# SPDX-License-Identifier: Apache-2.0
"""Several axes at once by index tensors: NumPy's own indexing is the oracle."""
from __future__ import annotations

import numpy as np
from record import ALL, Bad, Case, Record

RECORDS: dict[str, Record] = {}
SHAPE = (3, 4, 2, 5)


def _key(indices, axes, rank):
    axes = [axes] if isinstance(axes, int) else axes
    key = [slice(None)] * rank
    for i, a in zip(indices, axes):
        key[a] = i
    return tuple(key)


def _index(x, indices, axes, at=None):
    y = x[_key(indices, axes, x.ndim)]
    if at is None:
        return y
    # The indices' axes, wherever NumPy put them, moved to where `at` says.
    axes = sorted(a % x.ndim for a in ([axes] if isinstance(axes, int) else axes))
    own = np.broadcast(*indices).ndim if len(indices) > 1 else indices[0].ndim
    was = axes[0] if axes == list(range(axes[0], axes[-1] + 1)) else 0
    return np.moveaxis(y, range(was, was + own), range(at, at + own))


def _update(x, values, indices, axes, at=None, accumulate=False):
    y = x.copy()
    place = _index(np.arange(x.size).reshape(x.shape), indices, axes, at)
    values = np.broadcast_to(np.asarray(values, x.dtype), place.shape)
    if accumulate:
        np.add.at(y.reshape(-1), place, values)
    else:
        for p, v in zip(place.ravel(), values.ravel()):  # the last one stays
            y.reshape(-1)[p] = v
    return y


def _keys(rng):
    i = lambda axis, *shape: rng.integers(-SHAPE[axis], SHAPE[axis], shape)  # noqa: E731
    return [
        ([i(1, 6)], {"axes": 1}),
        ([i(0, 2, 3)], {"axes": 0}),
        ([i(0, 3), i(1, 3)], {"axes": (0, 1)}),
        ([i(1, 2, 1), i(2, 3).astype(np.int32)], {"axes": (1, 2)}),
        ([i(0, 2), i(2, 2)], {"axes": (0, 2)}),
        ([i(1, 2), i(3, 1)], {"axes": (1, -1)}),
        ([i(3, 2), i(2, 2)], {"axes": (3, 2)}),
        ([i(0, 2), i(1, 3, 1), i(3)], {"axes": (0, 1, 3), "at": 1}),
        ([i(2, 2)], {"axes": 2, "at": 0}),
        ([i(1)], {"axes": 1, "at": 3}),
        ([np.zeros((0, 2), np.int64)], {"axes": 1}),
    ]


RECORDS["index"] = Record(
    _index,
    lambda rng: [Case((rng.normal(size=SHAPE), k), a, (1,)) for k, a in _keys(rng)],
    ALL,
    (0,),
    bad=(
        Bad(ValueError, (np.ones((2, 2)), [np.array([0])]), {"axes": (0, 1)}),
        Bad(ValueError, (np.ones((2, 2)), [np.array([0]), np.array([0])]), {"axes": (0, -2)}),
        Bad(ValueError, (np.ones((2, 2)), [np.array([0, 1]), np.array([0, 1, 0])]), {"axes": (0, 1)}, ()),
        Bad(ValueError, (np.ones((2, 2)), [np.array([0])]), {"axes": 0, "at": 2}),
        Bad(TypeError, (np.ones((2, 2)), [np.array([0.0])]), {"axes": 0}),
        Bad(IndexError, (np.ones((2, 2)), [np.array([0])]), {"axes": 2}),
        Bad(IndexError, (np.ones((2, 0)), [np.array([0])]), {"axes": 1}),
    ),
)


def _updates(rng):
    out = []
    for n, (k, a) in enumerate(_keys(rng)):
        shape = _index(np.zeros(SHAPE), k, **a).shape
        shape = ((), shape, shape[-1:], (1, *shape[1:]))[n % 4]
        out.append(Case((rng.normal(size=SHAPE), rng.normal(size=shape), k), {**a, "accumulate": bool(n % 2)}, (2,)))
        out.append(Case((rng.normal(size=SHAPE), rng.normal(size=shape), k), {**a, "accumulate": not n % 2}, (2,)))
    return out


RECORDS["index_update"] = Record(
    _update,
    _updates,
    ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8"),
    (0, 1),
    length=lambda case: sum(i.size for i in case.inputs[2]) + 1,
    scale=lambda x, v, i, accumulate=False, **a: _update(np.abs(x), np.abs(v), i, accumulate=True, **a),
    bad=(
        Bad(ValueError, (np.ones((2, 3)), np.ones(2), [np.array([0])]), {"axes": 0}),
        Bad(TypeError, (np.ones((2, 2)), np.ones(()), [np.array([0.0])]), {"axes": 0}),
        Bad(ValueError, (np.ones((2, 2)), np.ones(()), [np.array([0])]), {"axes": (0, 1)}),
    ),
)


def _range(tg, device):
    """An index outside its axis, but inside the merged axes, is an error; nothing outside is touched; bools are or-ed."""
    import pytest

    x = tg.zeros(2, 3, device=device)
    i, j = tg.tensor([0, 1], device=device), tg.tensor([3, 0], device=device)
    t = tg.tensor([False, True, False], device=device)
    ones = tg.tensor([True, False], device=device)
    both = tg.index_update(t, ones, [tg.tensor([0, 1], device=device)], axes=0, accumulate=True)
    assert both.tolist() == [True, True, False]
    if device.startswith("cpu"):  # elsewhere errors come at the next wait
        for f in (lambda: tg.index(x, [i, j], axes=(0, 1)), lambda: tg.index_update(x, 1.0, [i, j], axes=(0, 1))):
            with pytest.raises(IndexError):
                f()


RECORDS["index_update"].check = _range
RECORDS["ravel_index"] = Record(covered_by="index index_update")
