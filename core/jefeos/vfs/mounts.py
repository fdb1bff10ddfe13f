"""The mount table: filesystems at places of the tree, bind mounts, and the place of what has no place.

The first mount is the root. Later ones cover a directory; the topmost one at a place is what a walk enters.
Everything that is open without a name (pipes, sockets, memfd) lies on one internal mount outside of the tree, so
that it has a `Path` like everything else and /proc/PID/fd can lead to it.

Other trees of mounts (namespaces) are copies of the first: `mount_trees`.

Does not do: propagation (accepted and ignored by the system-call layer), MNT_EXPIRE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import S_IFDIR, FilesystemMagic, MountFlags, UnmountFlags, make_device
from jefeos.vfs.inode import AnonymousInode, Clock, Filesystem, FilesystemStat, Inode
from jefeos.vfs.namespace import Namespace
from jefeos.vfs.path import Dentry, Mount, Path
from jefeos.vfs.permissions import Actor, Identity, StandIn

if TYPE_CHECKING:
    from jefeos.vfs.permissions import FsView

_DETACH = int(UnmountFlags.DETACH)


class AnonymousFilesystem(Filesystem):
    """Numbers the inodes that belong to no tree."""

    name = "anon"

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._last_ino = 1
        self._root = AnonymousInode(self, 1, S_IFDIR)

    @property
    def root(self) -> Inode:
        return self._root

    def next_ino(self) -> int:
        """A fresh inode number."""
        self._last_ino += 1
        return self._last_ino

    def statfs(self) -> FilesystemStat:
        return FilesystemStat(FilesystemMagic.PIPEFS, fsid=self.device)


class _KernelView:
    """Root, cwd and umask of the kernel itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cwd = root
        self.umask = 0


