"""Injected faults: what programs see of them, that they repeat, and that nothing is left behind without them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from jefeos.api import System
from jefeos.errors import ConfigError
from jefeos.mm.frames import FrameAllocator
from jefeos.mm.space import AddressSpace
from jefeos.proc.task import Task

pytestmark = pytest.mark.peer


def test_the_nth_call_fails_and_the_others_do_not(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot(root="/")
    script = "for i in 1 2 3 4 5 6; do cat /etc/hostname > /dev/null && echo $i; done"
    with system.inject("openat:error=EIO:comm=cat:when=3") as injected:  # the loader's cache, libc, the file
        done = system.run(["/bin/bash", "-c", script])
        assert injected.hits == 1
    assert done.stdout == b"2\n3\n4\n5\n6\n"
    assert b"Input/output error" in done.stderr
    assert system.run(["/bin/bash", "-c", script]).stdout == b"1\n2\n3\n4\n5\n6\n"


def test_a_return_value_and_a_signal(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot(root="/")
    with system.inject("getppid:retval=4711"):
        assert system.run(["/usr/bin/python3", "-c", "import os; print(os.getppid())"]).stdout == b"4711\n"
    caught = "import os, signal; signal.signal(10, lambda *_: print('caught')); print(os.getppid() > 0)"
    with system.inject("getppid:signal=USR1"):
        assert system.run(["/usr/bin/python3", "-c", caught]).stdout == b"caught\nTrue\n"
    with system.inject("getppid:signal=KILL"):
        assert system.run(["/usr/bin/python3", "-c", caught]).signal == 9


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strace_injects_the_same(jefeos_boot: Callable[..., System]) -> None:
    """The reading of SET:error=:when= against the tool that it is taken from."""
    program = "import os\nfor i in range(9):\n  try: print(os.getpgid(0) > 0)\n  except OSError as e: print(e.errno)"
    system = jefeos_boot(root="/")
    for action in ("error=ESRCH:when=2..7+2", "error=ENOMEM:when=4+", "error=EPERM:when=2+3", "retval=5:when=3"):
        command = ["/usr/bin/python3", "-c", program]
        strace = subprocess.run(
            ["strace", "-o", "/dev/null", "-e", f"inject=getpgid:{action}", *command], capture_output=True, check=False
        )
        if strace.returncode and b"PTRACE" in strace.stderr.upper():
            pytest.skip("strace may not trace here")
        with system.inject(f"getpgid:{action}"):
            assert system.run(command).stdout == strace.stdout


def test_a_seed_repeats_the_lottery(jefeos_boot: Callable[..., System]) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do cd / 2> /dev/null; printf $?; done"

    def failures(seed: int) -> bytes:
        inject = "chdir:error=EIO:probability=0.3"
        system = jefeos_boot(root="/", seed=seed, virtual_time=True, inject=inject)
        return system.run(["/bin/dash", "-c", script]).stdout

    assert failures(1) == failures(1)
    assert failures(1) != failures(2)
    assert 1 <= len(failures(1).replace(b"0", b"")) <= 15


def test_nothing_is_wrapped_without_a_fault(jefeos_boot: Callable[..., System]) -> None:
    methods = [FrameAllocator.alloc, AddressSpace.read, Task.park]
    system = jefeos_boot(root="/")
    table = system.kernel.personalities[0].table
    entries = list(table.entries)
    with system.inject("@frame:when=1000000") as injected, system.inject("all:error=EIO:when=1000000"):
        assert FrameAllocator.alloc is not methods[0] and AddressSpace.read is not methods[1]
        assert not set(table.entries) & set(entries)
        system.run(["/bin/true"])
        assert injected.reached > 10
    assert [FrameAllocator.alloc, AddressSpace.read, Task.park] == methods
    assert table.entries == entries


def test_points_of_memory_files_descriptors(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot(root="/")

    def said_by(*command: str) -> bytes:
        return system.run(list(command)).stderr

    with system.inject("@descriptor:comm=cat"):
        assert b"Error 24" in said_by("/bin/cat", "/etc/hostname")
    with system.inject("@process"):
        assert b"Cannot fork" in said_by("/bin/dash", "-c", "/bin/true; /bin/true")
    with system.inject("@buffer"):
        assert b"Pipe call failed" in said_by("/bin/dash", "-c", "true | true")
    with system.inject("@frame:when=10+"):
        assert system.run(["/bin/true"]).status in (127, 137)
    with system.inject("@io:comm=cat:when=20+"):
        assert system.run(["/bin/bash", "-c", "cat /etc/hostname /etc/passwd /etc/group"]).status


def test_faults_on_the_command_line() -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jefeos", "run", "--root", "/", *options, "/bin/cat", "/etc/hostname"]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)

    done = run("--trace", "--inject", "fstat,newfstatat:error=EOVERFLOW:when=3+")
    assert "= -1 EOVERFLOW (Value too large for defined data type) (INJECTED)" in done.stderr
    assert done.returncode
    done = run("--stats", "--inject", "read:error=EIO:when=99", "--inject", "@frame:when=100000")
    assert not done.returncode
    assert "0  faults injected of" in done.stderr
    done = run("--inject", "raed:error=EIO")
    assert (done.returncode, done.stderr) == (2, "jefeos: 'raed:error=EIO': there is no system call raed\n")


def test_a_wrong_spec_from_python(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot()
    with pytest.raises(ConfigError, match="there is no system call raed"):
        system.inject("raed:error=EIO")
    with pytest.raises(ConfigError, match="there is no point '@x'"):
        system.inject("@x")
