"""The newer mount calls: open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr (linux/mount.h).

Mounts are private, so that setting the propagation changes nothing. Mapped ids (MOUNT_ATTR_IDMAP) and
MOUNT_ATTR_NOSYMFOLLOW answer EINVAL.
"""

from __future__ import annotations

from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.structs import Struct, u64
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Size, UInt, UserPtr
from jefeos.vfs.file import File, PathFile
from jefeos.vfs.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    O_CLOEXEC,
    O_PATH,
    MountFlags,
)
from jefeos.vfs.path import Path
from jefeos.vfs.procfs.system import filesystem_types

from jefeos_abi_linux.calls_files import install
from jefeos_abi_linux.calls_mounts import open_filesystem
from jefeos_abi_linux.files_common import resolve_at
from jefeos_abi_linux.mount_files import ContextFile, MountFile

OPEN_TREE_CLONE: Final = 1
AT_RECURSIVE: Final = 0x8000
MOVE_F_SYMLINKS, MOVE_F_EMPTY, MOVE_T_SYMLINKS, MOVE_T_EMPTY = 0x01, 0x04, 0x10, 0x40
MOVE_KNOWN: Final = 0x77
SET_FLAG, SET_STRING, SET_BINARY, SET_PATH, SET_PATH_EMPTY, SET_FD, CMD_CREATE, CMD_RECONFIGURE = range(8)
CLOEXEC: Final = 1
FSPICK_NOFOLLOW, FSPICK_NO_AUTOMOUNT, FSPICK_EMPTY = 2, 4, 8
ATTR_PLAIN: Final = 0x8F
"""MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC and NODIRATIME."""
ATTR_ATIME, ATTR_NOATIME, ATTR_STRICTATIME, ATTR_NODIRATIME = 0x70, 0x10, 0x20, 0x80
_PROPAGATIONS: Final = tuple(
    int(flag) for flag in (MountFlags.UNBINDABLE, MountFlags.PRIVATE, MountFlags.SLAVE, MountFlags.SHARED)
)
_TMPFS_OPTIONS: Final = frozenset((
    b"size", b"mode", b"uid", b"gid", b"nr_inodes", b"nr_blocks", b"huge", b"mpol", b"inode32", b"inode64", b"noswap",
))  # fmt: skip
_OPTIONS: Final = {
    "tmpfs": _TMPFS_OPTIONS,
    "ramfs": frozenset((b"mode",)),
    "proc": frozenset((b"gid", b"hidepid", b"subset", b"pidns")),
    "devpts": frozenset((b"uid", b"gid", b"mode", b"ptmxmode", b"newinstance", b"max")),
}
_NAME_MAX: Final = 256
_STRING_MAX: Final = 256


class MountAttr(Struct):
    """struct mount_attr."""

    attr_set: int = u64()
    attr_clr: int = u64()
    propagation: int = u64()
    userns_fd: int = u64()


def _require_privilege(task: Task) -> None:
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)


def _place(task: Task, dirfd: int, path: bytes, flags: int) -> Path:
    found = resolve_at(task, dirfd, path, flags)
    if isinstance(found, File):
        raise KernelError(Errno.EINVAL)
    return found


# --- trees ----------------------------------------------------------------------------------------------------


@syscall("open_tree")
def open_tree(task: Task, dirfd: Fd, path: UserPtr, flags: Flags) -> int:
    """open_tree(2): a place, or with OPEN_TREE_CLONE a copy of the mount there that is in no tree yet."""
    at_flags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW
    if flags & ~(OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE | at_flags):
        raise KernelError(Errno.EINVAL)
    if flags & (AT_RECURSIVE | OPEN_TREE_CLONE) == AT_RECURSIVE:
        raise KernelError(Errno.EINVAL)
    if flags & OPEN_TREE_CLONE:
        _require_privilege(task)
    place = _place(task, dirfd, task.mm.read_cstr(path, 4096), flags & at_flags)
    if not flags & OPEN_TREE_CLONE:
        return install(task, PathFile(place.inode, O_PATH, place), cloexec=bool(flags & O_CLOEXEC))
    mount = task.kernel.vfs.clone_mount(place, recursive=bool(flags & AT_RECURSIVE))
    return install(task, MountFile(task.kernel.vfs, mount), cloexec=bool(flags & O_CLOEXEC))


