#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/coverage.md: which plugin runs which op for which dtypes, and which transformations hold for it.

    tools/coverage_page.py          writes the page
    tools/coverage_page.py --check  says whether it is true

Nothing in it is stated by hand. Every op of the table is called with the cases of its test record, for every dtype and on every
plugin alone, and the dispatcher's trace says who ran it. Gradients, forward mode and vmap are called the same way for every dtype; that
their values are right is what tests/ops tests, and what a record excludes there is shown with its reason.
"""
from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PAGE = TOP / "docs/coverage.md"
PLUGINS = {"cpu": "cpu:0", "reference": "cpu:0", "chaos": "chaos:0"}
TRANSFORMS = ("gradient", "second", "jvp", "vmap")
GROUPS = {
    "all": "f64 f32 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool",
    "numbers": "f64 f32 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8",
    "integers, bool": "i64 i32 i16 i8 u64 u32 u16 u8 bool",
    "floats": "f64 f32 f16 bf16",
    "integers": "i64 i32 i16 i8 u64 u32 u16 u8",
    "unsigned": "u64 u32 u16 u8",
    "signed": "i64 i32 i16 i8",
    "complex": "c128 c64",
    "f8": "f8e4m3 f8e5m2",
}
ORDER = f"{GROUPS['all']} {GROUPS['complex']} {GROUPS['f8']}".split()
LONG = {"f": "float", "bf": "bfloat", "i": "int", "u": "uint", "c": "complex"}
SHORT = {LONG[t.rstrip("0123456789")] + t.lstrip("bfiuc"): t for t in ORDER if t != "bool" and not t.startswith("f8")}
SHORT |= {"bool": "bool", "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2"}
INEXACT = (*GROUPS["floats"].split(), *GROUPS["complex"].split())


# ---- one plugin: what it answers ---------------------------------------------------------------------------------------------


def collect(plugin: str) -> dict:
    """{op: {"how": {dtype: letter}, transformation: {dtype: "yes" | "loop"}}}, measured on one plugin."""
    import numpy as np

    sys.path.insert(0, str(TOP / "tests/ops"))
    from record import Case
    from records import RECORDS
    from test_ops import TABLE, TG, call, cases_of, each_array, tensors_of

    import tengen as tg
    from tengen import _core, func

    device = PLUGINS[plugin]
    half = np.full((2, 3), 0.5)
    wrong = []  # what raised without being a refusal
    calls = {  # ops whose records bring a check instead of cases
        "bitcast": Case((half,)),
        "randint": Case((), {"low": 0, "high": 5, "shape": (4,)}),
        "randperm": Case((), {"n": 4}),
        "multinomial": Case((half,), {"num_samples": 2}),
    }

    def cases(name: str) -> list[Case]:
        if name in calls or RECORDS[name].cases:
            found = [calls[name]] if name in calls else cases_of(name)
            return [Case(tuple(each_array(c, lambda i, a: a.real)), c.attrs, c.fixed, c.smooth) for c in found]  # complex ones are made of reals, too
        inputs = tuple(np.full((2, 2), 0.5) if name == "view_as_complex" else half for part in TABLE[name]["inputs"] if not part["optional"])
        needed = {a["name"] for a in TABLE[name]["attrs"] if a["required"]}
        if needed - {"shape"}:
            raise SystemExit(f"the record of {name} has no cases: give it a call in tools/coverage_page.py")
        return [Case(inputs, {"shape": (4,)} if needed else {})]

    def of_dtype(name: str, case: Case, dtype: str) -> Case:
        """The case in a dtype: of its inputs, or of what it makes."""
        makes = (not TABLE[name]["inputs"] and any(a["name"] == "dtype" for a in TABLE[name]["attrs"])) or name == "bitcast"
        return Case(case.inputs, {**case.attrs, "dtype": dtype}, case.fixed) if makes else case

    def inexact(t: tg.Tensor) -> bool:
        return t.dtype.is_floating_point or t.is_complex()

    def leaves_of(inputs: list, positions: tuple) -> list:
        found = [t for i in positions if i < len(inputs) for t in (inputs[i] if isinstance(inputs[i], list) else [inputs[i]])]
        return [t for t in found if isinstance(t, tg.Tensor) and inexact(t) and t.numel()]

    def positions(name: str) -> tuple:
        """Of the inputs with gradients; where the record does not say (its check tests them) all that flow."""
        if RECORDS[name].grad is not None or not TABLE[name]["differentiable"]:
            return RECORDS[name].grad or ()
        return tuple(range(len(TABLE[name]["inputs"])))

    def floats_of(outputs: tuple) -> list:
        return [t for t in outputs if inexact(t)]

    def total_of(outs: list) -> tg.Tensor:
        parts = [o.real.sum() + o.imag.sum() if o.is_complex() else o.sum() for o in outs]
        return sum(parts[1:], parts[0])

    def how(name: str, dtype: str) -> str:
        seen = ""
        for case in cases(name)[:6]:
            case = of_dtype(name, case, dtype)
            inputs = tensors_of(case, dtype, device)
            with _core._CallTrace() as trace:
                call(name, inputs, case, device)
            steps = trace.steps()
            by = next((step[2] for step in steps if step[0] == name), "")
            letter = "V" if TABLE[name]["view"] else "P" if by == "decomposition" else ("M" if TABLE[name]["map"] else "K") if by else ""
            if any(step[2] == "fallback" for step in steps):
                letter = "H"
            seen += letter if letter not in seen else ""
        if not seen:
            raise AssertionError("the trace does not say who ran it")
        return "H" if "H" in seen else "".join(sorted(seen))

    def gradient(name: str, dtype: str, order: int) -> str:
        for case in cases(name):
            inputs = tensors_of(case, dtype, device)
            leaves = leaves_of(inputs, positions(name))
            if not leaves or not case.smooth:
                continue
            for leaf in leaves:
                leaf.requires_grad_()
            outs = floats_of(call(name, inputs, case, device))
            if not any(o.requires_grad for o in outs):
                return ""
            for left in reversed(range(order)):
                outs = [o for o in outs if o.requires_grad]
                if outs:
                    outs = [g for g in tg.autograd.grad(total_of(outs), leaves, create_graph=bool(left), allow_unused=True) if g is not None]
            return "yes"
        return ""

    def forward(name: str, dtype: str) -> str:
        for case in cases(name):
            inputs = tensors_of(case, dtype, device)
            leaves = leaves_of(inputs, positions(name))
            if not leaves:
                continue
            place = {id(t): k for k, t in enumerate(leaves)}

            def run(*values, inputs=inputs, place=place, case=case):
                at = lambda t: values[place[id(t)]] if id(t) in place else t  # noqa: E731
                return tuple(floats_of(call(name, [[at(t) for t in x] if isinstance(x, list) else at(x) for x in inputs], case, device)))

            tangents = func.jvp(run, tuple(leaves), tuple(tg.ones_like(t) for t in leaves))[1]
            return "yes" if tangents else ""
        return ""

    def mapped(name: str, dtype: str) -> str:
        for case in cases(name):
            case = of_dtype(name, case, dtype)
            inputs = tensors_of(case, dtype, device)
            twice = [[tg.stack([t, t]) for t in x] if isinstance(x, list) else tg.stack([x, x]) if isinstance(x, tg.Tensor) else x for x in inputs]
            dims = tuple([0] * len(x) if isinstance(x, list) else 0 if isinstance(x, tg.Tensor) else None for x in twice)
            if not any(d is not None and d != [] for d in dims):
                continue
            before = tg.dispatch_stats()["batch_loops"]
            func.vmap(lambda *x, case=case: call(name, list(x), case, device), dims, randomness="different")(*twice)
            return "loop" if tg.dispatch_stats()["batch_loops"] > before else "yes"
        return ""

    checks = {
        "gradient": lambda name, dtype: gradient(name, dtype, 1),
        "second": lambda name, dtype: gradient(name, dtype, 2),
        "jvp": forward,
        "vmap": mapped,
    }
    answers: dict = {}
    for name, op in TABLE.items():
        if op["internal"]:
            continue
        record = RECORDS[name]
        answer = answers[name] = {key: {} for key in ("how", *TRANSFORMS)}
        for dtype in SHORT:
            short = SHORT[dtype]
            try:
                answer["how"][short] = how(name, dtype)
            except Exception as error:
                note(plugin, name, dtype, "forward", error)
                if not refusal(error):
                    wrong.append(f"{name} {dtype}: {type(error).__name__}: {error}")
                continue
            for key, check in checks.items():
                if key != "vmap" and (short not in INEXACT or not positions(name) or (key == "second" and not record.second)):
                    continue
                tg.manual_seed(0)
                try:
                    if found := check(name, dtype):
                        answer[key][short] = found
                except Exception as error:
                    note(plugin, name, dtype, key, error)
                    if key not in record.skip and not refusal(error):
                        wrong.append(f"{name} {dtype}, {key}: {type(error).__name__}: {error}")
    assert set(TG) == set(SHORT)
    if wrong:
        raise SystemExit("\n".join([f"{plugin}: these raise without saying that they do not take the dtype:", *wrong]))
    return answers


def refusal(error: Exception) -> bool:
    """Whether the error says that a dtype is not taken: "[sin] expected floats, got bool"."""
    return isinstance(error, (TypeError, NotImplementedError)) and "expected" in str(error) and ("got" in str(error) or "found none" in str(error))


def note(plugin: str, name: str, dtype: str, what: str, error: Exception) -> None:
    if os.environ.get("TENGEN_DEBUG"):
        print(f"{plugin} {name} {dtype} {what}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)


def collect_all() -> dict:
    """The answers of every plugin, each asked in a process of its own."""
    running = {}
    for plugin in PLUGINS:
        alone = {} if plugin == "chaos" else {"TENGEN_PLUGIN": f"only:{plugin}"}
        env = {k: v for k, v in os.environ.items() if not k.startswith("TENGEN_") or k == "TENGEN_DEBUG"}
        # What oneDNN takes depends on the processor: the page is of one kind, wherever it is made.
        env |= alone | {"TENGEN_FALLBACK": "allow", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        running[plugin] = subprocess.Popen([sys.executable, __file__, "--collect", plugin], env=env, stdout=subprocess.PIPE, text=True)
    answers = {}
    for plugin, process in running.items():
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"the answers of {plugin} could not be collected")
        answers[plugin] = json.loads(out)
    return answers


# ---- the page ---------------------------------------------------------------------------------------------------------------------

INTRO = """# Coverage

