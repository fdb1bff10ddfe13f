"""mkfs: an empty volume, laid out as mkfs.fat of dosfstools 4.2 would do it.

Sizes of floppy disks get the layout of floppy disks. Otherwise: FAT32 from 512 MiB on, with clusters by size; below
that clusters of 2 KiB, doubled until there are few enough for FAT16 (or for FAT12, if they are fewer still). Above
4 MiB the reserved sectors, the FATs and the root directory are multiples of the cluster, so that clusters are aligned.
"""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING, Final

from attrs import frozen
from jefeos.block.volume import FormatOptions, Progress
from jefeos.errors import UsageError

from jefeos_fs_fat32 import names, times
from jefeos_fs_fat32.geometry import Geometry, is_power_of_two
from jefeos_fs_fat32.layout import (
    BOOT_SIGNATURE,
    BOOT_SIGNATURE_OFFSET,
    FIRST_CLUSTER,
    FIXED_MEDIA,
    INFO_LEAD,
    INFO_SIGNATURE,
    INFO_TRAIL,
    MOST_FAT12,
    MOST_FAT16,
    MOST_FAT32,
    SLOT_BYTES,
    Attribute,
    BootSector,
    BootSector32,
    BootSector1216,
    Fat32Fields,
    FatTail,
    InfoSector,
    Slot,
)
from jefeos_fs_fat32.table import END, pack_entries

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.vfs.inode import Clock

SECTOR: Final = 512
FATS: Final = 2
LEAST_FAT16: Final = 4087
"""Fewer clusters than that some systems take for FAT12."""
FAT32_SECTORS: Final = 1 << 20
"""FAT32 is chosen from this size on."""
ALIGNED_ABOVE: Final = 8192
"""Sectors; smaller volumes waste nothing on alignment."""
MOST_CLUSTER_SECTORS: Final = 128
MOST_SECTORS: Final = (1 << 32) - 1
ROOT_ENTRIES: Final = 512
VARIANTS: Final = {"fat12": 12, "fat16": 16, "fat32": 32}
BOOT_CODE: Final = bytes.fromhex("cd18f4ebfd")
"""INT 18h (no boot device), then halt."""
WRITE_BYTES: Final = 1 << 20


@frozen
class Disk:
    """What a size says about a disk: what boot sectors and DOS want to know."""

    heads: int
    sectors_per_track: int
    media: int = FIXED_MEDIA
    cluster_sectors: int = 0
    root_entries: int = ROOT_ENTRIES


FLOPPIES: Final = {
    720: Disk(2, 9, 0xFD, 2, 112),
    1440: Disk(2, 9, 0xF9, 2, 112),
    2880: Disk(2, 18, 0xF0, 1, 224),
    5760: Disk(2, 36, 0xF0, 2, 224),
}
#: Up to so many sectors: heads and sectors a track.
DISKS: Final = (
    (4096, Disk(2, 16)),
    (32768, Disk(2, 32)),
    (65536, Disk(4, 32)),
    (262144, Disk(8, 32)),
    (524288, Disk(16, 32)),
    (1032192, Disk(16, 63)),
    (2064384, Disk(32, 63)),
    (4128768, Disk(64, 63)),
    (8257536, Disk(128, 63)),
    (MOST_SECTORS + 1, Disk(255, 63)),
)
#: FAT32 on more than so many sectors: sectors a cluster.
CLUSTERS_32: Final = ((32 << 21, 64), (16 << 21, 32), (8 << 21, 16), (260 << 11, 8), (0, 1))


@frozen
class Plan:
    """The layout of a volume to be made."""

    bits: int
    sectors: int
    cluster_sectors: int
    reserved_sectors: int
    fat_sectors: int
    root_entries: int
    clusters: int
    disk: Disk


