"""Writing partition tables: an MBR with up to four primary partitions, or a GPT (UEFI 2.10, chapter 5).

    write_table(device, "gpt", [span], entropy)    overwrites whatever table was there; the partitions stay as they are
    whole_disk(device)                             the one partition that fills a disk, as fdisk would place it
    set_kind(device, entry, kind)                  what the table says is in a partition, after mkfs

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
    LINUX_DATA,
    MBR_ENTRIES,
    MBR_SIGNATURE,
    MBR_TABLE_OFFSET,
    MICROSOFT_DATA,
    PROTECTIVE_TYPE,
    GptCopy,
    GptEntry,
    GptHeader,
    MbrEntry,
    PartitionEntry,
    PartitionKind,
    gpt_checksum,
    read_gpt_copy,
)
from jefeos.errors import UsageError

TABLES: Final = ("mbr", "gpt")
ALIGNMENT_SECTORS: Final = 2048
GPT_REVISION: Final = 0x0001_0000
GPT_ENTRIES: Final = 128
GPT_ENTRY_SECTORS: Final = 32
PLAIN_MBR_TYPES: Final = frozenset({0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E, MICROSOFT_DATA.mbr, LINUX_DATA.mbr})
PLAIN_GPT_TYPES: Final = frozenset({MICROSOFT_DATA.gpt.bytes_le, LINUX_DATA.gpt.bytes_le})
"""Types that say no more than which filesystem is there. Others (EFI system, recovery, swap) say what it is for."""
LARGEST_MBR_LBA: Final = 0xFFFF_FFFF
MBR_SERIAL_OFFSET: Final = 440
NO_CHS: Final = b"\xfe\xff\xff"


@frozen
class Span:
    """Where a partition lies, in sectors."""

    first_lba: int
    sector_count: int
    kind: PartitionKind = MICROSOFT_DATA


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
    entries = [_mbr_entry(span.kind.mbr, span.first_lba, span.sector_count) for span in spans]
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
            type_guid=span.kind.gpt.bytes_le,
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
    return _signed(header, len(header))


def _signed(sector: bytes, header_bytes: int) -> bytes:
    checksum = gpt_checksum(sector, header_bytes).to_bytes(4, "little")
    return sector[:GPT_CHECKSUM_OFFSET] + checksum + sector[GPT_CHECKSUM_OFFSET + 4 :]


def set_kind(device: BlockDevice, entry: PartitionEntry, kind: PartitionKind) -> None:
    """Have the table say what is in a partition, unless it says already what that is for. The device is flushed."""
    if entry.record:
        lba, offset = divmod(entry.record, device.sector_bytes)
        sector = bytearray(device.read(lba, 1))
        record = MbrEntry.parse(sector, offset)
        if record.kind in PLAIN_MBR_TYPES:
            record.kind = kind.mbr
            sector[offset : offset + MbrEntry.size] = record.pack()
            device.write(lba, sector)
            device.flush()
        return
    for lba in (device.sector_count - 1, 1):  # one of the copies is whole at each moment
        copy = read_gpt_copy(device, lba)
        if copy is not None:
            _set_gpt_kind(device, copy, entry.number - 1, kind)


def _set_gpt_kind(device: BlockDevice, copy: GptCopy, index: int, kind: PartitionKind) -> None:
    header, length = copy.header, len(copy.array)
    start = index * header.entry_bytes
    if copy.array[start : start + 16] not in PLAIN_GPT_TYPES:
        return
    array = bytearray(device.read(header.entries_lba, -(-length // device.sector_bytes)))
    array[start : start + 16] = kind.gpt.bytes_le
    header.entries_crc32 = zlib.crc32(array[:length])
    sector = header.pack() + copy.sector[GptHeader.size :]
    device.write(header.entries_lba, array)
    device.write(header.my_lba, _signed(sector, header.header_bytes))
    device.flush()


def _random_guid(entropy: Callable[[int], bytes]) -> bytes:
    return uuid.UUID(bytes=entropy(16), version=4).bytes_le
