"""Attributes of a file record: parsed from, and kept as, the bytes that stand in the record.

    ATTRIBUTE_HEADER | RESIDENT_HEADER | name | value                       | padding to 8
    ATTRIBUTE_HEADER | NON_RESIDENT_HEADER (compressed_size) | name | mapping pairs | padding to 8

An `Attribute` is a value: to change one, make another and put it in its place (`record.MftRecord`). The bounds of name,
value and mapping pairs are checked when it is parsed, so that nothing behind here meets a claim that leaves the record.
Names are strings of UTF-16 units, as everywhere in this package (`names`).
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from jefeos.errors import CorruptError

from jefeos_fs_ntfs.layout import (
    ATTRIBUTE_HEADER,
    INDEXED,
    NON_RESIDENT_HEADER,
    NON_RESIDENT_PAIRS_OFFSET,
    RESIDENT_HEADER,
    RESIDENT_VALUE_OFFSET,
    AttributeFlags,
    AttributeType,
)

_RESIDENT_ATTRIBUTE: Final = struct.Struct("<IIBBHHHIH2x")
"""ATTRIBUTE_HEADER and RESIDENT_HEADER in one."""
_END: Final = int(AttributeType.END)
_RESIDENT_OFFSET: Final = ATTRIBUTE_HEADER.size
_INSTANCE_OFFSET: Final = 14
_HAS_COMPRESSED_SIZE: Final = int(AttributeFlags.COMPRESSED | AttributeFlags.SPARSE)


class Attribute:
    """One attribute, or one extent of a non-resident one."""

    __slots__ = ("flags", "instance", "name", "raw", "resident", "type")

    def __init__(self, raw: bytes, kind: int, name: str, resident: bool, flags: int, instance: int) -> None:
        self.raw = raw
        """All of its bytes; their number is a multiple of 8."""
        self.type = kind
        self.name = name
        self.resident = resident
        self.flags = flags
        self.instance = instance
        """Unique in its record."""

    @property
    def value(self) -> bytes:
        """Of a resident attribute. Raises CorruptError for another."""
        if not self.resident:
            raise CorruptError(f"{self} has to be resident")
        raw = self.raw
        length, offset, _, _ = RESIDENT_HEADER.unpack_from(raw, _RESIDENT_OFFSET)
        return raw[offset : offset + length]

    @property
    def indexed(self) -> bool:
        """A resident attribute that stands in an index."""
        return self.resident and bool(self.raw[ATTRIBUTE_HEADER.size + 6] & INDEXED)

    @property
    def extent(self) -> Extent:
        """What a non-resident attribute says of itself. Raises CorruptError for a resident one."""
        if self.resident:
            raise CorruptError(f"{self} has to be non-resident")
        return Extent(self)

    @property
    def sizes(self) -> tuple[int, int]:
        """See `sizes_at`."""
        length = 0 if not self.resident else RESIDENT_HEADER.unpack_from(self.raw, _RESIDENT_OFFSET)[0]
        return sizes_at(self.raw, (self.type, 0, len(self.raw), not self.resident, 0, 0, self.flags, 0, 0, length))

    def with_instance(self, instance: int) -> Attribute:
        """The same, under another number."""
        if instance == self.instance:
            return self
        raw = self.raw[:_INSTANCE_OFFSET] + instance.to_bytes(2, "little") + self.raw[_INSTANCE_OFFSET + 2 :]
        return Attribute(raw, self.type, self.name, self.resident, self.flags, instance)

    def __repr__(self) -> str:
        return f"attribute {type_name(self.type)}{':' + self.name if self.name else ''}"


class Extent:
    """The header of a non-resident attribute. Sizes count only in the extent whose ``lowest_vcn`` is 0."""

    __slots__ = ("allocated_size", "compressed_size", "compression_unit", "data_size", "highest_vcn",
                 "initialized_size", "lowest_vcn", "pairs")

    def __init__(self, attribute: Attribute) -> None:
        raw = attribute.raw
        (self.lowest_vcn, self.highest_vcn, pairs_offset, self.compression_unit, self.allocated_size, self.data_size,
         self.initialized_size) = NON_RESIDENT_HEADER.unpack_from(raw, ATTRIBUTE_HEADER.size)
        self.pairs = raw[pairs_offset:]
        self.compressed_size: int | None = None
        if attribute.flags & _HAS_COMPRESSED_SIZE and not self.lowest_vcn:
            if len(raw) >= NON_RESIDENT_PAIRS_OFFSET + 8 and pairs_offset >= NON_RESIDENT_PAIRS_OFFSET + 8:
                self.compressed_size = int.from_bytes(raw[NON_RESIDENT_PAIRS_OFFSET:][:8], "little")

    @property
    def clusters(self) -> int:
        """How many clusters its mapping pairs cover."""
        return int(self.highest_vcn + 1 - self.lowest_vcn)


Place: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int]
"""Where an attribute is in a record, checked and not decoded: type, start, stop, 1 if it is not resident, length of the
name in units, start of the name, flags, instance, start and stop of a resident value."""


def find_attributes(data: bytes, offset: int, end: int) -> tuple[Place, ...]:
    """The attributes of a record from ``offset`` on, up to the end mark. Raises CorruptError. A hot path.

    Tuples of numbers in a tuple: the host's garbage collector soon leaves those alone, and they are many.
    """
    places: list[Place] = []
    unpack, least = _RESIDENT_ATTRIBUTE.unpack_from, RESIDENT_VALUE_OFFSET
    while offset + least <= end:
        kind, length, non_resident, name_length, name_offset, flags, instance, value_length, value_offset = unpack(
            data, offset
        )
        if kind == _END:
            return tuple(places)
        stop = offset + length
        if length & 7 or length < least or stop > end:
            raise CorruptError(f"attribute {type_name(kind)}: its length is {length} at {offset} of {end}")
        if name_length and name_offset + 2 * name_length > length:
            raise CorruptError(f"attribute {type_name(kind)}: its name leaves the attribute")
        if non_resident:
            _check_non_resident(kind, data[offset:stop], length)
        elif value_offset + value_length > length:
            raise CorruptError(f"attribute {type_name(kind)}: its value leaves the attribute")
        value = offset + value_offset
        places.append((kind, offset, stop, non_resident, name_length, offset + name_offset, flags, instance, value,
                       value + value_length))
        offset = stop
    if offset + 4 > end:
        raise CorruptError("file record: its attributes have no end mark")
    if int.from_bytes(data[offset : offset + 4], "little") != _END:
        raise CorruptError(f"file record: an attribute at {offset} does not fit")
    return tuple(places)


def attribute_at(data: bytes, place: Place) -> Attribute:
    """Decode one."""
    kind, start, stop, non_resident, name_length, name_start, flags, instance, _, _ = place
    name = decode_utf16(data[name_start : name_start + 2 * name_length]) if name_length else ""
    return Attribute(data[start:stop], kind, name, not non_resident, flags, instance)


def sizes_at(data: bytes, place: Place) -> tuple[int, int]:
    """Size of the contents, and bytes taken by clusters; of a first extent."""
    _, start, stop, non_resident, _, _, flags, _, value_start, value_stop = place
    if not non_resident:
        return value_stop - value_start, 0
    _, _, pairs_offset, _, allocated, size, _ = NON_RESIDENT_HEADER.unpack_from(data, start + ATTRIBUTE_HEADER.size)
    extra = start + NON_RESIDENT_PAIRS_OFFSET
    if flags & _HAS_COMPRESSED_SIZE and pairs_offset >= NON_RESIDENT_PAIRS_OFFSET + 8 and stop > extra + 8:
        allocated = int.from_bytes(data[extra : extra + 8], "little")
    return size, allocated


def decode_utf16(raw: bytes) -> str:
    """Text that may have lone surrogates."""
    return raw.decode("utf-16-le", "surrogatepass")


def _check_non_resident(kind: int, raw: bytes, length: int) -> None:
    if length < NON_RESIDENT_PAIRS_OFFSET:
        raise CorruptError(f"attribute {type_name(kind)}: {length} bytes are too few for a non-resident one")
    lowest, highest, pairs_offset, unit, *_ = NON_RESIDENT_HEADER.unpack_from(raw, ATTRIBUTE_HEADER.size)
    if not NON_RESIDENT_PAIRS_OFFSET <= pairs_offset <= length:
        raise CorruptError(f"attribute {type_name(kind)}: its mapping pairs leave the attribute")
    if highest + 1 < lowest or lowest >> 62 or unit > 16:
        raise CorruptError(f"attribute {type_name(kind)}: clusters {lowest} to {highest}, compression unit {unit}")


def make_resident(kind: int, value: bytes, name: str = "", *, indexed: bool = False, flags: int = 0,
                  instance: int = 0) -> Attribute:
    """A resident attribute; the record gives it its instance, unless it is there."""
    encoded = name.encode("utf-16-le", "surrogatepass") if name else b""
    value_offset = (RESIDENT_VALUE_OFFSET + len(encoded) + 7) & ~7
    length = (value_offset + len(value) + 7) & ~7
    raw = b"".join((
        ATTRIBUTE_HEADER.pack(kind, length, 0, len(name), RESIDENT_VALUE_OFFSET, flags, instance),
        RESIDENT_HEADER.pack(len(value), value_offset, INDEXED if indexed else 0, 0),
        encoded.ljust(value_offset - RESIDENT_VALUE_OFFSET, b"\0"),
        value.ljust(length - value_offset, b"\0"),
    ))
    return Attribute(raw, kind, name, True, flags, instance)


def make_non_resident(kind: int, name: str, *, pairs: bytes, lowest_vcn: int, highest_vcn: int,
                      allocated_size: int = 0, data_size: int = 0, initialized_size: int = 0,
                      compressed_size: int | None = None, compression_unit: int = 0, flags: int = 0) -> Attribute:
    """An extent of a non-resident attribute. Only the first carries the sizes."""
    encoded = name.encode("utf-16-le", "surrogatepass") if name else b""
    extra = b"" if compressed_size is None else compressed_size.to_bytes(8, "little")
    name_offset = NON_RESIDENT_PAIRS_OFFSET + len(extra)
    pairs_offset = (name_offset + len(encoded) + 7) & ~7
    length = (pairs_offset + len(pairs) + 7) & ~7
    raw = b"".join((
        ATTRIBUTE_HEADER.pack(kind, length, 1, len(name), name_offset, flags, 0),
        NON_RESIDENT_HEADER.pack(lowest_vcn, highest_vcn, pairs_offset, compression_unit, allocated_size, data_size,
                                 initialized_size),
        extra,
        encoded.ljust(pairs_offset - name_offset, b"\0"),
        pairs.ljust(length - pairs_offset, b"\0"),
    ))
    return Attribute(raw, kind, name, False, flags, 0)


def type_name(kind: int) -> str:
    """``$DATA`` for 0x80, as the documentation prints it."""
    try:
        return f"${AttributeType(kind).name}"
    except ValueError:
        return f"{kind:#x}"
