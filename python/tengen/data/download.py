# SPDX-License-Identifier: Apache-2.0
"""Fetching a file: checked against its checksum, whole or not at all."""
from __future__ import annotations

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tengen._serialization import write_atomically

_CHUNK = 1 << 18


def checksum(path: str | os.PathLike, kind: str = "md5") -> str:
    """The hexadecimal digest of a file; `kind` as hashlib names it."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _show(name: str, done: int, total: int | None) -> None:
    if not sys.stderr.isatty():
        return
    share = f"{100 * done / total:3.0f} % of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    print(f"\r{name}: {share}", end="", file=sys.stderr, flush=True)


def download(url: str, path: str | os.PathLike, md5: str | None = None, sha256: str | None = None,
             progress: bool = True, timeout: float = 30) -> Path:
    """Fetches a file unless it is there already.

    Parameters
    ----------
    url : str
        http, https or file.
    path : str or path
        Where it goes. A file there with the right checksum (or any, when none is given) is kept.
    md5, sha256 : str, optional
        Expected digests.
    progress : bool
        Show how far it is, on a terminal.
    timeout : float
        Seconds without an answer after which it gives up.

    Returns
    -------
    Path
        `path`. It holds the whole file, or is as it was when this raises.

    Raises
    ------
    OSError
        The server or the disk said no.
    ValueError
        The checksum is another one.
    """
    path = Path(path)
    wanted = [(kind, value) for kind, value in (("md5", md5), ("sha256", sha256)) if value]
    if path.is_file() and all(checksum(path, kind) == value for kind, value in wanted):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    digests = [hashlib.new(kind, usedforsecurity=False) for kind, _ in wanted]

    def write(file: Any) -> None:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 (the caller's URL)
                length = answer.headers.get("Content-Length")
                total, done = int(length) if length and length.isdigit() else None, 0
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    for digest in digests:
                        digest.update(chunk)
                    done += len(chunk)
                    if progress:
                        _show(path.name, done, total)
            if progress and sys.stderr.isatty():
                print(file=sys.stderr)
        except (urllib.error.URLError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or repr(error)
            raise OSError(f"[download] {url} cannot be fetched: {reason}; put the file at {path} by hand") from error
        if total is not None and done != total:
            raise OSError(f"[download] {url} ended early: expected {total} bytes, got {done}")
        for (kind, value), digest in zip(wanted, digests):
            if digest.hexdigest() != value:
                raise ValueError(f"[download] {url}: expected {kind} {value}, got {digest.hexdigest()}; the file has changed or "
                                 f"was damaged on the way")

    write_atomically(path, write)
    return path
