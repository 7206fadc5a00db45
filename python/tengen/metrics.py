# SPDX-License-Identifier: Apache-2.0
"""Measures of a model, gathered over batches: update(prediction, target), compute(), reset().

>>> accuracy = tg.metrics.Accuracy()
>>> accuracy.update(tg.tensor([[0.1, 0.9], [0.8, 0.2]]), tg.tensor([1, 1]))
>>> accuracy.compute()
0.5

Counting is done on the host in 64-bit integers: results do not depend on how the data was cut into batches.
"""
from __future__ import annotations

from typing import Any

import numpy as np

import tengen as tg

__all__ = ["AUC", "F1", "Accuracy", "ConfusionMatrix", "Mean", "MeanIoU", "Metric", "Precision", "Recall", "TopKAccuracy"]


def _array(x: Any) -> np.ndarray:
    if isinstance(x, tg.Tensor):
        x = x.detach()
        if x.dtype in (tg.bfloat16, tg.float16):
            x = x.to(tg.float32)
        return x.cpu().numpy()
    return np.asarray(x)


class Metric:
    """Base: a subclass keeps what it has seen in attributes named in `_state` and defines update() and compute()."""

    _state: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.reset()

    def update(self, prediction: Any, target: Any) -> None:
        """Takes in a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    def compute(self) -> Any:
        """The measure of everything since reset()."""
        raise NotImplementedError(f"{type(self).__name__} has no compute()")

    def reset(self) -> None:
        """Forgets everything."""
        raise NotImplementedError(f"{type(self).__name__} has no reset()")

    def __call__(self, prediction: Any, target: Any) -> Any:
        """update(), then compute()."""
        self.update(prediction, target)
        return self.compute()

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in self._state:
            setattr(self, name, state_dict[name])

    def _fail(self, expected: str, got: Any) -> Exception:
        return ValueError(f"[{type(self).__name__}] expected {expected}, got {got}")


class Mean(Metric):
    """The weighted mean of numbers: update(value, weight=1)."""

    _state = ("total", "weight")

    def update(self, prediction: Any, target: Any = 1) -> None:
        value, weight = _array(prediction).astype(np.float64), _array(target).astype(np.float64)
        self.total += float((value * weight).sum())
        self.weight += float(np.broadcast_to(weight, value.shape).sum())

    def compute(self) -> float:
        return self.total / self.weight if self.weight else float("nan")

    def reset(self) -> None:
        self.total = self.weight = 0.0


class TopKAccuracy(Metric):
    """The share of targets that are among the k highest scores [N, C]; of equal scores the lower class counts as higher.

    NaN is among none.
    """

    _state = ("right", "seen")

    def __init__(self, k: int = 5) -> None:
        if k < 1:
            raise self._fail("k >= 1", k)
        self.k = k
        super().__init__()

    def update(self, prediction: Any, target: Any) -> None:
        scores, target = _array(prediction), _array(target)
        if scores.ndim != 2 or target.shape != scores.shape[:1]:
            raise self._fail("scores [N, C] and targets [N]", f"{scores.shape} and {target.shape}")
        if len(target) and not 0 <= target.min() <= target.max() < scores.shape[1]:
            raise self._fail(f"targets in [0, {scores.shape[1]})", f"classes from {target.min()} to {target.max()}")
        own = np.take_along_axis(scores, target[:, None].astype(np.int64), 1)
        before = (scores > own).sum(1) + ((scores == own) & (np.arange(scores.shape[1]) < target[:, None])).sum(1)
        before[np.isnan(own[:, 0])] = scores.shape[1] + self.k  # NaN is among no highest
        self.right += int((before < self.k).sum())
        self.seen += len(target)

    def compute(self) -> float:
        return self.right / self.seen if self.seen else float("nan")

    def reset(self) -> None:
        self.right = self.seen = 0


class _Labels(Metric):
    """Metrics of predicted against true classes."""

    def __init__(self, threshold: float = 0.5, ignore_index: int | None = None) -> None:
        self.threshold = threshold
        self.ignore_index = ignore_index
        super().__init__()

    def _labels(self, prediction: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
        """Flat class numbers. Predictions: scores [N, C, ...], or classes or (binary) probabilities of target's shape."""
        prediction, target = _array(prediction), _array(target)
        if prediction.ndim == target.ndim + 1:
            if prediction.shape[1] < 2:
                raise self._fail("scores of two classes or more, or probabilities of the targets' shape",
                                 f"{prediction.shape} for targets {target.shape}")
            prediction = prediction.argmax(1)
        elif prediction.shape == target.shape and prediction.dtype.kind == "f":
            prediction = prediction > self.threshold
        if prediction.shape != target.shape:
            raise self._fail("classes of the targets' shape, or scores with a class axis behind the first",
                             f"{prediction.shape} for targets {target.shape}")
        prediction, target = prediction.ravel().astype(np.int64), target.ravel().astype(np.int64)
        if self.ignore_index is None:
            return prediction, target
        keep = target != self.ignore_index
        return prediction[keep], target[keep]


class Accuracy(_Labels):
    """The share of right predictions.

    Parameters
    ----------
    threshold : float
        Probabilities above it are class 1, where predictions have the targets' shape and are floats.
    ignore_index : int, optional
        Targets that do not count.
    """

    _state = ("right", "seen")

    def update(self, prediction: Any, target: Any) -> None:
        prediction, target = self._labels(prediction, target)
        self.right += int((prediction == target).sum())
        self.seen += len(target)

    def compute(self) -> float:
        return self.right / self.seen if self.seen else float("nan")

    def reset(self) -> None:
        self.right = self.seen = 0


