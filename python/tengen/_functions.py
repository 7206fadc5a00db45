# SPDX-License-Identifier: Apache-2.0
"""Functions by the names of PyTorch and NumPy that are a few lines of ops each."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import _core
from ._core import Tensor
from ._methods import _axis

__all__ = [
    "addcdiv", "addcmul", "cdist", "cholesky_inverse", "cumulative_trapezoid", "dist", "fmax", "fmin", "gcd", "gradient", "index_reduce", "indexing_one_hot", "inverse", "lcm",
    "logdet", "logspace", "lu_unpack", "matinv", "mvlgamma", "pinverse", "randint_like", "renorm", "unravel_index", "vander",
]  # fmt: skip
METHODS = (
    "addcdiv", "addcdiv_", "addcmul", "addcmul_", "cholesky_inverse", "dist", "fmax", "fmin", "gcd", "index_reduce", "inverse", "lcm", "logdet", "mvlgamma", "pinverse", "renorm",
)  # fmt: skip
_ops = _core.ops


# ---- elementwise ---------------------------------------------------------------------------------------------------------


def fmax(x: Tensor, y: Any) -> Tensor:
    """The larger of x and y; of a NaN and a number the number.

    Examples
    --------
    >>> tg.fmax(tg.tensor([1.0, float("nan")]), 2.0).tolist()
    [2.0, 2.0]
    """
    return _ops["where"](_ops["isnan"](x), y, _ops["where"](_ops["isnan"](y), x, _ops["maximum"](x, y)))


def fmin(x: Tensor, y: Any) -> Tensor:
    """The smaller of x and y; of a NaN and a number the number.

    Examples
    --------
    >>> tg.fmin(tg.tensor([1.0, float("nan")]), 2.0).tolist()
    [1.0, 2.0]
    """
    return _ops["where"](_ops["isnan"](x), y, _ops["where"](_ops["isnan"](y), x, _ops["minimum"](x, y)))


def addcmul(x: Tensor, y: Any, z: Any, value: Any = 1, *, out: Tensor | None = None) -> Tensor:
    """x + value y z, elementwise.

    Examples
    --------
    >>> tg.addcmul(tg.tensor([1.0]), tg.tensor([2.0]), tg.tensor([3.0]), value=10).item()
    61.0
    """
    return _ops["addcmul"](x, y, z, value, **({} if out is None else {"out": out}))


def addcdiv(x: Tensor, y: Any, z: Any, value: Any = 1, *, out: Tensor | None = None) -> Tensor:
    """x + value y / z, elementwise.

    Examples
    --------
    >>> tg.addcdiv(tg.tensor([1.0]), tg.tensor([6.0]), tg.tensor([3.0])).item()
    3.0
    """
    return _ops["addcdiv"](x, y, z, value, **({} if out is None else {"out": out}))


def addcmul_(self: Tensor, y: Any, z: Any, value: Any = 1) -> Tensor:
    """addcmul() written into this tensor."""
    return addcmul(self, y, z, value, out=self)


def addcdiv_(self: Tensor, y: Any, z: Any, value: Any = 1) -> Tensor:
    """addcdiv() written into this tensor."""
    return addcdiv(self, y, z, value, out=self)


def _integers(name: str, *tensors: Tensor) -> None:
    for t in tensors:
        if t.dtype.is_floating_point or t.dtype is _core.bool:
            raise TypeError(f"[{name}] expected integers, got {t.dtype.name}")


def _numbers(name: str, x: Any, y: Any) -> tuple[Tensor, Tensor]:
    x = x if isinstance(x, Tensor) else _core.tensor(x, y.dtype, y.device)
    y = y if isinstance(y, Tensor) else _core.tensor(y, x.dtype, x.device)
    _integers(name, x, y)
    return x, y


def gcd(x: Tensor, y: Any) -> Tensor:
    """The greatest common divisor of integers, 0 or more; gcd(0, 0) = 0. Euclid's algorithm; waits for the device at every step.

    Raises
    ------
    TypeError
        for floats and bools

    Examples
    --------
    >>> tg.gcd(tg.tensor([12, -9, 0]), tg.tensor([18, 6, 0])).tolist()
    [6, 3, 0]
    """
    x, y = _numbers("gcd", x, y)
    a, b = (_ops["abs"](t) if t.dtype.is_signed else t for t in (x, y))
    a, b = a + b * 0, b + a * 0  # of one shape and dtype
    while bool((b != 0).any().item()):
        done = b == 0
        a, b = _ops["where"](done, a, b), _ops["where"](done, b, _ops["remainder"](a, _ops["where"](done, 1, b)))
    return a


def lcm(x: Tensor, y: Any) -> Tensor:
    """The least common multiple of integers, 0 or more, and 0 where one is 0.

    Raises
    ------
    TypeError
        for floats and bools

    Examples
    --------
    >>> tg.lcm(tg.tensor([4, -6, 0]), tg.tensor([6, 4, 5])).tolist()
    [12, 12, 0]
    """
    x, y = _numbers("lcm", x, y)
    d = gcd(x, y)
    product = _ops["floor_divide"](x, _ops["where"](d == 0, 1, d)) * y
    return _ops["abs"](product) if product.dtype.is_signed else product


def mvlgamma(x: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p: p (p - 1) / 4 log(pi) + sum of lgamma(x - j / 2), j < p.

    Raises
    ------
    ValueError
        for p below 1

    Examples
    --------
    >>> round(tg.mvlgamma(tg.tensor(3.0), 2).item(), 4)
    1.5502
    """
    if p < 1:
        raise ValueError(f"[mvlgamma] expected p of 1 or more, got {p}")
    y = _ops["lgamma"](x)
    for j in range(1, p):
        y = y + _ops["lgamma"](x - 0.5 * j)
    return y + 0.25 * p * (p - 1) * math.log(math.pi)


