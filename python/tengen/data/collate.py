# SPDX-License-Identifier: Apache-2.0
"""Making a batch out of items.

Stacking happens in NumPy and ends in `Batched` marks, which cross a process boundary without being copied twice and
become tensors where the batch is used.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import tengen as tg


class Batched:
    """An array that becomes a tensor."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> tuple:
        return Batched, (self.array,)


def map_structure(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """`leaf` of everything inside nested mappings, tuples and lists, which keep their types."""
    if isinstance(value, Mapping):
        items = {k: map_structure(v, leaf) for k, v in value.items()}
        return items if type(value) is dict else type(value)(items)
    if isinstance(value, tuple):
        parts = [map_structure(v, leaf) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [map_structure(v, leaf) for v in value]
    return leaf(value)


def host_tensor(array: np.ndarray) -> Any:
    """A tensor in host memory that shares the array's, unless that is read-only."""
    return tg.from_numpy(array if array.flags.writeable else array.copy())


def to_tensors(value: Any) -> Any:
    """Marks become tensors (in host memory); the rest stays."""
    return map_structure(value, lambda v: host_tensor(v.array) if isinstance(v, Batched) else v)


def arrays_to_marks(value: Any) -> Any:
    """NumPy arrays become marks; the rest stays."""
    return map_structure(value, lambda v: Batched(v) if isinstance(v, np.ndarray) else v)


def tensors_to_marks(value: Any) -> Any:
    """Tensors become marks, so that they can leave the process; the rest stays."""
    return map_structure(value, lambda v: Batched(v.detach().cpu().numpy()) if isinstance(v, tg.Tensor) else v)


def _stack(arrays: list[np.ndarray]) -> Batched:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise ValueError(f"[default_collate] expected items of one shape, got {', '.join(map(str, sorted(shapes)))}; "
                         f"pad them in the dataset or give the loader a collate_fn")
    out = np.stack(arrays)
    if out.dtype.kind not in "biuf":
        raise TypeError(f"[default_collate] cannot make a tensor of {out.dtype} values; give the loader a collate_fn")
    return Batched(out)


def collate_marks(batch: Sequence[Any]) -> Any:
    """As `default_collate`, with marks in place of tensors."""
    first = batch[0]
    if isinstance(first, tg.Tensor):
        if any(t.requires_grad or not t.device.is_host for t in batch):
            return tg.stack(list(batch))
        return _stack([t.numpy() for t in batch])
    if isinstance(first, np.ndarray):
        return _stack(list(batch))
    if isinstance(first, (bool, np.generic)):
        return Batched(np.asarray(batch))
    if isinstance(first, int):
        return Batched(np.asarray(batch, np.int64))
    if isinstance(first, float):
        return Batched(np.asarray(batch, np.float64))
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        items = {key: collate_marks([item[key] for item in batch]) for key in first}
        return items if type(first) is dict else type(first)(items)
    if isinstance(first, (tuple, list)):
        if any(len(item) != len(first) for item in batch):
            raise ValueError("[default_collate] expected items with equally many parts, got "
                             + ", ".join(map(str, sorted({len(item) for item in batch}))))
        parts = [collate_marks(part) for part in zip(*batch)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    raise TypeError(
        f"[default_collate] expected tensors, arrays, numbers, strings or mappings and sequences of them, got "
        f"{type(first).__name__}; give the loader a collate_fn"
    )


def default_collate(batch: Sequence[Any]) -> Any:
    """Stacks items into a batch along a new first axis.

    Arrays, tensors and numbers become tensors (Python ints i64, floats f64), strings a list; mappings, tuples, named
    tuples and lists keep their structure.

    >>> default_collate([(np.zeros(3), 1), (np.ones(3), 2)])[1]
    tensor([1, 2])
    """
    return to_tensors(collate_marks(batch))
