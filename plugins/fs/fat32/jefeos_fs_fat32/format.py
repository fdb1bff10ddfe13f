"""What the kernel and ``jefeos disk`` ask of FAT volumes (`jefeos.block.volume.VolumeFormat`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.block.partitions import MICROSOFT_DATA, PartitionKind
from jefeos.block.volume import CheckReport, FormatOptions, Progress, VolumeFormat, no_progress
from jefeos.errors import CorruptError

from jefeos_fs_fat32 import names
from jefeos_fs_fat32.filesystem import FatFilesystem
from jefeos_fs_fat32.geometry import Geometry
from jefeos_fs_fat32.layout import SLOT_BYTES
from jefeos_fs_fat32.slots import scan
from jefeos_fs_fat32.table import AllocationTable
from jefeos_fs_fat32.writes import is_dirty

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.inode import Clock, Filesystem

NO_LABEL = "NO NAME"
MBR_TYPES = {12: 0x01, 16: 0x0E, 32: 0x0C}
"""Those of 16 and 32 bits for whoever counts sectors and no cylinders."""


class FatFormat(VolumeFormat):
    """FAT12, FAT16 and FAT32: with long names (vfat), or with short ones only (msdos)."""

    def __init__(self, *, long_names: bool = True) -> None:
        self.long_names = long_names

    def recognise(self, volume: BufferCache) -> bool:
        try:
            Geometry.read(volume)
        except CorruptError:
            return False
        return True

    def open(
        self, volume: BufferCache, *, writable: bool, page_cache: PageCache | None, clock: Clock
    ) -> Filesystem:
        reason = self._settle(volume) if writable and not volume.device.read_only else ""
        filesystem = FatFilesystem(
            volume,
            writable=writable and not reason,
            clock=clock,
            page_cache=page_cache,
            long_names=self.long_names,
        )
        filesystem.read_only_reason = reason
        return filesystem

    def _settle(self, volume: BufferCache) -> str:
        """Check a volume that was not unmounted before anybody writes to it: of two names for one file, which a loss of
        power may leave, the removal of one would take the contents of the other. Gives why it must not be written to;
        empty if it may."""
        from jefeos_fs_fat32.check import settle

        geometry = Geometry.read(volume)
        return settle(volume) if is_dirty(geometry, AllocationTable(volume, geometry)) else ""

    def make(
        self, volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress = no_progress
    ) -> None:
        from jefeos_fs_fat32.make import make

        make(volume, options, clock, progress)

    def check(
        self, volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
    ) -> CheckReport:
        from jefeos_fs_fat32.check import check

        return check(volume, repair=repair, progress=progress)

    def describe(self, volume: BufferCache) -> dict[str, str | int]:
        geometry = Geometry.read(volume)
        table = AllocationTable(volume, geometry)
        serial = geometry.tail.serial
        return {
            "type": f"FAT{geometry.bits}",
            "label": volume_label(volume, geometry, table),
            "serial": f"{serial >> 16:04X}-{serial & 0xFFFF:04X}",
            "cluster_bytes": geometry.cluster_bytes,
            "clusters": geometry.clusters,
            "size_bytes": geometry.sectors * geometry.sector_bytes,
            "used_bytes": (geometry.clusters - table.free_clusters) * geometry.cluster_bytes,
            "free_bytes": table.free_clusters * geometry.cluster_bytes,
            "fats": geometry.fat_count,
            "state": "dirty" if is_dirty(geometry, table) else "clean",
        }

    def partition_kind(self, volume: BufferCache) -> PartitionKind:
        return PartitionKind(MBR_TYPES[Geometry.read(volume).bits], MICROSOFT_DATA.gpt)


def volume_label(volume: BufferCache, geometry: Geometry, table: AllocationTable) -> str:
    """The label in the root directory, else the one in the boot sector. Empty if there is none."""
    if geometry.bits == 32:
        first, count = table.runs(geometry.root_cluster, geometry.clusters, "root directory")[0]
        data = volume.read(geometry.offset_of(first), min(count * geometry.cluster_bytes, 1 << 21))
    else:
        data = volume.read(geometry.root_offset, geometry.root_entries * SLOT_BYTES)
    label = geometry.tail.label
    for slot in scan(data).labels:
        label = data[slot * SLOT_BYTES : slot * SLOT_BYTES + 11]
    text = label.rstrip(b" \0").decode(names.CODE_PAGE)
    return "" if text == NO_LABEL else text


class ShortNameFormat(FatFormat):
    """The same as ``msdos``, without long names."""

    def __init__(self) -> None:
        super().__init__(long_names=False)
