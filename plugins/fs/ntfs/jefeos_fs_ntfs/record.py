"""File records of the MFT, and the fixups that protect them and index blocks.

Fixups: the last two bytes of every 512-byte block hold the update sequence number, and what belongs there is kept in
the update sequence array behind the header. A block whose number differs was torn by a crash: CorruptError.
"""

from __future__ import annotations

import struct
from typing import Final, Self

from jefeos.errors import CorruptError

from jefeos_fs_ntfs.attribute import Attribute, Place, attribute_at, find_attributes
from jefeos_fs_ntfs.layout import (
    BLOCK_BYTES,
    FILE_MAGIC,
    FILE_RECORD,
    REFERENCE_MASK,
    AttributeType,
    FileRecord,
    RecordFlags,
)

_USA: Final = struct.Struct("<4sHH")
_BLANK: Final = bytes(BLOCK_BYTES - 2)
_IN_USE: Final = int(RecordFlags.IN_USE)
_LIST: Final = int(AttributeType.ATTRIBUTE_LIST)
END_MARK: Final = b"\xff\xff\xff\xff\0\0\0\0"
_LOW: Final = slice(BLOCK_BYTES - 2, None, BLOCK_BYTES)
_HIGH: Final = slice(BLOCK_BYTES - 1, None, BLOCK_BYTES)


def check_fixups(data: bytes, magic: bytes, what: str) -> int:
    """Where the update sequence array is in a block that is whole. Raises CorruptError, naming it as ``what``."""
    if len(data) < BLOCK_BYTES or data[:4] != magic:
        raise CorruptError(f"{what}: {bytes(data[:4])!r} stands where {magic!r} should")
    _, offset, count = _USA.unpack_from(data)
    blocks = len(data) // BLOCK_BYTES
    if count != blocks + 1 or offset % 2 or offset < _USA.size or offset + 2 * count > BLOCK_BYTES - 2:
        raise CorruptError(f"{what}: its update sequence array has {count} entries at {offset}")
    # The last two bytes of all blocks at once: first the low ones, then the high ones.
    if data[_LOW] != data[offset : offset + 1] * blocks or data[_HIGH] != data[offset + 1 : offset + 2] * blocks:
        raise CorruptError(f"{what}: torn, the update sequence numbers differ")
    return offset


