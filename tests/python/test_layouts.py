# SPDX-License-Identifier: Apache-2.0
"""Results in a private layout, seen from Python: whatever looks at them finds plain tensors.

The plugin `blocks` of the tests gives softmax's result as a block that is nonsense to everybody else. It is built beside
the package, and loaded in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tengen as tg

SCRIPT = """
import copy, io, pickle
import numpy as np
import tengen as tg

x = tg.from_numpy(np.sin(np.arange(35, dtype=np.float32)).reshape(5, 7) * 3)
e = np.exp(x.numpy().astype(np.float64))
once = (e / e.sum(1, keepdims=True)).astype(np.float32)
e2 = np.exp(once.astype(np.float64))
twice = (e2 / e2.sum(1, keepdims=True)).astype(np.float32)


def near(got, expected=once):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-6)


def block():
    return tg.softmax(x, axis=1)


near(tg.softmax(block(), axis=1), twice)
near(block().numpy())
near(np.asarray(block()))
near(np.from_dlpack(block()))
near(tg.from_dlpack(block()))
near(np.frombuffer(memoryview(block()), np.float32).reshape(5, 7))
near(block().tolist())
near(block()[1:, ::2], once[1:, ::2])
near(block()[3], once[3])
near(block().T, once.T)
near(block().detach())
near(block() + 1, once + 1)
near(1 - block(), 1 - once)
near(copy.deepcopy(block()))
near(pickle.loads(pickle.dumps(block())))
assert abs(block()[2, 3].item() - once[2, 3]) < 1e-6
assert "tensor" in repr(block()) and "nan" not in repr(block())
near(tg.as_tensor(block()).clone())

y = block()
address = y.data_ptr()
assert address
near(y)
assert y.data_ptr() == address

y = block()
y += 1
near(y, once + 1)
y = block()
y[0] = 5
changed = once.copy()
changed[0] = 5
near(y, changed)
y = block()
base = y.view(35)
base.mul_(2)
near(y, once * 2)
y = tg.zeros(5, 7)
y.data = block()
near(y)
y = tg.zeros(5, 7)
y.copy_(block())
near(y)

tg.save({"y": block()}, "y.safetensors")
near(tg.load("y.safetensors")["y"])

leaf = x.clone().requires_grad_(True)
weights = tg.from_numpy(np.cos(np.arange(35, dtype=np.float32)).reshape(5, 7))
(tg.softmax(tg.softmax(leaf, axis=1), axis=1) * weights).sum().backward()
wide = x.double().requires_grad_(True)  # the plugin has float32 alone
(tg.softmax(tg.softmax(wide, axis=1), axis=1) * weights.double()).sum().backward()
near(leaf.grad, wide.grad.numpy())
near(tg.func.vmap(lambda row: tg.softmax(row, axis=0))(x))
near(tg.func.jvp(lambda t: tg.softmax(t, axis=1), (x,), (tg.ones_like(x),))[0])
print("passed")
"""


def built(name: str) -> Path | None:
    """The tests' plugin in the build tree that this package belongs to."""
    library = Path(tg._core.__file__).resolve().parents[2] / "tests" / "abi" / f"libtengen_{name}.so"
    return library if library.exists() else None


def test_private_layouts_never_show(tmp_path):
    library = built("blocks")
    if library is None:
        pytest.skip("the tests' plugins are not built beside this package")
    env = {**os.environ, "TENGEN_PLUGIN_PATH": str(library), "TENGEN_PLUGIN": "blocks", "TENGEN_DEBUG": "1",
           "TENGEN_DEVICE": "cpu:0"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "passed" in done.stdout, done.stderr[-3000:]
    for kernel in ("blocks.in", "blocks.on", "blocks.back", "blocks.reorder"):
        assert f"-> blocks/{kernel}" in done.stderr, f"{kernel} never ran"
