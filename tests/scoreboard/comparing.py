"""A run on the host, the same run on JefeOS, and what follows from the two: a state, and evidence about system calls.

States of a row, of these boards:

========  ==========================================================================
yes       it ran on both and agreed (or, where there is no host to ask: all that had to be seen was seen)
no        it ran, and did something else on JefeOS, did not end, or broke a handler
not run   something that it needs is not on this host
========  ==========================================================================

A system call is *tested* if a program whose outcome agreed with the host's made it and it succeeded there. A run that
disagreed proves nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import attrs
from attrs import define, field, frozen
from jefeos.api import System
from jefeos.errors import JefeError

YES, NO, NOT_RUN = "yes", "no", "not run"
SHOWN = 160
"""Characters that a detail shows of a difference."""


@frozen
class Verdict:
    """What a run gave."""

    state: str
    detail: str = ""


@define
class Evidence:
    """Which system calls were made, and which succeeded, in runs that agreed; by name, with the runs' names."""

    succeeded: dict[str, list[str]] = field(factory=dict)
    made: dict[str, list[str]] = field(factory=dict)
    disagreed: dict[str, str] = field(factory=dict)
    """Runs that did something else than on the host, and what."""
    runs: int = 0
    agreed: int = 0

    def compare(
        self,
        name: str,
        system: System,
        on_the_host: Callable[[], Any],
        on_jefeos: Callable[[], Any],
        *,
        must_work: bool = False,
    ) -> Verdict:
        """Run both and compare their outcomes, instances of one attrs class. The system was booted with ``stats``.

        With ``must_work``, a run whose status on the host is not 0 shows nothing, and counts as not run.
        """
        try:
            expected = on_the_host()
        except (OSError, subprocess.SubprocessError) as error:
            return Verdict(NOT_RUN, f"on the host: {error}")
        if must_work and expected.status:
            last = expected.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            return Verdict(NOT_RUN, _cut(f"does not work on the host: {' '.join(last)}"))
        self.runs += 1
        verdict = self._judge(name, system, expected, on_jefeos)
        if verdict.state == NO:
            self.disagreed[name] = verdict.detail
        return verdict

    def _judge(self, name: str, system: System, expected: Any, on_jefeos: Callable[[], Any]) -> Verdict:
        before = system.statistics()
        try:
            outcome = on_jefeos()
        except JefeError as error:
            return Verdict(NO, str(error))
        after = system.statistics()
        if after["kernel_bugs"] > before["kernel_bugs"]:
            return Verdict(NO, "a handler of the kernel failed; see the log")
        if outcome != expected:
            return Verdict(NO, difference(outcome, expected))
        self.agreed += 1
        for found, kind in ((self.made, "system_calls"), (self.succeeded, "succeeded_calls")):
            for call, count in after[kind].items():
                if count > before[kind].get(call, 0):
                    found.setdefault(call, []).append(name)
        return Verdict(YES)


def difference(ours: Any, host: Any) -> str:
    """The first thing in which two outcomes differ, in words."""
    for attribute in attrs.fields(type(host)):
        mine, theirs = getattr(ours, attribute.name), getattr(host, attribute.name)
        if mine == theirs:
            continue
        if isinstance(mine, bytes):
            mine, theirs = mine.decode("utf-8", "replace").splitlines(), theirs.decode("utf-8", "replace").splitlines()
        if isinstance(mine, list):
            for number in range(max(len(mine), len(theirs))):
                pair = [lines[number] if number < len(lines) else None for lines in (mine, theirs)]
                if pair[0] != pair[1]:
                    return _cut(f"{attribute.name}, line {number + 1}: {pair[0]!r}, on the host {pair[1]!r}")
        if isinstance(mine, dict):
            names = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
            return _cut(f"{attribute.name}: {', '.join(names)}")
        return _cut(f"{attribute.name}: {mine!r}, on the host {theirs!r}")
    return "the outcomes are of different kinds"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def row(name: str, kind: str, header: str, verdict: Verdict, **more: Any) -> dict[str, Any]:
    """A row as all boards have it: ``kind`` groups rows, ``header`` names what was run."""
    return {"name": name, "kind": kind, "header": header, "state": verdict.state, "detail": verdict.detail, **more}


def board(title: str, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A board as all of them are: its rows, and counts of their states."""
    counts: dict[str, int] = {}
    for each in rows:
        counts[each["state"]] = counts.get(each["state"], 0) + 1
    return {"title": title, "total": len(rows), "yes": counts.get(YES, 0), "counts": counts, **more, "rows": rows}
