# SPDX-License-Identifier: Apache-2.0
"""Libraries of custom ops (tengen/custom_ops.h), read through ctypes: each op becomes a library.CustomOp."""
from __future__ import annotations

import ctypes as C
import functools
import os
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

from . import _core
from ._core import Tensor

ABI = 1
CODES = {"int": 0, "uint": 1, "float": 2, "bfloat": 4, "bool": 6}
ERRORS = {3: ValueError, 11: IndexError, 12: NotImplementedError, 8: MemoryError}  # TG_INVALID_ARGUMENT, ...


class DType(C.Structure):
    _fields_ = [("code", C.c_uint8), ("bits", C.c_uint8), ("lanes", C.c_uint16)]


class CTensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("device_type", C.c_int32), ("device_index", C.c_int32), ("ndim", C.c_int32), ("dtype", DType),
                ("shape", C.POINTER(C.c_int64)), ("strides", C.POINTER(C.c_int64)), ("byte_offset", C.c_uint64)]


class Value(C.Union):
    _fields_ = [("i", C.c_int64), ("f", C.c_double), ("dtype", DType), ("ints", C.POINTER(C.c_int64)), ("floats", C.POINTER(C.c_double)), ("str", C.c_char_p)]


class CAttr(C.Structure):
    _fields_ = [("kind", C.c_uint32), ("n", C.c_uint32), ("v", Value)]


class CError(C.Structure):
    _fields_ = [("code", C.c_int32), ("line", C.c_int32), ("launch_id", C.c_uint64), ("file", C.c_char * 112), ("message", C.c_char * 384)]


class Spec(C.Structure):
    _fields_ = [("dtype", DType), ("ndim", C.c_int32), ("shape", C.c_int64 * 16)]


class Call(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("n_inputs", C.c_uint32), ("n_outputs", C.c_uint32), ("n_attrs", C.c_uint32),
                ("inputs", C.POINTER(C.POINTER(CTensor))), ("outputs", C.POINTER(C.POINTER(CTensor))), ("attrs", C.POINTER(CAttr))]


INFER = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.POINTER(Call), C.POINTER(Spec), C.POINTER(CError))
RUN = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.POINTER(Call), C.POINTER(CError))


class COp(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("reserved", C.c_uint32), ("name", C.c_char_p), ("signature", C.c_char_p), ("doc", C.c_char_p),
                ("self", C.c_void_p), ("infer", INFER), ("run", RUN), ("backward", RUN)]


class CLibrary(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("n_ops", C.c_uint32), ("ops", C.POINTER(C.POINTER(COp)))]


def dtype_to_c(dtype: Any) -> DType:
    kind, bits = re.fullmatch(r"([a-z]+)(\d*)", str(dtype).split(".")[-1]).groups()
    if kind not in CODES:
        raise TypeError(f"expected tensors of integers, floats or bools, got {dtype}")
    return DType(CODES[kind], int(bits or 8), 1)


def dtype_from_c(t: DType) -> Any:
    for kind, code in CODES.items():
        found = getattr(_core, kind if kind == "bool" else f"{kind}{t.bits}", None)
        if code == t.code and found is not None:
            return found
    raise TypeError(f"expected a dtype that tensors have, got code {t.code} of {t.bits} bits")


def described(shape: Sequence[int], dtype: Any, address: int | None) -> CTensor:
    n = len(shape)
    sizes, strides = (C.c_int64 * max(n, 1))(*shape), (C.c_int64 * max(n, 1))()
    step = 1
    for i in reversed(range(n)):
        strides[i] = step
        step *= max(shape[i], 1)
    return CTensor(address, 1, 0, n, dtype_to_c(dtype), sizes, strides, 0)


