"""FAT volumes in a running system: mounted from an image of the host, and by mount(2) from a disk of the machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.block.image import create_image
from jefeos.block.volume import FormatOptions
from jefeos.testing.volumes import make_image_file
from jefeos_fs_fat32.format import FatFormat

pytestmark = pytest.mark.peer

AT_WORK = r"""
cd /mnt || exit
mkdir -p a/b 'with space'
seq 1 20000 > a/numbers
cp a/numbers a/b/Copy
cmp a/numbers a/b/COPY && echo same
mv a/b/Copy 'with space/Moved to'
tr 1 2 < a/numbers > x && mv x 'with space/moved to'
tail -n 1 'with space/Moved to'
ln -s a link 2>/dev/null || echo no links
chmod a-w a/numbers; stat -c '%a %s' a/numbers; chmod u+w,g+w,o+w a/numbers
sqlite3 db 'create table t(x); insert into t values(1),(2); select sum(x) from t'
rm -r a; ls -1
dd if=/dev/zero of=big bs=64k count=20 2>/dev/null; truncate -s 100 big; wc -c < big
sync
"""
SAID = """same
20000
no links
555 108894
3
db
with space
100
"""


def new_image(path: Path) -> None:
    make_image_file(FatFormat(), path, 16 << 20, FormatOptions(label="GUEST"))


def require_good(image: Path) -> None:
    done = subprocess.run(["fsck.fat", "-vn", image], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "Dirty" not in done.stdout


def test_programs_work_on_a_mounted_image(
    tmp_path: Path, jefeos_boot: Callable[..., System], host_program: Callable[[str], str]
) -> None:
    for program in ("fsck.fat", "sqlite3", "mtype"):
        host_program(program)
    image = tmp_path / "image"
    new_image(image)
    system = jefeos_boot(root="/", mounts=[f"{image}:/mnt:rw"], ram="128M")
    done = system.run(["/bin/bash", "-c", AT_WORK], timeout=100)
    assert (done.stdout.decode(), done.stderr) == (SAID, b"")
    system.shutdown()
    require_good(image)
    command = ["mtype", "-i", image, "::/with space/Moved to"]
    typed = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert typed.stdout.split()[-1] == b"20000"


def test_mkfs_fat_of_the_guest_and_mount(
    tmp_path: Path, jefeos_boot: Callable[..., System], host_program: Callable[[str], str]
) -> None:
    for program in ("fsck.fat", "mkfs.fat", "mount"):
        host_program(program)
    image = tmp_path / "disk"
    create_image(str(image), 16 << 20)
    system = jefeos_boot(root="/", disk=[str(image)], ram="128M")
    script = """
mkfs.fat -n GUEST /dev/sda > /dev/null && mount -t vfat /dev/sda /mnt && cd /mnt || exit
echo hello > 'A name'; cat 'a NAME'; grep -c ' /mnt vfat rw' /proc/mounts; stat -f -c '%T %s' .
cd /; umount /mnt; mount -t msdos /dev/sda /mnt; ls /mnt; umount /mnt
"""
    done = system.run(["/bin/bash", "-c", script], timeout=100)
    assert (done.stdout.decode(), done.stderr) == ("hello\n1\nmsdos 2048\naname~1\n", b"")
    system.shutdown()
    require_good(image)
