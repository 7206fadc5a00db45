# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: losses against NumPy formulas."""
import numpy as np
import pytest
from nn_tools import RNG, close, np_softmax, rand, t

import tengen.nn.functional as F
from tengen import nn


def np_cross_entropy(x, y, w, ignore, reduction, smooth):
    """By the book, element by element, in f64."""
    x = np.moveaxis(x.astype(np.float64), 1, -1)
    log_p = np.log(np_softmax(x, -1))
    c = x.shape[-1]
    w = np.ones(c) if w is None else w
    out, weights = np.zeros(y.shape), np.zeros(y.shape)
    for at in np.ndindex(*y.shape):
        if y[at] != ignore:
            out[at] = -(1 - smooth) * w[y[at]] * log_p[at][y[at]] - smooth / c * (w * log_p[at]).sum()
            weights[at] = w[y[at]]
    return out if reduction == "none" else out.sum() / (weights.sum() if reduction == "mean" else 1)


@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smooth", [0.0, 0.1])
@pytest.mark.parametrize("ignore", [-100, 1])
def test_cross_entropy(shape, weighted, reduction, smooth, ignore):
    x = rand(*shape) * 3
    y = RNG.randint(0, shape[1], (shape[0], *shape[2:]))
    y.flat[0] = ignore
    w = RNG.rand(shape[1]).astype(np.float32) + 0.5 if weighted else None
    layer = nn.CrossEntropyLoss(None if w is None else t(w), ignore, reduction, smooth)
    xt = t(x, grad=True)
    loss = layer(xt, t(y))
    close(loss, np_cross_entropy(x, y, w, ignore, reduction, smooth), 1e-5)
    if reduction != "none":
        d, h = rand(*shape).astype(np.float64), 1e-5
        f = lambda z: np_cross_entropy(z, y, w, ignore, reduction, smooth)
        # f reads f64, so the difference quotient is good to eight digits
        slope = (f(x.astype(np.float64) + h * d) - f(x.astype(np.float64) - h * d)) / (2 * h)
        loss.backward()
        assert (xt.grad.numpy() * d).sum() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_cross_entropy_of_probabilities_and_single_items():
    x, p = rand(5, 3), np_softmax(rand(5, 3), 1)
    log_p = np.log(np_softmax(x, 1))
    close(F.cross_entropy(t(x), t(p)), -(p * log_p).sum(1).mean())
    close(F.cross_entropy(t(x), t(p), reduction="none"), -(p * log_p).sum(1))
    s = p * 0.9 + 0.1 / 3
    close(F.cross_entropy(t(x), t(p), label_smoothing=0.1, reduction="sum"), -(s * log_p).sum())
    close(F.cross_entropy(t(x[0]), t(2)), -log_p[0, 2])
    close(F.nll_loss(t(log_p), t([0, 1, 2, 0, 1])), -log_p[range(5), [0, 1, 2, 0, 1]].mean())
    big = t(np.array([[1e4, -1e4]], np.float32))
    assert F.cross_entropy(big, t([1])).item() == 2e4
    with pytest.raises(ValueError, match=r"expected targets of shape \(5,\)"):
        F.cross_entropy(t(x), t([1, 2]))
    with pytest.raises(ValueError, match="reduction to be 'mean', 'sum' or 'none', got 'avg'"):
        nn.CrossEntropyLoss(reduction="avg")


def test_other_losses():
    x, y = rand(4, 3), rand(4, 3)
    for reduction, reduce in [("mean", np.mean), ("sum", np.sum), ("none", lambda a: a)]:
        close(nn.MSELoss(reduction)(t(x), t(y)), reduce((x - y) ** 2))
        close(nn.L1Loss(reduction)(t(x), t(y)), reduce(np.abs(x - y)))
        p, pw, w = (
            RNG.rand(4, 3).astype(np.float32),
            RNG.rand(3).astype(np.float32) + 0.5,
            RNG.rand(4, 3).astype(np.float32),
        )
        s = 1 / (1 + np.exp(-x))
        close(nn.BCEWithLogitsLoss(reduction=reduction)(t(x), t(p)), reduce(-(p * np.log(s) + (1 - p) * np.log(1 - s))))
        want = reduce(-w * (pw * p * np.log(s) + (1 - p) * np.log(1 - s)))
        close(nn.BCEWithLogitsLoss(t(w), reduction, t(pw))(t(x), t(p)), want)
    z = t(np.array([200.0, -200.0], np.float32), grad=True)
    loss = F.binary_cross_entropy_with_logits(z, t(np.array([0.0, 1.0], np.float32)), reduction="sum")
    assert loss.item() == 400
    loss.backward()
    assert z.grad.tolist() == [1, -1]
    with pytest.raises(ValueError, match=r"expected a target of x's shape \(4, 3\), got \(4, 1\)"):
        F.mse_loss(t(x), t(rand(4, 1)))