class ConfusionMatrix(_Labels):
    """counts[i, j]: how often class i was taken for class j.

    Parameters
    ----------
    num_classes : int
    threshold, ignore_index
        As Accuracy's.

    Raises
    ------
    ValueError
        A class is not in [0, num_classes).
    """

    _state = ("counts",)

    def __init__(self, num_classes: int, threshold: float = 0.5, ignore_index: int | None = None) -> None:
        if num_classes < 2:
            raise self._fail("num_classes >= 2", num_classes)
        self.num_classes = num_classes
        super().__init__(threshold, ignore_index)

    def update(self, prediction: Any, target: Any) -> None:
        prediction, target = self._labels(prediction, target)
        n = self.num_classes
        for what, labels in (("predictions", prediction), ("targets", target)):
            if len(labels) and not 0 <= labels.min() <= labels.max() < n:
                raise self._fail(f"{what} in [0, {n})", f"classes from {labels.min()} to {labels.max()}")
        self.counts = self.counts + np.bincount(target * n + prediction, minlength=n * n).reshape(n, n)

    def compute(self) -> Any:
        return self.counts.copy()

    def reset(self) -> None:
        self.counts = np.zeros((self.num_classes, self.num_classes), np.int64)


class _OfClasses(ConfusionMatrix):
    """Measures of each class, averaged: 'macro' (plain), 'weighted' (by true counts), 'micro' (all counts together), None (an
    array, one per class) or 'binary' (class 1 of two). A class without the counts that it needs has 0.
    """

    def __init__(self, num_classes: int = 2, average: str | None = "macro", threshold: float = 0.5,
                 ignore_index: int | None = None) -> None:
        if average not in ("macro", "weighted", "micro", "binary", None) or (average == "binary" and num_classes != 2):
            raise self._fail("average 'macro', 'weighted', 'micro', 'binary' (of two classes) or None", repr(average))
        self.average = average
        super().__init__(num_classes, threshold, ignore_index)

    def _ratio(self, right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def compute(self) -> Any:
        right, predicted, true = np.diag(self.counts), self.counts.sum(0), self.counts.sum(1)
        if self.average == "micro":
            return float(self._ratio(right.sum(), predicted.sum(), true.sum()))
        each = self._ratio(right, predicted, true)
        if self.average is None:
            return each
        if self.average == "binary":
            return float(each[1])
        if self.average == "macro":
            return float(each.mean())
        return float((each * true).sum() / true.sum()) if true.sum() else 0.0


def _over(a: Any, b: Any) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(np.shape(b)), where=np.asarray(b) > 0)


class Precision(_OfClasses):
    """Of what was predicted as a class, the share that is of it."""

    def _ratio(self, right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return _over(right, predicted)


class Recall(_OfClasses):
    """Of what is of a class, the share that was predicted as it."""

    def _ratio(self, right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return _over(right, true)


class F1(_OfClasses):
    """The harmonic mean of precision and recall: 2 right / (predicted + true)."""

    def _ratio(self, right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return _over(2 * right, predicted + true)


class MeanIoU(ConfusionMatrix):
    """Intersection over union of predicted and true places, averaged over the classes that occur (for segmentation)."""

    def compute(self) -> float:
        right, union = np.diag(self.counts), self.counts.sum(0) + self.counts.sum(1) - np.diag(self.counts)
        there = union > 0
        return float((right[there] / union[there]).mean()) if there.any() else float("nan")


class AUC(Metric):
    """Area under the receiver operating characteristic: how often a score of class 1 is above one of class 0, ties half.

    Parameters
    ----------
    num_classes : int
        2: scores [N] (any scale) and targets 0 or 1. More: scores [N, C]; each class against the rest, averaged.

    Exact, and so it keeps all scores.
    """

    _state = ("scores", "targets")

    def __init__(self, num_classes: int = 2) -> None:
        self.num_classes = num_classes
        super().__init__()

    def update(self, prediction: Any, target: Any) -> None:
        scores, target = _array(prediction), _array(target).astype(np.int64)
        shape = target.shape if self.num_classes == 2 else (*target.shape, self.num_classes)
        if target.ndim != 1 or scores.shape != shape:
            raise self._fail("scores [N] (two classes) or [N, C], and targets [N]", f"{scores.shape} and {target.shape}")
        if scores.dtype.kind == "f" and np.isnan(scores).any():
            raise self._fail("scores that can be ordered", "NaN")
        self.scores = np.concatenate([self.scores, scores.astype(np.float64)])
        self.targets = np.concatenate([self.targets, target])

    @staticmethod
    def _area(scores: np.ndarray, positive: np.ndarray) -> float:
        n1 = int(positive.sum())
        n0 = len(positive) - n1
        if not n1 or not n0:
            return float("nan")
        _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
        rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # the mean rank of equal scores (Mann and Whitney, 1947)
        return float((rank[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))

    def compute(self) -> float:
        if self.num_classes == 2:
            return self._area(self.scores, self.targets == 1)
        return float(np.mean([self._area(self.scores[:, c], self.targets == c) for c in range(self.num_classes)]))

    def reset(self) -> None:
        self.scores = np.zeros((0,) if self.num_classes == 2 else (0, self.num_classes))
        self.targets = np.zeros(0, np.int64)
