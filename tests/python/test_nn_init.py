# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: initial values and nn.utils."""
import math

import numpy as np
import pytest
from nn_tools import close, rand, t

import tengen as tg
from tengen import nn

# ---- initial values --------------------------------------------------------------------------------------------------


def test_default_initial_values():
    tg.manual_seed(0)
    w = nn.Linear(400, 300)
    bound = 1 / math.sqrt(400)
    for array in (w.weight.detach().numpy(), w.bias.detach().numpy()):
        assert np.abs(array).max() <= bound and np.abs(array).max() > 0.95 * bound and abs(array.mean()) < bound / 5
    assert np.std(w.weight.detach().numpy()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    c = nn.Conv2d(8, 64, 3).weight.detach().numpy()
    assert np.abs(c).max() <= 1 / math.sqrt(72) and np.std(c) == pytest.approx(1 / math.sqrt(216), rel=0.05)
    e = nn.Embedding(500, 40, padding_idx=-1)
    assert e.padding_idx == 499 and (e.weight.detach().numpy()[499] == 0).all()
    assert np.std(e.weight.detach().numpy()[:499]) == pytest.approx(1, rel=0.02)
    tg.manual_seed(0)
    assert (nn.Linear(400, 300).weight.detach().numpy() == w.weight.detach().numpy()).all()


def test_init_functions():
    tg.manual_seed(1)
    x = tg.empty((200, 100))
    init = nn.init

    def stats(f, *args, **kw):
        assert f(x, *args, **kw) is x
        return x.numpy().mean(), x.numpy().std(), x.numpy().min(), x.numpy().max()

    mean, std, low, high = stats(init.uniform_, -2, 4)
    assert mean == pytest.approx(1, abs=0.05) and -2 <= low < -1.9 and 3.9 < high <= 4
    mean, std, *_ = stats(init.normal_, 3, 2)
    assert mean == pytest.approx(3, abs=0.06) and std == pytest.approx(2, rel=0.02)
    assert stats(init.constant_, 7)[:2] == (7, 0) and stats(init.ones_)[0] == 1 and stats(init.zeros_)[0] == 0
    assert stats(init.xavier_uniform_)[3] == pytest.approx(math.sqrt(6 / 300), rel=0.01)
    assert stats(init.xavier_normal_, 2)[1] == pytest.approx(2 * math.sqrt(2 / 300), rel=0.03)
    assert stats(init.kaiming_uniform_, nonlinearity="relu")[3] == pytest.approx(math.sqrt(6 / 100), rel=0.01)
    assert stats(init.kaiming_normal_, mode="fan_out", nonlinearity="relu")[1] == pytest.approx(
        math.sqrt(2 / 200), rel=0.03
    )
    mean, std, low, high = stats(init.trunc_normal_, 0, 1, -1, 1)
    assert -1 <= low < -0.99 and 0.99 < high <= 1 and std == pytest.approx(0.5396, rel=0.02)
    init.orthogonal_(x, 2)
    np.testing.assert_allclose(x.numpy().T @ x.numpy(), 4 * np.eye(100), atol=1e-4)
    init.eye_(x)
    assert (x.numpy() == np.eye(200, 100)).all()
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        init.kaiming_uniform_(tg.empty((3,)))
    with pytest.raises(ValueError, match="unknown nonlinearity 'gelo'"):
        init.calculate_gain("gelo")
    assert init.calculate_gain("leaky_relu", 1) == 1 and init.calculate_gain("tanh") == 5 / 3


# ---- utils -----------------------------------------------------------------------------------------------------------


def test_clip_grad():
    a, b = nn.Parameter(tg.zeros((2,))), nn.Parameter(tg.zeros((1,)))
    unused = nn.Parameter(tg.zeros((1,)))

    def fill():
        a.grad, b.grad = t(np.array([3, 0], np.float32)), t(np.array([-4], np.float32))

    fill()
    assert nn.utils.clip_grad_norm_([a, b, unused], 1.0).item() == pytest.approx(5)
    close(a.grad, [0.6, 0], 1e-5)
    close(b.grad, [-0.8], 1e-5)
    fill()
    assert nn.utils.clip_grad_norm_([a, b], 10).item() == pytest.approx(5) and a.grad.tolist() == [3, 0]
    assert nn.utils.clip_grad_norm_([a, b], 2, math.inf).item() == 4
    close(b.grad, [-2], 1e-5)
    fill()
    nn.utils.clip_grad_value_([a, b], 3.5)
    assert a.grad.tolist() == [3, 0] and b.grad.tolist() == [-3.5]
    b.grad = t(np.array([np.nan], np.float32))
    with pytest.raises(RuntimeError, match="norm is nan"):
        nn.utils.clip_grad_norm_([a, b], 1, error_if_nonfinite=True)


def test_parameters_to_vector():
    net = nn.Linear(2, 3)
    v = nn.utils.parameters_to_vector(net.parameters())
    assert v.shape == (9,)
    nn.utils.vector_to_parameters(t(np.arange(9, dtype=np.float32)), net.parameters())
    assert net.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and net.bias.tolist() == [6, 7, 8]
    with pytest.raises(ValueError, match="a vector of 9 elements"):
        nn.utils.vector_to_parameters(t(rand(8)), net.parameters())


def test_sparse_and_dirac():
    tg.manual_seed(0)
    w = nn.init.sparse_(tg.empty((10, 50)), 0.25, std=2.0).numpy()
    assert ((w == 0).sum(0) == 3).all()  # ceil(2.5) in every column
    assert 1.6 < w[w != 0].std() < 2.4 and len({tuple(c) for c in (w == 0).T}) > 20
    conv = nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False)
    nn.init.dirac_(conv.weight, groups=2)
    x = rand(2, 4, 5, 5)
    y = conv(t(x)).detach().numpy()
    np.testing.assert_array_equal(y[:, [0, 1, 3, 4]], x)
    assert not y[:, [2, 5]].any()
    assert nn.init.dirac_(tg.empty((2, 3, 4))).numpy()[:, :, 2].tolist() == [[1, 0, 0], [0, 1, 0]]
    for call in (lambda: nn.init.sparse_(tg.empty((2, 2, 2)), 0.1), lambda: nn.init.sparse_(tg.empty((2, 2)), 1.5),
                 lambda: nn.init.dirac_(tg.empty((2, 2))), lambda: nn.init.dirac_(tg.empty((3, 2, 1)), groups=2)):
        with pytest.raises(ValueError, match="expected"):
            call()
    assert nn.init.calculate_gain("conv_transpose2d") == 1 and nn.init.calculate_gain("selu") == 0.75


