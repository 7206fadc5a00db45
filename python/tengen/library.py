# SPDX-License-Identifier: Apache-2.0
"""Ops of your own, that are ops of the table like the built-in ones.

>>> @tg.library.custom_op("docs::scaled")
... def scaled(x: tg.Tensor, by: float = 2.0) -> tg.Tensor:
...     return tg.tensor(x.detach().numpy() * by)
>>> scaled.register_autograd(lambda ctx, g: (g * ctx.by, None),
...                          setup_context=lambda ctx, inputs, output: setattr(ctx, "by", inputs[1]))
>>> x = tg.tensor([1.0, 2.0], requires_grad=True)
>>> scaled(x, 3.0).sum().backward()
>>> x.grad.tolist()
[3.0, 3.0]
>>> tg.ops.docs.scaled(tg.tensor([1.0])).tolist()
[2.0]

load() adds ops that are written in C++ (docs/design/011-custom-ops-cpp.md). Custom ops have no kernels in plugins yet.
"""
from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from ._core import Tensor
from ._tree import spread

__all__ = ["CustomOp", "TensorSpec", "custom_op", "include_path", "load", "opcheck", "ops"]


class TensorSpec:
    """A tensor without data, as register_fake's functions see it: shape and dtype."""

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape, self.dtype = tuple(shape), dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def new_empty(self, *shape: Any, dtype: Any = None) -> TensorSpec:
        """Another one, of this dtype unless given."""
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return TensorSpec(sizes, self.dtype if dtype is None else dtype)


def _optional(hint: Any) -> tuple[Any, bool]:
    """The type inside Optional[...], and whether it was one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(inner) == 1 and len(typing.get_args(hint)) == 2:
            return inner[0], True
    return hint, False


_SCALARS = {bool: "bool", int: "int", float: "float", str: "str", _core.dtype: "dtype"}


def _schema(name: str, function: Callable) -> tuple[list, list, int]:
    """Inputs, attributes and the number of outputs, from type hints."""
    hints = typing.get_type_hints(function)
    inputs, attrs = [], []
    for p in inspect.signature(function).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name not in hints:
            raise TypeError(f"[custom_op] expected a type hint for every parameter of {name}, got none for {p.name}")
        hint, optional = _optional(hints[p.name])
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        sequence = origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, Sequence))
        if hint is Tensor or (sequence and args and args[0] is Tensor):
            if attrs:
                raise TypeError(f"[custom_op] expected tensors before other parameters in {name}, got {p.name} after {attrs[-1][0]}")
            if inputs and inputs[-1][1] == "list":
                raise TypeError(f"[custom_op] expected the list of tensors to be the last tensor parameter of {name}")
            inputs.append((p.name, "list" if sequence else "optional" if optional else "tensor"))
            continue
        kind = _SCALARS.get(hint)
        if sequence and args and args[0] in (int, float):
            kind = "ints" if args[0] is int else "floats"
        if kind is None:
            raise TypeError(f"[custom_op] expected Tensor, list[Tensor], bool, int, float, str, dtype or lists of int or float as types "
                            f"in {name}, got {hint} for {p.name}")
        attrs.append((p.name, kind, None if optional else ... if p.default is p.empty else p.default))
    result = hints.get("return")
    if result is Tensor:
        return inputs, attrs, 1
    args = typing.get_args(result)
    if typing.get_origin(result) is tuple and args and all(a is Tensor for a in args):
        return inputs, attrs, len(args)
    raise TypeError(f"[custom_op] expected {name} to be annotated with -> Tensor or -> tuple[Tensor, ...] of fixed length, got {result}")


class _Context:
    """What setup_context saves for backward."""

    needs_input_grad: tuple = ()

    def __init__(self) -> None:
        self.saved_tensors: tuple = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Tensors that backward finds in saved_tensors."""
        self.saved_tensors = tensors


