"""Both directions with the NTFS of others: what we write they read, and what they write we read.

Volumes by mkntfs and by our own mkfs, with small and large clusters. A random workload is done to the volume by one
side; then the other side, and 7-Zip, Sleuth Kit and dissect, have to see the same names, contents and times, and
ntfsfix and our fsck nothing wrong. The short version runs always, the one with 20,000 files with ``--long``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from jefeos.testing.mounted import Mounted
from jefeos.testing.operations import Abilities, Held, Model, everyday, perform
from jefeos.testing.volumes import TestClock
from jefeos.vfs.flags import S_IFDIR, S_IFREG

from .ntfs_images import fsck, ours
from .ntfs_readers import (
    Tool,
    Tree,
    check_with_others,
    our_times,
    seen_in,
    sparse_files,
    without_links,
)

MIB = 1 << 20
CLUSTERS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
SHORT = [("make_image", 4096), ("make_foreign", 512), ("make_foreign", 65536)]
MANY = 20_000
DEEPEST = 40
"""Folders below each other: a mount looks up each of them for every call with a path."""
CLOCK_STEP_NS = 1_234_567_800
ImageMaker = Callable[..., Path]
Mount = Callable[..., AbstractContextManager[Path]]

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]


def we_write_they_read(
    image: Path, work: Callable[[Mounted], Tree], ntfs_3g: Mount, tool: Tool, scratch: Path
) -> None:
    """``work`` changes the volume and gives what ought to be there."""
    with ours(image, clock=TestClock(step_ns=CLOCK_STEP_NS)) as here:
        tree = work(here)
        times = our_times(here, tree)
    with ours(image, writable=False) as here:
        assert here.tree() == tree
        assert our_times(here, tree) == times
        sparse = sparse_files(here, tree)
    check_with_others(image, tree, times, sparse, tool, scratch)
    plain = without_links(tree)
    with ntfs_3g(image) as folder:
        found, seen = seen_in(folder)
    assert without_links(found) == plain
    assert {path: seen[path] for path in plain} == {path: times[path] for path in plain}


def they_write_we_read(image: Path, seed: int, files: int, ntfs_3g: Mount, *, divisor: int = 1) -> Tree:
    """Gives what is there afterwards."""
    with ntfs_3g(image) as folder:
        their_work(folder, seed, files, divisor)
        tree, times = seen_in(folder)
    assert fsck(image) == []
    with ours(image, writable=False) as here:
        assert here.tree() == tree
        assert our_times(here, tree) == times
    return tree


def their_work(folder: Path, seed: int, count: int, divisor: int) -> None:
    """A workload through the host's system calls, until so many files have been made. ``divisor``: of all sizes."""
    dice = random.Random(seed)
    files: list[Path] = []
    folders = [folder]
    number = made = 0
    while made < count:
        number += 1
        kind = dice.random()
        if kind < 0.1:
            above = dice.choice(folders[-8:])
            folders.append((above if len(above.parts) < DEEPEST else folder) / f"Ordner {number} äöü")
            folders[-1].mkdir()
        elif kind < 0.6 or not files:
            files.append(dice.choice(folders) / f"{'x' * dice.randrange(80)} file {number} ☃😀")
            files[-1].write_bytes(dice.randbytes(int(1.3 ** dice.randrange(46) / divisor)))
            made += 1
        elif kind < 0.72:
            with dice.choice(files).open("ab") as file:
                file.write(dice.randbytes(dice.randrange(30000) // divisor))
        elif kind < 0.78:
            os.truncate(dice.choice(files), dice.randrange(50000) // divisor)
        elif kind < 0.86:
            index = dice.randrange(len(files))
            files[index] = files[index].rename(dice.choice(folders) / f"Renamed {number}")
        elif kind < 0.9:
            files.append(dice.choice(folders) / f"link {number}")
            files[-1].hardlink_to(dice.choice(files[:-1]))
        elif kind < 0.92:
            with (folder / f"sparse {number}").open("wb") as file:
                file.seek(dice.randrange(MIB) // divisor)
                file.write(b"end")
        else:
            files.pop(dice.randrange(len(files))).unlink()


def our_work(here: Mounted, seed: int, count: int) -> Tree:
    """Deep and flat folders with so many files, renamed, deleted, grown and cut at random."""
    dice = random.Random(seed)
    tree: Tree = {}
    folders = [b""]
    for depth in range(60):
        folders.append(folders[-1] + b"/deep %d" % depth)
    folders += [b"/flat", *[b"/many %d" % number for number in range(30)]]
    for path in folders[1:]:
        here.vfs.mkdir(here.actor, path, 0o755)
        tree[path] = S_IFDIR, b""
    for number in range(count):
        place = b"/flat" if number % 2 else dice.choice(folders)
        path = place + b"/%s %d" % (b"name" * dice.randrange(1, 12), number)
        data = dice.randbytes(dice.randrange(1500))
        here.put(path, data)
        tree[path] = S_IFREG, data
    files = [path for path, (kind, _) in tree.items() if kind == S_IFREG]
    dice.shuffle(files)
    removed, moved, grown, cut = (files[part * count // 8 : (part + 1) * count // 8] for part in range(4))
    for path in removed:
        here.vfs.unlink(here.actor, path)
        del tree[path]
    for path in moved:
        other = dice.choice(folders) + b"/moved " + path.rsplit(b"/", 1)[1]
        here.vfs.rename(here.actor, path, other)
        tree[other] = tree.pop(path)
    for path in grown:
        before, more = tree[path][1], dice.randbytes(dice.randrange(9000))
        here.write(path, len(before), more)
        tree[path] = S_IFREG, before + more
    for path in cut:
        size = dice.randrange(len(tree[path][1]) + 1)
        here.vfs.truncate(here.actor, path, size)
        tree[path] = S_IFREG, tree[path][1][:size]
    return tree


def everyday_work(here: Mounted, seed: int) -> Tree:
    """A little of everything, links of both kinds and files without a name among it."""
    model, held = Model(), Held()
    for operation in everyday(model, random.Random(seed), 150, Abilities()):
        perform(operation, here, held)
        model.apply(operation)
    held.close()
    return model.tree()


@pytest.mark.parametrize(("maker", "cluster_bytes"), SHORT)
def test_what_we_write_others_read(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount, tool: Tool, tmp_path: Path
) -> None:
    image: Path = request.getfixturevalue(maker)(48 * MIB, cluster_bytes)
    we_write_they_read(image, lambda here: everyday_work(here, cluster_bytes), ntfs_3g, tool, tmp_path)


@pytest.mark.parametrize(("maker", "cluster_bytes"), SHORT)
def test_what_others_write_we_read_and_go_on_with(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount, tool: Tool, tmp_path: Path
) -> None:
    image: Path = request.getfixturevalue(maker)(64 * MIB, cluster_bytes)
    tree = they_write_we_read(image, cluster_bytes, 80, ntfs_3g)
    dice = random.Random(7)
    files = sorted(path for path, (kind, _) in tree.items() if kind == S_IFREG)

    def go_on(here: Mounted) -> Tree:
        removed = set(dice.sample(files, len(files) // 3))
        for path in removed:
            here.vfs.unlink(here.actor, path)
        left = [path for path in files if path not in removed]
        for path in dice.sample(left, len(files) // 3):
            here.write(path, len(here.get(path)), b"from JefeOS" * dice.randrange(1, 500))
        here.put(b"/new", b"new")
        return here.tree()

    we_write_they_read(image, go_on, ntfs_3g, tool, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster_bytes", CLUSTERS)
@pytest.mark.parametrize("maker", ["make_image", "make_foreign"])
def test_twenty_thousand_files(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount, tool: Tool, tmp_path: Path
) -> None:
    image: Path = request.getfixturevalue(maker)(900 * MIB if cluster_bytes > 16384 else 300 * MIB, cluster_bytes)
    we_write_they_read(image, lambda here: our_work(here, cluster_bytes, MANY), ntfs_3g, tool, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster_bytes", CLUSTERS)
@pytest.mark.parametrize("maker", ["make_image", "make_foreign"])
def test_twenty_thousand_files_of_ntfs_3g(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount
) -> None:
    image: Path = request.getfixturevalue(maker)(2000 * MIB, cluster_bytes)
    they_write_we_read(image, cluster_bytes, MANY, ntfs_3g, divisor=8)
