# SPDX-License-Identifier: Apache-2.0
"""Layers that take their number of input features or channels from their first input.

>>> layer = nn.LazyLinear(3)
>>> layer(tg.zeros((2, 5))).shape, layer
((2, 3), Linear(in_features=5, out_features=3, bias=True))
"""
from __future__ import annotations

from typing import Any

import tengen as tg

from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear",
]


class _Lazy(Module):
    """Before the real layer in a class's bases. Until the first input (or state) its parameters have a size of 0; they stay
    the same objects afterwards, so that an optimizer may hold them from the start. The layer then becomes the real one."""

    _feature_name: str  # the attribute that says how many
    _axis: int  # of the input, from the end

    def _real(self) -> type:
        return type(self).__bases__[-1]

    def _grown(self, features: int) -> None:
        """The layer for that many input features, values anew."""
        shapes = self._shapes(features)
        setattr(self, self._feature_name, features)
        for name, shape in shapes.items():
            t = getattr(self, name)
            if t is not None:
                with tg.no_grad():
                    t.data = tg.empty(shape, dtype=t.dtype, device=t.device)
        object.__setattr__(self, "__class__", self._real())
        self.reset_parameters()

    def _shapes(self, features: int) -> dict[str, tuple]:
        raise NotImplementedError

    def _features_of(self, state: Any, prefix: str) -> int | None:
        """From a state dict."""
        raise NotImplementedError

    def forward(self, x: Any) -> Any:
        if x.ndim < -self._axis:
            raise ValueError(f"[{type(self).__name__}] expected at least {-self._axis} dimensions, got shape {tuple(x.shape)}")
        self._grown(x.shape[self._axis])
        return self.forward(x)

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        real, features = self._real(), self._features_of(state, prefix)
        if features is not None:
            self._grown(features)
        real._load_from_state_dict(self, state, prefix, *rest)


class LazyLinear(_Lazy, Linear):
    """Linear, whose in_features come from the first input."""

    _feature_name, _axis = "in_features", -1

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, out_features, bias, device, dtype)

    def _shapes(self, features: int) -> dict[str, tuple]:
        return {"weight": (self.out_features, features)}

    def _features_of(self, state: Any, prefix: str) -> int | None:
        weight = state.get(prefix + "weight")
        return None if weight is None else weight.shape[1]


class _LazyConv(_Lazy):
    _feature_name = "in_channels"

    def __init__(self, out_channels: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, *args, **kwargs)

    @property
    def _axis(self) -> int:
        return -1 - self._rank

    def _shapes(self, features: int) -> dict[str, tuple]:
        if features % self.groups:
            raise ValueError(f"[{type(self).__name__}] groups = {self.groups} must divide the {features} channels of the input")
        first, second = (features, self.out_channels) if self._transposed else (self.out_channels, features)
        return {"weight": (first, second // self.groups, *self.kernel_size)}

    def _features_of(self, state: Any, prefix: str) -> int | None:
        weight = state.get(prefix + "weight")
        return None if weight is None else weight.shape[0] if self._transposed else weight.shape[1] * self.groups


class _LazyNorm(_Lazy):
    _feature_name = "num_features"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, *args, **kwargs)

    def forward(self, x: Any) -> Any:
        if x.ndim not in self._ranks:
            return self._real().forward(self, x)  # which says what is wrong
        self._grown(x.shape[1])
        return self.forward(x)

    def _shapes(self, features: int) -> dict[str, tuple]:
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (features,))

    def _features_of(self, state: Any, prefix: str) -> int | None:
        found = [state[prefix + name] for name in self._shapes(0) if prefix + name in state]
        return found[0].shape[0] if found else None


def _made(real: type, base: type) -> type:
    name = f"Lazy{real.__name__}"
    what = "num_features" if base is _LazyNorm else "in_channels"
    return type(name, (base, real), {"__doc__": f"{real.__name__}, whose {what} come from the first input.",
                                     "__module__": __name__})


LazyConv1d, LazyConv2d, LazyConv3d = (_made(c, _LazyConv) for c in (Conv1d, Conv2d, Conv3d))
LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d = (
    _made(c, _LazyConv) for c in (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d))
LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d = (_made(c, _LazyNorm) for c in (BatchNorm1d, BatchNorm2d, BatchNorm3d))
LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d = (_made(c, _LazyNorm) for c in (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d))
