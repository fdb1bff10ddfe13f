"""Regular files: bytes over the blocks of `ExtentMap`.

A file of up to a quarter of a block without extents lives in the tree itself (inline); the item may be shorter than the
file, or missing: the rest is zeros. A larger one has extents. Bytes of the last block past the end of the file are
zero on the medium, so that a file can grow without a look at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, FILE_SIZE_MAX

from jefeos_fs_jefefs.contents import ExtentMap
from jefeos_fs_jefefs.inode import JefeInode
from jefeos_fs_jefefs.layout import INLINE, item_key

if TYPE_CHECKING:
    from jefeos_fs_jefefs.filesystem import JefeFilesystem

EXTENTS_AT_ONCE = 512
"""Extents that are let go in one step when a file is deleted."""


class RegularInode(JefeInode):
    """See the module's text."""

    def __init__(self, fs: JefeFilesystem, own_ino: int, fields: tuple[int, ...]) -> None:
        super().__init__(fs, own_ino, fields)
        self.extents = ExtentMap(fs.store, fs.tree, own_ino)

    @property
    def _is_inline(self) -> bool:
        """Its contents are in the tree, or it has none."""
        return not self.block_count and self.size <= self.fs.store.limits.inline_bytes

    @property
    def _size_blocks(self) -> int:
        """Blocks that the file's size makes: none of its extents is behind them."""
        return -(-self.size // self.fs.block_size)

    def _inline(self) -> bytes:
        data = self.fs.tree.get(item_key(self.own_ino, INLINE)) or b""
        if len(data) > self.size:
            raise CorruptError(f"inode {self.own_ino}: there is more than its {self.size} bytes")
        return data.ljust(self.size, b"\0")

    def _put_inline(self, data: bytes) -> None:
        data = data.rstrip(b"\0")
        key = item_key(self.own_ino, INLINE)
        store = self.fs.store
        with store.changing:
            if data:
                self.fs.tree.put(key, data)
            else:
                self.fs.tree.remove(key)

    # --- reading -------------------------------------------------------------------------------------------

    def read_at(self, offset: int, count: int) -> bytes:
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        if self._is_inline:
            return self._inline()[offset : offset + count]
        size = self.fs.block_size
        first, stop = offset // size, -(-(offset + count) // size)
        data = self.extents.read(first, stop)
        start = offset - first * size
        return data if not start and len(data) == count else data[start : start + count]

    def next_data(self, offset: int, size: int) -> int | None:
        block = self.fs.block_size
        if self._is_inline:
            return offset if self._inline().rstrip(b"\0") or not self.size else None
        for extent in self.extents.overlapping(offset // block, -(-size // block)):
            found = max(offset, extent.start * block)
            return found if found < size else None
        return None

    def next_hole(self, offset: int, size: int) -> int:
        block = self.fs.block_size
        if self._is_inline:
            return size if self._inline().rstrip(b"\0") else offset
        position = offset // block
        for extent in self.extents.overlapping(position, -(-size // block)):
            if extent.start > position:
                break
            position = extent.end
        return min(max(position * block, offset), size)

    # --- writing -------------------------------------------------------------------------------------------

    def write_at(self, offset: int, data: bytes) -> None:
        fs = self.fs
        store = fs.store
        length, size = len(data), fs.block_size
        if not length:
            return
        end = offset + length
        inline_most = store.limits.inline_bytes
        if end <= inline_most and self._is_inline:
            fs.begin(store.blocks_for(2))
            old = self._inline()
            self._put_inline(old[:offset].ljust(offset, b"\0") + data + old[end:])
            self.changed()
            return
        blocks = length // size + 2
        fs.begin(blocks + store.blocks_for(4 + blocks // store.limits.sums_most))
        self._leave_inline()
        first, stop = offset // size, -(-end // size)
        before, after = offset - first * size, stop * size - end
        if before or after:
            data = self._whole_blocks(first, stop, before, after, data)
        if first >= self._size_blocks:
            self._count(self.extents.write_new(first, data, at_end=True))
        else:
            self._rewrite(first, data)
        self.changed()

    def _count(self, blocks: int) -> None:
        """There are so many blocks more; the inode has to say so even if what comes next fails."""
        self.block_count += blocks
        self.changed()

    def _rewrite(self, block: int, data: bytes) -> None:
        if not self.extents.write_in_place(block, data):
            self._count(self.extents.write_new(block, data))

    def _whole_blocks(self, first: int, stop: int, before: int, after: int, data: bytes) -> bytes:
        """``data`` with what lies before and after it in its first and last block."""
        block, known = self.fs.block_size, self._size_blocks
        head = b""
        if before:
            head = self.extents.read(first, first + 1) if first < known else bytes(block)
        if not after:
            return head[:before] + data
        if before and stop == first + 1:
            last = head
        else:
            last = self.extents.read(stop - 1, stop) if stop - 1 < known else bytes(block)
        return b"".join((head[:before], data, last[len(last) - after :]))

    def _leave_inline(self) -> None:
        """The file is about to have extents: contents in the tree move to its first block. Room is there already."""
        if self.block_count or not self.size or not self._is_inline:
            return
        data = self._inline()
        if data.rstrip(b"\0"):
            self._count(self.extents.write_new(0, data.ljust(self.fs.block_size, b"\0")))
            with self.fs.store.changing:
                self.fs.tree.remove(item_key(self.own_ino, INLINE))

    def set_size(self, size: int) -> None:
        store, old = self.fs.store, self.size
        if size > FILE_SIZE_MAX:
            raise KernelError(Errno.EFBIG)
        if size == old:
            self.fs.begin(0)
            return
        shrinking = size < old
        self.fs.begin(store.blocks_for(4) + 2, reserve=store.reserve // 2 if shrinking else None)
        if self._is_inline:
            if shrinking:
                self._put_inline(self._inline()[:size])
            elif size > store.limits.inline_bytes:
                self._leave_inline()
        elif shrinking:
            self._cut(size)
        self.size = size  # the caller does so too; what is in memory must fit together if it comes to a commit
        self.changed()

    def _cut(self, size: int) -> None:
        block = self.fs.block_size
        keep, rest = divmod(size, block)
        if rest:
            tail = self.extents.read(keep, keep + 1)
            if tail[rest:].strip(b"\0"):
                self._rewrite(keep, tail[:rest].ljust(block, b"\0"))
            keep += 1
        self._release_from(keep)

    def _release_from(self, block: int) -> None:
        """Let go of all blocks from ``block`` on, the last ones first."""
        store = self.fs.store
        while True:
            last = self.extents.at_or_before((1 << 63) - 1)
            if last is None or last.end <= block:
                return
            runs = [last]
            for _ in range(EXTENTS_AT_ONCE):
                before = self.extents.at_or_before(runs[-1].start - 1) if runs[-1].start > block else None
                if before is None or before.end <= block:
                    break
                runs.append(before)
            self._count(-self.extents.clear(max(runs[-1].start, block), last.end))
            if len(runs) > EXTENTS_AT_ONCE:
                self.size = min(self.size, runs[-1].start * self.fs.block_size)
                self.fs.begin(store.blocks_for(2), reserve=store.reserve // 4)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            raise KernelError(Errno.EOPNOTSUPP)
        if mode & FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE:
            raise KernelError(Errno.EOPNOTSUPP)
        end = offset + length
        if end > FILE_SIZE_MAX:
            raise KernelError(Errno.EFBIG)
        store = self.fs.store
        if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            self.fs.begin(store.blocks_for(6) + 4, reserve=store.reserve // 2)
            self._zero(offset, min(end, self.size))
        else:
            self.fs.begin(-(-length // self.fs.block_size))  # a promise for now: see README
        if not mode & FALLOC_FL_KEEP_SIZE and end > self.size:
            self.truncate(end)
        self.touch_modified()

    def _zero(self, start: int, end: int) -> None:
        if start >= end:
            return
        block = self.fs.block_size
        if self._is_inline:
            old = self._inline()
            self._put_inline(old[:start] + bytes(end - start) + old[end:])
        else:
            first, stop = -(-start // block), end // block
            at_end = end == self.size
            if at_end:
                stop = -(-end // block)
            if first < stop:
                self._count(-self.extents.clear(first, stop))
            edges = {start // block: None} if start % block else {}
            if end % block and not at_end:
                edges[end // block] = None
            for index in edges:
                old = self.extents.read(index, index + 1)
                low, high = max(start - index * block, 0), min(end - index * block, block)
                if old[low:high].strip(b"\0"):
                    self._rewrite(index, old[:low] + bytes(high - low) + old[high:])
        self.changed()
        self._zero_pages(start, end)

    def _zero_pages(self, start: int, end: int) -> None:
        """The page cache has to see it too, but only where it holds pages: a file may be very large."""
        mapping = self._mapping
        if mapping is None:
            return
        for index in [index for index in mapping.pages if start // 4096 <= index <= (end - 1) // 4096]:
            low, high = max(start, index * 4096), min(end, (index + 1) * 4096)
            mapping.update(low, bytes(high - low))

    def delete_contents(self) -> None:
        if self.block_count > EXTENTS_AT_ONCE:  # what is left goes with the inode
            self._release_from(0)
