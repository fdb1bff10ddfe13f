"""Disks as files: /dev/sda, /dev/sda1 and so on, and how they come and go with their devices.

    DeviceManager --publishes--> BlockDevice --> BlockNodes: a name, a BufferCache, its partitions, device numbers
    open("/dev/sda1") --> BlockFile over the cache of its partition

One cache serves a disk and another each partition, so a disk and a mounted partition of it are not to be written at
once (Linux has the same two caches). Names are never used again while the system runs. Device numbers are Linux's
(Documentation/admin-guide/devices.txt): 8 for the first 16 disks with 15 partitions each, 259 for all others.

When a device goes away its open files stay and fail with ENODEV: the driver's object says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from attrs import define

from jefeos.block.cache import BufferCache
from jefeos.block.device import BlockDevice
from jefeos.block.partitions import Partition, read_partitions
from jefeos.errors import Errno, KernelError
from jefeos.vfs.file import SeekableFile
from jefeos.vfs.flags import O_ACCMODE, O_APPEND, O_RDONLY, S_IFBLK, make_device

if TYPE_CHECKING:
    import logging

    from jefeos.bus.driver import DeviceManager
    from jefeos.vfs.devices import Device, DeviceRegistry
    from jefeos.vfs.file import File
    from jefeos.vfs.inode import Filesystem, Inode, OpenContext
    from jefeos.vfs.path import Path

SD_MAJOR: Final = 8
EXTENDED_MAJOR: Final = 259
MINORS_A_DISK: Final = 16
DISKS_OF_MAJOR: Final = 16
DISK_MODE: Final = 0o660
DISK_GID: Final = 6


@define(eq=False)
class Disk:
    """A block device that has a node: a whole disk or a partition."""

    device: BlockDevice
    cache: BufferCache
    number: int
    """Of the whole disk: 0 for sda and its partitions."""
    node: Device | None = None
    filesystem: Filesystem | None = None
    """What is mounted from it, or what the snapshots that are mounted are of."""
    mounted: int = 0
    """How many filesystems that is: itself, and snapshots."""

    @property
    def is_partition(self) -> bool:
        """Whether it is a part of another disk."""
        return isinstance(self.device, Partition)

    def open(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """The opener of its node. Raises KernelError(EROFS)."""
        if flags & O_ACCMODE != O_RDONLY and self.device.read_only:
            raise KernelError(Errno.EROFS, f"{self.device.name} is read-only")
        return BlockFile(inode, flags, context.path, self)


class BlockFile(SeekableFile):
    """An open block device: reads and writes of any length through the buffer cache."""

    def __init__(self, inode: Inode, flags: int, path: Path | None, disk: Disk) -> None:
        super().__init__(inode, flags & ~O_APPEND, path)
        self.disk = disk

    def pread(self, count: int, offset: int) -> bytes:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        cache = self.disk.cache
        if offset < 0:
            raise KernelError(Errno.EINVAL)
        return cache.read(offset, min(count, cache.size_bytes - offset)) if offset < cache.size_bytes else b""

    def pwrite(self, data: bytes, offset: int) -> int:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        cache = self.disk.cache
        if offset < 0:
            raise KernelError(Errno.EINVAL)
        room = cache.size_bytes - offset
        if data and room <= 0:
            raise KernelError(Errno.ENOSPC)
        cache.write(offset, data if len(data) <= room else data[:room])
        return min(len(data), room)

    def fsync(self) -> None:
        self.disk.cache.flush()

    def release(self) -> None:
        try:
            if self.writable:
                self.disk.cache.flush()
        finally:
            super().release()

    def _end(self) -> int:
        return self.disk.cache.size_bytes


class BlockNodes:
    """All disks of a system, and their nodes in a device registry."""

    def __init__(self, registry: DeviceRegistry, log: logging.Logger) -> None:
        self._registry = registry
        self._log = log
        self.disks: dict[str, Disk] = {}
        """By name."""
        self._disks_named = 0
        self._extended = 0

    def follow(self, manager: DeviceManager) -> None:
        """Serve the block devices that are published, and those that will be."""
        manager.listeners.append(self._published)
        for thing in manager.published:
            self._published(thing, True)

    def add(self, device: BlockDevice) -> Disk:
        """A whole disk came: name it, and look for partitions."""
        number = self._disks_named
        self._disks_named += 1
        device.name = disk_name(number)
        disk = self._register(device, number, 0)
        self._log.info("%s: %s, %d MiB", device.name, device.model or "disk", device.size_bytes >> 20)
        self.read_table(disk)
        return disk

    def read_table(self, disk: Disk) -> None:
        """Look for partitions, again if the table has changed. Raises KernelError(EBUSY) if one of them is mounted."""
        if any(partition.filesystem is not None for partition in self._partitions_of(disk)):
            raise KernelError(Errno.EBUSY, f"a partition of {disk.device.name} is mounted")
        for partition in list(self._partitions_of(disk)):
            self._forget(partition)
        try:
            entries = read_partitions(disk.device, lambda text: self._log.warning("%s", text))
        except KernelError as error:
            self._log.warning("%s: its partition table cannot be read: %s", disk.device.name, error)
            return
        for entry in entries:
            self._register(Partition(disk.device, entry), disk.number, entry.number)

    def numbered(self, rdev: int) -> Disk | None:
        """The disk of that device number."""
        for disk in self.disks.values():
            if disk.node is not None and disk.node.rdev == rdev:
                return disk
        return None

    def flush(self) -> None:
        """Write everything back. The first error is raised after all were tried."""
        first: KernelError | None = None
        for disk in self.disks.values():
            try:
                disk.cache.flush()
            except KernelError as error:
                self._log.error("%s: what was written is not all on the disk: %s", disk.device.name, error)
                first = first or error
        if first is not None:
            raise first

    def remove(self, device: BlockDevice) -> None:
        """A whole disk went away."""
        disk = next((disk for disk in self.disks.values() if disk.device is device), None)
        if disk is not None:
            for partition in list(self._partitions_of(disk)):
                self._forget(partition)
            self._forget(disk)

    def _published(self, thing: object, here: bool) -> None:
        if isinstance(thing, BlockDevice):
            if here:
                self.add(thing)
            else:
                self.remove(thing)

    def _partitions_of(self, disk: Disk) -> Iterator[Disk]:
        for other in self.disks.values():
            if isinstance(other.device, Partition) and other.device.device is disk.device:
                yield other

    def _register(self, device: BlockDevice, disk_number: int, partition_number: int) -> Disk:
        disk = Disk(device, BufferCache(device), disk_number)
        if disk_number < DISKS_OF_MAJOR and partition_number < MINORS_A_DISK:
            rdev = make_device(SD_MAJOR, disk_number * MINORS_A_DISK + partition_number)
        else:
            rdev = make_device(EXTENDED_MAJOR, self._extended)
            self._extended += 1
        disk.node = self._registry.register(
            device.name.encode(), rdev, disk.open, kind=S_IFBLK, mode=DISK_MODE, gid=DISK_GID
        )
        self.disks[device.name] = disk
        return disk

    def _forget(self, disk: Disk) -> None:
        try:
            disk.cache.flush()
        except KernelError as error:
            if disk.cache.dirty_bytes:
                self._log.error(
                    "%s is gone with %d bytes unwritten: %s", disk.device.name, disk.cache.dirty_bytes, error
                )
        if disk.node is not None:
            self._registry.unregister(disk.node)
        del self.disks[disk.device.name]


def disk_name(number: int) -> str:
    """sda … sdz, sdaa …"""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return f"sd{letters}"
