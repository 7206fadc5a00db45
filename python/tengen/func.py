# SPDX-License-Identifier: Apache-2.0
"""Functions of functions: gradients, forward mode, and mapping over an axis. They nest in any order.

>>> tg.func.grad(lambda x: (x ** 3).sum())(tg.tensor([1.0, 2.0])).tolist()
[3.0, 12.0]
>>> per_row = tg.func.vmap(lambda row: (row * row).sum())
>>> per_row(tg.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
[5.0, 25.0]
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import _core
from ._core import Tensor
from ._tree import flatten, map_tree, spread, unflatten

__all__ = ["functional_call", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "linearize",
           "stack_module_state", "value_and_grad", "vjp", "vmap"]


@contextmanager
def _level(kind: str, size: int = 0, randomness: str = "error", again: int = 0) -> Iterator[int]:
    level = _core._open_level(kind, size, randomness, again)
    try:
        yield level
    finally:
        _core._close_level(level)


@contextmanager
def _recording() -> Iterator[bool]:
    outer = _core._set_grad_enabled(True)
    try:
        yield outer
    finally:
        _core._set_grad_enabled(outer)


def _value(level: int, x: Any) -> Any:
    """What x stands for on a level."""
    found = _core._unwrap_on(level, x) if isinstance(x, Tensor) else None
    return x if found is None else found[0]


def _require_tensors(name: str, leaves: list, what: str) -> None:
    for x in leaves:
        if not isinstance(x, Tensor):
            raise TypeError(f"[{name}] expected tensors as {what}, got {type(x).__name__}")


def _zeros(x: Tensor) -> Tensor:
    return _core.ops["zeros_like"](x)


# ---- reverse mode ------------------------------------------------------------------------------------------------------------


class _Pullback:
    """A recorded call: its outputs, and gradients from cotangents, as often as wanted."""

    def __init__(self, name: str, func: Callable, primals: tuple, has_aux: bool) -> None:
        self.name = name
        leaves, self.spec = flatten(primals)
        _require_tensors(name, leaves, "primals")
        for x in leaves:
            if not (x.dtype.is_floating_point or x.dtype.is_complex):
                raise TypeError(f"[{name}] expected floating or complex tensors to differentiate by, got {x.dtype}; cast them, or leave them out of argnums")
        self.primals = leaves
        with _level("traced") as self.level, _recording() as self.grad_mode:
            self.inputs = [_core._wrap_on(self.level, x, None) for x in leaves]
            result = func(*unflatten(self.inputs, self.spec))
            if has_aux:
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise TypeError(f"[{name}] expected the function to return (output, aux) with has_aux=True, got {type(result).__name__}")
                result, aux = result
            self.outputs, self.out_spec = flatten(result)
            _require_tensors(name, self.outputs, "results of the function")
            self.values = [self._out(y) for y in self.outputs]
            self.aux = map_tree(self._out, aux) if has_aux else None

    def _out(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        x = _core._strip_level(self.level, x)
        return x if self.grad_mode or _core._layer(x) else x.detach()

    def __call__(self, cotangents: list) -> list:
        """One gradient per leaf of the primals."""
        pairs = [(y, g) for y, g in zip(self.outputs, cotangents)
                 if g is not None and (_core._layer(y) or (None, None))[1] == self.level and y.requires_grad]
        found: tuple = (None,) * len(self.inputs)
        if pairs:
            with _level("traced", again=self.level), _recording():
                _core._pause_level(self.level, True)
                found = _core._grad(tuple(y for y, _ in pairs), tuple(self.inputs), tuple(g for _, g in pairs), True, True, True)
                found = tuple(None if g is None else self._out(g) for g in found)
        return [_zeros(x) if g is None else g for g, x in zip(found, self.primals)]


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """A function's value, and the function from cotangents to gradients.

    Parameters
    ----------
    func : callable
        of tensors (or nested tuples, lists, dicts of them), returning such
    *primals
        where it is evaluated
    has_aux : bool
        func returns (output, aux); aux is handed through

    Returns
    -------
    (output, vjp_fn) or (output, vjp_fn, aux)
        vjp_fn takes a cotangent of output's structure and returns a tuple of gradients, one per primal

    Examples
    --------
    >>> y, pull = tg.func.vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
    >>> pull(tg.tensor([1.0, 10.0]))[0].tolist()
    [2.0, 40.0]
    """
    p = _Pullback("vjp", func, primals, has_aux)

    def vjp_fn(cotangent: Any) -> tuple:
        leaves, _ = flatten(cotangent)
        if len(leaves) != len(p.values):
            raise ValueError(f"[vjp] expected a cotangent of the output's structure, {len(p.values)} tensors, got {len(leaves)}")
        for g, y in zip(leaves, p.values):
            if g is not None and g.shape != y.shape:
                raise ValueError(f"[vjp] expected a cotangent of shape {y.shape}, got {g.shape}")
        return unflatten(p(leaves), p.spec)

    out = (unflatten(p.values, p.out_spec), vjp_fn)
    return (*out, p.aux) if has_aux else out


def _split(name: str, args: tuple, argnums: int | tuple) -> tuple[tuple, tuple]:
    """Normalised positions, and the arguments there."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise IndexError(f"[{name}] expected argnums within the {len(args)} positional arguments, got {argnums}")
    numbers = tuple(n % len(args) for n in numbers)
    return numbers, tuple(args[n] for n in numbers)


