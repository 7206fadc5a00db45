# SPDX-License-Identifier: Apache-2.0
"""What the functions' arguments have in common."""
from __future__ import annotations

from typing import Any

__all__ = ["check_reduction", "sizes"]


def sizes(value: Any, n: int, op: str, what: str, least: int) -> tuple[int, ...]:
    """`value` as n integers: itself, or a number n times."""
    if isinstance(value, int) and not isinstance(value, bool):
        out = (value,) * n
    else:
        try:
            out = tuple(int(v) for v in value)
        except (TypeError, ValueError):
            raise TypeError(f"[{op}] expected {what} to be an integer or {n} of them, got {value!r}") from None
        if len(out) == 1 and n > 1:
            out *= n
    if len(out) != n or any(v < least for v in out):
        raise ValueError(
            f"[{op}] expected {what} to be an integer or {n} of them, each at least {least}, got {value!r}"
        )
    return out


def check_reduction(reduction: str, op: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"[{op}] expected reduction to be 'mean', 'sum' or 'none', got {reduction!r}")


def with_batch(fn: Any, x: Any, rank: int, op: str) -> Any:
    """Calls fn with x[N, C, s...], adding and removing the batch axis of an unbatched x[C, s...]."""
    if x.ndim == rank + 2:
        return fn(x)
    if x.ndim == rank + 1:
        return fn(x.unsqueeze(0)).squeeze(0)
    raise ValueError(f"[{op}] expected {rank + 2} dimensions (or {rank + 1}, unbatched), got shape {tuple(x.shape)}")


def with_batch_pair(fn: Any, x: Any, rank: int, op: str) -> tuple:
    """As with_batch, for functions with two results."""
    if x.ndim == rank + 2:
        return fn(x)
    if x.ndim == rank + 1:
        first, second = fn(x.unsqueeze(0))
        return first.squeeze(0), second.squeeze(0)
    return with_batch(fn, x, rank, op)  # raises
