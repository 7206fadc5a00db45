# SPDX-License-Identifier: Apache-2.0
"""Linear algebra in the manner of torch.linalg and the array API: matrices are the last two axes, all others are batches.

Factorizations and solvers are ops of the table (their gradients, too); here are norms and what is made of them.

>>> import tengen as tg
>>> a = tg.tensor([[2.0, 1.0], [1.0, 3.0]])
>>> tg.linalg.solve(a, tg.tensor([3.0, 4.0])).tolist()
[1.0, 1.0]
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import (
    _core,
    cholesky,
    cholesky_ex,
    cholesky_solve,
    cross,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    inv,
    inv_ex,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    matmul,
    matrix_exp,
    matrix_power,
    outer,
    pinv,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    svd,
    svdvals,
    tensordot,
    vecdot,
)
from ._contract import multi_dot
from ._core import Tensor

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cholesky_solve", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "householder_product",
    "inv", "inv_ex", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank",
    "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular", "svd", "svdvals",
    "tensordot", "tensorinv", "tensorsolve", "trace", "vander", "vecdot", "vector_norm",
]  # fmt: skip
LinAlgError = _core._LinAlgError
_f = _core.ops
inf = float("inf")


class QRResult(NamedTuple):
    """What qr() gives."""

    Q: Tensor
    R: Tensor


class LstsqResult(NamedTuple):
    """What lstsq() gives."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _matrices(name: str, x: Tensor) -> None:
    if x.ndim < 2:
        raise ValueError(f"[{name}] expected a matrix or a batch of them, got shape {tuple(x.shape)}")
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        raise TypeError(f"[{name}] expected floats, got {x.dtype.name}")


def _tolerance(s: Tensor, x: Tensor, rtol: Any, atol: Any) -> Tensor:
    """max(atol, rtol * largest singular value) of each matrix, with the usual default."""
    if rtol is None:
        rtol = max(x.shape[-2:]) * x.dtype.eps if atol is None or (not isinstance(atol, Tensor) and atol == 0) else 0.0
    rtol, atol = (t.unsqueeze(-1) if isinstance(t, Tensor) else t for t in (rtol, 0.0 if atol is None else atol))
    return _f["maximum"](s.max(axis=-1, keepdims=True) * rtol, atol)


def qr(a: Tensor, mode: str = "reduced") -> QRResult:
    """A = Q R with orthonormal columns in Q and an upper triangular R.

    Parameters
    ----------
    a : Tensor
        floats, [..., m, n]
    mode : {'reduced', 'complete', 'r'}, default 'reduced'
        Q of min(m, n) columns, a square Q, or R alone (Q is empty)

    Raises
    ------
    RuntimeError
        when a gradient of mode 'complete' of tall matrices is asked for
    """
    if mode == "r":
        r = _f["qr"](a, "reduced").R
        return QRResult(_core._empty((0,), a.dtype, a.device), r)
    return QRResult(*_f["qr"](a, mode))


def matrix_transpose(x: Tensor) -> Tensor:
    """The last two axes exchanged; a view."""
    if x.ndim < 2:
        raise ValueError(f"[matrix_transpose] expected a matrix or a batch of them, got shape {tuple(x.shape)}")
    return x.transpose(-2, -1)


