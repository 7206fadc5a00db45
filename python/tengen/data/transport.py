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
    head = pickle.dumps((epoch, number, kind, sizes, sum(sizes) >= SHARED))
    if sum(sizes) < SHARED:
        for message in (head, data, *(part for part in parts if len(part))):
            pipe.send_bytes(message)
        return
    file = os.memfd_create("tengen-batch", os.MFD_CLOEXEC)
    try:  # nothing is sent before the file is whole: memory may run out, and then the caller sends an error instead
        starts, size = _places(sizes)
        os.ftruncate(file, size)
        for part, start in zip(parts, starts):
            while len(part):
                done = os.pwrite(file, part, start)
                part, start = part[done:], start + done
        pipe.send_bytes(head)
        pipe.send_bytes(data)
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
        starts, size = _places(sizes)
        memory = mmap.mmap(file, size)
    finally:
        os.close(file)
    return epoch, number, kind, parts + [np.frombuffer(memory, np.uint8, size, start) for start, size in zip(starts, sizes)]


def _places(sizes: list[int]) -> tuple[list[int], int]:
    """Where each array begins in the file, and the file's size."""
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // _ALIGN) * _ALIGN
    return starts, end
