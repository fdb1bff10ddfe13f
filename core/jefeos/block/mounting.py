"""Mounting disks of the machine: one filesystem object for each volume, over the cache of its /dev node.

    mount(2), boot --> mount_disk(disk, kind) --> Filesystem over Disk.cache; the second mount gets the same one
                                    snapshot  --> one of its snapshots, read-only, over the same cache

As on Linux: the same volume again is the same filesystem (EBUSY if one is to be read-only and the other is not); a
whole disk and a partition of it exclude each other (EBUSY). So no volume is mounted over two caches. What a program
reads and writes through the node of a mounted volume goes through the filesystem's own cache; a node of the whole disk
has another one, and is not to be written to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from jefeos.block.partitions import Partition
from jefeos.errors import Errno, KernelError

if TYPE_CHECKING:
    from jefeos.block.nodes import BlockNodes, Disk
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.fstype import FilesystemType
    from jefeos.vfs.inode import Clock, Filesystem


@define(eq=False)
class MountedDisk:
    """The medium of a filesystem that lives on a disk of the machine, or of a snapshot of that."""

    disk: Disk

    def release(self) -> None:
        """Write back; if nothing of the volume is left, it can be mounted anew."""
        self.disk.mounted -= 1
        if not self.disk.mounted:
            self.disk.filesystem = None
        self.disk.cache.flush()


def mount_disk(
    disks: BlockNodes,
    disk: Disk,
    kind: FilesystemType,
    *,
    writable: bool,
    page_cache: PageCache | None,
    clock: Clock,
    snapshot: bytes | None = None,
) -> Filesystem:
    """The filesystem on a disk or partition, or a snapshot of it. Raises KernelError: EBUSY, EACCES to write on a
    read-only disk, EROFS to write to a snapshot, EINVAL for a volume that is not of this kind or has no snapshots,
    ENOENT for a snapshot that is not there, EUCLEAN or EIO for a volume that is broken."""
    if snapshot is not None and writable:
        raise KernelError(Errno.EROFS, "a snapshot can only be read")
    live = _live_filesystem(disks, disk, kind, writable=writable, page_cache=page_cache, clock=clock)
    filesystem = live if snapshot is None else live.open_snapshot(snapshot)
    if filesystem.medium is None:
        filesystem.medium = MountedDisk(disk)
        disk.mounted += 1
    disk.filesystem = live
    return filesystem


def _live_filesystem(
    disks: BlockNodes, disk: Disk, kind: FilesystemType, *, writable: bool, page_cache: PageCache | None, clock: Clock
) -> Filesystem:
    assert kind.volume is not None
    known = disk.filesystem
    if known is not None:
        if known.name != kind.name or writable and known.read_only and not known.read_only_reason:
            raise KernelError(Errno.EBUSY, f"{disk.device.name} is mounted as {known.name} already")
        return known
    if any(other.filesystem is not None and _overlap(disk, other) for other in disks.disks.values()):
        raise KernelError(Errno.EBUSY, f"a part of {disk.device.name}, or the disk that it is on, is mounted")
    if writable and disk.device.read_only:
        raise KernelError(Errno.EACCES, f"{disk.device.name} is read-only")
    if not kind.volume.recognise(disk.cache):
        raise KernelError(Errno.EINVAL, f"there is no {kind.name} on {disk.device.name}")
    filesystem = kind.volume.open(disk.cache, writable=writable, page_cache=page_cache, clock=clock)
    if disk.node is not None:
        filesystem.device = disk.node.rdev
    return filesystem


def _overlap(one: Disk, other: Disk) -> bool:
    """Whether one of them is a partition of the other."""
    return any(
        isinstance(part.device, Partition) and part.device.device is whole.device
        for part, whole in ((one, other), (other, one))
    )
