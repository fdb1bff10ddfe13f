"""On-disk structures of NTFS 3.1, under the names that the published descriptions use.

Sources: the NTFS documentation of the Linux-NTFS project, [MS-FSCC] for reparse points, extended attributes and file
attributes, [MS-DTYP] for security descriptors. All numbers are little endian.

    boot sector (8 KiB of boot code behind it)    cluster size, where $MFT begins
    $MFT        records of 1 KiB, each a file:  FILE_RECORD | attribute | attribute … | END
    attribute   ATTRIBUTE_HEADER, then RESIDENT_HEADER and value, or NON_RESIDENT_HEADER and mapping pairs
    index       INDEX_ROOT (in the record), INDX blocks in INDEX_ALLOCATION:  INDEX_HEADER | entry | entry … | END

Declarations only. Structures that are parsed by the thousand have a compiled codec (`struct.Struct`) beside them.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final

from jefeos.structs import Struct, raw, s8, s64, u8, u16, u32, u64

BLOCK_BYTES: Final = 512
"""The stride of the update sequence: the last two bytes of each are swapped with the array (fixups)."""
NTFS_MAGIC: Final = b"NTFS    "
FILE_MAGIC: Final = b"FILE"
INDX_MAGIC: Final = b"INDX"
BAAD_MAGIC: Final = b"BAAD"
RSTR_MAGIC: Final = b"RSTR"
RCRD_MAGIC: Final = b"RCRD"
CHKD_MAGIC: Final = b"CHKD"
HIBERNATED_MAGIC: Final = (b"hibr", b"HIBR")

TICKS_PER_SECOND: Final = 10**7
EPOCH_OFFSET_TICKS: Final = 11_644_473_600 * TICKS_PER_SECOND
"""NTFS counts in 100 ns since 1601-01-01 UTC; this is 1970-01-01 in that count."""

REFERENCE_MASK: Final = (1 << 48) - 1
"""A file reference: 48 bits record number, 16 bits sequence number."""
NO_CLUSTER: Final = -1
"""The LCN of a hole."""
RECORD_NUMBER_MAX: Final = 0xFFFFFFFF


class MetaFile(IntEnum):
    """Records with a fixed number."""

    MFT = 0
    MFT_MIRROR = 1
    LOG_FILE = 2
    VOLUME = 3
    ATTRIBUTE_DEFINITIONS = 4
    ROOT = 5
    BITMAP = 6
    BOOT = 7
    BAD_CLUSTERS = 8
    SECURE = 9
    UPCASE = 10
    EXTEND = 11
    FIRST_USER = 16
    FIRST_FREE = 24
    """Records below are never given to a new file."""


class AttributeType(IntEnum):
    """``type`` of an attribute; a record holds its attributes in this order, and those of a type by name."""

    STANDARD_INFORMATION = 0x10
    ATTRIBUTE_LIST = 0x20
    FILE_NAME = 0x30
    OBJECT_ID = 0x40
    SECURITY_DESCRIPTOR = 0x50
    VOLUME_NAME = 0x60
    VOLUME_INFORMATION = 0x70
    DATA = 0x80
    INDEX_ROOT = 0x90
    INDEX_ALLOCATION = 0xA0
    BITMAP = 0xB0
    REPARSE_POINT = 0xC0
    EA_INFORMATION = 0xD0
    EA = 0xE0
    PROPERTY_SET = 0xF0
    LOGGED_UTILITY_STREAM = 0x100
    END = 0xFFFFFFFF


class RecordFlags(IntFlag):
    """``flags`` of a file record."""

    IN_USE = 0x01
    IS_DIRECTORY = 0x02
    IS_4 = 0x04
    IS_VIEW_INDEX = 0x08


class AttributeFlags(IntFlag):
    """``flags`` of an attribute."""

    COMPRESSION_MASK = 0x00FF
    COMPRESSED = 0x0001
    ENCRYPTED = 0x4000
    SPARSE = 0x8000


class FileAttributes(IntFlag):
    """DOS attributes ([MS-FSCC] 2.6) and, in FILE_NAME, what kind of index the file has."""

    READONLY = 0x0001
    HIDDEN = 0x0002
    SYSTEM = 0x0004
    DIRECTORY = 0x0010
    ARCHIVE = 0x0020
    DEVICE = 0x0040
    NORMAL = 0x0080
    TEMPORARY = 0x0100
    SPARSE_FILE = 0x0200
    REPARSE_POINT = 0x0400
    COMPRESSED = 0x0800
    OFFLINE = 0x1000
    NOT_CONTENT_INDEXED = 0x2000
    ENCRYPTED = 0x4000
    I30_INDEX_PRESENT = 0x10000000
    VIEW_INDEX_PRESENT = 0x20000000


class Namespace(IntEnum):
    """Which rules a FILE_NAME follows. WIN32 and DOS come in pairs: two names of one link."""

    POSIX = 0
    WIN32 = 1
    DOS = 2
    WIN32_AND_DOS = 3


class Collation(IntEnum):
    """``collation_rule`` of an index."""

    BINARY = 0x00
    FILE_NAME = 0x01
    UNICODE_STRING = 0x02
    NTOFS_ULONG = 0x10
    NTOFS_SID = 0x11
    NTOFS_SECURITY_HASH = 0x12
    NTOFS_ULONGS = 0x13


class IndexFlags(IntFlag):
    """``flags`` of an INDEX_HEADER."""

    HAS_CHILDREN = 0x01


class EntryFlags(IntFlag):
    """``flags`` of an INDEX_ENTRY."""

    HAS_CHILD = 0x01
    END = 0x02


class VolumeFlags(IntFlag):
    """``flags`` of VOLUME_INFORMATION."""

    DIRTY = 0x0001
    RESIZE_LOG_FILE = 0x0002
    UPGRADE_ON_MOUNT = 0x0004
    MOUNTED_ON_NT4 = 0x0008
    DELETE_USN_UNDERWAY = 0x0010
    REPAIR_OBJECT_ID = 0x0020
    CHKDSK_UNDERWAY = 0x4000
    MODIFIED_BY_CHKDSK = 0x8000


class ReparseTag(IntEnum):
    """[MS-FSCC] 2.1.2.1."""

    MOUNT_POINT = 0xA0000003
    SYMLINK = 0xA000000C
    LX_SYMLINK = 0xA000001D
    AF_UNIX = 0x80000023
    LX_FIFO = 0x80000024
    LX_CHR = 0x80000025
    LX_BLK = 0x80000026


class BootSector(Struct):
    """The first sector of the volume, repeated in its last."""

    jump: bytes = raw(3)
    oem_id: bytes = raw(8)
    bytes_per_sector: int = u16()
    sectors_per_cluster: int = u8()
    """Above 0x80: two to the power of its two's complement."""
    reserved_sectors: int = u16()
    fats: int = u8()
    root_entries: int = u16()
    sectors: int = u16()
    media_type: int = u8()
    sectors_per_fat: int = u16()
    sectors_per_track: int = u16()
    heads: int = u16()
    hidden_sectors: int = u32()
    large_sectors: int = u32()
    physical_drive: int = u8()
    current_head: int = u8()
    extended_boot_signature: int = u8()
    reserved: int = u8()
    number_of_sectors: int = u64()
    mft_lcn: int = u64()
    mftmirr_lcn: int = u64()
    clusters_per_mft_record: int = s8()
    """Negative: the size is two to the power of its absolute value."""
    reserved0: bytes = raw(3)
    clusters_per_index_record: int = s8()
    reserved1: bytes = raw(3)
    volume_serial_number: int = u64()
    checksum: int = u32()
    bootstrap: bytes = raw(426)
    end_of_sector_marker: int = u16()


