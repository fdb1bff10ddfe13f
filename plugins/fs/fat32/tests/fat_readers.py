"""Other implementations that read FAT volumes: each gives the tree of an image as path to (contents, mtime in seconds).

mtools, 7-Zip, The Sleuth Kit (for contents tsk_recover, for names and times fls) and dissect.fat; fsck.fat judges.
Paths are text with ``/`` between names and none at their start; a folder has None for its contents, and 0 for its time,
which not all tools keep. Everything runs in UTC.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

Tree = dict[str, tuple[bytes | None, int]]
ENVIRONMENT = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"}


def run(*command: str | Path, timeout: float = 600) -> str:
    """What a tool prints; its failure is a failure of the test."""
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=timeout, check=False)
    output = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, f"{command[:3]} ended with {done.returncode}: {output[-2000:]} {done.stderr[-2000:]!r}"
    return output


def require_clean(image: Path) -> None:
    """fsck.fat has nothing to say against it."""
    output = run("fsck.fat", "-vn", image)
    for word in ("Dirty bit", "differ", "wrong", "Orphan", "Reclaim", "cluster chain", "Bad", "Duplicate"):
        assert word not in output, output


def tree_of_folder(folder: Path) -> Tree:
    """A folder of the host."""
    tree: Tree = {}
    for top, folders, files in os.walk(folder):
        for name in folders:
            tree[os.path.relpath(os.path.join(top, name), folder)] = (None, 0)
        for name in files:
            path = os.path.join(top, name)
            tree[os.path.relpath(path, folder)] = (Path(path).read_bytes(), int(os.stat(path).st_mtime))
    return tree


def by_mtools(image: Path, scratch: Path) -> Tree:
    """mcopy of everything, with its times."""
    scratch.mkdir()
    if run("mdir", "-b", "-i", image, "::/").strip():
        run("mcopy", "-s", "-n", "-m", "-i", image, "::/*", scratch)
    return tree_of_folder(scratch)


def by_7zip(image: Path, scratch: Path) -> Tree:
    """7z x."""
    run("7z", "x", "-y", "-bd", "-tfat", f"-o{scratch}", image)
    return tree_of_folder(scratch)


def by_sleuthkit(image: Path, scratch: Path) -> Tree:
    """tsk_recover for contents, fls for names and times."""
    run("tsk_recover", "-a", "-f", "fat", image, scratch)
    contents = tree_of_folder(scratch)
    tree: Tree = {}
    for line in run("fls", "-r", "-m", "", "-u", "-f", "fat", image).splitlines():
        _, path, _, mode, *_, mtime, _, _ = line.split("|")
        path = path.lstrip("/")
        if path.startswith("$") or " (Volume Label Entry)" in path:
            continue
        folder = mode.startswith("d")
        tree[path] = (None, 0) if folder else (contents.get(path, (b"", 0))[0], int(mtime))
    return tree


def seconds_of(when: datetime) -> float:
    """Seconds since 1970 of a time that means UTC and does not say so."""
    return when.replace(tzinfo=UTC).timestamp()


def by_dissect(image: Path, scratch: Path) -> Tree:
    """dissect.fat."""
    from dissect.fat.fat import FATFS

    tree: Tree = {}
    with open(image, "rb") as file:
        pending = [("", FATFS(file).root)]
        while pending:
            prefix, folder = pending.pop()
            for entry in folder.iterdir():
                if entry.name in (".", "..") or entry.is_volume_id():
                    continue
                path = prefix + entry.name
                if entry.is_directory():
                    tree[path] = (None, 0)
                    pending.append((path + "/", entry))
                else:
                    contents = entry.open().read(entry.size) if entry.size else b""
                    tree[path] = (contents, int(seconds_of(entry.mtime)))
    return tree


READERS: dict[str, Callable[[Path, Path], Tree]] = {
    "mtools": by_mtools,
    "7zip": by_7zip,
    "sleuthkit": by_sleuthkit,
    "dissect": by_dissect,
}
NEEDS = {"mtools": "mcopy", "7zip": "7z", "sleuthkit": "tsk_recover", "dissect": "fsck.fat"}


def require_reader(name: str, host_program: Callable[[str], str]) -> None:
    """Skip where the tool is not installed."""
    host_program("fsck.fat")
    host_program("mkfs.fat")
    host_program(NEEDS[name])
    if name == "dissect":
        pytest.importorskip("dissect.fat")


def differences(found: Tree, wanted: Tree) -> list[str]:
    """The first few places where two trees are not the same."""
    result = [f"{path!r} is missing" for path in sorted(wanted.keys() - found.keys())]
    result += [f"{path!r} is too much" for path in sorted(found.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & found.keys()):
        if found[path] != wanted[path]:
            (one, one_time), (two, two_time) = found[path], wanted[path]
            sizes = f"{'-' if one is None else len(one)} bytes, not {'-' if two is None else len(two)}"
            result.append(f"{path!r}: {sizes}, the same: {one == two}, times {one_time}, {two_time}")
    return result[:8]
