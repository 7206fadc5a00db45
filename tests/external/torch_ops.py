# SPDX-License-Identifier: Apache-2.0
"""Runs PyTorch's own sample inputs (torch.testing's op database) through Tengen and compares values and gradients with PyTorch's.

    python tests/external/torch_ops.py [--only NAME,...] [--dtypes float32,float64] [--verbose]
    python tests/external/torch_ops.py --dtypes complex64,complex128

Needs an interpreter that imports torch (with expecttest) and tengen. An op is found by its name (torch_names.py: adapters where arguments
differ, and ops that are left out with the reason). For every sample: forward values, then the gradient of a weighted sum of the
outputs with respect to every input that torch made differentiable. Two results are equal when

    |ours - torch's| <= 2 * bound * eps(dtype) * length * scale

with the op table's bound, the number of elements of the largest operand (the longest sum there can be), and the largest magnitude of the
result or of an operand; gradients take four times that, for their further products. Samples beyond this but inside the tolerances that torch's
tests use for two implementations of one op (rtol 1.3e-6 and atol 1e-5 in f32, 1e-7 and 1e-7 in f64) are counted apart. The exit status is 1 when
less than 95 % of the samples are equal, or fewer than 300 ops are mapped.
"""
from __future__ import annotations

import argparse
import collections
import json
import sys
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch_names as names

import tengen as tg

try:
    import torch
    from torch.testing._internal.common_methods_invocations import op_db
except ImportError as error:
    raise SystemExit(f"torch_ops: this interpreter cannot import torch's op database ({error}): nothing is compared") from None

EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}
TORCH_TOLERANCE = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7), "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5)}
TABLE = {op["name"]: op for op in json.loads(tg._core._op_table_json())}
OUTCOMES = ("equal", "near", "failed", "skipped")


class LeftOut(Exception):
    """A sample that is not compared, with the reason."""


@dataclass
class Tally:
    """What came out for one op."""

    counts: collections.Counter = field(default_factory=collections.Counter)
    gradients: int = 0
    failures: list[str] = field(default_factory=list)
    reasons: collections.Counter = field(default_factory=collections.Counter)


# ---- torch's samples as ours --------------------------------------------------------------------------------------------------


if not hasattr(tg.Tensor, "mH"):  # torch's functions that make results unique ask for it
    tg.Tensor.mH = property(lambda x: x.mT)


def walk(x: Any, f: Any) -> Any:
    """x with f(leaf) for every leaf of its tuples, lists and dicts."""
    if isinstance(x, dict):
        return {k: walk(v, f) for k, v in x.items()}
    if isinstance(x, (tuple, list)) and not isinstance(x, torch.Size):
        return type(x)(*(walk(v, f) for v in x)) if hasattr(x, "_fields") else type(x)(walk(v, f) for v in x)
    return f(x)


def leaves(x: Any) -> list:
    """The leaves in order; arrays of structures that are no tuples (named results) too."""
    if isinstance(x, dict):
        return [leaf for v in x.values() for leaf in leaves(v)]
    if isinstance(x, (tuple, list)):
        return [leaf for v in x for leaf in leaves(v)]
    return [x]


def ours(x: Any) -> Any:
    """A leaf of a sample for Tengen."""
    if isinstance(x, torch.Tensor):
        if x.layout is not torch.strided:
            raise LeftOut("sparse tensors")
        if x.is_quantized or not hasattr(tg, str(x.dtype).split(".")[1]):
            raise LeftOut(f"no {str(x.dtype).split('.')[1]}")
        values = x.detach().resolve_conj().resolve_neg().clone()
        if x.dtype is torch.bfloat16:
            return tg.tensor(values.float().numpy()).to(tg.bfloat16)
        return tg.tensor(values.numpy().copy()).requires_grad_(x.requires_grad)
    if isinstance(x, torch.dtype):
        if not hasattr(tg, str(x).split(".")[1]):
            raise LeftOut(f"no {str(x).split('.')[1]}")
        return getattr(tg, str(x).split(".")[1])
    if isinstance(x, torch.Size):
        return tuple(x)
    return x


def call_of(sample: Any) -> tuple[list, dict]:
    keywords = {k: v for k, v in sample.kwargs.items() if k not in ("device", "layout", "pin_memory", "memory_format")}
    if sample.kwargs.get("layout", torch.strided) is not torch.strided:
        raise LeftOut("sparse tensors")
    return [walk(sample.input, ours), *(walk(a, ours) for a in sample.args)], walk(keywords, ours)


# ---- results ---------------------------------------------------------------------------------------------------------------------


def dtype_name(x: Any) -> str:
    return str(x.dtype).split(".")[-1]


def array(x: Any) -> np.ndarray:
    if isinstance(x, torch.Tensor):
        x = x.detach().resolve_conj().resolve_neg().clone()  # a tensor of zeros without memory has no array
        return (x.float() if x.dtype is torch.bfloat16 else x).numpy()
    if isinstance(x, tg.Tensor):
        x = x.detach()
        return (x.to(tg.float32) if x.dtype is tg.bfloat16 else x).numpy()
    return np.asarray(x)


