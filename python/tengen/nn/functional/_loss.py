# SPDX-License-Identifier: Apache-2.0
"""Losses; `reduction` is 'mean', 'sum' or 'none'. Formulas and errors: the ops of the same names (help(tg.mse_loss))."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tengen as tg

from ._arguments import check_reduction
from ._distance import pairwise_distance

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cross_entropy", "ctc_loss",
    "gaussian_nll_loss", "hinge_embedding_loss", "hinge_loss", "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss", "nll_loss", "poisson_nll_loss",
    "sigmoid_focal_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

# ---- classes ---------------------------------------------------------------------------------------------------------


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Any:
    """Of logits [N, C, ...] (or [C]) against class indices [N, ...] or probabilities of the logits' shape."""
    return tg.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[n, target[n], ...] of log-probabilities [N, C, ...]; the mean is weighted by the classes' weights."""
    return tg.nll_loss(input, target, weight, reduction, ignore_index)


def multi_margin_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
                      reduction: str = "mean") -> Any:
    """sum over i != t of weight[t] max(0, margin - x[t] + x[i])^p / C, of scores [N, C] and class indices [N]."""
    return tg.multi_margin_loss(input, target, weight, reduction, margin, p)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """sum over targets t and other classes i of max(0, 1 - x[t] + x[i]) / C; a target's row [C] ends at its first -1."""
    return tg.multilabel_margin_loss(input, target, reduction)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """The mean over classes of the binary cross-entropy of logits [N, C]."""
    return tg.multilabel_soft_margin_loss(input, target, weight, reduction)


# ---- numbers ---------------------------------------------------------------------------------------------------------


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2."""
    return tg.mse_loss(input, target, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|."""
    return tg.l1_loss(input, target, reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) for |d| < beta, else |d| - beta / 2."""
    return tg.smooth_l1_loss(input, target, reduction, beta)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2)."""
    return tg.huber_loss(input, target, reduction, delta)


def poisson_nll_loss(input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8,
                     reduction: str = "mean") -> Any:
    """exp(x) - target x of the logarithms of rates; x - target log(x + eps) of rates."""
    return tg.poisson_nll_loss(input, target, reduction, log_input, full, eps)


def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Any:
    """(log v + (input - target)^2 / v) / 2 with v = max(var, eps); `target` broadcasts to input, `var` is a tensor or a number."""
    if target.shape != input.shape:
        target = target.expand(input.shape)
    if not isinstance(var, tg.Tensor):
        if var < 0:
            raise ValueError(f"[gaussian_nll_loss] expected a variance of 0 or more, got {var}")
        var = tg.full((), var, dtype=input.dtype, device=input.device)
    return tg.gaussian_nll_loss(input, target, var, reduction, full, eps)