# ---- sequences -----------------------------------------------------------------------------------------------------------


def logspace(start: float, stop: float | None = None, num: int | None = None, base: float = 10.0, *, end: float | None = None,
             steps: int | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """base to the powers of `num` numbers from start to stop, both included; computed in float64.

    Examples
    --------
    >>> tg.logspace(0, 2, 3).tolist()
    [1.0, 10.0, 100.0]
    """
    stop, num = end if stop is None else stop, steps if num is None else num
    if stop is None or num is None:
        raise TypeError("[logspace] expected start, stop and num")
    from ._creation import linspace

    exponents = linspace(float(start), float(stop), num, dtype=_core.float64, device=device)
    y = _ops["pow"](_core.tensor(float(base), _core.float64, exponents.device), exponents)
    return y.to(_core.get_default_dtype() if dtype is None else dtype).requires_grad_(requires_grad)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements as rows [n, N], N = n by default: x^(N - 1), ..., x, 1, or 1, x, ... when increasing.

    Raises
    ------
    ValueError
        for other than one axis, and for N below 0

    Examples
    --------
    >>> tg.vander(tg.tensor([2, 3]), 3).tolist()
    [[4, 2, 1], [9, 3, 1]]
    """
    n = x.numel() if N is None else N
    if x.ndim != 1 or n < 0:
        raise ValueError(f"[vander] expected one axis and N of 0 or more, got shape {tuple(x.shape)} and N {n}")
    powers = _ops["arange"](0, n, device=x.device) if increasing else _ops["arange"](n - 1, -1, -1, device=x.device)
    return _ops["pow"](x.unsqueeze(-1), powers.to(x.dtype) if x.dtype is not _core.bool else powers)


def unravel_index(indices: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """The index along each axis of row-major positions in a shape.

    Raises
    ------
    TypeError
        for floats and bools

    Examples
    --------
    >>> [i.tolist() for i in tg.unravel_index(tg.tensor([1, 5]), (2, 3))]
    [[0, 1], [1, 2]]
    """
    _integers("unravel_index", indices)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    out, rest = [], indices
    for n in reversed(shape):
        out.append(_ops["remainder"](rest, n))
        rest = _ops["floor_divide"](rest, n)
    return tuple(reversed(out))


def randint_like(x: Tensor, low: int, high: int | None = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Integers uniform in [low, high), or [0, low), with x's shape, and its dtype and device unless given.

    Examples
    --------
    >>> tg.randint_like(tg.zeros((2, 3)), 5).shape
    (2, 3)
    """
    low, high = (0, low) if high is None else (low, high)
    y = _ops["randint"](low, high, tuple(x.shape), device=x.device if device is None else device)
    return y.to(x.dtype if dtype is None else dtype)


# ---- along an axis ---------------------------------------------------------------------------------------------------------


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, axis: int = -1, dim: int | None = None) -> Tensor:
    """The running integral of y along an axis by the trapezoidal rule: one element less than y.

    Parameters
    ----------
    y : Tensor
    x : Tensor, optional
        the places: of the axis' size, or broadcast with y
    dx : float
        the distance without x
    axis, dim : int

    Examples
    --------
    >>> tg.cumulative_trapezoid(tg.tensor([1.0, 2.0, 4.0])).tolist()
    [1.5, 4.5]
    """
    axis = _axis(axis if dim is None else dim, y.ndim, "cumulative_trapezoid")
    before, after = (slice(None),) * axis + (slice(None, -1),), (slice(None),) * axis + (slice(1, None),)
    if x is None:
        width: Any = dx
    else:
        width = _ops["diff"](x.reshape((-1,) + (1,) * (y.ndim - 1 - axis)) if x.ndim == 1 and y.ndim > 1 else x, 1, axis - y.ndim)
    return _ops["cumsum"]((y[before] + y[after]) * width * 0.5, axis)


