"""Attributes: chmod, chown, the utime family, umask, extended attributes."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Mode, Path, Size, UInt, UserPtr
from jefeos.vfs.attributes import NOW, TimeChange
from jefeos.vfs.file import File
from jefeos.vfs.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    UTIME_NOW,
    UTIME_OMIT,
    XATTR_CREATE,
    XATTR_REPLACE,
)
from jefeos.vfs.inode import Inode
from jefeos.vfs.path import Path as Place

from jefeos_abi_linux.files_common import directory_of, file_of, resolve_at
from jefeos_abi_linux.structs_common import NS_PER_SECOND, read_timeval

XATTR_NAME_MAX: Final = 255
XATTR_SIZE_MAX: Final = 65536
_NO_ID: Final = 0xFFFF_FFFF
_TIMES: Final = struct.Struct("<qqqq")
_UTIMBUF: Final = struct.Struct("<qq")


def _target(task: Task, dirfd: int, path: bytes, flags: int) -> tuple[Inode, Place | None]:
    """The inode that an *at call means, and the place it is seen at."""
    found = resolve_at(task, dirfd, path, flags)
    if isinstance(found, File):
        return found.inode, None
    return found.inode, found


def _open_target(task: Task, fd: int) -> tuple[Inode, Place | None]:
    file = file_of(task, fd)
    return file.inode, file.path


# --- mode and owner -------------------------------------------------------------------------------------------


@syscall("chmod")
def chmod(task: Task, path: Path, mode: Mode) -> int:
    """chmod(2)."""
    return _chmod(task, AT_FDCWD, path, mode, 0)


@syscall("fchmodat")
def fchmodat(task: Task, dirfd: Fd, path: Path, mode: Mode) -> int:
    """fchmodat(2), the kernel's form without flags."""
    return _chmod(task, dirfd, path, mode, 0)


@syscall("fchmodat2")
def fchmodat2(task: Task, dirfd: Fd, path: Path, mode: Mode, flags: Flags) -> int:
    """fchmodat2(2)."""
    return _chmod(task, dirfd, path, mode, flags)


def _chmod(task: Task, dirfd: int, path: bytes, mode: int, flags: int) -> int:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise KernelError(Errno.EINVAL)
    inode, place = _target(task, dirfd, path, flags)
    task.kernel.vfs.set_mode(task, inode, mode, place)
    return 0


@syscall("fchmod")
def fchmod(task: Task, fd: Fd, mode: Mode) -> int:
    """fchmod(2)."""
    inode, place = _open_target(task, fd)
    task.kernel.vfs.set_mode(task, inode, mode, place)
    return 0


@syscall("chown")
def chown(task: Task, path: Path, uid: UInt, gid: UInt) -> int:
    """chown(2)."""
    return _chown(task, AT_FDCWD, path, uid, gid, 0)


@syscall("lchown")
def lchown(task: Task, path: Path, uid: UInt, gid: UInt) -> int:
    """lchown(2)."""
    return _chown(task, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)


@syscall("fchownat")
def fchownat(task: Task, dirfd: Fd, path: Path, uid: UInt, gid: UInt, flags: Flags) -> int:
    """fchownat(2)."""
    return _chown(task, dirfd, path, uid, gid, flags)


def _chown(task: Task, dirfd: int, path: bytes, uid: int, gid: int, flags: int) -> int:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise KernelError(Errno.EINVAL)
    inode, place = _target(task, dirfd, path, flags)
    task.kernel.vfs.set_owner(task, inode, _id(uid), _id(gid), place)
    return 0


@syscall("fchown")
def fchown(task: Task, fd: Fd, uid: UInt, gid: UInt) -> int:
    """fchown(2)."""
    inode, place = _open_target(task, fd)
    task.kernel.vfs.set_owner(task, inode, _id(uid), _id(gid), place)
    return 0


def _id(number: int) -> int:
    return -1 if number == _NO_ID else number


@syscall("umask")
def umask(task: Task, mask: Mode) -> int:
    """umask(2)."""
    old = task.fs.umask
    task.fs.umask = mask & 0o777
    return old


