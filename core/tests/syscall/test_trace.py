"""The shape of trace lines: results, unfinished calls, several threads, signals and ends."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import Signal, SignalCode, SignalInfo
from jefeos.syscall.declare import syscall
from jefeos.syscall.table import SyscallTable
from jefeos.syscall.trace import Tracer
from jefeos.syscall.trace_formats import flags, quoted
from jefeos.syscall.types import CStr, Fd, Flags, Long, Mode, Size, UserPtr


@syscall("read")
def read(task: Any, fd: Fd, buffer: UserPtr, count: Size) -> int:
    raise NotImplementedError


@syscall("openat")
def openat(task: Any, dirfd: Fd, path: CStr, flags: Flags, mode: Mode) -> int:
    raise NotImplementedError


@syscall("lseek")
def lseek(task: Any, fd: Fd, offset: Long, whence: Fd) -> int:
    raise NotImplementedError


@syscall("getpid")
def getpid(task: Any) -> int:
    raise NotImplementedError


@syscall("brk")
def brk(task: Any, address: UserPtr) -> int:
    raise NotImplementedError


class FakeMemory:
    """User memory: strings at addresses."""

    def __init__(self) -> None:
        self.at: dict[int, bytes] = {}

    def read(self, address: int, length: int) -> bytes:
        if address not in self.at:
            raise KernelError(Errno.EFAULT)
        return self.at[address][:length].ljust(length, b"\0")

    def read_cstr(self, address: int, limit: int) -> bytes:
        return self.read(address, limit).partition(b"\0")[0]


@define(eq=False)
class FakePersonality:
    table: SyscallTable


@define(eq=False)
class FakeProcess:
    pid: int
    personality: Any
    tasks: list[Any] = field(factory=list)
    killed_by: int = 0
    dumped_core: bool = False
    exit_code: int = 0


@define(eq=False)
class FakeTask:
    tid: int
    process: FakeProcess
    mm: FakeMemory = field(factory=FakeMemory)


NUMBERS = {"read": 0, "lseek": 8, "brk": 12, "getpid": 39, "openat": 257, "mystery": 300}


@pytest.fixture
def table() -> SyscallTable:
    table = SyscallTable("linux", NUMBERS)
    for handler in (read, openat, lseek, getpid, brk):
        table.add(handler)
    return table


def make_task(table: SyscallTable, tid: int) -> Any:
    task = FakeTask(tid, FakeProcess(tid, FakePersonality(table)))
    task.process.tasks.append(task)
    task.mm.at = {0x1000: b"/etc/passwd\0", 0x2000: b"root:x:0:0:root:/root:/bin/bash\nmore\n"}
    return task


def calls(number: int, *arguments: int) -> tuple[int, tuple[int, ...]]:
    return number, (*arguments, *[0] * (6 - len(arguments)))


@pytest.fixture
def lines() -> list[str]:
    return []


def test_calls_and_results(table: SyscallTable, lines: list[str]) -> None:
    tracer = Tracer(lines.append)
    task = make_task(table, 7)
    minus_one = (1 << 64) - 1
    for call, result in (
        (calls(257, (1 << 64) - 100, 0x1000, 0o2000000), 3),
        (calls(257, (1 << 64) - 100, 0x1000, 0o102, 0o644), -13),
        (calls(0, 3, 0x2000, 512), 37),
        (calls(0, 3, 0x2000, 4), 4),
        (calls(0, 3, 0x9999, 4), -14),
        (calls(8, 3, minus_one, 2), -22),
        (calls(39), 7),
        (calls(12, 0), 0x5000000),
        (calls(300, 1, 0x20), -38),
    ):
        tracer.enter(task, *call)
        tracer.exit(task, result)
    assert lines == [
        'openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3',
        'openat(AT_FDCWD, "/etc/passwd", O_RDWR|O_CREAT, 0644) = -1 EACCES (Permission denied)',
        'read(3, "root:x:0:0:root:/root:/bin/bash\\n"..., 512) = 37',
        'read(3, "root", 4)                      = 4',
        "read(3, 0x9999, 4)                      = -1 EFAULT (Bad address)",
        "lseek(3, -1, SEEK_END)                  = -1 EINVAL (Invalid argument)",
        "getpid()                                = 7",
        "brk(NULL)                               = 0x5000000",
        "mystery(0x1, 0x20, NULL, NULL, NULL, NULL) = -1 ENOSYS (Function not implemented)",
    ]


def test_unfinished_and_resumed(table: SyscallTable, lines: list[str]) -> None:
    tracer = Tracer(lines.append)
    parent, child = make_task(table, 7), make_task(table, 8)
    tracer.child(parent, child)
    tracer.enter(parent, *calls(0, 3, 0x2000, 16))
    tracer.enter(child, *calls(39))
    tracer.exit(child, 8)
    tracer.exit(parent, 4)
    tracer.enter(parent, *calls(12, 0))
    tracer.signal(child, SignalInfo(Signal.SIGUSR1, SignalCode.SI_USER, 7, 0))
    tracer.exit(parent, 0x1000)
    assert lines == [
        "[pid     7] read(3, <unfinished ...>",
        "[pid     8] getpid()                                = 8",
        '[pid     7] <... read resumed>"root", 16)           = 4',
        "[pid     7] brk(NULL <unfinished ...>",
        "[pid     8] --- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0} ---",
        "[pid     7] <... brk resumed>)                      = 0x1000",
    ]


def test_ends(table: SyscallTable, lines: list[str]) -> None:
    tracer = Tracer(lines.append)
    parent, child = make_task(table, 7), make_task(table, 8)
    tracer.child(parent, child)
    tracer.enter(child, *calls(0, 3, 0x2000, 16))
    child.process.killed_by, child.process.dumped_core = Signal.SIGSEGV, True
    tracer.signal(child, SignalInfo(Signal.SIGSEGV, SignalCode.SEGV_MAPERR, address=0x10))
    tracer.exited(child.process)
    tracer.signal(parent, SignalInfo(Signal.SIGCHLD, SignalCode.CLD_DUMPED, 8, 0, 11))
    parent.process.exit_code = 3
    tracer.exited(parent.process)
    assert lines == [
        "[pid     8] read(3, <unfinished ...>",
        "[pid     8] --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10} ---",
        "[pid     8] <... read resumed>0x2000, 16)           = ?",
        "[pid     8] +++ killed by SIGSEGV (core dumped) +++",
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_DUMPED, si_pid=8, si_uid=0, si_status=SIGSEGV} ---",
        "+++ exited with 3 +++",
    ]


def test_a_call_that_nobody_began_writes_nothing(table: SyscallTable, lines: list[str]) -> None:
    Tracer(lines.append).exit(make_task(table, 7), 0)
    assert lines == []


def test_strings() -> None:
    assert quoted(b'a"\\\t\n\x00\x011') == '"a\\"\\\\\\t\\n\\0\\0011"'
    assert quoted(b"x" * 33) == '"' + "x" * 32 + '"...'
    assert quoted(b"", more=True) == '""...'


def test_flags() -> None:
    names = {0: "NONE", 3: "BOTH", 1: "ONE", 4: "FOUR"}
    assert [flags(value, names) for value in (0, 1, 3, 5, 12)] == ["NONE", "ONE", "BOTH", "ONE|FOUR", "FOUR|0x8"]
