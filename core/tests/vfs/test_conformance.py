"""Core's own filesystems pass the suite that plugin authors are given."""

from __future__ import annotations

import pytest
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import SAMPLE, FilesystemConformance, TickingClock, plant
from jefeos.vfs.inode import Filesystem, Inode
from jefeos.vfs.overlay import OverlayFs
from jefeos.vfs.tmpfs import Tmpfs


class TestTmpfs(FilesystemConformance):
    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        return Tmpfs(page_cache, clock)


class TestOverlayOnAnEmptyTree(FilesystemConformance):
    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        return OverlayFs(Tmpfs(page_cache, clock), page_cache, clock)


class TestOverlayOnTheSample(FilesystemConformance):
    """What stands below is read, changed and removed through the overlay."""

    own_space = False  # removed pages that came from below are counted as given back: statfs is a guess here

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        lower = Tmpfs(page_cache, clock)
        plant(lower.root, SAMPLE)
        return OverlayFs(lower, page_cache, clock)

    @pytest.fixture
    def sample(self, filesystem: Filesystem) -> Inode:
        return filesystem.root
