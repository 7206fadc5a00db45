# SPDX-License-Identifier: Apache-2.0
"""Plugins as users meet them: a vendor's built outside the tree, several at once, one hidden, broken ones."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
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
                  "decompositions": tg.dispatch_stats()["decompositions"], "fallbacks": [row["op"] for row in tg.fallback_table()],
                  "plugins": {p["name"]: p for p in json.loads(tg._core._plugins_json())}}))
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


@pytest.fixture(scope="module")
def accuracy() -> float:
    """Of the same script on host memory with every plugin of this package."""
    result, _ = run(TRAIN, TENGEN_DEVICE="cpu")
    assert result["accuracy"] > 0.9
    return result["accuracy"]


def winners(log: str) -> set[str]:
    """Plugins whose rows TENGEN_DEBUG says were chosen."""
    return set(re.findall(r" -> (\w+)/", log))


@pytest.mark.slow
def test_a_vendors_plugin_trains_the_digits(tiny, accuracy):
    """On its own rows and, for the primitives that it lacks, the reference: what has no row of theirs decomposes."""
    result, log = run(TRAIN, TENGEN_PLUGIN_PATH=str(tiny), TENGEN_PLUGIN="only:tiny,reference", TENGEN_DEVICE="cpu", TENGEN_DEBUG="1")
    assert abs(result["accuracy"] - accuracy) <= 0.01
    assert winners(log) == {"tiny", "reference"}, log[-4000:]
    assert result["decompositions"] > 0
    assert re.search(r"\] cpu:0 .* -> tiny/tiny.matmul", log), log[-4000:]
    assert not re.search(r"\[(linear|cross_entropy)\] .* -> ", log), "neither has a row for them"


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "tengen._cli", *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment}, check=False)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {"TENGEN_PLUGIN": "only:reference", "TENGEN_DEVICE": "cpu"},
    {"TENGEN_DEVICE": "chaos", "TENGEN_CHAOS_SEED": "3"},
], ids=["reference", "chaos"])
def test_the_same_script_trains_elsewhere(settings, accuracy):
    if settings["TENGEN_DEVICE"] == "chaos" and not (PLUGINS / "libtengen_chaos.so").exists():
        pytest.skip("not yet: the wheel does not carry the test device chaos")
    other, log = run(TRAIN, TENGEN_DEBUG="1", **settings)
    assert abs(accuracy - other["accuracy"]) <= 0.01
    assert winners(log) >= {"reference" if settings["TENGEN_DEVICE"] == "cpu" else "chaos"} and "cpu" not in winners(log)
    assert other["fallbacks"] == [], "chaos has rows for all that this script needs"


@pytest.mark.slow
def test_with_cpu_hidden_the_reference_serves(tmp_path, accuracy):
    if not (PLUGINS / "libtengen_reference.so").exists():
        pytest.skip("not yet: no reference plugin beside this package")
    package = tmp_path / "tengen"
    shutil.copytree(Path(tg.__file__).parent, package, symlinks=False,
                    ignore=shutil.ignore_patterns("libtengen_cpu*", "cpu.plugin.json", "libdnnl*", "__pycache__"))
    result, log = run(TRAIN, PYTHONPATH=str(tmp_path), TENGEN_DEVICE="cpu", TENGEN_DEBUG="1")
    assert abs(result["accuracy"] - accuracy) <= 0.01
    assert winners(log) == {"reference"} and "cpu" not in result["plugins"]


@pytest.mark.slow
def test_broken_plugins_are_reported_and_harm_nothing(tmp_path):
    """Plugins that crash, hang, leave, speak another ABI, need another CPU or are no plugins at all: importing and training go on
    as without them, and each has its reason."""
    bad = Path(tg.__file__).absolute().parents[2] / "bad_plugins"
    if not bad.is_dir():
        pytest.skip("not yet: the wheel does not carry the plugins that misbehave")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/libtengen_text.so").write_text("not a library")
    (tmp_path / "text/text.plugin.json").write_text('{"name": "text"}')
    (tmp_path / "text/broken.plugin.json").write_text("{")
    short = TRAIN.replace("range(60)", "range(2)")
    environment = {"TENGEN_PLUGIN_PATH": ":".join(map(str, [*sorted(bad.iterdir()), tmp_path / "text"])), "TENGEN_DEVICE": "cpu",
                   "XDG_CACHE_HOME": str(tmp_path / "cache"), "TENGEN_PROBE_TIMEOUT": "3"}
    base, _ = run(short, TENGEN_DEVICE="cpu")
    result, _ = run(short, **environment)
    assert result["device"].startswith("cpu") and result["accuracy"] == base["accuracy"]
    reasons = {name: p["reason"] for name, p in result["plugins"].items() if not p["usable"]}
    for name, text in {"crash_in_open": "signal 11", "abort_in_query": "signal 6", "hang_in_query": "did not return from query",
                       "hang_in_open": "did not return from open", "exit_in_query": "ended the process", "other_abi": "ABI 7.0",
                       "cpu_feature": "avx4096", "truncated_elf": "ELF", "text": "is not an ELF file", "broken": "has no library libtengen_broken.so",
                       "throw_in_open": "exception"}.items():
        assert text in reasons[name], reasons[name]
    assert result["plugins"]["good"]["usable"] and set(base["plugins"]) < set(result["plugins"])
    listed = {p["name"]: p for p in json.loads(command("plugins", "--json", **environment).stdout)}
    assert "signal 11" in listed["crash_in_open"]["reason"] and "did not return" in listed["hang_in_open"]["reason"], "remembered"


def test_plugins_export_one_symbol():
    libraries = sorted(PLUGINS.glob("libtengen_*.so"))
    assert libraries
    for library in libraries:
        out = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
        assert [line.split()[1:] for line in out.splitlines()] == [["T", "tg_plugin_query"]], f"{library.name}: {out}"


@pytest.mark.slow
def test_an_installed_package_brings_a_plugin_to_the_command_too(tiny, tmp_path):
    package = tmp_path / "vendor-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[tengen.plugins]\ntiny = vendor_plugin:place\nbroken = nothere:place\n")
    (tmp_path / "vendor_plugin.py").write_text(f"place = {str(tiny)!r}\n")
    path = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])
    listed = command("plugins", "--json", PYTHONPATH=path)
    rows = {p["name"]: p for p in json.loads(listed.stdout)}
    assert rows["tiny"]["usable"] and rows["tiny"]["source"] == "package"
    assert "nothere" in listed.stderr
    words = ("why", "matmul", "--shape", "8x8", "--shape", "8x8", "--json")
    why = command(*words, PYTHONPATH=path, TENGEN_PLUGIN="tiny")
    step = next(s for s in json.loads(why.stdout)["steps"] if s["op"] == "floor_matmul")
    assert step["how"].startswith("tiny/") and "pinned by the user" in step["candidates"][0]["reason"], why.stdout
    assert "tiny" in command("doctor", PYTHONPATH=path).stdout


def policy(setting: str, question: str, device: str = "cpu:0", **environment: str) -> dict:
    """What `why` answers in a process that set this policy."""
    code = f"""
