"""Inodes: attributes, extended attributes, symbolic links, and what happens when the last name is gone.

Attributes live in the Python object; a change marks it dirty, and the commit writes all dirty ones into the tree
(`JefeFilesystem.write_inodes`). New inodes are written at once, so that what a commit owes is only copies of paths.

An inode without names that is still open is noted as an orphan by the commit, and deleted by the next mount if it comes
to that. Long values (attributes, link targets) are cut into chunks, each an item of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import (
    FILE_SIZE_MAX,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    XATTR_CREATE,
    XATTR_REPLACE,
)
from jefeos.vfs.inode import Inode

from jefeos_fs_jefefs.layout import CHUNK_KEY, INODE_VALUE, TARGET, XATTR, item_key

if TYPE_CHECKING:
    from jefeos_fs_jefefs.filesystem import JefeFilesystem

KINDS: Final = frozenset({S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK})
CHUNKS_MOST: Final = 64
XATTR_NAME_MOST: Final = 255


class JefeInode(Inode):
    """A file of any kind but directories and regular files, which add to it. ``own_ino`` is the number in the tree."""

    fs: JefeFilesystem

    def __init__(self, fs: JefeFilesystem, own_ino: int, fields: tuple[int, ...]) -> None:
        # Instead of the initialiser of the base, which would ask for the time: this is on the path of every stat.
        self.fs = fs
        self.own_ino = own_ino
        self.ino = own_ino | fs.ino_bits
        (self.mode, self.uid, self.gid, self.nlink, self.size, self.rdev, self.block_count, self.atime_ns,
         self.mtime_ns, self.ctime_ns, self.btime_ns, self.parent_ino) = fields
        self._mapping = None
        self.watches = None

    @property
    def blocks(self) -> int:
        return self.block_count * (self.fs.block_size // 512)

    def value(self) -> bytes:
        """Its item in the tree."""
        return INODE_VALUE.pack(
            self.mode, self.uid, self.gid, self.nlink, self.size, self.rdev, self.block_count,
            clamp_ns(self.atime_ns), clamp_ns(self.mtime_ns), clamp_ns(self.ctime_ns), clamp_ns(self.btime_ns),
            self.parent_ino,
        )

    def changed(self) -> None:
        """The attributes differ from those in the tree."""
        self.fs.dirty[self.own_ino] = self

    # --- attributes ----------------------------------------------------------------------------------------

    def set_attributes(self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None,
                       atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        self.fs.begin(0, reserve=self.fs.store.reserve // 2)
        super().set_attributes(mode=mode, uid=uid, gid=gid, atime_ns=atime_ns, mtime_ns=mtime_ns)
        self.changed()

    def touch_accessed(self) -> None:
        atime_ns = self.atime_ns
        fs = self.fs
        if atime_ns > self.mtime_ns and atime_ns > self.ctime_ns or fs.no_access_times or fs.read_only:
            return
        if self.own_ino not in fs.dirty:
            try:
                fs.begin(0)
            except KernelError:
                return  # no room to note it, and no reason to fail a read
        super().touch_accessed()
        self.changed()

    def touch_modified(self) -> None:
        self.mtime_ns = self.ctime_ns = self.fs.clock.realtime_ns()
        self.fs.dirty[self.own_ino] = self

    def touch_changed(self) -> None:
        """Updates the ctime."""
        self.ctime_ns = self.fs.clock.realtime_ns()
        self.fs.dirty[self.own_ino] = self

    def readlink(self) -> bytes:
        if self.mode & S_IFMT != S_IFLNK:
            raise KernelError(Errno.EINVAL)
        target = self.get_long(item_key(self.own_ino, TARGET))
        if not target or len(target) != self.size:
            raise CorruptError(f"inode {self.own_ino}: the target of the link is not as long as it should be")
        return target

    def sync(self) -> None:
        super().sync()
        self.fs.commit()

    # --- the end -------------------------------------------------------------------------------------------

    def evict(self) -> None:
        super().evict()
        if self.nlink == 0 and not self.fs.read_only:
            self.fs.delete_inode(self)

    def delete_contents(self) -> None:
        """Give back what is too much for one step of its contents. Raises ENOSPC if there is not even room for that."""

    # --- values of any length ------------------------------------------------------------------------------

    def get_long(self, prefix: bytes) -> bytes:
        """A value that is cut into chunks; empty if there is none."""
        pieces = [value for _, value in self._chunks(prefix)]
        return b"".join(pieces)

    def _chunks(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        end = prefix + CHUNK_KEY.pack(CHUNKS_MOST)
        for number, (key, value) in enumerate(self.fs.tree.scan(prefix, end)):
            if key != prefix + CHUNK_KEY.pack(number):
                raise CorruptError(f"inode {self.own_ino}: a part of a long value is missing")
            yield key, value

    def put_long(self, prefix: bytes, value: bytes) -> None:
        """Store a value in chunks, in place of what was there."""
        size = self.fs.store.limits.chunk_bytes
        tree = self.fs.tree
        old = [key for key, _ in self._chunks(prefix)]
        chunks = [value[start : start + size] for start in range(0, len(value), size)] or [b""]
        for number, chunk in enumerate(chunks):
            tree.put(prefix + CHUNK_KEY.pack(number), chunk)
        for key in old[len(chunks) :]:
            tree.remove(key)

    # --- extended attributes -------------------------------------------------------------------------------

    def _xattr_prefix(self, name: bytes) -> bytes:
        if not 0 < len(name) <= XATTR_NAME_MOST or b"\0" in name:
            raise KernelError(Errno.ERANGE)
        return item_key(self.own_ino, XATTR, name + b"\0")

    def _has_xattr(self, prefix: bytes) -> bool:
        return self.fs.tree.get(prefix + CHUNK_KEY.pack(0)) is not None

    def get_xattr(self, name: bytes) -> bytes:
        prefix = self._xattr_prefix(name)
        if not self._has_xattr(prefix):
            raise KernelError(Errno.ENODATA)
        return self.get_long(prefix)

    def set_xattr(self, name: bytes, value: bytes, flags: int) -> None:
        prefix = self._xattr_prefix(name)
        there = self._has_xattr(prefix)
        if flags & XATTR_CREATE and there:
            raise KernelError(Errno.EEXIST)
        if flags & XATTR_REPLACE and not there:
            raise KernelError(Errno.ENODATA)
        store = self.fs.store
        if len(value) > store.limits.chunk_bytes * CHUNKS_MOST:
            raise KernelError(Errno.E2BIG)
        self.fs.begin(store.blocks_for(1) + 3 * (1 + len(value) // store.limits.chunk_bytes))
        with store.changing:
            self.put_long(prefix, value)
        self.touch_changed()

    def list_xattrs(self) -> list[bytes]:
        low = item_key(self.own_ino, XATTR)
        names: dict[bytes, None] = {}
        for key, _ in self.fs.tree.scan(low, item_key(self.own_ino, XATTR + 1)):
            names[key[len(low) : -3]] = None  # without the NUL and the number of the chunk
        return list(names)

    def remove_xattr(self, name: bytes) -> None:
        prefix = self._xattr_prefix(name)
        if not self._has_xattr(prefix):
            raise KernelError(Errno.ENODATA)
        store = self.fs.store
        self.fs.begin(store.blocks_for(2), reserve=store.reserve // 2)
        with store.changing:
            self.fs.tree.remove_range(prefix, prefix + CHUNK_KEY.pack(CHUNKS_MOST))
        self.touch_changed()


def clamp_ns(time_ns: int) -> int:
    """A time that can be kept: 292 years to both sides of the epoch."""
    return min(max(time_ns, -(1 << 63)), (1 << 63) - 1)


def check_fields(ino: int, value: bytes) -> tuple[int, ...]:
    """The fields of an inode's item. Raises CorruptError for what no inode can have."""
    if len(value) != INODE_VALUE.size:
        raise CorruptError(f"inode {ino}: its item has a wrong length")
    fields = INODE_VALUE.unpack(value)
    if fields[0] & S_IFMT not in KINDS or fields[0] > 0o177777:
        raise CorruptError(f"inode {ino}: there is no kind of file with mode {fields[0]:o}")
    if fields[4] > FILE_SIZE_MAX or fields[6] > 1 << 51:
        raise CorruptError(f"inode {ino}: a size of {fields[4]} makes no sense")
    return fields
