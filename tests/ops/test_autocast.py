# SPDX-License-Identifier: Apache-2.0
"""Autocast over the whole op table: operands of mixed floating dtypes meet without an error, and results have the dtypes that
the rule says, on the sample calls of the records."""

from __future__ import annotations

import numpy as np
import pytest
from records import RECORDS
from test_ops import TABLE, call, cases_of, each_array, tensor

import tengen as tg


def floating(case) -> int:
    count = [0]

    def see(i, a):
        count[0] += i not in case.fixed and np.asarray(a).dtype.kind == "f"

    each_array(case, see)
    return count[0]


def mixed(case, first: str, rest: str) -> list:
    """The case's inputs with the first floating operand in one dtype and the others in another."""
    seen = [0]

    def make(i, a):
        if i in case.fixed or np.asarray(a).dtype.kind != "f":
            return tensor(a, None, "cpu")
        seen[0] += 1
        return tensor(a, first if seen[0] == 1 else rest, "cpu")

    return each_array(case, make)


# never: x decides the result's dtype, and 16-bit parameters beside a float32 x are of no use
NEVER = {("batch_norm", "float32"), ("batch_norm_infer", "float32")}
NAMES = sorted(n for n, r in RECORDS.items() if r.oracle is not None and "float32" in r.dtypes and "bfloat16" in r.dtypes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("first, rest", [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_operands_of_mixed_dtypes_meet(name, first, rest):
    if (name, first) in NEVER:
        with pytest.raises(TypeError, match="x's dtype"), tg.autocast():
            for case in cases_of(name):
                call(name, mixed(case, first, rest), case, "cpu")
        return
    for case in cases_of(name):
        if floating(case) < 1:
            continue
        inputs = mixed(case, first, rest)
        with tg.autocast(dtype=tg.bfloat16):
            out = call(name, inputs, case, "cpu")
        for t in out:
            if not t.dtype.is_floating_point or "dtype" in case.attrs:
                continue
            if TABLE[name]["amp"] == "low":
                assert t.dtype == tg.bfloat16
            elif TABLE[name]["amp"] == "f32":
                assert t.dtype == tg.float32


@pytest.mark.parametrize("name", [n for n in NAMES if TABLE[n]["amp"] != "none"])
def test_values_are_those_of_operands_that_were_cast(name):
    """A rule changes operands and nothing else."""
    rule = TABLE[name]["amp"]
    for case in cases_of(name):
        if floating(case) < 1:
            continue
        inputs = mixed(case, "bfloat16", "float32")
        with tg.autocast(dtype=tg.bfloat16):
            got = call(name, inputs, case, "cpu")
        dtypes = {t.dtype for x in inputs for t in (x if isinstance(x, list) else [x])
                  if isinstance(t, tg.Tensor) and t.dtype.is_floating_point}
        target = {"low": tg.bfloat16, "f32": tg.float32}.get(rule, tg.float32 if tg.float32 in dtypes else tg.bfloat16)

        def cast(t):
            return t.to(target) if isinstance(t, tg.Tensor) and t.dtype.is_floating_point else t

        want = call(name, [[cast(t) for t in x] if isinstance(x, list) else cast(x) for x in inputs], case, "cpu")
        for g, w in zip(got, want):
            assert g.dtype == w.dtype
            if g.dtype.is_floating_point:
                g, w = g.to(tg.float64), w.to(tg.float64)
            np.testing.assert_array_equal(g.numpy(), w.numpy())
