# SPDX-License-Identifier: Apache-2.0
"""Records of the optimizers' ops: the step of one parameter and the multi-tensor op, against one formula in NumPy."""

from __future__ import annotations

import functools
import itertools
import json

import numpy as np
from record import EPS, Case, Record

RECORDS = {}


@functools.cache
def _table(name):
    from tengen import _core

    return next(op for op in json.loads(_core._op_table_json()) if op["name"] == name)


def _values(t):
    import tengen as tg

    return np.array(t.detach().to(tg.float64).cpu().numpy())


def _close(name, got, expected, dtype, stored=None):
    """Within the table's bound in the dtype of the computation, and one rounding in the dtype that it is stored in.

    All operands have magnitudes below 1, and so do intermediate values up to small factors that the bound counts.
    """
    scale = np.maximum(np.abs(expected), 1)
    bound = _table(name)["bound"] * EPS[dtype] * scale + (EPS[stored] * scale if stored else 0)
    error = np.abs(_values(got) - expected)
    assert got.shape == expected.shape
    assert (error <= bound).all(), f"{name} {dtype}: error {error.max()}, bound {bound.min()}"


def _arrays(rng, shapes):
    return [rng.uniform(0.1, 1, s) * np.where(i == 1, rng.choice([-1, 1], s), 1) for i, s in enumerate(shapes)]


def _tensors(tg, arrays, dtypes, device):
    return [tg.tensor(a, device=device).to(getattr(tg, t)) for a, t in zip(arrays, dtypes)]


def _runs(tg, name, tensors, numbers, flags, outs, step):
    from tengen import _core

    if step:
        _core.call_into(name, (*tensors, *numbers), flags, outs)
    else:
        _core.call_into(name, tuple(tensors), (*numbers, *flags), outs)


MIXES = [("float64", "float64"), ("float32", "float32"), ("bfloat16", "float32"), ("float16", "float32")]


def optimizer(name, formula, states, numbers, flags, shapes_of=None, prepare=lambda arrays: arrays, more=()):
    """Records of <name>_step (unless the op is made of several) and of multi_<name>.

    formula(p, g, states, numbers, flags) gives p and the states after the step; `more` has others with their numbers.
    """
    formula0, numbers0 = formula, numbers
    shapes_of = shapes_of or (lambda shape: [shape] * (2 + states))

    def check_step(tg, device):
        rng = np.random.default_rng(3)
        for (mine, kept), flag, (formula, numbers) in itertools.product(
            MIXES, itertools.product((False, True), repeat=flags), ((formula0, numbers0), *more)
        ):
            tensors = _tensors(tg, prepare(_arrays(rng, shapes_of((3, 5)))), (mine, mine, *(kept,) * states), device)
            before = [_values(t) for t in tensors]
            outs = (tensors[0], *tensors[2:])
            _runs(tg, f"{name}_step", tensors, numbers, flag, outs, True)
            expected = formula(before[0], before[1], before[2:], numbers, flag)
            for t, e in zip(outs, expected):
                _close(f"{name}_step", t, e, kept, mine if t is tensors[0] and mine != kept else None)
            np.testing.assert_array_equal(_values(tensors[1]), before[1])

    def check_multi(tg, device):
        from tengen import _core

        rng = np.random.default_rng(4)
        sizes = [(3, 4), (2, 3, 2), (4, 1)] if shapes_of(()) is None else [(0, 2), (3, 4), (5,), (), (1,)]
        for (mine, kept), flag in itertools.product(MIXES, itertools.product((False, True), repeat=flags)):
            groups = [
                _tensors(tg, prepare(_arrays(rng, shapes_of(s))), (mine, mine, *(kept,) * states), device) for s in sizes
            ]
            flat = [t for group in groups for t in group]
            before = [[_values(t) for t in group] for group in groups]
            fresh = _core.call(f"multi_{name}", tuple(flat), (*numbers, *flag))
            for group, was in zip(groups, before):
                for t, value in zip(group, was):
                    np.testing.assert_array_equal(_values(t), value)  # operands stay when nothing is written over them
            outs = tuple(t for group in groups for t in (group[0], *group[2:]))
            _runs(tg, f"multi_{name}", flat, numbers, flag, outs, False)
            expected = [e for was in before for e in formula(was[0], was[1], was[2:], numbers, flag)]
            assert len(fresh) == len(outs) == len(expected)
            for t, f, e in zip(outs, fresh, expected):
                same = t.dtype == getattr(tg, kept)
                _close(f"multi_{name}", t, e, kept, None if same else mine)
                np.testing.assert_array_equal(_values(f), _values(t))
            plans = tg.dispatch_stats()["plans_created"]
            _runs(tg, f"multi_{name}", flat, [n * 1.01 for n in numbers], flag, outs, False)
            assert tg.dispatch_stats()["plans_created"] == plans, "other numbers made a plan"
        for bad, error, text in (
            (flat[:-1], ValueError, "tensors for each parameter"),
            ([*flat[:-1], tg.ones((7, 7), device=device)], ValueError, "to have its shape"),
            ([*flat[:-1], tg.ones((1,), device=device, dtype=tg.int64)], TypeError, "expected floats"),
        ):
            if text == "to have its shape" and shapes_of(()) is None:
                continue  # states of other shapes
            try:
                _core.call(f"multi_{name}", tuple(bad), (*numbers, *flag))
            except error as e:
                assert f"[multi_{name}]" in str(e) and text in str(e), str(e)
            else:
                raise AssertionError(f"expected {error.__name__}")

    if name not in ("lamb", "lars", "adafactor", "adafactor_vector"):
        RECORDS[f"{name}_step"] = Record(check=check_step)
    RECORDS[f"multi_{name}"] = Record(check=check_multi)


