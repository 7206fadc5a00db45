# SPDX-License-Identifier: Apache-2.0
"""What a test record is. One record per op of the table; test_ops.py turns each into checks on every device.

A record brings only what the table does not know: an oracle in NumPy (float64), sample calls, and the accumulation length
that goes with the op's own error bound. Tolerances are never fitted: |error| <= bound * length * eps(dtype) * scale, with
bound from the op table, and scale the magnitude that the table's bound is relative to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int64", "int32", "int16", "int8", "uint8")
ALL = (*FLOATS, *INTS, "bool")
REAL = (*FLOATS, *INTS)
EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass
class Case:
    """One call: inputs (arrays in float64 or int64, numbers, None, or a list for a variadic one) and attributes."""

    inputs: tuple
    attrs: dict = field(default_factory=dict)
    fixed: tuple = ()  # positions that keep their own dtype (indices, masks)
    smooth: bool = True  # finite differences make sense here (no ties, no kinks)


@dataclass
class Bad:
    """A call that must raise `error`, with every text of `says` in its message (the op's name always)."""

    error: type
    inputs: tuple
    attrs: dict
    says: tuple = ("expected", "got")


@dataclass
class Record:
    """The tests of one op."""

    oracle: Callable[..., Any] | None = None
    cases: Callable[[np.random.Generator], list[Case]] | list[Case] = field(default_factory=list)
    dtypes: tuple = FLOATS
    grad: tuple | None = None  # positions of inputs with gradients; None: the op has none
    second: bool = True  # second-order gradients are checked, too
    length: Callable[[Case], float] = lambda case: 1.0  # accumulation length of the bound
    scale: Callable[..., Any] | None = None  # what the bound is relative to; |expected| by default
    bad: tuple = ()
    covered_by: str = ""  # an internal op that other records run: which ones
    check: Callable[..., None] | None = None  # instead of an oracle: check(tg, device)
    # Checks of test_transforms_of_ops.py that do not hold: {"vmap": ("never" | "not-yet", reason)}; keys: jvp, vmap, decomposition, out, in_place, large;
    # "second" is for the page of coverage
    skip: dict[str, tuple[str, str]] = field(default_factory=dict)
