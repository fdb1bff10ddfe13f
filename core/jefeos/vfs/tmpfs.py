"""tmpfs: a filesystem in guest memory.

File contents are page-cache mappings without a source: their pages are the storage, they are never written back
and never reclaimed. Directories are dicts, so their order is that of creation. Guest frames go back when the
last name and the last open file are gone (`Inode.evict`).

The size limit counts pages that writes brought in; pages that come into being through a shared mapping count
from the next write on. Reading a hole brings in no page where the page cache can tell.

The overlay filesystem and devfs are built on these nodes. Does not do: swap, huge pages, quotas per user.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    FILE_SIZE_MAX,
    NAME_MAX,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    XATTR_CREATE,
    XATTR_REPLACE,
    FilesystemMagic,
)
from jefeos.vfs.inode import PAGE_SIZE, Clock, DirEntry, Filesystem, FilesystemStat, Inode

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache, PageSource

UNLIMITED_BYTES = 1 << 40

XATTR_BYTES_PER_INODE = 512  # how much of them there may be, on average
XATTR_OVERHEAD_BYTES = 128  # what each takes besides its name and value


class Tmpfs(Filesystem):
    """Files in memory, up to ``size_limit`` bytes of contents (None: half of the guest's RAM)."""

    name = "tmpfs"
    magic: int = FilesystemMagic.TMPFS
    # The size that directories show: as Linux's tmpfs, which counts 20 bytes for each entry, ``.`` and ``..`` included.
    directory_bytes = 40
    entry_bytes = 20

    def __init__(self, page_cache: PageCache | None, clock: Clock,
                 size_limit: int | None = None, root_mode: int = 0o755) -> None:
        super().__init__(clock, page_cache)
        if size_limit is None:
            size_limit = page_cache.frames.total * PAGE_SIZE // 2 if page_cache is not None else UNLIMITED_BYTES
        self.page_limit = size_limit // PAGE_SIZE
        self.pages_used = 0
        # As Linux's nr_inodes and its bound on attributes: both are in the host's memory, not in frames.
        self.inode_limit = page_cache.frames.total // 2 if page_cache is not None else UNLIMITED_BYTES // PAGE_SIZE
        self.inodes_used = 0
        self.xattr_bytes_limit = self.inode_limit * XATTR_BYTES_PER_INODE
        self.xattr_bytes_used = 0
        self._next_ino = 1
        self._root = self.new_inode(S_IFDIR | root_mode, 0, 0)

    @property
    def root(self) -> TmpfsInode:
        return self._root

    def new_inode(self, mode: int, uid: int, gid: int, rdev: int = 0) -> TmpfsInode:
        """A node without a name. Raises KernelError(ENOSPC)."""
        self.require_inode()
        return TmpfsInode(self, self.next_ino(), mode, uid, gid, rdev=rdev)

    def require_inode(self) -> None:
        """Raises KernelError(ENOSPC) if there are as many nodes as there may be."""
        if self.inodes_used >= self.inode_limit:
            raise KernelError(Errno.ENOSPC)

    def next_ino(self) -> int:
        """A fresh inode number."""
        ino = self._next_ino
        self._next_ino = ino + 1
        self.inodes_used += 1
        return ino

    def statfs(self) -> FilesystemStat:
        free = min(max(self.page_limit - self.pages_used, 0), self.page_limit)
        files = self.inode_limit
        return FilesystemStat(self.magic, PAGE_SIZE, self.page_limit, free, free, files,
                              max(files - self.inodes_used, 0), NAME_MAX, self.device)

    def sync(self) -> None:
        """Memory is all the storage there is."""

    def unmount(self) -> None:
        self._root.evict_tree()


class TmpfsInode(Inode):
    """A node of a tmpfs; a directory if it has ``entries``."""

    fs: Tmpfs

    def __init__(self, fs: Tmpfs, ino: int, mode: int, uid: int = 0, gid: int = 0, *, nlink: int = 1,
                 size: int = 0, rdev: int = 0, time_ns: int | None = None) -> None:
        super().__init__(fs, ino, mode, uid, gid, nlink=nlink, size=size, rdev=rdev, time_ns=time_ns)
        self.entries: dict[bytes, TmpfsInode] = {}
        self.target = b""
        self.xattrs: dict[bytes, bytes] | None = None
        self.reserved_pages = 0
        """How far fallocate promised room; only st_blocks knows of it."""
        if mode & S_IFMT == S_IFDIR:
            self.nlink = 2
            self.size = fs.directory_bytes

    @property
    def blocks(self) -> int:
        mapping = self._mapping
        resident = mapping.resident if mapping is not None else 0
        return max(resident, self.reserved_pages) * (PAGE_SIZE // 512)

    # --- directories ---------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Inode:
        if len(name) > NAME_MAX:
            raise KernelError(Errno.ENAMETOOLONG)
        inode = self.entries.get(name)
        if inode is None:
            raise KernelError(Errno.ENOENT)
        return inode

    def readdir(self) -> Iterable[DirEntry]:
        return [DirEntry(name, inode.ino, inode.mode & S_IFMT) for name, inode in self.entries.items()]

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        return self._enter(name, self.fs.new_inode(mode, uid, gid))

    def create_unnamed(self, mode: int, uid: int, gid: int) -> Inode:
        inode = self.fs.new_inode(mode, uid, gid)
        inode.nlink = 0
        return inode

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        inode = self._enter(name, self.fs.new_inode(mode, uid, gid))
        self._count_subdirectories(1)
        return inode

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        inode = self.fs.new_inode(S_IFLNK | 0o777, uid, gid)
        inode.target = target
        inode.size = len(target)
        return self._enter(name, inode)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        return self._enter(name, self.fs.new_inode(mode, uid, gid, rdev))

    def link(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, TmpfsInode)
        inode.nlink += 1
        self._enter(name, inode)
        inode.ctime_ns = self.ctime_ns

    def unlink(self, name: bytes) -> None:
        inode = self.entries[name]
        self._leave(name)
        inode.nlink -= 1
        inode.ctime_ns = self.ctime_ns

    def rmdir(self, name: bytes) -> None:
        inode = self.entries[name]
        if not inode.is_empty():
            raise KernelError(Errno.ENOTEMPTY)
        self._leave(name)
        self._count_subdirectories(-1)
        inode.nlink = 0
        inode.ctime_ns = self.ctime_ns

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise KernelError(Errno.EINVAL)
        assert isinstance(new_directory, TmpfsInode)
        inode = self.entries[name]
        target = new_directory.entries.get(new_name)
        if flags & RENAME_EXCHANGE:
            assert target is not None
            self._exchange(name, inode, new_directory, new_name, target)
            return
        if target is not None:
            if target.is_directory:
                new_directory.rmdir(new_name)
            else:
                new_directory.unlink(new_name)
        self._leave(name)
        new_directory._enter(new_name, inode)
        if inode.is_directory and new_directory is not self:
            self._count_subdirectories(-1)
            new_directory._count_subdirectories(1)
        inode.ctime_ns = self.ctime_ns

    def _exchange(self, name: bytes, inode: TmpfsInode, new_directory: TmpfsInode, new_name: bytes,
                  target: TmpfsInode) -> None:
        self.entries[name] = target
        new_directory.entries[new_name] = inode
        moved = int(inode.is_directory) - int(target.is_directory)
        if new_directory is not self:
            self._count_subdirectories(-moved)
            new_directory._count_subdirectories(moved)
        for changed in {self, new_directory}:
            changed.touch_modified()
        inode.ctime_ns = target.ctime_ns = self.ctime_ns

    def _count_subdirectories(self, change: int) -> None:
        """A directory has a link for its name, for itself and for each subdirectory.

        One that an overlay took from below may have 1 (btrfs and others do not count), or subdirectories that came
        after it was looked at; then the count is no more than that, but it stays a possible one.
        """
        if self.nlink > 1:
            self.nlink = max(self.nlink + change, 2)

    def is_empty(self) -> bool:
        """A directory without entries."""
        return not self.entries

    def _enter(self, name: bytes, inode: TmpfsInode) -> TmpfsInode:
        if len(name) > NAME_MAX:
            raise KernelError(Errno.ENAMETOOLONG)
        self.entries[name] = inode
        self.size += self.fs.entry_bytes
        self.touch_modified()
        return inode

    def _leave(self, name: bytes) -> None:
        del self.entries[name]
        self.size = max(self.size - self.fs.entry_bytes, 0)
        self.touch_modified()

    # --- symbolic links ------------------------------------------------------------------------------------

    def readlink(self) -> bytes:
        return self.target

    # --- contents ------------------------------------------------------------------------------------------

    @property
    def page_source(self) -> PageSource | None:
        return None

    def write(self, offset: int, data: bytes) -> int:
        end = offset + len(data)
        if end > FILE_SIZE_MAX:
            raise KernelError(Errno.EFBIG)
        mapping = self._mapping or self.mapping
        fs = self.fs
        before = mapping.resident
        if fs.pages_used + (len(data) >> 12) >= fs.page_limit:
            data = self._what_fits(offset, data)
            end = offset + len(data)
        mapping.write(offset, data)
        if end > self.size:
            self.size = end
        fs.pages_used += mapping.resident - before
        self.mtime_ns = self.ctime_ns = fs.clock.realtime_ns()
        return len(data)

    def _what_fits(self, offset: int, data: bytes) -> bytes:
        """The filesystem is nearly full: the part of ``data`` for which pages exist or may still be made."""
        free = self.fs.page_limit - self.fs.pages_used
        position, end = offset, offset + len(data)
        while position < end:
            if not self._has_page(position // PAGE_SIZE):
                if free <= 0:
                    break
                free -= 1
            position = min((position // PAGE_SIZE + 1) * PAGE_SIZE, end)
        if position == offset:
            raise KernelError(Errno.ENOSPC)
        return data[: position - offset]

    def _has_page(self, index: int) -> bool:
        mapping = self._mapping
        return mapping is not None and index in mapping.pages

    def truncate(self, size: int) -> None:
        mapping = self._mapping
        if mapping is not None:
            before = mapping.resident
            mapping.truncate(size)
            self.fs.pages_used += mapping.resident - before
        self.size = size
        self.reserved_pages = min(self.reserved_pages, (size + PAGE_SIZE - 1) // PAGE_SIZE)
        self.touch_modified()

    def next_data(self, offset: int, size: int) -> int | None:
        if offset >= size or self._mapping is None:
            return None
        first = offset // PAGE_SIZE
        if first in self._mapping.pages:
            return offset
        found = min((index for index in self._mapping.pages if index > first), default=None)
        return None if found is None or found * PAGE_SIZE >= size else found * PAGE_SIZE

    def next_hole(self, offset: int, size: int) -> int:
        if self._mapping is None:
            return offset
        index = offset // PAGE_SIZE
        if index not in self._mapping.pages:
            return offset
        while index in self._mapping.pages:
            index += 1
        return min(index * PAGE_SIZE, size)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            raise KernelError(Errno.EOPNOTSUPP)
        if mode & FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE:
            raise KernelError(Errno.EOPNOTSUPP)
        end = offset + length
        if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            self._zero(offset, min(end, self.size))
        if not mode & FALLOC_FL_PUNCH_HOLE:
            self.reserved_pages = max(self.reserved_pages, (end + PAGE_SIZE - 1) // PAGE_SIZE - offset // PAGE_SIZE)
        if not mode & FALLOC_FL_KEEP_SIZE and end > self.size:
            if end - self.size > (self.fs.page_limit - self.fs.pages_used) * PAGE_SIZE:
                raise KernelError(Errno.ENOSPC)
            self.size = end
            if self._mapping is not None:
                self._mapping.size_bytes = end
        self.touch_modified()

    def _zero(self, position: int, end: int) -> None:
        if self._mapping is None or position >= end:
            return
        whole_first, whole_end = -(-position // PAGE_SIZE), end // PAGE_SIZE
        if whole_first < whole_end:  # whole pages go
            before = self._mapping.resident
            self._mapping.punch(whole_first, whole_end)
            self.fs.pages_used += self._mapping.resident - before
        first, last = position // PAGE_SIZE, (end - 1) // PAGE_SIZE
        # A file may claim 2**63 bytes: what costs is the pages there are, never the length.
        for index in [index for index in self._mapping.pages if first <= index <= last]:
            start = max(position, index * PAGE_SIZE)
            self._mapping.write(start, bytes(min(end, (index + 1) * PAGE_SIZE) - start))

    def read_at(self, offset: int, count: int) -> bytes:
        return self.read(offset, count)

    def sync(self) -> None:
        """Memory is all the storage there is."""

    def evict(self) -> None:
        if self._mapping is not None:
            self.fs.pages_used -= self._mapping.resident
        self.fs.inodes_used -= 1
        for name, value in (self.xattrs or {}).items():
            self.fs.xattr_bytes_used -= len(name) + len(value) + XATTR_OVERHEAD_BYTES
        self.xattrs = None
        super().evict()

    def evict_tree(self) -> None:
        """Unmount: releases the pages of everything below. Iterative, as trees may be deep."""
        pending = [self]
        seen: set[int] = set()
        while pending:
            inode = pending.pop()
            if inode.ino not in seen:
                seen.add(inode.ino)
                pending.extend(inode.entries.values())
                inode.evict()

    # --- extended attributes -------------------------------------------------------------------------------

    def get_xattr(self, name: bytes) -> bytes:
        value = (self.xattrs or {}).get(name)
        if value is None:
            raise KernelError(Errno.ENODATA)
        return value

    def set_xattr(self, name: bytes, value: bytes, flags: int) -> None:
        if self.xattrs is None:
            self.xattrs = {}
        if flags & XATTR_CREATE and name in self.xattrs:
            raise KernelError(Errno.EEXIST)
        if flags & XATTR_REPLACE and name not in self.xattrs:
            raise KernelError(Errno.ENODATA)
        fs, before = self.fs, self.xattrs.get(name)
        more = len(value) - len(before) if before is not None else len(value) + len(name) + XATTR_OVERHEAD_BYTES
        if more > 0 and fs.xattr_bytes_used + more > fs.xattr_bytes_limit:
            raise KernelError(Errno.ENOSPC)
        fs.xattr_bytes_used += more
        self.xattrs[name] = value
        self.ctime_ns = self.fs.clock.realtime_ns()

    def list_xattrs(self) -> list[bytes]:
        return list(self.xattrs or ())

    def remove_xattr(self, name: bytes) -> None:
        if not self.xattrs or name not in self.xattrs:
            raise KernelError(Errno.ENODATA)
        self.fs.xattr_bytes_used -= len(self.xattrs.pop(name)) + len(name) + XATTR_OVERHEAD_BYTES
        self.ctime_ns = self.fs.clock.realtime_ns()