# ---- formulas ----


def _sgd(p, g, s, n, f):
    lr, momentum, dampening, decay = n
    g = (-g if f[1] else g) + decay * p
    b = momentum * s[0] + (1 - dampening) * g
    return p - lr * (g + momentum * b if f[0] else b), b


def _plain(p, g, s, n, f):
    return (p - n[0] * ((-g if f[0] else g) + n[1] * p),)


def _asgd(p, g, s, n, f):
    eta, lambd, mu, decay = n
    p = p * (1 - lambd * eta) - eta * ((-g if f[0] else g) + decay * p)
    return p, (p if mu == 1 else s[0] + mu * (p - s[0]))


def _lion(p, g, s, n, f):
    lr, b1, b2, decay = n
    g = -g if f[0] else g
    return p * (1 - lr * decay) - lr * np.sign(b1 * s[0] + (1 - b1) * g), b2 * s[0] + (1 - b2) * g


def _rprop(p, g, s, n, f):
    shrink, grow, least, most = n
    g = -g if f[0] else g
    turn = np.sign(g * s[0])
    size = np.clip(s[1] * np.where(turn > 0, grow, np.where(turn < 0, shrink, 1)), least, most)
    g = np.where(turn < 0, 0, g)
    return p - np.sign(g) * size, g, size


def _adam(top):
    def formula(p, g, s, n, f):
        lr, b1, b2, eps, c1, c2, decay = n
        g = -g if f[1] else g
        if f[0]:
            p = p * (1 - lr * decay)
        else:
            g = g + decay * p
        m, v = b1 * s[0] + (1 - b1) * g, b2 * s[1] + (1 - b2) * g**2
        largest = np.maximum(s[2], v) if top else v
        p = p - lr / c1 * m / (np.sqrt(largest) / c2 + eps)
        return (p, m, v, largest) if top else (p, m, v)

    return formula


def _nadam(p, g, s, n, f):
    lr, b1, b2, eps, c2, wg, wm, decay = n
    g = -g if f[1] else g
    if f[0]:
        p = p * (1 - lr * decay)
    else:
        g = g + decay * p
    m, v = b1 * s[0] + (1 - b1) * g, b2 * s[1] + (1 - b2) * g**2
    return p - (wg * g + wm * m) / (np.sqrt(v) / c2 + eps), m, v


def _radam(p, g, s, n, f):
    lr, b1, b2, eps, c1, c2, r, decay = n
    g = -g if f[1] else g
    if f[0]:
        p = p * (1 - lr * decay)
    else:
        g = g + decay * p
    m, v = b1 * s[0] + (1 - b1) * g, b2 * s[1] + (1 - b2) * g**2
    return p - lr * m / c1 * (r * c2 / (np.sqrt(v) + eps) if r else 1), m, v


