"""The archive passes the suite that every filesystem plugin passes, from memory and from a file."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from jefeos.mm.pagecache import PageCache
from jefeos.testing.filesystems import SAMPLE, FilesystemConformance, TickingClock
from jefeos_fs_tar.archive import MEMORY_LIMIT_BYTES
from jefeos_fs_tar.filesystem import TarFilesystem


class TestInMemory(FilesystemConformance):
    read_only = True
    memory_limit_bytes = MEMORY_LIMIT_BYTES

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock, tmp_path: Path) -> TarFilesystem:
        path = tmp_path / "sample.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name, content in SAMPLE.items():
                info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
                if content is None:
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                elif isinstance(content, tuple):
                    info.type, info.linkname = tarfile.SYMTYPE, content[0].decode()
                else:
                    info.size = len(content)
                tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        return TarFilesystem(
            path, clock=clock, page_cache=page_cache, memory_limit_bytes=self.memory_limit_bytes
        )


class TestInAFile(TestInMemory):
    memory_limit_bytes = 1000