def _partial(func: Callable, args: tuple, kwargs: dict, numbers: tuple) -> Callable:
    def of(*chosen: Any) -> Any:
        full = list(args)
        for n, x in zip(numbers, chosen):
            full[n] = x
        return func(*full, **kwargs)

    return of


def value_and_grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The value of a function that returns one number, and its gradient, in one pass.

    Parameters
    ----------
    func : callable
        returns a tensor of one element, or (that, aux) with has_aux
    argnums : int or tuple of int
        which positional arguments to differentiate by
    has_aux : bool

    Returns
    -------
    callable
        giving (value, gradient), or ((value, aux), gradient)

    Examples
    --------
    >>> v, g = tg.func.value_and_grad(lambda x: (x * x).sum())(tg.tensor([3.0]))
    >>> v.item(), g.tolist()
    (9.0, [6.0])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        numbers, chosen = _split("grad", args, argnums)
        p = _Pullback("grad", _partial(func, args, kwargs, numbers), chosen, has_aux)
        if len(p.values) != 1 or p.values[0].numel() != 1:
            shapes = [y.shape for y in p.values]
            raise RuntimeError(f"[grad] expected a function that returns one tensor of one element, got shapes {shapes}; use jacrev or vjp")
        y = p.values[0]
        if y.dtype.is_complex:
            raise RuntimeError(f"[grad] expected a function that returns a real number, got {y.dtype}; take its real part or abs, or use vjp")
        gradients = unflatten(p([_core.ops["ones_like"](y)]), p.spec)
        value = unflatten(p.values, p.out_spec)
        return ((value, p.aux) if has_aux else value), (gradients[0] if isinstance(argnums, int) else gradients)

    return wrapper


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The gradient of a function that returns one number.

    Parameters
    ----------
    func : callable
        returns a tensor of one element, or (that, aux) with has_aux
    argnums : int or tuple of int
        which positional arguments (nested tuples, lists, dicts of tensors) to differentiate by
    has_aux : bool

    Returns
    -------
    callable
        with func's arguments, giving the gradient (a tuple for several argnums), or (gradient, aux)

    Raises
    ------
    RuntimeError
        when func returns something else than one number

    Examples
    --------
    >>> tg.func.grad(tg.func.grad(lambda x: x ** 3))(tg.tensor(2.0)).item()
    12.0
    """
    both = value_and_grad(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


# ---- forward mode --------------------------------------------------------------------------------------------------------------


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """A function's value and its derivative along tangents, in one forward pass.

    Parameters
    ----------
    func : callable
    primals, tangents : tuple
        one tangent per primal, of its structure, shapes and dtypes
    strict : bool
        raise where an output does not depend on the inputs, instead of giving zeros
    has_aux : bool
        func returns (output, aux)

    Returns
    -------
    (output, tangent) or (output, tangent, aux)

    Examples
    --------
    >>> y, t = tg.func.jvp(tg.sin, (tg.tensor(0.0),), (tg.tensor(2.0),))
    >>> y.item(), t.item()
    (0.0, 2.0)
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(f"[jvp] expected tuples of primals and tangents, got {type(primals).__name__} and {type(tangents).__name__}")
    leaves, spec = flatten(tuple(primals))
    directions, _ = flatten(tuple(tangents))
    _require_tensors("jvp", leaves, "primals")
    _require_tensors("jvp", directions, "tangents")
    if len(leaves) != len(directions):
        raise ValueError(f"[jvp] expected one tangent per primal, got {len(directions)} for {len(leaves)}")
    with _level("dual") as level:
        result = func(*unflatten([_core._wrap_on(level, x, t) for x, t in zip(leaves, directions)], spec))
        aux = None
        if has_aux:
            result, aux = result
        outputs, out_spec = flatten(result)
        _require_tensors("jvp", outputs, "results of the function")
        pairs = [_core._unwrap_on(level, y) or (y, None) for y in outputs]
        if has_aux:
            aux = map_tree(lambda x: _value(level, x), aux)
    if strict and any(t is None for _, t in pairs):
        raise RuntimeError("[jvp] expected outputs that depend on the inputs (strict=True), got one that does not")
    out = (unflatten([y for y, _ in pairs], out_spec), unflatten([_zeros(y) if t is None else t for y, t in pairs], out_spec))
    return (*out, aux) if has_aux else out


