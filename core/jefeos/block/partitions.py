"""Partition tables: MBR with logical partitions, and GPT (UEFI 2.10, chapter 5).

    read_partitions(device) -> [PartitionEntry]     what the table says, nothing that it cannot mean
    Partition(device, entry)                        that part as a block device

A table is untrusted input: entries that leave the disk or are empty are left out with a reason, chains of logical
partitions are followed only forwards and so far, a GPT counts only with both checksums right (the backup at the end of
the disk stands in for a damaged primary).
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable
from typing import Final

from attrs import frozen

from jefeos.block.device import BlockDevice
from jefeos.structs import Struct, raw, u8, u32, u64

MBR_SIGNATURE: Final = b"\x55\xaa"
MBR_TABLE_OFFSET: Final = 446
MBR_ENTRIES: Final = 4
EXTENDED_TYPES: Final = frozenset({0x05, 0x0F, 0x85})
PROTECTIVE_TYPE: Final = 0xEE
FIRST_LOGICAL: Final = 5
MOST_LOGICAL: Final = 123
GPT_SIGNATURE: Final = b"EFI PART"
MOST_GPT_ENTRIES: Final = 1024
MOST_GPT_ENTRY_BYTES: Final = 4096
GPT_CHECKSUM_OFFSET: Final = 16


class MbrEntry(Struct):
    """A record of a master boot record's partition table (UEFI 2.10, table 5.2)."""

    status: int = u8()
    first_chs: bytes = raw(3)
    kind: int = u8()
    last_chs: bytes = raw(3)
    first_lba: int = u32()
    sector_count: int = u32()


class GptHeader(Struct):
    """GPT header (UEFI 2.10, table 5.5)."""

    signature: bytes = raw(8)
    revision: int = u32()
    header_bytes: int = u32()
    header_crc32: int = u32()
    reserved: int = u32()
    my_lba: int = u64()
    alternate_lba: int = u64()
    first_usable_lba: int = u64()
    last_usable_lba: int = u64()
    disk_guid: bytes = raw(16)
    entries_lba: int = u64()
    entry_count: int = u32()
    entry_bytes: int = u32()
    entries_crc32: int = u32()


class GptEntry(Struct):
    """GPT partition entry (UEFI 2.10, table 5.6)."""

    type_guid: bytes = raw(16)
    unique_guid: bytes = raw(16)
    first_lba: int = u64()
    last_lba: int = u64()
    attributes: int = u64()
    name: bytes = raw(72)


@frozen
class PartitionEntry:
    """A partition as its table describes it."""

    number: int
    """As in ``sda1``."""
    first_lba: int
    sector_count: int
    kind: str
    """``0x83`` in an MBR; the type's GUID in a GPT."""
    name: str = ""
    record: int = 0
    """Where on the disk its record of an MBR, or of a logical partition, lies, in bytes; 0 in a GPT."""


@frozen
class PartitionKind:
    """What either table calls a partition that holds a filesystem of some kind."""

    mbr: int
    gpt: uuid.UUID


