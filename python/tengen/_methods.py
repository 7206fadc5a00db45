# SPDX-License-Identifier: Apache-2.0
"""Methods of Tensor that are a line or two of ops. A method that the op table or the extension has is left as it is."""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import _core
from ._core import Tensor

_HERE = sys.modules[__name__]


class RemovableHandle:
    """What register_hook() returns: remove() takes the hook away."""

    def __init__(self, tensor: Tensor, hook: int) -> None:
        self._tensor, self._hook = tensor, hook

    def remove(self) -> None:
        """Takes the hook away; a second call does nothing."""
        if self._tensor is not None:
            self._tensor._remove_hook(self._hook)
            self._tensor = None

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def _axis(axis: int, rank: int, name: str) -> int:
    if not -rank <= axis < rank:
        raise IndexError(f"[{name}] expected an axis in [{-rank}, {rank}), got {axis}")
    return axis + rank if axis < 0 else axis


def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Calls `hook` with the gradient when it reaches this tensor in a backward pass; what it returns (unless None) takes
    the gradient's place."""
    return RemovableHandle(self, self._register_hook(hook))


class _PostHandle(RemovableHandle):
    def remove(self) -> None:
        """Takes the hook away; a second call does nothing."""
        if self._tensor is not None:
            _core._remove_post_hook(self._tensor, self._hook)
            self._tensor = None


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Calls `hook` with this leaf after a backward pass has added to its .grad: an optimizer step may run there."""
    return _PostHandle(self, _core._add_post_hook(self, hook))


_retaining: dict[int, Any] = {}  # id of a tensor -> weak reference to it


def retain_grad(self: Tensor) -> None:
    """Lets a backward pass leave the gradient of this recorded result in .grad."""
    if self.is_leaf or id(self) in _retaining:
        return
    import weakref

    key = id(self)
    ref = _retaining[key] = weakref.ref(self, lambda _: _retaining.pop(key, None))

    def keep(g: Tensor) -> None:
        t = ref()
        if t is not None:
            t.grad = g.detach().clone() if t.grad is None else t.grad + g

    self._register_hook(keep)


def t(self: Tensor) -> Tensor:
    """A matrix transposed; fewer axes: itself."""
    if self.ndim > 2:
        raise ValueError(f"t() expected a tensor of at most 2 axes, got shape {self.shape}; use .mT or .transpose()")
    return self.T if self.ndim == 2 else self


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Broadcast to another tensor's shape."""
    return self.expand(other.shape)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """view() with another tensor's shape."""
    return self.view(other.shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """reshape() with another tensor's shape."""
    return self.reshape(other.shape)


def narrow(self: Tensor, axis: int, start: int, length: int) -> Tensor:
    """`length` elements of an axis from `start` on; a view."""
    a = _axis(axis, self.ndim, "narrow")
    if start < 0 or length < 0 or start + length > self.shape[a]:
        raise IndexError(f"[narrow] expected a range within axis {a} of size {self.shape[a]}, got {start} to {start + length}")
    return self[(slice(None),) * a + (slice(start, start + length),)]


def split(self: Tensor, size: int | Sequence[int], axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """Parts of `size` elements along an axis (the last may be smaller), or of the sizes given; views."""
    a = _axis(axis if dim is None else dim, self.ndim, "split")
    n = self.shape[a]
    if isinstance(size, int):
        if size < 1:
            raise ValueError(f"[split] expected a size of at least 1, got {size}")
        sizes = [min(size, n - i) for i in range(0, n, size)] or [0]
    else:
        sizes = list(size)
        if sum(sizes) != n:
            raise ValueError(f"[split] expected sizes with sum {n}, got {tuple(sizes)}")
    parts, start = [], 0
    for s in sizes:
        parts.append(narrow(self, a, start, s))
        start += s
    return tuple(parts)


def chunk(self: Tensor, chunks: int, axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """At most `chunks` parts of equal size along an axis; views."""
    if chunks < 1:
        raise ValueError(f"[chunk] expected at least 1 part, got {chunks}")
    a = _axis(axis if dim is None else dim, self.ndim, "chunk")
    return split(self, max(1, -(-self.shape[a] // chunks)), a)


def unbind(self: Tensor, axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """The parts at every index of an axis; views."""
    a = _axis(axis if dim is None else dim, self.ndim, "unbind")
    return tuple(self.select(a, i) for i in range(self.shape[a]))


def mm(self: Tensor, other: Tensor) -> Tensor:
    """The product of two matrices."""
    from ._contract import mm

    return mm(self, other)


def bmm(self: Tensor, other: Tensor) -> Tensor:
    """The products of two batches of matrices."""
    from ._contract import bmm

    return bmm(self, other)


def mv(self: Tensor, other: Tensor) -> Tensor:
    """A matrix times a vector."""
    from ._contract import mv

    return mv(self, other)


def matrix_power(self: Tensor, n: int) -> Tensor:
    """Square matrices to an integer power."""
    from ._contract import matrix_power

    return matrix_power(self, n)


def new_tensor(self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """tg.tensor(data) with this tensor's dtype and device unless given."""
    return _core.tensor(data, dtype or self.dtype, device or self.device, requires_grad=requires_grad)


def new_zeros(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """tg.zeros() with this tensor's dtype and device unless given."""
    from ._creation import zeros

    return zeros(*size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_ones(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """tg.ones() with this tensor's dtype and device unless given."""
    from ._creation import ones

    return ones(*size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_empty(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """tg.empty() with this tensor's dtype and device unless given."""
    from ._creation import empty

    return empty(*size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """tg.full() with this tensor's dtype and device unless given."""
    from ._creation import full

    return full(size, fill_value, dtype or self.dtype, device or self.device, requires_grad)


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """masked_fill() written into this tensor."""
    return self.copy_(self.masked_fill(mask, value))


def _overwritten(self: Tensor, name: str, generator: Any, *attrs: Any) -> Tensor:
    from ._creation import _drawn

    return self.copy_(_drawn(generator, name, self.shape, *attrs, dtype=self.dtype, device=self.device))


def uniform_(self: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
    """Overwrites with numbers uniform in [low, high)."""
    return _overwritten(self, "uniform", generator, low, high)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Overwrites with numbers of a normal distribution."""
    return _overwritten(self, "normal", generator, mean, std)


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Overwrites with exponentials of normal numbers."""
    return _overwritten(self, "log_normal", generator, mean, std)


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Overwrites with exponentially distributed numbers of mean 1 / lambd."""
    return _overwritten(self, "exponential", generator, lambd)


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Overwrites with numbers of a Cauchy distribution."""
    return _overwritten(self, "cauchy", generator, median, sigma)


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Overwrites with how many trials of probability p it takes to succeed: 1 or more."""
    if not 0 < p < 1:
        raise ValueError(f"[geometric_] expected p between 0 and 1, got {p}")
    import math

    from ._creation import _drawn

    trials = _drawn(generator, "exponential", self.shape, -math.log1p(-p), dtype=_core.float32, device=self.device)
    return self.copy_(trials.ceil().clip(min=1))


def bernoulli_(self: Tensor, p: float | Tensor = 0.5, *, generator: Any = None) -> Tensor:
    """Overwrites with 1 with probability p, else 0."""
    from ._creation import _drawn, full

    chance = p.expand(self.shape) if isinstance(p, Tensor) else full(self.shape, float(p), _core.float32, self.device)
    return self.copy_(_drawn(generator, "bernoulli", chance))


def random_(self: Tensor, low: int = 0, high: int | None = None, *, generator: Any = None) -> Tensor:
    """Overwrites with integers uniform in [low, high); one number is the bound. By default all that the dtype holds exactly."""
    from ._creation import _drawn, finfo, iinfo

    if high is None:
        whole = {"float64": 2**53}.get(self.dtype.name) if self.dtype.is_floating_point else None
        most = whole or (round(2 / finfo(self.dtype).eps) if self.dtype.is_floating_point else min(iinfo(self.dtype).max, 2**62 - 1) + 1)
        low, high = (0, low) if low else (0, most)
    return self.copy_(_drawn(generator, "randint", low, high, self.shape, dtype=_core.int64, device=self.device))


def _channels_last(self: Tensor) -> Tensor:
    """The same tensor with the channels (axis 1) innermost in memory."""
    if self.ndim < 3:
        return self
    if self.is_contiguous(memory_format="channels_last"):
        return self
    rank = self.ndim
    inner = self.permute((0, *range(2, rank), 1)).contiguous()
    return inner.permute((0, rank - 1, *range(1, rank - 1)))


# ---- protocols --------------------------------------------------------------------------------------------------------


def __deepcopy__(self: Tensor, memo: dict) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError("only a leaf can be deep-copied, this tensor is the result of a recorded op; use .detach() first")
    outer = _core._set_grad_enabled(False)
    try:
        copy = Tensor._make_subclass(type(self), self.detach().clone(), self.requires_grad)
    finally:
        _core._set_grad_enabled(outer)
    memo[id(self)] = copy
    if hasattr(self, "__dict__"):
        import copy as copying

        copy.__dict__.update(copying.deepcopy(self.__dict__, memo))
    if self.grad is not None:
        copy.grad = self.grad.detach().clone()  # not through memo, whose keys are ids: that of the passing tensor would be used again
    return copy


def _rebuild(cls: type, data: bytes, dtype: str, shape: tuple, device: str, requires_grad: bool, attributes: dict | None) -> Tensor:
    try:
        t = _core._from_bytes(data, dtype, shape, device)
    except ValueError:
        if device.split(":")[0] not in {d["kind"] for d in _core._devices()}:
            raise RuntimeError(f"this tensor was pickled from {device}, which is not here; pickle tensor.cpu() instead") from None
        raise
    t = Tensor._make_subclass(cls, t, requires_grad)
    if attributes:
        t.__dict__.update(attributes)
    return t


def __reduce_ex__(self: Tensor, protocol: int) -> tuple:
    if not self.is_leaf:
        raise RuntimeError("only a leaf can be pickled, this tensor is the result of a recorded op; use .detach() first")
    return _rebuild, (type(self), self.detach()._to_bytes(), self.dtype.name, self.shape, self.device.name, self.requires_grad,
                      getattr(self, "__dict__", None))


def __dlpack__(self: Tensor, *, stream: Any = None, max_version: tuple | None = None, dl_device: tuple | None = None,
               copy: bool | None = None) -> Any:
    """A DLPack capsule that shares this tensor's host memory.

    A tensor elsewhere is copied to the host when dl_device asks for (1, 0) and copy is not False. Raises BufferError where
    memory cannot be shared as asked for.
    """
    if dl_device is not None and tuple(dl_device) != (1, 0):
        raise BufferError(f"expected DLPack device (1, 0), host memory, got {tuple(dl_device)}")
    source = self
    if dl_device is not None and not self.device.is_host:
        if copy is False:
            raise BufferError(f"expected copy=None or True for a tensor on {self.device}, which host memory cannot share, got False")
        source = self.cpu()
    if copy and source is self:
        source = self.clone()
    return _core._to_dlpack(source, max_version is not None and max_version[0] >= 1)


def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    """(1, 0) for host memory, (12, index) for a plugin's device."""
    return (1, 0) if self.device.is_host else (12, self.device.index)


def __array_namespace__(self: Tensor, *, api_version: str | None = None) -> Any:
    """tengen.array_api, the namespace of the Python array API standard."""
    from . import array_api

    if api_version not in (None, "2021.12", "2022.12", "2023.12", array_api.__array_api_version__):
        raise ValueError(f"expected an array API version up to {array_api.__array_api_version__}, got {api_version!r}")
    return array_api


def __complex__(self: Tensor) -> complex:
    """The one element as a Python complex number."""
    return complex(self.item())


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """On another device; itself when already there."""
    return self.to(device=device)


def install() -> None:
    """Puts the functions above on Tensor."""
    own = vars(Tensor)
    for name, value in list(vars(_HERE).items()):
        public = callable(value) and getattr(value, "__module__", None) == __name__ and not isinstance(value, type)
        if not public or name in ("install",) or (name.startswith("_") and not name.startswith("__")):
            continue
        if name in own and not name.startswith("__"):
            continue
        setattr(Tensor, name, value)
