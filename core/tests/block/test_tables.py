"""Partition tables that we write: sfdisk reads them, and finds nothing to complain about."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.block.image import ImageDevice, create_image, open_image
from jefeos.block.partitions import read_partitions
from jefeos.block.tables import TABLES, Span, whole_disk, write_table
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
