"""The conformance suite of filesystems on volumes, on each kind of FAT."""

from __future__ import annotations

import random
from functools import cache

from attrs import evolve
from jefeos.block.volume import FormatOptions
from jefeos.testing.crash import Promise
from jefeos.testing.mounted import mounted
from jefeos.testing.volume_suite import VolumeConformance
from jefeos.testing.volumes import image_volume, make_volume
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
    crash_points, fuzz_cases, byte_step = 25, 20, 20_011
    fuzz_bytes = 0

    def is_invented(self, path: bytes) -> bool:
        return path.startswith(b"/FOUND.000")  # lost chains, if there were too many for leftovers

    def fuzz_volume(self) -> bytes:
        return small_volume(self.fuzz_bytes, self.options)


@cache
def small_volume(size_bytes: int, options: FormatOptions) -> bytes:
    """Long and short names, removed ones, a deep directory and a file in pieces, on little space: a case is quick."""
    image = make_volume(FatFormat(), size_bytes, evolve(options, entropy=random.Random(1).randbytes))
    with mounted(FatFormat(), image_volume(image)) as here:
        here.vfs.mkdir(here.actor, b"/dir", 0o755)
        here.vfs.mkdir(here.actor, b"/dir/deeper", 0o755)
        for number in range(8):
            here.put(b"/file %d" % number, b"x" * (number * 1500))
            here.put(b"/dir/A longer name of a file %d" % number, b"y" * 700)
        for number in range(0, 8, 2):
            here.vfs.unlink(here.actor, b"/file %d" % number)
        here.put(b"/dir/deeper/FRAGMENT", b"z" * 20_000)
    return bytes(image.data)


class TestFat12(FatConformance):
    size_bytes = crash_bytes = 4 << 20
    full_bytes = fuzz_bytes = 600 << 10
    options = FormatOptions(variant="fat12", cluster_bytes=2048)
    many_names = 100


class TestFat16(FatConformance):
    size_bytes = crash_bytes = 4 << 20
    full_bytes = fuzz_bytes = 2500 << 10
    options = FormatOptions(variant="fat16", cluster_bytes=512)
    many_names = 100


class TestFat32(FatConformance):
    size_bytes = 12 << 20
    full_bytes = fuzz_bytes = 1 << 20
    options = FormatOptions(variant="fat32")