# --- times ----------------------------------------------------------------------------------------------------


@syscall("utimensat")
def utimensat(task: Task, dirfd: Fd, path: UserPtr, times: UserPtr, flags: Flags) -> int:
    """utimensat(2). A null path means the descriptor itself."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise KernelError(Errno.EINVAL)
    atime: TimeChange = NOW
    mtime: TimeChange = NOW
    if times:
        seconds_a, fraction_a, seconds_m, fraction_m = _TIMES.unpack(task.mm.read(times, _TIMES.size))
        if fraction_a == fraction_m == UTIME_OMIT:
            return 0
        atime, mtime = _time(seconds_a, fraction_a), _time(seconds_m, fraction_m)
    if path:
        inode, place = _target(task, dirfd, task.mm.read_cstr(path, 4096), flags)
    else:
        if flags:
            raise KernelError(Errno.EINVAL)
        if dirfd == AT_FDCWD:
            raise KernelError(Errno.EFAULT)
        inode, place = _open_target(task, dirfd)
    task.kernel.vfs.set_times(task, inode, atime, mtime, place)
    return 0


def _time(seconds: int, nanoseconds: int) -> TimeChange:
    if nanoseconds == UTIME_NOW:
        return NOW
    if nanoseconds == UTIME_OMIT:
        return None
    if not 0 <= nanoseconds < NS_PER_SECOND:
        raise KernelError(Errno.EINVAL)
    return seconds * NS_PER_SECOND + nanoseconds


@syscall("utime")
def utime(task: Task, path: Path, times: UserPtr) -> int:
    """utime(2)."""
    atime: TimeChange = NOW
    mtime: TimeChange = NOW
    if times:
        seconds_a, seconds_m = _UTIMBUF.unpack(task.mm.read(times, _UTIMBUF.size))
        atime, mtime = seconds_a * NS_PER_SECOND, seconds_m * NS_PER_SECOND
    return _utimes(task, AT_FDCWD, path, atime, mtime)


@syscall("utimes")
def utimes(task: Task, path: Path, times: UserPtr) -> int:
    """utimes(2)."""
    return _utimes_at(task, AT_FDCWD, path, times)


@syscall("futimesat")
def futimesat(task: Task, dirfd: Fd, path: UserPtr, times: UserPtr) -> int:
    """futimesat(2). A null path means the descriptor itself."""
    if path:
        return _utimes_at(task, dirfd, task.mm.read_cstr(path, 4096), times)
    inode, place = _open_target(task, dirfd)
    atime, mtime = _two_timevals(task, times)
    task.kernel.vfs.set_times(task, inode, atime, mtime, place)
    return 0


def _utimes_at(task: Task, dirfd: int, path: bytes, times: int) -> int:
    atime, mtime = _two_timevals(task, times)
    return _utimes(task, dirfd, path, atime, mtime)


def _two_timevals(task: Task, times: int) -> tuple[TimeChange, TimeChange]:
    if not times:
        return NOW, NOW
    return read_timeval(task.mm, times), read_timeval(task.mm, times + 16)


def _utimes(task: Task, dirfd: int, path: bytes, atime: TimeChange, mtime: TimeChange) -> int:
    task.kernel.vfs.utimens(task, path, atime, mtime, at=directory_of(task, dirfd, path))
    return 0


# --- extended attributes --------------------------------------------------------------------------------------


def _name(task: Task, address: int) -> bytes:
    """An attribute's name. ERANGE if it is empty or longer than 255 bytes."""
    try:
        name = task.mm.read_cstr(address, XATTR_NAME_MAX + 1)
    except KernelError as error:
        raise KernelError(Errno.ERANGE if error.errno == Errno.ENAMETOOLONG else error.errno) from None
    if not name:
        raise KernelError(Errno.ERANGE)
    return name


def _give(task: Task, data: bytes, buffer: int, size: int) -> int:
    """A value or list into the program's buffer; size 0 asks for the length."""
    if size:
        if len(data) > size:
            raise KernelError(Errno.ERANGE)
        task.mm.write(buffer, data)
    return len(data)


