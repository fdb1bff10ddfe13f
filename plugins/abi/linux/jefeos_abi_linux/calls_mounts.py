"""Filesystems: statfs, mount, umount2, pivot_root.

mount(2) opens the kernel's own filesystem types by name (tmpfs, proc, devtmpfs, devpts, mqueue), and what plugins
registered in ``kernel.filesystem_types``: those that need nothing, and those that live on a block device. Propagation
flags are accepted and change nothing: there is one mount namespace.
"""

from __future__ import annotations

from typing import Final

from jefeos.block.mounting import mount_disk
from jefeos.block.nodes import Disk
from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Path, ULong, UserPtr
from jefeos.vfs.flags import S_IFBLK, S_IFMT, MountFlags, UnmountFlags
from jefeos.vfs.inode import Filesystem
from jefeos.vfs.path import Mount
from jefeos.vfs.procfs.system import filesystem_types
from jefeos.vfs.tmpfs import Tmpfs

from jefeos_abi_linux.message_queues import message_queues
from jefeos_abi_linux.structs import statfs_bytes

MAGIC_MASK: Final = 0xFFFF_0000
MAGIC: Final = 0xC0ED_0000
_PROPAGATION: Final = int(
    MountFlags.SHARED | MountFlags.PRIVATE | MountFlags.SLAVE | MountFlags.UNBINDABLE
)
_KEPT: Final = int(
    MountFlags.RDONLY | MountFlags.NOSUID | MountFlags.NODEV | MountFlags.NOEXEC | MountFlags.NOATIME
    | MountFlags.NODIRATIME | MountFlags.SYNCHRONOUS
)  # fmt: skip
_REMOUNT, _BIND, _MOVE, _REC = (
    int(flag) for flag in (MountFlags.REMOUNT, MountFlags.BIND, MountFlags.MOVE, MountFlags.REC)
)
_UNMOUNT_KNOWN: Final = int(
    UnmountFlags.FORCE | UnmountFlags.DETACH | UnmountFlags.EXPIRE | UnmountFlags.NOFOLLOW
)


@syscall("statfs")
def statfs(task: Task, path: Path, buffer: UserPtr) -> int:
    """statfs(2)."""
    task.mm.write(buffer, statfs_bytes(task.kernel.vfs.statfs(task, path)))
    return 0


@syscall("fstatfs")
def fstatfs(task: Task, fd: Fd, buffer: UserPtr) -> int:
    """fstatfs(2)."""
    file = task.files.get(fd)
    place = file.path
    stat = file.inode.fs.statfs() if place is None else task.kernel.vfs.statfs_at(place)
    task.mm.write(buffer, statfs_bytes(stat))
    return 0


@syscall("mount")
def mount(task: Task, source: UserPtr, target: Path, kind: UserPtr, flags: ULong, data: UserPtr) -> int:
    """mount(2), for the privileged user."""
    vfs = task.kernel.vfs
    source_name = task.mm.read_cstr(source, 4096) if source else b"none"
    kind_name = task.mm.read_cstr(kind, 4096) if kind else b""
    if flags & MAGIC_MASK == MAGIC:
        flags &= ~MAGIC_MASK
    place = vfs.resolve(task, target)
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    if flags & _REMOUNT:
        vfs.remount(place, flags & _KEPT, mount_only=bool(flags & _BIND))
    elif flags & _BIND:
        if not source_name or not source:
            raise KernelError(Errno.EINVAL)
        vfs.bind(vfs.resolve(task, source_name), place, flags & _KEPT)
    elif flags & _PROPAGATION:
        if place.dentry is not place.mount.root:
            raise KernelError(Errno.EINVAL)
    elif flags & _MOVE:
        if not source_name or not source:
            raise KernelError(Errno.EINVAL)
        vfs.move(vfs.resolve(task, source_name), place)
    else:
        if not kind_name:
            raise KernelError(Errno.EINVAL)
        options = task.mm.read_cstr(data, 4096) if data else b""
        filesystem = open_filesystem(task, kind_name.decode("latin-1"), source_name, options, flags)
        one = kind_name in _ONE_SUPERBLOCK or filesystem.medium is not None
        if one and filesystem is place.mount.fs and place.dentry is place.mount.root:
            raise KernelError(Errno.EBUSY)  # it is what is mounted there
        try:
            vfs.mount(filesystem, place, flags & _KEPT, source_name)
        except KernelError:
            vfs.let_go(filesystem)
            raise
    return 0


def open_filesystem(task: Task, kind: str, source: bytes, options: bytes, flags: int) -> Filesystem:
    """A filesystem of a type that the kernel or a plugin knows. ENODEV for an unknown type."""
    kernel = task.kernel
    if kind in ("tmpfs", "ramfs"):
        return _new_tmpfs(task, options)
    if kind == "mqueue":
        return message_queues(kernel)
    for own in kernel.vfs.mounts:  # proc, devtmpfs, devpts, sysfs: there is one of each, seen wherever mounted
        if own.fs.name == kind and kind in _SINGLETONS:
            return own.fs
    writable = not flags & MountFlags.RDONLY
    page_cache, clock = kernel.memory.page_cache, kernel.clock
    for known in getattr(kernel, "filesystem_types", ()):
        if known.name == kind and known.volume is not None:
            disk = _disk(task, source)
            return mount_disk(kernel.disks, disk, known, writable=writable, page_cache=page_cache, clock=clock,
                              snapshot=_snapshot_of(options))
        if known.name == kind and not known.needs_source:
            text = source.decode("utf-8", "surrogateescape")
            opened: Filesystem = known.open(text, writable=writable, page_cache=page_cache, clock=clock)
            return opened
    raise KernelError(Errno.ENODEV)


