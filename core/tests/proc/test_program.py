"""Finding a program: scripts and their interpreters, permissions, set-id files (execve(2))."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jefeos.api import Completed, System
from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import applet_in
from jefeos.proc.program import HEAD_BYTES, INTERPRETER_DEPTH, _parse_script
from jefeos.testing.programs import SPINS, exits

NOBODY = 65534


@pytest.fixture
def system(jefeos_boot: Callable[..., System]) -> System:
    """A system with the applet ``arguments``, which writes its own."""
    system = jefeos_boot()

    async def arguments(proc: Any, argv: list[bytes]) -> int:
        await proc.write(1, b"|".join(argv))
        return 0

    system.kernel.applets["arguments"] = arguments
    system.write_file("/bin/arguments", b"#!jefeos-applet arguments\n", 0o755)
    return system


def refused(system: System, path: str) -> int:
    with pytest.raises(KernelError) as error:
        system.run([path])
    return error.value.errno


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"#!/bin/sh\n", (b"/bin/sh", [])),
        (b"#! \t/bin/sh  \t\n", (b"/bin/sh", [])),
        (b"#!/bin/sh -e -x  \n", (b"/bin/sh", [b"-e -x"])),
        (b"#!/bin/sh\t-e\n", (b"/bin/sh", [b"-e"])),
        (b"#!/bin/sh", (b"/bin/sh", [])),  # a file that ends there
        (b"#!sh\nmore", (b"sh", [])),
    ],
)
def test_interpreter_lines(line: bytes, expected: tuple[bytes, list[bytes]]) -> None:
    assert _parse_script(line) == expected


@pytest.mark.parametrize("line", [b"#!\n", b"#!   \n", b"#!/bin/s\0h\n", b"#!" + b"x" * (HEAD_BYTES - 2)])
def test_broken_interpreter_lines(line: bytes) -> None:
    with pytest.raises(KernelError) as error:
        _parse_script(line)
    assert error.value.errno == Errno.ENOEXEC


def test_a_script_gets_its_interpreters_argument_its_path_and_its_own(system: System) -> None:
    system.write_file("/tmp/script", b"#! /bin/arguments  -a b \nrest\n", 0o755)
    assert system.run(["/tmp/script", "x", "y"]).stdout == b"/bin/arguments|-a b|/tmp/script|x|y"


def test_scripts_of_scripts_up_to_the_limit(system: System) -> None:
    system.write_file("/tmp/s0", b"#!/bin/arguments\n", 0o755)
    for depth in range(1, INTERPRETER_DEPTH + 1):
        system.write_file(f"/tmp/s{depth}", b"#!/tmp/s%d %d\n" % (depth - 1, depth), 0o755)
    deepest = INTERPRETER_DEPTH - 2
    words = system.run([f"/tmp/s{deepest}"]).stdout.split(b"|")
    assert words[0] == b"/bin/arguments"
    assert words[-1] == b"/tmp/s%d" % deepest
    assert refused(system, f"/tmp/s{INTERPRETER_DEPTH}") == Errno.ELOOP
    system.write_file("/tmp/self", b"#!/tmp/self\n", 0o755)
    assert refused(system, "/tmp/self") == Errno.ELOOP


def test_what_cannot_be_executed(system: System) -> None:
    system.write_file("/tmp/none", b"#!/no/such/interpreter\n", 0o755)
    system.write_file("/tmp/plain", exits(0), 0o644)
    system.write_file("/tmp/empty", b"", 0o755)
    system.write_file("/tmp/stranger", b"#!jefeos-applet stranger\n", 0o755)
    vfs = system.kernel.vfs
    vfs.symlink(vfs.as_kernel(), b"/tmp/loop", b"/tmp/loop")
    paths = ("none", "plain", "empty", "stranger", "loop", "plain/x", "", "x" * 300)
    found = [Errno(refused(system, f"/tmp/{path}")).name for path in paths]
    assert found == ["ENOENT", "EACCES", "ENOEXEC", "ENOEXEC", "ELOOP", "ENOTDIR", "EACCES", "ENAMETOOLONG"]


def test_the_interpreter_must_be_executable_too(system: System) -> None:
    system.write_file("/tmp/interpreter", exits(0), 0o644)
    system.write_file("/tmp/script", b"#!/tmp/interpreter\n", 0o755)
    assert refused(system, "/tmp/script") == Errno.EACCES


def test_a_file_open_for_writing_is_busy(system: System) -> None:
    from jefeos.vfs.flags import O_WRONLY

    system.write_file("/tmp/program", exits(3), 0o755)
    vfs = system.kernel.vfs
    file = vfs.open_file(vfs.as_kernel(), b"/tmp/program", O_WRONLY)
    assert refused(system, "/tmp/program") == Errno.ETXTBSY
    file.unref()
    assert system.run(["/tmp/program"]).status == 3


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o755, (NOBODY, NOBODY, True)),
        (0o4755, (0, NOBODY, False)),
        (0o2755, (NOBODY, 0, False)),
        (0o6755, (0, 0, False)),
        (0o2745, (NOBODY, NOBODY, True)),  # no group execution: that bit means mandatory locking
    ],
)
def test_set_id_programs(
    system: System, run_applet: Callable[..., Completed], mode: int, expected: tuple[int, int, bool]
) -> None:
    system.write_file("/bin/spin", SPINS, 0o755)
    vfs = system.kernel.vfs
    vfs.chmod(vfs.as_kernel(), b"/bin/spin", mode)

    async def body(proc: Any, argv: list[bytes]) -> int:
        creds = proc.process.creds
        creds.uid = creds.euid = creds.suid = creds.fsuid = NOBODY
        creds.gid = creds.egid = creds.sgid = creds.fsgid = NOBODY
        pid = proc.spawn(b"/bin/spin", [b"spin"])
        child = proc.kernel.processes.get(pid)
        got = child.creds
        assert (got.euid, got.egid, child.dumpable) == expected
        assert (got.suid, got.fsuid, got.sgid, got.fsgid) == (got.euid, got.euid, got.egid, got.egid)
        assert (got.uid, got.gid) == (NOBODY, NOBODY)
        proc.process.no_new_privileges = True
        other = proc.kernel.processes.get(proc.spawn(b"/bin/spin", [b"spin"]))
        assert (other.creds.euid, other.creds.egid) == (NOBODY, NOBODY)
        for each in (child, other):
            proc.kernel.lifecycle.kill_process(each)
        return 0

    assert run_applet(body, system=system).status == 0


def test_execute_permission_is_that_of_the_caller(system: System, run_applet: Callable[..., Completed]) -> None:
    system.write_file("/bin/private", exits(0), 0o744)

    async def body(proc: Any, argv: list[bytes]) -> int:
        proc.process.creds.euid = proc.process.creds.fsuid = NOBODY
        with pytest.raises(KernelError) as error:
            proc.spawn(b"/bin/private", [b"private"])
        assert error.value.errno == Errno.EACCES
        return 0

    assert run_applet(body, system=system).status == 0


def test_an_empty_argv_and_a_long_name(system: System) -> None:
    system.write_file("/bin/a-program-with-a-long-name", b"#!jefeos-applet name\n", 0o755)

    async def name(proc: Any, argv: list[bytes]) -> int:
        await proc.write(1, proc.process.name + b"%d" % len(argv))
        return 0

    system.kernel.applets["name"] = name
    assert system.run(["/bin/a-program-with-a-long-name"]).stdout == b"a-program-with-1"


def test_an_applet_that_is_named_by_its_place_is_imported_when_it_first_runs(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_applet.py").write_text("async def main(proc, argv):\n    return len(argv)\n")
    (tmp_path / "needy_applet.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("late", "needy"):
        system.kernel.applets[name] = applet_in(f"{name}_applet:main")
        system.write_file(f"/bin/{name}", f"#!jefeos-applet {name}\n".encode(), 0o755)
    assert "late_applet" not in sys.modules
    assert system.run(["/bin/late", "word"]).status == 2
    assert sys.modules.pop("late_applet")
    done = system.run(["/bin/needy"])
    assert (done.status, done.stderr) == (1, b"/bin/needy: No module named 'no_such_module'\n")
