# SPDX-License-Identifier: Apache-2.0
"""Writes the package's type stubs from the op table and the running package.

    python -m tengen._stubs            writes tengen/__init__.pyi beside this file
    python -m tengen._stubs --check    exits with 1 when the file there is not what would be written
"""
from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import tengen as tg
from tengen import _aliases, _core, _creation, _dynamic, _grad_mode, _methods

_MODULES = {m.__name__ for m in (_aliases, _dynamic, _methods)}  # of Tensor's methods written in Python
PATH = Path(__file__).resolve().parent / "__init__.pyi"
_KINDS = {"bool": "_bool", "int": "_int", "float": "_float", "string": "str", "ints": "_int | Sequence[_int]",
          "floats": "_float | Sequence[_float]", "dtype": "DTypeLike"}

_HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
# Written by `python -m tengen._stubs` from the op table; do not edit.
import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from . import autograd as autograd
from . import data as data
from . import linalg as linalg
from . import nn as nn
from . import optim as optim
from . import random as random
from ._methods import RemovableHandle
from ._serialization import load as load
from ._serialization import save as save
from ._summary import summary as summary
from .amp import autocast as autocast
from .func import hessian as hessian
from .func import jacfwd as jacfwd
from .func import jacobian as jacobian
from .func import jacrev as jacrev
from .func import jvp as jvp
from .func import value_and_grad as value_and_grad
from .func import vjp as vjp
from .func import vmap as vmap

_bool = builtins.bool
_float = builtins.float
_int = builtins.int
_Self = TypeVar("_Self", bound="Tensor")
_F = TypeVar("_F", bound=Callable[..., Any])
_dtype = dtype
_device = device
DTypeLike = dtype | str | type | np.dtype
DeviceLike = device | str
Number = _int | _float | _bool
TensorLike = Tensor | np.ndarray | np.generic | Number

__version__: str
inf: float
nan: float
pi: float
e: float
newaxis: None
channels_last: str
contiguous_format: str
ops: dict[str, Callable[..., Any]]

class DeviceLostError(RuntimeError): ...

class dtype:
    name: str
    short_name: str
    itemsize: int
    is_floating_point: _bool
    is_signed: _bool
    eps: float
    numpy: np.dtype
    def __init__(self, name: DTypeLike) -> None: ...

class device:
    name: str
    type: str
    kind: str
    index: int
    is_host: _bool
    def __init__(self, name: DeviceLike, index: int = ...) -> None: ...
    def __enter__(self) -> device: ...
    def __exit__(self, *exception: object) -> None: ...

Device = device
'''

_TENSOR = '''\
    def __init__(self, data: Any = ..., dtype: DTypeLike | None = None, device: DeviceLike | None = None,
                 requires_grad: _bool = False) -> None: ...
    shape: tuple[int, ...]
    ndim: int
    dtype: dtype
    device: device
    requires_grad: _bool
    is_leaf: _bool
    grad: Tensor | None
    grad_fn: Any
    data: Tensor
    itemsize: _int
    nbytes: _int
    _version: _int
    T: Tensor
    mT: Tensor
    def size(self, axis: int | None = None) -> Any: ...
    def stride(self, axis: int | None = None) -> Any: ...
    def numel(self) -> int: ...
    def dim(self) -> int: ...
    def element_size(self) -> int: ...
    def data_ptr(self) -> int: ...
    def storage_offset(self) -> int: ...
    def is_floating_point(self) -> _bool: ...
    def is_contiguous(self, memory_format: str | None = None) -> _bool: ...
    def detach(self) -> Tensor: ...
    def detach_(self) -> Tensor: ...
    def requires_grad_(self: _Self, requires_grad: _bool = True) -> _Self: ...
    def clone(self) -> Tensor: ...
    def contiguous(self, memory_format: str | None = None) -> Tensor: ...
    def float(self) -> Tensor: ...
    def double(self) -> Tensor: ...
    def half(self) -> Tensor: ...
    def bfloat16(self) -> Tensor: ...
    def long(self) -> Tensor: ...
    def int(self) -> Tensor: ...
    def short(self) -> Tensor: ...
    def byte(self) -> Tensor: ...
    def bool(self) -> Tensor: ...
    def cpu(self) -> Tensor: ...
    def type_as(self, other: Tensor) -> Tensor: ...
    def to(self, *args: DTypeLike | DeviceLike | Tensor, dtype: DTypeLike | None = None, device: DeviceLike | None = None,
           copy: _bool = False, memory_format: str | None = None, non_blocking: _bool = False) -> Tensor: ...
    def view(self, *shape: _int | Sequence[_int]) -> Tensor: ...
    def item(self, *index: Any) -> Any: ...
    def tolist(self) -> Any: ...
    def numpy(self, force: _bool = False) -> np.ndarray: ...
    def backward(self, gradient: Tensor | None = None, retain_graph: _bool | None = None, create_graph: _bool = False) -> None: ...
    def copy_(self: _Self, value: TensorLike) -> _Self: ...
    def fill_(self: _Self, value: Number) -> _Self: ...
    def zero_(self: _Self) -> _Self: ...
    def __array__(self, dtype: Any = None, copy: _bool | None = None) -> np.ndarray: ...
    def __len__(self) -> _int: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __contains__(self, value: object) -> _bool: ...
    def __getitem__(self, index: Any) -> Tensor: ...
    def __setitem__(self, index: Any, value: Any) -> None: ...
    def __bool__(self) -> _bool: ...
    def __int__(self) -> _int: ...
    def __float__(self) -> _float: ...
    def __index__(self) -> _int: ...
    def __hash__(self) -> _int: ...
    def __eq__(self, other: object) -> Any: ...
    def __ne__(self, other: object) -> Any: ...
