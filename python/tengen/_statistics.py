# SPDX-License-Identifier: Apache-2.0
"""Histograms, covariances and quantiles with the arguments that NumPy and PyTorch give them, over the ops of those names."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import _core
from ._core import Tensor

__all__ = ["corrcoef", "cov", "histogram", "histogramdd", "nanquantile", "quantile", "std_mean", "var_mean"]
_ops = _core.ops


class Histogram(NamedTuple):
    """What histogram() gives; by PyTorch's names ``hist`` and ``bin_edges``, too."""

    counts: Tensor
    edges: Any

    @property
    def hist(self) -> Tensor:
        """counts"""
        return self.counts

    @property
    def bin_edges(self) -> Any:
        """edges"""
        return self.edges


def _density(counts: Tensor, *edges: Tensor) -> Tensor:
    """Counts over their sum and the sizes of the bins."""
    out = counts / counts.sum()
    for i, e in enumerate(edges):
        out = out / (e[1:] - e[:-1]).reshape((-1,) + (1,) * (counts.ndim - 1 - i))
    return out


def _bounds(name: str, range: Any, low: float, high: float) -> tuple[float, float]:
    low, high = (low, high) if range is None else range
    if range is not None and low == high == 0.0:
        raise ValueError(f"[{name}] expected a range that is not (0, 0), which stands for the smallest and the largest element")
    return float(low), float(high)


def histogram(x: Tensor, bins: Any = 10, low: float = 0.0, high: float = 0.0, *, range: Sequence[float] | None = None,
              weight: Tensor | None = None, density: bool = False) -> Histogram:
    """How many elements lie in each bin, and the bins' edges. A bin takes its lower edge, the last one its upper one, too; what
    lies outside (and NaN) does not count. No gradient.

    Parameters
    ----------
    x : Tensor
        floats of any shape
    bins : int or Tensor
        how many bins of equal width, or their edges [n + 1], ascending
    low, high : float
        the first and the last edge; 0, 0: the smallest and the largest element
    range : pair of float, optional
        low and high
    weight : Tensor, optional
        of x's shape: summed instead of counted
    density : bool
        divide by the sum of all and by the width of each bin

    Returns
    -------
    Histogram
        counts [n] and edges [n + 1] in x's dtype

    Raises
    ------
    ValueError
        for no bins, high < low, and weights of another shape
    TypeError
        for integers

    Examples
    --------
    >>> x = tg.tensor([0.0, 0.5, 1.0, 1.0])
    >>> [v.tolist() for v in tg.histogram(x, 2)]
    [[1.0, 3.0], [0.0, 0.5, 1.0]]
    >>> tg.histogram(x, tg.tensor([0.0, 0.75, 1.0]), weight=tg.tensor([1.0, 2.0, 3.0, 4.0])).counts.tolist()
    [3.0, 7.0]
    """
    if isinstance(bins, Tensor):
        if range is not None or low or high:
            raise ValueError("[histogram] expected edges or a range, got both")
        counts, edges = _ops["histogram_in"](x, bins.to(x.dtype), weight), bins.to(x.dtype)
    else:
        counts, edges = _ops["histogram"](x, bins, *_bounds("histogram", range, low, high))
        if weight is not None:
            counts = _ops["histogram_in"](x, edges, weight)
    return Histogram(_density(counts, edges) if density else counts, edges)


def histogramdd(x: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Tensor | None = None,
                density: bool = False) -> Histogram:
    """histogram() of points of several coordinates.

    Parameters
    ----------
    x : Tensor
        floats [..., D]
    bins : int, sequence of int, or sequence of Tensor
        how many bins along every coordinate, or their edges
    range : sequence of 2 D floats, optional
        the first and the last edge along every coordinate; the smallest and the largest one by default
    weight : Tensor, optional
        [...]: summed instead of counted
    density : bool
        divide by the sum of all and by the volume of each bin

    Returns
    -------
    Histogram
        counts with one axis per coordinate, and a tuple of D edges

    Examples
    --------
    >>> x = tg.tensor([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]])
    >>> tg.histogramdd(x, 2).counts.tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    if x.ndim < 2:
        raise ValueError(f"[histogramdd] expected points [..., D], got shape {tuple(x.shape)}")
    n = x.shape[-1]
    points = x.detach().reshape((-1, n) if x.numel() else (0, n))
    bins = [bins] * n if isinstance(bins, int) else list(bins)
    if len(bins) != n or (range is not None and len(range) != 2 * n):
        raise ValueError(f"[histogramdd] expected bins (and 2 numbers of a range) for {n} coordinates, got {len(bins)}"
                         f"{'' if range is None else f' (and {len(range)})'}")
    edges, place, inside, shape = [], None, None, []
    for i, b in enumerate(bins):
        column = points[:, i]
        span = None if range is None else range[2 * i : 2 * i + 2]
        e = b.to(x.dtype) if isinstance(b, Tensor) else histogram(column, b, range=span).edges
        at = _ops["searchsorted"](e, column, right=True) - 1 - (column == e[-1]).to(_core.int64)
        size = e.shape[0] - 1
        here = (at >= 0) & (at < size)
        place = at if place is None else place * size + at
        inside = here if inside is None else inside & here
        edges.append(e)
        shape.append(size)
    total = 1
    for s in shape:
        total *= s
    where = _ops["where"](inside, place, total)
    weights = _core._full((points.shape[0],), 1, x.dtype, x.device) if weight is None else weight.detach().reshape((-1,)).to(x.dtype)
    if weights.shape != where.shape:
        raise ValueError(f"[histogramdd] expected weights of shape {tuple(x.shape[:-1])}, got {tuple(weight.shape)}")
    sums = _ops["scatter_add"](_core._full((total + 1,), 0, x.dtype, x.device), where, weights, 0)[:total].reshape(tuple(shape))
    return Histogram(_density(sums, *edges) if density else sums, tuple(edges))


def cov(x: Tensor, correction: float = 1.0, *, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance matrix; rows are variables. One variable gives its variance, without axes.

    Parameters
    ----------
    x : Tensor
        floats, [variables, observations] or [observations]
    correction : float
        1: unbiased; 0: of the population
    fweights : Tensor, optional
        integers [observations]: how often each observation counts
    aweights : Tensor, optional
        floats [observations], not negative: how much each observation counts

    Raises
    ------
    TypeError
        for integers
    ValueError
        for more than two axes, and weights of other shapes

    Examples
    --------
    >>> tg.cov(tg.tensor([[1.0, 3.0], [2.0, 0.0]])).tolist()
    [[2.0, -2.0], [-2.0, 2.0]]
    """
    if fweights is None and aweights is None:
        y = _ops["cov"](x, correction)
    else:
        y = _ops["weighted_cov"](x, fweights, aweights, correction)
    return y.reshape(()) if y.shape == (1, 1) else y


