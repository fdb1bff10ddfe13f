"""Loss of power, beyond the conformance suite: what fsck.fat says after our repair, and that it takes the order of
writes to keep the promise."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.block.cache import BufferCache
from jefeos.block.volume import FormatOptions
from jefeos.testing.crash import CrashFailure, Recording, check_crashes, crash_points, record
from jefeos.testing.operations import Abilities
from jefeos.testing.volumes import TestClock
from jefeos_fs_fat32.format import FatFormat

VARIANTS = {
    "fat12": FormatOptions(variant="fat12"),
    "fat16": FormatOptions(variant="fat16", cluster_bytes=512),
    "fat32": FormatOptions(variant="fat32"),
}
SIZE = 4 << 20


def recorded(variant: str, seed: int) -> Recording:
    abilities = Abilities(hard_links=False, symlinks=False)
    return record(FatFormat(), SIZE, seed=seed, abilities=abilities, options=VARIANTS[variant])


def judge(variant: str, seed: int, points: int, image: Path) -> int:
    """How many points had something to repair; fsck.fat finds nothing after that."""
    repaired = 0
    for point in crash_points(recorded(variant, seed), points, seed):
        report = FatFormat().check(point.volume(), repair=True, clock=TestClock())
        assert report.clean, (str(point), report.problems)
        repaired += bool(report.problems)
        image.write_bytes(point.image.data)
        done = subprocess.run(["fsck.fat", "-n", image], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (str(point), report.problems, done.stdout)
    return repaired


@pytest.mark.peer
@pytest.mark.parametrize("variant", VARIANTS)
def test_fsck_fat_finds_nothing_after_our_repair(
    variant: str, tmp_path: Path, host_program: Callable[[str], str]
) -> None:
    host_program("fsck.fat")
    assert judge(variant, 3, 15, tmp_path / "image")


@pytest.mark.long
@pytest.mark.peer
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("variant", VARIANTS)
def test_fsck_fat_finds_nothing_at_many_points(
    variant: str, tmp_path: Path, host_program: Callable[[str], str]
) -> None:
    host_program("fsck.fat")
    assert judge(variant, 30, 300, tmp_path / "image")


def test_without_the_order_of_writes_data_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the kit sees it when the order is not kept."""
    monkeypatch.setattr(BufferCache, "order", lambda self: None)
    recording = recorded("fat16", 17)
    with pytest.raises(CrashFailure):
        check_crashes(FatFormat(), recording, 200, seed=1)
