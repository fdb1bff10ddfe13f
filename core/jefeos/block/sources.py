"""Volumes in disk images of the host: what IMAGE, IMAGE:2 and IMAGE@NAME mean to --root, --mount and ``jefeos disk``.

    VolumeSource.parse("disk.vhd:1")   path, partition, snapshot ("disk.vhd:1@monday"); a file of such a name wins
    open_volume(source, …)             the image, perhaps a partition of it, and a BufferCache over that
    mount_volume(volume, …)            the filesystem on it, or a snapshot of that, read-only
    volume_type("ntfs", "pkg.mod:X")   the `FilesystemType` of a format, which probes and opens such sources

Without a partition's number the whole image is meant, or, if it has a partition table with one partition, that one.
An image that is written belongs to its opener alone (`jefeos.block.image`), so one volume never has two caches.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import define, evolve, frozen

from jefeos.block.cache import DEFAULT_CAPACITY_BYTES, BufferCache
from jefeos.block.device import BlockDevice
from jefeos.block.image import DiskImage, ImageDevice, open_image
from jefeos.block.partitions import Partition, PartitionEntry, PartitionKind, read_partitions
from jefeos.block.volume import CheckReport, FormatOptions, Progress, SnapshotInfo, VolumeFormat, no_progress
from jefeos.errors import Errno, KernelError, UsageError
from jefeos.late import object_at

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.fstype import FilesystemType
    from jefeos.vfs.inode import Clock, Filesystem


@frozen
class VolumeSource:
    """An image file of the host, or a partition in it."""

    path: str
    partition: int | None = None
    snapshot: str | None = None

    @classmethod
    def parse(cls, text: str) -> VolumeSource:
        """Read ``IMAGE[:PARTITION][@SNAPSHOT]``."""
        if os.path.exists(text):
            return cls(text)
        path, colon, number = text.rpartition(":")
        has_number = bool(colon and path and number.isdecimal())
        rest, at, snapshot = text.rpartition("@")
        if at and snapshot and not (has_number and os.path.exists(path)):
            volume = cls.parse(rest)
            if os.path.isfile(volume.path):
                return evolve(volume, snapshot=snapshot)
        return cls(path, int(number)) if has_number else cls(text)

    @property
    def volume(self) -> VolumeSource:
        """What a snapshot is of."""
        return self if self.snapshot is None else evolve(self, snapshot=None)

    def __str__(self) -> str:
        volume = self.path if self.partition is None else f"{self.path}:{self.partition}"
        return volume if self.snapshot is None else f"{volume}@{self.snapshot}"


@define
class HostVolume:
    """An open volume of an image, and the medium of the filesystem that is mounted from it."""

    source: VolumeSource
    image: DiskImage
    cache: BufferCache
    entry: PartitionEntry | None = None

    def release(self) -> None:
        """Everything that was written goes to the image, which is closed. Raises KernelError(EIO)."""
        try:
            if self.cache.dirty_bytes:
                self.cache.flush()
        finally:
            self.image.close()


def open_volume(
    source: VolumeSource,
    *,
    read_only: bool,
    lock: bool = True,
    whole: bool = False,
    capacity_bytes: int = DEFAULT_CAPACITY_BYTES,
) -> HostVolume:
    """Open it. Raises ConfigError for what is no image, UsageError for a partition that is not there and for snapshots.

    ``whole``: without a number it is the whole image, whatever is in it.
    """
    if source.snapshot is not None:
        raise UsageError(f"{source} is a snapshot: its files can be read, and that is all")
    image = open_image(source.path, read_only=read_only, lock=lock)
    try:
        device: BlockDevice = ImageDevice(image, os.path.basename(source.path))
        entry = None
        if source.partition is not None or not whole:
            entry = _partition(device, source)
        if entry is not None:
            device = Partition(device, entry)
        return HostVolume(source, image, BufferCache(device, capacity_bytes), entry)
    except BaseException:
        image.close()
        raise


def _partition(device: BlockDevice, source: VolumeSource) -> PartitionEntry | None:
    entries = read_partitions(device)
    numbers = ", ".join(str(entry.number) for entry in entries)
    if source.partition is None:
        if len(entries) > 1:
            raise UsageError(f"{source.path} has partitions {numbers}: say which, as {source.path}:{entries[0].number}")
        return entries[0] if entries else None
    for entry in entries:
        if entry.number == source.partition:
            return entry
    there = f"it has {numbers}" if entries else "it has no partition table"
    raise UsageError(f"{source.path} has no partition {source.partition}: {there}", Errno.ENXIO)


def mount_volume(
    volume: HostVolume,
    kind: VolumeFormat,
    *,
    writable: bool,
    page_cache: PageCache | None,
    clock: Clock,
    snapshot: str | None = None,
) -> Filesystem:
    """What is on a volume of an image, which is released with it. Raises as `VolumeFormat.open` and
    `Filesystem.open_snapshot` do; then the image is closed."""
    try:
        if snapshot is not None and writable:
            raise KernelError(Errno.EROFS, "a snapshot can only be read")
        filesystem = kind.open(volume.cache, writable=writable, page_cache=page_cache, clock=clock)
        if snapshot is not None:
            filesystem = filesystem.open_snapshot(os.fsencode(snapshot))
    except BaseException:
        volume.image.close()
        raise
    filesystem.medium = volume
    return filesystem


class LazyFormat(VolumeFormat):
    """The format ``module:Class``, imported when it is first needed: boots without a volume do not wait for it."""

    def __init__(self, target: str) -> None:
        self._target = target

    @cached_property
    def real(self) -> VolumeFormat:
        """The format itself. Raises KernelError(ENODEV) if something that it needs is not installed."""
        made: VolumeFormat = object_at(self._target, Errno.ENODEV)()
        return made

    def recognise(self, volume: BufferCache) -> bool:
        return self.real.recognise(volume)

    def open(
        self, volume: BufferCache, *, writable: bool, page_cache: PageCache | None, clock: Clock
    ) -> Filesystem:
        return self.real.open(volume, writable=writable, page_cache=page_cache, clock=clock)

    def make(self, volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress = no_progress) -> None:
        self.real.make(volume, options, clock, progress)

    def check(
        self, volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
    ) -> CheckReport:
        return self.real.check(volume, repair=repair, clock=clock, progress=progress)

    def describe(self, volume: BufferCache) -> dict[str, str | int]:
        return self.real.describe(volume)

    def partition_kind(self, volume: BufferCache) -> PartitionKind:
        return self.real.partition_kind(volume)

    @property
    def has_snapshots(self) -> bool:  # type: ignore[override]
        return self.real.has_snapshots

    def snapshots(self, volume: BufferCache) -> list[SnapshotInfo]:
        return self.real.snapshots(volume)

    def create_snapshot(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        self.real.create_snapshot(volume, name, clock)

    def delete_snapshot(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        self.real.delete_snapshot(volume, name, clock)

    def roll_back(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        self.real.roll_back(volume, name, clock)


def volume_type(name: str, target: str | VolumeFormat) -> FilesystemType:
    """The filesystem type of a format, ``module:Class`` or an object: what ``jefeos_filesystems`` of a plugin returns.

    Opened read-only it is the lower half of an overlay, as a folder or an archive is: what is written stays in memory.
    """
    from jefeos.vfs.fstype import FilesystemType

    kind = LazyFormat(target) if isinstance(target, str) else target

    def probe(source: str) -> bool:
        parsed = VolumeSource.parse(source)
        if not os.path.isfile(parsed.path):
            return False
        volume = open_volume(parsed.volume, read_only=True, lock=False)
        try:
            return kind.recognise(volume.cache)
        finally:
            volume.image.close()

    def open_source(source: str, *, writable: bool, page_cache: PageCache | None, clock: Clock) -> Filesystem:
        parsed = VolumeSource.parse(source)
        volume = open_volume(parsed.volume, read_only=not writable)
        return mount_volume(volume, kind, writable=writable, page_cache=page_cache, clock=clock,
                            snapshot=parsed.snapshot)

    return FilesystemType(name, probe=probe, open=open_source, layered=True, volume=kind)


def recognise(kinds: list[FilesystemType], volume: BufferCache) -> FilesystemType | None:
    """The first type whose format a volume has. A volume that cannot be read has none."""
    for kind in kinds:
        try:
            if kind.volume is not None and kind.volume.recognise(volume):
                return kind
        except KernelError:
            continue
    return None
