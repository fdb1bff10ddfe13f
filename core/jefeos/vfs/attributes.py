"""The calls that read and change attributes: stat, chmod, chown, utimensat, truncate, statfs, xattrs.

Each has a form for a path and, since the f* calls and AT_EMPTY_PATH have no path, one for the inode (`set_mode`,
`set_owner`, `set_times`), which the path form uses.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import evolve

from jefeos.errors import Errno, KernelError
from jefeos.vfs.file import drop_set_id
from jefeos.vfs.flags import (
    FILE_SIZE_MAX,
    PERMISSION_BITS,
    R_OK,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
    W_OK,
    MountFlags,
)
from jefeos.vfs.inode import FilesystemStat, Inode, Stat
from jefeos.vfs.namespace import Namespace
from jefeos.vfs.path import Path
from jefeos.vfs.permissions import Actor, in_group, is_owner, may_access, require_access
from jefeos.vfs.watches import IN_ACCESS, IN_ATTRIB, IN_MODIFY

NOW: Final = "now"
TimeChange = int | Literal["now"] | None
"""Nanoseconds, `NOW`, or None to leave the time as it is (UTIME_OMIT)."""

_ST_VALID = 0x20
_ST_RELATIME = 0x1000
_XATTR_NAME_MAX = 255
_XATTR_SIZE_MAX = 65536


class AttributeCalls(Namespace):
    """Part of the `Vfs`."""

    # --- stat ----------------------------------------------------------------------------------------------

    def stat(self, task: Actor, path: bytes, *, at: Path | None = None, follow: bool = True) -> Stat:
        """stat(2), and lstat(2) without ``follow``."""
        return self.resolve(task, path, at=at, follow=follow).inode.stat()

    def statfs(self, task: Actor, path: bytes, *, at: Path | None = None) -> FilesystemStat:
        """statfs(2)."""
        return self.statfs_at(self.resolve(task, path, at=at))

    def statfs_at(self, place: Path) -> FilesystemStat:
        """fstatfs(2)."""
        mount = place.mount
        flags = mount.flags & 0xF | _ST_VALID | (int(mount.read_only))
        flags |= int(MountFlags.NOATIME) if mount.flags & MountFlags.NOATIME else _ST_RELATIME
        return evolve(mount.fs.statfs(), flags=flags)

    # --- mode and owner ------------------------------------------------------------------------------------

    def chmod(self, task: Actor, path: bytes, mode: int, *, at: Path | None = None, follow: bool = True) -> None:
        """chmod(2). EOPNOTSUPP for a symlink."""
        place = self.resolve(task, path, at=at, follow=follow)
        self.set_mode(task, place.inode, mode, place)

    def set_mode(self, task: Actor, inode: Inode, mode: int, place: Path | None) -> None:
        """fchmod(2). Only the owner may; who is not in the file's group cannot set S_ISGID."""
        require_writable(inode, place)
        if inode.is_symlink:
            raise KernelError(Errno.EOPNOTSUPP)
        creds = task.creds
        if not is_owner(inode, creds):
            raise KernelError(Errno.EPERM)
        mode &= PERMISSION_BITS
        if mode & S_ISGID and creds.fsuid != 0 and not in_group(inode.gid, creds):
            mode &= ~S_ISGID
        inode.set_attributes(mode=mode)
        _tell(inode, place, IN_ATTRIB)

    def chown(self, task: Actor, path: bytes, uid: int, gid: int, *, at: Path | None = None,
              follow: bool = True) -> None:
        """chown(2); -1 leaves an id as it is."""
        place = self.resolve(task, path, at=at, follow=follow)
        self.set_owner(task, place.inode, uid, gid, place)

    def set_owner(self, task: Actor, inode: Inode, uid: int, gid: int, place: Path | None) -> None:
        """fchown(2). The privileged user may everything, the owner may give the file to a group of his. The set-id
        bits of a file go, whoever does it."""
        require_writable(inode, place)
        creds = task.creds
        if creds.fsuid != 0:
            if uid != -1 and not (uid == inode.uid == creds.fsuid):
                raise KernelError(Errno.EPERM)
            if gid != -1 and not (creds.fsuid == inode.uid and (gid == inode.gid or in_group(gid, creds))):
                raise KernelError(Errno.EPERM)
        mode = inode.mode
        if not inode.is_directory:
            mode &= ~S_ISUID
            if mode & S_IXGRP or creds.fsuid != 0 and not in_group(inode.gid, creds):
                mode &= ~S_ISGID
        inode.set_attributes(mode=mode & PERMISSION_BITS if mode != inode.mode else None,
                             uid=uid if uid != -1 else None, gid=gid if gid != -1 else None)
        _tell(inode, place, IN_ATTRIB)

    # --- times ---------------------------------------------------------------------------------------------

    def utimens(self, task: Actor, path: bytes, atime: TimeChange, mtime: TimeChange, *, at: Path | None = None,
                follow: bool = True) -> None:
        """utimensat(2) with a path."""
        place = self.resolve(task, path, at=at, follow=follow)
        self.set_times(task, place.inode, atime, mtime, place)

    def set_times(self, task: Actor, inode: Inode, atime: TimeChange, mtime: TimeChange,
                  place: Path | None) -> None:
        """futimens(3). Setting both to now needs write permission (EACCES), everything else ownership (EPERM)."""
        if atime is None and mtime is None:
            return
        require_writable(inode, place)
        creds = task.creds
        if not is_owner(inode, creds):
            if atime != NOW or mtime != NOW:
                raise KernelError(Errno.EPERM)
            if not may_access(inode, W_OK, creds):
                raise KernelError(Errno.EACCES)
        now_ns = inode.fs.clock.realtime_ns()
        inode.set_attributes(atime_ns=now_ns if atime == NOW else atime, mtime_ns=now_ns if mtime == NOW else mtime)
        _tell(inode, place, IN_ACCESS if mtime is None else IN_MODIFY if atime is None else IN_ATTRIB)

    # --- size ----------------------------------------------------------------------------------------------

    def truncate(self, task: Actor, path: bytes, size: int, *, at: Path | None = None) -> None:
        """truncate(2)."""
        if size < 0:
            raise KernelError(Errno.EINVAL)
        place = self.resolve(task, path, at=at)
        inode = place.inode
        if inode.is_directory:
            raise KernelError(Errno.EISDIR)
        if not inode.is_regular:
            raise KernelError(Errno.EINVAL)
        require_access(inode, W_OK, task.creds, place.mount)
        if inode.exec_count:
            raise KernelError(Errno.ETXTBSY)
        if size > FILE_SIZE_MAX:
            raise KernelError(Errno.EFBIG)
        if task.creds.fsuid != 0:
            drop_set_id(inode, task.creds)
        inode.truncate(size)
        _tell(inode, place, IN_MODIFY)

    # --- extended attributes -------------------------------------------------------------------------------

    def get_xattr(self, task: Actor, inode: Inode, name: bytes) -> bytes:
        """getxattr(2)."""
        _require_xattr(task, inode, name, R_OK)
        return inode.get_xattr(name)

    def set_xattr(self, task: Actor, inode: Inode, name: bytes, value: bytes, flags: int,
                  place: Path | None) -> None:
        """setxattr(2)."""
        require_writable(inode, place)
        if len(value) > _XATTR_SIZE_MAX:
            raise KernelError(Errno.E2BIG)
        _require_xattr(task, inode, name, W_OK)
        inode.set_xattr(name, value, flags)
        _tell(inode, place, IN_ATTRIB)

    def list_xattrs(self, task: Actor, inode: Inode) -> list[bytes]:
        """listxattr(2)."""
        return [name for name in inode.list_xattrs() if task.creds.fsuid == 0 or not name.startswith(b"trusted.")]

    def remove_xattr(self, task: Actor, inode: Inode, name: bytes, place: Path | None) -> None:
        """removexattr(2)."""
        require_writable(inode, place)
        _require_xattr(task, inode, name, W_OK)
        inode.remove_xattr(name)
        _tell(inode, place, IN_ATTRIB)


