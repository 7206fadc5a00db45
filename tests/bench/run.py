#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tengen's figures against the peers it measures itself by, each pair taken in turns within one run.

    python tests/bench/run.py                  the quick rows, about a minute
    python tests/bench/run.py --full           also trains: digits from five seeds, MNIST where TENGEN_DATA is set
    python tests/bench/run.py --only add,conv  rows whose key contains a word; limit (also in --full): steps under memory limits
    python tests/bench/run.py --only memory --torch PYTHON   peak memory of a ResNet-18 step, beside PyTorch's (also in --full)
    python tests/bench/run.py --wheel FILE     also the size of a wheel;  --json: for programs

The best of many timings is what counts: on a shared machine it repeats, the mean does not; the median beside it shows
how quiet the machine was. Every row prints its target and whether it was met; the exit status is 0 either way (the timed
test is quick/test_quick.py). The build tree's programs dispatch_bench and onednn_bench must be there (--build).
"""
from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
import zipfile
from collections.abc import Callable
from pathlib import Path

# Machines set these for their own reasons; they make NumPy's OpenBLAS slower or faster than it comes.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
# Set with one thread: CPU time instead of seconds, which other programs on the machine disturb least. See timing.h.
CPU_TIME = "BENCH_CPU_TIME" in os.environ
now = time.process_time if CPU_TIME else time.perf_counter


def pin(threads: int) -> None:
    """Restarts this program with a number of threads: libraries read it when they are loaded."""
    wanted = {k: v for k, v in os.environ.items() if k not in UNSET}
    if threads == 1:
        wanted["BENCH_CPU_TIME"] = "1"
    wanted |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), "TENGEN_DEVICE": "cpu"}
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])


class Samples(list):
    """Seconds. `best` compares, `median` shows the noise."""

    @property
    def best(self) -> float:
        return min(self)

    @property
    def median(self) -> float:
        return statistics.median(self)


class Program:
    """A benchmark program of the build tree: times one of its works when asked (timing.h)."""

    def __init__(self, path: Path, *arguments: Path) -> None:
        self.process = subprocess.Popen([path, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def time(self, work: str, seconds: float) -> tuple[float, float]:
        self.process.stdin.write(f"{work} {seconds}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args[0]} ended on {work!r} with status {self.process.wait()}")
        answer = json.loads(answer)
        return answer["best"], answer["median"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def time_calls(call: Callable[[], object], seconds: float) -> tuple[float, float]:
    """(best, median) of single calls, for work far above the clock's resolution."""
    call()
    times, start = Samples(), now()
    while len(times) < 5 or now() - start < seconds:
        begin = now()
        call()
        times.append(now() - begin)
    return times.best, times.median