def _snapshot_of(options: bytes) -> bytes | None:
    """The one option of a filesystem on a volume that we know: ``snapshot=NAME``."""
    for option in options.split(b","):
        name, _, value = option.partition(b"=")
        if name == b"snapshot" and value:
            return value
    return None


def _disk(task: Task, source: bytes) -> Disk:
    """The disk whose node is at ``source``. Raises ENOTBLK, EACCES where device nodes do not count, ENXIO."""
    place = task.kernel.vfs.resolve(task, source)
    if place.inode.mode & S_IFMT != S_IFBLK:
        raise KernelError(Errno.ENOTBLK)
    if place.mount.flags & MountFlags.NODEV:
        raise KernelError(Errno.EACCES)
    disk: Disk | None = task.kernel.disks.numbered(place.inode.rdev) if task.kernel.disks is not None else None
    if disk is None:
        raise KernelError(Errno.ENXIO)
    return disk


#: Linux mounts these once at a place; of proc and devpts each mount is a superblock of its own.
_ONE_SUPERBLOCK: Final = frozenset((b"devtmpfs", b"mqueue", b"sysfs"))
_SINGLETONS: Final = frozenset(("proc", "devtmpfs", "devpts", "sysfs"))
_UNITS: Final = {b"k": 10, b"m": 20, b"g": 30}


def _new_tmpfs(task: Task, options: bytes) -> Tmpfs:
    """A tmpfs with ``size=`` (bytes, or with k, m, g), ``mode=``, ``uid=`` and ``gid=``; other options are ignored."""
    values = dict(option.partition(b"=")[::2] for option in options.split(b","))
    size = values.get(b"size", b"")
    shift = _UNITS.get(size[-1:].lower(), 0)
    digits = size[:-1] if shift else size
    limit = None
    if digits and not digits.endswith(b"%"):
        limit = _number(digits, 10) << shift
    kernel = task.kernel
    filesystem = Tmpfs(kernel.memory.page_cache, kernel.clock, limit, _number(values.get(b"mode", b"1777"), 8) & 0o7777)
    root = filesystem.root
    root.uid = _number(values[b"uid"], 10) if b"uid" in values else task.creds.fsuid
    root.gid = _number(values[b"gid"], 10) if b"gid" in values else task.creds.fsgid
    return filesystem


def _number(text: bytes, base: int) -> int:
    if not text.isdigit() or base == 8 and text.strip(b"01234567"):
        raise KernelError(Errno.EINVAL)
    return int(text, base)


@syscall("umount2")
def umount2(task: Task, target: Path, flags: Flags) -> int:
    """umount2(2), for the privileged user."""
    if flags & ~_UNMOUNT_KNOWN:
        raise KernelError(Errno.EINVAL)
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    vfs = task.kernel.vfs
    place = vfs.resolve(task, target, follow=not flags & UnmountFlags.NOFOLLOW)
    if not flags & UnmountFlags.DETACH and place.dentry is place.mount.root and _is_lived_in(task, place.mount):
        raise KernelError(Errno.EBUSY)
    vfs.unmount(place, flags & int(UnmountFlags.DETACH))
    return 0


def _is_lived_in(task: Task, mounted: Mount) -> bool:
    """Whether a process has its root, working directory or program there."""
    for other in list(task.kernel.processes.tasks.values()):
        exe = other.process.exe
        if other.fs.cwd.mount is mounted or other.fs.root.mount is mounted or exe is not None and exe.mount is mounted:
            return True
    return False


@syscall("pivot_root")
def pivot_root(task: Task, new_root: Path, put_old: Path) -> int:
    """pivot_root(2): whoever had the old root as its root or working directory gets the new one."""
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    vfs = task.kernel.vfs
    new, place = vfs.directory(task, new_root), vfs.directory(task, put_old)
    top = vfs.top_of(task.fs.root.mount)
    if task.fs.root != vfs.points.cross(top, top.root):
        # In a chroot: its root is no mount of its own, or not the one that moves.
        raise KernelError(Errno.EINVAL)
    old, root = vfs.pivot_root(new, place)
    for other in list(task.kernel.processes.tasks.values()):
        if other.fs.root == old:
            other.fs.root = root
        if other.fs.cwd == old:
            other.fs.cwd = root
    return 0


@syscall("sysfs")
def sysfs(task: Task, option: Int, first: ULong, buffer: UserPtr) -> int:
    """sysfs(2): numbers and names of the filesystem types, in the order of /proc/filesystems. Obsolete."""
    names = [line.split(b"\t")[1] for line in filesystem_types(task.kernel).splitlines()]
    if option == 1:
        name = task.mm.read_cstr(first, 4096)
        if name in names:
            return names.index(name)
    elif option == 2 and first < len(names):
        task.mm.write(buffer, names[first] + b"\0")
        return 0
    elif option == 3:
        return len(names)
    raise KernelError(Errno.EINVAL)


@syscall("ustat")
def ustat(task: Task, device: ULong, buffer: UserPtr) -> int:
    """ustat(2): free blocks and inodes of a mounted device. EINVAL if it is not mounted."""
    for mounted in task.kernel.vfs.mounts:
        if mounted.fs.device == device:
            stat = mounted.fs.statfs()
            free = stat.blocks_free & 0xFFFF_FFFF
            task.mm.write(buffer, free.to_bytes(8, "little") + stat.files_free.to_bytes(8, "little") + bytes(16))
            return 0
    raise KernelError(Errno.EINVAL)
