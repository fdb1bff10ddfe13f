"""Partition tables that we write: sfdisk reads them, and finds nothing to complain about."""

from __future__ import annotations

import json
import random
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.block.image import ImageDevice, create_image, open_image
from jefeos.block.partitions import LINUX_DATA, MICROSOFT_DATA, PartitionKind, read_gpt_copy, read_partitions
from jefeos.block.tables import TABLES, Span, set_kind, whole_disk, write_table
from jefeos.errors import UsageError
from jefeos.testing.volumes import MemoryImage

TWO = [Span(2048, 4096), Span(8192, 1000)]


def device_of(size: int) -> ImageDevice:
    return ImageDevice(MemoryImage(size))


@pytest.mark.parametrize("kind", TABLES)
def test_what_is_written_is_read(kind: str) -> None:
    device = device_of(16 << 20)
    write_table(device, kind, TWO, random.Random(1).randbytes)
    assert [(entry.first_lba, entry.sector_count) for entry in read_partitions(device)] == [(2048, 4096), (8192, 1000)]
    write_table(device, kind, [whole_disk(device)], random.Random(2).randbytes)
    (entry,) = read_partitions(device)
    assert (entry.number, entry.first_lba) == (1, 2048)
    assert 2048 + entry.sector_count <= device.sector_count - 33


def test_the_backup_of_a_gpt_counts() -> None:
    device = device_of(16 << 20)
    write_table(device, "gpt", TWO, random.Random(1).randbytes)
    before = read_partitions(device)
    device.write(1, bytes(512))
    assert read_partitions(device) == before != []


def kinds_of(device: ImageDevice) -> list[str]:
    return [entry.kind for entry in read_partitions(device)]


@pytest.mark.parametrize("kind", TABLES)
def test_the_kind_of_one_partition_changes(kind: str) -> None:
    device = device_of(16 << 20)
    write_table(device, kind, TWO, random.Random(1).randbytes)
    before = read_partitions(device)
    set_kind(device, before[1], LINUX_DATA)
    linux = {"mbr": "0x83", "gpt": str(LINUX_DATA.gpt)}[kind]
    assert kinds_of(device) == [before[0].kind, linux]
    device.write(1, bytes(512))
    assert kinds_of(device) == [before[0].kind, linux]  # the backup of a GPT says so too
    assert [entry.first_lba for entry in read_partitions(device)] == [2048, 8192]


def test_what_a_partition_is_for_stays() -> None:
    """An EFI system partition is a FAT, and does not become one for data by a mkfs."""
    device = device_of(16 << 20)
    efi = PartitionKind(0xEF, uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"))
    for table, shown in (("mbr", "0xef"), ("gpt", str(efi.gpt))):
        write_table(device, table, [Span(2048, 4096, efi)], random.Random(1).randbytes)
        set_kind(device, read_partitions(device)[0], MICROSOFT_DATA)
        assert kinds_of(device) == [shown]


def test_a_damaged_copy_of_a_gpt_is_left_as_it_is() -> None:
    device = device_of(16 << 20)
    write_table(device, "gpt", TWO, random.Random(1).randbytes)
    damaged = bytearray(device.read(1, 1))
    damaged[80] ^= 1
    device.write(1, damaged)
    set_kind(device, read_partitions(device)[0], LINUX_DATA)
    assert device.read(1, 1) == damaged
    assert kinds_of(device) == [str(LINUX_DATA.gpt), str(MICROSOFT_DATA.gpt)]


def test_a_gpt_is_whole_after_each_write_of_a_change() -> None:
    device = device_of(16 << 20)
    write_table(device, "gpt", TWO, random.Random(1).randbytes)
    entry = read_partitions(device)[0]
    seen = []

    class Watched(ImageDevice):
        def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
            super().write(lba, data)
            seen.append([read_gpt_copy(device, place) is not None for place in (1, device.sector_count - 1)])

    set_kind(Watched(device.image), entry, LINUX_DATA)
    assert seen == [[True, False], [True, True], [False, True], [True, True]]


def test_what_a_table_cannot_hold() -> None:
    with pytest.raises(UsageError, match="too few"):
        whole_disk(device_of(2 << 20))
    with pytest.raises(UsageError, match="four partitions"):
        five = [Span(2048 + 100 * number, 50) for number in range(5)]
        write_table(device_of(16 << 20), "mbr", five, random.Random(1).randbytes)
    with pytest.raises(UsageError, match="one of mbr, gpt"):
        write_table(device_of(16 << 20), "bsd", TWO, random.Random(1).randbytes)


@pytest.mark.peer
@pytest.mark.parametrize("kind", TABLES)
def test_sfdisk_agrees(tmp_path: Path, kind: str, host_program: Callable[[str], str]) -> None:
    path = tmp_path / "image"
    create_image(str(path), 16 << 20)
    image = open_image(str(path))
    write_table(ImageDevice(image), kind, TWO, random.Random(1).randbytes)
    image.close()
    done = subprocess.run([host_program("sfdisk"), "-J", str(path)], check=True, capture_output=True)
    told = json.loads(done.stdout)["partitiontable"]
    assert (told["label"], done.stderr) == ({"mbr": "dos"}.get(kind, kind), b"")
    assert [(part["start"], part["size"]) for part in told["partitions"]] == [(2048, 4096), (8192, 1000)]
    checked = subprocess.run([host_program("sfdisk"), "--verify", str(path)], check=True, capture_output=True)
    assert b"No errors detected" in checked.stdout, checked
