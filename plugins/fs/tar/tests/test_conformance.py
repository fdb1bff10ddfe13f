"""An archive passes the suite for read-only filesystems."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import SAMPLE, FilesystemConformance, TickingClock
from jefeos.vfs.inode import Filesystem
from jefeos_fs_tar.filesystem import TarFilesystem


class TestArchive(FilesystemConformance):
    read_only = True

    @pytest.fixture
    def filesystem(self, tmp_path: Path, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        with tarfile.open(tmp_path / "sample.tar.gz", "w:gz") as tar:
            for path, content in SAMPLE.items():
                info = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
                info.mode = 0o755
                if content is None:
                    info.type = tarfile.DIRTYPE
                elif isinstance(content, tuple):
                    info.type, info.linkname = tarfile.SYMTYPE, content[0].decode()
                else:
                    info.size = len(content)
                tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        return TarFilesystem(tmp_path / "sample.tar.gz", clock=clock, page_cache=page_cache)
