"""fsck: everything on a volume is looked at, and all of it has to fit together.

  1. superblock and space index, as mounting reads them
  2. the file tree of now and of each snapshot: every node, every item, names against link counts; the data of every
     extent against its checksums, whole units once
  3. the volume tree: snapshots, and the dead
  4. the blocks: in a tree none is used twice; dead are exactly those that snapshots use and the live files do not;
     the bitmaps mark exactly what is used

There is nothing to repair after a loss of power: the last commit is whole. What this finds is rot, or a mistake. If
nothing else is wrong than what says which blocks are free, repair makes that anew from the trees.
Memory: five bits for each block of the volume, and a record for each inode of one tree at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, evolve
from jefeos.block.volume import CheckReport, Problem, Progress
from jefeos.errors import KernelError

from jefeos_fs_jefefs.check_files import FileTreeCheck
from jefeos_fs_jefefs.checksum import unit_sums
from jefeos_fs_jefefs.contents import Extent
from jefeos_fs_jefefs.layout import FILE_TREE, SUPERBLOCK_BYTES, VOLUME_TREE
from jefeos_fs_jefefs.nodes import Pointer
from jefeos_fs_jefefs.snapshots import dead_run
from jefeos_fs_jefefs.space import fill
from jefeos_fs_jefefs.store import Store, open_store
from jefeos_fs_jefefs.superblocks import parse_superblock

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.vfs.inode import Clock

    from jefeos_fs_jefefs.tree import Tree

PROBLEMS_MOST: Final = 1000
VERIFIED_AT_ONCE: Final = 1 << 20
SPACE: Final = "space"
TREES: Final = "trees"


class _Enough(Exception):
    """There are more problems than anybody reads."""


def check_volume(volume: BufferCache, repair: bool, clock: Clock, progress: Progress) -> CheckReport:
    """Look at all of a volume. Nothing is written, unless ``repair`` has something that it can put right."""
    try:
        store = open_store(volume, clock)
    except KernelError as error:
        return CheckReport((Problem("superblock", str(error)),))
    check = VolumeCheck(store, progress)
    try:
        check.run()
        if repair:
            check.repair()
    except _Enough:
        check.notes.append(f"the check ended after {PROBLEMS_MOST} problems")
    return check.report()


@define
class VolumeCheck:
    """One check under way."""

    store: Store
    progress: Progress
    problems: list[Problem] = Factory(list)
    notes: list[str] = Factory(list)
    files: int = 0
    directories: int = 0
    _where: str = ""
    _unreadable: bool = False
    _bitmaps: dict[int, bytes] = Factory(dict)
    """Of the groups whose bitmaps are wrong: what they should be."""
    _live: bytearray = Factory(bytearray)
    _kept: bytearray = Factory(bytearray)
    _verified: bytearray = Factory(bytearray)
    _progressed: int = 0

    def run(self) -> None:
        """The steps, in order."""
        store = self.store
        if store.space.damage:
            self._problem(SPACE, store.space.damage)
        blocks = -(-store.geometry.total_blocks // 8)
        self._kept, self._verified = bytearray(blocks), bytearray(blocks)
        for snapshot in store.snapshots.table:
            if not snapshot.dying:
                mine = self._file_tree(store.tree_of_snapshot(snapshot.root), snapshot.inodes,
                                       f"snapshot {snapshot.name.decode('utf-8', 'replace')}: ")
                self._kept = bytearray(_bits(self._kept, mine, int.__or__))
            else:
                self.notes.append(f"snapshot {snapshot.name!r} is about to go")
        files = self._file_tree(store.files, store.inodes, "", live=True)
        self._live = files
        dead, dying = self._volume_tree(files)
        if not self._unreadable:
            self._compare(dead, dying)
        self._superblocks()

    def report(self) -> CheckReport:
        """What was found."""
        geometry, free = self.store.geometry, self.store.space.free
        usable = geometry.data_end - geometry.first_data
        return CheckReport(tuple(self.problems), self.files, self.directories,
                           (usable - free) * geometry.block_bytes, free * geometry.block_bytes, tuple(self.notes))

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(Problem(self._where + where, what))
        if len(self.problems) >= PROBLEMS_MOST:
            raise _Enough

    # --- trees ---------------------------------------------------------------------------------------------

    def _file_tree(self, tree: Tree, inodes: int, where: str, *, live: bool = False) -> bytearray:
        """Check a file tree; the blocks that it uses."""
        self._where = where
        used = bytearray(len(self._kept))

        def data(extent: Extent, ino: int, last_bytes: int) -> None:
            if not fill(used, extent.address, extent.blocks, used=True):
                self._problem(f"inode {ino}", f"some of the blocks at {extent.address} are used twice")
            elif extent.birth > self.store.superblock.generation or not extent.birth:
                self._problem(f"inode {ino}", f"an extent of generation {extent.birth}")
            self._verify(extent, ino, last_bytes)

        check = FileTreeCheck(self.store.geometry, self.store.next_ino, self._problem, data)
        self._walk(tree.root, tree.level, FILE_TREE, b"", None, used, check.item)
        if not self._unreadable:
            check.finish(inodes)
        if live:
            self.files, self.directories = check.files, check.directories
            if check.orphans:
                self.notes.append(f"{len(check.orphans)} files without a name, which the next mount deletes")
        self._where = ""
        return used

    def _walk(self, pointer: Pointer, level: int, tree: int, low: bytes, high: bytes | None, used: bytearray,
              item: Callable[[bytes, bytes], None]) -> None:
        """All items below a node whose keys have to lie from ``low`` up to ``high``."""
        address, birth, _ = pointer
        try:
            node = self.store.nodes.get(pointer, level, tree)
        except KernelError as error:
            self._unreadable = True
            self._problem(f"node {address}", str(error))
            return
        if not fill(used, address, 1, used=True):
            self._unreadable = True  # what is below was there before: no need to go on
            self._problem(f"node {address}", "it is used twice")
            return
        if birth > self.store.superblock.generation or not birth:
            self._problem(f"node {address}", f"it is of generation {birth}")
        keys = node.keys[1:] if level else node.keys
        if keys and (keys[0] < low or high is not None and keys[-1] >= high):
            self._problem(f"node {address}", "keys that belong elsewhere")
        if not node.keys and (low or high is not None):
            self._problem(f"node {address}", "there is nothing in it")
        if not level:
            for key, value in zip(node.keys, node.values, strict=True):
                item(key, value)
            return
        for index, child in enumerate(list(node.values)):
            self._walk(child, level - 1, tree, node.keys[index] if index else low,
                       node.keys[index + 1] if index + 1 < len(node.keys) else high, used, item)

    def _verify(self, extent: Extent, ino: int, last_bytes: int) -> None:
        """The data of an extent, but for whole units that have been looked at already in another tree."""
        unit, size = extent.unit, self.store.geometry.block_bytes
        inner, inner_end = extent.start + -extent.start % unit, extent.end - extent.end % unit
        if inner >= inner_end or self._mark_verified(extent, inner, inner_end):
            self._verify_run(extent, extent.start, extent.end, ino)
        else:
            self._verify_run(extent, extent.start, inner, ino)
            for block in range(inner, inner_end, unit):
                if self._mark_verified(extent, block, block + unit):
                    self._verify_run(extent, block, block + unit, ino)
            self._verify_run(extent, inner_end, extent.end, ino)
        if last_bytes < size:
            self._verify_end(extent, ino, last_bytes, size)
        self._progressed += extent.blocks
        self.progress(min(self._progressed, self.store.geometry.total_blocks), self.store.geometry.total_blocks)

    def _mark_verified(self, extent: Extent, start: int, end: int) -> bool:
        """Note that these units are checked; False if one of them was already."""
        return fill(self._verified, extent.address + start - extent.start, end - start, used=True)

    def _verify_run(self, extent: Extent, start: int, end: int, ino: int) -> None:
        """The blocks of the file from ``start`` up to ``end``, which are ends of units or of the extent."""
        size = self.store.geometry.block_bytes
        step = VERIFIED_AT_ONCE // size
        while start < end:
            stop = min(start - start % step + step, end)
            address = extent.address + start - extent.start
            try:
                data = self.store.volume.read(address * size, (stop - start) * size)
                if unit_sums(data, start, extent.unit, size) != extent.sums_of(start, stop):
                    self._problem(f"inode {ino}", f"checksums of the {stop - start} blocks at {address} are wrong")
            except KernelError as error:
                self._problem(f"inode {ino}", f"blocks at {address}: {error}")
            start = stop

    def _verify_end(self, extent: Extent, ino: int, last_bytes: int, size: int) -> None:
        try:
            block = self.store.volume.read((extent.address + extent.blocks - 1) * size, size)
        except KernelError:
            return  # said already
        if block[last_bytes:].strip(b"\0"):
            self._problem(f"inode {ino}", "there is something behind its end")

    # --- the volume tree and the blocks --------------------------------------------------------------------

    def _volume_tree(self, used: bytearray) -> tuple[bytearray, bytearray]:
        """Check it; the blocks of the dead, and those of them that only a dying snapshot wanted."""
        store = self.store
        dead, dying = bytearray(len(used)), bytearray(len(used))
        ranges = [store.snapshots.dead_of(snapshot) for snapshot in store.snapshots.table if snapshot.dying]

        def item(key: bytes, value: bytes) -> None:
            if key[:1] == b"S":
                return  # read when the store was opened
            try:
                address, count, birth = dead_run(key, value)
                store.geometry.check_run(address, count, "dead blocks")
            except KernelError as error:
                self._problem("volume tree", str(error))
                return
            if not fill(dead, address, count, used=True):
                self._problem("volume tree", f"some of the blocks at {address} are dead twice")
            if any(low <= key < high and birth > born_after for low, high, born_after in ranges):
                fill(dying, address, count, used=True)

        tree = store.volume_tree
        self._walk(tree.root, tree.level, VOLUME_TREE, b"", None, used, item)
        return dead, dying

    def _compare(self, dead: bytearray, dying: bytearray) -> None:
        """The blocks that are used against what says so."""
        kept_only = _bits(self._kept, self._live, lambda kept, live: kept & ~live)
        wrong = _bits(kept_only, dead, lambda kept, all_dead: kept & ~all_dead)
        self._blocks(wrong, "only snapshots use them, but they are not among the dead", where=TREES)
        wanted = _bits(self._kept, dying, int.__or__)
        unwanted = _bits(dead, wanted, lambda all_dead, want: all_dead & ~want)
        self._blocks(unwanted, "dead, but no snapshot uses them", where=TREES)
        self._blocks(_bits(dead, self._live, int.__and__), "dead, but the live files use them", where=TREES)
        used = _bits(_bits(self._live, self._kept, int.__or__), dead, int.__or__)
        geometry, space = self.store.geometry, self.store.space
        for group in range(geometry.groups):
            base = group * geometry.group_blocks
            mine = used[base // 8 : base // 8 + geometry.block_bytes].ljust(geometry.block_bytes, b"\0")
            fixed = space.fresh_bitmap(group)
            expected = _bits(mine, fixed, int.__or__)
            try:
                bitmap = space.bitmap(group)
            except KernelError as error:
                self._problem(SPACE, str(error))
                self._bitmaps[group] = expected
                continue
            if bitmap != expected:
                self._bitmaps[group] = expected
                free = _bits(expected, bitmap, lambda should, does: should & ~does)
                self._blocks(free, "in use, but marked free", base)
                leaked = _bits(bitmap, expected, lambda does, should: does & ~should)
                self._blocks(leaked, "marked as in use, but nothing uses them", base)

    def _blocks(self, bits: bytes, what: str, base: int = 0, where: str = SPACE) -> None:
        number = int.from_bytes(bits, "little")
        if number:
            first = base + (number & -number).bit_length() - 1
            self._problem(where, f"{number.bit_count()} blocks from {first} on: {what}")

    def repair(self) -> None:
        """Write the bitmaps anew, if what they have to say is certain."""
        store = self.store
        if not self.problems or store.volume.device.read_only or any(found.where != SPACE for found in self.problems):
            return
        store.space.rebuild(self._bitmaps)
        store.changed = True
        store.commit()
        self.problems = [evolve(found, repaired=True) for found in self.problems]

    def _superblocks(self) -> None:
        """Copies that are torn are no problem, but worth a word."""
        volume, geometry = self.store.volume, self.store.geometry
        generation = self.store.superblock.generation
        for older in range(min(generation, 2)):
            for offset in geometry.superblock_offsets(generation - older):
                try:
                    found, _ = parse_superblock(volume.read(offset, SUPERBLOCK_BYTES), volume.size_bytes)
                except KernelError as error:
                    self.notes.append(f"copy of the superblock at {offset}: {error}")
                    continue
                if found.generation != generation - older:
                    self.notes.append(f"copy of the superblock at {offset}: of generation {found.generation}")


def _bits(one: bytes | bytearray, other: bytes | bytearray, how: Callable[[int, int], int]) -> bytes:
    """Two bitmaps of one length together."""
    return how(int.from_bytes(one, "little"), int.from_bytes(other, "little")).to_bytes(len(one), "little")
