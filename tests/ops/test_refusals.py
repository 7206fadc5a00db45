# SPDX-License-Identifier: Apache-2.0
"""What no op takes, of every public op, beyond what its record says is bad: text for a tensor, an argument that it has not, too few and too
many of them, tensors on two devices, shapes that do not broadcast. Each names the op and is of its error's class itself."""

from __future__ import annotations

import numpy as np
import pytest
from records import RECORDS
from test_ops import DEVICES, TABLE, attrs_of, cases_of, tensors_of

import tengen as tg
from tengen import _core

PUBLIC = sorted(n for n, op in TABLE.items() if not op["internal"])
DEVICE = DEVICES[0]


def refuses(error: type, name: str, *says: str, args: tuple = (), kwargs: dict | None = None) -> None:
    with pytest.raises(error) as caught:
        _core.ops[name](*args, **(kwargs or {}))
    assert caught.type is error, f"{name}: {caught.type.__name__}, expected {error.__name__} itself: {caught.value}"
    for text in (name, *says):
        assert text in str(caught.value), f"{name}: {text!r} is not in {str(caught.value)!r}"


def a_call(name: str, device: str = DEVICE) -> tuple[list, dict]:
    """Arguments that the op takes."""
    case = cases_of(name)[0]
    return tensors_of(case, RECORDS[name].dtypes[0], device), attrs_of(case)


def some_cases(name: str) -> bool:
    return bool(RECORDS[name].cases)


@pytest.mark.parametrize("name", [n for n in PUBLIC if some_cases(n)])
def test_arguments(name):
    args, attrs = a_call(name)
    place = {} if args else {"device": DEVICE}
    _core.ops[name](*args, **attrs, **place)
    refuses(TypeError, name, "no_such_argument", args=tuple(args), kwargs={**attrs, **place, "no_such_argument": 1})
    refuses(TypeError, name, args=(*args, *["text"] * 30), kwargs=place)
    if any(not part["optional"] for part in TABLE[name]["inputs"]) or any(a["required"] for a in TABLE[name]["attrs"]):
        refuses(TypeError, name)
    for i, part in enumerate(TABLE[name]["inputs"]):
        if i < len(args) and isinstance(args[i], tg.Tensor):
            refuses(TypeError, name, args=(*args[:i], "text", *args[i + 1 :]), kwargs=attrs)


TWO = [n for n in PUBLIC if some_cases(n) and sum(isinstance(x, np.ndarray) for x in cases_of(n)[0].inputs) > 1]


@pytest.mark.parametrize("name", TWO)
def test_two_devices(name):
    if len(DEVICES) < 2:
        pytest.skip("never: this machine has one device")
    (args, attrs), (others, _) = a_call(name), a_call(name, DEVICES[1])
    second = [i for i, x in enumerate(args) if isinstance(x, tg.Tensor) and x.ndim][1:]  # a tensor without axes may be a number
    if not second:
        pytest.skip("never: one tensor with axes")
    args[second[-1]] = others[second[-1]]
    refuses(ValueError, name, "device", args=tuple(args), kwargs=attrs)


@pytest.mark.parametrize("name", [n for n in TWO if TABLE[n]["map"]])
def test_shapes_that_do_not_broadcast(name):
    args, attrs = a_call(name)
    tensors = [i for i, x in enumerate(args) if isinstance(x, tg.Tensor)]
    for i, shape in zip(tensors, [(2, 3), *[(4,)] * len(tensors)]):
        args[i] = tg.zeros(shape, dtype=args[i].dtype, device=DEVICE)
    refuses(ValueError, name, "expected", "got", "(2, 3)", "(4,)", args=tuple(args), kwargs=attrs)


EVERYTHING = ("full_like", "isin", "ones_like", "zeros_like")  # their attributes have no wrong values


# Elementwise ops of one operand take every shape; a wrong dtype is what test_ops.py's test_other_dtypes has.
def test_what_may_be_bad_is_in_the_records():
    lacking = [n for n in PUBLIC if not RECORDS[n].bad and not TABLE[n]["map"] and TABLE[n]["inputs"] and TABLE[n]["attrs"] and n not in EVERYTHING]
    assert not lacking, f"no record says what these refuse: {lacking}"


