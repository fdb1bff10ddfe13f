"""Nodes of the trees: their bytes, and the cache of decoded ones.

    Node      keys in ascending order, and as many values: bytes in a leaf, pointers (address, birth, checksum) in an
              inner node. values[i] leads to keys from keys[i] up to keys[i + 1]; keys[0] counts as the least of all
    NodeCache nodes by address. What was made or copied in the generation under way is dirty: it may be changed in
              place, since nothing on the medium refers to it, and it stays until `seal` has written it

What is decoded has passed its checksum, and its order and lengths are checked here. Nothing is assumed of values.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from itertools import accumulate, chain, islice, pairwise
from operator import lt
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import CorruptError

from jefeos_fs_jefefs.checksum import checksum_of
from jefeos_fs_jefefs.layout import LEVELS_MOST, NODE_HEADER, NODE_MAGIC, POINTER, Limits

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

    from jefeos_fs_jefefs.space import Space

Pointer = tuple[int, int, int]
CACHED_NODES: Final = 4096
DECODE_WHEN_ASKED: Final = 4
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
        pointers = struct.pack("<" + "QQQ" * count, *chain.from_iterable(values))
        block = b"".join((head, key_lengths, *keys, pointers))
    else:
        value_lengths = struct.pack(f"<{count}H", *map(len, values))
        block = b"".join((head, key_lengths, value_lengths, *keys, *values))
    if len(block) > block_bytes:
        raise CorruptError(f"a node of {len(block)} bytes does not fit its block")
    return block.ljust(block_bytes, b"\0")


def check_header(block: bytes, pointer: Pointer, level: int, tree: int) -> int:
    """How many items are in a node. Raises CorruptError for one that is not what the pointer says."""
    address, birth, checksum = pointer
    if checksum_of(block) != checksum:
        raise CorruptError(f"node {address}: its checksum is wrong")
    magic, its_level, its_tree, count, its_birth, its_address = NODE_HEADER.unpack_from(block)
    if (magic, its_level, its_tree, its_birth, its_address) != (NODE_MAGIC, level, tree, birth, address):
        raise CorruptError(f"node {address}: another node is in its place")
    if NODE_HEADER.size + count * (INNER_OVERHEAD if level else LEAF_OVERHEAD) > len(block):
        raise CorruptError(f"node {address}: {count} items do not fit")
    its_count: int = count
    return its_count


def find_in_leaf(block: bytes, pointer: Pointer, tree: int, key: bytes) -> bytes | None:
    """The value of ``key`` in the block of a leaf, without decoding the rest of it. Raises CorruptError."""
    count = check_header(block, pointer, 0, tree)
    offset = NODE_HEADER.size
    lengths = struct.unpack_from(f"<{2 * count}H", block, offset)
    ends = list(accumulate(lengths, initial=offset + 4 * count))
    if ends[-1] > len(block):
        raise CorruptError(f"node {pointer[0]}: its items do not fit")
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if block[ends[middle] : ends[middle + 1]] < key:
            low = middle + 1
        else:
            high = middle
    if low == count or block[ends[low] : ends[low + 1]] != key:
        return None
    return block[ends[count + low] : ends[count + low + 1]]


def decode(block: bytes, pointer: Pointer, level: int, tree: int) -> Node:
    """A node from its block. Raises CorruptError for one that is not what the pointer says, or breaks its format."""
    count = check_header(block, pointer, level, tree)
    address, birth, _ = pointer
    offset = NODE_HEADER.size
    values: list[Any]
    key_lengths = struct.unpack_from(f"<{count}H", block, offset)
    offset += 2 * count
    if level:
        ends = list(accumulate(key_lengths, initial=offset))
        offset = ends[-1]
        if not count or offset + count * POINTER.size > len(block):
            raise CorruptError(f"node {address}: its items do not fit")
        end = offset + count * POINTER.size
        values = list(POINTER.iter_unpack(block[offset:end]))
    else:
        value_lengths = struct.unpack_from(f"<{count}H", block, offset)
        offset += 2 * count
        ends = list(accumulate(key_lengths, initial=offset))
        value_ends = list(accumulate(value_lengths, initial=ends[-1]))
        end = value_ends[-1]
        if end > len(block):
            raise CorruptError(f"node {address}: its items do not fit")
        values = [block[start:end] for start, end in pairwise(value_ends)]
    keys = [block[start:end] for start, end in pairwise(ends)]
    if not all(map(lt, keys, islice(keys, 1, None))):
        raise CorruptError(f"node {address}: its keys are out of order")
    return Node(address, birth, level, keys, values, end - NODE_HEADER.size)


class NodeCache:
    """The decoded nodes of one volume, of all its trees."""

    def __init__(self, volume: BufferCache, space: Space, generation: int) -> None:
        self.volume = volume
        self.space = space
        self.generation = generation
        """The one under way: what is born in it is not on the medium yet, as far as that knows."""
        self.nodes: dict[int, Node] = {}
        self.dirty: dict[int, Node] = {}
        self._asked: dict[int, int] = {}
        self.limits = Limits(space.geometry.block_bytes)
        self.block_bytes = space.geometry.block_bytes

    def get(self, pointer: Pointer, level: int, tree: int) -> Node:
        """The node that a pointer leads to. Raises CorruptError, KernelError(EIO)."""
        node = self.nodes.get(pointer[0])
        if node is not None and node.birth == pointer[1] and node.level == level:
            return node
        return self._load(pointer, level, tree)

    def find(self, pointer: Pointer, tree: int, key: bytes) -> bytes | None:
        """The value of ``key`` in a leaf that is not decoded. It is decoded when it has been asked for a few times: who
        looks here and there in a large tree does not pay for the neighbours."""
        address = pointer[0]
        asked = self._asked.get(address, 1)
        if asked == DECODE_WHEN_ASKED or address in self.nodes:
            self._asked.pop(address, None)
            node = self.get(pointer, 0, tree)
            index = bisect_left(node.keys, key)
            found = index < len(node.keys) and node.keys[index] == key
            return node.values[index] if found else None
        if len(self._asked) > CACHED_NODES:
            self._asked.clear()
        self._asked[address] = asked + 1
        self.space.geometry.check_run(address, 1, "node")
        return find_in_leaf(self.volume.read(address * self.block_bytes, self.block_bytes), pointer, tree, key)

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
        return checksum_of(block)
