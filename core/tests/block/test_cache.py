"""The buffer cache: contents against a model, ordered write-back under power loss, errors, read-ahead, limits."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from jefeos.block.cache import MOST_AHEAD, PAGE_BYTES, BufferCache
from jefeos.block.device import BlockDevice
from jefeos.block.faults import FaultyImage
from jefeos.block.image import ImageDevice, create_image, open_image
from jefeos.errors import KernelError
from jefeos.testing.volumes import MemoryImage

MIB = 1 << 20
SIZE = 1000 * PAGE_BYTES + 1024


class Counting(BlockDevice):
    """Memory, with a list of what was asked of it."""

    name = "memory"

    def __init__(self, size: int = SIZE) -> None:
        self.data = bytearray(size)
        self.sector_count = size // self.sector_bytes
        self.calls: list[tuple[str, int, int]] = []
        self.failing = False

    def read_into(self, lba: int, buffer: memoryview) -> None:
        count = self.check_range(lba, len(buffer))
        self.calls.append(("read", lba, count))
        buffer[:] = self.data[lba * 512 : (lba + count) * 512]

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        count = self.check_range(lba, len(data))
        self.calls.append(("write", lba, count))
        if self.failing:
            raise KernelError(5)
        self.data[lba * 512 : (lba + count) * 512] = data

    def flush(self) -> None:
        self.calls.append(("flush", 0, 0))


@pytest.mark.parametrize("capacity", [1, 1 << 30])
def test_contents_are_the_model_s(capacity: int) -> None:
    device = Counting()
    cache = BufferCache(device, capacity)
    model = bytearray(SIZE)
    generator = random.Random(capacity)
    for _ in range(3000):
        length = generator.choice([0, 1, 100, 512, 4096, 5000, 100_000])
        offset = generator.randrange(SIZE - length + 1)
        action = generator.random()
        if action < 0.5:
            data = generator.randbytes(length)
            cache.write(offset, data)
            model[offset : offset + length] = data
        elif action < 0.9:
            assert cache.read(offset, length) == model[offset : offset + length]
        elif action < 0.95:
            cache.order()
        elif action < 0.98:
            cache.flush()
            assert device.data == model and not cache.dirty_bytes
        else:
            cache.forget()
        assert cache.cached_bytes <= (cache.capacity_pages + MOST_AHEAD) * PAGE_BYTES
    cache.flush()
    assert device.data == model


def test_what_was_ordered_reaches_the_medium_in_order(tmp_path: Path) -> None:
    """After a loss of power at any moment, a later epoch is never there without the earlier ones."""
    path = str(tmp_path / "disk")
    create_image(path, 1 << 20)
    for seed in range(60):
        generator = random.Random(seed)
        image = FaultyImage(open_image(path), seed, volatile_cache=True)
        cache = BufferCache(ImageDevice(image))
        pages = [generator.sample(range(250), 3) for _ in range(6)]
        for epoch, places in enumerate(pages, 1):
            for place in places:
                cache.write(place * PAGE_BYTES, bytes([epoch + 6 * seed % 200]) * PAGE_BYTES)
            cache.order()
        stop = generator.randrange(20)
        _flush_until(cache, image, stop)
        image.power_off()
        found = [
            [_is_new(image, place, epoch + 6 * seed % 200, pages, epoch) for place in places]
            for epoch, places in enumerate(pages, 1)
        ]
        for earlier, later in pairwise(found):
            assert all(earlier) or not any(later), (seed, found)
        image.close()


def _flush_until(cache: BufferCache, image: FaultyImage, stop: int) -> None:
    """Write back, with the power going after ``stop`` operations of the disk."""

    class PowerLoss(Exception):
        pass

    def limit() -> None:
        if len(image.history) >= before + stop:
            raise PowerLoss

    before = len(image.history)
    write, flush = image.write, image.flush
    image.write = lambda offset, data: (limit(), write(offset, data))[1]  # type: ignore[method-assign]
    image.flush = lambda: (limit(), flush())[1]  # type: ignore[method-assign]
    try:
        cache.flush()
    except PowerLoss:
        pass
    image.write, image.flush = write, flush  # type: ignore[method-assign]


def _is_new(image: FaultyImage, place: int, value: int, pages: list[list[int]], epoch: int) -> bool:
    """Whether a page has its epoch's content, or that of a later epoch that overwrote it."""
    page = bytearray(PAGE_BYTES)
    image.read_into(place * PAGE_BYTES, memoryview(page))
    later = {value + number - epoch for number, places in enumerate(pages, 1) if number >= epoch and place in places}
    return page[0] in later and page[-1] in later


def test_epochs_are_flushed_apart_and_neighbours_go_together() -> None:
    device = Counting()
    cache = BufferCache(device)
    for page in (5, 3, 4):
        cache.write(page * PAGE_BYTES, bytes(PAGE_BYTES))
    cache.order()
    cache.write(9 * PAGE_BYTES, bytes(PAGE_BYTES))
    cache.flush()
    assert device.calls == [("write", 24, 24), ("flush", 0, 0), ("write", 72, 8), ("flush", 0, 0)]


def test_a_refused_write_stays_dirty_and_is_tried_again() -> None:
    device = Counting()
    cache = BufferCache(device)
    cache.write(0, b"x" * 10)
    device.failing = True
    with pytest.raises(KernelError):
        cache.flush()
    assert cache.dirty_bytes == PAGE_BYTES and cache.read(0, 10) == b"x" * 10
    device.failing = False
    cache.flush()
    assert not cache.dirty_bytes and device.data[:10] == b"x" * 10


