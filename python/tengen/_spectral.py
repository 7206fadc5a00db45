# SPDX-License-Identifier: Apache-2.0
"""Short-time Fourier transforms and back: views, windows and the transforms of tengen.fft, so gradients and vmap follow.

>>> x = tg.arange(8.0)
>>> y = tg.stft(x, 4, window=tg.signal.windows.hann(4, sym=False))
>>> y.shape, bool((tg.istft(y, 4, window=tg.signal.windows.hann(4, sym=False)) - x).abs().max() < 1e-5)
((3, 9), True)
"""
from __future__ import annotations

from typing import Any

from . import _core
from ._core import Tensor

__all__ = ["istft", "stft"]
_f = _core.ops


def _framing(name: str, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None, like: Tensor) -> tuple[int, Tensor]:
    """The hop, and the window filled up with zeros on both sides."""
    if n_fft < 1:
        raise ValueError(f"[{name}] expected an n_fft of at least 1, got {n_fft}")
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if hop < 1:
        raise ValueError(f"[{name}] expected a hop_length of at least 1, got {hop}")
    if not 1 <= length <= n_fft:
        raise ValueError(f"[{name}] expected a win_length from 1 to n_fft = {n_fft}, got {length}")
    dtype = _real(like.dtype)
    if window is None:
        window = _core._full((length,), 1, dtype, like.device)
    if window.shape != (length,):
        raise ValueError(f"[{name}] expected a window of shape ({length},), got {window.shape}; give win_length")
    left = (n_fft - length) // 2
    return hop, _padded(window if window.dtype.is_complex else window.to(dtype), left, n_fft - length - left)


def _padded(x: Tensor, before: int, after: int, mode: str = "constant", axis: int = -1) -> Tensor:
    begins, ends = [0] * x.ndim, [0] * x.ndim
    begins[axis], ends[axis] = before, after
    return _f["pad"](x, (*begins, *ends), mode=mode)


def _real(dtype: Any) -> Any:
    if dtype.is_complex:
        return _core.float64 if dtype is _core.complex128 else _core.float32
    return dtype if dtype is _core.float64 else _core.float32


def stft(x: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None,
         center: bool = True, pad_mode: str = "reflect", normalized: bool = False, onesided: bool | None = None,
         return_complex: bool = True) -> Tensor:
    """The Fourier transforms of windows along a signal.

    Parameters
    ----------
    x : Tensor
        [..., time], real or complex
    n_fft : int
        the size of the transforms
    hop_length : int
        from a window to the next; n_fft // 4 by default
    win_length : int
        of the window, which is filled up to n_fft with zeros on both sides; n_fft by default
    window : Tensor
        [win_length]; ones by default
    center : bool
        windows are about their time: the signal is padded by n_fft // 2 on both sides
    pad_mode : {"reflect", "constant", "replicate", "circular"}
        how
    normalized : bool
        times 1 / sqrt(n_fft)
    onesided : bool
        only the first n_fft // 2 + 1 frequencies; by default for real signals with a real window
    return_complex : bool
        False: a last axis of real and imaginary parts instead

    Returns
    -------
    Tensor
        [..., frequencies, windows], complex

    Raises
    ------
    ValueError
        for sizes that do not fit, onesided=True of complex numbers
    TypeError
        unless floating or complex

    Examples
    --------
    >>> tg.stft(tg.ones(4), 2, 1, center=False).real.tolist()
    [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]]
    """
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        raise TypeError(f"[stft] expected floats or complex numbers, got {x.dtype}; cast them")
    if x.ndim == 0:
        raise ValueError("[stft] expected a signal along the last axis, got shape ()")
    hop, window = _framing("stft", n_fft, hop_length, win_length, window, x)
    is_real = not (x.dtype.is_complex or window.dtype.is_complex)
    onesided = is_real if onesided is None else onesided
    if onesided and not is_real:
        raise ValueError("[stft] expected real numbers with onesided=True, got complex ones; use onesided=False")
    if center:
        half = n_fft // 2
        if pad_mode == "reflect" and half >= x.shape[-1]:
            raise ValueError(f"[stft] expected a signal longer than n_fft // 2 = {half} to reflect, got {x.shape[-1]}; use another pad_mode")
        x = _padded(x, half, half, pad_mode)
    if x.shape[-1] < n_fft:
        raise ValueError(f"[stft] expected a signal of at least n_fft = {n_fft}, got {x.shape[-1]}")
    frames = _f["sliding_window"](x, -1, n_fft, hop) * window
    y = _f["fft_rfft" if onesided else "fft_fft"](frames, n_fft, -1, "ortho" if normalized else None)
    y = _f["transpose"](y, -1, -2)
    return y if return_complex else _f["view_as_real"](y.contiguous())


