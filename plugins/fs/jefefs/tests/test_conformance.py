"""JefeFS passes the suite that every filesystem plugin passes, with blocks of the smallest and the largest size."""

from __future__ import annotations

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import FilesystemConformance, TickingClock
from jefeos.testing.volumes import image_volume, make_volume
from jefeos_fs_jefefs.filesystem import JefeFilesystem
from jefeos_fs_jefefs.format import JefeFormat


class TestSmallBlocks(FilesystemConformance):
    block_bytes = 4096
    blocks = 2048

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock) -> JefeFilesystem:
        options = FormatOptions(cluster_bytes=self.block_bytes)
        image = make_volume(JefeFormat(), self.blocks * self.block_bytes, options, clock)
        return JefeFormat().open(image_volume(image), writable=True, page_cache=page_cache, clock=clock)


class TestLargeBlocks(TestSmallBlocks):
    block_bytes = 65536
    blocks = 512
