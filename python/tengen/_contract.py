# SPDX-License-Identifier: Apache-2.0
"""Functions over contractions whose arguments the op table cannot express: einsum in both of NumPy's forms, its path,
tensordot with axes as a number or as pairs, chains of matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import _core
from ._core import Tensor

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _equation(operands: tuple) -> tuple[str, list[Tensor]]:
    """Both forms to one: (equation, tensors)."""
    if operands and isinstance(operands[0], str):
        rest = operands[1:]
        if len(rest) == 1 and isinstance(rest[0], (list, tuple)):
            rest = tuple(rest[0])
        return operands[0], list(rest)
    if len(operands) < 2:
        raise TypeError(f"[einsum] expected an equation and operands, or operands and lists of axes, got {operands}")

    def letters(axes: Sequence) -> str:
        text = ""
        for a in axes:
            if a is Ellipsis:
                text += "..."
            elif isinstance(a, int) and 0 <= a < len(_LETTERS):
                text += _LETTERS[a]
            else:
                raise ValueError(f"[einsum] expected axes as integers in [0, {len(_LETTERS)}) or ..., got {a!r}")
        return text

    pairs = len(operands) // 2
    equation = ",".join(letters(operands[2 * i + 1]) for i in range(pairs))
    if len(operands) % 2:
        equation += "->" + letters(operands[-1])
    return equation, [operands[2 * i] for i in range(pairs)]


def _pairs(path: Sequence) -> list[int]:
    """The steps of a path as the op takes it. Of more than two operands at once, pairs are made from the left."""
    flat: list[int] = []
    for step in path:
        if step == "einsum_path" or len(step) == 1:
            continue
        places = sorted(step)
        flat += places[:2]
        if len(places) > 2:
            raise ValueError(f"[einsum] expected pairs of positions in the path, got {tuple(step)}")
    return flat


def einsum(*operands: Any, optimize: Any = "auto") -> Tensor:
    """Sums of products over named axes (Einstein summation).

    Parameters
    ----------
    operands : str and Tensors, or alternating Tensors and lists of axes
        ``einsum('ij,jk->ik', a, b)`` or ``einsum(a, [0, 1], b, [1, 2], [0, 2])``; ``...`` (Ellipsis in a list) stands for
        axes that broadcast, a repeated letter takes a diagonal, without ``->`` the letters that occur once are the
        output's, in order
    optimize : {'auto', 'optimal', 'greedy', 'left'}, bool or a path of einsum_path, default 'auto'
        the order in which pairs of operands are contracted; True means auto, False left

    Returns
    -------
    Tensor
        of the promoted dtype; 16-bit floats accumulate in float32

    Raises
    ------
    ValueError
        for an equation that does not fit the operands

    Examples
    --------
    >>> a = tg.tensor([[1, 2], [3, 4]])
    >>> tg.einsum('ij,ij->i', a, a).tolist()
    [5, 25]
    >>> tg.einsum(a, [0, 0]).item()
    5
    """
    equation, tensors = _equation(operands)
    if isinstance(optimize, bool):
        optimize = "auto" if optimize else "left"
    if isinstance(optimize, str):
        return _core.ops["einsum"](tensors, equation, optimize)
    return _core.ops["einsum"](tensors, equation, "auto", _pairs(optimize))


def einsum_path(*operands: Any, optimize: str = "auto") -> tuple[list, str]:
    """The order in which einsum contracts its operands, in the form of numpy.einsum_path, and a text about its cost.

    Examples
    --------
    >>> a, b, c = tg.ones((2, 30)), tg.ones((30, 3)), tg.ones((3, 40))
    >>> tg.einsum_path('ij,jk,kl->il', a, b, c)[0]
    ['einsum_path', (0, 1), (0, 1)]
    """
    equation, tensors = _equation(operands)
    steps, flops, naive, largest = _core._einsum_path(equation, [tuple(t.shape) for t in tensors], optimize)
    text = (
        f"  equation: {equation}\n  multiplications, one loop: {naive:.4g}\n  multiplications, this order: {flops:.4g}\n"
        f"  speed-up: {naive / flops if flops else 1:.4g}\n  elements of the largest intermediate: {largest:.4g}"
    )
    return ["einsum_path", *steps], text


def tensordot(a: Tensor, b: Tensor, axes: Any = 2, *, dims: Any = None) -> Tensor:
    """Products of two tensors, summed over the last ``axes`` axes of a and the first of b, or over pairs of axes.

    Parameters
    ----------
    a, b : Tensor
    axes : int or (axes of a, axes of b), default 2
        ``dims`` is understood, too

    Returns
    -------
    Tensor
        a's other axes, then b's

    Raises
    ------
    ValueError
        for paired axes of different sizes

    Examples
    --------
    >>> tg.tensordot(tg.ones((2, 3)), tg.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    axes = axes if dims is None else dims
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ValueError(
                f"[tensordot] expected axes between 0 and {min(a.ndim, b.ndim)}, the fewest axes of an operand, got {axes}"
            )
        first, second = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        first, second = ((x,) if isinstance(x, int) else tuple(x) for x in axes)
    return _core.ops["tensordot"](a, b, first, second)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of a chain of matrices, in an order with few multiplications (the fewest up to 8 matrices); the
    first and the last may be vectors.

    Parameters
    ----------
    tensors : sequence of Tensor
        at least two, of shapes [m, n], [n, k], ...

    Raises
    ------
    ValueError
        for fewer than two, or sizes that do not chain

    Examples
    --------
    >>> tg.linalg.multi_dot([tg.ones((2, 3)), tg.ones((3, 4)), tg.ones(4)]).tolist()
    [12.0, 12.0]
    """
    tensors = list(tensors)
    n = len(tensors)
    if n < 2:
        raise ValueError(f"[multi_dot] expected at least two tensors, got {n}")
    for i, t in enumerate(tensors):
        ranks = (1, 2) if i in (0, n - 1) else (2,)
        if t.ndim not in ranks:
            raise ValueError(f"[multi_dot] expected tensor {i} to be a matrix, got shape {tuple(t.shape)}")
    labels, text = 0, []
    for i, t in enumerate(tensors):
        if i:
            before = tensors[i - 1]
            if before.shape[-1] != t.shape[0]:
                raise ValueError(
                    f"[multi_dot] expected tensor {i} to have {before.shape[-1]} rows, got shape {tuple(t.shape)}"
                )
        if t.ndim == 2:
            text.append(_label(labels) + _label(labels + 1))
            labels += 1
        else:
            text.append(_label(labels))
    output = ("" if tensors[0].ndim == 1 else _label(0)) + ("" if tensors[-1].ndim == 1 else _label(labels))
    if labels < len(_LETTERS) - 1:
        return einsum(",".join(text) + "->" + output, *tensors)
    middle = n // 2
    return multi_dot([multi_dot(tensors[:middle]), multi_dot(tensors[middle:])])


def _label(i: int) -> str:
    return _LETTERS[min(i, len(_LETTERS) - 1)]


def chain_matmul(*matrices: Tensor) -> Tensor:
    """multi_dot() of its arguments; one alone is returned."""
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)


def _rank(name: str, t: Tensor, rank: int) -> None:
    if t.ndim != rank:
        raise ValueError(f"[{name}] expected a tensor of {rank} axes, got shape {tuple(t.shape)}; matmul takes any")


def mm(a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
    """a @ b of two matrices; ValueError for other ranks."""
    _rank("mm", a, 2), _rank("mm", b, 2)
    return _core.ops["matmul"](a, b) if out is None else _core.ops["matmul"](a, b, out=out)


def bmm(a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
    """a @ b of two batches of matrices, of shapes [B, m, k] and [B, k, n]; ValueError for other ranks or sizes."""
    _rank("bmm", a, 3), _rank("bmm", b, 3)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"[bmm] expected equal batch sizes, got shapes {tuple(a.shape)} and {tuple(b.shape)}")
    return _core.ops["matmul"](a, b) if out is None else _core.ops["matmul"](a, b, out=out)


def mv(a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A matrix times a vector; ValueError for other ranks."""
    _rank("mv", a, 2), _rank("mv", b, 1)
    return _core.ops["matmul"](a, b) if out is None else _core.ops["matmul"](a, b, out=out)


def matrix_power(a: Tensor, n: int) -> Tensor:
    """a @ a @ ... (n times) of square matrices, by repeated squaring; n < 0: of the inverse, n = 0: the identity.

    Raises
    ------
    ValueError
        for matrices that are not square
    LinAlgError
        for n < 0 and a singular matrix

    Examples
    --------
    >>> tg.matrix_power(tg.tensor([[1, 1], [0, 1]]), 5).tolist()
    [[1, 5], [0, 1]]
    """
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"[matrix_power] expected square matrices, got shape {tuple(a.shape)}")
    if n < 0:
        a, n = _core.ops["inv"](a), -n
    if n == 0:
        from ._creation import eye

        return eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(a.shape).clone()
    result = None
    for bit in range(math.floor(math.log2(n)) + 1):
        if bit:
            a = a @ a
        if n >> bit & 1:
            result = a if result is None else result @ a
    return result
