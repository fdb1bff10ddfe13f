"""Directories and names: getdents, mkdir, rmdir, unlink, link, symlink, rename, mknod, chdir, getcwd, chroot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.capabilities import Capability
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Mode, Path, Size, UInt, UserPtr
from jefeos.vfs.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    PERMISSION_BITS,
    X_OK,
    make_device,
)
from jefeos.vfs.path import Path as Place
from jefeos.vfs.path import path_string
from jefeos.vfs.permissions import require_access

from jefeos_abi_linux.files_common import directory_of, file_of
from jefeos_abi_linux.structs import dirent, dirent64

_DEVICE_MINOR_BITS: Final = 0xFF


# --- reading --------------------------------------------------------------------------------------------------


@syscall("getdents64")
def getdents64(task: Task, fd: Fd, buffer: UserPtr, size: UInt) -> int:
    """getdents64(2)."""
    return _getdents(task, fd, buffer, size, dirent64)


@syscall("getdents")
def getdents(task: Task, fd: Fd, buffer: UserPtr, size: UInt) -> int:
    """getdents(2), of before 64-bit inode numbers everywhere."""
    return _getdents(task, fd, buffer, size, dirent)


def _getdents(task: Task, fd: int, buffer: int, size: int, pack: Callable[[int, int, int, bytes], bytes]) -> int:
    file = file_of(task, fd)
    entries = file.readdir_at(file.position)
    packed: list[bytes] = []
    used = 0
    position = file.position
    for entry, next_position in entries:
        record = pack(entry.ino, next_position, entry.kind, entry.name)
        if used + len(record) > size:
            if not packed:
                raise KernelError(Errno.EINVAL)
            break
        packed.append(record)
        used += len(record)
        position = next_position
    if packed:
        task.mm.write(buffer, b"".join(packed))
        file.position = position
    return used


# --- making and removing --------------------------------------------------------------------------------------


@syscall("mkdir")
def mkdir(task: Task, path: Path, mode: Mode) -> int:
    """mkdir(2)."""
    task.kernel.vfs.mkdir(task, path, mode & PERMISSION_BITS)
    return 0


@syscall("mkdirat")
def mkdirat(task: Task, dirfd: Fd, path: Path, mode: Mode) -> int:
    """mkdirat(2)."""
    task.kernel.vfs.mkdir(task, path, mode & PERMISSION_BITS, at=directory_of(task, dirfd, path))
    return 0


@syscall("rmdir")
def rmdir(task: Task, path: Path) -> int:
    """rmdir(2)."""
    task.kernel.vfs.rmdir(task, path)
    return 0


@syscall("unlink")
def unlink(task: Task, path: Path) -> int:
    """unlink(2)."""
    task.kernel.vfs.unlink(task, path)
    return 0


@syscall("unlinkat")
def unlinkat(task: Task, dirfd: Fd, path: Path, flags: Flags) -> int:
    """unlinkat(2)."""
    if flags & ~AT_REMOVEDIR:
        raise KernelError(Errno.EINVAL)
    at = directory_of(task, dirfd, path)
    if flags & AT_REMOVEDIR:
        task.kernel.vfs.rmdir(task, path, at=at)
    else:
        task.kernel.vfs.unlink(task, path, at=at)
    return 0


@syscall("link")
def link(task: Task, old: Path, new: Path) -> int:
    """link(2): a symlink is linked itself."""
    task.kernel.vfs.link(task, old, new)
    return 0


@syscall("linkat")
def linkat(task: Task, old_dirfd: Fd, old: Path, new_dirfd: Fd, new: Path, flags: Flags) -> int:
    """linkat(2)."""
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise KernelError(Errno.EINVAL)
    source: Place | None = None
    if not old and flags & AT_EMPTY_PATH:
        source = task.fs.cwd if old_dirfd == AT_FDCWD else task.files.get(old_dirfd).path
        if source is None:
            raise KernelError(Errno.ENOENT)
    task.kernel.vfs.link(
        task,
        old,
        new,
        old_at=directory_of(task, old_dirfd, old),
        new_at=directory_of(task, new_dirfd, new),
        follow=bool(flags & AT_SYMLINK_FOLLOW),
        source=source,
    )
    return 0


@syscall("symlink")
def symlink(task: Task, target: Path, path: Path) -> int:
    """symlink(2)."""
    task.kernel.vfs.symlink(task, target, path)
    return 0


@syscall("symlinkat")
def symlinkat(task: Task, target: Path, dirfd: Fd, path: Path) -> int:
    """symlinkat(2)."""
    task.kernel.vfs.symlink(task, target, path, at=directory_of(task, dirfd, path))
    return 0


@syscall("mknod")
def mknod(task: Task, path: Path, mode: Mode, device: UInt) -> int:
    """mknod(2)."""
    return _mknod(task, AT_FDCWD, path, mode, device)


@syscall("mknodat")
def mknodat(task: Task, dirfd: Fd, path: Path, mode: Mode, device: UInt) -> int:
    """mknodat(2)."""
    return _mknod(task, dirfd, path, mode, device)


def _mknod(task: Task, dirfd: int, path: bytes, mode: int, device: int) -> int:
    """``device`` is 32 bits: minor 0-7 and 20-31, major 8-19 (new_decode_dev)."""
    major = device >> 8 & 0xFFF
    minor = device & _DEVICE_MINOR_BITS | device >> 12 & ~_DEVICE_MINOR_BITS
    at = directory_of(task, dirfd, path)
    task.kernel.vfs.mknod(task, path, mode & 0xFFFF, make_device(major, minor), at=at)
    return 0


@syscall("rename")
def rename(task: Task, old: Path, new: Path) -> int:
    """rename(2)."""
    task.kernel.vfs.rename(task, old, new)
    return 0


@syscall("renameat")
def renameat(task: Task, old_dirfd: Fd, old: Path, new_dirfd: Fd, new: Path) -> int:
    """renameat(2)."""
    return _rename(task, old_dirfd, old, new_dirfd, new, 0)


@syscall("renameat2")
def renameat2(task: Task, old_dirfd: Fd, old: Path, new_dirfd: Fd, new: Path, flags: Flags) -> int:
    """renameat2(2)."""
    return _rename(task, old_dirfd, old, new_dirfd, new, flags)


def _rename(task: Task, old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> int:
    old_at = directory_of(task, old_dirfd, old)
    new_at = directory_of(task, new_dirfd, new)
    task.kernel.vfs.rename(task, old, new, flags, old_at=old_at, new_at=new_at)
    return 0


# --- where a process is ---------------------------------------------------------------------------------------


@syscall("getcwd")
def getcwd(task: Task, buffer: UserPtr, size: Size) -> int:
    """getcwd(2): the length with its NUL. ENOENT for a removed directory."""
    cwd = task.fs.cwd
    if cwd.dentry.deleted:
        raise KernelError(Errno.ENOENT)
    name = path_string(cwd, task.fs.root) + b"\0"
    if len(name) > size:
        raise KernelError(Errno.ERANGE)
    task.mm.write(buffer, name)
    return len(name)


@syscall("chdir")
def chdir(task: Task, path: Path) -> int:
    """chdir(2)."""
    task.fs.cwd = task.kernel.vfs.directory(task, path)
    return 0


@syscall("fchdir")
def fchdir(task: Task, fd: Fd) -> int:
    """fchdir(2). O_PATH descriptors will do."""
    file = task.files.get(fd)
    if file.path is None or not file.inode.is_directory:
        raise KernelError(Errno.ENOTDIR)
    require_access(file.inode, X_OK, task.creds)
    task.fs.cwd = file.path
    return 0


@syscall("chroot")
def chroot(task: Task, path: Path) -> int:
    """chroot(2): for the privileged user. The working directory stays where it is."""
    place = task.kernel.vfs.directory(task, path)
    if not task.creds.capable(Capability.SYS_CHROOT):
        raise KernelError(Errno.EPERM)
    task.fs.root = place
    return 0

