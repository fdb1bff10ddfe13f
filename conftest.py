"""What every test run of the house has: ``--long``, peers that may not silently be missing, and their fixtures.

* ``@pytest.mark.long`` tests run only with ``--long`` (``make test-long``).
* ``@pytest.mark.peer`` tests skip where their peer is missing; with ``JEFEOS_REQUIRE_PEERS=1`` that skip is a
  failure, so that a machine which provides the peers cannot lose them unnoticed.
* A test with something of the host at its other end (marked ``peer`` or ``realtime``, or in `REALTIME`) that fails
  gets a second try, which the summary shows as RERUN with what went wrong. Any other test that fails once has failed.
* A test that is over its time limit and does not hear it (pytest-timeout raises an exception, which an event loop
  takes for a callback's and logs) ends its worker; the run goes on with a new one.
* Fixtures ``host_program`` and ``test_data`` find peers and shared files, or skip with the reason.

tests/README.md tells how tests are to wait.
"""

from __future__ import annotations

import faulthandler
import functools
import os
import shutil
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent
ALPINE_ROOT = "alpine-minirootfs-3.20.3-x86_64.tar.gz"
#: Where tests need something of the host in real time: its kernel, or programs over a wire that loses frames, QEMU,
#: somebody at a terminal, jobs whose order its scheduler decides. Nothing that could be made to repeat belongs here.
REALTIME = (
    "plugins/machines/qemu/tests",
    "plugins/net/tap/tests",
    "plugins/shells/jsh/tests/test_interactive.py",
    "tests/alpine/test_alpine_at_work.py",
    "tests/boot/test_interactive.py",
    "tests/debian/test_debian_boot.py",
    "tests/hardware",
    "tests/init",
    "tests/network",
    "tests/software",
    "tests/terminal",
)
MOST_RERUNS = 10
"""In one run: more failures are no bad luck."""
GRACE_S = 30
_STDERR = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STDERR] = os.dup(2)  # before pytest captures what tests write there
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is to run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.option.rerun_show_tracebacks = True
    config.option.max_suite_reruns = MOST_RERUNS
    # The normal run has the same examples each time, the long one others; neither measures how fast they are made.
    hypothesis.settings.register_profile(
        "house",
        deadline=None,
        derandomize=not config.getoption("--long"),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("house")


@functools.cache
def is_in_realtime(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / place) for place in REALTIME)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_in_realtime(item.path):
            item.add_marker("realtime")
        beside_host = item.get_closest_marker("realtime") or item.get_closest_marker("peer")
        if beside_host and config.pluginmanager.hasplugin("rerunfailures"):
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=[r"Timeout \(>"]))
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("timeout")
    limit_s = float(marker.args[0] if marker and marker.args else item.config.getini("timeout") or 0)
    if limit_s:
        faulthandler.dump_traceback_later(limit_s + GRACE_S, exit=True, file=item.config.stash[_STDERR])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_handlecrashitem(crashitem: str, sched: Any) -> None:
    sched.config.failures_db.set_test_reruns(crashitem, 0)  # what hangs or ends Python is no bad luck


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    required = os.environ.get("JEFEOS_REQUIRE_PEERS", "") not in ("", "0")
    if report.skipped and required and item.get_closest_marker("peer") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"JEFEOS_REQUIRE_PEERS is set, but this peer test was skipped: {reason}"
    return report


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root folder of this repository."""
    return ROOT


@pytest.fixture(scope="session")
def host_program() -> Callable[[str], str]:
    """``host_program("qemu-x86_64")``: the path of a program of the host, or a skip."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed on this host")
        return path

    return find


@pytest.fixture(scope="session")
def test_data() -> Callable[[str], Path]:
    """``test_data(name)``: a file of the shared test data, or a skip."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("JEFEOS_TEST_DATA") or ROOT.parent / "shared" / "data")
        path = folder / name
        if not path.exists():
            pytest.skip(f"no {name} in the shared test data (set JEFEOS_TEST_DATA)")
        return path

    return find


@pytest.fixture(scope="session")
def alpine_root(test_data: Callable[[str], Path]) -> str:
    """The path of the Alpine root archive, or a skip."""
    return str(test_data(ALPINE_ROOT))
