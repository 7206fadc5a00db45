# SPDX-License-Identifier: Apache-2.0
"""tg.save and tg.load: checkpoints as safetensors files, without pickle.

>>> tg.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, "run.safetensors")
>>> checkpoint = tg.load("run.safetensors")
>>> model.load_state_dict(checkpoint["model"])
<All keys matched successfully>

The file: a little-endian u64, a JSON header of that many bytes, the tensors' bytes. A flat dict of tensors is a plain
safetensors file that any reader takes. For anything else the nesting, the numbers and the strings go into the header's
`__metadata__` under "tengen.structure", and the tensors are named by their path in it. The format has no 4-bit integers: they
are rows of U8, two in a byte, with dtype and shape under "tengen.packed".

A file is written beside its final place, flushed to the disk, and renamed: whatever happens, the old file or the new
one is there, whole. Loading trusts nothing: every claim of the header is checked against the file before memory is
asked for.
"""
from __future__ import annotations

import contextlib
import fcntl
import glob
import io
import json
import math
import mmap
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

import tengen as tg

MAX_HEADER = 100_000_000
_ALIGN = 64
_STRUCTURE = "tengen.structure"
_PACKED = "tengen.packed"
_MAX_DEPTH = 64

# The format's name of a dtype, ours, and the NumPy dtype that carries its bytes.
_DTYPES = {
    "F64": ("float64", "<f8"), "F32": ("float32", "<f4"), "F16": ("float16", "<f2"), "BF16": ("bfloat16", "<u2"),
    "I64": ("int64", "<i8"), "I32": ("int32", "<i4"), "I16": ("int16", "<i2"), "I8": ("int8", "|i1"),
    "U64": ("uint64", "<u8"), "U32": ("uint32", "<u4"), "U16": ("uint16", "<u2"), "U8": ("uint8", "|u1"),
    "BOOL": ("bool", "|b1"), "C64": ("complex64", "<c8"), "C128": ("complex128", "<c16"),
    "F8_E4M3": ("float8_e4m3fn", "|u1"), "F8_E5M2": ("float8_e5m2", "|u1"),
}
_CARRIED = ("BF16", "F8_E4M3", "F8_E5M2")  # NumPy sees other numbers of that size
_NAME_OF = {np.dtype(carrier): name for name, (_, carrier) in _DTYPES.items() if name not in _CARRIED}


# ---- structure -------------------------------------------------------------------------------------------------------


