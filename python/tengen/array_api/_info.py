# SPDX-License-Identifier: Apache-2.0
"""What the namespace can do, on which devices, with which dtypes."""
from __future__ import annotations

from typing import Any

import tengen as tg

from ._data_types import _NAMES


class _Info:
    """The inspection functions of the standard."""

    def capabilities(self) -> dict:
        """What of the standard is supported that a library may lack."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 16}

    def default_device(self) -> Any:
        """The device of arrays that are made without one."""
        return tg.default_device()

    def default_dtypes(self, *, device: Any = None) -> dict:
        """The dtypes of arrays that are made without one."""
        real = tg.get_default_dtype()
        return {"real floating": real, "complex floating": tg.result_type(real, 1j), "integral": tg.int64, "indexing": tg.int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict:
        """The dtypes of a kind, by name."""
        names = {name: getattr(tg, name) for name in _NAMES if hasattr(tg, name)}
        return names if kind is None else {name: t for name, t in names.items() if tg.isdtype(t, kind)}

    def devices(self) -> list:
        """The devices that can be used."""
        return [tg.Device(d.name) for d in tg.devices() if d.usable]


def __array_namespace_info__() -> _Info:
    """What the namespace can do."""
    return _Info()
