"""A disk with faults, by seed: what a test puts between an image and whoever uses it.

    FaultyImage(image, seed)
      .bad_sectors        reading them is EIO (an uncorrectable error); writing one heals it, as a real disk remaps it
      .stuck              every transfer raises `Stuck`: a disk model then never answers
      .volatile_cache     writes stay in the disk's own cache until a flush, and `power_off` loses some of them
      .history            every write and flush since it was made, for replaying a crash at any point

Power loss is the worst that a disk may do (block/device.py): of the writes since the last flush any subset has reached
the medium, in any order between writes that do not touch the same sector, and one of them may be torn in the middle,
sector by sector.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from jefeos.block.image import SECTOR_BYTES, DiskImage
from jefeos.errors import Errno, KernelError

KEPT_SHARE: Final = 0.5
"""How likely a write that was not flushed survives."""


class Stuck(KernelError):
    """The disk does not answer."""

    def __init__(self) -> None:
        super().__init__(Errno.ETIMEDOUT, "the disk does not answer")


@frozen
class Written:
    """A write of ``data`` at ``offset``, or a flush if ``data`` is None."""

    offset: int
    data: bytes | None


FLUSH: Final = Written(0, None)


class FaultyImage(DiskImage):
    """See the module's text."""

    def __init__(self, image: DiskImage, seed: int = 0, *, volatile_cache: bool = False) -> None:
        self.image = image
        self.path, self.size_bytes, self.read_only = image.path, image.size_bytes, image.read_only
        self.random = random.Random(seed)
        self.bad_sectors: set[int] = set()
        self.stuck = False
        self.volatile_cache = volatile_cache
        self.history: list[Written] = []
        self._pending: list[tuple[int, bytes]] = []
        self._cached: dict[int, bytes] = {}

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._check_stuck()
        for sector in self._sectors(offset, len(buffer)) if self.bad_sectors else ():
            if sector in self.bad_sectors:
                raise KernelError(Errno.EIO, f"sector {sector} cannot be read")
        self.image.read_into(offset, buffer)
        for sector in self._sectors(offset, len(buffer)) if self._cached else ():
            data = self._cached.get(sector)
            if data is not None:
                start = sector * SECTOR_BYTES - offset
                skip = max(-start, 0)
                piece = data[skip : len(buffer) - start]
                buffer[max(start, 0) : max(start, 0) + len(piece)] = piece

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._check_stuck()
        self.check_range(offset, len(data))
        data = bytes(data)
        self.history.append(Written(offset, data))
        if self.bad_sectors:
            self.bad_sectors.difference_update(self._sectors(offset, len(data)))
        if not self.volatile_cache:
            self.image.write(offset, data)
            return
        if offset % SECTOR_BYTES or len(data) % SECTOR_BYTES:
            raise KernelError(Errno.EINVAL, "a disk with a cache is written in whole sectors")
        self._pending.append((offset, data))
        for index, sector in enumerate(self._sectors(offset, len(data))):
            self._cached[sector] = data[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES]

    def flush(self) -> None:
        self._check_stuck()
        self.history.append(FLUSH)
        for offset, data in self._pending:
            self.image.write(offset, data)
        self._pending.clear()
        self._cached.clear()
        self.image.flush()

    def power_off(self) -> int:
        """Lose power: only some of the unflushed writes are kept, one perhaps torn. Gives how many were pending."""
        pending, self._pending = self._pending, []
        self._cached.clear()
        torn = self.random.randrange(len(pending)) if pending else -1
        for number, (offset, data) in enumerate(pending):
            if number == torn:
                self._tear(offset, data)
            elif self.random.random() < KEPT_SHARE:
                self.image.write(offset, data)
        return len(pending)

    def close(self) -> None:
        self.image.close()

    def _tear(self, offset: int, data: bytes) -> None:
        for start in range(0, len(data), SECTOR_BYTES):
            if self.random.random() < KEPT_SHARE:
                self.image.write(offset + start, data[start : start + SECTOR_BYTES])

    def _check_stuck(self) -> None:
        if self.stuck:
            raise Stuck

    @staticmethod
    def _sectors(offset: int, length: int) -> Iterable[int]:
        return range(offset // SECTOR_BYTES, (offset + length - 1) // SECTOR_BYTES + 1) if length else ()