def _tell(inode: Inode, place: Path | None, event: int) -> None:
    if inode.watches is not None:
        inode.watches.event_at(place.dentry if place is not None else None, inode, event)


def require_writable(inode: Inode, place: Path | None) -> None:
    """EROFS if the mount or the filesystem is read-only."""
    if inode.fs.read_only or place is not None and place.mount.read_only:
        raise KernelError(Errno.EROFS)


def _require_xattr(task: Actor, inode: Inode, name: bytes, access: int) -> None:
    """xattr(7): user.* follows the file's permissions, trusted.* is for the privileged user."""
    if not 0 < len(name) <= _XATTR_NAME_MAX:
        raise KernelError(Errno.ERANGE)
    if name in (b"user.", b"trusted.", b"security."):
        raise KernelError(Errno.EINVAL)
    if name.startswith(b"user."):
        if not (inode.is_regular or inode.is_directory):
            raise KernelError(Errno.EPERM if access == W_OK else Errno.ENODATA)
        require_access(inode, access, task.creds)
    elif name.startswith(b"trusted."):
        if task.creds.fsuid != 0:
            raise KernelError(Errno.EPERM if access == W_OK else Errno.ENODATA)
    elif name.startswith(b"security."):
        if access == W_OK and task.creds.fsuid != 0:
            raise KernelError(Errno.EPERM)
    else:
        raise KernelError(Errno.EOPNOTSUPP)