class _Saver:
    """Walks what is to be saved: collects arrays by name, returns the structure as JSON values.

    Numbers, strings, None and lists stand for themselves; everything else is an object of one key: {"tensor": name},
    {"array": name}, {"dict": [[key, value], ...]}, {"tuple": [...]}, {"float": "nan"}.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, tuple[str, np.ndarray]] = {}  # name: (dtype's name in the format, its bytes' array)
        self.packed: dict[str, list] = {}  # name: [dtype, shape], of what goes in as bytes of two elements
        self._names: dict[int, str] = {}
        self._alive: list[Any] = []

    def add(self, name: str, value: Any) -> str:
        if id(value) in self._names:  # one tensor in two places stays one
            return self._names[id(value)]
        unique, i = name, 1
        while unique in self.arrays or unique == "__metadata__":
            unique, i = f"{name}~{i}", i + 1
        if isinstance(value, tg.Tensor) and value.dtype.name in ("int4", "uint4"):
            self.packed[unique] = [value.dtype.name, list(value.shape)]
            self.arrays[unique] = "U8", np.frombuffer(value._to_bytes(), np.uint8)
        else:
            self.arrays[unique] = _to_bytes(unique, value)
        self._names[id(value)] = unique
        self._alive.append(value)
        return unique

    def walk(self, value: Any, path: str | None = None, depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError(f"[save] {path or 'the object'} is nested more than {_MAX_DEPTH} deep (a cycle?)")
        if isinstance(value, tg.Tensor):
            return {"tensor": self.add("tensor" if path is None else path, value)}
        if isinstance(value, np.ndarray):
            return {"array": self.add("array" if path is None else path, value)}
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        join = "" if path is None else f"{path}."
        if isinstance(value, Mapping):
            items = []
            for key, item in value.items():
                if not isinstance(key, (str, int, float, bool, type(None))):
                    raise TypeError(f"[save] expected keys that are strings or numbers, got {type(key).__name__} in "
                                    f"{path or 'the object'}")
                items.append([key, self.walk(item, f"{join}{key}", depth + 1)])
            return {"dict": items}
        if isinstance(value, (list, tuple)):
            items = [self.walk(item, f"{join}{i}", depth + 1) for i, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        raise TypeError(
            f"[save] cannot save {type(value).__name__} at {path or 'the top'}: expected tensors, NumPy arrays, "
            f"numbers, strings, None, and dicts, lists and tuples of them (for a module, save its state_dict())"
        )


def _to_bytes(name: str, value: Any) -> tuple[str, np.ndarray]:
    if isinstance(value, np.ndarray):
        if value.dtype.newbyteorder("<") not in _NAME_OF:
            raise TypeError(f"[save] {name}: safetensors has no dtype for {value.dtype}")
        carrier = value.dtype.newbyteorder("<")
        return _NAME_OF[carrier], np.ascontiguousarray(value, carrier).reshape(value.shape)
    tensor = value.detach()
    for code, (ours, carrier) in _DTYPES.items():
        if ours == tensor.dtype.name:
            return code, np.frombuffer(tensor._to_bytes(), carrier).reshape(tuple(tensor.shape))
    raise TypeError(f"[save] {name}: safetensors has no dtype for {tensor.dtype}")


def _from_bits(bits: np.ndarray, code: str, device: Any) -> Any:
    if code in _CARRIED:  # the bytes go in as they are
        return tg._core._from_bytes(bits.tobytes(), _DTYPES[code][0], bits.shape, device)
    return tg.tensor(bits, device=device)


def _rebuild(node: Any, get: Callable[[str, bool], Any], fail: Callable[[str], Exception], depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        raise fail(f"its structure is nested more than {_MAX_DEPTH} deep")
    if isinstance(node, list):
        return [_rebuild(item, get, fail, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) != 1:
        raise fail(f"its structure has an object with keys {sorted(node)}")
    kind, value = next(iter(node.items()))
    if kind in ("tensor", "array") and isinstance(value, str):
        return get(value, kind == "tensor")
    if kind == "tuple" and isinstance(value, list):
        return tuple(_rebuild(item, get, fail, depth + 1) for item in value)
    if kind == "float" and value in ("nan", "inf", "-inf"):
        return float(value)
    if kind == "dict" and isinstance(value, list):
        out = {}
        for item in value:
            if not (isinstance(item, list) and len(item) == 2 and not isinstance(item[0], (list, dict))):
                raise fail("its structure has a malformed dict")
            if item[0] in out:
                raise fail(f"its structure has the key {item[0]!r} twice")
            out[item[0]] = _rebuild(item[1], get, fail, depth + 1)
        return out
    raise fail(f"its structure has an unknown entry {kind!r}")


# ---- writing ---------------------------------------------------------------------------------------------------------


def _is_flat(obj: Any) -> bool:
    return (isinstance(obj, Mapping) and bool(obj) and "__metadata__" not in obj
            and all(isinstance(k, str) and isinstance(v, tg.Tensor) for k, v in obj.items())
            and len({id(v) for v in obj.values()}) == len(obj))


def save(obj: Any, path: str | os.PathLike | BinaryIO, *, metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors, and dicts, lists, tuples, numbers and strings around them, to a safetensors file.

    Parameters
    ----------
    obj : nested dicts, lists and tuples of tensors, NumPy arrays, numbers, strings and None
        For example state_dicts of modules and optimizers.
    path : str, path or binary file
        Replaced in one step once the new file is on the disk; a crash leaves the old file or the new one. Into an open file
        (io.BytesIO, ...) it is written from where that stands.
    metadata : mapping of str to str, optional
        Further entries of the header's `__metadata__`.

    Raises
    ------
    TypeError
        Something inside is none of these, or has a dtype that safetensors lacks.
    OSError
        The file cannot be written; the old one is unchanged.

    Examples
    --------
    >>> tg.save({"w": tg.ones(2, 2), "step": 7}, path)
    >>> tg.load(path)["step"]
    7
    """
    saver = _Saver()
    structure = saver.walk(obj)
    extra = dict(metadata or {})
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in extra.items()) or _STRUCTURE in extra or _PACKED in extra:
        raise TypeError("[save] expected metadata to map strings to strings")
    if not _is_flat(obj):
        extra[_STRUCTURE] = json.dumps(structure, ensure_ascii=False, allow_nan=False)
    if saver.packed:
        extra[_PACKED] = json.dumps(saver.packed, ensure_ascii=False)
    # No holes are allowed between tensors. Those of whole cache lines come first, so all of them are aligned to 64
    # bytes; the rest goes by element size, so each is aligned to its own.
    arrays = saver.arrays
    order = sorted(arrays, key=lambda n: (arrays[n][1].nbytes % _ALIGN != 0, -arrays[n][1].itemsize))
    offsets, end = {}, 0
    for name in order:
        offsets[name] = [end, end + arrays[name][1].nbytes]
        end += arrays[name][1].nbytes
    header: dict[str, Any] = {"__metadata__": extra} if extra else {}
    for name, (code, array) in arrays.items():
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": offsets[name]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(len(text) + 8) % _ALIGN)
    if len(text) > MAX_HEADER:
        raise ValueError(f"[save] the header would have {len(text)} bytes, the format allows {MAX_HEADER}")

    def write(file: Any) -> None:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            array = arrays[name][1]
            if array.nbytes:
                file.write(array.reshape(-1).view(np.uint8).data)

    if hasattr(path, "write"):
        write(path)
    else:
        write_atomically(path, write)


