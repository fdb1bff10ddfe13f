"""fsck: each kind of damage is found, put right as far as can be, and what is left is good to fsck.fat too."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.errors import CorruptError
from jefeos.testing.mounted import mounted
from jefeos.testing.volumes import TestClock
from jefeos.vfs.flags import S_IFDIR, S_IFREG
from jefeos_fs_fat32.format import FatFormat
from jefeos_fs_fat32.geometry import Geometry
from jefeos_fs_fat32.layout import SLOT_BYTES, InfoSector, Slot
from jefeos_fs_fat32.slots import cluster_of, set_cluster
from jefeos_fs_fat32.table import AllocationTable
from jefeos_fs_fat32.writes import VolumeState

from .fat_patient import TREE, VARIANTS, Patient, lost_chain, make_dirty


def size_too_large(patient: Patient) -> None:
    at, slot = patient.slot(b"ONE")
    slot.size_bytes = 50_000
    patient.put(at, slot)


def size_too_small(patient: Patient) -> None:
    at, slot = patient.slot(b"TWO")
    slot.size_bytes = 10
    patient.put(at, slot)


def chain_into_free(patient: Patient) -> None:
    cluster = cluster_of(patient.slot(b"TWO")[1])
    patient.link(cluster, patient.geometry.last_cluster - 5)


def chain_out_of_range(patient: Patient) -> None:
    patient.link(cluster_of(patient.slot(b"TWO")[1]), 1)


def loop(patient: Patient) -> None:
    cluster = cluster_of(patient.slot(b"TWO")[1])
    patient.link(patient.following(cluster), cluster)


def cross_link(patient: Patient) -> None:
    one, two = (cluster_of(patient.slot(name)[1]) for name in (b"ONE", b"TWO"))
    patient.link(two, patient.following(one))


def same_start(patient: Patient) -> None:
    at, slot = patient.slot(b"TWO")
    set_cluster(slot, cluster_of(patient.slot(b"ONE")[1]))
    slot.size_bytes = 5000
    patient.put(at, slot)


def fats_differ(patient: Patient) -> None:
    patient.image.data[patient.geometry.fat_offset(1) + 40] ^= 0x55


def bad_short_name(patient: Patient) -> None:
    at, slot = patient.slot(b"ONE")
    slot.name = b"O*E".ljust(11)
    patient.put(at, slot)


def same_name_twice(patient: Patient) -> None:
    at, slot = patient.slot(b"TWO")
    slot.name = b"ONE".ljust(11)
    patient.put(at, slot)


def orphaned_long_name(patient: Patient) -> None:
    at, slot = patient.slot(b"ALONGF~1")
    slot.name = b"OTHER".ljust(11)
    patient.put(at, slot)


def dot_dot_elsewhere(patient: Patient) -> None:
    _, folder = patient.slot(b"DEEPER")
    at = patient.geometry.offset_of(cluster_of(folder)) + SLOT_BYTES
    slot = Slot.parse(patient.image.data, at)
    set_cluster(slot, 77)
    patient.put(at, slot)


def directory_nowhere(patient: Patient) -> None:
    at, slot = patient.slot(b"DEEPER")
    set_cluster(slot, patient.geometry.last_cluster - 3)
    patient.put(at, slot)


def directory_twice(patient: Patient) -> None:
    at, slot = patient.slot(b"DEEPER")
    set_cluster(slot, cluster_of(patient.slot(b"FOLDER")[1]))
    patient.put(at, slot)


def behind_the_end(patient: Patient) -> None:
    at, slot = patient.slot(b"EMPTY")
    slot.name = b"GHOST".ljust(11)
    patient.put(at + 2 * SLOT_BYTES, slot)


#: Damage: what the sentence about it says, and which paths of the tree are not as they were after the repair.
DAMAGE: list[tuple[Callable[[Patient], None], str, set[bytes]]] = [
    (lost_chain, "belong to no file", {b"/ONE"}),
    (size_too_large, "its size is 50000", {b"/ONE"}),
    (size_too_small, "more than its size of 10", {b"/TWO"}),
    (chain_into_free, "free cluster", {b"/TWO"}),
    (chain_out_of_range, "leads to cluster 1", {b"/TWO"}),
    (loop, "comes back to cluster", {b"/TWO"}),
    (cross_link, "of another file", {b"/TWO"}),
    (same_start, "clusters of another name", {b"/TWO"}),
    (fats_differ, "differs from FAT 1", set()),
    (bad_short_name, "characters in its short name", {b"/ONE", b"/FSCK0000.REN"}),
    (same_name_twice, "name of another file", {b"/TWO", b"/FSCK0000.REN"}),
    (orphaned_long_name, "parts of long names", {b"/a long file name", b"/OTHER"}),
    (dot_dot_elsewhere, "'..' leads elsewhere", set()),
    (behind_the_end, "behind its end", set()),
    (directory_nowhere, "none of its", {b"/FOLDER/DEEPER"}),
    (directory_twice, "belongs to another file", {b"/FOLDER/DEEPER"}),
]


@pytest.fixture(params=VARIANTS)
def patient(request: pytest.FixtureRequest) -> Patient:
    return Patient(VARIANTS[request.param])


@pytest.mark.parametrize(("damage", "sentence", "changed"), DAMAGE, ids=[case[0].__name__ for case in DAMAGE])
def test_damage_is_found_and_repaired(
    patient: Patient, damage: Callable[[Patient], None], sentence: str, changed: set[bytes], tmp_path: Path
) -> None:
    assert patient.check().problems == ()
    damage(patient)
    before = bytes(patient.image.data)
    found = patient.check()
    assert any(sentence in problem.what for problem in found.problems), found.problems
    assert not any(problem.repaired for problem in found.problems)
    assert patient.image.data == before
    repaired = patient.check(repair=True)
    assert repaired.clean, repaired.problems
    assert patient.check().problems == ()
    tree = patient.tree()
    assert {path: tree[path] for path in TREE if path not in changed} == {
        path: TREE[path] for path in TREE if path not in changed
    }
    assert {path for path in tree if not path.startswith(b"/FOUND.000")} <= TREE.keys() | changed
    if shutil.which("fsck.fat"):
        image = tmp_path / "image"
        image.write_bytes(patient.image.data)
        done = subprocess.run(["fsck.fat", "-n", image], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout


def kept(patient: Patient) -> dict[bytes, tuple[int, bytes]]:
    """What is in /FOUND.000, without the zeros that end a cluster."""
    tree = patient.tree()
    top = b"/FOUND.000/"
    return {path[len(top) :]: (kind, data.rstrip(b"\0")) for path, (kind, data) in tree.items() if path.startswith(top)}


def test_files_without_a_name_are_kept(patient: Patient) -> None:
    lost_chain(patient)
    patient.check(repair=True)
    assert kept(patient) == {b"FILE0000.CHK": TREE[b"/ONE"]}


def test_everything_below_a_lost_directory_is_kept(patient: Patient) -> None:
    """An empty root, as when its first sector has rotted: what is below its directories keeps its name."""
    start = patient.geometry.root_offset
    if patient.geometry.bits == 32:
        start = patient.geometry.offset_of(patient.geometry.root_cluster)
    patient.image.data[start : start + 512] = bytes(512)
    report = patient.check(repair=True)
    assert report.clean, report.problems
    assert (patient.check().problems, report.files) == ((), len(kept(patient)) - 2)
    contents = sorted(kept(patient).items())
    assert contents[:3] == [
        (b"DIR0000.CHK", (S_IFDIR, b"")),
        (b"DIR0000.CHK/DEEPER", (S_IFDIR, b"")),
        (b"DIR0000.CHK/INSIDE", TREE[b"/FOLDER/INSIDE"]),
    ]
    files = sorted(found for path, found in contents[3:])
    assert files == sorted(TREE[path] for path in (b"/ONE", b"/TWO", b"/a long file name"))
    with mounted(FatFormat(), patient.volume) as here:
        here.vfs.rename(here.actor, b"/FOUND.000/DIR0000.CHK", b"/FOLDER")
        assert here.get(b"/FOLDER/INSIDE") == TREE[b"/FOLDER/INSIDE"][1]
        here.vfs.mkdir(here.actor, b"/FOLDER/new", 0o755)
    assert patient.check().problems == ()


def test_what_only_a_loss_of_power_left_is_freed(patient: Patient) -> None:
    lost_chain(patient)
    state = VolumeState(patient.volume, patient.geometry, AllocationTable(patient.volume, patient.geometry))
    state.set_dirty(True)
    state.volume.flush()
    assert patient.check(repair=True).clean
    assert patient.tree().keys() == TREE.keys() - {b"/ONE"}


def test_without_room_in_the_root_nothing_is_freed() -> None:
    patient = Patient(VARIANTS["fat16"])
    with mounted(FatFormat(), patient.volume) as here:
        for number in range(patient.geometry.root_entries - 7):
            here.put(b"/F%d" % number, b"")
    lost_chain(patient)
    at, slot = patient.slot(b"\xe5NE")
    slot.name, slot.cluster_low, slot.size_bytes = b"TAKEN".ljust(11), 0, 0
    patient.put(at, slot)
    free = patient.check().free_bytes
    report = patient.check(repair=True)
    assert [(problem.harmless, problem.repaired) for problem in report.problems] == [(True, False)]
    assert patient.check().free_bytes == free


def test_a_file_that_shares_clusters_gets_a_copy(patient: Patient) -> None:
    same_start(patient)
    patient.check(repair=True)
    tree = patient.tree()
    assert tree[b"/ONE"] == tree[b"/TWO"] == TREE[b"/ONE"]
    with mounted(FatFormat(), patient.volume) as here:
        here.write(b"/TWO", 0, b"only this one")
        assert here.get(b"/ONE") == TREE[b"/ONE"][1]


def lead_into(patient: Patient, name: bytes, other: bytes) -> None:
    """The chain of one file goes on, past its end, with that of another."""
    _, slot = patient.slot(name)
    cluster = cluster_of(slot)
    for _ in range(-(-slot.size_bytes // patient.geometry.cluster_bytes) - 1):
        cluster = patient.following(cluster)
    patient.link(cluster, cluster_of(patient.slot(other)[1]))


def test_a_file_that_shares_clusters_and_is_short_is_damaged(patient: Patient) -> None:
    """What is left of it is copied; that it is the same as another's is not all that there is to say."""
    lead_into(patient, b"ONE", b"TWO")
    second = patient.following(cluster_of(patient.slot(b"TWO")[1]))
    patient.link(second, patient.geometry.last_cluster - 3)
    clusters = -(-len(TREE[b"/TWO"][1]) // patient.geometry.cluster_bytes)
    (problem,) = [problem for problem in patient.check().problems if problem.where == "/TWO"]
    assert (problem.harmless, problem.what) == (
        False, f"has the clusters of another name, which has only 2 of its {clusters}"
    )  # fmt: skip
    assert patient.check(repair=True).clean
    assert patient.check().problems == ()
    assert patient.tree()[b"/TWO"] == (S_IFREG, TREE[b"/TWO"][1][: 2 * patient.geometry.cluster_bytes])


def test_without_room_for_a_copy_no_cluster_of_the_file_is_freed(patient: Patient) -> None:
    lead_into(patient, b"ONE", b"TWO")
    volume = patient.volume
    table = AllocationTable(volume, patient.geometry)
    at, slot = patient.slot(b"EMPTY")
    slot.size_bytes = table.free_clusters * patient.geometry.cluster_bytes
    set_cluster(slot, table.allocate(table.free_clusters)[0][0])
    table.write_changes()
    volume.flush()
    patient.put(at, slot)
    report = patient.check(repair=True)
    assert [problem.where for problem in report.problems if not problem.repaired] == ["/TWO"]
    assert patient.check().problems == ()  # each of them has its own clusters now
    assert patient.tree()[b"/TWO"] == TREE[b"/TWO"]
    assert patient.tree()[b"/ONE"] == TREE[b"/ONE"]


def test_a_wrong_count_in_fsinfo() -> None:
    patient = Patient(VARIANTS["fat32"])
    offset = patient.geometry.info_sector * patient.geometry.sector_bytes
    info = InfoSector.parse(patient.image.data, offset)
    info.free_clusters -= 100
    patient.image.data[offset : offset + InfoSector.size] = info.pack()
    (problem,) = patient.check().problems
    assert (problem.where, problem.harmless) == ("FSInfo", True)
    assert patient.check(repair=True).clean
    assert patient.check().problems == ()


def test_the_copy_of_a_damaged_boot_sector_is_used() -> None:
    patient = Patient(VARIANTS["fat32"])
    patient.image.data[:512] = bytes(512)
    with pytest.raises(CorruptError):
        Geometry.read(patient.volume)
    assert [problem.where for problem in patient.check().problems] == ["boot sector", "boot sector"]
    assert patient.check(repair=True).clean
    assert patient.tree() == TREE


def test_a_volume_that_was_not_unmounted_says_so(patient: Patient) -> None:
    volume = patient.volume
    filesystem = FatFormat().open(volume, writable=True, page_cache=None, clock=TestClock())
    filesystem.root.create(b"NEW", S_IFREG | 0o644, 0, 0)
    filesystem.sync()
    assert FatFormat().describe(patient.volume)["state"] == "dirty"
    assert patient.check().notes == ("it was not unmounted",)
    assert patient.check().problems == ()
    before = bytes(patient.image.data)
    with mounted(FatFormat(), patient.volume, writable=False):
        pass
    assert patient.image.data == before
    patient.check(repair=True)
    assert FatFormat().describe(patient.volume)["state"] == "clean"


def test_a_volume_that_was_not_unmounted_is_put_right_before_it_is_written(patient: Patient) -> None:
    at, slot = patient.slot(b"TWO")  # ONE was to become TWO when the power went
    before = patient.slot(b"ONE")[1]
    set_cluster(slot, cluster_of(before))
    slot.size_bytes = before.size_bytes
    patient.put(at, slot)
    make_dirty(patient)
    with mounted(FatFormat(), patient.volume) as here:
        here.vfs.unlink(here.actor, b"/ONE")
        here.put(b"/NEW", b"n" * 100_000)
        assert here.get(b"/TWO") == TREE[b"/ONE"][1]
    assert patient.check().problems == ()
    assert FatFormat().describe(patient.volume)["state"] == "clean"


def test_a_damaged_volume_that_was_not_unmounted_is_not_written_to(patient: Patient) -> None:
    chain_into_free(patient)
    make_dirty(patient)
    before = bytes(patient.image.data)
    with mounted(FatFormat(), patient.volume) as here:
        assert here.filesystem.read_only
        assert "/TWO its chain" in here.filesystem.read_only_reason
        assert here.get(b"/ONE") == TREE[b"/ONE"][1]
    assert patient.image.data == before
    patient.check(repair=True)
    with mounted(FatFormat(), patient.volume) as here:
        here.put(b"/NEW", b"")
