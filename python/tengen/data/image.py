# SPDX-License-Identifier: Apache-2.0
"""Images in files: JPEG, PNG and what else Pillow reads, as u8 arrays [channels, height, width]."""
from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from tengen._serialization import write_atomically

# A picture of more pixels than this is refused before it is decoded: a small file can claim a very large one.
MAX_PIXELS = 1 << 28
_MODES = {"gray": "L", "gray_alpha": "LA", "rgb": "RGB", "rgba": "RGBA"}


def _pillow() -> Any:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImportError("[read_image] reading images needs Pillow: pip install pillow (or tengen[images])") from None
    return Image, ImageOps


def read_image(source: str | os.PathLike | bytes, mode: str = "rgb") -> np.ndarray:
    """Reads a picture.

    Parameters
    ----------
    source : path or bytes
        A file, or what is in one.
    mode : str
        "rgb", "gray", "rgba", "gray_alpha", or "unchanged": as the file has it (palettes become RGB).

    Returns
    -------
    numpy.ndarray
        u8 [channels, height, width], upright: a camera's rotation mark is followed. Samples of 16 bits are brought to 8.

    Raises
    ------
    ValueError
        The file is damaged, is no picture, claims more than MAX_PIXELS, or has samples of 32 bits or floats.
    """
    Image, ImageOps = _pillow()
    if mode not in (*_MODES, "unchanged"):
        raise ValueError(f"[read_image] expected mode to be one of {', '.join(_MODES)} or unchanged, got {mode!r}")
    name = f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"[read_image] {name}: claims {width} x {height} pixels, more than {MAX_PIXELS}")
            picture = _of_8_bits(ImageOps.exif_transpose(picture), Image, name)
            if mode != "unchanged":
                picture = picture.convert(_MODES[mode])
            elif picture.mode not in _MODES.values():
                picture = picture.convert("L" if picture.mode == "1" else "RGB")
            array = np.array(picture)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"[read_image] {name}: expected a picture, got a damaged or foreign file ({error})") from error
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _of_8_bits(picture: Any, Image: Any, name: str) -> Any:
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in (None, "PNG", "PPM")):
        samples = np.asarray(picture).astype(np.int64)  # convert() would clip them
        return Image.fromarray(((samples.clip(0, 65535) + 128) // 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"[read_image] {name}: expected samples of 8 or 16 bits, got {'32 bits' if picture.mode == 'I' else 'floats'}")
    return picture


def write_image(path: str | os.PathLike, image: Any, quality: int = 95) -> None:
    """Writes u8 [channels, height, width] (1 to 4 channels) as the file's suffix says; `quality` is for JPEG. The file is whole, or as it was.

    Raises
    ------
    TypeError, ValueError
        The array is not u8 or has no such shape.
    """
    Image, _ = _pillow()
    array = np.asarray(image.numpy() if hasattr(image, "numpy") else image)
    if array.dtype != np.uint8:
        raise TypeError(f"[write_image] expected uint8, got {array.dtype}; scale and round first")
    if array.ndim != 3 or not 1 <= array.shape[0] <= 4:
        raise ValueError(f"[write_image] expected [1 to 4 channels, height, width], got shape {array.shape}")
    picture = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    kind = Image.registered_extensions().get(suffix)
    if kind is None:
        raise ValueError(f"[write_image] expected a suffix of pictures (.png, .jpg, ...), got {os.fspath(path)!r}")
    options = {"quality": quality} if kind == "JPEG" else {}
    encoded = io.BytesIO()  # Pillow's own writing to a file takes a short write for a whole one
    picture.save(encoded, format=kind, **options)
    write_atomically(path, lambda file: file.write(encoded.getbuffer()))
