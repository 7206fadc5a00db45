# SPDX-License-Identifier: Apache-2.0
"""IDX files, the format of MNIST and its relatives: read strictly, plain or gzip.

>>> images = read_idx("train-images-idx3-ubyte.gz")     # (60000, 28, 28) uint8
>>> data = load_idx_directory("fashion-mnist")
>>> data.train_images.shape
(60000, 28, 28)

An IDX file is two zero bytes, a type code, the rank, one big-endian u32 per dimension, and the elements.
"""
from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(v).newbyteorder("=").name: k for k, v in _DTYPES.items()}
_MAX_RANK = 8
_CHUNK = 1 << 20
# Deflate cannot shrink by more than 1032:1, so a header that claims more than that is a lie.
_MAX_GZIP_RATIO = 1032


class ImageSet(NamedTuple):
    """Images and labels of a classification set, split in two."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    scale: int  # the value that means white
    name: str
    source: str


def _fail(path: str | os.PathLike, what: str) -> ValueError:
    return ValueError(f"[read_idx] {os.fspath(path)}: {what}")


def _header(stream, path: str | os.PathLike) -> tuple[np.dtype, tuple[int, ...]]:
    head = stream.read(4)
    if len(head) < 4:
        raise _fail(path, f"expected a 4-byte IDX magic number, got {len(head)} bytes")
    if head[0] or head[1]:
        raise _fail(
            path, f"expected the magic number to begin with two zero bytes, got {head.hex(' ')} (not an IDX file?)"
        )
    if head[2] not in _DTYPES:
        raise _fail(path, f"unknown type code 0x{head[2]:02x}; known are {', '.join(f'0x{c:02x}' for c in _DTYPES)}")
    rank = head[3]
    if not 1 <= rank <= _MAX_RANK:
        raise _fail(path, f"expected a rank of 1 to {_MAX_RANK}, got {rank}")
    dims = stream.read(4 * rank)
    if len(dims) < 4 * rank:
        raise _fail(path, f"ends inside its header: {rank} dimensions need {4 * rank} bytes, got {len(dims)}")
    dtype, shape = np.dtype(_DTYPES[head[2]]), struct.unpack(f">{rank}I", dims)
    if math.prod(n or 1 for n in shape) * dtype.itemsize >= 2**63:  # more than NumPy can address, empty or not
        raise _fail(path, f"{'x'.join(map(str, shape))} {dtype.name}: sizes of 2^63 bytes of elements or more")
    return dtype, shape


def _body(stream, nbytes: int, path: str | os.PathLike) -> bytearray:
    """Exactly nbytes and then the end. Memory grows with what arrives, not with what was claimed."""
    data = bytearray()
    while len(data) <= nbytes:
        chunk = stream.read(min(_CHUNK, nbytes + 1 - len(data)))
        if not chunk:
            break
        data += chunk
    if len(data) < nbytes:
        raise _fail(path, f"is truncated: the header claims {nbytes} bytes of elements, the file has {len(data)}")
    if len(data) > nbytes:
        raise _fail(path, f"has bytes after the {nbytes} that its header claims")
    return data


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Reads an IDX file, plain or gzip (told by content, not by name).

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    numpy.ndarray
        The elements, of the file's shape and of its type in native byte order.

    Raises
    ------
    ValueError
        The file is no IDX file, is truncated, has bytes too many or fails its gzip checksum. The claimed size is never
        allocated before that many bytes have been seen.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not zipped:
            dtype, shape = _header(raw, path)
            claimed = math.prod(shape) * dtype.itemsize
            there = size - raw.tell()
            if claimed != there:
                raise _fail(path, f"{'x'.join(map(str, shape))} {dtype.name} needs {claimed} bytes of elements, "
                                  f"the file has {there}")
            data = _body(raw, claimed, path)
        else:
            try:
                with gzip.GzipFile(fileobj=raw) as stream:
                    dtype, shape = _header(stream, path)
                    claimed = math.prod(shape) * dtype.itemsize
                    if claimed > size * _MAX_GZIP_RATIO:
                        raise _fail(
                            path, f"claims {claimed} bytes of elements, more than {size} compressed bytes can hold"
                        )
                    data = _body(stream, claimed, path)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise _fail(path, f"bad gzip data: {error}") from error
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def write_idx(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes an IDX file, gzip (without a time stamp) when the name ends in .gz."""
    array = np.asarray(array)
    code = _CODES.get(array.dtype.newbyteorder("=").name)
    if code is None:
        raise TypeError(f"[write_idx] IDX has no type for {array.dtype}; it has {', '.join(_CODES)}")
    if not 1 <= array.ndim <= _MAX_RANK:
        raise ValueError(f"[write_idx] expected a rank of 1 to {_MAX_RANK}, got {array.ndim}")
    data = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data += array.astype(_DTYPES[code]).tobytes()
    if os.fspath(path).endswith(".gz"):
        data = gzip.compress(data, 9, mtime=0)
    Path(path).write_bytes(data)


def _find(directory: Path, stem: str, rank: int) -> Path:
    names = [f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"]
    names = [n + suffix for n in names for suffix in ("", ".gz")]
    for name in names:
        if (directory / name).is_file():
            return directory / name
    raise FileNotFoundError(f"[load_idx_directory] {directory} holds none of {', '.join(names)}")


def load_idx_directory(directory: str | os.PathLike) -> ImageSet:
    """Reads a directory with MNIST's four file names (plain or .gz; Fashion-MNIST, KMNIST and EMNIST use them too).

    Raises
    ------
    FileNotFoundError
        One of the four files is missing.
    ValueError
        A file is damaged, is not u8, or images and labels differ in number.
    """
    directory = Path(directory)
    parts = []
    for split in ("train", "t10k"):
        paths = [_find(directory, f"{split}-images", 3), _find(directory, f"{split}-labels", 1)]
        images, labels = (read_idx(p) for p in paths)
        for array, path, rank in ((images, paths[0], 3), (labels, paths[1], 1)):
            if array.dtype != np.uint8 or array.ndim != rank:
                raise ValueError(f"[load_idx_directory] {path}: expected uint8 of rank {rank}, "
                                 f"got {array.dtype} of shape {array.shape}")
        if len(images) != len(labels):
            raise ValueError(
                f"[load_idx_directory] {paths[0]} has {len(images)} images, {paths[1]} has {len(labels)} labels"
            )
        parts += [images, labels]
    return ImageSet(*parts, scale=255, name=directory.resolve().name, source=str(directory))
