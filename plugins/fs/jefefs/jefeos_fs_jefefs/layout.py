"""What is on the medium: structures, keys and constants, in the order in which README.md specifies them.

All integers are little endian, but for those inside of keys, which are big endian so that keys sort as bytes.
Declarations and the arithmetic of places only; who reads and writes them is elsewhere.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import field, frozen
from jefeos.errors import CorruptError
from jefeos.structs import Struct, nested, raw, s64, u8, u16, u32, u64

from jefeos_fs_jefefs.checksum import SUM_BYTES

MAGIC: Final = b"JefeFS\r\n"
VERSION: Final = 2
"""1 had CRC-32, of each block."""

SUPERBLOCK_BYTES: Final = 4096
SUPERBLOCK_SLOTS: Final = 2
"""Copies at each end of the volume: one for odd generations, one for even ones."""

BLOCK_BYTES_DEFAULT: Final = 4096
BLOCK_BYTES_ALLOWED: Final = (4096, 8192, 16384, 32768, 65536)
BLOCKS_LEAST: Final = 256
UNIT_BYTES: Final = 16384
"""What one checksum covers of data that is written in pieces of `LARGE_BYTES` or more."""
LARGE_BYTES: Final = 65536
ROOT_INO: Final = 1
LEVELS_MOST: Final = 16


class Root(Struct):
    """Where the root node of a tree is."""

    address: int = u64()
    birth: int = u64()
    checksum: int = u64()
    level: int = u32()


class Superblock(Struct):
    """The one place from which everything is found; `IndexReference`s and a checksum follow."""

    magic: bytes = raw(8)
    version: int = u32()
    block_bytes: int = u32()
    total_blocks: int = u64()
    uuid: bytes = raw(16)
    label: bytes = raw(64)
    generation: int = u64()
    created_ns: int = s64()
    committed_ns: int = s64()
    next_ino: int = u64()
    next_snapshot: int = u64()
    free_blocks: int = u64()
    inodes: int = u64()
    files: Root = nested(Root)
    volume: Root = nested(Root)
    index_blocks: int = u32()


INDEX_REFERENCE: Final = struct.Struct("<QI")
"""Of each index block: its checksum, and which of its two slots is in force."""
INDEX_ENTRY: Final = struct.Struct("<QII")
"""Of each group: checksum of its bitmap, free blocks, and the slot in force (`SLOT_NONE`: never written)."""
SLOT_NONE: Final = 2


class NodeHeader(Struct):
    """The beginning of a node; lengths of keys, lengths of values (leaves only), keys and values follow."""

    magic: int = u32()
    level: int = u8()
    tree: int = u8()
    count: int = u16()
    birth: int = u64()
    address: int = u64()


NODE_MAGIC: Final = 0x4E65664A
NODE_HEADER: Final = struct.Struct("<IBBHQQ")
"""`NodeHeader` for the hot path."""
POINTER: Final = struct.Struct("<QQQ")
"""The value in an inner node: address, birth, checksum of the child."""
FILE_TREE: Final = 1
VOLUME_TREE: Final = 2

# --- the file tree --------------------------------------------------------------------------------------------

INODE: Final = 1
XATTR: Final = 2
ENTRY: Final = 3
TARGET: Final = 4
INLINE: Final = 5
EXTENT: Final = 6
ORPHAN: Final = 1
"""Under inode number 0."""

ITEM_KEY: Final = struct.Struct(">QB")
EXTENT_KEY: Final = struct.Struct(">QBQ")
ENTRY_VALUE: Final = struct.Struct("<QB")
"""Inode number and type (st_mode >> 12)."""
EXTENT_VALUE: Final = struct.Struct("<QQHH")
"""Address, birth, length in blocks, and how many blocks a unit has; the checksums of its units follow."""
INODE_VALUE: Final = struct.Struct("<IIIIQQQqqqqQ")
"""mode, uid, gid, nlink, size, rdev, blocks, atime, mtime, ctime, btime (ns), parent (of a directory)."""
CHUNK_KEY: Final = struct.Struct(">H")
"""The end of the key of a part of a long value."""

# --- the volume tree ------------------------------------------------------------------------------------------

SNAPSHOT_KEY: Final = struct.Struct(">cQ")
DEAD_KEY: Final = struct.Struct(">cQQ")
"""Generation that let the blocks go, address of the first."""
DEAD_VALUE: Final = struct.Struct("<QI")
"""Birth and length in blocks."""


class SnapshotValue(Struct):
    """A snapshot; its name follows."""

    generation: int = u64()
    created_ns: int = s64()
    root: Root = nested(Root)
    inodes: int = u64()
    dying: int = u8()


# --- places ---------------------------------------------------------------------------------------------------


@frozen
class Geometry:
    """Where things are on a volume of so many blocks."""

    block_bytes: int
    total_blocks: int
    group_blocks: int = field(init=False)
    """Blocks that one bitmap covers."""
    groups: int = field(init=False)
    """How many bitmaps there are."""
    entries_per_index: int = field(init=False)
    """Groups that one index block covers."""
    index_blocks: int = field(init=False)
    """How many index blocks there are."""
    end_blocks: int = field(init=False)
    """Blocks at each end of the volume that hold superblocks."""
    first_bitmap: int = field(init=False)
    """The first slot of the first bitmap."""
    first_data: int = field(init=False)
    """The first block that is given out."""
    data_end: int = field(init=False)
    """The block after the last that is given out."""

    @group_blocks.default
    def _group_blocks(self) -> int:
        return self.block_bytes * 8

    @groups.default
    def _groups(self) -> int:
        return -(-self.total_blocks // self.group_blocks)

    @entries_per_index.default
    def _entries_per_index(self) -> int:
        return self.block_bytes // INDEX_ENTRY.size

    @index_blocks.default
    def _index_blocks(self) -> int:
        return -(-self.groups // self.entries_per_index)

    @end_blocks.default
    def _end_blocks(self) -> int:
        return -(-SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES // self.block_bytes)

    @first_bitmap.default
    def _first_bitmap(self) -> int:
        return self.end_blocks + 2 * self.index_blocks

    @first_data.default
    def _first_data(self) -> int:
        return self.first_bitmap + 2 * self.groups

    @data_end.default
    def _data_end(self) -> int:
        return self.total_blocks - self.end_blocks

    def index_block(self, number: int, slot: int) -> int:
        """Address of a slot of an index block."""
        return self.end_blocks + 2 * number + slot

    def bitmap_block(self, group: int, slot: int) -> int:
        """Address of a slot of a bitmap."""
        return self.first_bitmap + 2 * group + slot

    def superblock_offsets(self, generation: int) -> tuple[int, int]:
        """Byte offsets of both copies for a generation."""
        slot = generation % SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES
        return slot, self.total_blocks * self.block_bytes - SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES + slot

    def check_run(self, address: int, count: int, what: str) -> None:
        """Raise CorruptError for blocks that are never given out."""
        if address < self.first_data or count <= 0 or address + count > self.data_end:
            raise CorruptError(f"{what}: blocks {address} to {address + count} are not for data")


def most_index_blocks() -> int:
    """How many index blocks one superblock can refer to."""
    return (SUPERBLOCK_BYTES - Superblock.size - SUM_BYTES) // INDEX_REFERENCE.size


@frozen
class Limits:
    """What follows from the size of a block."""

    block_bytes: int
    node_capacity: int = field(init=False)
    """Bytes of items in a node."""
    units: tuple[int, ...] = field(init=False)
    """Blocks that a checksum of data may cover: one, and more in what is written in large pieces."""
    large_blocks: int = field(init=False)
    """So many blocks in one run are a large piece."""
    sums_most: int = field(init=False)
    """Units of one extent: its checksums have to fit in an item, and items in a third of a node."""
    inline_bytes: int = field(init=False)
    """The largest file that lives in the tree."""
    chunk_bytes: int = field(init=False)
    """Bytes of a part of a long value."""

    @node_capacity.default
    def _node_capacity(self) -> int:
        return self.block_bytes - NODE_HEADER.size

    @units.default
    def _units(self) -> tuple[int, ...]:
        return (1, UNIT_BYTES // self.block_bytes) if self.block_bytes < UNIT_BYTES else (1,)

    @large_blocks.default
    def _large_blocks(self) -> int:
        return LARGE_BYTES // self.block_bytes

    @sums_most.default
    def _sums_most(self) -> int:
        return self.block_bytes // (4 * SUM_BYTES)

    @inline_bytes.default
    @chunk_bytes.default
    def _quarter(self) -> int:
        return self.block_bytes // 4


def item_key(ino: int, kind: int, rest: bytes = b"") -> bytes:
    """The key of something that belongs to an inode."""
    return ITEM_KEY.pack(ino, kind) + rest
