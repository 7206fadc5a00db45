# SPDX-License-Identifier: Apache-2.0
"""The programs of python/examples: short forms always, the published figures (marked slow) where TENGEN_DATA has the data
and TENGEN_FIGURES asks for them, as tools/check --nightly does. The exit table of fallbacks must be empty in all."""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tengen as tg
from tengen.data import load_digits, write_idx, write_image
from tengen.data.transforms import functional as F

EXAMPLES = Path(__file__).resolve().parents[2] / "python" / "examples"
DATA = os.environ.get("TENGEN_DATA")
figures = pytest.mark.skipif(not (DATA and os.environ.get("TENGEN_FIGURES")),
                             reason="TENGEN_DATA (the data) and TENGEN_FIGURES=1 (hours are allowed) are not both set")


def run(name, *args, cwd, timeout=600):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "TENGEN_FALLBACK": "error"}
    done = subprocess.run([sys.executable, EXAMPLES / name, *map(str, args)], env=env, cwd=cwd, capture_output=True, text=True,
                          timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert "no kernel for" not in done.stderr, done.stderr  # of the warning and of the table at exit
    return done.stdout


def number(pattern, out):
    return float(re.search(pattern + r" ([\d.]+)", out)[1])


def mnist_like(folder, n):
    """The embedded digits, enlarged, as MNIST's four files."""
    digits = load_digits()
    for name, images, labels in (("train", digits.train_images[:n], digits.train_labels[:n]), ("t10k", digits.test_images, digits.test_labels)):
        large = F.pad(F.resize((images[:, None] * 15).astype(np.uint8), 20), 4)[:, 0]
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", large)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels.astype(np.uint8))


def test_mlp_digits(tmp_path):
    assert number("test accuracy:", run("mlp_digits.py", cwd=tmp_path)) >= 96


@pytest.mark.slow
def test_mnist_learns_and_goes_on(tmp_path):
    mnist_like(tmp_path, 1200)
    out = run("mnist.py", "--data", tmp_path, "--epochs", 4, cwd=tmp_path)
    assert number("test accuracy:", out) > 80, out
    again = run("mnist.py", "--data", tmp_path, "--epochs", 4, "--resume", cwd=tmp_path)
    assert number("test accuracy:", again) == number("test accuracy:", out) and "epoch 1/4" not in again


@pytest.mark.slow
def test_mnist_as_a_static_graph_is_the_same_training(tmp_path):
    mnist_like(tmp_path, 400)
    plain, jit = (run("mnist.py", "--data", tmp_path, "--epochs", 2, "--out", tmp_path / name, *flags, cwd=tmp_path)
                  for name, flags in (("a", ()), ("b", ("--jit",))))
    keep = r"(lr|loss|val_loss|val_accuracy|accuracy:) ([\d.e-]+)"
    assert re.findall(keep, plain) == re.findall(keep, jit) and "test accuracy:" in jit


@pytest.mark.slow
def test_resnet_learns(tmp_path):
    mnist_like(tmp_path, 384)
    assert number("test accuracy:", run("resnet.py", "--data", tmp_path, "--epochs", 2, cwd=tmp_path)) > 25


@pytest.mark.slow
def test_resnet_reads_cifar(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (130, 3073)).astype(np.uint8)
    rows[:, 0] %= 10
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (tmp_path / name).write_bytes(rows[:26].tobytes())
    assert "test accuracy:" in run("resnet.py", "--cifar", "--data", tmp_path, "--epochs", 1, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name, steps", [("char_gpt.py", ("--iterations", 60)), ("lstm_text.py", ("--epochs", 1))])
def test_text_is_learnt_and_written(tmp_path, name, steps):
    alphabet = "abcdefghijklmnopqrstuvwxyz\n"
    text = (alphabet * 1500)[:24000]  # one character follows from the one before
    (tmp_path / "input.txt").write_text(text)
    out = run(name, "--data", tmp_path, *steps, "--sample", 80, "--out", "net.safetensors", cwd=tmp_path)
    loss = number("validation loss:", out)
    assert loss < 0.8 * np.log(27), out
    written = out.split("validation loss:")[1].split("\n", 1)[1]
    assert len(written) == 81 + 1 and set(written) <= set(alphabet)
    saved = tg.load(tmp_path / "net.safetensors")
    assert saved["loss"] == pytest.approx(loss, abs=1e-4) and saved["vocabulary"] == "".join(sorted(alphabet))


@pytest.mark.parametrize("name, steps", [("char_gpt.py", ("--iterations", 12)), ("lstm_text.py", ("--epochs", 2))])
def test_a_text_run_goes_on_from_its_checkpoint(tmp_path, name, steps):
    """From the oldest checkpoint of a whole run, in the middle of an epoch of the LSTM, to the same net and the same text, bit for bit."""
    (tmp_path / "input.txt").write_text(("the quick brown fox\n" * 1200)[:15000])
    options = ("--data", tmp_path, *steps, "--sample", 20, "--save-every", 4, "--out", "net.safetensors", "--checkpoints")
    whole = run(name, *options, "all", cwd=tmp_path)
    net, kept = (tmp_path / "net.safetensors").read_bytes(), sorted((tmp_path / "all").iterdir())
    (tmp_path / "net.safetensors").unlink()
    assert len(kept) == 3
    (tmp_path / "half").mkdir()
    kept[0].rename(tmp_path / "half" / kept[0].name)
    again = run(name, *options, "half", "--resume", cwd=tmp_path)
    assert (tmp_path / "net.safetensors").read_bytes() == net
    assert again[again.index("validation loss:"):] == whole[whole.index("validation loss:"):]
    assert sorted(p.name for p in (tmp_path / "half").iterdir()) == [p.name for p in kept]
    assert not re.search(r"^(iteration|step) +0\b", again, re.MULTILINE)  # it did go on


def test_char_gpt_writes_alike_with_and_without_its_cache():
    """One character at a time over the cache, against the whole window at once."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import char_gpt
    finally:
        sys.path.remove(str(EXAMPLES))
    net = char_gpt.GPT(11)
    x = tg.tensor(np.random.default_rng(0).integers(0, 11, (2, char_gpt.BLOCK)))
    with tg.no_grad():
        whole, caches = net(x), net.caches(2)
        parts = [net(x[:, i:i + n], caches, i) for i, n in ((0, 5), *((k, 1) for k in range(5, 20)), (20, char_gpt.BLOCK - 20))]
    # f32: sums of WIDTH terms through LAYERS layers, in another order.
    np.testing.assert_allclose(tg.concat(parts, 1).numpy(), whole.numpy(), atol=char_gpt.LAYERS * char_gpt.WIDTH * 2.0**-23)


def test_image_folder_feeds_a_net(tmp_path):
    """The recipe of docs/data.md at a small size."""
    from tengen.data import DataLoader, ImageFolder
    from tengen.data import transforms as T

    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / name).mkdir()
        for i in range(12):
            write_image(tmp_path / name / f"{i}.png", (rng.integers(-30, 30, (3, 20, 24)) + level).astype(np.uint8))
    steps = T.Compose([T.RandomResizedCrop(8), T.RandomHorizontalFlip(), T.RandAugment(1, 5), T.ToFloat(), T.Normalize((0.5,) * 3, (0.25,) * 3)])
    loader = DataLoader(ImageFolder(tmp_path, steps), batch_size=8, shuffle=True, num_workers=1, generator=0)
    net = tg.nn.Sequential(tg.nn.Flatten(), tg.nn.Linear(3 * 64, 2))
    optimizer = tg.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(4):
        for x, y in loader:
            loss = tg.nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.4


# ---- the published figures -------------------------------------------------------------------------------------------


@pytest.mark.slow
@figures
@pytest.mark.parametrize("name, least", [("mnist.py", 98.7), ("resnet.py", 98.5)])
def test_accuracy_on_mnist(tmp_path, name, least):
    out = run(name, "--data", Path(DATA) / "mnist10k", cwd=tmp_path, timeout=7200)
    assert number("test accuracy:", out) >= least, out


@pytest.mark.slow
@figures
def test_char_gpt_on_tinyshakespeare(tmp_path):
    losses = sorted(number("validation loss:", run("char_gpt.py", "--data", Path(DATA) / "tinyshakespeare", "--seed", seed, "--sample", 200,
                                                   cwd=tmp_path, timeout=7200)) for seed in range(3))
    assert losses[1] <= 1.90, losses


@pytest.mark.slow
@figures
def test_lstm_text_on_tinyshakespeare(tmp_path):
    assert number("validation loss:", run("lstm_text.py", "--data", Path(DATA) / "tinyshakespeare", cwd=tmp_path, timeout=7200)) <= 1.70
