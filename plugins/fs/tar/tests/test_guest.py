"""A real distribution's archive as the root of a running system, in every compression."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import tarfile
from pathlib import Path

import jefeos
import pytest
import zstandard
from jefeos.errors import BootError

ALPINE = "alpine-minirootfs-3.20.3-x86_64.tar.gz"
COMPRESSORS = {
    "tar": lambda data: data,
    "tar.xz": lambda data: lzma.compress(data, preset=0),
    "tar.bz2": bz2.compress,
    "tar.zst": zstandard.ZstdCompressor().compress,
}


@pytest.fixture(scope="module")
def alpine() -> Path:
    folder = Path(os.environ.get("JEFEOS_TEST_DATA") or Path(__file__).parents[5] / "shared" / "data")
    path = folder / ALPINE
    if not path.is_file():
        pytest.skip(f"needs {ALPINE} in ../shared/data or JEFEOS_TEST_DATA")
    return path


@pytest.mark.peer
@pytest.mark.parametrize("kind", sorted(COMPRESSORS))
def test_a_root_boots_from_every_compression(alpine: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"root.{kind}"
    path.write_bytes(COMPRESSORS[kind](gzip.decompress(alpine.read_bytes())))
    with jefeos.boot(root=str(path), ram="64M") as system:
        assert system.run(["/bin/cat", "/etc/alpine-release"], timeout=100).stdout == b"3.20.3\n"


@pytest.mark.peer
def test_the_guest_reads_what_is_in_the_archive(alpine: Path) -> None:
    with tarfile.open(alpine) as tar:
        expected = {}
        for member in tar:
            if member.isreg():
                content = tar.extractfile(member)
                assert content is not None
                expected["/" + member.name.removeprefix("./")] = hashlib.md5(content.read()).hexdigest()
    script = "find / -xdev -type f -exec md5sum {} +; echo; find / -xdev -type l | wc -l"
    with jefeos.boot(root=str(alpine), ram="128M") as system:
        done = system.run(["/bin/sh", "-c", script], timeout=100)
    sums, _, links = done.stdout.decode().partition("\n\n")
    seen = {path: digest for digest, path in (line.split("  ", 1) for line in sums.splitlines())}
    assert seen == expected
    assert int(links) == 334


@pytest.mark.peer
def test_writes_stay_in_memory(alpine: Path) -> None:
    before = hashlib.sha256(alpine.read_bytes()).digest()
    with jefeos.boot(root=str(alpine), ram="64M") as system:
        script = "echo new > /etc/motd; rm -r /media /usr/share; chmod 700 /bin/busybox;"
        script += "cat /etc/motd; ls -d /media; sync"
        done = system.run(["/bin/sh", "-c", script], timeout=100)
        assert done.stdout == b"new\n"
        assert b"No such file" in done.stderr
    assert hashlib.sha256(alpine.read_bytes()).digest() == before


def test_a_damaged_root_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "root.tar.gz"
    path.write_bytes(gzip.compress(b"no tar at all " * 1000)[:-4])
    with pytest.raises(BootError, match=r"root\.tar\.gz.*offset") as caught:
        jefeos.boot(root=str(path))
    assert "\n" not in str(caught.value)
