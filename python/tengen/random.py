# SPDX-License-Identifier: Apache-2.0
"""The random generator: one stateless Philox stream, the same numbers on every device.

>>> tg.manual_seed(0)
>>> state = tg.random.get_rng_state()
>>> a = tg.rand(3)
>>> tg.random.set_rng_state(state)
>>> bool((a == tg.rand(3)).all())
True
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ._core import get_rng_state, initial_seed, manual_seed, set_rng_state

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]


def seed() -> int:
    """Seeds the generator from the operating system's entropy; returns the seed."""
    import secrets

    value = secrets.randbits(63)
    manual_seed(value)
    return value


@contextmanager
def fork_rng() -> Iterator[None]:
    """What is drawn inside leaves the generator as it was."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
