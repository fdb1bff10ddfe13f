"""Nodes of an index: one block, or the root, as it is searched and as it is changed.

    PackedNode   the bytes; a search decodes the few keys that it compares with, in a leaf of file names none
    Node         all keys and entries decoded, so that a search is quick and entries can be put in and taken out

A block is packed when it is read, and becomes a `Node` when it is searched often, walked, or about to be changed. The
bounds of entries are checked before they are used, the order of keys when all are decoded.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from operator import ge
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import CorruptError

from jefeos_fs_ntfs.layout import CHILD_VCN, FILE_NAME, INDEX_ENTRY, INDEX_HEADER, EntryFlags
from jefeos_fs_ntfs.names import encode_units

if TYPE_CHECKING:
    from jefeos_fs_ntfs.index import Index
    from jefeos_fs_ntfs.transaction import Block

Key = Any
FILE_NAMES: Final = "$I30"
"""The index of a directory."""
HAS_CHILD, END = int(EntryFlags.HAS_CHILD), int(EntryFlags.END)
NAME_OFFSET: Final = INDEX_ENTRY.size + FILE_NAME.size
NAME_LENGTH_OFFSET: Final = NAME_OFFSET - 2
_LENGTHS: Final = struct.Struct("<8xHHH")
"""Of INDEX_ENTRY: length, key length, flags."""


class Node:
    """The root, or one block."""

    __slots__ = ("children", "dead", "entries", "index", "keys", "update_number", "vcn")

    def __init__(self, index: Index, vcn: int | None) -> None:
        self.index = index
        self.vcn = vcn
        """None for the root."""
        self.keys: list[Key] = []
        self.entries: list[bytes] = []
        """Without child: ``flags`` 0, ``length`` as long as they are."""
        self.children: list[int] | None = None
        """One more than entries; None in a leaf."""
        self.update_number = 1
        self.dead = False

    @property
    def used_bytes(self) -> int:
        """What its entries take, the end entry included."""
        size = sum([len(entry) for entry in self.entries]) + INDEX_ENTRY.size
        return size if self.children is None else size + CHILD_VCN.size * len(self.children)

    def pack_entries(self) -> bytes:
        """The entries as they stand on the medium."""
        if self.children is None:
            return b"".join(self.entries) + INDEX_ENTRY.pack(0, INDEX_ENTRY.size, 0, END, 0)
        pieces = []
        for entry, child in zip(self.entries, self.children, strict=False):
            length = len(entry) + CHILD_VCN.size
            pieces.append(entry[:8] + length.to_bytes(2, "little") + entry[10:12] + b"\1\0" + entry[14:]
                          + CHILD_VCN.pack(child))
        pieces.append(INDEX_ENTRY.pack(0, INDEX_ENTRY.size + CHILD_VCN.size, 0, END | HAS_CHILD, 0))
        pieces.append(CHILD_VCN.pack(self.children[-1]))
        return b"".join(pieces)

    def search(self, key: Key) -> tuple[int, bytes | None]:
        """Where a key is or belongs, and its entry."""
        position = bisect_left(self.keys, key)
        return position, self.entries[position] if self.keys[position : position + 1] == [key] else None

    # -- as a part of operations --

    @property
    def weight(self) -> int:
        """Bytes that it adds to a commit."""
        return int(self.index.block_bytes)

    def snapshot(self) -> Any:
        """Keys, entries and children."""
        children = self.children
        return self.keys.copy(), self.entries.copy(), children if children is None else children.copy(), self.dead

    def restore(self, state: Any) -> None:
        """Come back to a snapshot."""
        self.keys, self.entries, self.children, self.dead = state
        self.index.finger = None

    def blocks(self) -> list[Block]:
        """The block; the root is in its file record."""
        return [] if self.vcn is None or self.dead else self.index.pack_block(self)


class PackedNode:
    """A block as it was read. Every method raises CorruptError for entries that leave it."""

    __slots__ = ("_children", "_end", "_first", "_keys", "_offsets", "data", "index", "is_leaf", "searches",
                 "update_number")

    def __init__(self, index: Index, data: bytes, start: int) -> None:
        """``start``: of the INDEX_HEADER in ``data``."""
        first, length, _, flags = INDEX_HEADER.unpack_from(data, start)
        self.data = data
        self.index = index
        self.is_leaf = not flags & HAS_CHILD and index.name == FILE_NAMES
        """A leaf of file names, as the header says."""
        self.update_number = 0
        self.searches = 0
        """How often somebody came by."""
        self._first, self._end = start + first, start + length
        self._offsets: list[int] | None = None
        self._keys: list[Key] = []
        self._children: list[int] | None = None
        if first < INDEX_HEADER.size or first % 8 or self._end > len(data):
            raise CorruptError(f"{index}: entries from {first} to {length} in a node")

    @property
    def offsets(self) -> list[int]:
        """Where the entries are, the end entry left out."""
        if self._offsets is None:
            self._offsets = self._scan()
        return self._offsets

    @property
    def children(self) -> list[int] | None:
        """One more than entries; None in a leaf."""
        return self._children if self.offsets is not None else None

    def _scan(self) -> list[int]:
        data, offset, end, what = self.data, self._first, self._end, self.index
        offsets: list[int] = []
        children: list[int] = []
        unpack, size = _LENGTHS.unpack_from, INDEX_ENTRY.size
        while True:
            if offset + size > end:
                raise CorruptError(f"{what}: a node without an end entry")
            length, key_length, flags = unpack(data, offset)
            if length & 7 or offset + length > end:
                raise CorruptError(f"{what}: an entry of {length} bytes")
            if flags:
                body = length - CHILD_VCN.size if flags & HAS_CHILD else length
                if body < size:
                    raise CorruptError(f"{what}: an entry of {length} bytes")
                if flags & HAS_CHILD:
                    children += CHILD_VCN.unpack_from(data, offset + body)
                if flags & END:
                    break
                key_length += length - body
            if size + key_length > length:
                raise CorruptError(f"{what}: a key of {key_length} bytes in an entry of {length}")
            offsets.append(offset)
            offset += length
        if children and len(children) != len(offsets) + 1:
            raise CorruptError(f"{what}: a node with {len(offsets)} entries and {len(children)} children")
        if children and self.is_leaf:
            raise CorruptError(f"{what}: a leaf with children")
        self._children = children or None
        self._keys = [None] * len(offsets)
        return offsets

    def entry(self, position: int) -> bytes:
        """An entry without its child."""
        data, offset = self.data, self.offsets[position]
        length, _, flags = _LENGTHS.unpack_from(data, offset)
        if not flags:
            return data[offset : offset + length]
        if flags & HAS_CHILD:
            length -= CHILD_VCN.size
        entry = data[offset : offset + length]
        return entry[:8] + length.to_bytes(2, "little") + entry[10:12] + b"\0\0" + entry[14:]

    def _key(self, position: int) -> Key:
        offset = self.offsets[position]
        length, _, flags = _LENGTHS.unpack_from(self.data, offset)
        end = offset + length - CHILD_VCN.size if flags & HAS_CHILD else offset + length
        return self.index.key_of(self.data[offset:end])

    def find_name(self, name: bytes) -> bytes | None:
        """The entry of exactly this file name in a leaf.

        Bytes are searched for, which costs less than to decode entries; as they may also stand within a longer name,
        entries are then counted off from the first one, up to there or to the end.
        """
        data, end, offset, unpack = self.data, self._end, self._first, _LENGTHS.unpack_from
        last = end - INDEX_ENTRY.size
        found = data.find(name, offset + NAME_OFFSET, end)
        while True:
            there = found - NAME_OFFSET if found >= 0 else last + 1
            while offset < there:
                length, _, flags = unpack(data, offset)
                if flags or length & 7 or not length:
                    if flags & END:
                        return None
                    raise CorruptError(f"{self.index}: a leaf with broken entries")
                offset += length
            if found < 0 or offset > last:
                raise CorruptError(f"{self.index}: a leaf without an end entry")
            if offset == there and data[offset + NAME_LENGTH_OFFSET] * 2 == len(name):
                length, key_length, flags = unpack(data, offset)
                if flags or length & 7 or offset + length > last or INDEX_ENTRY.size + key_length > length \
                        or NAME_OFFSET + len(name) > length:
                    raise CorruptError(f"{self.index}: a leaf with broken entries")
                return data[offset : offset + length]
            found = data.find(name, max(found + 1, offset + NAME_OFFSET), end)

    def search(self, key: Key) -> tuple[int, bytes | None]:
        """Where a key is or belongs (in a leaf that does not matter), and its entry."""
        if self.is_leaf:
            return 0, self.find_name(encode_units(key[1]))
        high = len(self.offsets)
        keys = self._keys
        low = 0
        while low < high:
            middle = (low + high) >> 1
            there = keys[middle]
            if there is None:
                there = keys[middle] = self._key(middle)
            if there < key:
                low = middle + 1
            else:
                high = middle
        return low, self.entry(low) if low < len(keys) and keys[low] == key else None

    def decode(self, node: Node) -> None:
        """Fill a node with all of it."""
        key_of = node.index.key_of
        entries = [self.entry(position) for position in range(len(self.offsets))]
        keys = [key_of(entry) if key is None else key for key, entry in zip(self._keys, entries, strict=True)]
        if any(map(ge, keys, keys[1:])):
            raise CorruptError(f"{self.index}: keys out of order")
        node.keys, node.entries, node.children = keys, entries, self._children
        node.update_number = self.update_number
