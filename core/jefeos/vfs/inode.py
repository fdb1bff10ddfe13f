"""Inodes and filesystems: the small interface that a filesystem plugin implements.

A `Filesystem` is a tree of `Inode` objects. The `Vfs` above it does everything that POSIX says about paths:
permissions, symlinks, mounts, sticky bits, errno order, O_* flags. By the time it calls a method here, the call
is allowed and makes sense (the name is not empty, not ``.`` or ``..``, has no slash; for `create` it does not exist;
for `unlink` it does and is no directory), and the filesystem only has to do it and to keep its own times and link
counts.

Rules of the interface
  * One node, one object: `lookup` returns the same `Inode` for the same file each time, as long as anybody may
    hold it. The page cache, the locks and hard links depend on that. (Filesystems that make up their nodes, like
    procfs, may differ: nothing of theirs is shared.)
  * Everything is synchronous. Failures are `KernelError` with Linux's errno.
  * Names are bytes, times are nanoseconds since the epoch, ``mode`` holds type and permission bits as st_mode does.
  * Attributes are plain attributes and always current; a filesystem whose attributes live elsewhere overrides
    `refresh`, which the Vfs calls before it reports them.

File contents: the smallest read-only filesystem implements only `read_at`. A writable one adds `write_at` and
`set_size`. `Inode.read`, `write` and `truncate` go through the page cache (so mmap and read see one copy), with
writes passed on to `write_at` at once. A filesystem with its own storage (tmpfs) overrides these.

Lifetime: open files are counted in ``open_count``. When the last link and the last open file are gone, the Vfs calls
`evict`, which gives the pages back.

Plain classes rather than attrs here: authors subclass `Inode` and turn attributes into properties, which
generated initialisers would fight.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from attrs import frozen

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import (
    FILE_SIZE_MAX,
    NAME_MAX,
    PERMISSION_BITS,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    FileKind,
)

if TYPE_CHECKING:
    from jefeos.mm.pagecache import FileMapping, PageCache, PageSource
    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.file import File
    from jefeos.vfs.path import Dentry, Path
    from jefeos.vfs.pipe import Pipe
    from jefeos.vfs.vfs import Vfs
    from jefeos.vfs.watches import Watches

PAGE_SIZE = 4096


class Clock(Protocol):
    """What the filesystems need of the kernel's clock."""

    def realtime_ns(self) -> int:
        """Nanoseconds since the epoch."""
        ...


class DirEntry(NamedTuple):
    """One entry of a directory. ``kind`` is the type part of st_mode, 0 if unknown."""

    name: bytes
    ino: int
    kind: int


