"""Other implementations that read NTFS volumes, and how what they see is compared with what ought to be there.

ntfsfix judges; 7-Zip and Sleuth Kit give every file with its name, contents and time (a call each for the whole
volume), dissect a sample of them. ntfs-3g is a mount: `seen_in` reads any folder of the host. A tree is
path to (type as in st_mode, contents or target), times are path to mtime in ns.
"""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from jefeos.testing.mounted import Mounted
from jefeos.vfs.flags import S_IFLNK, S_IFMT, S_IFREG
from jefeos_fs_ntfs.layout import AttributeType

from .ntfs_images import fsck

SECOND_NS = 10**9
SAMPLE = 300
"""Files that dissect reads: it is written in Python, and looks a path up in time proportional to its folders."""
Tool = Callable[..., str]
Tree = dict[bytes, tuple[int, bytes]]
Times = dict[bytes, int]


def seen_in(folder: Path) -> tuple[Tree, Times]:
    """What the host sees below a folder. From directory to directory: a mount looks up every part of a long path."""
    tree: Tree = {}
    times: Times = {}
    top = os.fsencode(folder)
    for path, folders, files, at in os.fwalk(top):
        for name in [*folders, *files]:
            found = os.lstat(name, dir_fd=at)
            kind = stat.S_IFMT(found.st_mode)
            contents = b""
            if kind == S_IFLNK:
                contents = os.readlink(name, dir_fd=at)
            elif kind == S_IFREG:
                with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=at), "rb", buffering=0) as file:
                    contents = file.readall()
            whole = path[len(top) :] + b"/" + name
            tree[whole] = kind, contents
            times[whole] = found.st_mtime_ns
    return tree, times


def our_times(here: Mounted, paths: Iterable[bytes]) -> Times:
    """Those that we see."""
    return {path: here.vfs.stat(here.actor, path, follow=False).mtime_ns for path in paths}


def sparse_files(here: Mounted, paths: Iterable[bytes]) -> set[bytes]:
    """Files with holes."""
    stats = {path: here.vfs.stat(here.actor, path, follow=False) for path in paths}
    return {path for path, one in stats.items() if one.blocks * 512 < one.size and one.mode & S_IFMT == S_IFREG}


def without_links(tree: Tree) -> Tree:
    """Symbolic links are a thing that each of them does in its own way."""
    return {path: found for path, found in tree.items() if found[0] != S_IFLNK}


def check_with_others(
    image: Path, tree: Tree, times: Times, sparse: set[bytes], tool: Tool, scratch: Path
) -> None:
    """ntfsfix, our fsck, 7-Zip, Sleuth Kit and dissect on an image that nobody has mounted."""
    assert "processed successfully" in tool("ntfsfix", "-n", image)
    assert fsck(image) == []
    plain = without_links(tree)
    check_with_7zip(image, plain, times, sparse, tool, scratch / "by-7zip")
    numbers = check_with_sleuthkit(image, plain, times, tool, scratch / "by-sleuthkit")
    check_with_dissect(image, plain, numbers)


def check_with_7zip(
    image: Path, plain: Tree, times: Times, sparse: set[bytes], tool: Tool, scratch: Path
) -> None:
    """It unpacks all but holes of less than sixteen clusters, which Windows never makes, and ntfs-3g does as we do."""
    tool("7z", "x", "-y", f"-o{scratch}", image, check=not sparse)
    found, seen = seen_in(scratch)
    for path in plain.keys() - sparse:
        assert found[path] == plain[path], path
        if plain[path][0] == S_IFREG:
            assert seen[path] == times[path], path
    subprocess.run(["rm", "-rf", scratch], check=True)


def check_with_sleuthkit(image: Path, plain: Tree, times: Times, tool: Tool, scratch: Path) -> dict[bytes, int]:
    """fls for names and times, tsk_recover for contents. Gives the numbers of the records."""
    numbers: dict[bytes, int] = {}
    for line in tool("fls", "-r", "-p", "-m", "", image).splitlines():
        _, name, number, mode, *_, mtime, _, _ = line.split("|")
        path = name.encode()
        # "-/r": it knows the file and not the entry, in index blocks smaller than a cluster (also those of ntfs-3g).
        if path not in plain or "-128-" not in number and "-144-" not in number:
            continue
        numbers[path] = int(number.split("-")[0])
        assert mode[2] == ("r" if plain[path][0] == S_IFREG else "d"), path
        if plain[path][0] == S_IFREG:
            assert int(mtime) == times[path] // SECOND_NS, path
    assert plain.keys() == numbers.keys()
    tool("tsk_recover", "-a", image, scratch)
    found, _ = seen_in(scratch)
    for path, (kind, contents) in plain.items():
        if kind == S_IFREG and contents:  # it makes no empty files
            assert found[path] == (kind, contents), path
    subprocess.run(["rm", "-rf", scratch], check=True)
    return numbers


def check_with_dissect(image: Path, plain: Tree, numbers: dict[bytes, int]) -> None:
    """Some of the sample by path, the rest by the number of the record."""
    ntfs = pytest.importorskip("dissect.ntfs")
    files = sorted(path for path, (kind, _) in plain.items() if kind == S_IFREG)
    sample = random.Random(1).sample(files, min(SAMPLE, len(files)))
    with image.open("rb") as file:
        volume = ntfs.NTFS(file)
        for index, path in enumerate(sample):
            record = volume.mft.get(path[1:].decode() if index % 8 == 0 else numbers[path])
            contents = plain[path][1]
            valid = len(contents)
            for attribute in record.attributes[AttributeType.DATA]:
                if not attribute.resident and not attribute.name:
                    valid = attribute.header.header.Form.Nonresident.ValidDataLength
                    break
            data = record.open().read()  # what was never initialised it takes from the medium
            assert (len(data), data[:valid]) == (len(contents), contents[:valid]), path
