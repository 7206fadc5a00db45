# SPDX-License-Identifier: Apache-2.0
"""tengen.train: the loop against one written by hand, checkpoints, kill -9, Ctrl-C, callbacks, logs."""
import json
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import tengen as tg
import tengen.nn.functional as F
from tengen import nn
from tengen.data import DataLoader, TensorDataset
from tengen.optim import lr_scheduler as ls
from tengen.train import Callback, EarlyStopping, TensorBoard, Trainer

RNG = np.random.RandomState(0)
X = RNG.randn(60, 5).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def net():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def loader(n=60, **kw):
    return DataLoader(TensorDataset(X[:n], Y[:n]), batch_size=8, **kw)


def make(seed=0, lr=0.1, **kw):
    tg.manual_seed(seed)
    model = net()
    optimizer = tg.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return Trainer(model, F.cross_entropy, optimizer, progress=False, **kw)


def same(a, b):
    x, y = a.state_dict(), b.state_dict()
    return list(x) == list(y) and all((x[k].numpy() == y[k].numpy()).all() for k in x)


def test_equals_a_loop_by_hand():
    trainer = make(scheduler=None, clip_norm=0.5)
    trainer.scheduler = ls.ExponentialLR(trainer.optimizer, 0.9)
    history = trainer.fit(loader(shuffle=True), epochs=3)
    tg.manual_seed(0)
    model = net()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = ls.ExponentialLR(optimizer, 0.9)
    train, losses = loader(shuffle=True), []
    for _ in range(3):
        total = 0.0
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            total += loss.item() * len(y)
        losses.append(total / 60)
        scheduler.step()
    assert same(trainer.model, model)
    assert [h["loss"] for h in history] == pytest.approx(losses, rel=1e-12)
    assert [h["step"] for h in history] == [8, 16, 24] and trainer.step == 24
    assert [h["lr"] for h in history] == pytest.approx([0.1, 0.09, 0.081])


def test_accumulation_is_a_larger_batch():
    """Windows of three batches of 8 and, at the end, two of 8 and 4 items: means of batches' means."""
    def plain():
        tg.manual_seed(0)
        model = nn.Linear(5, 2)
        return model, tg.optim.SGD(model.parameters(), lr=0.5)

    model, optimizer = plain()
    Trainer(model, F.cross_entropy, optimizer, accumulate=3, progress=False).fit(loader(), epochs=1)
    other, optimizer = plain()
    batches = list(loader())
    for window in (batches[:3], batches[3:6], batches[6:]):
        optimizer.zero_grad()
        (sum(F.cross_entropy(other(x), y) for x, y in window) / len(window)).backward()
        optimizer.step()
    for p, q in zip(model.parameters(), other.parameters()):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_evaluation_and_metrics():
    accuracy = {"accuracy": tg.metrics.Accuracy()}
    trainer = make(metrics=accuracy, train_metrics={"train_accuracy": tg.metrics.Accuracy()})
    history = trainer.fit(loader(shuffle=True), loader(40), epochs=15)
    last = history[-1]
    model = trainer.model.eval()
    with tg.no_grad():
        out = model(tg.tensor(X[:40]))
        assert last["val_loss"] == pytest.approx(F.cross_entropy(out, tg.tensor(Y[:40])).item(), rel=1e-5)
        assert last["val_accuracy"] == (out.argmax(1).numpy() == Y[:40]).mean()
    assert last["val_accuracy"] > 0.85 and last["train_accuracy"] > 0.8
    predicted = np.concatenate([p.numpy() for p in trainer.predict(loader(40))])
    np.testing.assert_allclose(predicted, out.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("amp", [True, tg.float16], ids=["bf16", "f16"])
def test_amp(amp):
    trainer = make(amp=amp, clip_norm=1.0)
    first = trainer.evaluate(loader())["loss"]
    trainer.fit(loader(shuffle=True), epochs=10)
    assert trainer.evaluate(loader())["loss"] < 0.6 * first
    assert trainer.scaler.is_enabled() == (amp is not True)
    assert all(p.dtype == tg.float32 for p in trainer.model.parameters())


class StopAt(Callback):
    def __init__(self, step):
        self.at = step

    def on_step_end(self, trainer):
        if trainer.step == self.at:
            trainer.stop("test")


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 5, 8, 9, 20])
@pytest.mark.parametrize("options", [dict(), dict(accumulate=3), dict(amp=tg.float16), dict(workers=2)], ids=str)
def test_stopped_and_resumed_is_bit_for_bit(tmp_path, at, options):
    """Stopped at any step: dropout, shuffling, momentum, schedule, running means and history go on."""
    options = dict(options)
    workers = options.pop("workers", 0)
    if workers and at != 5 or options and at > 8:
        at = 5

    def build(seed, extra):
        trainer = make(seed, train_metrics={"a": tg.metrics.Accuracy()}, metrics={"auc": tg.metrics.Accuracy()},
                       checkpoints=tmp_path / str(seed), callbacks=[*extra, EarlyStopping(patience=50)], **options)
        trainer.scheduler = ls.OneCycleLR(trainer.optimizer, 0.5, total_steps=40)
        trainer.schedule_every = "step"
        return trainer

    straight = build(0, [Callback()])
    want = straight.fit(loader(shuffle=True, num_workers=workers), loader(30), epochs=3)
    part = build(0, [StopAt(at)])
    part.checkpoints = str(tmp_path / "part")
    part.fit(loader(shuffle=True, num_workers=workers), loader(30), epochs=3)
    assert part.stop_reason == "test" and part.step == at
    again = build(5, [Callback()])
    got = again.fit(loader(shuffle=True, num_workers=workers), loader(30), epochs=3, resume=tmp_path / "part")
    assert got == want and same(straight.model, again.model)
    a, b = straight.state_dict(), again.state_dict()
    for key in ("optimizer", "scheduler", "random", "best", "step", "loader"):
        assert repr(a[key]) == repr(b[key]), key


