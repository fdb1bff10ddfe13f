"""What the kernel costs a program: system calls, faults, processes, pipes and files.

The programs time themselves. Qiling joins where it can run them: it has no working fork for a synchronous program.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from jefeos.testing.bench import Bench, Runner, benchmark

CALLS = 200_000
#: Qiling takes some 100 times as long for a call, so it makes fewer.
CALLS_UNDER_QILING = 5_000
FILE_BYTES = 1 << 20
PIECE_BYTES = 8192


def on_every_side(bench: Bench, source: str, *arguments: str) -> dict[str, Runner | None]:
    program = bench.compile(source)
    return {
        "jefeos": bench.printed(*bench.jefeos(), program, *arguments),
        "qemu-user": bench.printed(bench.peer("qemu-x86_64"), program, *arguments),
        "native": bench.printed(program, *arguments),
    }


@benchmark("getppid", unit="µs", limit=2.0)
def getppid(bench: Bench) -> dict[str, Runner | None]:
    program = bench.compile("getppid.c")
    calls = str(CALLS_UNDER_QILING)
    return on_every_side(bench, "getppid.c", str(CALLS)) | {
        "qiling": bench.printed(*bench.qiling(), program, calls, scale=1e6 / CALLS_UNDER_QILING)
    }


@benchmark("page fault, fresh memory in order", unit="µs")
def fresh_memory(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "faults.c", "touch")


@benchmark("page fault, a copy after a fork", unit="µs")
def copied_memory(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "faults.c", "copy")


@benchmark("fork + exec + wait of a static true", unit="ms", limit=3.0)
def spawn(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "spawn.c", bench.compile("true.c"))


@benchmark("round trip over two pipes", unit="µs", limit=40.0)
def round_trip(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "pingpong.c")


@benchmark("futex hand-off between two threads", unit="µs", limit=30.0)
def hand_off(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "handoff.c")


@benchmark("8 KB through a pipe", unit="µs")
def pipe(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "pipe.c")


@benchmark("8 KB pieces through a pipe", unit="MB/s")
def pipe_rate(bench: Bench) -> dict[str, Runner | None]:
    def rate(run: Callable[[], float]) -> Runner:
        return lambda: PIECE_BYTES / run()  # bytes in a microsecond are MB in a second

    return {side: run and rate(run) for side, run in on_every_side(bench, "pipe.c").items()}


@benchmark("first read of 4 KB of a 1 MB file", unit="µs")
def first_read(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "readfile.c", _file(bench), "first")


@benchmark("read of 4 KB of a 1 MB file in the page cache", unit="µs")
def cached_read(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "readfile.c", _file(bench), "again")


def _file(bench: Bench) -> str:
    path = bench.scratch / "one-megabyte"
    path.write_bytes(os.urandom(FILE_BYTES))
    return str(path)
