"""Benchmarks: what one is, and how a suite of them is measured.

A suite is a folder of ``bench_*.py`` files. A benchmark is a function marked with `benchmark` that prepares its
programs and gives one *runner* for each side it compares; calling a runner does the work once and gives a figure::

    @benchmark("fib 32", unit="s", times_of=("qemu-user", 4.0))
    def fib(bench: Bench) -> dict[str, Runner | None]:
        program = bench.compile("fib.c")
        return {
            "jefeos": bench.printed(*bench.jefeos(), program),
            "qemu-user": bench.printed(bench.peer("qemu-x86_64"), program),
            "native": bench.printed(program),
        }

Runners are called in turn, round after round, so that a busy moment of the machine falls on all of them; the median
of the rounds counts. None stands for a peer that is not installed. ``limit`` is the greatest figure allowed,
``at_least`` the smallest, ``times_of`` the greatest ratio to another runner.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from jefeos.errors import JefeError, UsageError

Runner: TypeAlias = Callable[[], float]
#: The side whose figure is held against the limit.
SUBJECT = "jefeos"
TIMEOUT_S = 300
#: Names a Python that can import Qiling (it wants other versions of what JefeOS uses, so it lives in its own place).
QILING_PYTHON = "JEFEOS_QILING_PYTHON"


@frozen
class Benchmark:
    """A named measurement: what it is measured in, and what it has to reach."""

    name: str
    unit: str
    prepare: Callable[[Bench], dict[str, Runner | None]]
    limit: float | None = None
    times_of: tuple[str, float] | None = None
    at_least: float | None = None

    @property
    def goal(self) -> str:
        """The figure to reach, in words."""
        if self.times_of is not None:
            return f"{self.times_of[1]:g} x {self.times_of[0]}"
        if self.at_least is not None:
            return f"at least {self.at_least:g} {self.unit}"
        return f"{self.limit:g} {self.unit}" if self.limit is not None else ""


@frozen
class Result:
    """Medians by runner, in the benchmark's unit; ``note`` says why there are none."""

    benchmark: Benchmark
    medians: dict[str, float] = field(factory=dict)
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None without a goal or without the figures to judge it."""
        subject = self.medians.get(SUBJECT)
        if subject is None:
            return None
        if self.benchmark.times_of is not None:
            other = self.medians.get(self.benchmark.times_of[0])
            return subject <= self.benchmark.times_of[1] * other if other is not None else None
        if self.benchmark.at_least is not None:
            return subject >= self.benchmark.at_least
        return subject <= self.benchmark.limit if self.benchmark.limit is not None else None

    def ratio(self, runner: str) -> float | None:
        """How many times ``runner``'s figure the subject's is."""
        subject, other = self.medians.get(SUBJECT), self.medians.get(runner)
        return subject / other if subject is not None and other else None


def benchmark(
    name: str,
    *,
    unit: str,
    limit: float | None = None,
    times_of: tuple[str, float] | None = None,
    at_least: float | None = None,
) -> Callable[[Callable[[Bench], dict[str, Runner | None]]], Benchmark]:
    """Make a `Benchmark` of the function that prepares it."""
    return lambda prepare: Benchmark(name, unit, prepare, limit, times_of, at_least)


class Bench:
    """What a benchmark is given: compilers, peers, the `jefeos` command, and ways to make runners."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.scratch = scratch
        self.notes: dict[str, None] = {}

    def compile(self, source: str, *flags: str, compiler: str = "gcc") -> str:
        """Compile ``programs/SOURCE`` statically with -O2; the path of the program. JefeError without a compiler."""
        tool = self.peer(compiler)
        if tool is None:
            raise JefeError(f"{compiler} is not installed")
        output = self.scratch / f"{Path(source).stem}-{compiler}"
        command = [tool, "-static", "-O2", *flags, "-o", str(output), str(self.folder / "programs" / source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise JefeError(f"{source} does not compile: {done.stderr.strip().splitlines()[-1:]}")
        return str(output)

    def peer(self, name: str) -> str | None:
        """The path of a program of the host, or None."""
        return shutil.which(name)

    def qiling(self) -> tuple[str | None, ...]:
        """The words that run a program under Qiling and time it, with JEFEOS_QILING_PYTHON; (None,) without it."""
        python = os.environ.get(QILING_PYTHON, "")
        command = [python, "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('qiling'))"]
        if not python or not shutil.which(python) or subprocess.run(command, check=False).returncode:
            self.notes[f"qiling is left out: set {QILING_PYTHON} to a Python that has it"] = None
            return (None,)
        return (python, str(self.folder / "under_qiling.py"))

    def jefeos(self, *options: str) -> list[str]:
        """The words that run a program of the host under JefeOS."""
        return [*self.command(), "run", "--root", "/", *options]

    def command(self) -> list[str]:
        """The words that start the `jefeos` command of this Python."""
        script = Path(sys.executable).parent / "jefeos"
        return [str(script)] if script.exists() else [sys.executable, "-m", "jefeos"]

    def whole(self, *words: str | None, stdin: bytes = b"", scale: float = 1.0) -> Runner | None:
        """A runner that times a whole process from outside, in seconds times ``scale``."""
        command = _complete(words)
        if command is None:
            return None

        def run() -> float:
            started = time.perf_counter()
            _run(command, stdin)
            return (time.perf_counter() - started) * scale

        return run

    def first_line(self, *words: str | None, stdin: bytes = b"") -> Runner | None:
        """A runner that times from outside until the process prints its first line, in seconds."""
        command = _complete(words)
        if command is None:
            return None

        def run() -> float:
            started = time.perf_counter()
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(stdin)
                process.stdin.close()
                line = process.stdout.readline()
                took = time.perf_counter() - started
                process.stdout.read()
            if not line or process.returncode:
                raise JefeError(f"{Path(command[0]).name} ended with status {process.returncode}")
            return took

        return run

    def printed(self, *words: str | None, stdin: bytes = b"", scale: float = 1.0) -> Runner | None:
        """A runner for a program that measures itself and prints the figure as the last word of its output."""
        command = _complete(words)
        return None if command is None else lambda: float(_run(command, stdin).split()[-1]) * scale


def load_suite(folder: Path) -> list[Benchmark]:
    """The benchmarks of a folder's ``bench_*.py`` files, in the order of files and of their lines."""
    if not folder.is_dir():
        raise UsageError(f"no benchmark suite in {folder}: say --folder DIR")
    found: list[Benchmark] = []
    for path in sorted(folder.glob("bench_*.py")):
        spec = importlib.util.spec_from_file_location(f"jefeos_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [value for value in vars(module).values() if isinstance(value, Benchmark)]
    return found


def measure(benchmark: Benchmark, bench: Bench, rounds: int) -> Result:
    """Run every side ``rounds`` times in turn. A side that fails ends the benchmark with a note."""
    try:
        runners = {name: run for name, run in benchmark.prepare(bench).items() if run is not None}
        figures: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(rounds):
            for name, run in runners.items():
                figures[name].append(run())
    except (JefeError, OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return Result(benchmark, note=" ".join(str(error).split()) or type(error).__name__)
    return Result(benchmark, {name: statistics.median(values) for name, values in figures.items()})


def _complete(words: Sequence[str | None]) -> list[str] | None:
    command = [word for word in words if word is not None]
    return command if len(command) == len(words) else None


def _run(command: list[str], stdin: bytes) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise JefeError(f"{Path(command[0]).name} ended with status {done.returncode} {' '.join(last)}")
    return done.stdout.decode("utf-8", "replace")


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The results as plain data."""
    return [
        {
            "name": result.benchmark.name,
            "unit": result.benchmark.unit,
            "medians": result.medians,
            "goal": result.benchmark.goal or None,
            "reached": result.reached,
            "note": result.note or None,
        }
        for result in results
    ]
