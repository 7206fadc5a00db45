# SPDX-License-Identifier: Apache-2.0
"""Checks of every op of the table on every device: values against NumPy, strides, empty and 0-d tensors, broadcasting,
dtypes, gradients against finite differences, second gradients, bad input."""

from __future__ import annotations

import doctest
import itertools
import json
import zlib

import ml_dtypes
import numpy as np
import pytest
from record import EPS, FLOATS, Case, Record
from records import RECORDS

import tengen as tg
from tengen import _core

# Tengen's own: other test files of the same run may have registered custom ops, which have a namespace.
TABLE = {op["name"]: op for op in json.loads(_core._op_table_json()) if "::" not in op["name"]}
DEVICES = [d.name for d in tg.devices() if d.usable]
NUMPY = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bool": np.bool_,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint8": np.uint8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "complex64": np.complex64,
    "complex128": np.complex128,
}
# Where a record takes uint8, the other unsigned integers are tested, too: no op tells them apart.
UNSIGNED = ("uint64", "uint32", "uint16")
COMPLEX = {"float32": "complex64", "float64": "complex128"}  # of an array of complex numbers, where floats have this dtype
THROUGH_FLOAT32 = ("bfloat16", "float8_e4m3fn", "float8_e5m2")  # NumPy has none of them
TG = {name: getattr(tg, name) for name in (*NUMPY, *THROUGH_FLOAT32)}


