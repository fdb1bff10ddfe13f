"""The blocks of one file: extents, with a checksum for each unit of what is in them (`checksum.py`).

    key  (ino, EXTENT, first block of the file)    value  (address, birth, count, blocks of a unit), checksums

Extents do not overlap, lie within the file's size, and what none of them covers is a hole. All blocks of an extent were
born in one generation. A block never changes once it is on the medium: new contents go to new blocks. Blocks that were
born in the generation under way are the exception; nothing on the medium refers to them.

What is written in large pieces has larger units, which cost less to check. Reading part of a unit reads and checks all
of it, and the store remembers the last one: who reads or appends a block at a time checks each unit once. Where an
extent is cut inside of a unit, the checksum of what is left of that is made from its contents. If those have rotted, it
becomes `LOST`, which nothing matches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_jefefs.checksum import LOST, SUM_BYTES, count_units, unit_sum, unit_sums
from jefeos_fs_jefefs.layout import EXTENT, EXTENT_KEY, EXTENT_VALUE, ITEM_KEY

if TYPE_CHECKING:
    from jefeos_fs_jefefs.layout import Limits
    from jefeos_fs_jefefs.store import Store
    from jefeos_fs_jefefs.tree import Tree

HEAD_BYTES = EXTENT_VALUE.size
BLOCK_NUMBER_END = 1 << 63
KNOWN_MOST = 256
"""Extents of a file that are kept as they were understood."""


class Extent(NamedTuple):
    """Blocks of a file that lie together. ``sums`` are the checksums of the units that they lie in."""

    start: int
    address: int
    birth: int
    blocks: int
    unit: int
    sums: bytes

    @property
    def end(self) -> int:
        """The block of the file after it."""
        return self.start + self.blocks

    def value(self) -> bytes:
        """How it stands in the tree."""
        return EXTENT_VALUE.pack(self.address, self.birth, self.blocks, self.unit) + self.sums

    def sums_of(self, start: int, end: int) -> bytes:
        """The checksums of the units that its blocks from ``start`` up to ``end`` lie in."""
        unit = self.unit
        skip = (start // unit - self.start // unit) * SUM_BYTES
        return self.sums[skip : skip + count_units(start, end, unit) * SUM_BYTES]


def extent_of(key: bytes, value: bytes, limits: Limits) -> Extent:
    """An extent from the tree. Raises CorruptError."""
    if len(key) != EXTENT_KEY.size or len(value) < HEAD_BYTES:
        raise CorruptError("an extent has a wrong length")
    address, birth, count, unit = EXTENT_VALUE.unpack_from(value)
    start = int.from_bytes(key[9:], "big")
    end = start + count
    if unit not in limits.units or not 0 < count <= limits.sums_most * unit or end > BLOCK_NUMBER_END:
        raise CorruptError(f"an extent of {count} blocks at block {start}, in units of {unit}")
    if len(value) != HEAD_BYTES + count_units(start, end, unit) * SUM_BYTES:
        raise CorruptError(f"an extent at block {start} has a wrong length")
    return Extent(start, address, birth, count, unit, value[HEAD_BYTES:])


class ExtentMap:
    """See the module's text."""

    __slots__ = ("block_bytes", "ino", "known", "limits", "prefix", "recent", "store", "tree")

    def __init__(self, store: Store, tree: Tree, ino: int) -> None:
        self.store = store
        self.tree = tree
        self.ino = ino
        self.limits = store.limits
        self.block_bytes = store.limits.block_bytes
        self.prefix = ITEM_KEY.pack(ino, EXTENT)
        self.recent: Extent | None = None
        """The one that was looked at last: a reader goes on in it."""
        self.known: dict[bytes, tuple[bytes, Extent]] = {}
        """By key, with the very value in the tree that says so."""

    def key(self, block: int) -> bytes:
        """The key of an extent that begins at ``block``."""
        return self.prefix + block.to_bytes(8, "big")

    def at_or_before(self, block: int) -> Extent | None:
        """The last extent that begins at or before ``block``."""
        found = self.tree.floor(self.key(block))
        if found is None or not found[0].startswith(self.prefix):
            return None
        return self._checked(*found)

    def _before(self, block: int, at_end: bool = False) -> Extent | None:
        """The same, but with a look at the recent one; ``at_end``: there is nothing from ``block`` on."""
        recent = self.recent
        if recent is None or not (recent.start <= block < recent.end or at_end and recent.end == block):
            recent = self.recent = self.at_or_before(block)
        return recent

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
        known = self.known.get(key)
        if known is not None and known[0] is value:
            return known[1]
        extent = extent_of(key, value, self.limits)
        self.store.geometry.check_run(extent.address, extent.blocks, f"inode {self.ino}")
        if len(self.known) >= KNOWN_MOST:
            self.known.clear()
        self.known[key] = value, extent
        return extent

    # --- reading -------------------------------------------------------------------------------------------

    def read(self, first: int, stop: int) -> bytes:
        """The contents of blocks ``first`` up to ``stop``; zeros where there is a hole. Raises KernelError(EIO)."""
        extent = self.recent
        if extent is None or not (extent.start <= first and stop <= extent.end):
            extent = self.at_or_before(first)
        if extent is not None and stop <= extent.end:
            self.recent = extent
            return self._read_part(extent, first, stop)
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
        """The blocks ``start`` up to ``end``, with the rest of the units that they lie in to check those."""
        unit, size = extent.unit, self.block_bytes
        low, high = max(start - start % unit, extent.start), min(end + -end % unit, extent.end)
        address = extent.address + low - extent.start
        wanted = extent.sums_of(low, high)
        if len(wanted) == SUM_BYTES:
            data = self._read_unit(address, high - low, low, wanted)
        else:
            data = self.store.volume.read(address * size, (high - low) * size)
            sums = unit_sums(data, low, unit, size)
            if sums != wanted:
                bad = next(index for index in range(0, len(sums), SUM_BYTES)
                           if sums[index : index + SUM_BYTES] != wanted[index : index + SUM_BYTES])
                raise self._wrong(max(low, (low // unit + bad // SUM_BYTES) * unit))
        return data if low == start and high == end else data[(start - low) * size : (end - low) * size]

    def _read_unit(self, address: int, count: int, block: int, wanted: bytes) -> bytes:
        store, size = self.store, self.block_bytes
        known, its_sum, data = store.recent_unit
        if known != address or its_sum != wanted:
            goes_on = count == 1 or known * size + len(data) == address * size
            read = store.volume.read if goes_on else store.volume.read_once
            data = read(address * size, count * size)
            if unit_sum(data) != wanted:
                raise self._wrong(block)
            store.recent_unit = address, wanted, data
        return data

    def _wrong(self, block: int) -> KernelError:
        return KernelError(Errno.EIO, f"inode {self.ino}: the checksum of what is at block {block} is wrong")

    # --- changing ------------------------------------------------------------------------------------------

    def write_in_place(self, first: int, data: bytes) -> bool:
        """Put ``data`` over blocks that were born in this generation and lie in one extent; False if they do not, or
        share a unit with others that have rotted."""
        stop = first + len(data) // self.block_bytes
        extent = self._before(first)
        if extent is None or stop > extent.end:
            return False
        if extent.birth != self.store.generation:
            return False
        unit = extent.unit
        low, high = max(first - first % unit, extent.start), min(stop + -stop % unit, extent.end)
        try:
            before = self._read_part(extent, low, first) if low < first else b""
            after = self._read_part(extent, stop, high) if stop < high else b""
        except KernelError:
            return False
        address = extent.address + first - extent.start
        self.store.volume.write(address * self.block_bytes, data)
        whole = b"".join((before, data, after)) if before or after else data
        new = unit_sums(whole, low, unit, self.block_bytes)
        if len(new) == SUM_BYTES:
            self.store.recent_unit = address - (first - low), new, whole
        skip = (low // unit - extent.start // unit) * SUM_BYTES
        self.recent = extent._replace(sums=extent.sums[:skip] + new + extent.sums[skip + len(new) :])
        with self.store.changing:
            self.tree.put(self.key(extent.start), self.recent.value())
        return True

    def write_new(self, first: int, data: bytes, *, at_end: bool = False) -> int:
        """Put ``data`` into new blocks in place of what is there; ``at_end``: nothing is, there or behind. By how many
        blocks the file grew."""
        store = self.store
        count = len(data) // self.block_bytes
        before = self._before(first, at_end)
        goal = before.address + first - before.start if before is not None else 0
        runs = store.space.allocate(count, goal)
        goes_on = before is not None and before.end == first and self._continues(before, runs[0][0])
        try:
            new = self._write_runs(runs, first, memoryview(data), before.unit if before and goes_on else 1)
        except BaseException:
            for address, length in runs:
                store.space.free_now(address, length)
            raise
        with store.changing:
            gone = 0 if at_end else self._clear(first, first + count)
            if before is not None and goes_on:
                self._join(before, new, data)
            for extent in new:
                self.tree.put(self.key(extent.start), extent.value())
        self.recent = new[-1]
        return count - gone

    def _continues(self, left: Extent, address: int) -> bool:
        """Whether what is written to ``address`` on after an extent is one with it."""
        return left.address + left.blocks == address and left.birth == self.store.generation

    def _write_runs(self, runs: list[tuple[int, int]], block: int, view: memoryview, unit: int) -> list[Extent]:
        """Write ``view``, the contents from ``block`` on, to ``runs``, in units of ``unit`` or larger ones."""
        store, size = self.store, self.block_bytes
        new: list[Extent] = []
        for address, length in runs:
            store.volume.write(address * size, view[: length * size])
            if length >= self.limits.large_blocks:
                unit = self.limits.units[-1]
            most = self.limits.sums_most * unit
            while length:
                count = min(length, most - block % unit)
                sums = unit_sums(view[: count * size], block, unit, size)
                new.append(Extent(block, address, store.generation, count, unit, sums))
                block, address, length, view = block + count, address + count, length - count, view[count * size :]
        return new

    def clear(self, first: int, stop: int) -> int:
        """Make a hole; returns how many blocks were let go."""
        with self.store.changing:
            return self._clear(first, stop)

    def _clear(self, first: int, stop: int) -> int:
        gone = 0
        for old in list(self.overlapping(first, stop)):
            start, end = max(old.start, first), min(old.end, stop)
            if old.start < first:
                self.tree.put(self.key(old.start), self._part(old, old.start, first).value())
            else:
                self.tree.remove(self.key(old.start))
            if old.end > stop:
                self.tree.put(self.key(stop), self._part(old, stop, old.end).value())
            self.store.release(old.address + start - old.start, end - start, old.birth)
            gone += end - start
        self.recent = None
        return gone

    def _part(self, extent: Extent, start: int, end: int) -> Extent:
        """What is left of an extent that is cut at one of its ends, or both."""
        unit = extent.unit
        sums = extent.sums_of(start, end)
        if start > extent.start and start % unit:
            sums = self._sum_of_part(extent, start, min(start + -start % unit, end)) + sums[SUM_BYTES:]
        if end < extent.end and end % unit:
            sums = sums[:-SUM_BYTES] + self._sum_of_part(extent, max(end - end % unit, start), end)
        return Extent(start, extent.address + start - extent.start, extent.birth, end - start, unit, sums)

    def _sum_of_part(self, extent: Extent, start: int, end: int) -> bytes:
        try:
            return unit_sum(self._read_part(extent, start, end))
        except KernelError:
            return LOST

    def _join(self, left: Extent, new: list[Extent], data: bytes) -> None:
        """Lengthen the extent before instead of starting another, if they have the same units and fit in one."""
        first, unit = new[0], left.unit
        if first.unit != unit or left.blocks + first.blocks > self.limits.sums_most * unit:
            return
        sums = left.sums + first.sums
        inside = left.end % unit
        if inside:  # they meet inside of a unit: the checksums of both its parts become one
            low = max(left.end - inside, left.start)
            try:
                tail = self._read_part(left, low, left.end)
            except KernelError:
                return
            whole = tail + data[: min(unit - inside, first.blocks) * self.block_bytes]
            both = unit_sum(whole)
            sums = left.sums[:-SUM_BYTES] + both + first.sums[SUM_BYTES:]
            self.store.recent_unit = left.address + low - left.start, both, whole
        new[0] = Extent(left.start, left.address, left.birth, left.blocks + first.blocks, unit, sums)
