# SPDX-License-Identifier: Apache-2.0
"""tg.summary(): a table of a model's layers, from one forward pass."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tengen as tg

from . import _core

# Multiply-accumulate operations of a call, from the shapes of its inputs and outputs. Ops that are not here - elementwise
# ones, norms, pools, copies - count as none, and ops that decompose into these count through them.
_MACS: dict[str, Callable[[list[tuple], list[tuple]], int]] = {
    "linear": lambda i, o: math.prod(o[0]) * i[1][1],
    "matmul": lambda i, o: math.prod(o[0]) * i[0][-1],
    "conv": lambda i, o: math.prod(o[0]) * math.prod(i[1][1:]),
    "conv_transpose": lambda i, o: math.prod(i[0]) * math.prod(i[1][1:]),
    "conv_backward_data": lambda i, o: math.prod(i[0]) * math.prod(i[1][1:]),
    "scaled_dot_product_attention": lambda i, o: math.prod(i[0][:-1]) * i[1][-2] * (i[0][-1] + i[2][-1]),
    "lstm_scan": lambda i, o: i[0][0] * (math.prod(i[3]) + math.prod(i[4])) if len(i) > 4 and i[4] else
    i[0][0] * math.prod(i[3]),
    "gru_scan": lambda i, o: i[0][0] * math.prod(i[2]),
    "rnn_scan": lambda i, o: i[0][0] * math.prod(i[2]),
}


@dataclass
class SummaryRow:
    """A module of the table.

    Attributes
    ----------
    name, type : str
        Dotted name ('' for the model itself), class name.
    depth : int
    output_shape : tuple, or a list of them, or None
        Of its last call; None when it was not called.
    parameters, trainable : int
        Elements of its own parameters, and of those that ask for gradients; at the table's depth with what is below.
    macs : int
        Multiply-accumulates of its own op calls (outside of modules below it, but those that the table leaves out).
    calls : int
    """

    name: str
    type: str
    depth: int
    output_shape: Any = None
    parameters: int = 0
    trainable: int = 0
    macs: int = 0
    calls: int = 0


@dataclass
class Summary:
    """What summary() found; str() is a table.

    Attributes
    ----------
    rows : list of SummaryRow
    parameters, trainable : int
        Elements in all parameters, a shared one once; those that ask for gradients.
    macs : int
        Multiply-accumulates of the forward pass in products, convolutions, attention and recurrent layers.
    parameter_bytes, buffer_bytes, output_bytes : int
        Sizes of parameters, of buffers, and of the outputs of all modules without children.
    """

    rows: list[SummaryRow] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    macs: int = 0
    parameter_bytes: int = 0
    buffer_bytes: int = 0
    output_bytes: int = 0

    @property
    def not_trainable(self) -> int:
        return self.parameters - self.trainable

    def __str__(self) -> str:
        head = ("layer", "output shape", "parameters", "MACs")
        body = []
        for row in self.rows:
            short = row.name.rpartition(".")[2]
            label = "  " * row.depth + (f"{short}: {row.type}" if short else row.type)
            frozen = "*" if row.trainable < row.parameters else ""
            body.append((label, _shape_text(row), f"{row.parameters:,}{frozen}" if row.parameters else "-",
                         f"{row.macs:,}" if row.macs else "-"))
        widths = [max(len(line[k]) for line in (head, *body)) for k in range(4)]
        rule = "-" * (sum(widths) + 6)

        def line(cells: tuple[str, ...]) -> str:
            text = "  ".join(c.ljust(w) if k < 2 else c.rjust(w) for k, (c, w) in enumerate(zip(cells, widths)))
            return text.rstrip()

        frozen = f", {self.not_trainable:,} not trainable (*)" if self.not_trainable else ""
        foot = [
            f"parameters: {self.parameters:,} ({self.trainable:,} trainable{frozen})",
            f"multiply-accumulates of products, convolutions, attention, recurrence: {self.macs:,}",
            f"size: parameters {_bytes(self.parameter_bytes)}, buffers {_bytes(self.buffer_bytes)}, outputs "
            f"{_bytes(self.output_bytes)}",
        ]
        return "\n".join([line(head), rule, *map(line, body), rule, *foot])

    __repr__ = __str__


def _bytes(n: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.4g} {unit}"
        n /= 1024
    return f"{n:.4g} GiB"


def _shape_text(row: SummaryRow) -> str:
    if row.output_shape is None:
        return "(not called)" if row.parameters and not row.calls else "-"
    shape = row.output_shape
    return ", ".join(map(str, shape)) if isinstance(shape, list) else str(shape)


def _tensors(value: Any) -> list[Any]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, tg.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [t for v in value for t in _tensors(v)]


def _inputs(given: Any, dtype: Any, device: Any) -> tuple[tuple, dict]:
    """Arguments of the model: from shapes, random numbers (ones for integers)."""
    def of_shape(shape: Sequence[int]) -> Any:
        floating = tg.empty((0,), dtype=dtype).dtype.is_floating_point
        made = tg.rand(tuple(shape), device=device) if floating else tg.ones(tuple(shape), device=device)
        return made.to(dtype)

    def is_shape(v: Any) -> bool:
        return isinstance(v, (list, tuple)) and all(isinstance(n, int) and not isinstance(n, bool) for n in v)

    if isinstance(given, tg.Tensor):
        return (given,), {}
    if isinstance(given, Mapping):
        return (), dict(given)
    if is_shape(given):
        return (of_shape(given),), {}
    if isinstance(given, (list, tuple)):
        return tuple(of_shape(v) if is_shape(v) else v for v in given), {}
    raise TypeError(f"[summary] expected a shape, a tensor, or several of them, got {type(given).__name__}")


def summary(model: Any, inputs: Any, *, depth: int = 3, dtype: Any = None, device: Any = None) -> Summary:
    """Runs a model once and tells its layers, their output shapes, parameters and multiply-accumulates.

    Parameters
    ----------
    model : nn.Module
    inputs : shape, tensor, list of them, or dict of arguments
        Shapes include the batch; tensors of them are random.
    depth : int
        Levels of modules in the table; what is below counts at its last level.
    dtype, device : optional
        Of tensors made from shapes; those of the model's first parameter by default.

    Returns
    -------
    Summary
        With fields; str() is the table. Multiply-accumulates are those of the op calls linear, matmul, conv, its
        transpose, scaled_dot_product_attention (without regard to masks), lstm_scan, gru_scan and rnn_scan, and of ops that
        decompose into them; everything else counts as none.

    Raises
    ------
    TypeError
        The model is no module, or the inputs are neither shapes nor tensors.

    >>> print(tg.summary(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), (2, 4)).macs)
    64
    """
    if not isinstance(model, tg.nn.Module):
        raise TypeError(f"[summary] expected an nn.Module, got {type(model).__name__}")
    if depth < 0:
        raise ValueError(f"[summary] expected depth of 0 or more, got {depth}")
    first = next(model.parameters(), None)
    dtype = dtype or (tg.get_default_dtype() if first is None else first.dtype)
    random_state = tg.get_rng_state()
    args, kwargs = _inputs(inputs, dtype, device or (first.device if first is not None else None))

    paths = list(model.named_modules())
    rows = {id(m): SummaryRow(name, type(m).__name__, name.count(".") + bool(name)) for name, m in paths}
    row_of: dict[int, SummaryRow] = {}  # of a module, or of the one at the table's depth that it is below
    by_name: dict[str, SummaryRow] = {}
    for name, m in paths:
        shown = by_name[".".join(name.split(".")[:depth])] if rows[id(m)].depth > depth else rows[id(m)]
        row_of[id(m)] = by_name[name] = shown
    result = Summary([rows[id(m)] for _, m in paths if rows[id(m)].depth <= depth])

    stack: list[Any] = []  # modules that are being called
    with _core._CallLog(list(_MACS)) as log:

        def note() -> None:
            for name, shapes, outs in log.take():
                macs = _MACS[name](shapes, outs)
                result.macs += macs
                if stack:
                    row_of[id(stack[-1])].macs += macs

        def enter(module: Any, _: Any) -> None:
            note()
            stack.append(module)

        def leave(module: Any, _: Any, output: Any) -> None:
            note()
            while stack.pop() is not module:  # those whose forward raised
                pass
            row, tensors = rows[id(module)], _tensors(output)
            row.calls += 1
            shapes = [tuple(t.shape) for t in tensors]
            row.output_shape = shapes[0] if len(shapes) == 1 else shapes or None
            if not module._modules:
                result.output_bytes += sum(t.numel() * t.element_size() for t in tensors)

        handles = [h for _, m in paths for h in (m.register_forward_pre_hook(enter), m.register_forward_hook(leave))]
        modes = [(m, m.training) for _, m in paths]
        model.eval()
        try:
            with tg.no_grad():
                model(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
            for m, training in modes:
                m.training = training
            tg.set_rng_state(random_state)
    seen: set[int] = set()
    for _, m in paths:
        for p in m._parameters.values():
            if p is None:
                continue
            n = p.numel()
            row_of[id(m)].parameters += n
            row_of[id(m)].trainable += n * p.requires_grad
            if id(p) not in seen:
                seen.add(id(p))
                result.parameters += n
                result.trainable += n * p.requires_grad
                result.parameter_bytes += n * p.element_size()
    result.buffer_bytes = sum(b.numel() * b.element_size() for b in model.buffers())
    return result
