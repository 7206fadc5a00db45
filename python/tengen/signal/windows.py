# SPDX-License-Identifier: Apache-2.0
"""Windows by the names of torch.signal.windows and scipy.signal.windows: M numbers, symmetric, or with sym=False periodic
(the first M of M + 1). Computed in float64.

>>> import tengen as tg
>>> tg.signal.windows.hann(3).tolist()
[0.0, 1.0, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tengen as tg

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip


def _window(name: str, M: int, sym: bool, f: Callable[[Any, float], Any], dtype: Any, device: Any, requires_grad: bool) -> Any:
    """f(i, n) of i = 0, 1, ..., M - 1, where n is the last place of the symmetric window; 1 for M = 1."""
    dtype = tg.float32 if dtype is None else tg.dtype(dtype)
    if M < 0:
        raise ValueError(f"[{name}] expected M of 0 or more, got {M}")
    if not dtype.is_floating_point:
        raise TypeError(f"[{name}] expected a floating-point dtype, got {dtype}")
    i = tg.arange(M, dtype=tg.float64, device=device)
    y = f(i, float(M - 1 if sym else M)) if M > 1 else tg.ones_like(i)
    return y.to(dtype).requires_grad_(requires_grad)


def general_cosine(M: int, *, a: Sequence[float], sym: bool = True, dtype: Any = None, device: Any = None,
                   requires_grad: bool = False) -> Any:
    """The sum of (-1)^k a[k] cos(2 pi k i / n)."""
    a = list(a)
    if not a:
        raise ValueError("[general_cosine] expected at least one coefficient, got none")
    return _window("general_cosine", M, sym, lambda i, n: sum((-1) ** k * c * tg.cos(i * (2 * math.pi * k / n)) for k, c in enumerate(a)),
                   dtype, device, requires_grad)


def general_hamming(M: int, *, alpha: float = 0.54, **kwargs: Any) -> Any:
    """alpha - (1 - alpha) cos(2 pi i / n)."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], **kwargs)


def hamming(M: int, **kwargs: Any) -> Any:
    """0.54 - 0.46 cos(2 pi i / n)."""
    return general_hamming(M, alpha=0.54, **kwargs)


def hann(M: int, **kwargs: Any) -> Any:
    """sin^2(pi i / n)."""
    return general_hamming(M, alpha=0.5, **kwargs)


def blackman(M: int, **kwargs: Any) -> Any:
    """0.42 - 0.5 cos(2 pi i / n) + 0.08 cos(4 pi i / n)."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], **kwargs)


def nuttall(M: int, **kwargs: Any) -> Any:
    """The cosine sum of four terms with the least side lobes (Nuttall 1981)."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], **kwargs)


def bartlett(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """The triangle 1 - |2 i / n - 1|."""
    return _window("bartlett", M, sym, lambda i, n: 1 - tg.abs(i * (2 / n) - 1), dtype, device, requires_grad)


def cosine(M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """sin(pi (i + 1/2) / (n + 1))."""
    return _window("cosine", M, sym, lambda i, n: tg.sin((i + 0.5) * (math.pi / (n + 1))), dtype, device, requires_grad)


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None, device: Any = None,
                requires_grad: bool = False) -> Any:
    """exp(-|i - center| / tau), center n / 2 by default."""
    if tau <= 0 or (sym and center is not None):
        raise ValueError(f"[exponential] expected tau above 0, and a center with sym=False alone, got {tau} and {center}")
    return _window("exponential", M, sym, lambda i, n: tg.exp(tg.abs(i - (n / 2 if center is None else center)) / -tau), dtype, device,
                   requires_grad)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """exp(-(i - n / 2)^2 / (2 std^2))."""
    if std <= 0:
        raise ValueError(f"[gaussian] expected std above 0, got {std}")
    return _window("gaussian", M, sym, lambda i, n: tg.exp(((i - n / 2) / std) ** 2 * -0.5), dtype, device, requires_grad)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """I0(beta sqrt(1 - (2 i / n - 1)^2)) / I0(beta)."""
    if beta < 0:
        raise ValueError(f"[kaiser] expected beta of 0 or more, got {beta}")

    def f(i: Any, n: float) -> Any:
        return tg.i0(beta * tg.sqrt(tg.maximum(1 - (i * (2 / n) - 1) ** 2, 0.0))) / tg.i0(tg.tensor(beta, dtype=tg.float64, device=i.device))

    return _window("kaiser", M, sym, f, dtype, device, requires_grad)
