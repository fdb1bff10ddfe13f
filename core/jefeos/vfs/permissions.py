"""Who may do what: the permission rules of inode(7) and path_resolution(7).

Credentials are anything with ``fsuid fsgid groups`` (`jefeos.proc.credentials`; access(2) also takes ``uid gid``). The
privileged user is fsuid 0: it has what Linux calls CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN,
CAP_FSETID and CAP_MKNOD, all together; capabilities are not told apart.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from attrs import frozen

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import (
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_ISGID,
    S_ISVTX,
    S_IXGRP,
    S_IXUGO,
    W_OK,
    X_OK,
)
from jefeos.vfs.inode import Inode
from jefeos.vfs.path import Mount, Path


class FsCredentials(Protocol):
    """The part of a task's credentials that file access looks at."""

    @property
    def fsuid(self) -> int: ...
    @property
    def fsgid(self) -> int: ...
    @property
    def groups(self) -> Collection[int]: ...


class FsView(Protocol):
    """A task's root, working directory and umask."""

    root: Path
    cwd: Path
    umask: int


class Actor(Protocol):
    """Whoever makes a path call: a task, or a stand-in with other credentials."""

    @property
    def fs(self) -> Any: ...
    @property
    def creds(self) -> Any: ...


@frozen
class Identity:
    """Credentials for file access alone: access(2) with the real ids, kernel services."""

    fsuid: int
    fsgid: int
    groups: Collection[int] = ()


@frozen
class StandIn:
    """Acts at ``fs`` with other credentials than the task that it stands for."""

    fs: FsView
    creds: FsCredentials


def may_access(inode: Inode, mask: int, creds: FsCredentials) -> bool:
    """Whether ``creds`` have all of ``mask`` (R_OK, W_OK, X_OK) on the inode."""
    mode = inode.mode
    fsuid = creds.fsuid
    if fsuid == 0:
        return not mask & X_OK or mode & S_IXUGO != 0 or mode & S_IFMT == S_IFDIR
    if fsuid == inode.uid:
        mode >>= 6
    elif creds.fsgid == inode.gid or inode.gid in creds.groups:
        mode >>= 3
    return not mask & ~mode & 7


def require_access(inode: Inode, mask: int, creds: FsCredentials, mount: Mount | None = None) -> None:
    """Raises EACCES, or EROFS for writing to a file, directory or link of a read-only filesystem."""
    if mask & W_OK and (inode.fs.read_only or mount is not None and mount.read_only):
        if inode.mode & S_IFMT in (S_IFREG, S_IFDIR, S_IFLNK):
            raise KernelError(Errno.EROFS)
    if not may_access(inode, mask, creds):
        raise KernelError(Errno.EACCES)


def is_owner(inode: Inode, creds: FsCredentials) -> bool:
    """The owner of the file, or the privileged user."""
    return creds.fsuid == inode.uid or creds.fsuid == 0


def in_group(gid: int, creds: FsCredentials) -> bool:
    """Whether the credentials belong to the group."""
    return gid == creds.fsgid or gid in creds.groups


def require_create(directory: Path, creds: FsCredentials) -> None:
    """May a name be made in ``directory``? ENOENT if it was removed meanwhile, EACCES."""
    if directory.dentry.deleted:
        raise KernelError(Errno.ENOENT)
    if not may_access(directory.inode, W_OK | X_OK, creds):
        raise KernelError(Errno.EACCES)


def require_delete(directory: Path, victim: Inode, creds: FsCredentials, *, as_directory: bool) -> None:
    """May the name of ``victim`` be taken out of ``directory``? Linux's may_delete: EACCES, EPERM (sticky bit),
    ENOTDIR, EISDIR, ENOENT, in that order."""
    inode = directory.inode
    if not may_access(inode, W_OK | X_OK, creds):
        raise KernelError(Errno.EACCES)
    if inode.mode & S_ISVTX and creds.fsuid not in (0, victim.uid, inode.uid):
        raise KernelError(Errno.EPERM)
    if as_directory:
        if not victim.is_directory:
            raise KernelError(Errno.ENOTDIR)
    elif victim.is_directory:
        raise KernelError(Errno.EISDIR)
    if directory.dentry.deleted:
        raise KernelError(Errno.ENOENT)


def ownership_of_new(directory: Inode, mode: int, task: Actor) -> tuple[int, int, int]:
    """Mode, uid and gid of a new node that was asked for with ``mode``: a set-group-id directory hands down its
    group, and the bit itself to directories; a file may have the bit only if its maker belongs to the group. The
    umask comes last."""
    creds = task.creds
    gid = creds.fsgid
    if directory.mode & S_ISGID:
        gid = directory.gid
        if mode & S_IFMT == S_IFDIR:
            mode |= S_ISGID
        elif mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP and creds.fsuid != 0 and not in_group(gid, creds):
            mode &= ~S_ISGID
    return mode & ~task.fs.umask, creds.fsuid, gid
