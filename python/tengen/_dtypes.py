# SPDX-License-Identifier: Apache-2.0
"""What dtypes mean to each other, by the rules of the Python array API standard: promotion, casts, kinds, limits."""
from __future__ import annotations

import functools
from typing import Any

from . import _core
from ._core import Tensor

_KINDS = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric")


def _kind(t: Any) -> str:
    if t is _core.bool:
        return "bool"
    if t.name.startswith("complex"):
        return "complex floating"
    if t.is_floating_point:
        return "real floating"
    return "signed integer" if t.is_signed else "unsigned integer"


@functools.cache
def _promote(a: Any, b: Any) -> Any:
    return (_core._empty((0,), a, "cpu") + _core._empty((0,), b, "cpu")).dtype


def promote_types(a: Any, b: Any) -> Any:
    """The dtype of a result of operands of two dtypes.

    Examples
    --------
    >>> tg.promote_types(tg.uint8, tg.int8)
    tengen.int16
    """
    return _promote(_core.dtype(a), _core.dtype(b))


def _weak(t: Any, scalar: Any) -> Any:
    """The dtype of a result of an operand of dtype t (None: no tensor at all) and a Python number."""
    order = ("bool", "integer", "floating", "complex")
    rank = order.index("bool" if isinstance(scalar, bool) else "integer" if isinstance(scalar, int)
                       else "floating" if isinstance(scalar, float) else "complex")
    real = _core.get_default_dtype()
    default = (_core.bool, _core.int64, real, _core.complex128 if real is _core.float64 else _core.complex64)[rank]
    if t is None:
        return default
    own = {"bool": 0, "signed integer": 1, "unsigned integer": 1, "real floating": 2, "complex floating": 3}[_kind(t)]
    if rank <= own:
        return t
    return _promote(t, default) if rank == 3 and own == 2 else default


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that operands would be promoted to: tensors and dtypes by the table, Python numbers weakly.

    Parameters
    ----------
    *arrays_and_dtypes : Tensor, dtype, bool, int, float or complex
        at least one

    Raises
    ------
    ValueError
        without arguments
    TypeError
        for something else

    Examples
    --------
    >>> tg.result_type(tg.int8, tg.uint8), tg.result_type(tg.int8, 2), tg.result_type(tg.int8, 2.0)
    (tengen.int16, tengen.int8, tengen.float32)
    """
    if not arrays_and_dtypes:
        raise ValueError("[result_type] expected at least one tensor, dtype or number, got none")
    strong, numbers = None, []
    for x in arrays_and_dtypes:
        if isinstance(x, (bool, int, float, complex)) and not hasattr(x, "dtype"):
            numbers.append(x)
            continue
        t = x.dtype if isinstance(x, Tensor) else _core.dtype(getattr(x, "dtype", x))
        strong = t if strong is None else _promote(strong, t)
    for x in numbers:
        strong = _weak(strong, x)
    return strong


def can_cast(from_: Any, to: Any) -> bool:
    """Whether promotion takes a dtype (or a tensor's) to another.

    Examples
    --------
    >>> tg.can_cast(tg.int8, tg.int16), tg.can_cast(tg.int16, tg.int8)
    (True, False)
    """
    source = from_.dtype if isinstance(from_, Tensor) else _core.dtype(from_)
    return _promote(source, _core.dtype(to)) is _core.dtype(to)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: another dtype, one of 'bool', 'signed integer', 'unsigned integer', 'integral',
    'real floating', 'complex floating', 'numeric', or a tuple of these.

    Examples
    --------
    >>> tg.isdtype(tg.float32, ("integral", "real floating"))
    True
    """
    dtype = _core.dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(f"[isdtype] expected a kind of {', '.join(map(repr, _KINDS))}, got {kind!r}")
        own = _kind(dtype)
        return own == kind or (kind == "numeric" and own != "bool") or (kind == "integral" and own.endswith("integer"))
    return dtype is _core.dtype(kind)


def astype(x: Tensor, dtype: Any, *, copy: bool = True, device: Any = None) -> Tensor:
    """x as another dtype; itself when nothing changes and copy is False."""
    return x.to(dtype=dtype, device=device, copy=copy)