def _adamax(p, g, s, n, f):
    lr, b1, b2, eps, c1, decay = n
    g = (-g if f[0] else g) + decay * p
    m, u = b1 * s[0] + (1 - b1) * g, np.maximum(b2 * s[1], np.abs(g) + eps)
    return p - lr / c1 * m / u, m, u


def _adagrad(p, g, s, n, f):
    lr, eps, decay = n
    g = (-g if f[0] else g) + decay * p
    total = s[0] + g**2
    return p - lr * g / (np.sqrt(total) + eps), total


def _adadelta(p, g, s, n, f):
    lr, rho, eps, decay = n
    g = (-g if f[0] else g) + decay * p
    v = rho * s[0] + (1 - rho) * g**2
    d = np.sqrt(s[1] + eps) / np.sqrt(v + eps) * g
    return p - lr * d, v, rho * s[1] + (1 - rho) * d**2


def _rmsprop(centered, momentum):
    def formula(p, g, s, n, f):
        lr, alpha, eps, decay = n[:4]
        g = (-g if f[0] else g) + decay * p
        v = alpha * s[0] + (1 - alpha) * g**2
        out, spread = [v], v
        if centered:
            mean = alpha * s[1] + (1 - alpha) * g
            out.append(mean)
            spread = v - mean**2
        update = g / (np.sqrt(spread) + eps)
        if momentum:
            update = n[4] * s[-1] + update
            out.append(update)
        return p - lr * update, *out

    return formula


def _ratio(a, b):
    return a / b if a > 0 and b > 0 else 1.0


def _lamb(p, g, s, n, f):
    lr, b1, b2, eps, c1, c2, decay = n
    g = -g if f[0] else g
    m, v = b1 * s[0] + (1 - b1) * g, b2 * s[1] + (1 - b2) * g**2
    u = m / c1 / (np.sqrt(v) / c2 + eps) + decay * p
    return p - lr * _ratio(np.sqrt((p**2).sum()), np.sqrt((u**2).sum())) * u, m, v


def _lars(p, g, s, n, f):
    lr, momentum, decay, trust, eps = n
    w, size = np.sqrt((p**2).sum()), np.sqrt((g**2).sum())
    local = trust * w / (size + decay * w + eps) if w > 0 and size > 0 else 1.0
    b = momentum * s[0] + local * lr * ((-g if f[0] else g) + decay * p)
    return p - b, b


def _adafactor(p, g, s, n, f):
    lr, b2, eps1, eps2, d, shrink = n
    g = -g if f[0] else g
    out = [b2 * s[0] + (1 - b2) * (g**2).mean(-1, keepdims=True) if len(s) == 2 else b2 * s[0] + (1 - b2) * g**2]
    v = out[0]
    if len(s) == 2:
        out.append(b2 * s[1] + (1 - b2) * (g**2).mean(-2, keepdims=True))
        v = out[0] * out[1] / np.maximum(out[0].mean(-2, keepdims=True), eps1)
    u = g / np.sqrt(np.maximum(v, eps1**2))
    rms = lambda x: np.sqrt((x**2).mean()) if x.size else 0.0
    return p * shrink - lr * max(eps2, rms(p)) / max(1, rms(u) / d) * u, *out


