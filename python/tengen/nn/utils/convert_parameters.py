# SPDX-License-Identifier: Apache-2.0
"""Parameters as one vector."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tengen as tg

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All parameters one after the other, flat; differentiable."""
    return tg.cat([p.reshape((-1,)) for p in parameters])


def vector_to_parameters(vector: Any, parameters: Iterable[Any]) -> None:
    """Copies the parts of a flat vector into the parameters."""
    parameters = list(parameters)
    total = sum(p.numel() for p in parameters)
    if vector.ndim != 1 or vector.numel() != total:
        raise ValueError(
            f"[vector_to_parameters] expected a vector of {total} elements, got shape {tuple(vector.shape)}"
        )
    at = 0
    with tg.no_grad():
        for p in parameters:
            p.copy_(vector[at:at + p.numel()].reshape(tuple(p.shape)))
            at += p.numel()
