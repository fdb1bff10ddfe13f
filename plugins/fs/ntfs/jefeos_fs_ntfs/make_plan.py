"""Where everything goes on a new volume: sizes and places, before anything is written.

    0        $Boot, 8 KiB
             bitmap of $MFT, $MFT            and behind it an eighth of the volume, left free for $MFT to grow
    1/8      $AttrDef, the root's index, $Bitmap, $SDS, $UpCase
    1/2      $MFTMirr, $LogFile
    the end  copy of the boot sector, in the sector after the last one that the boot sector counts

A volume that is too small for these gaps has the same order without them.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen
from jefeos.errors import UsageError

SECTOR_BYTES: Final = 512
RECORD_BYTES: Final = 1024
INDEX_BLOCK_BYTES: Final = 4096
BOOT_BYTES: Final = 8192
SMALLEST_CLUSTER: Final = 512
LARGEST_CLUSTER: Final = 2 << 20
DEFAULT_CLUSTER: Final = 4096
MOST_CLUSTERS: Final = (1 << 32) - 1
"""Windows stops here; the format would go on."""
FIRST_RECORDS: Final = 64
MIRRORED_RECORDS: Final = 4
LOG_SHARE: Final = 64
"""$LogFile gets this part of the volume, within the bounds that follow."""
SMALLEST_LOG: Final = 256 << 10
LARGEST_LOG: Final = 64 << 20
LOG_UNIT: Final = 64 << 10
UPCASE_BYTES: Final = 128 << 10
ATTRDEF_BYTES: Final = 2560


@frozen
class Extent:
    """Clusters of one file, all in one run."""

    lcn: int
    clusters: int


@frozen
class VolumePlan:
    """Sizes and places of a volume's own files."""

    sector_count: int
    """What the boot sector counts: all but the one that holds its copy."""
    cluster_bytes: int
    cluster_count: int
    record_count: int
    """MFT records that are laid out."""
    mirrored_records: int
    log_bytes: int
    bitmap_bytes: int
    boot: Extent
    mft_bitmap: Extent
    mft: Extent
    attrdef: Extent
    root_index: Extent
    bitmap: Extent
    sds: Extent
    upcase: Extent
    mirror: Extent
    log: Extent

    @property
    def extents(self) -> tuple[Extent, ...]:
        """All that is in use."""
        return (
            self.boot, self.mft_bitmap, self.mft, self.attrdef, self.root_index,
            self.bitmap, self.sds, self.upcase, self.mirror, self.log,
        )  # fmt: skip


def choose_cluster_bytes(size_bytes: int, wanted: int | None) -> int:
    """The cluster size to use. Raises UsageError for one that NTFS does not have, or that leaves too many clusters."""
    if wanted is None:
        cluster = DEFAULT_CLUSTER
        while size_bytes // cluster > MOST_CLUSTERS and cluster < LARGEST_CLUSTER:
            cluster *= 2
        wanted = cluster
    if not SMALLEST_CLUSTER <= wanted <= LARGEST_CLUSTER or wanted & wanted - 1:
        raise UsageError(f"clusters of NTFS have a power of two from 512 bytes to 2 MiB, not {wanted} bytes")
    if size_bytes // wanted > MOST_CLUSTERS:
        raise UsageError(f"{size_bytes} bytes are too many for clusters of {wanted} bytes; choose larger ones")
    return wanted


def plan_volume(size_bytes: int, wanted_cluster_bytes: int | None, sds_bytes: int) -> VolumePlan:
    """Lay out a volume of ``size_bytes``. Raises UsageError if the volume's own files do not fit."""
    cluster_bytes = choose_cluster_bytes(size_bytes, wanted_cluster_bytes)
    sector_count = size_bytes // SECTOR_BYTES - 1
    cluster_count = max(sector_count, 0) * SECTOR_BYTES // cluster_bytes
    for spread in (True, False):
        plan = _place(sector_count, cluster_bytes, cluster_count, sds_bytes, spread)
        if max(extent.lcn + extent.clusters for extent in plan.extents) <= cluster_count:
            return plan
    needed = sum(extent.clusters for extent in plan.extents) * cluster_bytes + SECTOR_BYTES
    raise UsageError(f"an NTFS volume with clusters of {cluster_bytes} bytes needs {needed} bytes, not {size_bytes}")


def _place(sector_count: int, cluster_bytes: int, cluster_count: int, sds_bytes: int, spread: bool) -> VolumePlan:
    end = 0

    def take(length_bytes: int, wanted_lcn: int = 0) -> Extent:
        nonlocal end
        extent = Extent(max(wanted_lcn, end) if spread else end, -(-length_bytes // cluster_bytes))
        end = extent.lcn + extent.clusters
        return extent

    mirrored = max(MIRRORED_RECORDS, cluster_bytes // RECORD_BYTES)
    records = max(FIRST_RECORDS, cluster_bytes // RECORD_BYTES)
    bitmap_bytes = -(-cluster_count // 64) * 8
    log_bytes = min(max(sector_count * SECTOR_BYTES // LOG_SHARE, SMALLEST_LOG), LARGEST_LOG) // LOG_UNIT * LOG_UNIT
    return VolumePlan(
        sector_count=sector_count,
        cluster_bytes=cluster_bytes,
        cluster_count=cluster_count,
        record_count=records,
        mirrored_records=mirrored,
        log_bytes=log_bytes,
        bitmap_bytes=bitmap_bytes,
        boot=take(BOOT_BYTES),
        mft_bitmap=take(records // 8),
        mft=take(records * RECORD_BYTES),
        attrdef=take(ATTRDEF_BYTES, cluster_count // 8),
        root_index=take(INDEX_BLOCK_BYTES),
        bitmap=take(bitmap_bytes),
        sds=take(sds_bytes),
        upcase=take(UPCASE_BYTES),
        mirror=take(mirrored * RECORD_BYTES, cluster_count // 2),
        log=take(log_bytes),
    )