'''
_OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"]


def _default(attr: dict) -> str:
    return " = ..." if attr["default"] is not None or not attr["required"] else ""


def _op_parameters(op: dict, first: str | None) -> list[str]:
    """The parameters of an op; `first` replaces the first input (self of a method)."""
    tensor = "TensorLike" if op["map"] else "Tensor | np.ndarray"
    parts, optional = [], False
    for i, p in enumerate(op["inputs"]):
        if i == 0 and first:
            parts.append(first)
            continue
        kind = f"Sequence[{tensor}]" if p["variadic"] else tensor
        optional |= p["optional"]
        parts.append(f"{p['name']}: {kind}" + (" | None = None" if optional else ""))
    for a in op["attrs"]:
        default = " = ..." if not a["required"] or optional else ""
        optional |= bool(default)
        none = " | None" if a["default"] is None and not a["required"] else ""
        parts.append(f"{a['name']}: {_KINDS[a['kind']]}{none}{default}")
    return parts


def _gathers(op: dict) -> bool:
    return len(op["attrs"]) == 1 and op["attrs"][0]["kind"] == "ints" and not any(p["variadic"] for p in op["inputs"])


def _result(op: dict) -> str:
    visible = [o for o in op["outputs"] if not o["hidden"]]
    return "Tensor" if len(visible) == 1 else f"{op['name']}_result"


def _op_lines(op: dict, method: bool, indent: str, suffix: str = "") -> list[str]:
    parts = _op_parameters(op, "self" if method else None)
    if suffix:
        parts[0] = "self: _Self"
    elif not op["inputs"]:
        parts += ["*", "device: DeviceLike | None = None", "requires_grad: _bool = False"]
    elif _result(op) == "Tensor":
        parts += ["*", "out: Tensor | None = None"]
    result = "_Self" if suffix else _result(op)
    name = op["name"] + suffix
    plain = f"{indent}def {name}({', '.join(parts)}) -> {result}: ..."
    if not _gathers(op) or suffix:
        return [plain]
    spelled = f"{indent}def {name}({', '.join([*parts[:len(op['inputs'])], '*' + op['attrs'][0]['name'] + ': _int'])}) -> {result}: ..."
    return [f"{indent}@overload", plain, f"{indent}@overload", spelled]


def _python_function(function: Any, indent: str, name: str | None = None) -> str:
    signature = inspect.signature(function)
    parameters = []
    for p in signature.parameters.values():
        hint = p.annotation if isinstance(p.annotation, str) else getattr(p.annotation, "__name__", "Any")
        hint = "Any" if p.annotation is inspect.Parameter.empty else hint.replace("_builtins.", "_")
        if p.name == "self" or (indent and not parameters):
            text = "self"
        else:
            prefix = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
            text = f"{prefix}{p.name}: {hint}" + ("" if p.default is inspect.Parameter.empty else " = ...")
        if p.kind is p.KEYWORD_ONLY and "*" not in parameters and not any(q.startswith("*") for q in parameters):
            parameters.append("*")
        parameters.append(text)
    result = signature.return_annotation
    result = result if isinstance(result, str) else "Any"
    result = result.replace("_builtins.", "_")
    return f"{indent}def {name or function.__name__}({', '.join(parameters)}) -> {result}: ..."


def render() -> str:
    """The text of the stub file."""
    table = {op["name"]: op for op in json.loads(_core._op_table_json()) if not op["internal"] and "::" not in op["name"]}
    lines = [""]
    for name in sorted({n for n in dir(_core) if isinstance(getattr(_core, n), _core.dtype)} | {"double", "half", "long", "short"}):
        lines.append(f"{name}: dtype")
    lines.append("")
    for op in table.values():
        if _result(op) != "Tensor":
            fields = "\n".join(f"    {o['name']}: Tensor" for o in op["outputs"] if not o["hidden"])
            lines.append(f"class {op['name']}_result(NamedTuple):\n{fields}\n")
    lines.append("class Tensor:")
    lines.append(_TENSOR.rstrip("\n"))
    for o in _OPERATORS:
        lines += [f"    def __{o}__(self, other: TensorLike) -> Tensor: ...", f"    def __r{o}__(self, other: TensorLike) -> Tensor: ...",
                  *([] if o == "matmul" else [f"    def __i{o}__(self: _Self, other: TensorLike) -> _Self: ..."])]
    lines += [f"    def __{o}__(self, other: TensorLike) -> Tensor: ..." for o in ("lt", "le", "gt", "ge")]
    lines += [f"    def __{o}__(self) -> Tensor: ..." for o in ("neg", "pos", "abs", "invert")]
    written = set(_names(_TENSOR))
    for name, op in table.items():
        for full, suffix in ((name, ""), (name + "_", "_")):
            if full in vars(tg.Tensor) and full not in written and type(vars(tg.Tensor)[full]).__name__ == "op_method":
                lines += _op_lines(op, True, "    ", suffix)
                written.add(full)
    for name, value in sorted(vars(tg.Tensor).items()):
        if inspect.isfunction(value) and value.__module__ in _MODULES and name not in written and name != "__reduce_ex__":
            lines.append(_python_function(value, "    ", name))
            written.add(name)
    for name, value in sorted(vars(tg.Tensor).items()):
        if name not in written and type(value).__name__ == "op_method":
            lines.append(f"    {name} = {value.__name__}")
    lines.append("")
    done = set()
    for name in sorted(n for n in vars(tg) if not n.startswith("_")):
        value = getattr(tg, name)
        kind = type(value).__name__
        if kind == "op" and value.__name__ == name:
            lines += _op_lines(table[name], False, "")
        elif kind == "op":
            lines.append(f"{name} = {value.__name__}")
        elif inspect.isfunction(value) and name not in tg._LAZY_FUNCTIONS:  # those are imported above
            lines.append(_python_function(value, "", name))
        elif inspect.isclass(value) and value.__module__ in (_creation.__name__, _grad_mode.__name__):
            lines.append(_class(value))
        else:
            continue
        done.add(name)
    lines += _core_functions(done)
    return _HEAD + _own_names("\n".join(lines)).rstrip("\n") + "\n"


def _own_names(text: str) -> str:
    """Annotations spelled _int, _float, ...: Tensor.float and tg.bool would hide the builtins, Tensor.dtype the class."""
    text = re.sub(r"(?<=[:\[|>,] )(int|float|bool)\b(?!\()", r"_\1", text)
    text = re.sub(r"(?<=\[)(int|float|bool)\b", r"_\1", text)
    return re.sub(r"(?<=[:>] )(dtype|device)\b(?!:)", r"_\1", text)


def _names(text: str) -> list[str]:
    return [line.split("def ")[1].split("(")[0] for line in text.splitlines() if "def " in line]


def _class(cls: type) -> str:
    if cls.__module__ == _grad_mode.__name__:
        mode = ", mode: _bool" if cls.__name__ == "set_grad_enabled" else ""
        return (f"class {cls.__name__}:\n    def __init__(self{mode}) -> None: ...\n    def __enter__(self) -> Any: ...\n"
                "    def __exit__(self, *exception: object) -> None: ...\n    def __call__(self, function: _F) -> _F: ...\n")
    fields = {"finfo": "bits: int\n    eps: float\n    max: float\n    min: float\n    tiny: float\n    smallest_normal: float",
              "iinfo": "bits: int\n    max: int\n    min: int"}[cls.__name__]
    return f"class {cls.__name__}:\n    dtype: dtype\n    {fields}\n    def __init__(self, dtype: DTypeLike = ...) -> None: ...\n"


# Functions of the extension that are neither ops nor Python.
_EXTENSION = '''\
def tensor(data: Any, dtype: DTypeLike | None = None, device: DeviceLike | None = None, *, requires_grad: _bool = False) -> Tensor: ...
def asarray(data: Any, dtype: DTypeLike | None = None, device: DeviceLike | None = None, *, copy: _bool | None = None) -> Tensor: ...
def from_numpy(array: np.ndarray) -> Tensor: ...
def is_grad_enabled() -> _bool: ...
def default_device() -> device: ...
def set_default_device(device: DeviceLike | None) -> None: ...
def default_device_reason() -> str: ...
def memory_stats(device: DeviceLike | None = None) -> dict[str, int]: ...
def reset_peak_memory_stats(device: DeviceLike | None = None) -> None: ...
def empty_cache(device: DeviceLike | None = None) -> None: ...
def synchronize(device: DeviceLike | None = None) -> None: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def current_stream(device: DeviceLike | None = None) -> Stream: ...
def dispatch_stats() -> dict[str, int]: ...
def clear_plan_cache() -> None: ...
def get_default_dtype() -> dtype: ...
def set_fallback_policy(policy: str) -> None: ...
def get_fallback_policy() -> str: ...
def fallback_table() -> list[dict[str, Any]]: ...
def add_plugin_path(path: str) -> None: ...
def set_plugin_policy(prefer: list[str] = ..., measured_ns: dict[str, dict[str, dict[str, float]]] = ...) -> None: ...
def get_rng_state() -> tuple[int, int]: ...

