"""A volume as it will be once its journal has been replayed, without writing to it.

For a volume that is opened read-only, or only looked at, after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.block.cache import BufferCache
from jefeos.block.device import BlockDevice
from jefeos.errors import Errno, KernelError

if TYPE_CHECKING:
    from jefeos_fs_ntfs.transaction import Block


class OverlayDevice(BlockDevice):
    """Reads from a volume, with other bytes in some places. Refuses writes."""

    read_only = True

    def __init__(self, volume: BufferCache, blocks: list[Block]) -> None:
        self.volume = volume
        self.name = volume.device.name
        self.sector_bytes = volume.device.sector_bytes
        self.sector_count = volume.size_bytes // self.sector_bytes
        self._sectors: dict[int, bytearray] = {}
        for offset, data in blocks:
            done = 0
            while done < len(data):
                number, start = divmod(offset + done, self.sector_bytes)
                sector = self._sectors.get(number)
                if sector is None:
                    sector = bytearray(volume.read(number * self.sector_bytes, self.sector_bytes))
                    self._sectors[number] = sector
                piece = data[done : done + self.sector_bytes - start]
                sector[start : start + len(piece)] = piece
                done += len(piece)

    def read_into(self, lba: int, buffer: memoryview) -> None:
        count = self.check_range(lba, len(buffer))
        buffer[:] = self.volume.read(lba * self.sector_bytes, len(buffer))
        for number in range(lba, lba + count):
            sector = self._sectors.get(number)
            if sector is not None:
                start = (number - lba) * self.sector_bytes
                buffer[start : start + self.sector_bytes] = sector

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        raise KernelError(Errno.EROFS)

    def flush(self) -> None:
        pass
