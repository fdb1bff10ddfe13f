"""seccomp(2), and prctl(2)'s older form of it. What a filter does to calls is in seccomp.py."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Flags, UInt, UserPtr

from jefeos_abi_linux.bpf import INSTRUCTION, MAX_INSTRUCTIONS, SeccompProgram
from jefeos_abi_linux.seccomp import (
    DATA_BYTES,
    MODE_FILTER,
    MODE_STRICT,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL_PROCESS,
    RET_KILL_THREAD,
    RET_LOG,
    RET_TRACE,
    RET_TRAP,
    Filtered,
    Strict,
)

SECCOMP_SET_MODE_STRICT: Final = 0
SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_GET_ACTION_AVAIL: Final = 2
FLAG_TSYNC: Final = 1
FLAG_LOG: Final = 2
FLAG_SPEC_ALLOW: Final = 4
FLAG_TSYNC_ESRCH: Final = 16
MAX_INSTRUCTIONS_TOTAL: Final = 32768
_FPROG: Final = struct.Struct("<H6xQ")
_AVAILABLE: Final = frozenset(
    (RET_KILL_PROCESS, RET_KILL_THREAD, RET_TRAP, RET_ERRNO, RET_TRACE, RET_LOG, RET_ALLOW)
)


@syscall("seccomp")
def seccomp(task: Task, operation: UInt, flags: Flags, arguments: UserPtr) -> int:
    """seccomp(2). SECCOMP_FILTER_FLAG_NEW_LISTENER answers EINVAL, as a Linux before 5.0."""
    if operation == SECCOMP_SET_MODE_STRICT:
        if flags or arguments:
            raise KernelError(Errno.EINVAL)
        return set_strict(task)
    if operation == SECCOMP_SET_MODE_FILTER:
        return set_filter(task, flags, arguments)
    if operation == SECCOMP_GET_ACTION_AVAIL:
        if flags:
            raise KernelError(Errno.EINVAL)
        if task.mm.read_u32(arguments) not in _AVAILABLE:
            raise KernelError(Errno.EOPNOTSUPP)
        return 0
    raise KernelError(Errno.EINVAL)


def set_by_prctl(task: Task, mode: int, program: int) -> int:
    """PR_SET_SECCOMP."""
    if mode == MODE_STRICT:
        return set_strict(task)
    if mode == MODE_FILTER:
        return set_filter(task, 0, program)
    raise KernelError(Errno.EINVAL)


def set_strict(task: Task) -> int:
    """Only read, write, exit and rt_sigreturn from now on."""
    if task.screen is not None and task.screen.mode != MODE_STRICT:
        raise KernelError(Errno.EINVAL)
    task.kernel.executor.set_screen(task, Strict())
    return 0


def set_filter(task: Task, flags: int, address: int) -> int:
    """One filter more. Who cannot become root by execve, or is root, may."""
    if flags & ~(FLAG_TSYNC | FLAG_LOG | FLAG_SPEC_ALLOW | FLAG_TSYNC_ESRCH):
        raise KernelError(Errno.EINVAL)
    length, instructions = _FPROG.unpack(task.mm.read(address, _FPROG.size))
    if not 0 < length <= MAX_INSTRUCTIONS:
        raise KernelError(Errno.EINVAL)
    if not task.process.no_new_privileges and not task.creds.privileged:
        raise KernelError(Errno.EACCES)
    program = SeccompProgram(task.mm.read(instructions, length * INSTRUCTION.size), DATA_BYTES)
    before = task.screen
    if isinstance(before, Strict):
        raise KernelError(Errno.EINVAL)
    assert before is None or isinstance(before, Filtered)
    screen = Filtered(program, before)
    if screen.total_instructions > MAX_INSTRUCTIONS_TOTAL:
        raise KernelError(Errno.ENOMEM)
    threads = [task]
    if flags & FLAG_TSYNC:
        for other in task.process.tasks:
            if not screen.descends_from(other.screen):
                if flags & FLAG_TSYNC_ESRCH:
                    raise KernelError(Errno.ESRCH)
                return other.tid
        threads = list(task.process.tasks)
    for thread in threads:
        task.kernel.executor.set_screen(thread, screen)
    return 0
