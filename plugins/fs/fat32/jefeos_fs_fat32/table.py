"""The file allocation table: chains of clusters, free space, and what of it has yet to be written.

    entries   array of one number a cluster, in pieces of 65,536 clusters that are read when first needed
    used      the same as one byte a cluster, 0 free and 1 taken, so that bytes.find looks for free runs

Values in memory are those of the format with the reserved upper four bits of FAT32 taken off (they are kept aside and
written back as they were). A *run* is ``(first cluster, count)``. Nothing is written to the volume but by
`write_changes`: the order of writes is the business of whoever calls it (writes.py).

Everything from the medium is checked: a chain that leaves the volume, runs into a free or bad cluster, meets itself or
is longer than it may be is a CorruptError.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_fat32.layout import FIRST_CLUSTER

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

    from jefeos_fs_fat32.geometry import Geometry

Run: TypeAlias = tuple[int, int]

PIECE_BITS: Final = 16
PIECE: Final = 1 << PIECE_BITS
PIECE_MASK: Final = PIECE - 1
WRITE_BYTES: Final = 512
"""What is written of a FAT at a time; a sector is never smaller."""
MASK_32: Final = 0x0FFFFFFF
TRIES: Final = 64
"""Free runs that are looked at for one that holds all, before several are taken."""

#: By bits: the mark of a bad cluster, the first of the marks of an end, and the end that we write.
BAD: Final = {12: 0xFF7, 16: 0xFFF7, 32: 0x0FFFFFF7}
END: Final = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFFFFFF}

_USED_OF_BYTE: Final = bytes([0]) + bytes([1]) * 255
_LOW_NIBBLE: Final = bytes(byte & 15 for byte in range(256))


def unpack_entries(data: bytes, bits: int, count: int) -> array[int]:
    """The first ``count`` entries of FAT bytes, as they stand."""
    if bits == 12:
        entries = array("H", bytes(2 * count))
        for index in range(count):
            at = index * 3 // 2
            pair = data[at] | data[at + 1] << 8
            entries[index] = pair >> 4 if index & 1 else pair & 0xFFF
        return entries
    entries = array("H" if bits == 16 else "I", data[: count * bits // 8])
    if sys.byteorder == "big":
        entries.byteswap()
    return entries


def pack_entries(entries: array[int], bits: int) -> bytes:
    """The reverse of `unpack_entries`."""
    if bits == 12:
        packed = bytearray()
        padded = [*entries, 0] if len(entries) & 1 else list(entries)
        for low, high in zip(padded[::2], padded[1::2], strict=True):
            packed += (low | high << 12).to_bytes(3, "little")
        return bytes(packed[: -(-len(entries) * 3 // 2)])
    if sys.byteorder == "big":
        entries = entries[:]
        entries.byteswap()
    return entries.tobytes()


def usage_of(entries: array[int], bits: int) -> bytearray:
    """A byte for each entry: 0 if it is free."""
    data = pack_entries(entries, 32 if bits == 32 else 16)
    width = entries.itemsize
    total = 0
    for index in range(width):
        lane = data[index::width]
        total |= int.from_bytes(lane.translate(_LOW_NIBBLE) if bits == 32 and index == 3 else lane, "little")
    return bytearray(total.to_bytes(len(entries), "little").translate(_USED_OF_BYTE))


class AllocationTable:
    """See the module's text."""

    def __init__(self, volume: BufferCache, geometry: Geometry) -> None:
        self.volume = volume
        self.geometry = geometry
        self.bits = geometry.bits
        self.bad = BAD[self.bits]
        self.end = END[self.bits]
        self.last = geometry.last_cluster
        self.first_two = [0, 0]
        """FAT[0] and FAT[1]: the media byte and the flags."""
        count = -(-(self.last + 1) // PIECE)
        self._entries: list[array[int] | None] = [None] * count
        self._used: list[bytearray | None] = [None] * count
        self._upper: dict[int, int] = {}
        """Reserved bits of FAT32 entries that are not 0."""
        self._changed: set[int] = set()
        """Numbers of the `WRITE_BYTES` of the table that differ from the medium."""
        self.next_free = FIRST_CLUSTER
        self._free: int | None = None
        self._load(0)

    # --- entries -----------------------------------------------------------------------------------------------------

    def get(self, cluster: int) -> int:
        """The entry of a cluster, 2 to `last`."""
        entries = self._entries[cluster >> PIECE_BITS] or self._load(cluster >> PIECE_BITS)
        return entries[cluster & PIECE_MASK]

    def set(self, cluster: int, value: int) -> None:
        """Change the entry of a cluster that is and stays in use (or of FAT[1])."""
        entries = self._entries[cluster >> PIECE_BITS] or self._load(cluster >> PIECE_BITS)
        entries[cluster & PIECE_MASK] = value
        self._mark(cluster, 1)

    def is_link(self, value: int) -> bool:
        """Whether an entry's value names a cluster."""
        return FIRST_CLUSTER <= value <= self.last

    def _load(self, number: int) -> array[int]:
        first = number << PIECE_BITS
        count = min(PIECE, self.last + 1 - first)
        start = first * self.bits // 8
        length = -(-count * self.bits // 8)
        data = self.volume.read(self.geometry.fat_offset(self.geometry.active_fat) + start, length)
        entries = unpack_entries(data, self.bits, count)
        if self.bits == 32 and max(entries) > MASK_32:
            for index, value in enumerate(entries):
                if value > MASK_32:
                    self._upper[first + index] = value & ~MASK_32
                    entries[index] = value & MASK_32
        used = usage_of(entries, self.bits)
        if not number:
            self.first_two = [entries[0], entries[1]]
            used[:FIRST_CLUSTER] = b"\1\1"
        self._entries[number] = entries
        self._used[number] = used
        return entries

    def _used_piece(self, number: int) -> bytearray:
        used = self._used[number]
        if used is None:
            self._load(number)
            used = self._used[number]
        assert used is not None
        return used

    def usage(self, first: int) -> bytearray:
        """A byte for each cluster of the piece that begins at ``first``: 0 if it is free."""
        return self._used_piece(first >> PIECE_BITS)

    # --- chains ------------------------------------------------------------------------------------------------------

    def runs(self, first: int, most: int, what: str, *, whole: bool = False) -> list[Run]:
        """The first ``most`` clusters of a chain, as runs. Fewer if it ends before.

        ``whole``: it must end within them. Raises CorruptError that begins with ``what``.
        """
        result: list[Run] = []
        cluster, left, last, end = first, most, self.last, self.bad + 1
        while left > 0:
            if not FIRST_CLUSTER <= cluster <= last:
                raise CorruptError(f"{what}: its chain {_where(result)} leads to cluster {cluster}")
            start = cluster
            entries = self._entries[cluster >> PIECE_BITS] or self._load(cluster >> PIECE_BITS)
            while True:
                following = entries[cluster & PIECE_MASK]
                left -= 1
                if following != cluster + 1 or left <= 0 or following > last:
                    break
                cluster = following
                if not cluster & PIECE_MASK:
                    entries = self._entries[cluster >> PIECE_BITS] or self._load(cluster >> PIECE_BITS)
            result.append((start, cluster + 1 - start))
            if following >= end:
                break
            cluster = following
            if cluster < FIRST_CLUSTER:
                if left > 0 or whole:
                    raise CorruptError(f"{what}: its chain runs into free cluster after {_where(result)}")
                break
        else:
            if whole:
                raise CorruptError(f"{what}: its chain is longer than {most} clusters")
        _require_disjoint(result, what)
        return result

    # --- free space --------------------------------------------------------------------------------------------------

    def assume_free(self, count: int) -> None:
        """Trust the medium's count, so that a huge table need not be read as a whole."""
        if 0 <= count <= self.geometry.clusters:
            self._free = count

    @property
    def free_clusters(self) -> int:
        """How many are free. Counted when first asked for."""
        if self._free is None:
            self._free = sum(self._used_piece(number).count(0) for number in range(len(self._used)))
        return self._free

    def suggest(self, next_free: int) -> None:
        """Where to look for free clusters first (a hint of the medium)."""
        if FIRST_CLUSTER <= next_free <= self.last:
            self.next_free = next_free

    def allocate(self, count: int, near: int = 0) -> list[Run]:
        """Take ``count`` clusters and chain them, in few runs. ``near``: the last cluster of what they will continue.

        Raises KernelError(ENOSPC), and nothing is taken.
        """
        if count > self.free_clusters:
            raise KernelError(Errno.ENOSPC)
        runs = self._find(count, near + 1 if near else self.next_free, near > 0)
        for index, (first, length) in enumerate(runs):
            self._fill(first, length, runs[index + 1][0] if index + 1 < len(runs) else self.end)
        assert self._free is not None
        self._free -= count
        self.next_free = runs[-1][0] + runs[-1][1]
        return runs

    def release(self, runs: list[Run]) -> None:
        """Give clusters back at once."""
        for first, length in runs:
            while length:
                piece, index = first >> PIECE_BITS, first & PIECE_MASK
                part = min(length, PIECE - index)
                used = self._used_piece(piece)
                entries = self._entries[piece]
                assert entries is not None
                if self._free is not None:
                    self._free += used.count(1, index, index + part)
                used[index : index + part] = bytes(part)
                entries[index : index + part] = array(entries.typecode, bytes(part * entries.itemsize))
                self._mark(first, part)
                first, length = first + part, length - part

    def _find(self, count: int, start: int, continues: bool) -> list[Run]:
        """Free runs with ``count`` clusters together: what follows ``start`` if the chain ``continues`` there, then
        one for all the rest if it is soon found. The caller knows that there are enough."""
        runs: list[Run] = []
        found = kept = 0
        for looked_at, (first, length) in enumerate(self._free_runs(start)):
            if length >= count - kept:
                return [*runs[: int(kept > 0)], (first, count - kept)]
            if found < count:
                part = min(length, count - found)
                runs.append((first, part))
                found += part
            if continues and first == start:
                kept = length
            if found >= count and looked_at >= TRIES:
                return runs
        if found < count:
            self._free = None  # the hint on the medium was wrong: count for ourselves from now on
            raise KernelError(Errno.ENOSPC)
        return runs

    def _free_runs(self, start: int) -> Iterator[Run]:
        """Every free run from cluster ``start`` on and round to it again. A run does not cross pieces."""
        if not FIRST_CLUSTER <= start <= self.last:
            start = FIRST_CLUSTER
        pieces = len(self._used)
        home = start >> PIECE_BITS
        for step in range(pieces + 1):
            number = (home + step) % pieces
            used = self._used_piece(number)
            index = start & PIECE_MASK if not step else 0
            stop = start & PIECE_MASK if step == pieces else len(used)
            while True:
                index = used.find(0, index, stop)
                if index < 0:
                    break
                end = used.find(1, index, stop)
                if end < 0:
                    end = stop
                yield (number << PIECE_BITS) + index, end - index
                index = end

    def _fill(self, first: int, length: int, last_value: int) -> None:
        """Chain a free run."""
        piece, index = first >> PIECE_BITS, first & PIECE_MASK
        used, entries = self._used_piece(piece), self._entries[piece]
        assert entries is not None
        used[index : index + length] = b"\1" * length
        entries[index : index + length] = array(entries.typecode, [*range(first + 1, first + length), last_value])
        self._mark(first, length)

    # --- writing -----------------------------------------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._changed)

    def _mark(self, first: int, count: int) -> None:
        bits = self.bits
        start, stop = first * bits // 8, ((first + count) * bits + 7) // 8
        low, high = start // WRITE_BYTES, (stop - 1) // WRITE_BYTES
        if low == high:
            self._changed.add(low)
        else:
            self._changed.update(range(low, high + 1))

    def write_changes(self) -> None:
        """Write what has changed to every FAT in use."""
        if not self._changed:
            return
        if self.bits == 12:
            entries = self._entries[0]
            assert entries is not None
            whole = pack_entries(entries, 12)
            pieces = [whole[number * WRITE_BYTES : (number + 1) * WRITE_BYTES] for number in sorted(self._changed)]
        else:
            pieces = [self._bytes(number) for number in sorted(self._changed)]
        writes = [(number * WRITE_BYTES, data) for number, data in zip(sorted(self._changed), pieces, strict=True)]
        for number in self.geometry.fats_in_use():
            base = self.geometry.fat_offset(number)
            for start, data in joined(writes):
                self.volume.write(base + start, data)
        self._changed.clear()

    def rewrite_all(self) -> None:
        """Have everything written, as the FATs differ."""
        self._changed.update(range(-(-((self.last + 1) * self.bits) // (8 * WRITE_BYTES))))

    def _bytes(self, number: int) -> bytes:
        """The bytes of FAT16 or FAT32 from ``number * WRITE_BYTES`` on, as far as clusters go."""
        width = self.bits // 8
        first = number * WRITE_BYTES // width
        piece, index = first >> PIECE_BITS, first & PIECE_MASK
        entries = self._entries[piece] or self._load(piece)
        part = entries[index : index + WRITE_BYTES // width]
        if self._upper:
            for offset in range(len(part)):
                part[offset] |= self._upper.get(first + offset, 0)
        return pack_entries(part, self.bits)


def joined(writes: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Neighbouring writes put together."""
    start, end = 0, -1
    parts: list[bytes] = []
    for offset, data in writes:
        if offset != end:
            if parts:
                yield start, b"".join(parts)
            start, parts = offset, []
        parts.append(data)
        end = offset + len(data)
    if parts:
        yield start, b"".join(parts)


def _where(runs: list[Run]) -> str:
    return f"cluster {runs[-1][0] + runs[-1][1] - 1}" if runs else "at its start"


def _require_disjoint(runs: list[Run], what: str) -> None:
    """A chain that meets itself has a cluster in two runs."""
    end = 0
    for first, length in sorted(runs) if len(runs) > 1 else ():
        if first < end:
            raise CorruptError(f"{what}: its chain meets itself at cluster {first}")
        end = first + length
