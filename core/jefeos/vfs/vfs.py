"""The Vfs: every call that takes a path, and open.

    Vfs ── MountTrees ── MountTable ── AttributeCalls ── Namespace (resolution; mkdir, rename …)
     └ open, access, readlink and what belongs to them

Each call takes the ``task`` that makes it (anything with ``.fs``: root, cwd, umask, and ``.creds``), the path as bytes
and, for the *at calls, the directory ``at`` to start from (None: the task's cwd). Failures are `KernelError` with the
errno and the order of checks of Linux. Only opening a FIFO or a device can wait (`MaybeAwait`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.attributes import AttributeCalls
from jefeos.vfs.buffers import DEFAULT_LIMIT_BYTES, BufferAccount
from jefeos.vfs.devices import DeviceRegistry
from jefeos.vfs.file import File, PathFile, drop_set_id
from jefeos.vfs.flags import (
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOATIME,
    O_NOFOLLOW,
    O_PATH,
    O_PATH_FLAGS,
    O_RDWR,
    O_TMPFILE,
    O_TMPFILE_BIT,
    O_TRUNC,
    O_WRONLY,
    PERMISSION_BITS,
    R_OK,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_ISVTX,
    S_IWOTH,
    W_OK,
    X_OK,
    MountFlags,
)
from jefeos.vfs.inode import PAGE_SIZE, Clock, Inode, OpenContext
from jefeos.vfs.locks import LockManager
from jefeos.vfs.lookup import Walk, resolve_cached
from jefeos.vfs.mount_trees import MountTrees
from jefeos.vfs.path import Dentry, Path
from jefeos.vfs.permissions import (
    Actor,
    Identity,
    StandIn,
    is_owner,
    ownership_of_new,
    require_access,
    require_create,
)
from jefeos.vfs.pipe import PipeFile, PipeInode
from jefeos.vfs.watches import IN_CREATE, IN_MODIFY, IN_OPEN

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache
    from jefeos.sched.wait import MaybeAwait

_NODEV = int(MountFlags.NODEV)
_NOEXEC = int(MountFlags.NOEXEC)
_ACCESS_OF_MODE = {0: R_OK, O_WRONLY: W_OK, O_RDWR: R_OK | W_OK, O_ACCMODE: R_OK | W_OK}


class Vfs(MountTrees, AttributeCalls):
    """One tree of files. Made by the kernel at boot; the first `mount` at ``/`` gives it its root."""

    def __init__(self, clock: Clock, page_cache: PageCache | None = None) -> None:
        super().__init__(clock)
        self.page_cache = page_cache
        self.devices = DeviceRegistry()
        limit = page_cache.frames.total * PAGE_SIZE // 4 if page_cache is not None else DEFAULT_LIMIT_BYTES
        self.buffers = BufferAccount(limit)
        self.locks = LockManager()

    # --- open ----------------------------------------------------------------------------------------------

    def open(self, task: Actor, path: bytes, flags: int, mode: int = 0, at: Path | None = None, *,
             scope: int = 0) -> MaybeAwait[File]:
        """open(2) and openat(2); with ``scope`` (`jefeos.vfs.lookup.Scope`) openat2(2)."""
        if flags & O_PATH:
            flags &= O_PATH_FLAGS
            place = self.resolve(task, path, at=at, follow=not flags & O_NOFOLLOW,
                                 want_directory=bool(flags & O_DIRECTORY), scope=scope)
            return PathFile(place.inode, flags, place)
        if flags & O_CREAT:
            if flags & O_DIRECTORY:
                raise KernelError(Errno.EINVAL)
            return self._open_or_create(task, path, flags, mode, at, scope)
        if flags & O_TMPFILE_BIT:
            return self._open_unnamed(task, path, flags, mode, at, scope)
        place = self.resolve(task, path, at=at, follow=not flags & O_NOFOLLOW,
                             want_directory=bool(flags & O_DIRECTORY), scope=scope)
        return self.open_place(task, place, flags)

    def open_place(self, task: Actor, place: Path, flags: int) -> MaybeAwait[File]:
        """Opens what is at ``place`` after checking the task's permission. O_CREAT and O_EXCL mean nothing here."""
        inode = place.inode
        access = _ACCESS_OF_MODE[flags & O_ACCMODE]
        if flags & O_TRUNC:
            access |= W_OK
        kind = inode.mode & S_IFMT
        if kind == S_IFLNK:
            raise KernelError(Errno.ELOOP)
        if kind == S_IFDIR:
            if access & W_OK:
                raise KernelError(Errno.EISDIR)
        elif kind in (S_IFCHR, S_IFBLK) and place.mount.flags & _NODEV:
            raise KernelError(Errno.EACCES)
        require_access(inode, access, task.creds, place.mount)
        if flags & O_NOATIME and not is_owner(inode, task.creds):
            raise KernelError(Errno.EPERM)
        if inode.exec_count and access & W_OK:
            raise KernelError(Errno.ETXTBSY)
        return self._finish_open(task, place, flags, truncate=bool(flags & O_TRUNC) and kind == S_IFREG)

    def _finish_open(self, task: Actor, place: Path, flags: int, *, truncate: bool) -> MaybeAwait[File]:
        inode = place.inode
        file = inode.open(flags, OpenContext(self, task, place))
        if isinstance(file, File):
            if task.creds.fsuid != 0:
                file.unprivileged = task.creds
            if truncate:
                if file.unprivileged is not None:
                    drop_set_id(inode, file.unprivileged)
                inode.truncate(0)
            if inode.watches is not None:
                inode.watches.file_event(file, IN_OPEN)
                if truncate:
                    inode.watches.file_event(file, IN_MODIFY)
        return file

    def _open_or_create(self, task: Actor, path: bytes, flags: int, mode: int, at: Path | None,
                        scope: int) -> MaybeAwait[File]:
        if not flags & O_EXCL and not scope:  # the usual case of ">file" on one that exists
            place = resolve_cached(task, path, at, to_create=True)
            if place is not None and place.inode.mode & S_IFMT == S_IFREG:
                return self.open_place(task, place, flags)
        walk, name = Walk.at_parent(self.points, task, path, at, scope)
        while True:
            if name in (b"", b".", b".."):
                raise KernelError(Errno.EEXIST if flags & O_EXCL else Errno.EISDIR)
            if walk.trailing_slash:
                raise KernelError(Errno.EISDIR)
            child = walk.lookup(name)
            inode = child.inode
            if inode is None:
                return self._create(task, Path(walk.mount, walk.dentry), name, flags, mode)
            if flags & O_EXCL:
                raise KernelError(Errno.EEXIST)
            if inode.mode & S_IFMT == S_IFLNK and not flags & O_NOFOLLOW:
                walk.follow(child)
                if walk.pending:
                    name = walk.to_parent()
                    continue
                place = Path(walk.mount, walk.dentry)
            else:
                place = Path(*walk.cross(child))
            if place.inode.is_directory:
                raise KernelError(Errno.EISDIR)
            _require_in_sticky(walk.dentry.inode, place.inode, task)
            return self.open_place(task, place, flags)

    def _create(self, task: Actor, directory: Path, name: bytes, flags: int, mode: int) -> MaybeAwait[File]:
        if directory.dentry.deleted:
            raise KernelError(Errno.ENOENT)
        if directory.mount.read_only:
            raise KernelError(Errno.EROFS)
        require_create(directory, task.creds)
        mode = S_IFREG | mode & PERMISSION_BITS
        mode, uid, gid = ownership_of_new(directory.inode, mode, task)
        inode = directory.inode.create(name, mode, uid, gid)
        place = Path(directory.mount, directory.dentry.add(name, inode))
        if inode.watches is not None:
            inode.watches.name_event(directory.inode, name, inode, IN_CREATE)
        return self._finish_open(task, place, flags, truncate=False)

    def _open_unnamed(self, task: Actor, path: bytes, flags: int, mode: int, at: Path | None,
                      scope: int) -> MaybeAwait[File]:
        if flags & O_TMPFILE != O_TMPFILE or flags & O_ACCMODE not in (O_WRONLY, O_RDWR):
            raise KernelError(Errno.EINVAL)
        directory = self.resolve(task, path, at=at, follow=not flags & O_NOFOLLOW, want_directory=True, scope=scope)
        if directory.mount.read_only:
            raise KernelError(Errno.EROFS)
        require_access(directory.inode, W_OK | X_OK, task.creds)
        mode = S_IFREG | mode & PERMISSION_BITS
        mode, uid, gid = ownership_of_new(directory.inode, mode, task)
        inode = directory.inode.create_unnamed(mode, uid, gid)
        inode.linkable = not flags & O_EXCL
        dentry = Dentry(b"#%d" % inode.ino, directory.dentry, inode)
        dentry.deleted = True
        inode.watches = directory.inode.watches
        return self._finish_open(task, Path(directory.mount, dentry), flags & ~(O_TMPFILE | O_EXCL), truncate=False)

    # --- without a name ------------------------------------------------------------------------------------

    def pipe(self, task: Actor, flags: int = 0) -> tuple[PipeFile, PipeFile]:
        """pipe2(2): the reading and the writing end. ``flags``: O_NONBLOCK (and O_CLOEXEC, for the caller)."""
        fs = self.anonymous_fs
        inode = PipeInode(fs, fs.next_ino(), task.creds.fsuid, task.creds.fsgid, self.buffers)
        inode.nlink = 1
        path = self.anonymous_path(inode, b"pipe:[%d]" % inode.ino)
        pipe = inode.pipe
        assert pipe is not None
        return PipeFile(inode, flags, path, pipe), PipeFile(inode, flags | O_WRONLY, path, pipe)

    # --- access --------------------------------------------------------------------------------------------

    def access(self, task: Actor, path: bytes, mode: int, *, at: Path | None = None, effective: bool = False,
               follow: bool = True, place: Path | None = None) -> None:
        """faccessat2(2). With the real ids, also on the way there, unless ``effective``. ``place``: AT_EMPTY_PATH."""
        if mode & ~(R_OK | W_OK | X_OK):
            raise KernelError(Errno.EINVAL)
        actor: Actor = task
        if not effective:
            creds = task.creds
            actor = StandIn(task.fs, Identity(creds.uid, creds.gid, creds.groups))
        if place is None:
            place = self.resolve(actor, path, at=at, follow=follow)
        inode = place.inode
        if mode & X_OK and inode.is_regular and place.mount.flags & _NOEXEC:
            raise KernelError(Errno.EACCES)
        require_access(inode, mode, actor.creds, place.mount)

    def directory(self, task: Actor, path: bytes, *, at: Path | None = None) -> Path:
        """A directory that the task may make its cwd or root (chdir, chroot): it needs search permission."""
        place = self.resolve(task, path, at=at, want_directory=True)
        require_access(place.inode, X_OK, task.creds)
        return place

    def readlink(self, task: Actor, path: bytes, *, at: Path | None = None, place: Path | None = None) -> bytes:
        """readlinkat(2). EINVAL for what is no symlink."""
        if place is None:
            place = self.resolve(task, path, at=at, follow=False)
        inode = place.inode
        if not inode.is_symlink:
            raise KernelError(Errno.EINVAL)
        target = inode.readlink()
        if not place.mount.no_access_times:
            inode.touch_accessed()
        return target

    # --- execution -----------------------------------------------------------------------------------------

    def deny_write(self, inode: Inode) -> None:
        """A program starts to run from the file: ETXTBSY if it is open for writing; opening it so is, from now on."""
        if inode.write_count:
            raise KernelError(Errno.ETXTBSY)
        inode.exec_count += 1

    def allow_write(self, inode: Inode) -> None:
        """The program has ended."""
        inode.exec_count -= 1

    def open_file(self, task: Actor, path: bytes, flags: int = 0, mode: int = 0) -> File:
        """`open` for kernel code that knows that it cannot have to wait."""
        file = self.open(task, path, flags, mode)
        if not isinstance(file, File):
            file.close()
            raise KernelError(Errno.EAGAIN)
        return file


def _require_in_sticky(directory: Inode | None, inode: Inode, task: Actor) -> None:
    """Linux's may_create_in_sticky with protected_fifos and protected_regular off: O_CREAT does not open what is
    neither and belongs to somebody else in a directory that anybody may write to."""
    if directory is None or not (directory.mode & S_ISVTX and directory.mode & S_IWOTH):
        return
    if inode.mode & S_IFMT not in (S_IFREG, S_IFIFO) and inode.uid not in (directory.uid, task.creds.fsuid):
        raise KernelError(Errno.EACCES)
