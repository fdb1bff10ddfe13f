"""Descriptors: dup, pipe, close, flock, memfd_create, fcntl.

fcntl is a table from command to function, `COMMANDS`; the commands about locks are in locking.py, those about
seals in memfd.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import RLimit
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, UInt, ULong, UserPtr
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_CLOEXEC, O_DIRECT, O_LARGEFILE, O_NONBLOCK, O_PATH
from jefeos.vfs.pipe import PipeFile

from jefeos_abi_linux.files_common import file_of
from jefeos_abi_linux.locking import LOCK_COMMANDS, flock_file
from jefeos_abi_linux.memfd import F_SEAL_EXEC, F_SEAL_SEAL, SEAL_COMMANDS, make_memory_file
from jefeos_abi_linux.structs import FOwnerEx

FD_CLOEXEC: Final = 1
CLOSE_RANGE_UNSHARE: Final = 2
CLOSE_RANGE_CLOEXEC: Final = 4
_UINT_MAX: Final = 0xFFFF_FFFF
_FD_LIMIT: Final = 1 << 31


def _signed(value: int) -> int:
    """The low half of an argument as an int."""
    return ((value & _UINT_MAX) ^ 0x8000_0000) - 0x8000_0000


# --- dup, pipe ------------------------------------------------------------------------------------------------


@syscall("dup")
def dup(task: Task, fd: Fd) -> int:
    """dup(2)."""
    return _duplicate(task, task.files.get(fd), 0, cloexec=False)


@syscall("dup2")
def dup2(task: Task, old: Fd, new: Fd) -> int:
    """dup2(2): onto itself it only checks."""
    file = task.files.get(old)
    return new if old == new else _duplicate_at(task, file, new, cloexec=False)


@syscall("dup3")
def dup3(task: Task, old: Fd, new: Fd, flags: Flags) -> int:
    """dup3(2)."""
    if flags & ~O_CLOEXEC or old == new:
        raise KernelError(Errno.EINVAL)
    return _duplicate_at(task, task.files.get(old), new, cloexec=bool(flags))


def _duplicate(task: Task, file: File, minimum: int, *, cloexec: bool) -> int:
    fd = task.files.install(file, minimum, cloexec=cloexec)
    file.ref()
    return fd


def _duplicate_at(task: Task, file: File, fd: int, *, cloexec: bool) -> int:
    file.ref()  # before the old file of that number goes: it may be the last holder of what this one needs
    try:
        task.files.install_at(fd, file, cloexec=cloexec)
    except KernelError:
        file.unref()
        raise
    return fd


@syscall("pipe")
def pipe(task: Task, descriptors: UserPtr) -> int:
    """pipe(2)."""
    return _pipe(task, descriptors, 0)


@syscall("pipe2")
def pipe2(task: Task, descriptors: UserPtr, flags: Flags) -> int:
    """pipe2(2). O_DIRECT (packets) is taken and does nothing."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        raise KernelError(Errno.EINVAL)
    return _pipe(task, descriptors, flags)


def _pipe(task: Task, descriptors: int, flags: int) -> int:
    ends = task.kernel.vfs.pipe(task, flags & O_NONBLOCK)
    return install_pair(task, ends, descriptors, cloexec=bool(flags & O_CLOEXEC))


def install_pair(task: Task, ends: tuple[File, File], address: int, *, cloexec: bool) -> int:
    """Two descriptors, told to the program as int[2]; all or nothing."""
    files = task.files
    numbers: list[int] = []
    try:
        for end in ends:
            numbers.append(files.install(end, cloexec=cloexec))
        task.mm.write(address, b"".join(fd.to_bytes(4, "little") for fd in numbers))
    except KernelError:
        for fd in numbers:
            files.close(fd)
        for end in ends[len(numbers) :]:
            end.unref()
        raise
    return 0


