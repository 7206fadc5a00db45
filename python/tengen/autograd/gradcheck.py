# SPDX-License-Identifier: Apache-2.0
"""Gradients against finite differences."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _core
from .._core import Tensor

__all__ = ["gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Analytic and numeric derivatives differ."""


def _outputs(result: Any) -> list[Tensor]:
    """The floating outputs; complex ones as reals with a last axis of 2."""
    found = [result] if isinstance(result, Tensor) else list(result)
    seen = [_core.ops["view_as_real"](y) if isinstance(y, Tensor) and y.dtype.is_complex else y for y in found]
    return [y for y in seen if isinstance(y, Tensor) and y.dtype.is_floating_point]


def _of_reals(func: Callable, complex_at: list[int], spaced: bool) -> Callable:
    """func, with complex inputs as reals with a last axis of 2: their gradient is d/d re + i d/d im, two real numbers."""
    def joined(*args: Any) -> Any:
        given = list(args)
        for i in complex_at:
            re, im = (_core.ops["select"](given[i], -1, k) for k in (0, 1))
            z = _core.ops["complex"](re, im)
            given[i] = _spaced(z) if spaced and z.ndim else z
        return func(*given)

    return joined if complex_at else func


def _numpy(t: Tensor) -> np.ndarray:
    return np.array(t.detach().cpu().numpy(), np.float64)


def _spaced(x: Tensor) -> Tensor:
    """Equal values with gaps between the elements."""
    wide = _core.ops["stack"]([x, x], x.ndim)
    return wide.select(x.ndim, 1)


def _columns(f: Callable, inputs: list, at: int, eps: float) -> list[np.ndarray]:
    """d outputs / d inputs[at] by central differences: per output [n_input, n_output]."""
    base = _numpy(inputs[at])
    rows: list[list] = []
    for k in range(base.size):
        ends = []
        for sign in (1, -1):
            moved = base.copy()
            moved.reshape(-1)[k] += sign * eps
            given = list(inputs)
            given[at] = _core.tensor(moved, dtype=inputs[at].dtype, device=inputs[at].device)
            outer = _core._set_grad_enabled(False)
            try:
                ends.append([_numpy(y).reshape(-1) for y in _outputs(f(*given))])
            finally:
                _core._set_grad_enabled(outer)
        rows.append([(a - b) / (2 * eps) for a, b in zip(*ends)])
    return [np.stack([r[j] for r in rows]) if rows else np.zeros((0, 0)) for j in range(len(rows[0]) if rows else 0)]


def _compare(what: str, analytic: np.ndarray, numeric: np.ndarray, i: int, j: int, rtol: float, atol: float) -> None:
    bad = ~np.isclose(analytic, numeric, rtol, atol, equal_nan=True)
    if not bad.any():
        return
    k, m = (int(v) for v in np.argwhere(bad)[np.argmax(np.abs(np.where(np.isnan(analytic - numeric), np.inf, analytic - numeric))[bad])])
    raise GradcheckError(f"[{what}] expected the derivative of output {j} by input {i} to match finite differences (rtol {rtol}, atol {atol}); "
                         f"at element {k} of the input and {m} of the output: analytic {analytic[k, m]!r}, numeric {numeric[k, m]!r}; "
                         f"{int(bad.sum())} of {bad.size} differ")