class MountTable(Namespace):
    """Part of the `Vfs`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.mounts: list[Mount] = []
        self.placeless: list[Mount] = []
        """Mounts in no tree, held by a file until they get a place."""
        self.other_tops: list[Mount] = []
        """The tops of the copies of the tree; the system's own is not among them."""
        self._last_mount_id = 0
        self._last_device_minor = 0
        self.anonymous_fs = AnonymousFilesystem(clock)
        self._anonymous_mount = self._new_mount(self.anonymous_fs, None, None, 0, b"none", None)

    @property
    def root(self) -> Path:
        """The root of the whole tree."""
        if not self.mounts:
            raise KernelError(Errno.ENOENT, "no root filesystem is mounted")
        return Path(*self.points.cross(self.mounts[0], self.mounts[0].root))

    def as_kernel(self) -> Actor:
        """A stand-in for a task, for path calls that the kernel makes for itself: root everywhere."""
        view: FsView = _KernelView(self.root)
        return StandIn(view, Identity(0, 0))

    # --- mounting ------------------------------------------------------------------------------------------

    def mount(self, fs: Filesystem, path: bytes | Path, flags: int = 0, source: bytes = b"none", *,
              subtree: Dentry | None = None) -> Mount:
        """Mounts ``fs`` (or, for a bind mount, its part under ``subtree``) over the directory ``path``.

        The very first mount needs no directory and becomes the root. ENOTDIR, unless both are files (bind).
        """
        if not self.mounts:
            mount = self._new_mount(fs, None, None, flags, source, subtree)
            self.mounts.append(mount)
            return mount
        place = path if isinstance(path, Path) else self.resolve(self.as_kernel(), path)
        covered_is_directory = place.inode.is_directory
        top = subtree.inode if subtree is not None else fs.root
        if top is None or top.is_directory != covered_is_directory:
            raise KernelError(Errno.ENOTDIR)
        self._pin(place.dentry)
        mount = self._new_mount(fs, place.mount, place.dentry, flags, source, subtree)
        self.points.add(mount)
        self.mounts.append(mount)
        return mount

    def bind(self, source: Path, target: Path, flags: int = 0) -> Mount:
        """A bind mount: ``source`` is also to be seen at ``target``."""
        return self.mount(source.mount.fs, target, flags | source.mount.flags, source.mount.source,
                          subtree=source.dentry)

    def remount(self, place: Path, flags: int, *, mount_only: bool = False) -> None:
        """Changes the flags of the mount whose root is ``place``. A filesystem that was opened read-only has to become
        writable for it (EROFS, EACCES), unless the flags are to be this mount's alone."""
        mount = place.mount
        if place.dentry is not mount.root:
            raise KernelError(Errno.EINVAL)
        if flags & MountFlags.RDONLY:
            mount.fs.sync()  # whoever asks for it may switch the machine off next
        elif mount.fs.read_only and not mount_only:
            mount.fs.make_writable()
        mount.flags = flags & ~int(MountFlags.REMOUNT | MountFlags.BIND | MountFlags.SILENT)

    def move(self, source: Path, target: Path) -> None:
        """MS_MOVE: EINVAL for what is no mount or the root, ELOOP to a place inside of it."""
        mount = source.mount
        if source.dentry is not mount.root or mount.parent is None:
            raise KernelError(Errno.EINVAL)
        if source.inode.is_directory != target.inode.is_directory:
            raise KernelError(Errno.EINVAL)
        if self._is_below(target.mount, mount):
            raise KernelError(Errno.ELOOP)
        self.points.remove(mount)
        self._attach(mount, target)

    def top_of(self, mount: Mount) -> Mount:
        """The mount at the top of its tree."""
        while mount.parent is not None:
            mount = mount.parent
        return mount

    def pivot_root(self, new: Path, put_old: Path) -> tuple[Path, Path]:
        """The mount at ``new`` becomes the root of its tree, and the old root goes to ``put_old``.

        Gives the old and the new root; it is for the caller to move the processes. EBUSY if one of them is on the
        old root, EINVAL if ``new`` is no mount or ``put_old`` not below it.
        """
        mount = new.mount
        top = self.top_of(mount)
        old = Path(*self.points.cross(top, top.root))
        if mount is old.mount or put_old.mount is old.mount:
            raise KernelError(Errno.EBUSY)
        if new.dentry is not mount.root or mount.parent is None or old.mount.parent is not None:
            raise KernelError(Errno.EINVAL)
        if not self._is_below(put_old.mount, mount):
            raise KernelError(Errno.EINVAL)
        self.points.remove(mount)
        mount.parent = mount.mountpoint = None
        mount.namespace = old.mount.namespace
        if old.mount in self.other_tops:
            self.other_tops[self.other_tops.index(old.mount)] = mount
        else:
            self.mounts.remove(mount)
            self.mounts.insert(0, mount)
        self._attach(old.mount, put_old)
        return old, Path(*self.points.cross(mount, mount.root))

    def _attach(self, mount: Mount, place: Path) -> None:
        self._pin(place.dentry)
        mount.parent, mount.mountpoint = place
        self.points.add(mount)

    @staticmethod
    def _is_below(mount: Mount | None, top: Mount) -> bool:
        """Whether ``mount`` is ``top`` or somewhere on it."""
        while mount is not None and mount is not top:
            mount = mount.parent
        return mount is top

    def unmount(self, path: bytes | Path, flags: int = 0) -> None:
        """umount2(2): EINVAL for what is no mount, EBUSY while it is in use, unless MNT_DETACH."""
        place = path if isinstance(path, Path) else self.resolve(self.as_kernel(), path)
        mount = place.mount
        if place.dentry is not mount.root:
            raise KernelError(Errno.EINVAL)
        if mount.parent is None:
            raise KernelError(Errno.EBUSY)
        below = [other for other in self.mounts if other.parent is mount]
        if not flags & _DETACH and (below or mount.open_files):
            raise KernelError(Errno.EBUSY)
        for other in below:
            self.unmount(Path(other, other.root), flags)
        self.points.remove(mount)
        self.take_away(mount)

    def take_away(self, mount: Mount) -> None:
        """It is no longer in any place; the last mount of a filesystem takes that along."""
        self.mounts.remove(mount)
        if not any(other.fs is mount.fs for other in (*self.mounts, *self.placeless)):
            mount.fs.sync()
            self.watches.unmounted(mount.fs)
            if mount.open_files:
                mount.detached = True
            else:
                mount.fs.end()

    def let_go(self, fs: Filesystem) -> None:
        """It was opened to be mounted, and that failed: end it, unless it is mounted elsewhere."""
        if fs.medium is not None and not any(mount.fs is fs for mount in (*self.mounts, *self.placeless)):
            fs.end()

    def unmount_all(self) -> None:
        """Shutdown: writes everything back and releases every filesystem, the root last.

        The first error is raised after all was tried.
        """
        filesystems = list(dict.fromkeys(mount.fs for mount in reversed(self.mounts)))
        first: KernelError | None = None
        steps: list[Callable[[Filesystem], None]] = [lambda fs: fs.sync(), lambda fs: fs.end()]
        for step in steps:
            for fs in filesystems:
                try:
                    step(fs)
                except KernelError as error:
                    first = first or error
        self.mounts.clear()
        if first is not None:
            raise first

    def sync(self) -> None:
        """sync(2): every filesystem brings what was written to its medium."""
        for fs in dict.fromkeys(mount.fs for mount in self.mounts):
            fs.sync()

    def _new_mount(self, fs: Filesystem, parent: Mount | None, mountpoint: Dentry | None, flags: int,
                   source: bytes, subtree: Dentry | None) -> Mount:
        if not fs.device:
            self._last_device_minor += 1
            fs.device = make_device(0, self._last_device_minor)
        if fs.root_dentry is None:
            fs.root_dentry = Dentry(b"", None, fs.root)
        self._last_mount_id += 1
        return Mount(fs, subtree or fs.root_dentry, parent, mountpoint, flags, source, self._last_mount_id)

    @staticmethod
    def _pin(dentry: Dentry) -> None:
        """Makes a dentry and all above it stay, so that walks in a filesystem without dentry cache find the mount."""
        while dentry.parent is not None:
            dentry.parent.children[dentry.name] = dentry
            dentry = dentry.parent

    # --- what has no place ---------------------------------------------------------------------------------

    def anonymous_inode(self, mode: int, uid: int = 0, gid: int = 0) -> AnonymousInode:
        """An inode of its own for an open file that is in no tree."""
        return AnonymousInode(self.anonymous_fs, self.anonymous_fs.next_ino(), mode, uid, gid)

    def anonymous_path(self, inode: Inode, label: bytes) -> Path:
        """A path for such an inode; ``label`` is what /proc/PID/fd shows."""
        return Path(self._anonymous_mount, Dentry(label, None, inode))
