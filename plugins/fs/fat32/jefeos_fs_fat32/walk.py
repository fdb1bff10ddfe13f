"""The part of fsck that goes through all directories and files.

One pass from the root; each directory is read once, when its first cluster is claimed. Problems are noted with what
would put them right, a function that changes the directory's bytes or the table in memory; `Walk.finish` calls these
and writes the directories that they changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, field
from jefeos.block.volume import Problem, Progress
from jefeos.errors import Errno, KernelError

from jefeos_fs_fat32 import names
from jefeos_fs_fat32.layout import (
    FIRST_CLUSTER,
    FREE_SLOT,
    MOST_SLOTS,
    SLOT_BYTES,
    Attribute,
    Slot,
)
from jefeos_fs_fat32.slots import DOT, DOT_DOT, Found, cluster_of, scan, set_cluster
from jefeos_fs_fat32.table import AllocationTable, Run

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

    from jefeos_fs_fat32.geometry import Geometry

COPY_CLUSTERS: Final = 64
Repair = Callable[[], None]


@define(eq=False)
class Folder:
    """A directory on the way."""

    path: str
    parent: Folder | None
    slot: int
    """Of its entry in ``parent``."""
    cluster: int
    runs: list[Run]
    data: bytearray = field(factory=bytearray)
    changed: bool = False

    def entry(self, slot: int) -> Slot:
        """An entry."""
        return Slot.parse(self.data, slot * SLOT_BYTES)

    def edit(
        self, slot: int, *, cluster: int | None = None, size: int | None = None, name: bytes | None = None
    ) -> None:
        """Change an entry."""
        entry = self.entry(slot)
        if cluster is not None:
            set_cluster(entry, cluster)
        if size is not None:
            entry.size_bytes = size
        if name is not None:
            entry.name, entry.name_case = name, 0
        self.data[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES] = entry.pack()
        self.changed = True

    def clear_from(self, slot: int) -> None:
        """Zero everything from a slot on."""
        start = slot * SLOT_BYTES
        self.data[start:] = bytes(len(self.data) - start)
        self.changed = True

    def erase(self, first: int, slot: int) -> None:
        """Free the slots of an entry."""
        for number in range(first, slot + 1):
            self.data[number * SLOT_BYTES] = FREE_SLOT
        self.changed = True


@define(eq=False)
class Chain:
    """What was found of a chain: its clusters up to where it ends or goes wrong."""

    runs: list[Run]
    length: int
    fault: str = ""
    """Why it does not go on; empty if it ends as it should."""
    shared: bool = False
    """It runs into a cluster of another chain, which is not in ``runs``."""


class Walk:
    """See the module's text."""

    def __init__(self, volume: BufferCache, geometry: Geometry, table: AllocationTable, progress: Progress) -> None:
        self.volume = volume
        self.geometry = geometry
        self.table = table
        self.progress = progress
        self.claimed = bytearray(table.last + 1)
        self.claimed[:FIRST_CLUSTER] = b"\1\1"
        self.folders: dict[int, Folder] = {}
        """By first cluster."""
        self.files = 0
        self.directories = 0
        self.ends_early = False
        """Some directory has something behind its end."""
        self._claims = 0
        self._notes: list[tuple[Problem, list[Repair]]] = []
        self._copies: list[tuple[Problem, Folder, Found, Chain]] = []
        self._renamed = 0
        self._needed: set[int] = set()
        """Clusters of files that should have got a copy of them: no longer shared once the other chain is cut."""

    def run(self) -> None:
        """Go through everything that has a name."""
        self.root = self._root()
        self._go_through(self.root)

    def go_through_lost(self, path: str, parent: Folder, cluster: int) -> Folder:
        """The same from a directory on that nobody names."""
        folder = self.folders[cluster] = self._folder(path, parent, 0, cluster)
        self._go_through(folder)
        return folder

    @property
    def is_harmless(self) -> bool:
        """Nothing was found but what a loss of power leaves."""
        return all(note[0].harmless for note in (*self._notes, *self._copies))

    def _go_through(self, folder: Folder) -> None:
        pending = [folder]
        while pending:
            folder = pending.pop()
            self.directories += 1
            self.progress(self._claims, self.geometry.clusters)
            pending += self._directory(folder)

    def finish(self, repair: bool, at_last: Callable[[], None]) -> list[Problem]:
        """The problems; with ``repair``, after putting right what can be, and calling ``at_last``."""
        result = []
        for problem, folder, found, chain in self._copies:  # first, while chains are as they were found
            result.append(_with(problem, repair and self._copy(folder, found, chain)))
        for problem, repairs in self._notes:
            if repair:
                for act in repairs:
                    act()
            result.append(_with(problem, repair and bool(repairs)))
        if repair:
            at_last()
        for folder in self.folders.values():
            if folder.changed:
                self._write(folder)
        return result

    def _note(self, where: str, what: str, *repairs: Repair, harmless: bool = False) -> None:
        self._notes.append((Problem(where, what, harmless), list(repairs)))

    # --- chains ------------------------------------------------------------------------------------------------------

    def claim(self, first: int) -> Chain:
        """Follow a chain and take its clusters."""
        table, claimed = self.table, self.claimed
        runs: list[Run] = []
        cluster, length, fault, shared = first, 0, "", False
        while True:
            if not table.is_link(cluster):
                fault = f"leads to cluster {cluster}"
                break
            if claimed[cluster]:
                shared = not any(start <= cluster < start + count for start, count in runs)
                fault = f"runs into cluster {cluster} of another file" if shared else f"comes back to cluster {cluster}"
                break
            following = table.get(cluster)
            if not following or following == table.bad:
                fault = f"runs into {'a bad' if following else 'free'} cluster {cluster}"
                break
            claimed[cluster] = 1
            length += 1
            if runs and sum(runs[-1]) == cluster:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((cluster, 1))
            if following > table.bad or length >= self.geometry.clusters:
                break
            cluster = following
        self._claims += length
        return Chain(runs, length, fault, shared)

    def cut(self, chain: Chain, keep: int) -> None:
        """Make a chain end after ``keep`` of its clusters."""
        left, gone = keep, []
        for first, count in chain.runs:
            part = min(left, count)
            left -= part
            if part and not left:
                self.table.set(first + part - 1, self.table.end)
            if part < count:
                gone.append((first + part, count - part))
        if self._needed:
            gone = [(cluster, 1) for first, count in gone for cluster in range(first, first + count)
                    if cluster not in self._needed]
        self.table.release(gone)

    # --- directories -------------------------------------------------------------------------------------------------

    def _root(self) -> Folder:
        geometry = self.geometry
        if geometry.bits != 32:
            data = self.volume.read(geometry.root_offset, geometry.root_entries * SLOT_BYTES)
            folder = Folder("/", None, 0, 0, [], bytearray(data))
        else:
            folder = self._folder("/", None, 0, geometry.root_cluster)
        self.folders[folder.cluster] = folder
        return folder

    def _folder(self, path: str, parent: Folder | None, slot: int, cluster: int) -> Folder:
        """Read a directory, as far as it can be."""
        geometry = self.geometry
        most = max(MOST_SLOTS * SLOT_BYTES // geometry.cluster_bytes, 1)
        chain = self.claim(cluster)
        folder = Folder(path, parent, slot, cluster, chain.runs)
        if chain.fault:
            self._note(path, f"its chain {chain.fault}", *[partial(self.cut, chain, chain.length)][: chain.length])
        elif chain.length > most:
            self._note(path, f"has more than {MOST_SLOTS} entries")
        data = bytearray()
        for first, count in chain.runs:
            if len(data) < MOST_SLOTS * SLOT_BYTES:
                data += self.volume.read(geometry.offset_of(first), min(count, most) * geometry.cluster_bytes)
        folder.data = data
        return folder

    def _directory(self, folder: Folder) -> list[Folder]:
        """Look at each entry; gives the directories in it."""
        found = scan(folder.data)
        if found.orphans:
            repairs = [partial(folder.erase, slot, slot) for slot in found.orphans]
            self._note(folder.path, f"{len(repairs)} parts of long names belong to no entry", *repairs, harmless=True)
        if any(folder.data[found.end * SLOT_BYTES :]):  # some systems go on there
            self.ends_early = True
            act = partial(folder.clear_from, found.end)
            self._note(folder.path, "has something behind its end", act, harmless=True)
        if folder.parent is not None:
            self._dots(folder, found.dots)
        below: list[Folder] = []
        seen: dict[str, Found] = {}
        shorts: set[bytes] = {entry.short for entry in found.entries}
        for entry in found.entries:
            path = f"{folder.path.rstrip('/')}/{entry.text}"
            if self._name(folder, path, entry, seen, shorts):
                slot = folder.entry(entry.slot)
                if slot.attributes & Attribute.DIRECTORY:
                    below += self._subdirectory(folder, path, entry, slot)
                else:
                    self._file(folder, path, entry, slot)
        return below

    def _dots(self, folder: Folder, dots: dict[bytes, int]) -> None:
        parent = folder.parent
        assert parent is not None
        above = parent.cluster if parent.parent is not None else 0
        for name, wanted, text in ((DOT, folder.cluster, "."), (DOT_DOT, above, "..")):
            slot = dots.get(name)
            if slot is None:
                self._note(folder.path, f"has no {text!r}")
            elif cluster_of(folder.entry(slot)) != wanted:
                act = partial(folder.edit, slot, cluster=wanted)
                self._note(folder.path, f"its {text!r} leads elsewhere", act, harmless=True)

    def _subdirectory(self, folder: Folder, path: str, entry: Found, slot: Slot) -> list[Folder]:
        cluster = cluster_of(slot)
        erase = partial(folder.erase, entry.first, entry.slot)
        if not self.table.is_link(cluster) or self.table.get(cluster) in (0, self.table.bad):
            self._note(path, f"is a directory at cluster {cluster}, which is none of its", erase)
            return []
        if self.claimed[cluster]:
            self._second_name(folder, path, entry, cluster)
            return []
        if slot.size_bytes:
            self._note(path, "is a directory with a size", partial(folder.edit, entry.slot, size=0), harmless=True)
        child = self._folder(path, folder, entry.slot, cluster)
        self.folders[cluster] = child
        return [child]

    def _second_name(self, folder: Folder, path: str, entry: Found, cluster: int) -> None:
        """A directory that was met already: it was being moved, or the entry is wrong."""
        other = self.folders.get(cluster)
        erase = partial(folder.erase, entry.first, entry.slot)
        if other is None or other.parent is None or any(self.folders.get(part) is other for part in _above(folder)):
            self._note(path, f"is a directory at cluster {cluster}, which belongs to another file", erase)
            return
        dot_dot = scan(other.data[: 4 * SLOT_BYTES]).dots.get(DOT_DOT)
        above = cluster_of(other.entry(dot_dot)) if dot_dot is not None else 0
        if dot_dot is not None and above == _number(folder) != _number(other.parent):
            first = next(found for found in scan(other.parent.data).entries if found.slot == other.slot)
            erase = partial(other.parent.erase, first.first, first.slot)
            self._notes = [note for note in self._notes if note[0].where != other.path or "'..'" not in note[0].what]
            other.parent, other.slot = folder, entry.slot
        self._note(path, f"is the same directory as {other.path}", erase, harmless=True)

    # --- files -------------------------------------------------------------------------------------------------------

    def _file(self, folder: Folder, path: str, entry: Found, slot: Slot) -> None:
        self.files += 1
        cluster, size = cluster_of(slot), slot.size_bytes
        cluster_bytes = self.geometry.cluster_bytes
        need = -(-size // cluster_bytes)
        if not cluster:
            if size:
                self._note(path, f"has a size of {size} and no clusters", partial(folder.edit, entry.slot, size=0))
            return
        chain = self.claim(cluster)
        if chain.shared and chain.length < need:
            self._share(folder, path, entry, chain, need)
            return
        if chain.length < need:
            what = f"its chain {chain.fault or 'ends'} after {chain.length} clusters, its size is {size}"
            kept = chain.length * cluster_bytes
            edit = partial(folder.edit, entry.slot, size=kept, cluster=None if chain.length else 0)
            self._note(path, what, edit, partial(self.cut, chain, chain.length))
            return
        if chain.length > need or chain.fault:
            repairs: list[Repair] = [partial(self.cut, chain, need)]
            if not need:
                repairs.append(partial(folder.edit, entry.slot, cluster=0))
            more = f"has {chain.length - need} clusters more than its size of {size}" if chain.length > need else ""
            self._note(path, more or f"its chain {chain.fault} past its end", *repairs, harmless=True)

    def _share(self, folder: Folder, path: str, entry: Found, chain: Chain, need: int) -> None:
        """A file whose chain runs into another's: it gets a copy, once all free clusters are known."""
        if chain.length:
            problem = Problem(path, f"its chain {chain.fault}", False)
        else:
            found = sum(count for _, count in self._follow(cluster_of(folder.entry(entry.slot)), need))
            what = f", which has only {found} of its {need}" if found < need else ""
            problem = Problem(path, f"has the clusters of another name{what}", not what)
        self._copies.append((problem, folder, entry, chain))

    def _follow(self, cluster: int, most: int) -> list[Run]:
        """As much of a chain as there is, whoever has claimed it."""
        table = self.table
        runs: list[Run] = []
        while most and table.is_link(cluster) and (following := table.get(cluster)) not in (0, table.bad):
            if runs and sum(runs[-1]) == cluster:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((cluster, 1))
            cluster = following
            most -= 1
        return runs

    def _copy(self, folder: Folder, found: Found, chain: Chain) -> bool:
        """Give a file clusters of its own, with the same contents, for those that it shares and those that it does not.
        False if there is no room."""
        slot = folder.entry(found.slot)
        geometry, table = self.geometry, self.table
        runs = self._follow(cluster_of(slot), -(-slot.size_bytes // geometry.cluster_bytes))
        found_clusters = sum(count for _, count in runs)
        try:
            new = table.allocate(found_clusters)
        except KernelError as error:
            if error.errno != Errno.ENOSPC:
                raise
            self._needed.update(*[range(first, first + count) for first, count in runs])
            return False
        places = (cluster for first, count in new for cluster in range(first, first + count))
        for first, count in runs:
            for start in range(0, count, COPY_CLUSTERS):
                part = min(COPY_CLUSTERS, count - start)
                data = self.volume.read(geometry.offset_of(first + start), part * geometry.cluster_bytes)
                for index in range(part):
                    piece = data[index * geometry.cluster_bytes : (index + 1) * geometry.cluster_bytes]
                    self.volume.write(geometry.offset_of(next(places)), piece)
        size = min(slot.size_bytes, found_clusters * geometry.cluster_bytes)
        folder.edit(found.slot, cluster=new[0][0], size=size)
        table.release(chain.runs)
        return True

    # --- names -------------------------------------------------------------------------------------------------------

    def _name(self, folder: Folder, path: str, entry: Found, seen: dict[str, Found], shorts: set[bytes]) -> bool:
        """Look at a name. False if its entry is to go."""
        bad = ""
        key = names.fold(entry.text)
        if not names.is_valid_short(entry.short):
            bad = "has characters in its short name that may not be there"
        elif not entry.text or not names.FORBIDDEN.isdisjoint(entry.text) or entry.text in (".", ".."):
            bad = "has a name that cannot be"
        elif key in seen:
            other = seen[key]
            if cluster_of(folder.entry(entry.slot)) == cluster_of(folder.entry(other.slot)) != 0:
                self._note(path, "is there twice", partial(folder.erase, entry.first, entry.slot), harmless=True)
                return False
            bad = "is the name of another file as well"
        seen.setdefault(key, entry)
        if bad:
            while (short := f"FSCK{self._renamed:04}REN".encode()) in shorts:
                self._renamed += 1
            self._renamed += 1
            shorts.add(short)
            self._note(path, bad, partial(self._rename, folder, entry, short))
        return True

    def _rename(self, folder: Folder, entry: Found, short: bytes) -> None:
        if entry.first < entry.slot:
            folder.erase(entry.first, entry.slot - 1)
        folder.edit(entry.slot, name=short)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _write(self, folder: Folder) -> None:
        geometry = self.geometry
        if folder.parent is None and geometry.bits != 32:
            self.volume.write(geometry.root_offset, folder.data)
            return
        position = 0
        for first, count in folder.runs:
            length = min(count * geometry.cluster_bytes, len(folder.data) - position)
            if length > 0:
                self.volume.write(geometry.offset_of(first), folder.data[position : position + length])
            position += length


def _number(folder: Folder) -> int:
    """What ``..`` of a directory in ``folder`` says."""
    return folder.cluster if folder.parent is not None else 0


def _above(folder: Folder) -> list[int]:
    """The clusters of a directory and of those that it is in."""
    found: list[int] = []
    at: Folder | None = folder
    while at is not None and len(found) < MOST_SLOTS:
        found.append(at.cluster)
        at = at.parent
    return found


def _with(problem: Problem, repaired: bool) -> Problem:
    return Problem(problem.where, problem.what, problem.harmless, repaired)
