# SPDX-License-Identifier: Apache-2.0
"""The standard's extension of Fourier transforms, over tengen.fft."""
from __future__ import annotations

from typing import Any

import tengen as tg
import tengen.fft as _f

__all__ = ["fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft", "rfftfreq",
           "rfftn"]


def _one(name: str) -> Any:
    op = getattr(_f, name)

    def function(x: tg.Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> tg.Tensor:
        return op(x, n, axis, norm)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    return function


def _several(name: str) -> Any:
    op = getattr(_f, name)

    def function(x: tg.Tensor, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> tg.Tensor:
        return op(x, s, axes, norm)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    return function


fft, ifft, rfft, irfft, hfft, ihfft = map(_one, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = map(_several, ("fftn", "ifftn", "rfftn", "irfftn"))


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """The frequencies of fft's results."""
    return _f.fftfreq(n, d, dtype=dtype, device=device)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> tg.Tensor:
    """The frequencies of rfft's results."""
    return _f.rfftfreq(n, d, dtype=dtype, device=device)


def fftshift(x: tg.Tensor, /, *, axes: Any = None) -> tg.Tensor:
    """The zero frequency in the middle."""
    return _f.fftshift(x, axes)


def ifftshift(x: tg.Tensor, /, *, axes: Any = None) -> tg.Tensor:
    """The inverse of fftshift."""
    return _f.ifftshift(x, axes)