@syscall("close_range")
def close_range(task: Task, first: UInt, last: UInt, flags: Flags) -> int:
    """close_range(2)."""
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise KernelError(Errno.EINVAL)
    if flags & CLOSE_RANGE_UNSHARE and task.files.users > 1:
        shared = task.files
        task.files = shared.copy()
        shared.leave()
    for fd, _ in task.files.items():
        if first <= fd <= last:
            if flags & CLOSE_RANGE_CLOEXEC:
                task.files.set_cloexec(fd, True)
            else:
                task.files.close(fd)
    return 0


@syscall("close")
def close(task: Task, fd: Fd) -> int:
    """close(2)."""
    task.files.close(fd)
    return 0


@syscall("flock")
def flock(task: Task, fd: Fd, operation: Int) -> MaybeAwait[int]:
    """flock(2)."""
    return flock_file(task, file_of(task, fd), operation)


MFD_CLOEXEC: Final = 0x01
MFD_ALLOW_SEALING: Final = 0x02
MFD_NOEXEC_SEAL: Final = 0x08
MFD_EXEC: Final = 0x10
_MEMFD_NAME_MAX: Final = 249


@syscall("memfd_create")
def memfd_create(task: Task, name: UserPtr, flags: Flags) -> int:
    """memfd_create(2). Huge pages are refused."""
    if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC):
        raise KernelError(Errno.EINVAL)
    if flags & MFD_NOEXEC_SEAL and flags & MFD_EXEC:
        raise KernelError(Errno.EINVAL)
    try:
        label = task.mm.read_cstr(name, _MEMFD_NAME_MAX + 1)
    except KernelError as error:
        raise KernelError(Errno.EINVAL if error.errno == Errno.ENAMETOOLONG else error.errno) from None
    seals = 0 if flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) else F_SEAL_SEAL
    mode = 0o777
    if flags & MFD_NOEXEC_SEAL:
        seals |= F_SEAL_EXEC
        mode = 0o666
    file = make_memory_file(task, label, seals=seals, mode=mode)
    try:
        return task.files.install(file, cloexec=bool(flags & MFD_CLOEXEC))
    except KernelError:
        file.unref()
        raise


# --- fcntl ----------------------------------------------------------------------------------------------------

F_DUPFD: Final = 0
F_GETFD: Final = 1
F_SETFD: Final = 2
F_GETFL: Final = 3
F_SETFL: Final = 4
F_SETOWN: Final = 8
F_GETOWN: Final = 9
F_SETSIG: Final = 10
F_GETSIG: Final = 11
F_SETOWN_EX: Final = 15
F_GETOWN_EX: Final = 16
F_SETLEASE: Final = 1024
F_GETLEASE: Final = 1025
F_NOTIFY: Final = 1026
F_DUPFD_CLOEXEC: Final = 1030
F_SETPIPE_SZ: Final = 1031
F_GETPIPE_SZ: Final = 1032

F_OWNER_PID: Final = 1
F_OWNER_PGRP: Final = 2
_PATH_COMMANDS: Final = (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL)


@syscall("fcntl")
def fcntl(task: Task, fd: Fd, command: Int, argument: ULong) -> MaybeAwait[int]:
    """fcntl(2)."""
    file = task.files.get(fd)
    if file.flags & O_PATH and command not in _PATH_COMMANDS:
        raise KernelError(Errno.EBADF)
    action = COMMANDS.get(command)
    if action is None:
        raise KernelError(Errno.EINVAL)
    return action(task, fd, file, argument)


def _dupfd(task: Task, fd: int, file: File, argument: int) -> int:
    return _dup_from(task, file, argument, False)


def _dupfd_cloexec(task: Task, fd: int, file: File, argument: int) -> int:
    return _dup_from(task, file, argument, True)


def _dup_from(task: Task, file: File, minimum: int, cloexec: bool) -> int:
    if minimum >= task.process.limit(RLimit.NOFILE):
        raise KernelError(Errno.EINVAL)
    return _duplicate(task, file, minimum, cloexec=cloexec)


def _getfd(task: Task, fd: int, file: File, argument: int) -> int:
    return FD_CLOEXEC if fd in task.files.cloexec else 0


def _setfd(task: Task, fd: int, file: File, argument: int) -> int:
    task.files.set_cloexec(fd, bool(argument & FD_CLOEXEC))
    return 0