LINUX_DATA: Final = PartitionKind(0x83, uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4"))
MICROSOFT_DATA: Final = PartitionKind(0x07, uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"))


class Partition(BlockDevice):
    """A range of sectors of a device."""

    def __init__(self, device: BlockDevice, entry: PartitionEntry) -> None:
        self.device = device
        self.entry = entry
        joint = "p" if device.name[-1:].isdigit() else ""
        self.name = f"{device.name}{joint}{entry.number}"
        self.sector_bytes = device.sector_bytes
        self.sector_count = entry.sector_count
        self.model = device.model

    @property
    def read_only(self) -> bool:  # type: ignore[override]
        return self.device.read_only

    def read_into(self, lba: int, buffer: memoryview) -> None:
        self.check_range(lba, len(buffer))
        self.device.read_into(self.entry.first_lba + lba, buffer)

    def read(self, lba: int, count: int) -> bytes:
        self.check_range(lba, count * self.sector_bytes)
        return self.device.read(self.entry.first_lba + lba, count)

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        self.check_range(lba, len(data))
        self.device.write(self.entry.first_lba + lba, data)

    def flush(self) -> None:
        self.device.flush()


def read_partitions(device: BlockDevice, complain: Callable[[str], None] = lambda _: None) -> list[PartitionEntry]:
    """The partitions of a disk, by number; empty without a table. Raises KernelError if the disk cannot be read."""
    sector = device.read(0, 1)
    if sector[510:512] != MBR_SIGNATURE:
        return []
    entries = _mbr_entries(sector)
    if not _is_table(entries):
        return []
    if any(entry.kind == PROTECTIVE_TYPE for entry in entries):
        found = _read_gpt(device, 1) or _read_gpt(device, device.sector_count - 1)
        if found is None:
            complain(f"{device.name}: neither copy of its GUID partition table is whole")
            return []
    else:
        found = _read_mbr(device, entries, complain)
    return [entry for entry in found if _is_on(device, entry, complain)]


def _is_on(device: BlockDevice, entry: PartitionEntry, complain: Callable[[str], None]) -> bool:
    fits = entry.sector_count > 0 and 0 < entry.first_lba <= device.sector_count - entry.sector_count
    if not fits:
        complain(
            f"{device.name}: partition {entry.number} ({entry.sector_count} sectors from {entry.first_lba}) is not on"
            f" the disk of {device.sector_count} sectors"
        )
    return fits


# --- MBR ----------------------------------------------------------------------------------------------------------


def _mbr_entries(sector: bytes) -> list[MbrEntry]:
    return [MbrEntry.parse(sector, MBR_TABLE_OFFSET + number * MbrEntry.size) for number in range(MBR_ENTRIES)]


def _is_table(entries: list[MbrEntry]) -> bool:
    """A boot sector of a filesystem has the signature too: its code is no table."""
    return all(entry.status in (0x00, 0x80) for entry in entries) and any(entry.kind for entry in entries)


def _read_mbr(
    device: BlockDevice, entries: list[MbrEntry], complain: Callable[[str], None]
) -> list[PartitionEntry]:
    found = []
    for number, entry in enumerate(entries, 1):
        if entry.kind in EXTENDED_TYPES:
            found += _read_logical(device, entry, complain)
        elif entry.kind:
            record = MBR_TABLE_OFFSET + (number - 1) * MbrEntry.size
            kind = f"0x{entry.kind:02x}"
            found.append(PartitionEntry(number, entry.first_lba, entry.sector_count, kind, record=record))
    return sorted(found, key=lambda entry: entry.number)


def _read_logical(device: BlockDevice, extended: MbrEntry, complain: Callable[[str], None]) -> list[PartitionEntry]:
    """The chain of extended boot records. Each names a partition, relative to itself, and the next record, relative
    to the first."""
    found: list[PartitionEntry] = []
    lba = extended.first_lba
    while len(found) < MOST_LOGICAL:
        if not 0 < lba < device.sector_count:
            complain(f"{device.name}: the chain of logical partitions leaves the disk at sector {lba}")
            break
        sector = device.read(lba, 1)
        if sector[510:512] != MBR_SIGNATURE:
            complain(f"{device.name}: the chain of logical partitions breaks at sector {lba}")
            break
        logical, following = _mbr_entries(sector)[:2]
        if logical.kind and logical.sector_count:
            number = FIRST_LOGICAL + len(found)
            kind = f"0x{logical.kind:02x}"
            record = lba * device.sector_bytes + MBR_TABLE_OFFSET
            found.append(PartitionEntry(number, lba + logical.first_lba, logical.sector_count, kind, record=record))
        if following.kind not in EXTENDED_TYPES or not following.first_lba:
            break
        next_lba = extended.first_lba + following.first_lba
        if next_lba <= lba:
            complain(f"{device.name}: the chain of logical partitions goes backwards at sector {lba}")
            break
        lba = next_lba
    return found


# --- GPT ----------------------------------------------------------------------------------------------------------


@frozen
class GptCopy:
    """One of the two copies of a GPT."""

    sector: bytes
    """With the header."""
    header: GptHeader
    array: bytes


def read_gpt_copy(device: BlockDevice, lba: int) -> GptCopy | None:
    """The copy with its header at ``lba``; None if it is not whole."""
    if not 0 < lba < device.sector_count:
        return None
    sector = device.read(lba, 1)
    header = GptHeader.parse(sector)
    if header.signature != GPT_SIGNATURE or not GptHeader.size <= header.header_bytes <= len(sector):
        return None
    if gpt_checksum(sector, header.header_bytes) != header.header_crc32 or header.my_lba != lba:
        return None
    if not (
        header.entry_count <= MOST_GPT_ENTRIES
        and GptEntry.size <= header.entry_bytes <= MOST_GPT_ENTRY_BYTES
        and not header.entry_bytes % 8
    ):
        return None
    length = header.entry_count * header.entry_bytes
    sectors = -(-length // device.sector_bytes)
    if not 0 < header.entries_lba <= device.sector_count - sectors:
        return None
    array = device.read(header.entries_lba, sectors)[:length]
    return GptCopy(sector, header, array) if zlib.crc32(array) == header.entries_crc32 else None


def gpt_checksum(sector: bytes, header_bytes: int) -> int:
    """What belongs into ``header_crc32``."""
    covered = bytearray(sector[:header_bytes])
    covered[GPT_CHECKSUM_OFFSET : GPT_CHECKSUM_OFFSET + 4] = bytes(4)
    return zlib.crc32(covered)


def _read_gpt(device: BlockDevice, lba: int) -> list[PartitionEntry] | None:
    """The entries by the header at ``lba``; None if it is not whole."""
    copy = read_gpt_copy(device, lba)
    if copy is None:
        return None
    found = []
    for number in range(copy.header.entry_count):
        entry = GptEntry.parse(copy.array, number * copy.header.entry_bytes)
        if any(entry.type_guid):
            name = entry.name.decode("utf-16-le", "replace").partition("\0")[0]
            count = entry.last_lba - entry.first_lba + 1
            kind = str(uuid.UUID(bytes_le=entry.type_guid))
            found.append(PartitionEntry(number + 1, entry.first_lba, count, kind, name))
    return found
