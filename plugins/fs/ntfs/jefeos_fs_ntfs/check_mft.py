"""Reading for the check: the MFT by its own runs, and the streams of any file, with nothing taken on trust.

The mounted driver stops at the first thing that is wrong; a check has to read on. So it has a reader of its own, which
knows records and streams only, never writes, and raises CorruptError for what cannot be read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from attrs import Factory, define
from jefeos.errors import CorruptError, KernelError

from jefeos_fs_ntfs.attribute import Attribute, Extent
from jefeos_fs_ntfs.layout import (
    ATTRIBUTE_LIST_ENTRY,
    NO_CLUSTER,
    REFERENCE_MASK,
    AttributeType,
    MetaFile,
)
from jefeos_fs_ntfs.record import MftRecord
from jefeos_fs_ntfs.runs import Run, decode_runs

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

    from jefeos_fs_ntfs.boot import Geometry

CHUNK_BYTES: Final = 1 << 20
MIRRORED_RECORDS: Final = 4
MOST_LIST_BYTES: Final = 256 << 10
"""An attribute list is no larger, as Windows limits it."""


@define
class ListEntry:
    """An entry of an ATTRIBUTE_LIST."""

    type: int
    name: str
    lowest_vcn: int
    reference: int
    instance: int


@define
class Stream:
    """The value of an attribute: in its record, or in runs that cover it from VCN 0 on."""

    value: bytes | None
    runs: list[Run] = Factory(list)
    size: int = 0
    initialized: int = 0
    allocated: int = 0

    _starts: list[int] = Factory(list)

    def clusters_at(self, offset: int, length: int, cluster_bytes: int) -> Iterator[tuple[int, int]]:
        """Pieces of the volume (offset in bytes, or -1 for a hole, and length) that hold this part of the stream."""
        if len(self._starts) != len(self.runs):
            self._starts = [0, *accumulate([count * cluster_bytes for _, count in self.runs])][:-1]
        index = bisect_right(self._starts, offset) - 1
        while length > 0:
            if not 0 <= index < len(self.runs):
                raise CorruptError(f"its runs end {length} bytes too early")
            lcn, count = self.runs[index]
            inside = offset - self._starts[index]
            piece = min(count * cluster_bytes - inside, length)
            if piece > 0:
                yield (NO_CLUSTER if lcn == NO_CLUSTER else lcn * cluster_bytes + inside), piece
                offset += piece
                length -= piece
            index += 1


class MftReader:
    """Records by number, and streams of files."""

    def __init__(self, volume: BufferCache, geometry: Geometry) -> None:
        self.volume = volume
        self.geometry = geometry
        self.first = self._first_record()
        self.data = Stream(None)
        self._find_mft()
        self.count = min(self.data.size, self.data.initialized) // geometry.record_bytes

    # -- records --

    def raw_records(self) -> Iterator[tuple[int, bytes | None]]:
        """Each record's number and bytes; None for what the medium does not give."""
        size = self.geometry.record_bytes
        step = CHUNK_BYTES // size
        for first in range(0, self.count, step):
            count = min(step, self.count - first)
            try:
                chunk = self.read(self.data, first * size, count * size)
            except KernelError:
                yield from ((number, self._raw_or_none(number)) for number in range(first, first + count))
                continue
            for index in range(count):
                yield first + index, chunk[index * size : (index + 1) * size]

    def raw(self, number: int) -> bytes:
        """The bytes of one record. Raises CorruptError or KernelError(EIO)."""
        if not 0 <= number < self.count:
            raise CorruptError(f"MFT record {number}: there are only {self.count}")
        return self.read(self.data, number * self.geometry.record_bytes, self.geometry.record_bytes)

    def record(self, number: int) -> MftRecord:
        """One record, decoded; of the first ones the copy, if need be. Raises CorruptError or KernelError(EIO)."""
        try:
            return MftRecord.parse(number, self.raw(number))
        except KernelError:
            copy = self.copy_of(number)
            if copy is None:
                raise
            return copy

    def copy_of(self, number: int) -> MftRecord | None:
        """What $MFTMirr has of a record, by the boot sector; None if that is nothing that can be used."""
        geometry = self.geometry
        if number >= MIRRORED_RECORDS:
            return None
        place = geometry.mftmirr_lcn * geometry.cluster_bytes + number * geometry.record_bytes
        try:
            return MftRecord.parse(number, self.volume.read(place, geometry.record_bytes))
        except KernelError:
            return None

    def _raw_or_none(self, number: int) -> bytes | None:
        try:
            return self.raw(number)
        except KernelError:
            return None

    def place(self, number: int) -> int:
        """Where on the volume a record begins, in bytes."""
        size = self.geometry.record_bytes
        return next(self.data.clusters_at(number * size, size, self.geometry.cluster_bytes))[0]

    # -- streams --

    def attributes(self, number: int) -> list[Attribute]:
        """All attributes of a file, those in other records too. Raises CorruptError."""
        base = self.record(number)
        attributes = list(base.attributes)
        entries = self.attribute_list(base)
        for other in sorted({entry.reference & REFERENCE_MASK for entry in entries} - {number}):
            extension = self.record(other)
            if extension.base != base.reference:
                raise CorruptError(f"MFT record {other}: it belongs to another file than {number}, which lists it")
            attributes += extension.attributes
        return attributes

    def attribute_list(self, base: MftRecord) -> list[ListEntry]:
        """The entries of a base record's attribute list; none if it has no list. Raises CorruptError."""
        lists = [one for one in base.attributes if one.type == AttributeType.ATTRIBUTE_LIST]
        if not lists:
            return []
        stream = self.stream_of(lists)
        if stream.size > MOST_LIST_BYTES:
            raise CorruptError(f"MFT record {base.number}: its attribute list has {stream.size} bytes")
        return parse_list(self.read(stream, 0, stream.size))

    def stream(self, number: int, kind: int, name: str = "") -> Stream:
        """One attribute of a file, put together. Raises CorruptError if it is not there or does not fit together."""
        found = [one for one in self.attributes(number) if one.type == kind and one.name == name]
        if not found:
            raise CorruptError(f"MFT record {number}: it has no {AttributeType(kind).name}:{name}")
        return self.stream_of(found)

    def solid(self, stream: Stream) -> Stream:
        """The stream, whose size can be believed: metadata have no holes, and are no larger than the volume. Raises
        CorruptError."""
        if any(lcn == NO_CLUSTER for lcn, _ in stream.runs):
            raise CorruptError("there is a hole in it")
        if sum([length for _, length in stream.runs]) > self.geometry.clusters:
            raise CorruptError("its runs are more than the volume has")
        return stream

    def stream_of(self, parts: list[Attribute]) -> Stream:
        """An attribute from its extents. Raises CorruptError if they do not follow each other."""
        if parts[0].resident:
            if len(parts) > 1:
                raise CorruptError(f"{parts[0]}: it is there {len(parts)} times")
            value = parts[0].value
            return Stream(value, size=len(value), initialized=len(value), allocated=len(value))
        extents = sorted([part.extent for part in parts], key=lambda extent: extent.lowest_vcn)
        return self._joined(extents)

    def _joined(self, extents: list[Extent], begun: bool = False) -> Stream:
        """``begun``: more extents are to come."""
        head = extents[0]
        stream = Stream(None, [], head.data_size, head.initialized_size, head.allocated_size)
        vcn = 0
        for extent in extents:
            if extent.lowest_vcn != vcn:
                raise CorruptError(f"its extents leave out the clusters from {vcn} on")
            stream.runs += decode_runs(extent.pairs, self.geometry.clusters, extent.clusters)
            vcn = extent.highest_vcn + 1
        if not begun and not stream.size <= stream.allocated <= vcn * self.geometry.cluster_bytes:
            raise CorruptError(f"{stream.size} bytes, {stream.allocated} allocated, and runs of {vcn} clusters")
        return stream

    def read(self, stream: Stream, offset: int, length: int) -> bytes:
        """A part of a stream; what was not initialised reads as zeros. Raises CorruptError or KernelError(EIO)."""
        if stream.value is not None:
            return stream.value[offset : offset + length]
        pieces = []
        for place, count in stream.clusters_at(offset, length, self.geometry.cluster_bytes):
            pieces.append(bytes(count) if place == NO_CLUSTER else self.volume.read(place, count))
        data = b"".join(pieces)
        initialized = max(stream.initialized - offset, 0)
        return data if initialized >= length else data[:initialized] + bytes(length - initialized)

    # -- the MFT itself --

    def _first_record(self) -> MftRecord:
        geometry = self.geometry
        try:
            data = self.volume.read(geometry.mft_lcn * geometry.cluster_bytes, geometry.record_bytes)
            return MftRecord.parse(MetaFile.MFT, data)
        except KernelError:
            copy = self.copy_of(MetaFile.MFT)
            if copy is None:
                raise
            return copy

    def _find_mft(self) -> None:
        """The runs of $MFT: its extension records are found by the runs that are known already."""
        base = self.first
        parts = [one for one in base.attributes if one.type == AttributeType.DATA and not one.name]
        if not parts:
            raise CorruptError("MFT record 0: it has no $DATA")
        extents = [parts[0].extent]
        self.data = self._joined(extents, begun=True)
        for entry in sorted(self.attribute_list(base), key=lambda entry: entry.lowest_vcn):
            number = entry.reference & REFERENCE_MASK
            if entry.type != AttributeType.DATA or entry.name or not entry.lowest_vcn or number == MetaFile.MFT:
                continue
            place = number * self.geometry.record_bytes
            raw = self.read(self.data, place, self.geometry.record_bytes)
            extension = MftRecord.parse(number, raw)
            more = [one for one in extension.attributes if one.type == AttributeType.DATA and not one.name]
            extents += [one.extent for one in more if one.extent.lowest_vcn == entry.lowest_vcn]
            self.data = self._joined(extents, begun=True)
        self.data = self.solid(self._joined(extents))


def parse_list(data: bytes) -> list[ListEntry]:
    """The entries of an ATTRIBUTE_LIST. Raises CorruptError."""
    entries = []
    offset = 0
    while offset + ATTRIBUTE_LIST_ENTRY.size <= len(data):
        header = ATTRIBUTE_LIST_ENTRY.unpack_from(data, offset)
        kind, length, name_length, name_offset, vcn, reference, instance = header
        if length < ATTRIBUTE_LIST_ENTRY.size or length % 8 or offset + length > len(data):
            raise CorruptError(f"attribute list: an entry of {length} bytes at {offset}")
        if name_offset + 2 * name_length > length:
            raise CorruptError(f"attribute list: the name of the entry at {offset} leaves it")
        name = data[offset + name_offset : offset + name_offset + 2 * name_length].decode("utf-16-le", "surrogatepass")
        entries.append(ListEntry(kind, name, vcn, reference, instance))
        offset += length
    return entries