def linearize(func: Callable, *primals: Any) -> tuple:
    """A function's value at a point, and its derivative there as a function of tangents.

    The derivative runs `jvp` at the same point for every call.

    Examples
    --------
    >>> y, slope = tg.func.linearize(lambda x: x * x, tg.tensor(3.0))
    >>> y.item(), slope(tg.tensor(1.0)).item()
    (9.0, 6.0)
    """
    return func(*primals), lambda *tangents: jvp(func, primals, tangents)[1]


# ---- vmap ------------------------------------------------------------------------------------------------------------------------


def vmap(func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None) -> Callable:
    """A function mapped over an axis of its arguments, which it does not see.

    Ops run once for all indices: the axis goes in front of theirs. An op without a batching rule or decomposition runs
    once for every index, with a note (dispatch_stats()["batch_loops"] counts).

    Parameters
    ----------
    func : callable
        of tensors or nested tuples, lists, dicts; other leaves are handed through
    in_dims : int, None or nested
        which axis of each argument is mapped; None: none. One number holds for all below it
    out_dims : int or nested
        where the axis stands in the results
    randomness : {"error", "same", "different"}
        what random ops do: raise, give every index the same numbers, or numbers of its own
    chunk_size : int, optional
        as many indices at once, to save memory

    Raises
    ------
    ValueError
        where the mapped axes differ in size, or nothing is mapped
    RuntimeError
        where one value of a mapped tensor is asked for: item(), numpy(), bool()

    Examples
    --------
    >>> dot = tg.func.vmap(lambda a, b: (a * b).sum(), in_dims=(0, None))
    >>> dot(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1.0, 1.0])).tolist()
    [3.0, 7.0]
    """
    if randomness not in ("error", "same", "different"):
        raise ValueError(f"[vmap] expected randomness \"error\", \"same\" or \"different\", got {randomness!r}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"[vmap] expected a chunk_size of at least 1, got {chunk_size}")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = flatten(args)
        if isinstance(in_dims, (tuple, list)) and len(in_dims) != len(args):
            raise ValueError(f"[vmap] expected in_dims for the {len(args)} positional arguments, got {in_dims!r}")
        dims = spread(tuple(in_dims) if isinstance(in_dims, list) else in_dims, args, "in_dims")
        dims = [d if isinstance(x, Tensor) else None for d, x in zip(dims, leaves)]
        named, named_spec = flatten(kwargs)  # mapped over axis 0, as in PyTorch
        places = [0 if isinstance(x, Tensor) else None for x in named]
        every, at = leaves + named, dims + places
        sizes = set()
        for i, (x, d) in enumerate(zip(every, at)):
            if d is None:
                continue
            if not isinstance(d, int):
                raise TypeError(f"[vmap] expected integers or None in in_dims, got {d!r}")
            if not -x.ndim <= d < x.ndim:
                raise ValueError(f"[vmap] expected an axis in [{-x.ndim}, {x.ndim}) for argument {i} of shape {x.shape}, got in_dims {d}")
            at[i] = d % x.ndim
            sizes.add(x.shape[d])
        if not sizes:
            raise ValueError("[vmap] expected at least one tensor to be mapped, got none (in_dims None everywhere)")
        if len(sizes) > 1:
            raise ValueError(f"[vmap] expected mapped axes of one size, got {sorted(sizes)}; in_dims {in_dims!r}")
        size = sizes.pop()

        def run(parts: list) -> Any:
            result = _mapped(func, parts, at, (spec, named_spec, len(leaves)), out_dims, randomness)
            return result

        if chunk_size is None or size <= chunk_size:
            outputs, out_spec, places = run(every)
            return unflatten(outputs, out_spec)
        chunks = []
        for start in range(0, size, chunk_size):
            parts = [x if d is None else _core.ops["slice"](x, d, start, min(start + chunk_size, size)) for x, d in zip(every, at)]
            outputs, out_spec, places = run(parts)
            chunks.append(outputs)
        return unflatten([_core.ops["concat"](list(row), p) for row, p in zip(zip(*chunks), places)], out_spec)

    return wrapper


def _mapped(func: Callable, parts: list, at: list, specs: tuple, out_dims: Any, randomness: str) -> tuple:
    """One pass over parts[i] along axis at[i]: the leaves of the results, their structure, where their axes stand."""
    spec, named_spec, n = specs
    size = next(x.shape[d] for x, d in zip(parts, at) if d is not None)
    with _level("batched", size, randomness) as level:
        inside = [x if d is None else _core._wrap_on(level, x if d == 0 else _core.ops["movedim"](x, d, 0), None)
                  for x, d in zip(parts, at)]
        result = func(*unflatten(inside[:n], spec), **unflatten(inside[n:], named_spec))
        outputs, out_spec = flatten(result)
        _require_tensors("vmap", outputs, "results of the function")
        dims = spread(out_dims, result, "out_dims")
        found = []
        for y, d in zip(outputs, dims):
            pair = _core._unwrap_on(level, y)
            whole = _core.ops["expand"](y, (size, *y.shape)) if pair is None else pair[0]
            if not isinstance(d, int):
                raise TypeError(f"[vmap] expected integers in out_dims, got {d!r}")
            if not -whole.ndim <= d < whole.ndim:
                raise ValueError(f"[vmap] expected out_dims in [{-whole.ndim}, {whole.ndim}), got {d}")
            found.append(whole if d % whole.ndim == 0 else _core.ops["movedim"](whole, 0, d))
        places = [d % y.ndim for d, y in zip(dims, found)]
    return found, out_spec, places


# ---- Jacobians --------------------------------------------------------------------------------------------------------------------


def _bases(leaves: list) -> list:
    """For every leaf its part of the unit vectors of all: [n, *shape]."""
    total = sum(x.numel() for x in leaves)
    out, at = [], 0
    for x in leaves:
        k = x.numel()
        rows = _core.ops["arange"](0, total, device=x.device).unsqueeze(1)
        columns = _core.ops["arange"](at, at + k, device=x.device)
        out.append((rows == columns).to(x.dtype).reshape(total, *x.shape))
        at += k
    return out


def _rows(leaves: list) -> Iterator[tuple[int, int]]:
    at = 0
    for x in leaves:
        yield at, at + x.numel()
        at += x.numel()


def jacrev(func: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, chunk_size: int | None = None) -> Callable:
    """The Jacobian in reverse mode: one backward pass per element of the output, all at once through vmap.

    Returns
    -------
    callable
        giving, for every output, a tensor of shape (*output.shape, *input.shape) (a tuple of them for several argnums)

    Examples
    --------
    >>> tg.func.jacrev(lambda x: x * x)(tg.tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        numbers, chosen = _split("jacrev", args, argnums)
        p = _Pullback("jacrev", _partial(func, args, kwargs, numbers), chosen, has_aux)
        columns = vmap(lambda *g: p(list(g)), chunk_size=chunk_size)(*_bases(p.values))
        blocks = []
        for y, (start, end) in zip(p.values, _rows(p.values)):
            of = [c[start:end].reshape(*y.shape, *x.shape) for c, x in zip(columns, p.primals)]
            tree = unflatten(of, p.spec)
            blocks.append(tree[0] if isinstance(argnums, int) else tree)
        result = unflatten(blocks, p.out_spec)
        return (result, p.aux) if has_aux else result

    return wrapper


def jacfwd(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error",
           chunk_size: int | None = None) -> Callable:
    """The Jacobian in forward mode: one tangent per element of the input, all at once through vmap.

    Examples
    --------
    >>> tg.func.jacfwd(lambda x: x * x)(tg.tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        numbers, chosen = _split("jacfwd", args, argnums)
        of = _partial(func, args, kwargs, numbers)
        leaves, spec = flatten(chosen)
        _require_tensors("jacfwd", leaves, "arguments to differentiate by")
        kept: dict = {}

        def push(*basis: Tensor) -> Any:
            found = jvp(of, chosen, unflatten(list(basis), spec), has_aux=has_aux)
            outputs, kept["spec"] = flatten(found[1])
            return (outputs, found[2]) if has_aux else outputs

        # aux does not depend on the direction: any index of it will do.
        result = vmap(push, randomness=randomness, chunk_size=chunk_size)(*_bases(leaves))
        rows, aux = result if has_aux else (result, None)
        blocks = []
        for t in rows:  # [n, *output]
            shape = t.shape[1:]
            parts = [_core.ops["movedim"](t[start:end], 0, -1).reshape(*shape, *x.shape) for x, (start, end) in zip(leaves, _rows(leaves))]
            tree = unflatten(parts, spec)
            blocks.append(tree[0] if isinstance(argnums, int) else tree)
        out = unflatten(blocks, kept["spec"])
        return (out, map_tree(lambda x: x[0], aux)) if has_aux else out

    return wrapper


jacobian = jacrev


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The matrix of second derivatives, forward over reverse.

    Examples
    --------
    >>> tg.func.hessian(lambda x: (x ** 3).sum())(tg.tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacfwd(jacrev(func, argnums), argnums)


def hvp(func: Callable, primals: tuple, tangents: tuple) -> tuple:
    """(value's gradient, Hessian times tangents), at the cost of a few evaluations, forward over reverse.

    Examples
    --------
    >>> g, h = tg.func.hvp(lambda x: (x ** 3).sum(), (tg.tensor([1.0, 2.0]),), (tg.tensor([1.0, 0.0]),))
    >>> h[0].tolist()
    [6.0, 0.0]
    """
    return jvp(grad(func, tuple(range(len(primals)))), tuple(primals), tuple(tangents))


# ---- modules ------------------------------------------------------------------------------------------------------------------------


def functional_call(module: Any, parameters_and_buffers: dict | tuple, args: Any = None, kwargs: dict | None = None) -> Any:
    """Calls a module with other tensors in place of its parameters and buffers, which come back afterwards.

    Parameters
    ----------
    module : nn.Module
    parameters_and_buffers : dict or tuple of dict
        by dotted name; names that are missing keep the module's own
    args : tuple or anything
        positional arguments; what is not a tuple is the only one
    kwargs : dict, optional

    Raises
    ------
    KeyError
        for a name that the module does not have

    Examples
    --------
    >>> layer = tg.nn.Linear(2, 1, bias=False)
    >>> tg.func.functional_call(layer, {"weight": tg.tensor([[1.0, 2.0]])}, tg.tensor([[3.0, 4.0]])).tolist()
    [[11.0]]
    """
    given = {}
    for part in parameters_and_buffers if isinstance(parameters_and_buffers, (tuple, list)) else (parameters_and_buffers,):
        given.update(part)
    places, owners = [], []
    for name, value in given.items():
        *path, last = name.split(".")
        owner = module
        for step in path:
            owner = owner._modules[step]
        store = owner._parameters if last in owner._parameters else owner._buffers
        if last not in store:
            raise KeyError(f"[functional_call] expected names of parameters or buffers of {type(module).__name__}, got {name!r}")
        places.append((store, last, store[last], value))
        owners.append(owner)
    try:
        for (store, last, _, value), owner in zip(places, owners):
            store[last] = owner.__dict__[last] = value
        return module(*(args if isinstance(args, tuple) else () if args is None else (args,)), **(kwargs or {}))
    finally:
        for (store, last, own, _), owner in zip(places, owners):
            store[last] = owner.__dict__[last] = own


def stack_module_state(models: list) -> tuple[dict, dict]:
    """Parameters and buffers of equal modules, stacked along a new first axis: for vmap over an ensemble.

    Returns
    -------
    (parameters, buffers) : dicts by dotted name
    """
    if not models:
        raise ValueError("[stack_module_state] expected at least one module, got none")
    stack = _core.ops["stack"]
    rows = [dict(m.named_parameters()) for m in models]
    parameters = {k: stack([r[k].detach() for r in rows], 0).requires_grad_(rows[0][k].requires_grad) for k in rows[0]}
    rows = [dict(m.named_buffers()) for m in models]
    return parameters, {k: stack([r[k] for r in rows], 0) for k in rows[0]}
