# SPDX-License-Identifier: Apache-2.0
"""The same checks with another order of plugins. With `reference` first all primitives run there; composite ops without other
kernels decompose (as all do on devices that offer the floor alone, which test_ops.py visits, too)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ORDERS = ["reference"]


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_order(order):
    here = os.path.dirname(os.path.abspath(__file__))
    chosen = "(test_values or test_strides or test_gradient or test_second_gradient or test_whole) and cpu"
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--no-header",
            "--tb=line",
            "-p",
            "no:cacheprovider",
            "-k",
            chosen,
            os.path.join(here, "test_ops.py"),
        ],
        env={**os.environ, "TENGEN_PLUGIN": order},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
