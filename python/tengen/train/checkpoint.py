# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in a folder: step-00001200.safetensors, the last few kept, and best.safetensors."""
from __future__ import annotations

import os
import random
import re
import time
from contextlib import suppress
from typing import Any

import numpy as np

import tengen as tg
from tengen._serialization import load_metadata

_NAME = re.compile(r"step-(\d+)\.safetensors")


def random_state() -> dict[str, Any]:
    """The states of tengen's, NumPy's and Python's global generators."""
    kind, keys, *rest = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {"tengen": list(tg.random.get_rng_state()), "numpy": [kind, np.asarray(keys), *rest],
            "python": [version, list(numbers), gauss]}


def set_random_state(state: dict[str, Any]) -> None:
    """Puts back what random_state() gave."""
    tg.random.set_rng_state(tuple(state["tengen"]))
    np.random.set_state(tuple(state["numpy"]))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def steps_in(folder: str) -> list[str]:
    """The checkpoints of a folder, oldest first: as they were written, whatever their steps, since a folder may hold those of
    several runs."""
    names = [n for n in (os.listdir(folder) if os.path.isdir(folder) else ()) if _NAME.fullmatch(n)]
    paths = {os.path.join(folder, n): int(_NAME.fullmatch(n)[1]) for n in names}
    return sorted(paths, key=lambda path: (_written(path), paths[path]))


def _written(path: str) -> int:
    with suppress(OSError, ValueError):  # gone meanwhile; damaged
        return int(load_metadata(path).get("written", 0))
    return 0


def write(folder: str, step: int, state: dict[str, Any], keep_last: int) -> str:
    """Saves a state and forgets the oldest; a killed process leaves whole files only."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"step-{step:08}.safetensors")
    kept = [old for old in steps_in(folder) if old != path]
    now = max(time.time_ns(), _written(kept[-1]) + 1 if kept else 0)  # whatever the clock says
    tg.save(state, path, metadata={"written": str(now)})
    for old in kept[:max(len(kept) + 1 - keep_last, 0)]:
        with suppress(FileNotFoundError):
            os.unlink(old)
    return path


def find(resume: Any, folder: str | None) -> str | None:
    """The file that `resume` means: True the newest in the folder (None when there is none), or a file or folder."""
    if resume is True:
        if folder is None:
            raise ValueError("[Trainer] resume=True needs a folder of checkpoints: Trainer(..., checkpoints=folder)")
        found = steps_in(folder)
        return found[-1] if found else None
    path = os.fspath(resume)
    if os.path.isdir(path):
        found = steps_in(path)
        if not found:
            raise FileNotFoundError(f"[Trainer] there is no checkpoint (step-N.safetensors) in {path}")
        return found[-1]
    return path
