"""Mount namespaces: copies of the tree of mounts, for processes that want to change it for themselves.

    tree 0 (the system's)   Mount "/" ── Mount "/proc" …        FsState.root, cwd: places in one of the trees
    tree 7 (a copy)         Mount "/" ── Mount "/proc" …        the same filesystems and dentries, other mounts

A namespace is nothing but such a tree, known by the mount at its top, and a process is in the tree that its root
directory is in. Since the table of mount points goes by (mount, dentry), all trees live in it side by side, and one
list of mounts serves them all. A copy ends when the last process with a root in it has gone.

There is no propagation between trees: all mounts are private.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.mounts import MountTable
from jefeos.vfs.namespace import is_below
from jefeos.vfs.path import Dentry, Mount, Path

if TYPE_CHECKING:
    from jefeos.vfs.inode import Clock, Filesystem
    from jefeos.vfs.permissions import FsView


class MountTrees(MountTable):
    """Part of the `Vfs`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._last_namespace = 0

    def copy_tree(self, fs: FsView) -> dict[Mount, Mount]:
        """Give ``fs`` (a root and a working directory) a tree of its own; tells which mount became which."""
        top = self.top_of(fs.root.mount)
        copies: dict[Mount, Mount] = {}
        pending = [top]
        while pending:
            old = pending.pop()
            parent = copies[old.parent] if old.parent is not None else None
            copy = self._new_mount(old.fs, parent, old.mountpoint, old.flags, old.source, old.root)
            copies[old] = copy
            if parent is not None:
                self.points.add(copy)
            self.mounts.append(copy)
            pending += reversed([other for other in self.mounts if other.parent is old])
        self._last_namespace += 1
        copies[top].namespace = self._last_namespace
        self.other_tops.append(copies[top])
        fs.root, fs.cwd = translated(fs.root, copies), translated(fs.cwd, copies)
        return copies

    # --- mounts without a place (fsmount, open_tree) ---------------------------------------------------------

    def detached_mount(self, fs: Filesystem, flags: int, source: bytes, subtree: Dentry | None = None) -> Mount:
        """A mount in no tree. `move` puts it into one, `dissolve` ends it."""
        mount = self._new_mount(fs, None, None, flags, source, subtree)
        self.placeless.append(mount)
        return mount

    def clone_mount(self, place: Path, *, recursive: bool) -> Mount:
        """The same for what is seen at ``place``, with the mounts below it if ``recursive``."""
        old = place.mount
        mount = self.detached_mount(old.fs, old.flags, old.source, place.dentry)
        if recursive:
            copies = {old: mount}
            for other in self.below(old)[1:]:
                assert other.parent is not None and other.mountpoint is not None
                if other.parent is old and not is_below(other.mountpoint, place.dentry) or other.parent not in copies:
                    continue
                copy = self._new_mount(other.fs, copies[other.parent], other.mountpoint, other.flags, other.source,
                                       other.root)
                copies[other] = copy
                self.points.add(copy)
                self.mounts.append(copy)
        return mount

    def below(self, top: Mount) -> list[Mount]:
        """``top`` and every mount on it, parents first."""
        found = [top]
        for mount in found:
            found += [other for other in self.mounts if other.parent is mount]
        return found

    def move(self, source: Path, target: Path) -> None:
        mount = source.mount
        if mount not in self.placeless:
            super().move(source, target)
            return
        if source.dentry is not mount.root or source.inode.is_directory != target.inode.is_directory:
            raise KernelError(Errno.EINVAL)
        if self.top_of(target.mount) is mount:
            raise KernelError(Errno.ELOOP)
        self.placeless.remove(mount)
        self._attach(mount, target)
        self.mounts.append(mount)

    def dissolve(self, mount: Mount) -> None:
        """The file that held a mount without a place was closed: it ends, unless it has a place now."""
        if mount in self.placeless:
            for other in reversed(self.below(mount)[1:]):
                self.points.remove(other)
                self.take_away(other)
            self.placeless.remove(mount)
            self.mounts.append(mount)
            self.take_away(mount)

    # --- the end of trees ----------------------------------------------------------------------------------

    def drop_unused_trees(self, roots: Iterable[Path]) -> None:
        """A process has gone: take away the copies that none of ``roots`` is in."""
        used = {self.top_of(root.mount) for root in roots}
        for top in [top for top in self.other_tops if top not in used]:
            self.other_tops.remove(top)
            for mount in [mount for mount in self.mounts if self.top_of(mount) is top]:
                if mount.parent is not None:
                    self.points.remove(mount)
                self.take_away(mount)

    def enter_tree(self, fs: FsView, top: Mount) -> None:
        """setns(2): root and working directory become the root of another tree. EINVAL if it has ended."""
        if top not in self.mounts:
            raise KernelError(Errno.EINVAL)
        fs.root = fs.cwd = Path(*self.points.cross(top, top.root))


def translated(place: Path, copies: dict[Mount, Mount]) -> Path:
    """The same place in the copy; places that are in no tree stay."""
    return Path(copies.get(place.mount, place.mount), place.dentry)
