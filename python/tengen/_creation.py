# SPDX-License-Identifier: Apache-2.0
"""Functions that make tensors: zeros, arange, rand and the like, with PyTorch's arguments."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import _core
from ._core import Tensor
from .random import Generator

__all__ = [
    "arange", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "ones", "ones_like", "rand",
    "rand_like", "randint", "randn", "randn_like", "randperm", "zeros", "zeros_like",
]

_ops = _core.ops


def _shape(name: str, size: tuple, keyword: Any) -> tuple:
    """zeros(2, 3), zeros((2, 3)), zeros(shape=(2, 3))"""
    if keyword is not None:
        if size:
            raise TypeError(f"{name}() got its shape twice")
        return keyword
    if len(size) == 1 and not isinstance(size[0], int):
        return size[0]
    return size


def _ready(t: Tensor, requires_grad: bool) -> Tensor:
    return t.requires_grad_() if requires_grad else t


def zeros(*size: Any, shape: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    Parameters
    ----------
    *size : int or sequence of int
        the shape
    dtype : dtype, default float32
    device : device, default the default device
    requires_grad : bool
        whether gradients are computed for it

    Examples
    --------
    >>> tg.zeros(2, 3).shape
    (2, 3)
    """
    return _ready(_core._full(_shape("zeros", size, shape), 0, dtype or _core.get_default_dtype(), device), requires_grad)


