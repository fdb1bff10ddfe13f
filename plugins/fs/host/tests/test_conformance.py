"""The host folder passes the suite that every filesystem plugin passes, in both forms of access."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import SAMPLE, FilesystemConformance, TickingClock
from jefeos_fs_host import filesystem as filesystem_module
from jefeos_fs_host.checked import CheckedAccess
from jefeos_fs_host.filesystem import HostFilesystem

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other hosts have other names and links")


class TestWritable(FilesystemConformance):
    special_files = False
    keeps_owner = keeps_set_id = False
    own_space = False
    xattrs = False

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock, tmp_path: Path) -> HostFilesystem:
        return HostFilesystem(str(tmp_path), True, clock=clock, page_cache=page_cache)


class TestWritableByChecking(TestWritable):
    @pytest.fixture(autouse=True)
    def _checked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(filesystem_module, "open_access", CheckedAccess)


class TestReadOnly(FilesystemConformance):
    read_only = True

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock, tmp_path: Path) -> HostFilesystem:
        for name, content in SAMPLE.items():
            path = os.path.join(os.fsencode(tmp_path), name)
            if content is None:
                os.mkdir(path)
            elif isinstance(content, tuple):
                os.symlink(content[0], path)
            else:
                Path(os.fsdecode(path)).write_bytes(content)
        return HostFilesystem(str(tmp_path), clock=clock, page_cache=page_cache)
