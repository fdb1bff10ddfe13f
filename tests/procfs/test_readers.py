"""Real readers of /proc understand ours: BusyBox, procps and Python, from the host's own binaries."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("runs the programs of a Linux host", allow_module_level=True)

READERS = {
    "busybox ps": (["busybox", "ps"], r"PID .*\n(.*\n)* +2 root +.*busybox ps\n"),
    "busybox ps -o": (
        ["busybox", "ps", "-o", "pid,ppid,pgid,stat,tty,vsz,rss,comm"],
        r"\n +2 +1 +2 R *\S* +\S+ +\S+ busybox\n",
    ),
    "busybox top": (
        ["busybox", "top", "-b", "-n1"],
        r"Mem: \d+K used, \d+K free.*\nCPU: .*\nLoad average: [0-9.]+ .*\n",
    ),
    "busybox free": (["busybox", "free"], r"Mem: +262\d\d\d +\d+ +\d+ +\d+ +\d+ +\d+\n"),
    "busybox uptime": (["busybox", "uptime"], r"up 0 min, .*load average: \d\.\d\d, \d\.\d\d, \d\.\d\d\n"),
    "busybox df": (["busybox", "df", "/dev"], r"devtmpfs +\d+ +\d+ +\d+ +\d+% /dev\n"),
    "busybox mount": (["busybox", "mount"], r"proc on /proc type proc \(rw"),
    "busybox pidof": (["busybox", "pidof", "busybox"], r"^2\n"),
    "busybox nproc": (["busybox", "nproc"], r"^1\n"),
    "busybox sysctl": (["busybox", "sysctl", "kernel.ostype"], r"kernel.ostype = Linux\n"),
    "ps aux": (["ps", "aux"], r"USER +PID %CPU %MEM.*\n(.*\n)*root +2 .* R\S* +\d\d:\d\d +\d+:\d\d \S*ps aux\n"),
    "ps -ef": (["ps", "-ef"], r"\nroot +2 +1 .*ps -ef\n"),
    "ps threads": (["ps", "-eLo", "pid,lwp,nlwp,wchan,psr,pri,ni,sz,args"], r"\n +2 +2 +1 "),
    "top": (["top", "-b", "-n1"], r"Tasks: +\d+ total, +1 running.*\n(.*\n)* +2 root +20 +0 .* R .* top\n"),
    "free": (["free", "-k"], r"Mem: +262\d\d\d "),
    "uptime": (["uptime"], r"load average: "),
    "vmstat": (["vmstat"], r"\n +\d+ +\d+ +\d+ +\d+"),
    "pgrep": (["pgrep", "-x", "pgrep"], r"^$"),
    "pmap": (["pmap", "2"], r"\n total +\d+K\n"),
    "findmnt": (["findmnt", "-n", "-o", "FSTYPE", "/proc"], r"^proc\n"),
    "df": (["df", "-k", "/dev/shm"], r"tmpfs +\d+ +\d+ +\d+ +\d+% /dev/shm\n"),
    "cat": (["cat", "/proc/self/comm"], r"^cat\n"),
    "python": (
        ["python3", "-c", "import os; print(os.readlink('/proc/self/exe'), os.listdir('/proc/self/fd'))"],
        r"/python3\S* \['0', '1', '2', '3'\]\n",
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_reader(jefeos_boot: Callable[..., Any], name: str) -> None:
    argv, pattern = READERS[name]
    path = shutil.which(argv[0], path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{argv[0]} is not on this host")
    done = jefeos_boot(root="/").run([path, *argv[1:]], timeout=60)
    output = done.stdout.decode()
    assert re.search(pattern, output), (output, done.stderr)


BUSY = """
import time
while time.process_time() < 2: pass
for name in ("uptime", "loadavg", "uptime"): print(*open("/proc/" + name).read().split()[:2])
"""


def test_load_averages_follow_the_load(jefeos_boot: Callable[..., Any]) -> None:
    """Two seconds of one process on an idle system are a thirtieth of a minute; a busy host makes them more."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("python3 is not on this host")
    done = jefeos_boot(root="/").run([python, "-c", BUSY], timeout=100)
    before, (load, _), after = ([float(word) for word in line.split()] for line in done.stdout.splitlines())
    expected = [(up_s - idle_s) / up_s * (1 - math.exp(-up_s / 60)) for up_s, idle_s in (before, after)]
    assert min(round(up_s - idle_s, 2) for up_s, idle_s in (before, after)) >= 2
    assert min(expected) - 0.02 <= load <= max(expected) + 0.02, done


TIMES = """
while :; do :; done & busy=$!
i=0; while [ $i -lt 400 ]; do i=$((i + 1)); read line </proc/stat; echo $line; done
kill $busy
"""


def test_processor_times_never_go_back(jefeos_boot: Callable[..., Any]) -> None:
    """A time slice counts while it runs: what would be taken for idle and taken back later is no number for top."""
    assert_times_only_grow(jefeos_boot(root="/"))


def test_user_time_is_not_taken_back_for_system_time(
    jefeos_boot: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a long slice, most of which was spent in the kernel."""
    monkeypatch.setattr("jefeos.vfs.procfs.system.TICK_NS", 1000)
    system = jefeos_boot(root="/")
    executor = system.kernel.executor
    executor.sample_every = executor._slices_to_sample = sys.maxsize
    executor._total.system_share = 0.9
    assert_times_only_grow(system)


def assert_times_only_grow(system: Any) -> None:
    done = system.run(["/bin/sh", "-c", TIMES], timeout=200)
    lines = [[int(word) for word in line.split()[1:]] for line in done.stdout.splitlines()]
    assert len(lines) == 400, done
    for before, after in pairwise(lines):
        assert all(new >= old for old, new in zip(before, after, strict=True)), (before, after)
    assert lines[-1][0] > lines[0][0]
