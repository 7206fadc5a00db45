# SPDX-License-Identifier: Apache-2.0
"""Padding layers: one class per mode, the public ones fix the number of axes."""
from __future__ import annotations

from typing import Any

from . import functional as F
from .module import Module

__all__ = [f"{mode}Pad{rank}d" for mode in ("Circular", "Constant", "Reflection", "Replication", "Zero")
           for rank in (1, 2, 3)]


class _Pad(Module):
    _rank: int
    _mode = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        n = 2 * self._rank
        self.padding = (padding,) * n if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != n:
            raise ValueError(f"[{type(self).__name__}] expected an integer or {n} of them, got {padding!r}")

    def forward(self, x: Any) -> Any:
        if self._mode != "constant" and x.ndim not in (self._rank + 1, self._rank + 2):
            raise ValueError(f"[{type(self).__name__}] expected {self._rank + 2} dimensions (or {self._rank + 1}, "
                             f"unbatched), got shape {tuple(x.shape)}")
        return F.pad(x, self.padding, self._mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, x: Any) -> Any:
        return F.pad(x, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


_AXES = {1: "(left, right)", 2: "(left, right, top, bottom)", 3: "(left, right, top, bottom, front, back)"}
_KINDS = {
    "Circular": (_Pad, "circular", "Pads the last {n} with the other end's elements; padding: int or {axes}."),
    "Constant": (_ConstantPad, "constant", "Pads the last {n} with a value; padding: int or {axes}."),
    "Reflection": (_Pad, "reflect", "Pads the last {n} with the mirrored elements; padding: int or {axes}."),
    "Replication": (_Pad, "replicate", "Pads the last {n} with the outermost element; padding: int or {axes}."),
    "Zero": (_Pad, "constant", "Pads the last {n} with zeros; padding: int or {axes}."),
}
for _kind, (_base, _mode, _doc) in _KINDS.items():
    for _rank in (1, 2, 3):
        _name = f"{_kind}Pad{_rank}d"
        globals()[_name] = type(_name, (_base,), {
            "__doc__": _doc.format(n="axis" if _rank == 1 else f"{_rank} axes", axes=_AXES[_rank]),
            "__module__": __name__, "_rank": _rank, "_mode": _mode})
