# SPDX-License-Identifier: Apache-2.0
"""Errors: their class, and that the message names the op, what was expected, what came, and a way out."""
from __future__ import annotations

import traceback

import pytest

import tengen as tg


@pytest.mark.parametrize("call, message", [
    (lambda x: tg.sum(x, axs=1), r"sum\(\) got an unexpected keyword argument 'axs'; did you mean 'axis'\?"),
    (lambda x: x.sum(qqq=1), r"sum\(\) got an unexpected keyword argument 'qqq'; it takes \(x, axis=.*keepdims=False"),
    (lambda x: tg.sum(x, 1, axis=1), r"sum\(\) got more than one value for argument 'axis'"),
    (lambda x: tg.sum(), r"sum\(\): missing required argument 'x' \(x, axis"),
    (lambda x: tg.sum(x, 1, False, 3, 4), r"sum\(\) takes at most 4 positional arguments .* got 5"),
    (lambda x: tg.sum(x, "a"), r"sum\(\): expected an integer or a sequence of integers for axis, got str"),
    (lambda x: tg.sum(x, 1.5), r"sum\(\): expected an integer"),
    (lambda x: tg.zeros_like([1, 2]), r"zeros_like\(\): expected a Tensor for x, got list"),
    (lambda x: tg.sum([1, 2]), r"sum\(\): expected a Tensor for x, got list; use tg.tensor"),
    (lambda x: tg.add(x, "a"), r"add\(\): expected a Tensor for \w+, got str"),
    (lambda x: tg.reshape(x), r"reshape\(\): missing required argument 'shape'"),
    (lambda x: x.reshape("a"), r"reshape\(\): expected an integer"),
    (lambda x: x.cast(3), r"cast\(\): expected a dtype"),
    (lambda x: tg.concat(x), r"concat\(\): expected a list of tensors"),
    (lambda x: tg.concat([x, "a"]), r"concat\(\): expected a Tensor"),
    (lambda x: x.to("flaot32x", dtpe=1), r"to\(\) got an unexpected keyword argument 'dtpe'; did you mean 'dtype'\?"),
    (lambda x: x.item(3, fast=True), r"item\(\) got an unexpected keyword argument 'fast'"),
    (lambda x: tg.zeros("a"), "expected an integer"),
    (lambda x: tg.tensor([1.0], dtype=3), "expected a dtype"),
    (lambda x: tg.tensor([1.0], device=3), "expected a device"),
    (lambda x: x.softmax(axis="last"), r"softmax\(\): expected an integer for axis, got str"),
], ids=range(21))
def test_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call(tg.zeros(2, 3))


@pytest.mark.parametrize("call, message", [
    (lambda x: x + tg.zeros(4), r"\[add\].*\(2, 3\).*\(4\)|\[add\].*\(2, 3\).*\(4,\)"),
    (lambda x: x @ tg.zeros(4, 2), r"\[matmul\]"),
    (lambda x: x.reshape(5), r"\[reshape\]"),
    (lambda x: x.expand(4, 3), r"\[expand\]"),
    (lambda x: tg.dtype("float31"), "float31"),
    (lambda x: x.copy_(tg.zeros(7)), "broadcasts"),
], ids=range(6))
def test_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(tg.zeros(2, 3))


def test_index_errors():
    with pytest.raises(IndexError, match=r"\[sum\].*axis"):
        tg.zeros(2, 3).sum(5)
    with pytest.raises(IndexError):
        tg.index_select(tg.zeros(2, 3), tg.tensor([0, 7]), 0)


@pytest.mark.parametrize("name, call", [
    ("gather", lambda x, i: tg.gather(x, 0, i)),
    ("take", lambda x, i: tg.take(x, i)),
    ("take_along_axis", lambda x, i: tg.take_along_axis(x, i, 0)),
    ("index_select", lambda x, i: x.index_select(0, i)),
    ("embedding", lambda x, i: tg.nn.functional.embedding(i, x.reshape(-1, 1))),
    ("scatter", lambda x, i: x.scatter(0, i, tg.ones(1, device=x.device))),
    ("index_add", lambda x, i: x.index_add(0, i, tg.ones(1, device=x.device))),
    ("cross_entropy", lambda x, i: tg.nn.functional.cross_entropy(x.reshape(1, -1), i)),
    ("index", lambda x, i: tg.index(x, [i], axes=0)),
], ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("grad", [False, True])
def test_a_bad_index_is_told_in_the_name_of_the_called_function(name, call, grad):
    for n in (3, 0):
        x = tg.ones(n, requires_grad=grad)
        with pytest.raises(IndexError, match=rf"^\[{name}\] expected") as caught:
            call(x, tg.tensor([5]))
        assert "floor" not in str(caught.value) and "status" not in str(caught.value)


def test_memory_errors():
    with pytest.raises(MemoryError):
        tg.empty(2**45)


def test_class_of_a_lost_device():
    assert issubclass(tg.DeviceLostError, RuntimeError)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(AttributeError, match=r"module 'tengen' has no attribute 'sofmax'; did you mean 'softmax'\?"):
        tg.sofmax
    with pytest.raises(AttributeError) as caught:
        tg.zeros(1).sofmax()
    text = "".join(traceback.format_exception_only(caught.type, caught.value))
    assert "'tengen.Tensor' object has no attribute 'sofmax'" in text
    # Since 3.10 the interpreter adds the suggestion when it prints the traceback.
    assert caught.value.name == "sofmax" and "softmax" in dir(caught.value.obj)


def test_in_place_errors():
    x = tg.zeros(2, dtype=tg.int64)
    with pytest.raises(ValueError, match="fits the dtype"):
        x += 1.5
    with pytest.raises(ValueError, match="shape"):
        y = tg.zeros(2)
        y += tg.zeros(3, 2)
    with pytest.raises(TypeError):
        x += "a"