class FileRecord(Struct):
    """FILE_RECORD_SEGMENT_HEADER of NTFS 3.1."""

    magic: bytes = raw(4)
    usa_ofs: int = u16()
    usa_count: int = u16()
    lsn: int = u64()
    sequence_number: int = u16()
    link_count: int = u16()
    attrs_offset: int = u16()
    flags: int = u16()
    bytes_in_use: int = u32()
    bytes_allocated: int = u32()
    base_mft_record: int = u64()
    next_attr_instance: int = u16()
    reserved: int = u16()
    mft_record_number: int = u32()


FILE_RECORD: Final = struct.Struct("<4sHHQHHHHIIQHHI")

ATTRIBUTE_HEADER: Final = struct.Struct("<IIBBHHH")
"""type, length, non_resident, name_length (in units of 2 bytes), name_offset, flags, instance."""
RESIDENT_HEADER: Final = struct.Struct("<IHBB")
"""Behind ATTRIBUTE_HEADER: value_length, value_offset, resident_flags (1: indexed), reserved."""
NON_RESIDENT_HEADER: Final = struct.Struct("<QqHB5xQQQ")
"""Behind ATTRIBUTE_HEADER: lowest_vcn, highest_vcn, mapping_pairs_offset, compression_unit, allocated_size, data_size,
initialized_size; in the first extent of a sparse or compressed attribute, compressed_size follows as 8 bytes."""
RESIDENT_VALUE_OFFSET: Final = ATTRIBUTE_HEADER.size + RESIDENT_HEADER.size
NON_RESIDENT_PAIRS_OFFSET: Final = ATTRIBUTE_HEADER.size + NON_RESIDENT_HEADER.size
INDEXED: Final = 0x01
COMPRESSION_UNIT: Final = 4
"""Log2 of the clusters in a compression unit; sparse attributes carry it too."""
COMPRESSION_CLUSTER_BYTES_MAX: Final = 4096


