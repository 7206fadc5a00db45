# SPDX-License-Identifier: Apache-2.0
"""Forward mode by hand: tensors with tangents.

>>> from tengen.autograd import forward_ad as fwd
>>> with fwd.dual_level():
...     x = fwd.make_dual(tg.tensor(3.0), tg.tensor(1.0))
...     fwd.unpack_dual(x * x).tangent.item()
6.0
"""
from __future__ import annotations

from collections import namedtuple
from typing import Any

from .. import _core
from .._core import Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "make_dual", "unpack_dual"]

UnpackedDualTensor = namedtuple("UnpackedDualTensor", ("primal", "tangent"))
_levels: list[int] = []


class dual_level:
    """A block in which tensors may have tangents; they lose them at its end. Blocks nest."""

    def __enter__(self) -> dual_level:
        self._id = _core._open_level("dual", 0, "error", 0)
        _levels.append(self._id)
        return self

    def __exit__(self, *exception: Any) -> None:
        _levels.remove(self._id)
        _core._close_level(self._id)


def make_dual(tensor: Tensor, tangent: Tensor) -> Tensor:
    """`tensor` with a tangent of its shape and dtype, on the innermost dual_level()."""
    if not _levels:
        raise RuntimeError("[make_dual] expected a dual_level() around it")
    return _core._wrap_on(_levels[-1], tensor, tangent)


def unpack_dual(tensor: Tensor) -> Any:
    """(primal, tangent); the tangent is None where the tensor has none on the innermost level."""
    if not _levels:
        raise RuntimeError("[unpack_dual] expected a dual_level() around it")
    return UnpackedDualTensor(*(_core._unwrap_on(_levels[-1], tensor) or (tensor, None)))
