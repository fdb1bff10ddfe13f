"""Damage where it hurts: records, index blocks, runs and journal, on volumes of several kinds.

The kit's campaign (`test_conformance`) damages a small volume of ours wherever it is not zero, and each of its first
64 KiB. Here are volumes with what that one has not: attribute lists, fragmented and compressed files and alternate
streams as ntfs-3g leaves them, large clusters, a journal that waits to be replayed; and only structures are damaged.
"""

from __future__ import annotations

import os
import random
import re
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.testing.crash import crash_points, record
from jefeos.testing.fuzz import campaign, survive
from jefeos.testing.volume_suite import populated
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume
from jefeos_fs_ntfs.boot import parse_geometry
from jefeos_fs_ntfs.format import NtfsFormat
from jefeos_fs_ntfs.layout import FILE_MAGIC, INDX_MAGIC, AttributeType, Collation

FORMAT = NtfsFormat()
MIB = 1 << 20
CASES = 40
LONG_CASES = 10_000
RECORD_BYTES = 1024
INDEX_BYTES = 4096
COMPRESSED = 0x800
ImageMaker = Callable[..., Path]
Mount = Callable[..., AbstractContextManager[Path]]


def structures(contents: bytes) -> list[tuple[int, int]]:
    """Where records in use and index blocks are, the boot sector, and the front of the log."""
    geometry = parse_geometry(contents[:512], len(contents))
    found = [(0, 512)]
    for magic, length in ((FILE_MAGIC, RECORD_BYTES), (INDX_MAGIC, INDEX_BYTES)):
        place = contents.find(magic)
        while place >= 0:
            if not place % 512 and (magic is INDX_MAGIC or contents[place + 22] & 1):
                used = int.from_bytes(contents[place + 24 : place + 28], "little") if magic is FILE_MAGIC else length
                found.append((place, place + min(max(used, 64), length)))
            place = contents.find(magic, place + 4)
    place = contents.find(b"JefeOS\0J", geometry.cluster_bytes)
    return [*found, (place, place + 4096)] if place >= 0 else found


def with_journal() -> bytes:
    """What a loss of power left: a journal that is live, if it came at the right moment."""
    recording = record(FORMAT, 2 * MIB, seed=3, operations=40, options=FormatOptions(cluster_bytes=1024))
    best = max(crash_points(recording, 30, seed=3), key=lambda point: bytes(point.image.data).count(b"JefeOS\0J"))
    point = next(one for one in crash_points(recording, 30, seed=3) if one.index == best.index)
    return bytes(point.image.data)


def test_with_a_live_journal() -> None:
    contents = with_journal()
    report = FORMAT.check(image_volume(MemoryImage(contents)), repair=False, clock=TestClock())
    assert not report.problems
    assert report.notes[0] == "the journal of a crash is replayed"
    assert campaign(FORMAT, contents, range(CASES), ranges=structures(contents)).cases == CASES


def by_ntfs_3g(image: Path, ntfs_3g: Mount) -> bytes:
    """Something of everything that ntfs-3g makes."""
    chance = random.Random(5)
    with ntfs_3g(image) as folder:
        flat = folder / "flat"
        flat.mkdir()
        for number in range(40):
            (flat / f"a rather long name of file {number:030}").write_bytes(b"x" * number * 7)
        for _ in range(12):  # in turn, so that they fragment
            for number in range(5):
                with (folder / f"fragments {number}").open("ab") as file:
                    file.write(chance.randbytes(1100))
        streams = folder / "fragments 0"
        for number in range(10):
            os.setxattr(streams, f"user.stream {number}", b"s" * 300)
        (folder / "link").symlink_to("flat")
        (folder / "hard").hardlink_to(streams)
        packed = folder / "packed"
        packed.mkdir()
        os.setxattr(packed, "system.ntfs_attrib", COMPRESSED.to_bytes(4, "little"))
        (packed / "text").write_bytes(b"to be compressed " * 4000)
        (packed / "zeros").write_bytes(bytes(70_000))
        with (folder / "sparse").open("wb") as file:
            file.seek(200_000)
            file.write(b"end")
    return image.read_bytes()


@pytest.mark.peer
@pytest.mark.parametrize("cluster_bytes", [512, 4096])
def test_volumes_of_ntfs_3g(make_foreign: ImageMaker, ntfs_3g: Mount, cluster_bytes: int) -> None:
    contents = by_ntfs_3g(make_foreign(3 * MIB, cluster_bytes), ntfs_3g)
    tally = campaign(FORMAT, contents, range(CASES), ranges=structures(contents))
    assert tally.cases == CASES
    assert tally.mounted > CASES // 4


@pytest.mark.peer
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cluster_bytes", [512, 4096, 65536])
def test_volumes_of_ntfs_3g_at_length(make_foreign: ImageMaker, ntfs_3g: Mount, cluster_bytes: int) -> None:
    size = 6 * MIB if cluster_bytes > 4096 else 3 * MIB
    contents = by_ntfs_3g(make_foreign(size, cluster_bytes), ntfs_3g)
    ranges = structures(contents)
    assert campaign(FORMAT, contents, range(1000, 1000 + LONG_CASES), ranges=ranges).cases == LONG_CASES


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_with_a_live_journal_at_length() -> None:
    contents = with_journal()
    assert campaign(FORMAT, contents, range(1000, 1000 + LONG_CASES), ranges=structures(contents)).cases == LONG_CASES


@pytest.fixture(scope="module")
def index_roots() -> tuple[bytes, list[int]]:
    """A volume, and where the roots of its directories are."""
    contents = populated(FORMAT, 8 * MIB, FormatOptions(), True, True)
    root = struct.pack("<III", AttributeType.FILE_NAME, Collation.FILE_NAME, INDEX_BYTES)
    places = [found.start() for found in re.finditer(re.escape(root), contents) if found.start() % 8 == 0]
    assert len(places) > 3
    return contents, places


@pytest.mark.parametrize("rule", [0, 2, 0x10, 0x11, 0x12, 0x13, 0xFFFF_FFFF])
def test_a_directory_with_another_collation_rule_is_damaged(rule: int, index_roots: tuple[bytes, list[int]]) -> None:
    """Found by `make fuzz`, byte 0xf51e: keys of another shape ended in a ValueError."""
    contents, places = index_roots
    for place in places:
        damaged = bytearray(contents)
        damaged[place + 4 : place + 8] = rule.to_bytes(4, "little")
        survive(FORMAT, damaged)
