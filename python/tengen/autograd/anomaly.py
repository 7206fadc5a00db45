# SPDX-License-Identifier: Apache-2.0
"""Anomaly mode: where NaN and infinities come from."""
from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from .. import _core

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_on = False


def _where() -> str:
    """The line outside of the package that leads to the call at hand."""
    frame = sys._getframe(1)
    while frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(_HERE):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    import linecache

    file, line = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, line).strip()
    return f"{file}:{line} in {frame.f_code.co_name}" + (f": {text}" if text else "")


def _report(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def _set(on: bool) -> None:
    global _on
    _on = on
    _core._set_anomaly(*((_where, _report) if on else (None, None)))


class detect_anomaly:
    """While it is on, a backward pass that makes NaN or inf out of finite numbers raises, and says which forward line
    called the op; the first loss with NaN or inf is reported (RuntimeWarning), with the first op that made it; later ones are not, until
    the mode is switched on anew. Slow: every
    recorded result is looked at.

    >>> x = tg.tensor([0.0], requires_grad=True)
    >>> with tg.autograd.detect_anomaly():
    ...     try:
    ...         tg.sqrt(x).sum().backward()
    ...     except RuntimeError as error:
    ...         print("[sqrt]" in str(error))
    True
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._mode = check_nan

    def __enter__(self) -> detect_anomaly:
        self._outer = _on
        _set(self._mode)
        return self

    def __exit__(self, *exception: object) -> None:
        _set(self._outer)


class set_detect_anomaly:
    """Switches anomaly mode on or off, at once; in a `with` block until its end."""

    def __init__(self, mode: bool) -> None:
        self._outer = _on
        _set(bool(mode))

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        _set(self._outer)