def test_reading_in_order_reads_ahead_and_at_random_does_not() -> None:
    device = Counting()
    cache = BufferCache(device)
    for page in range(200):
        cache.read(page * PAGE_BYTES, PAGE_BYTES)
    assert len(device.calls) < 20
    device.calls.clear()
    for page in (900, 300, 700, 500):
        cache.read(page * PAGE_BYTES, PAGE_BYTES)
    assert device.calls == [("read", page * 8, 8) for page in (900, 300, 700, 500)]


def test_a_bad_sector_ahead_does_not_fail_what_is_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "disk")
    create_image(path, 1 << 20)
    image = FaultyImage(open_image(path))
    image.bad_sectors = {30 * 8}
    cache = BufferCache(ImageDevice(image))
    for page in range(30):
        cache.read(page * PAGE_BYTES, PAGE_BYTES)
    with pytest.raises(KernelError, match="EIO"):
        cache.read(30 * PAGE_BYTES, PAGE_BYTES)
    assert cache.read(31 * PAGE_BYTES, PAGE_BYTES) == bytes(PAGE_BYTES)
    image.close()


def test_pieces_near_each_other_come_in_one_transfer_unless_what_is_between_is_bad() -> None:
    device = Counting(16 * MIB)
    device.data[:] = random.Random(1).randbytes(16 * MIB)
    cache = BufferCache(device)
    pieces = [(number * 8192, 4096) for number in range(64)] + [(8 * MIB, 4096)]
    assert cache.read_pieces(pieces) == b"".join([device.data[at : at + size] for at, size in pieces])
    assert [call[1:] for call in device.calls] == [(0, 127 * 8), (16384, 8)]
    image = FaultyImage(MemoryImage(MIB))
    image.bad_sectors = {9}
    cache = BufferCache(ImageDevice(image))
    assert cache.read_pieces([(number * 8192, 4096) for number in range(64)]) == bytes(64 * 4096)
    image.bad_sectors = {16}
    with pytest.raises(KernelError, match="EIO"):
        cache.read_pieces([(number * 8192, 4096) for number in range(64)])
    image.bad_sectors = set()
    with pytest.raises(KernelError, match="ENXIO"):
        cache.read_pieces([(0, MIB), (MIB, 512)])


@pytest.mark.parametrize(("offset", "length"), [(SIZE, 1), (SIZE - 1, 2), (-1, 1), (0, -1)])
def test_past_the_end_is_refused(offset: int, length: int) -> None:
    with pytest.raises(KernelError, match="ENXIO"):
        BufferCache(Counting()).read(offset, length)


@pytest.mark.parametrize("seed", range(6))
def test_large_and_small_transfers_see_one_content(seed: int) -> None:
    """Random reads, writes and lines between them, against the bytes that should be there."""
    dice = random.Random(seed)
    image = MemoryImage(3 * MIB + 512)
    cache = BufferCache(ImageDevice(image), 2 * MIB)
    model = bytearray(image.data)
    for _ in range(300):
        length = dice.choice((1, 100, 4096, 5000, 128 << 10, 200_000, MIB, 2 * MIB + 17))
        offset = dice.randrange(len(model) - length + 1) // dice.choice((1, 512, 4096)) * dice.choice((1, 1, 512, 4096))
        offset = min(offset, len(model) - length)
        match dice.randrange(6):
            case 5:
                pieces = [(dice.choice((-1, offset, dice.randrange(len(model) - 9000))), dice.randrange(9000))]
                while len(pieces) < dice.choice((2, 10, 60)):  # some near the one before, some anywhere
                    start = max(sum(pieces[-1]) + dice.choice((0, 0, 512, 4096, 40_000, -3000)), 0)
                    pieces.append((dice.choice((start, start, -1)), dice.choice((1, 512, 4096, 9000))))
                pieces = [piece for piece in pieces if sum(piece) <= len(model)]
                wanted = b"".join([bytes(size) if at < 0 else model[at : at + size] for at, size in pieces])
                assert cache.read_pieces(pieces) == wanted
            case 0 | 1:
                data = dice.randbytes(length)
                cache.write(offset, data)
                model[offset : offset + length] = data
            case 2:
                dice.choice((cache.order, cache.order, cache.write_back, cache.flush, cache.forget))()
            case _:
                assert cache.read(offset, length) == model[offset : offset + length]
    cache.flush()
    assert image.data == model
    assert cache.dirty_bytes == 0


def test_what_is_written_at_once_still_comes_before_what_is_ordered_after_it() -> None:
    image = FaultyImage(MemoryImage(4 * MIB))
    cache = BufferCache(ImageDevice(image))
    cache.write(MIB, bytes(MIB))
    cache.order()
    cache.write(0, b"commit")
    assert [entry.offset for entry in image.history] == [MIB], "large data goes to the device at once"
    cache.flush()
    assert [entry.offset if entry.data is not None else None for entry in image.history] == [MIB, None, 0, None]


def test_large_data_waits_for_what_is_ordered_before_it() -> None:
    image = FaultyImage(MemoryImage(4 * MIB))
    cache = BufferCache(ImageDevice(image))
    cache.write(0, b"first")
    cache.order()
    cache.write(MIB, bytes(MIB))
    assert image.history == []
    cache.flush()
    assert [entry.offset if entry.data is not None else None for entry in image.history] == [0, None, MIB, None]
