"""The files that a new volume begins with: their names, and their indexes, which are all of one block or less."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from jefeos_fs_ntfs.layout import (
    BLOCK_BYTES,
    CHILD_VCN,
    INDEX_BLOCK,
    INDEX_ENTRY,
    INDEX_HEADER,
    INDEX_ROOT,
    INDX_MAGIC,
    VIEW_ENTRY,
    Collation,
    EntryFlags,
    FileAttributes,
    FileName,
    IndexFlags,
    MetaFile,
    Namespace,
    StandardInformation,
)
from jefeos_fs_ntfs.record import protect

ALIGNMENT: Final = 8
SMALLEST_INDEX_UNIT: Final = 512
"""Blocks of an index are counted in these where they are smaller than a cluster."""


def aligned(data: bytes) -> bytes:
    """With zeros up to a multiple of 8."""
    return data + bytes(-len(data) % ALIGNMENT)


def sequence_of(number: int) -> int:
    """Sequence number of one of a new volume's own records."""
    return number if MetaFile.MFT < number < MetaFile.FIRST_USER else 1


def reference_to(number: int) -> int:
    """File reference of one of a new volume's own records."""
    return sequence_of(number) << 48 | number


@frozen
class OwnFile:
    """What the names and records of one of the volume's own files have in common."""

    number: int
    name: str
    parent: int
    file_attributes: FileAttributes
    time: int
    """All four of them, in units of NTFS."""
    allocated_size: int = 0
    data_size: int = 0

    def file_name(self) -> bytes:
        """The FILE_NAME."""
        name = self.name.encode("utf-16-le")
        return (
            FileName(
                parent_directory=reference_to(self.parent),
                creation_time=self.time,
                last_data_change_time=self.time,
                last_mft_change_time=self.time,
                last_access_time=self.time,
                allocated_size=self.allocated_size,
                data_size=self.data_size,
                file_attributes=self.file_attributes,
                file_name_length=len(name) // 2,
                file_name_type=Namespace.WIN32_AND_DOS,
            ).pack()
            + name
        )

    def standard_information(self, security_id: int) -> bytes:
        """The STANDARD_INFORMATION. What kind of index a file has is said in FILE_NAME only, but for view indexes."""
        return StandardInformation(
            creation_time=self.time,
            last_data_change_time=self.time,
            last_mft_change_time=self.time,
            last_access_time=self.time,
            file_attributes=self.file_attributes & ~FileAttributes.I30_INDEX_PRESENT,
            security_id=security_id,
        ).pack()


# --- indexes ------------------------------------------------------------------------------------------------------


def directory_entry(file: OwnFile) -> bytes:
    """An entry of a directory's index."""
    key = file.file_name()
    return INDEX_ENTRY.pack(
        reference_to(file.number), len(aligned(bytes(INDEX_ENTRY.size) + key)), len(key), 0, 0
    ) + aligned(key)


def view_entry(key: bytes, data: bytes, padding: bytes = b"") -> bytes:
    """An entry of a view index: a key and its data."""
    data_offset = VIEW_ENTRY.size + len(key)
    body = aligned(key + data + padding)
    return VIEW_ENTRY.pack(data_offset if data else 0, len(data), 0, VIEW_ENTRY.size + len(body), len(key), 0, 0) + body


def index_root(kind: int, collation: Collation, entries: list[bytes], block_bytes: int, cluster_bytes: int) -> bytes:
    """An INDEX_ROOT that holds all entries."""
    return _root(kind, collation, b"".join(entries) + _last_entry(None), 0, block_bytes, cluster_bytes)


def index_root_above(kind: int, collation: Collation, block_bytes: int, cluster_bytes: int) -> bytes:
    """An INDEX_ROOT with nothing but the way to block 0."""
    return _root(kind, collation, _last_entry(0), IndexFlags.HAS_CHILDREN, block_bytes, cluster_bytes)


def index_block(entries: list[bytes], block_bytes: int) -> bytes:
    """Block 0 of an INDEX_ALLOCATION: a leaf."""
    usa_offset = INDEX_BLOCK.size + INDEX_HEADER.size
    usa_count = block_bytes // BLOCK_BYTES + 1
    entries_offset = len(aligned(bytes(usa_offset + 2 * usa_count)))
    body = b"".join(entries) + _last_entry(None)
    block = bytearray(block_bytes)
    block[: INDEX_BLOCK.size] = INDEX_BLOCK.pack(INDX_MAGIC, usa_offset, usa_count, 0, 0)
    block[INDEX_BLOCK.size : usa_offset] = INDEX_HEADER.pack(
        entries_offset - INDEX_BLOCK.size,
        entries_offset - INDEX_BLOCK.size + len(body),
        block_bytes - INDEX_BLOCK.size,
        0,
    )
    block[entries_offset : entries_offset + len(body)] = body
    protect(block, 1)
    return bytes(block)


def _root(
    kind: int, collation: Collation, body: bytes, flags: int, block_bytes: int, cluster_bytes: int
) -> bytes:
    unit = cluster_bytes if cluster_bytes <= block_bytes else SMALLEST_INDEX_UNIT
    length = INDEX_HEADER.size + len(body)
    return (
        INDEX_ROOT.pack(kind, collation, block_bytes, block_bytes // unit)
        + INDEX_HEADER.pack(INDEX_HEADER.size, length, length, flags)
        + body
    )


def _last_entry(child_vcn: int | None) -> bytes:
    if child_vcn is None:
        return INDEX_ENTRY.pack(0, INDEX_ENTRY.size, 0, EntryFlags.END, 0)
    length = INDEX_ENTRY.size + CHILD_VCN.size
    return INDEX_ENTRY.pack(0, length, 0, EntryFlags.END | EntryFlags.HAS_CHILD, 0) + CHILD_VCN.pack(child_vcn)
