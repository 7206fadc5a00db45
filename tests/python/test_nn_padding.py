# SPDX-License-Identifier: Apache-2.0
"""Padding layers against numpy.pad."""
import numpy as np
import pytest
from nn_tools import rand, t

from tengen import nn

MODES = {"Zero": {"mode": "constant"}, "Constant": {"mode": "constant", "constant_values": 3.5}}


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_padding_layers(kind, rank):
    around = (1, 2, 2, 0, 0, 1)[:2 * rank]
    x = rand(2, 3, 4, 5, 3)[(..., *(slice(None),) * rank)] if rank == 3 else rand(2, 3, *(4, 5)[:rank])
    value = (3.5,) if kind == "Constant" else ()
    layer = getattr(nn, f"{kind}Pad{rank}d")(around, *value)
    assert repr(layer) == f"{kind}Pad{rank}d({f'padding={around}, value=3.5' if value else around})"
    pairs = [(0, 0)] * 2 + [(around[2 * i], around[2 * i + 1]) for i in reversed(range(rank))]
    np.testing.assert_array_equal(layer(t(x)).numpy(), np.pad(x, pairs, **MODES[kind]))
    np.testing.assert_array_equal(layer(t(x[0])).numpy(), np.pad(x[0], pairs[1:], **MODES[kind]))
    assert getattr(nn, f"{kind}Pad{rank}d")(1, *value).padding == (1,) * (2 * rank)
    with pytest.raises(ValueError, match="integer or"):
        getattr(nn, f"{kind}Pad{rank}d")((1, 2, 3), *value)
