# SPDX-License-Identifier: Apache-2.0
"""Creation, views, joining; and the primitives, which other records run."""

from __future__ import annotations

import numpy as np
from record import ALL, FLOATS, REAL, Bad, Case, Record

RECORDS: dict[str, Record] = {}
ONE = np.ones((2, 3))


def cube(rng):
    return rng.uniform(0, 100, (2, 3, 4))


def moved(name, oracle, calls, dtypes=ALL, grad=(0,), bad=(), make=cube, **more):
    """An op that only moves elements, called with each attribute set."""
    RECORDS[name] = Record(
        oracle,
        lambda rng: [Case((make(rng),), a) for a in calls],
        dtypes,
        grad,
        bad=tuple(Bad(e, (x,), a) for e, x, a in bad),
        **more,
    )


# ---- views ----

moved(
    "permute",
    lambda x, axes: np.transpose(x, axes),
    [{"axes": a} for a in ((0, 1, 2), (2, 0, 1), (-1, 1, 0))],
    bad=((ValueError, ONE, {"axes": (0,)}), (ValueError, ONE, {"axes": (0, 0)}), (IndexError, ONE, {"axes": (0, 2)})),
)
moved(
    "transpose",
    lambda x, axis0=-2, axis1=-1: np.swapaxes(x, axis0, axis1),
    [{}, {"axis0": 0, "axis1": 2}, {"axis0": 1, "axis1": 1}],
    bad=((IndexError, ONE, {"axis0": 0, "axis1": 2}),),
)
RECORDS["expand"] = Record(
    lambda x, shape: np.broadcast_to(
        x, tuple(s if s >= 0 else x.shape[i - len(shape) + x.ndim] for i, s in enumerate(shape))
    ),
    lambda rng: (
        [Case((rng.normal(size=(3, 1)),), {"shape": s}) for s in ((3, 4), (2, 3, 4), (-1, 5), (2, -1, -1))]
        + [Case((np.array(2.0),), {"shape": (2, 2)})]
    ),
    REAL,
    (0,),
    bad=(Bad(ValueError, (ONE,), {"shape": (2, 4)}), Bad(ValueError, (ONE,), {"shape": (3,)})),
)
moved(
    "squeeze",
    lambda x, axis=None: np.squeeze(x, axis),
    [{}, {"axis": 0}, {"axis": (0, -1)}],
    make=lambda rng: rng.normal(size=(1, 3, 1)),
    dtypes=FLOATS,
    bad=((ValueError, ONE, {"axis": 0}), (IndexError, ONE, {"axis": 2})),
)
moved(
    "unsqueeze",
    lambda x, axis: np.expand_dims(x, axis),
    [{"axis": 0}, {"axis": -1}, {"axis": (0, 2)}],
    bad=((IndexError, ONE, {"axis": 3}),),
)
moved(
    "reshape",
    lambda x, shape: np.reshape(x, shape),
    [{"shape": s} for s in ((6, 4), (-1,), (2, 3, 2, 2), (1, 24, 1), (4, -1))],
    bad=(
        (ValueError, ONE, {"shape": (4,)}),
        (ValueError, ONE, {"shape": (-1, -1)}),
        (ValueError, ONE, {"shape": (-1, 4)}),
    ),
)
moved(
    "flatten",
    lambda x, start_axis=0, end_axis=-1: x.reshape(*x.shape[:start_axis], -1, *x.shape[x.ndim + end_axis + 1 :]),
    [{}, {"start_axis": 1}, {"end_axis": -2}],
    bad=((ValueError, ONE, {"start_axis": 1, "end_axis": 0}),),
)
moved(
    "unflatten",
    lambda x, axis, sizes: x.reshape(2, 3, *sizes),
    [{"axis": 2, "sizes": (2, 2)}, {"axis": -1, "sizes": (4, -1)}],
    bad=((ValueError, ONE, {"axis": 1, "sizes": (2, 2)}),),
    second=True,
)
moved(
    "movedim",
    lambda x, source, destination: np.moveaxis(x, source, destination),
    [{"source": 0, "destination": -1}, {"source": (0, 2), "destination": (1, 0)}],
    bad=((ValueError, ONE, {"source": (0, 1), "destination": (0,)}),),
)
moved(
    "slice",
    lambda x, axis, start=0, stop=None, step=1: x[(slice(None),) * (axis % x.ndim) + (slice(start, stop, step),)],
    [
        {"axis": 0, "start": 1},
        {"axis": 2, "start": 1, "stop": 4, "step": 2},
        {"axis": -1, "stop": -1},
        {"axis": 1, "start": 5},
        {"axis": 2, "step": 3},
    ],
    bad=((ValueError, ONE, {"axis": 0, "step": 0}), (IndexError, ONE, {"axis": 2})),
)
moved(
    "select",
    lambda x, axis, index: np.take(x, index, axis),
    [{"axis": 0, "index": 1}, {"axis": -1, "index": -2}],
    bad=((IndexError, ONE, {"axis": 0, "index": 2}),),
)
moved(
    "diagonal",
    lambda x, offset=0, axis1=0, axis2=1: np.diagonal(x, offset, axis1, axis2),
    [{}, {"offset": 1}, {"offset": -1, "axis1": 1, "axis2": 2}, {"offset": 9}],
    bad=((ValueError, np.ones(3), {}), (ValueError, ONE, {"axis1": 1, "axis2": -1})),
)