ADAM = (0.1, 0.9, 0.99, 1e-3, 0.5, 0.7, 0.01)
optimizer("sgd", _sgd, 1, (0.1, 0.9, 0.2, 0.01), 2)
optimizer("sgd_plain", _plain, 0, (0.1, 0.01), 1)
optimizer("asgd", _asgd, 1, (0.1, 0.3, 0.25, 0.01), 1, more=[(_asgd, (0.1, 0.3, 1.0, 0.01))])
optimizer("lion", _lion, 1, (0.1, 0.9, 0.99, 0.01), 1)
optimizer("rprop", _rprop, 2, (0.5, 1.2, 0.2, 0.9), 1)
optimizer("adam", _adam(False), 2, ADAM, 2)
optimizer("amsgrad", _adam(True), 3, ADAM, 2)
optimizer("nadam", _nadam, 2, (0.1, 0.9, 0.99, 1e-3, 0.7, 0.2, 0.3, 0.01), 2)
RADAM = (0.1, 0.9, 0.99, 1e-3, 0.5, 0.7)
optimizer("radam", _radam, 2, (*RADAM, 0.8, 0.01), 2, more=[(_radam, (*RADAM, 0.0, 0.01))])
optimizer("adamax", _adamax, 2, (0.1, 0.9, 0.99, 1e-3, 0.5, 0.01), 1)
optimizer("adagrad", _adagrad, 1, (0.1, 1e-3, 0.01), 1)
optimizer("adadelta", _adadelta, 2, (0.1, 0.9, 1e-3, 0.01), 1)
optimizer("rmsprop", _rmsprop(False, False), 1, (0.1, 0.9, 1e-3, 0.01), 1)
centered = lambda a: [a[0], a[1], a[2], 0.1 * a[3], *a[4:]]  # the square of a mean is no more than the mean of squares
optimizer("rmsprop_centered", _rmsprop(True, False), 2, (0.1, 0.9, 1e-3, 0.01), 1, prepare=centered)
optimizer("rmsprop_centered_momentum", _rmsprop(True, True), 3, (0.1, 0.9, 1e-3, 0.01, 0.8), 1, prepare=centered)
optimizer("rmsprop_momentum", _rmsprop(False, True), 2, (0.1, 0.9, 1e-3, 0.01, 0.8), 1)
optimizer("lamb", _lamb, 2, ADAM, 1)
optimizer("lars", _lars, 1, (0.1, 0.9, 0.01, 0.5, 1e-3), 1)
optimizer(
    "adafactor",
    _adafactor,
    2,
    (0.1, 0.7, 1e-3, 1e-3, 1.0, 0.99),
    1,
    lambda s: [s, s, (*s[:-1], 1), (*s[:-2], 1, s[-1])] if s else None,
)
optimizer("adafactor_vector", _adafactor, 1, (0.1, 0.7, 1e-3, 1e-3, 1.0, 0.99), 1)


# ---- parts and other multi-tensor ops ----


def _part(name, formula, numbers, low=("bfloat16", "float16")):
    """A step of two tensors and a ratio or number."""

    def check(tg, device):
        from tengen import _core

        rng = np.random.default_rng(5)
        for dtype in ("float64", "float32", *low):
            for values in numbers:
                x, y = _tensors(tg, _arrays(rng, [(4, 3), (4, 3)]), (dtype, dtype), device)
                a, b = _values(x), _values(y)
                args = [tg.tensor(v, device=device) if isinstance(v, np.ndarray) else v for v in values]
                _core.call_into(name, (x, y, *args)[: len(_table(name)["inputs"])], (), (x,))
                wide = dtype if dtype not in low else "float32"
                _close(name, x, formula(a, b, *values), wide, dtype if dtype in low else None)

    RECORDS[name] = Record(check=check)


_part("ratio_step", lambda p, u, ratio, lr, shrink: p * shrink - lr * float(ratio) * u,
      [(np.array(0.7, np.float32), 0.1, 0.99)])
_part("lerp_step", lambda x, y, w: x + w * (y - x), [(0.25,), (1.0,)])


def _scale(tg, device):
    from tengen import _core

    for dtype in ("float64", "float32", "float16", "bfloat16"):
        for factor in (0.375, tg.tensor(0.375, device=device)):  # exact products
            x = tg.tensor([[1.5, -2.0], [0.0, 8.0]], device=device).to(getattr(tg, dtype))
            _core.call_into("scale_step", (x, factor), (), (x,))
            assert x.dtype == getattr(tg, dtype) and x.tolist() == [[0.5625, -0.75], [0.0, 3.0]]


def _multi(tg, device):
    rng = np.random.default_rng(6)
    arrays = [rng.uniform(-1, 1, s) for s in ((3, 4), (), (0, 2), (7,))]
    return arrays, [tg.tensor(a, device=device) for a in arrays]


def _norm(tg, device):
    from tengen import _core

    arrays, tensors = _multi(tg, device)
    flat = np.concatenate([a.ravel() for a in arrays])
    for p in (1.0, 2.0, 3.0, np.inf):
        (got,) = _core.call("multi_norm", tuple(tensors), (p,))
        assert abs(got.item() - np.linalg.norm(flat, p)) <= 2 * flat.size * EPS["float64"] * np.linalg.norm(flat, p)
    (got,) = _core.call("multi_norm", (tg.full((300,), 300.0, device=device, dtype=tg.float16),))  # squares overflow in f16
    assert got.dtype == tg.float32 and abs(got.item() - 300 * 300**0.5) <= 600 * EPS["float32"] * 6000
    (got,) = _core.call("multi_norm", (tg.zeros((0,), device=device),))
    assert got.item() == 0


