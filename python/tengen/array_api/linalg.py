# SPDX-License-Identifier: Apache-2.0
"""The standard's extension of linear algebra, over tengen.linalg; ImportError where Tengen has no such module."""
from __future__ import annotations

from typing import Any

import tengen as tg
import tengen.linalg as _l

from ._manipulation import matmul, matrix_transpose, tensordot, vecdot

__all__ = ["cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
           "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm"]


def cholesky(x: tg.Tensor, /, *, upper: bool = False) -> tg.Tensor:
    """The Cholesky factor."""
    y = _l.cholesky(x)
    return tg.conj(y.mT) if upper and tg.isdtype(y.dtype, "complex floating") else y.mT if upper else y


def cross(x1: tg.Tensor, x2: tg.Tensor, /, *, axis: int = -1) -> tg.Tensor:
    """The cross product along an axis of 3."""
    return _l.cross(x1, x2, axis)


def det(x: tg.Tensor, /) -> tg.Tensor:
    """The determinant."""
    return _l.det(x)


def diagonal(x: tg.Tensor, /, *, offset: int = 0) -> tg.Tensor:
    """A diagonal of the last two axes."""
    return _l.diagonal(x, offset=offset)


def eigh(x: tg.Tensor, /) -> Any:
    """Eigenvalues and eigenvectors of Hermitian matrices."""
    return _l.eigh(x)


def eigvalsh(x: tg.Tensor, /) -> tg.Tensor:
    """Eigenvalues of Hermitian matrices."""
    return _l.eigvalsh(x)


def inv(x: tg.Tensor, /) -> tg.Tensor:
    """The inverse."""
    return _l.inv(x)


def matrix_norm(x: tg.Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> tg.Tensor:
    """Norms of matrices."""
    return _l.matrix_norm(x, ord, keepdims=keepdims)


def matrix_power(x: tg.Tensor, n: int, /) -> tg.Tensor:
    """A power of a matrix."""
    return _l.matrix_power(x, n)


def matrix_rank(x: tg.Tensor, /, *, rtol: Any = None) -> tg.Tensor:
    """The number of singular values above rtol times the largest."""
    return _l.matrix_rank(x, rtol=rtol)


def outer(x1: tg.Tensor, x2: tg.Tensor, /) -> tg.Tensor:
    """All products of elements of two vectors."""
    return _l.outer(x1, x2)


def pinv(x: tg.Tensor, /, *, rtol: Any = None) -> tg.Tensor:
    """The pseudo-inverse; rtol may be one per matrix."""
    if not isinstance(rtol, tg.Tensor):
        return _l.pinv(x, rtol=rtol)
    u, s, vh = _l.svd(x, False)
    if s.shape[-1] == 0:
        return x.mH.clone()
    kept = s > tg.unsqueeze(rtol, -1) * tg.max(s, -1, True)
    inverse = tg.where(kept, 1 / tg.where(kept, s, 1), 0)
    return (vh.mH * tg.unsqueeze(inverse, -2)) @ u.mH


def qr(x: tg.Tensor, /, *, mode: str = "reduced") -> Any:
    """An orthonormal and an upper triangular factor."""
    return _l.qr(x, mode)


def slogdet(x: tg.Tensor, /) -> Any:
    """Sign and logarithm of the determinant."""
    return _l.slogdet(x)


def solve(x1: tg.Tensor, x2: tg.Tensor, /) -> tg.Tensor:
    """The solution of linear equations."""
    return _l.solve(x1, x2)


def svd(x: tg.Tensor, /, *, full_matrices: bool = True) -> Any:
    """Singular vectors and values."""
    return _l.svd(x, full_matrices)


def svdvals(x: tg.Tensor, /) -> tg.Tensor:
    """Singular values."""
    return _l.svdvals(x)


def trace(x: tg.Tensor, /, *, offset: int = 0, dtype: Any = None) -> tg.Tensor:
    """The sum of a diagonal of the last two axes; integers as int64 or uint64 by default."""
    return _l.trace(x, offset=offset, dtype=dtype).to(dtype or tg.sum(x.reshape((-1,))[:0]).dtype)


def vector_norm(x: tg.Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> tg.Tensor:
    """Norms of vectors."""
    return _l.vector_norm(x, ord, axis, keepdims)
