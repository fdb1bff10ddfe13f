"""The conformance suite of filesystems, on each kind of FAT."""

from __future__ import annotations

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import FilesystemConformance, TickingClock
from jefeos.testing.volumes import memory_volume
from jefeos.vfs.inode import Filesystem
from jefeos_fs_fat32.format import FatFormat

SIZES = {"fat12": 4 << 20, "fat16": 20 << 20, "fat32": 40 << 20}


class FatConformance(FilesystemConformance):
    symlinks = False
    hard_links = False
    special_files = False
    keeps_mode = False
    keeps_times = False
    any_names = False
    variant = ""

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        volume = memory_volume(SIZES[self.variant])
        FatFormat().make(volume, FormatOptions(variant=self.variant), clock)
        return FatFormat().open(volume, writable=True, page_cache=page_cache, clock=clock)


class TestFat12(FatConformance):
    variant = "fat12"


class TestFat16(FatConformance):
    variant = "fat16"


class TestFat32(FatConformance):
    variant = "fat32"
