# SPDX-License-Identifier: Apache-2.0
"""The loader's worker processes: what runs in them, and the pool that the loader holds.

Each worker has two pipes: tasks in (`(epoch, number, indices, seed)`), batches out. A thread of the loader's process
empties the second ones, so that workers never wait for the training loop to look. When the first one ends, the worker
ends; so a loader that is dropped, or a parent that dies, leaves no process behind.
"""
from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np

import tengen as tg

from .collate import tensors_to_marks
from .transport import receive, send

_BATCH, _END, _ERROR = range(3)


class WorkerInfo(NamedTuple):
    """In a worker: which of how many it is, its seed in this epoch, and its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a loader's worker process its WorkerInfo, elsewhere None."""
    return _info


class WorkerTraceback(Exception):
    """Cause of an exception that was raised in a worker: prints the worker's traceback."""

    def __str__(self) -> str:
        return "\n" + self.args[0]


# ---- in the worker ---------------------------------------------------------------------------------------------------


def _error(worker: int, error: BaseException) -> tuple:
    text = f"in worker {worker} of the loader (process {os.getpid()}):\n{traceback.format_exc()}"
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        pickled = None
    return pickled, f"{type(error).__name__}: {error}", text


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed([seed % 2**32, seed >> 32])
    tg.manual_seed(seed)


def worker_main(
    worker: int, num_workers: int, pickled: bytes, init: bytes, tasks: Connection, results: Connection
) -> None:
    """Answers every task with a batch, an end or an error, until the tasks end."""
    global _info
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and decides
    tg.set_num_threads(1)  # the workers themselves share the cores
    fetcher, epoch, stream, broken = None, -1, None, None
    try:
        while True:
            task = tasks.recv()
            if task[0] != epoch:
                epoch, seed = task[0], task[3] + worker
                _seed_all(seed)
                stream = None
            try:
                if broken:
                    raise broken
                if fetcher is None:
                    try:
                        fetcher = pickle.loads(pickled)
                        _info = WorkerInfo(worker, num_workers, seed, fetcher.dataset)
                        init_fn = pickle.loads(init)
                        if init_fn is not None:
                            init_fn(worker)
                    except Exception as error:
                        broken = error
                        raise
                _info = WorkerInfo(worker, num_workers, seed, fetcher.dataset)
                if fetcher.iterable:
                    stream = fetcher.stream() if stream is None else stream
                    try:
                        kind, batch = _BATCH, next(stream)
                    except StopIteration:
                        kind, batch = _END, None
                else:  # a batch's random numbers are its own: they do not depend on which worker makes it, and after which
                    _seed_all(task[3] + (task[1] << 32))
                    kind, batch = _BATCH, fetcher.fetch(task[2])
                send(results, task[0], task[1], kind, tensors_to_marks(batch))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                send(results, task[0], task[1], _ERROR, _error(worker, error))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass
    finally:
        results.close()


# ---- in the loader's process -----------------------------------------------------------------------------------------


class _State:
    """What the reading thread and the pool share; the thread does not keep the pool alive."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.results: dict[int, tuple[int, list]] = {}
        self.gone: set[int] = set()
        self.epoch = 0
        self.tasks: list[Connection] = []
        self.processes: list[multiprocessing.process.BaseProcess] = []
        self.thread: threading.Thread | None = None

    def read(self, pipes: dict[Connection, int]) -> None:
        while pipes:
            for pipe in wait(list(pipes)):
                try:
                    epoch, number, kind, parts = receive(pipe)
                except Exception:  # its end, or a message that cannot be read: either way nothing more comes of it
                    worker = pipes.pop(pipe)
                    pipe.close()
                    with self.changed:
                        self.gone.add(worker)
                        self.changed.notify_all()
                    continue
                with self.changed:
                    if epoch == self.epoch:  # else of an iteration that was left early
                        self.results[number] = (kind, parts)
                        self.changed.notify_all()

    def shut(self) -> None:
        for pipe in self.tasks:
            pipe.close()
        self.tasks = []
        deadline = time.monotonic() + 2
        for process in self.processes:  # they end when they next look for a task
            process.join(max(0, deadline - time.monotonic()))
        for process in self.processes:
            if process.is_alive():
                process.terminate()
                process.join(1)
            if process.is_alive():
                process.kill()
                process.join()
        self.processes = []
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(1)
        self.results.clear()


class WorkerPool:
    """The worker processes of a loader."""

    def __init__(self, fetcher: Any, num_workers: int, init_fn: Callable | None, timeout: float) -> None:
        try:
            pickled, init = pickle.dumps(fetcher, 5), pickle.dumps(init_fn)
        except Exception as error:
            raise TypeError(
                f"[DataLoader] the dataset, collate_fn and worker_init_fn must be picklable when num_workers > 0 "
                f"(no lambdas or local functions): {error}"
            ) from error
        self.size = num_workers
        self.timeout = timeout
        self.state = state = _State()
        self.close = weakref.finalize(self, state.shut)  # also at interpreter exit
        context = multiprocessing.get_context("forkserver")
        pipes: dict[Connection, int] = {}
        for i in range(num_workers):
            task_out, task_in = context.Pipe(duplex=False)
            result_out, result_in = context.Pipe()  # a socket pair: descriptors go through it
            process = context.Process(target=worker_main, name=f"tengen-loader-{i}", daemon=True,
                                      args=(i, num_workers, pickled, init, task_out, result_in))
            process.start()
            task_out.close()
            result_in.close()
            state.tasks.append(task_in)
            state.processes.append(process)
            pipes[result_out] = i
        state.thread = threading.Thread(target=state.read, args=(pipes,), name="tengen-loader", daemon=True)
        state.thread.start()

    def begin(self) -> int:
        """Starts an iteration; results of earlier ones are dropped from now on."""
        with self.state.changed:
            self.state.epoch += 1
            self.state.results.clear()
            return self.state.epoch

    def put(self, worker: int, number: int, indices: Any, seed: int) -> None:
        try:
            self.state.tasks[worker].send((self.state.epoch, number, indices, seed))
        except (BrokenPipeError, ConnectionResetError):
            pass  # get() says what happened to the worker

    def get(self, worker: int, number: int) -> tuple:
        """Of a worker's task: (True, batch), or (False, None) when its stream has ended. Raises what it raised."""
        state = self.state
        deadline = time.monotonic() + self.timeout if self.timeout else None
        with state.changed:
            while number not in state.results:
                if worker in state.gone:
                    process = state.processes[worker]
                    process.join(1)
                    raise RuntimeError(
                        f"[DataLoader] worker {worker} (process {process.pid}) died unexpectedly, exit code "
                        f"{process.exitcode}" + _death_hint(process.exitcode)
                    )
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise RuntimeError(f"[DataLoader] worker {worker} gave no batch within timeout = {self.timeout} s")
                state.changed.wait(left)
            kind, parts = state.results.pop(number)
        value = pickle.loads(parts[0], buffers=parts[1:])
        if kind == _ERROR:
            pickled, summary, text = value
            error = RuntimeError(summary) if pickled is None else pickle.loads(pickled)
            raise error from WorkerTraceback(text)
        return kind == _BATCH, value


def _death_hint(code: int | None) -> str:
    if code == -9:
        return " (killed, perhaps for memory: use fewer workers or smaller batches)"
    if code == 1 and sys.modules.get("__main__") is not None:
        return (
            ' (see its message above; a script that uses workers needs `if __name__ == "__main__":` around its start)'
        )
    return ""
