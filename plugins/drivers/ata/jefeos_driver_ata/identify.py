"""What a disk says of itself: the answer to IDENTIFY DEVICE (ATA/ATAPI-6, 8.15), 256 words.

Untrusted input: a disk that claims no sectors, no LBA or more than there can be is refused, and a checksum, where there
is one, must be right.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen
from jefeos.errors import CorruptError

from jefeos_driver_ata.registers import (
    CAPABILITY_DMA,
    CAPABILITY_LBA,
    COMMAND_SET_FLUSH,
    COMMAND_SET_FLUSH_EXT,
    COMMAND_SET_LBA48,
    GENERAL_NOT_A_DISK,
    GENERAL_REMOVABLE,
    INTEGRITY_SIGNATURE,
    LBA28_LIMIT,
    LBA48_LIMIT,
    SECTOR_BYTES,
    WORDS_BEHIND_IDENTIFY,
    IdentifyWord,
)

_COMMAND_SETS_VALID: Final = 0x4000
_VALIDITY_MASK: Final = 0xC000


@frozen
class Identity:
    """The parts that the driver uses."""

    model: str
    serial: str
    firmware: str
    sector_count: int
    has_lba48: bool
    has_dma: bool
    has_flush: bool
    has_flush_ext: bool
    removable: bool

    @classmethod
    def parse(cls, data: bytes) -> Identity:
        """Read the 512 bytes. Raises CorruptError for what cannot be."""
        if len(data) != SECTOR_BYTES:
            raise CorruptError(f"IDENTIFY DEVICE gives {SECTOR_BYTES} bytes, not {len(data)}")
        words = struct.unpack(f"<{WORDS_BEHIND_IDENTIFY}H", data)
        if words[IdentifyWord.GENERAL] & GENERAL_NOT_A_DISK:
            raise CorruptError("the device is not a disk")
        if words[IdentifyWord.INTEGRITY] & 0xFF == INTEGRITY_SIGNATURE and sum(data) & 0xFF:
            raise CorruptError("the checksum of IDENTIFY DEVICE is wrong")
        if not words[IdentifyWord.CAPABILITIES] & CAPABILITY_LBA:
            raise CorruptError("the disk has no logical block addresses")
        sets = words[IdentifyWord.COMMAND_SETS_2]
        sets = sets if sets & _VALIDITY_MASK == _COMMAND_SETS_VALID else 0
        has_lba48 = bool(sets & COMMAND_SET_LBA48)
        sectors = _number(words, IdentifyWord.LBA28_SECTORS, 2)
        limit = LBA28_LIMIT
        if has_lba48:
            sectors = max(_number(words, IdentifyWord.LBA48_SECTORS, 4), sectors)
            limit = LBA48_LIMIT
        if not 0 < sectors <= limit:
            raise CorruptError(f"the disk claims to have {sectors} sectors")
        return cls(
            model=_text(data, IdentifyWord.MODEL, 20),
            serial=_text(data, IdentifyWord.SERIAL, 10),
            firmware=_text(data, IdentifyWord.FIRMWARE, 4),
            sector_count=sectors,
            has_lba48=has_lba48,
            has_dma=bool(words[IdentifyWord.CAPABILITIES] & CAPABILITY_DMA),
            has_flush=bool(sets & COMMAND_SET_FLUSH),
            has_flush_ext=bool(sets & COMMAND_SET_FLUSH_EXT),
            removable=bool(words[IdentifyWord.GENERAL] & GENERAL_REMOVABLE),
        )


def _number(words: tuple[int, ...], first: int, count: int) -> int:
    return sum(words[first + index] << (16 * index) for index in range(count))


def _text(data: bytes, first: int, count: int) -> str:
    """Text has its two characters of a word swapped, and is padded with blanks."""
    swapped = data[2 * first : 2 * (first + count)]
    plain = bytes(byte for pair in zip(swapped[1::2], swapped[::2], strict=True) for byte in pair)
    return plain.decode("ascii", "replace").strip(" \0")


def pack_text(text: str, count: int) -> bytes:
    """The other way: ``count`` words."""
    plain = text.encode("ascii", "replace")[: 2 * count].ljust(2 * count)
    return bytes(byte for pair in zip(plain[1::2], plain[::2], strict=True) for byte in pair)