def compare(what: str, got: Any, expected: Any, bound: float, length: int, size: float) -> str:
    """equal or near; AssertionError otherwise."""
    if isinstance(expected, torch.Tensor):
        if not isinstance(got, tg.Tensor):
            raise AssertionError(f"{what}: a {type(got).__name__} instead of a tensor")
        if dtype_name(got) != dtype_name(expected):
            raise AssertionError(f"{what}: {dtype_name(got)}, torch has {dtype_name(expected)}")
    g, e = array(got), array(expected)
    if g.shape != e.shape:
        raise AssertionError(f"{what}: shape {g.shape}, torch has {e.shape}")
    if not np.issubdtype(e.dtype, np.inexact):
        if not np.array_equal(g, e):
            raise AssertionError(f"{what}: {g.ravel()[:4]}..., torch has {e.ravel()[:4]}...")
        return "equal"
    name = dtype_name(expected) if isinstance(expected, torch.Tensor) else "float64"
    name = {"complex64": "float32", "complex128": "float64"}.get(name, name)
    with np.errstate(all="ignore"):
        same = (g == e) | (np.isnan(g) & np.isnan(e))
        difference = np.where(same, 0, np.abs(g - e))
        finite = np.abs(e[np.isfinite(e)])
        scale = max(size, float(finite.max()) if finite.size else 0.0)
        if np.all(difference <= 2 * bound * EPS[name] * length * scale):
            return "equal"
        rtol, atol = TORCH_TOLERANCE[name]
        if np.all(difference <= atol + rtol * np.abs(e)):
            return "near"
        at = np.unravel_index(int(np.nanargmax(np.where(np.isnan(difference), np.inf, difference))), e.shape)
    raise AssertionError(f"{what}: at {tuple(map(int, at))} {g[at]!r}, torch has {e[at]!r}")


def is_float(x: Any) -> bool:
    return isinstance(x, (torch.Tensor, tg.Tensor)) and any(k in str(x.dtype) for k in ("float", "complex"))


def loss(outputs: list, weights: list) -> Any:
    """The sum of the outputs with fixed weights, which tell positions apart, and real and imaginary parts."""
    total: Any = None
    for out, w in zip(outputs, weights):
        if "complex" in str(out.dtype):
            out = torch.view_as_real(out.resolve_conj()) if isinstance(out, torch.Tensor) else tg.view_as_real(out)
        w = torch.from_numpy(w).to(out.dtype) if isinstance(out, torch.Tensor) else tg.tensor(w).to(out.dtype)
        part = (out * w).sum()
        total = part if total is None else total + part
    return total


def gradients_of(outputs: list, inputs: list) -> list:
    rng = np.random.default_rng(7)
    weights = [rng.uniform(0.5, 1.5, (*o.shape, 2) if "complex" in str(o.dtype) else tuple(o.shape)) for o in outputs]
    total = loss(outputs, weights)
    module = torch if isinstance(total, torch.Tensor) else tg
    return list(module.autograd.grad(total, inputs, allow_unused=True))


# ---- one sample, one op ---------------------------------------------------------------------------------------------------------


def one_sample(op: Any, function: Any, bound: float, sample: Any) -> tuple[str, bool]:
    """The outcome, and whether gradients were compared."""
    if any(sample.kwargs.get(k) for k in names.DRAWS):
        raise LeftOut("random numbers of another generator")
    if op.name.startswith("as_strided") and sample.input._base is not None and sample.input._base.numel() != sample.input.numel():
        raise LeftOut("a part of a larger memory, of which only the part's elements are carried over")
    args, kwargs = call_of(sample)
    process = sample.output_process_fn_grad
    torch_in = [t for t in leaves([sample.input, list(sample.args), sample.kwargs]) if isinstance(t, torch.Tensor)]
    our_in = [t for t in leaves([args, kwargs]) if isinstance(t, tg.Tensor)]
    given = [np.abs(array(t)) for t in torch_in if is_float(t) and t.numel()]
    length = max([t.numel() for t in torch_in], default=1) or 1
    size = max([float(a[np.isfinite(a)].max(initial=0)) for a in given], default=1.0)
    try:
        expected = op.op(sample.input, *sample.args, **sample.kwargs)
    except Exception as error:
        raise LeftOut("torch refuses its own sample") from error
    expected = leaves(process(expected))
    try:
        got = leaves(process(function(*args, **kwargs)))
    except (IndexError, ValueError) as error:
        for text, reason in names.ON_PURPOSE:
            if text in str(error):
                raise LeftOut(reason) from error
        raise
    if len(got) != len(expected):
        raise AssertionError(f"{len(got)} results, torch has {len(expected)}")
    outcome = "equal"
    for i, (g, e) in enumerate(zip(got, expected)):
        if compare(f"result {i}", g, e, bound, length, size) == "near":
            outcome = "near"
    pairs = [(g, e) for g, e in zip(got, expected) if is_float(e) and e.requires_grad]
    wanted = [i for i, t in enumerate(torch_in) if t.requires_grad]
    if not pairs or not wanted or len(our_in) != len(torch_in) or (op.name in names.NO_GRADIENT and op.variant_test_name != "grad"):
        return outcome, False
    theirs = gradients_of([e for _, e in pairs], [torch_in[i] for i in wanted])
    if not any(g.requires_grad for g, _ in pairs):
        if any(e is not None and array(e).any() for e in theirs):
            raise AssertionError("no gradient")
        return outcome, True
    mine = gradients_of([g for g, _ in pairs], [our_in[i] for i in wanted])
    for i, g, e in zip(wanted, mine, theirs):
        g, e = g if g is not None else tg.zeros_like(our_in[i]), e if e is not None else torch.zeros_like(torch_in[i])
        if compare(f"gradient of input {i}", g, e, 4 * bound, length, size) == "near":
            outcome = "near"
    return outcome, True


