# SPDX-License-Identifier: Apache-2.0
"""Other names of ops, as PyTorch, NumPy and the array API have them, and functions that are a line of other ones."""
from __future__ import annotations

from typing import Any

from . import _core
from ._core import Tensor

# Functions, methods and in-place methods alike.
ALIASES = {
    "absolute": "abs", "cat": "concat", "concatenate": "concat", "subtract": "sub", "multiply": "mul", "divide": "div",
    "true_divide": "div", "negative": "neg", "power": "pow", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "permute_dims": "permute",
    "broadcast_to": "expand", "amax": "max", "amin": "min", "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le",
    "greater": "gt", "greater_equal": "ge", "clamp_min": "maximum",
    "clamp_max": "minimum", "fix": "trunc", "sgn": "sign", "ger": "outer", "moveaxis": "movedim", "degrees": "rad2deg",
    "radians": "deg2rad", "bitwise_invert": "bitwise_not", "floor_div": "floor_divide", "trapz": "trapezoid",
    "expand_dims": "unsqueeze", "take_along_dim": "take_along_axis", "swapaxes": "transpose", "swapdims": "transpose",
}


def clip(x: Tensor, min: Any = None, max: Any = None, *, low: Any = None, high: Any = None, out: Tensor | None = None) -> Tensor:
    """min(max(x, low), high): x within bounds, of which one may be left out.

    Parameters
    ----------
    x : Tensor
        numbers of any shape
    min, max : number or Tensor, optional
        the bounds; tensors broadcast. NaN if any is; max where min > max
    low, high : number or Tensor, optional
        the same by other names
    out : Tensor, optional
        written instead of a new tensor

    Raises
    ------
    ValueError
        without a bound
    TypeError
        for bools

    Examples
    --------
    >>> tg.clip(tg.tensor([-1, 5, 9]), max=6).tolist()
    [-1, 5, 6]
    """
    min, max = low if min is None else min, high if max is None else max
    given = {} if out is None else {"out": out}
    if min is not None and max is not None:
        return _core.ops["clip"](x, min, max, **given)
    if min is None and max is None:
        raise ValueError("[clip] expected a bound, got neither min nor max")
    if not isinstance(x, Tensor):
        x = _core.asarray(x)
    if x.dtype.is_floating_point:  # on the bound the gradient is x's
        return _core.ops["clip"](x, -float("inf") if min is None else min, float("inf") if max is None else max, **given)
    return _core.ops["minimum"](x, max, **given) if min is None else _core.ops["maximum"](x, min, **given)


def clip_(self: Tensor, min: Any = None, max: Any = None, *, low: Any = None, high: Any = None) -> Tensor:
    """clip() written into this tensor."""
    return clip(self, min, max, low=low, high=high, out=self)


clamp, clamp_ = clip, clip_


def positive(x: Tensor) -> Tensor:
    """+x: a copy. Errors: TypeError for bools."""
    if x.dtype is _core.bool:
        raise TypeError("[positive] expected numbers, got bool")
    return x.clone()


def msort(x: Tensor) -> Tensor:
    """The values of x sorted along the first axis; stable, NaN last."""
    return _core.ops["sort"](x, 0).values


def diff(x: Tensor, n: int = 1, axis: int = -1, prepend: Tensor | None = None, append: Tensor | None = None, *,
         dim: int | None = None) -> Tensor:
    """Differences x[i + 1] - x[i] along an axis, n times; of bools: whether they differ.

    Parameters
    ----------
    x : Tensor
        at least one axis
    n : int
        how many times
    axis, dim : int
        the axis
    prepend, append : Tensor, optional
        put before and after x along the axis first, unless n is 0

    Raises
    ------
    ValueError
        for n below 0, and for sizes that do not fit
    IndexError
        for an axis that is not there

    Examples
    --------
    >>> tg.diff(tg.tensor([1, 4, 9]), prepend=tg.tensor([0])).tolist()
    [1, 3, 5]
    """
    axis = axis if dim is None else dim
    parts = [t for t in (prepend, x, append) if t is not None]
    return _core.ops["diff"](x if n == 0 or len(parts) == 1 else _core.ops["concat"](parts, axis), n, axis)