class AttributeListEntry(Struct):
    """One attribute (or extent of one) of a file whose attributes do not fit into one record. The name follows."""

    type: int = u32()
    length: int = u16()
    name_length: int = u8()
    name_offset: int = u8()
    lowest_vcn: int = u64()
    mft_reference: int = u64()
    instance: int = u16()


ATTRIBUTE_LIST_ENTRY: Final = struct.Struct("<IHBBQQH")


class StandardInformation(Struct):
    """STANDARD_INFORMATION as of NTFS 3.0; before that it ended ahead of ``owner_id``."""

    creation_time: int = u64()
    last_data_change_time: int = u64()
    last_mft_change_time: int = u64()
    last_access_time: int = u64()
    file_attributes: int = u32()
    maximum_versions: int = u32()
    version_number: int = u32()
    class_id: int = u32()
    owner_id: int = u32()
    security_id: int = u32()
    quota_charged: int = u64()
    usn: int = u64()


STANDARD_INFORMATION: Final = struct.Struct("<QQQQI12xIIQQ")
STANDARD_INFORMATION_OLD: Final = struct.Struct("<QQQQI12x")


class FileName(Struct):
    """FILE_NAME, in a record and as the key of a directory's index. The name follows, in UTF-16."""

    parent_directory: int = u64()
    creation_time: int = u64()
    last_data_change_time: int = u64()
    last_mft_change_time: int = u64()
    last_access_time: int = u64()
    allocated_size: int = u64()
    data_size: int = u64()
    file_attributes: int = u32()
    reparse_point_tag: int = u32()
    """For a file with extended attributes instead: their packed size, in 16 bits."""
    file_name_length: int = u8()
    file_name_type: int = u8()


FILE_NAME: Final = struct.Struct("<QQQQQQQIIBB")
NAME_UNITS_MAX: Final = 255


class VolumeInformation(Struct):
    """VOLUME_INFORMATION of $Volume."""

    reserved: int = u64()
    major_ver: int = u8()
    minor_ver: int = u8()
    flags: int = u16()


