"""Loss of power: the journal makes the volume whole again, and nobody has to run fsck first."""

from __future__ import annotations

import pytest
from jefeos.testing.crash import check_crashes, crash_points, record
from jefeos.testing.mounted import mounted
from jefeos_fs_ntfs.plugin import jefeos_filesystems

FORMAT = jefeos_filesystems()[0].volume
assert FORMAT is not None
MIB = 1 << 20
REMOVED = "was removed while it was open, and its space not given back"


def test_after_a_loss_of_power_the_volume_is_written_to_at_once() -> None:
    recording = record(FORMAT, 6 * MIB, seed=5, operations=60)
    for point in crash_points(recording, 40, seed=5):
        with mounted(FORMAT, point.volume()) as here:
            assert not here.filesystem.read_only_reason, point
            here.put(b"/written at once", b"data")
        report = FORMAT.check(point.volume(), repair=False, clock=here.filesystem.clock)
        assert {problem.what for problem in report.problems} <= {REMOVED}, point
        assert not report.notes, point


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(8))
def test_two_thousand_losses_of_power(seed: int) -> None:
    """All that is ever left for fsck are files that were removed while they were open."""
    recording = record(FORMAT, 8 * MIB, seed=100 + seed, operations=300)
    outcome = check_crashes(FORMAT, recording, 300, seed=seed)
    assert outcome.points == 300
    assert set(outcome.problems) <= {REMOVED}
