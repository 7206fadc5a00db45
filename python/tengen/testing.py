# SPDX-License-Identifier: Apache-2.0
"""Comparison of results in tests.

>>> from tengen.testing import assert_close
>>> assert_close(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.000001]))
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tengen as tg

__all__ = ["assert_close"]

# Of the result's dtype, the larger where both differ: PyTorch's defaults.
_BOUNDS = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}


def assert_close(actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None, equal_nan: bool = False,
                 check_device: bool = True, check_dtype: bool = True, msg: str | None = None) -> None:
    """Asserts |actual - expected| <= atol + rtol |expected| for every element, and equal shapes.

    Parameters
    ----------
    actual, expected : Tensor, array, number, or sequences and mappings of them
        An array or a number is compared with its like.
    rtol, atol : float, optional
        Both or none; by default 1.3e-6 and 1e-5 for float32, 1e-7 and 1e-7 for float64, 1e-3 and 1e-5 for float16, 1.6e-2 and 1e-5 for
        bfloat16, and 0 for other dtypes.
    equal_nan : bool
        NaN equals NaN.
    check_device, check_dtype : bool
        Whether both have to be on one device and of one dtype.
    msg : str, optional
        instead of the message made here

    Raises
    ------
    AssertionError
        They differ; the message says how many elements, by how much and where.
    ValueError
        One of rtol and atol alone.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"[assert_close] expected both rtol and atol or none, got {rtol} and {atol}")
    problem = _difference(actual, expected, "", rtol, atol, equal_nan, check_device, check_dtype)
    if problem:
        raise AssertionError(msg or problem)


def _difference(a: Any, b: Any, where: str, rtol: float | None, atol: float | None, nan: bool, device: bool, dtype: bool) -> str:
    """What is wrong, or nothing."""
    rest = (rtol, atol, nan, device, dtype)
    at = f" of {where}" if where else ""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            return f"The keys{at} differ: {sorted(map(str, a))} and {sorted(map(str, b))}"
        return next(filter(None, (_difference(a[k], b[k], f"{where}[{k!r}]", *rest) for k in a)), "")
    if _is_sequence(a) and _is_sequence(b):
        if len(a) != len(b):
            return f"The lengths{at} differ: {len(a)} and {len(b)}"
        return next(filter(None, (_difference(p, q, f"{where}[{i}]", *rest) for i, (p, q) in enumerate(zip(a, b)))), "")
    kinds = [_kind(v) for v in (a, b)]
    if None in kinds or kinds[0] != kinds[1]:
        return f"The kinds{at} differ: {type(a).__name__} and {type(b).__name__}"
    if kinds[0] == "tensor" and device and a.device != b.device:
        return f"The devices{at} differ: {a.device} and {b.device}; check_device=False allows it"
    x, y = (v if kinds[0] == "tensor" else np.asarray(v) for v in (a, b))
    if tuple(x.shape) != tuple(y.shape):
        return f"The shapes{at} differ: {tuple(x.shape)} and {tuple(y.shape)}"
    if kinds[0] != "number" and dtype and x.dtype != y.dtype:
        return f"The dtypes{at} differ: {x.dtype} and {y.dtype}; check_dtype=False allows it"
    bounds = [_BOUNDS.get("float64" if kinds[0] == "number" and v.dtype.kind == "f" else v.dtype.name, (0.0, 0.0)) for v in (x, y)]
    rtol, atol = (max(v) for v in zip(*bounds)) if rtol is None else (rtol, atol)
    return _values(*(_host(v) for v in (x, y)), at, rtol, atol, nan)


def _values(x: np.ndarray, y: np.ndarray, at: str, rtol: float, atol: float, nan: bool) -> str:
    with np.errstate(invalid="ignore", over="ignore"):
        if x.dtype.kind in "biu" and y.dtype.kind in "biu":  # exact: Python's integers have no bounds
            x, y = x.astype(object), y.astype(object)
        off = np.asarray(abs(x - y))
        close = np.asarray(x == y, bool) | np.asarray(off <= atol + rtol * abs(y), bool) & np.asarray(abs(y) != np.inf, bool)
    if nan:
        close |= np.asarray((x != x) & (y != y), bool)
    if close.all():
        return ""
    off, wrong = off.astype(float), ~close
    worst = np.unravel_index(np.argmax(np.where(wrong, np.where(np.isnan(off), np.inf, off), -1)), off.shape)
    place = tuple(int(i) for i in worst)
    return (f"The values{at} are not close: {int(wrong.sum())} of {wrong.size} differ by more than {atol:g} + {rtol:g} |expected|, most of all "
            f"at {place}: {x[worst]} and {y[worst]}")


def _host(x: Any) -> np.ndarray:
    if not isinstance(x, tg.Tensor):
        return x if x.dtype.kind in "biuc" else x.astype(np.float64)
    x = x.detach().cpu()
    return (x.to(tg.float64) if x.dtype.is_floating_point else x).numpy()


def _is_sequence(v: Any) -> bool:
    return isinstance(v, Sequence) and not isinstance(v, (str, bytes))


def _kind(v: Any) -> str | None:
    if isinstance(v, tg.Tensor):
        return "tensor"
    if isinstance(v, np.ndarray):
        return "array"
    return "number" if isinstance(v, (bool, int, float, np.number, np.bool_)) else None
