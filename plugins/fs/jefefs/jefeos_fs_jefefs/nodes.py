"""Nodes of the trees: their bytes, and the cache of decoded ones.

    Node      keys in ascending order, and as many values: bytes in a leaf, pointers (address, birth, checksum) in an
              inner node. values[i] leads to keys from keys[i] up to keys[i + 1]; keys[0] counts as the least of all
    NodeCache nodes by address. What was made or copied in the generation under way is dirty: it may be changed in
              place, since nothing on the medium refers to it, and it stays until `seal` has written it

What is decoded has passed its checksum, and its order and lengths are checked here. Nothing is assumed of values.
"""

from __future__ import annotations

import struct
from itertools import accumulate, chain, islice, pairwise
from operator import lt
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from jefeos.errors import CorruptError

from jefeos_fs_jefefs.layout import LEVELS_MOST, NODE_HEADER, NODE_MAGIC, POINTER, Limits

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

    from jefeos_fs_jefefs.space import Space

Pointer = tuple[int, int, int]
CACHED_NODES: Final = 8192
LEAF_OVERHEAD: Final = 4
INNER_OVERHEAD: Final = 2 + POINTER.size


class Node:
    """One node, decoded. ``used`` counts the bytes of its items."""

    __slots__ = ("address", "birth", "keys", "level", "used", "values")

    def __init__(self, address: int, birth: int, level: int, keys: list[bytes], values: list[Any], used: int) -> None:
        self.address = address
        self.birth = birth
        self.level = level
        self.keys = keys
        self.values = values
        self.used = used


def measure(level: int, keys: list[bytes], values: list[Any]) -> int:
    """Bytes of these items."""
    if level:
        return sum(map(len, keys)) + INNER_OVERHEAD * len(keys)
    return sum(map(len, keys)) + sum(map(len, values)) + LEAF_OVERHEAD * len(keys)


def encode(node: Node, tree: int, block_bytes: int) -> bytes:
    """The block of a node."""
    keys, values = node.keys, node.values
    count = len(keys)
    head = NODE_HEADER.pack(NODE_MAGIC, node.level, tree, count, node.birth, node.address)
    key_lengths = struct.pack(f"<{count}H", *map(len, keys))
    if node.level:
        pointers = struct.pack("<" + "QQI" * count, *chain.from_iterable(values))
        block = b"".join((head, key_lengths, *keys, pointers))
    else:
        value_lengths = struct.pack(f"<{count}H", *map(len, values))
        block = b"".join((head, key_lengths, value_lengths, *keys, *values))
    if len(block) > block_bytes:
        raise CorruptError(f"a node of {len(block)} bytes does not fit its block")
    return block.ljust(block_bytes, b"\0")


def decode(block: bytes, pointer: Pointer, level: int, tree: int) -> Node:
    """A node from its block. Raises CorruptError for one that is not what the pointer says, or breaks its format."""
    address, birth, checksum = pointer
    if crc32(block) != checksum:
        raise CorruptError(f"node {address}: its checksum is wrong")
    magic, its_level, its_tree, count, its_birth, its_address = NODE_HEADER.unpack_from(block)
    if (magic, its_level, its_tree, its_birth, its_address) != (NODE_MAGIC, level, tree, birth, address):
        raise CorruptError(f"node {address}: another node is in its place")
    offset = NODE_HEADER.size
    per_item = INNER_OVERHEAD if level else LEAF_OVERHEAD
    if offset + count * per_item > len(block):
        raise CorruptError(f"node {address}: {count} items do not fit")
    values: list[Any]
    key_lengths = struct.unpack_from(f"<{count}H", block, offset)
    offset += 2 * count
    if level:
        ends = list(accumulate(key_lengths, initial=offset))
        offset = ends[-1]
        if not count or offset + count * POINTER.size > len(block):
            raise CorruptError(f"node {address}: its items do not fit")
        values = list(POINTER.iter_unpack(block[offset : offset + count * POINTER.size]))
    else:
        value_lengths = struct.unpack_from(f"<{count}H", block, offset)
        offset += 2 * count
        ends = list(accumulate(key_lengths, initial=offset))
        value_ends = list(accumulate(value_lengths, initial=ends[-1]))
        if value_ends[-1] > len(block):
            raise CorruptError(f"node {address}: its items do not fit")
        values = [block[start:end] for start, end in pairwise(value_ends)]
    keys = [block[start:end] for start, end in pairwise(ends)]
    if not all(map(lt, keys, islice(keys, 1, None))):
        raise CorruptError(f"node {address}: its keys are out of order")
    return Node(address, birth, level, keys, values, measure(level, keys, values))


class NodeCache:
    """The decoded nodes of one volume, of all its trees."""

    def __init__(self, volume: BufferCache, space: Space, generation: int) -> None:
        self.volume = volume
        self.space = space
        self.generation = generation
        """The one under way: what is born in it is not on the medium yet, as far as that knows."""
        self.nodes: dict[int, Node] = {}
        self.dirty: dict[int, Node] = {}
        self.limits = Limits(space.geometry.block_bytes)
        self.block_bytes = space.geometry.block_bytes

    def get(self, pointer: Pointer, level: int, tree: int) -> Node:
        """The node that a pointer leads to. Raises CorruptError, KernelError(EIO)."""
        node = self.nodes.get(pointer[0])
        if node is not None and node.birth == pointer[1] and node.level == level:
            return node
        return self._load(pointer, level, tree)

    def _load(self, pointer: Pointer, level: int, tree: int) -> Node:
        address = pointer[0]
        if level > LEVELS_MOST:
            raise CorruptError(f"node {address}: {level} levels are too many")
        if address in self.dirty:
            raise CorruptError(f"node {address} is referred to twice")
        self.space.geometry.check_run(address, 1, "node")
        node = decode(self.volume.read(address * self.block_bytes, self.block_bytes), pointer, level, tree)
        if len(self.nodes) >= CACHED_NODES + len(self.dirty):
            self._evict()
        self.nodes[address] = node
        return node

    def _evict(self) -> None:
        """Let the older half of the clean ones go: cheap, and those that are in use come back at once."""
        clean = [address for address in self.nodes if address not in self.dirty]
        for address in clean[: len(clean) // 2]:
            del self.nodes[address]

    def new(self, level: int, keys: list[bytes], values: list[Any], used: int) -> Node:
        """A new dirty node."""
        address = self.space.allocate_node()
        node = Node(address, self.generation, level, keys, values, used)
        self.nodes[address] = self.dirty[address] = node
        return node

    def forget(self, address: int) -> None:
        """The block is free or belongs to somebody else from now on."""
        self.nodes.pop(address, None)
        self.dirty.pop(address, None)

    def seal(self, address: int, tree: int) -> int:
        """Write the dirty nodes from ``address`` down; returns the checksum of the one there."""
        node = self.dirty[address]
        if node.level:
            dirty, values = self.dirty, node.values
            for index, (child, birth, _) in enumerate(values):
                if child in dirty:
                    values[index] = (child, birth, self.seal(child, tree))
        block = encode(node, tree, self.block_bytes)
        self.volume.write(address * self.block_bytes, block)
        return crc32(block)
