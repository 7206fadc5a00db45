# SPDX-License-Identifier: Apache-2.0
"""tengen.metrics against scikit-learn, in one batch and in many."""
import numpy as np
import pytest
import sklearn.metrics as sk

import tengen as tg
from tengen import metrics as M

RNG = np.random.RandomState(0)
SCORES, CLASSES = RNG.randn(200, 5), RNG.choice(5, 200, p=[0.4, 0.3, 0.2, 0.1, 0.0])
PROBABILITIES, BITS = np.round(RNG.rand(200), 1), RNG.randint(0, 2, 200)


def streamed(metric, predictions, targets, sizes=(7, 50, 143)):
    at = 0
    for n in sizes:
        metric.update(tg.tensor(predictions[at:at + n]), tg.tensor(targets[at:at + n]))
        at += n
    assert at == len(targets)
    return metric.compute()


def both(make, predictions, targets):
    one = make()
    one.update(tg.tensor(predictions), tg.tensor(targets))
    many = streamed(make(), predictions, targets)
    np.testing.assert_array_equal(one.compute(), many)
    return many


def test_accuracy():
    assert both(M.Accuracy, SCORES, CLASSES) == sk.accuracy_score(CLASSES, SCORES.argmax(1))
    assert both(M.Accuracy, PROBABILITIES, BITS) == sk.accuracy_score(BITS, PROBABILITIES > 0.5)
    assert both(M.Accuracy, SCORES.argmax(1), CLASSES) == sk.accuracy_score(CLASSES, SCORES.argmax(1))
    ignoring = M.Accuracy(ignore_index=0)
    keep = CLASSES != 0
    assert ignoring(tg.tensor(SCORES), tg.tensor(CLASSES)) == sk.accuracy_score(CLASSES[keep], SCORES.argmax(1)[keep])


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k(k):
    want = sk.top_k_accuracy_score(CLASSES, SCORES, k=k, labels=range(5))
    assert both(lambda: M.TopKAccuracy(k), SCORES, CLASSES) == want


def test_nan_is_not_among_the_highest():
    top = M.TopKAccuracy(3)
    top.update(tg.full((2, 3), np.nan), tg.tensor([0, 2]))
    assert top.compute() == 0


def test_confusion_matrix():
    want = sk.confusion_matrix(CLASSES, SCORES.argmax(1), labels=range(5))
    np.testing.assert_array_equal(both(lambda: M.ConfusionMatrix(5), SCORES, CLASSES), want)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("ours, theirs", [(M.Precision, sk.precision_score), (M.Recall, sk.recall_score),
                                          (M.F1, sk.f1_score)])
def test_of_classes(ours, theirs, average):
    """One class does not occur among the targets: its recall is 0."""
    got = both(lambda: ours(5, average), SCORES, CLASSES)
    want = theirs(CLASSES, SCORES.argmax(1), labels=range(5), average=average, zero_division=0)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    binary = both(lambda: ours(2, "binary", threshold=0.4), PROBABILITIES, BITS)
    np.testing.assert_allclose(binary, theirs(BITS, PROBABILITIES > 0.4), rtol=1e-14)


def test_mean_iou():
    masks, truth = RNG.randint(0, 4, (6, 9, 9)), RNG.randint(0, 3, (6, 9, 9))
    want = sk.jaccard_score(truth.ravel(), masks.ravel(), average="macro", labels=range(4))
    got = streamed(M.MeanIoU(5), masks, truth, (1, 2, 3))  # the fifth class occurs nowhere and does not count
    assert got == pytest.approx(want, rel=1e-14)
    ignoring = M.MeanIoU(4, ignore_index=2)
    keep = truth != 2
    want = sk.jaccard_score(truth[keep], masks[keep], average="macro", labels=range(4))
    assert ignoring(tg.tensor(masks), tg.tensor(truth)) == pytest.approx(want, rel=1e-14)


