"""The folder as a guest sees it: through paths, symlinks and the shell of a running system."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jefeos
import pytest
from jefeos.api import Completed, System
from jefeos.errors import BootError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="symlinks need a POSIX host")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"host secret\n")
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "file").write_bytes(b"content\n")
    (inside / "absolute").symlink_to(tmp_path / "outside" / "secret")
    (inside / "relative").symlink_to("../outside/secret")
    (inside / "climbing").symlink_to("../" * 40 + "etc/passwd")
    (inside / "sub" / "up").symlink_to("../file")
    os.mkfifo(inside / "fifo")
    return inside


@pytest.fixture
def system(folder: Path) -> Iterator[System]:
    with jefeos.boot(mount=[f"{folder}:/mnt/writable:rw", f"{folder}:/mnt/layered"], ram="32M") as system:
        if "sh" not in system.kernel.applets:
            pytest.skip("needs a shell plugin")
        yield system


def run(system: System, script: str) -> Completed:
    return system.run(["/bin/sh", "-c", script], timeout=100)


@pytest.mark.parametrize("where", ["writable", "layered"])
def test_symlinks_mean_the_guests_files(system: System, where: str) -> None:
    script = f"cd /mnt/{where}; cat absolute; cat relative; cat sub/up; cat climbing"
    done = run(system, script)
    assert b"host secret" not in done.stdout
    assert done.stdout.startswith(b"content\nroot:x:0:0:root:/root:/bin/sh\n")
    assert done.stderr.count(b"No such file or directory") == 2


@pytest.mark.parametrize("where", ["writable", "layered"])
@pytest.mark.parametrize("path", ["../outside/secret", "sub/../../outside/secret", "..//..//outside/secret"])
def test_dots_stay_in_the_guest(system: System, where: str, path: str) -> None:
    done = run(system, f"cd /mnt/{where}; cat {path}")
    assert (done.status, done.stdout) == (1, b"")


def test_the_guest_cannot_make_a_way_out(system: System, folder: Path) -> None:
    outside = folder.parent / "outside"
    script = f"cd /mnt/writable; ln -s {outside} out; ls out/; echo x > out/new; ln -s .. up;"
    script += "cat up/outside/secret; cd up; pwd"
    done = run(system, script)
    assert b"secret" not in done.stdout
    assert done.stdout.endswith(b"/mnt\n")
    assert os.listdir(outside) == ["secret"]


def test_writes_reach_the_folder_or_stay_above_it(system: System, folder: Path) -> None:
    run(
        system, "cd /mnt/layered; echo changed > file; rm -r sub; mkdir new; mv absolute gone; chmod 600 file"
    )
    assert (folder / "file").read_bytes() == b"content\n"
    assert (folder / "sub" / "up").is_symlink()
    assert not (folder / "new").exists()
    assert run(system, "cat /mnt/layered/file").stdout == b"changed\n"
    script = "echo changed > file; rm -r sub; mkdir new; echo a > new/a; mv new/a new/b; ln file hard"
    run(system, "cd /mnt/writable; " + script)
    assert (folder / "file").read_bytes() == b"changed\n"
    assert not (folder / "sub").exists()
    assert (folder / "new" / "b").read_bytes() == b"a\n"
    assert (folder / "hard").stat().st_ino == (folder / "file").stat().st_ino


def test_special_files_of_the_host_are_not_opened(system: System) -> None:
    done = run(system, "cat /mnt/writable/fifo; ls -l /mnt/writable/fifo")
    assert done.stdout.startswith(b"prw")
    assert b"No such device or address" in done.stderr


def test_changes_of_the_host_are_seen(system: System, folder: Path) -> None:
    assert run(system, "cat /mnt/writable/file").stdout == b"content\n"
    (folder / "file").write_bytes(b"changed by the host\n")
    (folder / "fresh").write_bytes(b"fresh\n")
    assert run(system, "cd /mnt/writable; cat file fresh").stdout == b"changed by the host\nfresh\n"


def test_a_host_program_that_swaps_names_opens_no_way_out(system: System, folder: Path) -> None:
    (folder / "sub" / "secret").write_bytes(b"harmless\n")
    outside = folder.parent / "outside"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (folder / "sub").rename(folder / "away")
            (folder / "sub").symlink_to(outside)
            (folder / "sub").unlink()
            (folder / "away").rename(folder / "sub")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(10):
            done = run(system, "cat " + "/mnt/writable/sub/secret " * 50)
            assert b"host secret" not in done.stdout
    finally:
        stop.set()
        thread.join()
    assert os.listdir(outside) == ["secret"]


@pytest.mark.peer
def test_the_hosts_own_root_shows_no_state_of_the_host() -> None:
    with jefeos.boot(root="/", ram="64M") as system:
        done = system.run(["/bin/sh", "-c", "ls /sys /dev/null; echo /proc/[0-9]*"], timeout=100)
        assert b"/dev/null" in done.stdout
        processes = done.stdout.split(b"/proc/")[1:]
        assert all(int(pid) < 1000 for pid in processes)


def test_a_missing_folder_is_one_line() -> None:
    with pytest.raises(BootError, match="no such file or folder"):
        jefeos.boot(root="/no/such/folder")
