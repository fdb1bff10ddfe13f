"""Test suites of Debian packages give on JefeOS what they give on the host, but for the listed differences.

A normal run has a selection of each suite (quick.toml); ``--long`` runs them whole, which takes up to an hour. They
skip, with the reason, where the sources cannot be fetched: that is no fault of the machine that has all peers, so the
tests are not marked as needing one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from suites.campaign import (
    SUITES,
    Known,
    Outcome,
    known_differences,
    quick_selection,
    run_case,
    run_suite,
    table,
)
from suites.running import Case, Result, boot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SUITES)
def test_selection(name: str) -> None:
    chosen = quick_selection()[name]
    outcome = run_suite(name, chosen)
    if outcome.unavailable:
        pytest.skip(outcome.unavailable)
    assert not outcome.complaints(), table([outcome])
    assert outcome.tests >= len(chosen) > 0


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", SUITES)
def test_whole(name: str) -> None:
    outcome = run_suite(name)
    if outcome.unavailable:
        pytest.skip(outcome.unavailable)
    assert not outcome.complaints(), table([outcome])


def test_each_listed_difference_has_a_reason_and_is_listed_once() -> None:
    known = known_differences()
    assert all(entry.suite in SUITES and len(entry.reason.split()) > 3 for entry in known)
    assert len({(entry.suite, entry.case, entry.test) for entry in known}) == len(known)


@pytest.mark.skipif(os.geteuid() != 0, reason="cases of suites need root, to run as somebody else")
def test_a_difference_is_found_and_is_new_explained_or_gone() -> None:
    """The frame itself; a case with a difference is run again before it counts."""

    def case(command: str) -> Case:
        return Case("frame", "case", command, Path.mkdir, lambda output, status: {"t": Result(str(status), output)})

    known = [Known("frame", "case", "t", "the two kernels have different names for themselves")]
    with boot() as system, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for number, (command, listed, expected) in enumerate(
            [
                ("echo $PWD; exit 3", [], (0, 0, 0)),
                ("cat /proc/version; exit 3", [], (1, 0, 0)),
                ("cat /proc/version; exit 3", known, (0, 1, 0)),
                ("echo same; exit 3", known, (0, 0, 1)),
            ]
        ):
            outcome = Outcome("frame")
            scratch = Path(folder) / str(number)
            scratch.mkdir()
            run_case(case(command), scratch, system, listed, outcome)
            assert (len(outcome.new), len(outcome.explained), len(outcome.gone)) == expected
            assert outcome.states == {"3": 1}
