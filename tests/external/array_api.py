# SPDX-License-Identifier: Apache-2.0
"""Runs the conformance suite of the Python array API standard (data-apis/array-api-tests) on tengen.array_api.

    python tests/external/array_api.py --suite CHECKOUT [--max-examples 30] [-- pytest arguments]

CHECKOUT has its submodule array-api. The suite needs pytest, hypothesis and ndindex. Prints the counts of docs/external.md: cases
that passed, failed and were skipped, by file; cases named in array_api_skips.txt (with the reason) count as skipped. The exit
status is 1 when another case fails.
"""
from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("passed", "failed", "skipped")


def counts_of(report: Path) -> tuple[dict, list[str], collections.Counter]:
    """Cases by file and outcome, the names of those that failed, and why others were skipped."""
    groups: dict = collections.defaultdict(collections.Counter)
    failed, reasons = [], collections.Counter()
    for case in ET.parse(report).getroot().iter("testcase"):
        group = case.get("classname", "").split(".")[1]
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        groups[group][kind] += 1
        if kind == "failed":
            failed.append(f"{case.get('classname').replace('.', '/', 1)}::{case.get('name')}")
        if kind == "skipped":
            reasons[next(c for c in case if c.tag == "skipped").get("message", "").split(" (")[0]] += 1
    return groups, failed, reasons


def table(groups: dict) -> str:
    """The counts as a Markdown table."""
    total: collections.Counter = collections.Counter()
    lines = ["| group | collected | passed | failed | skipped |", "|---|---:|---:|---:|---:|"]
    for group in sorted(groups):
        total.update(groups[group])
        lines.append(f"| {group.removeprefix('test_')} | {sum(groups[group].values())} | " + " | ".join(str(groups[group][k]) for k in KINDS) + " |")
    lines.append(f"| **all** | {sum(total.values())} | " + " | ".join(str(total[k]) for k in KINDS) + " |")
    ran = total["passed"] + total["failed"]
    lines.append(f"\n{100 * total['passed'] / max(sum(total.values()), 1):.1f} % of the collected cases passed, "
                 f"{100 * total['passed'] / max(ran, 1):.1f} % of those that ran.")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True, type=Path, help="checkout of data-apis/array-api-tests")
    parser.add_argument("--max-examples", type=int, default=30, help="examples of each case")
    parser.add_argument("rest", nargs="*", help="arguments for pytest")
    args = parser.parse_args()
    if not (args.suite / "array-api" / "src").is_dir():
        parser.error(f"{args.suite} has no array-api/src: check out the suite with its submodule")
    import tengen.array_api

    env = {
        **os.environ,
        "ARRAY_API_TESTS_MODULE": "tengen.array_api",
        "ARRAY_API_TESTS_VERSION": tengen.array_api.__array_api_version__,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(tengen.__file__).parents[1]), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-deadline", "--derandomize",
             f"--max-examples={args.max_examples}", f"--skips-file={HERE / 'array_api_skips.txt'}", f"--junitxml={report}",
             "--tb=short", *(args.rest or ["array_api_tests"])],
            cwd=args.suite, env=env, check=False)
        groups, failed, reasons = counts_of(report)
    print(table(groups))
    print("\nSkipped:", *(f"{n} x {why}" for why, n in reasons.most_common()), sep="\n  ")
    print("\nFailed:", *(failed or ["none"]), sep="\n  ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
