"""The kit that loses power finds what it is meant to find, and nothing in a filesystem that keeps its word."""

from __future__ import annotations

import random

import pytest
from jefeos.testing.crash import CrashFailure, Promise, check_crashes, crash_point, crash_points, record
from jefeos.testing.operations import Abilities

from .slot_volume import SlotFormat

SIZE = 4 << 20
ABILITIES = Abilities(most_bytes=8000, most_files=20)


def test_a_filesystem_that_keeps_its_word_passes() -> None:
    recording = record(SlotFormat(), SIZE, seed=3, abilities=ABILITIES)
    outcome = check_crashes(SlotFormat(), recording, 300, promise=Promise.ATOMIC, always_clean=True)
    assert (outcome.points, outcome.repaired, outcome.problems) == (300, 0, {})


def test_the_weaker_promises_are_kept_by_it_as_well() -> None:
    recording = record(SlotFormat(), SIZE, seed=4, abilities=ABILITIES)
    for promise in (Promise.CONTENTS, Promise.NAMES):
        check_crashes(SlotFormat(), recording, 50, promise=promise)


@pytest.mark.parametrize("promise", list(Promise))
@pytest.mark.parametrize("fault", ["in_place", "unchecked", "lazy"])
def test_every_fault_is_found(fault: str, promise: Promise) -> None:
    kind = SlotFormat(**{fault: True})
    recording = record(kind, SIZE, seed=5, abilities=ABILITIES)
    with pytest.raises(CrashFailure, match="seed 5 after"):
        check_crashes(kind, recording, 400, promise=promise)


def test_a_point_can_be_seen_again() -> None:
    recording = record(SlotFormat(), SIZE, seed=6, operations=40, abilities=ABILITIES)
    again = random.Random(1)
    for point in crash_points(recording, 60, seed=9):
        contents = bytes(point.image.data)
        point.image.write(0, b"whatever a check writes" + bytes(489))
        if again.random() < 0.3:
            assert bytes(crash_point(recording, point.index, point.seed).image.data) == contents
