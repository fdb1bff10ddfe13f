"""Disks in a booted system, on both machines: the host's own tools partition, format and check them from inside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.block.image import create_image

pytestmark = pytest.mark.peer

TABLE = "label: gpt\\nstart=2048, size=32768\\nstart=34816, size=8192\\n"
SCRIPT = f"""
set -e
printf '{TABLE}' | sfdisk -q /dev/sda
blockdev --rereadpt /dev/sda
ls /dev/sda1 /dev/sda2; blockdev --getsize64 /dev/sda1
mkfs.ext4 -q -F /dev/sda1; fsck.ext4 -fn /dev/sda1 >/dev/null 2>&1; echo checked
seq 100000 | dd of=/dev/sda2 bs=64k status=none conv=fsync
md5sum < /dev/sda2
dd if=/dev/sda2 of=/dev/null bs=1M status=none
sync
"""


@pytest.mark.parametrize("machine", ["simulated", "qemu"])
@pytest.mark.parametrize("kind", ["raw", "vhd"])
def test_the_host_s_tools_at_work_on_a_disk(
    tmp_path: Path, jefeos_boot: Callable[..., System], host_program: Callable[[str], str], machine: str, kind: str
) -> None:
    for program in ("sfdisk", "mkfs.ext4", *(("qemu-system-x86_64",) if machine == "qemu" else ())):
        host_program(program)
    image = tmp_path / "disk"
    create_image(str(image), 32 << 20, kind)
    system = jefeos_boot(root="/", machine=machine, disk=[str(image)], ram="128M")
    done = system.run(["/bin/sh", "-c", SCRIPT], timeout=120, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    assert (done.status, done.stderr) == (0, b"")
    lines = done.stdout.split()
    assert lines[:4] == [b"/dev/sda1", b"/dev/sda2", b"%d" % (32768 * 512), b"checked"]
    system.shutdown()
    raw = tmp_path / "raw"
    if kind == "raw":
        raw = image
    else:
        command = [host_program("qemu-img"), "convert", "-f", "vpc", "-O", "raw", str(image), str(raw)]
        subprocess.run(command, check=True)
    with raw.open("rb") as file:
        file.seek(34816 * 512)
        part = file.read(8192 * 512)
    assert subprocess.run(["md5sum"], input=part, capture_output=True, check=True).stdout.split()[0] == lines[4]
    listed = subprocess.run([host_program("sfdisk"), "-d", str(raw)], capture_output=True, text=True, check=True)
    assert "start=        2048, size=       32768" in listed.stdout
    with (tmp_path / "part1").open("wb") as out, raw.open("rb") as file:
        file.seek(2048 * 512)
        out.write(file.read(32768 * 512))
    subprocess.run([host_program("fsck.ext4"), "-fn", str(tmp_path / "part1")], check=True, capture_output=True)


def test_a_read_only_disk_is_not_written(tmp_path: Path, jefeos_boot: Callable[..., System]) -> None:
    image = tmp_path / "disk"
    create_image(str(image), 1 << 20)
    before = image.read_bytes()
    system = jefeos_boot(root="/", disk=[f"{image}:ro"])
    done = system.run(["/bin/sh", "-c", "head -c 512 /dev/sda | md5sum; echo x > /dev/sda || echo refused; sync"])
    assert done.status == 0
    assert image.read_bytes() == before
