# SPDX-License-Identifier: Apache-2.0
"""Functions whose results' sizes, or types, depend on values: the ops give a buffer and a count, these the part that counts.
They wait for the device."""
from __future__ import annotations

from typing import Any, NamedTuple

from . import _core
from ._core import Tensor

__all__ = [
    "allclose", "argwhere", "array_equal", "bincount", "cond_take", "nonzero", "unique", "unique_all", "unique_consecutive", "unique_counts",
    "unique_inverse", "unique_values",
]


def _tensor(x: Any, name: str) -> Tensor:
    if isinstance(x, Tensor):
        return x.detach()
    if hasattr(x, "__array__"):
        return _core.asarray(x)
    raise TypeError(f"[{name}] expected a Tensor, got {type(x).__name__}; use tg.tensor(...)")


def nonzero(x: Tensor, as_tuple: bool = False) -> Any:
    """Where the elements are that are not 0, in row-major order.

    Parameters
    ----------
    x : Tensor
        of any shape and dtype
    as_tuple : bool
        one index tensor per axis, as NumPy's nonzero

    Returns
    -------
    Tensor or tuple of Tensor
        int64 [count, x.ndim], or x.ndim tensors [count]

    Examples
    --------
    >>> tg.nonzero(tg.tensor([[0, 5], [7, 0]])).tolist()
    [[0, 1], [1, 0]]
    """
    index, count = _core.call("nonzero_padded", (_tensor(x, "nonzero"),))
    index = index[: count.item()]
    return tuple(index.T) if as_tuple else index


def argwhere(x: Tensor) -> Tensor:
    """nonzero() as one tensor [count, x.ndim]."""
    return nonzero(x)


