"""A real distribution on an NTFS volume, as the root of a running system."""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest
from jefeos.vfs.flags import S_IFMT, S_IFREG

sys.path.insert(0, str(Path(__file__).parent))

from ntfs_images import fsck, ours

ALPINE = "alpine-minirootfs-3.20.3-x86_64.tar.gz"
MIB = 1 << 20
SCRIPT = """
set -e
adduser -D -h /srv/tom tom
su tom -c 'id -un; umask 077; echo text > /srv/tom/file; ln -s file /srv/tom/link; mkfifo /srv/tom/fifo'
chmod 4755 /srv/tom/file
mv /etc/motd /etc/moved
ls -ln /srv/tom | awk '{print $1, $3, $NF}' | tail -n +2
"""


@pytest.fixture
def root_image(make_image: Callable[..., Path]) -> Path:
    folder = Path(os.environ.get("JEFEOS_TEST_DATA") or Path(__file__).parents[5] / "shared" / "data")
    archive = folder / ALPINE
    if not archive.is_file():
        pytest.skip(f"needs {ALPINE} in ../shared/data or JEFEOS_TEST_DATA")
    image = make_image(48 * MIB)
    with ours(image) as here, tarfile.open(archive) as tar:
        for member in tar:
            path = b"/" + member.name.removeprefix("./").strip("/").encode()
            if path in (b"/", b"/."):
                continue
            if member.isdir():
                here.vfs.mkdir(here.actor, path, member.mode)
            elif member.issym():
                here.vfs.symlink(here.actor, member.linkname.encode(), path)
            elif member.isreg():
                content = tar.extractfile(member)
                assert content is not None
                here.put(path, content.read())
            if not member.issym():
                here.vfs.chown(here.actor, path, member.uid, member.gid)
                here.vfs.chmod(here.actor, path, member.mode)
    return image


@pytest.mark.peer
def test_a_system_lives_on_a_volume(root_image: Path) -> None:
    with jefeos.boot(root=f"{root_image}:rw", ram="64M") as system:
        done = system.run(["/bin/sh", "-c", SCRIPT], timeout=60)
    assert done.stdout.decode().splitlines() == [
        "tom", "prw------- 1000 fifo", "-rwsr-xr-x 1000 file", "lrwxrwxrwx 1000 file",
    ], done.stderr
    assert fsck(root_image) == []
    with jefeos.boot(root=f"{root_image}:rw", ram="64M") as system:
        script = "cat /srv/tom/link; ls /etc/moved; stat -c %U /srv/tom/file"
        again = system.run(["/bin/sh", "-c", script], timeout=60)
    assert again.stdout.decode().split() == ["text", "/etc/moved", "tom"]
    with ours(root_image, writable=False) as here:
        found = here.vfs.stat(here.actor, b"/srv/tom/file")
        assert (found.mode & S_IFMT, found.mode & 0o7777, found.uid) == (S_IFREG, 0o4755, 1000)
