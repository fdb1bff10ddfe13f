"""Claims that are valid one by one and monstrous together: sizes near 2**62, endless holes, runs over and over.

Random damage does not find these, as they take several fields that fit each other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.testing.fuzz import survive
from jefeos.testing.mounted import mounted
from jefeos.testing.volumes import image_volume
from jefeos_fs_ntfs.attribute import Attribute, make_non_resident
from jefeos_fs_ntfs.format import NtfsFormat
from jefeos_fs_ntfs.layout import NO_CLUSTER, AttributeFlags, AttributeType, MetaFile
from jefeos_fs_ntfs.record import MftRecord
from jefeos_fs_ntfs.runs import Run, decode_runs, encode_runs

sys.path.insert(0, str(Path(__file__).parent))
from ntfs_patient import Patient

FORMAT = NtfsFormat()
HUGE_CLUSTERS = 1 << 44
Runs = Callable[[list[Run], int], list[Run]]


def all_hole(runs: list[Run], clusters: int) -> list[Run]:
    return [(NO_CLUSTER, HUGE_CLUSTERS)]


def hole_behind(runs: list[Run], clusters: int) -> list[Run]:
    return [*runs, (NO_CLUSTER, HUGE_CLUSTERS)]


def hole_ahead(runs: list[Run], clusters: int) -> list[Run]:
    return [(NO_CLUSTER, HUGE_CLUSTERS), *runs]


def over_and_over(runs: list[Run], clusters: int) -> list[Run]:
    return [*runs, *[(1, clusters - 1)] * 40]


def inflate(patient: Patient, number: int, kind: int, name: str, change: Runs, flags: int) -> None:
    """Give one attribute of a record other runs, and the sizes that go with them."""
    offset = patient.record(number)
    record = MftRecord.parse(number, bytes(patient.image.data[offset : offset + 1024]))
    cluster_bytes = patient.geometry.cluster_bytes
    for index, attribute in enumerate(record.attributes):
        if (attribute.type, attribute.name) == (kind, name):
            runs = change(_runs(attribute, patient.geometry.clusters), patient.geometry.clusters)
            count = sum(length for _, length in runs)
            record.attributes[index] = make_non_resident(
                kind, name, pairs=encode_runs(runs), lowest_vcn=0, highest_vcn=count - 1,
                allocated_size=count * cluster_bytes, data_size=count * cluster_bytes,
                initialized_size=count * cluster_bytes, flags=flags,
                compressed_size=cluster_bytes if flags else None, compression_unit=4 if flags else 0,
            ).with_instance(attribute.instance)  # fmt: skip
    patient.image.data[offset : offset + 1024] = record.pack(1024)
    if number < 4:
        mirror = patient.geometry.mftmirr_lcn * cluster_bytes + number * 1024
        patient.image.data[mirror : mirror + 1024] = patient.image.data[offset : offset + 1024]


def _runs(attribute: Attribute, clusters: int) -> list[Run]:
    if attribute.resident:
        return [(20, 1)]
    return decode_runs(attribute.extent.pairs, clusters, attribute.extent.clusters)


TARGETS = [
    (MetaFile.MFT, AttributeType.DATA, ""),
    (MetaFile.MFT, AttributeType.BITMAP, ""),
    (MetaFile.MFT_MIRROR, AttributeType.DATA, ""),
    (MetaFile.LOG_FILE, AttributeType.DATA, ""),
    (MetaFile.VOLUME, AttributeType.VOLUME_NAME, ""),
    (MetaFile.ROOT, AttributeType.INDEX_ALLOCATION, "$I30"),
    (MetaFile.ROOT, AttributeType.BITMAP, "$I30"),
    (MetaFile.BITMAP, AttributeType.DATA, ""),
    (MetaFile.SECURE, AttributeType.DATA, "$SDS"),
    (MetaFile.UPCASE, AttributeType.DATA, ""),
    ("file", AttributeType.DATA, ""),
    ("link", AttributeType.REPARSE_POINT, ""),
    ("fragments", AttributeType.ATTRIBUTE_LIST, ""),
]


@pytest.fixture(scope="module")
def contents() -> tuple[bytes, dict[str, int]]:
    """A volume with a file, a symbolic link, and a file with an attribute list."""
    patient = Patient(2 << 20, 1024)
    with mounted(FORMAT, image_volume(patient.image)) as here:
        here.put(b"/file", b"x" * 5000)
        here.vfs.symlink(here.actor, b"target", b"/link")
        here.put(b"/fragments", b"x")
        for number in range(120):
            here.write(b"/fragments", number * 4096, b"data")
            here.write(b"/file", number * 1024, b"data")
        for number in range(20):
            here.put(b"/a name that makes the root large %d" % number, b"")
        numbers = {
            name: here.vfs.stat(here.actor, b"/" + name.encode(), follow=False).ino
            for name in ("file", "link", "fragments")
        }
    assert not patient.check().problems
    return bytes(patient.image.data), numbers


@pytest.mark.parametrize("change", [all_hole, hole_behind, hole_ahead, over_and_over])
def test_monstrous_runs(contents: tuple[bytes, dict[str, int]], change: Runs) -> None:
    whole, numbers = contents
    for target, kind, name in TARGETS:
        in_file = isinstance(target, str)
        number = numbers[target] if in_file else int(target)
        for flags in (0, int(AttributeFlags.SPARSE), int(AttributeFlags.COMPRESSED)) if in_file else (0,):
            patient = Patient(contents=whole)
            inflate(patient, number, kind, name, change, flags)
            assert patient.image.data != whole, (target, kind)
            try:
                survive(FORMAT, bytes(patient.image.data))
            except AssertionError as failure:
                raise AssertionError(f"{target} {kind.name}:{name}, flags {flags:#x}: {failure}") from failure
