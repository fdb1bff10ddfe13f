"""What every test run of the house has: ``--long``, peers that may not silently be missing, and their fixtures.

* ``@pytest.mark.long`` tests run only with ``--long`` (``make test-long``).
* ``@pytest.mark.peer`` tests skip where their peer is missing; with ``JEFEOS_REQUIRE_PEERS=1`` that skip is a
  failure, so that a machine which provides the peers cannot lose them unnoticed.
* Fixtures ``host_program`` and ``test_data`` find peers and shared files, or skip with the reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
ALPINE_ROOT = "alpine-minirootfs-3.20.3-x86_64.tar.gz"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


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
