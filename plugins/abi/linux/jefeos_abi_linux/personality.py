"""The Linux x86-64 personality: what the core asks about programs of this binary interface.

Numbers and handlers are in the table; executables in `loader`; signal frames in `signal_frame`. A system call is
SYSCALL (two bytes long): number in RAX, result in RAX, so restarting one is RIP - 2 with RAX = number. Linux's 32-bit
entry, INT 0x80, is not claimed: it ends in SIGSEGV.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

from jefeos.cpu.registers import Reg
from jefeos.personality import Personality, ProgramImage
from jefeos.syscall.table import SyscallTable

from jefeos_abi_linux.elf import is_elf
from jefeos_abi_linux.ipc import IpcTables

if TYPE_CHECKING:
    from jefeos.cpu.engine import Engine
    from jefeos.proc.signals import SignalAction, SignalInfo
    from jefeos.proc.task import Task
    from jefeos.vfs.file import File

SYSCALL_INSTRUCTION_BYTES: Final = 2
CALL_MODULE_PREFIX: Final = "calls_"
_WORD_MASK: Final = (1 << 64) - 1


class LinuxPersonality(Personality):
    """See the module's text. One object serves all Linux processes of a kernel."""

    name = "linux"

    def __init__(self) -> None:
        from jefeos.syscall.declare import declarations

        from jefeos_abi_linux.numbers import NUMBERS

        self._placement = b""
        self.ipc = IpcTables()
        self.table = SyscallTable(self.name, NUMBERS)
        for module in call_modules():
            self.table.add_all(declarations(module))

    def recognises(self, head: bytes) -> bool:
        return is_elf(head)

    def load(
        self, task: Task, file: File, path: bytes, argv: list[bytes], environ: list[bytes]
    ) -> ProgramImage:
        from jefeos_abi_linux.loader import PLACEMENT_BYTES, load_program

        if not self._placement:
            self._placement = task.kernel.entropy.bytes(PLACEMENT_BYTES)
        return load_program(task, file, path, argv, environ, self._placement)

    def deliver_signal(self, task: Task, engine: Engine, info: SignalInfo, action: SignalAction) -> None:
        from jefeos_abi_linux.signal_frame import push_frame

        push_frame(task, engine, info, action)

    def restart_syscall(self, task: Task, engine: Engine) -> None:
        engine.set(Reg.RIP, engine.get(Reg.RIP) - SYSCALL_INSTRUCTION_BYTES)
        engine.set(Reg.RAX, task.syscall_number)

    def set_result(self, engine: Engine, value: int) -> None:
        engine.set(Reg.RAX, value & _WORD_MASK)

    def task_exit(self, task: Task) -> None:
        from jefeos.proc.futex import thread_ends

        thread_ends(task, task.kernel.futexes)
        if task.dead and len(task.process.tasks) <= 1:
            self.ipc.process_ends(task.process)


def call_modules() -> Iterator[ModuleType]:
    """The modules of this package that declare system calls: all whose name begins with ``calls_``."""
    import jefeos_abi_linux

    for module in pkgutil.iter_modules(jefeos_abi_linux.__path__):
        if module.name.startswith(CALL_MODULE_PREFIX):
            yield import_module(f"jefeos_abi_linux.{module.name}")
