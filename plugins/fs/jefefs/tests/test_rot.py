"""Rot: whatever bit of the medium is another one, a read gives what was written, or EIO, or EUCLEAN; no wrong data."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.testing.suites import errno_of
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume
from jefeos.vfs.flags import S_IFDIR, S_IFMT, S_IFREG

from .test_fuzz import something_of_everything
from .tools import FORMAT, mount, new_image, require_clean

Result = TypeVar("Result")
FLIPS = 80
HONEST = (Errno.EIO, Errno.EUCLEAN)


@cache
def tree_and_snapshots() -> dict[bytes, tuple[int, bytes]]:
    here = mount(MemoryImage(something_of_everything()), writable=False)
    return {**here.tree(), **here.tree(b"/.snapshots")}


def honestly(call: Callable[[], Result]) -> Result | None:
    """What it returns; None if it fails as it should."""
    try:
        return call()
    except KernelError as error:
        if error.errno not in HONEST:
            raise
        return None


def look(image: MemoryImage) -> int:
    """Read everything; returns how much could not be read. What can be is as it was."""
    wanted = tree_and_snapshots()
    here = honestly(lambda: mount(image, writable=False))
    if here is None:
        return len(wanted)
    failed = 0
    pending = [b"", b"/.snapshots"]
    while pending:
        folder = pending.pop()
        entries = honestly(lambda: here.list(folder or b"/"))  # noqa: B023 (called at once)
        failed += entries is None
        for path in [folder + b"/" + entry.name for entry in entries or ()]:
            kind, contents = wanted[path]
            if kind == S_IFDIR:
                pending.append(path)
                continue
            found = honestly(lambda: here.get(path))  # noqa: B023
            about = honestly(lambda: here.vfs.stat(here.actor, path, follow=False))  # noqa: B023
            failed += found is None
            assert found in (None, contents), path
            assert about is None or about.mode & S_IFMT == kind
    return failed


def flip(offset: int, bit: int) -> tuple[int, bool]:
    """What could not be read with one bit flipped, and whether fsck saw it."""
    contents = bytearray(something_of_everything())
    contents[offset] ^= 1 << bit
    image = MemoryImage(contents)
    failed = look(image)
    report = FORMAT.check(image_volume(image), repair=False, clock=TestClock())
    assert failed == 0 or report.problems, offset
    return failed, bool(report.problems or report.notes)


def used_bytes() -> list[int]:
    whole = something_of_everything()
    return [offset for offset in range(0, len(whole), 7) if whole[offset]]


def test_nothing_is_wrong_without_rot() -> None:
    assert look(MemoryImage(something_of_everything())) == 0


@pytest.mark.parametrize("seed", [1])
def test_a_flipped_bit_anywhere(seed: int) -> None:
    lose_bits(seed, FLIPS)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(10, 14))
def test_a_flipped_bit_anywhere_at_length(seed: int) -> None:
    lose_bits(seed, 5000)


def lose_bits(seed: int, count: int) -> None:
    dice = random.Random(seed)
    places = used_bytes()
    told = [flip(dice.choice(places), dice.randrange(8)) for _ in range(count)]
    assert sum(failed > 0 for failed, _ in told) > count // 10  # the medium is in use: most of it matters
    assert sum(seen for _, seen in told) > count // 4


def test_a_write_that_went_elsewhere_is_noticed() -> None:
    """Blocks with good contents, but not those that belong there: checksums beside the data would be right."""
    image = new_image()
    here = mount(image)
    here.put(b"/f", b"first".ljust(4096, b"1"))
    here.put(b"/g", b"other".ljust(4096, b"2"))
    here.unmount()
    first, other = image.data.index(b"first1"), image.data.index(b"other2")
    image.data[first : first + 4096] = image.data[other : other + 4096]
    again = mount(image)
    assert errno_of(lambda: again.get(b"/f")) == Errno.EIO
    assert again.get(b"/g") == b"other".ljust(4096, b"2")


def test_a_write_that_never_came_is_noticed() -> None:
    image = new_image()
    here = mount(image)
    here.put(b"/f", b"old".ljust(8192, b"1"))
    here.vfs.sync()
    before = bytes(image.data)
    here.put(b"/f", b"new".ljust(8192, b"2"))
    here.unmount()
    place = image.data.index(b"new2") // 4096 * 4096
    image.data[place : place + 4096] = before[place : place + 4096]
    assert errno_of(lambda: mount(image).get(b"/f")) == Errno.EIO


def test_rotten_blocks_can_be_written_over_and_deleted() -> None:
    image = new_image()
    here = mount(image)
    here.put(b"/f", b"data".ljust(20_000, b"d"))
    here.unmount()
    image.data[image.data.index(b"datad")] ^= 1
    here = mount(image)
    assert errno_of(lambda: here.get(b"/f")) == Errno.EIO
    assert errno_of(lambda: here.write(b"/f", 10, b"x")) == Errno.EIO  # the rest of the block is not known
    here.write(b"/f", 0, b"n" * 4096)
    assert here.get(b"/f") == b"n" * 4096 + b"d" * (20_000 - 4096)
    here.vfs.unlink(here.actor, b"/f")
    here.unmount()
    require_clean(image)


@pytest.mark.parametrize("lost", [(0,), (1,), (0, 1), (2,), (3,), (2, 3)])
def test_lost_superblocks(lost: tuple[int, ...]) -> None:
    """Both copies at one end, or either at both: what was synced is there."""
    image = new_image()
    here = mount(image)
    here.put(b"/f", b"contents")
    here.unmount()
    places = (0, 4096, image.size_bytes - 8192, image.size_bytes - 4096)
    for number in lost:
        image.data[places[number] : places[number] + 4096] = bytes(4096)
    assert FORMAT.recognise(image_volume(image))
    again = mount(image)
    assert again.tree() == {b"/f": (S_IFREG, b"contents")}
    again.put(b"/f", b"more")
    again.unmount()
    require_clean(image)
    assert mount(image).get(b"/f") == b"more"
