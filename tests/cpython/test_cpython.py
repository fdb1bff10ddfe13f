"""CPython's own tests end on JefeOS as on the host, but for the differences that ``known.toml`` lists and explains."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.testing.plugin import finish

sys.path.insert(0, str(Path(__file__).parent))
from cpython_files import FILES, short
from cpython_running import PYTHON, TESTS, Result, Run, TestFile
from cpython_table import Row, boot, compare

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]
LONG_LIMIT_S = 3600


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} on this host")
    if not Path(TESTS, "test_os.py").exists():
        pytest.skip("the interpreter's tests are not installed (libpython3.11-testsuite)")
    system = boot()
    yield system
    problems = finish(system)
    assert not problems, problems


def check(row: Row) -> None:
    assert row.host.tests, row.host.ending
    assert not row.faults, "\n".join(row.faults)


@pytest.mark.parametrize("file", short(), ids=lambda file: file.module)
def test_short(system: System, file: TestFile) -> None:
    check(compare(file, system))


@pytest.mark.long
@pytest.mark.timeout(LONG_LIMIT_S)
@pytest.mark.parametrize("file", FILES.values(), ids=lambda file: file.module)
def test_whole_file(system: System, file: TestFile) -> None:
    check(compare(file, system))


def test_what_differs_is_told() -> None:
    """The judgement itself: new and outdated differences are faults, listed ones are not."""
    good, bad, skipped = Result("passed"), Result("failed", "Traceback\nOSError: no"), Result("skipped")
    host = Run({"A.one": good, "A.two": good, "B.one": good, "B.two": good, "C.one": skipped}, 1.0)
    ours = Run({"A.one": bad, "A.two": bad, "B.one": bad, "B.two": good, "C.one": skipped}, 2.0)
    row = Row(TestFile("test_x"), host, ours, {"A.*": "why", "B.two": "was", "C.one": "the host cannot either"})
    assert [difference.name for difference in row.differences] == ["A.one", "A.two", "B.one"]
    assert row.faults == [
        "B.one: passed on the host, failed here (NEW: OSError: no)",
        "B.two: listed as a difference, and is none",
    ]
    assert row.as_json()["state"] == "no"
    lost = Row(TestFile("test_x"), host, Run({"A.one": good}, 1.0, "status 139"), {"A.two": "why"})
    assert [difference.ours.state for difference in lost.new] == ["absent"] * 3
    assert "the file ended with status 139" in lost.faults
