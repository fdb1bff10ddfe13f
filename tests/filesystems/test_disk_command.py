"""``jefeos disk``: images made, filled, looked into and checked from the shell; other programs see the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.cli.entry import main

from .disk_images import KINDS, make_disk

WHEN = 1_600_000_002


@pytest.fixture(params=KINDS)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A VHD with a partition and a filesystem on it."""
    return make_disk(f"{tmp_path}/disk.vhd", request.param, table="mbr", label="TEST")


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_name_says_the_kind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, options, kind in (
        ("a.vhd", [], "vhd"), ("b.VHD", [], "vhd"), ("c.img", [], "raw"), ("d.vhd", ["--kind", "raw"], "raw"),
        ("e.img", ["--kind", "vhd-fixed"], "vhd"),
    ):  # fmt: skip
        assert main(["disk", "create", f"{tmp_path}/{name}", "--size", "1M", *options]) == 0
        assert main(["disk", "info", "--json", f"{tmp_path}/{name}"]) == 0
        assert json.loads(capfd.readouterr().out)["kind"].startswith(kind), name


def test_a_tree_there_and_back(image: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["disk", "fsck", "--json", image]) == 0
    files_of_its_own = json.loads(capfdbinary.readouterr().out)["files"]
    source = tmp_path / "source"
    (source / "deep" / "deeper").mkdir(parents=True)
    for name, size in (("empty", 0), ("small", 10), ("deep/large", 3_000_000), ("deep/deeper/Grüße 日本", 70_000)):
        (source / name).write_bytes(os.urandom(size))
        os.utime(source / name, (WHEN, WHEN))
    assert main(["disk", "cp", "-r", str(source), f"{image}:/copied"]) == 0
    assert main(["disk", "cp", "-r", f"{image}:/copied", str(tmp_path / "back")]) == 0
    assert tree_of(tmp_path / "back") == tree_of(source)
    assert (tmp_path / "back/deep/large").stat().st_mtime == WHEN
    assert main(["disk", "cp", str(source / "small"), str(source / "empty"), f"{image}:/copied/deep"]) == 0
    capfdbinary.readouterr()
    assert main(["disk", "cat", image, "/copied/deep/small", "copied/small"]) == 0
    assert capfdbinary.readouterr().out == (source / "small").read_bytes() * 2
    assert main(["disk", "ls", "-r", "--json", image, "/copied"]) == 0
    listed = {row["name"]: (row["type"], row["size"]) for row in json.loads(capfdbinary.readouterr().out)}
    assert listed["deep/deeper/Grüße 日本"] == ("f", 70_000)
    assert listed["deep"][0] == "d"
    assert main(["disk", "ls", image, "/copied"]) == 0
    assert capfdbinary.readouterr().out.split() == [b"deep", b"empty", b"small"]
    assert main(["disk", "rm", "-r", image, "/copied/deep"]) == 0
    assert main(["disk", "fsck", "--json", image]) == 0
    report = json.loads(capfdbinary.readouterr().out)
    assert (report["clean"], report["problems"], report["files"] - files_of_its_own) == (True, [], 2)
    assert main(["disk", "mount-check", "--json", image]) == 0
    assert json.loads(capfdbinary.readouterr().out)["writable"] is True
    assert main(["disk", "info", "--json", image]) == 0
    told = json.loads(capfdbinary.readouterr().out)
    assert (told["kind"], told["volume"]["label"]) == ("vhd", "TEST")
    for name in ("used_bytes", "free_bytes"):
        assert told["volume"][name] == report[name], name
    assert told["partitions"][0]["filesystem"] == told["volume"]["filesystem"]