class Stat(NamedTuple):
    """What stat(2) reports."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    block_size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int


@frozen
class FilesystemStat:
    """What statfs(2) reports. Blocks are of ``block_size`` bytes."""

    type: int
    block_size: int = PAGE_SIZE
    blocks: int = 0
    blocks_free: int = 0
    blocks_available: int = 0
    files: int = 0
    files_free: int = 0
    name_max: int = NAME_MAX
    fsid: int = 0
    flags: int = 0


class OpenContext(NamedTuple):
    """Who opens what, for `Inode.open` and device openers."""

    vfs: Vfs
    task: Any
    path: Path | None


class Medium(Protocol):
    """What a filesystem lives on, as seen by whoever opened it: a disk image, a disk of the machine."""

    def release(self) -> None:
        """The filesystem is unmounted: write back, and let others have it."""
        ...


class Filesystem(ABC):
    """A tree of inodes that can be mounted. ``device`` (st_dev) is assigned by the first mount."""

    name: str = "none"
    read_only: bool = False
    # Why it is read-only although it was to be writable, in one line; empty if it is not.
    read_only_reason: str = ""
    # False: lookups always ask the filesystem, as its names come and go without the Vfs knowing (procfs).
    cacheable_dentries: bool = True
    # Names that differ only in what the filesystem does not tell apart (case, dots at the end) are one name: the Vfs
    # asks `Inode.stored_name` how a name is spelled there, and keeps that spelling only.
    folds_names: bool = False
    # What relatime and noatime look at: filesystems whose atimes nobody wants set this.
    no_access_times: bool = False
    block_size: int = PAGE_SIZE
    device: int = 0
    # Set by whoever opened the filesystem, and released after `unmount`.
    medium: Medium | None = None
    # The dentry of `root`, kept by the Vfs so that all mounts of one filesystem share one tree of dentries.
    root_dentry: Dentry | None = None

    def __init__(self, clock: Clock, page_cache: PageCache | None = None) -> None:
        self.clock = clock
        self.page_cache = page_cache

    @property
    @abstractmethod
    def root(self) -> Inode:
        """The directory at the top."""

    def statfs(self) -> FilesystemStat:
        """Sizes and type."""
        return FilesystemStat(type=0, block_size=self.block_size, fsid=self.device)

    def open_snapshot(self, name: bytes) -> Filesystem:
        """The snapshot of that name, read-only, as a filesystem to be mounted. It lives as long as this one's medium.
        Raises KernelError: ENOENT, EINVAL for a filesystem without snapshots."""
        raise KernelError(Errno.EINVAL, f"{self.name} has no snapshots")

    def sync(self) -> None:
        """Brings everything written so far to the medium. Writes go through at once; what may be left are pages
        that programs changed through shared mappings."""
        if self.page_cache is not None:
            for mapping in self.page_cache.mappings():
                if isinstance(mapping.source, Inode) and mapping.source.fs is self:
                    mapping.writeback()

    def make_writable(self) -> None:
        """A remount: what was opened read-only is to be written to. Most cannot come to that without a new mount.
        Raises KernelError: EROFS with the reason, EACCES for a medium that is read-only itself."""
        raise KernelError(Errno.EROFS, self.read_only_reason or f"{self.name} was mounted read-only: mount it anew")

    def unmount(self) -> None:
        """Called when the last mount goes: write back, release pages and host resources."""

    def end(self) -> None:
        """The last mount is gone: `unmount`, and then let go of the medium."""
        try:
            self.unmount()
        finally:
            medium, self.medium = self.medium, None
            if medium is not None:
                medium.release()


class Inode(ABC):
    """A file, directory, symlink, device node, FIFO or socket. See the module's docstring for the rules."""

    # Rare state, None until needed: class attributes, so that a million inodes do not carry them.
    pipe: Pipe | None = None  # the buffer of an open FIFO
    locks: Any = None  # jefeos.vfs.locks.InodeLocks
    open_count: int = 0
    linkable: bool = False  # made by O_TMPFILE: may get a first name although nlink is 0
    write_count: int = 0  # open files that may write
    exec_count: int = 0  # processes that run it: while there are any, opening it for writing is ETXTBSY

    def __init__(self, fs: Filesystem, ino: int, mode: int, uid: int = 0, gid: int = 0, *, nlink: int = 1,
                 size: int = 0, rdev: int = 0, time_ns: int | None = None) -> None:
        now_ns = fs.clock.realtime_ns() if time_ns is None else time_ns
        self.fs = fs
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = nlink
        self.size = size
        self.rdev = rdev
        self.atime_ns = now_ns
        self.mtime_ns = now_ns
        self.ctime_ns = now_ns
        self.btime_ns = now_ns
        self._mapping: FileMapping | None = None
        # None unless somebody may be watching. Not a class attribute: every read and write looks at it.
        self.watches: Watches | None = None

    # --- attributes ----------------------------------------------------------------------------------------

    @property
    def kind(self) -> FileKind:
        """The type of the file."""
        return FileKind(self.mode & S_IFMT)

    @property
    def is_directory(self) -> bool:
        """True for a directory."""
        return self.mode & S_IFMT == S_IFDIR

    @property
    def is_regular(self) -> bool:
        """True for a regular file."""
        return self.mode & S_IFMT == S_IFREG

    @property
    def is_symlink(self) -> bool:
        """True for a symbolic link."""
        return self.mode & S_IFMT == S_IFLNK

    @property
    def blocks(self) -> int:
        """Storage used, in units of 512 bytes (st_blocks)."""
        block_size = self.fs.block_size
        return (self.size + block_size - 1) // block_size * block_size // 512 if self.is_regular else 0

    def refresh(self) -> None:
        """Brings the attributes up to date before they are reported. Nothing to do for most."""

    def stat(self) -> Stat:
        """The attributes as stat(2) gives them."""
        self.refresh()
        fs = self.fs
        return Stat(fs.device, self.ino, self.mode, self.nlink, self.uid, self.gid, self.rdev, self.size,
                    fs.block_size, self.blocks, self.atime_ns, self.mtime_ns, self.ctime_ns, self.btime_ns)

    def set_attributes(self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None,
                       atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        """Changes what is given, and the ctime. ``mode`` is permission bits only. Override to make it last."""
        if mode is not None:
            self.mode = self.mode & S_IFMT | mode & PERMISSION_BITS
        if uid is not None:
            self.uid = uid
        if gid is not None:
            self.gid = gid
        if atime_ns is not None:
            self.atime_ns = atime_ns
        if mtime_ns is not None:
            self.mtime_ns = mtime_ns
        self.ctime_ns = self.fs.clock.realtime_ns()

    def touch_accessed(self) -> None:
        """Updates the atime after a read, as relatime does: only if older than a change or than a day."""
        atime_ns = self.atime_ns
        if atime_ns > self.mtime_ns and atime_ns > self.ctime_ns or self.fs.no_access_times:
            return
        self.atime_ns = self.fs.clock.realtime_ns()

    def touch_modified(self) -> None:
        """Updates mtime and ctime after a change of contents."""
        self.mtime_ns = self.ctime_ns = self.fs.clock.realtime_ns()

    # --- directories ---------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Inode:
        """The entry ``name``. Raises ENOENT."""
        raise KernelError(Errno.ENOTDIR)

    def stored_name(self, name: bytes) -> bytes:
        """How the directory spells its entry ``name``, which exists (`Filesystem.folds_names`)."""
        return name

    def readdir(self) -> Iterable[DirEntry]:
        """The entries, without ``.`` and ``..``, in an order that is stable while nothing changes."""
        raise KernelError(Errno.ENOTDIR)

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        """A new empty regular file. ``mode`` is complete (type and permissions after umask)."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    def create_unnamed(self, mode: int, uid: int, gid: int) -> Inode:
        """A regular file without a name, link count 0 (O_TMPFILE)."""
        raise KernelError(Errno.EOPNOTSUPP)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        """A new directory."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        """A new symbolic link."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        """A new FIFO, socket or device node."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    def link(self, name: bytes, inode: Inode) -> None:
        """A further name for a file of the same filesystem."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    def unlink(self, name: bytes) -> None:
        """Removes a name that is not a directory's and counts the link down."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    def rmdir(self, name: bytes) -> None:
        """Removes an empty directory. Raises ENOTEMPTY. The removed directory's nlink becomes 0."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        """Moves an entry, replacing what is there (ENOTEMPTY for a full directory), or swaps both with
        RENAME_EXCHANGE. Types already fit; RENAME_NOREPLACE has been dealt with. EINVAL for an unknown flag."""
        raise KernelError(Errno.EROFS if self.fs.read_only else Errno.EPERM)

    # --- symbolic links ------------------------------------------------------------------------------------

    def readlink(self) -> bytes:
        """The target of a symbolic link."""
        raise KernelError(Errno.EINVAL)

    def follow(self) -> Path | None:
        """Magic links (procfs exe, cwd, fd/N): the place they lead to, whatever their text. None: an ordinary
        link, whose text is followed. Raises ENOENT when the place is gone, EACCES when it is closed to the caller."""
        return None

    # --- regular files -------------------------------------------------------------------------------------

    def read_at(self, offset: int, count: int) -> bytes:
        """Storage: up to ``count`` bytes; short only at the end of the file."""
        raise KernelError(Errno.EIO)

    def write_at(self, offset: int, data: bytes) -> None:
        """Storage: all of ``data``, growing the file if need be (``size`` is adjusted by the caller)."""
        raise KernelError(Errno.EROFS)

    def set_size(self, size: int) -> None:
        """Storage: cuts or extends the file with zeros."""
        raise KernelError(Errno.EROFS)

    def read_page(self, index: int, page: memoryview) -> None:
        """The page cache asks for page ``index``; ``page`` is 4096 zero bytes to fill."""
        data = self.read_at(index * PAGE_SIZE, PAGE_SIZE)
        page[: len(data)] = data

    def read_pages(self, index: int, count: int) -> bytes:
        """The page cache asks for ``count`` pages at once; short at the end of the file."""
        if type(self).read_page is Inode.read_page:
            return self.read_at(index * PAGE_SIZE, count * PAGE_SIZE)
        pages = bytearray(count * PAGE_SIZE)
        with memoryview(pages) as view:
            for number in range(count):
                self.read_page(index + number, view[number * PAGE_SIZE : (number + 1) * PAGE_SIZE])
        return bytes(pages)

    def write_page(self, index: int, data: bytes) -> None:
        """The page cache hands back a page dirtied through a shared mapping; the part inside the file counts."""
        offset = index * PAGE_SIZE
        inside = min(len(data), self.size - offset)
        if inside > 0:
            self.write_at(offset, bytes(data[:inside]))

    @property
    def mapping(self) -> FileMapping:
        """The file's pages in the page cache. ENODEV for what is not a regular file."""
        mapping = self._mapping
        if mapping is None:
            cache = self.fs.page_cache
            if cache is None or not self.is_regular:
                raise KernelError(Errno.ENODEV)
            mapping = self._mapping = cache.new_mapping(self.page_source)
            mapping.owner = self
            mapping.size_bytes = self.size
        return mapping

    @property
    def page_source(self) -> PageSource | None:
        """Where the pages are read from and written back to. None: they are the storage, and none is reclaimed."""
        return self

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes at ``offset``; empty at or past the end."""
        available = self.size - offset
        if available <= 0:
            return b""
        if self.fs.page_cache is None:  # nobody maps files there
            return self.read_at(offset, min(count, available))
        mapping = self._mapping or self.mapping
        return mapping.read(offset, count if count < available else available)

    def write(self, offset: int, data: bytes) -> int:
        """Writes all of ``data`` (write-through), extends the file if need be, and updates the times."""
        end = offset + len(data)
        if end > FILE_SIZE_MAX:
            raise KernelError(Errno.EFBIG)
        self.write_at(offset, data)
        if end > self.size:
            self.size = end
        if self._mapping is not None:
            self._mapping.update(offset, data)
        self.touch_modified()
        return len(data)

    def truncate(self, size: int) -> None:
        """Sets the size; the new part reads as zeros."""
        self.set_size(size)
        self.size = size
        if self._mapping is not None:
            self._mapping.truncate(size)
        self.touch_modified()

    def next_data(self, offset: int, size: int) -> int | None:
        """Where the first data at or after ``offset`` is (SEEK_DATA), in a file of ``size``; None if there is none."""
        return offset if offset < size else None

    def next_hole(self, offset: int, size: int) -> int:
        """Where the first hole at or after ``offset`` is (SEEK_HOLE): at the latest the end of the file."""
        return size

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2): reserve space (mode 0 grows the file), punch holes."""
        raise KernelError(Errno.EOPNOTSUPP)

    def sync(self) -> None:
        """Brings contents and attributes to the medium."""
        if self._mapping is not None:
            self._mapping.writeback()

    # --- opening and the end -------------------------------------------------------------------------------

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        """An open file on this inode. Devices, procfs files and the like override it; FIFOs may wait."""
        from jefeos.vfs.openers import open_inode

        return open_inode(self, flags, context)

    def evict(self) -> None:
        """No name and no open file is left: give the storage back."""
        mapping, self._mapping = self._mapping, None
        if mapping is not None:
            mapping.release()

    # --- extended attributes -------------------------------------------------------------------------------

    def get_xattr(self, name: bytes) -> bytes:
        """The value of an attribute. ENODATA if it is not there."""
        raise KernelError(Errno.EOPNOTSUPP)

    def set_xattr(self, name: bytes, value: bytes, flags: int) -> None:
        """Sets an attribute; ``flags`` is XATTR_CREATE or XATTR_REPLACE or 0."""
        raise KernelError(Errno.EOPNOTSUPP)

    def list_xattrs(self) -> list[bytes]:
        """The names of all attributes."""
        return []

    def remove_xattr(self, name: bytes) -> None:
        """Removes an attribute. ENODATA if it is not there."""
        raise KernelError(Errno.EOPNOTSUPP)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.fs.name}:{self.ino} mode={self.mode:o}>"


class AnonymousInode(Inode):
    """The inode of an open file that has no place in any tree: pipes, sockets, host streams, memfd."""