def test_auc():
    """Scores in tenths: many ties."""
    assert both(M.AUC, PROBABILITIES, BITS) == pytest.approx(sk.roc_auc_score(BITS, PROBABILITIES), rel=1e-12)
    targets = np.arange(200) % 5
    p = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
    got = both(lambda: M.AUC(5), p, targets)
    assert got == pytest.approx(sk.roc_auc_score(targets, p, multi_class="ovr"), rel=1e-12)


def test_mean():
    m = M.Mean()
    m.update(tg.tensor(2.0), 3)
    m.update(5.0)
    m.update(tg.tensor([1.0, 3.0]))
    assert m.compute() == (6 + 5 + 4) / 6


def test_low_precision_scores():
    assert M.Accuracy()(tg.tensor(SCORES).to(tg.bfloat16), tg.tensor(CLASSES)) == pytest.approx(
        sk.accuracy_score(CLASSES, SCORES.argmax(1)), abs=0.02)


@pytest.mark.parametrize("make", [M.Accuracy, lambda: M.TopKAccuracy(2), lambda: M.ConfusionMatrix(5), lambda: M.F1(5),
                                  lambda: M.MeanIoU(5), lambda: M.AUC(5)], ids=range(6))
def test_reset_and_state(make, tmp_path):
    targets = np.arange(200) % 5
    a, b = make(), make()
    a.update(tg.tensor(SCORES[:80]), tg.tensor(targets[:80]))
    tg.save(a.state_dict(), tmp_path / "m")
    b.load_state_dict(tg.load(tmp_path / "m"))
    for m in (a, b):
        m.update(tg.tensor(SCORES[80:]), tg.tensor(targets[80:]))
    np.testing.assert_array_equal(a.compute(), b.compute())
    a.reset()
    a.update(tg.tensor(SCORES), tg.tensor(targets))
    np.testing.assert_array_equal(a.compute(), b.compute())


def test_nothing_seen():
    assert np.isnan(M.Accuracy().compute()) and np.isnan(M.Mean().compute()) and np.isnan(M.AUC().compute())
    assert np.isnan(M.MeanIoU(3).compute()) and M.F1(3).compute() == 0


@pytest.mark.parametrize("make, prediction, target, message", [
    (M.Accuracy, np.zeros((3, 2)), np.zeros((4,), int), "scores with a class axis"),
    (lambda: M.TopKAccuracy(2), np.zeros((3,)), np.zeros((3,), int), r"\[TopKAccuracy\] expected scores \[N, C\]"),
    (lambda: M.ConfusionMatrix(2), np.array([0, 2]), np.array([0, 1]), r"predictions in \[0, 2\)"),
    (lambda: M.ConfusionMatrix(2), np.array([0, 1]), np.array([0, -1]), r"targets in \[0, 2\)"),
    (M.AUC, np.zeros((3, 2)), np.zeros((3,), int), r"\[AUC\] expected scores"),
    (M.AUC, np.array([0.5, np.nan]), np.array([0, 1]), "got NaN"),
    (M.Accuracy, np.zeros((3, 1)), np.ones((3,), int), "scores of two classes or more"),
    (lambda: M.TopKAccuracy(1), np.zeros((1, 3)), np.array([-1]), r"targets in \[0, 3\)"),
    (lambda: M.TopKAccuracy(1), np.zeros((1, 3)), np.array([3]), r"targets in \[0, 3\)"),
])
def test_wrong_batches(make, prediction, target, message):
    with pytest.raises(ValueError, match=message):
        make().update(tg.tensor(prediction), tg.tensor(target))


@pytest.mark.parametrize("make", [lambda: M.TopKAccuracy(0), lambda: M.ConfusionMatrix(1), lambda: M.F1(3, "binary"),
                                  lambda: M.F1(3, "mean")], ids=range(4))
def test_wrong_arguments(make):
    with pytest.raises(ValueError, match="expected"):
        make()
