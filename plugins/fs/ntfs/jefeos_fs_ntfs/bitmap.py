"""Bitmaps: which clusters, which file records and which index blocks are taken; and clusters by the run.

The bits of a bitmap are kept whole in memory. Searching looks at bytes, with the string search of the host's C
library, so that a gap of any length is found in one pass.

`Clusters` gives out clusters so that files stay in few runs: behind the file's last cluster if that is free, else from
the first gap behind the last allocation that is large enough for all of it, else in the largest pieces there are. The
part behind $MFT (an eighth of the volume) is left for its growth until nothing else is free. Clusters that an operation
gives back are not given out again before the change is on the medium: until then the medium says that they hold what
they held.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_ntfs.runs import Run

if TYPE_CHECKING:
    from jefeos_fs_ntfs.transaction import Block, Transaction

PAGE_BYTES: Final = 4096
MFT_ZONE_SHARE: Final = 8
_NOT_FULL: Final = re.compile(rb"[^\xff]")
_NOT_EMPTY: Final = re.compile(rb"[^\x00]")


class Bitmap:
    """Bits, one for each unit. Bits past ``count`` count as taken."""

    def __init__(self, bits: bytes, count: int, transaction: Transaction,
                 locate: Callable[[int, bytes], list[Block]]) -> None:
        """``locate`` gives the blocks for bytes of the bitmap at an offset."""
        if len(bits) * 8 < count:
            raise CorruptError(f"a bitmap of {len(bits)} bytes is too short for {count} bits")
        self.bits = bytearray(bits)
        self.count = count
        self.transaction = transaction
        self.locate = locate
        self._dirty_pages: set[int] = set()

    @property
    def taken(self) -> int:
        """How many bits are set."""
        whole, rest = divmod(self.count, 8)
        set_bits = int.from_bytes(self.bits[:whole], "little").bit_count()
        return set_bits + (self.bits[whole] & (1 << rest) - 1).bit_count() if rest else set_bits

    def __getitem__(self, index: int) -> bool:
        return bool(self.bits[index >> 3] >> (index & 7) & 1)

    def set(self, start: int, length: int = 1) -> None:
        """Take units. They have to be free: CorruptError."""
        if self.free_length(start, length) != length:
            raise CorruptError(f"bitmap: {length} units at {start} are to be taken and are not free")
        self._fill(start, length, True)
        self.transaction.on_failure(self._fill, start, length, False)

    def clear(self, start: int, length: int = 1) -> None:
        """Give units back, whether they were taken or not."""
        if start < 0 or start + length > self.count:
            raise CorruptError(f"bitmap: {length} units at {start} are not all there")
        self._fill(start, length, False)
        self.transaction.on_failure(self._fill, start, length, True)

    def extend(self, count: int) -> None:
        """There are ``count`` units now, the new ones free."""
        missing = (count + 63) // 64 * 8 - len(self.bits)
        self.transaction.on_failure(self._shorten, self.count, len(self.bits))
        if missing > 0:
            self.bits += bytes(missing)
        self.count = count
        self._mark((len(self.bits) - 1) // PAGE_BYTES, (len(self.bits) - 1) // PAGE_BYTES)

    def find(self, start: int, end: int, length: int) -> int:
        """The first free stretch of ``length`` units that begins within ``start`` and ``end``; -1 if there is none."""
        end = min(end, self.count)
        position = start
        while position < end:
            if length >= 16:
                found = self.bits.find(bytes(max(length // 8 - 1, 1)), position >> 3)
                if found < 0:
                    return -1
                first = max(position, found * 8)
                while first > position and not self[first - 1]:
                    first -= 1
            else:
                match = _NOT_FULL.search(self.bits, position >> 3)
                if match is None:
                    return -1
                first = max(position, match.start() * 8)
                while first < end and self[first]:
                    first += 1
            if first >= end:
                return -1
            free = self.free_length(first, length)
            if free >= length:
                return first
            position = first + max(free, 1)
        return -1

    def free_length(self, start: int, limit: int) -> int:
        """How many units from ``start`` on are free, up to ``limit``."""
        end = min(start + limit, self.count)
        position = start
        bits = self.bits
        while position < end:
            if position & 7 or end - position < 8:
                if bits[position >> 3] >> (position & 7) & 1:
                    break
                position += 1
                continue
            match = _NOT_EMPTY.search(bits, position >> 3, end >> 3)
            if match is None:
                position = end >> 3 << 3
                if position == end:
                    break
            else:
                position = match.start() * 8
                while not bits[position >> 3] >> (position & 7) & 1:
                    position += 1
                break
        return max(position - start, 0)

    def _fill(self, start: int, length: int, taken: bool) -> None:
        bits = self.bits
        if length == 1:
            bit = 1 << (start & 7)
            bits[start >> 3] = bits[start >> 3] | bit if taken else bits[start >> 3] & ~bit
            self._mark(start // 8 // PAGE_BYTES, start // 8 // PAGE_BYTES)
            return
        end = start + length
        first, last = start >> 3, end - 1 >> 3
        head = 0xFF << (start & 7) & 0xFF
        tail = 0xFF >> (7 - (end - 1 & 7))
        if first == last:
            mask = head & tail
            bits[first] = bits[first] | mask if taken else bits[first] & ~mask
        else:
            bits[first] = bits[first] | head if taken else bits[first] & ~head
            bits[last] = bits[last] | tail if taken else bits[last] & ~tail
            if last - first > 1:
                bits[first + 1 : last] = (b"\xff" if taken else b"\0") * (last - first - 1)
        self._mark(first // PAGE_BYTES, last // PAGE_BYTES)

    def _mark(self, first_page: int, last_page: int) -> None:
        self.transaction.dirty[self] = None
        pages = self._dirty_pages
        if first_page == last_page and first_page in pages:
            return
        before = len(pages)
        pages.update(range(first_page, last_page + 1))
        self.transaction.weight += (len(pages) - before) * PAGE_BYTES

    def _shorten(self, count: int, length: int) -> None:
        self.count = count
        del self.bits[length:]
        self._dirty_pages = {page for page in self._dirty_pages if page * PAGE_BYTES < length}

    @property
    def weight(self) -> int:
        """Its pages are counted when they become dirty."""
        return 0

    # -- as a part of operations: what changed is undone stretch by stretch --

    def snapshot(self) -> None:
        """Nothing: see `set` and `clear`."""

    def restore(self, state: None) -> None:
        """Nothing."""

    def blocks(self) -> list[Block]:
        """The pages that changed."""
        pages, self._dirty_pages = sorted(self._dirty_pages), set()
        blocks: list[Block] = []
        for page in pages:
            start = page * PAGE_BYTES
            blocks += self.locate(start, bytes(self.bits[start : start + PAGE_BYTES]))
        return blocks


class Clusters:
    """The clusters of the volume."""

    def __init__(self, bitmap: Bitmap, zone_start: int) -> None:
        """``zone_start``: the cluster behind $MFT."""
        self.bitmap = bitmap
        self.free = bitmap.count - bitmap.taken
        """Free ones, those that wait for a commit not among them."""
        self.waiting: list[Run] = []
        self.waiting_count = 0
        self._waiting_pages: set[int] = set()
        self.some_ahead = False
        """Files hold clusters that they do not need yet; a commit gives those back."""
        self.zone_start = zone_start
        self.zone_end = min(zone_start + bitmap.count // MFT_ZONE_SHARE, bitmap.count)
        self._next = self.zone_end

    def allocate(self, count: int, goal: int = -1, *, for_mft: bool = False) -> list[Run]:
        """``count`` clusters in few runs, the first at ``goal`` if that is free. Raises KernelError(ENOSPC)."""
        if count > self.free:
            raise KernelError(Errno.ENOSPC)
        runs: list[Run] = []
        bitmap = self.bitmap
        if 0 <= goal < bitmap.count:
            length = bitmap.free_length(goal, count)
            if length:
                self._take(runs, goal, length)
                count -= length
        while count:
            start, length = self._gap(count, for_mft)
            self._take(runs, start, length)
            count -= length
        return runs

    def _take(self, runs: list[Run], start: int, length: int) -> None:
        self.bitmap.set(start, length)
        self.bitmap.transaction.on_failure(self._count, length)
        self.free -= length
        runs.append((start, length))

    def _gap(self, count: int, for_mft: bool) -> tuple[int, int]:
        """A free stretch of ``count`` clusters, or one of the largest that there are."""
        bitmap, total = self.bitmap, self.bitmap.count
        places = [(self._next, total), (self.zone_end, total), (0, self.zone_start), (0, total)]
        if for_mft:
            places = [(self.zone_start, total), (0, total)]
        wanted = count
        while wanted:
            for start, end in places:
                found = bitmap.find(start, end, wanted)
                if found >= 0:
                    length = bitmap.free_length(found, count)
                    if not for_mft:
                        self._next = found + length
                    return found, length
            wanted //= 2
        raise KernelError(Errno.ENOSPC)

    def release(self, runs: list[Run]) -> None:
        """Give clusters back once the change is on the medium."""
        before = len(self.waiting), self.waiting_count
        self.bitmap.transaction.on_failure(self._keep, *before)
        real = [run for run in runs if run[0] >= 0]
        self.waiting += real
        self.waiting_count += sum([length for _, length in real])
        pages = self._waiting_pages
        known = len(pages)
        for lcn, length in real:
            pages.update(range(lcn // 8 // PAGE_BYTES, (lcn + length - 1) // 8 // PAGE_BYTES + 1))
        self.bitmap.transaction.weight += (len(pages) - known) * PAGE_BYTES

    def free_waiting(self) -> None:
        """A commit: those that were given back since the last one are free in what it writes."""
        for start, length in self.waiting:
            self.bitmap._fill(start, length, False)
        self.free += self.waiting_count
        self.some_ahead = False
        self.waiting.clear()
        self._waiting_pages.clear()
        self.waiting_count = 0

    def _count(self, length: int) -> None:
        self.free += length

    def _keep(self, length: int, count: int) -> None:
        del self.waiting[length:]
        self.waiting_count = count