def test_stopped_and_gone_on_in_one_process():
    straight = make()
    data = loader(shuffle=True)
    next(iter(data))  # a look at a batch is no part of an epoch
    want = straight.fit(data, epochs=3)
    trainer = make(callbacks=[StopAt(11)])
    data = loader(shuffle=True)
    next(iter(data))
    assert len(trainer.fit(data, epochs=3)) == 1 and trainer.step == 11
    assert trainer.fit(data, epochs=3) == want and same(straight.model, trainer.model)


def test_kept_checkpoints_and_the_best(tmp_path):
    trainer = make(checkpoints=tmp_path, keep_last=2, save_every=3, lr=3.0)
    trainer.fit(loader(shuffle=True), loader(), epochs=4)
    names = sorted(os.listdir(tmp_path))
    assert names == ["best.safetensors", "step-00000030.safetensors", "step-00000032.safetensors"]
    losses = [h["val_loss"] for h in trainer.history]
    best = tg.load(tmp_path / "best.safetensors")
    assert best["epoch"] == int(np.argmin(losses)) + 1 and best["best"] == min(losses)
    assert tg.load(tmp_path / names[-1])["epoch"] == 4
    path = trainer.save(tmp_path / "mine")
    other = make(9)
    other.load(path)
    assert same(trainer.model, other.model) and other.history == trainer.history


def test_a_new_run_in_the_folder_of_a_longer_one_keeps_its_own(tmp_path):
    make(checkpoints=tmp_path, keep_last=2).fit(loader(), epochs=4)
    again = make(checkpoints=tmp_path, keep_last=2)
    again.fit(loader(), epochs=1)
    assert tg.load(tmp_path / f"step-{again.step:08}.safetensors")["step"] == again.step
    assert len(os.listdir(tmp_path)) == 3  # with best.safetensors


def test_resume_goes_on_with_what_was_written_last(tmp_path):
    make(checkpoints=tmp_path, keep_last=3, save_every=2).fit(loader(), epochs=4)
    again = make(checkpoints=tmp_path, keep_last=3, save_every=2, callbacks=[StopAt(5)])
    again.fit(loader(), epochs=4)
    steps = sorted(int(n[5:13]) for n in os.listdir(tmp_path) if n.startswith("step-"))
    assert steps == [2, 4, 5], "those of the longer run before went first"
    resumed = make(checkpoints=tmp_path, keep_last=3, save_every=2, callbacks=[StopAt(6)])
    resumed.fit(loader(), epochs=4, resume=True)
    assert resumed.step == 6
    one = make(checkpoints=tmp_path / "b", keep_last=3)
    one.fit(loader(), epochs=3)
    again = make(checkpoints=tmp_path / "b", keep_last=3)
    again.fit(loader(), epochs=1)  # two of the longer run are still there
    resumed = make(checkpoints=tmp_path / "b", keep_last=3)
    resumed.fit(loader(), epochs=1, resume=True)
    assert resumed.step == again.step and resumed.history == again.history


