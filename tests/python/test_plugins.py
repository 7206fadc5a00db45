# SPDX-License-Identifier: Apache-2.0
"""Plugins as users meet them: a vendor's built outside the tree, several at once, one hidden, broken ones."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tengen as tg

TOP = Path(__file__).resolve().parents[2]
PLUGINS = Path(tg.__file__).parent / "plugins"

TRAIN = """
import json, sys
import numpy as np
import tengen as tg
from sklearn.datasets import load_digits

tg.manual_seed(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
order = np.random.default_rng(0).permutation(len(x))
train, test = order[500:], order[:500]
device = tg.default_device()
net = tg.nn.Sequential(tg.nn.Linear(64, 64), tg.nn.ReLU(), tg.nn.Linear(64, 10)).to(device)
optimizer = tg.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
xt, yt = tg.tensor(x[train], device=device), tg.tensor(y[train], device=device)
for epoch in range(60):
    optimizer.zero_grad()
    loss = tg.nn.functional.cross_entropy(net(xt), yt)
    loss.backward()
    optimizer.step()
predicted = net(tg.tensor(x[test], device=device)).argmax(axis=1).cpu().numpy()
print(json.dumps({"accuracy": float((predicted == y[test]).mean()), "device": str(device),
                  "fallbacks": [r[0] if isinstance(r, tuple) else str(r) for r in tg.fallback_table()]}))
"""


def run(code: str, **environment: str) -> tuple[dict, str]:
    pytest.importorskip("sklearn", reason="the training script reads scikit-learn's digits")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
                            env={**os.environ, **environment}, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.strip().splitlines()[-1]), result.stderr


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """tests/abi/outside, built against an installed TengenKernelApi as a vendor would."""
    work = tmp_path_factory.mktemp("vendor")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "timeout": 300}
    subprocess.run(["cmake", "-G", "Ninja", "-S", TOP / "kernel_api", "-B", work / "api", f"-DCMAKE_INSTALL_PREFIX={work / 'sdk'}"], **quiet)
    subprocess.run(["cmake", "--install", work / "api"], **quiet)
    shutil.copytree(TOP / "tests/abi/outside", work / "source")
    subprocess.run(["cmake", "-G", "Ninja", "-S", work / "source", "-B", work / "build", f"-DCMAKE_PREFIX_PATH={work / 'sdk'}",
                    "-DCMAKE_BUILD_TYPE=Release"], **quiet)
    subprocess.run(["cmake", "--build", work / "build"], **quiet)
    place = work / "plugins"
    place.mkdir()
    for file in (*(work / "build").glob("libtengen_*.so"), *(work / "build").glob("*.plugin.json")):
        shutil.copy(file, place)
    return place


def test_a_vendors_plugin_trains_the_digits(tiny):
    result, errors = run(TRAIN, TENGEN_PLUGIN_PATH=str(tiny), TENGEN_PLUGIN="tiny", TENGEN_DEVICE="cpu")
    assert result["accuracy"] > 0.9
    assert result["fallbacks"] == [], errors


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "tengen._cli", *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment}, check=False)


def test_a_vendors_plugin_is_listed_ranked_and_pinned(tiny):
    listed = command("plugins", "--json", TENGEN_PLUGIN_PATH=str(tiny))
    assert listed.returncode == 0, listed.stderr
    assert "tiny" in listed.stdout and "reference" in listed.stdout
    matmul = ("why", "matmul", "--dtype", "f32", "--shape", "8x8", "--shape", "8x8")
    ours = command(*matmul, "--all", TENGEN_PLUGIN_PATH=str(tiny))
    pinned = command(*matmul, TENGEN_PLUGIN_PATH=str(tiny), TENGEN_PLUGIN="tiny")
    assert ours.returncode == pinned.returncode == 0, ours.stderr + pinned.stderr
    assert re.search(r"^floor_matmul .* cpu/", ours.stdout, re.M) and re.search(r"^tiny .* could ", ours.stdout, re.M), ours.stdout
    assert re.search(r"^floor_matmul .* tiny/", pinned.stdout, re.M), pinned.stdout


@pytest.mark.parametrize("settings", [
    {"TENGEN_PLUGIN": "reference", "TENGEN_DEVICE": "cpu"},
    {"TENGEN_DEVICE": "chaos", "TENGEN_CHAOS_SEED": "3"},
], ids=["reference", "chaos"])
def test_the_same_script_trains_elsewhere(settings):
    if settings["TENGEN_DEVICE"] == "chaos" and not (PLUGINS / "libtengen_chaos.so").exists():
        pytest.skip("not yet: the wheel does not carry the test device chaos")
    base, _ = run(TRAIN, TENGEN_DEVICE="cpu")
    other, errors = run(TRAIN, **settings)
    assert abs(base["accuracy"] - other["accuracy"]) <= 0.02
    assert other["fallbacks"] == [], errors


def test_with_cpu_hidden_the_reference_serves(tmp_path):
    if not (PLUGINS / "libtengen_reference.so").exists():
        pytest.skip("not yet: no reference plugin beside this package")
    package = tmp_path / "tengen"
    shutil.copytree(Path(tg.__file__).parent, package, symlinks=False,
                    ignore=shutil.ignore_patterns("libtengen_cpu*", "cpu.plugin.json", "libdnnl*", "__pycache__"))
    result, _ = run(TRAIN, PYTHONPATH=str(tmp_path))
    assert result["accuracy"] > 0.9


def test_broken_plugins_are_reported_and_harm_nothing(tmp_path):
    (tmp_path / "libtengen_text.so").write_text("not a library")
    (tmp_path / "text.plugin.json").write_text('{"name": "text"}')
    (tmp_path / "broken.plugin.json").write_text("{")
    result, _ = run(TRAIN.replace("range(60)", "range(1)"), TENGEN_PLUGIN_PATH=str(tmp_path), TENGEN_DEVICE="cpu")
    assert result["device"].startswith("cpu")
    listed = command("plugins", "--json", TENGEN_PLUGIN_PATH=str(tmp_path))
    assert listed.returncode == 0, listed.stderr
    assert "text" in listed.stdout and "broken" in listed.stdout


def test_an_absent_device_is_named_with_what_there_is():
    with pytest.raises(ValueError, match="cpu:0"):
        tg.zeros((2,), device="warpdrive:3")


def test_no_plan_is_made_after_the_first_step():
    net = tg.nn.Linear(8, 4)
    optimizer = tg.optim.AdamW(net.parameters(), lr=1e-3)
    x = tg.ones((3, 8))
    made = []
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 / (step + 1)
        optimizer.zero_grad()
        (net(x) * 2).sum().backward()
        optimizer.step()
        made.append(tg.dispatch_stats()["plans_created"])
    assert made[1:] == [made[1]] * 5 or made == [made[0]] * 6, made
