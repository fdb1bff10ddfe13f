"""The calls that change names: mkdir, mknod, symlink, link, unlink, rmdir, rename.

Each follows the order of checks of Linux's fs/namei.c, since programs see it in the errno that wins. The
filesystem does the work; here the dentries follow it, and an inode whose last name and last open file are gone
is evicted.
"""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import (
    PATH_MAX,
    PERMISSION_BITS,
    R_OK,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    S_ISGID,
    S_ISUID,
    S_ISVTX,
    S_IXGRP,
    W_OK,
)
from jefeos.vfs.inode import Inode
from jefeos.vfs.lookup import MountPoints, Walk, resolve_cached
from jefeos.vfs.path import Dentry, Path
from jefeos.vfs.permissions import (
    Actor,
    is_owner,
    may_access,
    ownership_of_new,
    require_create,
    require_delete,
)
from jefeos.vfs.watches import IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MOVE_SELF, Watches

_NOT_A_NAME = (b"", b".", b"..")


class Namespace:
    """Resolution and the calls that change names. `Vfs` adds opening, attributes and mounts."""

    def __init__(self) -> None:
        self.points = MountPoints()
        self.watches = Watches()
        # /proc/sys/fs/protected_hardlinks: only for files that one owns or may read and write, and without set-id.
        self.protected_hardlinks = True

    # --- resolution ----------------------------------------------------------------------------------------

    def resolve(self, task: Actor, path: bytes, *, at: Path | None = None, follow: bool = True,
                want_directory: bool = False, scope: int = 0) -> Path:
        """The place that ``path`` names for ``task``, from ``at`` (None: its cwd) if it is relative.

        ``follow``: go along a symlink in the last component. ``want_directory``: ENOTDIR for anything else.
        ``scope``: `jefeos.vfs.lookup.Scope`.
        """
        if not scope:
            place = resolve_cached(task, path, at)
            if place is not None and not want_directory:
                return place
        return Walk(self.points, task, path, at, scope).finish(follow, want_directory)

    def _parent(self, task: Actor, path: bytes, at: Path | None) -> tuple[Path, bytes, Walk]:
        walk, name = Walk.at_parent(self.points, task, path, at)
        return Path(walk.mount, walk.dentry), name, walk

    def _place_for_new(self, task: Actor, path: bytes, at: Path | None, *,
                       is_directory: bool = False) -> tuple[Path, bytes]:
        """The directory and the name for a node to be made. EEXIST, ENOENT, EROFS, EACCES."""
        directory, name, walk = self._parent(task, path, at)
        if name in _NOT_A_NAME or walk.lookup(name).inode is not None:
            raise KernelError(Errno.EEXIST)
        if walk.trailing_slash and not is_directory:
            raise KernelError(Errno.ENOENT)
        if directory.mount.read_only:
            raise KernelError(Errno.EROFS)
        require_create(directory, task.creds)
        return directory, name

    # --- making names --------------------------------------------------------------------------------------

    def mkdir(self, task: Actor, path: bytes, mode: int, *, at: Path | None = None) -> Path:
        """mkdir(2)."""
        directory, name = self._place_for_new(task, path, at, is_directory=True)
        mode = S_IFDIR | mode & (0o777 | S_ISVTX)
        mode, uid, gid = ownership_of_new(directory.inode, mode, task)
        inode = directory.inode.mkdir(name, mode, uid, gid)
        return self._created(directory, name, inode)

    def mknod(self, task: Actor, path: bytes, mode: int, rdev: int = 0, *, at: Path | None = None) -> Path:
        """mknod(2). Devices are for the privileged user (EPERM)."""
        kind = mode & S_IFMT or S_IFREG
        if kind == S_IFDIR:
            raise KernelError(Errno.EPERM)
        if kind not in (S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK):
            raise KernelError(Errno.EINVAL)
        directory, name = self._place_for_new(task, path, at)
        whiteout = kind == S_IFCHR and rdev == 0  # of overlays: a device that nobody serves, and anybody may make
        if kind in (S_IFCHR, S_IFBLK) and not whiteout and task.creds.fsuid != 0:
            raise KernelError(Errno.EPERM)
        mode = kind | mode & PERMISSION_BITS
        mode, uid, gid = ownership_of_new(directory.inode, mode, task)
        if kind == S_IFREG:
            inode = directory.inode.create(name, mode, uid, gid)
        else:
            inode = directory.inode.mknod(name, mode, rdev if kind in (S_IFCHR, S_IFBLK) else 0, uid, gid)
        return self._created(directory, name, inode)

    def symlink(self, task: Actor, target: bytes, path: bytes, *, at: Path | None = None) -> Path:
        """symlink(2): ``path`` will point to ``target``, which need not exist."""
        if not target:
            raise KernelError(Errno.ENOENT)
        if len(target) >= PATH_MAX:
            raise KernelError(Errno.ENAMETOOLONG)
        directory, name = self._place_for_new(task, path, at)
        _, uid, gid = ownership_of_new(directory.inode, 0, task)
        inode = directory.inode.symlink(name, target, uid, gid)
        return self._created(directory, name, inode)

    def link(self, task: Actor, old: bytes, new: bytes, *, old_at: Path | None = None,
             new_at: Path | None = None, follow: bool = False, source: Path | None = None) -> None:
        """linkat(2). ``source`` replaces ``old`` where the caller has the place already (AT_EMPTY_PATH)."""
        place = source or self.resolve(task, old, at=old_at, follow=follow)
        inode = place.inode
        directory, name, walk = self._parent(task, new, new_at)
        if name in _NOT_A_NAME or walk.lookup(name).inode is not None:
            raise KernelError(Errno.EEXIST)
        if walk.trailing_slash:
            raise KernelError(Errno.ENOENT)
        if directory.mount.read_only:
            raise KernelError(Errno.EROFS)
        if place.mount is not directory.mount:
            raise KernelError(Errno.EXDEV)
        if self.protected_hardlinks and not _is_safe_to_link(inode, task):
            raise KernelError(Errno.EPERM)
        require_create(directory, task.creds)
        if inode.fs is not directory.inode.fs:
            raise KernelError(Errno.EXDEV)
        if inode.is_directory:
            raise KernelError(Errno.EPERM)
        if inode.nlink == 0 and not inode.linkable:
            raise KernelError(Errno.ENOENT)
        directory.inode.link(name, inode)
        inode.linkable = False
        if inode.watches is not None:
            inode.watches.inode_event(inode, IN_ATTRIB)
        self._created(directory, name, inode)

    @staticmethod
    def _created(directory: Path, name: bytes, inode: Inode) -> Path:
        """The dentry and the news of a name that now exists."""
        place = Path(directory.mount, directory.dentry.add(name, inode))
        if inode.watches is not None:
            inode.watches.name_event(directory.inode, name, inode, IN_CREATE)
        return place

    # --- removing names ------------------------------------------------------------------------------------

    def unlink(self, task: Actor, path: bytes, *, at: Path | None = None) -> None:
        """unlink(2)."""
        directory, name, walk = self._parent(task, path, at)
        if name in _NOT_A_NAME:
            raise KernelError(Errno.EISDIR)
        if directory.mount.read_only:
            raise KernelError(Errno.EROFS)
        victim = walk.lookup(name)
        inode = victim.inode
        if inode is None:
            raise KernelError(Errno.ENOENT)
        if walk.trailing_slash:
            raise KernelError(Errno.EISDIR if inode.is_directory else Errno.ENOTDIR)
        require_delete(directory, inode, task.creds, as_directory=False)
        if victim.mounted:
            raise KernelError(Errno.EBUSY)
        directory.inode.unlink(name)
        directory.dentry.drop(victim)
        if inode.watches is not None:
            inode.watches.inode_event(inode, IN_ATTRIB)
        _removed(directory, name, inode)

    def rmdir(self, task: Actor, path: bytes, *, at: Path | None = None) -> None:
        """rmdir(2)."""
        directory, name, walk = self._parent(task, path, at)
        if name in _NOT_A_NAME:
            raise KernelError({b"": Errno.EBUSY, b".": Errno.EINVAL, b"..": Errno.ENOTEMPTY}[name])
        if directory.mount.read_only:
            raise KernelError(Errno.EROFS)
        victim = walk.lookup(name)
        inode = victim.inode
        if inode is None:
            raise KernelError(Errno.ENOENT)
        require_delete(directory, inode, task.creds, as_directory=True)
        if victim.mounted:
            raise KernelError(Errno.EBUSY)
        directory.inode.rmdir(name)
        directory.dentry.drop(victim)
        _removed(directory, name, inode)

    # --- moving names --------------------------------------------------------------------------------------

    def rename(self, task: Actor, old: bytes, new: bytes, flags: int = 0, *, old_at: Path | None = None,
               new_at: Path | None = None) -> None:
        """renameat2(2), with RENAME_NOREPLACE and RENAME_EXCHANGE."""
        exchange = bool(flags & RENAME_EXCHANGE)
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) or flags & RENAME_WHITEOUT:
            raise KernelError(Errno.EINVAL)
        if exchange and flags & RENAME_NOREPLACE:
            raise KernelError(Errno.EINVAL)
        old_directory, old_name, old_walk = self._parent(task, old, old_at)
        new_directory, new_name, new_walk = self._parent(task, new, new_at)
        if old_directory.mount is not new_directory.mount:
            raise KernelError(Errno.EXDEV)
        if old_name in _NOT_A_NAME:
            raise KernelError(Errno.EBUSY)
        if new_name in _NOT_A_NAME:
            raise KernelError(Errno.EEXIST if flags & RENAME_NOREPLACE else Errno.EBUSY)
        if old_directory.mount.read_only:
            raise KernelError(Errno.EROFS)
        source = old_walk.lookup(old_name)
        if source.inode is None:
            raise KernelError(Errno.ENOENT)
        target = new_walk.lookup(new_name)
        if target.inode is not None and flags & RENAME_NOREPLACE:
            raise KernelError(Errno.EEXIST)
        if exchange:
            if target.inode is None:
                raise KernelError(Errno.ENOENT)
            if new_walk.trailing_slash and not target.inode.is_directory:
                raise KernelError(Errno.ENOTDIR)
        if not source.inode.is_directory:
            if old_walk.trailing_slash or new_walk.trailing_slash and not exchange:
                raise KernelError(Errno.ENOTDIR)
        if old_directory.inode is not new_directory.inode:
            if is_below(new_directory.dentry, source):
                raise KernelError(Errno.EINVAL)
            if target.inode is not None and is_below(old_directory.dentry, target):
                raise KernelError(Errno.EINVAL if exchange else Errno.ENOTEMPTY)
        if source is target and new_name != source.name and source.inode.fs.folds_names:
            target = Dentry(new_name, new_directory.dentry, None)  # one name in two spellings: only that changes
        if source.inode is target.inode:
            return
        self._require_rename(task, old_directory, source.inode, new_directory, target.inode, exchange)
        if source.mounted or target.mounted:
            raise KernelError(Errno.EBUSY)
        replaced = target.inode
        old_directory.inode.rename(old_name, new_directory.inode, new_name, flags)
        if exchange:
            source.move(new_directory.dentry, new_name)
            target.move(old_directory.dentry, old_name)
            self._moved(old_directory, old_name, new_directory, new_name, source.inode)
            if replaced is not None:
                self._moved(new_directory, new_name, old_directory, old_name, replaced)
            return
        if replaced is not None:
            new_directory.dentry.drop(target)
        source.move(new_directory.dentry, new_name)
        self._moved(old_directory, old_name, new_directory, new_name, source.inode)
        if replaced is not None:
            if replaced.watches is not None:
                replaced.watches.inode_event(replaced, IN_ATTRIB)
            evict_if_unused(replaced)

    @staticmethod
    def _moved(old: Path, old_name: bytes, new: Path, new_name: bytes, inode: Inode) -> None:
        if inode.watches is not None:
            inode.watches.moved(old.inode, old_name, new.inode, new_name, inode)
            inode.watches.inode_event(inode, IN_MOVE_SELF)

    @staticmethod
    def _require_rename(task: Actor, old_directory: Path, source: Inode, new_directory: Path,
                        target: Inode | None, exchange: bool) -> None:
        creds = task.creds
        require_delete(old_directory, source, creds, as_directory=source.is_directory)
        if target is None:
            require_create(new_directory, creds)
        else:
            replaced_is_directory = target.is_directory if exchange else source.is_directory
            require_delete(new_directory, target, creds, as_directory=replaced_is_directory)
        if old_directory.inode is not new_directory.inode:  # a moved directory's ".." changes: that is a write to it
            for moved in (source, target if exchange else None):
                if moved is not None and moved.is_directory and not may_access(moved, W_OK, creds):
                    raise KernelError(Errno.EACCES)


def _is_safe_to_link(inode: Inode, task: Actor) -> bool:
    """Linux's may_linkat: an unprivileged user cannot keep alive, by a link, what is not his."""
    if is_owner(inode, task.creds):
        return True
    mode = inode.mode
    set_id = mode & S_ISUID or mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
    return inode.is_regular and not set_id and may_access(inode, R_OK | W_OK, task.creds)


def is_below(dentry: Dentry | None, ancestor: Dentry) -> bool:
    """Whether ``ancestor`` is ``dentry`` or above it. By inode, since uncached dentries are made anew."""
    inode = ancestor.inode
    while dentry is not None:
        if dentry.inode is inode:
            return True
        dentry = dentry.parent
    return False


def _removed(directory: Path, name: bytes, inode: Inode) -> None:
    """The end of a name, and maybe of what it meant."""
    evict_if_unused(inode)
    if inode.watches is not None:
        inode.watches.name_event(directory.inode, name, inode, IN_DELETE)


def evict_if_unused(inode: Inode) -> None:
    """The end of an inode without names and open files."""
    if inode.nlink == 0 and inode.open_count == 0:
        if inode.watches is not None:
            inode.watches.ended(inode)
        inode.evict()
