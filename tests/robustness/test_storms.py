"""Storms of processes, threads, kills, execs, signals: the counts are the host's, and afterwards everything is back."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import Completed, System
from jefeos.testing.accounting import growth, take_stock

pytestmark = pytest.mark.peer

SCHEDULERS = ("round-robin", "fair")
SHORT = {"kills": 56, "pipes": 20, "hangups": 12, "signals": 40, "execs": 20}
LONG = {"kills": 2800, "pipes": 200, "hangups": 400, "signals": 3000, "execs": 3000, "at-once": 1500, "threads": 400}
HOST_TIMEOUT_S = 100
RSS_GROWTH_MIB = 64


@pytest.fixture
def storm(
    jefeos_boot: Callable[..., System], program: Callable[[str], str], tmp_path: Path
) -> Callable[..., Completed]:
    """``storm(name, count, scheduler)``: run one, compare what it counts with the host's counts, look for leaks."""
    path = program("storms-glibc-static")
    alone = ["unshare", "--ipc"] if os.geteuid() == 0 else []  # other runs have message queues of the same key

    def run(name: str, count: int, scheduler: str = "round-robin", timeout: float = 200) -> Completed:
        command = [name, str(count)]
        host = subprocess.run(
            [*alone, path, *command], capture_output=True, timeout=HOST_TIMEOUT_S, check=True, cwd=tmp_path
        )
        system = jefeos_boot(scheduler=scheduler, ram="512M")
        system.write_file("/bin/storms", Path(path).read_bytes(), 0o755)
        small = str(min(count, 14 if name == "kills" else 10))
        system.run(["/bin/storms", name, small], cwd="/tmp", timeout=timeout, check=True)
        before = take_stock(system.kernel, census=True)
        done = system.run(["/bin/storms", *command], cwd="/tmp", timeout=timeout)
        assert (done.status, done.stdout) == (0, host.stdout), done.stderr
        grown = growth(before, take_stock(system.kernel, census=True))
        assert not [what for what in grown if not what.endswith(" Argument")]  # decoders are made at a first call
        return done

    return run


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", SHORT)
def test_a_storm(storm: Callable[..., Completed], name: str, scheduler: str) -> None:
    storm(name, SHORT[name], scheduler)


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", LONG)
def test_a_long_storm(storm: Callable[..., Completed], name: str, scheduler: str) -> None:
    storm(name, LONG[name], scheduler, timeout=700)


def test_500_processes_at_once(storm: Callable[..., Completed]) -> None:
    assert storm("at-once", 500).stdout == b"made 500 ended 500\n"


def test_200_threads_at_once(storm: Callable[..., Completed]) -> None:
    assert storm("threads", 200).stdout == b"turns 600\n"


def resident_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) >> 8


def forks(storm: Callable[..., Completed], count: int) -> None:
    before = resident_mib()
    for _ in range(3):
        tenths = [int(word) for word in storm("forks", count).stderr.split()]
        assert len(tenths) == 10
        # Flat: the second half takes no longer than the first, within what a loaded machine does to it.
        if is_flat := statistics.median(tenths[5:]) < 3 * statistics.median(tenths[:5]) + 200:
            break
    assert is_flat, tenths
    assert resident_mib() - before < RSS_GROWTH_MIB
    print(f"microseconds a fork, by tenths of {count}: {tenths}; host memory {before} -> {resident_mib()} MiB")


def test_1000_forks_in_a_row(storm: Callable[..., Completed]) -> None:
    forks(storm, 1000)


@pytest.mark.long
def test_10000_forks_in_a_row(storm: Callable[..., Completed]) -> None:
    forks(storm, 10_000)
