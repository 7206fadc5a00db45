# SPDX-License-Identifier: Apache-2.0
"""Mutations of files and calls for the readers and the binding that are Python's: anything may come, and a clear error
or an answer goes out; no crash, no memory of a claimed size.

    python tests/fuzz/fuzz_python.py safetensors --seconds 60      # or idx, binding
    python tests/fuzz/fuzz_python.py idx --runs 300 --seed 7

The corpus (corpus/<target>) is run first. An input that fails is written to --save and named; put it into the corpus
with the mend.
"""
from __future__ import annotations

import argparse
import faulthandler
import gzip
import json
import os
import pathlib
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
GROWTH = 1 << 30  # bytes of address space that a run may add
INTERESTING = [0, 1, 7, 8, 63, 64, 127, 128, 255, 256, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def mutate(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """A few random edits: bytes, integers of all widths, pieces cut, doubled, and taken from other files."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(out) + 1)
        what = rng.randrange(8)
        if what == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif what == 1 and out:
            out[at % len(out)] = rng.randrange(256)
        elif what == 2:
            del out[at:at + rng.randrange(1, 16)]
        elif what == 3:
            out[at:at] = out[at:at + rng.randrange(1, 64)]
        elif what == 4:
            width = rng.choice([1, 2, 4, 8])
            value = rng.choice(INTERESTING) % 2 ** (8 * width)
            out[at:at + width] = value.to_bytes(width, rng.choice(["little", "big"]))
        elif what == 5:
            other = rng.choice(corpus)
            start = rng.randrange(len(other) + 1)
            out[at:at] = other[start:start + rng.randrange(1, 64)]
        elif what == 6:  # a number of a text
            digits = str(rng.choice([*INTERESTING, -1, 10**30])).encode()
            out[at:at + rng.randrange(3)] = digits
        else:
            del out[at:]
    return bytes(out)


# ---- targets -----------------------------------------------------------------------------------------------------------


def safetensors_target(path: pathlib.Path) -> tuple[Callable[[bytes], None], Callable]:
    import tengen as tg

    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            found = tg.load(path)
        except ValueError as error:
            assert str(path) in str(error), f"the message does not name the file: {error}"
            return
        tg.save(found, path.with_suffix(".again"))  # what was read can be written

    def fresh(rng: random.Random, corpus: list[bytes]) -> bytes:
        data = rng.choice(corpus)
        if rng.random() < 0.5 or len(data) < 8:
            return mutate(rng, data, corpus)
        n = int.from_bytes(data[:8], "little")  # the header alone, its length mended
        text = mutate(rng, data[8:8 + n], corpus)
        return len(text).to_bytes(8, "little") + text + data[8 + n:]

    return run, fresh


def idx_target(path: pathlib.Path) -> tuple[Callable[[bytes], None], Callable]:
    from tengen.data import read_idx

    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            array = read_idx(path)
        except ValueError as error:
            assert str(path) in str(error), f"the message does not name the file: {error}"
            return
        assert array.nbytes <= max(1 << 20, 1032 * len(data))

    def fresh(rng: random.Random, corpus: list[bytes]) -> bytes:
        data = rng.choice(corpus)
        if data[:2] == b"\x1f\x8b" and rng.random() < 0.7:  # inside the compressed stream
            return gzip.compress(mutate(rng, gzip.decompress(data), corpus), 1) if len(data) < 1 << 16 else data
        return mutate(rng, data, corpus)

    return run, fresh


def binding_target(path: pathlib.Path) -> tuple[Callable[[bytes], None], Callable]:
    """Calls of ops with any arguments. An input is the seed of one call, so that a failing one can be kept."""
    import numpy as np

    import tengen as tg

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    table = {op["name"]: op for op in json.loads(tg._core._op_table_json()) if not op["internal"]}
    names = sorted(table)

    class Odd:
        def __index__(self) -> int:
            raise RuntimeError("no index")

    class Iterator:
        def __iter__(self):
            return iter([1, Odd()])

    def value(rng: random.Random, depth: int = 0) -> object:
        what = rng.randrange(17)
        if what < 5:
            shape = tuple(rng.choice([0, 1, 2, 3]) for _ in range(rng.randrange(5)))
            dtype = rng.choice(["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "int8", "uint64"])
            t = tg.zeros(shape, dtype=dtype)
            return t.mT if len(shape) > 1 and rng.random() < 0.3 else t
        if what == 5:
            return rng.choice([*INTERESTING, -1, -2, -(2**63), -(2**64), 10**30])
        if what == 6:
            return rng.choice([-3, -1, 0, 1, 2, 3])
        if what == 7:
            return rng.choice([0.0, 1.5, -1.0, float("nan"), float("inf"), 1e308])
        if what == 8:
            return rng.choice([True, False, None])
        if what == 9:
            return rng.choice(["", "float32", "sum", "mean", "constant", "\0", "é", "x" * 100])
        if what in (10, 11) and depth < 3:
            return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
        if what == 12 and depth < 3:
            return tuple(rng.choice([-1, 0, 1, 2, 3, 2**62, Odd()]) for _ in range(rng.randrange(6)))
        if what == 13:
            return rng.choice([tg.float32, tg.int64, tg.bool, np.float64, "cpu", object(), Odd(), Iterator(), int, len])
        if what == 14:
            return np.asarray(rng.choice([1.0, [1, 2], [[1.5]], []]))
        return rng.choice([(1,), (2, 2), (1, 1), 0, 1, slice(1), {}, {"a": 1}, range(3), b"ab"])

    allowed = (TypeError, ValueError, IndexError, OverflowError, NotImplementedError, MemoryError, RuntimeError)

    def run(data: bytes) -> None:
        rng = random.Random(data)
        name = rng.choice(names)
        f = getattr(tg, name, None) or getattr(tg.Tensor, name)
        params = [*table[name]["inputs"], *table[name]["attrs"]]
        args = [value(rng) for _ in range(rng.randrange(len(params) + 2))]
        keywords = {rng.choice(params)["name"] if params and rng.random() < 0.9 else "dim": value(rng)
                    for _ in range(rng.randrange(3))}
        if any(isinstance(a, int) and abs(a) >= 64 for a in [*args, *keywords.values()]) and name in LARGE:
            return  # these make as much memory as is asked for, which is their job
        try:
            f(*args, **keywords)
        except allowed as error:
            assert "internal error" not in str(error), error

    LARGE = {"arange", "linspace", "eye", "full", "uniform", "normal", "randint", "randperm", "bernoulli", "expand", "tile",
             "repeat_interleave", "pad", "one_hot"}

    def fresh(rng: random.Random, corpus: list[bytes]) -> bytes:
        return rng.randbytes(8)

    return run, fresh


TARGETS = {"safetensors": safetensors_target, "idx": idx_target, "binding": binding_target}


# ---- seeds -------------------------------------------------------------------------------------------------------------


def seeds(target: str) -> list[bytes]:
    """Small good files to begin with, made here: only what has failed once is kept as a file."""
    if target == "safetensors":
        def file(header: dict, data: bytes) -> bytes:
            text = json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + data

        structure = {"dict": [["a", {"tensor": "a"}], ["n", 3], ["f", {"float": "nan"}], ["t", {"tuple": [1, [2]]}]]}
        one = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
        return [
            file({}, b""), file({"a": one}, bytes(24)),
            file({"a": one, "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]}}, bytes(26)),
            file({"a": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}, "__metadata__": {"k": "v"}}, b"\0\1\1"),
            file({"a": one, "__metadata__": {"tengen.structure": json.dumps(structure)}}, bytes(24)),
            file({"": {"dtype": "I64", "shape": [0, 5], "data_offsets": [0, 0]}}, b""),
        ]
    if target == "idx":
        plain = [b"\0\0\x08\x01" + struct.pack(">I", 5) + bytes(5), b"\0\0\x0d\x02" + struct.pack(">II", 2, 3) + bytes(24),
                 b"\0\0\x08\x03" + struct.pack(">III", 2, 4, 4) + bytes(32), b"\0\0\x0b\x01" + struct.pack(">I", 0)]
        return plain + [gzip.compress(p, 1, mtime=0) for p in plain]
    return [b"0"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=0, help="so many mutations (0: until the time is over)")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()), help="where a failing input goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, fresh = TARGETS[options.target](pathlib.Path(folder) / "input")
        kept = [p.read_bytes() for p in sorted((HERE / "corpus" / options.target).glob("*"))]
        corpus = seeds(options.target) + kept
        run(corpus[0])  # everything is imported and started: what comes on top is the input's doing
        # A crash ends the process: the input that did it is on the disk before it runs.
        faulthandler.enable()
        last = options.save / f"tengen-fuzz-{options.target}.bin"
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + GROWTH
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        rng = random.Random(options.seed)
        runs, end = 0, time.monotonic() + options.seconds
        queue = list(corpus)
        while queue or runs < options.runs or time.monotonic() < end:
            data = queue.pop() if queue else fresh(rng, corpus)
            last.write_bytes(data)
            try:
                run(data)
            except BaseException:
                traceback.print_exc(limit=-4)
                print(f"fuzz {options.target}: failed after {runs} runs, seed {options.seed}; the input is {last}", file=sys.stderr)
                return 1
            runs += 1
        last.unlink()
    print(f"fuzz {options.target}: {runs} runs, seed {options.seed}, no failure")
    return 0


if __name__ == "__main__":
    sys.exit(main())
