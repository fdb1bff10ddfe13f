"""``jefeos disk cp``: what of a file is kept, what is told when it cannot be, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jefeos.cli.disk_sides import HostSide
from jefeos.cli.disk_volume import Volume
from jefeos.cli.entry import main
from jefeos.testing.mounted import Mounted

from .disk_images import KINDS, make_disk

WHEN_NS = 1_600_000_001_234_567_800
HOLE = 1 << 20


@pytest.fixture(params=KINDS)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return make_disk(f"{tmp_path}/image", request.param)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with everything in it that a plain copy loses."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "private").write_bytes(b"private")
    (folder / "private").chmod(0o640)
    (folder / "second name").hardlink_to(folder / "private")
    with (folder / "sparse").open("wb") as file:
        for number in range(1, 4):
            file.seek(number * HOLE)
            file.write(b"data" * 1000)
        file.truncate(5 * HOLE)
    (folder / "sub").mkdir(mode=0o750)
    (folder / "sub" / "third name").hardlink_to(folder / "private")
    try:
        os.setxattr(folder / "private", "user.origin", b"a test")
        os.setxattr(folder / "sub", "user.of a folder", b"\0\1\2")
    except OSError:
        pytest.skip("the host's filesystem has no extended attributes")
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, ns=(WHEN_NS, WHEN_NS))
    return folder


def everything(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        stat = path.stat()
        attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
        contents = path.read_bytes() if path.is_file() else None
        links = stat.st_nlink if path.is_file() else 0
        found[str(path.relative_to(folder))] = stat.st_mode, stat.st_mtime_ns, links, attributes, contents
    return found


@pytest.mark.parametrize("kind", ["ntfs", "jefefs"])
def test_links_holes_attributes_modes_and_times_there_and_back(
    tmp_path: Path, source: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    image = make_disk(f"{tmp_path}/image", kind)
    assert main(["disk", "cp", "-r", str(source), f"{image}:/"]) == 0
    assert main(["disk", "fsck", image]) == 0
    assert main(["disk", "cp", "-r", f"{image}:/source", f"{image}:/again"]) == 0
    assert main(["disk", "cp", "-r", f"{image}:/again", f"{tmp_path}/back"]) == 0
    assert capfd.readouterr().err == ""
    assert everything(tmp_path / "back") == everything(source)
    assert (tmp_path / "back/sparse").stat().st_blocks * 512 < 2 * HOLE
    assert (tmp_path / "back/sub/third name").samefile(tmp_path / "back/private")
    assert main(["disk", "ls", "-r", "--json", image, "/"]) == 0
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)}
    assert [rows[f"again/{name}"]["links"] for name in ("private", "second name", "sub/third name")] == [3, 3, 3]
    assert main(["disk", "info", "--json", image]) == 0
    told = json.loads(capfd.readouterr().out)["volume"]
    assert told["size_bytes"] - told["free_bytes"] < 8 * HOLE, "holes are stored"
    assert main(["disk", "cp", "-r", str(source), f"{image}:/"]) == 0, "over what is there"
    assert main(["disk", "cp", "-r", f"{image}:/source", f"{tmp_path}/back"]) == 0, "into what is there"
    assert everything(tmp_path / "back/source") == everything(source)
    assert main(["disk", "cat", image, "/source/sparse"]) == 0
    assert main(["disk", "fsck", image]) == 0


def test_one_line_says_what_a_target_cannot_hold(
    tmp_path: Path, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = make_disk(f"{tmp_path}/image", "vfat")
    assert main(["disk", "cp", "-r", str(source), f"{image}:/"]) == 0
    told = capfd.readouterr().err
    assert told == (
        f"jefeos: {image} cannot hold, and did not get: extended attributes (4 files), hard links (2 files),"
        " holes (1 file), permissions (5 files)\n"
    )
    assert main(["disk", "cp", "-r", f"{image}:/source", f"{tmp_path}/back"]) == 0
    assert capfd.readouterr().err == ""
    for name in ("private", "second name", "sub/third name", "sparse"):
        assert (tmp_path / "back" / name).read_bytes() == (source / name).read_bytes()
        assert abs((tmp_path / "back" / name).stat().st_mtime_ns - WHEN_NS) < 2 * 10**9


def test_names_that_are_one_on_fat_do_not_replace_each_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = make_disk(f"{tmp_path}/image", "vfat")
    for name in ("README", "readme"):
        (tmp_path / "source" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "source" / name).write_text(name)
    capfd.readouterr()
    assert main(["disk", "cp", "-r", f"{tmp_path}/source", f"{image}:/"]) == 1
    told = capfd.readouterr().err
    assert "source/readme would replace" in told and "/source/README, which was just copied" in told
    for _ in range(2):
        assert main(["disk", "cp", f"{tmp_path}/source/readme", f"{image}:/source"]) == 0, "if it is what is wanted"
    assert main(["disk", "cat", image, "source/README"]) == 0
    assert capfd.readouterr().out == "readme"


def test_devices_and_pipes_of_the_host_are_written_to_and_not_replaced(tmp_path: Path, image: str) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    assert main(["disk", "cp", str(tmp_path / "file"), f"{image}:/file"]) == 0
    for place in (tmp_path / "null", tmp_path / "behind a link"):
        reader, writer = os.pipe()
        if place.name == "null":
            os.mkfifo(place)
            descriptor = os.open(place, os.O_RDWR)
        else:
            place.symlink_to(f"/proc/self/fd/{writer}")
            descriptor = os.dup(reader)
        kind = place.lstat().st_mode
        assert main(["disk", "cp", f"{image}:/file", str(place)]) == 0
        assert os.read(descriptor, 100) == b"contents"
        assert place.lstat().st_mode == kind
        for number in (reader, writer, descriptor):
            os.close(number)


def test_devices_and_pipes_of_the_host_are_read(
    tmp_path: Path, image: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = os.urandom(300_000)
    command = [sys.executable, "-m", "jefeos", "disk", "cp", "/dev/stdin", "/dev/null", f"{image}:/"]
    assert subprocess.run(command, input=data, check=False).returncode == 0
    assert main(["disk", "cat", image, "stdin", "null"]) == 0
    assert capfdbinary.readouterr().out == data
    assert main(["disk", "cp", "/dev/zero", f"{image}:/zeros"]) == 1, "there is no end of it"
    assert capfdbinary.readouterr().err.endswith(b":/zeros: No space left on device\n")
    assert main(["disk", "cp", "-r", "/dev/null", f"{image}:/left out"]) == 1
    assert main(["disk", "ls", image]) == 0
    assert capfdbinary.readouterr().out.split() == [b"null", b"stdin"]
    assert main(["disk", "fsck", image]) == 0


def test_an_interruption_ends_the_wait_for_a_pipe(tmp_path: Path, image: str) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    command = [sys.executable, "-m", "jefeos", "disk", "cp", f"{tmp_path}/pipe", f"{image}:/file"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as copying:
        writer = os.open(tmp_path / "pipe", os.O_WRONLY)  # once the command has opened it, too
        copying.send_signal(signal.SIGINT)
        assert copying.wait(60) == 130
        os.close(writer)
    assert main(["disk", "fsck", image]) == 0


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    image = make_disk(f"{tmp_path}/image", "jefefs")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/file").write_bytes(b"old")
    (tmp_path / "old/link").symlink_to("file")
    (tmp_path / "new").write_bytes(b"new")
    assert main(["disk", "cp", "-r", f"{tmp_path}/old", f"{image}:/"]) == 0
    assert main(["disk", "cp", f"{tmp_path}/new", f"{image}:/old/link"]) == 0
    assert main(["disk", "cp", f"{image}:/old/file", f"{tmp_path}/old/link"]) == 0
    assert ((tmp_path / "old/link").is_symlink(), (tmp_path / "old/file").read_bytes()) == (True, b"new")


def test_a_stream_that_is_no_attribute_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An alternate stream of NTFS may be larger than any extended attribute; the file is copied without it."""
    image = make_disk(f"{tmp_path}/image", "ntfs")
    with Volume.open(image, writable=True) as volume:
        here = Mounted(volume.filesystem, volume.vfs, volume.actor)
        here.put(b"/file", b"contents")
        place = volume.vfs.resolve(volume.actor, b"/file")
        volume.vfs.set_xattr(volume.actor, place.inode, b"user.small", b"kept", 0, place)
        volume.vfs.set_xattr(volume.actor, place.inode, b"user.large", b"", 0, place)
        here.write(b"/file:large", 0, b"l" * 100_000)
    assert main(["disk", "cp", f"{image}:/file", str(tmp_path / "copy")]) == 0
    assert "did not get: extended attributes (1 file)" in capfd.readouterr().err
    assert (tmp_path / "copy").read_bytes() == b"contents"
    assert os.getxattr(tmp_path / "copy", "user.small") == b"kept"


