"""seccomp(2): a thread's system calls pass a screen before they reach the table.

    dispatcher -- number --> `Strict` or `Filtered` --allowed--> the table's own entry
                                    |
                                    +-- errno, SIGSYS, death

The core keeps the screen with the thread, hands it down to children and through execve, and indexes it instead of the
table; a thread without one pays nothing. Filters are a chain: all of them run, the strictest answer counts, of equal
ones the newest filter's. Not here: listeners (SECCOMP_RET_USER_NOTIF answers as one without a listener, ENOSYS) and
SECCOMP_RET_TRACE with a tracer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from jefeos.cpu.registers import Reg
from jefeos.errors import Errno
from jefeos.proc.signals import Signal, SignalInfo

from jefeos_abi_linux.bpf import SeccompProgram

if TYPE_CHECKING:
    from jefeos.proc.task import Task
    from jefeos.syscall.declare import Entry

MODE_STRICT: Final = 1
MODE_FILTER: Final = 2
DATA_BYTES: Final = 64
"""sizeof(struct seccomp_data): nr, arch, instruction pointer, six arguments."""
AUDIT_ARCH_X86_64: Final = 0xC000_003E
SYS_SECCOMP: Final = 1
RET_KILL_PROCESS: Final = 0x8000_0000
RET_KILL_THREAD: Final = 0x0000_0000
RET_TRAP: Final = 0x0003_0000
RET_ERRNO: Final = 0x0005_0000
RET_USER_NOTIF: Final = 0x7FC0_0000
RET_TRACE: Final = 0x7FF0_0000
RET_LOG: Final = 0x7FFC_0000
RET_ALLOW: Final = 0x7FFF_0000
_ACTION: Final = 0xFFFF_0000
_DATA: Final = 0x0000_FFFF
_MAX_ERRNO: Final = 4095
_U32: Final = 0xFFFF_FFFF
_STRICT_CALLS: Final = frozenset((0, 1, 15, 60))
"""read, write, rt_sigreturn, exit."""


@frozen(eq=False)
class Strict:
    """SECCOMP_SET_MODE_STRICT."""

    mode: int = MODE_STRICT
    filters: int = 0

    def __getitem__(self, number: int) -> Entry:
        return partial(_strict_call, number)

    def for_child(self, child: Task) -> Strict:
        """`jefeos.syscall.table.Screen`."""
        return self


def _strict_call(number: int, task: Task, *arguments: int) -> Any:
    if number in _STRICT_CALLS:
        return task.process.personality.table.entries[number](task, *arguments)  # type: ignore[union-attr]
    task.kernel.lifecycle.kill_process(task.process, Signal.SIGKILL)
    return 0


@frozen(eq=False)
class Filtered:
    """SECCOMP_SET_MODE_FILTER: ``program``, and the filters that were there before it."""

    program: SeccompProgram
    before: Filtered | None = None
    mode: int = MODE_FILTER

    @property
    def filters(self) -> int:
        """How many there are."""
        return 1 + (self.before.filters if self.before is not None else 0)

    @property
    def total_instructions(self) -> int:
        """What Linux bounds: every filter counts four more than it has."""
        return len(self.program) + (self.before.total_instructions + 4 if self.before is not None else 0)

    def descends_from(self, other: Any) -> bool:
        """Whether ``other`` (None: no filter) is in the chain."""
        return other is None or other is self or self.before is not None and self.before.descends_from(other)

    def __getitem__(self, number: int) -> Entry:
        return partial(self._call, number)

    def for_child(self, child: Task) -> Filtered:
        """`jefeos.syscall.table.Screen`."""
        return self

    def decide(self, words: tuple[int, ...]) -> int:
        """The strictest answer of the chain."""
        answer = RET_ALLOW
        link: Filtered | None = self
        while link is not None:
            found = link.program.run(words)
            if _strictness(found) < _strictness(answer):
                answer = found
            link = link.before
        return answer

    def _call(self, number: int, task: Task, *arguments: int) -> Any:
        address = task.kernel.engine.get(Reg.RIP)
        words = [number & _U32, AUDIT_ARCH_X86_64, address & _U32, address >> 32]
        for argument in arguments:
            words += (argument & _U32, argument >> 32)
        answer = self.decide(tuple(words))
        action, data = answer & _ACTION, answer & _DATA
        if action in (RET_ALLOW, RET_LOG):
            table = task.process.personality.table  # type: ignore[union-attr]
            if number < len(table.entries):
                return table.entries[number](task, *arguments)
            return table.count_unknown(number)
        if action == RET_ERRNO:
            return -min(data, _MAX_ERRNO)
        if action in (RET_TRACE, RET_USER_NOTIF):
            return -Errno.ENOSYS
        info = SignalInfo(
            Signal.SIGSYS, SYS_SECCOMP, status=data, address=address, value=number & _U32 | AUDIT_ARCH_X86_64 << 32
        )
        if action == RET_TRAP:
            task.kernel.signals.force(task, info)
            return number  # the handler finds the call's number where its result would be
        if action == RET_KILL_THREAD and len(task.process.tasks) > 1:
            return task.kernel.lifecycle.exit_thread(task, Signal.SIGSYS)
        task.kernel.lifecycle.kill(task, info)  # RET_KILL_PROCESS, and whatever is no action
        return 0


def _strictness(answer: int) -> int:
    """Linux compares the actions as signed numbers: the smaller the stricter."""
    action = answer & _ACTION
    return action - (1 << 32) if action >> 31 else action
