"""Writing partition tables: an MBR with up to four primary partitions, or a GPT (UEFI 2.10, chapter 5).

    write_table(device, "gpt", [span], entropy)    overwrites whatever table was there; the partitions stay as they are
    whole_disk(device)                             the one partition that fills a disk, as fdisk would place it

Partitions start at a mebibyte, as every tool of today places them. The device is flushed at the end.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from jefeos.block.device import BlockDevice
from jefeos.block.partitions import (
    GPT_CHECKSUM_OFFSET,
    GPT_SIGNATURE,
    MBR_ENTRIES,
    MBR_SIGNATURE,
    MBR_TABLE_OFFSET,
    PROTECTIVE_TYPE,
    GptEntry,
    GptHeader,
    MbrEntry,
)
from jefeos.errors import UsageError

TABLES: Final = ("mbr", "gpt")
ALIGNMENT_SECTORS: Final = 2048
GPT_REVISION: Final = 0x0001_0000
GPT_ENTRIES: Final = 128
GPT_ENTRY_SECTORS: Final = 32
LINUX_TYPE: Final = 0x83
MICROSOFT_TYPE: Final = 0x07
BASIC_DATA: Final = uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")
LARGEST_MBR_LBA: Final = 0xFFFF_FFFF
MBR_SERIAL_OFFSET: Final = 440
NO_CHS: Final = b"\xfe\xff\xff"


@frozen
class Span:
    """Where a partition lies, in sectors."""

    first_lba: int
    sector_count: int
    mbr_type: int = MICROSOFT_TYPE


def whole_disk(device: BlockDevice) -> Span:
    """From the first mebibyte to where a backup of a GPT would begin. Raises UsageError for a disk without room."""
    end = (device.sector_count - GPT_ENTRY_SECTORS - 1) // ALIGNMENT_SECTORS * ALIGNMENT_SECTORS
    if end <= ALIGNMENT_SECTORS:
        raise UsageError(f"{device.size_bytes} bytes are too few for a partition table: take at least 3M")
    return Span(ALIGNMENT_SECTORS, end - ALIGNMENT_SECTORS)


def write_table(device: BlockDevice, kind: str, spans: Sequence[Span], entropy: Callable[[int], bytes]) -> None:
    """Write a table. Raises UsageError for what it cannot hold."""
    if kind not in TABLES:
        raise UsageError(f"a partition table is one of {', '.join(TABLES)}, not {kind!r}")
    if kind == "mbr":
        _write_mbr(device, spans, entropy(4))
    else:
        _write_gpt(device, spans, entropy)
    device.flush()


def _write_mbr(device: BlockDevice, spans: Sequence[Span], serial: bytes) -> None:
    if len(spans) > MBR_ENTRIES or any(span.first_lba + span.sector_count > LARGEST_MBR_LBA for span in spans):
        raise UsageError("an MBR holds four partitions within the first 2 TiB: take a GPT")
    sector = bytearray(device.read(0, 1))
    sector[MBR_SERIAL_OFFSET : MBR_SERIAL_OFFSET + 4] = serial
    entries = [_mbr_entry(span.mbr_type, span.first_lba, span.sector_count) for span in spans]
    _put_entries(sector, entries)
    device.write(0, sector)


def _mbr_entry(kind: int, first_lba: int, sector_count: int) -> bytes:
    return MbrEntry(
        status=0, first_chs=NO_CHS, kind=kind, last_chs=NO_CHS, first_lba=first_lba, sector_count=sector_count
    ).pack()


def _put_entries(sector: bytearray, entries: list[bytes]) -> None:
    table = b"".join(entries).ljust(MBR_ENTRIES * MbrEntry.size, b"\0")
    sector[MBR_TABLE_OFFSET : MBR_TABLE_OFFSET + len(table)] = table
    sector[510:512] = MBR_SIGNATURE


def _write_gpt(device: BlockDevice, spans: Sequence[Span], entropy: Callable[[int], bytes]) -> None:
    last = device.sector_count - 1
    packed = b"".join(
        GptEntry(
            type_guid=BASIC_DATA.bytes_le,
            unique_guid=_random_guid(entropy),
            first_lba=span.first_lba,
            last_lba=span.first_lba + span.sector_count - 1,
            attributes=0,
            name=bytes(72),
        ).pack()
        for span in spans
    )
    table = packed.ljust(GPT_ENTRY_SECTORS * 512, b"\0")
    disk_guid = _random_guid(entropy)
    protective = bytearray(512)
    _put_entries(protective, [_mbr_entry(PROTECTIVE_TYPE, 1, min(last, LARGEST_MBR_LBA))])
    device.write(0, protective)
    for here, other, entries_lba in ((1, last, 2), (last, 1, last - GPT_ENTRY_SECTORS)):
        header = _gpt_header(here, other, entries_lba, last, disk_guid, table)
        device.write(entries_lba, table)
        device.write(here, header.ljust(512, b"\0"))


def _gpt_header(here: int, other: int, entries_lba: int, last: int, guid: bytes, table: bytes) -> bytes:
    header = GptHeader(
        signature=GPT_SIGNATURE,
        revision=GPT_REVISION,
        header_bytes=GptHeader.size,
        header_crc32=0,
        reserved=0,
        my_lba=here,
        alternate_lba=other,
        first_usable_lba=2 + GPT_ENTRY_SECTORS,
        last_usable_lba=last - GPT_ENTRY_SECTORS - 1,
        disk_guid=guid,
        entries_lba=entries_lba,
        entry_count=GPT_ENTRIES,
        entry_bytes=GptEntry.size,
        entries_crc32=zlib.crc32(table),
    ).pack()
    checksum = zlib.crc32(header).to_bytes(4, "little")
    return header[:GPT_CHECKSUM_OFFSET] + checksum + header[GPT_CHECKSUM_OFFSET + 4 :]


def _random_guid(entropy: Callable[[int], bytes]) -> bytes:
    return uuid.UUID(bytes=entropy(16), version=4).bytes_le
