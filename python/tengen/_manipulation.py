# SPDX-License-Identifier: Apache-2.0
"""Shapes and data movement that are a few ops: names of NumPy and PyTorch, with their meaning."""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from . import _core
from ._core import Tensor
from ._dynamic import nonzero
from ._methods import _axis, chunk, narrow, split, unbind

__all__ = [
    "as_strided", "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors",
    "cartesian_prod", "chunk", "column_stack", "combinations", "diag", "diagflat", "diagonal_scatter", "dsplit", "dstack",
    "fliplr", "flipud", "hsplit", "hstack", "index_put", "meshgrid", "narrow", "ravel", "repeat_interleave", "rot90",
    "select_scatter", "slice_scatter", "split", "tensor_split", "tri", "tril_indices", "triu_indices", "unbind", "vsplit",
    "vstack", "where",
]
# Of these, methods too.
METHODS = (
    "as_strided", "diag", "diagflat", "diagonal_scatter", "dsplit", "fliplr", "flipud", "hsplit", "index_put", "ravel",
    "repeat_interleave", "rot90", "select_scatter", "slice_scatter", "tensor_split", "vsplit",
)
# Ops that update a copy of their first operand, which have a form that writes into it.
_UPDATES = ("index_add", "index_copy", "index_fill", "masked_fill", "masked_scatter", "put", "scatter", "scatter_add",
            "scatter_reduce")

_ops = _core.ops
_where = _ops["where"]