def seed(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def cases_of(name: str) -> list[Case]:
    record = RECORDS[name]
    return record.cases(seed(name)) if callable(record.cases) else list(record.cases)


def countable(a: np.ndarray, dtype: str) -> np.ndarray:
    """Negative floats have no value in the wide unsigned dtypes: their size stands for them."""
    return np.abs(a) if dtype in UNSIGNED and a.dtype.kind == "f" else a


def rounded(a: np.ndarray, dtype: str) -> np.ndarray:
    """The values of `a` in dtype, as the oracle sees them."""
    if dtype == "bfloat16":
        bits = np.asarray(a, np.float32).view(np.uint32)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        return bits.view(np.float32).astype(np.float64)
    dtype = COMPLEX.get(dtype, dtype) if np.iscomplexobj(a) else dtype
    if dtype in THROUGH_FLOAT32:
        return np.asarray(a, np.float32).astype(getattr(ml_dtypes, dtype)).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        b = countable(np.asarray(a), dtype).astype(NUMPY[dtype])
    return b.astype(np.float64) if dtype in FLOATS else b


def tensor(a: np.ndarray, dtype: str | None, device: str) -> tg.Tensor:
    if dtype is None:
        return tg.tensor(a, device=device)
    dtype = COMPLEX.get(dtype, dtype) if np.iscomplexobj(a) else dtype
    if dtype in THROUGH_FLOAT32:
        return tg.tensor(np.asarray(a, np.float32), device=device).to(TG[dtype])
    with np.errstate(over="ignore", invalid="ignore"):
        return tg.tensor(countable(np.asarray(a), dtype).astype(NUMPY[dtype]), device=device)


def numpy_of(t: tg.Tensor) -> np.ndarray:
    t = t.detach()
    return t.to(tg.float64).cpu().numpy() if t.dtype.is_floating_point or "float8" in str(t.dtype) else t.cpu().numpy()


def each_array(case: Case, f) -> list:
    """The case's inputs with f(position, array) for arrays."""
    out = []
    for i, x in enumerate(case.inputs):
        if isinstance(x, list):
            out.append([f(i, a) for a in x])
        else:
            out.append(f(i, x) if isinstance(x, np.ndarray) else x)
    return out


def tensors_of(case: Case, dtype: str, device: str) -> list:
    return each_array(case, lambda i, a: tensor(a, None if i in case.fixed else dtype, device))


def attrs_of(case: Case) -> dict:
    return {k: (TG[v] if k == "dtype" else v) for k, v in case.attrs.items()}


def plain(inputs: list) -> tuple:
    """The inputs of a call without lists."""
    return tuple(y for x in inputs for y in (x if isinstance(x, list) else [x]))


def attr_values(name: str, case: Case) -> tuple:
    """All attributes in the table's order."""
    attrs = attrs_of(case)
    values = tuple(attrs.get(a["name"], a["default"]) for a in TABLE[name]["attrs"])
    return tuple(tuple(v) if isinstance(v, list) else v for v in values)


def draws(name: str) -> bool:
    return TABLE[name]["family"] == "random" or "dropout" in name


def call(name: str, inputs: list, case: Case, device: str):
    extra = {"device": device} if not TABLE[name]["inputs"] else {}
    if draws(name):
        tg.manual_seed(0)
    if TABLE[name]["internal"]:
        out = _core.call(name, plain(inputs), attr_values(name, case))
    else:
        out = _core.ops[name](*inputs, **attrs_of(case), **extra)
    return tuple(out) if isinstance(out, tuple) else (out,)


def oracle_of(record: Record, case: Case, dtype: str) -> tuple:
    inputs = each_array(case, lambda i, a: a if i in case.fixed else rounded(a, dtype))
    with np.errstate(all="ignore"):
        out = record.oracle(*inputs, **case.attrs)
    return out if isinstance(out, tuple) else (out,)


def expected_of(name: str, case: Case, dtype: str, device: str) -> tuple:
    """What the oracle says, or the op itself of contiguous inputs, where the record has a check alone."""
    record = RECORDS[name]
    if record.oracle is not None and not draws(name):
        return oracle_of(record, case, dtype)
    return tuple(numpy_of(t) for t in call(name, tensors_of(case, dtype, device), case, device))


def assert_close(name: str, record: Record, case: Case, dtype: str, got: tuple, expected: tuple) -> None:
    assert len(got) == len(expected), f"{len(got)} outputs, the oracle gives {len(expected)}"
    for g, e in zip(got, expected):
        e = np.asarray(e)
        assert tuple(g.shape) == e.shape, f"shape {tuple(g.shape)}, expected {e.shape}"
        value = numpy_of(g)
        if not g.dtype.is_floating_point and not g.is_complex():
            np.testing.assert_array_equal(value, e.astype(value.dtype))
            continue
        kind = str(g.dtype).split(".")[-1]
        if kind.startswith("float8"):  # moved and cast
            np.testing.assert_array_equal(value, rounded(e, kind))
            continue
        kind = {c: r for r, c in COMPLEX.items()}.get(kind, kind)  # errors of complex numbers are relative to their size
        e = e.astype(np.complex128 if g.is_complex() else np.float64)
        with np.errstate(all="ignore"):
            scale = (
                np.abs(e)
                if record.scale is None
                else record.scale(
                    *each_array(case, lambda i, a: a if i in case.fixed else rounded(a, dtype)), **case.attrs
                )
            )
            tiny = {"float32": 2.0**-149, "float64": 2.0**-1074, "float16": 2.0**-24, "bfloat16": 2.0**-133}[kind]
            # 16-bit dtypes accumulate in f32 and round at the end (twice, where a kernel keeps an intermediate in the dtype);
            # elementwise ops round after every instruction.
            stepwise = TABLE[name]["map"] or TABLE[name]["family"] in ("activation", "elementwise")
            eps = EPS["float32"] if kind in ("float16", "bfloat16") else EPS[kind]
            bound = TABLE[name]["bound"] * record.length(case) * eps * scale
            if kind in ("float16", "bfloat16"):
                bound = bound + (max(TABLE[name]["bound"], 1) if stepwise else 1.0) * EPS[kind] * np.maximum(
                    np.abs(e), scale if stepwise else 0
                )
            bound = bound + 2 * tiny * (TABLE[name]["bound"] > 0)
            limit = {"float16": 65504.0, "float32": 3.4028235e38, "bfloat16": 3.39e38, "float64": np.inf}[kind]
            over = np.abs(e) > limit
            ok = (
                (np.abs(value - e) <= bound)
                | (value == e)
                | (np.isnan(value) & np.isnan(e))
                | (over & (np.abs(value) >= limit * 0.99))
            )
        if not ok.all():
            at = np.unravel_index(np.argmin(ok), ok.shape) if ok.shape else ()
            raise AssertionError(
                f"{name}{case.attrs} {dtype}: at {at} got {value[at]!r}, expected {e[at]!r}, bound "
                f"{np.broadcast_to(bound, e.shape)[at]:.3g} (error {abs(value[at] - e[at]):.3g})"
            )


def parameters(want) -> list:
    return [pytest.param(n, id=n) for n, r in RECORDS.items() if want(r)]


with_oracle = pytest.mark.parametrize("name", parameters(lambda r: r.oracle is not None))
with_cases = pytest.mark.parametrize("name", parameters(lambda r: bool(r.cases)))


def on(first: int) -> pytest.MarkDecorator:
    """Every device; the quick form of tools/check takes the first ones alone."""
    return pytest.mark.parametrize("device", [*DEVICES[:first], *(pytest.param(d, marks=pytest.mark.slow) for d in DEVICES[first:])])


on_devices, on_two_devices = on(1), on(2)


def test_every_op_has_a_record():
    missing = sorted(set(TABLE) - set(RECORDS))
    stale = sorted(set(RECORDS) - set(TABLE))
    assert not missing, f"ops without a record in tests/ops/records.py: {missing}"
    assert not stale, f"records of no op: {stale}"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_record_is_whole(name):
    """A record tests its op, or says which records do; the table says what it must."""
    record, op = RECORDS[name], TABLE[name]
    assert record.oracle or record.check or record.covered_by
    if record.covered_by:
        assert op["internal"], "only internal ops are tested through others"
        assert all(other in RECORDS for other in record.covered_by.split())
    assert op["doc"] and op["family"]
    assert op["internal"] or op["examples"], "a public op needs an example"
    for part in (*op["inputs"], *op["attrs"]):
        assert part["doc"], f"{part['name']} has no doc"


@on_two_devices
@with_oracle
def test_values(name, device):
    record = RECORDS[name]
    assert cases_of(name)
    unsigned = UNSIGNED if "uint8" in record.dtypes else ()
    for case, dtype in itertools.product(cases_of(name), (*record.dtypes, *unsigned)):
        got = call(name, tensors_of(case, dtype, device), case, device)
        assert_close(name, record, case, dtype, got, oracle_of(record, case, dtype))


@pytest.mark.parametrize("name", parameters(lambda r: r.oracle is not None))
def test_other_dtypes(name):
    """Dtypes that the record does not name: refused, or right."""
    record, device = RECORDS[name], DEVICES[0]
    if "other dtypes" in record.skip:
        pytest.skip(": ".join(record.skip["other dtypes"]))
    for dtype in TG:
        if dtype in record.dtypes or dtype.startswith("complex"):  # tests/python/test_complex.py
            continue
        if dtype in UNSIGNED and "uint8" in record.dtypes:  # test_values
            continue
        for case in cases_of(name)[:3]:
            if dtype.startswith("uint"):  # what -2 becomes there is not the question
                case = Case(tuple(each_array(case, lambda i, a, c=case: a if i in c.fixed else np.abs(a))), case.attrs, case.fixed)
            try:
                got = call(name, tensors_of(case, dtype, device), case, device)
            except TypeError as error:
                assert "expected" in str(error) and "got" in str(error), f"{name} {dtype}: {error}"
                continue
            # Floats made of integers are those of equal floats; sorts and order statistics of integers and bools are those of int64.
            seen = "float64" if any(t.dtype.is_floating_point for t in got) and dtype not in THROUGH_FLOAT32 else dtype
            exact = Case(tuple(each_array(case, lambda i, a, d=dtype: a if i in case.fixed else rounded(a, d))), case.attrs, case.fixed)
            for kind in (seen, "float64"):
                try:
                    expected = oracle_of(record, exact, kind)
                    break
                except (TypeError, ValueError, OverflowError):  # NumPy's refusals: -True, -inf or 2 ** -1 of integers
                    continue
            assert_close(name, record, exact, seen, got, expected)


def respelled(t: tg.Tensor, how: str) -> tg.Tensor:
    """Equal elements with other strides: from a permuted copy, or a part of a larger tensor."""
    if how == "permuted":
        order = tuple(reversed(range(t.ndim)))
        return t.permute(order).contiguous().permute(order)
    wide = tg.stack([t, t], axis=t.ndim)
    return wide.select(t.ndim, 1)


@on_devices
@with_cases
@pytest.mark.parametrize("how", ["permuted", "sliced"])
def test_strides(name, device, how):
    record = RECORDS[name]
    if not TABLE[name]["inputs"]:
        pytest.skip("never: nothing has strides")
    if "strides" in record.skip:
        pytest.skip(": ".join(record.skip["strides"]))
    dtype = record.dtypes[0]
    for case in cases_of(name):
        inputs = [
            [respelled(a, how) for a in x]
            if isinstance(x, list)
            else respelled(x, how)
            if isinstance(x, tg.Tensor)
            else x
            for x in tensors_of(case, dtype, device)
        ]
        assert_close(name, record, case, dtype, call(name, inputs, case, device), expected_of(name, case, dtype, device))


ELEMENTWISE = parameters(
    lambda r: (
        r.oracle is not None
        and all(
            isinstance(x, (np.ndarray, float, int))
            for x in (r.cases(seed("")) if callable(r.cases) else r.cases)[0].inputs
        )
    )
)


@on_devices
@pytest.mark.parametrize("name", [p for p in ELEMENTWISE if TABLE[p.values[0]]["map"]])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 1, 3)], ids=str)
def test_shapes_of_elementwise(name, device, shape):
    record = RECORDS[name]
    case = cases_of(name)[0]
    cut = [np.resize(a.ravel(), shape) if isinstance(a, np.ndarray) else a for a in case.inputs]
    small = Case(tuple(cut), case.attrs, case.fixed)
    dtype = record.dtypes[0]
    assert_close(
        name,
        record,
        small,
        dtype,
        call(name, tensors_of(small, dtype, device), small, device),
        oracle_of(record, small, dtype),
    )


