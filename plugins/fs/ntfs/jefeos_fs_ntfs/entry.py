"""A file as the MFT sees it: its base record, the records it overflowed into, and its attributes over all of them.

    base record        STANDARD_INFORMATION  ATTRIBUTE_LIST  FILE_NAME …      what has room
                                                  |  one line for each attribute: type, name, first VCN, record
    extension record   FILE_NAME …  DATA (VCN 0-)
    extension record   DATA (VCN 5000-)

Callers add, replace and remove attributes and then `settle`: if a record is too full, resident contents become
non-resident first; then attributes move to extension records, and an attribute list is made or brought up to date. A
list that has no room in the base record becomes non-resident itself; it is written anew into other clusters each time,
so that the old one is whole until the commit. When nothing is in extension records any more the list goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_ntfs.attribute import (
    Attribute,
    Place,
    find_attributes,
    make_non_resident,
    make_resident,
    type_name,
)
from jefeos_fs_ntfs.index import Index
from jefeos_fs_ntfs.layout import (
    ATTRIBUTE_LIST_ENTRY,
    REFERENCE_MASK,
    AttributeListEntry,
    AttributeType,
    MetaFile,
    RecordFlags,
)
from jefeos_fs_ntfs.names import encode_units
from jefeos_fs_ntfs.record import END_MARK
from jefeos_fs_ntfs.runs import decode_runs, encode_runs
from jefeos_fs_ntfs.stream import Stream

if TYPE_CHECKING:
    from jefeos_fs_ntfs.mft import CachedRecord
    from jefeos_fs_ntfs.volume import Volume

LIST_BYTES_MAX: Final = 256 << 10
RESIDENT_LIST_BYTES_MAX: Final = 256
MAY_BECOME_NON_RESIDENT: Final = (AttributeType.DATA, AttributeType.EA, AttributeType.SECURITY_DESCRIPTOR,
                                  AttributeType.BITMAP, AttributeType.REPARSE_POINT)
STAYS_IN_BASE: Final = (AttributeType.STANDARD_INFORMATION, AttributeType.ATTRIBUTE_LIST, AttributeType.INDEX_ROOT)
WORTH_MOVING_BYTES: Final = 64
GATHER_SPARE_BYTES: Final = 128
"""So much has to be free when all comes back into one record."""
_IS_DIRECTORY: Final = int(RecordFlags.IS_DIRECTORY)
_LIST: Final = int(AttributeType.ATTRIBUTE_LIST)


class Entry:
    """One file. There is one object for a base record while anybody holds it (`volume.Volume.entry`)."""

    __slots__ = ("__weakref__", "_others", "base", "indexes", "number", "streams", "volume")

    def __init__(self, volume: Volume, base: CachedRecord) -> None:
        self.volume = volume
        self.base = base
        self.number = base.number
        self.streams: dict[tuple[int, str], Stream] = {}
        self.indexes: dict[str, Index] = {}
        self._others: dict[int, CachedRecord] | None = None

    # -- looking --

    @property
    def listed(self) -> bool:
        """Whether it has an attribute list."""
        return self.base.listed

    @property
    def others(self) -> dict[int, CachedRecord]:
        """The extension records by number. Raises CorruptError."""
        if self._others is None:
            self._others = {}
            if self.listed:
                numbers = {entry.mft_reference & REFERENCE_MASK for entry in self.list_entries()} - {self.number}
                try:
                    self._others = {number: self._extension(number) for number in sorted(numbers)}
                except KernelError:
                    self._others = None
                    raise
        return self._others

    def _extension(self, number: int) -> CachedRecord:
        record = self.volume.mft.read(number)
        if not record.in_use or record.base & REFERENCE_MASK != self.number:
            raise CorruptError(f"MFT record {number} is no extension of {self.number}, as its attribute list says")
        return record

    def list_entries(self) -> list[AttributeListEntry]:
        """What the attribute list says. Raises CorruptError."""
        data = self._list_bytes()
        entries = []
        offset = 0
        while offset + AttributeListEntry.size <= len(data):
            entry = AttributeListEntry.parse(data, offset)
            if entry.length < AttributeListEntry.size or entry.length % 8:
                raise CorruptError(f"MFT record {self.number}: an entry of {entry.length} bytes in its attribute list")
            entries.append(entry)
            offset += entry.length
        return entries

    def _list_bytes(self) -> bytes:
        attribute = self._list_attribute()
        if attribute is None:
            return b""
        if attribute.resident:
            return attribute.value
        extent, volume = attribute.extent, self.volume
        size, cluster_bytes = extent.data_size, volume.geometry.cluster_bytes
        runs = decode_runs(extent.pairs, volume.geometry.clusters, extent.clusters)
        if size > min(LIST_BYTES_MAX, extent.clusters * cluster_bytes) or any(lcn < 0 for lcn, _ in runs):
            raise CorruptError(f"MFT record {self.number}: an attribute list of {size} bytes")
        return b"".join([volume.cache.read(lcn * cluster_bytes, length * cluster_bytes) for lcn, length in runs])[:size]

    def _list_attribute(self) -> Attribute | None:
        return next((attribute for attribute in self.base.attributes
                     if attribute.type == AttributeType.ATTRIBUTE_LIST), None)

    def all(self, kind: int | None = None) -> list[Attribute]:
        """Its attributes (of a type), in order."""
        if not self.listed:
            if kind is None:
                return self.base.attributes
            return [attribute for attribute in self.base.attributes if attribute.type == kind]
        found = [attribute for record in (self.base, *self.others.values()) for attribute in record.attributes
                 if kind is None or attribute.type == kind]
        found.sort(key=self._order)
        return found

    def places(self) -> tuple[bytes, tuple[Place, ...]]:
        """Some bytes, and where in them all attributes are: for who only looks."""
        if not self.base.listed:
            return self.base.places()
        data = b"".join([*[attribute.raw for attribute in self.all()], END_MARK])
        return data, find_attributes(data, 0, len(data))

    def values(self, kind: int) -> list[bytes]:
        """The values of its resident attributes of a type, in order."""
        data, places = self.places()
        return [data[place[8] : place[9]] for place in places if place[0] == kind and not place[3]]

    def find(self, kind: int, name: str = "") -> Attribute | None:
        """The attribute, the first extent of a non-resident one."""
        if not self.listed:
            for attribute in self.base.attributes:
                if attribute.type == kind and attribute.name == name:
                    return attribute
            return None
        return next(iter(self.extents(kind, name)), None)

    def extents(self, kind: int, name: str = "") -> list[Attribute]:
        """The attribute with all its extents, in order."""
        return [attribute for attribute in self.all(kind) if attribute.name == name]

    def stream(self, kind: int, name: str = "") -> Stream:
        """Its contents. Raises CorruptError if there is no such attribute."""
        stream = self.streams.get((kind, name))
        if stream is None:
            stream = self.streams[kind, name] = Stream(self, kind, name)
        return stream

    def index(self, name: str = "$I30") -> Index:
        """One of its indexes. Raises CorruptError if there is no such one."""
        index = self.indexes.get(name)
        if index is None:
            index = self.indexes[name] = Index(self, name)
        return index

    def value(self, kind: int, name: str = "", limit: int = 1 << 16) -> bytes | None:
        """All bytes of a small attribute, resident or not; None if there is none."""
        attribute = self.find(kind, name)
        if attribute is None:
            return None
        if attribute.resident:
            return attribute.value
        stream = self.stream(kind, name)
        if stream.data_size > limit:
            raise CorruptError(f"MFT record {self.number}: {type_name(kind)} of {stream.data_size} bytes")
        return stream.read(0, stream.data_size)

    @property
    def room(self) -> int:
        """Free bytes in the base record."""
        record_bytes = self.volume.geometry.record_bytes
        return record_bytes - self.base.used_bytes(record_bytes)

    # -- changing --

    def change(self, record: CachedRecord) -> None:
        """One of its records is going to change."""
        transaction = self.volume.transaction
        if not transaction.keeps(record):
            transaction.on_failure(self.forget)
            transaction.change(record)

    def forget(self) -> None:
        """What was derived from the records may be wrong."""
        self._others = None
        if self.number:
            self.streams = {}
        else:
            for stream in self.streams.values():
                stream.load()

    def add(self, attribute: Attribute, record: CachedRecord | None = None) -> None:
        """Put in an attribute. `settle` has to follow."""
        record = record or self.base
        self.change(record)
        instance = record.next_instance
        used = {other.instance for other in record.attributes}
        while instance in used:
            instance = (instance + 1) & 0xFFFF
        record.next_instance = (instance + 1) & 0xFFFF
        attribute = attribute.with_instance(instance)
        order, attributes = self._order(attribute), record.attributes
        position = len(attributes)
        while position and self._order(attributes[position - 1]) > order:
            position -= 1
        attributes.insert(position, attribute)

    def replace(self, old: Attribute, new: Attribute) -> None:
        """Put ``new`` in the place of ``old``, of the same type and name. `settle` has to follow."""
        record = self._holder(old)
        self.change(record)
        record.attributes[record.attributes.index(old)] = new.with_instance(old.instance)

    def remove(self, attribute: Attribute) -> None:
        """Take out an attribute; its clusters are the caller's concern. `settle` has to follow."""
        record = self._holder(attribute) if self.listed else self.base
        self.change(record)
        record.attributes.remove(attribute)

    def put_value(self, kind: int, value: bytes | None, name: str = "") -> None:
        """Set, or with None remove, a whole attribute that begins as resident, and settle."""
        extents = self.extents(kind, name)
        if extents and not extents[0].resident:
            self.stream(kind, name).release_clusters()
        self.streams.pop((kind, name), None)
        for attribute in extents if value is None else extents[1:]:
            self.remove(attribute)
        if value is not None:
            if extents:
                self.replace(extents[0], make_resident(kind, value, name))
            else:
                self.add(make_resident(kind, value, name))
        self.settle()

    def _holder(self, attribute: Attribute) -> CachedRecord:
        for record in (self.base, *self.others.values()):
            if attribute in record.attributes:
                return record
        raise CorruptError(f"MFT record {self.number}: {attribute} is not there")

    def _order(self, attribute: Attribute) -> tuple[int, str, str, int]:
        upper, name = self.volume.collator.key(attribute.name) if attribute.name else ("", "")
        return attribute.type, upper, name, 0 if attribute.resident else attribute.extent.lowest_vcn

    def release(self) -> None:
        """The file is gone: give back its clusters and records."""
        _, places = self.places()
        if [place for place in places if place[3]]:
            for kind, name in {(attribute.type, attribute.name) for attribute in self.all() if not attribute.resident}:
                if kind != _LIST:
                    self.stream(kind, name).release_clusters()
        if self.listed:
            others = list(self.others.values())
            self._release_list()
            for record in others:
                self.volume.mft.free(record)
        self.volume.mft.free(self.base)

    # -- when a record is too full --

    def settle(self) -> None:
        """Make everything fit. Raises KernelError(ENOSPC)."""
        record_bytes = self.volume.geometry.record_bytes
        if not self.listed and self.base.used_bytes(record_bytes) <= record_bytes:
            return
        for record in (self.base, *self.others.values()):
            self._relieve(record)
        self._settle_list()

    def _relieve(self, record: CachedRecord) -> None:
        record_bytes = self.volume.geometry.record_bytes
        while record.used_bytes(record_bytes) > record_bytes:
            large = [attribute for attribute in record.attributes if attribute.resident
                     and attribute.type in MAY_BECOME_NON_RESIDENT and len(attribute.raw) > 2 * WORTH_MOVING_BYTES]
            if large:
                attribute = max(large, key=lambda attribute: len(attribute.raw))
                self.stream(attribute.type, attribute.name).make_non_resident(settle=False)
            else:
                self._move_out(record)

    def _move_out(self, record: CachedRecord) -> None:
        """Move the largest attribute that may go to another record."""
        movable = [attribute for attribute in record.attributes if attribute.type not in STAYS_IN_BASE]
        if not movable and record is self.base and self._list_leaves():
            return
        if not movable or self.number == MetaFile.MFT:
            raise KernelError(Errno.ENOSPC, f"MFT record {record.number} has no room left for its attributes")
        attribute = max(movable, key=lambda attribute: len(attribute.raw))
        others = self.others
        target = next((other for other in others.values() if other is not record
                       and self._has_room(other, len(attribute.raw))), None)
        if target is None:
            target = self.volume.mft.allocate(0, self.base.reference)
            others[target.number] = target
        self.change(record)
        record.attributes.remove(attribute)
        self.add(attribute, target)

    def _has_room(self, record: CachedRecord, length: int) -> bool:
        record_bytes = self.volume.geometry.record_bytes
        return record.used_bytes(record_bytes) + length <= record_bytes

    def _settle_list(self) -> None:
        """Bring the attribute list up to date."""
        others = self.others
        for number in [number for number, record in others.items() if not record.attributes]:
            self.volume.mft.free(others.pop(number))
        self._gather()
        if not others:
            self._release_list()
            return
        while True:
            wanted = self._wanted_list()
            if wanted == self._list_bytes():
                return
            self._release_list()
            if len(wanted) <= RESIDENT_LIST_BYTES_MAX:
                self.add(make_resident(AttributeType.ATTRIBUTE_LIST, wanted))
            else:
                self.add(self._list_in_clusters(wanted))
            if self._has_room(self.base, 0):
                return
            self._move_out(self.base)

    def _list_leaves(self) -> bool:
        """A resident list is put into clusters, where it takes less of the record; whether it did."""
        attribute = self._list_attribute()
        if attribute is None or not attribute.resident:
            return False
        self._release_list()
        self.add(self._list_in_clusters(attribute.value))
        return True

    def _gather(self) -> None:
        """If everything fits into the base record again, move it there."""
        record_bytes = self.volume.geometry.record_bytes
        size = sum([len(attribute.raw) for record in self.others.values() for attribute in record.attributes])
        old = self._list_attribute()
        used = self.base.used_bytes(record_bytes) - (len(old.raw) if old is not None else 0)
        if used + size + GATHER_SPARE_BYTES > record_bytes:
            return
        for number in list(self.others):
            record = self.others.pop(number)
            for attribute in list(record.attributes):
                self.change(record)
                record.attributes.remove(attribute)
                self.add(attribute)
            self.volume.mft.free(record)

    def _release_list(self) -> None:
        attribute = self._list_attribute()
        if attribute is None:
            return
        if not attribute.resident:
            extent = attribute.extent
            self.volume.clusters.release(decode_runs(extent.pairs, self.volume.geometry.clusters, extent.clusters))
        self.change(self.base)
        self.base.attributes.remove(attribute)

    def _list_in_clusters(self, data: bytes) -> Attribute:
        if len(data) > LIST_BYTES_MAX:
            raise KernelError(Errno.EFBIG, "no attribute list can be longer")
        volume, cluster_bytes = self.volume, self.volume.geometry.cluster_bytes
        count = -(-len(data) // cluster_bytes)
        runs = volume.clusters.allocate(count)
        done = 0
        for lcn, length in runs:
            piece = data[done : done + length * cluster_bytes]
            volume.cache.write(lcn * cluster_bytes, piece)
            done += len(piece)
        return make_non_resident(AttributeType.ATTRIBUTE_LIST, "", pairs=encode_runs(runs), lowest_vcn=0,
                                 highest_vcn=count - 1, allocated_size=count * cluster_bytes, data_size=len(data),
                                 initialized_size=len(data))

    def _wanted_list(self) -> bytes:
        lines = [(self._order(attribute), attribute, record.reference)
                 for record in (self.base, *self.others.values()) for attribute in record.attributes
                 if attribute.type != AttributeType.ATTRIBUTE_LIST]
        lines.sort(key=lambda line: line[0])
        pieces = []
        for order, attribute, reference in lines:
            name = encode_units(attribute.name)
            length = (ATTRIBUTE_LIST_ENTRY.size + len(name) + 7) & ~7
            head = ATTRIBUTE_LIST_ENTRY.pack(attribute.type, length, len(attribute.name), ATTRIBUTE_LIST_ENTRY.size,
                                             order[3], reference, attribute.instance)
            pieces.append((head + name).ljust(length, b"\0"))
        return b"".join(pieces)

    @property
    def is_directory(self) -> bool:
        """It has an index of file names."""
        return bool(self.base.flags & _IS_DIRECTORY)
