"""The kit's suite for filesystems, on volumes with small and large clusters."""

from __future__ import annotations

import pytest
from jefeos.block.volume import FormatOptions
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import FilesystemConformance
from jefeos.testing.volumes import image_volume, make_volume
from jefeos.vfs.inode import Clock, Filesystem
from jefeos_fs_ntfs.format import NtfsFormat

FORMAT = NtfsFormat()


class TestNtfs(FilesystemConformance):
    """Clusters of 4 KiB, which is what volumes have by default."""

    cluster_bytes = 4096

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: Clock) -> Filesystem:
        image = make_volume(FORMAT, 8 << 20, FormatOptions(cluster_bytes=self.cluster_bytes))
        return FORMAT.open(image_volume(image), writable=True, page_cache=page_cache, clock=clock)


class TestSmallClusters(TestNtfs):
    """Clusters smaller than a file record."""

    cluster_bytes = 512
