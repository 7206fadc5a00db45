# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: products of matrices in a 16-bit dtype, everything that needs the range or digits in float32.

>>> scaler = tg.amp.GradScaler()
>>> for x, y in loader:
...     optimizer.zero_grad()
...     with tg.amp.autocast(dtype=tg.float16):
...         loss = loss_fn(model(x), y)
...     scaler.scale(loss).backward()
...     scaler.step(optimizer)
...     scaler.update()

What becomes of an op is said in its row of the op table: `tengen ops matmul`. bfloat16 has float32's range and needs no
GradScaler.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import tengen as tg
from tengen import _core

__all__ = ["GradScaler", "autocast", "is_autocast_enabled"]


def is_autocast_enabled() -> bool:
    """Whether this thread is inside an autocast region."""
    return _core._get_autocast()[0]


class autocast:
    """Inside a `with` block, or in every call of a decorated function, ops cast their floating operands.

    Parameters
    ----------
    device_type : str, optional
        Only tensors on devices of this kind ("cpu", "cuda") are cast; on all by default.
    dtype : dtype, optional
        float16 or bfloat16 (the default).
    enabled : bool
        False switches an outer region off for a while.
    cache_enabled : bool, optional
        Remember casts of parameters until the outermost region ends (or gradients are computed).

    Three rules: products of matrices take `dtype`; sums, exponentials, norms and losses take float32; operands that must
    be of one dtype take the widest among them. Everything else computes in what it gets; float64 stays as it is. Gradients
    have their parameters' dtypes: casts are differentiable. In-place ops and `out=` take no part.

    Raises
    ------
    ValueError
        dtype is neither float16 nor bfloat16.

    Examples
    --------
    >>> x = tg.ones(2, 2)
    >>> with tg.amp.autocast():
    ...     (x @ x).dtype, x.exp().dtype
    (tengen.bfloat16, tengen.float32)
    """

    def __init__(self, device_type: str | None = None, dtype: Any = None, enabled: bool = True,
                 cache_enabled: bool | None = None) -> None:
        if device_type is not None and not isinstance(device_type, str):
            raise TypeError(f"[autocast] expected device_type to be the kind of a device, such as 'cpu', got "
                            f"{type(device_type).__name__}; the dtype is dtype=...")
        self.device_type = device_type or ""
        self.dtype = tg.bfloat16 if dtype is None else dtype
        self.enabled = bool(enabled)
        self.cache_enabled = True if cache_enabled is None else bool(cache_enabled)
        if self.enabled and self.dtype not in (tg.float16, tg.bfloat16):
            raise ValueError(f"[autocast] expected dtype float16 or bfloat16, got {self.dtype}")
        self._outer: list[tuple] = []

    def __enter__(self) -> autocast:
        self._outer.append(_enter(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _leave(self._outer.pop())

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            outer = _enter(self)
            try:
                return function(*args, **kwargs)
            finally:
                _leave(outer)

        return wrapper


def _enter(region: autocast) -> tuple:
    return _core._set_autocast(region.enabled, region.dtype, region.device_type, region.cache_enabled)


def _leave(outer: tuple) -> None:
    _core._set_autocast(*outer)
    if not outer[0]:
        _core._clear_autocast_cache()


class GradScaler:
    """Scales the loss so that float16 gradients do not vanish, and skips steps whose gradients overflow.

    Parameters
    ----------
    device : optional
        Accepted: gradients are looked at where they are.
    init_scale : float
    growth_factor, growth_interval
        After so many steps in a row without an overflow the scale grows by this factor.
    backoff_factor : float
        What it is multiplied by after an overflow.
    enabled : bool
        False makes every method do nothing of its own.

    See Micikevicius et al., Mixed precision training (2018), section 3.2.
    """

    def __init__(self, device: Any = None, init_scale: float = 2.0**16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True) -> None:
        if growth_factor <= 1 or not 0 < backoff_factor < 1 or init_scale <= 0:
            raise ValueError(f"[GradScaler] expected init_scale > 0, growth_factor > 1 and 0 < backoff_factor < 1, got "
                             f"{init_scale}, {growth_factor}, {backoff_factor}")
        self._enabled = enabled
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._found: dict[int, list[Any]] = {}  # by optimizer, since the last update: flags of what was unscaled
        self._stepped: set[int] = set()

    def is_enabled(self) -> bool:
        return self._enabled

    def get_scale(self) -> float:
        """The present scale; 1 when disabled."""
        return self._scale if self._enabled else 1.0

    def scale(self, outputs: Any) -> Any:
        """A loss, or losses in lists and tuples, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, tg.Tensor):
            return outputs * self._scale
        if isinstance(outputs, Iterable):
            scaled = [self.scale(o) for o in outputs]
            return tuple(scaled) if isinstance(outputs, tuple) else scaled
        raise TypeError(f"[GradScaler.scale] expected tensors, or lists of them, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients by the scale; for code that looks at them (clipping) before step().

        Raises
        ------
        RuntimeError
            Called twice since the last update(), or after step().
        ValueError
            Gradients are float16: keep parameters in float32, or give up the scaler.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._stepped:
            raise RuntimeError("[GradScaler.unscale_] expected to be called before step(), got a call after it")
        if id(optimizer) in self._found:
            raise RuntimeError("[GradScaler.unscale_] expected one call per optimizer since the last update(), got two")
        by_device: dict[Any, list[Any]] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.dtype == tg.float16:
                    raise ValueError("[GradScaler.unscale_] expected gradients in float32, got float16: dividing them by "
                                     "the scale loses what it saved; keep the parameters in float32")
                by_device.setdefault(p.grad.device, []).append(p.grad)
        found = []
        with tg.no_grad():
            for device, grads in by_device.items():
                flag = tg.zeros((), device=device)
                _core.call_into("multi_unscale", tuple(grads), (1 / self._scale,), (*grads, flag))
                found.append(flag)
        self._found[id(optimizer)] = found

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), unless a gradient is not finite; unscales first where that has not been done.

        Raises
        ------
        RuntimeError
            Called twice since the last update(), or with a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise RuntimeError("[GradScaler.step] expected no closure, got one: a step is taken or skipped as a whole")
        if id(optimizer) in self._stepped:
            raise RuntimeError("[GradScaler.step] expected one call per optimizer since the last update(), got two")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        if any(flag.item() for flag in self._found[id(optimizer)]):
            return None
        return optimizer.step(**kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """Adapts the scale to what the last steps found, or sets it."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            if not self._found:
                raise RuntimeError("[GradScaler.update] expected step() or unscale_() before it, got neither")
            if any(flag.item() for flags in self._found.values() for flag in flags):
                self._scale *= self._backoff_factor
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    grown = self._scale * self._growth_factor
                    self._scale = grown if math.isfinite(grown) and grown < 3e38 else self._scale
                    self._growth_tracker = 0
        self._found.clear()
        self._stepped.clear()

    def state_dict(self) -> dict[str, Any]:
        """The scale and its history; empty when disabled."""
        if not self._enabled:
            return {}
        return {"scale": self._scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._growth_tracker}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state.

        Raises
        ------
        RuntimeError
            The state is empty: that of a disabled scaler.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("[GradScaler.load_state_dict] expected a state, got an empty one (of a disabled scaler?)")
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
