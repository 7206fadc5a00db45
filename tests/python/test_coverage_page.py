# SPDX-License-Identifier: Apache-2.0
"""docs/coverage.md is what tools/coverage_page.py would write now."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_coverage_page_is_true():
    result = subprocess.run([sys.executable, TOP / "tools/coverage_page.py", "--check"], capture_output=True, text=True, timeout=600, check=False)
    if result.returncode == 2:
        pytest.skip(f"never: {result.stderr.strip()}")
    assert result.returncode == 0, f"docs/coverage.md is stale, run tools/coverage_page.py:\n{result.stdout[-4000:]}{result.stderr[-2000:]}"