import json, tengen as tg
tg.set_plugin_policy({setting})
tg.zeros(1, device={device!r})
try:
    tg.set_plugin_policy()
except Exception as error:
    late = str(error)
tg._core._command(["tengen", "why", {question!r}, "--shape", "4x8", "--json", "--device", {device!r}], [], "")
print(late)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr
    text, late = done.stdout.rstrip().rsplit("\n", 1)
    assert "before the first use" in late
    return json.loads(text)


@pytest.mark.slow
def test_policies_and_measured_figures_rank(tiny):
    """pin > policy > measurement on this device > name, and each says so."""
    def first(*arguments, **environment):
        answer = policy(*arguments, TENGEN_PLUGIN_PATH=str(tiny), **environment)
        return next((c["plugin"], c["reason"]) for c in answer["candidates"] if c["chosen"])

    assert first("", "neg") == ("cpu", "chosen: ranks first (by name)")
    assert first("prefer=['tiny', 'cpu']", "neg") == ("tiny", "chosen: ranks first (preferred by policy (1 of 2))")
    figures = "measured_ns={'cpu:0': {'map': {'tiny': 80.0, 'cpu': 90.0}}}"
    assert first(figures, "neg") == ("tiny", "chosen: ranks first (measured: 80 ns)")
    assert first(figures.replace("cpu:0", "cpu:1"), "neg")[0] == "cpu", "figures of another device"
    assert first(figures.replace("map", "matmul"), "neg")[0] == "cpu", "figures of another op"
    assert first(figures + ", prefer=['cpu']", "neg")[0] == "cpu"
    assert first(figures + ", prefer=['cpu']", "neg", TENGEN_PLUGIN="reference") == ("reference", "chosen: ranks first (pinned by the user (1 of 1))")


def test_the_default_device_follows_the_policy(tmp_path):
    made = Path(tg.__file__).absolute().parents[2] / "tests/registry/plugins"
    if not made.is_dir():
        pytest.skip("not yet: the wheel does not carry the registry's test plugins")
    for name in ("t_devices", "t_devices_b"):
        for file in (f"libtengen_{name}.so", f"{name}.plugin.json"):
            shutil.copy(made / file, tmp_path)

    def chosen(setting: str) -> list[str]:
        code = f"import tengen as tg; tg.set_plugin_policy({setting}); print(tg.default_device()); print(tg.default_device_reason())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
                              env={**os.environ, "TENGEN_PLUGIN_PATH": str(tmp_path), "TENGEN_DEVICE": ""})
        return done.stdout.splitlines()

    first = "an accelerator, driven by plugin {}; the first of 4 ({})"
    assert chosen("") == ["toy:0", "toy:0: " + first.format("t_devices", "by name")]
    other = "toy@t_devices_b:0"
    assert chosen("prefer=['t_devices_b']") == [other, f"{other}: " + first.format("t_devices_b", "preferred by policy (1 of 1)")]