def cond_take(mask: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The elements of x where a mask of its shape is true, and their places in x seen flat; the values are differentiable.

    Examples
    --------
    >>> values, index = tg.cond_take(tg.tensor([[True, False], [False, True]]), tg.tensor([[1, 2], [3, 4]]))
    >>> values.tolist(), index.tolist()
    ([1, 4], [0, 3])
    """
    if tuple(mask.shape) != tuple(x.shape):
        raise ValueError(f"[cond_take] expected a mask of x's shape {tuple(x.shape)}, got {tuple(mask.shape)}")
    index = nonzero(mask.reshape(-1))[:, 0]
    return x.reshape(-1)[index], index


class UniqueResult(NamedTuple):
    """What unique() gives: those that were asked for, in this order."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


def _grouped(name: str, x: Tensor, index: bool, inverse: bool, counts: bool) -> Any:
    x = _tensor(x, name)
    if x.is_complex():  # by real, then imaginary parts, as NumPy sorts
        flat = x.reshape((x.numel(),))
        values, first, back, sizes = _grouped_along(name, _core.call("view_as_real", (flat,))[0], 0, True, True, True)
        return _chosen([flat.index_select(first, 0), first, back.reshape(x.shape), sizes], index, inverse, counts)
    values, first, back, sizes, count = _core.call(f"{name}_padded", (x,))
    n = count.item()
    return _chosen([values[:n], first[:n], back, sizes[:n]], index, inverse, counts)


def _chosen(found: list[Tensor], *wanted: bool) -> Any:
    """The values, and those of the others that are wanted."""
    some = [found[0], *(f for f, w in zip(found[1:], wanted) if w)]
    return tuple(some) if len(some) > 1 else some[0]


def unique(x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None, *,
           return_index: bool = False, dim: int | None = None) -> Any:
    """The distinct elements, ascending; with an axis the distinct parts along it, in lexicographic order. NaN differs from NaN.

    Parameters
    ----------
    x : Tensor
        counts as flat without an axis
    axis, dim : int, optional
        the axis whose parts are compared
    sorted : bool
        the elements are always sorted
    return_inverse, return_counts, return_index : bool
        also give the place of each element's value (x's shape), how often each value occurs, where it is first

    Returns
    -------
    Tensor or tuple of Tensor
        the values; with more: (values, index, inverse, counts), those that were asked for, int64

    Examples
    --------
    >>> values, counts = tg.unique(tg.tensor([3, 1, 3]), return_counts=True)
    >>> values.tolist(), counts.tolist()
    ([1, 3], [1, 2])
    """
    axis = dim if axis is None else axis
    if axis is None:
        return _grouped("unique", x, return_index, return_inverse, return_counts)
    return _grouped_along("unique", x, axis, return_index, return_inverse, return_counts)


def _grouped_along(name: str, x: Tensor, axis: int, *wanted: bool) -> Any:
    """The distinct parts along an axis, or those that differ from the part before, and of the rest what is wanted."""
    x = _tensor(x, name)
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(f"[{name}] expected an axis in [{-x.ndim}, {x.ndim}), got {axis}")
    size = x.shape[axis]
    rows = x.movedim(axis, 0).reshape((size, x.numel() // size if size else 0))
    first, back, sizes, count = _core.call(f"{name}_rows_padded", (rows,))
    first, sizes = first[: count.item()], sizes[: count.item()]
    return _chosen([x.index_select(first, axis), first, back, sizes], *wanted)


def unique_consecutive(x: Tensor, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None, *,
                       dim: int | None = None) -> Any:
    """The first element of each run of equal ones, with an axis the first of each run of equal parts along it; arguments and
    results as unique().

    Examples
    --------
    >>> tg.unique_consecutive(tg.tensor([1, 1, 2, 1])).tolist()
    [1, 2, 1]
    """
    axis = dim if axis is None else axis
    if axis is not None:
        return _grouped_along("unique_consecutive", x, axis, False, return_inverse, return_counts)
    return _grouped("unique_consecutive", x, False, return_inverse, return_counts)


def unique_values(x: Tensor) -> Tensor:
    """The distinct elements (the array API's)."""
    return unique(x)


def unique_counts(x: Tensor) -> Any:
    """(values, counts) (the array API's)."""
    return unique(x, return_counts=True)


def unique_inverse(x: Tensor) -> Any:
    """(values, inverse_indices) (the array API's)."""
    return unique(x, return_inverse=True)


def unique_all(x: Tensor) -> UniqueResult:
    """(values, indices, inverse_indices, counts) (the array API's)."""
    return UniqueResult(*unique(x, return_inverse=True, return_counts=True, return_index=True))


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each integer from 0 to the largest occurs, or the sums of its weights.

    Parameters
    ----------
    x : Tensor
        integers of 0 or more, [n]
    weights : Tensor, optional
        [n]
    minlength : int
        the result has at least so many elements

    Raises
    ------
    ValueError
        for a negative integer or minlength, or other shapes
    TypeError
        for floats

    Examples
    --------
    >>> tg.bincount(tg.tensor([0, 2, 2])).tolist()
    [1, 0, 2]
    """
    if minlength < 0:
        raise ValueError(f"[bincount] expected a minlength of 0 or more, got {minlength}")
    x = _tensor(x, "bincount")
    if x.dtype.is_floating_point or x.dtype is _core.bool:
        raise TypeError(f"[bincount] expected integers, got {x.dtype}")
    size = minlength
    if x.numel():
        low, high = (v.item() for v in _core.ops["aminmax"](x))
        if low < 0:
            raise ValueError(f"[bincount] expected integers of 0 or more, got {low}")
        size = max(size, high + 1)
    return _core.call("bincount_of", (x, weights), (size,))[0]


def allclose(x: Tensor, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether isclose() holds everywhere; a Python bool.

    Examples
    --------
    >>> tg.allclose(tg.tensor([1.0]), 1.000001)
    True
    """
    return bool(_core.ops["isclose"](x, y, rtol, atol, equal_nan).all().item())


def array_equal(x: Tensor, y: Tensor, equal_nan: bool = False) -> bool:
    """Whether shapes and elements are equal; a Python bool. (PyTorch's torch.equal; tg.equal is elementwise, as NumPy's.)

    Examples
    --------
    >>> tg.array_equal(tg.tensor([1, 2]), tg.tensor([1, 2]))
    True
    """
    if x.shape != y.shape:
        return False
    same = _core.ops["eq"](x, y)
    if equal_nan:
        same = same | (_core.ops["isnan"](x) & _core.ops["isnan"](y))
    return bool(same.all().item())


def install() -> None:
    """Puts the functions on Tensor (the array API's unique_... are functions alone)."""
    for name in ("allclose", "argwhere", "bincount", "nonzero", "unique", "unique_consecutive"):
        setattr(Tensor, name, globals()[name])
