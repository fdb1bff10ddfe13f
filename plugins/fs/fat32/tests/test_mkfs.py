"""mkfs: the layout that mkfs.fat chooses, labels, serial numbers, and sizes that cannot be."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.errors import UsageError
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume, make_volume
from jefeos_fs_fat32.format import FatFormat
from jefeos_fs_fat32.geometry import Geometry
from jefeos_fs_fat32.layout import BootSector
from jefeos_fs_fat32.make import plan

KIBIBYTE = 1024
#: Sizes in KiB: floppy disks, and both sides of each change in what mkfs.fat does.
SIZES = (
    64, 100, 160, 320, 360, 720, 1000, 1440, 2000, 2048, 2049, 2880, 4096, 4097, 8192, 9000, 16384, 16385, 32768, 32769,
    65536, 131072, 131073, 262144, 262145, 300000, 520192, 524287, 524288, 524289, 1048576, 2097152, 8388608, 8388609,
    16777216, 16777217, 33554432, 33554433, 70000000, 300000000,
)


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def their_layout(image: Path, kibibytes: int, *options: str) -> tuple[int, ...]:
    image.unlink(missing_ok=True)
    with open(image, "wb") as file:
        file.truncate(kibibytes * KIBIBYTE)
    done = subprocess.run(["mkfs.fat", "-v", *options, image], capture_output=True, text=True, timeout=60, check=True)
    patterns = (
        r"(\d+)-bit FAT", r"(\d+) sectors? per cluster", r"FAT size is (\d+)", r"provides (\d+) clusters",
        r"(\d+) reserved", r"with (\d+) sectors", r"contains (\d+) slots", r"has (\d+) heads",
        r"and (\d+) sectors per tr",
    )
    return tuple(number(pattern, done.stdout) for pattern in patterns)


def our_layout(kibibytes: int, variant: str | None = None, cluster_bytes: int | None = None) -> tuple[int, ...]:
    ours = plan(kibibytes * 2, variant, cluster_bytes)
    return (
        ours.bits, ours.cluster_sectors, ours.fat_sectors, ours.clusters, ours.reserved_sectors, ours.sectors,
        ours.root_entries, ours.disk.heads, ours.disk.sectors_per_track,
    )


@pytest.mark.peer
def test_the_layout_is_that_of_mkfs_fat(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    host_program("mkfs.fat")
    for size in SIZES:
        assert our_layout(size) == their_layout(tmp_path / "image", size), size


@pytest.mark.peer
@pytest.mark.parametrize("cluster_sectors", [1, 2, 8, 32, 64, 128])
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_the_layout_with_options_is_that_of_mkfs_fat(
    bits: int, cluster_sectors: int, tmp_path: Path, host_program: Callable[[str], str]
) -> None:
    host_program("mkfs.fat")
    for size in (1500, 5000, 30_000, 200_000):
        try:
            ours = our_layout(size, f"fat{bits}", cluster_sectors * 512)
        except UsageError:
            with pytest.raises(subprocess.CalledProcessError):
                their_layout(tmp_path / "image", size, "-F", str(bits), "-s", str(cluster_sectors))
        else:
            theirs = their_layout(tmp_path / "image", size, "-F", str(bits), "-s", str(cluster_sectors))
            assert ours == theirs, size


@pytest.mark.parametrize(
    "options",
    [
        FormatOptions(variant="fat13"),
        FormatOptions(cluster_bytes=1000),
        FormatOptions(cluster_bytes=1 << 20),
        FormatOptions(label="a label that is too long"),
        FormatOptions(label="a*b"),
        FormatOptions(label="日本"),
        FormatOptions(variant="fat16", cluster_bytes=65536),
    ],
)
def test_options_that_cannot_be(options: FormatOptions) -> None:
    image = MemoryImage(4 << 20)
    with pytest.raises(UsageError):
        FatFormat().make(image_volume(image), options, TestClock())
    assert not any(image.data)


@pytest.mark.parametrize("size", [512, 4096, 16384])
def test_volumes_that_are_too_small(size: int) -> None:
    with pytest.raises(UsageError):
        FatFormat().make(image_volume(MemoryImage(size)), FormatOptions(), TestClock())


@pytest.mark.parametrize("variant", ["fat12", "fat16", "fat32"])
def test_what_was_asked_for_is_told_again(variant: str) -> None:
    options = FormatOptions(
        label="My Disk", variant=variant, cluster_bytes=512 if variant != "fat12" else 4096,
        entropy=random.Random(5).randbytes, hidden_sectors=2048,
    )
    image = make_volume(FatFormat(), 8 << 20, options)
    volume = image_volume(image)
    told = FatFormat().describe(volume)
    serial = int.from_bytes(random.Random(5).randbytes(4), "little")
    assert told["label"] == "MY DISK"
    assert told["serial"] == f"{serial >> 16:04X}-{serial & 0xFFFF:04X}"
    assert told["type"] == variant.upper()
    assert told["cluster_bytes"] == options.cluster_bytes
    assert told["state"] == "clean"
    assert BootSector.parse(image.data).hidden_sectors == 2048
    geometry = Geometry.read(volume)
    assert told["free_bytes"] == (geometry.clusters - (variant == "fat32")) * geometry.cluster_bytes


def test_what_was_on_the_volume_before_is_gone() -> None:
    image = MemoryImage(random.Random(1).randbytes(8 << 20))
    FatFormat().make(image_volume(image), FormatOptions(), TestClock())
    report = FatFormat().check(image_volume(image), repair=False, clock=TestClock())
    assert (report.problems, report.files, report.directories) == ((), 0, 1)
