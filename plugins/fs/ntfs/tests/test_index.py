"""Index blocks that are only searched: they find what decoded ones find, and damage to them is noticed on use."""

from __future__ import annotations

import random

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.errors import CorruptError
from jefeos.testing.mounted import mounted
from jefeos.testing.volumes import image_volume, make_volume
from jefeos.vfs.flags import O_CREAT, O_WRONLY
from jefeos_fs_ntfs.directory import NtfsDirectory
from jefeos_fs_ntfs.format import NtfsFormat
from jefeos_fs_ntfs.index import Index
from jefeos_fs_ntfs.index_node import PackedNode
from jefeos_fs_ntfs.names import from_bytes

# Names that are ends, beginnings and repetitions of each other, of every length, in and out of ASCII.
NAMES = sorted(
    {b"a" * length for length in range(1, 120)}
    | {b"b" + b"a" * length for length in range(1, 60)}
    | {b"%s%d" % (word, number) for word in (b"A", b"aa", b"Za", "ä".encode(), "日本".encode()) for number in range(60)}
)


@pytest.fixture(scope="module")
def folder_image():
    image = make_volume(NtfsFormat(), 8 << 20, FormatOptions())
    dice = random.Random(5)
    with mounted(NtfsFormat(), image_volume(image)) as here:
        here.vfs.mkdir(here.actor, b"/d", 0o755)
        for name in dice.sample(NAMES, len(NAMES)):
            here.vfs.open_file(here.actor, b"/d/" + name, O_CREAT | O_WRONLY, 0o644).unref()
    return image


def index_of(here) -> Index:
    folder = here.vfs.resolve(here.actor, b"/d").inode
    assert isinstance(folder, NtfsDirectory)
    return folder.index


def test_searching_finds_what_walking_finds(folder_image) -> None:
    with mounted(NtfsFormat(), image_volume(folder_image), writable=False) as here:
        index = index_of(here)
        key_of = index.volume.collator.key
        dice = random.Random(1)
        missing = [name + b"_" for name in NAMES] + [name[:-1] + b"!" for name in NAMES] + [b"z", b"\x01", b"a" * 200]
        wanted = [from_bytes(name) for name in NAMES]
        for turn in range(30):  # more than it takes until blocks are decoded
            found = {name: index.lookup(key_of(name)) for name in dice.sample(wanted, len(wanted) if not turn else 40)}
            assert None not in found.values()
            assert all(index.lookup(key_of(from_bytes(name))) is None for name in dice.sample(missing, 40))
            if not turn:
                assert index.packed, "nothing was searched in packed blocks"
                first = found
            assert all(first[name] == entry for name, entry in found.items())
        assert index.nodes
        assert {name: entry for (_, name), entry in index.walk()} == first
        assert sorted(first) == sorted(wanted)


def test_a_damaged_block_gives_an_entry_or_corrupt(folder_image) -> None:
    """Random bytes anywhere in a block: no other exception, and no entry from outside of it."""
    with mounted(NtfsFormat(), image_volume(folder_image), writable=False) as here:
        index = index_of(here)
        index.lookup(index.volume.collator.key("aaaaaaa"))
        leaf = next(node for node in index.packed.values() if node.is_leaf)
        data, key_of = leaf.data, index.volume.collator.key
        dice = random.Random(2)
        outcomes = set()
        for _ in range(3000):
            damaged = bytearray(data)
            for _ in range(dice.randint(1, 3)):
                damaged[dice.randrange(24, len(damaged) if dice.random() < 0.5 else 400)] = dice.choice((0, 1, 8, 255))
            name = dice.choice(("aaaaaaa", "a", "A7", "nothing"))
            try:
                node = PackedNode(index, bytes(damaged), 24)
                if dice.random() < 0.5:
                    node.is_leaf = False
                _, entry = node.search(key_of(name))
            except CorruptError:
                outcomes.add("corrupt")
                continue
            outcomes.add("missing" if entry is None else "found")
            assert entry is None or 16 <= len(entry) == int.from_bytes(entry[8:10], "little") <= len(data)
        assert outcomes == {"corrupt", "missing", "found"}
