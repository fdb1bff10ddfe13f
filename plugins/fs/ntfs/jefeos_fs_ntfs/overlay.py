"""A volume on which nothing is really written: what is written stays in memory.

For a volume that is opened read-only, or only looked at, after a crash: its journal is finished here, so that it is
seen as it will be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.block.device import BlockDevice

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache


class OverlayDevice(BlockDevice):
    """Reads from a volume, except for the sectors that were written."""

    def __init__(self, volume: BufferCache) -> None:
        self.volume = volume
        self.name = volume.device.name
        self.sector_bytes = volume.device.sector_bytes
        self.sector_count = volume.size_bytes // self.sector_bytes
        self._sectors: dict[int, bytes] = {}

    def read_into(self, lba: int, buffer: memoryview) -> None:
        count = self.check_range(lba, len(buffer))
        buffer[:] = self.volume.read(lba * self.sector_bytes, len(buffer))
        for number in range(lba, lba + count):
            sector = self._sectors.get(number)
            if sector is not None:
                start = (number - lba) * self.sector_bytes
                buffer[start : start + self.sector_bytes] = sector

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        count = self.check_range(lba, len(data))
        for number in range(count):
            self._sectors[lba + number] = bytes(data[number * self.sector_bytes : (number + 1) * self.sector_bytes])

    def flush(self) -> None:
        pass
