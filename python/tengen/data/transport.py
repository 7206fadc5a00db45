# SPDX-License-Identifier: Apache-2.0
"""Messages from workers to the loader: a pickle whose arrays travel beside it.

Small arrays go through the pipe. Large ones are written into a memory file whose descriptor is sent along, so that the
loader's process maps the pages that the worker filled: nothing is copied a second time, and since the file has no name,
nothing is left behind when either process dies.
"""
from __future__ import annotations

import mmap
import os
import pickle
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

# Bytes of arrays from which a message is shared. Below it, mapping costs more than copying.
SHARED = 1 << 18
_ALIGN = 64


def send(pipe: Connection, epoch: int, number: int, kind: int, value: Any) -> None:
    """Sends a message. `pipe` is one end of a socket pair (Pipe(duplex=True)): descriptors go through it."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    parts = [b.raw() for b in buffers]
    sizes = [len(part) for part in parts]
    shared = sum(sizes) >= SHARED
    pipe.send_bytes(pickle.dumps((epoch, number, kind, sizes, shared)))
    pipe.send_bytes(data)
    if not shared:
        for part in parts:
            if len(part):
                pipe.send_bytes(part)
        return
    file = os.memfd_create("tengen-batch", os.MFD_CLOEXEC)
    try:
        for part, start in zip(parts, _starts(sizes)):
            while len(part):
                done = os.pwrite(file, part, start)
                part, start = part[done:], start + done
        reduction.send_handle(pipe, file, None)
    finally:
        os.close(file)


def receive(pipe: Connection) -> tuple[int, int, int, list[Any]]:
    """A message whose value is still pickled: the pickle, then the arrays' bytes. EOFError at the end."""
    epoch, number, kind, sizes, shared = pickle.loads(pipe.recv_bytes())
    parts: list[Any] = [pipe.recv_bytes()]
    if not shared:
        for size in sizes:
            part = np.empty(size, np.uint8)
            if size:
                pipe.recv_bytes_into(part)
            parts.append(part)
        return epoch, number, kind, parts
    file = reduction.recv_handle(pipe)
    try:
        starts = _starts(sizes)
        memory = mmap.mmap(file, max(start + size for start, size in zip(starts, sizes)))
    finally:
        os.close(file)
    return epoch, number, kind, parts + [np.frombuffer(memory, np.uint8, size, start) for start, size in zip(starts, sizes)]


def _starts(sizes: list[int]) -> list[int]:
    """Where each array begins in the file."""
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // _ALIGN) * _ALIGN
    return starts
