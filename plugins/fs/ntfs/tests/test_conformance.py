"""The kit's suite for filesystems on volumes, with clusters of the usual and of the smallest size."""

from __future__ import annotations

from jefeos.block.volume import FormatOptions
from jefeos.testing.volume_suite import VolumeConformance
from jefeos_fs_ntfs.format import NtfsFormat


class TestNtfs(VolumeConformance):
    """Clusters of 4 KiB, which is what volumes have by default."""

    format = NtfsFormat()
    options = FormatOptions(cluster_bytes=4096)
    time_step_ns = 100
    sparse = True
    xattrs = True
    always_clean = True
    crash_points = 30
    fuzz_cases = 25
    byte_step = 4001