def one_op(op: Any, function: Any, dtypes: list[str]) -> Tally:
    """All samples of one op."""
    tally = Tally()
    bound = max(names.bound_of(op.name, TABLE), 1.0)
    for dtype in dtypes:
        kind = getattr(torch, dtype)
        if kind not in op.dtypes:
            tally.reasons[f"torch has no {dtype}"] += 1
            continue
        torch.manual_seed(0)
        np.random.seed(0)
        with_gradients = op.supports_autograd and kind in op.supported_backward_dtypes("cpu")
        for number, sample in enumerate(op.sample_inputs("cpu", kind, requires_grad=with_gradients)):
            try:
                outcome, had = one_sample(op, function, bound, sample)
                tally.gradients += had
            except LeftOut as reason:
                outcome = "skipped"
                tally.reasons[str(reason)] += 1
            except Exception as error:
                outcome = "failed"
                text = (str(error) or type(error).__name__).split("\n")[0]
                kind_of = "" if isinstance(error, AssertionError) else type(error).__name__ + ": "
                tally.failures.append(f"{dtype} sample {number}: {kind_of}{text[:200]}")
            tally.counts[outcome] += 1
    return tally


def title(op: Any) -> str:
    return f"{op.name} ({op.variant_test_name})" if op.variant_test_name else op.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of ops, with commas")
    parser.add_argument("--dtypes", default="float32,float64")
    parser.add_argument("--verbose", action="store_true", help="every failure, not one for each op")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    only = set(filter(None, args.only.split(",")))
    tallies: dict[str, Tally] = {}
    mapped, missing, left_out = set(), [], collections.defaultdict(list)
    for op in op_db:
        if only and op.name not in only:
            continue
        if reason := names.left_out(op.name):
            left_out[reason].append(title(op))
            continue
        function = names.find(op.name, op.variant_test_name)
        if function is None:
            missing.append(title(op))
            continue
        tally = tallies[title(op)] = one_op(op, function, args.dtypes.split(","))
        if sum(tally.counts[k] for k in OUTCOMES[:3]):
            mapped.add(op.name)
        if tally.failures:
            print(title(op), dict(tally.counts), *(tally.failures if args.verbose else tally.failures[:1]), sep="\n    ", flush=True)
    total: collections.Counter = collections.Counter()
    reasons: collections.Counter = collections.Counter()
    for tally in tallies.values():
        total.update(tally.counts)
        reasons.update(tally.reasons)
    ran = sum(total[k] for k in OUTCOMES[:3])
    good = total["equal"] + total["near"]
    whole = sum(1 for t in tallies.values() if not t.counts["failed"] and t.counts["equal"] + t.counts["near"])
    print(f"\nPyTorch {torch.__version__}: {len(op_db)} entries, {len({o.name for o in op_db})} names")
    print(f"mapped: {len(mapped)} names, {len(tallies)} entries, {whole} of them without a failure")
    print(f"samples: {ran} compared ({sum(t.gradients for t in tallies.values())} with gradients), {total['equal']} inside our bounds, "
          f"{total['near']} inside torch's tolerances, {total['failed']} failed, {total['skipped']} skipped")
    print(f"{100 * good / max(ran, 1):.2f} % equal")
    print("\nGradients left out:", *(f"{name}: {why}" for name, why in names.NO_GRADIENT.items()), sep="\n  ")
    print("\nSkipped samples:", *(f"{n} x {why}" for why, n in reasons.most_common()), sep="\n  ")
    print("\nLeft out:", *(f"{why} ({len(ops)}): {', '.join(ops)}" for why, ops in left_out.items()), sep="\n  ")
    print(f"\nNot yet ({len(missing)}):", ", ".join(missing))
    return 0 if only or (good >= 0.95 * ran and len(mapped) >= 300) else 1


if __name__ == "__main__":
    sys.exit(main())
