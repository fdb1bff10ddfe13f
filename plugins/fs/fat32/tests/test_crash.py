"""Loss of power at any write: what was synced is there, and fsck puts the rest right."""

from __future__ import annotations

import random

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.testing.crash import check_crashes, record
from jefeos.testing.operations import Abilities
from jefeos_fs_fat32.format import FatFormat

SIZES = {"fat12": 2 << 20, "fat16": 12 << 20, "fat32": 6 << 20}
ABILITIES = Abilities(hard_links=False, symlinks=False)


def lose_power(variant: str, seed: int, points: int) -> None:
    options = FormatOptions(variant=variant, entropy=random.Random(1).randbytes)
    recording = record(FatFormat(), SIZES[variant], seed=seed, abilities=ABILITIES, options=options)
    outcome = check_crashes(FatFormat(), recording, points, seed=seed)
    assert outcome.points == points
    assert outcome.repaired  # else the test would show nothing


@pytest.mark.parametrize("variant", SIZES)
def test_loss_of_power(variant: str) -> None:
    lose_power(variant, 1, 40)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", SIZES)
@pytest.mark.parametrize("seed", range(100, 110))
def test_loss_of_power_at_many_points(variant: str, seed: int) -> None:
    lose_power(variant, seed, 100)
