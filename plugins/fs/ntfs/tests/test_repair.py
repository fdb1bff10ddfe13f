"""fsck, repairing: what can be put right is, nothing that could be read before is gone, and the rest is left alone."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from jefeos.block.volume import CheckReport
from jefeos.errors import KernelError
from jefeos.testing.mounted import mounted
from jefeos.testing.operations import Model, everyday, perform
from jefeos.testing.volumes import image_volume
from jefeos_fs_ntfs import reparse
from jefeos_fs_ntfs.format import NtfsFormat
from jefeos_fs_ntfs.layout import AttributeType, MetaFile, ReparsePoint
from jefeos_fs_ntfs.volume import Volume

sys.path.insert(0, str(Path(__file__).parent))
from ntfs_patient import Patient

FORMAT = NtfsFormat()
RECORD = 1024


def repaired(patient: Patient) -> CheckReport:
    """Repair; everything that is called repaired is gone afterwards, and nothing else came."""
    before = patient.check()
    report = patient.check(repair=True)
    assert [(one.where, one.what) for one in report.problems] == [(one.where, one.what) for one in before.problems]
    after = patient.check()
    left = [(one.where, one.what) for one in report.problems if not one.repaired]
    assert [(one.where, one.what) for one in after.problems] == left
    return report


def set_bytes(offset: int, data: bytes) -> Callable[[Patient], None]:
    def damage(patient: Patient) -> None:
        place = offset if offset >= 0 else len(patient.image.data) + offset
        patient.image.data[place : place + len(data)] = data

    return damage


def in_record(number: int, offset: int, data: bytes) -> Callable[[Patient], None]:
    def change(block: bytearray) -> None:
        block[offset : offset + len(data)] = data

    return lambda patient: patient.edit_record(number, change)


def spoil_name(patient: Patient) -> None:
    """$Extend lists $Quotb instead of $Quota."""

    def change(block: bytearray) -> None:
        place = block.index("$Quota".encode("utf-16-le"), 0x100)
        block[place : place + 12] = "$Quotb".encode("utf-16-le")

    patient.edit_record(MetaFile.EXTEND, change)


def leak(patient: Patient) -> None:
    place = patient.stream(MetaFile.BITMAP)
    for cluster in (700, 701, 999):
        patient.flip(place, cluster)
    patient.flip(patient.stream(MetaFile.MFT, AttributeType.BITMAP), 55)


def unmark(patient: Patient) -> None:
    patient.flip(patient.stream(MetaFile.BITMAP), patient.stream(MetaFile.UPCASE) // 4096 + 3)
    patient.flip(patient.stream(MetaFile.MFT, AttributeType.BITMAP), 24)


def stale(patient: Patient) -> None:
    """Record 26 is free, and still listed by $Extend."""
    in_record(26, 22, b"\0")(patient)
    patient.flip(patient.stream(MetaFile.MFT, AttributeType.BITMAP), 26)


def torn_root_index(patient: Patient) -> None:
    patient.image.data[patient.stream(MetaFile.ROOT, AttributeType.INDEX_ALLOCATION, "$I30") + 1022] ^= 0xFF


def dirty(patient: Patient) -> None:
    def change(block: bytearray) -> None:
        block[block.index(b"\x03\x01\x00\x00", 0x100) + 2] |= 1

    patient.edit_record(MetaFile.VOLUME, change)


@pytest.mark.parametrize(
    "damage",
    [
        set_bytes(0x0D, b"\x03"),
        set_bytes(0, bytes(512)),
        set_bytes(-512 + 3, b"ntfs"),
        leak,
        unmark,
        stale,
        spoil_name,
        torn_root_index,
        in_record(24, 18, b"\x07"),
        lambda patient: set_bytes(patient.record(0), bytes(RECORD))(patient),
        lambda patient: set_bytes(patient.record(1) + 510, b"??")(patient),
        lambda patient: set_bytes(patient.stream(MetaFile.MFT_MIRROR) + 2 * RECORD, bytes(RECORD))(patient),
    ],
    ids=["boot", "no boot", "copy of boot", "leak", "unmarked", "stale", "name", "torn index", "links", "record 0",
         "record 1", "mirror"],
)  # fmt: skip
@pytest.mark.parametrize("cluster_bytes", [512, 4096, 65536])
def test_is_put_right(damage: Callable[[Patient], None], cluster_bytes: int) -> None:
    if cluster_bytes != 4096 and damage in (leak, unmark):
        pytest.skip("counts in clusters of 4096 bytes")
    patient = Patient(cluster_bytes=cluster_bytes)
    damage(patient)
    report = repaired(patient)
    assert report.problems
    assert report.clean


def test_a_new_volume_is_not_written_to() -> None:
    patient = Patient()
    before = bytes(patient.image.data)
    assert not patient.check(repair=True).problems
    assert patient.image.data == before


def test_the_dirty_mark_goes() -> None:
    patient = Patient()
    dirty(patient)
    assert patient.check(repair=True).notes
    assert not patient.check().notes


def test_a_file_without_a_directory_is_found_again() -> None:
    patient = Patient()

    def move(block: bytearray) -> None:
        place = block.index(b"\x0b\0\0\0\0\0\x0b\0", 0x98)
        block[place : place + 8] = b"\x3c\0\0\0\0\0\x01\0"

    patient.edit_record(26, move)
    assert repaired(patient).clean
    names = patient.names()
    assert names["found.000"] == MetaFile.ROOT
    assert "file00000026.chk" in names
    assert names["$Quota"] == MetaFile.EXTEND


def test_a_damaged_record_and_what_it_may_hold_are_left_alone() -> None:
    patient = Patient()
    patient.image.data[patient.record(MetaFile.UPCASE) + 510] ^= 0xFF
    first = patient.stream(MetaFile.BITMAP)
    before = patient.image.data[first : first + 4096]
    report = repaired(patient)
    assert not report.clean
    assert patient.image.data[first : first + 4096] == before
    assert "$UpCase" in patient.names(listed=True)


def test_clusters_of_two_files_are_left_alone() -> None:
    patient = Patient()
    sds = patient.stream(MetaFile.SECURE, AttributeType.DATA, "$SDS") // 4096
    upcase = patient.stream(MetaFile.UPCASE) // 4096

    def move(block: bytearray) -> None:
        place = block.index(b"\x21\x20" + upcase.to_bytes(2, "little"))
        block[place + 2 : place + 4] = sds.to_bytes(2, "little")

    patient.edit_record(MetaFile.UPCASE, move)
    report = repaired(patient)
    assert [one.where for one in report.problems if not one.repaired] == ["MFT record 10", "$UpCase"]


def test_reparse_points_and_the_index_of_them() -> None:
    patient = Patient()
    with mounted(FORMAT, image_volume(patient.image)) as here:
        here.vfs.symlink(here.actor, b"target", b"/link")
        number = here.vfs.stat(here.actor, b"/link", follow=False).ino
    volume = Volume(image_volume(patient.image))
    tag = ReparsePoint.parse(volume.entry(number).value(AttributeType.REPARSE_POINT) or b"").reparse_tag
    volume.run(reparse.forget, volume, tag, volume.entry(number).base.reference)
    volume.run(reparse.note, volume, tag, volume.entry(24).base.reference)
    volume.flush()
    volume.close()
    assert patient.found() == [
        ("$Reparse", "leads to record 24, which has no reparse point"),
        ("$Reparse", f"does not have the reparse point of record {number}"),
    ]
    assert repaired(patient).clean


# --- nothing is lost ------------------------------------------------------------------------------------------------


def populated(cluster_bytes: int, seed: int) -> tuple[bytes, dict[bytes, tuple[int, bytes]]]:
    """A volume after a workload, with one large directory, and its tree."""
    patient = Patient(8 << 20, cluster_bytes)
    model = Model()
    with mounted(FORMAT, image_volume(patient.image)) as here:
        for operation in everyday(model, random.Random(seed), 120):
            perform(operation, here)
            model.apply(operation)
        here.vfs.mkdir(here.actor, b"/large", 0o755)
        for number in range(150):
            here.put(b"/large/a name that takes some room %d" % number, b"contents %d" % number)
        tree = here.tree()
    return bytes(patient.image.data), tree


def spoil(patient: Patient, dice: random.Random) -> None:
    """Damage that everything is there twice for: bitmaps, index blocks, the mirror, a boot sector, link counts."""
    data = patient.image.data
    match dice.randrange(6):
        case 0:
            place = patient.stream(MetaFile.BITMAP)
            for _ in range(200):
                patient.flip(place, dice.randrange(patient.geometry.clusters))
        case 1:
            place = patient.stream(MetaFile.MFT, AttributeType.BITMAP)
            for _ in range(50):
                patient.flip(place, dice.randrange(24, 160))
        case 2:
            blocks = [place for place in range(0, len(data), 512) if data[place : place + 4] == b"INDX"]
            place = dice.choice(blocks)
            half = data[place : place + 2048] + bytes(2048)
            data[place : place + 4096] = dice.choice((bytes(4096), dice.randbytes(4096), half))
        case 3:
            place = patient.geometry.mftmirr_lcn * patient.geometry.cluster_bytes
            data[place : place + 4096] = dice.randbytes(4096)
        case 4:
            place = dice.choice((0, len(data) - 512))
            data[place : place + 512] = dice.randbytes(512)
        case _:
            record = patient.record(dice.randrange(4))
            data[record : record + RECORD] = dice.randbytes(RECORD)


@pytest.mark.parametrize("cluster_bytes", [512, 4096])
def test_nothing_is_lost(cluster_bytes: int) -> None:
    contents, tree = populated(cluster_bytes, seed=cluster_bytes)
    for seed in range(12):
        patient = Patient(contents=contents)
        spoil(patient, random.Random(seed))
        report = patient.check(repair=True)
        assert report.clean, (seed, report.problems[:3])
        assert not patient.check().problems, seed
        with mounted(FORMAT, image_volume(patient.image), writable=False) as here:
            assert here.tree() == tree, seed


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("cluster_bytes", [512, 1024, 4096, 65536])
def test_nothing_is_lost_at_length(cluster_bytes: int) -> None:
    """Several damages at once: all is put right, or nothing is made worse."""
    contents, tree = populated(cluster_bytes, seed=cluster_bytes + 1)
    for seed in range(1000, 1400):
        dice = random.Random(seed)
        patient = Patient(contents=contents)
        for _ in range(dice.randrange(1, 4)):
            with suppress(KernelError):  # the places of other structures may not be found any more
                spoil(patient, dice)
        report = patient.check(repair=True)
        if report.clean:
            assert not patient.check().problems, seed
            with mounted(FORMAT, image_volume(patient.image), writable=False) as here:
                found = here.tree()
            assert {path: found.get(path) for path in tree} == tree, seed
