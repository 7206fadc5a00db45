# SPDX-License-Identifier: Apache-2.0
"""A softmax over many classes whose rare ones cost less (E. Grave et al., Efficient softmax approximation for GPUs, 2017)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tengen as tg

from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _Result(NamedTuple):
    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """log softmax over n_classes in order of their frequency: the first cutoffs[0] at once, the others in clusters, each behind one more
    class of the head and a narrower layer.

    Parameters
    ----------
    in_features, n_classes : int
    cutoffs : sequence of int
        ascending, below n_classes: where clusters begin
    div_value : float
        by which the width falls from cluster to cluster
    head_bias : bool

    Returns
    -------
    (output, loss)
        of forward(input [N, in_features], target [N]): the target's log probability, [N], and the mean of its negative.
        [in_features] and a number are understood, too

    Examples
    --------
    >>> layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10])
    >>> layer(tg.zeros(3, 8), tg.tensor([0, 5, 19])).output.shape, layer.log_prob(tg.zeros(3, 8)).shape
    ((3,), (3, 20))
    """

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0, head_bias: bool = False,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs or cutoffs != sorted(set(cutoffs)) or cutoffs[0] < 1 or cutoffs[-1] >= n_classes:
            raise ValueError(f"[AdaptiveLogSoftmaxWithLoss] expected ascending cutoffs from 1 to {n_classes - 1}, got {cutoffs}")
        self.in_features, self.n_classes, self.div_value, self.head_bias = in_features, n_classes, div_value, head_bias
        self.cutoffs = [*cutoffs, n_classes]
        self.shortlist_size, self.n_clusters = cutoffs[0], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            width = int(in_features // div_value ** (i + 1))
            if width < 1:
                raise ValueError(f"[AdaptiveLogSoftmaxWithLoss] expected a width of at least 1, got {in_features} / {div_value}^{i + 1} for cluster {i}")
            self.tail.append(Sequential(Linear(in_features, width, False, device, dtype), Linear(width, high - low, False, device, dtype)))

    def reset_parameters(self) -> None:
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input: Any, target: Any) -> Any:
        if target.ndim == 0 and input.ndim == 1:
            output, loss = self.forward(input.unsqueeze(0), target.unsqueeze(0))
            return _Result(output.squeeze(0), loss)
        if target.ndim != 1 or input.ndim != 2 or input.shape[0] != target.shape[0]:
            raise ValueError(f"[AdaptiveLogSoftmaxWithLoss] expected input [N, in_features] and target [N], got shapes {tuple(input.shape)} and "
                             f"{tuple(target.shape)}")
        if target.numel() and not bool(((target >= 0) & (target < self.n_classes)).all()):
            raise ValueError(f"[AdaptiveLogSoftmaxWithLoss] expected targets from 0 to {self.n_classes - 1}, got {int(target.min())} to {int(target.max())}")
        head = self.head(input).log_softmax(-1)
        at, extra = target, tg.zeros(target.shape, dtype=head.dtype, device=head.device)
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            rows = tg.nonzero((target >= low) & (target < high)).squeeze(-1)  # the cluster's own: its cost is theirs alone
            if rows.shape[0] == 0:
                continue
            inside = self.tail[i](input.index_select(0, rows)).log_softmax(-1)
            found = tg.take_along_axis(inside, (target.index_select(0, rows) - low).unsqueeze(-1), -1).squeeze(-1)
            extra = extra.index_copy(0, rows, found.to(extra.dtype))
            at = tg.where((target >= low) & (target < high), self.shortlist_size + i, at)
        output = tg.take_along_axis(head, at.unsqueeze(-1), -1).squeeze(-1) + extra
        return _Result(output, (-output).mean())

    def log_prob(self, input: Any) -> Any:
        """The log probabilities of all classes, [N, n_classes]."""
        head = self.head(input).log_softmax(-1)
        parts = [head[:, :self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            parts.append(tail(input).log_softmax(-1) + head[:, self.shortlist_size + i].unsqueeze(-1))
        return tg.concat(parts, -1)

    def predict(self, input: Any) -> Any:
        """The most probable class, [N]."""
        return self.log_prob(input).argmax(-1)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, n_classes={self.n_classes}, cutoffs={self.cutoffs[:-1]}"
