"""Regions: windows of device registers, in the port space or in memory.

A driver maps a window once, when it is bound, and then reads and writes registers by their offset in it. Values are
unsigned and little-endian. Where no device answers, reads give all ones and writes are lost, as on a real bus: that is
how a driver notices that its device was pulled out.

`read_data` and `write_data` move many units through one register, as REP INSW and REP OUTSW do (ATA's data port).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

ALL_ONES_8: Final = 0xFF
ALL_ONES_16: Final = 0xFFFF
ALL_ONES_32: Final = 0xFFFF_FFFF


class Region(ABC):
    """A window of ``size`` bytes of registers. Offsets outside of it are a driver's mistake: UsageError."""

    size: int

    @abstractmethod
    def read8(self, offset: int) -> int:
        """One byte."""

    @abstractmethod
    def read16(self, offset: int) -> int:
        """Two bytes; ``offset`` is even."""

    @abstractmethod
    def read32(self, offset: int) -> int:
        """Four bytes; ``offset`` is a multiple of four."""

    @abstractmethod
    def write8(self, offset: int, value: int) -> None:
        """One byte; higher bits of ``value`` must be zero."""

    @abstractmethod
    def write16(self, offset: int, value: int) -> None:
        """Two bytes."""

    @abstractmethod
    def write32(self, offset: int, value: int) -> None:
        """Four bytes. May be posted: read a register of the device to be sure that it has arrived."""

    def read_data(self, offset: int, count: int) -> bytes:
        """``count`` 16-bit units from one register, as bytes."""
        read = self.read16
        return b"".join([read(offset).to_bytes(2, "little") for _ in range(count)])

    def write_data(self, offset: int, data: bytes) -> None:
        """An even number of bytes to one register, as 16-bit units."""
        write = self.write16
        for unit in memoryview(data).cast("H"):
            write(offset, unit)
