"""Files by name and by descriptor: open, the stat family, access, readlink, truncate, fallocate, sync.

The old calls and their *at successors share one body each. What the path means is the Vfs's business; here are
argument checks in Linux's order, and structures.
"""

from __future__ import annotations

from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import UNLIMITED, RLimit
from jefeos.proc.signals import Signal
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Long, Mode, Path, Size, UInt, UserPtr
from jefeos.vfs.file import File
from jefeos.vfs.flags import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    O_ACCMODE,
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECT,
    O_DIRECTORY,
    O_EXCL,
    O_LARGEFILE,
    O_NOATIME,
    O_NOCTTY,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_PATH_FLAGS,
    O_RDONLY,
    O_SYNC,
    O_TMPFILE,
    O_TMPFILE_BIT,
    O_TRUNC,
    O_WRONLY,
    PERMISSION_BITS,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
)
from jefeos.vfs.lookup import Scope
from jefeos.vfs.path import Path as Place

from jefeos_abi_linux.files_common import directory_of, file_of, resolve_at, signed_offset
from jefeos_abi_linux.structs import OpenHow, stat_bytes, statx_bytes

KNOWN_OPEN_FLAGS: Final = (
    O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT
    | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE_BIT
)  # fmt: skip
AT_STATX_SYNC_TYPE: Final = 0x6000
STATX_RESERVED: Final = 0x8000_0000
RESOLVE_CACHED: Final = 0x20
RESOLVE_KNOWN: Final = 0x3F
_ACCESS_MODES: Final = 7


# --- open -----------------------------------------------------------------------------------------------------


@syscall("open")
def open_(task: Task, path: Path, flags: Flags, mode: Mode) -> MaybeAwait[int]:
    """open(2)."""
    return _open(task, AT_FDCWD, path, flags, mode)


@syscall("creat")
def creat(task: Task, path: Path, mode: Mode) -> MaybeAwait[int]:
    """creat(2)."""
    return _open(task, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode)


@syscall("openat")
def openat(task: Task, dirfd: Fd, path: Path, flags: Flags, mode: Mode) -> MaybeAwait[int]:
    """openat(2)."""
    return _open(task, dirfd, path, flags, mode)


@syscall("openat2")
def openat2(task: Task, dirfd: Fd, path: Path, how: UserPtr, size: Size) -> MaybeAwait[int]:
    """openat2(2): strict about its flags, and with bounds for the way."""
    if size < OpenHow.size:
        raise KernelError(Errno.EINVAL)
    if size > 4096:
        raise KernelError(Errno.E2BIG)
    data = task.mm.read(how, size)
    if any(data[OpenHow.size :]):
        raise KernelError(Errno.E2BIG)
    wanted = OpenHow.parse(data)
    flags, mode = wanted.flags, wanted.mode
    if flags & ~KNOWN_OPEN_FLAGS or mode & ~PERMISSION_BITS or wanted.resolve & ~RESOLVE_KNOWN:
        raise KernelError(Errno.EINVAL)
    if mode and not flags & (O_CREAT | O_TMPFILE_BIT):
        raise KernelError(Errno.EINVAL)
    if flags & O_PATH and flags & ~O_PATH_FLAGS:
        raise KernelError(Errno.EINVAL)
    if wanted.resolve & Scope.BENEATH and wanted.resolve & Scope.IN_ROOT:
        raise KernelError(Errno.EINVAL)
    if wanted.resolve & RESOLVE_CACHED and flags & (O_TRUNC | O_CREAT | O_TMPFILE_BIT):
        raise KernelError(Errno.EAGAIN)  # what changes something is never only a look into the cache
    return _open(task, dirfd, path, flags, mode, wanted.resolve & ~RESOLVE_CACHED)


def _open(task: Task, dirfd: int, path: bytes, flags: int, mode: int, scope: int = 0) -> MaybeAwait[int]:
    flags &= KNOWN_OPEN_FLAGS  # the kernel has always ignored the others here
    if flags & O_TMPFILE_BIT and (
        flags & O_TMPFILE != O_TMPFILE or flags & O_CREAT or flags & O_ACCMODE == O_RDONLY
    ):
        raise KernelError(Errno.EINVAL)
    if flags & O_PATH:
        flags &= O_PATH_FLAGS
    elif flags & (O_CREAT | O_DIRECTORY) == O_CREAT | O_DIRECTORY and not flags & O_TMPFILE_BIT:
        raise KernelError(Errno.EINVAL)
    file = task.kernel.vfs.open(
        task, path, flags | O_LARGEFILE if not flags & O_PATH else flags,
        mode & PERMISSION_BITS if flags & (O_CREAT | O_TMPFILE_BIT) else 0,
        at=None if dirfd == AT_FDCWD else directory_of(task, dirfd, path, scope), scope=scope,
    )  # fmt: skip
    if isinstance(file, File):
        return install(task, file, cloexec=flags & O_CLOEXEC != 0)
    return _install_later(task, file, flags & O_CLOEXEC != 0)