def plan(sectors: int, variant: str | None = None, cluster_bytes: int | None = None) -> Plan:
    """Choose a layout. Raises UsageError for a size or options that do not fit together."""
    if variant is not None and variant not in VARIANTS:
        raise UsageError(f"FAT has the variants {', '.join(VARIANTS)}, not {variant!r}")
    if cluster_bytes is not None and (
        not is_power_of_two(cluster_bytes) or not SECTOR <= cluster_bytes <= MOST_CLUSTER_SECTORS * SECTOR
    ):
        raise UsageError(f"a FAT cluster has 512 to 65536 bytes, a power of two: not {cluster_bytes}")
    if sectors > MOST_SECTORS:
        raise UsageError("a FAT volume has at most 2 TiB")
    wanted = VARIANTS[variant] if variant else 0
    disk = FLOPPIES.get(sectors) or next(disk for most, disk in DISKS if sectors <= most)
    if not wanted and sectors >= FAT32_SECTORS:
        wanted = 32
    if cluster_bytes is not None:
        sizes = [cluster_bytes // SECTOR]
    else:
        first = disk.cluster_sectors or 4
        if wanted == 32:
            first = next(size for least, size in CLUSTERS_32 if sectors > least)
        sizes = [size for size in (1 << power for power in range(8)) if size >= first]
    sectors -= sectors % disk.sectors_per_track
    for size in sizes:
        plans = [_plan(sectors, bits, size, disk) for bits in ((wanted,) if wanted else (12, 16))]
        fitting = [candidate for candidate in plans if candidate is not None]
        if fitting:
            return max(fitting, key=lambda candidate: candidate.clusters)
    kind = variant or ("FAT32" if wanted == 32 else "FAT")
    such = " with such clusters" if cluster_bytes else ""
    raise UsageError(f"{sectors * SECTOR} bytes cannot be a {kind} volume{such}")


def _plan(sectors: int, bits: int, cluster_sectors: int, disk: Disk) -> Plan | None:
    """The layout with these clusters; None if their number does not suit the kind of FAT."""

    def align(number: int) -> int:
        return -(-number // cluster_sectors) * cluster_sectors if sectors > ALIGNED_ABOVE else number

    reserved = align(32 if bits == 32 else 1)
    root_sectors = 0 if bits == 32 else align(-(-disk.root_entries * SLOT_BYTES // SECTOR))
    room = sectors - reserved - root_sectors
    if room <= 0:
        return None
    # Each cluster takes its own sectors and an entry in each FAT; two entries of each FAT are no cluster's.
    estimate = (8 * room * SECTOR + FATS * 2 * bits) // (8 * cluster_sectors * SECTOR + FATS * bits)
    fat_bytes = ((estimate + FIRST_CLUSTER) * bits + 7) // 8
    fat_sectors = align((fat_bytes + SECTOR - 1) // SECTOR)
    clusters = (room - FATS * fat_sectors) // cluster_sectors
    least, most = {12: (1, MOST_FAT12), 16: (LEAST_FAT16, MOST_FAT16), 32: (1, MOST_FAT32)}[bits]
    if not least <= clusters <= min(most, fat_sectors * SECTOR * 8 // bits - FIRST_CLUSTER):
        return None
    root_entries = root_sectors * SECTOR // SLOT_BYTES
    return Plan(bits, sectors, cluster_sectors, reserved, fat_sectors, root_entries, clusters, disk)


def short_label(label: str) -> bytes:
    """A volume label as it stands on disk. Raises UsageError."""
    try:
        encoded = label.upper().encode(names.CODE_PAGE)
    except UnicodeEncodeError:
        encoded = b""
    if label and (not 1 <= len(encoded) <= 11 or not names.FORBIDDEN.isdisjoint(label) or set(label) & set(".+,;=[]")):
        raise UsageError(f"a FAT label has up to 11 characters of code page 437, without punctuation: not {label!r}")
    return encoded.ljust(11)


def make(volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress) -> Plan:
    """Lay out an empty volume and flush it. Raises UsageError."""
    layout = plan(volume.size_bytes // SECTOR, options.variant, options.cluster_bytes)
    label = short_label(options.label)
    serial = int.from_bytes((options.entropy or os.urandom)(4), "little")
    first_sectors = layout.reserved_sectors + FATS * layout.fat_sectors + layout.root_entries * SLOT_BYTES // SECTOR
    blank = first_sectors + (layout.cluster_sectors if layout.bits == 32 else 0)
    zeros = bytes(WRITE_BYTES)
    for offset in range(0, blank * SECTOR, WRITE_BYTES):
        volume.write(offset, memoryview(zeros)[: min(WRITE_BYTES, blank * SECTOR - offset)])
        progress(offset, blank * SECTOR)
    head = _boot_sector(layout, label, serial, options.hidden_sectors)
    fill = END[layout.bits]
    entries = [fill & ~0xFF | layout.disk.media, fill]
    free = layout.clusters
    if layout.bits == 32:
        entries.append(fill)
        free -= 1
        info = InfoSector(
            lead_signature=INFO_LEAD,
            signature=INFO_SIGNATURE,
            free_clusters=free,
            next_free=FIRST_CLUSTER,
            trail_signature=INFO_TRAIL,
        ).pack()
        for sector in (0, 6):
            volume.write(sector * SECTOR, head)
            volume.write((sector + 1) * SECTOR, info)
    table = pack_entries(array("I" if layout.bits == 32 else "H", entries), layout.bits)
    for number in range(FATS):
        volume.write((layout.reserved_sectors + number * layout.fat_sectors) * SECTOR, table)
    if options.label:
        date, time, _ = times.pack(clock.realtime_ns())
        slot = Slot(name=label, attributes=Attribute.VOLUME_ID, write_date=date, write_time=time)
        root = first_sectors if layout.bits == 32 else layout.reserved_sectors + FATS * layout.fat_sectors
        volume.write(root * SECTOR, slot.pack())
    volume.order()
    volume.write(0, head)  # last of all: a volume that was made half-way is none
    volume.flush()
    progress(blank * SECTOR, blank * SECTOR)
    Geometry.read(volume)
    return layout


def _boot_sector(layout: Plan, label: bytes, serial: int, hidden_sectors: int) -> bytes:
    small = layout.sectors < 1 << 16 and layout.bits != 32
    code = BootSector1216.size if layout.bits != 32 else BootSector32.size
    common = BootSector(
        jump=bytes([0xEB, code - 2, 0x90]),
        oem_name=b"JEFEOS  ",
        sectors_per_cluster=layout.cluster_sectors,
        reserved_sectors=layout.reserved_sectors,
        fat_count=FATS,
        root_entries=layout.root_entries,
        total_sectors_16=layout.sectors if small else 0,
        media=layout.disk.media,
        fat_sectors_16=0 if layout.bits == 32 else layout.fat_sectors,
        sectors_per_track=layout.disk.sectors_per_track,
        heads=layout.disk.heads,
        hidden_sectors=hidden_sectors,
        total_sectors_32=0 if small else layout.sectors,
    )
    tail = FatTail(
        drive_number=0x80 if layout.disk.media == FIXED_MEDIA else 0,
        serial=serial,
        label=label if label.strip() else b"NO NAME    ",
        type_name=f"FAT{layout.bits}".encode().ljust(8),
    )
    if layout.bits == 32:
        head = BootSector32(common=common, fat32=Fat32Fields(fat_sectors=layout.fat_sectors), tail=tail).pack()
    else:
        head = BootSector1216(common=common, tail=tail).pack()
    return (head + BOOT_CODE).ljust(BOOT_SIGNATURE_OFFSET, b"\0") + BOOT_SIGNATURE