def _shares_storage(tg, device):
    """A view costs nothing: what is written into it is seen through the original."""
    x = tg.zeros((2, 3), device=device)
    tg.reshape(x, (6,)).add_(1)
    tg.transpose(x).add_(1)
    tg.slice(x, 1, 0, 2).add_(1)
    assert x.tolist() == [[3.0, 3.0, 2.0]] * 2


RECORDS["reshape"].check = _shares_storage
RECORDS["slice_backward"] = Record(covered_by="slice select")
RECORDS["diagonal_backward"] = Record(covered_by="diagonal")

# ---- several tensors ----

RECORDS["concat"] = Record(
    lambda xs, axis=0: np.concatenate(xs, axis),
    lambda rng: (
        [Case(([rng.normal(size=(2, n, 3)) for n in (1, 4, 2)],), {"axis": 1})]
        + [Case(([rng.normal(size=(2, n, 3)) for n in (1, 4, 0, 2)],), {"axis": a}) for a in (1, -2)]
        + [Case(([rng.normal(size=(2,))],))]
    ),
    ALL,
    (0,),
    bad=(Bad(ValueError, ([ONE, np.ones((2, 4))],), {}), Bad(ValueError, ([np.array(1.0)],), {})),
)
RECORDS["stack"] = Record(
    lambda xs, axis=0: np.stack(xs, axis),
    lambda rng: [Case(([rng.normal(size=(2, 3)) for _ in range(3)],), {"axis": a}) for a in (0, 1, -1)],
    ALL,
    (0,),
    bad=(Bad(ValueError, ([ONE, np.ones((2, 4))],), {}),),
)
moved(
    "tile",
    lambda x, reps: np.tile(x, reps),
    [{"reps": r} for r in ((2,), (1, 2, 3), (2, 1, 1, 2), (1,))],
    bad=((ValueError, ONE, {"reps": (-1,)}),),
)
moved(
    "repeat_interleave",
    lambda x, repeats, axis=0: np.repeat(x, repeats, axis),
    [{"repeats": 2}, {"repeats": 3, "axis": -1}, {"repeats": 1}],
    bad=((ValueError, ONE, {"repeats": -1}),),
)
moved(
    "flip",
    lambda x, axes=None: np.flip(x, axes),
    [{}, {"axes": 0}, {"axes": (0, -1)}],
    bad=((IndexError, ONE, {"axes": 2}),),
)
moved(
    "roll",
    lambda x, shift, axis=None: np.roll(x, shift, axis),
    [{"shift": 1, "axis": 0}, {"shift": -3, "axis": 2}, {"shift": 7, "axis": -1}, {"shift": (1, -2), "axis": (0, 2)},
     {"shift": (1, 1), "axis": (1, 1)}, {"shift": 5}, {"shift": -2}],
    bad=((IndexError, ONE, {"shift": 1, "axis": 2}), (ValueError, ONE, {"shift": (1, 2), "axis": 0})),
)

