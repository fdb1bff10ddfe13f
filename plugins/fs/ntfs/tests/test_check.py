"""fsck, looking: volumes that are well are clean, and of each damage exactly that is reported."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from jefeos_fs_ntfs.layout import AttributeType, MetaFile

sys.path.insert(0, str(Path(__file__).parent))
from ntfs_patient import Patient

MIB = 1 << 20
ImageMaker = Callable[..., Path]
Mount = Callable[[Path], AbstractContextManager[Path]]


@pytest.mark.parametrize("cluster_bytes", [512, 1024, 2048, 4096, 8192, 65536])
def test_a_new_volume_is_clean(cluster_bytes: int) -> None:
    patient = Patient(6 * MIB, cluster_bytes)
    before = bytes(patient.image.data)
    report = patient.check()
    assert report.clean and not report.problems and not report.notes
    assert (report.files, report.directories) == (0, 1)
    assert report.used_bytes + report.free_bytes == patient.geometry.clusters * cluster_bytes
    assert patient.image.data == before


def test_a_cluster_marked_in_use_by_nothing_is_harmless() -> None:
    patient = Patient()
    patient.flip(patient.stream(MetaFile.BITMAP), 900)
    (problem,) = patient.check().problems
    assert (problem.where, problem.what) == ("$Bitmap", "1 clusters are in use here, and by no file: 900")
    assert problem.harmless


def test_clusters_of_files_marked_free() -> None:
    patient = Patient()
    first = patient.stream(MetaFile.UPCASE) // 4096
    for cluster in (first, first + 1, first + 5):
        patient.flip(patient.stream(MetaFile.BITMAP), cluster)
    (problem,) = patient.check().problems
    assert problem.what == f"3 clusters are in use by files, and free here: {first} to {first + 1}, {first + 5}"
    assert not problem.harmless


def test_bitmap_of_the_mft() -> None:
    patient = Patient()
    place = patient.stream(MetaFile.MFT, AttributeType.BITMAP)
    patient.flip(place, 25)
    patient.flip(place, 40)
    assert patient.found() == [
        ("$MFT", "records 25 are in use, and free in its bitmap"),
        ("$MFT", "records 40 are free, and in use in its bitmap"),
    ]


def test_a_torn_record() -> None:
    patient = Patient()
    patient.image.data[patient.record(25) + 1022] ^= 0xFF
    assert patient.found() == [("MFT record 25", "torn, the update sequence numbers differ")]


def test_the_copy_of_a_record_and_of_the_boot_sector() -> None:
    patient = Patient()
    patient.image.data[patient.stream(MetaFile.MFT_MIRROR) + 3 * 1024 + 16] ^= 1
    patient.image.data[-512 + 3] ^= 1
    report = patient.check()
    assert [problem.where for problem in report.problems] == ["boot sector", "$MFTMirr"]
    assert all(problem.harmless for problem in report.problems)


def test_a_bad_boot_sector_with_a_good_copy() -> None:
    patient = Patient()
    patient.image.data[0x0D] = 3
    report = patient.check()
    assert [(one.where, one.what) for one in report.problems] == [("boot sector", "sectors_per_cluster is 3")]
    assert report.files == 0


def test_no_boot_sector_at_all() -> None:
    patient = Patient()
    patient.image.data[:512] = patient.image.data[-512:] = bytes(512)
    assert patient.found() == [("boot sector", "this is no NTFS volume; its copy is no better")]


def test_the_first_record_is_taken_from_the_mirror() -> None:
    patient = Patient()
    patient.image.data[patient.record(0) : patient.record(1)] = bytes(1024)
    found = patient.found()
    assert ("MFT record 0", "begins with b'\\x00\\x00\\x00\\x00', not with 'FILE'") in found
    assert {where for where, _ in found} <= {"MFT record 0", "$MFTMirr"}


def test_an_entry_that_leads_nowhere_and_a_name_that_is_not_listed() -> None:
    """$Quota's name in $Extend's index is spoilt: then the index lists a wrong one and lacks the right one."""
    patient = Patient()

    def rename(block: bytearray) -> None:
        place = block.index("$Quota".encode("utf-16-le"), 0x100)
        block[place : place + 12] = "$Quotb".encode("utf-16-le")

    patient.edit_record(MetaFile.EXTEND, rename)
    where = "MFT record 11 (/$Extend)"
    assert patient.found() == [
        (where, "lists '$Quotb', a name that record 24 does not have"),
        (where, "does not list '$Quota', a name of record 24"),
    ]


def test_a_stale_entry_after_its_file_is_gone() -> None:
    patient = Patient()
    patient.edit_record(26, lambda block: block.__setitem__(22, 0))
    patient.flip(patient.stream(MetaFile.MFT, AttributeType.BITMAP), 26)
    where = "MFT record 11 (/$Extend)"
    assert patient.found() == [(where, "lists '$Reparse', which leads to record 26: no such file is there")]


def test_an_index_out_of_order() -> None:
    patient = Patient()

    def swap(block: bytearray) -> None:
        text = bytes(block)
        first, second = (text.index(name.encode("utf-16-le"), 0x100) for name in ("$ObjId", "$Quota"))
        block[first : first + 12], block[second : second + 12] = block[second : second + 12], block[first : first + 12]
        first, second = first - 82, second - 82
        block[first : first + 8], block[second : second + 8] = block[second : second + 8], block[first : first + 8]

    patient.edit_record(MetaFile.EXTEND, swap)
    assert patient.found() == [("MFT record 11 (/$Extend)", "root: an entry is out of order")]


def test_link_count() -> None:
    patient = Patient()
    patient.edit_record(24, lambda block: block.__setitem__(18, 3))
    assert patient.found() == [("MFT record 24", "its link count is 3, and it has 1 names")]


def test_a_file_without_a_directory() -> None:
    patient = Patient()
    patient.edit_record(26, lambda block: block.__setitem__(block.index(b"\x0b\0\0\0\0\0\x0b\0", 0x98), 60))
    found = patient.check().problems
    assert [one.where for one in found] == ["MFT record 11 (/$Extend)", "MFT record 26"]
    assert [one.harmless for one in found] == [False, True]
    assert found[1].what == "is called '$Reparse' in a directory that is not there"


def test_clusters_of_two_files() -> None:
    """$UpCase is moved to where $SDS is: crossed there, and its own clusters are nobody's."""
    patient = Patient()
    sds = patient.stream(MetaFile.SECURE, AttributeType.DATA, "$SDS") // 4096
    upcase = patient.stream(MetaFile.UPCASE) // 4096

    def move(block: bytearray) -> None:
        place = block.index(b"\x21\x20" + upcase.to_bytes(2, "little"))
        block[place + 2 : place + 4] = sds.to_bytes(2, "little")

    patient.edit_record(MetaFile.UPCASE, move)
    found = patient.found()
    where = "MFT record 10"
    assert (where, f"$DATA has clusters that belong to another file too: {sds} to {sds + 31}") in found
    assert ("$Bitmap", f"32 clusters are in use here, and by no file: {upcase} to {upcase + 31}") in found
    assert {where for where, _ in found} == {"MFT record 10", "$Bitmap", "$UpCase"}


