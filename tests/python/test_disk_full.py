# SPDX-License-Identifier: Apache-2.0
"""A disk that takes no more, for real: a limit on the size of files (EFBIG) and /dev/full (ENOSPC). What was there stays whole."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap

import pytest

import tengen as tg

LIMITED = """
import errno, json, os, resource, signal, sys
import numpy as np
import tengen as tg

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # else the process ends

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""


def run(folder, code):
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(LIMITED) + textwrap.dedent(code)], cwd=folder, capture_output=True, text=True, timeout=300,
                            env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="never: this system has no /dev/full")
def test_no_space_left():
    with pytest.raises(OSError) as caught, open("/dev/full", "wb") as file:
        tg.save({"x": tg.ones(100000)}, file)
    assert caught.value.errno == errno.ENOSPC


def test_save_keeps_the_old_file(tmp_path):
    """At the header, in the middle, and in the last bytes of the file."""
    found = run(tmp_path, """
        old, new = {"x": tg.arange(1000)}, {"x": tg.ones(50000), "y": tg.zeros(3)}
        tg.save(old, "c")
        tg.save(new, "whole")
        size = os.path.getsize("whole")
        seen = []
        for most in (10, size // 2, size - 1, size):
            limit(most)
            try:
                tg.save(new, "c")
                seen.append("saved")
            except OSError as error:
                seen.append(errno.errorcode[error.errno])
                limit(-1)
                assert tg.load("c")["x"].tolist() == list(range(1000)), most
        limit(-1)
        print(json.dumps([seen, sorted(os.listdir(".")), tg.load("c")["x"].sum().item()]))
    """)
    assert found == [["EFBIG", "EFBIG", "EFBIG", "saved"], ["c", "whole"], 50000.0]


def test_pictures_keep_the_old_file(tmp_path):
    pytest.importorskip("PIL", reason="never: Pillow writes pictures")
    found = run(tmp_path, """
        from tengen.data import read_image, write_image
        old = np.full((3, 8, 8), 7, np.uint8)
        new = np.random.default_rng(0).integers(0, 256, (3, 200, 200)).astype(np.uint8)
        seen = []
        for name in ("a.png", "a.jpg"):
            write_image(name, old)
            before = open(name, "rb").read()
            limit(1000)
            try:
                write_image(name, new)
            except OSError as error:
                seen.append(errno.errorcode.get(error.errno, "other"))
            limit(-1)
            assert open(name, "rb").read() == before, name
        print(json.dumps([seen, sorted(os.listdir("."))]))
    """)
    assert len(found[0]) == 2 and found[1] == ["a.jpg", "a.png"]


def test_training_goes_on_from_the_last_whole_checkpoint(tmp_path):
    """A run whose second checkpoint finds no room ends with the disk's error; resumed with room it gives what a run without the fault gives."""
    code = """
        from tengen import nn
        from tengen.data import DataLoader, TensorDataset
        from tengen.train import Trainer, Callback

        def trainer(folder, *more):
            tg.manual_seed(3)
            model = nn.Sequential(nn.Linear(8, 300), nn.ReLU(), nn.Linear(300, 2))
            optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            return Trainer(model, nn.functional.cross_entropy, optimizer, checkpoints=folder, save_every=1, callbacks=list(more))

        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(60, 8)).astype(np.float32), rng.integers(0, 2, 60)
        data = lambda: DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)

        class Fill(Callback):
            def __init__(self, on):
                self.on = on
            def on_epoch_end(self, trainer, *rest):
                if self.on and trainer.epoch >= 1:
                    limit(5000)

        straight = trainer("straight", Fill(False))
        straight.fit(data(), epochs=3)
        told = None
        try:
            trainer("full", Fill(True)).fit(data(), epochs=3)
        except OSError as error:
            told = errno.errorcode.get(error.errno, str(error))
        limit(-1)
        left = [n for n in os.listdir("full") if "tmp" in n]
        again = trainer("full", Fill(False))
        again.fit(data(), epochs=3, resume=True)
        same = all((a.detach().numpy() == b.detach().numpy()).all() for a, b in zip(straight.model.parameters(), again.model.parameters()))
        print(json.dumps([told, left, same, again.history == straight.history]))
    """
    assert run(tmp_path, code) == ["EFBIG", [], True, True]
