"""What conftest.py adds to a run: a second try beside the host, shown, and an end of what hears no time limit."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 200
UNLUCKY = """
from pathlib import Path

def test_unlucky(request):
    mark = Path(__file__).with_suffix("." + request.config.workerinput["testrunuid"])
    tried = mark.exists()
    mark.touch()
    assert tried, "no luck"

def test_defect():
    assert 1 > 2
"""
WITH_PEER = """
import pytest

pytestmark = pytest.mark.peer
"""
DEAF = """
import asyncio, pytest

@pytest.mark.timeout(1)
def test_deaf():
    async def main():
        loop = asyncio.get_running_loop()
        def spin():  # the exception of pytest-timeout ends up in the loop's log
            loop.call_soon(spin)
            sum(range(3_000_000))  # so that the time limit comes here, and not between two callbacks
        spin()
        await asyncio.sleep(1000)
    asyncio.run(main())

def test_next():
    pass
"""


@pytest.fixture(scope="module")
def run(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run with two workers says of these tests, in a place that is in real time and in another."""
    folder = tmp_path_factory.mktemp("house")
    files = (
        ("tests/network/test_x", UNLUCKY + DEAF),
        ("core/tests/test_x", UNLUCKY),
        ("core/tests/test_peer", WITH_PEER + UNLUCKY),
    )
    for name, tests in files:
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tests)
    (folder / "conftest.py").write_text((repository / "conftest.py").read_text() + "\nGRACE_S = 1\n")
    (folder / "pyproject.toml").write_text((repository / "pyproject.toml").read_text())
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider"]
    command += ["core", "tests"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False).stdout


def test_bad_luck_in_real_time_is_shown_and_a_defect_fails(run: str) -> None:
    assert "RERUN tests/network/test_x.py::test_unlucky" in run and "AssertionError: no luck" in run, run
    assert "PASSED tests/network/test_x.py::test_unlucky" in run
    assert "FAILED tests/network/test_x.py::test_defect" in run


def test_elsewhere_a_failure_is_a_failure(run: str) -> None:
    assert "FAILED core/tests/test_x.py::test_unlucky" in run, run
    assert "RERUN core/tests/test_x" not in run


def test_a_peer_of_the_host_gets_a_second_try(run: str) -> None:
    assert "RERUN core/tests/test_peer.py::test_unlucky" in run, run
    assert "PASSED core/tests/test_peer.py::test_unlucky" in run
    assert "FAILED core/tests/test_peer.py::test_defect" in run


def test_what_hears_no_time_limit_ends_and_the_next_test_runs(run: str) -> None:
    assert "crashed while running 'tests/network/test_x.py::test_deaf'" in run, run
    assert "5 failed, 3 passed, 4 rerun" in run


def test_places_in_real_time_exist_and_none_is_in_core(repository: Path) -> None:
    spec = importlib.util.spec_from_file_location("house_conftest", repository / "conftest.py")
    assert spec is not None and spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    for place in conftest.REALTIME:
        assert (repository / place).exists() and not place.startswith("core"), place
