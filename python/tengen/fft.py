# SPDX-License-Identifier: Apache-2.0
"""Discrete Fourier transforms under the names of numpy.fft, torch.fft and the array API.

Transforms are ops of the table (their gradients, too); here are their short names, frequencies and shifts. ``n`` and ``s`` are sizes
(cut, or filled up with zeros), ``axis`` and ``axes`` (also ``dim``) say where, ``norm`` is "backward", "ortho" or "forward".

>>> import tengen as tg
>>> tg.fft.rfft(tg.tensor([1.0, 2.0, 1.0, 0.0])).tolist()
[(4+0j), -2j, 0j]
"""

from __future__ import annotations

from typing import Any

from . import _core, arange, concat, roll
from ._core import Tensor

_f = _core.ops
fft, fft2, fftn = _f["fft_fft"], _f["fft_fft2"], _f["fft_fftn"]
ifft, ifft2, ifftn = _f["fft_ifft"], _f["fft_ifft2"], _f["fft_ifftn"]
rfft, rfft2, rfftn = _f["fft_rfft"], _f["fft_rfft2"], _f["fft_rfftn"]
irfft, irfft2, irfftn = _f["fft_irfft"], _f["fft_irfft2"], _f["fft_irfftn"]
hfft, hfft2, hfftn = _f["fft_hfft"], _f["fft_hfft2"], _f["fft_hfftn"]
ihfft, ihfft2, ihfftn = _f["fft_ihfft"], _f["fft_ihfft2"], _f["fft_ihfftn"]

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "ihfft2",
    "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip


def _frequencies(name: str, parts: list[tuple[int, int]], n: int, d: float, dtype: Any, device: Any) -> Tensor:
    if n < 1:
        raise ValueError(f"[{name}] expected a size of 1 or more, got {n}")
    dtype = _core.get_default_dtype() if dtype is None else _core.dtype(dtype)
    if not dtype.is_floating_point:
        raise TypeError(f"[{name}] expected a floating dtype, got {dtype.name}")
    k = [arange(start, stop, dtype=dtype, device=device) for start, stop in parts]
    return concat(k) / (n * d)


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of fft's results, in cycles per unit of the spacing d: [0, 1, ..., -2, -1] / (n d).

    Parameters
    ----------
    n : int
        size of the transform
    d : float
        distance of the signal's samples
    dtype : dtype, optional
        a float; float32 by default
    device : device, optional
        where

    Raises
    ------
    ValueError
        for n below 1
    TypeError
        for other dtypes

    Examples
    --------
    >>> tg.fft.fftfreq(4, d=0.25).tolist()
    [0.0, 1.0, -2.0, -1.0]
    """
    return _frequencies("fftfreq", [(0, (n + 1) // 2), (-(n // 2), 0)], n, d, dtype, device)


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of rfft's results: [0, 1, ..., n // 2] / (n d). Arguments and errors as fftfreq.

    Examples
    --------
    >>> tg.fft.rfftfreq(4, d=0.25).tolist()
    [0.0, 1.0, 2.0]
    """
    return _frequencies("rfftfreq", [(0, n // 2 + 1)], n, d, dtype, device)


def _shifted(name: str, x: Tensor, axes: Any, sign: int) -> Tensor:
    if axes is None:
        axes = tuple(range(x.ndim))
    elif isinstance(axes, int):
        axes = (axes,)
    for axis in axes:
        if not -x.ndim <= axis < x.ndim:
            raise IndexError(f"[{name}] expected an axis in [-{x.ndim}, {x.ndim}), got {axis}")
    half = [x.shape[axis] // 2 if sign > 0 else -(x.shape[axis] // 2) for axis in axes]
    return roll(x, half, tuple(axes)) if axes else x.clone()


def fftshift(x: Tensor, axes: Any = None, *, dim: Any = None) -> Tensor:
    """The zero frequency in the middle: each axis rolled by half its size.

    Parameters
    ----------
    x : Tensor
        any tensor
    axes, dim : int or tuple of ints, optional
        which axes; all by default

    Raises
    ------
    IndexError
        for axes that are not there

    Examples
    --------
    >>> tg.fft.fftshift(tg.tensor([0, 1, 2, -2, -1])).tolist()
    [-2, -1, 0, 1, 2]
    """
    return _shifted("fftshift", x, axes if dim is None else dim, 1)


def ifftshift(x: Tensor, axes: Any = None, *, dim: Any = None) -> Tensor:
    """The inverse of fftshift (they differ for odd sizes). Arguments and errors as fftshift.

    Examples
    --------
    >>> tg.fft.ifftshift(tg.tensor([-2, -1, 0, 1, 2])).tolist()
    [0, 1, 2, -2, -1]
    """
    return _shifted("ifftshift", x, axes if dim is None else dim, -1)
