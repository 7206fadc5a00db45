# SPDX-License-Identifier: Apache-2.0
"""Devices from Python: names, the default, memory, streams, moving tensors, plugins of installed packages."""
from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import tengen as tg


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env={**os.environ, **environment}, capture_output=True,
                          text=True)


def test_device_objects():
    d = tg.device("cpu")
    assert repr(d) == "device('cpu:0')" and str(d) == d.name == "cpu:0" and d.type == d.kind == "cpu" and d.index == 0
    assert d == tg.device("cpu:0") == "cpu:0" == tg.device("cpu", 0) and d == "cpu" and d != "cpu:1"
    assert {d: 1}[tg.device("cpu:0")] == 1 and d.is_host
    assert pickle.loads(pickle.dumps(d)) == d and tg.device(d) is d and copy.deepcopy(d) == d
    assert tg.zeros(1, device="cpu").device is d and isinstance(d, tg.Device)
    with pytest.raises(ValueError, match="nosuch"):
        tg.device("nosuch:3")
    with pytest.raises(TypeError, match="expected a device"):
        tg.device(3)


def test_devices_lists_all_with_reasons():
    rows = tg.devices()
    names = [d.name for d in rows]
    assert "cpu:0" in names and len(set(names)) == len(names)
    for d in rows:
        assert d.reason and d.kind and d.provider and isinstance(d.usable, bool) and d.name in repr(d)
    assert tg.default_device_reason()


def test_devices_tell_free_memory(second_device):
    def free(name):
        return next(d.memory_free for d in tg.devices() if d.name == name)

    assert 0 < free("cpu:0") <= next(d.memory_bytes for d in tg.devices() if d.name == "cpu:0")
    before = free(second_device.name)
    held = tg.zeros(1 << 24, device=second_device)
    tg.synchronize(second_device)
    assert before - free(second_device.name) >= held.nbytes


def test_a_device_without_a_row_for_copy_copies_by_itself():
    # The tests' plugin `foreign` has a matmul for chaos, and nobody else may serve it.
    library = Path(tg._core.__file__).resolve().parents[2] / "tests" / "abi" / "libtengen_foreign.so"
    if not library.exists():
        pytest.skip("the tests' plugins are not built beside this package")
    done = run("""
        import tengen as tg
        x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], device="chaos:0")
        y = x.clone()
        z = tg.tensor([[0.0, 0.0], [0.0, 0.0]], device="chaos:0")
        z.copy_(y)
        assert y.data_ptr() != x.data_ptr() and (x @ z).tolist() == [[7.0, 10.0], [15.0, 22.0]]
        assert tg.dispatch_stats()["fallbacks"] == 0
        try:
            x.T.contiguous()
        except NotImplementedError as e:
            assert "copy" in str(e)
        else:
            raise AssertionError("a strided copy needs a kernel")
        """, TENGEN_PLUGIN_PATH=str(library), TENGEN_PLUGIN="only:foreign", TENGEN_DEVICE="chaos:0", TENGEN_FALLBACK="error")
    assert done.returncode == 0, done.stderr[-2000:]


def test_default_device():
    before = tg.default_device()
    try:
        tg.set_default_device("cpu")
        assert tg.default_device() == "cpu:0" and tg.zeros(1).device == "cpu:0"
    finally:
        tg.set_default_device(None)
    assert tg.default_device() == before


def test_device_context(second_device):
    before = tg.default_device()
    with tg.device(second_device) as d:
        assert d == second_device and tg.zeros(2).device == d and tg.tensor([1]).device == d and tg.rand(2).device == d
        with tg.device("cpu"):
            assert tg.ones(1).device == "cpu:0"
            with d:
                assert tg.ones(1).device == d
        assert tg.default_device() == d
    assert tg.default_device() == before


def test_tensors_move(second_device):
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x.to(second_device)
    assert y.device == second_device and y.to(second_device) is y and f"device='{second_device}'" in repr(y)
    assert (y @ y).cpu().tolist() == [[7.0, 10.0], [15.0, 22.0]]
    (y * y).sum().backward()
    assert x.grad.device == x.device and x.grad.tolist() == [[2.0, 4.0], [6.0, 8.0]]
    assert y.detach().T.tolist() == [[1.0, 3.0], [2.0, 4.0]] and y[1, 0].item() == 3.0
    assert np.asarray(y.detach()).tolist() == x.tolist()
    assert y.to("cpu", tg.float64).dtype is tg.float64
    assert y.numpy(force=True).tolist() == x.tolist()
    with pytest.raises(TypeError, match=r"\.cpu\(\)\.numpy\(\)"):
        y.detach().numpy()
    with pytest.raises(BufferError, match="cpu"):
        y.detach().__dlpack__()
    with pytest.raises(ValueError, match="one device"):
        x + y
    z = pickle.loads(pickle.dumps(y.detach()))
    assert z.device == second_device and z.tolist() == x.tolist()
    w = tg.zeros(2, 2, device=second_device)
    w[0] = 5
    w[1] = tg.ones(2)
    assert w.tolist() == [[5.0, 5.0], [1.0, 1.0]]
    assert (w + np.ones(2, np.float32)).device == second_device