def _set(task: Task, target: tuple[Inode, Place | None], name: int, value: int, size: int, flags: int) -> int:
    if flags & ~(XATTR_CREATE | XATTR_REPLACE):
        raise KernelError(Errno.EINVAL)
    key = _name(task, name)
    if size > XATTR_SIZE_MAX:
        raise KernelError(Errno.E2BIG)
    inode, place = target
    task.kernel.vfs.set_xattr(task, inode, key, task.mm.read(value, size) if size else b"", flags, place)
    return 0


def _get(task: Task, inode: Inode, name: int, value: int, size: int) -> int:
    return _give(task, task.kernel.vfs.get_xattr(task, inode, _name(task, name)), value, size)


def _list(task: Task, inode: Inode, buffer: int, size: int) -> int:
    names = task.kernel.vfs.list_xattrs(task, inode)
    return _give(task, b"".join(name + b"\0" for name in names), buffer, size)


def _remove(task: Task, target: tuple[Inode, Place | None], name: int) -> int:
    inode, place = target
    task.kernel.vfs.remove_xattr(task, inode, _name(task, name), place)
    return 0


@syscall("setxattr")
def setxattr(task: Task, path: Path, name: UserPtr, value: UserPtr, size: Size, flags: Int) -> int:
    """setxattr(2)."""
    return _set(task, _target(task, AT_FDCWD, path, 0), name, value, size, flags)


@syscall("lsetxattr")
def lsetxattr(task: Task, path: Path, name: UserPtr, value: UserPtr, size: Size, flags: Int) -> int:
    """lsetxattr(2)."""
    return _set(task, _target(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), name, value, size, flags)


@syscall("fsetxattr")
def fsetxattr(task: Task, fd: Fd, name: UserPtr, value: UserPtr, size: Size, flags: Int) -> int:
    """fsetxattr(2)."""
    return _set(task, _open_target(task, fd), name, value, size, flags)


@syscall("getxattr")
def getxattr(task: Task, path: Path, name: UserPtr, value: UserPtr, size: Size) -> int:
    """getxattr(2)."""
    return _get(task, _target(task, AT_FDCWD, path, 0)[0], name, value, size)


@syscall("lgetxattr")
def lgetxattr(task: Task, path: Path, name: UserPtr, value: UserPtr, size: Size) -> int:
    """lgetxattr(2)."""
    return _get(task, _target(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)[0], name, value, size)


@syscall("fgetxattr")
def fgetxattr(task: Task, fd: Fd, name: UserPtr, value: UserPtr, size: Size) -> int:
    """fgetxattr(2)."""
    return _get(task, _open_target(task, fd)[0], name, value, size)


@syscall("listxattr")
def listxattr(task: Task, path: Path, buffer: UserPtr, size: Size) -> int:
    """listxattr(2)."""
    return _list(task, _target(task, AT_FDCWD, path, 0)[0], buffer, size)


@syscall("llistxattr")
def llistxattr(task: Task, path: Path, buffer: UserPtr, size: Size) -> int:
    """llistxattr(2)."""
    return _list(task, _target(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)[0], buffer, size)


@syscall("flistxattr")
def flistxattr(task: Task, fd: Fd, buffer: UserPtr, size: Size) -> int:
    """flistxattr(2)."""
    return _list(task, _open_target(task, fd)[0], buffer, size)


@syscall("removexattr")
def removexattr(task: Task, path: Path, name: UserPtr) -> int:
    """removexattr(2)."""
    return _remove(task, _target(task, AT_FDCWD, path, 0), name)


@syscall("lremovexattr")
def lremovexattr(task: Task, path: Path, name: UserPtr) -> int:
    """lremovexattr(2)."""
    return _remove(task, _target(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), name)


@syscall("fremovexattr")
def fremovexattr(task: Task, fd: Fd, name: UserPtr) -> int:
    """fremovexattr(2)."""
    return _remove(task, _open_target(task, fd), name)
