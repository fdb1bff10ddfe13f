"""Disk images: a disk's contents in a file of the host, raw or VHD.

    open_image(path)        raw, or VHD by the footer in the last 512 bytes (block/vhd.py)
    create_image(path, …)   sparse: a new image takes next to no room on the host

A `DiskImage` is addressed in bytes. `ImageDevice` makes a block device of one, for those who look at an image without
a machine around it; machines put a controller in between. An image that is opened read-only is never written.

Two systems that write one image destroy it, as two computers on one disk would. So whoever opens it for writing has it
alone, and whoever reads shares it with readers only (a lock of the host on the file, where there are such locks).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Final

from jefeos.block.device import BlockDevice
from jefeos.errors import ConfigError, Errno, KernelError, UsageError

try:
    import fcntl
except ImportError:  # no locks there
    fcntl = None  # type: ignore[assignment]

SECTOR_BYTES: Final = 512
MAXIMUM_BYTES: Final = 1 << 48
"""No image is larger: 256 TiB, far beyond what LBA48 disks of 512-byte sectors were ever made with."""
KINDS: Final = ("raw", "vhd", "vhd-fixed")


class DiskImage(ABC):
    """The bytes of a disk. Offsets and lengths are any; nothing beyond `size_bytes` is ever touched."""

    path: str
    size_bytes: int
    read_only: bool

    @abstractmethod
    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset`` on. Raises KernelError(EIO) if the host cannot read."""

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset`` on. For those who can do it with fewer copies than by `read_into`."""
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    @abstractmethod
    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write ``data`` at ``offset``. Raises KernelError: EROFS, EIO, ENOSPC if the host's disk is full."""

    @abstractmethod
    def flush(self) -> None:
        """Return when what was written is on the host's disk."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file. Idempotent."""

    def check_range(self, offset: int, length: int) -> None:
        """Raise KernelError(ENXIO) for what lies outside of the disk."""
        if offset < 0 or offset + length > self.size_bytes:
            raise KernelError(Errno.ENXIO, f"bytes {offset} to {offset + length} are not all on {self.path}")


class ImageFile:
    """The file behind an image: whole transfers or an error, never half of one unnoticed."""

    def __init__(self, path: str, read_only: bool, *, lock: bool = True) -> None:
        self.path = path
        self.read_only = read_only
        try:
            self._file = open(path, "rb" if read_only else "r+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"disk image {path}: {error.strerror or error}") from None
        if lock and fcntl is not None:
            try:
                fcntl.flock(self._file, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                how = "written to" if read_only else "in use"
                raise ConfigError(f"disk image {path} is {how} by another system or mount", Errno.EBUSY) from None
            except OSError:
                pass  # a filesystem of the host without locks

    def size(self) -> int:
        """Length of the file now."""
        return os.fstat(self._file.fileno()).st_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer."""
        done = 0
        try:
            self._file.seek(offset)
            while done < len(buffer):
                count = self._file.readinto(buffer[done:])
                if not count:
                    raise KernelError(Errno.EIO, f"{self.path} ends at {offset + done}: it was cut while in use")
                done += count
        except OSError as error:
            raise KernelError(Errno.EIO, f"{self.path}: {error.strerror or error}") from None

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes: nearly always in one transfer, without a copy."""
        try:
            self._file.seek(offset)
            data: bytes = self._file.read(length) or b""
        except OSError as error:
            raise KernelError(Errno.EIO, f"{self.path}: {error.strerror or error}") from None
        if len(data) == length:
            return data
        rest = bytearray(length - len(data))
        self.read_into(offset + len(data), memoryview(rest))
        return data + rest

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``."""
        if self.read_only:
            raise KernelError(Errno.EROFS, f"{self.path} was opened read-only")
        view = memoryview(data).cast("B")
        try:
            self._file.seek(offset)
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            full = error.errno == Errno.ENOSPC
            raise KernelError(Errno.ENOSPC if full else Errno.EIO, f"{self.path}: {error.strerror or error}") from None

    def flush(self) -> None:
        """fsync."""
        if not self.read_only:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise KernelError(Errno.EIO, f"{self.path}: {error.strerror or error}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RawImage(DiskImage):
    """The disk's bytes and nothing else."""

    def __init__(self, file: ImageFile) -> None:
        self._file = file
        self.path, self.read_only = file.path, file.read_only
        size = file.size()
        if not size:
            raise ConfigError(f"disk image {file.path}: it is empty")
        if size % SECTOR_BYTES:
            raise ConfigError(f"disk image {file.path}: {size} bytes are not whole {SECTOR_BYTES}-byte sectors")
        self.size_bytes = size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.check_range(offset, len(buffer))
        self._file.read_into(offset, buffer)

    def read(self, offset: int, length: int) -> bytes:
        self.check_range(offset, length)
        return self._file.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(data))
        self._file.write(offset, data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class ImageDevice(BlockDevice):
    """An image as a block device, without any hardware."""

    def __init__(self, image: DiskImage, name: str = "image") -> None:
        self.image = image
        self.name = name
        self.sector_count = image.size_bytes // SECTOR_BYTES
        self.read_only = image.read_only
        self.model = "disk image"

    def read_into(self, lba: int, buffer: memoryview) -> None:
        self.check_range(lba, len(buffer))
        self.image.read_into(lba * SECTOR_BYTES, buffer)

    def read(self, lba: int, count: int) -> bytes:
        self.check_range(lba, count * SECTOR_BYTES)
        return self.image.read(lba * SECTOR_BYTES, count * SECTOR_BYTES)

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        self.check_range(lba, len(data))
        self.image.write(lba * SECTOR_BYTES, data)

    def flush(self) -> None:
        self.image.flush()


def open_image(path: str, *, read_only: bool = False, lock: bool = True) -> DiskImage:
    """Open an image. Raises ConfigError for what is none, with what is wrong and where.

    Without ``lock`` it is only to be looked at: what somebody else writes meanwhile may be seen in part.
    """
    from jefeos.block.vhd import VhdImage, has_vhd_footer

    file = ImageFile(path, read_only, lock=lock)
    try:
        return VhdImage(file) if has_vhd_footer(file) else RawImage(file)
    except BaseException:
        file.close()
        raise


def create_image(path: str, size: int, kind: str = "raw") -> None:
    """Make a new image of ``size`` bytes full of zeros. Raises UsageError: never over a file that is there."""
    if kind not in KINDS:
        raise UsageError(f"an image is one of {', '.join(KINDS)}, not {kind!r}")
    if not 0 < size <= MAXIMUM_BYTES or size % SECTOR_BYTES:
        raise UsageError(f"a disk has a whole number of {SECTOR_BYTES}-byte sectors, up to 256 TiB: not {size} bytes")
    from jefeos.block.vhd import write_new_vhd

    try:
        with open(path, "xb") as file:
            try:
                if kind == "raw":
                    file.truncate(size)
                else:
                    write_new_vhd(file, size, dynamic=kind == "vhd")
            except BaseException:
                os.unlink(path)
                raise
    except FileExistsError:
        raise UsageError(f"{path} is there already; remove it first", Errno.EEXIST) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