def test_security_descriptors() -> None:
    patient = Patient()
    sds = patient.stream(MetaFile.SECURE, AttributeType.DATA, "$SDS")
    patient.image.data[sds + 0x40] ^= 1
    patient.edit_record(24, lambda block: block.__setitem__(0x84 + 1, 9))
    assert patient.found() == [
        ("$Secure:$SDS, descriptor 256", "its hash is wrong"),
        ("MFT record 24", f"its security descriptor {0x901} is not in $Secure"),
    ]


def test_upcase() -> None:
    patient = Patient()
    place = patient.stream(MetaFile.UPCASE) + 2 * ord("q")
    patient.image.data[place : place + 2] = b"R\0"
    assert patient.found() == [("$UpCase", "the capital of 'q' is 'R'")]


def test_dirty_is_a_note() -> None:
    patient = Patient()

    def mark(block: bytearray) -> None:
        place = block.index(b"\x03\x01\x00\x00", 0x100)
        block[place + 2] |= 1

    patient.edit_record(MetaFile.VOLUME, mark)
    report = patient.check()
    assert report.clean
    assert report.notes == ("the volume is marked dirty: it was not unmounted",)


def test_every_length_of_a_volume_that_was_cut() -> None:
    whole = bytes(Patient(MIB).image.data)
    for length in range(0, len(whole), 32768 + 512):
        patient = Patient(contents=whole)
        del patient.image.data[length or 512 :]
        patient.image.size_bytes = length or 512
        assert patient.check().problems


# --- volumes of others ----------------------------------------------------------------------------------------------


def work(folder: Path, seed: int, count: int = 300) -> None:
    """Files and directories made, renamed, linked, cut, extended and removed in turn, so that they fragment."""
    dice = random.Random(seed)
    files: list[Path] = []
    folders = [folder]
    for number in range(count):
        kind = dice.random()
        if kind < 0.1:
            folders.append(dice.choice(folders) / f"Folder {number} ü")
            folders[-1].mkdir()
        elif kind < 0.6 or not files:
            files.append(dice.choice(folders) / f"a name of file {number}{'x' * dice.randrange(60)}")
            files[-1].write_bytes(dice.randbytes(int(1.3 ** dice.randrange(46))))
        elif kind < 0.75:
            with dice.choice(files).open("ab") as file:
                file.write(dice.randbytes(dice.randrange(30000)))
        elif kind < 0.85:
            index = dice.randrange(len(files))
            files[index] = files[index].rename(dice.choice(folders) / f"renamed {number}")
        elif kind < 0.9:
            link = dice.choice(folders) / f"link {number}"
            link.hardlink_to(dice.choice(files))
            files.append(link)
        else:
            files.pop(dice.randrange(len(files))).unlink()


@pytest.mark.peer
@pytest.mark.parametrize("cluster_bytes", [512, 4096, 65536])
def test_volumes_worked_on_by_ntfs_3g_are_clean(
    make_foreign: ImageMaker, ntfs_3g: Mount, cluster_bytes: int
) -> None:
    image = make_foreign(64 * MIB, cluster_bytes)
    with ntfs_3g(image) as folder:
        work(folder, cluster_bytes)
        subprocess.run(["cp", "-r", "/etc/init.d", folder], check=True)
        with (folder / "sparse").open("wb") as file:
            file.seek(10 * MIB)
            file.write(b"end")
        files = len({path.stat().st_ino for path in folder.rglob("*") if not path.is_dir()})
        directories = sum(path.is_dir() for path in folder.rglob("*"))
    report = Patient(contents=image.read_bytes()).check()
    assert not report.problems
    assert (report.files, report.directories) == (files, directories + 1)
