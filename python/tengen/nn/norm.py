# SPDX-License-Identifier: Apache-2.0
"""Normalisation layers."""
from __future__ import annotations

from typing import Any

import tengen as tg

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GeneralNorm", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    "LayerNorm", "LocalResponseNorm", "RMSNorm", "SyncBatchNorm",
]


class _BatchNorm(Module):
    _ranks: tuple[int, ...]

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name in ("weight", "bias"):
            empty = tg.empty((num_features,), device=device, dtype=dtype) if affine else None
            self.register_parameter(name, None if empty is None else Parameter(empty))
        if track_running_stats:
            self.register_buffer("running_mean", tg.zeros((num_features,), device=device, dtype=dtype))
            self.register_buffer("running_var", tg.ones((num_features,), device=device, dtype=dtype))
            self.register_buffer("num_batches_tracked", tg.zeros((), dtype=tg.int64, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, x: Any) -> Any:
        if x.ndim not in self._ranks:
            raise ValueError(
                f"[{type(self).__name__}] expected {' or '.join(map(str, self._ranks))} dimensions, got shape "
                f"{tuple(x.shape)}"
            )
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                            self.training or not self.track_running_stats, self._share(), self.eps)

    def _share(self) -> float:
        """Counts a batch in training; its share in the running statistics."""
        if self.training and self.track_running_stats:
            with tg.no_grad():
                self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average of all batches
                return 1 / float(self.num_batches_tracked.item())
        return self.momentum or 0.0

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


class BatchNorm1d(_BatchNorm):
    """Normalises every channel over the batch and the spatial axes.

    Parameters
    ----------
    num_features : int
        Channels: axis 1.
    eps : float
    momentum : float or None
        Share of the newest batch in the running statistics; None averages all batches.
    affine : bool
        Learn a scale and a shift per channel.
    track_running_stats : bool
        Keep running statistics, which are used in eval mode.

    Training uses the batch's mean and biased variance; the running variance is unbiased.
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    __doc__ = BatchNorm1d.__doc__
    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    __doc__ = BatchNorm1d.__doc__
    _ranks = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of any number of axes in a program of one process: there is nothing to synchronise, and it is BatchNorm.

    So that models written for several processes run; arguments as BatchNorm1d.
    """

    _ranks = tuple(range(2, 33))

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, process_group: Any = None, device: Any = None, dtype: Any = None) -> None:
        if process_group is not None:
            raise NotImplementedError(f"[SyncBatchNorm] expected process_group=None, one process, got {process_group!r}")
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with each BatchNorm in it replaced by a SyncBatchNorm of the same parameters and statistics."""
        if isinstance(module, _BatchNorm) and not isinstance(module, cls):
            new = cls(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, process_group)
            new._parameters.update(module._parameters)
            new._buffers.update(module._buffers)
            return new.train(module.training)
        for name, child in list(module.named_children()):
            setattr(module, name, cls.convert_sync_batchnorm(child, process_group))
        return module


class LayerNorm(Module):
    """Normalises over the last axes.

    Parameters
    ----------
    normalized_shape : int or tuple
        Sizes of these axes.
    eps : float
    elementwise_affine, bias : bool
        Learn a scale, and with it a shift, per element.
    """

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            values = tg.empty(self.normalized_shape, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GeneralNorm(Module):
    """Normalises over any axes.

    Parameters
    ----------
    normalized_shape : int or tuple
        Sizes of these axes.
    normalized_axis : int or tuple
        Which they are, in the same order.
    eps : float
    affine : bool
        Learn a scale and a shift per element of these axes.
    """

    def __init__(self, normalized_shape: Any, normalized_axis: Any = 0, eps: float = 1e-5, affine: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_axis = (normalized_axis,) if isinstance(normalized_axis, int) else tuple(normalized_axis)
        if len(self.normalized_shape) != len(self.normalized_axis):
            raise ValueError(f"[GeneralNorm] expected a size for every axis, got sizes {self.normalized_shape} and axes {self.normalized_axis}")
        self.eps = eps
        self.affine = affine
        for name in ("weight", "bias"):
            values = tg.empty(self.normalized_shape, device=device, dtype=dtype) if affine else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, x: Any) -> Any:
        sizes = tuple(x.shape[a] for a in self.normalized_axis)
        if sizes != self.normalized_shape:
            raise ValueError(f"[GeneralNorm] expected sizes {self.normalized_shape} on axes {self.normalized_axis}, got shape {tuple(x.shape)}")
        return F.general_norm(x, self.normalized_axis, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, axes={self.normalized_axis}, eps={self.eps}, affine={self.affine}"


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axes; eps is the dtype's own when None."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = Parameter(tg.ones(self.normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Normalises groups of channels of every item by themselves.

    Parameters
    ----------
    num_groups, num_channels : int
    eps : float
    affine : bool
        Learn a scale and a shift per channel.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"[GroupNorm] num_groups = {num_groups} must divide num_channels = {num_channels}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.register_parameter(
            "weight", Parameter(tg.ones((num_channels,), device=device, dtype=dtype)) if affine else None
        )
        self.register_parameter(
            "bias", Parameter(tg.zeros((num_channels,), device=device, dtype=dtype)) if affine else None
        )

    def forward(self, x: Any) -> Any:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _InstanceNorm(_BatchNorm):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
                 track_running_stats: bool = False, device: Any = None, dtype: Any = None) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, x: Any) -> Any:
        rank = self._ranks[-1]
        if x.ndim not in (rank - 1, rank) or x.shape[x.ndim - rank + 1] != self.num_features:
            raise ValueError(f"[{type(self).__name__}] expected {rank} dimensions (or {rank - 1}, unbatched) with "
                             f"{self.num_features} channels, got shape {tuple(x.shape)}")
        if x.ndim == rank - 1:
            return self.forward(x.unsqueeze(0)).squeeze(0)
        return F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                               self.training or not self.track_running_stats, self._share(), self.eps)


class InstanceNorm1d(_InstanceNorm):
    """Normalises every channel of every item over its spatial axes; parameters as BatchNorm1d.

    Neither weights nor running statistics by default.
    """

    _ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    __doc__ = InstanceNorm1d.__doc__
    _ranks = (4,)


class InstanceNorm3d(_InstanceNorm):
    __doc__ = InstanceNorm1d.__doc__
    _ranks = (5,)


class LocalResponseNorm(Module):
    """x / (k + alpha * mean of squares over `size` neighbouring channels)^beta."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Any) -> Any:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