def test_errors_are_one_line_and_change_nothing(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "huge").write_bytes(b"h" * (60 << 20))
    (tmp_path / "small").write_bytes(b"before")
    assert main(["disk", "cp", str(tmp_path / "small"), f"{image}:/name"]) == 0
    capsys.readouterr()
    cases = [
        (["cp", str(tmp_path / "huge"), f"{image}:/name"], 1, "No space left on device"),
        (["cp", f"{image}:/missing", str(tmp_path / "out")], 1, "No such file"),
        (["cp", f"{image}:/", str(tmp_path / "out")], 1, "--recursive"),
        (["cp", "a", "b"], 2, "none of these is in an image"),
        (["cat", image, "/missing"], 1, "No such file"),
        (["ls", image, "/missing"], 1, "No such file"),
        (["rm", image, "/missing"], 1, "No such file"),
        (["mkfs", image, "--type", "vfat"], 1, "--force"),
        (["mkfs", image.removesuffix(":1"), "--type", "vfat"], 1, "has a partition table"),
        (["mkfs", image, "--type", "zfs"], 2, "there is no filesystem 'zfs'"),
        (["create", image.removesuffix(":1"), "--size", "1M"], 2, "is there already"),
        (["ls", f"{image.removesuffix(':1')}:7"], 2, "no partition 7"),
        (["ls", str(tmp_path / "missing.img")], 2, "No such file"),
        (["fsck", str(tmp_path / "missing.img")], 8, "No such file"),
    ]
    for arguments, status, text in cases:
        got = main(["disk", *arguments])
        error = capsys.readouterr().err
        assert (got, text in error, error.count("\n")) == (status, True, 1), (arguments, got, error)
    assert main(["disk", "rm", "-f", image, "/missing"]) == 0
    assert main(["disk", "ls", image]) == 0
    assert capsys.readouterr().out.split() == ["name"], "a half-written file is left"
    assert main(["disk", "cp", f"{image}:/name", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.vhd", "huge", "out", "small"]
    assert main(["disk", "fsck", image]) == 0


def test_a_blank_volume_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "blank")
    assert main(["disk", "create", path, "--size", "8M"]) == 0
    assert main(["disk", "ls", path]) == 1
    assert main(["disk", "fsck", path]) == 8
    assert main(["disk", "mount-check", path]) == 1
    assert main(["disk", "info", path]) == 0
    shown = capsys.readouterr()
    assert "none that is known" in shown.out
    assert shown.err.count("no filesystem is recognised") == 2


def test_paths_may_be_written_as_for_cp(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("text")
    assert main(["disk", "cp", str(tmp_path / "file"), f"{image}:/file"]) == 0
    assert main(["disk", "cat", f"{image}:/file", "/file"]) == 0
    assert main(["disk", "ls", f"{image}:/"]) == 0
    assert main(["disk", "rm", f"{image}:/file"]) == 0
    assert main(["disk", "ls", image]) == 0
    assert capsys.readouterr().out.split() == ["texttextfile"]
    assert main(["disk", "cat", image]) == 2
    assert "which files?" in capsys.readouterr().err


def test_a_type_can_be_said_for_what_is_not_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "image"
    assert main(["disk", "create", str(path), "--size", "16M", "--table", "none"]) == 0
    assert main(["disk", "mkfs", str(path), "--type", "ntfs"]) == 0
    with path.open("r+b") as file:
        file.write(bytes(512))
    assert main(["disk", "fsck", str(path)]) == 8
    assert main(["disk", "fsck", "--type", "ntfs", str(path)]) == 4
    assert main(["disk", "fsck", "--type", "ntfs", "--repair", str(path)]) == 1
    assert main(["disk", "fsck", str(path)]) == 0
    assert main(["disk", "fsck", "--type", "zfs", str(path)]) == 2
    capsys.readouterr()


def test_a_plugin_that_lacks_something_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "image")
    assert main(["disk", "create", path, "--size", "16M"]) == 0
    monkeypatch.setitem(sys.modules, "jefeos_fs_ntfs.format", None)
    assert main(["disk", "ls", path]) == 1
    assert "ntfs is not usable: import of jefeos_fs_ntfs.format halted" in capsys.readouterr().err
    assert main(["disk", "mkfs", path, "--type", "vfat"]) == 0
    assert main(["disk", "fsck", path]) == 0
    assert main(["disk", "mkfs", path, "--type", "ntfs", "--force"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_damage_is_reported_as_fsck_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "image"
    assert main(["disk", "create", str(path), "--size", "16M"]) == 0
    assert main(["disk", "mkfs", str(path), "--type", "vfat", "--variant", "fat16"]) == 0
    contents = bytearray(path.read_bytes())
    reserved, fat_sectors = contents[14], int.from_bytes(contents[22:24], "little")
    leaked = reserved * 512 + 100  # an entry of the first table: a cluster that nobody owns
    for copy in range(2):
        contents[leaked + copy * fat_sectors * 512 : leaked + copy * fat_sectors * 512 + 2] = b"\xff\xff"
    path.write_bytes(contents)
    assert main(["disk", "fsck", str(path)]) == 4
    assert path.read_bytes() == contents
    assert "(harmless)" in capsys.readouterr().out
    assert main(["disk", "fsck", "--repair", str(path)]) == 1
    assert "(repaired)" in capsys.readouterr().out
    assert main(["disk", "fsck", str(path)]) == 0


#: What is made, and what it is called in an MBR and in a GPT.
FILESYSTEMS = [
    ("ntfs", [], "0x7", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
    ("vfat", ["--variant", "fat12"], "0x1", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
    ("vfat", ["--variant", "fat16"], "0xe", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
    ("vfat", ["--variant", "fat32"], "0xc", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
    ("jefefs", [], "0x83", "0fc63daf-8483-4772-8e79-3d69d8477de4"),
]


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "options", "mbr", "gpt"), FILESYSTEMS)
def test_the_table_says_what_mkfs_made(
    tmp_path: Path, host_program: Callable[[str], str], kind: str, options: list[str], mbr: str, gpt: str
) -> None:
    for table, expected in (("mbr", mbr), ("gpt", gpt)):
        path = str(tmp_path / table)
        assert main(["disk", "create", path, "--size", "40M", "--kind", "raw", "--table", table]) == 0
        for _ in range(2):  # the second time there is one already
            assert main(["disk", "mkfs", f"{path}:1", "--type", kind, "--force", *options]) == 0
        done = subprocess.run([host_program("sfdisk"), "-J", path], check=True, capture_output=True)
        (part,) = json.loads(done.stdout)["partitiontable"]["partitions"]
        assert (f"0x{part['type']}" if table == "mbr" else part["type"].lower(), done.stderr) == (expected, b"")
        checked = subprocess.run([host_program("sfdisk"), "--verify", path], check=True, capture_output=True)
        assert b"No errors detected" in checked.stdout


@pytest.mark.peer
def test_mkfs_of_a_logical_partition(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    """Its type is in the record before it; the others keep theirs."""
    path = str(tmp_path / "disk.img")
    assert main(["disk", "create", path, "--size", "40M", "--kind", "raw"]) == 0
    script = "label: dos\nstart=2048, size=8192, type=83\nstart=16384, size=60000, type=f\n" \
             "start=18432, size=10240, type=7\nstart=30720, size=10240, type=7\nstart=43008, size=10240, type=82\n"
    sfdisk = host_program("sfdisk")
    subprocess.run([sfdisk, "-q", path], input=script.encode(), check=True, capture_output=True)
    for number in (6, 7):
        assert main(["disk", "mkfs", f"{path}:{number}", "--type", "jefefs"]) == 0
    done = subprocess.run([sfdisk, "-J", path], check=True, capture_output=True)
    parts = json.loads(done.stdout)["partitiontable"]["partitions"]
    assert [part["type"] for part in parts] == ["83", "f", "7", "83", "82"]  # 82 is for swapping, whatever is there


@pytest.mark.peer
def test_mtools_sees_what_was_copied(
    tmp_path: Path, host_program: Callable[[str], str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = str(tmp_path / "disk.img")
    data = os.urandom(100_000)
    (tmp_path / "file").write_bytes(data)
    os.utime(tmp_path / "file", (WHEN, WHEN))
    assert main(["disk", "create", path, "--size", "40M", "--table", "mbr"]) == 0
    assert main(["disk", "mkfs", f"{path}:1", "--type", "vfat"]) == 0
    assert main(["disk", "cp", str(tmp_path / "file"), f"{path}:/Long Name.bin"]) == 0
    environ = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
    place = f"{path}@@1M"
    done = subprocess.run(
        [host_program("mtype"), "-i", place, "::/Long Name.bin"], capture_output=True, check=True, env=environ
    )
    assert done.stdout == data
    listed = subprocess.run([host_program("mdir"), "-i", place, "::"], capture_output=True, check=True, env=environ)
    assert time.strftime("%Y-%m-%d", time.gmtime(WHEN)).encode() in listed.stdout
    subprocess.run([host_program("mcopy"), "-i", place, str(tmp_path / "file"), "::/theirs"], check=True, env=environ)
    capfdbinary.readouterr()
    assert main(["disk", "cat", f"{path}:1", "theirs"]) == 0
    assert capfdbinary.readouterr().out == data
