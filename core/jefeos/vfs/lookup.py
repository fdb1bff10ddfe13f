"""Path resolution: from bytes to a `Path` (path_resolution(7)).

Two ways through a path:

    fast: no component is a symlink, a mountpoint, ``.`` or ``..``: a dict access for each, a lookup if it is not cached
    slow: `Walk`, which knows everything; the fast way gives up and starts it from the beginning

A `Walk` keeps its place and the components still to go. A symlink puts its target's components in front of them,
so that neither the nesting of links nor the length of a path costs host stack. 40 links is the limit (ELOOP).

A walk may be bounded (``scope``, the RESOLVE_* flags of openat2(2)): to what lies below its start, to the start as its
root, to one mount, or to ways without links.

The order of errors is Linux's: for each component first ENOTDIR (the place is no directory), then EACCES (no
search permission), ENAMETOOLONG, ENOENT. ``..`` stops at the task's root and climbs out of mounts.
"""

from __future__ import annotations

from typing import Any

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import NAME_MAX, PATH_MAX, S_IFDIR, S_IFLNK, S_IFMT, S_IXUGO, SYMLINK_LIMIT, X_OK
from jefeos.vfs.path import Dentry, Mount, Path
from jefeos.vfs.permissions import Actor, may_access

_DOTS = (b".", b"..")