FALLBACK = """
import json
import numpy as np
import tengen as tg

x = tg.tensor(np.arange(12, dtype="float32").reshape(3, 4) % 5, device="chaos:0")
(x @ x.T).relu().sum().item()  # chaos has rows for all of this
try:
    print(json.dumps(tg.linalg.svdvals(x).cpu().tolist()))
except NotImplementedError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.parametrize("policy", ["warn", "allow", "error"])
def test_no_fallback_is_silent(policy):
    """The table at exit lists what chaos has no rows for, and nothing else, under every policy that lets it run."""
    if not (PLUGINS / "libtengen_chaos.so").exists():
        pytest.skip("not yet: the wheel does not carry the test device chaos")
    result, log = run(FALLBACK, TENGEN_FALLBACK=policy)
    if policy == "error":
        assert "[svd" in result and "fallback policy is error" in result or "[leaf_svd]" in result, result
        assert log == ""
        return
    x = np.arange(12, dtype="float32").reshape(3, 4) % 5
    np.testing.assert_allclose(result, np.linalg.svd(x, compute_uv=False), rtol=1e-5)
    lines = log.splitlines()
    warned = [line for line in lines if line.startswith("tengen warning")]
    assert len(warned) == (1 if policy == "warn" else 0), log
    table = lines[len(warned):]
    assert table[0] == "tengen: these ran in host memory because their device has no kernel for them:"
    assert table[1].split() == ["op", "device", "calls", "MB", "copied", "ms"]
    assert [line.split()[:3] for line in table[2:]] == [["leaf_svd", "chaos:0", "1"]], log


def fails(code: str, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def test_a_pinned_device_that_cannot_be_used_is_an_error(tmp_path):
    (tmp_path / "libtengen_text.so").write_text("not a library")
    use = "import tengen as tg; tg.zeros(1)"
    absent = fails(use, TENGEN_DEVICE="warpdrive:3", TENGEN_PLUGIN_PATH=str(tmp_path))
    assert "ValueError: expected a device of this machine, got 'warpdrive:3'" in absent
    assert "cpu:0  usable, " in absent and "plugin text: " in absent, "what there is, and what was refused"
    if (PLUGINS / "libtengen_chaos.so").exists():
        unusable = fails(use, TENGEN_DEVICE="chaos", TENGEN_PLUGIN="only:reference")
        assert "ValueError: device chaos:0 is not usable: TENGEN_PLUGIN=only:... leaves no plugin with kernels for it" in unusable
        other = fails(use, TENGEN_DEVICE="warpdrive", TENGEN_PLUGIN="only:reference")
        assert "chaos:0  not usable, TENGEN_PLUGIN=only:" in other


def test_an_absent_device_is_named_with_what_there_is():
    with pytest.raises(ValueError, match="cpu:0"):
        tg.zeros((2,), device="warpdrive:3")


@pytest.mark.parametrize("optimizer", [tg.optim.AdamW, lambda p, lr: tg.optim.SGD(p, lr=lr, momentum=0.9)], ids=["adamw", "sgd"])
def test_no_plan_is_made_after_the_first_step(optimizer):
    net = tg.nn.Sequential(tg.nn.Conv2d(1, 4, 3), tg.nn.BatchNorm2d(4), tg.nn.ReLU(), tg.nn.MaxPool2d(2), tg.nn.Dropout(0.2),
                           tg.nn.Flatten(), tg.nn.Linear(36, 10))
    optimizer = optimizer(net.parameters(), lr=1e-3)
    y = tg.tensor([1, 2, 3])
    made = []
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 / (step + 1)
        optimizer.zero_grad()
        tg.nn.functional.cross_entropy(net(tg.rand((3, 1, 8, 8))), y).backward()
        optimizer.step()
        made.append(tg.dispatch_stats()["plans_created"])
    assert made == [made[0]] * 6, made


def test_other_threads_run_while_a_kernel_does():
    """The interpreter's lock is released: with switching by time all but off, another thread gets its turn during a kernel only."""
    x = tg.ones(700, 700)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        for _ in range(10):  # a kernel may end before the other thread wakes up; with the lock held it never wakes up in time
            started, done = threading.Event(), []

            def work(started=started, done=done):
                started.set()
                for _ in range(5):
                    x @ x
                done.append(True)

            thread = threading.Thread(target=work)
            thread.start()
            started.wait()
            early = not done
            thread.join()
            if early:
                return
    finally:
        sys.setswitchinterval(interval)
    pytest.fail("expected the main thread to run while a matrix product did, it never did")
