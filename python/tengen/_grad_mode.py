# SPDX-License-Identifier: Apache-2.0
"""no_grad, enable_grad, set_grad_enabled: context managers that are decorators as well."""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from . import _core

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode:
    """A grad mode for a `with` block, or for every call of a decorated function. May be nested and used again."""

    def __init__(self, mode: bool) -> None:
        self._mode = mode
        self._outer: list[bool] = []

    def __enter__(self) -> _GradMode:
        self._outer.append(_core._set_grad_enabled(self._mode))
        return self

    def __exit__(self, *exception: object) -> None:
        _core._set_grad_enabled(self._outer.pop())

    def __call__(self, function: F) -> F:
        mode = self._mode

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            outer = _core._set_grad_enabled(mode)
            try:
                return function(*args, **kwargs)
            finally:
                _core._set_grad_enabled(outer)

        return wrapper  # type: ignore[return-value]


class no_grad(_GradMode):
    """Ops inside are not recorded for gradients.

    >>> x = tg.ones(2, requires_grad=True)
    >>> with tg.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        if function is None:
            return self
        self.__init__()  # @tg.no_grad without parentheses
        return self(function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Ops inside are recorded, within no_grad too."""

    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        if function is None:
            return self
        self.__init__()
        return self(function)

    def __init__(self) -> None:
        super().__init__(True)


class inference_mode(_GradMode):
    """Ops inside are not recorded, as within no_grad(); inference_mode(False) records.

    PyTorch's tensors made inside stay unusable for autograd; here they are ordinary tensors.
    """

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if not callable(mode):
            return self
        self.__init__()  # @tg.inference_mode without parentheses
        return self(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)


class set_grad_enabled(_GradMode):
    """Switches recording on or off, at once; in a `with` block until its end, as a decorator for each call."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._before = _core._set_grad_enabled(self._mode)
        self._entered = False

    def __enter__(self) -> set_grad_enabled:
        # The mode was set by the constructor; leaving goes back to what was before it.
        self._outer.append(_core._set_grad_enabled(self._mode) if self._entered else self._before)
        self._entered = True
        return self

    def __call__(self, function: F) -> F:
        _core._set_grad_enabled(self._before)
        return super().__call__(function)


class GradFn:
    """What recorded a tensor; it has a name and prints as PyTorch's does."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        """Name of the recorded op, "AddBackward"."""
        return self._name

    def __repr__(self) -> str:
        return f"<{self._name}>"
