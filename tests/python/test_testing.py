# SPDX-License-Identifier: Apache-2.0
"""tengen.testing.assert_close: what passes, what fails and what it says."""
from __future__ import annotations

import numpy as np
import pytest

import tengen as tg
from tengen.testing import assert_close

NAN = float("nan")
INF = float("inf")


@pytest.mark.parametrize("dtype, inside, outside", [("float32", 1.2e-6, 1e-4), ("float64", 0.9e-7, 1e-5), ("float16", 1e-3, 1e-2), ("bfloat16", 1e-2, 1e-1)])
def test_bounds_of_dtypes(dtype, inside, outside):
    x = tg.tensor([1000.0, -1000.0], dtype=tg.float64)
    t = tg.dtype(dtype)
    assert_close((x * (1 + inside)).to(t), x.to(t))
    with pytest.raises(AssertionError, match=r"2 of 2 differ by more than .* at \(\d,\)"):
        assert_close((x * (1 + outside)).to(t), x.to(t))


@pytest.mark.parametrize("a, b", [
    (tg.tensor([1, 2]), tg.tensor([1, 2])), (3, 3), (1.0, 1.0 + 1e-9), (np.ones(2), np.ones(2)), ([tg.ones(1), 2], (tg.ones(1), 2)),
    ({"a": tg.ones(1)}, {"a": tg.ones(1)}), (tg.tensor([INF, -INF]), tg.tensor([INF, -INF])), (tg.zeros(0), tg.zeros(0)),
    (tg.tensor([True]), tg.tensor([True])), (tg.tensor([2**63 - 1]), tg.tensor([2**63 - 1])), (tg.ones(1, requires_grad=True), tg.ones(1)),
], ids=range(11))
def test_close(a, b):
    assert_close(a, b)


@pytest.mark.parametrize("a, b, message", [
    (tg.ones(2), tg.ones(3), r"shapes differ: \(2,\) and \(3,\)"), (tg.ones(2), tg.ones(2, dtype=tg.float64), "dtypes differ"),
    (tg.ones(2), np.ones(2), "kinds differ: Tensor and ndarray"), ([1, 2], [1], "lengths differ: 2 and 1"), ({"a": 1}, {"b": 1}, "keys differ"),
    ({"a": [1, tg.ones(2)]}, {"a": [1, tg.zeros(2)]}, r"values of \['a'\]\[1\] are not close: 2 of 2"), (tg.tensor([NAN]), tg.tensor([NAN]), "1 of 1"),
    (tg.tensor([INF]), tg.tensor([-INF]), "inf and -inf"), (tg.tensor([1.0]), tg.tensor([INF]), "1.0 and inf"), (tg.tensor([NAN, 5.0]), tg.tensor([1.0, 1.0]), r"\(0,\)"),
    (tg.tensor([2**62 + 1]), tg.tensor([2**62]), f"{2**62 + 1} and {2**62}"), (tg.tensor([3, 9]), tg.tensor([3, 4]), r"1 of 2 .* at \(1,\): 9 and 4"),
    (1, 2, r"at \(\): 1 and 2"), ("a", "a", "kinds differ"), (tg.tensor([True]), tg.tensor([False]), "True and False|1 of 1"),
], ids=range(15))
def test_not_close(a, b, message):
    with pytest.raises(AssertionError, match=message):
        assert_close(a, b)


def test_options():
    assert_close(tg.tensor([NAN, 1.0]), tg.tensor([NAN, 1.0]), equal_nan=True)
    assert_close(tg.ones(2), tg.ones(2, dtype=tg.float64), check_dtype=False)
    assert_close(tg.tensor([1.5]), tg.tensor([1.0]), rtol=0.0, atol=0.5)
    with pytest.raises(AssertionError):
        assert_close(tg.tensor([1.5]), tg.tensor([1.0]), rtol=0.0, atol=0.49)
    with pytest.raises(AssertionError, match="^mine$"):
        assert_close(1, 2, msg="mine")
    with pytest.raises(ValueError, match="both rtol and atol"):
        assert_close(1, 1, rtol=1.0)
    others = [d.name for d in tg.devices() if d.usable and d.name != str(tg.default_device())]
    if others:
        assert_close(tg.ones(2, device=others[0]), tg.ones(2), check_device=False)
        with pytest.raises(AssertionError, match="devices differ"):
            assert_close(tg.ones(2, device=others[0]), tg.ones(2))


def test_example():
    import doctest

    from tengen import testing

    assert doctest.testmod(testing, extraglobs={"tg": tg}).failed == 0
