"""The table: each test file of CPython on the host and on JefeOS, and what differs with the reason for it.

    python tests/cpython/cpython_table.py [--short] [FILE ...]      prints the table, and writes build/cpython.json

Rules of a difference: a test whose state (passed, failed, skipped) is not the host's. Each must have a reason in
``known.toml``; one without is a fault, and so is an entry whose test has come to pass. ``Class.*`` there stands for
all tests of a class, each of which must differ. A test with a new difference gets a second try on both sides, alone:
some measure time, and the machine may be busy. Second tries are shown.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jefeos
from attrs import evolve, field, frozen
from jefeos.api import System

sys.path.insert(0, str(Path(__file__).parent))
from cpython_files import FILES, short
from cpython_running import Result, Run, TestFile, run_on_host, run_on_jefeos

TITLE = "CPython's own test files"
KNOWN = Path(__file__).parent / "known.toml"
RAM = "1G"
SECOND_TRIES = 4
"""More new differences than this in one file are no accident."""
SIDES = ("host", "jefeos")
ABSENT = Result("absent")


def known_differences(module: str) -> dict[str, str]:
    """Test id or ``Class.*`` to its reason."""
    with KNOWN.open("rb") as file:
        data = tomllib.load(file)
    reasons = data["reasons"]
    return {name: reasons[key] for key, names in data.get(module, {}).items() for name in names}


@frozen
class Difference:
    """A test that did not end as on the host."""

    name: str
    host: Result
    ours: Result
    reason: str | None

    def __str__(self) -> str:
        reason = self.reason or f"NEW: {self.ours.brief}"
        return f"{self.name}: {self.host.state} on the host, {self.ours.state} here ({reason})"


@frozen
class Row:
    """A line of the table."""

    file: TestFile
    host: Run
    ours: Run
    known: dict[str, str]
    differences: list[Difference] = field(init=False)
    second_tries: tuple[str, ...] = ()

    @differences.default
    def _compare(self) -> list[Difference]:
        host, ours = self.host.tests, self.ours.tests
        found = []
        for name in sorted(host.keys() | ours.keys()):
            theirs, mine = host.get(name, ABSENT), ours.get(name, ABSENT)
            if mine.state != theirs.state:
                reason = self.known.get(name) or self.known.get(f"{name.rpartition('.')[0]}.*")
                found.append(Difference(name, theirs, mine, reason))
        return found

    @property
    def new(self) -> list[Difference]:
        """Differences without a reason."""
        return [difference for difference in self.differences if difference.reason is None]

    @property
    def outdated(self) -> list[str]:
        """Entries of ``known.toml`` whose test passes on both sides."""
        differing = {difference.name for difference in self.differences}
        passed = [
            name
            for name, result in self.ours.tests.items()
            if result.state == "passed" and name not in differing
        ]
        return [
            name for name in passed if name in self.known or f"{name.rpartition('.')[0]}.*" in self.known
        ]

    @property
    def faults(self) -> list[str]:
        """What is not as ``known.toml`` says."""
        endings = [] if not self.ours.ending or self.host.ending else [f"the file ended with {self.ours.ending}"]
        outdated = [f"{name}: listed as a difference, and is none" for name in self.outdated]
        return [str(difference) for difference in self.new] + outdated + endings

    def as_json(self) -> dict[str, Any]:
        """For the scoreboard: state is yes (as the host), explained (each difference is listed) or no."""
        state = "no" if self.faults else "explained" if self.differences else "yes"
        explained: dict[str, int] = {}
        for difference in self.differences:
            explained[difference.reason or "new"] = explained.get(difference.reason or "new", 0) + 1
        return {
            "name": self.file.module,
            "kind": "part of a file" if self.file.names else "file",
            "header": "cpython 3.11",
            "state": state,
            "detail": "; ".join(f"{count} × {reason}" for reason, count in explained.items()),
            "host": dict(self.host.counts),
            "jefeos": dict(self.ours.counts),
            "host_seconds": round(self.host.seconds, 1),
            "jefeos_seconds": round(self.ours.seconds, 1),
            "second_tries": list(self.second_tries),
            "differences": [str(difference) for difference in self.differences],
            "faults": self.faults,
        }


def compare(file: TestFile, system: System) -> Row:
    """Run a file on both sides."""
    row = Row(file, run_on_host(file), run_on_jefeos(file, system), known_differences(file.module))
    again = [difference.name for difference in row.new if difference.host.state == "passed"]
    if not again or len(again) > SECOND_TRIES:
        return row
    retry = evolve(file, names=again, without=())
    host, ours = run_on_host(retry), run_on_jefeos(retry, system)
    return Row(
        file,
        evolve(row.host, tests=row.host.tests | host.tests),
        evolve(row.ours, tests=row.ours.tests | ours.tests),
        row.known,
        tuple(again),
    )


def boot() -> System:
    """The system that runs the files: the host's programs, written over in memory."""
    return jefeos.boot(root="/", ram=RAM, strict=True)


def rows(files: Iterable[TestFile]) -> Iterable[Row]:
    """Run the files one by one in one system."""
    with boot() as system:
        for file in files:
            yield compare(file, system)


def board(files: Iterable[TestFile] | None = None) -> dict[str, Any]:
    """The scoreboard of these files; the short run (some three minutes) unless they are named."""
    lines = [row.as_json() for row in rows(short() if files is None else files)]
    totals = {f"{side}_tests": dict(sum((Counter(line[side]) for line in lines), Counter())) for side in SIDES}
    yes = sum(line["state"] == "yes" for line in lines)
    counts = dict(Counter(line["state"] for line in lines))
    return {"title": TITLE, "total": len(lines), "yes": yes, "counts": counts, **totals, "rows": lines}


def line_of(row: dict[str, Any]) -> str:
    """A row as text: passed, failed and skipped on the host and here, seconds, and the ratio."""
    states = ("passed", "failed", "skipped")
    counts = [" ".join(f"{row[side].get(state, 0):4}" for state in states) for side in SIDES]
    ratio = row["jefeos_seconds"] / max(row["host_seconds"], 0.1)
    seconds = f"{row['host_seconds']:6.1f} {row['jefeos_seconds']:6.1f} {ratio:5.1f}"
    return f"{row['name']:34} {counts[0]}  {counts[1]}  {seconds}  {row['state']:9} {row['detail']}"


def main(arguments: list[str]) -> int:
    names = [name for name in arguments if name != "--short"]
    chosen = short() if "--short" in arguments else list(FILES.values())
    if names:
        listed = {file.module: file for file in chosen}
        chosen = [listed.get(name) or TestFile(name) for name in names]
    print(f"{'':34} {'host: passed failed skipped; JefeOS: the same; seconds of both; ratio'}")
    lines = []
    for row in rows(chosen):
        lines.append(row.as_json())
        print(line_of(lines[-1]), flush=True)
        for text in [f"second try: {name}" for name in row.second_tries] + row.faults:
            print(f"    {text}", flush=True)
    target = Path("build", "cpython.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(lines, indent=1), encoding="utf-8")
    return any(line["faults"] for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