@on_devices
@pytest.mark.parametrize(
    "name", [p for p in ELEMENTWISE if TABLE[p.values[0]]["map"] and len(TABLE[p.values[0]]["inputs"]) > 1]
)
def test_broadcasting(name, device):
    record = RECORDS[name]
    case = cases_of(name)[0]
    shapes = itertools.cycle([(4, 1, 3), (2, 1), (3,), ()])
    inputs = tuple(np.resize(a.ravel(), s) if isinstance(a, np.ndarray) else a for a, s in zip(case.inputs, shapes))
    wide = Case(inputs, case.attrs, case.fixed)
    dtype = record.dtypes[0]
    assert_close(
        name,
        record,
        wide,
        dtype,
        call(name, tensors_of(wide, dtype, device), wide, device),
        oracle_of(record, wide, dtype),
    )


# ---- gradients ---------------------------------------------------------------------------------------------------------------


def loss_of(name: str, inputs: list, case: Case, device: str, weights: list | None) -> tuple:
    """A scalar of all floating outputs: their sum weighted by fixed random numbers, which tell positions apart."""
    out = inexact(call(name, inputs, case, device))
    if weights is None:
        rng = seed(name + "weights")
        weights = [numbers_like(t, rng, 0.5, 1.5, device) for t in out]
    total = None
    for t, w in zip(out, weights):
        part = inner(w, t).sum()
        total = part if total is None else total + part
    return total, weights


