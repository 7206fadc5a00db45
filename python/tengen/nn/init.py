# SPDX-License-Identifier: Apache-2.0
"""Initial values: each function fills its tensor in place and returns it."""
from __future__ import annotations

import math
from typing import Any

import tengen as tg

_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)), "sigmoid")
_GAINS = {**dict.fromkeys(_LINEAR, 1.0), "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps a signal's size through a nonlinearity; `param` is leaky_relu's slope."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(
            f"[calculate_gain] unknown nonlinearity {nonlinearity!r}; known are leaky_relu, {', '.join(_GAINS)}"
        )
    return _GAINS[nonlinearity]


def fans(tensor: Any, op: str = "fans") -> tuple[int, int]:
    """(fan_in, fan_out) of a weight [out, in, kernel...]."""
    if tensor.ndim < 2:
        raise ValueError(f"[{op}] expected a tensor of at least 2 dimensions, got shape {tuple(tensor.shape)}")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def _fill(tensor: Any, values: Any) -> Any:
    with tg.no_grad():
        return tensor.copy_(values.to(tensor.dtype) if values.dtype != tensor.dtype else values)


def _draw(tensor: Any) -> dict[str, Any]:
    wide = tensor.dtype if tensor.dtype in (tg.float32, tg.float64) else tg.float32
    return {"dtype": wide, "device": tensor.device}


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Uniform on [a, b)."""
    return _fill(tensor, tg.rand(tuple(tensor.shape), **_draw(tensor)) * (b - a) + a)


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    return _fill(tensor, tg.randn(tuple(tensor.shape), **_draw(tensor)) * std + mean)


def trunc_normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Any:
    """Normal, restricted to [a, b]."""
    return _fill(tensor, tg.truncated_normal(tuple(tensor.shape), mean, std, a, b, **_draw(tensor)))


def constant_(tensor: Any, val: float) -> Any:
    with tg.no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Any) -> Any:
    return constant_(tensor, 0)


def ones_(tensor: Any) -> Any:
    return constant_(tensor, 1)


def eye_(tensor: Any) -> Any:
    if tensor.ndim != 2:
        raise ValueError(f"[eye_] expected 2 dimensions, got shape {tuple(tensor.shape)}")
    import numpy as np

    return _fill(tensor, tg.tensor(np.eye(*tensor.shape, dtype=np.float32), device=tensor.device))


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    fan_in, fan_out = fans(tensor, "xavier_uniform_")
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    fan_in, fan_out = fans(tensor, "xavier_normal_")
    return normal_(tensor, 0, gain * math.sqrt(2 / (fan_in + fan_out)))


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str, op: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"[{op}] expected mode to be 'fan_in' or 'fan_out', got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fans(tensor, op)[mode == "fan_out"]))


def kaiming_uniform_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    return normal_(tensor, 0, _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_"))


def orthogonal_(tensor: Any, gain: float = 1.0) -> Any:
    """Orthonormal rows or columns, seen as a matrix [out, everything else] (made on the host)."""
    import numpy as np

    if tensor.ndim < 2:
        raise ValueError(f"[orthogonal_] expected at least 2 dimensions, got shape {tuple(tensor.shape)}")
    rows, cols = tensor.shape[0], math.prod(tensor.shape[1:])
    flat = tg.randn((rows, cols), dtype=tg.float64, device="cpu").numpy()
    q, r = np.linalg.qr(flat if rows >= cols else flat.T)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # a unique factor: uniform over the orthogonal group
    q = q if rows >= cols else q.T
    return _fill(tensor, tg.tensor((gain * q).reshape(tuple(tensor.shape)).astype(np.float32), device=tensor.device))


def sparse_(tensor: Any, sparsity: float, std: float = 0.01) -> Any:
    """A matrix whose columns have that share of zeros, the others normal (Martens 2010)."""
    import numpy as np

    if tensor.ndim != 2:
        raise ValueError(f"[sparse_] expected 2 dimensions, got shape {tuple(tensor.shape)}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"[sparse_] expected sparsity between 0 and 1, got {sparsity}")
    rows, cols = tensor.shape
    order = tg.rand((rows, cols), device="cpu").numpy().argsort(0)  # a permutation of each column
    keep = order >= math.ceil(sparsity * rows)
    normal_(tensor, 0, std)
    with tg.no_grad():
        return tensor.mul_(tg.tensor(np.asarray(keep, np.float32), device=tensor.device).to(tensor.dtype))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """A convolution's weight [out, in, kernel...] that passes on as many channels of each group as it can."""
    import numpy as np

    if tensor.ndim not in (3, 4, 5):
        raise ValueError(f"[dirac_] expected 3, 4 or 5 dimensions, got shape {tuple(tensor.shape)}")
    out, channels = tensor.shape[:2]
    if groups < 1 or out % groups:
        raise ValueError(f"[dirac_] expected the {out} output channels to be a multiple of groups, got {groups}")
    values = np.zeros(tuple(tensor.shape), np.float32)
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for g in range(groups):
        for i in range(min(out // groups, channels)):
            values[(g * (out // groups) + i, i, *centre)] = 1
    return _fill(tensor, tg.tensor(values, device=tensor.device))