class CustomOp:
    """What custom_op() makes: call it like the function; add parts to it with the register_ methods."""

    def __init__(self, name: str, function: Callable) -> None:
        self.name = name
        self._inputs, self._attrs, self._n = _schema(name, function)
        self._op = _core._register_custom(name, inspect.getdoc(function) or name, self._inputs, self._attrs, self._n, self._checked(function))
        _core.ops[name] = self._op
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._op(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<custom op {self.name}>"

    def _checked(self, function: Callable) -> Callable:
        named = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]

        def run(*args: Any) -> Any:
            n = len(args) - len(named)
            result = function(*args[:n], **dict(zip(named, args[n:])))
            for y in (result,) if isinstance(result, Tensor) else result:
                if any(y is a for a in args):
                    raise RuntimeError(f"[{self.name}] expected new tensors as results, got one of the inputs; return a clone")
            return result

        return run

    def register_fake(self, function: Callable) -> Callable:
        """Inference: a function of the op's arguments, with TensorSpecs in place of tensors, that returns TensorSpecs."""

        def infer(specs: list, attrs: tuple) -> list:
            n = len(self._inputs)
            given: list = [None if s is None else TensorSpec(*s) for s in specs]
            if self._inputs and self._inputs[-1][1] == "list":
                given = [*given[: n - 1], given[n - 1 :]]
            given += [None] * (n - len(given))
            result = function(*given, *attrs)
            return [(tuple(y.shape), y.dtype) for y in ((result,) if isinstance(result, TensorSpec) else result)]

        _core._register_part(self.name, "infer", infer)
        return function

    def register_autograd(self, backward: Callable, *, setup_context: Callable | None = None) -> None:
        """The gradient.

        Parameters
        ----------
        backward : callable
            backward(ctx, *grads): one gradient (or None) per argument of the op
        setup_context : callable, optional
            setup_context(ctx, inputs, output): saves on ctx what backward needs; called before it, with the op's arguments
        """

        def grad(args: tuple, outputs: tuple, grads: tuple) -> tuple:
            ctx = _Context()
            ctx.needs_input_grad = tuple(isinstance(a, Tensor) for a in args)
            if setup_context is not None:
                setup_context(ctx, args, outputs[0] if self._n == 1 else outputs)
            full = [_core.ops["zeros_like"](y) if g is None else g for g, y in zip(grads, outputs)]
            found = backward(ctx, *full)
            found = [found] if isinstance(found, Tensor) or found is None else list(found)
            if len(found) != len(args):
                raise ValueError(f"[{self.name}] expected backward to return {len(args)} gradients, one per argument, got {len(found)}")
            flat: list = []
            for g, (_, kind) in zip(found, self._inputs):
                flat += list(g) if kind == "list" else [g]
            return tuple(flat)

        _core._register_part(self.name, "grad", grad)

    def register_vmap(self, function: Callable) -> Callable:
        """The op over a mapped axis: function(info, in_dims, *args) -> (outputs, out_dims); info.batch_size is the axis' size."""

        def batch(size: int, batched: tuple, args: tuple) -> tuple:
            info = types.SimpleNamespace(batch_size=size, randomness="error")
            dims: list = []
            for i, a in enumerate(args):  # batched: one flag per input of the call, a list's inputs one by one
                if i >= len(self._inputs):
                    dims.append(None)
                elif isinstance(a, list):
                    dims.append([0 if f else None for f in batched[i:]])
                else:
                    dims.append(0 if i < len(batched) and batched[i] else None)
            outputs, places = function(info, tuple(dims), *args)
            found = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
            at = spread(places, outputs, "out_dims")
            return tuple(_core.ops["expand"](y, (size, *y.shape)) if d is None else _core.ops["movedim"](y, d, 0) if d else y
                         for y, d in zip(found, at))

        _core._register_part(self.name, "batch", batch)
        return function


    def register_autocast(self, cast_inputs: Any) -> None:
        """What becomes of floating inputs (but float64) inside tg.autocast.

        Parameters
        ----------
        cast_inputs : {"low", "f32", "promote", None} or dtype
            "low": autocast's dtype, as for products of matrices (float16 and bfloat16 mean this); "f32" (or float32): float32, as for sums and
            losses; "promote": their widest dtype. None: they stay as they are. Without a rule an op without register_autograd is what the
            tg ops that it calls make of it, another one takes its inputs as they are

        Raises
        ------
        ValueError
            for another rule

        Examples
        --------
        >>> @tg.library.custom_op("docs::product")
        ... def product(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        ...     return x @ y
        >>> product.register_autocast("low")
        >>> with tg.autocast("cpu", tg.bfloat16):
        ...     product(tg.ones(2, 2), tg.ones(2, 2)).dtype
        tengen.bfloat16
        """
        rule = {None: "none", _core.float32: "f32", _core.float16: "low", _core.bfloat16: "low"}.get(cast_inputs, cast_inputs)
        if rule not in ("none", "low", "f32", "promote"):
            raise ValueError(f"[register_autocast] expected \"low\", \"f32\", \"promote\", None, or one of float32, float16, bfloat16, got {cast_inputs!r}")
        _core._register_part(self.name, "autocast", rule)


