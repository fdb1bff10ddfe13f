"""Index blocks that are only searched: they find what decoded ones find, and damage to them is noticed on use."""

from __future__ import annotations

import random

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.testing.mounted import mounted
from jefeos.testing.volumes import TestClock, image_volume, make_volume
from jefeos.vfs.flags import O_CREAT, O_EXCL, O_WRONLY
from jefeos_fs_ntfs.directory import NtfsDirectory
from jefeos_fs_ntfs.format import NtfsFormat
from jefeos_fs_ntfs.index import Index
from jefeos_fs_ntfs.index_edit import remove
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


def test_a_name_within_a_longer_one_is_not_found(folder_image) -> None:
    """Not even one that stands there with its length and namespace ahead of it, as in its own entry."""
    with mounted(NtfsFormat(), image_volume(folder_image)) as here:
        here.vfs.mkdir(here.actor, b"/other", 0o755)
        for number in range(40):
            here.put(b"/other/%02d \x03xyz and a longer end" % number, b"")
        here.filesystem.sync()
    with mounted(NtfsFormat(), image_volume(folder_image)) as here:
        index = here.vfs.resolve(here.actor, b"/other").inode.index
        key_of = index.volume.collator.key
        assert index.lookup(key_of("07 \x03xyz and a longer end")) is not None
        assert index.packed and not index.nodes
        assert index.lookup(key_of("xyz")) is None
        assert index.lookup(key_of("\x03xyz and a longer end")) is None
        with pytest.raises(KernelError) as caught:
            here.vfs.stat(here.actor, b"/other/xyz")
        assert caught.value.errno == Errno.ENOENT


def test_what_was_found_last_leads_nowhere_else(folder_image) -> None:
    """Names come and go, near each other and far, and operations fail: a search that starts at the leaf of the one
    before finds what a search from the root finds."""
    dice = random.Random(6)
    names = [b"%s%03d" % (b"long name " * dice.randint(2, 9), number) for number in range(260)]
    there: set[bytes] = set()
    with mounted(NtfsFormat(), image_volume(folder_image)) as here:
        here.vfs.mkdir(here.actor, b"/near", 0o755)
        index = here.vfs.resolve(here.actor, b"/near").inode.index
        volume, near, shortcuts = index.volume, 0, 0

        def give_up() -> None:
            for name in (names * 2)[near : near + 90]:
                if name in there:
                    remove(index, volume.collator.key(name.decode()))
            raise KernelError(Errno.EIO)

        for turn in range(2500):
            near = (near + dice.choice((1, 1, 1, -1, dice.randrange(260)))) % len(names)
            name = names[near]
            if name in there and dice.random() < (0.3, 0.9)[turn // 500 % 2]:
                here.vfs.unlink(here.actor, b"/near/" + name)
                there.remove(name)
            elif name not in there:
                here.vfs.open_file(here.actor, b"/near/" + name, O_CREAT | O_EXCL | O_WRONLY, 0o644).unref()
                there.add(name)
            if not turn % 50:
                with pytest.raises(KernelError):
                    volume.run(give_up)
            for wanted in (names[(near + 1) % len(names)], name, names[near - 1], dice.choice(names)):
                key = volume.collator.key(wanted.decode())
                path, node, position, found = index.descend(key)
                shortcuts += index.finger is not None and index.finger.leaf is node
                entry = index.lookup(key)
                index.finger = None if dice.random() < 0.5 else index.finger
                finger, index.finger = index.finger, None
                assert (path, node, position, found) == index.descend(key)
                assert found == (wanted in there) == (entry is not None)
                index.finger = finger
        assert shortcuts > 1000
        assert len({id(node) for node in index.nodes.values()}) > 3
    assert not NtfsFormat().check(image_volume(folder_image), repair=False, clock=TestClock()).problems
