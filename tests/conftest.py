# SPDX-License-Identifier: Apache-2.0
"""What all Python tests share: the marker."""
from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than half a second of processor time, or repeats on another device what others check; "
                            "tools/check leaves it out, --all and --nightly run it")
