"""Volumes for tests: in memory, freshly made, and damaged by seed.

    memory_volume(8 << 20)            a BufferCache over that many zero bytes
    image = make_volume(FORMAT, …)    a disk image in memory with a new filesystem on it
    image_volume(image)               …as a volume
    make_image_file(FORMAT, path, …)  the same in a file of the host
    with image_file(path) as volume:  …and that as a volume
    image.mark(), image.undo()        take back what was written in between
    corrupt(bytes, seed)              a copy with extreme and random values here and there

`jefeos.testing.mounted` mounts one, `jefeos.testing.bounds` calls within bounds of time and memory,
`jefeos.testing.crash` loses power.
"""

from __future__ import annotations

import mmap
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import define, frozen

from jefeos.block.cache import BufferCache
from jefeos.block.image import DiskImage, ImageDevice, create_image, open_image
from jefeos.block.volume import FormatOptions, VolumeFormat
from jefeos.errors import Errno, KernelError
from jefeos.mm.frames import FrameAllocator
from jefeos.mm.pagecache import PageCache
from jefeos.vfs.inode import Clock

CACHE_BYTES: Final = 8 << 20
PAGE_CACHE_BYTES: Final = 16 << 20
START_NS: Final = 1_700_000_000_000_000_000
FIELD_SIZES: Final = (1, 2, 4, 8)


class MemoryImage(DiskImage):
    """A disk image in memory. What was written since `mark` can be taken back."""

    path = "memory"
    read_only = False

    def __init__(self, contents: int | bytes | bytearray) -> None:
        """``contents``: a size, for zeros, or the bytes themselves."""
        self.data: bytearray = bytearray(contents)
        self.size_bytes = len(self.data)
        self._undo: list[tuple[int, bytes]] | None = None

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.check_range(offset, len(buffer))
        with memoryview(self.data) as view:
            buffer[:] = view[offset : offset + len(buffer)]

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.read_only:
            raise KernelError(Errno.EROFS)
        self.check_range(offset, len(data))
        if self._undo is not None:
            self._undo.append((offset, bytes(self.data[offset : offset + len(data)])))
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def mark(self) -> None:
        """From here on `undo` can take writes back, once."""
        self._undo = []

    @property
    def writes_since_mark(self) -> int:
        """How many there were."""
        return len(self._undo or ())

    def undo(self) -> None:
        """As it was at `mark`."""
        for offset, data in reversed(self._undo or ()):
            self.data[offset : offset + len(data)] = data
        self._undo = None


@define
class TestClock:
    """Each look at it is 100 ns later, the finest step that any of our filesystems stores, and then some."""

    __test__ = False  # not a test, whatever its name says
    now_ns: int = START_NS
    step_ns: int = 100

    def realtime_ns(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


def image_volume(image: DiskImage, cache_bytes: int = CACHE_BYTES) -> BufferCache:
    """An image as a volume."""
    return BufferCache(ImageDevice(image), cache_bytes)


def memory_volume(size_bytes: int, cache_bytes: int = CACHE_BYTES) -> BufferCache:
    """A volume of zeros in memory."""
    return image_volume(MemoryImage(size_bytes), cache_bytes)


def make_volume(
    kind: VolumeFormat, size_bytes: int, options: FormatOptions | None = None, clock: Clock | None = None
) -> MemoryImage:
    """A freshly made filesystem in memory, its random parts the same each time."""
    image = MemoryImage(size_bytes)
    options = options or FormatOptions(entropy=random.Random(size_bytes).randbytes)
    kind.make(image_volume(image), options, clock or TestClock())
    return image


@contextmanager
def image_file(path: Path, *, writable: bool = True) -> Iterator[BufferCache]:
    """An image file of the host as a volume; closed at the end. What is to be in it has to be flushed."""
    image = open_image(str(path), read_only=not writable)
    try:
        yield image_volume(image)
    finally:
        image.close()


def make_image_file(
    kind: VolumeFormat, path: Path, size_bytes: int, options: FormatOptions | None = None, clock: Clock | None = None
) -> None:
    """A raw image file of the host with a new filesystem on it."""
    create_image(str(path), size_bytes)
    with image_file(path) as volume:
        kind.make(volume, options or FormatOptions(), clock or TestClock())


def new_page_cache(ram_bytes: int = PAGE_CACHE_BYTES) -> PageCache:
    """A page cache with memory of its own."""
    ram = memoryview(mmap.mmap(-1, ram_bytes))
    return PageCache(FrameAllocator(ram, 0), ram)


# --- damage -------------------------------------------------------------------------------------------------------


@frozen
class Damage:
    """Bytes at an offset."""

    offset: int
    data: bytes


def damage(length: int, seed: int, ranges: list[tuple[int, int]] | None = None, most: int = 4) -> list[Damage]:
    """Some fields to overwrite, with extreme or random values. ``ranges``: (start, end) of what is worth it."""
    dice = random.Random(seed)
    ranges = ranges or [(0, length)]
    found = []
    for _ in range(dice.randint(1, most)):
        start, end = dice.choice(ranges)
        size = dice.choice(FIELD_SIZES)
        if size >= end - start:
            size = 1
        offset = dice.randrange(start, end - size + 1) // size * size
        if dice.random() < 0.1:  # a stretch of nothing, of ones, or of noise
            size = min(dice.choice((64, 512, 4096)), end - offset)
            data = dice.choice((bytes(size), b"\xff" * size, dice.randbytes(size)))
        elif dice.random() < 0.6:
            data = _extreme(dice, size)
        else:
            data = dice.randbytes(size)
        found.append(Damage(max(offset, start), data))
    return found


def corrupt(contents: bytes, seed: int, ranges: list[tuple[int, int]] | None = None) -> bytearray:
    """A copy of a volume with `damage` by that seed."""
    copy = bytearray(contents)
    for piece in damage(len(contents), seed, ranges):
        copy[piece.offset : piece.offset + len(piece.data)] = piece.data
    return copy


def _extreme(dice: random.Random, size: int) -> bytes:
    """The ends of the range of a little-endian number, their neighbours, and powers of two."""
    bits = size * 8
    value = dice.choice((0, 1, 2, (1 << bits) - 1, (1 << bits) - 2, 1 << bits - 1, (1 << bits - 1) - 1,
                         1 << dice.randrange(bits), (1 << dice.randrange(bits)) - 1))
    return value.to_bytes(size, "little")
