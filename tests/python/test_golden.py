# SPDX-License-Identifier: Apache-2.0
"""Plugin binaries of earlier stages (tests/abi/golden) under the host of today: each still trains, or is refused with a
reason that names the ABI. Nothing but the stored plugins is visible to the host in these runs. And the other way round: the
small host of each stage still runs the plugins of today."""
from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tengen as tg

TOP = Path(__file__).resolve().parents[2]
GOLDEN = TOP / "tests/abi/golden"
STAGES = sorted(p.parent for p in GOLDEN.glob("*/*/SHA256SUMS"))
# Where each plugin is made to work: `tiny` lacks some primitives, which the stored `reference` then brings.
SETTINGS = {
    "reference": {"TENGEN_DEVICE": "cpu", "TENGEN_PLUGIN": "reference"},
    "tiny": {"TENGEN_DEVICE": "cpu", "TENGEN_PLUGIN": "tiny"},
    "chaos": {"TENGEN_DEVICE": "chaos", "TENGEN_CHAOS_SEED": "3"},
}
LIBRARIES = [(stage, library) for stage in STAGES for library in sorted(stage.glob("libtengen_*.so"))]

# Three steps of SGD with momentum on an 8x8-digits-sized MLP; the same in NumPy and double precision beside it.
TRAIN = """
import json
import numpy as np
import tengen as tg

plugins = json.loads(tg._core._plugins_json())
state = {p["name"]: p for p in plugins}[PLUGIN]
if not state["usable"]:
    print(json.dumps({"plugins": plugins, "refused": state["reason"]}))
    raise SystemExit
rng = np.random.default_rng(0)
x, y = rng.random((48, 64), dtype=np.float32), rng.integers(0, 10, 48)
start = [rng.standard_normal(s).astype(np.float32) * 0.2 for s in ((32, 64), (32,), (10, 32), (10,))]

device = tg.default_device()
net = tg.nn.Sequential(tg.nn.Linear(64, 32), tg.nn.ReLU(), tg.nn.Linear(32, 10)).to(device)
net.load_state_dict(dict(zip(net.state_dict(), map(tg.tensor, start))))
optimizer = tg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
losses = []
for step in range(3):
    optimizer.zero_grad()
    loss = tg.nn.functional.cross_entropy(net(tg.tensor(x, device=device)), tg.tensor(y, device=device))
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

w1, b1, w2, b2 = values = [v.astype(np.float64) for v in start]
momenta = [np.zeros_like(v) for v in values]
expected = []
for step in range(3):
    h = x @ w1.T + b1
    z = np.maximum(h, 0) @ w2.T + b2
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected.append(-np.log(p[np.arange(48), y]).mean())
    dz = (p - np.eye(10)[y]) / 48
    dh = (dz @ w2) * (h > 0)
    for value, momentum, gradient in zip(values, momenta, (dh.T @ x, dh.sum(0), dz.T @ np.maximum(h, 0), dz.sum(0))):
        momentum *= 0.9
        momentum += gradient
        value -= 0.1 * momentum

np.testing.assert_allclose(losses, expected, rtol=1e-5)
for got, want in zip(net.parameters(), values):
    np.testing.assert_allclose(got.detach().cpu().numpy(), want, rtol=1e-4, atol=1e-5)
print(json.dumps({"plugins": plugins, "device": str(device), "fallbacks": len(tg.fallback_table()), "losses": losses}))
"""


def host_abi() -> tuple[int, int]:
    header = (TOP / "kernel_api/include/tengen/kernel_api.h").read_text()
    return tuple(int(re.search(rf"#define TG_ABI_{part} (\d+)u", header)[1]) for part in ("MAJOR", "MINOR"))


def label(value: object) -> str:
    return value.stem.removeprefix("libtengen_") if value.is_file() else f"{value.parent.name}-{value.name}"


