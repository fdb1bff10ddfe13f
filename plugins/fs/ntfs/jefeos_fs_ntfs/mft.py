"""$MFT: the table of file records. Reads, gives out, frees them, and grows.

Record 0 describes the table itself, so its runs are known before anything else is read; if they do not fit into
record 0, its attribute list names records that lie in the runs before them. Records that were decoded stay in memory
while they are dirty and for some time after; there is one object for a record.

A freed record keeps its contents and gets the next sequence number, so that old references to it are recognised.
Growing writes empty records into clusters that $MFT does not reach on the medium yet, and changes its size in the same
operation as whatever needed the room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_ntfs.bitmap import Bitmap
from jefeos_fs_ntfs.layout import (
    RECORD_NUMBER_MAX,
    REFERENCE_MASK,
    AttributeType,
    FileRecord,
    MetaFile,
    RecordFlags,
)
from jefeos_fs_ntfs.record import MftRecord
from jefeos_fs_ntfs.stream import Stream

if TYPE_CHECKING:
    from jefeos_fs_ntfs.entry import Entry
    from jefeos_fs_ntfs.transaction import Block
    from jefeos_fs_ntfs.volume import Volume

KEPT_RECORDS: Final = 24 << 10
"""Some 40 MiB at most."""
WINDOW_BYTES: Final = 4096
GROW_LEAST: Final = 64
GROW_MOST: Final = 4096
_IN_USE: Final = int(RecordFlags.IN_USE)
_NUMBER_OFFSET: Final = FileRecord.size - 4


class CachedRecord(MftRecord):
    """A record that takes part in operations."""

    __slots__ = ("mft",)
    mft: Mft

    @property
    def weight(self) -> int:
        """Bytes that it adds to a commit."""
        return self.mft.record_bytes

    def snapshot(self) -> Any:
        """Everything but the update sequence number, which only ever goes on."""
        attributes = self._attributes
        return (self.sequence, self.flags, self.base, self.link_count, self.next_instance,
                attributes if attributes is None else attributes.copy())

    def restore(self, state: Any) -> None:
        """Come back to a snapshot."""
        self.sequence, self.flags, self.base, self.link_count, self.next_instance, self._attributes = state

    def blocks(self) -> list[Block]:
        """The record, and its copy in $MFTMirr."""
        blocks = self.mft.blocks_of(self.number, self.pack(self.mft.record_bytes))
        if not self.flags & _IN_USE:
            self.drop_attributes()  # nobody looks at them any more, and there may be thousands
        return blocks


class Mft:
    """The table."""

    stream: Stream
    bitmap: Bitmap
    mirrored = 0
    """How many records $MFTMirr repeats."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.record_bytes = volume.geometry.record_bytes
        self.records: dict[int, CachedRecord] = {}
        self._next = int(MetaFile.FIRST_FREE)
        self._blank_from = RECORD_NUMBER_MAX
        """Records from here on were never used."""
        self._window = (0, b"")
        """The number of the first record that was read last, and the bytes, of neighbours as well."""

    def load(self) -> Entry:
        """Find the table by its own record 0, and give its entry, which has to be kept. Raises CorruptError."""
        geometry = self.volume.geometry
        place = geometry.mft_lcn * geometry.cluster_bytes
        record = CachedRecord.parse(0, self.volume.cache.read(place, self.record_bytes))
        record.mft = self
        if not record.in_use:
            raise CorruptError("MFT record 0 is not in use")
        self.records[0] = record
        entry = self.volume.entry(0)
        self.stream = Stream(entry, AttributeType.DATA, "", first_extent_only=True)
        if entry.listed:
            self.stream.load_further_extents()
        entry.streams[AttributeType.DATA, ""] = self.stream
        self.count = min(self.stream.initialized_size, self.stream.data_size) // self.record_bytes
        if self.count < MetaFile.FIRST_USER or self.stream.locate(0, 1)[0][0] != place:
            raise CorruptError("MFT record 0: $DATA does not describe the table")
        return entry

    def load_bitmap(self) -> None:
        """Which records are taken."""
        stream = self.volume.entry(0).stream(AttributeType.BITMAP)
        if stream.resident or stream.data_size * 8 < self.count:
            raise CorruptError(f"$MFT: its bitmap has {stream.data_size} bytes for {self.count} records")
        bits = stream.read(0, (self.count + 63) // 64 * 8)
        self.bitmap = Bitmap(bits, self.count, self.volume.transaction, self._locate_bitmap)

    def read(self, number: int) -> CachedRecord:
        """The record. Raises CorruptError for one that is torn, or not on the volume."""
        record = self.records.get(number)
        if record is None:
            if not 0 <= number < self.count:
                raise CorruptError(f"MFT record {number} is past the end of the {self.count} that there are")
            record = CachedRecord.parse(number, self._read(number))
            record.mft = self
            self.records[number] = record
        return record

    def _read(self, number: int) -> bytes:
        """The bytes of a record. Its neighbours come along: files that were made together are looked at together."""
        record_bytes, (first, data) = self.record_bytes, self._window
        start = (number - first) * record_bytes
        if not 0 <= start < len(data):
            first = number - number % max(WINDOW_BYTES // record_bytes, 1)
            length = min(WINDOW_BYTES, (self.count - first) * record_bytes)
            try:
                data = self.stream.read_raw(first * record_bytes, max(length, record_bytes))
            except KernelError:  # a neighbour's sectors may be bad
                return self.stream.read_raw(number * record_bytes, record_bytes)
            self._window = first, data
            start = (number - first) * record_bytes
        return data[start : start + record_bytes]

    def read_while_loading(self, reference: int) -> CachedRecord:
        """A record of the table itself, by the runs that are known so far."""
        self.count = self.stream.clusters * self.volume.geometry.cluster_bytes // self.record_bytes
        return self.read(reference & REFERENCE_MASK)

    def read_reference(self, reference: int) -> CachedRecord:
        """The record in use that a file reference means. Raises CorruptError if it means none any more."""
        number = reference & REFERENCE_MASK
        record = self.records.get(number) or self.read(number)
        if not record.flags & _IN_USE or reference >> 48 and record.sequence != reference >> 48:
            raise CorruptError(f"MFT record {record.number}: a reference to it is out of date")
        return record

    def forget_some(self) -> None:
        """Keep the memory of decoded records bounded. Not during an operation."""
        if len(self.records) > KEPT_RECORDS:
            dirty = self.volume.transaction.dirty
            held = self.volume.entries
            clean = [number for number, record in self.records.items()
                     if record not in dirty and record.base_number not in held and number >= MetaFile.FIRST_USER]
            for number in clean[: len(clean) // 2]:
                del self.records[number]

    # -- giving out and taking back --

    def allocate(self, flags: int, base: int = 0) -> CachedRecord:
        """A record without attributes. Raises KernelError(ENOSPC)."""
        bitmap = self.bitmap
        number = bitmap.find(self._next, self.count, 1)
        if number < 0:
            number = bitmap.find(MetaFile.FIRST_FREE, self._next, 1)
        if number < 0:
            number = self._grow()
        bitmap.set(number)
        self._next = number + 1
        record = self._free_record(number)
        self.volume.transaction.change(record)
        record.flags = _IN_USE | flags
        record.base = base
        record.link_count = 0
        record.next_instance = 0
        record.attributes = []
        return record

    def _free_record(self, number: int) -> CachedRecord:
        if number < self._blank_from:
            try:
                record = self.read(number)
            except CorruptError:
                pass
            else:
                if record.in_use:
                    raise CorruptError(f"MFT record {number} is in use, but free in the bitmap")
                record.sequence = record.sequence or 1
                return record
        record = CachedRecord(number)
        record.mft = self
        self.records[number] = record
        return record

    def free(self, record: MftRecord) -> None:
        """Take a record back."""
        assert isinstance(record, CachedRecord)
        self.volume.transaction.change(record)
        record.flags &= ~_IN_USE
        record.sequence = record.sequence + 1 if record.sequence < 0xFFFF else 1
        self.bitmap.clear(record.number)
        if record.number < self._next and record.number >= MetaFile.FIRST_FREE:
            self.volume.transaction.on_failure(self._set_next, self._next)
            self._next = record.number

    def _set_next(self, number: int) -> None:
        self._next = number

    def _grow(self) -> int:
        """More records; gives the number of the first new one."""
        record_bytes, cluster_bytes = self.record_bytes, self.volume.geometry.cluster_bytes
        per_cluster = max(cluster_bytes // record_bytes, 1)
        step = max(GROW_LEAST, min(self.count // 8, GROW_MOST))
        old = self.count
        while True:
            count = (old + step) // per_cluster * per_cluster
            count = count if count > old else old + per_cluster
            try:
                self.stream.extend_allocation(count * record_bytes, for_mft=True)
                break
            except KernelError as error:
                if error.errno != Errno.ENOSPC or step == 1:
                    raise
                step = max(step // 8, 1)
        if count > RECORD_NUMBER_MAX:
            raise KernelError(Errno.ENOSPC)
        blank = MftRecord(0).pack(record_bytes)
        head, rest = blank[:_NUMBER_OFFSET], blank[_NUMBER_OFFSET + 4 :]
        blank = b"".join([head + number.to_bytes(4, "little") + rest for number in range(old, count)])
        self.stream.overwrite(old * record_bytes, blank)
        self.volume.transaction.on_failure(self._shrink, old, self._blank_from)
        self._blank_from = min(self._blank_from, old)
        self.stream.set_sizes(count * record_bytes)
        bitmap_stream = self.volume.entry(0).stream(AttributeType.BITMAP)
        bitmap_bytes = (count + 63) // 64 * 8
        if bitmap_bytes > bitmap_stream.data_size:
            bitmap_stream.extend_allocation(bitmap_bytes)
            bitmap_stream.set_sizes(bitmap_bytes)
        self.bitmap.extend(count)
        self.count = count
        lcn, length = self.stream.runs[-1]
        self.volume.clusters.zone_start = lcn + length
        return old

    def _shrink(self, count: int, blank_from: int) -> None:
        for number in range(count, self.count):
            self.records.pop(number, None)
        self.count, self._blank_from = count, blank_from
        self._next = min(self._next, count)

    # -- where things are --

    def blocks_of(self, number: int, data: bytes) -> list[Block]:
        """Where the bytes of a record go."""
        self._window = 0, b""
        blocks = self.stream.locate_data(number * self.record_bytes, data)
        if number < self.mirrored:
            blocks += self.volume.mirror_blocks(number, data)
        return blocks

    def _locate_bitmap(self, offset: int, data: bytes) -> list[Block]:
        stream = self.volume.entry(0).stream(AttributeType.BITMAP)
        return stream.locate_data(offset, data[: max(stream.data_size - offset, 0)])
