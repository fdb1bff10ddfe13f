"""Volumes in a running system: as its root, mounted at boot and by mount(2), and what is on the image afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.cli.entry import main
from jefeos.errors import BootError

from .disk_images import KINDS, make_disk

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

APPLETS = ("sh", "cat", "ls", "mount", "umount", "mkdir", "mv", "rm", "dd", "sync", "wc", "grep", "touch", "md5sum")


@pytest.fixture
def busybox(host_program: Callable[[str], str]) -> str:
    path = host_program("busybox")
    if b"statically" not in subprocess.run(["file", "-L", path], capture_output=True, check=True).stdout:
        pytest.skip("needs a static busybox")
    return path


def disk(tmp_path: Path, kind: str, *files: str) -> str:
    """An image with a GPT and a filesystem in its first partition, and the files at its top."""
    path = str(tmp_path / f"{kind}.img")
    make_disk(path, kind, table="gpt")
    if files:
        assert main(["disk", "cp", *files, f"{path}:/"]) == 0
    return path


def contents(image: str, path: str, capfdbinary: pytest.CaptureFixture[bytes]) -> bytes:
    capfdbinary.readouterr()
    assert main(["disk", "cat", image, path]) == 0
    return capfdbinary.readouterr().out


def shell(system: System, script: str, *, status: int = 0) -> bytes:
    done = system.run(["/busybox", "sh", "-e", "-c", script], timeout=60)
    assert done.status == status, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_volume_is_the_root(
    tmp_path: Path,
    jefeos_boot: Callable[..., System],
    busybox: str,
    kind: str,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Read-write it keeps what is written; without :rw nothing reaches the image."""
    image = disk(tmp_path, kind, busybox)
    before = Path(image).read_bytes()
    system = jefeos_boot(root=image)
    assert shell(system, "echo in memory > /file; cat /file") == b"in memory\n"
    system.shutdown()
    assert Path(image).read_bytes() == before
    system = jefeos_boot(root=f"{image}:1:rw")
    assert b" / " + kind.encode() in shell(system, "cat /proc/mounts")
    shell(system, "mkdir /dir; echo on the image > /dir/file; ./busybox dd if=/dev/zero of=/zeros bs=64k count=40")
    system.shutdown()
    assert contents(image, "/dir/file", capfdbinary) == b"on the image\n"
    assert contents(image, "/zeros", capfdbinary) == bytes(64 * 1024 * 40)
    assert main(["disk", "fsck", image]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_is_mounted_at_boot_and_by_programs(
    tmp_path: Path,
    jefeos_boot: Callable[..., System],
    busybox: str,
    kind: str,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    image = disk(tmp_path, kind, busybox)
    system = jefeos_boot(disk=[image], root=f"{busybox_folder(tmp_path, busybox)}")
    refused = "" if kind == "ntfs" else "!"  # the others have to be mounted anew
    script = f"""
        b=/busybox
        $b grep -q '/dev/sda1 /mnt/sda1 {kind} rw' /proc/mounts
        echo one > /mnt/sda1/one
        $b mkdir -p /again; $b mount -t {kind} /dev/sda1 /again
        echo two > /again/two; $b cat /mnt/sda1/two
        $b umount /mnt/sda1; $b cat /again/one; $b umount /again
        $b mount -t {kind} -o ro /dev/sda1 /again
        $b cat /again/one; ! echo no > /again/no
        {refused} $b mount -o remount,rw /again; {refused} echo late > /again/late
        $b umount /again
        ! $b mount -t {kind} /dev/sda /again
        ! $b mount -t {kind} /dev/null /again
        $b mount -t {kind} /dev/sda1 /mnt/sda1
        echo three > /mnt/sda1/three
        $b stat -c %d /mnt/sda1/three
    """
    done = system.run(["/busybox", "sh", "-e", "-c", script], timeout=100)
    assert (done.status, done.stdout) == (0, b"two\none\none\n2049\n"), done.stderr
    system.shutdown()
    assert contents(f"{image}:1", "/three", capfdbinary) == b"three\n"
    assert main(["disk", "fsck", f"{image}:1"]) == 0


def busybox_folder(tmp_path: Path, busybox: str) -> Path:
    folder = tmp_path / "root"
    folder.mkdir(exist_ok=True)
    (folder / "busybox").write_bytes(Path(busybox).read_bytes())
    (folder / "busybox").chmod(0o755)
    return folder


def test_what_cannot_be_mounted_is_said_and_left_out(
    tmp_path: Path, jefeos_boot: Callable[..., System], busybox: str
) -> None:
    image = disk(tmp_path, "vfat", busybox)
    with pytest.raises(BootError, match="in use"):
        jefeos_boot(root=f"{image}:1:rw", mount=[f"{image}:1:/mnt:rw"])
    with pytest.raises(BootError, match="no partition 3"):
        jefeos_boot(root=f"{image}:3")
    system = jefeos_boot(root="sda1", disk=[image], no_automount=True)
    assert shell(system, "echo kept in memory > /x; /busybox cat /x; ! /busybox ls /mnt/sda1") == b"kept in memory\n"
    system.shutdown()
    system = jefeos_boot(disk=[f"{image}:ro"], root=str(busybox_folder(tmp_path, busybox)))
    assert b" ro," in shell(system, "/busybox grep /dev/sda1 /proc/mounts")
    system.shutdown()


def test_an_image_and_a_disk_of_the_machine_can_both_be_written(
    tmp_path: Path, jefeos_boot: Callable[..., System], busybox: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """--mount IMAGE:N:/place:rw beside --root sda1:rw."""
    root, data = disk(tmp_path, "jefefs", busybox), disk(tmp_path, "ntfs")
    system = jefeos_boot(root="sda1:rw", disk=[root], mount=[f"{data}:1:/data:rw"])
    shell(system, "echo to the image > /data/file; echo to the disk > /file; /busybox mv /file /data/moved")
    shell(system, "echo x > /file")
    system.shutdown()
    assert contents(f"{data}:1", "/file", capfdbinary) == b"to the image\n"
    assert contents(f"{data}:1", "/moved", capfdbinary) == b"to the disk\n"
    assert contents(f"{root}:1", "/file", capfdbinary) == b"x\n"
    assert main(["disk", "fsck", f"{data}:1"]) == 0
    assert main(["disk", "fsck", f"{root}:1"]) == 0
