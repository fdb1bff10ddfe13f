"""A full volume, over and over: nothing breaks, nothing is half done, and it can always be emptied again."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from jefeos.errors import Errno
from jefeos.testing.mounted import Mounted
from jefeos.testing.suites import errno_of
from jefeos.vfs.flags import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_CREAT, O_RDWR

from .tools import mount, new_image, require_clean

STEPS = 250
EXPECTED = (None, Errno.ENOSPC, Errno.ENOENT, Errno.EEXIST, Errno.ENOTEMPTY, Errno.ENODATA, Errno.EISDIR)


def some_change(here: Mounted, dice: random.Random) -> Callable[[], object]:
    vfs, actor = here.vfs, here.actor
    path = b"/f%d" % dice.randrange(12)
    folder = b"/d%d" % dice.randrange(3)
    snapshot = b"/.snapshots/s%d" % dice.randrange(3)
    small, large = dice.randbytes(dice.randrange(3000)), dice.randbytes(dice.randrange(300_000))
    offset = dice.randrange(200_000)

    def punch() -> None:
        file = vfs.open_file(actor, path, O_RDWR | O_CREAT, 0o600)
        try:
            file.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len(large) + 1)
        finally:
            file.unref()

    changes: list[Callable[[], object]] = [
        lambda: here.put(path, large),
        lambda: here.put(path, small),
        lambda: here.put(folder + path, small),
        lambda: here.write(path, offset, large),
        lambda: here.write(path, offset, small),
        lambda: vfs.truncate(actor, path, offset),
        lambda: vfs.unlink(actor, path),
        lambda: vfs.mkdir(actor, folder, 0o755),
        lambda: vfs.rename(actor, path, b"/g"),
        lambda: vfs.link(actor, path, folder + b"/link"),
        lambda: vfs.resolve(actor, path).inode.set_xattr(b"user.x", small, 0),
        lambda: vfs.symlink(actor, b"t/" * 1500, path),
        punch,
        vfs.sync,
    ]
    rare: list[Callable[[], object]] = [lambda: vfs.mkdir(actor, snapshot, 0o755), lambda: vfs.rmdir(actor, snapshot)]
    return dice.choice(rare if dice.random() < 0.04 else changes)


def fill_at_random(seed: int, steps: int) -> None:
    dice = random.Random(seed)
    image = new_image(dice.choice((1024, 1152, 1280)) << 10)
    here = mount(image)
    before = here.vfs.statfs(here.actor, b"/").blocks_free
    full = 0
    for step in range(steps):
        error = errno_of(some_change(here, dice))
        assert error in EXPECTED, (seed, step, error)
        full += error == Errno.ENOSPC
        assert not here.filesystem.store.failure
        if step % 50 == 49:
            tree = here.tree()
            here.unmount()
            require_clean(image)
            here = mount(image)
            assert here.tree() == tree
    assert full > steps // 50
    for entry in here.list(b"/.snapshots"):
        here.vfs.rmdir(here.actor, b"/.snapshots/" + entry.name)
    here.clear()
    here.unmount()
    require_clean(image)
    assert before - mount(image).vfs.statfs(here.actor, b"/").blocks_free <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_full_volume_at_random(seed: int) -> None:
    fill_at_random(seed, STEPS)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 140))
def test_a_full_volume_at_random_at_length(seed: int) -> None:
    fill_at_random(seed, 1500)


def test_a_full_volume_of_small_files_is_emptied_one_by_one() -> None:
    image = new_image(2 << 20)
    here = mount(image)
    count = 0
    while errno_of(lambda: here.put(b"/small file %06d" % count, b"x" * 500)) is None:  # noqa: B023
        count += 1
    assert count > 1000
    here.unmount()
    require_clean(image)
    here = mount(image)
    names = [entry.name for entry in here.list(b"/")]
    random.Random(1).shuffle(names)
    for name in names:
        here.vfs.unlink(here.actor, b"/" + name)
    assert here.tree() == {}
    here.unmount()
    require_clean(image)


def test_a_fragmented_volume_still_takes_large_files() -> None:
    """Every other block free: a file that fills them has as many extents, and can be read, cut and deleted."""
    image = new_image(8 << 20)
    here = mount(image)
    vfs, actor = here.vfs, here.actor
    here.put(b"/f", b"")
    for number in range(1200):
        here.write(b"/f", number * 4096, bytes([number % 251 + 1]) * 4096)
    vfs.sync()
    file = vfs.open_file(actor, b"/f", O_RDWR)
    for number in range(0, 1200, 2):
        file.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, number * 4096, 4096)
    vfs.sync()
    room = vfs.statfs(actor, b"/").blocks_available - 60
    contents = random.Random(1).randbytes(room * 4096)
    here.put(b"/g", contents)
    assert here.get(b"/g") == contents
    vfs.truncate(actor, b"/g", 1_000_000)
    assert here.get(b"/g") == contents[:1_000_000]
    vfs.unlink(actor, b"/g")
    assert here.get(b"/f")[4096:8192] == bytes([2]) * 4096
    file.unref()
    here.unmount()
    require_clean(image)


def test_statfs_tells_what_can_be_written() -> None:
    image = new_image(8 << 20)
    here = mount(image)
    available = here.vfs.statfs(here.actor, b"/").blocks_available
    here.put(b"/f", bytes(4096) * (available * 95 // 100))
    assert here.vfs.statfs(here.actor, b"/").blocks_available <= available * 6 // 100
