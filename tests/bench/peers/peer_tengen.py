# SPDX-License-Identifier: Apache-2.0
"""Tengen's column in the peers' harness, whose torchlike.py builds every workload from a package with PyTorch's API.

    TENGEN_PYTHON=.venv/bin/python TENGEN_ADAPTER=tests/bench/peers python3 run.py --peers torch,tengen
"""
from __future__ import annotations

from typing import Any

import torchlike
from workloads import Skip

import tengen


def versions() -> dict:
    return {"tengen": tengen.__version__}


def make(workload: dict, mode: str, threads: int) -> Any:
    """The timed function of a workload, and how many steps a call of it makes."""
    if mode != "eager":
        raise Skip("n/a")
    return torchlike.make(tengen, workload, mode, threads)