class DeviceInfo:
    name: str
    kind: str
    product: str
    provider: str
    domain: str
    usable: _bool
    reason: str
    memory_bytes: int
    memory_free: int

class Stream:
    device: device
    def __init__(self, device: DeviceLike | None = None) -> None: ...
    def synchronize(self) -> None: ...
    def query(self) -> _bool: ...
    def wait_event(self, event: Event) -> None: ...
    def wait_stream(self, stream: Stream) -> None: ...
    def record_event(self, event: Event | None = None) -> Event: ...
    def __enter__(self) -> Stream: ...
    def __exit__(self, *exception: object) -> None: ...

class Event:
    def __init__(self) -> None: ...
    def record(self, stream: Stream | None = None) -> None: ...
    def query(self) -> _bool: ...
    def synchronize(self) -> None: ...
'''


def _core_functions(done: set[str]) -> list[str]:
    stated = set(_names(_EXTENSION)) | {"DeviceInfo", "Stream", "Event", "Tensor", "dtype", "device", "DeviceLostError"}
    actual = {n for n in dir(_core) if not n.startswith("_") and n not in ("ops", "call", "call_into") and callable(getattr(_core, n))}
    missing = actual - stated - done
    if missing:
        raise SystemExit(f"tengen._stubs: the extension has functions that _EXTENSION lacks: {', '.join(sorted(missing))}")
    return ["", _EXTENSION]


def main() -> int:
    """Writes or checks the file."""
    text = render()
    if "--check" in sys.argv[1:]:
        fresh = PATH.exists() and PATH.read_text() == text
        if not fresh:
            print(f"{PATH} is out of date: run python -m tengen._stubs", file=sys.stderr)
        return 0 if fresh else 1
    PATH.write_text(text)
    print(f"wrote {PATH}: {len(text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
