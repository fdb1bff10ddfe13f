"""Times of files: what of them is kept, over a remount too, and what impossible ones read as."""

from __future__ import annotations

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.testing.mounted import mounted
from jefeos.testing.volumes import TestClock, memory_volume
from jefeos_fs_fat32 import times
from jefeos_fs_fat32.format import FatFormat

SECOND_NS = 10**9
DAY_NS = 86400 * SECOND_NS
WHEN_NS = 1_700_000_001 * SECOND_NS + 987_654_321


def test_what_a_file_keeps_is_the_same_before_and_after_a_remount() -> None:
    volume = memory_volume(4 << 20)
    FatFormat().make(volume, FormatOptions(), TestClock())
    with mounted(FatFormat(), volume, clock=TestClock(WHEN_NS)) as here:
        here.put(b"/f", b"x")
        here.vfs.utimens(here.actor, b"/f", WHEN_NS, WHEN_NS)
        before = here.vfs.stat(here.actor, b"/f")
    with mounted(FatFormat(), volume, writable=False) as here:
        after = here.vfs.stat(here.actor, b"/f")
    for stat in (before, after):
        assert stat.mtime_ns == WHEN_NS // (2 * SECOND_NS) * (2 * SECOND_NS)
        assert stat.atime_ns == WHEN_NS // DAY_NS * DAY_NS
    assert after.btime_ns == WHEN_NS // 10**7 * 10**7


@pytest.mark.parametrize(
    ("packed", "seconds"),
    [
        ((0x21, 0), 315_532_800),  # 1980-01-01
        ((0xFF9F, 0xBF7D), 4_354_819_198),  # 2107-12-31 23:59:58
        ((0x5876, 0x6000), 1_710_072_000 + 12 * 86400),  # 2024-03-22 12:00:00
        ((0x285D, 0), 951_782_400),  # 2000-02-29
        ((0, 0), 315_532_800),
        ((0x5800, 0xFFFF), 315_532_800 + 86398),  # month 0, hour 31
        ((0x425D, 0), 315_532_800),  # 2013-02-29
    ],
)
def test_packed_times(packed: tuple[int, int], seconds: int) -> None:
    assert times.unpack(*packed) == seconds * SECOND_NS


@pytest.mark.parametrize("time_ns", [0, times.FIRST_NS, WHEN_NS, times.LAST_NS, 2**63 - 1])
def test_packing_and_unpacking(time_ns: int) -> None:
    date, time, hundredths = times.pack(time_ns)
    bounded_ns = min(max(time_ns, times.FIRST_NS), times.LAST_NS)
    assert times.unpack(date, time, hundredths) == bounded_ns // 10**7 * 10**7
    assert times.unpack(date, time) == times.cut_write_time(time_ns)
    assert times.unpack(date) == times.cut_access_time(time_ns)
