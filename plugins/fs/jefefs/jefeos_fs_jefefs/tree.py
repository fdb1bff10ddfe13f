"""A copy-on-write B+ tree of keys and values, both bytes.

    tree.get(key)  tree.floor(key)  tree.scan(low, high)      read
    tree.put(key, value)  tree.remove(key)  tree.remove_range(low, high)   change

A node of an earlier generation is never changed: it is copied, and so are the nodes above it, up to the root. One that
was born in the generation under way is changed in place. What is left behind goes to ``release(address, 1, birth)``.

Nodes split when they are full (at the end if the new item is the last: ascending keys leave full nodes behind), and are
joined with a neighbour when little is left in them. No least filling is promised, but that only a root may be empty.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import CorruptError

from jefeos_fs_jefefs.layout import Root
from jefeos_fs_jefefs.nodes import INNER_OVERHEAD, LEAF_OVERHEAD, Node, Pointer, measure

if TYPE_CHECKING:
    from jefeos_fs_jefefs.nodes import NodeCache

SPARSE_SHARE: Final = 4
"""A node with less than this part of its capacity looks for a neighbour to join."""


class Tree:
    """See the module's text. ``read_only`` trees are those of snapshots."""

    def __init__(self, cache: NodeCache, number: int, root: Pointer, level: int,
                 release: Callable[[int, int, int], None]) -> None:
        self.cache = cache
        self.number = number
        self.root = root
        self.level = level
        self.release = release
        self.capacity = cache.limits.node_capacity

    @classmethod
    def at(cls, cache: NodeCache, number: int, root: Root, release: Callable[[int, int, int], None]) -> Tree:
        """The tree below a root on the medium."""
        return cls(cache, number, (root.address, root.birth, root.checksum), root.level, release)

    @classmethod
    def empty(cls, cache: NodeCache, number: int, release: Callable[[int, int, int], None]) -> Tree:
        """A new tree without items."""
        node = cache.new(0, [], [], 0)
        return cls(cache, number, (node.address, node.birth, 0), 0, release)

    def seal(self) -> Root:
        """Write what is dirty; where the tree is now."""
        address, birth, checksum = self.root
        if address in self.cache.dirty:
            checksum = self.cache.seal(address, self.number)
            self.root = (address, birth, checksum)
        return Root(address=address, birth=birth, checksum=checksum, level=self.level)

    # --- reading -------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        cache, number = self.cache, self.number
        nodes, level = cache.nodes, self.level
        node = cache.get(self.root, level, number)
        while level:
            level -= 1
            pointer = node.values[bisect_right(node.keys, key, 1) - 1]
            child = nodes.get(pointer[0])
            if child is None or child.birth != pointer[1] or child.level != level:
                if not level:
                    return cache.find(pointer, number, key)
                child = cache.get(pointer, level, number)
            node = child
        keys = node.keys
        index = bisect_left(keys, key)
        if index < len(keys) and keys[index] == key:
            value: bytes = node.values[index]
            return value
        return None

    def _leaf_and_bounds(self, key: bytes) -> tuple[Node, bytes, bytes | None]:
        """The leaf for ``key``, the least key that may be in it, and the least that may be in the next."""
        node = self.cache.get(self.root, self.level, self.number)
        low, high = b"", None
        while node.level:
            index = bisect_right(node.keys, key, 1) - 1
            if index:
                low = node.keys[index]
            if index + 1 < len(node.keys):
                high = node.keys[index + 1]
            node = self.cache.get(node.values[index], node.level - 1, self.number)
        return node, low, high

    def floor(self, key: bytes) -> tuple[bytes, bytes] | None:
        """The last item at or before ``key``."""
        node = self.cache.get(self.root, self.level, self.number)
        before: tuple[Node, int] | None = None
        while node.level:
            index = bisect_right(node.keys, key, 1) - 1
            if index:
                before = node, index - 1
            node = self.cache.get(node.values[index], node.level - 1, self.number)
        index = bisect_right(node.keys, key) - 1
        if index >= 0:
            return node.keys[index], node.values[index]
        if before is None:
            return None
        node, index = before
        while node.level:
            node = self.cache.get(node.values[index], node.level - 1, self.number)
            index = len(node.keys) - 1
        return (node.keys[index], node.values[index]) if index >= 0 else None

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The items with ``low <= key < high``, in order. The tree may change between them: no item is given twice."""
        while True:
            leaf, least, upper = self._leaf_and_bounds(low)
            keys = leaf.keys
            if keys and (keys[0] < least or upper is not None and keys[-1] >= upper):
                raise CorruptError(f"node {leaf.address}: keys that belong elsewhere")
            first = bisect_left(keys, low)
            last = bisect_left(keys, high, first)
            yield from zip(keys[first:last], leaf.values[first:last], strict=True)
            if upper is None or upper >= high:
                return
            low = upper

    # --- changing ------------------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key`` to ``value``, whether it is there or not."""
        path: list[tuple[Node, int]] = []
        node = self._own_root()
        while node.level:
            index = bisect_right(node.keys, key, 1) - 1
            path.append((node, index))
            node = self._own_child(node, index)
        keys = node.keys
        index = bisect_left(keys, key)
        if index < len(keys) and keys[index] == key:
            node.used += len(value) - len(node.values[index])
            node.values[index] = value
        else:
            keys.insert(index, key)
            node.values.insert(index, value)
            node.used += len(key) + len(value) + LEAF_OVERHEAD
        if node.used > self.capacity:
            self._split(path, node, index)

    def remove(self, key: bytes) -> bool:
        """Take ``key`` out; False if it was not there."""
        path: list[tuple[Node, int]] = []
        node = self._own_root()
        while node.level:
            index = bisect_right(node.keys, key, 1) - 1
            path.append((node, index))
            node = self._own_child(node, index)
        keys = node.keys
        index = bisect_left(keys, key)
        if index == len(keys) or keys[index] != key:
            return False
        node.used -= len(key) + len(node.values[index]) + LEAF_OVERHEAD
        del keys[index], node.values[index]
        if node.used * SPARSE_SHARE < self.capacity:
            self._shrink(path, node)
        return True

    def remove_range(self, low: bytes, high: bytes) -> None:
        """Take out all items with ``low <= key < high``; leaves that go as a whole are not even read."""
        root = self._own_root()
        self._remove_range(root, low, high, b"", None)
        if root.level and not root.keys:
            self._drop_node(root)
            root = self.cache.new(0, [], [], 0)
            self.root, self.level = (root.address, root.birth, 0), 0
        self._lower_root()

    def _remove_range(self, node: Node, low: bytes, high: bytes, least: bytes, upper: bytes | None) -> None:
        if not node.level:
            first = bisect_left(node.keys, low)
            last = bisect_left(node.keys, high, first)
            del node.keys[first:last], node.values[first:last]
            node.used = measure(0, node.keys, node.values)
            return
        first = bisect_right(node.keys, low, 1) - 1
        last = bisect_left(node.keys, high, 1)  # children from first up to last have something to do with it
        for index in range(last - 1, first - 1, -1):
            child_least = node.keys[index] if index else least
            child_upper = node.keys[index + 1] if index + 1 < len(node.keys) else upper
            if low <= child_least and child_upper is not None and child_upper <= high:
                self.release_below(node.values[index], node.level - 1)
                gone = True
            else:
                child = self._own_child(node, index)
                self._remove_range(child, low, high, child_least, child_upper)
                gone = not child.keys
                if gone:
                    self._drop_node(child)
            if gone:
                del node.keys[index], node.values[index]
        node.used = measure(node.level, node.keys, node.values)

    def release_below(self, pointer: Pointer, level: int) -> None:
        """Give a node and everything below it back, without a look at the items."""
        if level:
            node = self.cache.get(pointer, level, self.number)
            for child in list(node.values):
                self.release_below(child, level - 1)
        address, birth, _ = pointer
        self.release(address, 1, birth)

    # --- nodes that may be changed -----------------------------------------------------------------------

    def _own_root(self) -> Node:
        root = self.cache.get(self.root, self.level, self.number)
        if root.birth != self.cache.generation:
            root = self._copy(root)
            self.root = (root.address, root.birth, 0)
        return root

    def _own_child(self, node: Node, index: int) -> Node:
        cache = self.cache
        pointer = node.values[index]
        child = cache.nodes.get(pointer[0])
        if child is None or child.birth != pointer[1] or child.level != node.level - 1:
            child = cache.get(pointer, node.level - 1, self.number)
        if child.birth != cache.generation:
            child = self._copy(child)
            node.values[index] = (child.address, child.birth, 0)
        return child

    def _copy(self, node: Node) -> Node:
        copy = self.cache.new(node.level, node.keys.copy(), node.values.copy(), node.used)
        self.release(node.address, 1, node.birth)
        return copy

    def _drop_node(self, node: Node) -> None:
        self.release(node.address, 1, node.birth)

    def _split(self, path: list[tuple[Node, int]], node: Node, position: int) -> None:
        """Make two of a node with too much in it; ``position`` is where the last item went."""
        while True:
            keys, values = node.keys, node.values
            middle = len(keys) - 1 if position == len(keys) - 1 else self._middle(node)
            right_keys, right_values = keys[middle:], values[middle:]
            separator = right_keys[0] if node.level else shortest_between(keys[middle - 1], right_keys[0])
            del keys[middle:], values[middle:]
            right = self.cache.new(node.level, right_keys, right_values, measure(node.level, right_keys, right_values))
            node.used -= right.used
            if not path:
                pointers: list[Any] = [(node.address, node.birth, 0), (right.address, right.birth, 0)]
                root_keys = [b"", separator]
                self.level += 1
                root = self.cache.new(self.level, root_keys, pointers, measure(self.level, root_keys, pointers))
                self.root = (root.address, root.birth, 0)
                return
            node, index = path.pop()
            position = index + 1
            node.keys.insert(position, separator)
            node.values.insert(position, (right.address, right.birth, 0))
            node.used += len(separator) + INNER_OVERHEAD
            if node.used <= self.capacity:
                return

    def _middle(self, node: Node) -> int:
        """Where to cut so that both halves fit."""
        half, total = node.used // 2, 0
        for index, key in enumerate(node.keys):
            total += len(key) + (INNER_OVERHEAD if node.level else len(node.values[index]) + LEAF_OVERHEAD)
            if total >= half:
                return min(index + 1, len(node.keys) - 1)
        return len(node.keys) - 1

    def _shrink(self, path: list[tuple[Node, int]], node: Node) -> None:
        """A node with little or nothing in it: out of its parent, or together with a neighbour."""
        while path:
            parent, index = path.pop()
            if not node.keys:
                self._drop_node(node)
                parent.used -= len(parent.keys[index]) + INNER_OVERHEAD
                del parent.keys[index], parent.values[index]
            elif not self._join(parent, index) and not (index and self._join(parent, index - 1)):
                break
            node = parent
            if node.used * SPARSE_SHARE >= self.capacity:
                break
        root = self.cache.get(self.root, self.level, self.number)
        if root.level and not root.keys:
            self._drop_node(root)
            root = self.cache.new(0, [], [], 0)
            self.root, self.level = (root.address, root.birth, 0), 0
        self._lower_root()

    def _join(self, parent: Node, index: int) -> bool:
        """Put the child after ``index`` into the one there, if both fit in one with room to spare."""
        if index + 1 >= len(parent.keys):
            return False
        try:
            left = self.cache.get(parent.values[index], parent.level - 1, self.number)
            right = self.cache.get(parent.values[index + 1], parent.level - 1, self.number)
        except CorruptError:
            return False  # a bad neighbour is no reason to fail: leave it alone
        if left.used + right.used > self.capacity * 3 // 4:
            return False
        left = self._own_child(parent, index)
        keys = right.keys.copy()
        if right.level:
            keys[0] = parent.keys[index + 1]
        left.keys += keys
        left.values += right.values
        left.used = measure(left.level, left.keys, left.values)
        self.release(right.address, 1, right.birth)
        parent.used -= len(parent.keys[index + 1]) + INNER_OVERHEAD
        del parent.keys[index + 1], parent.values[index + 1]
        return True

    def _lower_root(self) -> None:
        """A root with a single child is none."""
        while self.level:
            root = self.cache.get(self.root, self.level, self.number)
            if len(root.keys) > 1:
                return
            child: Pointer = root.values[0]
            self._drop_node(root)
            self.root = child
            self.level -= 1


def shortest_between(left: bytes, right: bytes) -> bytes:
    """The shortest key that is greater than ``left`` and not greater than ``right``."""
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return right[: index + 1]
    return right[: len(left) + 1]
