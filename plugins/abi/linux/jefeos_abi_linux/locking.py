"""Record locks of fcntl(2): struct flock to a range and an owner, and back.

The owner of F_SETLK's locks is the process's descriptor table, which drops them when it closes a descriptor of the
file (as POSIX wants) or ends; that of F_OFD_SETLK's is the open file. `jefeos.vfs.locks` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.vfs.file import File
from jefeos.vfs.flags import F_RDLCK, F_UNLCK, F_WRLCK, FILE_SIZE_MAX, SEEK_CUR, SEEK_END, SEEK_SET
from jefeos.vfs.locks import lock_range

from jefeos_abi_linux.structs import LinuxFlock

LOCK_MAND: Final = 32
F_GETLK: Final = 5
F_SETLK: Final = 6
F_SETLKW: Final = 7
F_OFD_GETLK: Final = 36
F_OFD_SETLK: Final = 37
F_OFD_SETLKW: Final = 38


def _read(task: Task, file: File, address: int) -> tuple[LinuxFlock, int, int]:
    """The structure, and the first and last byte that it names. EFAULT, EINVAL, EOVERFLOW."""
    lock = LinuxFlock.parse(task.mm.read(address, LinuxFlock.size))
    if lock.l_whence == SEEK_SET:
        origin = 0
    elif lock.l_whence == SEEK_CUR:
        origin = file.position
    elif lock.l_whence == SEEK_END:
        origin = file.stat().size
    else:
        raise KernelError(Errno.EINVAL)
    if lock.l_type not in (F_RDLCK, F_WRLCK, F_UNLCK):
        raise KernelError(Errno.EINVAL)
    return lock, *lock_range(origin, lock.l_start, lock.l_len)


def _test(task: Task, file: File, address: int, owner: Hashable) -> int:
    lock, start, end = _read(task, file, address)
    if lock.l_type == F_UNLCK and owner is not file:
        raise KernelError(Errno.EINVAL)
    if owner is file and lock.l_pid:
        raise KernelError(Errno.EINVAL)
    conflict = task.kernel.vfs.locks.test(file, owner, lock.l_type, start, end)
    if conflict is None:
        lock.l_type = F_UNLCK
    else:
        lock.l_type = conflict.kind
        lock.l_whence = SEEK_SET
        lock.l_start = conflict.start
        lock.l_len = 0 if conflict.end >= FILE_SIZE_MAX else conflict.end - conflict.start + 1
        lock.l_pid = conflict.pid
    task.mm.write(address, lock.pack())
    return 0


def _set(task: Task, file: File, address: int, owner: Hashable, *, wait: bool) -> MaybeAwait[int]:
    lock, start, end = _read(task, file, address)
    if owner is file and lock.l_pid:
        raise KernelError(Errno.EINVAL)
    pid = -1 if owner is file else task.process.pid
    pending = task.kernel.vfs.locks.set(file, owner, lock.l_type, start, end, pid=pid, wait=wait)
    return 0 if pending is None else _zero_later(pending)


async def _zero_later(pending: Any) -> int:
    await pending
    return 0


def flock_file(task: Task, file: File, operation: int) -> MaybeAwait[int]:
    """flock(2). The mandatory locks of old (LOCK_MAND) are taken for nothing, as Linux does."""
    if operation & LOCK_MAND:
        return 0
    pending = task.kernel.vfs.locks.flock(file, operation)
    return 0 if pending is None else _zero_later(pending)


LOCK_COMMANDS: Final[dict[int, Callable[[Task, int, File, int], MaybeAwait[int]]]] = {
    F_GETLK: lambda task, fd, file, argument: _test(task, file, argument, task.files),
    F_SETLK: lambda task, fd, file, argument: _set(task, file, argument, task.files, wait=False),
    F_SETLKW: lambda task, fd, file, argument: _set(task, file, argument, task.files, wait=True),
    F_OFD_GETLK: lambda task, fd, file, argument: _test(task, file, argument, file),
    F_OFD_SETLK: lambda task, fd, file, argument: _set(task, file, argument, file, wait=False),
    F_OFD_SETLKW: lambda task, fd, file, argument: _set(task, file, argument, file, wait=True),
}
"""The commands of fcntl(2) about record locks."""
