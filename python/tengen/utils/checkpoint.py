# SPDX-License-Identifier: Apache-2.0
"""Trading time for memory: parts of a model whose intermediate results are computed again in the backward pass.

>>> layer = tg.nn.Linear(2, 2)
>>> x = tg.ones(1, 2, requires_grad=True)
>>> tg.utils.checkpoint.checkpoint(layer, x).sum().backward()
>>> x.grad.shape
(1, 2)
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _core, random
from .._core import Tensor
from ..autograd.graph import saved_tensors_hooks

__all__ = ["checkpoint", "checkpoint_sequential"]


class _Frame:
    """One checkpointed call: what it takes to run it again, and what the rerun kept, by order of keeping."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict, preserve: bool) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.state = random.get_rng_state() if preserve else None
        self.kept = 0
        self.again: list[Tensor] = []
        self.uses = 0

    def pack(self, _: Tensor) -> int:
        self.kept += 1
        return self.kept - 1

    def unpack(self, number: int) -> Tensor:
        if not self.again:
            self.rerun()
        t = self.again[number]
        self.uses += 1
        if self.uses >= self.kept:  # all were seen once: free them; another pass runs the function again
            self.again, self.uses = [], 0
        return t

    def rerun(self) -> None:
        found: list[Tensor] = []

        def collect(t: Tensor) -> int:
            found.append(t)
            return len(found) - 1

        outer = _core._set_grad_enabled(True)
        now = random.get_rng_state()
        try:
            if self.state is not None:
                random.set_rng_state(self.state)
            with saved_tensors_hooks(collect, lambda i: found[i]):
                self.function(*self.args, **self.kwargs)
        finally:
            random.set_rng_state(now)
            _core._set_grad_enabled(outer)
        if len(found) != self.kept:
            raise RuntimeError(f"[checkpoint] expected the function to do the same in the backward pass as in the forward pass, but it kept "
                               f"{len(found)} tensors instead of {self.kept}; it must not depend on anything that changed")
        self.again = found


def checkpoint(function: Callable, *args: Any, use_reentrant: bool = False, preserve_rng_state: bool = True, **kwargs: Any) -> Any:
    """function(*args, **kwargs), whose intermediate results are not kept for the backward pass but computed again there.

    Parameters
    ----------
    function : callable
        gives the same when it is called again with the same arguments
    *args, **kwargs
        kept until the backward pass
    use_reentrant : bool
        accepted for PyTorch's sake; there is one way here, which works with tg.autograd.grad and nests
    preserve_rng_state : bool
        random ops (dropout) give the same numbers again

    Raises
    ------
    RuntimeError
        in the backward pass, when the function did something else there

    Examples
    --------
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = tg.utils.checkpoint.checkpoint(lambda x: (x * x).exp(), x)
    >>> y.sum().backward()
    >>> [round(v, 2) for v in x.grad.tolist()]
    [5.44, 218.39]
    """
    if not _core.is_grad_enabled():
        return function(*args, **kwargs)
    frame = _Frame(function, args, kwargs, preserve_rng_state)
    with saved_tensors_hooks(frame.pack, frame.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(functions: Sequence[Callable], segments: int, input: Any, use_reentrant: bool = False, **kwargs: Any) -> Any:
    """Functions (or a Sequential) one after the other, in so many segments that are checkpointed each; the last is not.

    Examples
    --------
    >>> layers = [tg.nn.Linear(2, 2), tg.nn.ReLU(), tg.nn.Linear(2, 1)]
    >>> tg.utils.checkpoint.checkpoint_sequential(layers, 2, tg.ones(1, 2)).shape
    (1, 1)
    """
    parts = list(functions)
    if not 1 <= segments <= max(len(parts), 1):
        raise ValueError(f"[checkpoint_sequential] expected between 1 and {len(parts)} segments, got {segments}")
    size = len(parts) // segments

    def run(start: int, end: int) -> Callable:
        def segment(x: Any) -> Any:
            for f in parts[start:end]:
                x = f(x)
            return x

        return segment

    at = 0
    for _ in range(segments - 1):
        input = checkpoint(run(at, at + size), input, use_reentrant=use_reentrant, **kwargs)
        at += size
    return run(at, len(parts))(input)
