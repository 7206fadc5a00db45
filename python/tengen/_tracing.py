# SPDX-License-Identifier: Apache-2.0
"""Which trace this thread makes: what parts of the package ask that behave differently inside tg.jit."""
from __future__ import annotations

import threading
from typing import Any

_local = threading.local()
module_changes = [0]  # grows whenever an attribute of any module is set, so that graphs look whether they still fit


def tracing() -> Any:
    """The trace that this thread makes (of tengen._jit), or None."""
    return getattr(_local, "trace", None)


class Outdated(RuntimeError):
    """What Python computes for a graph is of another kind than when it was traced: it is traced again."""


def outside(what: str) -> None:
    """RuntimeError while a function is traced: for what Python does once per step and a graph would not see."""
    if tracing() is not None:
        raise RuntimeError(f"[{what}] expected a call outside of tg.jit: it changes numbers of Python's, which a graph would do once, when it "
                           "is traced; call it after the jitted function")


def set_tracing(trace: Any) -> None:
    _local.trace = trace