def _slope(x: Tensor, h: Any, axis: int, edge_order: int) -> Tensor:
    """numpy.gradient along one axis: h is a distance, or the places [n]."""
    n = x.shape[axis]
    if n <= edge_order:
        raise ValueError(f"[gradient] expected more than {edge_order} elements along axis {axis}, got {n}")

    def part(start: int, stop: int | None) -> Tensor:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    line = (-1,) + (1,) * (x.ndim - 1 - axis)
    if isinstance(h, Tensor):
        steps = h[1:] - h[:-1]
        low, high = steps[:-1].reshape(line), steps[1:].reshape(line)
        ends = [steps[i : i + 1].reshape(line) for i in ((0, 1, n - 2, n - 3) if n > 2 else (0, 0, 0, 0))]
        inner = (part(2, None) * low**2 + part(1, -1) * (high**2 - low**2) - part(0, -2) * high**2) / (low * high * (low + high))
    else:
        ends = [h] * 4
        inner = (part(2, None) - part(0, -2)) / (2 * h)
    if edge_order == 1:
        first, last = (part(1, 2) - part(0, 1)) / ends[0], (part(n - 1, n) - part(n - 2, n - 1)) / ends[2]
    else:  # the parabola through three elements
        def edge(at: int, step: int, a: Any, b: Any) -> Tensor:
            y = [part(at + step * i, at + step * i + 1) for i in range(3)]
            return step * (-(2 * a + b) / (a * (a + b)) * y[0] + (a + b) / (a * b) * y[1] - a / (b * (a + b)) * y[2])

        first, last = edge(0, 1, ends[0], ends[1]), edge(n - 1, -1, ends[2], ends[3])
    return _ops["concat"]([first, inner, last], axis)


