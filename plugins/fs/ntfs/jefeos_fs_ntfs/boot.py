"""The boot sector: the volume's geometry, checked.

What the first sector claims is believed only where it fits together and fits the device; everything else refuses to
mount with one line that names the field. All later code relies on a `Geometry` that went through here.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen
from jefeos.errors import CorruptError

from jefeos_fs_ntfs.layout import NTFS_MAGIC, BootSector

SECTOR_BYTES_ALLOWED: Final = (512, 1024, 2048, 4096)
CLUSTER_BYTES_MAX: Final = 2 << 20
RECORD_BYTES_ALLOWED: Final = (1024, 2048, 4096)
INDEX_BYTES_ALLOWED: Final = tuple(1 << shift for shift in range(9, 17))
BOOT_FILE_BYTES: Final = 8192


@frozen
class Geometry:
    """Sizes in bytes, places in clusters."""

    sector_bytes: int
    cluster_bytes: int
    clusters: int
    """Whole clusters of the volume; $Bitmap has a bit for each."""
    mft_lcn: int
    mftmirr_lcn: int
    record_bytes: int
    index_bytes: int
    """Of directories; each INDEX_ROOT says its own."""
    serial: int
    sectors: int
    """``number_of_sectors``: the sector behind them holds the copy of the boot sector."""


def looks_like_ntfs(sector: bytes) -> bool:
    """By the name that every NTFS volume carries."""
    return len(sector) >= BootSector.size and sector[3:11] == NTFS_MAGIC


def parse_geometry(sector: bytes, volume_bytes: int) -> Geometry:
    """Read the boot sector of a volume of ``volume_bytes``. Raises CorruptError that says which claim is wrong."""
    boot = BootSector.parse(sector)
    if boot.oem_id != NTFS_MAGIC:
        raise CorruptError("boot sector: this is no NTFS volume")
    sector_bytes = boot.bytes_per_sector
    if sector_bytes not in SECTOR_BYTES_ALLOWED:
        raise CorruptError(f"boot sector: bytes_per_sector is {sector_bytes}")
    per_cluster = boot.sectors_per_cluster
    if per_cluster > 0x80:
        per_cluster = 1 << min(256 - per_cluster, 31)
    cluster_bytes = per_cluster * sector_bytes
    if not per_cluster or per_cluster & (per_cluster - 1) or cluster_bytes > CLUSTER_BYTES_MAX:
        raise CorruptError(f"boot sector: sectors_per_cluster is {boot.sectors_per_cluster}")
    sectors = boot.number_of_sectors
    if not sectors or sectors * sector_bytes > volume_bytes:
        raise CorruptError(
            f"boot sector: number_of_sectors is {sectors}, and the volume has {volume_bytes // sector_bytes}"
        )
    clusters = sectors // per_cluster
    for name, lcn in (("mft_lcn", boot.mft_lcn), ("mftmirr_lcn", boot.mftmirr_lcn)):
        if not 0 < lcn < clusters:
            raise CorruptError(f"boot sector: {name} is {lcn}, and the volume has {clusters} clusters")
    return Geometry(
        sector_bytes=sector_bytes,
        cluster_bytes=cluster_bytes,
        clusters=clusters,
        mft_lcn=boot.mft_lcn,
        mftmirr_lcn=boot.mftmirr_lcn,
        record_bytes=_size("clusters_per_mft_record", boot.clusters_per_mft_record, cluster_bytes,
                           RECORD_BYTES_ALLOWED),
        index_bytes=_size("clusters_per_index_record", boot.clusters_per_index_record, cluster_bytes,
                          INDEX_BYTES_ALLOWED),
        serial=boot.volume_serial_number,
        sectors=sectors,
    )


def _size(name: str, value: int, cluster_bytes: int, allowed: tuple[int, ...]) -> int:
    """A size that is given in clusters, or as a negative power of two."""
    size = value * cluster_bytes if value > 0 else 1 << min(-value, 40)
    if size not in allowed:
        raise CorruptError(f"boot sector: {name} is {value}")
    return size