@syscall("move_mount")
def move_mount(
    task: Task, from_fd: Fd, from_path: UserPtr, to_fd: Fd, to_path: UserPtr, flags: Flags
) -> int:
    """move_mount(2)."""
    _require_privilege(task)
    if flags & ~MOVE_KNOWN:
        raise KernelError(Errno.EINVAL)
    follow = 0 if flags & MOVE_F_SYMLINKS else AT_SYMLINK_NOFOLLOW
    source = _place(
        task, from_fd, task.mm.read_cstr(from_path, 4096), follow | (AT_EMPTY_PATH if flags & MOVE_F_EMPTY else 0)
    )
    follow = 0 if flags & MOVE_T_SYMLINKS else AT_SYMLINK_NOFOLLOW
    target = _place(
        task, to_fd, task.mm.read_cstr(to_path, 4096), follow | (AT_EMPTY_PATH if flags & MOVE_T_EMPTY else 0)
    )
    task.kernel.vfs.move(source, target)
    return 0


# --- filesystems ----------------------------------------------------------------------------------------------


@syscall("fsopen")
def fsopen(task: Task, name: UserPtr, flags: Flags) -> int:
    """fsopen(2)."""
    _require_privilege(task)
    if flags & ~CLOEXEC:
        raise KernelError(Errno.EINVAL)
    kind = task.mm.read_cstr(name, 4096)
    if kind not in [line.split(b"\t")[1] for line in filesystem_types(task.kernel).splitlines()]:
        raise KernelError(Errno.ENODEV)
    return install(task, ContextFile(task.kernel, kind.decode("latin-1")), cloexec=bool(flags & CLOEXEC))


@syscall("fspick")
def fspick(task: Task, dirfd: Fd, path: UserPtr, flags: Flags) -> int:
    """fspick(2): a context that changes what is mounted."""
    _require_privilege(task)
    if flags & ~(CLOEXEC | FSPICK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY):
        raise KernelError(Errno.EINVAL)
    at_flags = (AT_SYMLINK_NOFOLLOW if flags & FSPICK_NOFOLLOW else 0) | (
        AT_EMPTY_PATH if flags & FSPICK_EMPTY else 0
    )
    place = _place(task, dirfd, task.mm.read_cstr(path, 4096), at_flags)
    if place.dentry is not place.mount.root:
        raise KernelError(Errno.EINVAL)
    context = ContextFile(task.kernel, place.mount.fs.name, place.mount)
    context.read_only = place.mount.read_only
    return install(task, context, cloexec=bool(flags & CLOEXEC))


@syscall("fsconfig")
def fsconfig(task: Task, fd: Fd, command: UInt, key: UserPtr, value: UserPtr, extra: Int) -> int:
    """fsconfig(2)."""
    if fd < 0 or _is_malformed(command, key, value, extra):
        raise KernelError(Errno.EINVAL)
    if command > CMD_RECONFIGURE + 1:
        raise KernelError(Errno.EOPNOTSUPP)
    context = task.files.get(fd)
    if not isinstance(context, ContextFile):
        raise KernelError(Errno.EINVAL)
    if command == CMD_RECONFIGURE:
        if context.picked is None:
            raise KernelError(Errno.EBUSY)
        mount, read_only = context.picked, int(MountFlags.RDONLY)
        flags = mount.flags | read_only if context.read_only else mount.flags & ~read_only
        task.kernel.vfs.remount(Path(mount, mount.root), flags)
        return 0
    if command >= CMD_CREATE:
        return _create(task, context)
    name = task.mm.read_cstr(key, _NAME_MAX)
    if context.filesystem is not None:
        raise KernelError(Errno.EBUSY)
    if command == SET_FLAG and name in (b"ro", b"rw"):
        context.read_only = name == b"ro"
    elif command == SET_STRING and name == b"source":
        if context.source is not None:
            raise KernelError(Errno.EINVAL)
        context.source = task.mm.read_cstr(value, _STRING_MAX)
    elif command in (SET_FLAG, SET_STRING) and name in _OPTIONS.get(context.kind, ()):
        context.options[name] = task.mm.read_cstr(value, _STRING_MAX) if command == SET_STRING else b""
    else:
        raise KernelError(Errno.EINVAL)
    return 0