def gradient(x: Tensor, *, spacing: Any = None, axis: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The slope along axes from central differences, of second order inside (numpy.gradient).

    Parameters
    ----------
    x : Tensor
        floats
    spacing : float, Tensor, or a sequence with one of them for every axis, optional
        the distance of neighbours (1 by default), or their places [n]
    axis, dim : int or sequence of int, optional
        all by default
    edge_order : {1, 2}
        the order of the one-sided differences at the ends

    Returns
    -------
    tuple of Tensor
        one of x's shape for every axis

    Raises
    ------
    ValueError
        for axes that are too short, and for other numbers of spacings

    Examples
    --------
    >>> tg.gradient(tg.tensor([1.0, 4.0, 9.0, 16.0]))[0].tolist()
    [3.0, 4.0, 6.0, 7.0]
    """
    axis = dim if axis is None else axis
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    if edge_order not in (1, 2):
        raise ValueError(f"[gradient] expected edge_order 1 or 2, got {edge_order}")
    if spacing is None or isinstance(spacing, (int, float)) or (isinstance(spacing, Tensor) and spacing.ndim == 0):
        spacing = [1.0 if spacing is None else float(spacing)] * len(axes)
    spacing = [spacing] if isinstance(spacing, Tensor) else list(spacing)
    if len(spacing) != len(axes):
        raise ValueError(f"[gradient] expected a spacing for each of {len(axes)} axes, got {len(spacing)}")
    return tuple(_slope(x, h, _axis(a, x.ndim, "gradient"), edge_order) for a, h in zip(axes, spacing))


def renorm(x: Tensor, p: float, axis: int | None = None, maxnorm: float | None = None, *, dim: int | None = None) -> Tensor:
    """x with every part at an index of an axis scaled to a p-norm of at most maxnorm.

    Raises
    ------
    ValueError
        for p of 0 or less, and for a negative maxnorm

    Examples
    --------
    >>> tg.renorm(tg.tensor([[3.0, 4.0], [0.0, 1.0]]), 2, 0, 1.0).tolist()[1]
    [0.0, 1.0]
    """
    if maxnorm is None or p <= 0 or maxnorm < 0:
        raise ValueError(f"[renorm] expected p above 0 and maxnorm of 0 or more, got {p} and {maxnorm}")
    at = _axis(axis if dim is None else dim, x.ndim, "renorm")
    size = _ops["norm"](x, axis=[i for i in range(x.ndim) if i != at], ord=float(p), keepdims=True) if x.ndim > 1 else _ops["abs"](x)
    return _ops["where"](size > maxnorm, maxnorm / (size + 1e-7), 1.0) * x


def index_reduce(x: Tensor, axis: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True,
                 dim: int | None = None) -> Tensor:
    """x with every part y[index[i]] along an axis reduced with all source[i] that go there: their prod, mean, amax or amin.

    Parameters
    ----------
    x : Tensor
    axis, dim : int
    index : Tensor
        integers [n]
    source : Tensor
        x's dtype and shape, with n on the axis
    reduce : {'prod', 'mean', 'amax', 'amin'}
    include_self : bool
        whether x's own part takes part where sources go

    Examples
    --------
    >>> tg.index_reduce(tg.tensor([1, 2, 3]), 0, tg.tensor([0, 0]), tg.tensor([5, 4]), "prod").tolist()
    [20, 2, 3]
    """
    if x.ndim == 0:
        return index_reduce(x.reshape((1,)), 0, index, source.reshape((1,)), reduce, include_self=include_self).reshape(())
    axis = _axis(axis if dim is None else dim, x.ndim, "index_reduce")
    if index.ndim != 1 or source.ndim != x.ndim or source.shape[axis] != index.shape[0]:
        raise ValueError(f"[index_reduce] expected an index [n] and a source with n on axis {axis}, got shapes {tuple(index.shape)} and "
                         f"{tuple(source.shape)}")
    places = index.reshape((-1,) + (1,) * (x.ndim - 1 - axis)).expand(tuple(source.shape))
    return _ops["scatter_reduce"](x, places, source, axis, reduce, include_self)


# ---- vectors and matrices ----------------------------------------------------------------------------------------------------


def dist(x: Tensor, y: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of x - y.

    Examples
    --------
    >>> tg.dist(tg.tensor([1.0, 2.0]), tg.tensor([4.0, 6.0])).item()
    5.0
    """
    return _ops["norm"](x - y, ord=float(p))


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """||x1[..., i, :] - x2[..., j, :]||_p of all pairs: [..., P, M] and [..., R, M] give [..., P, R]. compute_mode is accepted for
    PyTorch's sake: the differences themselves are always taken."""
    from .nn.functional import cdist

    return cdist(x1, x2, p)


def indexing_one_hot(x: Tensor, index: Tensor, axis: int = 1, keepdims: bool = False) -> Tensor:
    """One element along an axis for every place off it: index has x's shape without the axis.

    Examples
    --------
    >>> tg.indexing_one_hot(tg.tensor([[1, 2], [3, 4]]), tg.tensor([1, 0])).tolist()
    [2, 3]
    """
    axis = _axis(axis, x.ndim, "indexing_one_hot")
    rest = tuple(n for i, n in enumerate(x.shape) if i != axis)
    if tuple(index.shape) != rest:
        raise ValueError(f"[indexing_one_hot] expected an index of shape {rest}, got {tuple(index.shape)}")
    y = _ops["take_along_axis"](x, _ops["unsqueeze"](index, axis), axis)
    return y if keepdims else _ops["squeeze"](y, axis)


def inverse(a: Tensor) -> Tensor:
    """inv(): the inverse of square matrices."""
    return _ops["inv"](a)


def matinv(a: Tensor) -> Tensor:
    """linalg.inv."""
    return _ops["inv"](a)


def pinverse(a: Tensor, rcond: float = 1e-15) -> Tensor:
    """pinv() with singular values up to rcond times the largest taken for 0."""
    return _ops["pinv"](a, rtol=rcond)


def logdet(a: Tensor) -> Tensor:
    """log(det(a)) of square matrices: NaN for a negative determinant, -inf for 0.

    Examples
    --------
    >>> tg.logdet(tg.tensor([[1.0, 0.0], [0.0, 1.0]])).item()
    0.0
    """
    sign, value = _ops["slogdet"](a)
    return _ops["where"](sign > 0, value, _ops["where"](sign == 0, -math.inf, math.nan))


def cholesky_inverse(lower: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A from the factor that cholesky gives.

    Examples
    --------
    >>> tg.cholesky_inverse(tg.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [[0.25, 0.0], [0.0, 1.0]]
    """
    n = lower.shape[-1] if lower.ndim else 0
    return _ops["cholesky_solve"](_ops["eye"](n, dtype=lower.dtype, device=lower.device), lower, upper)


def lu_unpack(lu: Tensor, pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """(P, L, U) of A = P L U from what lu_factor gives; what is not wanted is empty. Pivots are read in host memory.

    Examples
    --------
    >>> f = tg.lu_factor(tg.tensor([[0.0, 1.0], [2.0, 4.0]]))
    >>> p, l, u = tg.lu_unpack(*f)
    >>> (p @ l @ u).tolist()
    [[0.0, 1.0], [2.0, 4.0]]
    """
    m, n = lu.shape[-2:]
    k = min(m, n)
    p = lower = upper = _core._empty((0,), lu.dtype, lu.device)
    if unpack_data:
        lower = _ops["tril"](lu[..., :k], -1) + _ops["eye"](m, k, dtype=lu.dtype, device=lu.device)
        upper = _ops["triu"](lu[..., :k, :])
    if unpack_pivots:
        rows = []
        for swaps in pivots.reshape((-1, k) if k else (0, 0)).tolist():
            order = list(range(m))
            for i, j in enumerate(swaps):
                order[i], order[j - 1] = order[j - 1], order[i]
            rows.append(order)
        shape = (*pivots.shape[:-1], m)
        if k == 0:
            rows = [list(range(m))] * math.prod(shape[:-1])
        order = _core.tensor(rows, _core.int64, lu.device).reshape(shape)
        p = (_ops["arange"](0, m, device=lu.device).unsqueeze(-1) == order.unsqueeze(-2)).to(lu.dtype)
    return p, lower, upper


def install() -> None:
    """Puts the methods on Tensor."""
    for name in METHODS:
        setattr(Tensor, name, globals()[name])