def test_fusion_with_batch_norm():
    for layer, bn, x, transpose in (
        (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), rand(2, 3, 6, 6), False),
        (nn.Conv1d(4, 6, 2, groups=2), nn.BatchNorm1d(6, affine=False), rand(2, 4, 6), False),
        (nn.ConvTranspose2d(3, 5, 2, stride=2), nn.BatchNorm2d(5), rand(2, 3, 4, 4), True),
        (nn.Linear(3, 4), nn.BatchNorm1d(4), rand(6, 3), False),
    ):
        for _ in range(3):  # statistics that are not 0 and 1
            bn(layer(t(rand(*x.shape) * 2 + 1)))
        if bn.affine:
            nn.init.uniform_(bn.weight, 0.5, 2), nn.init.normal_(bn.bias)
        layer.eval(), bn.eval()
        fuse = nn.utils.fuse_linear_bn_eval if isinstance(layer, nn.Linear) else nn.utils.fuse_conv_bn_eval
        fused = fuse(layer, bn, transpose) if transpose else fuse(layer, bn)
        assert fused is not layer and type(fused) is type(layer)
        close(fused(t(x)), bn(layer(t(x))).detach().numpy(), 1e-4)
        with pytest.raises(RuntimeError, match="eval"):
            fuse(layer.train(), bn)