class IndexHeader(Struct):
    """INDEX_HEADER: at the end of INDEX_ROOT and of an INDX block's header. Offsets count from its own beginning."""

    entries_offset: int = u32()
    index_length: int = u32()
    allocated_size: int = u32()
    flags: int = u32()
    """One byte of flags and three of nothing."""


INDEX_HEADER: Final = struct.Struct("<IIII")


class IndexRoot(Struct):
    """INDEX_ROOT ahead of its INDEX_HEADER."""

    type: int = u32()
    collation_rule: int = u32()
    index_block_size: int = u32()
    clusters_per_index_block: int = s8()
    reserved: bytes = raw(3)


INDEX_ROOT: Final = struct.Struct("<IIIb3x")


class IndexBlock(Struct):
    """INDEX_ALLOCATION's blocks ahead of their INDEX_HEADER."""

    magic: bytes = raw(4)
    usa_ofs: int = u16()
    usa_count: int = u16()
    lsn: int = u64()
    index_block_vcn: int = s64()


INDEX_BLOCK: Final = struct.Struct("<4sHHQq")

INDEX_ENTRY: Final = struct.Struct("<QHHHH")
"""In a directory: indexed_file, length, key_length, flags, reserved; then the key. In a view index the first 8 bytes
are data_offset (u16), data_length (u16), reserved (u32). With a child, its VCN is in the last 8 bytes."""
VIEW_ENTRY: Final = struct.Struct("<HHIHHHH")
CHILD_VCN: Final = struct.Struct("<q")


class EaInformation(Struct):
    """EA_INFORMATION: sizes of what EA holds."""

    ea_length: int = u16()
    """When packed, each entry without its alignment and next_entry_offset."""
    need_ea_count: int = u16()
    ea_query_length: int = u32()


EA_ENTRY: Final = struct.Struct("<IBBH")
"""next_entry_offset, flags, ea_name_length, ea_value_length; then the name, a NUL and the value."""


class ReparsePoint(Struct):
    """REPARSE_POINT ahead of its data."""

    reparse_tag: int = u32()
    reparse_data_length: int = u16()
    reserved: int = u16()


class SymbolicLinkReparse(Struct):
    """Data of SYMLINK ([MS-FSCC] 2.1.2.4), ahead of the path buffer. MOUNT_POINT has no ``flags``."""

    substitute_name_offset: int = u16()
    substitute_name_length: int = u16()
    print_name_offset: int = u16()
    print_name_length: int = u16()


class SecurityDescriptorHeader(Struct):
    """An entry of $Secure:$SDS; the descriptor follows. The same 20 bytes are the data of $SDH and $SII."""

    hash: int = u32()
    security_id: int = u32()
    offset: int = u64()
    length: int = u32()


SDS_BLOCK_BYTES: Final = 1 << 18
"""$SDS keeps two copies of each entry, this far apart; no entry crosses such a boundary."""
FIRST_SECURITY_ID: Final = 0x100


class RestartPage(Struct):
    """RESTART_PAGE_HEADER of $LogFile."""

    magic: bytes = raw(4)
    usa_ofs: int = u16()
    usa_count: int = u16()
    chkdsk_lsn: int = u64()
    system_page_size: int = u32()
    log_page_size: int = u32()
    restart_area_offset: int = u16()
    minor_ver: int = u16()
    major_ver: int = u16()


class RestartArea(Struct):
    """RESTART_AREA: which client uses the log, and whether the volume was unmounted."""

    current_lsn: int = u64()
    log_clients: int = u16()
    client_free_list: int = u16()
    client_in_use_list: int = u16()
    flags: int = u16()
    seq_number_bits: int = u32()
    restart_area_length: int = u16()
    client_array_offset: int = u16()
    file_size: int = u64()
    last_lsn_data_length: int = u32()
    log_record_header_length: int = u16()
    log_page_data_offset: int = u16()
    restart_log_open_count: int = u32()
    reserved: int = u32()


NO_LOG_CLIENT: Final = 0xFFFF
RESTART_VOLUME_IS_CLEAN: Final = 0x0002
