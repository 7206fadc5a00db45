# SPDX-License-Identifier: Apache-2.0
"""tengen.nn: losses against NumPy formulas."""
import numpy as np
import pytest
from nn_tools import RNG, close, np_softmax, rand, t

import tengen as tg
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


# ---- the layers call the functions -----------------------------------------------------------------------------------

N, C = 4, 3
X, Y, SIGN = rand(N, C), rand(N, C), np.where(rand(N, C) > 0, 1, -1).astype(np.float32)
P, ROW_SIGN = np_softmax(rand(N, C), 1), SIGN[:, 0].copy()
CLASS, LABELS = np.array([0, 2, 1, 2]), np.array([[0, -1, 1], [2, 1, -1], [-1, 0, 0], [1, 1, -1]])
W = np.array([0.5, 1.0, 2.0], np.float32)
LAYERS = [
    (nn.MSELoss, {}, F.mse_loss, (X, Y)),
    (nn.L1Loss, {}, F.l1_loss, (X, Y)),
    (nn.SmoothL1Loss, {"beta": 0.5}, F.smooth_l1_loss, (X, Y)),
    (nn.HuberLoss, {"delta": 0.5}, F.huber_loss, (X, Y)),
    (nn.PoissonNLLLoss, {"log_input": False, "full": True, "eps": 1e-4}, F.poisson_nll_loss, (P, np.abs(Y) * 3)),
    (nn.GaussianNLLLoss, {"full": True, "eps": 0.3}, F.gaussian_nll_loss, (X, Y, P)),
    (nn.BCELoss, {"weight": W}, F.binary_cross_entropy, (P, P[::-1].copy())),
    (nn.BCEWithLogitsLoss, {"weight": W, "pos_weight": W + 1}, F.binary_cross_entropy_with_logits, (X, P)),
    (nn.SoftMarginLoss, {}, F.soft_margin_loss, (X, SIGN)),
    (nn.KLDivLoss, {"log_target": True}, F.kl_div, (np.log(P), np.log(P[::-1]))),
    (nn.CrossEntropyLoss, {"weight": W, "ignore_index": 1, "label_smoothing": 0.1}, F.cross_entropy, (X, CLASS)),
    (nn.NLLLoss, {"weight": W, "ignore_index": 1}, F.nll_loss, (X, CLASS)),
    (nn.MultiMarginLoss, {"p": 2, "margin": 0.7, "weight": W}, F.multi_margin_loss, (X, CLASS)),
    (nn.MultiLabelMarginLoss, {}, F.multilabel_margin_loss, (X, LABELS)),
    (nn.MultiLabelSoftMarginLoss, {"weight": W}, F.multilabel_soft_margin_loss, (X, P)),
    (nn.HingeEmbeddingLoss, {"margin": 0.4}, F.hinge_embedding_loss, (X, SIGN)),
    (nn.MarginRankingLoss, {"margin": 0.4}, F.margin_ranking_loss, (X, Y, SIGN)),
    (nn.CosineEmbeddingLoss, {"margin": 0.1}, F.cosine_embedding_loss, (X, Y, ROW_SIGN)),
    (nn.TripletMarginLoss, {"margin": 0.4, "p": 1, "eps": 0.01, "swap": True}, F.triplet_margin_loss, (X, Y, P)),
]


