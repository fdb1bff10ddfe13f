"""How long a user waits: whole processes, timed from the shell."""

from __future__ import annotations

import os
from pathlib import Path

from jefeos.testing.bench import Bench, Runner, benchmark

ALPINE_ROOT = "alpine-minirootfs-3.20.3-x86_64.tar.gz"


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
        "qiling": bench.whole(*bench.qiling(), program),
    }


@benchmark("python3 -c pass", unit="s", times_of=("qemu-user", 4.0))
def python(bench: Bench) -> dict[str, Runner | None]:
    return _of_the_host(bench, "python3", "-c", "pass")


@benchmark("sh: a loop of 1,000 times true", unit="s", limit=4.0)
def shell_loop(bench: Bench) -> dict[str, Runner | None]:
    script = bench.scratch / "loop.sh"
    script.write_text("i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done\n")
    return _of_the_host(bench, "sh", str(script))


def _of_the_host(bench: Bench, name: str, *arguments: str) -> dict[str, Runner | None]:
    """A program of the host's, timed whole. The host's own Python may be another one than Debian's."""
    program = bench.peer(f"/usr/bin/{name}")
    return {
        "jefeos": bench.whole(*bench.jefeos(), program, *arguments),
        "qemu-user": bench.whole(bench.peer("qemu-x86_64"), program, *arguments),
        "native": bench.whole(program, *arguments),
    }


@benchmark("boot of an Alpine root to the first output", unit="s", limit=1.0)
def alpine(bench: Bench) -> dict[str, Runner | None]:
    shared = os.environ.get("JEFEOS_TEST_DATA") or bench.folder.resolve().parents[2] / "shared" / "data"
    root = Path(shared) / ALPINE_ROOT
    boot = bench.first_line(*bench.command(), "boot", "--root", str(root), stdin=b"cat /etc/alpine-release\n")
    return {"jefeos": boot if root.exists() else None}
