"""ioctl(2) on block devices: sizes, flushing, the partition table (linux/fs.h, linux/hdreg.h)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from jefeos.block.nodes import BlockFile
from jefeos.block.partitions import Partition
from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task

HDIO_GETGEO: Final = 0x0301
BLKROGET: Final = 0x125E
BLKRRPART: Final = 0x125F
BLKGETSIZE: Final = 0x1260
BLKFLSBUF: Final = 0x1261
BLKRAGET: Final = 0x1263
BLKSSZGET: Final = 0x1268
BLKIOMIN: Final = 0x1278
BLKIOOPT: Final = 0x1279
BLKALIGNOFF: Final = 0x127A
BLKPBSZGET: Final = 0x127B
BLKBSZGET: Final = 0x80081270
BLKGETSIZE64: Final = 0x80081272

_LEGACY_SECTOR_BYTES: Final = 512  # BLKGETSIZE counts in these whatever the disk's are
_PAGE_BYTES: Final = 4096
_HEADS, _SECTORS = 255, 63
_READ_AHEAD_SECTORS: Final = 256


def _read_only(task: Task, file: BlockFile, argument: int) -> None:
    task.mm.write_u32(argument, int(file.disk.device.read_only))


def _reread(task: Task, file: BlockFile, argument: int) -> None:
    if not task.creds.privileged:
        raise KernelError(Errno.EACCES)
    disks = task.kernel.disks
    if disks is None or file.disk.is_partition:
        raise KernelError(Errno.EINVAL)
    disks.read_table(file.disk)


def _sectors(task: Task, file: BlockFile, argument: int) -> None:
    task.mm.write_u64(argument, file.disk.device.size_bytes // _LEGACY_SECTOR_BYTES)


def _flush(task: Task, file: BlockFile, argument: int) -> None:
    if not task.creds.privileged:
        raise KernelError(Errno.EACCES)
    file.disk.cache.flush()
    file.disk.cache.forget()


def _size(task: Task, file: BlockFile, argument: int) -> None:
    task.mm.write_u64(argument, file.disk.device.size_bytes)


def _sector_bytes(task: Task, file: BlockFile, argument: int) -> None:
    task.mm.write_u32(argument, file.disk.device.sector_bytes)


def _geometry(task: Task, file: BlockFile, argument: int) -> None:
    """Nobody has had one for decades; tools are given what they expect (struct hd_geometry)."""
    cylinders = min(file.disk.device.sector_count // (_HEADS * _SECTORS), 0xFFFF)
    device = file.disk.device
    start = device.entry.first_lba if isinstance(device, Partition) else 0
    task.mm.write(argument, struct.pack("<BBHIQ", _HEADS, _SECTORS, cylinders, 0, start))


BLOCK_REQUESTS: Final[dict[int, Callable[[Task, BlockFile, int], None]]] = {
    HDIO_GETGEO: _geometry,
    BLKROGET: _read_only,
    BLKRRPART: _reread,
    BLKGETSIZE: _sectors,
    BLKFLSBUF: _flush,
    BLKRAGET: lambda task, file, argument: task.mm.write_u64(argument, _READ_AHEAD_SECTORS),
    BLKSSZGET: _sector_bytes,
    BLKIOMIN: _sector_bytes,
    BLKIOOPT: lambda task, file, argument: task.mm.write_u32(argument, 0),
    BLKALIGNOFF: lambda task, file, argument: task.mm.write_u32(argument, 0),
    BLKPBSZGET: _sector_bytes,
    BLKBSZGET: lambda task, file, argument: task.mm.write_u64(argument, _PAGE_BYTES),
    BLKGETSIZE64: _size,
}
"""Request to what answers it; each gives 0."""
