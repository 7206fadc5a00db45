# SPDX-License-Identifier: Apache-2.0
"""What the Python tests share: `tg` names in doctests, a fixed seed, and the devices of this machine."""
from __future__ import annotations

import os

import numpy as np
import pytest

# Tests say where a tensor lives when it matters; a test device must not become the default one.
os.environ.setdefault("TENGEN_DEVICE", "cpu:0")

import tengen as tg  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    tg.manual_seed(1234)
    np.random.seed(1234)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def second_device():
    """A usable device besides the default one (the chaos plugin brings one in the build tree)."""
    others = [d for d in tg.devices() if d.usable and d.name != str(tg.default_device())]
    if not others:
        pytest.skip("this machine has one usable device only")
    return tg.device(others[0].name)
