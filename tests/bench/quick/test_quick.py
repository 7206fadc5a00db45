# SPDX-License-Identifier: Apache-2.0
"""The one timed test: the figures of tests/bench/run.py with three times the room, so that it fails on a mistake (a plan
made in every call, a copy too many, a kernel lost) and not on a busy machine. One thread and CPU time, for the same reason."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tengen as tg

RUN = Path(__file__).resolve().parents[1] / "run.py"
ROOM = 3
BUILD = Path(os.environ.get("TENGEN_BUILD", Path(tg.__file__).absolute().parents[2]))

pytestmark = pytest.mark.timed


@pytest.fixture(scope="module")
def rows() -> dict[str, dict]:
    if not (BUILD / "tests/bench/onednn_bench").exists():
        pytest.skip(f"never: {BUILD} is no build tree with the benchmark programs (TENGEN_BUILD names one)")
    package = Path(tg.__file__).absolute().parents[1]
    result = subprocess.run([sys.executable, RUN, "--json", "--threads", "1", "--rounds", "2", "--seconds", "0.2", "--build", BUILD],
                            env={**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
                            capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return {row["key"]: row for row in json.loads(result.stdout)["rows"]}


def best(rows: dict[str, dict], key: str, side: str) -> float:
    return rows[key]["figures"][side]["best"]


def test_a_small_add_from_python(rows):
    assert best(rows, "add16", "tengen") <= ROOM * 210e-9
    assert best(rows, "add16", "tengen") <= ROOM * best(rows, "add16", "numpy")


def test_a_small_add_from_cpp(rows):
    assert best(rows, "add16_core", "core") <= ROOM * 100e-9


def test_import(rows):
    assert best(rows, "import", "tengen") - best(rows, "import", "numpy") <= ROOM * 0.12


@pytest.mark.parametrize("key", ["matmul", "conv_nhwc", "conv_nchw"])
def test_dense_work_against_onednn(rows, key):
    assert best(rows, key, "onednn") / best(rows, key, "tengen") >= 0.95 / ROOM


def test_no_plan_is_made_after_the_first_step(rows):
    assert rows["plans"]["met"], rows["plans"]
