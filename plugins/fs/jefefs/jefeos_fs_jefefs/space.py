"""Free space: which blocks are given out.

    superblock --> index blocks --> bitmaps          on the medium: each has two fixed slots, written in turn
                                    groups           in memory: the bitmap of a group, and its free runs in order

A bit is set for a block in use. Bitmaps are at fixed places, so writing them needs no space: that is what lets a commit
end. A slot that the last commit relies on is not touched before the next commit is on the medium.

Groups are read when they are needed. Allocation goes on where it left off, a run at a time; the groups with free blocks
are bits of one number, so a full one costs nothing. Large requests have a place of their own where they go on, past the
short runs, which are left to small ones: so no request looks at what another one has looked at in vain.

What a generation lets go is given out again only after its commit (`settle`), since the medium still refers to it. A
group whose bitmap has rotted gives out nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from attrs import define, field
from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_jefefs.checksum import checksum_of
from jefeos_fs_jefefs.layout import INDEX_ENTRY, INDEX_REFERENCE, SLOT_NONE, Geometry

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

Run = tuple[int, int]
FREE_RUN: Final = re.compile("0+")
NODE_RUN_BLOCKS: Final = 64
"""Nodes take their blocks out of runs of this length, so that they lie together."""
LARGE_BLOCKS: Final = 32
LOOK_AT_RUNS: Final = 64
"""A piece of a large request goes past so many short runs on its way to one that takes it whole."""


@define
class Group:
    """A group whose bitmap is in memory. ``starts`` and ``ends`` are its free runs, in blocks of the volume."""

    bitmap: bytearray
    starts: list[int] = field(factory=list)
    ends: list[int] = field(factory=list)


class Space:
    """See the module's text."""

    def __init__(self, volume: BufferCache, geometry: Geometry) -> None:
        self.volume = volume
        self.geometry = geometry
        groups = geometry.groups
        self.free_counts = [0] * groups
        """Free blocks of each group, as its bitmap on the medium will say: blocks that wait to be settled included."""
        self.checksums = [0] * groups
        self.slots = [SLOT_NONE] * groups
        self.index_slots = [0] * geometry.index_blocks
        self.index_checksums = [0] * geometry.index_blocks
        self.groups: dict[int, Group] = {}
        self.damage = ""
        """What is wrong with the index blocks; then nothing may be given out."""
        self.lost_groups: set[int] = set()
        """Those that a damaged index block no longer tells of."""
        self.dirty: set[int] = set()
        self.with_free = 0
        """Bit n: group n may have blocks to give out."""
        self.free = 0
        """Blocks that can be given out now."""
        self.let_go: list[Run] = []
        """Blocks that the generation under way no longer uses, but the one on the medium does."""
        self.let_go_blocks = 0
        self._settling: list[Run] = []
        self._cursors = [geometry.first_data, geometry.first_data]
        """Where small and large requests go on."""
        self._node_run: Run = (0, 0)
        self._written: dict[int, int] = {}
        self._index_written: dict[int, int] = {}

    # --- from and to the medium --------------------------------------------------------------------------

    def make(self) -> None:
        """All of it is free but what has its fixed place."""
        geometry = self.geometry
        for group in range(geometry.groups):
            base = group * geometry.group_blocks
            inside = base >= geometry.first_data and base + geometry.group_blocks <= geometry.data_end
            self.free_counts[group] = geometry.group_blocks if inside else _zeros(self.fresh_bitmap(group))
            if self.free_counts[group]:
                self.with_free |= 1 << group
        self.free = sum(self.free_counts)
        self.index_slots = [1] * geometry.index_blocks
        self.dirty = set(range(0, geometry.groups, geometry.entries_per_index))

    def load(self, references: bytes) -> None:
        """Take over what the index blocks say, found by the superblock's references. One that is damaged is noted."""
        for number in range(self.geometry.index_blocks):
            try:
                self._load_index(number, *INDEX_REFERENCE.unpack_from(references, number * INDEX_REFERENCE.size))
            except KernelError as error:
                self.damage = self.damage or str(error)
                self.lost_groups.update(self._groups_of(number))
        self.free = sum(self.free_counts)

    def _groups_of(self, index: int) -> range:
        first = index * self.geometry.entries_per_index
        return range(first, min(first + self.geometry.entries_per_index, self.geometry.groups))

    def _load_index(self, number: int, checksum: int, slot: int) -> None:
        if slot > 1:
            raise CorruptError(f"space index {number}: there is no slot {slot}")
        self.index_slots[number], self.index_checksums[number] = slot, checksum
        block = self._read_block(self.geometry.index_block(number, slot))
        if checksum_of(block) != checksum:
            raise CorruptError(f"space index {number}: its checksum is wrong")
        groups = self._groups_of(number)
        entries = list(INDEX_ENTRY.iter_unpack(block[: len(groups) * INDEX_ENTRY.size]))
        if any(free > self.geometry.group_blocks or slot > SLOT_NONE for _, free, slot in entries):
            raise CorruptError(f"space index {number}: an entry makes no sense")
        for group, entry in zip(groups, entries, strict=True):
            self.checksums[group], self.free_counts[group], self.slots[group] = entry
            if entry[1]:
                self.with_free |= 1 << group

    def rebuild(self, bitmaps: dict[int, bytes]) -> None:
        """These bitmaps are right, whatever the medium says; the next commit writes them."""
        for number, bitmap in bitmaps.items():
            self.groups[number] = Group(bytearray(bitmap))
            self.free_counts[number] = _zeros(bitmap)
            self.dirty.add(number)
        self.lost_groups.difference_update(bitmaps)
        self.damage = ""

    def commit(self) -> bytes:
        """Write the bitmaps and index blocks that changed to their other slots; the references to the latter.

        May be called again if what follows fails: it never writes to a slot that the medium relies on.
        """
        self.give_node_run_back()
        for address, count in self.let_go:
            self._mark(address, count, used=False)
        self._settling += self.let_go
        self.let_go, self.let_go_blocks = [], 0
        geometry = self.geometry
        for group in sorted(self.dirty):
            bitmap = self.group(group).bitmap
            slot = self._written[group] = 0 if self.slots[group] else 1
            self.checksums[group] = checksum_of(bitmap)
            self.volume.write(geometry.bitmap_block(group, slot) * geometry.block_bytes, bitmap)
        for number in sorted({group // geometry.entries_per_index for group in self.dirty}):
            entries = [
                INDEX_ENTRY.pack(self.checksums[group], self.free_counts[group],
                                 self._written.get(group, self.slots[group]))
                for group in self._groups_of(number)
            ]
            block = b"".join(entries).ljust(geometry.block_bytes, b"\0")
            slot = self._index_written[number] = 1 - self.index_slots[number]
            self.index_checksums[number] = checksum_of(block)
            self.volume.write(geometry.index_block(number, slot) * geometry.block_bytes, block)
        return b"".join(
            INDEX_REFERENCE.pack(checksum, self._index_written.get(number, self.index_slots[number]))
            for number, checksum in enumerate(self.index_checksums)
        )

    def settle(self) -> None:
        """The commit is on the medium: what it let go can be given out."""
        for group, slot in self._written.items():
            self.slots[group] = slot
        for number, slot in self._index_written.items():
            self.index_slots[number] = slot
        self._written, self._index_written = {}, {}
        self.dirty.clear()
        settling, self._settling = self._settling, []
        for address, count in settling:
            self._add_free(address, count)

    @property
    def free_after_commit(self) -> int:
        """Blocks that nothing will use once the generation under way is on the medium."""
        start, end = self._node_run
        return self.free + end - start + self.let_go_blocks + sum(count for _, count in self._settling)

    # --- giving out and taking back ------------------------------------------------------------------------

    def allocate(self, count: int, goal: int = 0) -> list[Run]:
        """``count`` blocks in as few runs as can be found at once, at ``goal`` if it is free. Raises ENOSPC."""
        if count > self.free:
            self.give_node_run_back()
            if count > self.free:
                raise KernelError(Errno.ENOSPC)
        runs: list[Run] = []
        if goal:
            count -= self._take_at(goal, count, runs)
        while count:
            try:
                address, length = self._take_next(count)
            except KernelError:
                for run in runs:
                    self.free_now(*run)
                raise
            if runs and sum(runs[-1]) == address:
                runs[-1] = (runs[-1][0], runs[-1][1] + length)
            else:
                runs.append((address, length))
            count -= length
        return runs

    def allocate_node(self) -> int:
        """One block for a node. Raises ENOSPC."""
        start, end = self._node_run
        if start == end:
            if not self.free:
                raise KernelError(Errno.ENOSPC)
            start, length = self._take_next(min(NODE_RUN_BLOCKS, self.free))
            end = start + length
        self._node_run = (start + 1, end)
        return start

    def give_node_run_back(self) -> None:
        """What nodes have not used of their run is as free as the rest."""
        start, end = self._node_run
        self._node_run = (0, 0)
        if start < end:
            self.free_now(start, end - start)

    def free_now(self, address: int, count: int) -> None:
        """Blocks of the generation under way: nothing on the medium refers to them."""
        self._mark(address, count, used=False)
        self._add_free(address, count)

    def free_later(self, address: int, count: int) -> None:
        """Blocks that the medium refers to, until the commit of this generation."""
        self.geometry.check_run(address, count, "free space")
        self.let_go.append((address, count))
        self.let_go_blocks += count

    def _take_at(self, goal: int, count: int, runs: list[Run]) -> int:
        """Take up to ``count`` blocks that begin at ``goal``; returns how many."""
        number = goal // self.geometry.group_blocks
        if not self.geometry.first_data <= goal < self.geometry.data_end or not self.with_free >> number & 1:
            return 0
        group = self.group(number)
        index = bisect_right(group.starts, goal) - 1
        if index < 0 or group.ends[index] <= goal:
            return 0
        length = min(count, group.ends[index] - goal)
        self._take(number, group, index, goal, length)
        runs.append((goal, length))
        return length

    def _take_next(self, count: int) -> Run:
        """Take from the run at the cursor, or from the next; a large request goes on a little for a long run."""
        large = count >= LARGE_BLOCKS
        number, index = self._next_run(large)
        group = self.group(number)
        cursor = self._cursors[large]
        if large:
            end = min(index + LOOK_AT_RUNS, len(group.starts)) - 1
            while index < end and group.ends[index] - max(group.starts[index], cursor) < count:
                index += 1
        start = max(group.starts[index], cursor)
        length = min(count, group.ends[index] - start)
        self._take(number, group, index, start, length)
        self._cursors[large] = start + length
        return start, length

    def _next_run(self, large: bool) -> tuple[int, int]:
        """The group and the index of the first run that does not end before the cursor, around the end if need be."""
        group_blocks = self.geometry.group_blocks
        while True:
            cursor = self._cursors[large]
            number = cursor // group_blocks
            ahead = self.with_free >> number
            if not ahead:
                if not self.with_free:
                    raise KernelError(Errno.ENOSPC)  # after all: there were groups that cannot be read
                self._cursors[large] = 0
                continue
            number += (ahead & -ahead).bit_length() - 1
            try:
                group = self.group(number)
            except KernelError:  # its bitmap has rotted: nothing is given out from there
                self.with_free &= ~(1 << number)
                self.free -= self.free_counts[number]
                continue
            index = bisect_right(group.ends, cursor)
            if index < len(group.starts):
                return number, index
            if not group.starts:
                self.with_free &= ~(1 << number)
            self._cursors[large] = (number + 1) * group_blocks

    def _take(self, number: int, group: Group, index: int, start: int, length: int) -> None:
        first, end = group.starts[index], group.ends[index]
        if first == start:
            if start + length == end:
                del group.starts[index], group.ends[index]
                if not group.starts:
                    self.with_free &= ~(1 << number)
            else:
                group.starts[index] = start + length
        else:
            group.ends[index] = start
            if start + length < end:
                group.starts.insert(index + 1, start + length)
                group.ends.insert(index + 1, end)
        self.free -= length
        self._mark(start, length, used=True)

    def _add_free(self, address: int, count: int) -> None:
        """Put blocks among those that can be given out."""
        group_blocks = self.geometry.group_blocks
        self.free += count
        while count:
            number = address // group_blocks
            length = min(count, (number + 1) * group_blocks - address)
            group = self.group(number)
            index = bisect_right(group.starts, address)
            joins_left = index > 0 and group.ends[index - 1] == address
            joins_right = index < len(group.starts) and group.starts[index] == address + length
            if joins_left and joins_right:
                group.ends[index - 1] = group.ends[index]
                del group.starts[index], group.ends[index]
            elif joins_left:
                group.ends[index - 1] = address + length
            elif joins_right:
                group.starts[index] = address
            else:
                group.starts.insert(index, address)
                group.ends.insert(index, address + length)
            self.with_free |= 1 << number
            address += length
            count -= length

    # --- bitmaps -------------------------------------------------------------------------------------------

    def group(self, number: int) -> Group:
        """A group, read from the medium if it is not here. Raises CorruptError."""
        group = self.groups.get(number)
        if group is None:
            bitmap = self.bitmap(number)
            base = number * self.geometry.group_blocks
            group = self.groups[number] = Group(bitmap)
            for run in FREE_RUN.finditer(f"{int.from_bytes(bitmap, 'little'):0{len(bitmap) * 8}b}"[::-1]):
                group.starts.append(base + run.start())
                group.ends.append(base + run.end())
        return group

    def bitmap(self, number: int) -> bytearray:
        """The bitmap of a group as it is on the medium, checked."""
        slot = self.slots[number]
        if number in self.lost_groups:
            raise CorruptError(f"bitmap of group {number}: its index block is damaged")
        if slot == SLOT_NONE:
            bitmap = self.fresh_bitmap(number)
        else:
            bitmap = bytearray(self._read_block(self.geometry.bitmap_block(number, slot)))
            if checksum_of(bitmap) != self.checksums[number]:
                raise CorruptError(f"bitmap of group {number}: its checksum is wrong")
        if _zeros(bitmap) != self.free_counts[number]:
            raise CorruptError(f"bitmap of group {number}: it does not have as many free blocks as the index says")
        fixed = self.fresh_bitmap(number)
        if int.from_bytes(fixed, "little") & ~int.from_bytes(bitmap, "little"):
            raise CorruptError(f"bitmap of group {number}: blocks with a fixed place are marked free")
        return bitmap

    def fresh_bitmap(self, number: int) -> bytearray:
        """A bitmap in which only what has its fixed place is in use."""
        geometry = self.geometry
        base = number * geometry.group_blocks
        bitmap = bytearray(geometry.block_bytes)
        for start, end in ((0, geometry.first_data), (geometry.data_end, geometry.groups * geometry.group_blocks)):
            first, last = max(start - base, 0), min(end - base, geometry.group_blocks)
            if first < last:
                fill(bitmap, first, last - first, used=True)
        return bitmap

    def _mark(self, address: int, count: int, *, used: bool) -> None:
        """Set or clear the bits of a run. Raises CorruptError if one of them is that way already."""
        group_blocks = self.geometry.group_blocks
        while count:
            number, start = divmod(address, group_blocks)
            length = min(count, group_blocks - start)
            if not fill(self.group(number).bitmap, start, length, used=used):
                already = "taken" if used else "free"
                raise CorruptError(f"free space: some of the {length} blocks at {address} are {already} already")
            self.free_counts[number] += -length if used else length
            self.dirty.add(number)
            address += length
            count -= length

    def _read_block(self, address: int) -> bytes:
        return self.volume.read(address * self.geometry.block_bytes, self.geometry.block_bytes)


def _zeros(bitmap: bytes | bytearray) -> int:
    return len(bitmap) * 8 - int.from_bytes(bitmap, "little").bit_count()


def fill(bitmap: bytearray, start: int, count: int, *, used: bool) -> bool:
    """Set or clear ``count`` bits; False, with nothing changed, if one of them is that way already."""
    end = start + count
    if count <= 64:
        first, last = start >> 3, (end + 7) >> 3
        mask = (1 << count) - 1 << (start & 7)
        value = int.from_bytes(bitmap[first:last], "little")
        if value & mask != (0 if used else mask):
            return False
        bitmap[first:last] = (value ^ mask).to_bytes(last - first, "little")
        return True
    first, last = -(-start // 8), end // 8
    before, after = first * 8 - start, end - last * 8
    if bitmap.count(0 if used else 255, first, last) != last - first:
        return False
    saved = bitmap[max(first - 1, 0) : last + 1]
    if before and not fill(bitmap, start, before, used=used):
        return False
    if after and not fill(bitmap, last * 8, after, used=used):
        bitmap[max(first - 1, 0) : last + 1] = saved
        return False
    bitmap[first:last] = (b"\xff" if used else b"\0") * (last - first)
    return True
