"""Indexes: B-trees of names and of other keys, looked up and walked.

    INDEX_ROOT in the record      [ k10 | k20 | END ]            children of k: what sorts before it
                                    /     |     \\
    blocks of INDEX_ALLOCATION   [k1-k9][k11-k19][k21-]          BITMAP: which blocks are taken

A node is decoded (`index_node`) to keys in a form that sorts as the collation rule says, entries as bytes without child
and flags, and children as VCNs. Every entry is in the tree once, in whatever node. What is checked: the own VCN of a
block when it is read, bounds of entries as these are used, order of keys before a block is changed or walked. A walk
that meets a block twice, or a descent that is too deep, is a CorruptError. `index_edit` changes a tree.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from jefeos.errors import CorruptError

from jefeos_fs_ntfs.index_node import FILE_NAMES, NAME_LENGTH_OFFSET, NAME_OFFSET, Key, Node, PackedNode
from jefeos_fs_ntfs.layout import (
    BLOCK_BYTES,
    INDEX_BLOCK,
    INDEX_ENTRY,
    INDEX_HEADER,
    INDEX_ROOT,
    INDX_MAGIC,
    AttributeType,
    Collation,
)
from jefeos_fs_ntfs.names import Collator, decode_units
from jefeos_fs_ntfs.record import apply_fixups, next_update_number, protect

if TYPE_CHECKING:
    from jefeos_fs_ntfs.bitmap import Bitmap
    from jefeos_fs_ntfs.entry import Entry
    from jefeos_fs_ntfs.transaction import Block

Path: TypeAlias = list[tuple[Node, int]]
"""Nodes from the root on, and which child was taken."""
DEPTH_MAX: Final = 24
SEARCHED_PACKED: Final = 16
"""Searches of a block before all of it is decoded."""
_HEADER_OFFSET: Final = INDEX_BLOCK.size
_ALLOCATION: Final = int(AttributeType.INDEX_ALLOCATION)


class Finger:
    """A leaf, the way to it, and the keys that it lies between (None: no bound on that side).

    What is looked for next is often near what was found last: names in order, and one that is looked up to be removed.
    """

    __slots__ = ("high", "leaf", "low", "path")

    def __init__(self, path: Path, leaf: Node, low: Key, high: Key) -> None:
        self.path = path
        self.leaf = leaf
        self.low = low
        self.high = high

    def covers(self, key: Key) -> bool:
        """Whether this leaf is where the key is or belongs."""
        low, high = self.low, self.high
        return (low is None or low < key) and (high is None or key < high)


class Index:
    """One index of a file: ``$I30`` of a directory, and those of the files in $Extend and of $Secure."""

    def __init__(self, entry: Entry, name: str) -> None:
        self.entry = entry
        self.name = name
        self.volume = entry.volume
        self.title = f"MFT record {entry.number}: index {name}"
        self.nodes: dict[int, Node] = {}
        self.packed: dict[int, PackedNode] = {}
        """Blocks that were only searched so far; none of them is in ``nodes``."""
        self.bitmap: Bitmap | None = None
        """Of blocks, once something was changed."""
        self.finger: Finger | None = None
        """The leaf that was descended to last; None after a change of children or of what separates them."""
        attribute = entry.find(AttributeType.INDEX_ROOT, name)
        if attribute is None:
            raise CorruptError(f"{self}: there is no $INDEX_ROOT")
        value = attribute.value
        if len(value) < INDEX_ROOT.size + INDEX_HEADER.size:
            raise CorruptError(f"{self}: $INDEX_ROOT has {len(value)} bytes")
        self.indexed_type, self.collation, self.block_bytes, self.clusters_per_block = INDEX_ROOT.unpack_from(value)
        if name == FILE_NAMES and self.collation != Collation.FILE_NAME:
            raise CorruptError(f"{self}: names are not sorted by collation rule {self.collation:#x}")
        block_bytes, cluster_bytes = self.block_bytes, self.volume.geometry.cluster_bytes
        if block_bytes & (block_bytes - 1) or not BLOCK_BYTES <= block_bytes <= 1 << 16:
            raise CorruptError(f"{self}: blocks of {block_bytes} bytes")
        self.vcn_bytes = cluster_bytes if cluster_bytes <= block_bytes else BLOCK_BYTES
        """What VCNs of this index count in."""
        self.capacity = block_bytes - self._entries_offset
        self.key_of = self._key_function()
        self.root = Node(self, None)
        self.load_root(value)

    def load_root(self, value: bytes) -> None:
        """Decode INDEX_ROOT. Raises CorruptError."""
        PackedNode(self, value, INDEX_ROOT.size).decode(self.root)

    # -- looking up --

    def descend(self, key: Key) -> tuple[Path, Node, int, bool]:
        """Where ``key`` is or belongs: the nodes above with the child taken, the node, the position, and whether."""
        finger = self.finger
        if finger is not None and finger.covers(key):
            path, node = finger.path, finger.leaf
            position = bisect_left(node.keys, key)
            return path, node, position, node.keys[position : position + 1] == [key]
        node = self.root
        path = []
        low = high = None
        while True:
            keys = node.keys
            position = bisect_left(keys, key)
            found = position < len(keys) and keys[position] == key
            if node.children is None:
                self.finger = Finger(path, node, low, high)
                return path, node, position, found
            if found:
                return path, node, position, True
            if position:
                low = keys[position - 1]
            if position < len(keys):
                high = keys[position]
            path.append((node, position))
            if len(path) > DEPTH_MAX:
                raise CorruptError(f"{self}: its tree is too deep")
            node = self.node(node.children[position])

    def lookup(self, key: Key) -> bytes | None:
        """The entry of a key."""
        finger = self.finger
        if finger is not None and finger.covers(key):
            return finger.leaf.search(key)[1]
        node: Node | PackedNode = self.root
        for _ in range(DEPTH_MAX + 1):
            position, entry = node.search(key)
            if entry is not None:
                return entry
            children = node.children
            if children is None:
                return None
            node = self._searched(children[position])
        raise CorruptError(f"{self}: its tree is too deep")

    def walk(self) -> Iterator[tuple[Key, bytes]]:
        """All keys with their entries, in order. Raises CorruptError."""
        for node, position in self._walk(self.root, set(), 0):
            yield node.keys[position], node.entries[position]

    def _walk(self, node: Node, seen: set[int], depth: int) -> Iterator[tuple[Node, int]]:
        if depth > DEPTH_MAX:
            raise CorruptError(f"{self}: its tree is too deep")
        for position in range(len(node.entries) + 1):
            if node.children is not None:
                child = node.children[position]
                if child in seen:
                    raise CorruptError(f"{self}: block {child} has two parents")
                seen.add(child)
                yield from self._walk(self.node(child), seen, depth + 1)
            if position < len(node.entries):
                yield node, position

    @property
    def is_empty(self) -> bool:
        """No entry at all."""
        return next(self.walk(), None) is None

    def node(self, vcn: int) -> Node:
        """A block, decoded. Raises CorruptError."""
        node = self.nodes.get(vcn)
        if node is None:
            packed = self.packed.get(vcn) or self._read(vcn)
            node = Node(self, vcn)
            packed.decode(node)
            self.packed.pop(vcn, None)
            self.nodes[vcn] = node
            self.volume.nodes_cached += 1
        return node

    def _searched(self, vcn: int) -> Node | PackedNode:
        """A block to look something up in: decoded once it is worth it."""
        node = self.nodes.get(vcn)
        if node is not None:
            return node
        packed = self.packed.get(vcn)
        if packed is None:
            packed = self.packed[vcn] = self._read(vcn)
            self.volume.nodes_cached += 1
        packed.searches += 1
        return packed if packed.searches <= SEARCHED_PACKED else self.node(vcn)

    def _read(self, vcn: int) -> PackedNode:
        what = f"{self.title}: block {vcn}"
        stream = self.entry.stream(_ALLOCATION, self.name)
        offset = vcn * self.vcn_bytes
        if vcn < 0 or offset + self.block_bytes > stream.data_size:
            raise CorruptError(f"{what} is past the end")
        data = apply_fixups(stream.read_raw(offset, self.block_bytes), INDX_MAGIC, what)
        _, usa_offset, _, _, own_vcn = INDEX_BLOCK.unpack_from(data)
        if own_vcn != vcn:
            raise CorruptError(f"{what} says that it is block {own_vcn}")
        packed = PackedNode(self, data, _HEADER_OFFSET)
        packed.update_number = int.from_bytes(data[usa_offset : usa_offset + 2], "little")
        return packed

    # -- the bytes of a node --

    @property
    def _entries_offset(self) -> int:
        """Where entries begin in a block that we write."""
        return int(_HEADER_OFFSET + INDEX_HEADER.size + 2 * (self.block_bytes // BLOCK_BYTES + 1) + 7) & ~7

    def pack_block(self, node: Node) -> list[Block]:
        """A block for the medium."""
        first = self._entries_offset
        body = node.pack_entries()
        if len(body) > self.capacity:
            raise CorruptError(f"{self}: {len(body)} bytes do not fit a block")
        node.update_number = next_update_number(node.update_number)
        block = bytearray(self.block_bytes)
        assert node.vcn is not None
        INDEX_BLOCK.pack_into(block, 0, INDX_MAGIC, _HEADER_OFFSET + INDEX_HEADER.size,
                              self.block_bytes // BLOCK_BYTES + 1, 0, node.vcn)
        INDEX_HEADER.pack_into(block, _HEADER_OFFSET, first - _HEADER_OFFSET, first - _HEADER_OFFSET + len(body),
                               self.block_bytes - _HEADER_OFFSET, int(node.children is not None))
        block[first : first + len(body)] = body
        protect(block, node.update_number)
        stream = self.entry.stream(AttributeType.INDEX_ALLOCATION, self.name)
        return stream.locate_data(node.vcn * self.vcn_bytes, bytes(block))

    def pack_root(self) -> bytes:
        """The value of INDEX_ROOT."""
        body = self.root.pack_entries()
        length = INDEX_HEADER.size + len(body)
        return (INDEX_ROOT.pack(self.indexed_type, self.collation, self.block_bytes, self.clusters_per_block)
                + INDEX_HEADER.pack(INDEX_HEADER.size, length, length, int(self.root.children is not None)) + body)

    # -- collation --

    def _key_function(self) -> Callable[[bytes], Key]:
        match self.collation:
            case Collation.FILE_NAME:
                return _file_name_key(self.volume.collator, str(self))
            case Collation.NTOFS_ULONG | Collation.NTOFS_ULONGS | Collation.NTOFS_SECURITY_HASH:
                return _numbers_key
            case _:
                return _binary_key

    def __str__(self) -> str:
        return self.title


def _file_name_key(collator: Collator, what: str) -> Callable[[bytes], Key]:
    key_of = collator.key

    def key(entry: bytes) -> Key:
        if len(entry) < NAME_OFFSET or len(entry) < NAME_OFFSET + 2 * entry[NAME_LENGTH_OFFSET]:
            raise CorruptError(f"{what}: a file name leaves its entry")
        return key_of(decode_units(entry[NAME_OFFSET : NAME_OFFSET + 2 * entry[NAME_LENGTH_OFFSET]]))

    return key


def view_key(entry: bytes) -> bytes:
    """The key of an entry of a view index."""
    return entry[INDEX_ENTRY.size : INDEX_ENTRY.size + int.from_bytes(entry[10:12], "little")]


def _numbers_key(entry: bytes) -> Key:
    key = view_key(entry)
    return tuple([int.from_bytes(key[at : at + 4], "little") for at in range(0, len(key), 4)])


def _binary_key(entry: bytes) -> Key:
    return view_key(entry)
