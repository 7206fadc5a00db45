# SPDX-License-Identifier: Apache-2.0
"""What documentation shows runs: README's example, the core from scratch, layers, data, the listings of the guides, the examples of docstrings."""

import doctest
import importlib
import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import tengen as tg
import tengen.nn.functional as F
from tengen import nn

TOP = Path(__file__).resolve().parents[2]


def listings(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (TOP / page).read_text(encoding="utf-8"), re.DOTALL)


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


# ---- listings of the guides: each page's in order, in one namespace with what their text takes for granted --------------------------------


def loader(n=12, batch=4):
    rng = np.random.default_rng(0)
    return tg.data.DataLoader(tg.data.TensorDataset(rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 3, n)), batch_size=batch)


def make_model(dropout=0.1):
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def of_guide(tmp_path):
    x, at = tg.randn(4, 5, 6), [0, 2]
    return {"mask": x > 0, "rows": at, "columns": at, "values": tg.zeros(2, 5), "x": x, "model": nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(3)),
            "loss_of": lambda out, y: F.cross_entropy(out, y), "y": tg.tensor([0]), "batch": 2, "heads": 3, "longest": 4, "width": 8, "token": None,
            "project": lambda token: (tg.randn(2, 3, 1, 8) for _ in range(3))}


def of_data(tmp_path):
    pytest.importorskip("PIL", reason="never: Pillow reads pictures")
    for kind in ("rose", "tulip"):
        (tmp_path / "flowers/train" / kind).mkdir(parents=True)
        tg.data.write_image(tmp_path / "flowers/train" / kind / "1.png", np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8))
    return {"image": np.zeros((3, 60, 80), np.uint8), "boxes": np.array([[1.0, 2.0, 30.0, 40.0]]), "classes": np.array([1])}


def of_training(tmp_path):
    """Optuna's part is played by a study of one trial, so that our side of it runs."""
    trial = types.SimpleNamespace(suggest_float=lambda name, low, high, log=False: low, report=lambda value, step: None, should_prune=lambda: False)

    class Study:
        best_params = {"lr": 1e-4}

        def optimize(self, objective, n_trials):
            assert 0 <= objective(trial) <= 1

    sys.modules["optuna"] = types.SimpleNamespace(create_study=lambda **kwargs: Study(), TrialPruned=RuntimeError,
                                                  pruners=types.SimpleNamespace(MedianPruner=lambda: None))
    return {"make_model": make_model, "loader": loader(), "train_loader": loader(), "val_loader": loader()}


def of_transforms(tmp_path):
    return {"func": tg.func, "model": make_model(0.0), "images": tg.randn(5, 4), "labels": tg.tensor([0, 1, 2, 0, 1])}


def of_distributions(tmp_path):
    parameter = lambda: tg.zeros(2, 3, requires_grad=True)  # noqa: E731
    return {"mean": parameter(), "log_std": parameter(), "reconstruction": lambda z: (z**2).sum(), "network": nn.Linear(4, 3), "state": tg.randn(5, 4), "advantage": tg.randn(5)}


PAGES = {"guide": of_guide, "data": of_data, "training": of_training, "transforms": of_transforms, "distributions": of_distributions}


@pytest.mark.parametrize("page", PAGES)
def test_listings(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "optuna", None)
    names = {"tg": tg, "np": np, "F": F, "nn": nn, **PAGES[page](tmp_path)}
    found = listings(f"docs/{page}.md")
    assert found
    for number, text in enumerate(found):
        if page == "guide" and "summary(" in text:  # its model takes pictures
            names["model"] = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(3))
        if page == "guide" and "set_memory_limit" in text:
            names["x"] = tg.randn(1, 3, 8, 8)
        if page == "guide" and "x[mask]" in text:
            names["x"] = tg.randn(4, 5, 6)
        try:
            exec(compile(text, f"{page}.md listing {number + 1}", "exec"), names)
        except Exception as error:
            raise AssertionError(f"listing {number + 1} of docs/{page}.md: {type(error).__name__}: {error}\n{text}") from error


# ---- docstrings ---------------------------------------------------------------------------------------------------------------------

PACKAGE = Path(tg.__file__).parent
MODULES = sorted(
    ".".join(("tengen", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings(module, tmp_path, monkeypatch):
    """As a reader would type them, in an empty folder but for a model's file; tg, np, nn, F and what training needs are at hand."""
    monkeypatch.chdir(tmp_path)
    found = importlib.import_module(module)
    model = make_model(0.0)
    tg.save(model.state_dict(), "model.safetensors")
    at_hand = {"tg": tg, "np": np, "nn": nn, "F": F, "model": model, "optimizer": tg.optim.SGD(model.parameters(), lr=0.1), "loader": loader(),
               "loss_fn": F.cross_entropy, "path": "saved.safetensors"}
    out: list[str] = []
    for test in doctest.DocTestFinder().find(found, module, module=found, globs=at_hand):
        if test.examples:
            tg.manual_seed(0)
            doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(test, out=out.append)
    assert not out, "".join(out)
