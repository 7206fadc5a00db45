# SPDX-License-Identifier: Apache-2.0
"""The pages that run: README's example, the core from scratch, layers, data."""

import os
import re
from pathlib import Path

import numpy as np

import tengen as tg

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


def test_the_page_on_layers_says_what_is_so():
    """All listings of docs/nn.md, one after the other; and every name of its tables is there, and every layer in them."""
    page, names = (TOP / "docs/nn.md").read_text(encoding="utf-8"), {}
    tg.manual_seed(0)
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "nn.md", "exec"), names)
    assert names["loss"].item() > 0 and all(p.grad is not None for p in names["net"].parameters())
    assert names["names"][:2] == ["body.0.weight", "body.1.weight"] and "seen" in names["net"].state_dict()
    assert names["seen"] == {"shape": (4, 8, 4, 4)}
    assert len(names["deep"]) == 5 and not names["net"].body._forward_hooks
    weight = names["square"].weight.detach().numpy()
    np.testing.assert_array_equal(weight, weight.T)
    turn = names["turn"].weight.detach().numpy()
    np.testing.assert_allclose(turn @ turn.T, np.eye(4), atol=1e-5)
    assert (names["thin"].weight.detach().numpy() == 0).sum() == 32
    assert names["hard"].item() > 0 and names["soft"].item() > 0
    layers = {n for n, c in vars(tg.nn).items() if isinstance(c, type) and issubclass(c, tg.nn.Module) and n != "Module"}
    told = page.replace("1d/2d/3d", "1d 2d 3d")
    missing = {n for n in layers if not re.search(rf"\b{re.sub(r'(Pad)?[123]d$', '', n)}", told)}
    assert missing <= {"RNNBase", "RNNCellBase"}, missing  # of which nobody makes an object
    for name in re.findall(r"\b[a-z0-9_]+_loss\b|\b[a-z_]+_entropy\w*", page):
        assert hasattr(tg.nn.functional, name) or name in vars(names["F"]), name


def test_the_page_on_data_names_all_of_it():
    """Every public name of tengen.data and its transforms is in docs/data.md; its listings without files run."""
    page = (TOP / "docs/data.md").read_text(encoding="utf-8")
    told = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", page))
    public = {*tg.data.__all__, *tg.data.transforms.__all__} - {"functional", "transforms"}
    assert not public - told
    names = {}
    for code in re.findall(r"```python\n(# runs\n.*?)```", page, re.DOTALL):
        exec(compile(code, "data.md", "exec"), names)
    assert sorted(map(len, (names["train"], names["held"]))) == [179, 1618]
    assert len(np.unique(names["digits"].train_labels[names["second"]])) == 10
    assert names["images"].shape == (64, 1, 8, 8) and names["targets"].shape == (64, 10)
    np.testing.assert_allclose(names["targets"].sum(1).numpy(), np.ones(64), atol=1e-6)
