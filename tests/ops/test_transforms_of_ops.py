# SPDX-License-Identifier: Apache-2.0
"""Checks of every op against itself, from the same records as test_ops.py: forward mode against reverse mode, vmap against a
loop, kernels against decompositions, outputs that stay within their bounds, large inputs."""

from __future__ import annotations

import numpy as np
import pytest
from record import Case
from records import RECORDS
from test_ops import (
    DEVICES,
    ELEMENTWISE,
    TABLE,
    assert_close,
    attr_values,
    attrs_of,
    call,
    cases_of,
    differentiable,
    draws,
    each_array,
    inexact,
    inner,
    numbers_like,
    numpy_of,
    oracle_of,
    parameters,
    plain,
    seed,
    smooth_cases,
    tensors_of,
)

import tengen as tg
from tengen import _core, func

FAST = [d for d in DEVICES if d.split(":")[0] == "cpu"][:1] or DEVICES[:1]
OTHERS = [d for d in DEVICES if d not in FAST]


def skipped(name: str, check: str) -> None:
    """Leaves a check out, with the reason that the record gives."""
    if check in RECORDS[name].skip:
        kind, reason = RECORDS[name].skip[check]
        assert kind in ("never", "not-yet") and reason
        pytest.skip(f"{kind}: {reason}")


def devices_and_cases(name: str, most: int):
    """All cases (up to a number) on one device, the first one on the others."""
    cases = cases_of(name)
    for device in FAST:
        yield from ((device, c) for c in cases[:most])
    for device in OTHERS:
        yield from ((device, c) for c in cases[:1])


def work_dtype(name: str) -> str:
    dtypes = RECORDS[name].dtypes
    return "float64" if "float64" in dtypes else dtypes[0]


def swap_in(inputs: list, leaves: list, values: tuple) -> list:
    place = {id(t): v for t, v in zip(leaves, values)}
    return [[place.get(id(t), t) for t in x] if isinstance(x, list) else place.get(id(x), x) for x in inputs]


@pytest.mark.parametrize("name", parameters(lambda r: r.grad is not None))
def test_forward_mode(name):
    """<w, J v> in forward mode and in reverse mode."""
    skipped(name, "jvp")
    record = RECORDS[name]
    checked = set()
    for device, case in devices_and_cases(name, 6):
        inputs, leaves = differentiable(case, record, device)
        if not leaves or any(t.numel() == 0 for t in leaves):
            continue
        checked.add(device)
        rng = seed(name + "forward")
        directions = [numbers_like(t, rng, -1, 1, device) for t in leaves]

        def run(*values, inputs=inputs, leaves=leaves, case=case, device=device):
            out = call(name, swap_in(inputs, leaves, values), case, device)
            return inexact(out)

        y, t = func.jvp(run, tuple(x.detach() for x in leaves), tuple(directions))
        reference = run(*leaves)
        weights = [numbers_like(v, rng, 0.5, 1.5, device) for v in reference]
        for a, b in zip(y, reference):
            np.testing.assert_allclose(numpy_of(a), numpy_of(b), rtol=1e-10, atol=1e-12)

        def slopes(there, reference=reference, weights=weights, t=t, leaves=leaves, directions=directions):
            """Both slopes of the results that `there` marks, and the size of their terms."""
            forward = sum(tg.where(k, inner(w, v), 0.0).sum().item() for k, w, v in zip(there, weights, t))
            total = sum(tg.where(k, inner(w, v), 0.0).sum() for k, w, v in zip(there, weights, reference))
            gradients = tg.autograd.grad(total, leaves, allow_unused=True, retain_graph=True) if total.requires_grad else [None] * len(leaves)
            terms = [inner(g, d) for g, d in zip(gradients, directions) if g is not None]
            return forward, sum(x.sum().item() for x in terms), sum(x.abs().sum().item() for x in terms)

        everywhere = slopes([tg.ones_like(v, dtype=tg.bool) for v in reference])
        finite = slopes([v.detach().isfinite() for v in reference])  # a result that is NaN has no slope to compare
        assert any(abs(f - r) <= 1e-9 * (1 + size) or np.isnan([f, r]).all() for f, r, size in (everywhere, finite)), (
            f"{name}{case.attrs} {device}: forward mode {everywhere[0]}, reverse mode {everywhere[1]}"
        )
    assert checked == set(DEVICES), f"{name}: no case has leaves on {sorted(set(DEVICES) - checked)}"


def rows_of(case: Case, dtype: str) -> list[Case]:
    """The case three times over with other numbers: floats shrink, which stays within any domain that holds 0 or infinity."""
    out = []
    for factor in (1.0, 0.75, 0.875):
        inputs = each_array(case, lambda i, a, f=factor: np.asarray(a * f) if i not in case.fixed and np.issubdtype(a.dtype, np.inexact) and dtype.startswith("float") else a)
        out.append(Case(tuple(inputs), case.attrs, case.fixed))
    return out


