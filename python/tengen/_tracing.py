# SPDX-License-Identifier: Apache-2.0
"""Which trace this thread makes: what parts of the package ask that behave differently inside tg.jit."""
from __future__ import annotations

import threading
from typing import Any

_local = threading.local()


def tracing() -> Any:
    """The trace that this thread makes (of tengen._jit), or None."""
    return getattr(_local, "trace", None)


def set_tracing(trace: Any) -> None:
    _local.trace = trace
