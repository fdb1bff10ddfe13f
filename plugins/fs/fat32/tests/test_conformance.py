"""The conformance suite of filesystems on volumes, on each kind of FAT."""

from __future__ import annotations

from jefeos.block.volume import FormatOptions
from jefeos.testing.crash import Promise
from jefeos.testing.volume_suite import VolumeConformance
from jefeos_fs_fat32.format import FatFormat


class FatConformance(VolumeConformance):
    format = FatFormat()
    symlinks = hard_links = special_files = False
    keeps_mode = keeps_set_id = keeps_owner = False
    keeps_times = False  # a day for atime: test_times.py
    any_names = case_sensitive = False
    largest_file = (1 << 32) - 1
    time_step_ns = 2 * 10**9
    promise = Promise.CONTENTS
    crash_points, fuzz_cases, byte_step = 25, 15, 20_011


class TestFat12(FatConformance):
    size_bytes = crash_bytes = full_bytes = 4 << 20
    options = FormatOptions(variant="fat12")
    many_names = 100


class TestFat16(FatConformance):
    size_bytes = crash_bytes = full_bytes = 4 << 20
    options = FormatOptions(variant="fat16", cluster_bytes=512)
    many_names = 100


class TestFat32(FatConformance):
    size_bytes = 12 << 20
    options = FormatOptions(variant="fat32")
