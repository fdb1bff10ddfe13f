"""Jobs of big programs, as whole processes: compiler, make, git, node; and a Debian root's way to its login.

qemu-user emulates one program; what that starts runs natively. It is beside the jobs that are one program.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from jefeos.testing.bench import Bench, Runner, benchmark

sys.path.insert(0, str(Path(__file__).parent.parent / "debian"))
sys.path.insert(0, str(Path(__file__).parent.parent / "terminal"))

import debian_roots
from expect import Terminal

HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
GIT = """
export GIT_AUTHOR_DATE=2001-01-01T00:00:00Z GIT_COMMITTER_DATE=2001-01-01T00:00:00Z HOME=/nonexistent
rm -rf r; git -c init.defaultBranch=main init -q r; cd r; seq 1000 > f; git add f
git -c user.name=n -c user.email=a@b commit -qm one; git log --stat > /dev/null; git fsck --no-progress
"""
PROJECT_FILES = 24
LOGIN_PATIENCE_S = 120.0


def _sides(bench: Bench, script: str) -> dict[str, Runner | None]:
    words = ("/bin/sh", "-c", f"cd {bench.scratch}\n{script}")
    return {"jefeos": bench.whole(*bench.jefeos(), *words), "native": bench.whole(*words)}


def _one_program(bench: Bench, *words: str | None) -> dict[str, Runner | None]:
    return {
        "jefeos": bench.whole(*bench.jefeos(), *words),
        "qemu-user": bench.whole(bench.peer("qemu-x86_64"), *words),
        "native": bench.whole(*words),
    }


@benchmark("gcc -O2 hello.c && ./a.out", unit="s")
def gcc_hello(bench: Bench) -> dict[str, Runner | None]:
    (bench.scratch / "hello.c").write_text(HELLO)
    return _sides(bench, "gcc -O2 hello.c && ./a.out")


@benchmark("cc1 -O2 hello.c", unit="s", times_of=("qemu-user", 4.0))
def compiler_proper(bench: Bench) -> dict[str, Runner | None]:
    gcc = bench.peer("gcc")
    if gcc is None:
        return {"jefeos": None}
    source = bench.scratch / "hello.i"
    subprocess.run([gcc, "-E", "-xc", "-", "-o", source], input=HELLO, text=True, check=True)
    done = subprocess.run([gcc, "-print-prog-name=cc1"], capture_output=True, text=True, check=True)
    cc1 = done.stdout.strip()
    return _one_program(bench, cc1, "-quiet", "-fpreprocessed", "-O2", "-o", "/dev/null", str(source))


@benchmark(f"make -j4 of {PROJECT_FILES} files", unit="s")
def make_project(bench: Bench) -> dict[str, Runner | None]:
    folder = bench.scratch / "project"
    folder.mkdir(exist_ok=True)
    for number in range(PROJECT_FILES):
        (folder / f"f{number}.c").write_text(f"int f{number}(int x) {{ return x + {number}; }}\n")
    (folder / "main.c").write_text("int f1(int); int main(void) { return f1(-1); }\n")
    (folder / "Makefile").write_text(
        "program: $(patsubst %.c,%.o,$(wildcard *.c))\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -O2 -c $<\n"
    )
    return _sides(bench, "cd project; rm -f *.o program; make -s -j4 && ./program")


@benchmark("git init, add, commit, log, fsck", unit="s")
def git_life(bench: Bench) -> dict[str, Runner | None]:
    return _sides(bench, GIT)


@benchmark("node -e", unit="s", times_of=("qemu-user", 4.0))
def node_start(bench: Bench) -> dict[str, Runner | None]:
    return _one_program(bench, bench.peer("node"), "-e", "console.log(6 * 7)")


@benchmark("boot of a Debian root to its login", unit="s")
def debian_login(bench: Bench) -> dict[str, Runner | None]:
    try:
        root = debian_roots.find_root("init")
    except FileNotFoundError:
        return {"jefeos": None}

    def run() -> float:
        started = time.perf_counter()
        with Terminal("boot", "--root", str(root), "--init", "/sbin/init", patience_s=LOGIN_PATIENCE_S) as terminal:
            terminal.expect("login: ")
            return time.perf_counter() - started

    return {"jefeos": run}