def gradcheck(func: Callable, inputs: Tensor | Sequence, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True, check_undefined_grad: bool = True, check_forward_ad: bool = False,
              check_batched_grad: bool = False, check_noncontiguous: bool = True) -> bool:
    """Compares the gradients of a function with central differences, element by element.

    Parameters
    ----------
    func : callable
        of `inputs`; returns a tensor or several
    inputs : Tensor or sequence
        those that require gradients are checked and should be float64 or complex128, of which both parts are moved. Complex outputs
        are checked by parts, too
    eps, atol, rtol : float
        step and tolerances: |analytic - numeric| <= atol + rtol * |numeric|
    raise_exception : bool
        raise instead of returning False
    check_undefined_grad : bool
        outputs that get no gradient are fine
    check_forward_ad : bool
        forward mode, too
    check_batched_grad : bool
        the backward pass under vmap, too
    check_noncontiguous : bool
        with inputs that are not contiguous, too

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        when no input requires gradients
    RuntimeError
        on the first difference, with its index, the analytic and the numeric value

    Examples
    --------
    >>> x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    >>> tg.autograd.gradcheck(lambda x: x * x, (x,))
    True
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    wanted = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError("[gradcheck] expected at least one input that requires gradients, got none")
    for i in wanted:
        if given[i].dtype not in (_core.float64, _core.complex128):
            import warnings

            warnings.warn(f"gradcheck: input {i} is {given[i].dtype}, whose rounding will drown finite differences; use float64 or complex128", stacklevel=2)
    complex_at = [i for i in wanted if given[i].dtype.is_complex]
    for i in complex_at:
        given[i] = _core.ops["view_as_real"](given[i].detach()).clone().requires_grad_()
    plain, apart_func = _of_reals(func, complex_at, False), _of_reals(func, complex_at, True)
    try:
        _check(plain, given, wanted, eps, atol, rtol, check_undefined_grad, check_forward_ad, check_batched_grad)
        if check_noncontiguous:
            apart = [_spaced(x.detach()).requires_grad_() if i in wanted and x.ndim else x for i, x in enumerate(given)]
            _check(apart_func, apart, wanted, eps, atol, rtol, False, False, False)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _pull(func: Callable, given: list, wanted: list) -> tuple[list, list, Callable]:
    leaves = [x.detach().requires_grad_() if i in wanted else x for i, x in enumerate(given)]
    outer = _core._set_grad_enabled(True)
    try:
        y = _outputs(func(*leaves))
    finally:
        _core._set_grad_enabled(outer)
    live = [j for j, t in enumerate(y) if t.requires_grad]

    def pull(cotangents: dict) -> tuple:
        if not any(j in cotangents for j in live):
            return (None,) * len(wanted)
        at = [j for j in live if j in cotangents]
        return _core._grad(tuple(y[j] for j in at), tuple(leaves[i] for i in wanted), tuple(cotangents[j] for j in at), True, False, True)

    return leaves, y, pull


def _check(func: Callable, given: list, wanted: list, eps: float, atol: float, rtol: float, undefined: bool, forward: bool, batched: bool) -> None:
    from .. import func as tf

    leaves, outputs, pull = _pull(func, given, wanted)
    if not outputs:
        raise ValueError("[gradcheck] expected a function with a floating output")
    for i in wanted:
        numeric = _columns(func, [x.detach() if isinstance(x, Tensor) else x for x in given], i, eps)
        if given[i].numel() == 0:
            continue
        at = wanted.index(i)
        for j, y in enumerate(outputs):
            n = y.numel()
            analytic = np.zeros((given[i].numel(), n))
            basis = np.eye(n)
            for m in range(n):
                g = pull({j: _core.tensor(basis[m].reshape(tuple(y.shape)), dtype=y.dtype, device=y.device)})[at]
                analytic[:, m] = 0 if g is None else _numpy(g).reshape(-1)
            _compare("gradcheck", analytic, numeric[j], i, j, rtol, atol)
            if batched and n and analytic.any():
                rows = tf.vmap(lambda g, j=j, at=at: pull({j: g})[at])(_core.tensor(basis.reshape(n, *y.shape), dtype=y.dtype, device=y.device))
                _compare("gradcheck, batched", _numpy(rows).reshape(n, -1).T, analytic, i, j, rtol, atol)
        if forward:
            base = [x.detach() if isinstance(x, Tensor) else x for x in given]
            for k in range(given[i].numel()):
                unit = np.zeros(given[i].numel())
                unit[k] = 1
                tangent = _core.tensor(unit.reshape(tuple(given[i].shape)), dtype=given[i].dtype, device=given[i].device)
                one = lambda x, i=i: tuple(_outputs(func(*base[:i], x, *base[i + 1:])))  # noqa: E731
                for j, t in enumerate(tf.jvp(one, (base[i],), (tangent,))[1]):
                    _compare("gradcheck, forward mode", _numpy(t).reshape(1, -1), numeric[j][k:k + 1], i, j, rtol, atol)


def gradgradcheck(func: Callable, inputs: Tensor | Sequence, grad_outputs: Sequence | None = None, eps: float = 1e-6, atol: float = 1e-5,
                  rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True) -> bool:
    """Compares second derivatives with central differences of the gradients: gradcheck of the backward pass, by the inputs
    and by the gradients of the outputs (random unless given).

    Examples
    --------
    >>> x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    >>> tg.autograd.gradgradcheck(lambda x: x ** 3, (x,))
    True
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    wanted = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    outputs = _outputs(func(*given))
    rng = np.random.default_rng(0)
    if grad_outputs is None:
        grad_outputs = [_core.tensor(rng.standard_normal(tuple(y.shape)), dtype=y.dtype, device=y.device) for y in outputs]
    v = [g.detach().requires_grad_() for g in ([grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs)]
    if gen_non_contig_grad_outputs:
        v = [_spaced(g.detach()).requires_grad_() for g in v]
    n = len(given)

    def gradients(*args: Any) -> tuple:
        outer = _core._set_grad_enabled(True)
        try:
            x = [a if not isinstance(a, Tensor) or i not in wanted or a.requires_grad else a.detach().requires_grad_() for i, a in enumerate(args[:n])]
            y = _outputs(func(*x))
            g = _core._grad(tuple(y), tuple(x[i] for i in wanted), tuple(args[n:]), True, True, True)
        finally:
            _core._set_grad_enabled(outer)
        return tuple(_core.ops["zeros_like"](x[i]) if t is None else t for t, i in zip(g, wanted))

    return gradcheck(gradients, [*given, *v], eps, atol, rtol, raise_exception, check_noncontiguous=False)
