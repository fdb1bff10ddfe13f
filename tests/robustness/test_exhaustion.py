"""Using something up: programs hear the host's errors, the others go on, and nothing takes ever longer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jefeos.api import System
from jefeos.testing.accounting import growth, take_stock

SCRIPT = Path(__file__).with_name("exhaustion.py")
CASES = [
    "descriptors",
    "address_space",
    "file_size",
    "arguments",
    "links_and_paths",
    "deep_folders",
    "small_messages",
    "processes",
    "queued_signals",
    "processor_time",
]
LONG_CASES = ["many_areas"]

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.long) for case in LONG_CASES)])
def test_as_on_the_host(jefeos_boot: Callable[..., System], case: str) -> None:
    expected = subprocess.run(["/usr/bin/python3", SCRIPT, case], capture_output=True, timeout=200, check=True)
    system = jefeos_boot(root="/")
    system.write_file("/tmp/exhaustion.py", SCRIPT.read_bytes())
    before = take_stock(system.kernel)
    done = system.run(["/usr/bin/python3", "/tmp/exhaustion.py", case], timeout=200)
    assert (done.status, done.stderr) == (0, expected.stderr)
    assert done.stdout.decode().splitlines() == expected.stdout.decode().splitlines()
    assert not growth(before, take_stock(system.kernel))


def test_the_hog_ends_and_the_others_go_on(jefeos_boot: Callable[..., System], caplog: Any) -> None:
    """Also when another one asks for the last frame, and when the memory is full of pages of programs' files."""
    program = """if True:
        import mmap, os, time
        def use(size):
            area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
            for at in range(0, size, 4096):
                area[at] = 1
                if size < 4 << 20:
                    time.sleep(0.0005)
            return area
        modest = []
        for _ in range(5):
            child = os.fork()
            if not child:
                use(2 << 20)
                os._exit(7)
            modest.append(child)
        hog = os.fork()
        if not hog:
            kept = [use(10 << 20) for _ in range(20)]
            os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(hog, 0)[1]))
        print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in modest])
        """
    system = jefeos_boot(root="/", ram="64M")
    with caplog.at_level("WARNING", logger="jefeos"):
        done = system.run(["/usr/bin/python3", "-c", program], timeout=200)
    assert done.stdout.decode().splitlines() == ["-9", "[7, 7, 7, 7, 7]"], done.stderr
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if line.startswith("out of memory: killed process")]) == 1, lines
    shell = "cat /proc/self/oom_score_adj; echo 500 > /proc/$$/oom_score_adj; cat /proc/self/oom_score_adj"
    assert system.run(["/bin/sh", "-c", shell]).stdout == b"0\n500\n"
    assert b"\noom_kill 1\n" in system.run(["/bin/cat", "/proc/vmstat"]).stdout
