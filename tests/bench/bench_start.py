"""How long a user waits: whole processes, timed from the shell."""

from __future__ import annotations

from jefeos.testing.bench import Bench, Runner, benchmark


@benchmark("jefeos --help", unit="s", limit=0.25)
def help_text(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": bench.whole(*bench.command(), "--help")}


@benchmark("static hello", unit="s", limit=0.5)
def static_hello(bench: Bench) -> dict[str, Runner | None]:
    program = bench.compile("hello.c")
    return {
        "jefeos": bench.whole(*bench.jefeos(), program),
        "qemu-user": bench.whole(bench.peer("qemu-x86_64"), program),
        "native": bench.whole(program),
    }
