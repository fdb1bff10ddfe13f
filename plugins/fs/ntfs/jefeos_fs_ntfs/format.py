"""NTFS as the kernel and ``jefeos disk`` find it: recognise, open, make, check, describe.

A volume is opened for writing only when nothing on it waits for another system: a log that Windows has not finished, a
hibernated Windows, or the mark that it was not unmounted. Our own journal of a mount that was cut off is finished first
(`journal`); a volume that is only looked at is shown as it will be then (`overlay`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.block.partitions import MICROSOFT_DATA, PartitionKind
from jefeos.block.volume import CheckReport, FormatOptions, Progress, VolumeFormat, no_progress
from jefeos.errors import KernelError

from jefeos_fs_ntfs.boot import looks_like_ntfs, parse_geometry
from jefeos_fs_ntfs.filesystem import NtfsFilesystem
from jefeos_fs_ntfs.layout import BLOCK_BYTES, VolumeFlags
from jefeos_fs_ntfs.recovery import recover
from jefeos_fs_ntfs.volume import Volume

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.inode import Clock, Filesystem


class NtfsFormat(VolumeFormat):
    """See the module's text."""

    def recognise(self, volume: BufferCache) -> bool:
        try:
            return volume.size_bytes >= BLOCK_BYTES and looks_like_ntfs(volume.read(0, BLOCK_BYTES))
        except KernelError:
            return False

    def open(self, volume: BufferCache, *, writable: bool, page_cache: PageCache | None, clock: Clock) -> Filesystem:
        writable = writable and not volume.device.read_only
        filesystem = NtfsFilesystem(Volume(_recovered(volume, writable=writable)), clock, page_cache)
        if writable:
            filesystem.read_only_reason = filesystem.begin_writing()
        return filesystem

    def make(self, volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress = no_progress) -> None:
        from jefeos_fs_ntfs.make import make_ntfs

        make_ntfs(volume, options, clock, progress)

    def check(
        self, volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
    ) -> CheckReport:
        from jefeos_fs_ntfs.check_repair import check_and_repair

        return check_and_repair(volume, repair=repair, clock=clock, progress=progress)

    def describe(self, volume: BufferCache) -> dict[str, str | int]:
        mounted = Volume(_recovered(volume, writable=False))
        information = mounted.information()
        geometry = mounted.geometry
        return {
            "label": mounted.label,
            "serial": f"{geometry.serial:016X}",
            "version": f"{information.major_ver}.{information.minor_ver}",
            "size_bytes": geometry.clusters * geometry.cluster_bytes,
            "used_bytes": (geometry.clusters - mounted.clusters.free) * geometry.cluster_bytes,
            "free_bytes": mounted.clusters.free * geometry.cluster_bytes,
            "cluster_bytes": geometry.cluster_bytes,
            "record_bytes": geometry.record_bytes,
            "records_in_use": mounted.mft.bitmap.taken,
            "state": "not unmounted cleanly" if information.flags & VolumeFlags.DIRTY else "clean",
        }

    def partition_kind(self, volume: BufferCache) -> PartitionKind:
        return MICROSOFT_DATA


def _recovered(volume: BufferCache, *, writable: bool) -> BufferCache:
    """The volume with its journal finished, on the medium or only in memory. Raises CorruptError."""
    return recover(volume, parse_geometry(volume.read(0, BLOCK_BYTES), volume.size_bytes), on_medium=writable)
