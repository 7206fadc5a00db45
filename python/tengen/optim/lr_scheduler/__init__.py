# SPDX-License-Identifier: Apache-2.0
"""Learning rates that change: call `scheduler.step()` after `optimizer.step()`, per epoch or (cycles) per batch.

>>> scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
>>> for epoch in range(10):
...     train(); scheduler.step()
"""
from .base import ChainedScheduler, LambdaLR, LRScheduler, MultiplicativeLR, SequentialLR, WarmupLR
from .cycle import CyclicLR, OneCycleLR
from .decay import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR", "WarmupLR",
]