async def _install_later(task: Task, pending: MaybeAwait[File], cloexec: bool) -> int:
    return install(task, await pending, cloexec=cloexec)  # type: ignore[misc]


def install(task: Task, file: File, *, cloexec: bool = False) -> int:
    """A descriptor for a file that the caller holds; on EMFILE the file is let go."""
    try:
        return task.files.install(file, cloexec=cloexec)
    except KernelError:
        file.unref()
        raise


# --- stat -----------------------------------------------------------------------------------------------------


@syscall("stat")
def stat(task: Task, path: Path, buffer: UserPtr) -> int:
    """stat(2)."""
    task.mm.write(buffer, stat_bytes(task.kernel.vfs.stat(task, path)))
    return 0


@syscall("lstat")
def lstat(task: Task, path: Path, buffer: UserPtr) -> int:
    """lstat(2)."""
    task.mm.write(buffer, stat_bytes(task.kernel.vfs.stat(task, path, follow=False)))
    return 0


@syscall("fstat")
def fstat(task: Task, fd: Fd, buffer: UserPtr) -> int:
    """fstat(2)."""
    task.mm.write(buffer, stat_bytes(task.files.get(fd).stat()))
    return 0


@syscall("newfstatat")
def newfstatat(task: Task, dirfd: Fd, path: Path, buffer: UserPtr, flags: Flags) -> int:
    """fstatat(2)."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH):
        raise KernelError(Errno.EINVAL)
    if path:
        at = None if dirfd == AT_FDCWD else directory_of(task, dirfd, path)
        found = task.kernel.vfs.stat(task, path, at=at, follow=not flags & AT_SYMLINK_NOFOLLOW)
    elif flags & AT_EMPTY_PATH:
        found = task.fs.cwd.inode.stat() if dirfd == AT_FDCWD else task.files.get(dirfd).stat()
    else:
        raise KernelError(Errno.ENOENT)
    task.mm.write(buffer, stat_bytes(found))
    return 0


@syscall("statx")
def statx(task: Task, dirfd: Fd, path: UserPtr, flags: Flags, mask: UInt, buffer: UserPtr) -> int:
    """statx(2). A null path is allowed with AT_EMPTY_PATH (since Linux 6.11)."""
    known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE
    if mask & STATX_RESERVED or flags & ~known or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE:
        raise KernelError(Errno.EINVAL)
    name = b"" if not path and flags & AT_EMPTY_PATH else task.mm.read_cstr(path, 4096)
    target = resolve_at(task, dirfd, name, flags)
    if isinstance(target, File):
        data = statx_bytes(target.stat(), None)
    else:
        root = target.dentry is target.mount.root
        data = statx_bytes(target.inode.stat(), target.mount.mount_id, mount_root=root)
    task.mm.write(buffer, data)
    return 0


# --- access and readlink --------------------------------------------------------------------------------------


@syscall("access")
def access(task: Task, path: Path, mode: Int) -> int:
    """access(2)."""
    return _access(task, AT_FDCWD, path, mode, 0)


@syscall("faccessat")
def faccessat(task: Task, dirfd: Fd, path: Path, mode: Int) -> int:
    """faccessat(2), the kernel's form without flags."""
    return _access(task, dirfd, path, mode, 0)


@syscall("faccessat2")
def faccessat2(task: Task, dirfd: Fd, path: Path, mode: Int, flags: Flags) -> int:
    """faccessat2(2)."""
    return _access(task, dirfd, path, mode, flags)


def _access(task: Task, dirfd: int, path: bytes, mode: int, flags: int) -> int:
    if mode & ~_ACCESS_MODES or flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise KernelError(Errno.EINVAL)
    effective = bool(flags & AT_EACCESS)
    follow = not flags & AT_SYMLINK_NOFOLLOW
    vfs = task.kernel.vfs
    if not path and flags & AT_EMPTY_PATH:
        place = resolve_at(task, dirfd, path, flags)
        if isinstance(place, Place):
            vfs.access(task, path, mode, effective=effective, place=place)
        return 0
    vfs.access(task, path, mode, at=directory_of(task, dirfd, path), effective=effective, follow=follow)
    return 0