def istft(x: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None,
          center: bool = True, normalized: bool = False, onesided: bool | None = None, length: int | None = None,
          return_complex: bool = False) -> Tensor:
    """The signal whose stft is nearest to x: windows are added up where they overlap and divided by the sum of their squares.

    Parameters
    ----------
    x : Tensor
        [..., frequencies, windows], complex
    n_fft, hop_length, win_length, window, center, normalized, onesided
        as given to stft
    length : int
        of the signal, which is cut or filled up with zeros; by default as far as the windows reach (without the padding)
    return_complex : bool
        for signals that are complex; with onesided=False

    Returns
    -------
    Tensor
        [..., time]

    Raises
    ------
    ValueError
        for sizes that do not fit, and where windows leave gaps

    Examples
    --------
    >>> tg.istft(tg.stft(tg.ones(8), 4), 4).shape
    (8,)
    """
    if not x.dtype.is_complex or x.ndim < 2:
        raise ValueError(f"[istft] expected complex numbers [..., frequencies, windows], got {x.dtype} of shape {x.shape}")
    hop, window = _framing("istft", n_fft, hop_length, win_length, window, x)
    onesided = not return_complex and x.shape[-2] != n_fft if onesided is None else onesided
    if onesided and return_complex:
        raise ValueError("[istft] expected onesided=False with return_complex=True")
    need = n_fft // 2 + 1 if onesided else n_fft
    if x.shape[-2] != need or x.shape[-1] < 1:
        raise ValueError(f"[istft] expected {need} frequencies and at least one window, got shape {x.shape}")
    z = _f["transpose"](x, -1, -2)
    frames = _f["fft_irfft" if onesided else "fft_ifft"](z, n_fft, -1, "ortho" if normalized else None)
    if not onesided and not return_complex:
        frames = _f["real"](frames)
    total = _overlapped(frames * window, hop)
    weight = _overlapped((_f["abs"](window) ** 2).expand((x.shape[-1], n_fft)), hop)
    start = n_fft // 2 if center else 0
    win = n_fft if win_length is None else win_length
    reach = total.shape[-1] - (n_fft - win - (n_fft - win) // 2)  # zeros behind the last window are none of the signal
    end = total.shape[-1] - start if length is None else min(start + length, reach)
    total, weight = _f["slice"](total, -1, start, end), _f["slice"](weight, -1, start, end)
    if not bool((weight > 1e-11).all()):
        raise ValueError("[istft] expected windows that overlap without gaps, got a sum of squares of 0; use a smaller hop_length, or "
                         "center=True with a window that is 0 at its ends")
    y = total / weight
    return y if length is None or y.shape[-1] == length else _padded(y, 0, length - y.shape[-1])


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """[..., windows, size] added up where they lie, hop apart: pieces of hop elements, all first ones, all second ones, ..."""
    *lead, n, size = frames.shape
    pieces = -(-size // hop)
    frames = _padded(frames, 0, pieces * hop - size).reshape(*lead, n, pieces, hop)
    total = None
    for k in range(pieces):
        part = _padded(_f["select"](frames, -2, k), k, pieces - 1 - k, axis=-2)
        total = part if total is None else total + part
    return _f["slice"](total.reshape(*lead, (n + pieces - 1) * hop), -1, 0, (n - 1) * hop + size)