# ---- creation ----


def created(name, calls, oracle, bad=()):
    def cases(rng):
        return [Case((), a) for a in calls]

    RECORDS[name] = Record(lambda **a: oracle(**a), cases, ("float32",), bad=bad)


np_dtype = {"float32": np.float64, "float64": np.float64, "int64": np.int64, "int32": np.int32, "bool": np.bool_}
created(
    "full",
    [
        {"shape": s, "value": v, "dtype": d}
        for s in ((), (2, 3), (0, 2))
        for v, d in ((2.5, "float32"), (2, "int64"), (1, "bool"))
    ],
    lambda shape, value, dtype: np.full(shape, value, np_dtype[dtype]),
    (Bad(ValueError, (), {"shape": (-1,), "value": 0.0}),),
)
created(
    "arange",
    [
        {"start": 0, "stop": 5},
        {"start": 7, "stop": 0, "step": -3},
        {"start": 3, "stop": 3},
        {"start": 0.0, "stop": 1.0, "step": 0.25},
        {"start": 0, "stop": 4, "dtype": "float64"},
    ],
    lambda start, stop, step=1, dtype=None: np.arange(start, stop, step, np_dtype.get(dtype)),
    (Bad(ValueError, (), {"start": 0, "stop": 1, "step": 0}),),
)
created(
    "linspace",
    [{"start": -1.0, "stop": 2.0, "n": n} for n in (0, 1, 2, 7)],
    lambda start, stop, n: np.linspace(start, stop, n),
    (Bad(ValueError, (), {"start": 0.0, "stop": 1.0, "n": -1}),),
)
RECORDS["linspace"].scale = lambda start, stop, n: 2.0
created(
    "eye",
    [{"n": 3}, {"n": 2, "m": 4, "k": 1}, {"n": 4, "m": 2, "k": -1, "dtype": "int64"}],
    lambda n, m=None, k=0, dtype="float32": np.eye(n, m, k, np_dtype[dtype]),
    (Bad(ValueError, (), {"n": -1}),),
)
for _name, _value in {"zeros_like": 0, "ones_like": 1}.items():
    RECORDS[_name] = Record(
        lambda x, v=_value: np.full_like(x, v), lambda rng: [Case((cube(rng),)), Case((np.zeros((0, 2)),))], ALL
    )
RECORDS["full_like"] = Record(
    lambda x, value: np.full_like(x, value), lambda rng: [Case((cube(rng),), {"value": 3})], REAL
)
moved("tril", lambda x, k=0: np.tril(x, k), [{}, {"k": 1}, {"k": -1}], dtypes=REAL, bad=((ValueError, np.ones(3), {}),))
moved("triu", lambda x, k=0: np.triu(x, k), [{}, {"k": 1}, {"k": -1}], dtypes=REAL, bad=((ValueError, np.ones(3), {}),))

# ---- primitives: what everything above and below decomposes onto ----

for _name, _others in {
    "empty": "concat stack",
    "floor_fill": "full",
    "floor_iota": "arange",
    "floor_random": "random_bits",
    "floor_reduce": "sum max prod argmax any",
    "floor_scan": "cumsum cumprod",
    "floor_matmul": "matmul",
    "floor_gather": "take_along_axis",
    "floor_scatter": "scatter scatter_add",
    "floor_sort": "sort",
}.items():
    RECORDS[_name] = Record(covered_by=_others)
