"""On-disk structures of FAT, in the order and with the names of Microsoft's specification.

    sector 0        BootSector, then FatTail (FAT12/16) or Fat32Fields + FatTail (FAT32)
    sector 1, 6     FSInfo and the copy of the boot sector (FAT32, where Fat32Fields says)
    reserved ..     FAT 1, FAT 2: 12, 16 or 32 (28 used) bits a cluster; the value is the next cluster of the chain
    then            root directory of fixed size (FAT12/16 only)
    then            clusters, numbered from 2

Source: "FAT32 File System Specification", Microsoft, version 1.03, December 2000; long names: its chapter "Long
Directory Entries". Declarations only.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from jefeos.structs import Struct, nested, pad, raw, u8, u16, u32

BOOT_SIGNATURE: Final = b"\x55\xaa"
BOOT_SIGNATURE_OFFSET: Final = 510
EXTENDED_SIGNATURE: Final = 0x29
FIXED_MEDIA: Final = 0xF8
"""BPB_Media of what is no floppy disk."""

FIRST_CLUSTER: Final = 2
MOST_FAT12: Final = 4084
MOST_FAT16: Final = 65524
MOST_FAT32: Final = 0x0FFFFFF5
"""The most clusters of each kind: their number alone decides between FAT12 and FAT16."""

SLOT_BYTES: Final = 32
MOST_SLOTS: Final = 65536
"""Directory entries in one directory, those of long names included."""
MOST_FILE_BYTES: Final = (1 << 32) - 1
NAME_UNITS: Final = 255
"""UTF-16 code units of a long name."""
UNITS_A_SLOT: Final = 13

FREE_SLOT: Final = 0xE5
END_OF_DIRECTORY: Final = 0x00
KANJI_E5: Final = 0x05
"""Stands for a first character 0xE5, which would mean a free slot."""

LAST_LONG_SLOT: Final = 0x40
LONG_ORDER_MASK: Final = 0x3F


class BootSector(Struct):
    """BS_ and BPB_ fields that all kinds have."""

    jump: bytes = raw(3)
    oem_name: bytes = raw(8)
    bytes_per_sector: int = u16(512)
    sectors_per_cluster: int = u8(1)
    reserved_sectors: int = u16(1)
    fat_count: int = u8(2)
    root_entries: int = u16()
    total_sectors_16: int = u16()
    media: int = u8(FIXED_MEDIA)
    fat_sectors_16: int = u16()
    sectors_per_track: int = u16(32)
    heads: int = u16(2)
    hidden_sectors: int = u32()
    total_sectors_32: int = u32()


class Fat32Fields(Struct):
    """BPB_ fields of FAT32, after those of `BootSector`."""

    fat_sectors: int = u32()
    flags: int = u16()
    version: int = u16()
    root_cluster: int = u32(FIRST_CLUSTER)
    info_sector: int = u16(1)
    backup_sector: int = u16(6)
    _reserved: None = pad(12)


class FatTail(Struct):
    """The last BS_ fields, before the boot code."""

    drive_number: int = u8(0x80)
    state: int = u8()
    extended_signature: int = u8(EXTENDED_SIGNATURE)
    serial: int = u32()
    label: bytes = raw(11)
    type_name: bytes = raw(8)


class ExtFlags(IntFlag):
    """BPB_ExtFlags of FAT32."""

    ACTIVE_FAT = 0x0F
    ONE_FAT = 0x80
    """Only the FAT whose number is in `ACTIVE_FAT` is kept up."""


class State(IntFlag):
    """BS_Reserved1, as Windows and Linux use it."""

    DIRTY = 0x01
    TEST_SURFACE = 0x02


class InfoSector(Struct):
    """FSInfo: hints. 0xFFFFFFFF stands for unknown."""

    lead_signature: bytes = raw(4)
    _reserved1: None = pad(480)
    signature: bytes = raw(4)
    free_clusters: int = u32(0xFFFFFFFF)
    next_free: int = u32(0xFFFFFFFF)
    _reserved2: None = pad(12)
    trail_signature: bytes = raw(4)


INFO_LEAD: Final = b"RRaA"
INFO_SIGNATURE: Final = b"rrAa"
INFO_TRAIL: Final = b"\0\0\x55\xaa"
INFO_UNKNOWN: Final = 0xFFFFFFFF


class Attribute(IntFlag):
    """DIR_Attr."""

    READ_ONLY = 0x01
    HIDDEN = 0x02
    SYSTEM = 0x04
    VOLUME_ID = 0x08
    DIRECTORY = 0x10
    ARCHIVE = 0x20
    LONG_NAME = READ_ONLY | HIDDEN | SYSTEM | VOLUME_ID
    LONG_NAME_MASK = LONG_NAME | DIRECTORY | ARCHIVE


IS_DIRECTORY: Final = int(Attribute.DIRECTORY)
"""The same as plain numbers, for what is done for each entry."""
IS_READ_ONLY: Final = int(Attribute.READ_ONLY)
IS_ARCHIVE: Final = int(Attribute.ARCHIVE)


class NameCase(IntFlag):
    """DIR_NTRes: Windows NT keeps a short name in lower case this way."""

    LOWER_BASE = 0x08
    LOWER_EXTENSION = 0x10


class Slot(Struct):
    """A directory entry with its short name. Dates and times: times.py."""

    name: bytes = raw(11)
    attributes: int = u8()
    name_case: int = u8()
    create_hundredths: int = u8()
    create_time: int = u16()
    create_date: int = u16()
    access_date: int = u16()
    cluster_high: int = u16()
    write_time: int = u16()
    write_date: int = u16()
    cluster_low: int = u16()
    size_bytes: int = u32()


#: One of the entries ahead of a `Slot` that hold its long name, the last part first: byte 0 is its number, 11 the
#: attribute `LONG_NAME`, 13 the checksum of the short name, and these hold characters (UTF-16); the others are zero.
LONG_PARTS: Final = (slice(1, 11), slice(14, 26), slice(28, 32))
LONG_CHECKSUM: Final = 13
ATTRIBUTES: Final = 11
"""Where a slot of either kind has its attributes."""


class BootSector1216(Struct):
    """The head of the first sector of FAT12 and FAT16."""

    common: BootSector = nested(BootSector)
    tail: FatTail = nested(FatTail)


class BootSector32(Struct):
    """The head of the first sector of FAT32."""

    common: BootSector = nested(BootSector)
    fat32: Fat32Fields = nested(Fat32Fields)
    tail: FatTail = nested(FatTail)


STATE_OFFSET_1216: Final = BootSector.size + 1
STATE_OFFSET_32: Final = BootSector.size + Fat32Fields.size + 1
"""Where `FatTail.state` is in the first sector."""

CLEAN_BIT_16: Final = 0x8000
CLEAN_BIT_32: Final = 0x08000000
"""Of FAT[1]: 1 says that the volume was unmounted. FAT12 has none."""