class MountPoints:
    """Which filesystem is mounted on which dentry of which mount."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[Mount, Dentry], Mount] = {}

    def add(self, mount: Mount) -> None:
        """Puts a mount in its place."""
        assert mount.parent is not None and mount.mountpoint is not None
        self._by_place[mount.parent, mount.mountpoint] = mount
        mount.mountpoint.mounted += 1
        mount.mountpoint.mark()

    def remove(self, mount: Mount) -> None:
        """Takes it away again."""
        assert mount.parent is not None and mount.mountpoint is not None
        del self._by_place[mount.parent, mount.mountpoint]
        mount.mountpoint.mounted -= 1
        mount.mountpoint.mark()

    def cross(self, mount: Mount, dentry: Dentry) -> tuple[Mount, Dentry]:
        """Where one ends up when entering ``dentry``: the root of the topmost mount there, if any."""
        while dentry.mounted:
            upper = self._by_place.get((mount, dentry))
            if upper is None:
                break
            mount, dentry = upper, upper.root
        return mount, dentry


class Scope:
    """Bounds of a walk: RESOLVE_* of linux/openat2.h."""

    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


class Walk:
    """A walk along one path. ``mount`` and ``dentry`` are the place reached so far."""

    __slots__ = ("scope", "points", "creds", "root", "mount", "dentry", "pending", "links", "trailing_slash")

    def __init__(self, points: MountPoints, task: Actor, path: bytes, at: Path | None,
                 scope: int = 0) -> None:
        if not path:
            raise KernelError(Errno.ENOENT)
        if len(path) >= PATH_MAX:
            raise KernelError(Errno.ENAMETOOLONG)
        if b"\0" in path:  # cannot come from a C string; a Python caller may try
            raise KernelError(Errno.EINVAL)
        fs = task.fs
        self.points = points
        self.creds = task.creds
        self.root: Path = fs.root
        self.pending: list[bytes] = []
        self.links = 0
        self.trailing_slash = False
        self.scope = scope
        if scope & (Scope.BENEATH | Scope.IN_ROOT):
            if path[:1] == b"/" and scope & Scope.BENEATH:
                raise KernelError(Errno.EXDEV)
            self.root = at or fs.cwd
        start: Path = self.root if path[:1] == b"/" else at or fs.cwd
        self.mount: Mount = start.mount
        self.dentry: Dentry = start.dentry
        self._push(path)

    @classmethod
    def at_parent(cls, points: MountPoints, task: Actor, path: bytes, at: Path | None,
                  scope: int = 0) -> tuple[Walk, bytes]:
        """A walk that has come to the directory of the last component, and that one (see `to_parent`). Hot."""
        head, _, name = path.rpartition(b"/")
        place = None
        if head and name and not scope and len(path) < PATH_MAX and b"\0" not in name:
            place = resolve_cached(task, head, at)
        if place is None:
            walk = cls(points, task, path, at, scope)
            return walk, walk.to_parent()
        walk = cls.__new__(cls)
        walk.scope, walk.points, walk.creds, walk.root = scope, points, task.creds, task.fs.root
        walk.mount, walk.dentry = place
        walk.pending, walk.links, walk.trailing_slash = [], 0, False
        walk._require_search()
        return walk, name

    def _push(self, path: bytes) -> None:
        names = [name for name in path.split(b"/") if name]
        if names and path[-1:] == b"/" and not self.pending:
            self.trailing_slash = True
        names.reverse()
        self.pending += names

    def finish(self, follow: bool, want_directory: bool) -> Path:
        """Walks to the end. The last component is followed if it is a symlink and ``follow`` or a slash says so."""
        pending = self.pending
        while pending:
            name = pending.pop()
            child = self.step(name)
            if child is not None:
                self.enter(child, follow or bool(pending) or self.trailing_slash)
        if want_directory or self.trailing_slash:
            inode = self.dentry.inode
            assert inode is not None
            if inode.mode & S_IFMT != S_IFDIR:
                raise KernelError(Errno.ENOTDIR)
        return Path(self.mount, self.dentry)

    def to_parent(self) -> bytes:
        """Walks to the directory of the last component and returns that component, which need not exist.

        It is b"" if there is none (the path is ``/``), and may be ``.`` or ``..``.
        """
        pending = self.pending
        while len(pending) > 1:
            child = self.step(pending.pop())
            if child is not None:
                self.enter(child, True)
        if not pending:
            return b""
        self._require_search()
        return pending.pop()

    def step(self, name: bytes) -> Dentry | None:
        """Looks one component up. ``.`` and ``..`` are gone at once (None); else the dentry, maybe negative."""
        self._require_search()
        if name == b".":
            return None
        if name == b"..":
            self._climb()
            return None
        return self.lookup(name)

    def lookup(self, name: bytes) -> Dentry:
        """The dentry of ``name`` in the directory reached."""
        child = self.dentry.children.get(name)
        if child is None:
            if len(name) > NAME_MAX:
                raise KernelError(Errno.ENAMETOOLONG)
            child = self.dentry.lookup(name)
        return child

    def enter(self, child: Dentry, follow: bool) -> None:
        """Goes to ``child``: through mounts, and along a symlink if ``follow``. ENOENT if there is nothing."""
        mount, child = self.cross(child)
        inode = child.inode
        if inode is None:
            raise KernelError(Errno.ENOENT)
        if inode.mode & S_IFMT == S_IFLNK and follow:
            self.follow(child)
        else:
            self.mount, self.dentry = mount, child

    def cross(self, child: Dentry) -> tuple[Mount, Dentry]:
        """Where one ends up when entering ``child``: in what is mounted there."""
        if not child.mounted:
            return self.mount, child
        mount, inside = self.points.cross(self.mount, child)
        if mount is not self.mount and self.scope & Scope.NO_XDEV:
            raise KernelError(Errno.EXDEV)
        return mount, inside

    def follow(self, link: Dentry) -> None:
        """Puts the target of the symlink ``link``, which is in the directory reached, in front of what is to come."""
        self.links += 1
        if self.links > SYMLINK_LIMIT or self.scope & Scope.NO_SYMLINKS:
            raise KernelError(Errno.ELOOP)
        inode = link.inode
        assert inode is not None
        place = inode.follow()
        if place is not None:
            if self.scope:
                self._check_magic(place)
            self.mount, self.dentry = place
            return
        target = inode.readlink()
        inode.touch_accessed()
        if not target:
            raise KernelError(Errno.ENOENT)
        if target[:1] == b"/":
            if self.scope & Scope.BENEATH or self.scope & Scope.NO_XDEV and self.root.mount is not self.mount:
                raise KernelError(Errno.EXDEV)
            self.mount, self.dentry = self.root
        self._push(target)

    def _check_magic(self, place: Path) -> None:
        if self.scope & Scope.NO_MAGICLINKS:
            raise KernelError(Errno.ELOOP)
        leaves = self.scope & Scope.NO_XDEV and place.mount is not self.mount
        if leaves or self.scope & (Scope.BENEATH | Scope.IN_ROOT):
            raise KernelError(Errno.EXDEV)

    def _require_search(self) -> None:
        inode = self.dentry.inode
        assert inode is not None
        mode = inode.mode
        if mode & S_IFMT != S_IFDIR:
            raise KernelError(Errno.ENOTDIR)
        if mode & S_IXUGO != S_IXUGO and not may_access(inode, X_OK, self.creds):
            raise KernelError(Errno.EACCES)

    def _climb(self) -> None:
        mount, dentry = self.mount, self.dentry
        root = self.root
        while True:
            if dentry is root.dentry and mount is root.mount:
                if self.scope & Scope.BENEATH:
                    raise KernelError(Errno.EXDEV)
                break
            if dentry is not mount.root:
                dentry = dentry.parent or dentry
                break
            if mount.parent is None or mount.mountpoint is None:
                break
            if self.scope & Scope.NO_XDEV:
                raise KernelError(Errno.EXDEV)
            dentry = mount.mountpoint
            mount = mount.parent
        self.mount, self.dentry = self.points.cross(mount, dentry)


def resolve_cached(task: Actor, path: bytes, at: Path | None, to_create: bool = False) -> Path | None:
    """The fast way (hot path). None if it does not lead to the end; then `Walk` has to decide, from the beginning.

    ENOENT if a name on the way is known not to exist, unless the caller wants ``to_create`` it.
    """
    fs = task.fs
    dentry: Any
    mount, dentry = fs.root if path[:1] == b"/" else at or fs.cwd
    unprivileged = task.creds.fsuid != 0
    if len(path) >= PATH_MAX:
        return None
    for name in path.split(b"/"):
        if name:
            if unprivileged and dentry.inode.mode & S_IXUGO != S_IXUGO:
                return None
            child = dentry.children.get(name)
            if child is None:
                inode = dentry.inode
                if inode.mode & S_IFMT != S_IFDIR or len(name) > NAME_MAX or name in _DOTS or b"\0" in name:
                    return None
                if not inode.fs.cacheable_dentries:
                    return None
                child = dentry.lookup(name)
            dentry = child
            if dentry.special:
                if dentry.inode is None and not to_create:
                    raise KernelError(Errno.ENOENT)
                return None
    if path[-1:] == b"/" and dentry.inode.mode & S_IFMT != S_IFDIR or not path:
        return None
    return Path(mount, dentry)
