# SPDX-License-Identifier: Apache-2.0
"""The pages that run: README's example, the core from scratch."""

import os
import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def listing(page: str) -> str:
    found = re.search(r"```python\n(.*?)```", (TOP / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{page} has no Python listing"
    return found.group(1)


def test_the_core_from_scratch_learns():
    names = {}
    exec(compile(listing("docs/core_from_scratch.md"), "core_from_scratch.md", "exec"), names)
    assert names["accuracy"] > 0.9
    assert names["made"] <= 12
    assert ("sigmoid", "kernel") in names["log"] and ("add", "decomposition") in names["log"]


def test_readme_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(listing("README.md"), "README.md", "exec"), names)
    # d/dx mean(x x^T): every row of the sum of rows, twice over four.
    assert names["x"].grad.tolist() == [[2.0, 3.0], [2.0, 3.0]]
    assert os.path.getsize(tmp_path / "net.safetensors") > 0
    assert "cpu:0" in capsys.readouterr().out


def test_a_detectors_head_finds_its_boxes():
    names = {}
    exec(compile(listing("docs/vision.md"), "vision.md", "exec"), names)
    overlap, labels = names["vision"].box_iou, names["labels"].tolist()
    for (boxes, _, classes), truth, want in zip(names["found"], names["truth"], labels):
        assert (overlap(truth, boxes).amax(1) > 0.5).all()
        assert set(want) <= set(classes.tolist())