def _is_malformed(command: int, key: int, value: int, extra: int) -> bool:
    if command == SET_FLAG:
        return not key or bool(value) or bool(extra)
    if command == SET_STRING:
        return not key or not value or bool(extra)
    if command == SET_BINARY:
        return not key or not value or not 0 < extra <= 1 << 20
    if command in (SET_PATH, SET_PATH_EMPTY):
        return not key or not value or extra != AT_FDCWD and extra < 0
    if command == SET_FD:
        return not key or bool(value) or extra < 0
    return command <= CMD_RECONFIGURE + 1 and bool(key or value or extra)


def _create(task: Task, context: ContextFile) -> int:
    if context.filesystem is not None or context.picked is not None:
        raise KernelError(Errno.EBUSY)
    options = b",".join(b"%s=%s" % pair for pair in context.options.items())
    flags = int(MountFlags.RDONLY) if context.read_only else 0
    context.filesystem = open_filesystem(task, context.kind, context.source or b"none", options, flags)
    return 0


@syscall("fsmount")
def fsmount(task: Task, fd: Fd, flags: Flags, attributes: UInt) -> int:
    """fsmount(2): a mount of the new filesystem, for move_mount."""
    _require_privilege(task)
    if flags & ~CLOEXEC or attributes & ~(ATTR_PLAIN | ATTR_ATIME):
        raise KernelError(Errno.EINVAL)
    mount_flags = _mount_flags(attributes)
    context = task.files.get(fd)
    if not isinstance(context, ContextFile) or context.filesystem is None:
        raise KernelError(Errno.EINVAL)
    if context.mounted:
        raise KernelError(Errno.EBUSY)
    context.mounted = True
    mount_flags |= int(MountFlags.RDONLY) if context.read_only else 0
    mount = task.kernel.vfs.detached_mount(context.filesystem, mount_flags, context.source or b"none")
    return install(task, MountFile(task.kernel.vfs, mount), cloexec=bool(flags & CLOEXEC))


# --- attributes -----------------------------------------------------------------------------------------------


def _mount_flags(attributes: int) -> int:
    """MOUNT_ATTR_* as MS_*. EINVAL for two kinds of access times at once."""
    if attributes & ATTR_ATIME not in (0, ATTR_NOATIME, ATTR_STRICTATIME):
        raise KernelError(Errno.EINVAL)
    flags = attributes & 0xF
    if attributes & ATTR_NOATIME:
        flags |= int(MountFlags.NOATIME)
    if attributes & ATTR_NODIRATIME:
        flags |= int(MountFlags.NODIRATIME)
    return flags


@syscall("mount_setattr")
def mount_setattr(
    task: Task, dirfd: Fd, path: UserPtr, flags: Flags, attributes: UserPtr, size: Size
) -> int:
    """mount_setattr(2)."""
    at_flags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW
    if flags & ~(at_flags | AT_RECURSIVE):
        raise KernelError(Errno.EINVAL)
    if size > 4096:
        raise KernelError(Errno.E2BIG)
    if size < MountAttr.size:
        raise KernelError(Errno.EINVAL)
    _require_privilege(task)
    data = task.mm.read(attributes, size)
    if any(data[MountAttr.size :]):
        raise KernelError(Errno.E2BIG)
    wanted = MountAttr.parse(data)
    if not (wanted.attr_set or wanted.attr_clr or wanted.propagation):
        return 0
    if wanted.propagation and wanted.propagation not in _PROPAGATIONS:
        raise KernelError(Errno.EINVAL)
    if (wanted.attr_set | wanted.attr_clr) & ~(ATTR_PLAIN | ATTR_ATIME):
        raise KernelError(Errno.EINVAL)
    clear_times = wanted.attr_clr & ATTR_ATIME
    if clear_times not in (0, ATTR_ATIME) or wanted.attr_set & ATTR_ATIME and not clear_times:
        raise KernelError(Errno.EINVAL)
    added = _mount_flags(wanted.attr_set)
    removed = _mount_flags(wanted.attr_clr & ~ATTR_ATIME) | (int(MountFlags.NOATIME) if clear_times else 0)
    place = _place(task, dirfd, task.mm.read_cstr(path, 4096), flags & at_flags)
    if place.dentry is not place.mount.root:
        raise KernelError(Errno.EINVAL)
    vfs = task.kernel.vfs
    mounts = vfs.below(place.mount) if flags & AT_RECURSIVE else [place.mount]
    for mount in mounts:
        mount.flags = mount.flags & ~removed | added
    return 0
