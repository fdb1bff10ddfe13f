"""Records, fixups, runs and names: against volumes of mkntfs, round trips, truncation at every length."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from jefeos.errors import CorruptError, KernelError
from jefeos_fs_ntfs.boot import parse_geometry
from jefeos_fs_ntfs.layout import FILE_MAGIC, NO_CLUSTER, AttributeType, BootSector
from jefeos_fs_ntfs.names import Collator, from_bytes, to_bytes
from jefeos_fs_ntfs.record import MftRecord, apply_fixups, protect
from jefeos_fs_ntfs.runlist import ExtentPacker, RunList
from jefeos_fs_ntfs.runs import add_run, cut_runs, decode_runs, encode_runs


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if shutil.which("mkntfs") is None:
        pytest.skip("mkntfs (ntfs-3g) is not installed")
    path: Path = tmp_path_factory.mktemp("ntfs") / "image"
    with path.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkntfs", "-F", "-q", "-f", "-c", "1024", path], check=True, capture_output=True)
    return path.read_bytes()


@pytest.mark.peer
def test_the_records_of_mkntfs_come_back_as_they_were(image: bytes) -> None:
    geometry = parse_geometry(image[:512], len(image))
    assert (geometry.cluster_bytes, geometry.record_bytes, geometry.index_bytes) == (1024, 1024, 4096)
    start = geometry.mft_lcn * geometry.cluster_bytes
    for number in range(16):
        data = image[start + number * 1024 :][:1024]
        record = MftRecord.parse(number, data)
        again = MftRecord.parse(number, record.pack(1024))
        assert [attribute.raw for attribute in again.attributes] == [attribute.raw for attribute in record.attributes]
        assert again.reference == record.reference
        for attribute in record.attributes:
            if not attribute.resident:
                extent = attribute.extent
                runs = decode_runs(extent.pairs, geometry.clusters, extent.clusters)
                assert extent.pairs.startswith(encode_runs(runs))
        assert record.attributes[0].type == AttributeType.STANDARD_INFORMATION


@pytest.mark.peer
def test_a_cut_or_changed_record_is_a_corrupt_error(image: bytes) -> None:
    geometry = parse_geometry(image[:512], len(image))
    start = (geometry.mft_lcn * geometry.cluster_bytes) + 5 * 1024
    good, dice = image[start : start + 1024], random.Random(3)
    for length in range(0, 1024, 7):
        with pytest.raises(CorruptError):
            MftRecord.parse(5, good[:length])
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(dice.randrange(1, 4)):
            bad[dice.randrange(400)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            record = MftRecord.parse(5, bytes(bad))
            for attribute in record.attributes:
                if attribute.resident:
                    assert len(attribute.value) <= 1024
                else:
                    decode_runs(attribute.extent.pairs, geometry.clusters, attribute.extent.clusters)
        except CorruptError:
            pass


@pytest.mark.peer
def test_a_geometry_that_makes_no_sense_is_refused(image: bytes) -> None:
    for member, value in [("oem_id", b"NTFS   x"), ("bytes_per_sector", 513), ("sectors_per_cluster", 3),
                          ("sectors_per_cluster", 0), ("number_of_sectors", 1 << 40), ("mft_lcn", 1 << 50),
                          ("mftmirr_lcn", 0), ("clusters_per_mft_record", 0), ("clusters_per_index_record", -128)]:
        boot = BootSector.parse(image)
        setattr(boot, member, value)
        with pytest.raises(CorruptError, match="boot sector"):
            parse_geometry(boot.pack(), len(image))


def test_fixups_find_a_torn_block() -> None:
    block = bytearray(random.Random(1).randbytes(1024))
    block[:8] = FILE_MAGIC + b"\x30\0\x03\0"
    whole = bytes(block)
    protect(block, 77)
    assert apply_fixups(bytes(block), FILE_MAGIC, "x")[0x36:] == whole[0x36:]
    with pytest.raises(CorruptError, match="torn"):
        apply_fixups(bytes(block[:512]) + whole[512:], FILE_MAGIC, "x")


def test_the_published_example_of_mapping_pairs() -> None:
    pairs = bytes.fromhex("2118345611104001300000")
    assert decode_runs(pairs, 1 << 20, 0x58) == [(0x5634, 0x18), (0x5674, 0x10), (NO_CLUSTER, 0x30)]


@pytest.mark.parametrize("seed", range(20))
def test_runs_come_back(seed: int) -> None:
    dice = random.Random(seed)
    runs: list[tuple[int, int]] = []
    for _ in range(dice.randrange(1, 40)):
        length = dice.choice((1, 127, 128, 255, 256, 32767, 32768, 1 << 31))
        add_run(runs, dice.choice((NO_CLUSTER, dice.randrange(1 << dice.choice((7, 8, 16, 40))))), length)
    total = sum(length for _, length in runs)
    pairs = encode_runs(runs)
    assert decode_runs(pairs, 1 << 50, total) == runs
    at = dice.randrange(total + 1)
    head, tail = cut_runs(runs, at)
    assert sum(length for _, length in head) == at
    joined = list(head)
    for lcn, length in tail:
        add_run(joined, lcn, length)
    assert joined == runs
    for cut in range(len(pairs) - 1):
        with pytest.raises(CorruptError):
            decode_runs(pairs[:cut], 1 << 50, total)


def clusters_of(runs: list[tuple[int, int]]) -> list[int]:
    """One number for each cluster."""
    return [lcn + step if lcn >= 0 else NO_CLUSTER for lcn, length in runs for step in range(length)]


@pytest.mark.parametrize("seed", range(40))
def test_run_lists_against_plain_lists(seed: int) -> None:
    dice, found, model, packer = random.Random(seed), RunList(), [], ExtentPacker()
    for _ in range(60):
        chance = dice.random()
        if chance < 0.4 or not model:
            lcn, length = dice.choice((NO_CLUSTER, dice.randrange(5000))), dice.randrange(1, 9)
            found.append(lcn, length)
            model += clusters_of([(lcn, length)])
        elif chance < 0.5:
            keep = dice.randrange(len(model) + 1)
            assert clusters_of(found.cut(keep)) == model[keep:]
            del model[keep:]
        else:
            first = dice.randrange(len(model))
            last = dice.randrange(first + 1, len(model) + 1)
            assert clusters_of(found.part(first, last)) == model[first:last]
            new, left = [], last - first
            while left:
                length = dice.randrange(1, left + 1)
                new.append((dice.choice((NO_CLUSTER, dice.randrange(5000))), length))
                left -= length
            found.replace(first, last, new)
            model[first:last] = clusters_of(new)
        assert clusters_of(found.runs) == model
        assert (found.clusters, found.holes) == (len(model), model.count(NO_CLUSTER))
        packed, covered = [], 0
        for lowest, highest, pairs in packer.pack(found, 40):
            assert lowest == covered and len(pairs) <= 40
            packed += clusters_of(decode_runs(pairs, 10_000, highest + 1 - lowest))
            covered = highest + 1
        assert packed == model


@pytest.mark.parametrize("name", [
    b"plain", "naïve".encode(), "\U0001f600.txt".encode(), b"\xff\xfe", b"a\x80b", b"\xed\xa0\x80", b"m" * 255,
])
def test_any_name_comes_back(name: bytes) -> None:
    assert to_bytes(from_bytes(name)) == name


def test_a_name_has_255_units_at_most() -> None:
    assert len(from_bytes("€".encode() * 255)) == 255
    with pytest.raises(KernelError, match="ENAMETOOLONG"):
        from_bytes("\U0001f600".encode() * 128)


def test_names_sort_without_regard_to_case_first() -> None:
    collator = Collator(b"".join(ord(chr(unit).upper()).to_bytes(2, "little") if len(chr(unit).upper()) == 1
                                 and ord(chr(unit).upper()) < 65536 else unit.to_bytes(2, "little")
                                 for unit in range(65536)))
    names = ["a", "B", "b", "C", "Ä", "ä", "_", "aa", "\uff01", from_bytes("\U0001f600".encode())]
    ordered = sorted(names, key=collator.key)
    assert ordered == ["a", "aa", "B", "b", "C", "_", "Ä", "ä", from_bytes("\U0001f600".encode()), "\uff01"]
