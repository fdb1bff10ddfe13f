"""$Secure on a mounted volume: descriptors read by number, and one for new files (`security` has their form).

We do not map Windows' access rights to modes and owners: that is what the EAs of `extended` are for. A new file gets
the descriptor that gives everyone full access; it is added to $Secure when it is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError

from jefeos_fs_ntfs.index import Index
from jefeos_fs_ntfs.index_edit import insert
from jefeos_fs_ntfs.layout import (
    FIRST_SECURITY_ID,
    SDS_BLOCK_BYTES,
    VIEW_ENTRY,
    AttributeType,
    MetaFile,
    SecurityDescriptorHeader,
)
from jefeos_fs_ntfs.security import SDS_ALIGNMENT, descriptor_hash, open_descriptor

if TYPE_CHECKING:
    from jefeos_fs_ntfs.entry import Entry
    from jefeos_fs_ntfs.volume import Volume

DESCRIPTOR_BYTES_MAX: Final = 64 << 10
_SDH_FILLER: Final = "II".encode("utf-16-le")


def read_descriptor(volume: Volume, entry: Entry, security_id: int) -> bytes | None:
    """The descriptor of a file; None if it has none. Raises CorruptError."""
    own = entry.value(AttributeType.SECURITY_DESCRIPTOR, limit=DESCRIPTOR_BYTES_MAX)
    if own is not None or not security_id:
        return own
    secure = volume.entry(MetaFile.SECURE)
    found = secure.index("$SII").lookup((security_id,))
    if found is None:
        return None
    line = SecurityDescriptorHeader.parse(found, VIEW_ENTRY.unpack_from(found)[0])
    size = line.length - SecurityDescriptorHeader.size
    if not 0 < size <= DESCRIPTOR_BYTES_MAX:
        raise CorruptError(f"$Secure: descriptor {security_id} has {size} bytes")
    return secure.stream(AttributeType.DATA, "$SDS").read(line.offset + SecurityDescriptorHeader.size, size)


def default_security_id(volume: Volume) -> int:
    """The number of our descriptor, which is added if need be; 0 if $Secure is not usable. Within an operation."""
    descriptor = open_descriptor()
    try:
        secure = volume.entry(MetaFile.SECURE)
        by_hash, by_id = secure.index("$SDH"), secure.index("$SII")
        sds = secure.stream(AttributeType.DATA, "$SDS")
        number = descriptor_hash(descriptor)
        highest, end = FIRST_SECURITY_ID - 1, 0
        for _, found in by_id.walk():
            line = SecurityDescriptorHeader.parse(found, VIEW_ENTRY.unpack_from(found)[0])
            highest, end = max(highest, line.security_id), max(end, line.offset + line.length)
            start = line.offset + SecurityDescriptorHeader.size
            if line.hash == number and sds.read(start, len(descriptor)) == descriptor:
                return line.security_id
        length = SecurityDescriptorHeader.size + len(descriptor)
        offset = -(-end // SDS_ALIGNMENT) * SDS_ALIGNMENT
        if offset % (2 * SDS_BLOCK_BYTES) + length > SDS_BLOCK_BYTES:
            offset = (offset // (2 * SDS_BLOCK_BYTES) + 1) * 2 * SDS_BLOCK_BYTES
        line = SecurityDescriptorHeader(hash=number, security_id=highest + 1, offset=offset, length=length)
        for copy in (offset, offset + SDS_BLOCK_BYTES):
            sds.write(copy, line.pack() + descriptor)
        _add(by_id, line.security_id.to_bytes(4, "little"), line.pack())
        _add(by_hash, line.pack()[:8], line.pack() + _SDH_FILLER)
    except CorruptError:
        return 0
    return highest + 1


def _add(index: Index, key: bytes, data: bytes) -> None:
    data_offset = VIEW_ENTRY.size + len(key)
    length = (data_offset + len(data) + 7) & ~7
    entry = VIEW_ENTRY.pack(data_offset, SecurityDescriptorHeader.size, 0, length, len(key), 0, 0)
    entry = (entry + key + data).ljust(length, b"\0")
    insert(index, index.key_of(entry), entry)
