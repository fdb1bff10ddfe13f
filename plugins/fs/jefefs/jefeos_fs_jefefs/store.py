"""The store: trees, space and superblocks together, and the commit that moves a volume from one state to the next.

    open_store / make_store --> Store
      .files       the file tree, as it is now
      .volume_tree snapshots, and the blocks that only snapshots still use ("dead")
      .begin(n)    before each change: is there room for n more blocks? Commits when it is time to, or to get room
      .changing    a context for each change: if it fails half-way, nothing of this generation is ever committed
      .commit()    everything so far is on the medium when it returns

A generation is what happens between two commits. Its nodes and data go to blocks that the last commit does not use, so
until the superblock is written the medium holds the last state in full, and from then on the new one.

Who keeps changes in memory (the filesystem's inodes) registers with ``before_commit`` and says in ``owed_blocks``
how many blocks writing them may take at the most.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, JefeError, KernelError

from jefeos_fs_jefefs.checksum import SUM, checksum_of
from jefeos_fs_jefefs.layout import (
    DEAD_KEY,
    DEAD_VALUE,
    FILE_TREE,
    SUPERBLOCK_BYTES,
    VOLUME_TREE,
    Geometry,
    Limits,
    Root,
    Superblock,
)
from jefeos_fs_jefefs.nodes import NodeCache
from jefeos_fs_jefefs.snapshots import SnapshotTable
from jefeos_fs_jefefs.space import Space
from jefeos_fs_jefefs.superblocks import load_superblock
from jefeos_fs_jefefs.tree import Tree

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.vfs.inode import Clock

DIRTY_NODES_MOST: Final = 3000
LET_GO_MOST: Final = 32768
COMMIT_AFTER_NS: Final = 30 * 10**9
RESERVE_SHARE: Final = 32
RESERVE_LEAST: Final = 112
RESERVE_MOST: Final = 8192
BLOCKS_PER_ITEM: Final = 2
"""A change of one item copies a path; that it splits nodes besides is rare enough to count it once more."""


class Store:
    """See the module's text."""

    def __init__(self, volume: BufferCache, superblock: Superblock, space: Space, clock: Clock | None) -> None:
        self.volume = volume
        self.superblock = superblock
        self.clock = clock
        self.space = space
        self.geometry = space.geometry
        self.limits = Limits(self.geometry.block_bytes)
        self.nodes = NodeCache(volume, space, superblock.generation + 1)
        self.next_ino = superblock.next_ino
        self.inodes = superblock.inodes
        self.failure = ""
        """Why this generation can never be committed; empty if it can."""
        self.changing = _Changing(self)
        self.before_commit: Callable[[], None] = _nothing
        self.owed_blocks: Callable[[], int] = _none
        self.changed = False
        self.recent_unit = (0, b"", b"")
        """Address, checksum and contents of the unit that was read or written last, checked."""
        self._dead: list[tuple[int, int, int]] = []
        self._unfinished: list[tuple[int, bytes]] = []
        self._committed_ns = 0
        usable = self.geometry.data_end - self.geometry.first_data
        self.reserve = min(max(usable // RESERVE_SHARE, RESERVE_LEAST), RESERVE_MOST, usable // 2)
        """Blocks that only deletion may use, so that it works on a full volume."""

    def load_trees(self) -> None:
        """Take over what the superblock says."""
        self.files = Tree.at(self.nodes, FILE_TREE, self.superblock.files, self._release_of_files)
        self.volume_tree = Tree.at(self.nodes, VOLUME_TREE, self.superblock.volume, self._release_of_volume)
        self.snapshots = SnapshotTable(self)

    def make_trees(self) -> None:
        """Begin with two empty ones."""
        self.files = Tree.empty(self.nodes, FILE_TREE, self._release_of_files)
        self.volume_tree = Tree.empty(self.nodes, VOLUME_TREE, self._release_of_volume)
        self.snapshots = SnapshotTable(self)
        self.changed = True

    def tree_of_snapshot(self, root: Root) -> Tree:
        """The file tree of a snapshot, for reading."""
        return Tree.at(self.nodes, FILE_TREE, root, _refuse_release)

    @property
    def generation(self) -> int:
        """The one under way."""
        return self.nodes.generation

    # --- room ----------------------------------------------------------------------------------------------

    def blocks_for(self, items: int) -> int:
        """What changing so many items of the file tree may take at the most, in a usual case."""
        return items * (self.files.level + BLOCKS_PER_ITEM)

    def begin(self, blocks: int, *, reserve: int | None = None) -> None:
        """A change that takes up to ``blocks`` is about to come. Raises KernelError: ENOSPC, EROFS, EIO.

        ``reserve``: how much has to stay free besides; None is all of the reserve.
        """
        if self.failure:
            raise KernelError(Errno.EROFS, self.failure)
        if self._unfinished:
            self._finish()
        if len(self.nodes.dirty) > DIRTY_NODES_MOST or self.space.let_go_blocks > LET_GO_MOST or self._is_late():
            self.commit()
        left = self.reserve if reserve is None else reserve
        wanted = blocks + left + self._owed()
        if self.space.free >= wanted:
            return
        if self.changed:
            self.commit()
        if self.space.free < blocks + left + self._owed():
            raise KernelError(Errno.ENOSPC)

    def _owed(self) -> int:
        return self.owed_blocks() + len(self._dead) // 32 + self.volume_tree.level + 8

    def _is_late(self) -> bool:
        if self.clock is None or not self.changed:
            return False
        now_ns = self.clock.realtime_ns()
        if not self._committed_ns or now_ns < self._committed_ns:
            self._committed_ns = now_ns
        return now_ns - self._committed_ns > COMMIT_AFTER_NS

    # --- letting go ----------------------------------------------------------------------------------------

    def release(self, address: int, count: int, birth: int) -> None:
        """The live files no longer use these blocks, all of them born in generation ``birth``."""
        if birth >= self.generation:
            if birth > self.generation:
                raise CorruptError(f"blocks at {address}: they are from a later generation")
            self.space.free_now(address, count)
        elif birth > self.snapshots.protected:
            self.space.free_later(address, count)
        else:
            self.geometry.check_run(address, count, "dead blocks")
            self._dead.append((address, count, birth))

    def _release_of_files(self, address: int, count: int, birth: int) -> None:
        if birth > self.snapshots.protected:
            self.nodes.forget(address)
        self.release(address, count, birth)

    def _release_of_volume(self, address: int, count: int, birth: int) -> None:
        self.nodes.forget(address)
        if birth >= self.generation:
            self.space.free_now(address, count)
        else:
            self.space.free_later(address, count)

    def _bury_dead(self) -> None:
        """Note what only snapshots still use, in runs."""
        runs: list[tuple[int, int, int]] = []
        for address, count, birth in sorted(self._dead):
            if runs and runs[-1][0] + runs[-1][1] == address and runs[-1][2] == birth:
                runs[-1] = (runs[-1][0], runs[-1][1] + count, birth)
            else:
                runs.append((address, count, birth))
        self._dead = []
        for address, count, birth in runs:
            self.volume_tree.put(DEAD_KEY.pack(b"D", self.generation, address), DEAD_VALUE.pack(birth, count))

    def abort(self, why: str) -> None:
        """A change failed half-way: the medium keeps the last commit, and nothing more is written."""
        self.failure = self.failure or f"a change failed half-way ({why}); what came after the last commit is lost"

    # --- commit --------------------------------------------------------------------------------------------

    def commit(self, snapshot: Callable[[Root], None] | None = None) -> None:
        """Bring everything to the medium. Raises KernelError: EIO if it could not be (again later), EROFS.

        ``snapshot`` is called with the root of the finished file tree and may still change the volume tree.
        """
        if self.failure or self.space.damage:
            raise KernelError(Errno.EROFS, self.failure or self.space.damage)
        if self._unfinished:
            self._finish()
        with self.changing:
            self.before_commit()
        if not self.changed and snapshot is None:
            return
        with self.changing:
            self.superblock.files = self.files.seal()
            if snapshot is not None:
                snapshot(self.superblock.files)
            self._bury_dead()
            self.superblock.volume = self.volume_tree.seal()
            references = self.space.commit()
        self._unfinished = self._superblock_writes(references)
        self._finish()

    def _superblock_writes(self, references: bytes) -> list[tuple[int, bytes]]:
        superblock = self.superblock
        superblock.generation = self.generation
        superblock.next_ino, superblock.inodes = self.next_ino, self.inodes
        superblock.free_blocks = sum(self.space.free_counts)
        if self.clock is not None:
            self._committed_ns = superblock.committed_ns = self.clock.realtime_ns()
        body = (superblock.pack() + references).ljust(SUPERBLOCK_BYTES - SUM.size, b"\0")
        block = body + SUM.pack(checksum_of(body))
        return [(offset, block) for offset in self.geometry.superblock_offsets(self.generation)]

    def _finish(self) -> None:
        """The last part of a commit, which may be done over if the device failed: superblocks after all else."""
        self.volume.order()
        for offset, block in self._unfinished:
            self.volume.write(offset, block)
        self.volume.flush()
        self._unfinished = []
        self.space.settle()
        self.nodes.dirty.clear()
        self.nodes.generation += 1
        self.changed = False


class _Changing:
    """The context of one change of the trees. One object, entered anew each time: it is on every path that changes."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __enter__(self) -> None:
        self.store.changed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.store.abort(str(error) if isinstance(error, JefeError) else repr(error))


def open_store(volume: BufferCache, clock: Clock | None) -> Store:
    """A store as the newest superblock describes it. Raises CorruptError. With ``space.damage`` it is for reading."""
    superblock, references = load_superblock(volume)
    space = Space(volume, Geometry(superblock.block_bytes, superblock.total_blocks))
    space.load(references)
    if space.free != superblock.free_blocks:
        space.damage = space.damage or "superblock: its count of free blocks is not that of the space index"
    store = Store(volume, superblock, space, clock)
    store.load_trees()
    return store


def _nothing() -> None:
    """Nobody keeps changes back."""


def _none() -> int:
    return 0


def _refuse_release(address: int, count: int, birth: int) -> None:
    raise KernelError(Errno.EROFS)