def where(condition: Tensor, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, else y; with the condition alone the indices of its True elements, one tensor per axis.

    Parameters
    ----------
    condition : Tensor
        bool; numbers: not 0
    x, y : Tensor or number
        both or none

    Returns
    -------
    Tensor, or tuple of Tensor

    Examples
    --------
    >>> tg.where(tg.tensor([True, False]), tg.tensor([1., 2.]), 0.0).tolist()
    [1.0, 0.0]
    >>> tg.where(tg.tensor([0, 3]))[0].tolist()
    [1]
    """
    if x is None and y is None:
        if not isinstance(condition, Tensor):
            raise TypeError(f"[where] expected a Tensor as condition, got {type(condition).__name__}")
        return nonzero(condition if condition.ndim else condition.reshape((1,)), as_tuple=True)
    if x is None or y is None:
        raise TypeError("where() expected (condition) or (condition, x, y), got two arguments")
    return _where(condition, x, y)


# ---- views and parts ---------------------------------------------------------------------------------------------------


def ravel(x: Tensor) -> Tensor:
    """All elements in row-major order as one axis: a view where strides allow."""
    return x.reshape((-1,)) if x.numel() else x.reshape((0,))


def as_strided(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view of x's memory with sizes and strides (in elements) of one's own, inside what x itself reaches.

    Raises
    ------
    ValueError
        for a view that leaves x's memory, or negative strides
    RuntimeError
        for a tensor that requires grad and is not contiguous

    Examples
    --------
    >>> tg.as_strided(tg.arange(4), (3, 2), (1, 1)).tolist()
    [[0, 1], [1, 2], [2, 3]]
    """
    if x.requires_grad and not x.is_contiguous():
        raise RuntimeError("[as_strided] expected a contiguous tensor where gradients are recorded; use .contiguous()")
    offset = 0 if storage_offset is None else storage_offset - x.storage_offset()
    return _core.call("strided_view", (x,), (tuple(size), tuple(stride), offset))[0]


def tensor_split(x: Tensor, indices_or_sections: int | Sequence[int], axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """Parts along an axis: so many (the first ones one larger where it does not divide), or cut at the indices given; views.

    Examples
    --------
    >>> [t.tolist() for t in tg.tensor_split(tg.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    axis = _axis(axis if dim is None else dim, x.ndim, "tensor_split")
    n = x.shape[axis]
    if isinstance(indices_or_sections, Tensor):  # read in host memory
        indices_or_sections = indices_or_sections.tolist() if indices_or_sections.ndim else int(indices_or_sections.item())
    if isinstance(indices_or_sections, int):
        parts = indices_or_sections
        if parts < 1:
            raise ValueError(f"[tensor_split] expected at least 1 part, got {parts}")
        ends = [(i + 1) * (n // parts) + min(i + 1, n % parts) for i in range(parts)]
    else:
        ends = [int(i) for i in indices_or_sections] + [n]
    lead, start, out = (slice(None),) * axis, 0, []
    for end in ends:
        out.append(x[(*lead, slice(start, end))])
        start = end
    return tuple(out)


def _split_at(name: str, x: Tensor, sections: int | Sequence[int], axis: int, rank: int) -> tuple[Tensor, ...]:
    if x.ndim < rank:
        raise ValueError(f"[{name}] expected at least {rank} axes, got shape {x.shape}")
    if isinstance(sections, int) and (sections < 1 or x.shape[axis] % sections):
        raise ValueError(f"[{name}] expected a number of equal parts of size {x.shape[axis]}, got {sections}")
    return tensor_split(x, sections, axis)


def hsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Equal parts, or parts cut at indices, along axis 1 (of one axis: along that); views."""
    return _split_at("hsplit", x, indices_or_sections, 0 if x.ndim == 1 else 1, 1)


def vsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Equal parts, or parts cut at indices, along axis 0; views."""
    return _split_at("vsplit", x, indices_or_sections, 0, 2)


def dsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Equal parts, or parts cut at indices, along axis 2; views."""
    return _split_at("dsplit", x, indices_or_sections, 2, 3)


# ---- joining -----------------------------------------------------------------------------------------------------------


def atleast_1d(*tensors: Tensor) -> Any:
    """Tensors with at least one axis."""
    out = tuple(t.reshape((1,)) if t.ndim == 0 else t for t in tensors)
    return out[0] if len(out) == 1 else out


def atleast_2d(*tensors: Tensor) -> Any:
    """Tensors with at least two axes; new ones in front."""
    out = tuple(t if t.ndim > 1 else t.reshape((1, t.numel())) for t in tensors)
    return out[0] if len(out) == 1 else out


def atleast_3d(*tensors: Tensor) -> Any:
    """Tensors with at least three axes: [n] as [1, n, 1], [m, n] as [m, n, 1]."""
    out = tuple(t if t.ndim > 2 else t.unsqueeze(2) if t.ndim == 2 else t.reshape((1, t.numel(), 1)) for t in tensors)
    return out[0] if len(out) == 1 else out


def _each(tensors: Sequence[Tensor], f: Any) -> list[Tensor]:
    return [f(t) for t in tensors]


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side: along axis 1, or along the only axis."""
    parts = _each(tensors, atleast_1d)
    return _ops["concat"](parts, 0 if parts and parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors on top of each other: along axis 0, one axis as one row."""
    return _ops["concat"](_each(tensors, atleast_2d), 0)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors behind each other: along axis 2."""
    return _ops["concat"](_each(tensors, atleast_3d), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side, one axis as a column."""
    return _ops["concat"](_each(tensors, lambda t: t.reshape((t.numel(), 1)) if t.ndim < 2 else t), 1)


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices (fewer axes: one row) on the diagonal of a matrix of zeros.

    Examples
    --------
    >>> tg.block_diag(tg.tensor([1, 2]), tg.tensor([[3]])).tolist()
    [[1, 2, 0], [0, 0, 3]]
    """
    blocks = _each(tensors, atleast_2d)
    if any(b.ndim > 2 for b in blocks):
        raise ValueError(f"[block_diag] expected at most 2 axes, got shapes {[b.shape for b in blocks]}")
    width, at, rows = sum(b.shape[1] for b in blocks), 0, []
    for b in blocks:
        rows.append(_ops["pad"](b, (0, at, 0, width - at - b.shape[1])))
        at += b.shape[1]
    return _ops["concat"](rows, 0)


# ---- turning and repeating -----------------------------------------------------------------------------------------------


def flipud(x: Tensor) -> Tensor:
    """The order along axis 0 reversed; a copy."""
    return _ops["flip"](x, 0)


def fliplr(x: Tensor) -> Tensor:
    """The order along axis 1 reversed; a copy."""
    return _ops["flip"](x, 1)


def rot90(x: Tensor, k: int = 1, axes: Sequence[int] = (0, 1), *, dims: Sequence[int] | None = None) -> Tensor:
    """Turned k times by 90 degrees in the plane of two axes, from the first towards the second.

    Examples
    --------
    >>> tg.rot90(tg.tensor([[1, 2], [3, 4]])).tolist()
    [[2, 4], [1, 3]]
    """
    axes = axes if dims is None else dims
    if len(axes) != 2 or (a := _axis(axes[0], x.ndim, "rot90")) == (b := _axis(axes[1], x.ndim, "rot90")):
        raise ValueError(f"[rot90] expected two different axes, got {tuple(axes)}")
    k %= 4
    if k == 0:
        return x.clone()
    if k == 2:
        return _ops["flip"](x, (a, b))
    return _ops["flip"](x.transpose(a, b), a if k == 1 else b)


def repeat_interleave(x: Tensor, repeats: Any, axis: int | None = None, *, dim: int | None = None,
                      output_size: int | None = None) -> Tensor:
    """Every index of an axis several times in a row; without an axis x is taken flat.

    Parameters
    ----------
    x : Tensor
    repeats : int, or Tensor or list of ints
        how often: one number, or one for every index (then the call waits for the device, unless output_size is given)
    axis : int, optional
    output_size : int, optional
        the sum of the repeats

    Examples
    --------
    >>> tg.repeat_interleave(tg.tensor([1, 2, 3]), tg.tensor([2, 0, 1])).tolist()
    [1, 1, 3]
    """
    axis = axis if dim is None else dim
    if not isinstance(x, Tensor):
        raise TypeError(f"[repeat_interleave] expected a Tensor as x, got {type(x).__name__}")
    if axis is None:
        x, axis = x.reshape((x.numel(),)), 0
    if isinstance(repeats, int):
        return _ops["repeat_interleave"](x, repeats, axis)
    axis = _axis(axis, x.ndim, "repeat_interleave")
    counts = repeats if isinstance(repeats, Tensor) else _core.tensor(repeats, _core.int64, x.device)
    n = x.shape[axis]
    if counts.ndim > 1 or counts.numel() not in (1, n):
        raise ValueError(f"[repeat_interleave] expected one number or {n} repeats, got shape {counts.shape}")
    ends = _ops["cumsum"](counts.to(_core.int64).expand((n,)), 0)
    if output_size is None:
        if n and counts.min().item() < 0:
            raise ValueError("[repeat_interleave] expected repeats of 0 or more, got a negative one")
        output_size = int(ends[-1].item()) if n else 0
    # Where every index ends; how many ends lie before a place is the index there.
    marks = _core._full((output_size + 1,), 0, _core.int64, x.device)
    index = _ops["cumsum"](_ops["index_add"](marks, ends, 1), 0)[:output_size]
    return _ops["index_select"](x, index, axis)


# ---- grids and triangles -------------------------------------------------------------------------------------------------


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that shapes broadcast to. Raises ValueError where they do not."""
    out: list[int] = []
    for shape in shapes:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        out = [1] * (len(shape) - len(out)) + out
        for i, n in enumerate(shape, len(out) - len(shape)):
            if n != 1 and out[i] not in (1, n):
                raise ValueError(f"[broadcast_shapes] expected shapes that broadcast, got {', '.join(map(str, shapes))}")
            out[i] = n if n != 1 else out[i]
    return tuple(out)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors in the shape that they broadcast to; views."""
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: for [m] and [n] two tensors of shape (m, n); with indexing='xy' of shape (n, m).

    The default is PyTorch's; NumPy's and the array API's is 'xy'.

    Examples
    --------
    >>> [t.tolist() for t in tg.meshgrid(tg.tensor([1, 2]), tg.tensor([3, 4]))]
    [[[1, 1], [2, 2]], [[3, 4], [3, 4]]]
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ValueError(f"[meshgrid] expected indexing 'ij' or 'xy', got {indexing!r}")
    if any(t.ndim > 1 for t in tensors):
        raise ValueError(f"[meshgrid] expected tensors of one axis, got shapes {[t.shape for t in tensors]}")
    rank = len(tensors)
    grids = broadcast_tensors(*(t.reshape((1,) * i + (t.numel(),) + (1,) * (rank - 1 - i)) for i, t in enumerate(tensors)))
    return tuple(g.transpose(0, 1) for g in grids) if indexing == "xy" and rank > 1 else grids


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of every tensor, as rows in lexicographic order; of one tensor: itself."""
    if len(tensors) == 1:
        return tensors[0]
    return _ops["stack"]([g.reshape((g.numel(),)) for g in meshgrid(*tensors)], 1)


def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of r elements of a tensor of one axis, as rows in lexicographic order of position.

    Examples
    --------
    >>> tg.combinations(tg.tensor([1, 2, 3])).tolist()
    [[1, 2], [1, 3], [2, 3]]
    """
    if x.ndim != 1 or r < 0:
        raise ValueError(f"[combinations] expected one axis and r of 0 or more, got shape {x.shape} and r {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(x.shape[0]), r))
    return x[_core.tensor(rows, _core.int64, x.device).reshape((len(rows), r))]


def diag(x: Tensor, diagonal: int = 0, *, k: int | None = None) -> Tensor:
    """The diagonal of a matrix (a view), or a matrix with a vector on its diagonal.

    Examples
    --------
    >>> tg.diag(tg.tensor([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    diagonal = diagonal if k is None else k
    if x.ndim not in (1, 2):
        raise ValueError(f"[diag] expected a vector or a matrix, got shape {x.shape}; use diagonal or diag_embed")
    return _ops["diag_embed"](x, diagonal) if x.ndim == 1 else _ops["diagonal"](x, diagonal)


def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """A matrix with x's elements, row-major, on a diagonal."""
    return _ops["diag_embed"](x.reshape((x.numel(),)), offset)


def tri(n: int, m: int | None = None, k: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones at and below the k-th diagonal of n rows and m (or n) columns, zeros above."""
    return _ops["tril"](_core._full((n, n if m is None else m), 1, dtype or _core.get_default_dtype(), device), k)


def _triangle(name: str, row: int, col: int | None, offset: int, dtype: Any, device: Any) -> Tensor:
    ones = _core._full((row, row if col is None else col), 1, _core.int32, device)
    return _ops["stack"](list(nonzero(_ops[name](ones, offset), as_tuple=True)), 0).to(dtype or _core.int64)


def tril_indices(row: int, col: int | None = None, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Row and column numbers [2, n] of the elements at and below a diagonal, row-major."""
    return _triangle("tril", row, col, offset, dtype, device)


def triu_indices(row: int, col: int | None = None, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Row and column numbers [2, n] of the elements at and above a diagonal, row-major."""
    return _triangle("triu", row, col, offset, dtype, device)


# ---- copies with a part replaced -------------------------------------------------------------------------------------------


def _replaced(x: Tensor, index: Any, value: Any) -> Tensor:
    y = x.clone()
    y[index] = value
    return y


def index_put(x: Tensor, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """A copy of x with x[indices] = values; accumulate=True adds instead, equal indices several times.

    Parameters
    ----------
    indices : sequence of Tensor or None
        integers or bools for the first axes; None leaves an axis whole

    Examples
    --------
    >>> tg.index_put(tg.zeros(3), (tg.tensor([1, 1]),), tg.tensor([2.0, 3.0]), accumulate=True).tolist()
    [0.0, 5.0, 0.0]
    """
    index = tuple(slice(None) if i is None else i for i in indices)
    if not accumulate:
        return _replaced(x, index, values)
    # The elements' own numbers, indexed as x is, tell where each value goes.
    place = _ops["arange"](0, x.numel(), device=x.device).reshape(x.shape)[index]
    values = values if isinstance(values, Tensor) else _core.tensor(values, x.dtype, x.device)
    return _ops["put"](x, place, values.to(x.dtype).expand(place.shape), True)


def select_scatter(x: Tensor, src: Tensor, axis: int, index: int, *, dim: int | None = None) -> Tensor:
    """A copy of x with src at one index of an axis."""
    axis = _axis(axis if dim is None else dim, x.ndim, "select_scatter")
    return _replaced(x, (slice(None),) * axis + (index,), src)


def slice_scatter(x: Tensor, src: Tensor, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1, *,
                  dim: int | None = None) -> Tensor:
    """A copy of x with src in a slice of an axis."""
    axis = _axis(axis if dim is None else dim, x.ndim, "slice_scatter")
    return _replaced(x, (slice(None),) * axis + (slice(start, end, step),), src)


def diagonal_scatter(x: Tensor, src: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """A copy of x with src on the diagonal of two axes (in its last axis)."""
    a, b = _axis(axis1, x.ndim, "diagonal_scatter"), _axis(axis2, x.ndim, "diagonal_scatter")
    n = _ops["diagonal"](x, offset, a, b).shape[-1]
    along = _ops["arange"](0, n, device=x.device)
    indices = [along + max(-offset, 0), along + max(offset, 0)]
    return _ops["index_update"](x, src, indices, axes=(a, b), at=x.ndim - 2)


def _in_place(name: str) -> Any:
    op = _ops[name]

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if _core.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in (self, *args, *kwargs.values())):
            return self.copy_(op(self, *args, **kwargs))
        return op(self, *args, out=self, **kwargs)

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"{name}() written into this tensor."
    return method


def index_put_(self: Tensor, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """index_put() written into this tensor."""
    if accumulate:
        return self.copy_(index_put(self, indices, values, True))
    self[tuple(slice(None) if i is None else i for i in indices)] = values
    return self


def install() -> None:
    """Puts the methods on Tensor."""
    for name in METHODS:
        setattr(Tensor, name, globals()[name])
    for name in _UPDATES:
        setattr(Tensor, f"{name}_", _in_place(name))
    Tensor.index_put_ = index_put_
    Tensor.unfold = lambda self, axis=-1, size=1, step=1, *, dimension=None: _ops["sliding_window"](
        self, axis if dimension is None else dimension, size, step)
    Tensor.unfold.__doc__ = "Windows of `size` elements of an axis, `step` apart, on a new last axis; a view."
    Tensor.repeat = repeat
    Tensor.astype = astype


def repeat(self: Tensor, *sizes: Any) -> Tensor:
    """x several times along its axes, x.repeat(2, 3); more numbers than axes add axes in front. tg.tile as a method."""
    reps = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    if len(reps) < self.ndim:
        raise ValueError(f"[repeat] expected a number for every one of {self.ndim} axes, got {tuple(reps)}; use tile")
    return _ops["tile"](self, tuple(reps))


def astype(self: Tensor, dtype: Any, copy: bool = True) -> Tensor:
    """As another dtype; itself when nothing changes and copy is False."""
    return self.to(dtype=dtype, copy=copy)
