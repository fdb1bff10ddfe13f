"""Each probe of a POSIX interface gives on JefeOS what it gives on the host, or the difference is explained."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from posix_board import run
from posix_list import SHELL_KINDS, explained_differences, interfaces

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed on this host"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the guest's user is root: run as root to compare"),
]


def test_no_name_is_listed_twice() -> None:
    keys = [interface.key for interface in interfaces()]
    assert len(keys) == len(set(keys))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(run()["rows"])


def is_shell(row: dict[str, Any]) -> bool:
    return row["kind"] in SHELL_KINDS


@pytest.mark.timeout(900)
def test_probes_agree_with_the_host(rows: list[dict[str, Any]]) -> None:
    explained = explained_differences()
    differing = {("shell" if is_shell(row) else "c", row["name"]): row for row in rows if row["state"] == "differs"}
    unexplained = {key: row for key, row in differing.items() if key not in explained}
    assert not unexplained, unexplained
    agreeing = {("shell" if is_shell(row) else "c", row["name"]) for row in rows if row["state"] == "yes"}
    stale = agreeing & explained.keys()
    assert not stale, f"explained, but the same as on the host now: {stale}"


def test_every_interface_has_a_probe(rows: list[dict[str, Any]]) -> None:
    without = {row["name"] for row in rows if row["state"] == "no-probe"}
    assert without <= {"asa", "c17"}, without


def test_what_the_c_library_lacks_is_not_there(rows: list[dict[str, Any]]) -> None:
    """Left out is what does not compile: that may only be for want of the interface, not for a mistake in the probe."""
    lacking = [row["name"] for row in rows if row["state"] == "libc-has-not" and row["header"] != "ndbm.h"]
    libraries = [ctypes.CDLL(name) for name in ("libc.so.6", "libm.so.6")]
    assert not [name for name in lacking if any(hasattr(library, name) for library in libraries)]
