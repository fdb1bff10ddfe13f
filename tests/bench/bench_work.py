"""What a program's own work costs: it runs on the emulated CPU and the kernel is hardly there.

The programs time themselves, so that start-up does not count (Qiling's runs are timed around them, see
`under_qiling.py`).
"""

from __future__ import annotations

from jefeos.testing.bench import Bench, Runner, benchmark


def on_every_side(bench: Bench, source: str) -> dict[str, Runner | None]:
    program = bench.compile(source)
    return {
        "jefeos": bench.printed(*bench.jefeos(), program),
        "qemu-user": bench.printed(bench.peer("qemu-x86_64"), program),
        "native": bench.printed(program),
        "qiling": bench.printed(*bench.qiling(), program),
    }


@benchmark("fib(32)", unit="s", times_of=("qemu-user", 4.0))
def fib(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "fib.c")


@benchmark("sieve of 4 M bytes", unit="s", times_of=("qemu-user", 4.5))
def sieve(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "sieve.c")


@benchmark("floating-point loop", unit="s", times_of=("qemu-user", 3.0))
def floating_point(bench: Bench) -> dict[str, Runner | None]:
    return on_every_side(bench, "float.c")