# ---- probabilities ---------------------------------------------------------------------------------------------------


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-weight (target log input + (1 - target) log(1 - input)); logarithms count as at least -100."""
    return tg.binary_cross_entropy(input, target, weight, reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, reduction: str = "mean",
                                     pos_weight: Any = None) -> Any:
    """binary_cross_entropy of sigmoid(input), without overflow; `pos_weight` multiplies the term of target 1."""
    return tg.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


def sigmoid_focal_loss(inputs: Any, targets: Any, alpha: float = 0.25, gamma: float = 2.0,
                       reduction: str = "none") -> Any:
    """binary_cross_entropy_with_logits times (1 - p)^gamma, p the target's probability, and alpha or 1 - alpha."""
    return tg.sigmoid_focal_loss(inputs, targets, reduction, alpha, gamma)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """log(1 + exp(-target input)) for targets 1 and -1."""
    return tg.soft_margin_loss(input, target, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """target (log target - input) of log-probabilities; reduction also 'batchmean': the sum by the batch's size."""
    return tg.kl_div(input, target, reduction, log_target)


# ---- distances -------------------------------------------------------------------------------------------------------


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """input where the target is 1, max(0, margin - input) where it is -1."""
    return tg.hinge_embedding_loss(input, target, reduction, margin)


def hinge_loss(input: Any, target: Any, norm: str = "L1", reduction: str = "mean") -> Any:
    """max(0, 1 - input target) for targets 1 and -1, or its square (norm 'L2'), summed over axis 1.

    Examples
    --------
    >>> tg.nn.functional.hinge_loss(tg.tensor([[2.0, 0.5]]), tg.tensor([[1.0, -1.0]]), "L2").item()
    2.25
    """
    if norm not in ("L1", "L2"):
        raise ValueError(f"[hinge_loss] expected norm 'L1' or 'L2', got {norm!r}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"[hinge_loss] expected reduction 'none', 'mean' or 'sum', got {reduction!r}")
    if input.ndim < 2 or input.shape != target.shape:
        raise ValueError(f"[hinge_loss] expected scores and targets of one shape [N, C, ...], got {tuple(input.shape)} and {tuple(target.shape)}")
    short = tg.relu(1 - input * target)
    loss = (short if norm == "L1" else short.square()).sum(1)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """max(0, margin - target (input1 - input2))."""
    return tg.margin_ranking_loss(input1, input2, target, reduction, margin)


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1."""
    return tg.cosine_embedding_loss(input1, input2, target, reduction, margin)


def triplet_margin_loss(anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0,
                        eps: float = 1e-6, swap: bool = False, reduction: str = "mean") -> Any:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), d the p-norm of the difference."""
    return tg.triplet_margin_loss(anchor, positive, negative, reduction, margin, p, eps, swap)


def triplet_margin_with_distance_loss(anchor: Any, positive: Any, negative: Any, *,
                                      distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0,
                                      swap: bool = False, reduction: str = "mean") -> Any:
    """triplet_margin_loss with a distance of one's own, d(x1, x2); by default pairwise_distance.

    Raises
    ------
    ValueError
        The margin is not above 0, or the reduction is unknown.
    """
    check_reduction(reduction, "triplet_margin_with_distance_loss")
    if margin <= 0:
        raise ValueError(f"[triplet_margin_with_distance_loss] expected a margin above 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = tg.minimum(far, distance(positive, negative))
    loss = (margin + near - far).relu()
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


# ---- sequences -------------------------------------------------------------------------------------------------------


def _lengths(lengths: Any, limit: int, what: str, device: Any) -> tuple[Any, list[int] | None]:
    """Lengths as an i64 tensor [N], and as a list where that needs no waiting; ValueError outside 0 ... limit."""
    if isinstance(lengths, tg.Tensor):
        tensor = lengths.reshape((-1,)).to(tg.int64)
        known = tensor.tolist() if tensor.device.is_host else None
    else:
        known = [int(v) for v in (lengths if hasattr(lengths, "__iter__") else [lengths])]
        tensor = tg.tensor(known, dtype=tg.int64)
    for v in known or ():
        if not 0 <= v <= limit:
            raise ValueError(f"[ctc_loss] expected {what} between 0 and {limit}, got {v}")
    return tensor.to(device), known


def ctc_loss(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Any:
    """The negative log-probability of target sequences under all alignments.

    Parameters
    ----------
    log_probs : tensor [T, N, C], or [T, C]
        Log-probabilities of classes by step.
    targets : integers [N, S], or [S], or all targets one after the other
    input_lengths, target_lengths : integers [N] or []
        Tensors, lists or numbers.
    blank : int
        The class of no label.
    zero_infinity : bool
        Losses of targets that do not fit their inputs count as 0 instead of infinity.

    Raises
    ------
    ValueError
        Shapes do not fit, or a length is out of range.
    """
    device = log_probs.device
    if log_probs.ndim == 2:
        loss = ctc_loss(log_probs.unsqueeze(1), targets.reshape((1, -1)), input_lengths, target_lengths, blank,
                        reduction, zero_infinity)
        return loss.squeeze(0) if reduction == "none" else loss
    if log_probs.ndim != 3:
        raise ValueError(f"[ctc_loss] expected log_probs of shape (T, N, C), got {tuple(log_probs.shape)}")
    limit = targets.numel() if targets.ndim == 1 else targets.shape[-1]
    inputs, _ = _lengths(input_lengths, log_probs.shape[0], "input lengths", device)
    lengths, known = _lengths(target_lengths, limit, "target lengths", device)
    if targets.ndim == 1:  # the rows of a padded table, by index
        known = lengths.tolist() if known is None else known
        if sum(known) != limit:
            raise ValueError(f"[ctc_loss] expected targets of {sum(known)} elements, the sum of target_lengths, got {limit}")
        starts = (lengths.cumsum(0) - lengths).unsqueeze(1)
        places = starts + tg.arange(max(known, default=0), device=device)
        if limit:
            rows = tg.index_select(targets.to(device), places.clip(0, limit - 1).reshape((-1,)))
            places = rows.reshape(places.shape)
        targets = places
    return tg.ctc_loss(log_probs, targets.to(device), inputs, lengths, reduction, blank, zero_infinity)
