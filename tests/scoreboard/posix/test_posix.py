"""Each probe of a POSIX interface gives on JefeOS what it gives on the host, or the difference is explained."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from posix_board import run
from posix_list import explained_differences, interfaces

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed on this host"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the guest's user is root: run as root to compare"),
]


def test_no_name_is_listed_twice() -> None:
    keys = [interface.key for interface in interfaces()]
    assert len(keys) == len(set(keys))


def test_probes_agree_with_the_host() -> None:
    rows = run()["rows"]
    explained = explained_differences()
    differing = {
        ("shell" if row["header"].startswith("XCU") else "c", row["name"]): row
        for row in rows
        if row["state"] == "differs"
    }
    unexplained = {key: row for key, row in differing.items() if key not in explained}
    assert not unexplained, unexplained
    ran = {row["name"] for row in rows if row["state"] in ("yes", "differs")}
    stale = {key for key in explained if key[1] in ran and key not in differing}
    assert not stale, f"explained, but the same as on the host now: {stale}"
