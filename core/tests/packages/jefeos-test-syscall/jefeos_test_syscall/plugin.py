"""Adds a system call to the Linux personality, and counts processes through the announcements."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from jefeos.hookspecs import hookimpl
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.process import Process
    from jefeos.syscall.table import SyscallTable

JEFEOS_API = 1

#: A number that Linux does not use on x86-64.
ANSWER_NUMBER = 1000

#: What was announced, for the test to look at.
events: Counter[str] = Counter()


@syscall("jefeos_answer")
def jefeos_answer(task: Any, addend: Int) -> int:
    """The answer to everything, plus ``addend``."""
    return 42 + addend


@hookimpl
def jefeos_register_syscalls(table: SyscallTable) -> None:
    if table.personality == "linux":
        table.add(jefeos_answer, ANSWER_NUMBER)


@hookimpl
def jefeos_boot(kernel: Kernel) -> None:
    events["boot"] += 1


@hookimpl
def jefeos_process_start(process: Process) -> None:
    events["start"] += 1


@hookimpl
def jefeos_process_exit(process: Process) -> None:
    events["exit"] += 1


@hookimpl
def jefeos_shutdown(kernel: Kernel) -> None:
    events["shutdown"] += 1