def flat(result) -> tuple:
    return tuple(result) if isinstance(result, tuple) else (result,)


def mapped_inputs(rows: list[list], which) -> tuple[tuple, tuple]:
    """Stacked inputs where `which` says so, else the first row's; and in_dims."""
    args, dims = [], []
    for i, column in enumerate(zip(*rows)):
        if isinstance(column[0], list):
            on = which(i)
            args.append([tg.stack(list(parts), 0) if on else parts[0] for parts in zip(*column)])
            dims.append([0 if on else None] * len(column[0]))
        elif isinstance(column[0], tg.Tensor):
            on = which(i)
            args.append(tg.stack(list(column), 0) if on else column[0])
            dims.append(0 if on else None)
        else:
            args.append(column[0])
            dims.append(None)
    return tuple(args), tuple(dims)


@pytest.mark.parametrize("name", parameters(lambda r: bool(r.cases)))
def test_vmap(name):
    """vmap against a loop: with all inputs mapped, and with each one alone."""
    skipped(name, "vmap")
    if draws(name):
        pytest.skip("never: random numbers differ; tests/python/test_vmap.py")
    if not TABLE[name]["inputs"]:
        pytest.skip("never: nothing to map")
    dtype, checked = work_dtype(name), set()
    for device, case in devices_and_cases(name, 4):
        if not any(isinstance(x, (np.ndarray, list)) for x in case.inputs):
            continue
        rows = [tensors_of(c, dtype, device) for c in rows_of(case, dtype)]
        tensors = [i for i, x in enumerate(rows[0]) if isinstance(x, (tg.Tensor, list))]
        for chosen in [tensors, *([[i] for i in tensors] if len(tensors) > 1 else [])]:
            args, dims = mapped_inputs(rows, lambda i, chosen=chosen: i in chosen)
            if not any(d is not None and d != [] for d in dims):
                continue
            run = lambda *x: call(name, list(x), case, device)  # noqa: E731
            checked.add(device)
            got = flat(func.vmap(run, dims)(*args))
            singles = [[x if i in chosen else rows[0][i] for i, x in enumerate(row)] for row in rows]
            expected = [flat(run(*one)) for one in singles]
            for j, g in enumerate(got):
                for k in range(len(rows)):
                    e = numpy_of(expected[k][j])
                    v = numpy_of(g[k])
                    assert v.shape == e.shape
                    scale = np.max(np.abs(e[np.isfinite(e)]), initial=0) if e.dtype.kind in "fc" else 0
                    tolerance = 1e-10 if dtype == "float64" else 1e-5
                    np.testing.assert_allclose(v, e, rtol=tolerance, atol=tolerance * scale, err_msg=f"{name}{case.attrs} {device}, mapped {chosen}")
    assert checked == set(DEVICES), f"{name}: no case has tensors to map on {sorted(set(DEVICES) - checked)}"


@pytest.mark.parametrize("name", parameters(lambda r: r.grad is not None and bool(r.cases)))
def test_mapped_gradients(name):
    """Gradients of mapped inputs along mapped directions, as in Jacobians for every example, against autograd in a loop."""
    for check in ("vmap", "jvp", "mapped gradients"):
        skipped(name, check)
    if draws(name):
        pytest.skip("never: random numbers differ")
    device, rng = FAST[0], seed(name + "mapped")
    _, case, inputs, leaves = next(smooth_cases(name, device, 1))
    run = lambda *values: inexact(call(name, swap_in(inputs, leaves, values), case, device))  # noqa: E731
    rows = [[leaf.detach() * factor for leaf in leaves] for factor in (1.0, 0.875)]
    directions = [[numbers_like(y, rng, 0.5, 1.5, device) for y in run(*leaves)] for _ in range(2)]
    many = [tg.stack(list(column)) for column in zip(*directions)]
    pull = lambda values, g: func.vjp(run, *values)[1](g)  # noqa: E731
    mapped = func.vmap(lambda *values: func.vmap(lambda *g: pull(values, g))(*many))(*(tg.stack(list(column)) for column in zip(*rows)))
    for i, row in enumerate(rows):
        for j, direction in enumerate(directions):
            here = [x.detach().requires_grad_() for x in row]
            total = sum(inner(g, y).sum() for g, y in zip(direction, run(*here)))
            for got, expected in zip(mapped, tg.autograd.grad(total, here, allow_unused=True)):
                e = numpy_of(expected) if expected is not None else 0.0
                size = np.max(np.abs(e[np.isfinite(e)]), initial=0) if expected is not None else 0
                np.testing.assert_allclose(numpy_of(got)[i, j], e, rtol=1e-9, atol=1e-9 * (1 + size), err_msg=f"{name}{case.attrs}")