def test_resume_without_a_checkpoint(tmp_path):
    trainer = make(checkpoints=tmp_path / "none")
    assert len(trainer.fit(loader(), epochs=1, resume=True)) == 1
    assert trainer.fit(loader(), epochs=1, resume=True) == trainer.history  # nothing left to do
    with pytest.raises(FileNotFoundError):
        make().fit(loader(), resume=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        make().fit(loader(), resume=tmp_path / "empty")
    with pytest.raises(ValueError, match="needs a folder"):
        make().fit(loader(), resume=True)
    tg.save({"w": tg.ones(2)}, tmp_path / "other")
    with pytest.raises(ValueError, match="checkpoint of a Trainer"):
        make().load(tmp_path / "other")


def test_early_stopping(tmp_path):
    class Worse(Trainer):
        def evaluate(self, data):
            return {"loss": [3.0, 2.0, 2.5, 2.0, float("nan"), 1.0][self.epoch]}

    tg.manual_seed(0)
    model = net()
    trainer = Worse(model, F.cross_entropy, tg.optim.SGD(model.parameters()), progress=False,
                    callbacks=[EarlyStopping(patience=1)], checkpoints=tmp_path)
    assert len(trainer.fit(loader(), loader(), epochs=6)) == 4 and "2 epochs" in trainer.stop_reason
    assert len(trainer.fit(loader(), loader(), epochs=6, resume=True)) == 4
    with pytest.raises(KeyError, match="val_loss"):
        make(callbacks=[EarlyStopping()]).fit(loader(), epochs=1)


def test_plateau_scheduler_sees_the_measure():
    trainer = make()
    trainer.scheduler = ls.ReduceLROnPlateau(trainer.optimizer, patience=0, factor=0.5)
    trainer.evaluate = lambda data: {"loss": 1.0}
    trainer.fit(loader(), loader(), epochs=3)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.1 * 0.5**2


def test_callbacks_in_order():
    seen = []

    class Tell(Callback):
        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda trainer, *a: seen.append((name[3:], trainer.epoch, trainer.step))
            return super().__getattribute__(name)

    make(callbacks=[Tell()]).fit(loader(16), epochs=2)
    assert seen == [("fit_begin", 0, 0), ("epoch_begin", 0, 0), ("step_end", 0, 1), ("step_end", 0, 2), ("epoch_end", 1, 2),
                    ("epoch_begin", 1, 2), ("step_end", 1, 3), ("step_end", 1, 4), ("epoch_end", 2, 4), ("fit_end", 2, 4)]


@pytest.mark.parametrize("options", [dict(accumulate=0), dict(mode="up"), dict(schedule_every="batch"), dict(progress="x")])
def test_wrong_arguments(options):
    tg.manual_seed(0)
    model = net()
    with pytest.raises(ValueError, match=r"\[Trainer\] expected"):
        Trainer(model, F.cross_entropy, tg.optim.SGD(model.parameters()), **options)
    optimizer = tg.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match="schedule_every='epoch'"):
        Trainer(model, F.cross_entropy, optimizer, scheduler=ls.ReduceLROnPlateau(optimizer), schedule_every="step")


# ---- logs --------------------------------------------------------------------------------------------------------------


def test_plain_lines(capfd):
    trainer = make()
    trainer._progress = __import__("tengen.train.progress", fromlist=["choose"]).choose(None)  # stderr is no terminal here
    trainer.fit(loader(), loader(), epochs=2)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2: lr 0.1, loss 0.") and "val_loss" in lines[1]


def test_bar(capfd):
    trainer = make()
    trainer._progress = __import__("tengen.train.progress", fromlist=["choose"]).choose("bar")
    trainer.fit(loader(), epochs=1)
    out, err = capfd.readouterr()
    assert "epoch 1/1" in err and "8/8" in err or "0/8" in err
    assert out.startswith("epoch 1/1: ")


def events(folder):
    """Scalars of the event files: records of length, checksum, data, checksum; an Event message holds step (2) and summary (5)."""
    from tensorboardX.proto.event_pb2 import Event

    out = []
    for name in sorted(os.listdir(folder)):
        data = (folder / name).read_bytes()
        at = 0
        while at < len(data):
            (n,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12:at + 12 + n])
            out += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            at += 16 + n
    return out


def test_tensorboard(tmp_path):
    trainer = make(callbacks=[TensorBoard(tmp_path / "runs", every=2)])
    history = trainer.fit(loader(), loader(), epochs=2)
    got = events(tmp_path / "runs")
    assert [s for tag, s, _ in got if tag == "train/loss"] == list(range(2, 17, 2))
    assert [(s, pytest.approx(v)) for tag, s, v in got if tag == "epoch/val_loss"] == [
        (h["step"], h["val_loss"]) for h in history]


# ---- killed, interrupted -----------------------------------------------------------------------------------------------

