"""Programs that die in, or are failed by, each system call or a part of one: the kernel survives and leaks nothing.

The normal run takes some moments of each kind by a seed, the long one takes them all.
"""

from __future__ import annotations

import gc
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jefeos.api import System

sys.path.insert(0, str(Path(__file__).parent))

from campaign import CALL_FAULTS, POINT_FAULTS, Campaign

pytestmark = pytest.mark.peer

FAMILIES = {
    "families": ("files", "memory", "threads", "processes", "places"),
    "families_io": ("sockets", "terminals", "events", "queues"),
}
SAMPLES = 4
"""Moments of each kind in the normal run."""
LONG_SAMPLES = 60
"""Moments of each kind for whole programs, which are too slow for all of them."""

SHELL = """
for i in 1 2 3; do echo $i; done | cat | tr 1-3 a-c > file
sort < file | (read line; echo $line; exec cat)
(trap 'exit 3' TERM; sleep 9) & kill $!; wait
x=$(ls /; cat << END
a here document
END
)
rm file
"""
SERVER = """
import os, select, signal, socket, threading, time
signal.alarm(2)
def child(): time.sleep(0.001)
server = socket.socket(socket.AF_UNIX)
server.bind('s'); server.listen()
def work(connection):
    thread = threading.Thread(target=child); thread.start(); thread.join()
    connection.sendall(b'x' * 1000)
for _ in range(3):
    client = socket.socket(socket.AF_UNIX); client.connect('s')
    connection, _ = server.accept()
    pid = os.fork()
    if not pid:
        signal.alarm(2)
        work(connection)
        os._exit(0)
    connection.close()
    select.select([client], [], [], 1)
    client.recv(10)
    os.waitpid(pid, 0)
import subprocess
subprocess.run(['/bin/true']); subprocess.run('echo x | cat', shell=True, capture_output=True)
"""


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()


def moments(seed: str, count: int, most: int) -> list[int]:
    """Some of the moments 1 … count, by a seed; all of them if there are not more than ``most``."""
    return sorted(random.Random(seed).sample(range(1, count + 1), min(count, most)))


def judge(campaign: Campaign, most: int) -> None:
    campaign.warm_up()
    for fault in (*CALL_FAULTS, *POINT_FAULTS):
        campaign.try_each(fault, moments(fault, campaign.count(fault), most))
    campaign.take_census()
    assert not campaign.problems, "\n".join(campaign.problems)


def run_families(jefeos_boot: Callable[..., System], program: Callable[[str], str], name: str, most: int) -> None:
    system = jefeos_boot(ram="64M", seed=1, virtual_time=True)
    system.write_file("/bin/families", Path(program(f"{name}-glibc-static")).read_bytes(), 0o755)
    system.write_file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n" * 300)
    for family in FAMILIES[name]:
        campaign = Campaign(system, ["/bin/families", family])
        judge(campaign, most)
        assert not campaign.hangs, campaign.hangs
        gc.unfreeze()


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_calls(
    jefeos_boot: Callable[..., System], program: Callable[[str], str], name: str
) -> None:
    run_families(jefeos_boot, program, name, SAMPLES)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_moment_of_families_of_calls(
    jefeos_boot: Callable[..., System], program: Callable[[str], str], name: str
) -> None:
    run_families(jefeos_boot, program, name, 1 << 30)


def test_a_shell(jefeos_boot: Callable[..., System]) -> None:
    judge(Campaign(jefeos_boot(root="/", seed=1, virtual_time=True), ["/bin/dash", "-c", SHELL]), 1)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("program", ["dash", "bash", "busybox", "python3"])
def test_moments_of_whole_programs(jefeos_boot: Callable[..., System], program: str) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    # -B: bytecode that a run writes after a failed read of the old one stays, by right, and would be taken for a leak.
    words = {"busybox": ["sh", "-c", SHELL], "python3": ["-B", "-c", SERVER]}.get(program, ["-c", SHELL])
    virtual = program != "python3"  # where each instruction counts, its start takes several seconds
    system = jefeos_boot(root="/", seed=1, virtual_time=virtual)
    # A shell that loses its child's status asks for it for ever, on Linux too; a second of that in virtual time, in
    # which a system call is one instruction, takes minutes.
    limit_s = 0.5 if virtual else 10
    judge(Campaign(system, [path, *words], time_limit_s=limit_s), LONG_SAMPLES)
