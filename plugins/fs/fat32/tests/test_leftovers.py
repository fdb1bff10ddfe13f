"""What a loss of power left of chains is freed by the next mount; what may be all that is left of files never is."""

from __future__ import annotations

import pytest
from jefeos.block.cache import BufferCache
from jefeos.block.volume import Problem
from jefeos.testing.crash import crash_points, record
from jefeos.testing.mounted import mounted
from jefeos.testing.operations import Abilities
from jefeos.testing.volumes import TestClock
from jefeos.vfs.flags import S_IFREG
from jefeos_fs_fat32.format import FatFormat
from jefeos_fs_fat32.layout import SLOT_BYTES
from jefeos_fs_fat32.leftovers import MOST_NAMELESS, NAMED_FOR_EACH
from jefeos_fs_fat32.slots import cluster_of, set_cluster
from jefeos_fs_fat32.table import AllocationTable

from .fat_patient import TREE, VARIANTS, Patient, lost_chain, make_dirty

SECTOR_BYTES = 512


@pytest.fixture(params=VARIANTS)
def patient(request: pytest.FixtureRequest) -> Patient:
    return Patient(VARIANTS[request.param])


def add_nameless(patient: Patient, count: int) -> int:
    """Chains of three clusters each, as of files whose names had not come to the medium. Gives the free clusters."""
    volume = patient.volume
    table = AllocationTable(volume, patient.geometry)
    free = table.free_clusters
    for _ in range(count):
        table.allocate(3)
    table.write_changes()
    volume.flush()
    return free


def add_named(patient: Patient, count: int) -> None:
    with mounted(FatFormat(), patient.volume) as here:
        for number in range(count):
            here.put(b"/FOLDER/F%d" % number, b"named")


def check(volume: BufferCache) -> list[Problem]:
    return list(FatFormat().check(volume, repair=False, clock=TestClock()).problems)


def free_clusters(patient: Patient) -> int:
    return AllocationTable(patient.volume, patient.geometry).free_clusters


def require_settled(patient: Patient) -> None:
    """A mount for writing puts everything right."""
    make_dirty(patient)
    with mounted(FatFormat(), patient.volume) as here:
        assert not here.filesystem.read_only, here.filesystem.read_only_reason
        here.put(b"/NEW", b"new")
    assert patient.check().problems == ()
    assert not any(path.startswith(b"/FOUND") for path in patient.tree())


def require_untouched(patient: Patient) -> None:
    """A mount for writing becomes one for reading, says why, and leaves everything as it is."""
    make_dirty(patient)
    before = bytes(patient.image.data)
    with mounted(FatFormat(), patient.volume) as here:
        assert here.filesystem.read_only
        assert "belong to no file, which may be files that lost their names" in here.filesystem.read_only_reason
        assert "\n" not in here.filesystem.read_only_reason
    assert patient.image.data == before


def contents_found(patient: Patient) -> set[bytes]:
    """Of the files in /FOUND.000, after a repair."""
    assert patient.check(repair=True).clean
    tree = patient.tree()
    return {data.rstrip(b"\0") for path, (kind, data) in tree.items() if path.startswith(b"/FOUND") and kind == S_IFREG}


def test_few_chains_without_names_are_freed(patient: Patient) -> None:
    add_named(patient, 3 * NAMED_FOR_EACH)
    free = add_nameless(patient, 3)
    require_settled(patient)
    assert free_clusters(patient) == free - 1


def test_too_many_for_the_names_there_are_stay(patient: Patient) -> None:
    add_nameless(patient, len(TREE) // NAMED_FOR_EACH + 1)
    require_untouched(patient)


def test_too_many_stay_however_many_names_there_are() -> None:
    patient = Patient(VARIANTS["fat32"])
    add_named(patient, NAMED_FOR_EACH * (MOST_NAMELESS + 1))
    add_nameless(patient, MOST_NAMELESS + 1)
    require_untouched(patient)
    patient = Patient(VARIANTS["fat32"])
    add_named(patient, NAMED_FOR_EACH * (MOST_NAMELESS + 1))
    add_nameless(patient, MOST_NAMELESS)
    require_settled(patient)


def test_a_wiped_root_stays(patient: Patient) -> None:
    """All of its files are chains without names then, and a later repair keeps them."""
    where = patient.root_bytes
    patient.image.data[where] = bytes(where.stop - where.start)
    require_untouched(patient)
    assert contents_found(patient) == {data for kind, data in TREE.values() if kind == S_IFREG and data}


def test_a_wiped_sector_of_a_directory_stays(patient: Patient) -> None:
    """With names behind it, and many elsewhere: what is lost is a small part."""
    add_named(patient, 40 * NAMED_FOR_EACH)
    with mounted(FatFormat(), patient.volume) as here:
        here.vfs.mkdir(here.actor, b"/MANY", 0o755)
        for number in range(40):
            here.put(b"/MANY/M%d" % number, b"%d" % number)
    at = patient.slot(b"M20")[0] // SECTOR_BYTES * SECTOR_BYTES
    patient.image.data[at : at + SECTOR_BYTES] = bytes(SECTOR_BYTES)
    require_untouched(patient)
    assert {b"14", b"20", b"29", b"39"} <= contents_found(patient)


def test_what_erased_names_lead_to_is_freed(patient: Patient) -> None:
    """A removal of all there was, which was under way. What was in directories still has its names."""
    for slot in range(patient.root_bytes.start, patient.root_bytes.stop, SLOT_BYTES):
        if patient.image.data[slot]:
            patient.image.data[slot] = 0xE5
    require_settled(patient)
    assert patient.tree() == {b"/NEW": (S_IFREG, b"new")}


def test_an_erased_name_says_nothing_about_a_shorter_chain(patient: Patient) -> None:
    lost_chain(patient)
    at, slot = patient.slot(b"\xe5NE")
    slot.size_bytes *= 4
    patient.put(at, slot)
    add_nameless(patient, 1)
    require_untouched(patient)


def test_a_directory_that_only_an_erased_name_claims_is_none(patient: Patient) -> None:
    """Its first entry is of another cluster: what it names says nothing."""
    at, slot = patient.slot(b"FOLDER")
    place = patient.geometry.offset_of(cluster_of(slot))
    slot.name = b"\xe5OLDER".ljust(11)
    patient.put(at, slot)
    _, dot = patient.slot(b".")
    set_cluster(dot, 99)
    patient.put(place, dot)
    require_untouched(patient)


def test_chains_in_a_circle_are_left_to_fsck(patient: Patient) -> None:
    volume = patient.volume
    table = AllocationTable(volume, patient.geometry)
    ((first, _),) = table.allocate(3)
    table.set(first + 2, first)
    table.write_changes()
    volume.flush()
    require_untouched(patient)
    assert patient.check(repair=True).clean


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_mount_after_a_loss_of_power(variant: str) -> None:
    """Most points are put right by it, and those that are not are left as they are."""
    recording = record(
        FatFormat(), 4 << 20, seed=3, abilities=Abilities(hard_links=False, symlinks=False), options=VARIANTS[variant]
    )
    settled = left = 0
    for point in crash_points(recording, 60, 3):
        lost = any("belong to no file" in problem.what for problem in check(point.volume()))
        before = bytes(point.image.data)
        volume = point.volume()
        filesystem = FatFormat().open(volume, writable=True, page_cache=None, clock=TestClock())
        if filesystem.read_only:
            left += 1
            assert lost and "lost their names" in filesystem.read_only_reason
            assert point.image.data == before
            continue
        filesystem.sync()
        assert check(point.volume()) == []
        settled += lost
    assert settled > 3 * left
