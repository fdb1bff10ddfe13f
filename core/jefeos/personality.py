"""The interface of a personality: what makes programs of one binary interface run.

A personality (``abi/linux``, ``abi/native``) owns the numbers and layouts: which files it can load, which number
means which system call, how a signal frame looks. The kernel core owns what happens. One `Personality` object
serves all processes of its kind; per-process state is in the process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from jefeos.cpu.engine import Engine
    from jefeos.mm.space import AddressSpace
    from jefeos.proc.signals import SignalAction, SignalInfo
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait
    from jefeos.syscall.table import SyscallTable
    from jefeos.vfs.file import File


@frozen
class ProgramImage:
    """A program made ready in a new address space: what execve needs to start it."""

    space: AddressSpace
    entry: int
    """Instruction pointer at the start, a user address."""
    stack_pointer: int
    auxv: bytes = b""


class Personality(ABC):
    """A system-call personality."""

    name: str
    table: SyscallTable
    """Its own calls, with the number of every name it knows. At boot the kernel moves them into the table that the
    hook `jefeos_syscall_table` gives, and lets plugins add to it."""

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Whether a file that starts with ``head`` (up to 256 bytes) is a program of this personality."""

    @abstractmethod
    def load(
        self, task: Task, file: File, path: bytes, argv: list[bytes], environ: list[bytes]
    ) -> ProgramImage:
        """Build the address space of a program; ``task`` (its credentials, root and limits) is not changed.

        ``path`` is the name given to execve (AT_EXECFN). Raises KernelError: ENOEXEC for what is no valid
        program, ENOENT for a missing interpreter, ENOMEM, E2BIG, EACCES, ELIBBAD. On an error nothing is kept.
        """

    @abstractmethod
    def deliver_signal(self, task: Task, engine: Engine, info: SignalInfo, action: SignalAction) -> None:
        """Push a signal frame and point the loaded registers at the handler; also sets the blocked mask.

        Called with ``task`` on the CPU. ``task.saved_mask`` is the mask to put into the frame when ``Work.MASK``
        is set, ``task.blocked`` otherwise. Raises EFAULT if the frame cannot be written (the caller kills).
        """

    @abstractmethod
    def restart_syscall(self, task: Task, engine: Engine) -> None:
        """Point the loaded registers back at the system call ``task.syscall_number``, to issue it again."""

    @abstractmethod
    def set_result(self, engine: Engine, value: int) -> None:
        """Write a system call's result register."""

    def task_exit(self, task: Task) -> None:
        """``task`` ends (or is replaced by execve); its memory is still there: robust lists, clear_child_tid."""

    def interrupt(self, task: Task, vector: int) -> MaybeAwait[int] | None:
        """A software interrupt ``INT vector``: a result if this personality claims it, None (SIGSEGV) if not."""
        return None