def custom_op(name: str, function: Callable | None = None, *, mutates_args: Any = ()) -> Any:
    """Makes a function an op.

    Parameters
    ----------
    name : str
        "namespace::op"; tg.ops.namespace.op calls it
    function : callable, optional
        type hints give the schema: Tensor, Optional[Tensor], list[Tensor] (last of the tensors), then bool, int, float, str,
        dtype and lists of int or float, with defaults; it returns new tensors. Left out: a decorator
    mutates_args : ()
        accepted, as PyTorch asks for it; an op changes none of its arguments

    Returns
    -------
    CustomOp
        with register_autograd, register_fake, register_vmap, register_autocast. Without register_autograd the op is differentiated through the
        tg ops that the function calls; without register_vmap vmap runs it once for every index

    Raises
    ------
    ValueError
        for a name that is taken or has no namespace
    TypeError
        for parameters without a type hint that a schema can hold
    """
    if mutates_args:
        raise NotImplementedError(f"[custom_op] expected mutates_args=(), got {mutates_args!r}: an op returns new tensors")
    parts = name.split("::")
    if len(parts) != 2 or not all(p.isidentifier() for p in parts):
        raise ValueError(f"[custom_op] expected a name \"namespace::op\", got {name!r}")
    if function is None:
        return lambda f: CustomOp(name, f)
    return CustomOp(name, function)


def load(path: str | os.PathLike) -> dict[str, CustomOp]:
    """Adds the ops of a shared library that was built with tengen/custom_ops.hpp; its code is trusted like any that is imported.

    Parameters
    ----------
    path : str or path
        the library

    Returns
    -------
    dict
        name -> CustomOp; tg.ops.namespace.op calls them, too

    Raises
    ------
    OSError
        for a file that cannot be loaded
    RuntimeError
        for one that is no library of custom ops, or of another version of custom_ops.h
    ValueError
        for an op whose name is taken
    """
    from . import _custom_library

    return _custom_library.load(path)


def include_path() -> str:
    """The directory to compile libraries of custom ops with: -I of tengen/custom_ops.hpp.

    Examples
    --------
    >>> import os
    >>> os.path.exists(os.path.join(tg.library.include_path(), "tengen/custom_ops.hpp"))
    True
    """
    return str(Path(_core.__file__).parent / "include")


class _Namespace:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        found = _core.ops.get(self._prefix + name)
        if found is not None:
            return found
        if not self._prefix and any(k.startswith(name + "::") for k in _core.ops):
            return _Namespace(name + "::")
        raise AttributeError(f"no op {self._prefix}{name}", name=name)

    def __dir__(self) -> list[str]:
        names = [k[len(self._prefix):] for k in _core.ops if k.startswith(self._prefix)]
        return sorted({n.split("::")[0] for n in names})


ops = _Namespace("")


def opcheck(op: Any, args: tuple, kwargs: dict | None = None, *, atol: float = 1e-5, rtol: float = 1e-3) -> dict[str, str]:
    """Tests a custom op on sample arguments: that it leaves its inputs alone, gives the same twice, that register_fake tells its
    shapes and dtypes, that gradients match finite differences (float64 inputs that require them), and vmap a loop.

    Returns
    -------
    dict
        test -> "ok", or why it was skipped

    Raises
    ------
    AssertionError, RuntimeError
        for the first test that fails

    Examples
    --------
    >>> @tg.library.custom_op("docs::twice")
    ... def twice(x: tg.Tensor) -> tg.Tensor:
    ...     return x * 2
    >>> tg.library.opcheck(twice, (tg.ones(2, dtype=tg.float64, requires_grad=True),))["gradient"]
    'ok'
    """
    from . import func
    from .autograd import gradcheck

    kwargs = kwargs or {}
    report: dict[str, str] = {}

    def plain(x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) else x

    def run(*given: Any) -> list:
        result = op(*given, **kwargs)
        return [result] if isinstance(result, Tensor) else list(result)

    def values(tensors: list) -> list:
        return [t.detach().cpu().numpy().copy() for t in tensors]

    tensors = [a for a in args if isinstance(a, Tensor)]
    before = values(tensors)
    first, second = values(run(*map(plain, args))), values(run(*map(plain, args)))
    for a, b in zip(before, values(tensors)):
        np.testing.assert_array_equal(a, b, err_msg="the op changed an input")
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b, err_msg="the op gave something else the second time")
    report["inputs unchanged"] = report["repeatable"] = "ok"
    wanted = [a for a in tensors if a.requires_grad]
    if not wanted:
        report["gradient"] = "skipped: no input requires gradients"
    elif any(a.dtype != _core.float64 for a in wanted):
        report["gradient"] = "skipped: inputs that require gradients are not float64"
    else:
        gradcheck(lambda *x: tuple(run(*x)), args, atol=atol, rtol=rtol)
        report["gradient"] = "ok"
    if tensors:
        stacked = [_core.ops["stack"]([plain(a), plain(a)], 0) if isinstance(a, Tensor) else a for a in args]
        dims = tuple(0 if isinstance(a, Tensor) else None for a in args)
        if all(isinstance(a, Tensor) or not isinstance(a, (list, tuple, dict)) for a in args):
            for y, one in zip(func.vmap(lambda *x: tuple(run(*x)), dims)(*stacked), first):
                for row in values([y])[0]:
                    np.testing.assert_allclose(row, one, rtol, atol, err_msg="vmap differs from a loop")
            report["vmap"] = "ok"
    return report
