"""What a block device is: sectors that are read, written and flushed.

Synchronous by design (ARCHITECTURE, section 4): storage does not wait for people or peers. A driver waits for its
hardware with `DeviceContext.wait`.

The contract, on which crash consistency rests: a write may be lost or torn by a loss of power until a `flush` after it
has returned; writes between two flushes may reach the medium in any order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jefeos.errors import Errno, KernelError


class BlockDevice(ABC):
    """A disk, or a part of one. Sector numbers (``lba``) begin at 0."""

    name: str
    """``sda``; a partition adds its number."""
    sector_bytes: int = 512
    sector_count: int
    read_only: bool = False
    model: str = ""
    serial: str = ""

    @property
    def size_bytes(self) -> int:
        """Capacity."""
        return self.sector_bytes * self.sector_count

    @abstractmethod
    def read_into(self, lba: int, buffer: memoryview) -> None:
        """Fill ``buffer``, a whole number of sectors, from sector ``lba`` on.

        Raises KernelError: EIO for a bad sector or a device that fails, ENXIO past the end, ENOMEDIUM, ENODEV when
        the device is gone.
        """

    @abstractmethod
    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        """Write a whole number of sectors. Raises KernelError as `read_into` does, and EROFS."""

    @abstractmethod
    def flush(self) -> None:
        """Return when everything written before is on the medium. Raises KernelError(EIO)."""

    def read(self, lba: int, count: int) -> bytes:
        """``count`` sectors. For those who can do it with fewer copies than by `read_into`."""
        buffer = bytearray(count * self.sector_bytes)
        self.read_into(lba, memoryview(buffer))
        return bytes(buffer)

    def check_range(self, lba: int, length_bytes: int) -> int:
        """The number of sectors of a transfer. Raises KernelError: EINVAL for a broken one, ENXIO past the end."""
        count, rest = divmod(length_bytes, self.sector_bytes)
        if rest or lba < 0:
            raise KernelError(Errno.EINVAL, f"{length_bytes} bytes from sector {lba} are no whole sectors")
        if lba + count > self.sector_count:
            raise KernelError(Errno.ENXIO, f"sector {lba + count - 1} is past the end of {self.name}")
        return count
