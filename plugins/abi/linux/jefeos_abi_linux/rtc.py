"""The ioctls of /dev/rtc0: reading the hardware clock and setting it, as hwclock does. linux/rtc.h has the numbers."""

from __future__ import annotations

import calendar
import time
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.capabilities import Capability
from jefeos.proc.task import Task
from jefeos.structs import Struct, s32
from jefeos.vfs.rtc import RtcFile

RTC_RD_TIME: Final = 0x80247009
RTC_SET_TIME: Final = 0x4024700A
RTC_UIE_ON: Final = 0x7003
RTC_UIE_OFF: Final = 0x7004
TM_EPOCH: Final = 1900
LAST_YEAR: Final = 9999


class RtcTime(Struct):
    """struct rtc_time: UTC, months from 0, years from 1900."""

    tm_sec: int = s32()
    tm_min: int = s32()
    tm_hour: int = s32()
    tm_mday: int = s32()
    tm_mon: int = s32()
    tm_year: int = s32()
    tm_wday: int = s32()
    tm_yday: int = s32()
    tm_isdst: int = s32()


def rtc_control(task: Task, file: RtcFile, request: int, argument: int) -> int:
    """Read it, set it, have it tell when seconds begin.

    EACCES for who may not set it, EINVAL for a date that there is not, ENOTTY for alarms and all else.
    """
    if request == RTC_RD_TIME:
        now = time.gmtime(file.clock.seconds)
        fields = RtcTime(
            tm_sec=now.tm_sec, tm_min=now.tm_min, tm_hour=now.tm_hour, tm_mday=now.tm_mday, tm_mon=now.tm_mon - 1,
            tm_year=now.tm_year - TM_EPOCH, tm_wday=(now.tm_wday + 1) % 7, tm_yday=now.tm_yday - 1,
        )  # fmt: skip
        task.mm.write(argument, fields.pack())
        return 0
    if request == RTC_SET_TIME:
        if not task.creds.capable(Capability.SYS_TIME):
            raise KernelError(Errno.EACCES)
        file.clock.seconds = _seconds(RtcTime.parse(task.mm.read(argument, RtcTime.size)))
        return 0
    if request in (RTC_UIE_ON, RTC_UIE_OFF):
        file.set_update_interrupts(request == RTC_UIE_ON)
        return 0
    raise KernelError(Errno.ENOTTY)


def _seconds(date: RtcTime) -> int:
    year, month = date.tm_year + TM_EPOCH, date.tm_mon + 1
    valid = (
        1970 <= year <= LAST_YEAR
        and 1 <= month <= 12
        and 1 <= date.tm_mday <= calendar.monthrange(year, month)[1]
        and 0 <= date.tm_hour < 24
        and 0 <= date.tm_min < 60
        and 0 <= date.tm_sec < 60
    )
    if not valid:
        raise KernelError(Errno.EINVAL)
    return calendar.timegm((year, month, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec))
