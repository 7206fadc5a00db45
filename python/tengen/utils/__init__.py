# SPDX-License-Identifier: Apache-2.0
"""Tools around training: tg.utils.checkpoint."""
from . import checkpoint

__all__ = ["checkpoint"]


def __getattr__(name: str) -> object:
    way_out = {"data": "loaders and data sets are in tengen.data", "tensorboard": "tg.train.TensorBoard is a Trainer's callback"}.get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}" + (f"; {way_out}" if way_out else ""), name=name)