def test_memory_stats():
    gc.collect()
    tg.reset_peak_memory_stats("cpu")
    before = tg.memory_stats("cpu")
    x = tg.empty(1 << 20, device="cpu")
    during = tg.memory_stats("cpu")
    assert during["current"] - before["current"] >= 4 << 20 and during["allocations"] > before["allocations"]
    assert during["peak"] >= during["current"] and during["reserved"] >= during["current"]
    del x
    after = tg.memory_stats("cpu")
    assert after["current"] == before["current"] and after["peak"] == during["peak"]
    tg.reset_peak_memory_stats("cpu")
    assert tg.memory_stats("cpu")["peak"] == tg.memory_stats("cpu")["current"]
    tg.empty_cache("cpu")
    assert tg.memory_stats("cpu")["reserved"] < during["reserved"]


def test_streams_and_events(second_device):
    s = tg.Stream(second_device)
    assert s.device == second_device
    x = tg.ones(1000, device=second_device)
    tg.synchronize(second_device)
    with s:
        y = x * 2
        e = s.record_event()
    other = tg.Stream(second_device)
    other.wait_event(e)
    e.synchronize()
    assert e.query()
    s.synchronize()
    assert s.query() and y.tolist() == [2.0] * 1000
    other.wait_stream(s)
    with pytest.raises(RuntimeError, match="not recorded"):
        tg.Event().synchronize()
    e = tg.Event()
    e.record(s)
    tg.synchronize(second_device)


def test_threads_and_counters():
    n = tg.get_num_threads()
    try:
        tg.set_num_threads(1)
        assert tg.get_num_threads() == 1
        with pytest.raises(ValueError, match="at least 1"):
            tg.set_num_threads(0)
    finally:
        tg.set_num_threads(n)
    before = tg.dispatch_stats()
    x = tg.ones(5) + 1
    x + 1
    after = tg.dispatch_stats()
    assert after["launches"] > before["launches"]
    assert set(after) == {"plans_created", "plan_hits", "plans_cached", "launches", "decompositions", "fallbacks", "batch_loops"}


def test_fallback_policy():
    before = tg.get_fallback_policy()
    try:
        for p in ("error", "warn", "allow"):
            tg.set_fallback_policy(p)
            assert tg.get_fallback_policy() == p
        with pytest.raises(ValueError, match='"error", "warn" or "allow"'):
            tg.set_fallback_policy("maybe")
    finally:
        tg.set_fallback_policy(before)
    assert isinstance(tg.fallback_table(), list)


def test_device_of_the_environment():
    done = run("import tengen as tg; print(tg.default_device())", TENGEN_DEVICE="cpu:0")
    assert done.stdout.strip() == "cpu:0", done.stderr


def test_exit_is_clean():
    done = run("""
        import tengen as tg
        x = tg.ones(3, requires_grad=True)
        (x * 2).sum().backward()
        keep = [x, x.grad, x.grad.numpy(), tg.from_numpy(x.detach().numpy())]
        x.register_hook(lambda g: g)
    """)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_plugins_of_installed_packages_are_looked_for_at_first_use(tmp_path):
    package = tmp_path / "someplugin-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: someplugin\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[tengen.plugins]\nsome = someplugin:directory\nbroken = nothere:directory\n")
    (tmp_path / "someplugin.py").write_text("import sys\nsys.seen = True\ndef directory():\n    return " + repr(str(tmp_path / "plugins")) + "\n")
    (tmp_path / "plugins").mkdir()
    done = run(f"""
        import sys, warnings
        sys.path.insert(0, {str(tmp_path)!r})
        import tengen as tg
        assert not hasattr(sys, "seen")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tg.zeros(1)
        assert sys.seen
        assert any("nothere" in str(w.message) for w in caught), caught
    """)
    assert done.returncode == 0, done.stderr