def write_atomically(path: str | os.PathLike, write: Callable[[Any], None]) -> None:
    """Gives `write` a binary file beside `path`, puts it on the disk and renames it to `path`.

    The temporary file is locked while its writer lives, so that the next one can clear away what a killed writer left.
    """
    final = os.path.realpath(path)
    folder, base = os.path.split(final)
    prefix = os.path.join(folder, f".{base}.tmp-")
    for stale in glob.glob(glob.escape(prefix) + "*"):
        with contextlib.suppress(OSError), open(stale, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(stale)
    while True:
        temporary = prefix + secrets.token_hex(8)
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(fd, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not os.path.exists(temporary):
                continue  # cleared away between open and lock: once more
            try:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, final)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        break
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ---- reading ---------------------------------------------------------------------------------------------------------


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        raise ValueError("key " + repr(next(k for k, _ in pairs if k in seen or seen.add(k))) + " is there twice")
    return out


def _bad_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse_json(data: bytes | str, fail: Callable[[str], Exception], what: str) -> Any:
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise fail(f"its {what} is not UTF-8: {error}") from None
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_bad_constant)
    except (ValueError, RecursionError) as error:
        raise fail(f"its {what} is no valid JSON: {error}") from None


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _check_entries(header: dict[str, Any], data_bytes: int, fail: Callable[[str], Exception]) -> dict[str, tuple]:
    """{name: (code, carrier, shape, begin, end)}, every claim checked."""
    entries = {}
    for name, entry in header.items():
        def bad(what: str) -> Exception:
            return fail(f"tensor {name!r}: {what}")

        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise bad("expected an object of dtype, shape and data_offsets")
        code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(code, str) or code not in _DTYPES:
            raise bad(f"unknown dtype {code!r}; known are {', '.join(_DTYPES)}")
        if not isinstance(shape, list) or not all(map(_natural, shape)):
            raise bad(f"expected shape to be a list of sizes, got {shape!r}")
        if len(shape) > 32:
            raise bad(f"expected at most 32 dimensions, got {len(shape)}")
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_natural, offsets)):
            raise bad(f"expected data_offsets to be [begin, end], got {offsets!r}")
        begin, end = offsets
        if begin > end or end > data_bytes:
            raise bad(f"data_offsets [{begin}, {end}] are not inside the {data_bytes} bytes of data (truncated file?)")
        carrier = np.dtype(_DTYPES[code][1])
        if math.prod(n or 1 for n in shape) * carrier.itemsize >= 2**63:  # more than NumPy and we can address, empty or not
            raise bad(f"{code} of shape {shape} has sizes whose product is 2^63 bytes or more")
        needed = math.prod(shape) * carrier.itemsize
        if needed != end - begin:
            raise bad(f"{code} of shape {shape} needs {needed} bytes, its data_offsets hold {end - begin}")
        entries[name] = (code, carrier, tuple(shape), begin, end)
    at, last = 0, "the header"
    for name, (*_, begin, end) in sorted(entries.items(), key=lambda item: item[1][3:]):
        if begin != at:
            what = "overlaps" if begin < at else "leaves a hole after"
            raise fail(f"tensor {name!r}: begins at byte {begin} and so {what} {last!r}, which ends at {at}")
        at, last = end, name
    if at != data_bytes:
        raise fail(f"has {data_bytes - at} bytes that belong to no tensor")
    return entries


