# SPDX-License-Identifier: Apache-2.0
"""Tengen: deep learning in which every kernel comes from a plugin.

>>> import tengen as tg
>>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])

Importing loads no plugin: that happens at the first use of a device.
"""
from __future__ import annotations

import atexit as _atexit
import builtins as _builtins
import os as _os

from . import _core

__version__ = "0.1.0"

_here = _os.path.dirname(_os.path.abspath(__file__))
_core._add_plugin_directory(_os.path.join(_here, "plugins"))
_core._set_probe_path(_os.path.join(_here, "bin", "tengen-probe"))

# The functions of the op table, the types and the functions of the extension.
globals().update(_core.ops)
globals().update({_name: getattr(_core, _name) for _name in dir(_core) if not _name.startswith("_") and _name not in ("ops", "call", "call_into")})

from . import (  # noqa: E402, F401
    _aliases,
    _creation,
    _dynamic,
    _functions,
    _manipulation,
    _methods,
    _statistics,
    _torch_methods,
    autograd,
    random,
)
from ._contract import (  # noqa: E402, F401
    bmm,
    chain_matmul,
    einsum,
    einsum_path,
    matrix_power,
    mm,
    mv,
    tensordot,
)
from ._creation import *  # noqa: E402, F403
from ._creation import finfo, iinfo  # noqa: E402, F401
from ._dtypes import astype, can_cast, isdtype, promote_types, result_type  # noqa: E402, F401
from ._dynamic import *  # noqa: E402, F403
from ._functions import *  # noqa: E402, F403
from ._grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled  # noqa: E402, F401
from ._memory import get_memory_limit, set_memory_limit  # noqa: E402, F401
from ._spectral import istft, stft  # noqa: E402

_methods.install()
_torch_methods.install()
_manipulation.install()
from ._manipulation import *  # noqa: E402, F403
from ._statistics import *  # noqa: E402, F403

Device = _core.device
channels_last = "channels_last"
contiguous_format = "contiguous_format"
inf = float("inf")
nan = float("nan")
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None
double, half, long, short = _core.float64, _core.float16, _core.int64, _core.int16
cfloat, cdouble = _core.complex64, _core.complex128
_aliases.install(globals())
_dynamic.install()
_statistics.install()
_functions.install()
Tensor.stft, Tensor.istft = stft, istft  # noqa: F405
Generator, initial_seed, manual_seed, set_rng_state = random.Generator, random.initial_seed, random.manual_seed, random.set_rng_state
seed = random.seed
grad, gradcheck, gradgradcheck = autograd.grad, autograd.gradcheck, autograd.gradgradcheck

t, as_tensor = _methods.t, asarray  # noqa: F405


def numel(x: Tensor) -> int:  # noqa: F405
    """The number of elements."""
    return x.numel()


def is_tensor(x: object) -> _builtins.bool:
    """Whether x is a Tensor."""
    return isinstance(x, Tensor)  # noqa: F405


def is_floating_point(x: Tensor) -> _builtins.bool:  # noqa: F405
    """Whether x has a floating-point dtype."""
    return x.dtype.is_floating_point


def is_complex(x: Tensor) -> _builtins.bool:  # noqa: F405
    """Whether x has a complex dtype."""
    return x.is_complex()


def is_nonzero(x: Tensor) -> _builtins.bool:  # noqa: F405
    """Whether the one element of x is not 0. Errors: ValueError for another number of elements."""
    return x.item() != 0


def set_default_dtype(dtype: object) -> None:
    """Sets the dtype of Python's floats, of the functions that make tensors (and so of new layers) and of what elementwise functions make
    of integers: float32 at first. Complex numbers follow: complex128 for float64, else complex64. Of the whole process; sums of integers
    and the like stay float32.

    Raises
    ------
    TypeError
        unless float16, bfloat16, float32 or float64

    Examples
    --------
    >>> tg.set_default_dtype(tg.float64)
    >>> tg.tensor([1.5]).dtype, (tg.tensor([1]) / 2).dtype, tg.zeros(2).dtype
    (tengen.float64, tengen.float64, tengen.float64)
    >>> tg.set_default_dtype(tg.float32)
    """
    _core._set_default_dtype(dtype)


