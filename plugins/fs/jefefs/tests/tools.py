"""What the tests of JefeFS share: volumes in memory, and making the checksums of a damaged volume right again."""

from __future__ import annotations

import random
from collections.abc import Iterator

from attrs import define
from jefeos.block.cache import BufferCache
from jefeos.block.volume import FormatOptions
from jefeos.testing.mounted import Mounted
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume, make_volume, new_page_cache
from jefeos_fs_jefefs.checksum import SUM_BYTES, checksum_of
from jefeos_fs_jefefs.filesystem import JefeFilesystem
from jefeos_fs_jefefs.format import JefeFormat
from jefeos_fs_jefefs.layout import (
    FILE_TREE,
    INDEX_ENTRY,
    INDEX_REFERENCE,
    NODE_HEADER,
    POINTER,
    SLOT_NONE,
    SUPERBLOCK_BYTES,
    VOLUME_TREE,
    Root,
    Superblock,
)
from jefeos_fs_jefefs.nodes import Pointer
from jefeos_fs_jefefs.store import Store, open_store

FORMAT = JefeFormat()
CHECKSUM_OFFSET = 16
"""Of the checksum in a pointer, and in a root: after address and birth."""


def new_image(size_bytes: int = 8 << 20, block_bytes: int | None = None) -> MemoryImage:
    return make_volume(
        FORMAT, size_bytes, FormatOptions(cluster_bytes=block_bytes, entropy=random.Random(1).randbytes)
    )


def open_image(image: MemoryImage, clock: TestClock | None = None, *, writable: bool = True) -> JefeFilesystem:
    return FORMAT.open(
        image_volume(image), writable=writable, page_cache=new_page_cache(4 << 20), clock=clock or TestClock()
    )


def mount(image: MemoryImage, clock: TestClock | None = None, *, writable: bool = True) -> Mounted:
    return Mounted.of(open_image(image, clock, writable=writable))


def require_clean(image: MemoryImage) -> None:
    problems = FORMAT.check(image_volume(image), repair=False, clock=TestClock()).problems
    assert problems == (), problems[:5]


@define
class Seal:
    """A checksum: of ``length`` bytes at ``offset``, kept at ``place``."""

    offset: int
    length: int
    place: int


def seals(contents: bytes) -> list[Seal]:
    """Every checksum of a healthy volume but those of data, each after those inside of what it covers."""
    store = open_store(image_volume(MemoryImage(contents)), None)
    geometry, superblock = store.geometry, store.superblock
    size = geometry.block_bytes
    found: list[Seal] = []
    roots = [(geometry.superblock_offsets(superblock.generation), tree) for tree in (FILE_TREE, VOLUME_TREE)]
    for offsets, tree in roots:
        root = superblock.files if tree == FILE_TREE else superblock.volume
        packed = root.pack()
        for offset in offsets:
            place = contents.index(packed, offset) + CHECKSUM_OFFSET
            found += _tree_seals(store, (root.address, root.birth, root.checksum), root.level, tree, place, contents)
    space = store.space
    for group, slot in enumerate(space.slots):
        if slot != SLOT_NONE:
            number, index = divmod(group, geometry.entries_per_index)
            place = geometry.index_block(number, space.index_slots[number]) * size + index * INDEX_ENTRY.size
            found.append(Seal(geometry.bitmap_block(group, slot) * size, size, place))
    for number, slot in enumerate(space.index_slots):
        for offset in geometry.superblock_offsets(superblock.generation):
            place = offset + Superblock.size + number * INDEX_REFERENCE.size
            found.append(Seal(geometry.index_block(number, slot) * size, size, place))
    for offset in geometry.superblock_offsets(superblock.generation):
        found.append(Seal(offset, SUPERBLOCK_BYTES - SUM_BYTES, offset + SUPERBLOCK_BYTES - SUM_BYTES))
    return found


def _tree_seals(
    store: Store, pointer: Pointer, level: int, tree: int, place: int, contents: bytes
) -> Iterator[Seal]:
    node = store.nodes.get(pointer, level, tree)
    size = store.geometry.block_bytes
    start = node.address * size
    if level:
        pointers = start + NODE_HEADER.size + 2 * len(node.keys) + sum(map(len, node.keys))
        for index, child in enumerate(node.values):
            at = pointers + index * POINTER.size
            assert POINTER.unpack_from(contents, at) == child
            yield from _tree_seals(store, child, level - 1, tree, at + CHECKSUM_OFFSET, contents)
    elif tree == VOLUME_TREE:
        for value in node.values:
            if len(value) > Root.size + 16:  # a snapshot: its root is in its record
                root = Root.parse(value, 16)
                at = contents.index(value, start) + 16 + CHECKSUM_OFFSET
                snapshot_root = (root.address, root.birth, root.checksum)
                yield from _tree_seals(store, snapshot_root, root.level, FILE_TREE, at, contents)
    yield Seal(start, size, place)


def reseal(contents: bytearray, all_seals: list[Seal]) -> None:
    """Make the checksums right again after a change, so that it gets past them."""
    for seal in all_seals:
        checksum = checksum_of(memoryview(contents)[seal.offset : seal.offset + seal.length])
        contents[seal.place : seal.place + SUM_BYTES] = checksum.to_bytes(SUM_BYTES, "little")


def volume_of(contents: bytes | bytearray) -> BufferCache:
    return image_volume(MemoryImage(contents))