*Written by `tools/coverage_page.py`; `tests/python/test_coverage_page.py` fails when it is not true any more.*

Every public op of the table, called with the cases of its test record for each dtype, on each plugin alone ({rows}).

| | how a plugin serves a call |
|---|---|
| K | a kernel takes it whole |
| M | an elementwise program that one `map` kernel runs in one pass, fused |
| V | a view: nothing runs |
| P | made of other ops, which the plugin runs (its decomposition) |
| KP | a kernel for some of the cases, parts for the others |
| H | a primitive is missing: that part runs in host memory, with copies |
| – | cannot run |

Dtypes: *floats* f64 f32 f16 bf16, *signed* i64 i32 i16 i8, *unsigned* u64 u32 u16 u8, *integers* both, *numbers* floats and integers, *all* with
bool; *complex* c128 c64; *f8* float8_e4m3fn and float8_e5m2. Complex numbers and 8-bit floats run on kernels for reals and bytes: P may stand
where reals have K. What has no dtypes beside it holds for all of
the op's. Gradients, second gradients (2nd), forward mode (jvp) and vmap: ✓ works for every floating and complex dtype (vmap: every dtype) of the
op on all three plugins, and is tested in f64 against finite differences, reverse mode, and a loop; · does not apply: no gradient (integer results, steps of
constants, random numbers without parameters), nothing to map; a number: see the notes at the end.

