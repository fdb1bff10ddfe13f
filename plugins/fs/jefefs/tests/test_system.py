"""JefeFS where it is used: the commands of ``jefeos disk``, and the host's own programs in a booted system."""

from __future__ import annotations

import json
import os
import subprocess
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


def test_a_snapshot_is_read_by_its_name(image: Path, tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "file").write_bytes(b"first\n")
    disk("cp", tmp_path / "file", f"{image}:/file")
    disk("snapshot", "create", image, "monday")
    disk("rm", image, "/file")
    assert disk("cat", f"{image}@monday", "/file") == "first\n"
    assert disk("ls", f"{image}@monday").split() == ["file"]
    disk("cp", f"{image}@monday:/file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"first\n"
    assert "No such file" in disk("ls", f"{image}@tuesday", status=1)
    assert "can only be read" in disk("rm", f"{image}@monday", "/file", status=1)
    assert "can only be read" in disk("cp", tmp_path / "file", f"{image}@monday:/file", status=1)
    for command in ("fsck", "info", "mount-check"):
        assert "is a snapshot" in disk(command, f"{image}@monday", status=8 if command == "fsck" else 2)
    assert "clean" in disk("fsck", image)


@pytest.mark.peer
def test_a_snapshot_is_mounted_from_an_image(image: Path, tmp_path: Path, disk: Disk) -> None:
    """What is written stays in memory, as for any volume."""
    (tmp_path / "file").write_bytes(b"first ")
    disk("cp", tmp_path / "file", f"{image}:/file")
    disk("snapshot", "create", image, "monday")
    disk("rm", image, "/file")
    with jefeos.boot(root="/", mounts=[f"{image}@monday:/old"], ram="128M") as system:
        done = system.run(["/bin/sh", "-c", "cat /old/file; echo more > /old/file; cat /old/file"], timeout=60)
    assert (done.stdout, done.stderr) == (b"first more\n", b"")
    assert disk("cat", f"{image}@monday", "/file") == "first "


@pytest.mark.peer
def test_snapshots_are_mounted(image: Path, disk: Disk) -> None:
    """In a running system, beside the volume that they are of and without it."""
    script = """
        exec 2>&1
        cd /tmp && mkdir old live
        printf first > /mnt/sda/file && mkdir /mnt/sda/.snapshots/one && printf second > /mnt/sda/file
        mount -t jefefs -o snapshot=one /dev/sda old && cat old/file; echo
        echo x > old/file
        mount -t jefefs -o ro,snapshot=two /dev/sda live
        rmdir /mnt/sda/.snapshots/one
        umount /mnt/sda && cat old/file; echo
        mount -t jefefs /dev/sda live && cat live/file old/file; echo
        rmdir live/.snapshots/one
        umount live
        umount old
        mount -t jefefs -o ro,snapshot=one /dev/sda old && cat old/file; echo
        mount -t jefefs -o ro /dev/sda live && cat live/file; echo; umount live
        umount old && mount -t jefefs /dev/sda live && rmdir live/.snapshots/one && cat live/file; echo
        ls live/.snapshots; umount live
    """
    with jefeos.boot(root="/", disk=[str(image)], ram="128M") as system:
        done = system.run(["/bin/sh", "-c", script], timeout=100)
    lines = [line for line in done.stdout.decode().splitlines() if not line.startswith("      ")]
    told = [line.split(": ")[-1].rstrip(".") if ":" in line else line for line in lines]
    assert "WARNING" in lines[0].upper() and "read-only" in lines[0]  # mount(8) does without writing
    assert told[1:3] == ["first", "Read-only file system"], lines
    assert "snapshot" in lines[3] or "No such file" in lines[3] or "not exist" in lines[3], lines
    assert told[4:8] == ["Device or resource busy", "first", "secondfirst", "Device or resource busy"], lines
    assert told[8] == "first", lines
    assert told[9:] == ["second", "second"], lines
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


SCRIPT = r"""
cd $1 && umask 022
mkdir -p a/b/c && cd a
for i in 1 2 3 4 5; do printf "%0${i}00d" $i > f$i; done
ln f1 b/hard; ln -s ../f2 b/soft; ln -s nowhere dangling; mkfifo p; mknod c c 1 3; mknod blk b 7 9
truncate -s 5000000 sparse; printf x | dd of=sparse bs=1 seek=3000000 conv=notrunc status=none
cp --sparse=always sparse sparse2; cmp sparse sparse2 && echo same
mv f3 b/c/moved; mv -f f4 f5; rm f1; rmdir b/c 2>&1; chmod 1777 b; chmod 4755 f2; chown 5:6 b/hard
fallocate -p -o 4096 -l 8192 f5 2>&1; fallocate -l 100000 fa; fallocate -z -o 10 -l 100 b/c/moved;
touch -d '1960-01-01 00:00:00.5 UTC' f2; touch -h -d '2100-01-01 UTC' b/soft
( exec 3>gone; rm gone; echo hi >&3; wc -c < /proc/self/fd/3 )
mkdir d; mkdir d/e; rmdir d 2>&1; mv d b/; mv b/c b/d/e/; ls b/d/e
printf '%s' "$(seq 1 2000)" > long; tail -c 7 long; sed -i 's/9/nine/g' long; md5sum long
ln b/hard b/hard2 2>&1; ln b/hard b/hard2 2>&1; mv b/hard b/hard2; ls b
mkdir many; i=0; while [ $i -lt 300 ]; do : > many/$i; i=$((i+1)); done; ls many | wc -l; rm -r many
find . -printf '%P %y %m %U:%G %n %s %l\n' | grep -v '^ d' | awk '$2=="d"{$6="-"} {print}' | sort
stat -c '%n %Y %y' f2 b/soft; tar cf - . 2>/dev/null | tar tf - | sort | md5sum
"""


@pytest.mark.peer
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="makes device nodes on the host too")
def test_the_same_script_on_the_host_and_on_it(image: Path, disk: Disk, tmp_path: Path) -> None:
    """Names, kinds, modes, owners, links, sizes, times, errors and contents are what they are on the host's disk."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C"}
    (tmp_path / "host").mkdir()
    script = ["/bin/sh", "-c", SCRIPT, "sh"]
    host = subprocess.run(
        [*script, tmp_path / "host"], capture_output=True, env=environment, timeout=60, check=False
    )
    with jefeos.boot(root="/", mounts=[f"{image}:/mnt:rw"], ram="128M", env=environment) as system:
        ours = system.run([*script, "/mnt"], timeout=100)
    assert ours.stdout.decode() == host.stdout.decode()
    assert len(host.stdout.splitlines()) > 30
    assert ours.stderr == host.stderr
    assert "clean" in disk("fsck", image)
