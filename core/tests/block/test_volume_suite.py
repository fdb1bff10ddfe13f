"""The suite of filesystems on volumes, on one that keeps its word; and that it finds the ones that do not."""

from __future__ import annotations

import pytest
from jefeos.block.cache import BufferCache
from jefeos.block.volume import CheckReport, Progress, no_progress
from jefeos.testing.crash import Promise
from jefeos.testing.fuzz import survive
from jefeos.testing.volume_suite import VolumeConformance
from jefeos.testing.volumes import make_volume
from jefeos.vfs.inode import Clock

from .slot_volume import SlotFormat


class TestSlots(VolumeConformance):
    format = SlotFormat()
    keeps_mode = keeps_owner = keeps_times = False
    promise = Promise.ATOMIC
    always_clean = True
    byte_step, fuzz_cases = 6001, 20
    #: It learns of a full disk only when it is synced.
    test_a_disk_is_filled_and_emptied = test_every_operation_on_a_nearly_full_disk = None


class Careless(SlotFormat):
    """Its fsck believes what it reads."""

    def check(
        self, volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
    ) -> CheckReport:
        if repair:
            volume.write(0, b"repaired")
        number = volume.read(8, 1)[0]
        if number == 0xFF:
            raise IndexError
        while number == 0x7F:
            pass
        if number == 0x80:
            volume.read(volume.size_bytes, 1)
        if number == 0xFE:
            volume.write(0, b"without being asked")
            volume.flush()
        if number == 1:
            bytes(1 << 40)
        return super().check(volume, repair=repair, clock=clock)


@pytest.mark.parametrize(
    ("value", "found"),
    [(0xFF, "fsck raised IndexError"), (0x7F, "did not end"), (0x80, "ENXIO"), (0xFE, "written"), (1, "MemoryError")],
)
def test_the_harness_finds_what_it_is_to_find(value: int, found: str) -> None:
    image = make_volume(SlotFormat(), 1 << 20)
    image.data[8] = value
    with pytest.raises(AssertionError, match=found):
        survive(Careless(), bytes(image.data), seconds=0.5)
