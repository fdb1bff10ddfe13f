"""Where everything is on a volume, from its boot sector: checked once, so that the rest can rely on it.

`Geometry.read` refuses what makes no sense with one line that names the field. What Linux and Windows bear is borne
too: a type name that says something else (only the number of clusters counts), a FAT larger than needed, one that is
too small for all clusters (those that it cannot describe are not used).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from jefeos.errors import CorruptError

from jefeos_fs_fat32.layout import (
    BOOT_SIGNATURE,
    BOOT_SIGNATURE_OFFSET,
    EXTENDED_SIGNATURE,
    FIRST_CLUSTER,
    MOST_FAT12,
    MOST_FAT16,
    MOST_FAT32,
    SLOT_BYTES,
    STATE_OFFSET_32,
    STATE_OFFSET_1216,
    BootSector,
    BootSector32,
    BootSector1216,
    ExtFlags,
    FatTail,
)

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

SECTOR_SIZES: Final = (512, 1024, 2048, 4096)
HEAD_BYTES: Final = 512
MOST_FATS: Final = 4


def is_power_of_two(number: int) -> bool:
    """1, 2, 4 and so on."""
    return number > 0 and not number & (number - 1)


@frozen
class Geometry:
    """A FAT volume's layout. Offsets are in bytes from its start."""

    bits: int
    """12, 16 or 32."""
    sector_bytes: int
    cluster_bytes: int
    sectors: int
    reserved_sectors: int
    fat_count: int
    fat_bytes: int
    """Of one FAT."""
    root_entries: int
    """Size of the fixed root directory; 0 on FAT32."""
    root_cluster: int
    """First cluster of the root directory on FAT32; else 0."""
    info_sector: int
    """0 if there is none."""
    backup_sector: int
    active_fat: int
    mirrored: bool
    clusters: int
    """How many there are; they are numbered from 2 to `last_cluster`."""
    media: int
    tail: FatTail

    @property
    def last_cluster(self) -> int:
        """The highest cluster number."""
        return self.clusters + FIRST_CLUSTER - 1

    @property
    def root_offset(self) -> int:
        """Where the fixed root directory is."""
        return self.reserved_sectors * self.sector_bytes + self.fat_count * self.fat_bytes

    @property
    def root_bytes(self) -> int:
        """The length of the fixed root directory, in whole sectors."""
        return -(-self.root_entries * SLOT_BYTES // self.sector_bytes) * self.sector_bytes

    @property
    def data_offset(self) -> int:
        """Where cluster 2 is."""
        return self.root_offset + self.root_bytes

    @property
    def state_offset(self) -> int:
        """Where the boot sector's dirty flag is."""
        return STATE_OFFSET_32 if self.bits == 32 else STATE_OFFSET_1216

    def fat_offset(self, number: int) -> int:
        """Where FAT ``number`` (from 0) is."""
        return self.reserved_sectors * self.sector_bytes + number * self.fat_bytes

    def offset_of(self, cluster: int) -> int:
        """Where a cluster is. The caller knows it to be one."""
        return self.data_offset + (cluster - FIRST_CLUSTER) * self.cluster_bytes

    def fats_in_use(self) -> list[int]:
        """The numbers of the FATs that are kept up, the one to read first."""
        if not self.mirrored:
            return [self.active_fat]
        return [self.active_fat, *(number for number in range(self.fat_count) if number != self.active_fat)]

    @classmethod
    def read(cls, volume: BufferCache) -> Geometry:
        """The geometry of a volume. Raises CorruptError for one that makes no sense."""
        if volume.size_bytes < HEAD_BYTES:
            raise CorruptError(f"FAT boot sector: a volume of {volume.size_bytes} bytes has none")
        head = volume.read(0, HEAD_BYTES)
        return cls.parse(head, volume.size_bytes)

    @classmethod
    def parse(cls, head: bytes, volume_bytes: int) -> Geometry:
        """The same from the first 512 bytes of a volume of ``volume_bytes``."""
        boot = BootSector.parse(head)
        if head[BOOT_SIGNATURE_OFFSET : BOOT_SIGNATURE_OFFSET + 2] != BOOT_SIGNATURE:
            raise _bad("signature", head[BOOT_SIGNATURE_OFFSET : BOOT_SIGNATURE_OFFSET + 2].hex())
        if boot.bytes_per_sector not in SECTOR_SIZES:
            raise _bad("bytes_per_sector", boot.bytes_per_sector)
        if not is_power_of_two(boot.sectors_per_cluster):
            raise _bad("sectors_per_cluster", boot.sectors_per_cluster)
        if not boot.reserved_sectors:
            raise _bad("reserved_sectors", 0)
        if not 1 <= boot.fat_count <= MOST_FATS:
            raise _bad("fat_count", boot.fat_count)
        if boot.media < 0xF0:
            raise _bad("media", boot.media)
        is_fat32 = boot.fat_sectors_16 == 0
        if is_fat32:
            whole = BootSector32.parse(head)
            fat32, tail = whole.fat32, whole.tail
            if fat32.version:
                raise _bad("version", fat32.version)
        else:
            fat32, tail = None, BootSector1216.parse(head).tail
        if tail.extended_signature != EXTENDED_SIGNATURE:
            tail = FatTail(state=tail.state, extended_signature=tail.extended_signature)
        sectors = boot.total_sectors_16 or boot.total_sectors_32
        fat_sectors = fat32.fat_sectors if fat32 is not None else boot.fat_sectors_16
        if not fat_sectors:
            raise _bad("fat_sectors", 0)
        if not sectors or sectors * boot.bytes_per_sector > volume_bytes:
            raise CorruptError(
                f"FAT boot sector: total_sectors {sectors} of {boot.bytes_per_sector} bytes on a volume of "
                f"{volume_bytes} bytes"
            )
        root_sectors = -(-boot.root_entries * SLOT_BYTES // boot.bytes_per_sector)
        data_sector = boot.reserved_sectors + boot.fat_count * fat_sectors + root_sectors
        clusters = (sectors - data_sector) // boot.sectors_per_cluster
        if clusters < 1:
            raise CorruptError(f"FAT boot sector: no cluster is left, {data_sector} of {sectors} sectors are taken")
        if is_fat32:
            bits = 32
        else:
            bits = 16 if clusters > MOST_FAT12 else 12
            if not boot.root_entries:
                raise _bad("root_entries", 0)
        fat_bytes = fat_sectors * boot.bytes_per_sector
        most = {12: MOST_FAT12, 16: MOST_FAT16, 32: MOST_FAT32}[bits]
        clusters = min(clusters, most, fat_bytes * 8 // bits - FIRST_CLUSTER)
        if clusters < 1:
            raise _bad("fat_sectors", fat_sectors)
        root_cluster, flags = (fat32.root_cluster, fat32.flags) if fat32 is not None else (0, 0)
        if is_fat32 and not FIRST_CLUSTER <= root_cluster < clusters + FIRST_CLUSTER:
            raise _bad("root_cluster", root_cluster)
        mirrored = not flags & ExtFlags.ONE_FAT
        active = 0 if mirrored else flags & ExtFlags.ACTIVE_FAT
        if active >= boot.fat_count:
            raise _bad("flags", flags)

        def reserved(sector: int) -> int:
            return sector if 0 < sector < boot.reserved_sectors else 0

        return cls(
            bits=bits,
            sector_bytes=boot.bytes_per_sector,
            cluster_bytes=boot.bytes_per_sector * boot.sectors_per_cluster,
            sectors=sectors,
            reserved_sectors=boot.reserved_sectors,
            fat_count=boot.fat_count,
            fat_bytes=fat_bytes,
            root_entries=0 if is_fat32 else boot.root_entries,
            root_cluster=root_cluster,
            info_sector=reserved(fat32.info_sector) if fat32 is not None else 0,
            backup_sector=reserved(fat32.backup_sector) if fat32 is not None else 0,
            active_fat=active,
            mirrored=mirrored,
            clusters=clusters,
            media=boot.media,
            tail=tail,
        )


def _bad(field: str, value: int | str) -> CorruptError:
    return CorruptError(f"FAT boot sector: {field} is {value}")
