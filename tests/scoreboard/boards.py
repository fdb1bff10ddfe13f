"""The scoreboards: which there are, and the document that holds their results.

The document is JSON, complete in itself (a page can be made of it alone), with a version that goes up when a field
changes its meaning or goes away::

    {"format": "jefeos-scoreboard", "version": 1, "made": "2026-01-02T03:04:05Z", "seconds": 123.4,
     "jefeos": {"version": …, "commit": …}, "host": {"system": …, "machine": …, "python": …},
     "boards": {"calls": {"title": …, "total": 374, "yes": 270, "counts": {"yes": 270, …}, "seconds": …,
                          "rows": [{"name": …, "kind": …, "header": …, "state": "yes", "detail": …}, …]}, …}}

A board may have more fields, and so may its rows. Every state but "yes" is not a yes.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jefeos

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "posix"))
sys.path.insert(0, str(Path(__file__).parent.parent / "cpython"))
from board_calls import calls_board
from board_tiers import tiers_board
from board_work import work_board
from comparing import Evidence
from cpython_table import board as cpython_board
from posix_board import board as posix_board

FORMAT: Final = "jefeos-scoreboard"
VERSION: Final = 1

Progress = Callable[[str], None]
Board = Callable[[Evidence, Progress], dict[str, Any]]


def _posix(evidence: Evidence, progress: Progress) -> dict[str, Any]:
    progress("posix")
    return posix_board()


def _cpython(evidence: Evidence, progress: Progress) -> dict[str, Any]:
    progress("cpython")
    return cpython_board()


#: In the order in which they run: what runs before "calls" is evidence for it.
BOARDS: Final[dict[str, Board]] = {
    "tiers": tiers_board,
    "work": work_board,
    "calls": calls_board,
    "posix": _posix,
    "cpython": _cpython,
}


def run_boards(names: Collection[str], progress: Progress) -> dict[str, Any]:
    """Run the named boards, and give the document."""
    evidence = Evidence()
    started = time.monotonic()
    results = {}
    for name, make in BOARDS.items():
        if name in names:
            began = time.monotonic()
            result = make(evidence, progress)
            results[name] = {**result, "seconds": round(time.monotonic() - began, 1)}
    return {
        "format": FORMAT,
        "version": VERSION,
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(time.monotonic() - started, 1),
        "jefeos": {"version": jefeos.__version__, "commit": _commit()},
        "host": {
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "python": platform.python_version(),
        },
        "boards": results,
    }


def problems(document: Any) -> list[str]:
    """What is wrong with a document: it must hold together, whoever made its boards."""
    found = []
    if (document.get("format"), document.get("version")) != (FORMAT, VERSION):
        found.append("it is not a scoreboard of this version")
    for name, board in document.get("boards", {}).items():
        rows = board["rows"]
        states = [row["state"] for row in rows]
        if board["total"] != len(rows) or board["yes"] != states.count("yes"):
            found.append(f"{name}: its sums are not those of its rows")
        if board["counts"] != {state: states.count(state) for state in set(states)}:
            found.append(f"{name}: its counts are not those of its rows")
        lacking = {field for row in rows for field in ("name", "kind", "header", "state", "detail") if field not in row}
        if lacking:
            found.append(f"{name}: rows lack {', '.join(sorted(lacking))}")
    return found


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
