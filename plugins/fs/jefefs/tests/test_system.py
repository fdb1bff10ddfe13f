"""JefeFS where it is used: the commands of ``jefeos disk``, and the host's own programs in a booted system."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest
from jefeos.cli.entry import main

Disk = Callable[..., str]


@pytest.fixture
def disk(capfd: pytest.CaptureFixture[str]) -> Disk:
    """Call ``jefeos disk``: what it prints, as its status is the expected one."""

    def call(*arguments: str | Path, status: int = 0) -> str:
        capfd.readouterr()
        got = main(["disk", *map(str, arguments)])
        printed = capfd.readouterr()
        assert got == status, printed.err
        return printed.out + printed.err

    return call


@pytest.fixture
def image(tmp_path: Path, disk: Disk) -> Path:
    path = tmp_path / "disk.img"
    disk("create", path, "--size", "32M")
    disk("mkfs", path, "--type", "jefefs", "--label", "test")
    return path


def test_snapshots_from_the_command_line(image: Path, tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "file").write_bytes(b"first\n")
    disk("cp", tmp_path / "file", f"{image}:/file")
    disk("snapshot", "create", image, "monday")
    disk("rm", image, "/file")
    assert disk("cat", image, "/.snapshots/monday/file") == "first\n"
    assert [item["name"] for item in json.loads(disk("snapshot", "list", image, "--json"))] == ["monday"]
    assert disk("snapshot", "list", image).endswith("  monday\n")
    assert "No such file" in disk("snapshot", "rollback", image, "tuesday", status=1)
    assert "File exists" in disk("snapshot", "create", image, "monday", status=1)
    disk("snapshot", "rollback", image, "monday")
    assert disk("cat", image, "/file") == "first\n"
    disk("snapshot", "delete", image, "monday")
    assert json.loads(disk("snapshot", "list", image, "--json")) == []
    assert "clean" in disk("fsck", image)


@pytest.mark.peer
def test_programs_of_the_host_on_it(image: Path, disk: Disk) -> None:
    """In two boots: what the first one wrote the second one finds."""
    first = """
        set -e
        cd /mnt
        mkdir -p a/b && printf hello > a/b/file && ln a/b/file hard && ln -s a/b/file soft && mkfifo pipe
        chown 12:34 a/b/file && chmod 4751 a/b/file && touch -d '2001-02-03 04:05:06.123456789 UTC' a/b/file
        truncate -s 1G sparse && printf end | dd of=sparse bs=1 seek=500M conv=notrunc status=none
        mkdir .snapshots/one
        printf changed > hard
        cat .snapshots/one/a/b/file soft
        ls -A
        sync
    """
    second = """
        cd /mnt
        stat -c '%n %F %a %u:%g %h %s %y' .snapshots/one/a/b/file a/b/file pipe sparse
        dd if=sparse bs=1 skip=500M count=3 status=none; echo
        du -k sparse | cut -f1
        rmdir .snapshots/one && ls .snapshots
        rm -r a hard soft pipe sparse; ls -A
        echo x > .snapshots/file
    """
    mount = f"{image}:/mnt:rw"
    with jefeos.boot(root="/", mounts=[mount], ram="128M") as system:
        done = system.run(["/bin/sh", "-c", first], timeout=60)
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout.decode() == "hellochangeda\nhard\npipe\nsoft\nsparse\n"
    with jefeos.boot(root="/", mounts=[mount], ram="128M") as system:
        done = system.run(["/bin/sh", "-c", second], timeout=60)
    lines = done.stdout.decode().splitlines()
    when = "2001-02-03 04:05:06.123456789 +0000"
    assert lines[0] == f".snapshots/one/a/b/file regular file 4751 12:34 2 5 {when}"
    assert lines[1].startswith("a/b/file regular file 4751 12:34 2 7 ")
    assert lines[2].startswith("pipe fifo 644 0:0 1 0 ")
    assert lines[3].startswith("sparse regular file 644 0:0 1 1073741824 ")
    assert lines[4:] == ["end", "4"]
    assert b"Operation not permitted" in done.stderr or b"Permission denied" in done.stderr
    assert "clean" in disk("fsck", image)


@pytest.mark.peer
def test_a_distribution_lives_on_it(image: Path, disk: Disk, tmp_path: Path) -> None:
    """Alpine's files are copied there; it is the root of a system, which makes a snapshot of itself."""
    folder = Path(os.environ.get("JEFEOS_TEST_DATA") or Path(__file__).parents[5] / "shared" / "data")
    archive = folder / "alpine-minirootfs-3.20.3-x86_64.tar.gz"
    if not archive.is_file():
        pytest.skip(f"needs {archive.name} in ../shared/data or JEFEOS_TEST_DATA")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "alpine", filter="tar")
    disk("cp", "-r", f"{tmp_path}/alpine/.", f"{image}:/")
    script = "mkdir /.snapshots/new && rm -r /etc/apk; ls /.snapshots/new/etc/apk && cat /etc/alpine-release"
    with jefeos.boot(root=f"{image}:rw", ram="128M") as system:
        done = system.run(["/bin/sh", "-c", script], timeout=60)
    assert done.stdout.decode().split()[-1] == "3.20.3"
    assert b"world" in done.stdout
    assert "clean" in disk("fsck", image)
