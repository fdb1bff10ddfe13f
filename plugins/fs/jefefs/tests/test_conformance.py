"""JefeFS passes the suite that every filesystem on a volume passes, with blocks of two sizes."""

from __future__ import annotations

from jefeos.block.volume import FormatOptions
from jefeos.testing.crash import Promise
from jefeos.testing.volume_suite import VolumeConformance
from jefeos_fs_jefefs.format import JefeFormat


class TestJefeFS(VolumeConformance):
    format = JefeFormat()
    promise = Promise.ATOMIC
    always_clean = True
    sparse = xattrs = True
    largest_file = 1 << 62
    longest_link = largest_link_target = 4095
    byte_step, fuzz_cases = 4001, 25
    """The checksums stop most of that; test_fuzz.py makes them right again."""


class TestLargeBlocks(TestJefeFS):
    options = FormatOptions(cluster_bytes=16384)
    size_bytes = crash_bytes = full_bytes = 8 << 20
    crash_points = 10
    #: What does not depend on the size of a block is not done twice.
    test_every_operation_on_a_nearly_full_disk = test_operations_against_a_model = None
    test_damaged_volumes = test_damaged_first_bytes = None