def _multi_scale(tg, device):
    from tengen import _core

    arrays, tensors = _multi(tg, device)
    _core.call_into("multi_scale", (tg.tensor(0.5, device=device, dtype=tg.float64), *tensors), (), tuple(tensors))
    for a, t in zip(arrays, tensors):
        np.testing.assert_array_equal(_values(t), a * 0.5)


def _unscale(tg, device):
    from tengen import _core

    for bad in (None, np.inf, np.nan):
        arrays, tensors = _multi(tg, device)
        if bad is not None:
            arrays[3][2] = bad
            tensors[3] = tg.tensor(arrays[3], device=device)
        found = tg.full((), 7.0, device=device)
        _core.call_into("multi_unscale", tuple(tensors), (0.25,), (*tensors, found))
        for a, t in zip(arrays, tensors):
            np.testing.assert_array_equal(_values(t), a * 0.25)
        assert found.item() == (0 if bad is None else 1)


def _lerp(tg, device):
    from tengen import _core

    arrays, tensors = _multi(tg, device)
    others = [a[::-1].copy() if a.ndim else a + 1 for a in arrays]
    pairs = [t for x, y in zip(tensors, others) for t in (x, tg.tensor(y, device=device))]
    _core.call_into("multi_lerp", tuple(pairs), (0.3,), tuple(tensors))
    for a, b, t in zip(arrays, others, tensors):
        _close("multi_lerp", t, a + 0.3 * (b - a), "float64")


RECORDS["scale_step"] = Record(check=_scale)
RECORDS["multi_norm"] = Record(check=_norm)
RECORDS["multi_scale"] = Record(check=_multi_scale)
RECORDS["multi_unscale"] = Record(check=_unscale)
RECORDS["multi_lerp"] = Record(check=_lerp)
RECORDS["lamb_direction"] = Record(covered_by="multi_lamb")
RECORDS["lars_step"] = Record(covered_by="multi_lars")

# How many tensors an update takes, and its numbers.
_NUMBERS = {
    "sgd_step": (3, 0.1, 0.9, 0.1, 0.01), "sgd_plain_step": (2, 0.1, 0.01), "asgd_step": (3, 0.1, 0.01, 0.5, 0.01), "lion_step": (3, 0.1, 0.9, 0.99, 0.01),
    "rprop_step": (4, 0.5, 1.2, 1e-6, 50.0), "adam_step": (4, 0.1, 0.9, 0.99, 1e-8, 0.5, 0.7, 0.01), "amsgrad_step": (5, 0.1, 0.9, 0.99, 1e-8, 0.5, 0.7, 0.01),
    "nadam_step": (4, 0.1, 0.9, 0.99, 1e-8, 0.7, 0.3, 0.6, 0.01), "radam_step": (4, 0.1, 0.9, 0.99, 1e-8, 0.5, 0.7, 1.1, 0.01),
    "adamax_step": (4, 0.1, 0.9, 0.99, 1e-8, 0.5, 0.01), "adagrad_step": (3, 0.1, 1e-8, 0.01), "adadelta_step": (4, 0.1, 0.9, 1e-6, 0.01),
    "rmsprop_step": (3, 0.1, 0.9, 1e-8, 0.01), "rmsprop_centered_step": (4, 0.1, 0.9, 1e-8, 0.01), "rmsprop_momentum_step": (4, 0.1, 0.9, 1e-8, 0.01, 0.9),
    "rmsprop_centered_momentum_step": (5, 0.1, 0.9, 1e-8, 0.01, 0.9), "ratio_step": (3, 0.1, 0.01), "lerp_step": (2, 0.3), "scale_step": (1, 0.3),
}
for _name, (_many, *_more) in _NUMBERS.items():
    RECORDS[_name].cases = lambda rng, n=_many, values=_more: [Case((*(rng.uniform(1, 2, (3, 5)) if k == 2 else rng.uniform(0.1, 1, (3, 5)) for k in range(n)), *values))]
    RECORDS[_name].dtypes = ("float32", "float64")
