"""Whole suites on both systems, held against the list of known differences; the table and the scoreboard of it.

    python -m suites [--quick] [SUITE...]        from tests/, or `make suites`

A test whose result depends on a race has more than one right result. So a case that differs is run again, up to
`TRIES` times, and a test agrees if JefeOS gave a result that the host gave in any run; such tests are counted as
*varying*. Differences that stay are *explained* if known_differences.toml lists them with the reason, else *new*; a
listed one that does not occur any more is *gone*. Both make the tests fail.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from jefeos.testing.plugin import finish
from suites import bash, busybox, coreutils
from suites.running import WHOLE_RUN, Case, Difference, Result, boot, both, compare
from suites.sources import Unavailable

HERE = Path(__file__).parent
TRIES = 3

SUITES: dict[str, Callable[[], list[Case]]] = {
    "busybox": busybox.cases,
    "ash": busybox.shell_cases,
    "bash": bash.cases,
    "coreutils": coreutils.cases,
}


@frozen
class Known:
    """A difference that has a reason."""

    suite: str
    case: str
    test: str
    reason: str
    #: Whether it is a matter of speed, so that the test may also end as on the host.
    sometimes: bool = False


@define
class Outcome:
    """What running a suite, or part of it, has shown."""

    suite: str
    unavailable: str = ""
    tests: int = 0
    #: How many tests ended in which state on the host.
    states: dict[str, int] = field(factory=dict)
    varying: list[Difference] = field(factory=list)
    explained: list[tuple[Difference, Known]] = field(factory=list)
    new: list[Difference] = field(factory=list)
    gone: list[Known] = field(factory=list)
    host_s: float = 0.0
    jefeos_s: float = 0.0
    #: What was wrong with the kernel at the end: frames lost, handlers that failed.
    problems: list[str] = field(factory=list)

    @property
    def same(self) -> int:
        """Tests with the host's result."""
        return self.tests - len(self.explained) - len(self.new)

    def complaints(self) -> list[str]:
        """What must not be, in words."""
        return [
            *(f"new: {difference}" for difference in self.new),
            *(f"gone: {known.suite}/{known.case}: {known.test}: remove it from the list" for known in self.gone),
            *self.problems,
        ]


def known_differences() -> list[Known]:
    """The list in known_differences.toml."""
    data = tomllib.loads((HERE / "known_differences.toml").read_text())
    return [Known(**entry) for entry in data.get("difference", [])]


def quick_selection() -> dict[str, list[str]]:
    """The cases of each suite that a normal test run has."""
    data: dict[str, list[str]] = tomllib.loads((HERE / "quick.toml").read_text())
    return data


def run_suite(
    name: str, only: Iterable[str] | None = None, progress: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Run the cases of a suite, or ``only`` those. What it needs and lacks is said in the outcome."""
    outcome = Outcome(name)
    try:
        if os.geteuid() != 0:
            raise Unavailable("needs root on the host, to run tests as root and as nobody")
        cases = SUITES[name]()
    except Unavailable as reason:
        outcome.unavailable = str(reason)
        return outcome
    if only is not None:
        chosen = set(only)
        cases = [case for case in cases if case.name in chosen]
    known = [entry for entry in known_differences() if entry.suite == name]
    with tempfile.TemporaryDirectory(prefix="jefeos-suites-") as scratch:
        Path(scratch).chmod(0o755)
        system = boot()
        for case in cases:
            run_case(case, Path(scratch), system, known, outcome)
            progress(f"{name}/{case.name}")
        outcome.problems += finish(system)
    return outcome


def run_case(case: Case, scratch: Path, system: Any, known: list[Known], outcome: Outcome) -> None:
    """Run a case as often as it takes, and add what it has shown to the outcome."""
    seen_host: dict[str, set[Result]] = {}
    seen_ours: dict[str, set[Result]] = {}
    first: list[Difference] = []
    remaining: list[Difference] = []
    for attempt in range(TRIES):
        host, ours = both(case, scratch / str(attempt), system)
        for seen, side in ((seen_host, host), (seen_ours, ours)):
            for test, result in side.results.items():
                seen.setdefault(test, set()).add(result)
        if attempt == 0:
            first = remaining = compare(case, host, ours)
            outcome.host_s += host.seconds
            outcome.jefeos_s += ours.seconds
            for test, result in host.results.items():
                if test != WHOLE_RUN:
                    outcome.tests += 1
                    outcome.states[result.state] = outcome.states.get(result.state, 0) + 1
        expected = {entry.test: entry for entry in known if entry.case == case.name}
        remaining = [
            difference for difference in first
            if not seen_host.get(difference.test, set()) & seen_ours.get(difference.test, set())
        ]  # fmt: skip
        if all(difference.test in expected for difference in remaining):
            break
    outcome.varying += [difference for difference in first if difference not in remaining]
    for difference in remaining:
        if difference.test in expected:
            outcome.explained.append((difference, expected[difference.test]))
        else:
            outcome.new.append(difference)
    found = {difference.test for difference in remaining}
    outcome.gone += [entry for entry in expected.values() if entry.test not in found and not entry.sometimes]


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes for people: a line for each suite, then the differences with their reasons."""
    head = f"{'suite':<10}{'tests':>7}{'same':>7}{'varying':>9}{'explained':>11}{'new':>5}{'host s':>9}{'JefeOS s':>10}"
    lines, notes = [head], []
    for outcome in outcomes:
        if outcome.unavailable:
            lines.append(f"{outcome.suite:<10}not run: {outcome.unavailable}")
            continue
        lines.append(
            f"{outcome.suite:<10}{outcome.tests:>7}{outcome.same:>7}{len(outcome.varying):>9}"
            f"{len(outcome.explained):>11}{len(outcome.new):>5}{outcome.host_s:>9.1f}{outcome.jefeos_s:>10.1f}"
            f"   {', '.join(f'{count} {state}' for state, count in sorted(outcome.states.items()))}"
        )
        notes += [f"{d.suite}/{d.case}: {d.test}: {d.states}: {known.reason}" for d, known in outcome.explained]
        notes += outcome.complaints()
    return "\n".join([*lines, "", *notes]).rstrip()


def board(whole: bool = False) -> dict[str, Any]:
    """The suites as rows of the scoreboard, by a run made now: the quick selection, or ``whole`` suites (an hour).

    A row counts if every test that ran had the host's result or differs for a listed reason.
    """
    selection = quick_selection()
    outcomes = [run_suite(name, None if whole else selection.get(name, ())) for name in SUITES]
    rows = [
        {
            "name": f"{outcome.suite}'s own tests",
            "state": "not run" if outcome.unavailable else "no" if outcome.complaints() else "yes",
            "detail": outcome.unavailable
            or f"{outcome.same} of {outcome.tests} tests with the host's result, {len(outcome.explained)} explained",
        }
        for outcome in outcomes
    ]
    title = "Test suites of Debian packages" + ("" if whole else ", a selection")
    return {"title": title, "total": len(rows), "yes": sum(row["state"] == "yes" for row in rows), "rows": rows}
