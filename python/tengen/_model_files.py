# SPDX-License-Identifier: Apache-2.0
"""tg.dump and tg.load_graph: static graphs as files that need no Python.

>>> net = tg.nn.Sequential(tg.nn.Linear(4, 8), tg.nn.ReLU(), tg.nn.Linear(8, 2)).eval()
>>> tg.dump(net, "net.tgm", tg.ones((1, 4)), selftest=2)
>>> model = tg.load_graph("net.tgm")
>>> model(tg.ones((1, 4))).shape
(1, 2)
>>> model.selftest()
'2 of 2 examples bit for bit'
"""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

import tengen as tg

from . import _core
from ._core import Tensor
from ._jit import Jitted, _Specialised
from ._tree import flatten

__all__ = ["LoadedGraph", "dump", "load_graph"]


def _another(x: Tensor, rng: np.random.Generator) -> Tensor:
    """The same numbers in another order: what the model takes stays what it takes."""
    values = x.detach().cpu().contiguous().numpy()
    mixed = rng.permutation(values.reshape(-1)).reshape(values.shape)
    return tg.tensor(mixed, dtype=x.dtype, device=x.device)


def dump(f: Callable, path: str | os.PathLike, *inputs: Any, selftest: int = 1, level: str = "O1", metadata: dict[str, str] | None = None) -> None:
    """Traces a function or module and writes its graph with its weights to a file.

    Parameters
    ----------
    f : Module, function of tensors, or what tg.jit made of one
        A module should be in eval mode.
    path : str
        By custom it ends in .tgm. Written beside its place, flushed, renamed.
    *inputs : tensors, or structures of them
        The graph is for their shapes and dtypes.
    selftest : int
        How many examples go into the file with their results: the first has `inputs`, the others the same numbers in other orders.
    level : str
        As tg.jit's.
    metadata : dict of strings, optional
        Labels, preprocessing, licence, lineage.

    Raises
    ------
    ValueError
        A function that leaves gradients behind, or uses an op that only this process has.
    """
    if isinstance(f, Jitted):
        f, level = f._f, f.level
    if isinstance(f, tg.nn.Module) and f.training and any(isinstance(m, (tg.nn.Dropout, tg.nn.BatchNorm2d)) for m in f.modules()):
        import warnings

        warnings.warn("[dump] the module is in training mode: dropout and batch statistics go into the file; call .eval() first", stacklevel=2)
    if isinstance(path, Tensor) or not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"[dump] expected dump(f, path, *inputs), got {type(path).__name__} as the path")
    if not any(isinstance(x, Tensor) for x in flatten((inputs, {}))[0]):
        raise TypeError("[dump] expected tensors as inputs, of the shapes that the graph is for: tg.dump(net, path, tg.ones((1, 3, 32, 32)))")
    if selftest < 0:
        raise ValueError(f"[dump] expected selftest to be 0 or more, got {selftest}")
    jitted = Jitted(f, level)
    with tg.no_grad():
        leaves, tree = flatten((inputs, {}))
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        spec = _Specialised(jitted, leaves, tree)
        if spec.makes_state:
            raise ValueError("[dump] expected a function that makes no new state at its first call; call it once before")
        rng = np.random.default_rng(0)
        samples = []
        for k in range(selftest if not spec.graph.updates else 0):
            given = tensors if k == 0 else [_another(x, rng) for x in tensors]
            samples.append((given, spec.program.run(given, spec.first_numbers)))
        _core._save_model(spec.graph, os.fspath(path), {k: str(v) for k, v in (metadata or {}).items()}, samples)


class LoadedGraph:
    """A model from a file: call it with tensors, by position or by the names of its arguments."""

    def __init__(self, path: str, device: Any = None) -> None:
        self.path = path
        self.graph, self.metadata, self.samples = _core._load_model(path, device)
        self.program = _core._Program(self.graph)

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Any:
        names = self.graph.arguments
        given = dict(zip(names, args))
        unknown = [k for k in kwargs if k not in names or k in given]
        if len(args) > len(names) or unknown or len(given) + len(kwargs) != len(names):
            raise TypeError(f"[{self.path}] expected the arguments {', '.join(names)}, got {len(args)} by position"
                            + (f" and {', '.join(kwargs)}" if kwargs else ""))
        given.update(kwargs)
        results = self.program.run([given[n] for n in names])
        return results[0] if len(results) == 1 else tuple(results)

    def selftest(self, bound: float = 1e-5) -> str:
        """Runs the examples in the file: how many came out bit for bit, and how far the others are.

        Raises
        ------
        RuntimeError
            A result differs by more than `bound` * (1 + |expected|).
        """
        if not self.samples:
            raise ValueError(f"[{self.path}] expected a model with examples; dump it with selftest=1 or more")
        same, worst = 0, 0.0
        for inputs, outputs in self.samples:
            got = self.program.run(inputs)
            pairs = [(a.cpu().contiguous(), b.cpu().contiguous()) for a, b in zip(outputs, got)]
            if all(bytes(memoryview(a.numpy()).cast("B")) == bytes(memoryview(b.numpy()).cast("B")) if a.numel() else True for a, b in pairs):
                same += 1
                continue
            for a, b in pairs:
                x, y = a.to(tg.float64).numpy(), b.to(tg.float64).numpy()
                worst = max(worst, float(np.max(np.abs(x - y) / (1 + np.abs(x)), initial=0)))
        if worst > bound:
            raise RuntimeError(f"[{self.path}] expected results within {bound:g} of those in the file, got a difference of {worst:g}")
        return f"{same} of {len(self.samples)} examples bit for bit" + (f", the others within {worst:.2g}" if same < len(self.samples) else "")

    def __repr__(self) -> str:
        return f"<tg.load_graph of {self.path}: {len(self.graph)} nodes, arguments {', '.join(self.graph.arguments)}>"


def load_graph(path: str | os.PathLike, device: Any = None) -> LoadedGraph:
    """A model that tg.dump wrote. Its weights are the file's own pages, which processes share.

    Parameters
    ----------
    path : str
    device : device, optional
        Where it runs; the default device.

    Raises
    ------
    ValueError
        The file is damaged, or needs a newer version.
    """
    return LoadedGraph(os.fspath(path), device)