def _getfl(task: Task, fd: int, file: File, argument: int) -> int:
    return file.flags


def _setfl(task: Task, fd: int, file: File, argument: int) -> int:
    file.set_flags(argument & _UINT_MAX | O_LARGEFILE)
    return 0


def _getown(task: Task, fd: int, file: File, argument: int) -> int:
    return owner_of(file)[0]


def _setown(task: Task, fd: int, file: File, argument: int) -> int:
    set_owner(file, _signed(argument))
    return 0


def _getown_ex(task: Task, fd: int, file: File, argument: int) -> int:
    pid = owner_of(file)[0]
    kind = F_OWNER_PGRP if pid < 0 else F_OWNER_PID
    task.mm.write(argument, FOwnerEx(type=kind, pid=abs(pid)).pack())
    return 0


def _setown_ex(task: Task, fd: int, file: File, argument: int) -> int:
    owner = FOwnerEx.parse(task.mm.read(argument, FOwnerEx.size))
    if not 0 <= owner.type <= F_OWNER_PGRP:
        raise KernelError(Errno.EINVAL)
    set_owner(file, -owner.pid if owner.type == F_OWNER_PGRP else owner.pid)
    return 0


def _getsig(task: Task, fd: int, file: File, argument: int) -> int:
    return owner_of(file)[1]


def _setsig(task: Task, fd: int, file: File, argument: int) -> int:
    if not 0 <= argument <= 64:
        raise KernelError(Errno.EINVAL)
    file.owner = (owner_of(file)[0], argument)  # type: ignore[attr-defined]
    return 0


def owner_of(file: File) -> tuple[int, int]:
    """Who gets SIGIO for a file with O_ASYNC, and which signal instead (0: SIGIO). Kept, and sent by nobody yet."""
    return getattr(file, "owner", (0, 0))


def set_owner(file: File, pid: int) -> None:
    """Changes the owner, a process or minus a group."""
    file.owner = (pid, owner_of(file)[1])  # type: ignore[attr-defined]


def _pipe_of(file: File) -> PipeFile:
    if not isinstance(file, PipeFile):
        raise KernelError(Errno.EBADF)
    return file


def _getpipe_sz(task: Task, fd: int, file: File, argument: int) -> int:
    return _pipe_of(file).pipe.capacity


def _setpipe_sz(task: Task, fd: int, file: File, argument: int) -> int:
    size = argument & _UINT_MAX
    if size > _FD_LIMIT:
        raise KernelError(Errno.EINVAL)
    return _pipe_of(file).pipe.resize(size, privileged=task.creds.privileged)


def _getlease(task: Task, fd: int, file: File, argument: int) -> int:
    return 2  # F_UNLCK: nobody holds one


def _notify(task: Task, fd: int, file: File, argument: int) -> int:
    """F_NOTIFY (dnotify): accepted for directories, and nothing is ever reported."""
    if not file.inode.is_directory:
        raise KernelError(Errno.ENOTDIR)
    return 0


def _refuse(task: Task, fd: int, file: File, argument: int) -> int:
    raise KernelError(Errno.EINVAL)


COMMANDS: Final[dict[int, Callable[[Task, int, File, int], MaybeAwait[int]]]] = {
    F_DUPFD: _dupfd,
    F_DUPFD_CLOEXEC: _dupfd_cloexec,
    F_GETFD: _getfd,
    F_SETFD: _setfd,
    F_GETFL: _getfl,
    F_SETFL: _setfl,
    F_GETOWN: _getown,
    F_SETOWN: _setown,
    F_GETOWN_EX: _getown_ex,
    F_SETOWN_EX: _setown_ex,
    F_GETSIG: _getsig,
    F_SETSIG: _setsig,
    F_GETPIPE_SZ: _getpipe_sz,
    F_SETPIPE_SZ: _setpipe_sz,
    F_GETLEASE: _getlease,
    F_SETLEASE: _refuse,
    F_NOTIFY: _notify,
    **LOCK_COMMANDS,
    **SEAL_COMMANDS,
}
"""What each command does: ``action(task, fd, file, argument)``."""
