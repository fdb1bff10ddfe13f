"""Large directories and files: the cost of a step grows as a logarithm, if at all."""

from __future__ import annotations

import random
import time

import pytest
from jefeos.testing.volumes import TestClock, memory_volume
from jefeos.vfs.flags import S_IFDIR, S_IFREG
from jefeos.vfs.inode import Inode
from jefeos_fs_jefefs.filesystem import JefeFilesystem
from jefeos_fs_jefefs.nodes import NodeCache

from .tools import FORMAT, FormatOptions


def new_filesystem(size_bytes: int) -> JefeFilesystem:
    volume, clock = memory_volume(size_bytes), TestClock()
    FORMAT.make(volume, FormatOptions(), clock)
    return FORMAT.open(volume, writable=True, page_cache=None, clock=clock)


def name_of(number: int) -> bytes:
    return b"file %d" % (number * 7919 % 10_000_019)


def populate(filesystem: JefeFilesystem, name: bytes, count: int) -> Inode:
    folder = filesystem.root.mkdir(name, S_IFDIR | 0o755, 0, 0)
    for number in range(count):
        folder.create(name_of(number), S_IFREG | 0o644, 0, 0)
    filesystem.sync()
    return folder


def nodes_read(filesystem: JefeFilesystem, folder: Inode, count: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Nodes that a lookup reads from the medium at the most, with nothing in memory."""
    loaded = 0
    load = NodeCache._load

    def counted(*arguments: object) -> object:
        nonlocal loaded
        loaded += 1
        return load(*arguments)  # type: ignore[arg-type]

    most = 0
    dice = random.Random(1)
    with monkeypatch.context() as patch:
        patch.setattr(NodeCache, "_load", counted)
        for _ in range(30):
            filesystem.store.nodes.nodes.clear()
            loaded = 0
            assert folder.lookup(name_of(dice.randrange(count))).is_regular
            most = max(most, loaded)
    return most


def test_lookup_grows_as_a_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem = new_filesystem(64 << 20)
    cost = {}
    for count in (100, 1000, 10_000):
        folder = populate(filesystem, b"%d" % count, count)
        cost[count] = nodes_read(filesystem, folder, count, monkeypatch)
    levels = filesystem.tree.level + 1
    assert levels <= 4
    assert max(cost.values()) <= 2 * levels  # the entry, and the inode it leads to


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_names(monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem = new_filesystem(500 << 20)
    microseconds = {}
    for count in (1000, 10_000, 100_000, 1_000_000):
        folder = populate(filesystem, b"%d" % count, count)
        assert nodes_read(filesystem, folder, count, monkeypatch) <= 8
        numbers = random.Random(1).sample(range(count), 1000)
        started = time.perf_counter()
        for number in numbers:
            folder.lookup(name_of(number))
        microseconds[count] = (time.perf_counter() - started) * 1000
    print(microseconds)
    listed = [entry.name for entry in folder.readdir()]
    assert len(set(listed)) == len(listed) == 1_000_000
    for number in range(0, 1_000_000, 1000):
        inode = folder.lookup(name_of(number))
        folder.unlink(name_of(number))
        inode.evict()
    filesystem.sync()
    assert len(list(folder.readdir())) == 999_000


def test_a_file_of_many_extents() -> None:
    """Written backwards, so that no two blocks are neighbours: reading, cutting and deleting stay cheap."""
    filesystem = new_filesystem(64 << 20)
    free = filesystem.statfs().blocks_free
    file = filesystem.root.create(b"f", S_IFREG | 0o644, 0, 0)
    for number in reversed(range(0, 6000, 2)):
        file.write_at(number * 4096, bytes([number % 255 + 1]) * 4096)
        file.size = max(file.size, (number + 1) * 4096)
    filesystem.sync()
    assert file.read_at(4000 * 4096, 4096) == bytes([4000 % 255 + 1]) * 4096
    assert (file.next_data(4097, file.size), file.next_hole(8192, file.size)) == (8192, 12288)
    file.truncate(8 * 4096)
    assert file.blocks == 4 * 8
    file.size = 8 * 4096
    filesystem.root.unlink(b"f")
    file.evict()
    filesystem.sync()
    assert free - filesystem.statfs().blocks_free <= 1