def corrcoef(x: Tensor) -> Tensor:
    """Correlation coefficients: cov() over the standard deviations, within [-1, 1]. One variable gives a number, without axes.

    Raises
    ------
    TypeError
        for integers

    Examples
    --------
    >>> tg.corrcoef(tg.tensor([[1.0, 3.0, 2.0], [2.0, 4.0, 3.0]])).round().tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    y = _ops["corrcoef"](x)
    return y.reshape(()) if y.shape == (1, 1) else y


def _quantile(name: str, skip: bool, x: Tensor, q: Any, axis: Any, keepdims: bool, interpolation: str) -> Tensor:
    axes = () if axis is None else axis
    if not isinstance(q, Tensor):
        return _ops[name](x, q, axes, keepdims, interpolation)
    if q.ndim > 1:
        raise ValueError(f"[{name}] expected q of at most one axis, got shape {tuple(q.shape)}")
    values = q.tolist() if q.ndim else [q.item()]
    if not all(0 <= v <= 1 for v in values):
        raise ValueError(f"[{name}] expected q between 0 and 1, got {next(v for v in values if not 0 <= v <= 1)}")
    return _ops["quantile_at"](x, q, axes, keepdims, interpolation, skip)


def quantile(x: Tensor, q: Any, axis: Any = None, keepdims: bool = False, interpolation: str = "linear", *, dim: Any = None,
             keepdim: bool = False) -> Tensor:
    """The element, or the mix of two, below which a share q of the sorted elements lies; NaN if any is. Differentiable in x, and
    in q where that is a tensor.

    Parameters
    ----------
    x : Tensor
        floats
    q : float, sequence of float, or Tensor
        between 0 and 1; several (one axis) make a new first axis. A tensor is read in host memory
    axis, dim : int or sequence of int, optional
        all by default
    keepdims, keepdim : bool
        leave the axes with size 1
    interpolation : {'linear', 'lower', 'higher', 'midpoint', 'nearest'}
        between two elements

    Raises
    ------
    ValueError
        for q outside [0, 1], and over no elements
    TypeError
        for integers

    Examples
    --------
    >>> tg.quantile(tg.tensor([1.0, 2.0, 3.0, 5.0]), 0.5).item()
    2.5
    """
    return _quantile("quantile", False, x, q, dim if axis is None else axis, keepdims or keepdim, interpolation)


def nanquantile(x: Tensor, q: Any, axis: Any = None, keepdims: bool = False, interpolation: str = "linear", *, dim: Any = None,
                keepdim: bool = False) -> Tensor:
    """quantile() of the elements that are not NaN; NaN where there is none.

    Examples
    --------
    >>> tg.nanquantile(tg.tensor([1.0, float("nan"), 3.0]), [0.0, 1.0]).tolist()
    [1.0, 3.0]
    """
    return _quantile("nanquantile", True, x, q, dim if axis is None else axis, keepdims or keepdim, interpolation)


def var_mean(x: Tensor, axis: Any = (), correction: float = 1.0, keepdims: bool = False, *, dim: Any = None,
             keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """(var, mean) over the same axes.

    Examples
    --------
    >>> [v.item() for v in tg.var_mean(tg.tensor([1.0, 3.0]))]
    [2.0, 2.0]
    """
    axis, keep = axis if dim is None else dim, keepdims or keepdim
    return _ops["var"](x, axis, correction, keep), _ops["mean"](x, axis, keep)


def std_mean(x: Tensor, axis: Any = (), correction: float = 1.0, keepdims: bool = False, *, dim: Any = None,
             keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """(std, mean) over the same axes.

    Examples
    --------
    >>> [v.item() for v in tg.std_mean(tg.tensor([1.0, 3.0]), correction=0)]
    [1.0, 2.0]
    """
    axis, keep = axis if dim is None else dim, keepdims or keepdim
    return _ops["std"](x, axis, correction, keep), _ops["mean"](x, axis, keep)


def install() -> None:
    """Puts the functions on Tensor."""
    for name in ("corrcoef", "cov", "histogram", "nanquantile", "quantile"):
        setattr(Tensor, name, globals()[name])