def norm(x: Tensor, p: float | str | None = 2.0, axis: Any = None, keepdims: bool = False, *, ord: Any = None, dim: Any = None,
         keepdim: bool = False, dtype: Any = None, out: Tensor | None = None) -> Tensor:
    """The vector norm over axes: (sum |x|^p)^(1/p); inf and -inf: the largest and smallest magnitude; 0: how many are not 0.

    Parameters
    ----------
    x : Tensor
        floats of any shape
    p, ord : number or str
        the order; "fro": 2; "nuc": the sum of a matrix's singular values
    axis, dim : int or sequence of int, optional
        all by default
    keepdims, keepdim : bool
        leave the axes with size 1
    dtype : dtype, optional
        x is cast to it first
    out : Tensor, optional
        written instead of a new tensor

    Raises
    ------
    TypeError
        for integers
    ValueError
        for an unknown order

    Examples
    --------
    >>> tg.norm(tg.tensor([3., 4.])).item(), tg.tensor([[3., 4.]]).norm(1, dim=1).tolist()
    (5.0, [7.0])
    """
    p, axis, keepdims = p if ord is None else ord, axis if dim is None else dim, keepdims or keepdim
    x = x if dtype is None else x.to(dtype)
    given = {} if out is None else {"out": out}
    if p == "nuc":
        from .linalg import matrix_norm

        y = matrix_norm(x, "nuc", *(() if axis is None else (axis,)), keepdims=keepdims)
        return y if out is None else out.copy_(y)
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"[norm] expected a number, 'fro' or 'nuc' as order, got {p!r}")
    return _core.ops["norm"](x, () if axis is None else axis, 2.0 if p is None or p == "fro" else p, keepdims, **given)


def normal(*args: Any, mean: Any = None, std: Any = None, shape: Any = None, size: Any = None, dtype: Any = None, device: Any = None,
           generator: Any = None, out: Tensor | None = None) -> Tensor:
    """Normally distributed numbers: normal(shape, mean=0, std=1), or as PyTorch's normal(mean, std, size).

    Parameters
    ----------
    shape, size : int or sequence of int
        the sizes
    mean, std : number or Tensor
        of the distribution; where one is a tensor, the shape is that of both, broadcast
    dtype : dtype, default float32
        floating; of tensors their own
    device : device, default the default device
    generator : Generator, optional
        another one than the global one
    out : Tensor, optional
        written instead of a new tensor

    Raises
    ------
    ValueError
        for a negative std
    TypeError
        for a dtype that is not floating, and for numbers without a shape

    Examples
    --------
    >>> tg.normal((2, 3)).shape, tg.normal(0.0, 1.0, (4,)).shape, tg.normal(tg.zeros(5), 2.0).shape
    ((2, 3), (4,), (5,))
    """
    from ._creation import _drawn

    size = shape if size is None else size
    as_torch = bool(args) and (isinstance(args[0], (float, Tensor)) or size is not None or (len(args) == 3 and not isinstance(args[2], (int, float))))
    names = ("mean", "std", "size") if as_torch else ("size", "mean", "std", "dtype")
    given = {"mean": mean, "std": std, "size": size, "dtype": dtype}
    if len(args) > len(names):
        raise TypeError(f"[normal] expected at most {len(names)} positional arguments, {', '.join(names)}, got {len(args)}")
    for name, value in zip(names, args):
        if given[name] is not None:
            raise TypeError(f"[normal] got more than one value for {name}")
        given[name] = value
    mean, std = (default if given[k] is None else given[k] for k, default in (("mean", 0.0), ("std", 1.0)))
    size, dtype = given["size"], given["dtype"]
    tensors = [v for v in (mean, std) if isinstance(v, Tensor)]
    if tensors:
        if isinstance(std, Tensor) and bool((std < 0).any()):
            raise ValueError("[normal] expected a std of 0 or more")
        from ._manipulation import broadcast_shapes

        shape = broadcast_shapes(*(v.shape for v in tensors))
        noise = _drawn(generator, "normal", shape if size is None else size, dtype=dtype or tensors[0].dtype, device=tensors[0].device)
        y = noise * std + mean
    elif size is None:
        raise TypeError("[normal] expected a shape: normal((2, 3), mean, std), or normal(mean, std, size)")
    else:
        y = _drawn(generator, "normal", size, mean, std, dtype=dtype or _core.get_default_dtype(), device=device)
    return y if out is None else out.copy_(y)


METHODS = ("clip", "clip_", "clamp", "clamp_", "diff", "msort", "norm", "positive")
FUNCTIONS = ("normal",)


def install(namespace: dict) -> None:
    """Puts the names into the package's namespace and on Tensor."""
    here = globals()
    for name in METHODS:
        setattr(Tensor, name, here[name])
        if not name.endswith("_"):
            namespace[name] = here[name]
    for name in FUNCTIONS:
        namespace[name] = here[name]
    for alias, name in ALIASES.items():
        if name in namespace and alias not in namespace:
            namespace[alias] = namespace[name]
        for end in ("", "_"):
            if hasattr(Tensor, name + end) and not hasattr(Tensor, alias + end):
                setattr(Tensor, alias + end, getattr(Tensor, name + end))
