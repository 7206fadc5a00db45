# SPDX-License-Identifier: Apache-2.0
"""Shapes, joining, products of matrices, and indexing functions."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["broadcast_arrays", "broadcast_to", "concat", "expand_dims", "flip", "matmul", "matrix_transpose", "moveaxis",
           "permute_dims", "repeat", "reshape", "roll", "squeeze", "stack", "take", "take_along_axis", "tile", "unstack"]


def broadcast_arrays(*arrays: tg.Tensor) -> list:
    """Arrays in the shape that they broadcast to."""
    return list(tg.broadcast_tensors(*arrays))


def broadcast_to(x: tg.Tensor, /, shape: tuple) -> tg.Tensor:
    """x in a shape that it broadcasts to."""
    return tg.expand(x, tuple(shape))


def concat(arrays: Any, /, *, axis: Any = 0) -> tg.Tensor:
    """Arrays one after the other; flat for axis None."""
    return tg.concat([x.reshape((-1,)) for x in arrays] if axis is None else arrays, axis or 0)


def expand_dims(x: tg.Tensor, /, axis: Any) -> tg.Tensor:
    """x with a new axis of size 1."""
    return tg.unsqueeze(x, axis)


def flip(x: tg.Tensor, /, *, axis: Any = None) -> tg.Tensor:
    """The order along axes reversed; all by default."""
    return x.clone() if x.ndim == 0 else tg.flip(x, tuple(range(x.ndim)) if axis is None else axis)


def matmul(x1: tg.Tensor, x2: tg.Tensor, /) -> tg.Tensor:
    """The matrix product."""
    return tg.matmul(x1, x2)


def matrix_transpose(x: tg.Tensor, /) -> tg.Tensor:
    """The last two axes exchanged."""
    return x.mT


def moveaxis(x: tg.Tensor, source: Any, destination: Any, /) -> tg.Tensor:
    """Axes moved to other places."""
    return tg.movedim(x, source, destination)


def permute_dims(x: tg.Tensor, /, axes: tuple) -> tg.Tensor:
    """The axes in another order."""
    return tg.permute(x, tuple(axes))


def repeat(x: tg.Tensor, repeats: Any, /, *, axis: Any = None) -> tg.Tensor:
    """Every element, or index of an axis, several times in a row."""
    return tg.repeat_interleave(x, repeats, axis)


def reshape(x: tg.Tensor, /, shape: tuple, *, copy: Any = None) -> tg.Tensor:
    """The same elements in another shape; copy=False raises where that needs a copy."""
    if copy is False:
        return x.view(tuple(shape))
    return tg.reshape(x.clone() if copy else x, tuple(shape))


def roll(x: tg.Tensor, /, shift: Any, *, axis: Any = None) -> tg.Tensor:
    """x moved along axes, cyclically; as one row without axes. One shift serves all axes."""
    if axis is None:
        return tg.roll(x, shift)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return tg.roll(x, (shift,) * len(axes) if isinstance(shift, int) else tuple(shift), axes)


def squeeze(x: tg.Tensor, /, axis: Any) -> tg.Tensor:
    """x without the given axes of size 1."""
    return x if axis == () else tg.squeeze(x, axis)


def stack(arrays: Any, /, *, axis: int = 0) -> tg.Tensor:
    """Arrays along a new axis."""
    return tg.stack(arrays, axis)


def take(x: tg.Tensor, indices: tg.Tensor, /, *, axis: Any = None) -> tg.Tensor:
    """Elements of an axis by index."""
    if axis is None and x.ndim != 1:
        raise ValueError(f"take() expected an axis for an array of shape {x.shape}, got none")
    return tg.take(x, indices, axis)


def take_along_axis(x: tg.Tensor, indices: tg.Tensor, /, *, axis: int = -1) -> tg.Tensor:
    """Elements of an axis by an index of x's rank."""
    return tg.take_along_axis(x, indices, axis)


def tile(x: tg.Tensor, repetitions: tuple, /) -> tg.Tensor:
    """x several times along its axes."""
    return tg.tile(x, tuple(repetitions))


def unstack(x: tg.Tensor, /, *, axis: int = 0) -> tuple:
    """The parts at every index of an axis."""
    return tg.unbind(x, axis)


if hasattr(tg, "tensordot"):
    def tensordot(x1: tg.Tensor, x2: tg.Tensor, /, *, axes: Any = 2) -> tg.Tensor:
        """The sum of products over pairs of axes."""
        return tg.tensordot(x1, x2, axes)

    __all__.append("tensordot")


def vecdot(x1: tg.Tensor, x2: tg.Tensor, /, *, axis: int = -1) -> tg.Tensor:
    """The dot product along an axis, with x1 conjugated."""
    if not -min(x1.ndim, x2.ndim) <= axis < 0:
        raise ValueError(f"vecdot() expected an axis in [{-min(x1.ndim, x2.ndim)}, 0), got {axis}")
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"vecdot() expected equal sizes on axis {axis}, got shapes {x1.shape} and {x2.shape}")
    dtype = tg.result_type(x1, x2)
    x1 = tg.conj(x1) if tg.isdtype(x1.dtype, "complex floating") else x1
    return tg.sum(tg.movedim(x1, axis, -1) * tg.movedim(x2, axis, -1), -1).to(dtype)


__all__.append("vecdot")
