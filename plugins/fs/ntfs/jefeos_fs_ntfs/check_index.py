"""Index trees, walked in order: directories and view indexes alike.

    walk = IndexWalk(reader, number, "$I30", key)
    for entry in walk.entries(): …          in the order of the tree
    walk.faults                             what was wrong on the way: the walk goes on behind it

Each block is read once and never again, so that a tree that leads back into itself ends. A subtree that cannot be read
is left out and reported; what it held then is missing, which `damaged` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, define
from jefeos.errors import CorruptError, KernelError

from jefeos_fs_ntfs.attribute import Attribute
from jefeos_fs_ntfs.check_state import differences, say_ranges
from jefeos_fs_ntfs.layout import (
    BLOCK_BYTES,
    CHILD_VCN,
    INDEX_BLOCK,
    INDEX_ENTRY,
    INDEX_HEADER,
    INDEX_ROOT,
    INDX_MAGIC,
    VIEW_ENTRY,
    AttributeType,
    EntryFlags,
)
from jefeos_fs_ntfs.record import apply_fixups

if TYPE_CHECKING:
    from jefeos_fs_ntfs.check_mft import MftReader, Stream

DEEPEST: Final = 32
MOST_FAULTS: Final = 64
BLOCK_SIZES: Final = tuple(1 << shift for shift in range(9, 17))
Order = Callable[[bytes], Any]
"""From the key of an entry to something that sorts as the index does."""


@define
class IndexEntry:
    """An entry: its key, and the file it leads to or its data."""

    reference: int
    key: bytes
    data: bytes
    place: str


@define
class Fault:
    """Something wrong with the tree."""

    what: str
    harmless: bool = False


@define
class IndexWalk:
    """One walk over one index."""

    reader: MftReader
    number: int
    name: str
    kind: int
    """Type of the attribute that is indexed; 0 for a view."""
    collation: int
    order: Order
    faults: list[Fault] = Factory(list)
    damaged: bool = False
    """Entries may be missing that are somewhere on the medium."""
    _unit: int = 0
    _block_bytes: int = 0
    _allocation: Stream | None = None
    _visited: set[int] = Factory(set)
    _before: Any = None

    def entries(self) -> Iterator[IndexEntry]:
        """All entries, in the order in which they stand."""
        try:
            attributes = [one for one in self.reader.attributes(self.number) if one.name == self.name]
            root = self._open(attributes)
        except KernelError as error:
            self._fault(str(error.args[0]))
            return
        yield from self._node(root, INDEX_ROOT.size, "root", 0)
        self._check_bitmap(attributes)

    # -- the parts --

    def _open(self, attributes: list[Attribute]) -> bytes:
        roots = [one for one in attributes if one.type == AttributeType.INDEX_ROOT]
        if len(roots) != 1:
            raise CorruptError(f"the index {self.name} has {len(roots)} roots")
        root = roots[0].value
        if len(root) < INDEX_ROOT.size + INDEX_HEADER.size:
            raise CorruptError(f"the root of {self.name} has {len(root)} bytes")
        kind, collation, block_bytes, _ = INDEX_ROOT.unpack_from(root)
        if kind != self.kind or collation != self.collation:
            raise CorruptError(f"the root of {self.name} is of type {kind:#x} and collation {collation:#x}")
        if block_bytes not in BLOCK_SIZES:
            raise CorruptError(f"the root of {self.name} speaks of blocks of {block_bytes} bytes")
        cluster = self.reader.geometry.cluster_bytes
        self._block_bytes = block_bytes
        self._unit = cluster if cluster <= block_bytes else BLOCK_BYTES
        parts = [one for one in attributes if one.type == AttributeType.INDEX_ALLOCATION]
        self._allocation = self.reader.solid(self.reader.stream_of(parts)) if parts else None
        return root

    def _node(self, node: bytes, header: int, place: str, depth: int) -> Iterator[IndexEntry]:
        """The entries of a root or block, its subtrees among them."""
        try:
            entries = list(self._parse(node, header, place))
        except CorruptError as error:
            self._fault(str(error.args[0]))
            return
        for entry, child in entries:
            if child is not None:
                yield from self._child(child, place, depth)
            if entry is not None:
                self._check_order(entry)
                yield entry

    def _parse(self, node: bytes, header: int, place: str) -> Iterator[tuple[IndexEntry | None, int | None]]:
        """Entry and child of each; the last one is only a child. Raises CorruptError."""
        first, length, allocated, _ = INDEX_HEADER.unpack_from(node, header)
        offset, end = header + first, header + length
        if first < INDEX_HEADER.size or first % 8 or length > allocated or header + allocated > len(node):
            raise CorruptError(f"{place}: entries from {first} to {length} in {allocated} bytes")
        while True:
            if offset + INDEX_ENTRY.size > end:
                raise CorruptError(f"{place}: its entries have no end")
            reference, size, key_bytes, flags, _ = INDEX_ENTRY.unpack_from(node, offset)
            if size < INDEX_ENTRY.size or size % 8 or offset + size > end:
                raise CorruptError(f"{place}: an entry of {size} bytes at {offset - header}")
            child = None
            tail = offset + size
            if flags & EntryFlags.HAS_CHILD:
                tail -= CHILD_VCN.size
                (child,) = CHILD_VCN.unpack_from(node, tail)
            if flags & EntryFlags.END:
                yield None, child
                return
            start = offset + INDEX_ENTRY.size
            if start + key_bytes > tail:
                raise CorruptError(f"{place}: a key of {key_bytes} bytes leaves its entry")
            data = b""
            if not self.kind:
                data_offset, data_bytes, *_ = VIEW_ENTRY.unpack_from(node, offset)
                if data_bytes and not VIEW_ENTRY.size <= data_offset <= tail - offset - data_bytes:
                    raise CorruptError(f"{place}: {data_bytes} bytes of data leave their entry")
                data = node[offset + data_offset : offset + data_offset + data_bytes]
            yield IndexEntry(reference, node[start : start + key_bytes], data, place), child
            offset += size

    def _child(self, vcn: int, place: str, depth: int) -> Iterator[IndexEntry]:
        try:
            block, name = self._block(vcn, place, depth)
        except KernelError as error:
            self._fault(str(error.args[0] or error))
            return
        yield from self._node(block, INDEX_BLOCK.size, name, depth + 1)

    def _block(self, vcn: int, place: str, depth: int) -> tuple[bytes, str]:
        allocation, size = self._allocation, self._block_bytes
        number, odd = divmod(vcn * self._unit, size)
        if allocation is None or odd or vcn < 0 or (number + 1) * size > allocation.size:
            raise CorruptError(f"{place}: it leads to block {vcn}, which is not there")
        if number in self._visited or depth >= DEEPEST:
            raise CorruptError(f"{place}: it leads to block {vcn}, which has another place in the tree")
        self._visited.add(number)
        name = f"block {vcn}"
        block = apply_fixups(self.reader.read(allocation, number * size, size), INDX_MAGIC, name)
        own = INDEX_BLOCK.unpack_from(block)[4]
        if own != vcn:
            raise CorruptError(f"{name}: it takes itself for block {own}")
        return block, name

    def _check_order(self, entry: IndexEntry) -> None:
        try:
            key = self.order(entry.key)
        except CorruptError as error:
            self._fault(f"{entry.place}: {error.args[0]}")
            return
        if self._before is not None and not self._before < key:
            self._fault(f"{entry.place}: an entry is out of order", keeps_all=True)
        self._before = key

    def _check_bitmap(self, attributes: list[Attribute]) -> None:
        """The bitmap of the index against the blocks that were seen."""
        parts = [one for one in attributes if one.type == AttributeType.BITMAP]
        if not parts:
            if self._visited:
                self._fault("it has blocks and no bitmap of them")
            return
        try:
            stream = self.reader.solid(self.reader.stream_of(parts))
            marked = self.reader.read(stream, 0, min(stream.size, self._most_bitmap_bytes()))
        except KernelError as error:
            self._fault(f"its bitmap: {error.args[0]}")
            return
        seen = bytearray(max(len(marked), max(self._visited, default=-1) // 8 + 1))
        for number in self._visited:
            seen[number // 8] |= 1 << number % 8
        count, ranges = differences(seen, marked, 0)
        if count:
            self._fault(f"blocks {say_ranges(ranges)} are in use, and free in its bitmap", keeps_all=True)
        count, ranges = differences(marked, seen, 0)
        if count and not self.damaged:
            what = f"blocks {say_ranges(ranges)} are not in the tree, and in use in its bitmap"
            self.faults.append(Fault(what, harmless=True))

    def _most_bitmap_bytes(self) -> int:
        allocated = self._allocation.size if self._allocation is not None else 0
        return allocated // self._block_bytes // 8 + 64

    def _fault(self, what: str, keeps_all: bool = False) -> None:
        self.damaged = self.damaged or not keeps_all
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(what))