@syscall("readlink")
def readlink(task: Task, path: Path, buffer: UserPtr, size: Int) -> int:
    """readlink(2)."""
    return _readlink(task, AT_FDCWD, path, buffer, size)


@syscall("readlinkat")
def readlinkat(task: Task, dirfd: Fd, path: Path, buffer: UserPtr, size: Int) -> int:
    """readlinkat(2). An empty path reads the link that ``dirfd`` (O_PATH | O_NOFOLLOW) is."""
    return _readlink(task, dirfd, path, buffer, size)


def _readlink(task: Task, dirfd: int, path: bytes, buffer: int, size: int) -> int:
    if size <= 0:
        raise KernelError(Errno.EINVAL)
    if path:
        target = task.kernel.vfs.readlink(task, path, at=directory_of(task, dirfd, path))
    elif dirfd == AT_FDCWD:
        raise KernelError(Errno.ENOENT)
    else:
        inode = task.files.get(dirfd).inode
        if inode.mode & S_IFMT != S_IFLNK:
            raise KernelError(Errno.ENOENT)
        target = inode.readlink()
    target = target[:size]
    task.mm.write(buffer, target)
    return len(target)


# --- sizes ----------------------------------------------------------------------------------------------------


@syscall("truncate")
def truncate(task: Task, path: Path, length: Long) -> int:
    """truncate(2)."""
    signed_offset(length)
    _limit_length(task, length)
    task.kernel.vfs.truncate(task, path, length)
    return 0


@syscall("ftruncate")
def ftruncate(task: Task, fd: Fd, length: Long) -> int:
    """ftruncate(2)."""
    signed_offset(length)
    file = file_of(task, fd)
    if not file.writable:
        raise KernelError(Errno.EINVAL)
    _limit_length(task, length)
    file.truncate(length)
    return 0


def _limit_length(task: Task, length: int) -> None:
    limit = task.process.rlimits[RLimit.FSIZE][0]
    if limit != UNLIMITED and length > limit:
        task.kernel.signals.send_task(task, Signal.SIGXFSZ)
        raise KernelError(Errno.EFBIG)


@syscall("fallocate")
def fallocate(task: Task, fd: Fd, mode: Int, offset: Long, length: Long) -> int:
    """fallocate(2)."""
    file = file_of(task, fd)
    if offset < 0 or length <= 0:
        raise KernelError(Errno.EINVAL)
    if not file.writable:
        raise KernelError(Errno.EBADF)
    if file.inode.mode & S_IFMT == S_IFIFO:
        raise KernelError(Errno.ESPIPE)
    file.allocate(mode, offset, length)
    return 0


@syscall("fadvise64")
def fadvise64(task: Task, fd: Fd, offset: Long, length: Long, advice: Int) -> int:
    """posix_fadvise(2): advice is free to be ignored, and is."""
    file = file_of(task, fd)
    if file.inode.mode & S_IFMT == S_IFIFO:
        raise KernelError(Errno.ESPIPE)
    if length < 0 or not 0 <= advice <= 5:
        raise KernelError(Errno.EINVAL)
    return 0


@syscall("readahead")
def readahead(task: Task, fd: Fd, offset: Long, count: Size) -> int:
    """readahead(2): pages are cached as they are read; nothing is done ahead."""
    file = file_of(task, fd)
    if not file.readable:
        raise KernelError(Errno.EBADF)
    if not file.inode.is_regular:
        raise KernelError(Errno.EINVAL)
    return 0


# --- sync -----------------------------------------------------------------------------------------------------


@syscall("sync")
def sync(task: Task) -> int:
    """sync(2)."""
    task.kernel.sync()
    return 0


@syscall("syncfs")
def syncfs(task: Task, fd: Fd) -> int:
    """syncfs(2)."""
    file_of(task, fd).inode.fs.sync()
    return 0


@syscall("fsync")
def fsync(task: Task, fd: Fd) -> int:
    """fsync(2)."""
    file_of(task, fd).fsync()
    return 0


@syscall("fdatasync")
def fdatasync(task: Task, fd: Fd) -> int:
    """fdatasync(2)."""
    file_of(task, fd).fsync()
    return 0


@syscall("sync_file_range")
def sync_file_range(task: Task, fd: Fd, offset: Long, length: Long, flags: Flags) -> int:
    """sync_file_range(2), as an fsync."""
    file = file_of(task, fd)
    if offset < 0 or length < 0 or flags & ~7:
        raise KernelError(Errno.EINVAL)
    if not file.inode.is_regular and not file.inode.is_directory:
        raise KernelError(Errno.ESPIPE)
    file.fsync()
    return 0