def test_there_are_golden_plugins():
    names = {library.stem.removeprefix("libtengen_") for _, library in LIBRARIES}
    assert names >= set(SETTINGS), f"tests/abi/golden holds {sorted(names)}; tests/abi/golden/make.sh stores a stage"


@pytest.mark.parametrize("stage", STAGES, ids=label)
def test_the_stored_files_are_as_they_were(stage):
    lines = [line.split() for line in (stage / "SHA256SUMS").read_text().splitlines() if not line.startswith("#")]
    sums = {name.removeprefix("./"): digest for digest, name in lines}
    assert set(sums) == {p.name for p in stage.iterdir()} - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((stage / name).read_bytes()).hexdigest() == digest, name


@pytest.fixture(scope="module")
def bare_package(tmp_path_factory) -> Path:
    """A directory to import tengen from that holds the package without its plugins."""
    place = tmp_path_factory.mktemp("bare")
    (place / "tengen").mkdir()
    for entry in Path(tg.__file__).parent.iterdir():
        if entry.name not in ("plugins", "__pycache__"):
            (place / "tengen" / entry.name).symlink_to(entry.resolve())
    return place


@pytest.mark.parametrize(("stage", "library"), LIBRARIES, ids=label)
def test_a_stored_plugin_trains_or_says_which_abi_it_needs(stage, library, bare_package):
    if stage.name != platform.machine():
        pytest.skip(f"never: these binaries are for {stage.name}, this machine is {platform.machine()}")
    name = library.stem.removeprefix("libtengen_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TENGEN_") or k == "TENGEN_DATA"}
    environment |= {"PYTHONPATH": str(bare_package), "TENGEN_PLUGIN_PATH": str(stage), "TENGEN_DEBUG": "1", **SETTINGS[name]}
    result = subprocess.run([sys.executable, "-c", TRAIN.replace("PLUGIN", repr(name))], env=environment,
                            capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    outcome = json.loads(result.stdout.splitlines()[-1])
    assert {Path(p["library"]).parent for p in outcome["plugins"] if p["usable"]} <= {stage}

    built_for = tuple(map(int, json.loads((stage / f"{name}.plugin.json").read_text())["abi"]["max"].split(".")))
    host = host_abi()
    if built_for[0] == 0 and built_for != host:  # before 1.0 the minors must agree, and saying so is all that is asked
        assert "ABI" in outcome["refused"], outcome["refused"]
        assert "{}.{}".format(*built_for) in outcome["refused"], outcome["refused"]
        return
    assert "refused" not in outcome, outcome["refused"]
    assert outcome["fallbacks"] == 0
    assert outcome["device"].startswith(SETTINGS[name]["TENGEN_DEVICE"])
    assert f"-> {name}/" in result.stderr, "expected TENGEN_DEBUG to name this plugin's kernels"


@pytest.mark.parametrize("stage", STAGES, ids=label)
def test_a_stored_host_runs_the_plugins_of_today(stage):
    if stage.name != platform.machine():
        pytest.skip(f"never: this binary is for {stage.name}, this machine is {platform.machine()}")
    plugins = sorted((Path(tg.__file__).parent / "plugins").glob("libtengen_*.so"))
    assert plugins
    built_for = re.search(r"kernel ABI (\d+)\.(\d+)", (stage / "SHA256SUMS").read_text())
    same = built_for[1] != "0" or tuple(map(int, built_for.groups())) == host_abi()  # before 1.0 the minors must agree
    for library in plugins:
        done = subprocess.run([stage / "tengen_host", library], capture_output=True, text=True, timeout=60, check=False)
        if same:
            assert done.returncode == 0, done.stdout + done.stderr
            assert re.fullmatch(r"\w+ [\d.]+, ABI [\d.]+: .*: right\n", done.stdout), done.stdout
            assert "matmul" in done.stdout and "reduce" in done.stdout, done.stdout
        else:
            assert done.returncode == 3, done.stdout + done.stderr
            assert "refused" in done.stdout and "ABI" in done.stdout
