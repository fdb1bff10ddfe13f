"""NTFS as the kernel and ``jefeos disk`` find it: recognise, open, make, check, describe.

A volume is opened for writing only when nothing on it waits for another system: a log that Windows has not finished, a
hibernated Windows, or the mark that it was not unmounted. Our own journal of a mount that was cut off is finished first
(`journal`); a volume that is only looked at is shown as it will be then (`overlay`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.block.partitions import MICROSOFT_DATA, PartitionKind
from jefeos.block.volume import CheckReport, FormatOptions, Progress, VolumeFormat, no_progress
from jefeos.errors import Errno, KernelError

from jefeos_fs_ntfs.boot import looks_like_ntfs, parse_geometry
from jefeos_fs_ntfs.filesystem import NtfsFilesystem
from jefeos_fs_ntfs.layout import BLOCK_BYTES, HIBERNATED_MAGIC, VolumeFlags
from jefeos_fs_ntfs.recovery import recover
from jefeos_fs_ntfs.volume import Volume

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.inode import Clock, Filesystem

HIBERNATION_FILE: Final = b"hiberfil.sys"
HIBERNATION_BYTES: Final = 4096


class NtfsFormat(VolumeFormat):
    """See the module's text."""

    def recognise(self, volume: BufferCache) -> bool:
        try:
            return volume.size_bytes >= BLOCK_BYTES and looks_like_ntfs(volume.read(0, BLOCK_BYTES))
        except KernelError:
            return False

    def open(self, volume: BufferCache, *, writable: bool, page_cache: PageCache | None, clock: Clock) -> Filesystem:
        if volume.device.read_only:
            writable = False
        mounted = Volume(_recovered(volume, writable=writable))
        reason = ""
        state = mounted.journal.state()
        if writable:
            if state.live:
                reason = f"{state.live}; run Windows, or fsck, first"
            elif mounted.information().flags & VolumeFlags.DIRTY:
                reason = "the volume was not unmounted cleanly; run fsck first"
        filesystem = NtfsFilesystem(mounted, clock, page_cache, writable=writable, reason=reason)
        if writable and not reason and _is_hibernated(filesystem):
            filesystem.read_only, filesystem.read_only_reason = True, "Windows is hibernated on this volume"
        if not filesystem.read_only:
            mounted.journal.begin(empty=state.empty)
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


def _is_hibernated(filesystem: NtfsFilesystem) -> bool:
    """Whether Windows means to come back to what is in its memory."""
    try:
        inode = filesystem.root.lookup(HIBERNATION_FILE)
        return inode.read_at(0, HIBERNATION_BYTES)[:4] in HIBERNATED_MAGIC
    except KernelError as error:
        if error.errno != Errno.ENOENT:
            raise
        return False
