# SPDX-License-Identifier: Apache-2.0
"""How a training says where it is: a bar of tqdm on a terminal, plain lines where output goes to a file or pipe."""
from __future__ import annotations

import sys
import time
from typing import Any

_EVERY = 30.0  # seconds between plain lines inside an epoch


def line_of(results: dict[str, Any], epochs: int, seconds: float) -> str:
    """An epoch's results as one line."""
    parts = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in results.items() if k not in ("epoch", "step")]
    return f"epoch {results['epoch']}/{epochs}: {', '.join(parts)} ({seconds:.1f} s)"


class Plain:
    """Lines: one an epoch, and one every half a minute inside it."""

    def __init__(self, epoch: int, epochs: int, total: int | None, done: int) -> None:
        self.epoch, self.epochs, self.total, self.done = epoch, epochs, total, done
        self.start = self.last = time.monotonic()

    def advance(self, loss: Any) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.last >= _EVERY:
            self.last = now
            total = f"/{self.total}" if self.total else ""
            print(f"epoch {self.epoch}/{self.epochs}: batch {self.done}{total}, loss {loss.item():.4g}", flush=True)

    def close(self) -> None:
        pass

    def results(self, results: dict[str, Any]) -> None:
        print(line_of(results, self.epochs, time.monotonic() - self.start), flush=True)


class Bar(Plain):
    """A bar of tqdm on stderr, and the results of epochs on stdout."""

    def __init__(self, epoch: int, epochs: int, total: int | None, done: int) -> None:
        super().__init__(epoch, epochs, total, done)
        from tqdm import tqdm

        self.bar = tqdm(total=total, initial=done, desc=f"epoch {epoch}/{epochs}", leave=False, dynamic_ncols=True)

    def advance(self, loss: Any) -> None:
        now = time.monotonic()
        if now - self.last >= 0.5:  # reading a loss waits for the device
            self.last = now
            self.bar.set_postfix_str(f"loss {loss.item():.4g}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        self.bar.close()


class Silent(Plain):
    """Nothing."""

    def advance(self, loss: Any) -> None:
        pass

    def results(self, results: dict[str, Any]) -> None:
        pass


def choose(progress: bool | str | None) -> type[Plain]:
    """None: a bar on a terminal that has tqdm, else lines; 'bar', 'plain', False."""
    if progress is None:
        if not sys.stderr.isatty():
            return Plain
        try:
            import tqdm  # noqa: F401
        except ModuleNotFoundError:
            return Plain
        return Bar
    kinds = {True: Plain, False: Silent, "bar": Bar, "plain": Plain}
    if progress not in kinds:
        raise ValueError(f"[Trainer] expected progress None, True, False, 'bar' or 'plain', got {progress!r}")
    return kinds[progress]
