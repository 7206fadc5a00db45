# SPDX-License-Identifier: Apache-2.0
"""How tensors print: as PyTorch prints them."""
from __future__ import annotations

import math
from typing import Any

from . import _core

_options = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}


def set_printoptions(precision: int | None = None, threshold: int | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, sci_mode: bool | None = None) -> None:
    """How tensors print.

    Parameters
    ----------
    precision : int
        digits after the point, 4 at first
    threshold : int
        more elements than this are summarised, 1000 at first
    edgeitems : int
        how many are shown at each end of a summarised axis, 3 at first
    linewidth : int
        characters in a line, 80 at first
    sci_mode : bool
        scientific notation always or never; by default when the numbers ask for it
    """
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update({k: v for k, v in given.items() if v is not None})
    _options["sci_mode"] = sci_mode


class _Numbers:
    """One width and one notation for all numbers of a tensor."""

    def __init__(self, values: list, floating: bool) -> None:
        self.floating = floating
        precision = _options["precision"]
        if not floating:
            self.text = str
            self.width = max((len(str(v)) for v in values), default=1)
            return
        finite = [abs(v) for v in values if math.isfinite(v) and v != 0]
        whole = all(v == math.floor(v) for v in finite)
        sci = _options["sci_mode"]
        if not finite:
            sci = bool(sci)
        elif whole:
            sci = (max(finite) / min(finite) > 1000 or max(finite) > 1e8) if sci is None else sci
        else:
            sci = (max(finite) / min(finite) > 1000 or max(finite) > 1e8 or min(finite) < 1e-4) if sci is None else sci
        if sci:
            self.text = lambda v: f"{v:.{precision}e}"
        elif whole:
            self.text = lambda v: f"{v:.0f}." if math.isfinite(v) else f"{v:.0f}"
        else:
            self.text = lambda v: f"{v:.{precision}f}"
        self.width = max((len(self.text(v)) for v in values if math.isfinite(v) and v != 0), default=1)

    def __call__(self, v: Any) -> str:
        return self.text(v).rjust(self.width)


class _ComplexNumbers:
    """Both parts by their own rule."""

    def __init__(self, values: list, floating: bool) -> None:
        self.real = _Numbers([v.real for v in values], True)
        self.imag = _Numbers([abs(v.imag) for v in values], True)
        self.width = self.real.width + self.imag.width + 2

    def __call__(self, v: Any) -> str:
        sign = "-" if math.copysign(1.0, v.imag) < 0 else "+"
        return f"{self.real(v.real)}{sign}{self.imag(abs(v.imag)).strip().ljust(1)}j".rjust(self.width)


def _flat(x: Any) -> list:
    return [v for part in x for v in _flat(part)] if isinstance(x, list) else [x]


def _render(data: Any, shape: tuple, summarise: bool, numbers: _Numbers, indent: int) -> str:
    if not shape:
        return numbers(data)
    edge = _options["edgeitems"]
    cut = summarise and shape[0] > 2 * edge
    if len(shape) == 1:
        items = [numbers(v) for v in data]
        if cut:
            items.insert(edge, " ...")
        per_line = max(1, (_options["linewidth"] - indent) // (numbers.width + 2))
        lines = [", ".join(items[i:i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_render(v, shape[1:], summarise, numbers, indent + 1) for v in data]
    if cut:
        parts.insert(edge, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(parts) + "]"


def _shown(t: Any, summarise: bool) -> Any:
    """Nested lists of the elements that are shown; a summarised tensor is not copied whole."""
    edge = _options["edgeitems"]
    if not summarise or t.ndim == 0:
        return t.tolist()
    n = t.shape[0]
    parts = range(n) if n <= 2 * edge else [*range(edge), *range(n - edge, n)]
    return [_shown(t[i], True) for i in parts]


def tensor_repr(t: Any) -> str:
    """tensor([1., 2.], requires_grad=True)"""
    if not _core._has_value(t):  # tg.jit traces
        return f"tensor(traced, shape={tuple(t.shape)}, dtype={t.dtype})"
    return _valued_repr(t)


def _valued_repr(t: Any) -> str:
    prefix = "tensor("
    suffix = []
    outer = _core._set_grad_enabled(False)
    try:
        plain = t.detach()
        summarise = plain.numel() > _options["threshold"]
        if plain.numel() == 0:
            body = "[]"
            if t.shape != (0,):
                suffix.append(f"size={t.shape}")
        else:
            data = _shown(plain, summarise)
            numbers = (_ComplexNumbers if t.dtype.is_complex else _Numbers)(_flat(data), t.dtype.is_floating_point)
            body = _render(data, t.shape, summarise, numbers, len(prefix))
    finally:
        _core._set_grad_enabled(outer)
    if t.device != _core.default_device():
        suffix.append(f"device='{t.device}'")
    default = _core.get_default_dtype()
    if t.dtype not in (default, _core.int64, _core.bool) or (t.numel() == 0 and t.dtype is not default):
        suffix.append(f"dtype={t.dtype!r}")
    if t.grad_fn is not None:
        suffix.append(f"grad_fn=<{t.grad_fn.name()}>")
    elif t.requires_grad:
        suffix.append("requires_grad=True")
    return prefix + ", ".join([body, *suffix]) + ")"