def apply_fixups(data: bytes, magic: bytes, what: str) -> bytes:
    """The block with its own last bytes back in place. Raises CorruptError, naming it as ``what``."""
    offset = check_fixups(data, magic, what)
    array = data[offset + 2 : offset + 2 + 2 * (len(data) // BLOCK_BYTES)]
    block = bytearray(data)
    block[_LOW], block[_HIGH] = array[::2], array[1::2]
    return bytes(block)


def protect(block: bytearray, number: int) -> None:
    """Put the update sequence ``number`` (1 to 0xFFFF) in place. The header says where the array is."""
    _, offset, _ = _USA.unpack_from(block)
    mark = number.to_bytes(2, "little")
    block[offset : offset + 2] = mark
    for end in range(BLOCK_BYTES, len(block) + 1, BLOCK_BYTES):
        offset += 2
        block[offset : offset + 2] = block[end - 2 : end]
        block[end - 2 : end] = mark


def next_update_number(number: int) -> int:
    """The number after ``number``: 0 is never used, and 0xFFFF is left out as others do."""
    return number + 1 if number < 0xFFFE else 1


def attributes_offset(record_bytes: int) -> int:
    """Where the attributes begin in a record that we write."""
    return (FileRecord.size + 2 * (record_bytes // BLOCK_BYTES + 1) + 7) & ~7


class MftRecord:
    """One record. ``attributes`` are in on-disk order; change them through the file that owns the record.

    They are found and checked when the record is read, and decoded when somebody asks for them: who only looks at a
    file (`places`) or gives its record back has no need of it.
    """

    __slots__ = ("_attributes", "_data", "_places", "base", "flags", "link_count", "lsn", "next_instance", "number",
                 "sequence", "update_number")

    def __init__(self, number: int, sequence: int = 1, flags: int = 0, base: int = 0) -> None:
        self.number = number
        self.sequence = sequence
        self.flags = flags
        self.base = base
        """File reference of the base record; 0 in a base record."""
        self.link_count = 0
        self.next_instance = 0
        self.update_number = 1
        self.lsn = 0
        self._attributes: list[Attribute] | None = []
        self._data = b""
        self._places: tuple[Place, ...] = ()
        """Of the attributes in ``_data``, for as long as ``_attributes`` is None."""

    @property
    def attributes(self) -> list[Attribute]:
        """All of them."""
        attributes = self._attributes
        if attributes is None:
            data = self._data
            attributes = self._attributes = [attribute_at(data, place) for place in self._places]
        return attributes

    @attributes.setter
    def attributes(self, attributes: list[Attribute]) -> None:
        self._attributes = attributes

    def drop_attributes(self) -> None:
        """Have none, and keep nothing of what was read."""
        self._attributes, self._data, self._places = [], b"", ()

    @property
    def decoded(self) -> bool:
        """Whether its attributes are."""
        return self._attributes is not None

    def places(self) -> tuple[bytes, tuple[Place, ...]]:
        """Some bytes, and where in them the attributes are."""
        if self._attributes is None:
            return self._data, self._places
        data = b"".join([*[attribute.raw for attribute in self._attributes], END_MARK])
        return data, find_attributes(data, 0, len(data))

    @property
    def listed(self) -> bool:
        """Whether there is an attribute list, which is the first attribute but for STANDARD_INFORMATION."""
        attributes, places = self._attributes, self._places
        if attributes is None:
            return len(places) > 1 and (places[1][0] == _LIST or places[0][0] == _LIST)
        return len(attributes) > 1 and (attributes[1].type == _LIST or attributes[0].type == _LIST)

    @property
    def in_use(self) -> bool:
        """False for a free record."""
        return bool(self.flags & _IN_USE)

    @property
    def reference(self) -> int:
        """Number and sequence number in one."""
        return self.sequence << 48 | self.number

    @property
    def base_number(self) -> int:
        """The number of the base record; its own for one."""
        return self.base & REFERENCE_MASK if self.base else self.number

    def used_bytes(self, record_bytes: int) -> int:
        """How much of the record is taken, end mark included."""
        return attributes_offset(record_bytes) + len(self._body()) + 8

    def _body(self) -> bytes:
        """The bytes of all attributes."""
        if self._attributes is not None:
            return b"".join([attribute.raw for attribute in self._attributes])
        return self._data[self._places[0][1] : self._places[-1][2]] if self._places else b""

    @classmethod
    def parse(cls, number: int, data: bytes) -> Self:
        """Decode the record from its bytes on the medium. Raises CorruptError that names it."""
        what = f"MFT record {number}"
        usa_offset = check_fixups(data, FILE_MAGIC, what)
        (_, _, _, lsn, sequence, link_count, first, flags, in_use, allocated, base, next_instance, _, _) = \
            FILE_RECORD.unpack_from(data)
        if in_use > len(data) or first < _USA.size or first % 8 or first > in_use or allocated > len(data):
            raise CorruptError(f"{what}: {in_use} bytes in use of {allocated}, attributes at {first}")
        if in_use > BLOCK_BYTES - 2:  # else nothing stands where the fixups are: most files
            data = apply_fixups(data, FILE_MAGIC, what)
        record = cls(number, sequence, flags, base)
        record.lsn, record.link_count, record.next_instance = lsn, link_count, next_instance
        record.update_number = data[usa_offset] | data[usa_offset + 1] << 8
        try:
            record._data = data[:in_use]
            record._places = find_attributes(data, first, in_use)
            record._attributes = None
        except CorruptError as error:
            raise CorruptError(f"{what}: {error.args[0]}") from None
        return record

    def pack(self, record_bytes: int) -> bytes:
        """The bytes for the medium, with the next update sequence number. Raises CorruptError when it is too full."""
        first = attributes_offset(record_bytes)
        body = self._body()
        in_use = first + len(body) + 8
        if in_use > record_bytes:
            raise CorruptError(f"MFT record {self.number}: {in_use} bytes do not fit its {record_bytes}")
        self.update_number = next_update_number(self.update_number)
        if in_use <= BLOCK_BYTES - 2:  # nothing to swap in any block: most files
            mark = self.update_number.to_bytes(2, "little")
            array = mark.ljust(first - FileRecord.size, b"\0")
            head = FILE_RECORD.pack(
                FILE_MAGIC, FileRecord.size, record_bytes // BLOCK_BYTES + 1, self.lsn, self.sequence,
                self.link_count, first, self.flags, in_use, record_bytes, self.base, self.next_instance, 0,
                self.number & 0xFFFFFFFF,
            )
            whole = b"".join((head, array, body, END_MARK)).ljust(BLOCK_BYTES - 2, b"\0") + mark
            return whole + (_BLANK + mark) * (record_bytes // BLOCK_BYTES - 1)
        block = bytearray(record_bytes)
        FILE_RECORD.pack_into(
            block, 0, FILE_MAGIC, FileRecord.size, record_bytes // BLOCK_BYTES + 1, self.lsn, self.sequence,
            self.link_count, first, self.flags, in_use, record_bytes, self.base, self.next_instance, 0,
            self.number & 0xFFFFFFFF,
        )
        block[first : in_use - 8] = body
        block[in_use - 8 : in_use] = END_MARK
        protect(block, self.update_number)
        return bytes(block)