def inexact(outputs) -> tuple:
    return tuple(t for t in outputs if t.dtype.is_floating_point or t.is_complex())


def numbers_like(t: tg.Tensor, rng, low: float, high: float, device: str) -> tg.Tensor:
    """Random numbers of t's shape, in float64 or complex128."""
    values = rng.uniform(low, high, tuple(t.shape))
    return tensor(values + 1j * rng.uniform(low, high, tuple(t.shape)) if t.is_complex() else values, "float64", device)


def inner(g: tg.Tensor, d: tg.Tensor) -> tg.Tensor:
    """The products whose sum is <g, d>: of complex numbers as of two reals, which is what gradients are."""
    return (tg.conj(g) * d).real if g.is_complex() else g * d


def differentiable(case: Case, record: Record, device: str) -> tuple[list, list]:
    inputs = tensors_of(case, "float64", device)
    leaves = []
    for i in record.grad:
        if i >= len(inputs) or i in case.fixed:  # a target may be indices in one case, probabilities in another
            continue
        for t in inputs[i] if isinstance(inputs[i], list) else [inputs[i]]:
            if isinstance(t, tg.Tensor):
                leaves.append(t.requires_grad_())
    return inputs, leaves


STEPS = ("sign", "floor", "ceil", "round", "trunc", "heaviside")  # their gradients are 0


def smooth_cases(name: str, device: str, most: int | None = None):
    """(number, case, inputs, leaves) of the cases, at most so many, where finite differences say something; a record with a gradient has one."""
    found = 0
    for number, case in enumerate(cases_of(name)):
        inputs, leaves = differentiable(case, RECORDS[name], device)
        if not case.smooth or not leaves or any(t.numel() == 0 for t in leaves):
            continue
        found += 1
        yield number, case, inputs, leaves
        if found == most:
            return
    assert found, f"no case of {name} is smooth and has leaves: its gradient is not tested"


def moved(inputs: list, leaves: list, directions: list, step: float) -> list:
    place = {id(t): d for t, d in zip(leaves, directions)}

    def at(t):
        return t.detach() + step * place[id(t)] if isinstance(t, tg.Tensor) and id(t) in place else t

    return [[at(t) for t in x] if isinstance(x, list) else at(x) for x in inputs]


def near(analytic: float, numeric: float, size: float, h: float) -> bool:
    # Central differences: h^2 of truncation and eps / h of rounding, both relative to the sizes at hand.
    return abs(analytic - numeric) <= (1e3 * h * h + 1e2 * EPS["float64"] / h) * (size + abs(analytic) + 1)


