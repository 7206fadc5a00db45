# SPDX-License-Identifier: Apache-2.0
"""set_memory_limit and get_memory_limit."""
from __future__ import annotations

from typing import Any

from . import _core


class _Limit:
    """What set_memory_limit returns: at the end of a `with` block the limit is again what it was before the call."""

    def __init__(self, device: Any, before: int) -> None:
        self._device, self._before = device, before

    def __enter__(self) -> _Limit:
        return self

    def __exit__(self, *exception: object) -> None:
        _core._set_memory_limit(self._device, self._before)


def set_memory_limit(bytes: int | None, device: Any = None) -> Any:
    """Bounds the memory of a device: a training step that would take more runs, and takes longer.

    When an allocation would exceed the limit, results of ops (mostly activations kept for the backward pass) are evicted, and
    computed again when something uses them; the results are bit for bit the same. Parameters, data, tensors changed in place
    and tensors whose memory NumPy or DLPack see are never evicted.

    Parameters
    ----------
    bytes : int or None
        What live tensors and the allocator's cache may hold; None takes the limit away.
    device : str or tg.device, optional
        The default device when not given.

    Returns
    -------
    context manager
        The limit holds from the call on. As a `with` statement's, it holds within the block.

    Raises
    ------
    ValueError
        For a limit that is not positive.
    MemoryError
        From a later call that does not fit, when everything that could be has been evicted; the process goes on.

    Examples
    --------
    >>> with tg.set_memory_limit(1 << 30, "cpu"):
    ...     tg.get_memory_limit("cpu")
    1073741824
    >>> tg.get_memory_limit("cpu") is None
    True
    """
    if bytes is not None and bytes <= 0:
        raise ValueError(f"[set_memory_limit] expected a positive number of bytes or None, got {bytes}")
    before = _core._memory_limit(device)
    _core._set_memory_limit(device, bytes or 0)
    return _Limit(device, before)


def get_memory_limit(device: Any = None) -> int | None:
    """The limit of a device in bytes (the default device when not given), or None.

    >>> tg.get_memory_limit("cpu")
    """
    return _core._memory_limit(device) or None
