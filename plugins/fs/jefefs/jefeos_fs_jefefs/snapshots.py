"""Snapshots of a whole volume: the table of them, and how their blocks come free.

A snapshot is the root of the file tree at a commit, with that commit's generation. It costs nothing to make: what was
born up to then is *protected* from that moment on. If the live files let go of one, it becomes *dead*: noted in
the volume tree under the generation that let it go, with its birth. So a block is wanted by exactly the snapshots with
birth <= generation < death, and which blocks nobody wants any more when a snapshot goes is found among the dead between
it and the next one, with no look at the files:

    ... P ........ S ........ N ...      born after P, dead after S and by N: S was the last to want it

Deleting goes in steps, each a commit: the snapshot is marked as dying, its blocks are given back, its record goes. If
power fails in between, the next mount goes on with it.

Rolling back makes a snapshot's tree the live one. The snapshots after it have to be deleted before: they are branches
of a future that is no more. What the live files got since then is found by birth, without reading what is older.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen
from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_jefefs.contents import extent_of
from jefeos_fs_jefefs.layout import (
    DEAD_KEY,
    DEAD_VALUE,
    EXTENT,
    ITEM_KEY,
    SNAPSHOT_KEY,
    Root,
    SnapshotValue,
)
from jefeos_fs_jefefs.nodes import Pointer
from jefeos_fs_jefefs.tree import Tree

if TYPE_CHECKING:
    from jefeos_fs_jefefs.store import Store

NAME_MOST: Final = 255
DEAD_AT_ONCE: Final = 2000
"""Dead runs that are given back in one commit."""
ALL_GENERATIONS: Final = 1 << 63


@frozen
class Snapshot:
    """One snapshot. ``generation`` is that of the commit whose state it holds."""

    number: int
    name: bytes
    generation: int
    created_ns: int
    root: Root
    inodes: int
    dying: bool = False


@define
class SnapshotTable:
    """The snapshots of a store, oldest first."""

    store: Store
    table: list[Snapshot] = field(init=False, factory=list)
    protected: int = field(init=False, default=0)
    """Blocks born up to this generation belong to a snapshot as well."""

    def __attrs_post_init__(self) -> None:
        for key, value in self.store.volume_tree.scan(b"S", b"T"):
            if len(key) != SNAPSHOT_KEY.size:
                raise CorruptError("volume tree: the key of a snapshot has a wrong length")
            record = SnapshotValue.parse(value)
            name = value[SnapshotValue.size :]
            if not is_valid_name(name) or record.generation >= self.store.generation:
                raise CorruptError(f"volume tree: snapshot {name!r} makes no sense")
            if self.table and self.table[-1].generation >= record.generation:
                raise CorruptError(f"volume tree: snapshot {name!r} is older than the one before it")
            self.table.append(Snapshot(SNAPSHOT_KEY.unpack(key)[1], name, record.generation, record.created_ns,
                                       record.root, record.inodes, bool(record.dying)))
        self._renew()

    def _renew(self) -> None:
        self.protected = max((snapshot.generation for snapshot in self.table if not snapshot.dying), default=0)

    # --- looking -------------------------------------------------------------------------------------------

    def listed(self) -> list[Snapshot]:
        """Those that are not about to go."""
        return [snapshot for snapshot in self.table if not snapshot.dying]

    def find(self, name: bytes) -> Snapshot:
        """The snapshot of that name. Raises ENOENT."""
        for snapshot in self.table:
            if snapshot.name == name and not snapshot.dying:
                return snapshot
        raise KernelError(Errno.ENOENT, f"there is no snapshot {name!r}")

    # --- making --------------------------------------------------------------------------------------------

    def create(self, name: bytes) -> Snapshot:
        """Commit, and keep the state of that commit. Raises EEXIST, EINVAL, ENAMETOOLONG, ENOSPC."""
        store = self.store
        if len(name) > NAME_MOST:
            raise KernelError(Errno.ENAMETOOLONG)
        if not is_valid_name(name):
            raise KernelError(Errno.EINVAL)
        if any(snapshot.name == name for snapshot in self.table):
            raise KernelError(Errno.EEXIST)
        store.begin(store.volume_tree.level + 8)
        made: list[Snapshot] = []

        def note(root: Root) -> None:
            number = store.superblock.next_snapshot
            created_ns = store.clock.realtime_ns() if store.clock is not None else 0
            snapshot = Snapshot(number, name, store.generation, created_ns, root, store.inodes)
            store.superblock.next_snapshot += 1
            self._put(snapshot)
            made.append(snapshot)

        store.commit(note)
        self.table.append(made[0])
        self._renew()
        return made[0]

    def _put(self, snapshot: Snapshot) -> None:
        record = SnapshotValue(generation=snapshot.generation, created_ns=snapshot.created_ns, root=snapshot.root,
                               inodes=snapshot.inodes, dying=int(snapshot.dying))
        self.store.volume_tree.put(SNAPSHOT_KEY.pack(b"S", snapshot.number), record.pack() + snapshot.name)

    # --- deleting ------------------------------------------------------------------------------------------

    def delete(self, name: bytes) -> None:
        """Delete a snapshot and give its blocks back. Raises ENOENT."""
        store = self.store
        snapshot = self.find(name)
        store.begin(store.volume_tree.level + 4, reserve=0)
        index = self.table.index(snapshot)
        with store.changing:
            dying = self.table[index] = evolve(snapshot, dying=True)
            self._put(dying)
            self._renew()
        store.commit()
        self._bury(dying)

    def finish_deletions(self) -> None:
        """Go on with what a loss of power interrupted."""
        for snapshot in [snapshot for snapshot in self.table if snapshot.dying]:
            self._bury(snapshot)

    def dead_of(self, snapshot: Snapshot) -> tuple[bytes, bytes, int]:
        """Where the dead are that only ``snapshot`` may want: from key, to key, born after."""
        index = self.table.index(snapshot)
        born_after = self.table[index - 1].generation if index else 0
        until = self.table[index + 1].generation if index + 1 < len(self.table) else ALL_GENERATIONS - 1
        return DEAD_KEY.pack(b"D", snapshot.generation + 1, 0), DEAD_KEY.pack(b"D", until + 1, 0), born_after

    def _bury(self, snapshot: Snapshot) -> None:
        store = self.store
        low, high, born_after = self.dead_of(snapshot)
        while True:
            store.begin(DEAD_AT_ONCE // 16 + store.volume_tree.level + 4 if store.space.free > 1000 else 0, reserve=0)
            batch: list[tuple[bytes, int, int]] = []
            for key, value in store.volume_tree.scan(low, high):
                address, count, birth = dead_run(key, value)
                if birth > born_after:
                    batch.append((key, address, count))
                    if len(batch) >= (DEAD_AT_ONCE if store.space.free > 1000 else 20):
                        break
            with store.changing:
                for key, address, count in batch:
                    store.volume_tree.remove(key)
                    self._forget_and_free(address, count)
                if not batch:
                    store.volume_tree.remove(SNAPSHOT_KEY.pack(b"S", snapshot.number))
                    self.table.remove(snapshot)
            if not batch:
                store.commit()
                return
            low = batch[-1][0]
            store.commit()

    def _forget_and_free(self, address: int, count: int) -> None:
        nodes = self.store.nodes
        for block in range(address, address + count) if count < len(nodes.nodes) else list(nodes.nodes):
            if address <= block < address + count:
                nodes.forget(block)
        self.store.space.free_later(address, count)

    # --- rolling back --------------------------------------------------------------------------------------

    def roll_back(self, name: bytes) -> None:
        """The files become what they were in the newest snapshot, which stays. Raises ENOENT; EBUSY for an older one.

        For a volume that nobody has mounted: inodes in memory would not know of it.
        """
        store = self.store
        snapshot = self.find(name)
        if any(other.generation > snapshot.generation for other in self.table):
            raise KernelError(Errno.EBUSY, f"there are newer snapshots than {name!r}: delete them first")
        store.commit()
        gone: list[tuple[int, int]] = []
        self._born_since(store.files.root, store.files.level, snapshot.generation, gone, set())
        store.begin(store.volume_tree.level * 3 + 8, reserve=0)
        with store.changing:
            for address, count in gone:
                self._forget_and_free(address, count)
            low, high, _ = self.dead_of(snapshot)
            store.volume_tree.remove_range(low, high)  # they live again
            root = snapshot.root
            store.files.root, store.files.level = (root.address, root.birth, root.checksum), root.level
            store.inodes = snapshot.inodes
        store.commit()

    def _born_since(self, pointer: Pointer, level: int, generation: int, gone: list[tuple[int, int]],
                    seen: set[int]) -> None:
        """Collect the blocks of the live tree that are younger than ``generation``."""
        address, birth, _ = pointer
        if birth <= generation:
            return
        if address in seen:
            raise CorruptError(f"node {address} is referred to twice")
        seen.add(address)
        tree: Tree = self.store.files
        node = self.store.nodes.get(pointer, level, tree.number)
        gone.append((address, 1))
        if level:
            for child in node.values:
                self._born_since(child, level - 1, generation, gone, seen)
            return
        for key, value in zip(node.keys, node.values, strict=True):
            if len(key) > ITEM_KEY.size and key[8] == EXTENT:
                extent = extent_of(key, value, self.store.limits)
                if extent.birth > generation:
                    gone.append((extent.address, extent.blocks))


def dead_run(key: bytes, value: bytes) -> tuple[int, int, int]:
    """Address, length and birth of an item of the dead. Raises CorruptError."""
    if len(key) != DEAD_KEY.size or len(value) != DEAD_VALUE.size:
        raise CorruptError("volume tree: an item of the dead has a wrong length")
    birth, count = DEAD_VALUE.unpack(value)
    return DEAD_KEY.unpack(key)[2], count, birth


def is_valid_name(name: bytes) -> bool:
    """A name that can stand in a directory."""
    return 0 < len(name) <= NAME_MOST and name not in (b".", b"..") and not set(b"/\0") & set(name)
