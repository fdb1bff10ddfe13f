"""Test suites of Debian packages give on JefeOS what they give on the host, but for the listed differences.

A normal run has a selection of each suite (quick.toml); ``--long`` runs them whole, which takes half an hour.
"""

from __future__ import annotations

import sys

import pytest
from suites.campaign import SUITES, known_differences, quick_selection, run_suite, table

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SUITES)
def test_selection(name: str) -> None:
    chosen = quick_selection()[name]
    outcome = run_suite(name, chosen)
    if outcome.unavailable:
        pytest.skip(outcome.unavailable)
    assert not outcome.complaints(), table([outcome])
    assert outcome.tests >= len(chosen)


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
