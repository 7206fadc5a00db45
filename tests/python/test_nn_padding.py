# SPDX-License-Identifier: Apache-2.0
"""Padding layers against numpy.pad."""
import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen as tg
import tengen.nn.functional as F
from tengen import nn

MODES = {
    "Zero": {"mode": "constant"}, "Constant": {"mode": "constant", "constant_values": 3.5}, "Reflection": {"mode": "reflect"},
    "Replication": {"mode": "edge"}, "Circular": {"mode": "wrap"},
}


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


@pytest.mark.parametrize("kind", ["Reflection", "Replication", "Circular"])
def test_gradients_of_padding(kind):
    layer, x = getattr(nn, f"{kind}Pad2d")((1, 2, 0, 3)), rand(1, 2, 4, 3)
    places = np.pad(np.arange(24).reshape(x.shape), ((0, 0), (0, 0), (0, 3), (1, 2)), **MODES[kind])
    leaf, dy = t(x, grad=True), rand(*places.shape)
    layer(leaf).backward(t(dy))
    want = np.zeros(24)
    np.add.at(want, places.ravel(), dy.ravel())
    close(leaf.grad, want.reshape(x.shape))
    with pytest.raises(ValueError, match="dimensions"):
        layer(tg.ones((3, 3)))


@pytest.mark.parametrize("mode,numpy_mode", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
@pytest.mark.parametrize("padding", [1, (2, 1), "same"], ids=str)
def test_convolutions_pad_by_mode(mode, numpy_mode, padding):
    layer = nn.Conv2d(3, 4, (3, 2), padding=padding, padding_mode=mode)
    assert repr(layer).endswith(f", padding_mode={mode})")
    x = rand(2, 3, 5, 6)
    # 'same' puts what is odd at the end
    pairs = {1: ((1, 1), (1, 1)), (2, 1): ((2, 2), (1, 1)), "same": ((1, 1), (0, 1))}[padding]
    padded = np.pad(x, ((0, 0), (0, 0), *pairs), mode=numpy_mode)
    close(layer(t(x)), F.conv2d(t(padded), layer.weight, layer.bias).detach().numpy())
    with pytest.raises(ValueError, match="padding_mode"):
        nn.ConvTranspose2d(3, 4, 2, padding_mode=mode)
