"""Overlay: writes in memory above a filesystem that stays as it is.

    OverlayInode (a tmpfs node: attributes, entries, pages) ─ ─lower─ ─► Inode of the lower filesystem

Every node is a tmpfs node. One that comes from below also points to its lower inode, and takes things from there
when they are first needed:

  * attributes are copied when the node is first seen;
  * a directory asks below for names that it has no entry for. ``whiteouts`` are names that are gone although they
    are below; a directory that was removed and made again is *opaque*: it has no lower inode any more;
  * a file's pages that were never written come from below; written ones stay in the page cache, and if memory gets
    short the page cache hands them to `write_page`, which keeps them in host memory. So copy-up is by the page,
    changing a byte of a huge file costs one page, and what is written is not limited by the guest's RAM;
  * hard links below stay one node above: nodes are kept by lower inode number. Inode numbers from below are kept.

Renaming a directory from below moves the node with its lower inode: nothing is copied.

The lower filesystem must be stable while it is mounted below (a host folder that changes shows the old or the new
state of each file, with attributes as first seen). It is asked through `lookup`, `readdir`, `readlink` and `read_at`.
Does not do: several lower layers, writing back down, xattrs of the lower files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from attrs import evolve

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import NAME_MAX, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, FilesystemMagic
from jefeos.vfs.inode import PAGE_SIZE, Clock, DirEntry, Filesystem, FilesystemStat, Inode
from jefeos.vfs.tmpfs import UNLIMITED_BYTES, Tmpfs, TmpfsInode

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache, PageSource

# Nodes from below keep their inode numbers; those made here are numbered from here on.
_FIRST_OWN_INO = 1 << 40


class OverlayFs(Tmpfs):
    """``lower`` with everything that is written kept in memory."""

    name = "overlay"
    magic = FilesystemMagic.OVERLAY
    # Sizes and blocks look as on a disk, like those of the files from below.
    directory_bytes = PAGE_SIZE
    entry_bytes = 0

    def __init__(self, lower: Filesystem, page_cache: PageCache | None, clock: Clock,
                 size_limit: int = UNLIMITED_BYTES) -> None:
        self.lower = lower
        # Nodes whose lower file has further names below, by lower inode number.
        self.linked: dict[int, OverlayInode] = {}
        super().__init__(page_cache, clock, size_limit)
        self._next_ino = _FIRST_OWN_INO
        root = OverlayInode(self, lower.root.ino, lower.root.mode)
        root.copy_attributes(lower.root)
        self._root = root

    def new_inode(self, mode: int, uid: int, gid: int, rdev: int = 0) -> TmpfsInode:
        self.require_inode()
        return OverlayInode(self, self.next_ino(), mode, uid, gid, rdev=rdev)

    def from_lower(self, lower: Inode) -> OverlayInode:
        """The node above a lower inode that was just looked up."""
        known = self.linked.get(lower.ino)
        if known is not None:
            return known
        lower.refresh()
        node = OverlayInode(self, lower.ino, lower.mode, time_ns=0)
        node.copy_attributes(lower)
        if lower.nlink > 1 and not lower.is_directory:
            self.linked[lower.ino] = node
        return node

    def statfs(self) -> FilesystemStat:
        """What is below counts as used. What was written counts as long as it is in the page cache: a guess."""
        lower, upper = self.lower.statfs(), super().statfs()
        used = max(lower.blocks - lower.blocks_free, 0) * lower.block_size // PAGE_SIZE
        files = max(lower.files - lower.files_free, 0)
        return evolve(upper, blocks=upper.blocks + used, files=upper.files + files)

    def unmount(self) -> None:
        super().unmount()
        self.linked.clear()
        self.lower.end()


class OverlayInode(TmpfsInode):
    """A node that may have a lower inode behind it."""

    fs: OverlayFs

    def __init__(self, fs: Tmpfs, ino: int, mode: int, uid: int = 0, gid: int = 0, *, nlink: int = 1,
                 size: int = 0, rdev: int = 0, time_ns: int | None = None) -> None:
        super().__init__(fs, ino, mode, uid, gid, nlink=nlink, size=size, rdev=rdev, time_ns=time_ns)
        self.lower: Inode | None = None
        self.whiteouts: set[bytes] | None = None  # directories: names below that are gone
        self.merged = True  # directories: False if names below may show
        self.lower_size = 0  # files: how much of the lower file still shows
        self.kept_pages: dict[int, bytes] | None = None  # written pages that the page cache had no room for

    def copy_attributes(self, lower: Inode) -> None:
        """The node looks like ``lower`` and takes its contents from there."""
        self.lower = lower
        self.mode, self.uid, self.gid = lower.mode, lower.uid, lower.gid
        self.nlink, self.size, self.rdev = lower.nlink, lower.size, lower.rdev
        self.atime_ns, self.mtime_ns, self.ctime_ns = lower.atime_ns, lower.mtime_ns, lower.ctime_ns
        self.btime_ns = lower.btime_ns
        kind = lower.mode & S_IFMT
        if kind == S_IFREG:
            self.lower_size = lower.size
        elif kind == S_IFDIR:
            self.merged = False
        elif kind == S_IFLNK:
            self.target = lower.readlink()

    # --- directories ---------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Inode:
        if len(name) > NAME_MAX:
            raise KernelError(Errno.ENAMETOOLONG)
        node = self.entries.get(name)
        if node is not None:
            return node
        if self.merged or self.lower is None or self.whiteouts is not None and name in self.whiteouts:
            raise KernelError(Errno.ENOENT)
        node = self.fs.from_lower(self.lower.lookup(name))
        self.entries[name] = node
        return node

    def readdir(self) -> Iterable[DirEntry]:
        above = list(super().readdir())
        if self.merged or self.lower is None:
            return above
        hidden = self.entries.keys() | (self.whiteouts or set())
        return above + [entry for entry in self.lower.readdir() if entry.name not in hidden]

    def is_empty(self) -> bool:
        if self.entries:
            return False
        if self.merged or self.lower is None:
            return True
        gone = self.whiteouts or ()
        return all(entry.name in gone for entry in self.lower.readdir())

    def _leave(self, name: bytes) -> None:
        super()._leave(name)
        if not self.merged:
            if self.whiteouts is None:
                self.whiteouts = set()
            self.whiteouts.add(name)

    # --- contents ------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> int:
        lower = self.lower
        if lower is not None and (self.size == lower.size or not self.is_regular):
            return lower.blocks
        pages = (self.size + PAGE_SIZE - 1) // PAGE_SIZE
        if self.is_regular:  # what shows of the lower file, and what was written: holes take up nothing
            below = (self.lower_size + PAGE_SIZE - 1) // PAGE_SIZE
            pages = max(min(pages, below + len(self._written())), self.reserved_pages)
        elif not self.is_directory:
            return 0
        return pages * (PAGE_SIZE // 512)

    def _written(self) -> Collection[int]:
        """The pages that were written here."""
        dirty = self._mapping.dirty if self._mapping is not None else set()
        kept = self.kept_pages
        if not kept or not dirty:
            return kept or dirty
        return dirty.union(kept)

    @property
    def page_source(self) -> PageSource | None:
        return self

    def read_page(self, index: int, page: memoryview) -> None:
        kept = self.kept_pages
        if kept is not None and index in kept:
            page[:] = kept[index]
            return
        offset = index * PAGE_SIZE
        available = self.lower_size - offset
        if available > 0 and self.lower is not None:
            data = self.lower.read_at(offset, min(PAGE_SIZE, available))
            page[: len(data)] = data

    def write_page(self, index: int, data: bytes) -> None:
        if self.kept_pages is None:
            self.kept_pages = {}
        self.kept_pages[index] = bytes(data)

    def _has_page(self, index: int) -> bool:
        return index * PAGE_SIZE < self.lower_size or super()._has_page(index)

    def next_data(self, offset: int, size: int) -> int | None:
        if offset < self.lower_size:  # what is below counts as data; a clean page in memory says nothing
            return offset
        written = self._written()
        first = offset // PAGE_SIZE
        if first in written:
            return offset
        found = min((index for index in written if index > first), default=None)
        return None if found is None or found * PAGE_SIZE >= size else found * PAGE_SIZE

    def next_hole(self, offset: int, size: int) -> int:
        index = max(offset, self.lower_size + PAGE_SIZE - 1) // PAGE_SIZE
        written = self._written()
        if index not in written:
            return min(max(offset, index * PAGE_SIZE), size)
        while index in written:
            index += 1
        return min(index * PAGE_SIZE, size)

    def truncate(self, size: int) -> None:
        if size < self.lower_size:
            self.lower_size = size
        self._cut_kept_pages(size)
        super().truncate(size)

    def _cut_kept_pages(self, size: int) -> None:
        if self.kept_pages:
            last, tail = divmod(size, PAGE_SIZE)
            self.kept_pages = {index: page for index, page in self.kept_pages.items() if index <= last}
            if last in self.kept_pages:
                self.kept_pages[last] = self.kept_pages[last][:tail].ljust(PAGE_SIZE, b"\0")

    def evict(self) -> None:
        if self.lower is not None:
            self.fs.linked.pop(self.lower.ino, None)
        self.kept_pages = None
        super().evict()
