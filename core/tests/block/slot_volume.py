"""A filesystem for testing the test kits: the whole tree, pickled, in one of two slots of the volume.

    | slot 0: sequence, length, CRC, pickle | slot 1: the same |

`sync` writes the slot that is not current, and flushes; the slot with the higher sequence and a good checksum counts.
So it keeps every promise, and nothing of it lasts before a sync. Its faults, to be found by the kits: `in_place` writes
always to the first slot, `unchecked` does not look at the checksum, `lazy` does not flush at fsync.
"""

from __future__ import annotations

import pickle
import zlib
from typing import Any

from jefeos.block.cache import BufferCache
from jefeos.block.volume import CheckReport, FormatOptions, Problem, Progress, VolumeFormat, no_progress
from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.mm.pagecache import PageCache
from jefeos.structs import Struct, raw, u32, u64
from jefeos.vfs.flags import S_IFDIR, S_IFMT, S_IFREG
from jefeos.vfs.inode import Clock, Filesystem, Inode
from jefeos.vfs.tmpfs import Tmpfs, TmpfsInode

MAGIC = b"SLOT"


class Header(Struct):
    """Of a slot."""

    magic: bytes = raw(4)
    crc32: int = u32()
    sequence: int = u64()
    length: int = u64()


class SlotInode(TmpfsInode):
    fs: SlotFilesystem

    def sync(self) -> None:
        if not self.fs.format.lazy:
            self.fs.sync()


class SlotFilesystem(Tmpfs):
    name = "slot"

    def __init__(
        self, volume: BufferCache, format: SlotFormat, page_cache: PageCache, clock: Clock, writable: bool
    ) -> None:
        self.volume, self.format = volume, format
        super().__init__(page_cache, clock, volume.size_bytes // 3)
        self.sequence, tree = format.newest(volume)
        self._restore(self.root, tree, {})
        self.read_only = not writable

    def new_inode(self, mode: int, uid: int, gid: int, rdev: int = 0) -> TmpfsInode:
        return SlotInode(self, self.next_ino(), mode, uid, gid, rdev=rdev)

    def sync(self) -> None:
        if not self.read_only:
            self.sequence += 1
            self.format.store(self.volume, self.sequence, self._saved(self.root))

    def unmount(self) -> None:
        self.sync()
        super().unmount()

    def _saved(self, inode: Inode) -> Any:
        assert isinstance(inode, TmpfsInode)
        attributes = inode.mode, inode.ino, inode.mtime_ns
        if inode.is_directory:
            return attributes, {name: self._saved(child) for name, child in inode.entries.items()}
        return attributes, inode.read(0, inode.size) if inode.is_regular else inode.target

    def _restore(self, directory: TmpfsInode, tree: Any, known: dict[int, TmpfsInode]) -> None:
        for name, ((mode, number, mtime_ns), contents) in tree[1].items():
            inode = known.get(number)
            if inode is None:
                inode = known[number] = self.new_inode(mode, 0, 0)
                inode.nlink = 0 if mode & S_IFMT != S_IFDIR else 1
                if mode & S_IFMT == S_IFREG:
                    inode.write(0, contents)
                elif mode & S_IFMT != S_IFDIR:
                    inode.target, inode.size = contents, len(contents)
            inode.nlink += 1
            directory.entries[name] = inode
            inode.mtime_ns = mtime_ns
            if inode.is_directory:
                self._restore(inode, ((), contents), known)


class SlotFormat(VolumeFormat):
    """See the module."""

    def __init__(self, *, in_place: bool = False, unchecked: bool = False, lazy: bool = False) -> None:
        self.in_place, self.unchecked, self.lazy = in_place, unchecked, lazy

    def recognise(self, volume: BufferCache) -> bool:
        return volume.size_bytes >= 8192 and volume.read(0, 4) == MAGIC

    def open(
        self, volume: BufferCache, *, writable: bool, page_cache: PageCache | None, clock: Clock
    ) -> Filesystem:
        assert page_cache is not None
        return SlotFilesystem(volume, self, page_cache, clock, writable)

    def make(self, volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress = no_progress) -> None:
        for sequence in (0, 1):
            self.store(volume, sequence, ((S_IFDIR, 1, 0), {}))

    def check(
        self, volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
    ) -> CheckReport:
        try:
            tree = self.newest(volume)[1]
        except CorruptError as error:
            return CheckReport((Problem("slots", str(error)),))
        files, directories, used = _count(tree)
        return CheckReport((), files, directories, used, volume.size_bytes // 2 - used)

    def describe(self, volume: BufferCache) -> dict[str, str | int]:
        return {"sequence": self.newest(volume)[0]}

    def store(self, volume: BufferCache, sequence: int, tree: Any) -> None:
        data = pickle.dumps(tree)
        start = 0 if self.in_place else sequence % 2 * (volume.size_bytes // 2)
        if len(data) + Header.size > volume.size_bytes // 2:
            raise KernelError(Errno.ENOSPC)
        header = Header(magic=MAGIC, crc32=zlib.crc32(data), sequence=sequence, length=len(data)).pack()
        volume.write(start, header + data)
        volume.flush()

    def newest(self, volume: BufferCache) -> tuple[int, Any]:
        found = []
        for start in (0, volume.size_bytes // 2):
            header = Header.parse(volume.read(start, Header.size))
            if header.magic == MAGIC and header.length <= volume.size_bytes // 2 - Header.size:
                data = volume.read(start + Header.size, header.length)
                if self.unchecked or zlib.crc32(data) == header.crc32:
                    found.append((header.sequence, data))
        if not found:
            raise CorruptError("neither slot is whole")
        sequence, data = max(found)
        try:
            return sequence, pickle.loads(data)
        except Exception as error:
            raise CorruptError(f"slot {sequence}: {error}") from None


def _count(tree: Any) -> tuple[int, int, int]:
    """Files, directories with the root, and bytes."""
    (mode, _, _), contents = tree
    if mode & S_IFMT != S_IFDIR:
        return 1, 0, len(contents)
    counts = [_count(child) for child in contents.values()]
    files, directories, used = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    return files, directories + 1, used
