"""The slots of a directory: its bytes as they will be on the medium, which of them are free, and how changes get there.

Slots lie in sectors of 512 bytes, which a disk writes whole or not at all. A name whose slots lie in two sectors would
show its short name alone if only the last one got there. So such a name comes in two steps (first everything with the
part in the last sector left out, then that part) and goes in two (the part in the last sector first). `Writes.commit`
calls the steps:

    write_split      all that has changed, without the last parts of new names in two sectors
    write_changes    all that has changed
    apply_removals   names that are gone lose their slots in the last sector …
    apply_heads      … and then the rest; only now these slots are free
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_fat32.layout import FREE_SLOT, MOST_SLOTS, SLOT_BYTES, Slot

if TYPE_CHECKING:
    from jefeos_fs_fat32.filesystem import FatFilesystem
    from jefeos_fs_fat32.table import Run

Place: TypeAlias = tuple[int, int]
"""The first and the last slot of a name."""

SLOTS_A_SECTOR: Final = 16
SECTOR_BYTES: Final = SLOT_BYTES * SLOTS_A_SECTOR
_TAKEN: Final = bytes(0 if byte == FREE_SLOT else 1 for byte in range(256))


class SlotSpace:
    """See the module's text."""

    def __init__(self, fs: FatFilesystem, cluster: int, where: str) -> None:
        """Read a directory; ``cluster`` 0 is the root of FAT12 and FAT16. Raises CorruptError."""
        self.fs = fs
        self.where = where
        geometry = fs.geometry
        self.is_fixed = not cluster and geometry.bits != 32 and where == ROOT
        self.runs: list[Run] = []
        if self.is_fixed:
            data = fs.volume.read(geometry.root_offset, geometry.root_entries * SLOT_BYTES)
        else:
            most = max(MOST_SLOTS * SLOT_BYTES // geometry.cluster_bytes, 1)
            self.runs = fs.table.runs(cluster, most, where, whole=True)
            read = fs.volume.read
            data = b"".join(
                [read(geometry.offset_of(first), count * geometry.cluster_bytes) for first, count in self.runs]
            )
        self.data = bytearray(data)
        self.taken = bytearray(len(data) // SLOT_BYTES)
        """One byte a slot, 1 if it is in use, so that bytes.find looks for room."""
        self.links: list[tuple[int, int]] = []
        """Clusters that make it longer, each with the one before it."""
        self.removals: dict[Place, bytes] = {}
        """Names that are gone, with their short names."""
        self.shorts: set[bytes] = set()
        """Short names that are taken."""
        self._changed: set[int] = set()
        self._split: list[Place] = []
        self._heads: list[Place] = []
        self._hints: dict[int, int] = {}
        """For a number of slots: no so many are free in a row before this one."""
        self._old_tail: int | None = None

    def set_end(self, end: int) -> None:
        """Slots from ``end`` on mean nothing. What is there would come to life as soon as the end moves, so it goes."""
        self.taken[:end] = bytearray(self.data[::SLOT_BYTES][:end]).translate(_TAKEN)
        start = end * SLOT_BYTES
        if any(self.data[start:]):
            self.data[start:] = bytes(len(self.data) - start)
            self._old_tail = end // SLOTS_A_SECTOR + 1

    def offset_of(self, sector: int) -> int:
        """Where on the volume a 512-byte part of the directory is."""
        start, geometry = sector * SECTOR_BYTES, self.fs.geometry
        if self.is_fixed:
            return geometry.root_offset + start
        for first, count in self.runs:
            length = count * geometry.cluster_bytes
            if start < length:
                return geometry.offset_of(first) + start
            start -= length
        raise CorruptError(f"{self.where}: sector {sector} is not in it")

    # --- changing ----------------------------------------------------------------------------------------------------

    def get(self, slot: int) -> Slot:
        """An entry."""
        return Slot.parse(self.data, slot * SLOT_BYTES)

    def put(self, slot: int, entry: Slot) -> None:
        """Change an entry, if that changes anything."""
        start, packed = slot * SLOT_BYTES, entry.pack()
        if self.data[start : start + SLOT_BYTES] != packed:
            self.data[start : start + SLOT_BYTES] = packed
            self._mark(slot, slot)

    def fill(self, first: int, packed: bytes) -> int:
        """Put the slots of a new name from ``first`` on, which are free; gives the number of the last one."""
        last = first + len(packed) // SLOT_BYTES - 1
        self.data[first * SLOT_BYTES : (last + 1) * SLOT_BYTES] = packed
        self.taken[first : last + 1] = b"\1" * (last + 1 - first)
        self._mark(first, last)
        if first // SLOTS_A_SECTOR != last // SLOTS_A_SECTOR:
            self._split.append((first, last))
        return last

    def free(self, first: int, last: int) -> None:
        """Free slots at once."""
        for slot in range(first, last + 1):
            self.data[slot * SLOT_BYTES] = FREE_SLOT
        self.taken[first : last + 1] = bytes(last + 1 - first)
        for count, hint in self._hints.items():
            if hint > first - count:
                self._hints[count] = max(first - count, 0)
        self._mark(first, last)

    def remove_later(self, place: Place, short: bytes) -> None:
        """Free slots when the medium may see it."""
        self.removals[place] = short
        self.fs.writes.spaces[self] = None

    def find_room(self, count: int) -> int:
        """The first of ``count`` free slots in a row, growing the directory if need be. Raises ENOSPC."""
        first = self.taken.find(bytes(count), self._hints.get(count, 0))
        if first < 0:
            first = len(self.taken.rstrip(b"\0"))
            while len(self.taken) < first + count:
                self._grow()
        self._hints[count] = first
        if self._old_tail is not None:
            self._clear_tail(self._old_tail)
        return first

    def _grow(self) -> None:
        """One more cluster, full of free slots."""
        fs = self.fs
        cluster_bytes = fs.geometry.cluster_bytes
        if self.is_fixed or (len(self.data) + cluster_bytes) // SLOT_BYTES > MOST_SLOTS:
            raise KernelError(Errno.ENOSPC, f"{self.where} is full")
        tail = sum(self.runs[-1]) - 1
        ((cluster, _),) = fs.allocate(1, tail)
        fs.volume.write(fs.geometry.offset_of(cluster), bytes(cluster_bytes))
        self.links.append((tail, cluster))
        fs.writes.spaces[self] = None
        if tail + 1 == cluster:
            self.runs[-1] = (self.runs[-1][0], self.runs[-1][1] + 1)
        else:
            self.runs.append((cluster, 1))
        self.data += bytes(cluster_bytes)
        self.taken += bytes(cluster_bytes // SLOT_BYTES)

    def _clear_tail(self, first_sector: int) -> None:
        for sector in range(first_sector, len(self.data) // SECTOR_BYTES):
            self.fs.volume.write(self.offset_of(sector), bytes(SECTOR_BYTES))
        self.fs.volume.order()
        self._old_tail = None

    # --- steps of a commit -------------------------------------------------------------------------------------------

    def _mark(self, first: int, last: int) -> None:
        self._changed.update(range(first // SLOTS_A_SECTOR, last // SLOTS_A_SECTOR + 1))
        self.fs.writes.spaces[self] = None

    def forget(self) -> None:
        """The directory is gone: what is pending no longer matters."""
        for pending in (self._changed, self._split, self._heads, self.removals, self.links):
            pending.clear()

    def write_split(self) -> bool:
        """The first step for names in two sectors; False if there are none."""
        if not self._split:
            return False
        masked = self.data[:]
        for first, last in self._split:
            if self.data[last * SLOT_BYTES] != FREE_SLOT:
                for slot in range(max(first, last // SLOTS_A_SECTOR * SLOTS_A_SECTOR), last + 1):
                    masked[slot * SLOT_BYTES] = FREE_SLOT
        self._split.clear()
        self._write(masked)
        return True

    def write_changes(self) -> None:
        """Write what has changed."""
        self._split.clear()
        self._write(self.data)
        self._changed.clear()

    def _write(self, data: bytearray) -> None:
        for sector in sorted(self._changed):
            start = sector * SECTOR_BYTES
            self.fs.volume.write(self.offset_of(sector), data[start : start + SECTOR_BYTES])

    def apply_removals(self) -> None:
        """The names that are gone go from the medium."""
        for (first, last), short in self.removals.items():
            start = last // SLOTS_A_SECTOR * SLOTS_A_SECTOR
            if first < start:
                self._heads.append((first, start - 1))
            self.free(max(first, start), last)
            self.shorts.discard(short)
        self.removals.clear()

    def apply_heads(self) -> None:
        """Free what is left of names that were in two sectors."""
        for first, last in self._heads:
            self.free(first, last)
        self._heads.clear()


ROOT: Final = "root directory"
