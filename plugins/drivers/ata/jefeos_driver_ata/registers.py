"""Registers and commands of ATA disks behind a PCI IDE controller; the driver and the model both read this page.

    command block   8 ports a channel     data, error/features, count, LBA low, mid, high, device, status/command
    control block   1 port                alternate status / device control
    bus master      8 ports a channel     command, status, address of the PRD table

Sources: ATA/ATAPI-6 (T13/1410D) sections 6, 7 and 8; Programming Interface for Bus Master IDE Controller, revision
1.0 (Intel 1994); 82371SB (PIIX3) datasheet, 290550. Access: R read, W write.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from jefeos.structs import Struct, u16, u32

SECTOR_BYTES: Final = 512
SECTOR_WORDS: Final = 256
WORDS_BEHIND_IDENTIFY: Final = 256

# Where a controller in compatibility mode decodes its channels (PCI IDE Controller Specification 1.0, table 1).
COMMAND_PORTS: Final = (0x1F0, 0x170)
CONTROL_PORTS: Final = (0x3F6, 0x376)
COMPATIBILITY_LINES: Final = (14, 15)
COMMAND_BLOCK_BYTES: Final = 8
CONTROL_OFFSET_IN_BAR: Final = 2
BUS_MASTER_BAR: Final = 4
BUS_MASTER_CHANNEL_BYTES: Final = 8

# Programming interface (class 01, subclass 01): which channels are in native mode, and bus mastering.
IDE_CLASS: Final = 0x010100
IDE_CLASS_MASK: Final = 0xFFFF00
NATIVE_CHANNEL: Final = (1 << 0, 1 << 2)
BUS_MASTER_CAPABLE: Final = 1 << 7


class CommandBlock(IntEnum):
    """Offsets in the command block (7.1)."""

    DATA = 0  # R/W, 16 bits
    ERROR = 1  # R
    FEATURES = 1  # W
    SECTOR_COUNT = 2  # R/W, a two-deep queue for LBA48
    LBA_LOW = 3  # R/W, likewise
    LBA_MID = 4  # R/W, likewise
    LBA_HIGH = 5  # R/W, likewise
    DEVICE = 6  # R/W
    STATUS = 7  # R, clears the interrupt
    COMMAND = 7  # W


# Status register (7.15)
STATUS_ERR: Final = 1 << 0
STATUS_DRQ: Final = 1 << 3
STATUS_DF: Final = 1 << 5
STATUS_DRDY: Final = 1 << 6
STATUS_BSY: Final = 1 << 7

# Error register (7.9); which bits mean something depends on the command
ERROR_NO_MEDIA: Final = 1 << 1
ERROR_ABORTED: Final = 1 << 2
ERROR_ID_NOT_FOUND: Final = 1 << 4
ERROR_UNCORRECTABLE: Final = 1 << 6
ERROR_WRITE_PROTECTED: Final = 1 << 6
ERROR_INTERFACE_CRC: Final = 1 << 7

# Device control register (7.8)
CONTROL_NO_INTERRUPT: Final = 1 << 1
CONTROL_RESET: Final = 1 << 2
CONTROL_HIGH_ORDER_BYTE: Final = 1 << 7

# Device register (7.7)
DEVICE_LBA: Final = 1 << 6
DEVICE_OBSOLETE: Final = 1 << 7 | 1 << 5
DEVICE_SECOND: Final = 1 << 4


class Command(IntEnum):
    """Command codes (annex B)."""

    READ_SECTORS = 0x20
    READ_SECTORS_EXT = 0x24
    READ_DMA_EXT = 0x25
    WRITE_SECTORS = 0x30
    WRITE_SECTORS_EXT = 0x34
    WRITE_DMA_EXT = 0x35
    READ_DMA = 0xC8
    WRITE_DMA = 0xCA
    FLUSH_CACHE = 0xE7
    FLUSH_CACHE_EXT = 0xEA
    IDENTIFY_DEVICE = 0xEC
    IDENTIFY_PACKET_DEVICE = 0xA1
    SET_FEATURES = 0xEF


# Signatures in LBA mid and high after a reset or a refused IDENTIFY (9.12)
SIGNATURE_DISK: Final = (0x00, 0x00)
SIGNATURE_PACKET: Final = (0x14, 0xEB)

SECTORS_A_COMMAND_28: Final = 256
SECTORS_A_COMMAND_48: Final = 65536
LBA28_LIMIT: Final = 1 << 28
LBA48_LIMIT: Final = 1 << 48


class IdentifyWord(IntEnum):
    """Words of IDENTIFY DEVICE's answer (table 26)."""

    GENERAL = 0
    SERIAL = 10  # 10 words of text
    FIRMWARE = 23  # 4
    MODEL = 27  # 20
    CAPABILITIES = 49
    LBA28_SECTORS = 60  # 2 words
    MAJOR_VERSION = 80
    COMMAND_SETS = 82
    COMMAND_SETS_2 = 83
    COMMAND_SETS_ENABLED_2 = 86
    LBA48_SECTORS = 100  # 4 words
    INTEGRITY = 255


CAPABILITY_DMA: Final = 1 << 8
CAPABILITY_LBA: Final = 1 << 9
COMMAND_SET_LBA48: Final = 1 << 10
COMMAND_SET_FLUSH: Final = 1 << 12
COMMAND_SET_FLUSH_EXT: Final = 1 << 13
WORD_IS_VALID: Final = 1 << 14
GENERAL_NOT_A_DISK: Final = 1 << 15
GENERAL_REMOVABLE: Final = 1 << 7
INTEGRITY_SIGNATURE: Final = 0xA5


class BusMaster(IntEnum):
    """Offsets in a channel's bus master registers."""

    COMMAND = 0  # R/W
    STATUS = 2  # R/W, error and interrupt are cleared by writing ones
    TABLE = 4  # R/W, 32 bits, four-byte aligned


BUS_MASTER_START: Final = 1 << 0
BUS_MASTER_TO_MEMORY: Final = 1 << 3  # the transfer reads from the disk
BUS_MASTER_ACTIVE: Final = 1 << 0
BUS_MASTER_ERROR: Final = 1 << 1
BUS_MASTER_INTERRUPT: Final = 1 << 2
BUS_MASTER_CAPABLE_0: Final = 1 << 5


class Prd(Struct):
    """Physical region descriptor. A count of 0 is 64 KiB; a region lies inside of one 64 KiB of addresses."""

    address: int = u32()
    byte_count: int = u16()
    flags: int = u16()


class PrdWords(Struct):
    """The same as two words, as the model reads it."""

    address: int = u32()
    count_and_flags: int = u32()


PRD_LAST: Final = 1 << 15
PRD_REGION_BYTES: Final = 1 << 16
