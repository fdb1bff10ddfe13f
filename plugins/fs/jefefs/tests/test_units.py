"""Checksums of units: extents that are cut, joined and written over inside of them, and what rots there."""

from __future__ import annotations

import random

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, O_CREAT, O_RDWR
from jefeos_fs_jefefs.checksum import SUM_BYTES, count_units, unit_sum, unit_sums

from .tools import mount, new_image, open_image, require_clean

BLOCK = 4096
UNIT = 4 * BLOCK
FILE_BYTES = 1 << 20


@pytest.mark.parametrize("first", range(9))
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5, 8, 11])
def test_units_are_pieces_of_the_file(first: int, blocks: int) -> None:
    data = random.Random(first * 100 + blocks).randbytes(blocks * BLOCK)
    sums = unit_sums(data, first, 4, BLOCK)
    assert len(sums) == count_units(first, first + blocks, 4) * SUM_BYTES
    expected = b""
    for unit in range(first // 4, (first + blocks - 1) // 4 + 1):
        start, end = max(unit * 4, first) - first, min(unit * 4 + 4, first + blocks) - first
        expected += unit_sum(data[start * BLOCK : end * BLOCK])
    assert sums == expected


def test_what_is_written_in_large_pieces_has_large_units() -> None:
    image = new_image()
    here = mount(image)
    here.put(b"/large", b"l" * FILE_BYTES)
    for number in range(40):
        here.vfs.open_file(here.actor, b"/small", O_CREAT | O_RDWR).pwrite(b"s" * BLOCK, number * BLOCK)
    here.vfs.sync()
    units = []
    for path in (b"/large", b"/small"):
        inode = here.vfs.resolve(here.actor, path).inode
        units.append({extent.unit for extent in inode.extents.overlapping(0, 1 << 20)})
    assert units == [{UNIT // BLOCK}, {1}]


@pytest.mark.parametrize("seed", range(6))
def test_random_changes_inside_of_units(seed: int) -> None:
    """Against bytes in memory, read back warm and from the medium, and fsck agrees."""
    dice = random.Random(seed)
    image = new_image(24 << 20)
    here = mount(image)
    model = bytearray(dice.randbytes(FILE_BYTES))
    here.put(b"/f", bytes(model))
    file = here.vfs.open_file(here.actor, b"/f", O_RDWR)
    for step in range(150):
        offset = dice.randrange(len(model) + 1)
        length = dice.choice((1, 100, BLOCK, 3 * BLOCK, UNIT, 70_000))
        if dice.random() < 0.7:
            offset -= offset % BLOCK
        kind = dice.randrange(10)
        if kind < 6:
            data = dice.randbytes(length)
            file.pwrite(data, offset)
            model[offset : offset + length] = data
        elif kind == 6:
            file.truncate(offset)
            del model[offset:]
        elif kind == 7:
            end = min(offset + length, len(model))
            mode = dice.choice((FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE)) | FALLOC_FL_KEEP_SIZE
            if offset < end:
                file.allocate(mode, offset, end - offset)
                model[offset:end] = bytes(end - offset)
        elif kind == 8:
            here.vfs.sync()
            if dice.random() < 0.3:
                here.vfs.mkdir(here.actor, b"/.snapshots/%d" % step, 0o755)
        else:
            file.inode.mapping.invalidate()
            assert file.pread(length, offset) == model[offset : offset + length]
    file.inode.mapping.invalidate()
    assert here.get(b"/f") == model
    file.unref()
    here.unmount()
    require_clean(image)
    assert mount(image).get(b"/f") == model


def test_what_shares_a_unit_with_rot_stays_an_error() -> None:
    """A block of the unit can be written over, and the file cut there; the rest of the unit is not known any more."""
    image = new_image()
    here = mount(image)
    contents = b"".join(bytes([number + 1]) * BLOCK for number in range(64))
    here.put(b"/f", contents)
    here.unmount()
    image.data[image.data.index(b"\x06" * BLOCK) + 1] ^= 1  # block 5, of the unit of 4 to 7
    here = mount(image)
    here.write(b"/f", 6 * BLOCK, b"n" * BLOCK)
    here.vfs.sync()
    here.write(b"/f", 6 * BLOCK, b"m" * BLOCK)  # once more, in a generation of its own
    here.unmount()
    here = mount(image)
    file = here.vfs.open_file(here.actor, b"/f", O_RDWR)
    assert file.pread(4 * BLOCK, 0) == contents[: 4 * BLOCK]
    for lost in (4, 5, 7):
        with pytest.raises(KernelError) as raised:
            file.pread(BLOCK, lost * BLOCK)
        assert raised.value.errno == Errno.EIO
    assert file.pread(BLOCK, 6 * BLOCK) == b"m" * BLOCK
    assert file.pread(100 * BLOCK, 8 * BLOCK) == contents[8 * BLOCK :]
    file.truncate(5 * BLOCK)
    with pytest.raises(KernelError):
        file.pread(BLOCK, 4 * BLOCK)
    file.truncate(4 * BLOCK)
    file.unref()
    here.unmount()
    require_clean(image)


def test_a_unit_is_read_once_by_who_reads_its_blocks() -> None:
    image = new_image()
    here = mount(image)
    here.put(b"/f", b"u" * FILE_BYTES)
    here.unmount()
    filesystem = open_image(image, writable=False)
    inode = filesystem.root.lookup(b"f")
    reads: list[int] = []
    volume = filesystem.store.volume
    for name in ("read", "read_once"):
        method = getattr(volume, name)
        setattr(volume, name, lambda offset, length, method=method: reads.append(length) or method(offset, length))
    for number in range(32):
        assert inode.read_at(number * BLOCK, BLOCK) == b"u" * BLOCK
    assert reads.count(UNIT) == 8
    assert sum(reads) <= 32 * BLOCK + 4 * BLOCK  # and nodes of the tree
