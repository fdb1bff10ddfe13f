"""/dev/rtc0 as hwclock sees it: read, set for this boot only, one opener at a time, told when seconds begin."""

from __future__ import annotations

import calendar
import sys
import time
from collections.abc import Callable

import jefeos
import pytest

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the programs are those of a Linux host"),
]

SCRIPT = """
import errno, fcntl, os, struct, select, time
RD, SET, ON, OFF = 0x80247009, 0x4024700a, 0x7003, 0x7004
clock = os.open("/dev/rtc0", os.O_RDONLY)
def read(): return struct.unpack("9i", fcntl.ioctl(clock, RD, bytes(36)))
def attempt(call, *arguments):
    try: call(*arguments); print("done")
    except OSError as error: print(errno.errorcode[error.errno])
attempt(os.open, "/dev/rtc0", os.O_RDONLY)
print(*read())
attempt(fcntl.ioctl, clock, SET, struct.pack("9i", 59, 59, 23, 29, 1, 100, 0, 0, 0))
before = time.monotonic()
print(select.select([clock], [], [], 0)[0])
attempt(fcntl.ioctl, clock, ON, 0)
print(select.select([clock], [], [], 5)[0] == [clock], hex(struct.unpack("Q", os.read(clock, 8))[0]))
print(*read(), time.monotonic() - before < 1.5)
os.read(clock, 8)
attempt(fcntl.ioctl, clock, OFF, 0)
print(read()[0])
attempt(fcntl.ioctl, clock, SET, struct.pack("9i", 0, 0, 0, 30, 1, 100, 0, 0, 0))
attempt(fcntl.ioctl, clock, 0x7001, 0)
os.close(clock)
clock = os.open("/dev/rtc0", os.O_RDONLY)
os.setuid(1)
attempt(fcntl.ioctl, clock, SET, struct.pack("9i", 0, 0, 0, 1, 1, 100, 0, 0, 0))
"""


def test_read_set_and_wait(host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]) -> None:
    system = jefeos_boot(root="/", virtual_time=True)
    done = system.run([host_program("python3"), "-c", SCRIPT], timeout=200)
    lines = done.stdout.decode().splitlines()
    assert lines == [
        "EBUSY",
        lines[1],
        "done",
        "[]",
        "done",
        "True 0x190",
        "0 0 0 1 2 100 3 60 0 True",  # 2000 was a leap year, and its March began on a Wednesday
        "done",
        "1",
        "EINVAL",
        "ENOTTY",
        "EACCES",
    ], done
    second, minute, hour, day, month, year, weekday, day_of_year, saving = map(int, lines[1].split())
    assert (year, month, day, hour, weekday, day_of_year, saving) == (126, 0, 1, 0, 4, 0, 0)  # virtual time's start
    assert minute * 60 + second < 30


def test_it_is_the_hosts_date(host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]) -> None:
    script = "import fcntl, struct; f = open('/dev/rtc0', 'rb', 0); time = fcntl.ioctl(f, 0x80247009, bytes(36))"
    script += "; print(*struct.unpack('9i', time))"
    before = time.time()
    done = jefeos_boot(root="/").run([host_program("python3"), "-c", script], timeout=200)
    second, minute, hour, day, month, year = map(int, done.stdout.split()[:6])
    shown = time.strptime(f"{year + 1900} {month + 1} {day} {hour} {minute} {second}", "%Y %m %d %H %M %S")
    assert before - 1 <= calendar.timegm(shown) <= time.time()