SCRIPT = """
    import json, random, sys, time
    import numpy as np
    import tengen as tg
    import tengen.nn.functional as F
    from tengen import nn
    from tengen.data import DataLoader, TensorDataset, load_digits
    from tengen.train import Trainer

    class Noisy(TensorDataset):
        def __getitem__(self, i):
            a, b = super().__getitem__(i)
            return a + np.float32(0.1) * np.random.standard_normal(a.shape).astype(np.float32), b

    class Slow(tg.train.Callback):
        def __init__(self, pause):
            self.pause = pause

        def on_step_end(self, trainer):
            if self.pause:
                time.sleep(self.pause)

    def main(folder, pause, kind):
        digits = load_digits()
        x, y = (digits.train_images[:600].reshape(600, -1) / 255).astype(np.float32), digits.train_labels[:600].astype(np.int64)
        tg.manual_seed(3)
        np.random.seed(3)
        random.seed(3)
        model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))
        more, workers = {}, 0
        if kind == "cnn":  # two threads, workers that change the pictures, bfloat16, two batches to a step
            tg.set_num_threads(2)
            side = int(x.shape[1] ** 0.5)
            model = nn.Sequential(nn.Unflatten(1, (1, side, side)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(12 * (side // 2) ** 2, 10))
            more, workers = {"amp": True, "accumulate": 2}, 2
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scheduler = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4 * 19)
        trainer = Trainer(model, F.cross_entropy, optimizer, scheduler=scheduler, schedule_every="step", checkpoints=folder, save_every=1,
                          metrics={"accuracy": tg.metrics.Accuracy()}, callbacks=[Slow(pause)], **more)
        data = DataLoader((Noisy if workers else TensorDataset)(x[:500], y[:500]), batch_size=27, shuffle=True, num_workers=workers)
        print("begins", flush=True)
        trainer.fit(data, DataLoader(TensorDataset(x[500:], y[500:]), batch_size=100), epochs=4, resume=True)
        tg.save(trainer.state_dict(), folder + ".end")
        print(json.dumps({"interrupted": trainer.interrupted, "step": trainer.step, "history": trainer.history}))

    if __name__ == "__main__":
        main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
"""


def start(tmp_path, folder, pause, kind="mlp"):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return subprocess.Popen([sys.executable, str(script), str(tmp_path / folder), str(pause), kind], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "2" if kind == "cnn" else "1"})


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def checkpoints(folder):
    return [n for n in os.listdir(folder) if n.startswith("step-")] if folder.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_killed_and_resumed_is_bit_for_bit(tmp_path, kind):
    """kill -9 at random moments, again and again; then the run goes to its end and equals the uninterrupted one."""
    want = finish(start(tmp_path, "straight", 0, kind))
    rng = random.Random(os.getpid())
    kills = 0
    for _ in range(3):
        process = start(tmp_path, "killed", 0.05, kind)
        assert process.stdout.readline() == "begins\n"
        deadline = time.monotonic() + 60
        before = set(checkpoints(tmp_path / "killed"))
        while not set(checkpoints(tmp_path / "killed")) - before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.6))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.communicate()
    assert kills >= 2
    got = finish(start(tmp_path, "killed", 0, kind))
    assert got == want and got["history"][-1]["epoch"] == 4
    a, b = (tg.load(tmp_path / f"{n}.end") for n in ("straight", "killed"))
    assert repr(a["history"]) == repr(b["history"])
    for part in ("model", "optimizer", "scheduler", "random", "loader", "best"):
        assert equal(a[part], b[part]), part


def equal(a, b):
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, tg.Tensor):
        return (a.numpy() == b.numpy()).all()
    return (a == b).all() if isinstance(a, np.ndarray) else a == b


@pytest.mark.slow
def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    process = start(tmp_path, "run", 0.1)
    assert process.stdout.readline() == "begins\n"
    while not checkpoints(tmp_path / "run"):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    first = finish(process)
    assert first["interrupted"] and 0 < first["step"] < 76
    assert f"step-{first['step']:08}.safetensors" in os.listdir(tmp_path / "run")
    assert finish(start(tmp_path, "run", 0)) == finish(start(tmp_path, "straight", 0))


@pytest.mark.slow
@pytest.mark.parametrize("amp", [[], ["--amp"]], ids=["f32", "bf16"])
def test_the_example_learns_the_digits(tmp_path, amp):
    script = os.path.join(os.path.dirname(__file__), "..", "..", "python", "examples", "train_digits.py")

    def example(*args):
        done = subprocess.run([sys.executable, script, "--folder", str(tmp_path / "run"), *args, *amp], text=True,
                              capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    lines = example("--epochs", "8")
    assert len(lines) == 9 and float(lines[-1].split()[-2]) >= 95
    assert example("--epochs", "8", "--resume") == lines[-1:]
