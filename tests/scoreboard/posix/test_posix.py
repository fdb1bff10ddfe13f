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
PARTS = 6
"""All together take a minute or two: several workers share them."""


def test_no_name_is_listed_twice() -> None:
    keys = [interface.key for interface in interfaces()]
    assert len(keys) == len(set(keys))
    assert set(explained_differences()) <= set(keys)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_probes(part: int) -> None:
    rows = run(names_of(part))["rows"]
    check_differences(rows)
    without = {row["name"] for row in rows if row["state"] == "no-probe"}
    assert not without, without
    check_what_is_lacking(rows)


def names_of(part: int) -> list[str]:
    """C interfaces that are neighbours, as they are compiled together, and each nth utility, as some are slow."""
    shell, c = ([one.name for one in interfaces() if (one.kind in SHELL_KINDS) is wanted] for wanted in (True, False))
    return [*c[part * len(c) // PARTS : (part + 1) * len(c) // PARTS], *shell[part::PARTS]]


def check_differences(rows: list[dict[str, Any]]) -> None:
    """Every difference is explained, and every explanation is of a difference."""
    explained = explained_differences()
    keyed = {("shell" if row["kind"] in SHELL_KINDS else "c", row["name"]): row for row in rows}
    unexplained = {key: row for key, row in keyed.items() if row["state"] == "differs" and key not in explained}
    assert not unexplained, unexplained
    stale = {key for key in explained if key in keyed and keyed[key]["state"] == "yes"}
    assert not stale, f"explained, but the same as on the host now: {stale}"


def check_what_is_lacking(rows: list[dict[str, Any]]) -> None:
    """What does not compile is left out: that may be for want of the interface only, not for a mistake in the probe."""
    lacking = [row["name"] for row in rows if row["state"] == "libc-has-not" and row["header"] != "ndbm.h"]
    libraries = [ctypes.CDLL(name) for name in ("libc.so.6", "libm.so.6")]
    assert not [name for name in lacking if any(hasattr(library, name) for library in libraries)]
