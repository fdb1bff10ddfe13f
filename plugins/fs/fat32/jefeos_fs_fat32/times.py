"""Dates and times of directory entries. They are taken as UTC, in both directions, as Linux does with ``tz=UTC``.

    date   bits 15-9 year since 1980, 8-5 month, 4-0 day       write: 2 s, creation: 10 ms, access: a day
    time   bits 15-11 hours, 10-5 minutes, 4-0 seconds / 2

What a file cannot keep is cut off at once, so that stat(2) shows the same before and after a remount. The range is
1980 to 2107; other times become its ends. An impossible date (month 13) reads as 1980-01-01, a zero date too.
"""

from __future__ import annotations

import calendar
from datetime import date
from functools import lru_cache
from typing import Final

SECOND_NS: Final = 10**9
DAY_S: Final = 86400
HUNDREDTH_NS: Final = 10**7
EPOCH_YEAR: Final = 1980
_EPOCH: Final = date(1970, 1, 1).toordinal()
FIRST_NS: Final = (date(1980, 1, 1).toordinal() - _EPOCH) * DAY_S * SECOND_NS
LAST_NS: Final = ((date(2108, 1, 1).toordinal() - _EPOCH) * DAY_S * SECOND_NS) - HUNDREDTH_NS


@lru_cache(maxsize=1024)
def _day_of(packed: int) -> int:
    """Days since 1970 of a packed date."""
    year, month, day = EPOCH_YEAR + (packed >> 9), packed >> 5 & 15, packed & 31
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return FIRST_NS // SECOND_NS // DAY_S
    return date(year, month, day).toordinal() - _EPOCH


@lru_cache(maxsize=1024)
def _packed_day(day: int) -> int:
    """The packed date of a day since 1970."""
    when = date.fromordinal(day + _EPOCH)
    return when.year - EPOCH_YEAR << 9 | when.month << 5 | when.day


def unpack(packed_date: int, packed_time: int = 0, hundredths: int = 0) -> int:
    """Nanoseconds since 1970."""
    seconds = min(packed_time >> 11, 23) * 3600 + min(packed_time >> 5 & 63, 59) * 60 + min((packed_time & 31) * 2, 58)
    return (_day_of(packed_date) * DAY_S + seconds) * SECOND_NS + min(hundredths, 199) * HUNDREDTH_NS


def pack(time_ns: int) -> tuple[int, int, int]:
    """The packed date and time, and the hundredths of a second above them (0 to 199)."""
    time_ns = min(max(time_ns, FIRST_NS), LAST_NS)
    day, second = divmod(time_ns // SECOND_NS, DAY_S)
    packed_time = second // 3600 << 11 | second // 60 % 60 << 5 | second % 60 // 2
    return _packed_day(day), packed_time, time_ns % (2 * SECOND_NS) // HUNDREDTH_NS


def cut_write_time(time_ns: int) -> int:
    """What a file keeps of a modification time."""
    time_ns = min(max(time_ns, FIRST_NS), LAST_NS)
    return time_ns - time_ns % (2 * SECOND_NS)


def cut_access_time(time_ns: int) -> int:
    """What a file keeps of an access time."""
    time_ns = min(max(time_ns, FIRST_NS), LAST_NS)
    return time_ns - time_ns % (DAY_S * SECOND_NS)
