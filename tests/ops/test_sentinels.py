# SPDX-License-Identifier: Apache-2.0
"""Inputs in the middle of larger buffers: nothing around them is used or written, and they stay as they are. The same, and what
test_transforms_of_ops.py checks of out= and of in-place forms, with the kernels of `reference` alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from records import RECORDS
from test_ops import DEVICES, assert_close, call, cases_of, each_array, expected_of, parameters, seed, tensor

import tengen as tg
from tengen import _core

HERE = Path(__file__).parent
ALONE = "only:reference"


def guarded(a: np.ndarray, dtype: str | None, device: str) -> tuple[tg.Tensor, tg.Tensor]:
    """(the array as a part of a buffer, the buffer): NaN around floats, so that a read beyond shows in the result."""
    plain = tensor(a, dtype, device)
    guard = float("nan") if plain.dtype.is_floating_point else plain.dtype == tg.bool or 77
    whole = tg.full((plain.numel() + 32,), guard, dtype=plain.dtype, device=device)
    part = whole[16 : 16 + plain.numel()]
    part.copy_(plain.reshape((-1,)))
    return part.reshape(plain.shape), whole


def bits(t: tg.Tensor) -> bytes:
    t = t.to(tg.float32) if t.dtype == tg.bfloat16 else t  # exactly
    return t.cpu().numpy().tobytes()


def sampled(device: str, name: str) -> bool:
    """Every op on the first device; on the others a fourth of them."""
    return device == DEVICES[0] or seed(name).integers(4) == 0


@pytest.mark.parametrize("name", parameters(lambda r: bool(r.cases)))
def test_inputs_between_sentinels(name):
    record = RECORDS[name]
    for device in DEVICES:
        if not sampled(device, name):
            continue
        for case in cases_of(name)[:3]:
            for dtype in record.dtypes[:: max(len(record.dtypes) - 1, 1)]:  # the first and the last
                buffers = []

                def place(i, a, case=case, dtype=dtype, device=device, buffers=buffers):
                    part, whole = guarded(a, None if i in case.fixed else dtype, device)
                    buffers.append((whole, bits(whole)))
                    return part

                inputs = each_array(case, place)
                got = call(name, inputs, case, device)
                assert_close(name, record, case, dtype, got, expected_of(name, case, dtype, device))
                for number, (whole, before) in enumerate(buffers):
                    assert bits(whole) == before, f"{name}{case.attrs} {dtype} {device} wrote into input {number} or beside it"


@pytest.mark.parametrize("device", DEVICES)
def test_out_of_its_own_storage(device):
    """out= shares storage with an operand and is not contiguous: a plan made for its strides does not run on a contiguous copy."""
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=(3, 9, 5, 5)), rng.normal(size=(4, 4, 1, 1))
    whole = tg.tensor(values, dtype=tg.float32, device=device)
    _core.ops["conv"](whole[:, :4], tg.tensor(weight, dtype=tg.float32, device=device), out=whole[:, 4:8])
    values[:, 4:8] = np.einsum("nchw,oc->nohw", values[:, :4], weight[:, :, 0, 0])
    np.testing.assert_allclose(whole.cpu().numpy(), values, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("TENGEN_PLUGIN") == ALONE, reason="never: this is that run")
def test_reference_alone():
    checks = "inputs_between or own_storage or out_stays or in_place"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", checks, HERE / "test_sentinels.py", HERE / "test_transforms_of_ops.py"],
        env={**os.environ, "TENGEN_PLUGIN": ALONE}, capture_output=True, text=True, timeout=900, check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
