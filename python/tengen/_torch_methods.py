# SPDX-License-Identifier: Apache-2.0
"""Further methods of PyTorch's Tensor, and what to write instead of those that do not exist."""
from __future__ import annotations

from typing import Any

from . import _core
from ._core import Tensor


class _Absent:
    """An attribute of PyTorch's that is not here: says what is."""

    def __init__(self, way_out: str) -> None:
        self.way_out = way_out

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        raise AttributeError(f"'tengen.Tensor' object has no attribute {self.name!r}; {self.way_out}")


_BOTH = "max(axis) and min(axis) give the values alone, max_with_indices(axis) and min_with_indices(axis) give (values, indices)"
_NEW = "a view is a new tensor: write x = x.{}()"
_MEMORY = "memory belongs to the tensor: data_ptr(), nbytes, numpy()"
ABSENT = {
    "values": _BOTH, "indices": _BOTH, "squeeze_": _NEW.format("squeeze"), "unsqueeze_": _NEW.format("unsqueeze"), "t_": _NEW.format("t"),
    "transpose_": _NEW.format("transpose"), "swapaxes_": _NEW.format("swapaxes"), "swapdims_": _NEW.format("swapdims"),
    "resize_": "make a new tensor: x.new_empty(size), or x.reshape(size)", "set_": "copy_() writes into a tensor, .data = replaces what it holds",
    "storage": _MEMORY, "untyped_storage": _MEMORY, "to_sparse": "all tensors are dense",
    "share_memory_": "processes get host tensors by pickling; DataLoader workers pass theirs through shared memory",
}


def nelement(self: Tensor) -> int:
    """The number of elements."""
    return self.numel()


def ndimension(self: Tensor) -> int:
    """The number of axes."""
    return self.ndim


def is_signed(self: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return not self.dtype.name.startswith(("uint", "bool"))


def is_same_size(self: Tensor, other: Tensor) -> bool:
    """Whether another tensor has this shape."""
    return self.shape == other.shape


def char(self: Tensor) -> Tensor:
    """As int8."""
    return self.to(_core.int8)


def type(self: Tensor, dtype: Any = None) -> Any:
    """In another dtype; without one the dtype's name, "tengen.float32"."""
    return f"tengen.{self.dtype.name}" if dtype is None else self.to(dtype)


def cuda(self: Tensor, device: int | str | None = None, non_blocking: bool = False) -> Tensor:
    """On a device of kind cuda, the first or that of a number. Errors: ValueError where a plugin offers none."""
    return self.to(f"cuda:{device}" if isinstance(device, int) else device or "cuda")


def get_device(self: Tensor) -> int:
    """The device's index among those of its kind; -1 for host memory."""
    return -1 if self.device.is_host else int(self.device.name.rpartition(":")[2])


def pin_memory(self: Tensor) -> Tensor:
    """Itself: copies need no pinned memory."""
    return self


def is_pinned(self: Tensor) -> bool:
    """False."""
    return False


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Writes a number on the main diagonal.

    Parameters
    ----------
    fill_value : number
    wrap : bool
        whether in a tall matrix the diagonal begins again after each square, an empty row apart

    Raises
    ------
    ValueError
        for fewer than two axes, and for more than two of unequal sizes

    Examples
    --------
    >>> tg.zeros(2, 2).fill_diagonal_(5).tolist()
    [[5.0, 0.0], [0.0, 5.0]]
    """
    sizes = self.shape
    if len(sizes) < 2 or (len(sizes) > 2 and len(set(sizes)) > 1):
        raise ValueError(f"[fill_diagonal_] expected a matrix, or more axes of one size, got shape {tuple(sizes)}")
    if len(sizes) > 2:
        from ._creation import arange

        self[(arange(sizes[0], device=self.device),) * len(sizes)] = fill_value
        return self
    rows, columns = sizes
    for begin in range(0, rows if wrap else min(rows, 1), columns + 1):
        self[begin:].diagonal().fill_(fill_value)
    return self


def tril_(self: Tensor, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """tril() written into this tensor."""
    return self.copy_(self.tril(k if diagonal is None else diagonal))


def triu_(self: Tensor, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """triu() written into this tensor."""
    return self.copy_(self.triu(k if diagonal is None else diagonal))


def addmm_(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """addmm() written into this tensor."""
    return self.copy_(self.addmm(mat1, mat2, beta=beta, alpha=alpha))


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """The sum over the axes along which a tensor of that size would be broadcast to this one.

    Raises
    ------
    ValueError
        for a size that does not broadcast to this tensor's shape
    """
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    lead = self.ndim - len(size)
    if lead < 0 or any(s not in (1, n) for s, n in zip(size, self.shape[lead:])):
        raise ValueError(f"[sum_to_size] expected a size that broadcasts to {tuple(self.shape)}, got {size}")
    axes = (*range(lead), *(lead + i for i, s in enumerate(size) if s == 1 and self.shape[lead + i] != 1))
    return (self.sum(axes, True) if axes else self).reshape(size)


def install() -> None:
    """Puts the methods on Tensor."""
    for name, value in list(globals().items()):
        if getattr(value, "__module__", None) == __name__ and callable(value) and not name.startswith("_") and name != "install":
            if not hasattr(Tensor, name):
                setattr(Tensor, name, value)
    for name, way_out in ABSENT.items():
        if not hasattr(Tensor, name):
            absent = _Absent(way_out)
            absent.name = name
            setattr(Tensor, name, absent)
    if not hasattr(Tensor, "is_cuda"):
        Tensor.is_cuda = property(lambda self: self.device.kind == "cuda", doc="Whether it is on a device of kind cuda.")
        Tensor.is_sparse = property(lambda self: False, doc="False.")