def attribute(value: Any) -> CAttr:
    if value is None:
        return CAttr(0, 1)
    if isinstance(value, (bool, int)):
        return CAttr(1, 1, Value(i=int(value)))
    if isinstance(value, float):
        return CAttr(2, 1, Value(f=value))
    if isinstance(value, str):
        return CAttr(5, len(value.encode()), Value(str=value.encode()))
    if isinstance(value, _core.dtype):
        return CAttr(6, 1, Value(dtype=dtype_to_c(value)))
    if all(isinstance(v, int) for v in value):
        return CAttr(3, len(value), Value(ints=(C.c_int64 * max(len(value), 1))(*value)))
    return CAttr(4, len(value), Value(floats=(C.c_double * max(len(value), 1))(*map(float, value))))


def pointers(tensors: list[CTensor | None]) -> Any:
    return (C.POINTER(CTensor) * max(len(tensors), 1))(*(None if t is None else C.pointer(t) for t in tensors))


def checked(name: str, status: int, error: CError) -> None:
    if status:
        raise ERRORS.get(status, RuntimeError)(f"[{name}] {error.message.decode(errors='replace')}")


def flattened(values: Sequence[Any]) -> list:
    return [t for v in values for t in (v if isinstance(v, (list, tuple)) else [v])]


class Loaded:
    """An op of a library: its functions with tensors, and what registers it."""

    def __init__(self, op: COp, library: Any) -> None:
        from .library import CustomOp, TensorSpec, _schema

        self.op, self.library, self.name = op, library, op.name.decode()
        names = {"Tensor": Tensor, "Optional": typing.Optional, "dtype": _core.dtype}
        scope: dict = {}
        exec(f"def stub{op.signature.decode()}: ...", names, scope)  # the library's code is trusted as it is
        stub = scope["stub"]
        stub.__doc__ = op.doc.decode()
        self.inputs, self.attrs, self.n_outputs = _schema(self.name, stub)
        if op.backward and any(kind == "list" for _, kind in self.inputs):
            raise TypeError(f"[{self.name}] expected no list of tensors in an op with backward, got {op.signature.decode()}")
        self.spec = TensorSpec
        self.custom = CustomOp(self.name, self.as_function(stub, self.run))
        self.custom.register_fake(self.infer)
        self.custom.register_autograd(self.gradient() if op.backward else self.none, setup_context=self.keep)

    @staticmethod
    def as_function(stub: Callable, run: Callable) -> Callable:
        @functools.wraps(stub)
        def function(*args: Any) -> Any:
            return run(*args)

        return function

    def infer(self, *args: Any) -> Any:
        n = len(self.inputs)
        tensors = [None if t is None else described(tuple(t.shape), t.dtype, None) for t in flattened(args[:n])]
        specs = (Spec * self.n_outputs)()
        attrs = [attribute(v) for v in args[n:]]
        call = Call(C.sizeof(Call), len(tensors), self.n_outputs, len(attrs), pointers(tensors), None, (CAttr * max(len(attrs), 1))(*attrs))
        error = CError()
        checked(self.name, self.op.infer(self.op.self, C.byref(call), specs, C.byref(error)), error)
        found = tuple(self.spec(tuple(s.shape[: s.ndim]), dtype_from_c(s.dtype)) for s in specs)
        return found[0] if self.n_outputs == 1 else found

    def call(self, function: Any, inputs: list, attrs: Sequence[Any], outputs: list[Any], device: Any) -> list:
        """Runs a function of the library on host copies; `outputs`: a TensorSpec each, or None."""
        held = [None if t is None else t.detach().to("cpu").contiguous() for t in inputs]
        made = [None if s is None else _zeros(s) for s in outputs]
        describe = lambda t: None if t is None else described(tuple(t.shape), t.dtype, t.data_ptr() or None)  # noqa: E731
        given = [attribute(v) for v in attrs]
        call = Call(C.sizeof(Call), len(held), len(made), len(given), pointers([describe(t) for t in held]), pointers([describe(t) for t in made]),
                    (CAttr * max(len(given), 1))(*given))
        error = CError()
        checked(self.name, function(self.op.self, C.byref(call), C.byref(error)), error)
        return [None if t is None else t.to(device) for t in made]

    def run(self, *args: Any) -> Any:
        inputs, attrs = flattened(args[: len(self.inputs)]), args[len(self.inputs) :]
        specs = self.infer(*args)
        device = next((t.device for t in inputs if t is not None), "cpu")
        found = self.call(self.op.run, inputs, attrs, [specs] if self.n_outputs == 1 else list(specs), device)
        return found[0] if self.n_outputs == 1 else tuple(found)

    # ---- gradients: an op of their own, so that a second derivative is refused and not forgotten ----

    @staticmethod
    def keep(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.inputs, ctx.outputs = inputs, (output,) if isinstance(output, Tensor) else tuple(output)

    def none(self, ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError(f"[{self.name}] has no gradient: its library gives no backward function")

    def gradient(self) -> Callable:
        from .library import CustomOp

        n, m = len(self.inputs), self.n_outputs
        tensor = lambda name, kind: f"{name}: Optional[Tensor]" if kind == "optional" else f"{name}: Tensor"  # noqa: E731
        parameters = [f"g{i}: Tensor" for i in range(m)] + [tensor(f"x{i}", kind) for i, (_, kind) in enumerate(self.inputs)]
        parameters += [f"y{i}: Tensor" for i in range(m)]
        types = {"ints": "list[int]", "floats": "list[float]"}
        parameters += [f"a{i}: Optional[{types.get(kind, kind)}]" for i, (_, kind, _) in enumerate(self.attrs)]
        scope: dict = {}
        result = "Tensor" if n == 1 else f"tuple[{', '.join(['Tensor'] * n)}]"
        exec(f"def stub({', '.join(parameters)}) -> {result}: ...", {"Tensor": Tensor, "Optional": typing.Optional, "dtype": _core.dtype}, scope)
        stub = scope["stub"]
        stub.__doc__ = f"The gradient of {self.name}."

        def specs(inputs: Sequence[Any]) -> list:
            return [None if x is None or not x.dtype.is_floating_point else self.spec(tuple(x.shape), x.dtype) for x in inputs]

        def run(*args: Any) -> Any:
            tensors, attrs = list(args[: 2 * m + n]), args[2 * m + n :]
            found = self.call(self.op.backward, tensors, attrs, specs(tensors[m : m + n]), tensors[0].device)
            found = [_zeros(self.spec((0,), _core.float32)).to(tensors[0].device) if g is None else g for g in found]
            return found[0] if n == 1 else tuple(found)

        def infer(*args: Any) -> Any:
            found = [self.spec((0,), _core.float32) if s is None else s for s in specs(args[m : m + n])]
            return found[0] if n == 1 else tuple(found)

        def refuse(ctx: Any, *grads: Tensor) -> Any:
            raise NotImplementedError(f"[{self.name}] has a first derivative only: its library gives no gradient of its backward function")

        op = CustomOp(self.name + "_backward", self.as_function(stub, run))
        op.register_fake(infer)
        op.register_autograd(refuse)

        def backward(ctx: Any, *grads: Tensor) -> tuple:
            found = op(*grads, *ctx.inputs[:n], *ctx.outputs, *ctx.inputs[n:])
            found = [found] if n == 1 else list(found)
            kept = [g if isinstance(x, Tensor) and x.dtype.is_floating_point else None for g, x in zip(found, ctx.inputs)]
            return (*kept, *[None] * len(self.attrs))

        return backward


def _zeros(spec: Any) -> Tensor:
    return _core.ops["full"](spec.shape, 0, spec.dtype, device="cpu")


def load(path: str | os.PathLike) -> dict:
    """library.load."""
    library = C.CDLL(os.path.abspath(path))
    try:
        query = library.tg_custom_query
    except AttributeError:
        raise RuntimeError(f"[library.load] expected a library of custom ops, got {os.fspath(path)} without the symbol tg_custom_query") from None
    query.restype, query.argtypes = C.POINTER(CLibrary), [C.c_uint32]
    table = query(ABI)
    if not table:
        raise RuntimeError(f"[library.load] expected a library for version {ABI} of custom_ops.h, got {os.fspath(path)}; build it again")
    return {op.name: op.custom for op in (Loaded(table.contents.ops[i].contents, library) for i in range(table.contents.n_ops))}
