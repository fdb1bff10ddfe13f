"""The disk with faults: what it may do to whom, and that a seed repeats it."""

from __future__ import annotations

from pathlib import Path

import pytest
from jefeos.block.faults import FLUSH, FaultyImage, Stuck, Written
from jefeos.block.image import SECTOR_BYTES, create_image, open_image
from jefeos.errors import KernelError

SECTORS = 64


def disk(tmp_path: Path, seed: int = 0, *, volatile_cache: bool = False) -> FaultyImage:
    path = tmp_path / f"disk-{seed}-{volatile_cache}"
    path.unlink(missing_ok=True)
    create_image(str(path), SECTORS * SECTOR_BYTES)
    return FaultyImage(open_image(str(path)), seed, volatile_cache=volatile_cache)


def read(image: FaultyImage, sector: int, count: int = 1) -> bytes:
    buffer = bytearray(count * SECTOR_BYTES)
    image.read_into(sector * SECTOR_BYTES, memoryview(buffer))
    return bytes(buffer)


def block(value: int, count: int = 1) -> bytes:
    return bytes([value]) * (count * SECTOR_BYTES)


def test_a_bad_sector_fails_reads_until_it_is_written(tmp_path: Path) -> None:
    image = disk(tmp_path)
    image.bad_sectors = {5}
    assert read(image, 4) == read(image, 6) == block(0)
    with pytest.raises(KernelError, match="sector 5 cannot be read"):
        read(image, 4, 3)
    image.write(5 * SECTOR_BYTES, block(1))
    assert read(image, 5) == block(1)
    image.stuck = True
    with pytest.raises(Stuck):
        read(image, 0)
    image.close()


def test_what_is_not_flushed_is_read_back_but_not_on_the_medium(tmp_path: Path) -> None:
    image = disk(tmp_path, volatile_cache=True)
    image.write(0, block(1, 4))
    image.write(2 * SECTOR_BYTES, block(2))
    assert read(image, 0, 5) == block(1, 2) + block(2) + block(1) + block(0)
    medium = bytearray(SECTOR_BYTES)
    image.image.read_into(0, memoryview(medium))
    assert not any(medium)
    image.flush()
    image.power_off()
    assert read(image, 0, 4) == block(1, 2) + block(2) + block(1)
    assert image.history == [Written(0, block(1, 4)), Written(2 * SECTOR_BYTES, block(2)), FLUSH]
    image.close()


def test_a_loss_of_power_keeps_any_subset_and_tears_one_write(tmp_path: Path) -> None:
    """Over many seeds each write is lost or kept, sectors of one write part ways, and all of it repeats."""
    outcomes = []
    torn = False
    for seed in [*range(200), *range(200)]:
        image = disk(tmp_path, seed, volatile_cache=True)
        image.write(0, block(9, 2))
        image.flush()
        for number in range(4):
            image.write((2 + 4 * number) * SECTOR_BYTES, block(number + 1, 4))
        assert image.power_off() == 4
        assert read(image, 0, 2) == block(9, 2), "what was flushed is lost"
        after = read(image, 2, 16)
        kept = tuple(after[index * SECTOR_BYTES] != 0 for index in range(16))
        torn = torn or any(len(set(kept[start : start + 4])) == 2 for start in (0, 4, 8, 12))
        outcomes.append(kept)
        image.close()
    assert outcomes[:200] == outcomes[200:]
    assert torn
    for index in range(16):
        assert {outcome[index] for outcome in outcomes} == {True, False}