The `cpu` column is of a processor with AVX2, where oneDNN takes float32 alone (with AVX-512 it takes bfloat16, too), and with the system's
LAPACK; without it `reference` brings the kernels of linear algebra.
"""


def dtypes_text(dtypes: list[str]) -> str:
    left, parts = set(dtypes), []
    for word, group in GROUPS.items():
        if set(group.split()) <= left:
            parts.append(word)
            left -= set(group.split())
    return ", ".join([*parts, " ".join(t for t in ORDER if t in left)]).strip(", ")


def plugin_cell(how: dict, dtypes: list[str]) -> str:
    by_letter: dict[str, list[str]] = {}
    for dtype in dtypes:
        by_letter.setdefault(how.get(dtype, "–") or "–", []).append(dtype)
    if len(by_letter) == 1:
        return next(iter(by_letter))
    return ", ".join(f"{letter} {dtypes_text(found)}" for letter, found in by_letter.items())


def transform_cell(name: str, key: str, answers: dict, dtypes: list[str], skip: tuple | None, notes: list[str]) -> str:
    def remark(text: str) -> str:
        if text not in notes:
            notes.append(text)
        return str(notes.index(text) + 1)

    if skip:
        return remark(f"{skip[0]}: {skip[1]}")
    found = {p: answers[p][name][key] for p in PLUGINS}
    if not any(found.values()):
        return "·"
    wanted = [t for t in dtypes if key == "vmap" or t in INEXACT]
    lacking = {p: [t for t in wanted if t in answers[p][name]["how"] and t not in found[p]] for p in PLUGINS}
    if any(lacking.values()):
        return remark("not for " + "; ".join(f"{dtypes_text(v)} on {p}" for p, v in lacking.items() if v))
    return remark("once for every index: it has no batching rule") if "loop" in [v for f in found.values() for v in f.values()] else "✓"


def kernel_rows() -> list[str]:
    """The rows of the plugins' manifests: which kernels there are, for which dtypes of their first argument."""
    import tengen as tg
    from tengen import _core

    tg.devices()
    found: dict[str, dict[str, set]] = {}
    for plugin in json.loads(_core._plugins_json()):
        if plugin["name"] not in PLUGINS:
            continue
        library = Path(plugin["library"])
        for row in json.loads(library.with_name(f"{plugin['name']}.plugin.json").read_text())["kernels"]:
            arguments, _, named = row["dtypes"].partition("; ")
            first = arguments.replace("->", "").split()[0]
            dtypes = named.removeprefix("T: ") if first == "T" else first.replace("|", " ")
            found.setdefault(row["op"], {}).setdefault(plugin["name"], set()).update(dtypes.split())
    def cell(dtypes: set) -> str:
        return dtypes_text([*dtypes]) or "–"

    lines = ["", "## Kernels", "", "The rows of the manifests: dtypes of the first argument. Ops above with M run by `map`, with P by these.", ""]
    lines += ["| kernel | cpu | reference | chaos |", "|---|---|---|---|"]
    return lines + [f"| {op} | {' | '.join(cell(of.get(p, set())) for p in PLUGINS)} |" for op, of in sorted(found.items())]


