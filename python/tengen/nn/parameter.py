# SPDX-License-Identifier: Apache-2.0
"""Parameter: a tensor that a Module trains; Buffer: one that it keeps."""
from __future__ import annotations

from typing import Any

import tengen as tg

__all__ = ["Buffer", "Parameter"]


class Parameter(tg.Tensor):
    """A tensor that becomes a parameter of the module it is assigned to.

    Parameters
    ----------
    data : tensor or array
        Shares the tensor's memory; its place in the autograd graph is left behind.
    requires_grad : bool
        Ask for a gradient (only floating dtypes can have one).

    >>> nn.Parameter(tg.zeros(2)).requires_grad
    True
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        return super().__new__(cls, tg.empty((0,)) if data is None else data, requires_grad=requires_grad)

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        pass

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(tg.Tensor):
    """A tensor that becomes a buffer of the module it is assigned to: state, but no parameter.

    Parameters
    ----------
    data : tensor or array
        Shares the tensor's memory.
    persistent : bool
        Whether it is in the state_dict.

    >>> class Counter(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.steps = nn.Buffer(tg.tensor(0))
    >>> list(Counter().state_dict())
    ['steps']
    """

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Buffer:
        made = super().__new__(cls, tg.empty((0,)) if data is None else data)
        made.persistent = persistent
        return made

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        pass
