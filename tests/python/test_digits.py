# SPDX-License-Identifier: Apache-2.0
"""The quickstart: learns the embedded digits, says what it does, leaves a checkpoint and a picture."""
import os
import re
import subprocess
import sys
import xml.dom.minidom

import numpy as np
import pytest

import tengen as tg
from tengen import _quickstart as quickstart
from tengen.data import load_digits, write_idx

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def run(*args, **kw):
    return subprocess.run(
        [sys.executable, "-m", "tengen._quickstart", *map(str, args)],
        env=ENV,
        capture_output=True,
        text=True,
        timeout=300,
        **kw,
    )


@pytest.mark.slow
def test_reads_the_digits_held_out(tmp_path):
    done = run("--out", tmp_path)
    assert done.returncode == 0, done.stderr
    accuracy = float(re.search(r"^test accuracy: ([\d.]+) %", done.stdout, re.M)[1])
    assert accuracy >= 97.5, done.stdout
    epochs = re.findall(r"^epoch +(\d+)/(\d+) loss [\d.]+  accuracy +[\d.]+ %  [\d,]+ samples/s$", done.stdout, re.M)
    assert [int(e) for e, _ in epochs] == list(range(1, quickstart.SMALL["epochs"] + 1)), "piped: a line per epoch"
    assert re.search(r"^using \S+: .+", done.stdout, re.M) and "held out" in done.stdout
    assert "\r" not in done.stdout and "\x1b" not in done.stdout
    # the checkpoint holds the net that was measured
    saved = tg.load(tmp_path / "digits.safetensors")
    digits = load_digits()
    net = quickstart.build_net((8, 8), 10)
    net.load_state_dict(saved["model"])
    scaled = digits.train_images / digits.scale
    x = tg.tensor(((digits.test_images / digits.scale - scaled.mean()) / scaled.std()).astype(np.float32)[:, None])
    with tg.no_grad():
        guess = net.eval()(x).argmax(1).numpy()
    assert 100 * (guess == digits.test_labels).mean() == pytest.approx(accuracy, abs=0.21)
    assert len(saved["history"]) == len(epochs)
    xml.dom.minidom.parse(str(tmp_path / "digits.svg"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_recipe_does_not_hang_on_the_seed(seed):
    history = quickstart.train(load_digits(), tg.default_device(), seed=seed, show=False)[2]
    assert history[-1]["accuracy"] >= 98, history[-3:]


@pytest.mark.slow
def test_terminal_has_one_updating_line(tmp_path):
    import pty
    import threading

    try:
        leader, follower = pty.openpty()
    except OSError as error:
        pytest.skip(f"never here: this machine offers no pseudo-terminal ({error})")
    process = subprocess.Popen(
        [sys.executable, "-m", "tengen._quickstart", "--epochs", "2", "--out", str(tmp_path)],
        env=ENV,
        stdout=follower,
        stderr=subprocess.PIPE,
    )
    os.close(follower)
    chunks = []

    def read():
        try:
            while data := os.read(leader, 65536):
                chunks.append(data)
        except OSError:  # the other side has closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(120) == 0, process.stderr.read()
    reader.join(10)
    os.close(leader)
    text = b"".join(chunks).decode()
    assert text.count("\r\x1b[2K") >= 2 and "[####################]" in text
    assert len([line for line in text.split("\n") if "epoch 1/2" in line]) == 1


@pytest.mark.slow
def test_same_seed_same_run(tmp_path):
    a, b, c = (run("--epochs", 1, "--seed", s, "--out", tmp_path / n).stdout for s, n in ((1, "a"), (1, "b"), (2, "c")))
    loss = lambda text: re.search(r"loss [\d.]+", text)[0]
    assert loss(a) == loss(b) != loss(c)
    first, second = (tg.load(tmp_path / n / "digits.safetensors")["model"] for n in "ab")
    assert all((first[k].numpy() == second[k].numpy()).all() for k in first)


@pytest.mark.slow
def test_other_data_with_workers(tmp_path):
    rng = np.random.RandomState(0)
    for name, n in (("train", 200), ("t10k", 50)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", rng.randint(0, 255, (n, 20, 24)).astype(np.uint8))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", rng.randint(0, 3, n).astype(np.uint8))
    done = run("--data", tmp_path, "--epochs", 1, "--workers", 2, "--out", tmp_path / "out")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert f"data {tmp_path.name}: 200 images to train, 50 held out" in done.stdout
    assert (tmp_path / "out" / f"{tmp_path.name}.safetensors").exists()


@pytest.mark.slow
def test_mistakes(tmp_path):
    done = run("--data", tmp_path / "nowhere")
    assert (
        done.returncode == 2
        and "holds none of train-images-idx3-ubyte" in done.stderr
        and "Traceback" not in done.stderr
    )
    done = run("--device", "abacus:0", "--out", tmp_path)
    assert done.returncode == 2 and "abacus" in done.stderr and "Traceback" not in done.stderr
    assert run("--epochs", "0").returncode == 2


def test_png_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: only the SVG is drawn")
    history = [{"loss": 1.0, "accuracy": 50.0}, {"loss": 0.5, "accuracy": 99.0}]
    assert quickstart.draw_png(tmp_path / "x.png", "title", history)
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("history", [[{"loss": 0.0, "accuracy": 100.0}], [{"loss": 2.0, "accuracy": 3.0}] * 40])
def test_svg_of_odd_histories(tmp_path, history):
    quickstart.draw_svg(tmp_path / "x.svg", "a title", history)
    drawing = xml.dom.minidom.parse(str(tmp_path / "x.svg"))
    lines = drawing.getElementsByTagName("polyline")
    assert len(lines) == 2 and len(lines[0].getAttribute("points").split()) == len(history)
