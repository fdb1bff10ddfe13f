"""$UpCase: the table by which NTFS compares names, made by rule.

A volume carries 65536 little-endian 16-bit words, one for each UTF-16 code unit: its upper case. Names are sorted and
found by it, so it may never change during the life of a volume; what Windows has written since version 7 follows the
simple case mapping of Unicode 5.1, in these words:

  * A unit becomes the one capital (or, where there is none, the one titlecase letter) whose lower case it is. Letters
    that merely share a capital with another one (ſ, ς, µ, ı) stay as they are, and so do titlecase digraphs.
  * Pairs whose capital, or whose small letter, came after Unicode 5.1 are not there: `YOUNGER_CAPITALS`.
  * Surrogates, and what maps out of the first plane, stay as they are.

Beside the table stands $Info, a stream of 32 bytes with the table's CRC-64, from which Windows tells its own table.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from jefeos.structs import Struct, pad, u16, u32, u64

CODE_UNITS: Final = 65536
SURROGATES: Final = range(0xD800, 0xE000)

YOUNGER_CAPITALS: Final = (
    range(0x037F, 0x0380),  # yot
    range(0x0524, 0x0530),  # Cyrillic supplement
    range(0x10C7, 0x10CE),  # Georgian yn and aen
    range(0x13A0, 0x13F6),  # Cherokee: old letters that became capitals when small ones came
    range(0x1C80, 0x1CC0),  # Cyrillic extended C, Georgian mtavruli
    range(0x2C2F, 0x2C30),  # Glagolitic
    range(0x2C70, 0x2C71),  # Latin extended C
    range(0x2C7E, 0x2C80),
    range(0x2CEB, 0x2CF3),  # Coptic
    range(0xA660, 0xA661),  # Cyrillic extended B
    range(0xA698, 0xA69B),
    range(0xA78D, 0xA800),  # Latin extended D
)
"""First-plane capitals that were assigned, or got their small letter, after Unicode 5.1."""

CRC64_POLYNOMIAL: Final = 0x9A6C_9329_AC4B_C9B5
"""Reflected; start and final exclusive-or are all ones."""
ALL_ONES_64: Final = (1 << 64) - 1


class UpCaseInfo(Struct):
    """The stream $Info of $UpCase."""

    length: int = u32(32)
    reserved: int = pad(4)
    crc: int = u64()
    os_major: int = u32()
    os_minor: int = u32()
    build: int = u32()
    service_pack_major: int = u16()
    service_pack_minor: int = u16()


def upper_case(unit: int) -> int:
    """The upper case of one UTF-16 code unit."""
    if unit in SURROGATES:
        return unit
    character = chr(unit)
    for capital in (character.upper(), character.title()):
        if len(capital) == 1 and ord(capital) < CODE_UNITS and capital.lower() == character:
            return unit if any(ord(capital) in block for block in YOUNGER_CAPITALS) else ord(capital)
    return unit


@cache
def default_upcase() -> bytes:
    """The contents of $UpCase for a new volume: 128 KiB."""
    return b"".join([upper_case(unit).to_bytes(2, "little") for unit in range(CODE_UNITS)])


def upcase_info(table: bytes) -> bytes:
    """The contents of the stream $Info that goes with ``table``."""
    return UpCaseInfo(crc=crc64(table)).pack()


def crc64(data: bytes) -> int:
    """CRC-64 with the polynomial that Windows uses here."""
    table = _crc64_table()
    crc = ALL_ONES_64
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ ALL_ONES_64


@cache
def _crc64_table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (CRC64_POLYNOMIAL if value & 1 else 0)
        entries.append(value)
    return tuple(entries)