@pytest.mark.parametrize("layer, options, function, inputs", LAYERS, ids=[row[0].__name__ for row in LAYERS])
def test_layers_pass_their_options_on(layer, options, function, inputs):
    """Every option matters: the layer's value is the function's with it, and not the function's without it."""
    tensors = [t(a) for a in inputs]
    options = {k: t(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    for reduction in ("mean", "sum", "none"):
        made = layer(**options, reduction=reduction)
        got = made(*tensors)
        np.testing.assert_array_equal(got.numpy(), function(*tensors, **options, reduction=reduction).numpy())
        assert got.shape == () or reduction == "none"
    for left_out in options:
        rest = {k: v for k, v in options.items() if k != left_out}
        assert not np.array_equal(got.numpy(), function(*tensors, **rest, reduction="none").numpy()), left_out
    with pytest.raises(ValueError, match=rf"\[{layer.__name__}\] expected reduction"):
        layer(reduction="avg")


def test_kl_div_batchmean():
    close(nn.KLDivLoss("batchmean")(t(np.log(P)), t(P[::-1].copy())), (P[::-1] * np.log(P[::-1] / P)).sum() / N)


def test_gaussian_nll_with_a_number():
    close(F.gaussian_nll_loss(t(X), t(Y), 2.0), 0.5 * (np.log(2) + (X - Y) ** 2 / 2).mean())
    with pytest.raises(ValueError, match="variance"):
        F.gaussian_nll_loss(t(X), t(Y), -1.0)


def test_cosine_similarity_and_pairwise_distance():
    cos = (X * Y).sum(1) / np.linalg.norm(X, axis=1) / np.linalg.norm(Y, axis=1)
    close(nn.CosineSimilarity()(t(X), t(Y)), cos)
    close(nn.CosineSimilarity(dim=0)(t(X), t(Y)), (X * Y).sum(0) / np.linalg.norm(X, axis=0) / np.linalg.norm(Y, axis=0))
    zero = np.zeros((2, C), np.float32)
    close(F.cosine_similarity(t(zero), t(X[:2]), eps=0.1), np.zeros(2))
    wide = np.broadcast_to(X[:, :1], X.shape)  # broadcast along dim itself
    close(F.cosine_similarity(t(X[:, :1]), t(X)), (wide * X).sum(1) / np.linalg.norm(wide, axis=1) / np.linalg.norm(X, axis=1))
    for p in (1, 2, 3, np.inf):
        close(nn.PairwiseDistance(p, eps=0.01)(t(X), t(Y)), np.linalg.norm(X - Y + 0.01, p, axis=1), 1e-5)
    assert nn.PairwiseDistance(keepdim=True)(t(X), t(Y)).shape == (N, 1)


def test_triplet_with_a_distance():
    def far(a, b):
        return (a - b).abs().max(1)

    np_far = lambda a, b: np.abs(a - b).max(1)  # noqa: E731
    layer = nn.TripletMarginWithDistanceLoss(distance_function=far, margin=0.3, swap=True, reduction="none")
    want = np.maximum(0, 0.3 + np_far(X, Y) - np.minimum(np_far(X, P), np_far(Y, P)))
    close(layer(t(X), t(Y), t(P)), want)
    plain = nn.TripletMarginWithDistanceLoss()(t(X), t(Y), t(P))
    close(plain, F.triplet_margin_loss(t(X), t(Y), t(P)).numpy())
    with pytest.raises(ValueError, match="margin above 0"):
        F.triplet_margin_with_distance_loss(t(X), t(Y), t(P), margin=0)


def test_ctc_takes_targets_in_three_forms():
    """A table, all targets one after the other, and a single item; lengths as tensors, lists and numbers."""
    log_p = np.log(np_softmax(rand(6, 3, 4), 2))
    table, lengths = np.array([[1, 2, 0], [3, 0, 0], [2, 2, 1]]), [2, 1, 3]
    flat = np.concatenate([row[:n] for row, n in zip(table, lengths)])
    loss = nn.CTCLoss(reduction="none")
    want = loss(t(log_p), t(table), t([6, 5, 6]), t(lengths)).numpy()
    assert want.shape == (3,) and np.isfinite(want).all()
    np.testing.assert_array_equal(loss(t(log_p), t(flat), [6, 5, 6], lengths).numpy(), want)
    np.testing.assert_array_equal(loss(t(log_p), t(flat), t([6, 5, 6]), t(lengths)).numpy(), want)
    one = loss(t(log_p[:, 2].copy()), t(table[2]), 6, 3)
    assert one.shape == ()
    close(one, want[2])
    close(nn.CTCLoss()(t(log_p), t(table), [6, 5, 6], lengths), (want / lengths).mean())
    close(F.ctc_loss(t(log_p), t(table), [6, 5, 6], lengths, reduction="sum"), want.sum())
    close(nn.CTCLoss(zero_infinity=True)(t(log_p), t(table), [6, 5, 1], lengths), (want[:2] / lengths[:2]).sum() / 3)
    close(nn.CTCLoss(blank=3)(t(log_p[:, :1].copy()), t([[1]]), [1], [1]), -log_p[0, 0, 1])
    assert F.ctc_loss(t(log_p), t(np.zeros(0, np.int64)), [6, 5, 6], [0, 0, 0]).item() > 0


def test_ctc_errors():
    log_p = t(np.log(np_softmax(rand(6, 2, 4), 2)))
    for lengths, target_lengths, text in (([7, 1], [1, 1], "input lengths"), ([6, 6], [1, 3], "target lengths"),
                                          ([6, 6], [-1, 1], "target lengths")):
        with pytest.raises(ValueError, match=text):
            F.ctc_loss(log_p, t([[1, 2], [1, 2]]), lengths, target_lengths)
    with pytest.raises(ValueError, match="sum of target_lengths"):
        F.ctc_loss(log_p, t([1, 2, 3]), [6, 6], [1, 1])
    with pytest.raises(ValueError, match=r"\(T, N, C\)"):
        F.ctc_loss(t(rand(3)), t([1]), [1], [1])


def test_gaussian_nll_target_broadcasts():
    x, var = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]]), np.array([[0.5, 1.0, 2.0], [4.0, 0.25, 1.5]])
    got = F.gaussian_nll_loss(tg.tensor(x), tg.tensor([[1.0], [2.0]], dtype=tg.float64), tg.tensor(var), reduction="none")
    np.testing.assert_allclose(got.numpy(), (np.log(var) + (x - np.array([[1.0], [2.0]])) ** 2 / var) / 2, rtol=1e-14)
