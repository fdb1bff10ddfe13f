"""The blocks of one file: extents, with a checksum for each block.

    key  (ino, EXTENT, first block of the file)    value  (address, birth, count), checksums

Extents do not overlap, lie within the file's size, and what none of them covers is a hole. All blocks of an extent were
born in one generation. A block never changes once it is on the medium: new contents go to new blocks. Blocks that were
born in the generation under way are the exception; nothing on the medium refers to them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_jefefs.layout import EXTENT, EXTENT_KEY, EXTENT_VALUE

if TYPE_CHECKING:
    from jefeos_fs_jefefs.store import Store
    from jefeos_fs_jefefs.tree import Tree

SUM_BYTES = 4
HEAD_BYTES = EXTENT_VALUE.size
BLOCK_NUMBER_END = 1 << 63


class Extent(NamedTuple):
    """Blocks of a file that lie together. ``sums`` are ``blocks`` checksums of four bytes."""

    start: int
    address: int
    birth: int
    blocks: int
    sums: bytes

    @property
    def end(self) -> int:
        """The block of the file after it."""
        return self.start + self.blocks

    def part(self, start: int, end: int) -> Extent:
        """The blocks of it from ``start`` to ``end`` of the file."""
        skip = start - self.start
        return Extent(start, self.address + skip, self.birth, end - start,
                      self.sums[skip * SUM_BYTES : (end - self.start) * SUM_BYTES])

    def value(self) -> bytes:
        """How it stands in the tree."""
        return EXTENT_VALUE.pack(self.address, self.birth, self.blocks) + self.sums


def extent_of(key: bytes, value: bytes) -> Extent:
    """An extent from the tree. Raises CorruptError."""
    if len(key) != EXTENT_KEY.size or len(value) < HEAD_BYTES:
        raise CorruptError("an extent has a wrong length")
    address, birth, count = EXTENT_VALUE.unpack_from(value)
    start = int.from_bytes(key[9:], "big")
    if not count or len(value) != HEAD_BYTES + count * SUM_BYTES or start + count > BLOCK_NUMBER_END:
        raise CorruptError(f"an extent at block {start} has a wrong length")
    return Extent(start, address, birth, count, value[HEAD_BYTES:])


def checksums(data: bytes | memoryview, block_bytes: int) -> bytes:
    """Of each block of ``data``, one after the other."""
    if len(data) == block_bytes:
        return crc32(data).to_bytes(SUM_BYTES, "little")
    view = memoryview(data)
    sums = [crc32(view[start : start + block_bytes]) for start in range(0, len(data), block_bytes)]
    return struct.pack(f"<{len(sums)}I", *sums)


class ExtentMap:
    """See the module's text."""

    __slots__ = ("block_bytes", "ino", "recent", "store", "tree")

    def __init__(self, store: Store, tree: Tree, ino: int) -> None:
        self.store = store
        self.tree = tree
        self.ino = ino
        self.block_bytes = store.geometry.block_bytes
        self.recent: Extent | None = None
        """The one that was looked at last: a reader goes on in it."""

    def key(self, block: int) -> bytes:
        """The key of an extent that begins at ``block``."""
        return EXTENT_KEY.pack(self.ino, EXTENT, block)

    def at_or_before(self, block: int) -> Extent | None:
        """The last extent that begins at or before ``block``."""
        found = self.tree.floor(self.key(block))
        if found is None or found[0][:9] != self.key(0)[:9]:
            return None
        return self._checked(*found)

    def overlapping(self, first: int, stop: int) -> Iterator[Extent]:
        """The extents that have blocks from ``first`` up to ``stop``, in order."""
        recent = self.recent
        if recent is not None and recent.start <= first and stop <= recent.end:
            yield recent
            return
        before = self.at_or_before(first)
        position = 0
        if before is not None and before.end > first:
            self.recent = before
            yield before
            position = before.end
        if position >= stop:
            return
        for key, value in self.tree.scan(self.key(first + 1), self.key(stop)):
            extent = self._checked(key, value)
            if extent.start < position:
                raise CorruptError(f"inode {self.ino}: extents overlap at block {extent.start}")
            position = extent.end
            self.recent = extent
            yield extent

    def _checked(self, key: bytes, value: bytes) -> Extent:
        extent = extent_of(key, value)
        self.store.geometry.check_run(extent.address, extent.blocks, f"inode {self.ino}")
        return extent

    # --- reading -------------------------------------------------------------------------------------------

    def read(self, first: int, stop: int) -> bytes:
        """The contents of blocks ``first`` up to ``stop``; zeros where there is a hole. Raises KernelError(EIO)."""
        pieces: list[bytes] = []
        position, size = first, self.block_bytes
        for extent in self.overlapping(first, stop):
            if extent.start > position:
                pieces.append(bytes((extent.start - position) * size))
                position = extent.start
            end = min(extent.end, stop)
            pieces.append(self._read_part(extent, position, end))
            position = end
        if not pieces:
            return bytes((stop - first) * size)
        if position < stop:
            pieces.append(bytes((stop - position) * size))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_part(self, extent: Extent, start: int, end: int) -> bytes:
        skip, size = start - extent.start, self.block_bytes
        data = self.store.volume.read((extent.address + skip) * size, (end - start) * size)
        sums = checksums(data, size)
        wanted = extent.sums[skip * SUM_BYTES : (end - extent.start) * SUM_BYTES]
        if sums != wanted:
            for index in range(end - start):
                part = slice(index * SUM_BYTES, (index + 1) * SUM_BYTES)
                if sums[part] != wanted[part]:
                    raise KernelError(Errno.EIO, f"inode {self.ino}: the checksum of block {start + index} is wrong")
        return data

    # --- changing ------------------------------------------------------------------------------------------

    def write_in_place(self, first: int, data: bytes) -> bool:
        """Put ``data`` over blocks that were born in this generation and lie in one extent; False if they do not."""
        stop = first + len(data) // self.block_bytes
        extent = self.recent
        if extent is None or not (extent.start <= first and stop <= extent.end):
            extent = self.at_or_before(first)
            if extent is None or stop > extent.end:
                return False
        if extent.birth != self.store.generation:
            return False
        skip = first - extent.start
        self.store.volume.write((extent.address + skip) * self.block_bytes, data)
        sums = extent.sums
        new = sums[: skip * SUM_BYTES] + checksums(data, self.block_bytes) + sums[(stop - extent.start) * SUM_BYTES :]
        self.recent = extent._replace(sums=new)
        with self.store.changing:
            self.tree.put(self.key(extent.start), self.recent.value())
        return True

    def write_new(self, first: int, data: bytes, *, at_end: bool = False) -> int:
        """Put ``data`` into new blocks in place of what is there; ``at_end``: nothing is, there or behind. By how many
        blocks the file grew."""
        store, size = self.store, self.block_bytes
        count = len(data) // size
        before = self.recent
        if before is None or not at_end or before.end != first:
            before = self.at_or_before(first)
        goal = before.address + first - before.start if before is not None else 0
        runs = store.space.allocate(count, goal)
        new: list[Extent] = []
        view = memoryview(data)
        position, most = first, store.limits.extent_blocks
        try:
            for address, length in runs:
                start = (position - first) * size
                store.volume.write(address * size, view[start : start + length * size])
                sums = checksums(view[start : start + length * size], size)
                for skip in range(0, length, most):
                    part = min(most, length - skip)
                    new.append(Extent(position + skip, address + skip, store.generation, part,
                                      sums[skip * SUM_BYTES : (skip + part) * SUM_BYTES]))
                position += length
        except BaseException:
            for address, length in runs:
                store.space.free_now(address, length)
            raise
        with store.changing:
            gone = 0
            if not at_end:
                gone = self._clear(first, first + count)
                before = self.at_or_before(first)
            if before is not None:
                self._join(before, new)
            for extent in new:
                self.tree.put(self.key(extent.start), extent.value())
        self.recent = new[-1]
        return count - gone

    def clear(self, first: int, stop: int) -> int:
        """Make a hole; returns how many blocks were let go."""
        with self.store.changing:
            return self._clear(first, stop)

    def _clear(self, first: int, stop: int) -> int:
        self.recent = None
        gone = 0
        for old in list(self.overlapping(first, stop)):
            start, end = max(old.start, first), min(old.end, stop)
            if old.start < first:
                self.tree.put(self.key(old.start), old.part(old.start, first).value())
            else:
                self.tree.remove(self.key(old.start))
            if old.end > stop:
                self.tree.put(self.key(stop), old.part(stop, old.end).value())
            self.store.release(old.address + start - old.start, end - start, old.birth)
            gone += end - start
        self.recent = None
        return gone

    def _join(self, left: Extent, new: list[Extent]) -> None:
        """Lengthen the extent before instead of starting another, if all fits together."""
        first = new[0]
        if (left.end == first.start and left.address + left.blocks == first.address and left.birth == first.birth
                and left.blocks + first.blocks <= self.store.limits.extent_blocks):
            new[0] = Extent(left.start, left.address, left.birth, left.blocks + first.blocks, left.sums + first.sums)
