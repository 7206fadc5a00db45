# SPDX-License-Identifier: Apache-2.0
"""What the recorded graph keeps, and hooks over several tensors."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _core
from .._core import Tensor

__all__ = ["register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks"]


class saved_tensors_hooks:
    """Inside, what recorded ops keep for backward goes through `pack` when it is kept, and `unpack` when it is needed.

    Parameters
    ----------
    pack_hook : callable
        takes a tensor (without history), returns any object
    unpack_hook : callable
        takes that object, returns a tensor of equal content

    Examples
    --------
    >>> x = tg.tensor([2.0], requires_grad=True)
    >>> with tg.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), lambda v: tg.tensor(v)):
    ...     y = x * x
    >>> y.backward()
    >>> x.grad.tolist()
    [4.0]
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self._hooks = (pack_hook, unpack_hook)

    def __enter__(self) -> saved_tensors_hooks:
        _core._push_saved_hooks(*self._hooks)
        return self

    def __exit__(self, *exception: object) -> None:
        _core._pop_saved_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Inside, what is kept for backward waits in host memory and comes back to its device when it is needed."""

    def __init__(self) -> None:
        super().__init__(lambda t: (t.device, t.cpu()), lambda kept: kept[1].to(kept[0]))


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[[list], None], *, mode: str = "all") -> Any:
    """Calls fn once per backward pass: with all the gradients ("all"; None where none came before the last one), or with the
    first one ("any").

    Returns
    -------
    handle
        remove() takes the hook away
    """
    if mode not in ("all", "any"):
        raise ValueError(f"[register_multi_grad_hook] expected mode \"all\" or \"any\", got {mode!r}")
    seen: list = [None] * len(tensors)
    left = [len(tensors)]

    def hook_of(i: int) -> Callable[[Tensor], None]:
        def hook(g: Tensor) -> None:
            if mode == "any":
                if left[0] == len(tensors):
                    fn(g)
                left[0] = left[0] - 1 or len(tensors)
                return
            seen[i] = g
            left[0] -= 1
            if left[0] == 0:
                given, seen[:] = list(seen), [None] * len(tensors)
                left[0] = len(tensors)
                fn(given)

        return hook

    handles = [t.register_hook(hook_of(i)) for i, t in enumerate(tensors)]

    class Handle:
        def remove(self) -> None:
            for h in handles:
                h.remove()

    return Handle()
