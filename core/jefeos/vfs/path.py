"""Dentries, mounts and paths: the cache of names, and the places in it.

    Mount --root--> Dentry("") --children--> Dentry(b"etc") --children--> Dentry(b"passwd") --inode--> Inode
      |                                          |
      +--parent, mountpoint (a dentry of the parent mount)

A `Dentry` is one name in one directory of one filesystem. Its ``children`` hold what lookups found, and also
what they did not find (``inode`` None, a negative dentry). All mounts of a filesystem share its dentries. A
`Path` is a dentry as seen through one mount: the pair that a process's root and cwd and every open file keep.

``special`` is what keeps lookup short: a dentry with it set (negative, symlink, mountpoint) sends the walk to
the general code, all others are one dict access.

Where several spellings are one name (``folds_names``, FAT), a dentry has the spelling of the filesystem; others find
it by a lookup each time, and negative dentries are not kept.

Dentries of filesystems with ``cacheable_dentries`` False are made anew by each lookup and never put among
``children``; they know their parent, so that ``..`` and getcwd work from inside such a filesystem.
"""

from __future__ import annotations

from typing import NamedTuple

from attrs import define

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import S_IFDIR, S_IFLNK, S_IFMT, MountFlags
from jefeos.vfs.inode import Filesystem, Inode

# How many children (found and not found) a directory may cache before it drops those that nobody needs.
CACHED_CHILDREN_LIMIT = 4096

_RDONLY = int(MountFlags.RDONLY)
_NOATIME = int(MountFlags.NOATIME)


class Dentry:
    """A name in a directory. A plain class with slots: there is one for each name that was ever looked up."""

    __slots__ = ("name", "parent", "inode", "children", "special", "mounted", "deleted")

    def __init__(self, name: bytes, parent: Dentry | None, inode: Inode | None) -> None:
        self.name = name
        self.parent = parent
        self.inode = inode
        self.children: dict[bytes, Dentry] = {}
        self.mounted = 0  # how many mounts sit on it
        self.deleted = False
        self.special = inode is None or inode.mode & S_IFMT == S_IFLNK

    def set_inode(self, inode: Inode | None) -> None:
        """The name now means ``inode`` (None: nothing)."""
        self.inode = inode
        self.mark()

    def mark(self) -> None:
        """Recomputes ``special``."""
        inode = self.inode
        self.special = inode is None or self.mounted > 0 or inode.mode & S_IFMT == S_IFLNK

    def lookup(self, name: bytes) -> Dentry:
        """The child ``name``, asking the filesystem if it is not cached. May be negative."""
        child = self.children.get(name)
        if child is not None:
            return child
        if self.deleted:
            raise KernelError(Errno.ENOENT)
        directory = self.inode
        assert directory is not None
        inode: Inode | None
        try:
            inode = directory.lookup(name)
        except KernelError as error:
            if error.errno != Errno.ENOENT:
                raise
            inode = None
        if directory.fs.folds_names:
            if inode is None:
                return Dentry(name, self, None)  # not kept: it would hide what is made under another spelling
            name = directory.stored_name(name)
            if name in self.children:
                return self.children[name]
        child = Dentry(name, self, inode)
        if inode is not None and directory.watches is not None:
            inode.watches = directory.watches
        if directory.fs.cacheable_dentries:
            if len(self.children) >= CACHED_CHILDREN_LIMIT:
                self.prune()
            self.children[name] = child
        return child

    def add(self, name: bytes, inode: Inode) -> Dentry:
        """The name was just created. The cached negative dentry, if any, becomes it."""
        if self.inode is not None and self.inode.watches is not None:
            inode.watches = self.inode.watches
        if inode.fs.folds_names and self.inode is not None:
            name = self.inode.stored_name(name)
        child = self.children.get(name)
        if child is None:
            child = Dentry(name, self, inode)
            if inode.fs.cacheable_dentries:
                self.children[name] = child
        else:
            child.set_inode(inode)
        return child

    def drop(self, child: Dentry) -> None:
        """The name of ``child`` was removed. Open files and working directories may still hold the dentry."""
        if self.children.get(child.name) is child:
            del self.children[child.name]
        child.deleted = True

    def move(self, new_parent: Dentry, new_name: bytes) -> None:
        """Renamed: what held this dentry follows it to its new place."""
        if self.parent is not None and self.parent.children.get(self.name) is self:
            del self.parent.children[self.name]
        if new_parent.inode is not None and new_parent.inode.fs.folds_names:
            new_name = new_parent.inode.stored_name(new_name)
        self.name = new_name
        self.parent = new_parent
        if self.inode is not None and new_parent.inode is not None and new_parent.inode.watches is not None:
            self.inode.watches = new_parent.inode.watches
        if new_parent.inode is not None and new_parent.inode.fs.cacheable_dentries:
            new_parent.children[new_name] = self

    def prune(self) -> None:
        """Forgets what is not found and what is no directory. Directories stay: processes work inside them, and a
        second dentry for one would not learn of its removal."""
        self.children = {name: child for name, child in self.children.items()
                         if child.inode is not None and child.inode.mode & S_IFMT == S_IFDIR}

    def __repr__(self) -> str:
        return f"<Dentry {self.name!r}{'' if self.inode else ' (negative)'}>"


