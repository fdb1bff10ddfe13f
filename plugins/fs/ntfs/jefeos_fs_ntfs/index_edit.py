"""Changing an index: insertion with splits, removal with merges, blocks given out and taken back.

An insertion that finds its node full moves the middle entry up and the upper half into a new block; a root without room
moves all of itself into a block and stays as a pointer to it. Names that arrive in order leave nearly full blocks
behind. A removal takes from a leaf (an entry further up is replaced by its successor first); a leaf that becomes empty
goes, and the entry that separated it from its neighbour is inserted again. An index that becomes empty is only a root.
All of this happens within one operation (`transaction`), so no order of writes is needed between the blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_ntfs.attribute import make_non_resident, make_resident
from jefeos_fs_ntfs.bitmap import Bitmap
from jefeos_fs_ntfs.index import Index, Path
from jefeos_fs_ntfs.index_node import Key, Node
from jefeos_fs_ntfs.layout import AttributeType

if TYPE_CHECKING:
    from jefeos_fs_ntfs.transaction import Block

MOST_AHEAD_BYTES: Final = 1 << 18
"""Clusters are taken for this much at most before they are needed, so that an index stays in few runs."""


def insert(index: Index, key: Key, entry: bytes) -> None:
    """Put in an entry (without child). Raises KernelError: EEXIST, ENOSPC."""
    path, node, position, found = index.descend(key)
    if found:
        raise KernelError(Errno.EEXIST)
    _insert_at(index, path, node, position, key, entry, None)


def remove(index: Index, key: Key) -> bytes:
    """Take out an entry and return it. Raises KernelError(ENOENT)."""
    path, node, position, found = index.descend(key)
    if not found:
        raise KernelError(Errno.ENOENT)
    entry = node.entries[position]
    if node.children is None:
        _change(index, node)
        del node.keys[position], node.entries[position]
        if node.vcn is None:
            _store_root(index)
        elif not node.entries:
            _drop_leaf(index, path, node)
        return entry
    # Further up: the smallest entry of the next subtree takes its place.
    leaf = index.node(node.children[position + 1])
    for _ in range(len(path), len(path) + 25):
        if leaf.children is None:
            break
        leaf = index.node(leaf.children[0])
    if leaf.children is not None or not leaf.keys:
        raise CorruptError(f"{index}: a leaf without entries")
    next_key = leaf.keys[0]
    next_entry = remove(index, next_key)
    path, node, position, found = index.descend(key)
    if not found:
        raise CorruptError(f"{index}: keys out of order")
    if node.children is None:
        remove(index, key)
        insert(index, next_key, next_entry)
    else:
        _change(index, node)
        index.finger = None
        node.keys[position], node.entries[position] = next_key, next_entry
        _after_growth(index, path, node, position)
    return entry


def replace(index: Index, key: Key, entry: bytes) -> bool:
    """Put other contents under the same key, of the same length. False if the key is not there."""
    _, node, position, found = index.descend(key)
    if not found or len(node.entries[position]) != len(entry):
        return False
    if node.entries[position] != entry:
        _change(index, node)
        node.entries[position] = entry
        if node.vcn is None:
            _store_root(index)
    return True


def _change(index: Index, node: Node) -> None:
    index.volume.transaction.change(node)


# -- growing --


def _insert_at(index: Index, path: Path, node: Node, position: int, key: Key, entry: bytes, right: int | None) -> None:
    """Insert into a node, with the child that comes after the entry."""
    _change(index, node)
    node.keys.insert(position, key)
    node.entries.insert(position, entry)
    if right is not None:
        assert node.children is not None
        node.children.insert(position + 1, right)
    _after_growth(index, path, node, position)


def _after_growth(index: Index, path: Path, node: Node, position: int) -> None:
    if node.vcn is None:
        if not _store_root(index):
            _push_down(index)
    elif node.used_bytes > index.capacity:
        _split(index, path, node, position)


def _split(index: Index, path: Path, node: Node, position: int) -> None:
    """Move the middle entry up and what is behind it into a new block."""
    count = len(node.entries)
    if count < 3:
        raise KernelError(Errno.ENOSPC, f"{index}: blocks of {index.block_bytes} bytes cannot hold such names")
    in_order = position == count - 1 and all(place == len(above.entries) for above, place in path)
    if in_order:
        middle = count - 2
    else:
        half, size, middle = node.used_bytes // 2, 0, 0
        while middle < count - 2 and size + len(node.entries[middle]) <= half:
            size += len(node.entries[middle])
            middle += 1
        middle = max(middle, 1)
    right = _new_block(index)
    _change(index, node)
    right.keys, right.entries = node.keys[middle + 1 :], node.entries[middle + 1 :]
    key, entry = node.keys[middle], node.entries[middle]
    del node.keys[middle:], node.entries[middle:]
    if node.children is not None:
        right.children = node.children[middle + 1 :]
        del node.children[middle + 1 :]
    assert right.vcn is not None
    parent, place = path[-1]
    _insert_at(index, path[:-1], parent, place, key, entry, right.vcn)
    # One half may still be too full where long names stand beside short ones.
    for half_node in (node, right):
        if half_node.used_bytes > index.capacity:
            path, _, _, _ = index.descend(half_node.keys[0])
            _split(index, path, half_node, 0)


def _push_down(index: Index) -> None:
    """The root has no room: all of it goes into a block."""
    root = index.root
    if not root.entries:
        index.entry.settle()
        return
    keys, entries, children = root.keys, root.entries, root.children
    root.keys, root.entries, root.children = [], [], None
    _store_root(index, force=True)
    block = _new_block(index)
    block.keys, block.entries, block.children = keys, entries, children
    assert block.vcn is not None
    root.children = [block.vcn]
    _store_root(index, force=True)
    if block.used_bytes > index.capacity:
        _split(index, [(root, 0)], block, 0)


def _store_root(index: Index, *, force: bool = False) -> bool:
    """Bring the root into the file record. False, and nothing done, if there is no room for it."""
    index_entry = index.entry
    old = index_entry.find(AttributeType.INDEX_ROOT, index.name)
    assert old is not None
    new = make_resident(AttributeType.INDEX_ROOT, index.pack_root(), index.name, flags=old.flags)
    if not force and len(new.raw) - len(old.raw) > max(index_entry.room, 0):
        return False
    index_entry.replace(old, new)
    if force:
        index_entry.settle()
    return True


# -- shrinking --


def _drop_leaf(index: Index, path: Path, leaf: Node) -> None:
    """A leaf without entries goes."""
    parent, place = path[-1]
    _change(index, parent)
    assert parent.children is not None
    _free_block(index, leaf)
    if not parent.entries:  # only the root can have a single child
        parent.children = None
        _store_root(index, force=True)
        _drop_allocation(index)
        return
    separator = place if place < len(parent.entries) else place - 1
    key, entry = parent.keys.pop(separator), parent.entries.pop(separator)
    del parent.children[place]
    _after_shrinking(index, path[:-1], parent)
    insert(index, key, entry)


def _after_shrinking(index: Index, path: Path, node: Node) -> None:
    """``node``, which is no leaf, lost an entry: one that has none left is joined with its neighbour."""
    if node.vcn is None:
        _store_root(index, force=True)
        return
    if node.entries or not path:
        return
    assert node.children is not None
    child = node.children[0]
    parent, place = path[-1]
    _change(index, parent)
    assert parent.children is not None
    _free_block(index, node)
    beside = place + 1 if place < len(parent.entries) else place - 1
    neighbour = index.node(parent.children[beside]) if parent.entries else None
    if neighbour is None or neighbour.children is None:  # a tree of others, whose leaves are at different depths
        parent.children[place] = child
        _after_shrinking(index, path[:-1], parent)
        return
    separator = min(place, beside)
    key, entry = parent.keys.pop(separator), parent.entries.pop(separator)
    del parent.children[place]
    _change(index, neighbour)
    at = 0 if beside > place else len(neighbour.entries)
    neighbour.keys.insert(at, key)
    neighbour.entries.insert(at, entry)
    neighbour.children.insert(at if beside > place else at + 1, child)
    if neighbour.used_bytes > index.capacity:
        _split(index, [*path[:-1], (parent, separator)], neighbour, 0)
    else:
        _after_shrinking(index, path[:-1], parent)


def _drop_allocation(index: Index) -> None:
    """An empty index needs no blocks."""
    index_entry = index.entry
    transaction = index.volume.transaction
    transaction.on_failure(setattr, index, "bitmap", index.bitmap)
    transaction.on_failure(setattr, index, "nodes", index.nodes)
    bitmap = index.bitmap
    if bitmap is not None and bitmap in transaction.dirty:
        del transaction.dirty[bitmap]
        transaction.on_failure(transaction.dirty.__setitem__, bitmap, None)
    index.bitmap, index.nodes, index.finger = None, {}, None
    index.packed.clear()
    for kind in (AttributeType.INDEX_ALLOCATION, AttributeType.BITMAP):
        index_entry.put_value(kind, None, index.name)


# -- blocks --


def _new_block(index: Index) -> Node:
    """An empty node in a free block, to be hung into the tree."""
    index.finger = None
    index_entry, name = index.entry, index.name
    if index_entry.find(AttributeType.INDEX_ALLOCATION, name) is None:
        index_entry.add(make_non_resident(AttributeType.INDEX_ALLOCATION, name, pairs=b"\0", lowest_vcn=0,
                                          highest_vcn=-1))
        index_entry.add(make_resident(AttributeType.BITMAP, bytes(8), name))
        index_entry.settle()
    blocks = _bitmap(index)
    number = blocks.find(0, blocks.count, 1)
    stream = index_entry.stream(AttributeType.INDEX_ALLOCATION, name)
    if number < 0:
        number = blocks.count
        size = (number + 1) * index.block_bytes
        if size > stream.clusters * stream.cluster_bytes:
            ahead = min(size // 2, MOST_AHEAD_BYTES)
            try:
                stream.extend_allocation(size + ahead)
            except KernelError as error:
                if error.errno != Errno.ENOSPC:
                    raise
                stream.extend_allocation(size)
        stream.set_sizes(size)
        blocks.extend(number + 1)
    blocks.set(number)
    _store_bitmap(index, blocks)
    node = Node(index, number * index.block_bytes // index.vcn_bytes)
    assert node.vcn is not None
    index.nodes[node.vcn] = node
    index.volume.transaction.on_failure(index.nodes.pop, node.vcn, None)
    _change(index, node)
    return node


def _free_block(index: Index, node: Node) -> None:
    """The block of a node that leaves the tree."""
    index.finger = None
    _change(index, node)
    node.dead = True
    assert node.vcn is not None
    index.nodes.pop(node.vcn, None)
    index.volume.transaction.on_failure(index.nodes.__setitem__, node.vcn, node)
    blocks = _bitmap(index)
    blocks.clear(node.vcn * index.vcn_bytes // index.block_bytes)
    _store_bitmap(index, blocks)


def _bitmap(index: Index) -> Bitmap:
    """Which blocks are taken."""
    if index.bitmap is None:
        stream = index.entry.stream(AttributeType.BITMAP, index.name)
        count = index.entry.stream(AttributeType.INDEX_ALLOCATION, index.name).data_size // index.block_bytes
        if stream.data_size * 8 < count:
            raise CorruptError(f"{index}: its bitmap has {stream.data_size} bytes for {count} blocks")
        bits = stream.read(0, min(stream.data_size, (count + 63) // 64 * 8))

        def locate(offset: int, data: bytes) -> list[Block]:
            found = index.entry.stream(AttributeType.BITMAP, index.name)
            return [] if found.resident else found.locate_data(offset, data[: max(found.data_size - offset, 0)])

        index.bitmap = Bitmap(bits, count, index.volume.transaction, locate)
        index.volume.transaction.on_failure(setattr, index, "bitmap", None)
    return index.bitmap


def _store_bitmap(index: Index, blocks: Bitmap) -> None:
    """Of a resident bitmap, or one that has to grow: the bytes into the attribute."""
    stream = index.entry.stream(AttributeType.BITMAP, index.name)
    if stream.resident or stream.data_size < len(blocks.bits):
        stream.write(0, bytes(blocks.bits))