def page(answers: dict) -> str:
    sys.path.insert(0, str(TOP / "tests/ops"))
    from records import RECORDS

    from tengen import _core

    table = {op["name"]: op for op in json.loads(_core._op_table_json()) if not op["internal"]}
    notes: list[str] = []
    counts = {p: {"K": 0, "M": 0, "V": 0, "P": 0} for p in PLUGINS}
    body = []
    for family in sorted({op["family"] for op in table.values()}):
        body += ["", f"## {family.capitalize()}", "", "| op | dtypes | cpu | reference | chaos | gradient | 2nd | jvp | vmap |", "|---|---|---|---|---|---|---|---|---|"]
        for name in sorted(n for n, op in table.items() if op["family"] == family):
            dtypes = [t for t in ORDER if any(t in answers[p][name]["how"] for p in PLUGINS)]
            cells = [plugin_cell(answers[p][name]["how"], dtypes) for p in PLUGINS]
            for p in PLUGINS:
                for letter in counts[p]:
                    counts[p][letter] += any(letter in v for v in answers[p][name]["how"].values())
            skip = RECORDS[name].skip
            cells += [transform_cell(name, key, answers, dtypes, skip.get(key), notes) for key in TRANSFORMS]
            body.append(f"| {name} | {dtypes_text(dtypes)} | {' | '.join(cells)} |")
    body += kernel_rows()
    rows = "; ".join(f"{p}: {c['K']} ops with kernels, {c['M']} programs, {c['V']} views, {c['P']} made of others" for p, c in counts.items())
    text = [INTRO.format(rows=f"{len(table)} ops. {rows}"), *body, ""]
    if notes:
        text += ["## Notes", "", *(f"{i}. {note}" for i, note in enumerate(notes, 1)), ""]
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 and the difference when the page is stale")
    parser.add_argument("--collect", choices=PLUGINS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collect:
        answers = collect(options.collect)
        json.dump(answers, sys.stdout)
        return 0
    answers = collect_all()
    if not answers["cpu"]["cholesky"]["how"]:
        print("the page is made with the system's LAPACK, which was not found (tengen doctor)", file=sys.stderr)
        return 2
    text = page(answers)
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    old = PAGE.read_text(encoding="utf-8")
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), "docs/coverage.md", "what is true", n=0))
    return int(old != text)


if __name__ == "__main__":
    sys.exit(main())