@define(eq=False)
class Mount:
    """A filesystem (or, for a bind mount, a part of one) at a place in the tree."""

    fs: Filesystem
    root: Dentry
    parent: Mount | None
    mountpoint: Dentry | None
    flags: int
    source: bytes
    mount_id: int
    open_files: int = 0
    namespace: int = 0
    """Of the mount at the top of a tree: which one; 0 is the system's own."""
    detached: bool = False
    """It is no longer in the tree, and its filesystem ends with the last file that is open on it."""

    def last_file_closed(self) -> None:
        """Nothing is open any more on a mount that was taken out of the tree."""
        if self.detached:
            self.detached = False
            self.fs.end()

    @property
    def read_only(self) -> bool:
        """True if nothing may be written through this mount."""
        return bool(self.flags & _RDONLY) or self.fs.read_only

    @property
    def no_access_times(self) -> bool:
        """True if reading leaves the atime alone."""
        return bool(self.flags & (_NOATIME | _RDONLY))

    @property
    def options(self) -> bytes:
        """The option column of /proc/mounts."""
        words = [b"ro" if self.read_only else b"rw"]
        for flag, word in ((MountFlags.NOSUID, b"nosuid"), (MountFlags.NODEV, b"nodev"),
                           (MountFlags.NOEXEC, b"noexec"), (MountFlags.NOATIME, b"noatime")):
            if self.flags & flag:
                words.append(word)
        if not self.flags & MountFlags.NOATIME:
            words.append(b"relatime")
        return b",".join(words)


class Path(NamedTuple):
    """A place in the tree: a dentry as seen through a mount. Hashable; equal when it is the same place."""

    mount: Mount
    dentry: Dentry

    @property
    def inode(self) -> Inode:
        """The inode there. Only negative dentries have none, and those are never handed out as paths."""
        inode = self.dentry.inode
        assert inode is not None
        return inode

    def name_bytes(self) -> bytes:
        """The last component, ``/`` for the root of the tree."""
        mount, dentry = self
        while dentry is mount.root:
            if mount.parent is None or mount.mountpoint is None:
                return dentry.name or b"/"
            dentry = mount.mountpoint
            mount = mount.parent
        return dentry.name

    def parent(self) -> Path:
        """``..``: the directory above, across mounts; the root of the tree is its own parent."""
        mount, dentry = self
        while dentry is mount.root:
            if mount.parent is None or mount.mountpoint is None:
                return Path(mount, dentry)
            dentry = mount.mountpoint
            mount = mount.parent
        return Path(mount, dentry.parent or dentry)


def path_string(path: Path, root: Path | None) -> bytes:
    """The absolute name of ``path`` as seen by a process whose root is ``root`` (None: the whole tree).

    As Linux's d_path: a removed name ends in `` (deleted)``, a place outside of ``root`` begins with
    ``(unreachable)``. Objects without a place (pipes, sockets) have their label, such as ``pipe:[7]``.
    """
    names: list[bytes] = []
    mount, dentry = path
    suffix = b" (deleted)" if dentry.deleted else b""
    prefix = b""
    while root is None or mount is not root.mount or dentry is not root.dentry:
        if dentry is mount.root:
            if mount.parent is None or mount.mountpoint is None:
                if root is not None:
                    prefix = b"(unreachable)"
                break
            dentry = mount.mountpoint
            mount = mount.parent
            continue
        parent = dentry.parent
        if parent is None:  # no tree at all: an anonymous object, named by its label
            return dentry.name
        names.append(dentry.name)
        dentry = parent
    names.reverse()
    return prefix + b"/" + b"/".join(names) + suffix
