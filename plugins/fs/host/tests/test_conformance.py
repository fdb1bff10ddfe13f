"""The host folder passes the suite for filesystems, writable and read-only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import SAMPLE, FilesystemConformance, TickingClock
from jefeos.vfs.inode import Filesystem
from jefeos_fs_host.filesystem import HostFilesystem

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the names and modes of the sample are POSIX's")


class TestWritable(FilesystemConformance):
    special_files = False  # the guest makes none on the host

    @pytest.fixture
    def filesystem(self, tmp_path: Path, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        return HostFilesystem(str(tmp_path), True, clock=clock, page_cache=page_cache)


class TestReadOnly(FilesystemConformance):
    read_only = True

    @pytest.fixture
    def filesystem(self, tmp_path: Path, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        top = os.fsencode(tmp_path)
        for path, content in SAMPLE.items():
            place = os.path.join(top, path)
            if content is None:
                os.mkdir(place)
            elif isinstance(content, tuple):
                os.symlink(content[0], place)
            else:
                with open(place, "wb") as file:
                    file.write(content)
        return HostFilesystem(str(tmp_path), False, clock=clock, page_cache=page_cache)