def ones(*size: Any, shape: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones; arguments as zeros()."""
    return _ready(_core._full(_shape("ones", size, shape), 1, dtype or _core.get_default_dtype(), device), requires_grad)


def empty(*size: Any, shape: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """An uninitialised tensor; arguments as zeros()."""
    return _ready(_core._empty(_shape("empty", size, shape), dtype, device), requires_grad)


def full(shape: Any, fill_value: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, *,
         value: Any = None, size: Any = None) -> Tensor:
    """A tensor filled with one number. Without dtype: float32, int64 or bool, as the number is.

    Examples
    --------
    >>> tg.full((2,), 7).tolist()
    [7, 7]
    """
    return _ready(_core._full(shape if size is None else size, value if fill_value is None else fill_value, dtype, device),
                  requires_grad)


def _like(name: str, x: Any, dtype: Any, device: Any) -> tuple[Any, Any, Any]:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): expected a Tensor for x, got {type(x).__name__}")
    return x.shape, dtype or x.dtype, device or x.device


def zeros_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros with the shape of a tensor, and its dtype and device unless given."""
    if device is None and isinstance(x, Tensor) and _core._layer(x) is not None:  # within vmap: one for every index
        return _core.ops["zeros_like"](x, dtype or x.dtype)
    shape, dtype, device = _like("zeros_like", x, dtype, device)
    return _ready(_core._full(shape, 0, dtype, device), requires_grad)


def ones_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones with the shape of a tensor, and its dtype and device unless given."""
    if device is None and isinstance(x, Tensor) and _core._layer(x) is not None:  # within vmap: one for every index
        return _core.ops["ones_like"](x, dtype or x.dtype)
    shape, dtype, device = _like("ones_like", x, dtype, device)
    return _ready(_core._full(shape, 1, dtype, device), requires_grad)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One number with the shape of a tensor, and its dtype and device unless given."""
    if device is None and isinstance(x, Tensor) and _core._layer(x) is not None:  # within vmap: one for every index
        return _core.ops["full_like"](x, fill_value, dtype or x.dtype)
    shape, dtype, device = _like("full_like", x, dtype, device)
    return _ready(_core._full(shape, fill_value, dtype, device), requires_grad)


def empty_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uninitialised, with the shape of a tensor, and its dtype and device unless given."""
    if device is None and isinstance(x, Tensor) and _core._layer(x) is not None:
        return full_like(x, 0, dtype)
    return _ready(_core._empty(*_like("empty_like", x, dtype, device)), requires_grad)


def arange(start: Any, stop: Any = None, step: Any = 1, *, end: Any = None, dtype: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below stop; arange(stop) begins at 0. int64 for integers, else float32.

    Examples
    --------
    >>> tg.arange(2, 8, 2).tolist()
    [2, 4, 6]
    """
    stop = end if stop is None else stop
    if stop is None:
        start, stop = 0, start
    start, stop, step = (v.item() if isinstance(v, Tensor) else v for v in (start, stop, step))
    if dtype is None:
        dtype = _core.get_default_dtype() if any(isinstance(v, float) for v in (start, stop, step)) else _core.int64
    return _ready(_ops["arange"](start, stop, step, dtype=dtype, device=device), requires_grad)


def linspace(start: complex, stop: complex | None = None, num: int | None = None, *, end: complex | None = None,
             steps: int | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`num` numbers from start to stop, both included.

    Examples
    --------
    >>> tg.linspace(0, 1, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    stop = end if stop is None else stop
    num = steps if num is None else num
    if stop is None or num is None:
        raise TypeError("linspace() expected start, stop and num")
    ends = [e.item() if isinstance(e, Tensor) else e for e in (start, stop)]
    if dtype in (_core.complex64, _core.complex128) or any(isinstance(e, complex) for e in ends):
        dtype = (_core.complex128 if _core.get_default_dtype() is _core.float64 else _core.complex64) if dtype is None else dtype
        if dtype not in (_core.complex64, _core.complex128):
            raise TypeError(f"[linspace] expected real ends for {dtype}, got {start} and {stop}; leave dtype out, or take their real parts")
        real = _core.float64 if dtype == _core.complex128 else _core.float32
        (a, c), (b, d) = ((complex(e).real, complex(e).imag) for e in ends)
        parts = [_ops["linspace"](*pair, num, dtype=real, device=device) for pair in ((a, b), (c, d))]
        return _ready(_ops["complex"](*parts).to(dtype), requires_grad)
    return _ready(_ops["linspace"](start, stop, num, dtype=dtype or _core.get_default_dtype(), device=device), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal, zeros elsewhere; n rows, m (or n) columns."""
    return _ready(_ops["eye"](n, n if m is None else m, dtype=dtype or _core.get_default_dtype(), device=device), requires_grad)


def _drawn(generator: Generator | None, name: str, *args: Any, **attrs: Any) -> Tensor:
    """A random op, of a generator of its own where one is given."""
    if generator is None:
        return _ops[name](*args, **attrs)
    with generator:
        return _ops[name](*args, **attrs)


def rand(*size: Any, shape: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False,
         generator: Generator | None = None) -> Tensor:
    """Numbers uniform in [0, 1); arguments as zeros(), and a generator other than the global one.

    Examples
    --------
    >>> x = tg.rand(100)
    >>> bool(((x >= 0) & (x < 1)).all())
    True
    """
    return _ready(_drawn(generator, "uniform", _shape("rand", size, shape), dtype=dtype or _core.get_default_dtype(), device=device), requires_grad)


def randn(*size: Any, shape: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False,
          generator: Generator | None = None) -> Tensor:
    """Numbers of the standard normal distribution; arguments as rand()."""
    return _ready(_drawn(generator, "normal", _shape("randn", size, shape), dtype=dtype or _core.get_default_dtype(), device=device), requires_grad)


def rand_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """rand() with the shape, dtype and device of a tensor."""
    return rand(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


def randn_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """randn() with the shape, dtype and device of a tensor."""
    return randn(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


def randint(low: int, high: Any = None, size: Any = None, *, shape: Any = None, dtype: Any = None, device: Any = None,
            generator: Generator | None = None) -> Tensor:
    """Integers uniform in [low, high); randint(high, size) begins at 0. int64 by default.

    Examples
    --------
    >>> tg.randint(0, 10, (3,)).shape
    (3,)
    """
    size = shape if size is None else size
    if size is None:
        low, high, size = 0, low, high
    if high is None:
        low, high = 0, low
    if size is None:
        raise TypeError("randint() expected a size: randint(low, high, size)")
    return _drawn(generator, "randint", low, high, size, dtype=dtype or _core.int64, device=device)


def randperm(n: int, *, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
    """The integers below n in random order. int64 by default."""
    return _drawn(generator, "randperm", n, dtype=dtype or _core.int64, device=device)


def from_dlpack(x: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares memory with an array of another library (its __dlpack__), in host memory.

    Parameters
    ----------
    x : object with __dlpack__, or a capsule
    device : device, optional
        where the tensor is wanted; elsewhere than in host memory it is a copy
    copy : bool, optional
        True: always a copy; False: never

    Raises
    ------
    BufferError
        for memory that cannot be shared: on a device, read-only, negative strides, other element types
    ValueError
        for copy=False where the device needs a copy
    """
    if not hasattr(x, "__dlpack__"):
        t = _core._from_dlpack(x)  # a capsule
    else:
        own = isinstance(x, Tensor) and not x.device.is_host
        try:
            capsule = x.__dlpack__(max_version=(1, 0), **({"dl_device": (1, 0)} if own else {}))
        except TypeError:  # a library from before DLPack 1.0
            capsule = x.__dlpack__()
        t = _core._from_dlpack(capsule)
    there = t if device is None else t.to(device=device)
    if copy is False and there is not t:
        raise ValueError(f"[from_dlpack] expected a device that shares host memory, got {device} and copy=False")
    return there.clone() if copy and there is t else there


def _array_of_nested(data: Sequence) -> Any:
    """A NumPy array of nested lists that hold tensors or arrays."""
    import numpy as np

    def plain(x: Any) -> Any:
        if isinstance(x, Tensor):
            return x.detach().cpu().numpy()
        return [plain(v) for v in x] if isinstance(x, (list, tuple)) else x

    array = np.array(plain(data))
    # Python floats beside arrays of float32 must not raise the whole to float64.
    kinds = {np.asarray(a).dtype for a in _leaves(data) if not isinstance(a, (bool, int, float))}
    if array.dtype.kind == "f" and kinds and all(k.kind in "fiub" for k in kinds):
        floats = [k for k in kinds if k.kind == "f"]
        array = array.astype(np.result_type(*floats) if floats else _core.get_default_dtype().numpy, copy=False)
    return array


def _leaves(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        for v in x:
            yield from _leaves(v)
    else:
        yield x.detach().cpu().numpy() if isinstance(x, Tensor) else x


class finfo:
    """Limits of a floating-point dtype (of a complex one: its parts'): eps, max, min, tiny, bits, and the dtype.

    >>> tg.finfo(tg.float32).bits
    32
    """

    def __init__(self, dtype: Any = None) -> None:
        self.dtype = _core.dtype(dtype or _core.get_default_dtype())
        if self.dtype.is_complex:
            self.dtype = _core.float64 if self.dtype is _core.complex128 else _core.float32
        if not self.dtype.is_floating_point:
            raise TypeError(f"finfo() expected a floating-point dtype, got {self.dtype}; use iinfo()")
        fraction, exponent = {"float64": (52, 1024), "float32": (23, 128), "float16": (10, 16), "bfloat16": (7, 128)}[self.dtype.name]
        self.bits = 8 * self.dtype.itemsize
        self.eps = 2.0 ** -fraction
        self.max = math.ldexp(2.0 - 2.0 ** -fraction, exponent - 1)
        self.min = -self.max
        self.tiny = self.smallest_normal = math.ldexp(1.0, 2 - exponent)

    def __repr__(self) -> str:
        return f"finfo({self.dtype}, eps={self.eps:g}, max={self.max:g}, min={self.min:g}, tiny={self.tiny:g})"


class iinfo:
    """Limits of an integer dtype: max, min, bits.

    >>> tg.iinfo(tg.int8).max
    127
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = _core.dtype(dtype)
        if self.dtype.is_floating_point or self.dtype is _core.bool:
            raise TypeError(f"iinfo() expected an integer dtype, got {self.dtype}")
        self.bits = 4 if self.dtype.name in ("int4", "uint4") else 8 * self.dtype.itemsize
        self.max = 2 ** (self.bits - self.dtype.is_signed) - 1
        self.min = -self.max - 1 if self.dtype.is_signed else 0

    def __repr__(self) -> str:
        return f"iinfo({self.dtype}, min={self.min}, max={self.max})"
