"""Which part of their processor time programs spend in the kernel.

Two looks at the clock would cost a system call a third of its time. So, as Linux does without VIRT_CPU_ACCOUNTING, user
and system time are told apart by samples: in one of `EVERY` time slices that begin with a start of the engine, the
system calls go through a handler that measures them, and what they say of that slice is taken for all of the process's
time. The sum of both times is exact; how it is divided is an estimate, which follows a program's change of habits in
some tenths of a second and starts, for a new process, from its parent's.

Not counted as system time: page faults, and what the engine needs to enter and leave the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jefeos.cpu.engine import Engine, SyscallHandler
    from jefeos.proc.credentials import Usage

EVERY: Final = 32
REMEMBERED_NS: Final = 20_000_000


class SystemTime:
    """Takes the samples. ``handler`` is what handles system calls while nothing is measured."""

    def __init__(self, engine: Engine, handler: SyscallHandler, now_ns: Callable[[], int]) -> None:
        self._engine = engine
        self._handler = handler
        self._now_ns = now_ns
        self._began_ns = self._in_calls_ns = self._in_call_since_ns = 0

    def begin(self, now_ns: int) -> None:
        """Measure the slice that begins now."""
        self._began_ns = now_ns
        self._in_calls_ns = self._in_call_since_ns = 0
        self._engine.replace_syscall_handler(self._measured)

    def end(self, now_ns: int, *usages: Usage) -> None:
        """The slice ends, perhaps inside of a system call. ``usages``: whose time it was."""
        self._engine.replace_syscall_handler(self._handler)
        if self._in_call_since_ns:
            self._in_calls_ns += now_ns - self._in_call_since_ns
            self._in_call_since_ns = 0
        for usage in usages:
            usage.sample(max(now_ns - self._began_ns, 1), self._in_calls_ns, REMEMBERED_NS)

    def _measured(self, number: int, a0: int, a1: int, a2: int, a3: int, a4: int, a5: int) -> int | None:
        since_ns = self._in_call_since_ns = self._now_ns()
        result = self._handler(number, a0, a1, a2, a3, a4, a5)
        if self._in_call_since_ns == since_ns:  # otherwise the slice ended inside of the call
            self._in_calls_ns += self._now_ns() - since_ns
            self._in_call_since_ns = 0
        return result