def test_a_hole_is_written_out_as_zeros(
    tmp_path: Path, source: Path, image: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["disk", "cp", str(source / "sparse"), f"{image}:/"]) == 0
    capfdbinary.readouterr()
    assert main(["disk", "cat", image, "/sparse"]) == 0
    assert capfdbinary.readouterr().out == (source / "sparse").read_bytes()


def test_a_directory_is_not_copied_into_itself(
    tmp_path: Path, source: Path, image: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "cp", "-r", str(source), f"{image}:/a"]) == 0
    capfd.readouterr()
    for goal in ("/a", "/a/sub", "/a/sub/new", "/x/../a/sub"):
        assert main(["disk", "cp", "-r", f"{image}:/a", f"{image}:{goal}"]) == 1
        told = capfd.readouterr().err
        assert ("into itself" in told or "No such file" in told, told.count("\n")) == (True, 1), told
    assert main(["disk", "cp", "-r", f"{image}:/a", f"{image}:/ab"]) == 0, "a name that only begins alike"
    assert main(["disk", "fsck", image]) == 0


def test_an_interruption_leaves_whole_files(
    tmp_path: Path, image: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """^C while the second of three files is under way: the first is there, the old second is, and nothing else."""
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 10_000_000)
    (tmp_path / "old").write_bytes(b"old")
    assert main(["disk", "cp", str(tmp_path / "old"), f"{image}:/b"]) == 0
    read = HostSide.read
    before = signal.getsignal(signal.SIGINT)  # a run in the background of a shell was started without one

    def interrupted(side: HostSide, path: bytes) -> Iterator[tuple[int, bytes]]:
        for offset, piece in read(side, path):
            if path.endswith(b"/b") and offset:
                os.kill(os.getpid(), signal.SIGINT)
            yield offset, piece

    monkeypatch.setattr(HostSide, "read", interrupted)
    assert main(["disk", "cp", *[str(tmp_path / name) for name in "abc"], f"{image}:/"]) == 130
    capfd.readouterr()
    assert main(["disk", "ls", image]) == 0
    assert capfd.readouterr().out.split() == ["a", "b"]
    assert main(["disk", "cat", image, "b"]) == 0
    assert capfd.readouterr().out == "old"
    assert main(["disk", "fsck", image]) == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_nobody_reads_what_is_listed(tmp_path: Path, source: Path) -> None:
    """``| head`` closes the pipe: no traceback, no message."""
    image = make_disk(f"{tmp_path}/image", "jefefs")
    assert main(["disk", "cp", "-r", str(source), f"{image}:/"]) == 0
    for command in (["cat", image, "source/sparse"], ["ls", "-r", image], ["info", image], ["fsck", image]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "jefeos", "disk", *command], stdout=writer, stderr=subprocess.PIPE, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b""), command
