# SPDX-License-Identifier: Apache-2.0
"""Special functions by the names of torch.special: most are ops, here are the rest.

>>> import tengen as tg
>>> tg.special.expit(tg.tensor(0.0)).item()
0.5
"""

from __future__ import annotations

import math
from typing import Any

from . import _core, mvlgamma
from ._core import Tensor

_f = _core.ops
# Names that are ops: torch.special's on the left.
_SAME = {
    "bessel_j0": "bessel_j0", "bessel_j1": "bessel_j1", "erfcx": "erfcx", "gammainc": "gammainc", "gammaincc": "gammaincc", "ndtri": "ndtri", "zeta": "zeta",
    "digamma": "digamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2", "expit": "sigmoid", "expm1": "expm1",
    "gammaln": "lgamma", "i0": "i0", "i0e": "i0e", "i1": "i1", "i1e": "i1e", "log1p": "log1p", "log_softmax": "log_softmax", "logit": "logit", "logsumexp": "logsumexp",
    "psi": "digamma", "sinc": "sinc", "softmax": "softmax", "xlogy": "xlogy",
}  # fmt: skip
globals().update({name: _f[op] for name, op in _SAME.items()})
multigammaln = mvlgamma
__all__ = sorted([*_SAME, "entr", "log_ndtr", "multigammaln", "ndtr", "polygamma", "round", "xlog1py"])
_ROOT_HALF = math.sqrt(0.5)


def polygamma(n: int, x: Tensor) -> Tensor:
    """The n-th derivative of digamma; the order of the arguments is torch.special's.

    Examples
    --------
    >>> round(tg.special.polygamma(1, tg.tensor(1.0)).item(), 4)
    1.6449
    """
    return _f["polygamma"](x, n)


def round(x: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with so many decimals, of two the even one."""
    return _f["round"](x) if decimals == 0 else _f["round"](x * 10.0**decimals) / 10.0**decimals


def _wide(x: Tensor) -> Tensor:
    return x.to(_core.float32) if x.dtype in (_core.float16, _core.bfloat16) else x


def entr(x: Tensor) -> Tensor:
    """-x log(x), 0 at 0 and -inf below.

    Examples
    --------
    >>> tg.special.entr(tg.tensor([1.0, 0.0, -1.0])).tolist()
    [0.0, 0.0, -inf]
    """
    inside = (x >= 0) | _f["isnan"](x)
    safe = _f["where"](inside, x, 1.0)
    return _f["where"](inside, 0.0 - _f["xlogy"](safe, safe), -math.inf)


def xlog1py(x: Any, y: Any) -> Tensor:
    """x log(1 + y), and 0 where x is 0 unless y is NaN.

    Examples
    --------
    >>> tg.special.xlog1py(tg.tensor([0.0]), tg.tensor([-1.0])).tolist()
    [0.0]
    """
    x, y = (v if isinstance(v, Tensor) else _core.tensor(v, other.dtype, other.device) for v, other in ((x, y), (y, x)))
    pole = (x == 0) & ((y <= -1) | (y == math.inf))
    return _f["where"](pole, 0.0, x * _f["log1p"](_f["where"](pole, 0.0, y)))


def ndtr(x: Tensor) -> Tensor:
    """The share of the standard normal distribution below x.

    Examples
    --------
    >>> tg.special.ndtr(tg.tensor(0.0)).item()
    0.5
    """
    return (0.5 * _f["erfc"](_wide(x) * -_ROOT_HALF)).to(x.dtype)


def log_ndtr(x: Tensor) -> Tensor:
    """log(ndtr(x)), also where ndtr(x) is too small for the dtype.

    The logarithm of erfc, far left of it the asymptotic series of the normal tail (Abramowitz and Stegun 26.2.12), right of 0
    log1p.

    Examples
    --------
    >>> round(tg.special.log_ndtr(tg.tensor(-100.0)).item(), 2)
    -5005.52
    """
    w = _wide(x)
    far = -30.0 if w.dtype is _core.float64 else -11.0
    right, left = w > 0, w < far
    positive = _f["log1p"](-0.5 * _f["erfc"](_f["where"](right, w, 1.0) * _ROOT_HALF))
    middle = _f["log"](0.5 * _f["erfc"](_f["where"](right | left, -1.0, w) * -_ROOT_HALF))
    t = _f["where"](left, w, far)
    r = 1 / (t * t)
    series = r * (-1 + r * (3 + r * (-15 + r * (105 + r * (-945 + r * 10395)))))
    tail = -0.5 * t * t - _f["log"](-t) - 0.5 * math.log(2 * math.pi) + _f["log1p"](series)
    return _f["where"](right, positive, _f["where"](left, tail, middle)).to(x.dtype)
