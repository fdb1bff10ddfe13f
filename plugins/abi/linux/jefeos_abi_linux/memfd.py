"""memfd_create(2): files that live in memory only, and their seals (F_ADD_SEALS of fcntl(2)).

A `MemoryInode` is a tmpfs file without a name, on a tmpfs of the kernel's own that is mounted nowhere. The seals
are checked by the inode, so that they hold for every descriptor and for /proc/PID/fd as well.
A shared mapping that could write cannot be made once F_SEAL_WRITE or F_SEAL_FUTURE_WRITE is set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.vfs.file import File, RegularFile
from jefeos.vfs.flags import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    O_RDWR,
    S_IFREG,
    S_IXUGO,
)
from jefeos.vfs.tmpfs import Tmpfs, TmpfsInode

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034
F_SEAL_SEAL: Final = 0x01
F_SEAL_SHRINK: Final = 0x02
F_SEAL_GROW: Final = 0x04
F_SEAL_WRITE: Final = 0x08
F_SEAL_FUTURE_WRITE: Final = 0x10
F_SEAL_EXEC: Final = 0x20
SEALS_KNOWN: Final = 0x3F
_NO_WRITE: Final = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE


class MemoryInode(TmpfsInode):
    """The file behind a memfd."""

    seals: int = F_SEAL_SEAL

    def write(self, offset: int, data: bytes) -> int:
        if self.seals & _NO_WRITE or self.seals & F_SEAL_GROW and offset + len(data) > self.size:
            raise KernelError(Errno.EPERM)
        return super().write(offset, data)

    def set_attributes(self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None,
                       atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        if mode is not None and self.seals & F_SEAL_EXEC and (mode ^ self.mode) & S_IXUGO:
            raise KernelError(Errno.EPERM)
        super().set_attributes(mode=mode, uid=uid, gid=gid, atime_ns=atime_ns, mtime_ns=mtime_ns)

    def truncate(self, size: int) -> None:
        if self.seals & F_SEAL_SHRINK and size < self.size or self.seals & F_SEAL_GROW and size > self.size:
            raise KernelError(Errno.EPERM)
        super().truncate(size)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        if mode & FALLOC_FL_PUNCH_HOLE and self.seals & _NO_WRITE:
            raise KernelError(Errno.EPERM)
        grows = not mode & FALLOC_FL_KEEP_SIZE and offset + length > self.size
        if grows and self.seals & F_SEAL_GROW:
            raise KernelError(Errno.EPERM)
        super().allocate(mode, offset, length)


def memory_filesystem(kernel: Kernel) -> Tmpfs:
    """The tmpfs of nameless files, one for each kernel, made at first use."""
    fs = getattr(kernel, "memory_files", None)
    if fs is None:
        fs = Tmpfs(kernel.memory.page_cache, kernel.clock)
        fs.device = kernel.vfs.anonymous_fs.device
        kernel.memory_files = fs  # type: ignore[attr-defined]
    assert isinstance(fs, Tmpfs)
    return fs


def make_memory_file(task: Task, name: bytes, *, seals: int, mode: int = 0o777) -> RegularFile:
    """A new memfd. ``seals`` F_SEAL_SEAL means that none may ever be added."""
    kernel = task.kernel
    fs = memory_filesystem(kernel)
    creds = task.creds
    ino = kernel.vfs.anonymous_fs.next_ino()
    fs.inodes_used += 1
    inode = MemoryInode(fs, ino, S_IFREG | mode, creds.fsuid, creds.fsgid, nlink=0)
    inode.seals = seals
    place = kernel.vfs.anonymous_path(inode, b"/memfd:" + name + b" (deleted)")
    return RegularFile(inode, O_RDWR, place)


def forbids_writing(file: File) -> bool:
    """Whether seals keep a shared mapping of the file from ever being written."""
    return isinstance(file.inode, MemoryInode) and bool(file.inode.seals & _NO_WRITE)


def _get_seals(task: Task, fd: int, file: File, argument: int) -> int:
    if not isinstance(file.inode, MemoryInode):
        raise KernelError(Errno.EINVAL)
    return file.inode.seals


def _add_seals(task: Task, fd: int, file: File, argument: int) -> int:
    inode = file.inode
    if not isinstance(inode, MemoryInode) or argument & ~SEALS_KNOWN:
        raise KernelError(Errno.EINVAL)
    if not file.writable or inode.seals & F_SEAL_SEAL:
        raise KernelError(Errno.EPERM)
    if argument & F_SEAL_WRITE and not inode.seals & F_SEAL_WRITE:
        users = inode._mapping.users if inode._mapping is not None else ()
        if any(area.shared and area.may_write for area in users):
            raise KernelError(Errno.EBUSY)
    inode.seals |= argument
    return 0


SEAL_COMMANDS: Final[dict[int, Callable[[Task, int, File, int], MaybeAwait[int]]]] = {
    F_ADD_SEALS: _add_seals,
    F_GET_SEALS: _get_seals,
}
"""The commands of fcntl(2) about seals."""
