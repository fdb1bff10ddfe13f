"""Partition tables: sfdisk and sgdisk write them, we read them; and tables that nobody should believe."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.block.image import ImageDevice, create_image, open_image
from jefeos.block.partitions import Partition, PartitionEntry, read_partitions

SECTORS = 64 * 2048

MBR = """label: dos
start=2048, size=8192, type=83, bootable
start=10240, size=4096, type=c
start=16384, size=60000, type=f
start=18432, size=2048, type=83
start=22528, size=4096, type=82
start=30720, size=1000, type=7
"""
GPT = """label: gpt
start=2048, size=8192, name="first one"
start=10240, size=4096, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="Grüße"
"""


def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    create_image(str(path), SECTORS * 512)
    return path


def found_on(path: Path) -> list[PartitionEntry]:
    image = open_image(str(path), read_only=True)
    try:
        return read_partitions(ImageDevice(image))
    finally:
        image.close()


def make_table(path: Path, script: str, sfdisk: str) -> list[tuple[int, int]]:
    subprocess.run([sfdisk, "-q", str(path)], input=script.encode(), check=True, capture_output=True)
    told = json.loads(subprocess.run([sfdisk, "-J", str(path)], check=True, capture_output=True).stdout)
    return [(part["start"], part["size"]) for part in told["partitiontable"]["partitions"]]


@pytest.mark.peer
@pytest.mark.parametrize(("script", "extended"), [(MBR, {3}), (GPT, set())], ids=["mbr", "gpt"])
def test_what_sfdisk_wrote(
    tmp_path: Path, script: str, extended: set[int], host_program: Callable[[str], str]
) -> None:
    path = disk(tmp_path)
    expected = make_table(path, script, host_program("sfdisk"))
    found = found_on(path)
    shown = [place for number, place in enumerate(expected, 1) if number not in extended]
    assert [(entry.first_lba, entry.sector_count) for entry in found] == shown
    if script is GPT:
        assert [(entry.number, entry.name) for entry in found] == [(1, "first one"), (2, "Grüße")]
        assert found[1].kind == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
    else:
        assert [(entry.number, entry.kind) for entry in found] == [
            (1, "0x83"), (2, "0x0c"), (5, "0x83"), (6, "0x82"), (7, "0x07")
        ]  # fmt: skip


@pytest.mark.peer
def test_the_backup_stands_in_for_a_damaged_gpt(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    path = disk(tmp_path)
    make_table(path, GPT, host_program("sfdisk"))
    whole = found_on(path)
    with path.open("r+b") as file:
        file.seek(512 + 40)
        file.write(b"\xff")
    assert found_on(path) == whole
    with path.open("r+b") as file:
        file.seek((SECTORS - 1) * 512 + 16)
        file.write(b"\xff")
    assert found_on(path) == []


def test_no_table_and_a_boot_sector_are_no_partitions(tmp_path: Path) -> None:
    path = disk(tmp_path)
    assert found_on(path) == []
    sector = bytearray(random.Random(1).randbytes(512))
    sector[446] = 0x33
    sector[510:] = b"\x55\xaa"
    with path.open("r+b") as file:
        file.write(sector)
    assert found_on(path) == []


@pytest.mark.peer
@pytest.mark.parametrize("script", [MBR, GPT], ids=["mbr", "gpt"])
def test_any_bytes_are_read_without_harm(tmp_path: Path, script: str, host_program: Callable[[str], str]) -> None:
    path = disk(tmp_path)
    make_table(path, script, host_program("sfdisk"))
    good = path.read_bytes()
    image = open_image(str(path))
    generator = random.Random(3)
    places = [446, 510, 512, 1024, 16384 * 512 + 446, 18432 * 512 + 446]
    for _ in range(3000):
        place = generator.choice(places) + generator.randrange(64)
        data = generator.choice([b"\0" * 4, b"\xff" * 4, generator.randbytes(4)])
        image.write(place, data)
        for entry in read_partitions(ImageDevice(image)):
            assert entry.first_lba > 0 and entry.first_lba + entry.sector_count <= SECTORS
        if generator.random() < 0.2:
            image.write(0, good[: 34 * 512])
            image.write(16384 * 512, good[16384 * 512 : 23000 * 512])
    image.close()


def test_a_partition_is_a_part_and_no_more(tmp_path: Path) -> None:
    path = disk(tmp_path)
    device = ImageDevice(open_image(str(path)), "sda")
    part = Partition(device, PartitionEntry(2, 100, 10, "0x83"))
    assert (part.name, part.sector_count, part.read_only) == ("sda2", 10, False)
    part.write(9, b"e" * 512)
    assert device.read(109, 1) == b"e" * 512
    for lba, count in ((10, 1), (9, 2)):
        with pytest.raises(Exception, match="ENXIO"):
            part.read(lba, count)
    assert Partition(ImageDevice(device.image, "nvme0n1"), part.entry).name == "nvme0n1p2"
    device.image.close()