@on_two_devices
@pytest.mark.parametrize("name", parameters(lambda r: r.grad is not None))
def test_gradient(name, device):
    h, sloped = 2.0**-17, False
    for number, case, inputs, leaves in smooth_cases(name, device):
        rng = seed(f"{name}{number}")
        total, weights = loss_of(name, inputs, case, device, None)
        gradients = tg.autograd.grad(total, leaves)
        directions = [numbers_like(t, rng, -1, 1, device) for t in leaves]
        analytic = sum(inner(g, d).sum().item() for g, d in zip(gradients, directions))
        for g, t in zip(gradients, leaves):
            assert g.shape == t.shape and g.dtype == t.dtype
            sloped |= bool((g != 0).any().item())
        values = [
            loss_of(name, moved(inputs, leaves, directions, s * h), case, device, weights)[0].item() for s in (1, -1)
        ]
        numeric = (values[0] - values[1]) / (2 * h)
        size = sum(inner(g, d).abs().sum().item() for g, d in zip(gradients, directions)) + max(map(abs, values))
        assert near(analytic, numeric, size, h), (
            f"{name}{case.attrs} case {number}: gradient {analytic}, finite differences {numeric}"
        )
    assert sloped == (name not in STEPS), f"{name}: every gradient is 0 in no case but those of {STEPS}"


@on_devices
@pytest.mark.parametrize("name", parameters(lambda r: r.grad is not None and r.second))
def test_second_gradient(name, device):
    """The directional derivative of the gradient against finite differences of the gradient."""
    h = 2.0**-17
    for number, case, inputs, leaves in smooth_cases(name, device, 2):
        rng = seed(f"{name}{number}second")
        directions = [numbers_like(t, rng, -1, 1, device) for t in leaves]
        others = [numbers_like(t, rng, -1, 1, device) for t in leaves]

        def slope(at_inputs, at_leaves, weights=None, create_graph=False):
            total, weights = loss_of(name, at_inputs, case, device, weights)
            gradients = tg.autograd.grad(total, at_leaves, create_graph=create_graph)
            return sum(inner(g, d).sum() for g, d in zip(gradients, directions)), weights

        s, weights = slope(inputs, leaves, create_graph=True)
        values = []
        for sign in (1, -1):
            place = moved(inputs, leaves, others, sign * h)
            flat = [t for x in place for t in (x if isinstance(x, list) else [x])]
            was = [t for x in inputs for t in (x if isinstance(x, list) else [x])]
            moved_leaves = [next(f for f, w in zip(flat, was) if w is leaf).requires_grad_() for leaf in leaves]
            values.append(slope(place, moved_leaves, weights)[0].item())
        numeric = (values[0] - values[1]) / (2 * h)
        if s.requires_grad:
            seconds = tg.autograd.grad(s, leaves, allow_unused=True)
            analytic = sum(inner(g, d).sum().item() for g, d in zip(seconds, others) if g is not None)
            size = sum(inner(g, d).abs().sum().item() for g, d in zip(seconds, others) if g is not None) + max(
                map(abs, values)
            )
        else:
            analytic, size = 0.0, max(map(abs, values))
        assert near(analytic, numeric, size, h), (
            f"{name}{case.attrs} case {number}: second gradient {analytic}, finite differences {numeric}"
        )


# ---- errors, whole checks, examples ---------------------------------------------------------------------------------------------


@on_devices
@pytest.mark.parametrize("name,number", [(n, i) for n, r in RECORDS.items() for i in range(len(r.bad))])
def test_bad_input(name, number, device):
    bad = RECORDS[name].bad[number]
    inputs = [
        tg.tensor(x, device=device)
        if isinstance(x, np.ndarray)
        else [tg.tensor(a, device=device) for a in x]
        if isinstance(x, list)
        else x
        for x in bad.inputs
    ]
    case = Case(bad.inputs, bad.attrs)
    with pytest.raises(bad.error) as caught:
        call(name, inputs, case, device)
    assert caught.type is bad.error, f"expected {bad.error.__name__} itself, got {caught.type.__name__}: {caught.value}"
    message = str(caught.value)
    for text in (name, *bad.says):
        assert text in message, f"{text!r} is not in {message!r}"


@on_devices
@pytest.mark.parametrize("name", parameters(lambda r: r.check is not None))
def test_whole(name, device):
    RECORDS[name].check(tg, device)


@pytest.mark.parametrize("name", sorted(n for n, op in TABLE.items() if op["examples"]))
def test_examples(name):
    """The examples of the documentation give what they say."""
    for number, text in enumerate(TABLE[name]["examples"]):
        test = doctest.DocTestParser().get_doctest(text + "\n", {"tg": tg}, f"{name}[{number}]", None, 0)
        output: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=output.append)
        assert not output, "".join(output)