def _open(path: str | os.PathLike | BinaryIO) -> tuple[dict, dict, Any, Callable[[str], Exception]]:
    """Checked entries, metadata and the data: mapped, or what is left in an open file."""
    given = hasattr(path, "read")
    name = getattr(path, "name", f"<{type(path).__name__}>") if given else os.fspath(path)

    def fail(what: str) -> Exception:
        return ValueError(f"[load] {name}: {what}")

    if given:
        content = path.read()
        if not isinstance(content, (bytes, bytearray)):
            raise TypeError(f"[load] expected a file opened for bytes, got one that gives {type(content).__name__}; open it with 'rb'")
    with io.BytesIO(content) if given else open(path, "rb") as file:
        size = len(content) if given else os.fstat(file.fileno()).st_size
        if size < 8:
            raise fail(
                f"expected a safetensors file, which begins with an 8-byte header length; the file has {size} bytes"
            )
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise fail(f"claims a header of {length} bytes; at most {MAX_HEADER} are allowed (not a safetensors file?)")
        if length > size - 8:
            raise fail(
                f"claims a header of {length} bytes, but only {size - 8} follow (truncated, or not a safetensors file?)"
            )
        text = file.read(length)
        header = _parse_json(text, fail, "header") if text[:1] == b"{" else None
        if not isinstance(header, dict):
            raise fail("its header is no JSON object (not a safetensors file?)")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise fail("its __metadata__ must map strings to strings")
        entries = _check_entries(header, size - 8 - length, fail)
        mapped = content if given else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return entries, metadata, memoryview(mapped)[8 + length:], fail


def _packed(metadata: dict, entries: dict[str, tuple], fail: Callable[[str], Exception]) -> dict[str, tuple]:
    """{name: (dtype, shape)} of 4-bit integers, every claim checked."""
    if _PACKED not in metadata:
        return {}
    found = _parse_json(metadata[_PACKED], fail, "list of packed tensors")
    if not isinstance(found, dict):
        raise fail("its list of packed tensors is no JSON object")
    out = {}
    for name, claim in found.items():
        if not (name in entries and isinstance(claim, list) and len(claim) == 2 and claim[0] in ("int4", "uint4") and isinstance(claim[1], list)
                and len(claim[1]) <= 32 and all(map(_natural, claim[1]))):
            raise fail(f"its list of packed tensors has a malformed entry {name!r}")
        code, _, shape, begin, end = entries[name]
        if code != "U8" or len(shape) != 1 or math.prod(n or 1 for n in claim[1]) >= 2**63 or (math.prod(claim[1]) + 1) // 2 != end - begin:
            raise fail(f"tensor {name!r}: {claim[0]} of shape {claim[1]} does not fit its {end - begin} bytes of {code}")
        out[name] = claim[0], tuple(claim[1])
    return out


def load(path: str | os.PathLike | BinaryIO, map_location: Any = None, *, device: Any = None, weights_only: bool = True) -> Any:
    """Reads a file written by `save`, or any safetensors file (a flat dict of tensors).

    Parameters
    ----------
    path : str, path or binary file
        An open file is read from where it stands to its end.
    device, map_location : device, optional
        Where the tensors go; the default device when None.
    weights_only : bool
        Without a meaning: a file holds no code that could run.

    Raises
    ------
    ValueError
        The file is truncated, altered or no safetensors file; the message names the file and the tensor.
    TypeError
        For a file that gives text, and for a map_location that is no device.

    Examples
    --------
    >>> model.load_state_dict(tg.load("model.safetensors"))
    <All keys matched successfully>
    """
    if callable(map_location) or isinstance(map_location, Mapping):
        raise TypeError(f"[load] expected one device as map_location, got {type(map_location).__name__}; load to the host and move parts with .to()")
    device = map_location if device is None else device
    entries, metadata, data, fail = _open(path)
    made: dict[str, Any] = {}
    packed = _packed(metadata, entries, fail)

    def get(name: str, as_tensor: bool = True) -> Any:
        if name not in entries:
            raise fail(f"its structure names tensor {name!r}, which is not in the file")
        if (name, as_tensor) not in made:
            code, carrier, shape, begin, end = entries[name]
            bits = np.frombuffer(data[begin:end], carrier).reshape(shape)
            if code == "BOOL" and bits.size and bits.view(np.uint8).max() > 1:
                raise fail(f"tensor {name!r}: has BOOL bytes other than 0 and 1")
            if name in packed and as_tensor:
                made[name, as_tensor] = tg._core._from_bytes(bits.tobytes(), *packed[name], device)
            else:
                made[name, as_tensor] = _from_bits(bits, code, device) if as_tensor else bits.copy()
        return made[name, as_tensor]

    if _STRUCTURE not in metadata:
        return {name: get(name) for name in entries}
    return _rebuild(_parse_json(metadata[_STRUCTURE], fail, "structure"), get, fail)


def load_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The free entries of a file's `__metadata__`."""
    metadata = dict(_open(path)[1])
    for key in (_STRUCTURE, _PACKED):
        metadata.pop(key, None)
    return metadata
