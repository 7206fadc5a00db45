# SPDX-License-Identifier: Apache-2.0
"""Sequences of several lengths: padded to one tensor, or packed without padding.

>>> packed = pack_sequence([tg.tensor([1., 2., 3.]), tg.tensor([4.])])
>>> packed.data.tolist(), packed.batch_sizes.tolist()
([1.0, 4.0, 2.0, 3.0], [2, 1, 1])
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import tengen as tg

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """Sequences of several lengths, step by step: data[0:b0] are the first steps, data[b0:b0 + b1] the second ones, ...

    Attributes
    ----------
    data : tensor [sum(batch_sizes), ...]
    batch_sizes : i64 tensor in host memory
        Sequences that are long enough, by step. The longest sequence is the first of each step.
    sorted_indices, unsorted_indices : i64 tensor or None
        Where the packed sequences were in the batch, and the other way round. None: they were in order.
    """

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With data of another dtype or device."""
        data = self.data.to(*args, **kwargs)
        return PackedSequence(data, self.batch_sizes, _moved(self.sorted_indices, data.device),
                              _moved(self.unsorted_indices, data.device))

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def float(self) -> PackedSequence:
        return self.to(tg.float32)

    def double(self) -> PackedSequence:
        return self.to(tg.float64)

    @property
    def is_pinned(self) -> bool:
        return False


def _moved(t: Any, device: Any) -> Any:
    return None if t is None else t.to(device)


def _host(values: Any, op: str, what: str) -> np.ndarray:
    """Integers [n] from a tensor or a list."""
    array = np.asarray(values.tolist() if isinstance(values, tg.Tensor) else list(values), np.int64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"[{op}] expected {what} of one axis and at least one element, got shape {array.shape}")
    return array


def invert_permutation(permutation: Any) -> Any:
    """p with p[permutation[i]] = i; None of None."""
    return None if permutation is None else permutation.argsort()


def _take(x: Any, indices: np.ndarray) -> Any:
    return tg.index_select(x, tg.tensor(indices, device=x.device), 0)


def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:
    """Sequences without their padding.

    Parameters
    ----------
    input : tensor [T, N, ...], or [N, T, ...] with batch_first
    lengths : integers [N], tensor or list, each from 1 to T
    enforce_sorted : bool
        Expect the longest sequence first; False sorts them.

    Raises
    ------
    ValueError
        A length is out of range, there are not N of them, or they are not sorted.
    """
    op = "pack_padded_sequence"
    if input.ndim < 2:
        raise ValueError(f"[{op}] expected input of at least 2 dimensions, got shape {tuple(input.shape)}")
    x = input.transpose(0, 1) if batch_first else input
    steps, batch = x.shape[:2]
    sizes = _host(lengths, op, "lengths")
    if len(sizes) != batch or sizes.min() < 1 or sizes.max() > steps:
        raise ValueError(f"[{op}] expected {batch} lengths from 1 to {steps}, got {sizes.tolist()}")
    order = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise ValueError(f"[{op}] expected lengths that do not grow, got {sizes.tolist()}; "
                             f"enforce_sorted=False sorts them")
    else:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    there = np.arange(sizes[0])[:, None] < sizes  # [T, N], in the packed order
    places = np.arange(sizes[0])[:, None] * batch + (np.arange(batch) if order is None else order)
    data = _take(x.reshape((steps * batch, *x.shape[2:])), places[there])
    sorted_indices = None if order is None else tg.tensor(order, device=x.device)
    return PackedSequence(data, tg.tensor(there.sum(1), device="cpu"), sorted_indices,
                          invert_permutation(sorted_indices))


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Any, Any]:
    """(padded tensor [T, N, ...], lengths [N]), in the batch's original order.

    Raises
    ------
    ValueError
        total_length is below the longest sequence's.
    """
    sizes = _host(sequence.batch_sizes, "pad_packed_sequence", "batch_sizes")
    steps, batch = len(sizes), int(sizes[0])
    if total_length is not None:
        if total_length < steps:
            raise ValueError(f"[pad_packed_sequence] expected total_length of at least {steps}, got {total_length}")
        steps = total_length
    there = np.zeros((steps, batch), bool)
    there[:len(sizes)] = np.arange(batch) < sizes[:, None]
    data = sequence.data
    rows = np.full((steps, batch), data.shape[0])  # a row of padding behind the data
    rows[there] = np.arange(data.shape[0])
    lengths = there.sum(0)
    if sequence.unsorted_indices is not None:
        back = np.asarray(sequence.unsorted_indices.tolist())
        rows, lengths = rows[:, back], lengths[back]
    if batch_first:
        rows = rows.T
    padding = tg.full((1, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    out = _take(tg.cat([data, padding]), rows.reshape(-1))
    return out.reshape((*rows.shape, *data.shape[1:])), tg.tensor(lengths, device="cpu")


def pad_sequence(sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Any:
    """Tensors [t, ...] of several lengths as one, [T, N, ...], or [N, T, ...] with batch_first.

    Raises
    ------
    ValueError
        There is none, or padding_side is neither 'right' nor 'left'.
    """
    sequences = list(sequences)
    if not sequences:
        raise ValueError("[pad_sequence] expected at least one sequence, got none")
    if padding_side not in ("left", "right"):
        raise ValueError(f"[pad_sequence] expected padding_side to be 'left' or 'right', got {padding_side!r}")
    steps = max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        more = (steps - s.shape[0], *(0,) * (s.ndim - 1))
        none = (0,) * s.ndim
        padded.append(tg.pad(s, (*none, *more) if padding_side == "right" else (*more, *none), padding_value))
    return tg.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The tensors that pad_sequence had, views."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[i, :n] for i, n in enumerate(_host(lengths, "unpad_sequence", "lengths").tolist())]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors [t, ...] of several lengths, packed."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The tensors that pack_sequence had."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
