"""fsck: look at all of a volume's structures, and put right what can be without losing data.

    boot sector and its copy     FATs against each other
    every directory and file     its slots, its names, its chain (walk.py); each cluster belongs to one chain
    what is left                 clusters in use that no chain has, FSInfo, dirty flags

The first FAT in use counts. Every cluster is claimed by the first chain that has it, so the work is bounded by the
volume's size, whatever its directories say. Nothing is written before everything was seen.

Repairs: a chain that is longer than its file is cut; where one ends early, the file's size becomes what is there; of
two files with one chain the second gets a copy of it; a name that cannot be is replaced by ``FSCK0000.REN``. Harmless
is what costs only space, and the second name of a file that was being moved when the power went. Lost clusters become
free if the volume was not unmounted, everything found is harmless, and a loss of power explains them (leftovers.py);
else they are kept in ``/FOUND.000`` (lost.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.block.volume import CheckReport, Problem, Progress, no_progress
from jefeos.errors import CorruptError

from jefeos_fs_fat32.geometry import HEAD_BYTES, Geometry
from jefeos_fs_fat32.layout import FIRST_CLUSTER, INFO_UNKNOWN
from jefeos_fs_fat32.leftovers import are_leftovers
from jefeos_fs_fat32.lost import LostChains
from jefeos_fs_fat32.table import PIECE, AllocationTable, Run
from jefeos_fs_fat32.walk import Walk
from jefeos_fs_fat32.writes import VolumeState

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

BACKUP_SECTOR: Final = 6
COMPARE_BYTES: Final = 1 << 20


def check(volume: BufferCache, *, repair: bool, progress: Progress) -> CheckReport:
    """Look at all of it, and repair if asked to. Raises CorruptError for a volume whose geometry makes no sense."""
    return _check(volume, repair=repair, progress=progress)[0]


def settle(volume: BufferCache) -> str:
    """Put right what a loss of power left on a volume that was not unmounted, if that is all that there is to find.
    Else nothing is touched, and the answer is why the volume must not be written to."""
    report, lost = _check(volume, repair=False, progress=no_progress)
    bad = [problem for problem in report.problems if not problem.harmless]
    if bad:
        return f"it was not unmounted and is damaged ({bad[0].where} {bad[0].what}): check it first"
    if lost:
        return f"it was not unmounted, and {lost}, which may be files that lost their names: check it first"
    _check(volume, repair=True, progress=no_progress)
    return ""


def _check(volume: BufferCache, *, repair: bool, progress: Progress) -> tuple[CheckReport, str]:
    """`check`; and what is lost and no leftover of a loss of power, in words."""
    problems: list[Problem] = []
    geometry = _boot_sector(volume, problems, repair)
    table = AllocationTable(volume, geometry)
    state = VolumeState(volume, geometry, table)
    notes = ("it was not unmounted",) if state.was_dirty else ()
    copies = _compare_fats(volume, geometry)
    backup_differs = _backup_differs(volume, geometry)
    walk = Walk(volume, geometry, table, progress)
    walk.run()
    lost, chains = _lost_clusters(table, walk.claimed)
    lost_count = sum(length for _, length in lost)
    keeper = LostChains(walk)
    leftovers = not lost or state.was_dirty and walk.is_harmless and not problems and are_leftovers(walk, lost)
    if not leftovers:
        keeper.claim(lost)
        lost, _ = _lost_clusters(table, walk.claimed)
    source = geometry.active_fat + 1
    problems += [Problem(f"FAT {number + 1}", f"differs from FAT {source}", True, repair) for number in copies]
    if backup_differs:
        problems.append(Problem("boot sector", "its copy is different", True, repair))
    if repair:
        table.release(lost)
    kept = not keeper.kept

    def keep() -> None:
        nonlocal kept
        kept = kept or keeper.write()

    found = walk.finish(repair, keep)
    what = f"{lost_count} clusters in {chains} chains belong to no file"
    if lost_count:
        where = f": kept in {keeper.path}" if keeper.kept and kept and repair else ""
        problems.append(Problem("FAT", what + where, True, repair and kept))
    problems += found
    free = table.free_clusters
    recorded = state.info.free_clusters if state.info is not None else INFO_UNKNOWN
    if recorded not in (free, INFO_UNKNOWN):
        problems.append(Problem("FSInfo", f"{recorded} free clusters, there are {free}", True, repair))
    if repair:
        if copies:
            table.rewrite_all()
        table.write_changes()
        state.write_info()
        if backup_differs:
            volume.write(geometry.backup_sector * geometry.sector_bytes, volume.read(0, geometry.sector_bytes))
        volume.order()
        if state.was_dirty:
            state.set_dirty(False)
        volume.flush()
    report = CheckReport(
        problems=tuple(problems),
        files=walk.files,
        directories=walk.directories,
        used_bytes=(geometry.clusters - free) * geometry.cluster_bytes,
        free_bytes=free * geometry.cluster_bytes,
        notes=notes,
    )
    return report, "" if leftovers else what


def _boot_sector(volume: BufferCache, problems: list[Problem], repair: bool) -> Geometry:
    """The geometry, from the copy if the boot sector itself is damaged."""
    try:
        return Geometry.read(volume)
    except CorruptError as error:
        if volume.size_bytes < (BACKUP_SECTOR + 1) * HEAD_BYTES:
            raise
        head = volume.read(BACKUP_SECTOR * HEAD_BYTES, HEAD_BYTES)
        try:
            geometry = Geometry.parse(head, volume.size_bytes)
        except CorruptError:
            raise error from None
        if geometry.bits != 32 or geometry.sector_bytes != HEAD_BYTES or geometry.backup_sector != BACKUP_SECTOR:
            raise
        if repair:
            volume.write(0, head)
        problems.append(Problem("boot sector", f"{error}; its copy is good", False, repair))
        return geometry


def _backup_differs(volume: BufferCache, geometry: Geometry) -> bool:
    """Whether the copy of the boot sector says something else than the boot sector (dirty flag apart)."""
    if not geometry.backup_sector:
        return False
    heads = [
        bytearray(volume.read(sector * geometry.sector_bytes, HEAD_BYTES)) for sector in (0, geometry.backup_sector)
    ]
    for head in heads:
        head[geometry.state_offset] = 0
    return heads[0] != heads[1]


def _compare_fats(volume: BufferCache, geometry: Geometry) -> list[int]:
    """The numbers of FATs that differ from the first one in use."""
    first, *others = geometry.fats_in_use()
    length = -(-(geometry.last_cluster + 1) * geometry.bits // 8)
    different = []
    for number in others:
        for start in range(0, length, COMPARE_BYTES):
            count = min(COMPARE_BYTES, length - start)
            one = volume.read(geometry.fat_offset(first) + start, count)
            if one != volume.read(geometry.fat_offset(number) + start, count):
                different.append(number)
                break
    return sorted(different)


def _lost_clusters(table: AllocationTable, claimed: bytearray) -> tuple[list[Run], int]:
    """Clusters that are in use and belong to nothing, and in how many chains they are."""
    lost: list[Run] = []
    members: list[int] = []
    for first in range(0, table.last + 1, PIECE):
        used = table.usage(first)
        if used == claimed[first : first + len(used)]:
            continue
        for cluster, (taken, claim) in enumerate(zip(used, claimed[first : first + len(used)], strict=True), first):
            if not taken or claim or cluster < FIRST_CLUSTER or table.get(cluster) == table.bad:
                continue
            members.append(cluster)
            if lost and sum(lost[-1]) == cluster:
                lost[-1] = (lost[-1][0], lost[-1][1] + 1)
            else:
                lost.append((cluster, 1))
    followers = {table.get(cluster) for cluster in members}
    heads = sum(cluster not in followers for cluster in members)
    return lost, max(heads, int(bool(members)))
