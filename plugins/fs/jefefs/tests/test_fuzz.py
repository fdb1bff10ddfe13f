"""Damage that the checksums do not show: they are made right again, so that what is behind them has to hold."""

from __future__ import annotations

import random
from functools import cache

import pytest
from jefeos.testing.fuzz import survive
from jefeos.testing.volumes import damage

from .tools import FORMAT, Seal, mount, new_image, require_clean, reseal, seals, volume_of

CASES = 90
LONG_CASES = 20_000


@cache
def something_of_everything() -> bytes:
    """Files of all kinds and sizes, two snapshots, dead blocks, an orphan; trees of several levels."""
    image = new_image(2 << 20)
    here = mount(image)
    vfs, actor = here.vfs, here.actor
    dice = random.Random(1)
    here.put(b"/inline", b"in the tree")
    here.put(b"/large", dice.randbytes(150_000))
    here.write(b"/large", 300_000, b"after a hole")
    vfs.mkdir(actor, b"/d", 0o755)
    for number in range(60):
        here.put(b"/d/some name that takes room %03d" % number, dice.randbytes(dice.choice((0, 10, 900))))
    vfs.symlink(actor, b"target " * 300, b"/link")
    vfs.link(actor, b"/large", b"/again")
    inode = vfs.resolve(actor, b"/inline").inode
    inode.set_xattr(b"user.long", dice.randbytes(3000), 0)
    vfs.mkdir(actor, b"/.snapshots/one", 0o755)
    here.write(b"/large", 4096, b"changed" * 3000)
    vfs.unlink(actor, b"/d/some name that takes room 007")
    vfs.mkdir(actor, b"/.snapshots/two", 0o755)
    here.put(b"/inline", b"other")
    orphan = vfs.open_file(actor, b"/d/some name that takes room 009", 2)
    vfs.unlink(actor, b"/d/some name that takes room 009")
    vfs.sync()
    require_clean(image)
    assert orphan.inode.nlink == 0
    return bytes(image.data)


@cache
def its_seals() -> list[Seal]:
    return seals(something_of_everything())


def damaged(seed: int) -> bytearray:
    """One or a few fields of structures overwritten, the checksums right."""
    whole = something_of_everything()
    ranges = [(seal.offset, seal.offset + _used(whole, seal)) for seal in its_seals()]
    contents = bytearray(whole)
    for piece in damage(len(whole), seed, ranges, most=2):
        contents[piece.offset : piece.offset + len(piece.data)] = piece.data
    reseal(contents, its_seals())
    return contents


def _used(whole: bytes, seal: Seal) -> int:
    return max(len(whole[seal.offset : seal.offset + seal.length].rstrip(b"\0")), 8)


def test_resealing_a_whole_volume_changes_nothing() -> None:
    contents = bytearray(something_of_everything())
    reseal(contents, its_seals())
    assert contents == something_of_everything()
    assert len(its_seals()) > 15


def test_damage_gets_past_the_checksums() -> None:
    told = [
        problem.what
        for seed in range(20)
        for problem in FORMAT.check(volume_of(damaged(seed)), repair=False, clock=None).problems
    ]
    assert len(told) > 10
    assert not [text for text in told if "checksum is wrong" in text and "node" in text]


def test_numbers_of_inodes_that_were_never_given_out() -> None:
    """Of the root too: fsck tells, and goes on with the names in it."""
    contents = bytearray(something_of_everything())
    place = 8 + 4 + 4 + 8 + 16 + 64 + 8 + 8 + 8  # of `next_ino` in the superblock
    for start in (0, 4096, len(contents) - 8192, len(contents) - 4096):
        contents[start + place : start + place + 8] = (1).to_bytes(8, "little")
    reseal(contents, its_seals())
    told = FORMAT.check(volume_of(contents), repair=False, clock=None).problems
    assert any("never given out" in problem.what for problem in told)
    survive(FORMAT, contents)


@pytest.mark.parametrize("part", range(3))
def test_sealed_damage(part: int) -> None:
    for seed in range(part * CASES // 3, (part + 1) * CASES // 3):
        survive(FORMAT, damaged(seed))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_sealed_damage_at_length() -> None:
    for seed in range(1000, 1000 + LONG_CASES):
        survive(FORMAT, damaged(seed))