def diagonal(x: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A diagonal of each matrix; a view."""
    return _f["diagonal"](x, offset, dim1, dim2)


def trace(x: Tensor, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of a diagonal of each matrix."""
    y = diagonal(x, offset=offset)
    return (y if dtype is None else y.to(dtype)).sum(axis=-1)


def vector_norm(
    x: Tensor, ord: float = 2, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False,
    dtype: Any = None,
) -> Tensor:  # fmt: skip
    """(sum |x|^ord)^(1/ord) over axes, all of them by default, as of one vector; inf, -inf: the largest and the smallest
    magnitude; 0: how many are not 0.

    Raises
    ------
    TypeError
        for integers

    Examples
    --------
    >>> tg.linalg.vector_norm(tg.tensor([[3.0, 4.0], [5.0, 12.0]]), axis=1).tolist()
    [5.0, 13.0]
    """
    axis = dim if axis is None else axis
    x = x if dtype is None else x.to(dtype)
    if axis is None:
        return _f["norm"](x, ord=float(ord), keepdims=keepdims or keepdim)
    return _f["norm"](x, axis, ord=float(ord), keepdims=keepdims or keepdim)


def matrix_norm(
    x: Tensor, ord: Any = "fro", axis: tuple[int, int] = (-2, -1), keepdims: bool = False, *, dim: Any = None,
    keepdim: bool = False, dtype: Any = None,
) -> Tensor:  # fmt: skip
    """Norms of matrices.

    Parameters
    ----------
    x : Tensor
        floats of at least two axes
    ord : {'fro', 'nuc', 1, -1, 2, -2, inf, -inf}, default 'fro'
        root of the sum of squares; sum of the singular values; largest and smallest sum of magnitudes of a column; singular
        value; sum of magnitudes of a row
    axis : pair of int, default (-2, -1)
        rows and columns; ``dim`` is understood, too

    Raises
    ------
    ValueError
        for other orders

    Examples
    --------
    >>> tg.linalg.matrix_norm(tg.tensor([[3.0, 0.0], [0.0, 4.0]])).item()
    5.0
    """
    axes, keep = tuple(axis if dim is None else dim), keepdims or keepdim
    _matrices("matrix_norm", x)
    if len(axes) != 2 or axes[0] % x.ndim == axes[1] % x.ndim:
        raise ValueError(f"[matrix_norm] expected two different axes, got {axes}")
    x = x if dtype is None else x.to(dtype)
    rows, columns = (a % x.ndim for a in axes)
    if ord == "fro":
        return vector_norm(x, 2, axes, keep)
    if ord in (1, -1, inf, -inf):
        across, along = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = x.abs().sum(axis=across, keepdims=True)
        y = sums.max(axis=along, keepdims=True) if ord > 0 else sums.min(axis=along, keepdims=True)
        return y if keep else y.squeeze(axes)
    if ord not in ("nuc", 2, -2):
        raise ValueError(f"[matrix_norm] expected ord 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}")
    s = _f["svdvals"](x.movedim((rows, columns), (-2, -1)))
    y = s.sum(axis=-1) if ord == "nuc" else s.max(axis=-1) if ord == 2 else s.min(axis=-1)
    for a in sorted((rows, columns)) if keep else ():
        y = y.unsqueeze(a)
    return y


def norm(
    x: Tensor, ord: Any = None, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False,
    dtype: Any = None,
) -> Tensor:  # fmt: skip
    """vector_norm() over one axis, or over all without ``ord``; matrix_norm() over two axes, or of a matrix with ``ord``.

    Raises
    ------
    ValueError
        for an order without axes of a tensor of more than two axes
    """
    axis, keep = dim if axis is None else axis, keepdims or keepdim
    if axis is None and ord is not None:
        if x.ndim > 2:
            raise ValueError(f"[norm] expected a vector or a matrix, or axes, got shape {tuple(x.shape)}")
        axis = (0, 1) if x.ndim == 2 else None
    if ord is None or not isinstance(axis, (tuple, list)) or len(axis) == 1:
        return vector_norm(x, 2 if ord is None else ord, axis, keep, dtype=dtype)
    return matrix_norm(x, ord, axis, keep, dtype=dtype)


def cond(x: Tensor, p: Any = None) -> Tensor:
    """The condition number: norm times norm of the inverse; the ratio of the singular values for p None, 2 and -2. inf for
    singular matrices."""
    _matrices("cond", x)
    if p in (None, 2, -2):
        s = _f["svdvals"](x)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    inverse, info = _f["inv_ex"](x)
    value = matrix_norm(x, p) * matrix_norm(inverse, p)
    return _f["where"](info == 0, value, inf)


def matrix_rank(
    x: Tensor, tol: Any = None, hermitian: bool = False, *, rtol: Any = None, atol: Any = None
) -> Tensor:
    """How many singular values are above max(atol, rtol * the largest); rtol is max(m, n) * eps unless a tolerance is
    given. i64, no gradient. ``tol`` is another name of atol."""
    _matrices("matrix_rank", x)
    s = _f["eigvalsh"](x).abs() if hermitian else _f["svdvals"](x)
    if s.shape[-1] == 0:
        return s.sum(axis=-1).to(_core.int64)
    return (s > _tolerance(s, x, rtol, tol if atol is None else atol)).sum(axis=-1).to(_core.int64)


def lstsq(a: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None) -> LstsqResult:
    """The X of least norm that minimises |A X - B|, by the pseudoinverse; A may have any rank.

    Parameters
    ----------
    a : Tensor
        floats, [..., m, n]
    b : Tensor
        [..., m, k] or [m]
    rcond : float, optional
        singular values up to rcond times the largest count as 0; max(m, n) * eps by default
    driver : {'gels', 'gelsy', 'gelss', 'gelsd'}, optional
        leaves out of the result what LAPACK's routine of this name does not give: gels the rank and the singular values, gelsy
        the residuals and the singular values. The solution is the same

    Returns
    -------
    LstsqResult
        solution, residuals (sums of squares for m > n and full rank, else empty), rank, singular_values; what the driver leaves
        out is empty

    Raises
    ------
    ValueError
        where b has not m rows, and for other drivers

    Examples
    --------
    >>> a = tg.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> [round(v, 5) for v in tg.linalg.lstsq(a, tg.tensor([1.0, 2.0, 3.0])).solution.tolist()]
    [1.0, 2.0]
    """
    _matrices("lstsq", a)
    if driver not in (None, "gels", "gelsy", "gelss", "gelsd"):
        raise ValueError(f"[lstsq] expected driver 'gels', 'gelsy', 'gelss' or 'gelsd', got {driver!r}")
    vector = b.ndim == 1
    columns = b.unsqueeze(-1) if vector else b
    m, n = a.shape[-2:]
    if b.ndim == 0 or columns.shape[-2] != m:
        raise ValueError(f"[lstsq] expected {m} rows in b, got shape {tuple(b.shape)} (a {tuple(a.shape)})")
    x = _f["pinv"](a, rtol=rcond) @ columns
    s = _f["svdvals"](a.detach())
    rank = matrix_rank(a.detach(), rtol=rcond)
    none = _core._empty((0,), s.dtype, a.device)
    full = m > n and driver != "gelsy" and bool((rank == n).all().item())
    residuals = (abs(a @ x - columns) ** 2).sum(axis=-2) if full else none
    if driver in ("gels", "gelsy"):
        s, rank = none, none.to(_core.int64) if driver == "gels" else rank
    return LstsqResult(x.squeeze(-1) if vector else x, residuals, rank, s)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Powers 1, x, ..., x^(N - 1) of each element on a new last axis; N is the last axis' size by default.

    Examples
    --------
    >>> tg.linalg.vander(tg.tensor([2, 3])).tolist()
    [[1, 2], [1, 3]]
    """
    x = x.reshape((1,)) if x.ndim == 0 else x
    n = x.shape[-1] if N is None else N
    if n < 0:
        raise ValueError(f"[vander] expected N of 0 or more, got {n}")
    return x.unsqueeze(-1) ** _f["arange"](0, n, device=x.device)


def tensorinv(a: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last axes to its first `ind`: tensordot(tensorinv(A, ind), A, ind) is the identity.

    Raises
    ------
    ValueError
        for an ind of 0 or less, and where the products of both groups of sizes differ
    """
    first, last = tuple(a.shape[:ind]), tuple(a.shape[ind:])
    if ind < 1 or math.prod(first) != math.prod(last):
        raise ValueError(f"[tensorinv] expected ind above 0 that halves the elements, got {ind} and shape {tuple(a.shape)}")
    return _f["inv"](a.reshape((math.prod(first), math.prod(last)))).reshape(last + first)


def tensorsolve(a: Tensor, b: Tensor, dims: Any = None) -> Tensor:
    """X of tensordot(A, X, X.ndim) = B; the axes `dims` of A are first moved behind the others.

    Raises
    ------
    ValueError
        where A is not square in this sense
    """
    if dims is not None:
        a = a.movedim(tuple(dims), tuple(range(a.ndim - len(dims), a.ndim)))
    shape = tuple(a.shape[b.ndim :])
    if math.prod(shape) != b.numel() or a.numel() != b.numel() ** 2:
        raise ValueError(f"[tensorsolve] expected A of b's sizes and as many elements behind them, got {tuple(a.shape)} and {tuple(b.shape)}")
    return _f["solve"](a.reshape((b.numel(), b.numel())), b.reshape((b.numel(),))).reshape(shape)


def householder_product(a: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of H_1 H_2 ... H_k, where H_i = I - tau_i v_i v_i^H and v_i is column i of A below its diagonal, with 1 on it.

    Parameters
    ----------
    a : Tensor
        floats or complex [..., m, n], m >= n
    tau : Tensor
        [..., k], k <= n

    Raises
    ------
    ValueError
        for other shapes
    """
    _matrices("householder_product", a)
    (m, n), k = a.shape[-2:], tau.shape[-1] if tau.ndim else -1
    if m < n or not 0 <= k <= n or a.shape[:-2] != tau.shape[:-1]:
        raise ValueError(f"[householder_product] expected A [..., m, n] with m >= n and tau [..., k] with k <= n, got {tuple(a.shape)} and "
                         f"{tuple(tau.shape)}")
    one = _f["eye"](m, n, dtype=a.dtype, device=a.device)
    vectors, q = _f["tril"](a, -1) + one, one.expand(tuple(a.shape))
    for i in reversed(range(k)):
        v = vectors[..., i : i + 1]
        q = q - tau[..., i : i + 1].unsqueeze(-1) * v * (v.mH @ q)
    return q if k else q.clone()