def use_deterministic_algorithms(mode: _builtins.bool, *, warn_only: _builtins.bool = False) -> None:
    """Does nothing: results are the same run to run on one machine as it is."""


def are_deterministic_algorithms_enabled() -> _builtins.bool:
    """True."""
    return True


def clone(x: Tensor) -> Tensor:  # noqa: F405
    """A copy; differentiable."""
    return x.clone()


class DeviceInfo:
    """One row of devices(): name, kind, product, provider, domain, usable, reason, memory_bytes, memory_free (0: unknown)."""

    __slots__ = ("domain", "kind", "memory_bytes", "memory_free", "name", "product", "provider", "reason", "usable")

    def __init__(self, row: dict) -> None:
        for key in self.__slots__:
            setattr(self, key, row[key])

    def __repr__(self) -> str:
        state = "usable" if self.usable else "not usable"
        return f"<device {self.name} ({self.product}) of {self.provider}, {state}: {self.reason}>"


def devices() -> list[DeviceInfo]:
    """All devices, usable or not, with the reason; loads the plugins."""
    return [DeviceInfo(row) for row in _core._devices()]


def set_printoptions(precision: int | None = None, threshold: int | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, sci_mode: _builtins.bool | None = None) -> None:
    """How tensors print: digits after the point, when and how much to summarise, characters in a line."""
    from . import _repr

    _repr.set_printoptions(precision, threshold, edgeitems, linewidth, sci_mode)


_atexit.register(_core._shutdown)

_LAZY_MODULES = (
    "amp", "array_api", "data", "distributions", "fft", "func", "library", "linalg", "metrics", "nn", "optim", "signal", "special", "testing",
    "train", "utils", "vision",
)  # fmt: skip
_LAZY_FUNCTIONS = {"autocast": "amp", "save": "_serialization", "load": "_serialization", "ops": "library", "summary": "_summary",
                   "jit": "_jit", "dump": "_model_files", "load_graph": "_model_files",
                   **dict.fromkeys(("hessian", "jacfwd", "jacobian", "jacrev", "jvp", "value_and_grad", "vjp", "vmap"), "func")}


# What PyTorch has by these names, and where it is here.
_TYPED = "write tg.tensor(data, dtype=tg.{})"
_ELSEWHERE = {
    "cuda": "tg.devices() lists the devices of all kinds, tg.default_device() is the best one, tg.synchronize(), tg.memory_stats() and tg.Stream "
            "take any",
    "backends": "tg.devices() lists what there is", "Size": "shapes are tuples",
    "compile": "tg.jit(f) makes a static graph of a function or module",
    "FloatTensor": _TYPED.format("float32"), "DoubleTensor": _TYPED.format("float64"), "HalfTensor": _TYPED.format("float16"),
    "LongTensor": _TYPED.format("int64"), "IntTensor": _TYPED.format("int32"), "ByteTensor": _TYPED.format("uint8"),
    "BoolTensor": _TYPED.format("bool"), "put_along_axis": "write tg.scatter(x, axis, index, values)",
    "multiprocessing": "use Python's, with the forkserver or spawn method", "preserve_format": "elementwise results keep their operands' layout",
}

# dtypes under names of Python's types, which the code of this module needs
_DTYPES = {"float": _core.float32, "int": _core.int32}


def __getattr__(name: str) -> object:
    if name in _DTYPES:
        return _DTYPES[name]
    if name in _LAZY_FUNCTIONS:
        import importlib

        value = getattr(importlib.import_module(f"{__name__}.{_LAZY_FUNCTIONS[name]}"), name)
        globals()[name] = value
        return value
    if name in _LAZY_MODULES:
        import importlib

        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    if name in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; {_ELSEWHERE[name]}", name=name)
    import difflib

    near = difflib.get_close_matches(name, [n for n in __dir__() if n != name], 1)
    hint = f"; did you mean {near[0]!r}?" if near and not name.startswith("__") else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}", name=name)


def __dir__() -> list[str]:
    return sorted({n for n in globals() if not n.startswith("_")} | {"__version__", *_LAZY_MODULES, *_LAZY_FUNCTIONS})