@pytest.mark.parametrize("name", [n for n, op in sorted(TABLE.items()) if op["kernel"] and op["decomposes"] and not op["map"] and RECORDS.get(n) and RECORDS[n].oracle])
def test_kernel_against_decomposition(name):
    """A kernel and the op's meaning agree within the op's bound."""
    skipped(name, "decomposition")
    record, op = RECORDS[name], TABLE[name]
    shown = [i for i, o in enumerate(op["outputs"]) if not o["hidden"]]
    for device in DEVICES:
        for case in cases_of(name)[:4]:
            dtype = record.dtypes[0]
            inputs = tensors_of(case, dtype, device)
            out = _core._call_decomposed(name, plain(inputs), attr_values(name, case))
            assert_close(name, record, case, dtype, tuple(out[i] for i in shown), oracle_of(record, case, dtype))


@pytest.mark.parametrize("name", [p for p in parameters(lambda r: bool(r.cases)) if not TABLE[p.values[0]]["view"]])
def test_out_stays_in_bounds(name):
    """out= writes its tensor and nothing around it, contiguous or not."""
    skipped(name, "out")
    op = TABLE[name]
    if op["internal"]:
        pytest.skip("never: it has no function that takes out=")
    if sum(not o["hidden"] for o in op["outputs"]) != 1:
        pytest.skip("never: several outputs take no out=")
    dtype = RECORDS[name].dtypes[0]
    for device, case in devices_and_cases(name, 2):
        inputs = tensors_of(case, dtype, device)
        expected = call(name, inputs, case, device)[0]
        extra = {"device": device} if not op["inputs"] else {}
        n, shape = expected.numel(), tuple(expected.shape)
        guard = True if expected.dtype == tg.bool else 77
        for step in (1, 2):
            whole = tg.full((16 + n * step,), guard, dtype=expected.dtype, device=device)
            inside = whole[8 : 8 + n * step : step]
            place = inside.reshape(shape) if step == 1 else inside.reshape(shape) if len(shape) < 2 else None
            if place is None:
                continue
            if draws(name):
                tg.manual_seed(0)
            _core.ops[name](*inputs, **attrs_of(case), **extra, out=place)
            got, flat_whole = numpy_of(place), numpy_of(whole)
            np.testing.assert_array_equal(got, numpy_of(expected))
            around = np.ones(flat_whole.size, bool)
            around[8 : 8 + n * step : step] = False
            assert (flat_whole[around] == guard).all(), f"{name}{case.attrs} wrote outside of out"


@pytest.mark.parametrize("name", [p for p in parameters(lambda r: r.oracle is not None) if hasattr(tg.Tensor, p.values[0] + "_") and TABLE[p.values[0]]["map"]])
def test_in_place(name):
    """x.op_(...) gives what x.op(...) gives, in a strided x whose neighbours stay."""
    skipped(name, "in_place")
    record = RECORDS[name]
    dtype, checked = record.dtypes[0], set()
    for device, case in devices_and_cases(name, 2):
        inputs = tensors_of(case, dtype, device)
        if not isinstance(inputs[0], tg.Tensor):
            continue
        expected = call(name, inputs, case, device)[0]
        if expected.shape != inputs[0].shape:
            continue
        checked.add(device)
        expected = expected.to(inputs[0].dtype)  # x keeps its dtype: a comparison writes 0 and 1
        wide = tg.stack([inputs[0], inputs[0]], inputs[0].ndim)
        x = wide.select(inputs[0].ndim, 1)
        method = getattr(x, name + "_")
        assert method(*inputs[1:], **attrs_of(case)) is x
        np.testing.assert_array_equal(numpy_of(x), numpy_of(expected))
        np.testing.assert_array_equal(numpy_of(wide.select(inputs[0].ndim, 0)), numpy_of(inputs[0]))
    assert checked == set(DEVICES), f"{name}: no case gives what x could hold on {sorted(set(DEVICES) - checked)}"


@pytest.mark.parametrize("name", [p for p in ELEMENTWISE if TABLE[p.values[0]]["map"]])
def test_large(name):
    """Sizes at which kernels split the work, not divisible by anything."""
    skipped(name, "large")
    record = RECORDS[name]
    case = cases_of(name)[0]
    inputs = tuple(np.resize(a.ravel(), (70001,)) if isinstance(a, np.ndarray) else a for a in case.inputs)
    big = Case(inputs, case.attrs, case.fixed)
    dtype = record.dtypes[0]
    for device in FAST:
        assert_close(name, record, big, dtype, call(name, tensors_of(big, dtype, device), big, device), oracle_of(record, big, dtype))