def take_turns(rounds: int, sides: dict[str, Callable[[], tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Every side once a round: what disturbs one disturbs the others. Best of the bests, median of the medians."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seen[name].append(side())
    return {name: {"best": min(b for b, _ in pairs), "median": statistics.median(m for _, m in pairs)}
            for name, pairs in seen.items()}


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        import tengen

        self.options = options
        # The build tree's package is a folder of links, so its own path leads to the build tree.
        self.package = Path(tengen.__file__).absolute().parent
        build = Path(options.build) if options.build else self.package.parents[1]
        self.programs = build / "tests/bench"
        self.rounds, self.seconds = options.rounds, options.seconds
        self.rows: list[dict] = []

    def row(self, key: str, what: str, ours: str, other: str, target: str, met: bool | None, **figures: object) -> None:
        self.rows.append({"key": key, "what": what, "tengen": ours, "beside": other, "target": target, "met": met,
                          "figures": figures})
        if not self.options.json:
            print(f"  {what}: {ours}", file=sys.stderr, flush=True)

    def program(self, name: str, *arguments: Path) -> Program:
        path = self.programs / name
        if not path.exists():
            raise FileNotFoundError(f"{path} is not built; build the target {name} or say where the build tree is (--build)")
        return Program(path, *arguments)

    def dispatch(self) -> Program:
        return self.program("dispatch_bench", self.package / "plugins", self.package / "bin/tengen-probe")

    # ---- rows ---------------------------------------------------------------------------------------------------------

    def add(self) -> None:
        """a + b on 16 f32."""
        import numpy as np

        import tengen as tg

        x = np.arange(16, dtype=np.float32)
        loops = 20000

        def python(a: object, b: object) -> Callable[[], tuple[float, float]]:
            timer = timeit.Timer("a + b", timer=now, globals={"a": a, "b": b})

            def run() -> tuple[float, float]:
                times = Samples(t / loops for t in timer.repeat(5, loops))
                return times.best, times.median

            return run

        below = self.dispatch()
        got = take_turns(4 * self.rounds, {
            "tengen": python(tg.tensor(x), tg.tensor(x)), "numpy": python(x, x.copy()),
            "core": lambda: below.time("add16", 0.02)})
        below.close()
        tengen, numpy, core = (ns(got[k]) for k in ("tengen", "numpy", "core"))
        best = min(210e-9, got["numpy"]["best"])
        self.row("add16", "a + b, 16 f32, Python", tengen, f"NumPy {numpy}", "<= 210 ns and <= NumPy",
                 got["tengen"]["best"] <= best, ratio=got["tengen"]["best"] / got["numpy"]["best"], **got)
        self.row("add16_core", "a + b, 16 f32, C++ dispatch", core, "", "<= 100 ns", got["core"]["best"] <= 100e-9,
                 core=got["core"])

    def import_time(self) -> None:
        """Whole processes, so that what leaving costs counts too."""
        def fresh(code: str) -> Callable[[], tuple[float, float]]:
            def run() -> tuple[float, float]:
                begin = clock()
                subprocess.run([sys.executable, "-c", code], check=True)
                return (clock() - begin,) * 2

            return run

        def clock() -> float:
            return sum(os.times()[2:4]) if CPU_TIME else time.perf_counter()

        got = take_turns(8 * self.rounds, {"tengen": fresh("import tengen"), "numpy": fresh("import numpy"),
                                           "python": fresh("pass")})
        extra = got["tengen"]["best"] - got["numpy"]["best"]
        self.row("import", "import tengen minus import numpy", f"{extra * 1e3:.0f} ms",
                 f"tengen {ms(got['tengen'])}, numpy {ms(got['numpy'])}, python {ms(got['python'])}", "<= 120 ms",
                 extra <= 0.12, **got)

    def matmul(self) -> None:
        import numpy as np

        import tengen as tg

        a, b = (np.full((1024, 1024), 0.5, np.float32) for _ in range(2))
        x, y = tg.tensor(a), tg.tensor(b)
        onednn, below = self.program("onednn_bench"), self.dispatch()
        got = take_turns(self.rounds, {
            "tengen": lambda: time_calls(lambda: x @ y, self.seconds),
            "onednn": lambda: onednn.time("matmul1024", self.seconds),
            "core": lambda: below.time("matmul1024", self.seconds),
            "numpy": lambda: time_calls(lambda: a @ b, self.seconds)})
        onednn.close(), below.close()
        self.against_onednn("matmul", "matmul 1024^3 f32, Python", 2 * 1024**3, got,
                            f", from C++ {gflops(2 * 1024**3, got['core'])}, NumPy {gflops(2 * 1024**3, got['numpy'])}")

    def conv(self) -> None:
        import numpy as np

        import tengen as tg

        conv2d = tg.nn.functional.conv2d
        x = tg.tensor(np.full((8, 64, 56, 56), 0.5, np.float32))
        w = tg.tensor(np.full((64, 64, 3, 3), 0.5, np.float32))
        last = x.to(memory_format=tg.channels_last)
        onednn = self.program("onednn_bench")
        got = take_turns(self.rounds, {
            "tengen_nchw": lambda: time_calls(lambda: conv2d(x, w, padding=1), self.seconds),
            "blocked": lambda: onednn.time("conv_blocked", self.seconds),
            "tengen_nhwc": lambda: time_calls(lambda: conv2d(last, w, padding=1), self.seconds),
            "nhwc": lambda: onednn.time("conv_nhwc", self.seconds),
            "nchw": lambda: onednn.time("conv_nchw", self.seconds)})
        onednn.close()
        work = 2 * 8 * 56 * 56 * 64 * 64 * 9
        best = min((got["blocked"], got["nhwc"]), key=lambda g: g["best"])
        layouts = f" (blocked {gflops(work, got['blocked'])}, nhwc {gflops(work, got['nhwc'])}, "
        layouts += f"NCHW to NCHW with its reorders {gflops(work, got['nchw'])})"
        for key, what in (("nhwc", "channels last"), ("nchw", "contiguous NCHW")):
            self.against_onednn(f"conv_{key}", f"conv 3x3 64ch 56^2 b8 f32, {what}, Python", work,
                                {"tengen": got[f"tengen_{key}"], "onednn": best}, layouts)

    def against_onednn(self, key: str, what: str, work: float, got: dict, rest: str) -> None:
        ratio = got["onednn"]["best"] / got["tengen"]["best"]
        self.row(key, what, f"{gflops(work, got['tengen'])} = {100 * ratio:.0f} %",
                 f"oneDNN itself {gflops(work, got['onednn'])}{rest}", ">= 95 % of oneDNN's own", ratio >= 0.95,
                 ratio=ratio, **got)

    def plans(self) -> None:
        """A small CNN trained for some steps while the learning rate changes."""
        import numpy as np

        import tengen as tg

        tg.manual_seed(0)
        net = tg.nn.Sequential(tg.nn.Conv2d(1, 16, 3, padding=1), tg.nn.BatchNorm2d(16), tg.nn.ReLU(), tg.nn.MaxPool2d(2),
                               tg.nn.Flatten(), tg.nn.Dropout(0.1), tg.nn.Linear(256, 10))
        optimizer = tg.optim.AdamW(net.parameters(), lr=1e-3)
        rng = np.random.default_rng(0)
        made = []
        for step in range(10):
            optimizer.param_groups[0]["lr"] = 1e-3 / (step + 1)
            x = tg.tensor(rng.random((32, 1, 8, 8), dtype=np.float32))
            optimizer.zero_grad()
            tg.nn.functional.cross_entropy(net(x), tg.tensor(rng.integers(0, 10, 32))).backward()
            optimizer.step()
            made.append(tg.dispatch_stats()["plans_created"])
        later = made[-1] - made[0]
        self.row("plans", "plans created after the first step", str(later), f"{made[0]} in and before it", "0", later == 0)

    def limit(self) -> None:
        """Steps of two deep nets under memory limits, beside the same step without one."""
        import numpy as np

        import tengen as tg
        from tengen import nn

        def conv_block(i: int) -> list:
            return [nn.Conv2d(3 if i == 0 else 16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]

        dense = nn.Sequential(*(layer for _ in range(40) for layer in (nn.Linear(128, 128), nn.Tanh())))
        conv = nn.Sequential(*(layer for i in range(40) for layer in conv_block(i)))
        rng = np.random.default_rng(0)
        for key, what, net, shape in (("dense", "40 linear layers, 4096 x 128", dense, (4096, 128)),
                                      ("conv", "40 convolutions with batch norm, 16 x 3 x 32 x 32", conv, (16, 3, 32, 32))):
            x = tg.tensor(rng.random(shape, dtype=np.float32))

            def step(net: object = net, x: object = x) -> float:
                start = now()
                net(x).mean().backward()
                net.zero_grad()
                return now() - start

            step()
            tg.reset_peak_memory_stats()
            base, free = tg.memory_stats()["current"], min(step() for _ in range(self.rounds))
            peak = tg.memory_stats()["peak"]
            for percent in (70, 50, 30, 20):
                with tg.set_memory_limit(base + (peak - base) * percent // 100):
                    step()
                    before = tg.memory_stats()["rematerialised"]
                    limited = min(step() for _ in range(self.rounds))
                    again = (tg.memory_stats()["rematerialised"] - before) // self.rounds
                self.row(f"limit_{key}_{percent}", f"{what}: limit of {percent} % of the peak", f"{limited / free:.2f} x the time",
                         f"{again} calls ran again", "", None, ratio=limited / free, again=again)

    def memory(self) -> None:
        """Training steps of a ResNet-18, each package in a process of its own, by the kernel's count of resident pages."""

        def steps(python: str, package: str) -> dict:
            path = Path(__file__).with_name("step_memory.py")
            done = subprocess.run([python, path, package, "--threads", str(self.options.threads)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{path} {package} failed in {python}: {done.stderr[-2000:]}")
            return json.loads(done.stdout.splitlines()[-1])

        def above(runs: list[dict]) -> list[float]:
            return sorted(run["peak"] - run["before"] for run in runs)

        def told(runs: list[dict]) -> str:
            return f"{above(runs)[0]:.0f} MB (most {above(runs)[-1]:.0f})"

        sides = {"tengen": sys.executable, **({"torch": self.options.torch} if self.options.torch else {})}
        got: dict[str, list[dict]] = {name: [] for name in sides}
        for _ in range(min(self.rounds, 3)):
            for name, python in sides.items():
                got[name].append(steps(python, name))
        beside, met = "no Python with PyTorch was named (--torch)", None
        if "torch" in got:
            beside = f"PyTorch {got['torch'][0]['version']} {told(got['torch'])}"
            met = above(got["tengen"])[0] <= above(got["torch"])[0]
        self.row("memory", "peak memory of ResNet-18 steps, batch 8, 224^2, f32", told(got["tengen"]), beside, "<= PyTorch's", met, **got)

    def quickstart(self, *arguments: str) -> tuple[float, float]:
        """(accuracy in percent, seconds of training) of one run of the package's quickstart."""
        with tempfile.TemporaryDirectory() as out:
            done = subprocess.run([sys.executable, "-m", "tengen._quickstart", "--out", out, *arguments],
                                  capture_output=True, text=True, check=False)
        last = re.search(r"test accuracy: ([\d.]+) % \(in ([\d.]+) s\)", done.stdout)
        if done.returncode or not last:
            raise RuntimeError(f"the quickstart failed: {done.stderr[-2000:]}")
        return float(last[1]), float(last[2])

    def digits(self) -> None:
        runs = [self.quickstart("--seed", str(seed)) for seed in range(5)]
        low, seconds = min(a for a, _ in runs), [s for _, s in runs]
        self.row("digits", "digits, test accuracy of the worst of seeds 0..4", f"{low:.1f} %",
                 "all: " + " ".join(f"{a:.1f}" for a, _ in runs) + f" %; {min(seconds):.1f} to {max(seconds):.1f} s",
                 ">= 97.5 % on every seed, in <= 60 s", low >= 97.5 and max(seconds) <= 60, runs=runs)

    def mnist(self) -> None:
        data = os.environ.get("TENGEN_DATA")
        if not data:
            self.row("mnist", "MNIST subset, accuracy in 5 epochs", "not run", "TENGEN_DATA is unset", ">= 98 %", None)
            return
        accuracy, seconds = self.quickstart("--data", str(Path(data) / "mnist10k"), "--epochs", "5")
        self.row("mnist", "MNIST subset, accuracy in 5 epochs", f"{accuracy:.1f} %", f"{seconds:.1f} s", ">= 98 %",
                 accuracy >= 98)

    def wheel(self) -> None:
        path = Path(self.options.wheel)
        with zipfile.ZipFile(path) as wheel:
            installed = sum(entry.file_size for entry in wheel.infolist())
        self.row("wheel", "wheel, installed", f"{installed / 1e6:.1f} MB", f"packed {path.stat().st_size / 1e6:.1f} MB",
                 "<= 60 MB", installed <= 60e6)


def ns(g: dict) -> str:
    return f"{g['best'] * 1e9:.0f} ns (median {g['median'] * 1e9:.0f})"


def ms(g: dict) -> str:
    return f"{g['best'] * 1e3:.0f} ms"


def gflops(work: float, g: dict) -> str:
    return f"{work / g['best'] / 1e9:.0f} GFLOP/s (median {work / g['median'] / 1e9:.0f})"


def table(rows: list[dict]) -> str:
    lines = [("what", "tengen", "beside it", "target", "met")]
    lines += [(r["what"], r["tengen"], r["beside"], r["target"], {True: "yes", False: "NO", None: "-"}[r["met"]]) for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    lines.insert(1, tuple("-" * w for w in widths))
    return "\n".join("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + " |" for line in lines)


def machine(threads: int) -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text()
    isa = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "no AVX2")
    clock = "1 thread, CPU time" if threads == 1 else f"{threads} threads"
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{model[1] if model else 'unknown CPU'}, {os.cpu_count()} cores, {isa}; {clock}; load {load}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", metavar="DIR", help="the build tree (default: the one tengen is imported from)")
    parser.add_argument("--only", metavar="WORDS", default="", help="rows whose key contains one of these, separated by commas")
    parser.add_argument("--full", action="store_true", help="also train")
    parser.add_argument("--wheel", metavar="FILE", help="also the size of this wheel")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that imports PyTorch, for the row of memory")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each side of a comparison takes (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="with 1, CPU time is taken: it tells overheads "
                        "while others use the machine (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    pin(options.threads)
    bench = Bench(options)
    parts = {"add": bench.add, "import": bench.import_time, "matmul": bench.matmul, "conv": bench.conv, "plans": bench.plans}
    words = [w for w in options.only.split(",") if w]
    if options.full or "limit" in words:
        parts["limit"] = bench.limit
    if options.full or "memory" in words:
        parts["memory"] = bench.memory
    if options.full:
        parts |= {"digits": bench.digits, "mnist": bench.mnist}
    if options.wheel:
        parts["wheel"] = bench.wheel
    if words and not any(w in name for w in words for name in parts):
        parser.error(f"--only {options.only}: expected some of {', '.join(parts)}")
    for name, part in parts.items():
        if not words or any(w in name for w in words):
            part()
    facts = {"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine(options.threads)}
    if options.json:
        print(json.dumps({**facts, "rows": bench.rows}, indent=1))
    else:
        print(f"{facts['date']}, {facts['machine']}\n\n{table(bench.rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
