"""Volumes between JefeOS and other implementations: what one writes, the others read, to the byte, name and time.

The work: files in deep and in flat folders, with names of all kinds, renamed, removed, grown and cut at random.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jefeos.block.image import create_image
from jefeos.block.volume import FormatOptions
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.volumes import TestClock, image_file, make_image_file, new_page_cache
from jefeos.vfs.flags import S_IFDIR, S_IFMT
from jefeos_fs_fat32.format import FatFormat

from .fat_readers import READERS, Tree, differences, require_clean, require_reader, run, seconds_of

pytestmark = pytest.mark.peer

SECOND_NS = 10**9
MEBIBYTE = 1 << 20
VOLUMES = {"fat12": 8 * MEBIBYTE, "fat16": 40 * MEBIBYTE, "fat32": 60 * MEBIBYTE}
LARGE = {"fat12": (120 * MEBIBYTE, 3500), "fat16": (200 * MEBIBYTE, 20_000), "fat32": (300 * MEBIBYTE, 20_000)}
"""Size, and how many files there are at most: FAT12 has 4,084 clusters."""
FEW = [(variant, size, 250) for variant, size in VOLUMES.items()]
MANY = [
    pytest.param(variant, size, count, marks=[pytest.mark.long, pytest.mark.timeout(3000)])
    for variant, (size, count) in LARGE.items()
]
MCOPY_FEW = [(variant, size, 60) for variant, size in VOLUMES.items()]
MCOPY_MANY = [  # mtools take time with the square of the files in a folder
    pytest.param(variant, size, min(count, 4000), marks=[pytest.mark.long, pytest.mark.timeout(3000)])
    for variant, (size, count) in LARGE.items()
]
BITS = {"fat12": "12", "fat16": "16", "fat32": "32"}
WORDS = (
    "report", "Holiday Picture", "README", "data.tar", "ünïcödé", "日本語", "x", "a.b.c", "UPPER.TXT", "lower.txt",
    "#$%&'()-@^_`{}~!",
)
MOST_RENAMED = 100
"""By mtools, which rename one file in a call."""


class JumpingClock(TestClock):
    """Each look at it is some 40 seconds later, so that files have different times."""

    def realtime_ns(self) -> int:
        self.now_ns += 40 * SECOND_NS + 12_345_678
        return self.now_ns


@contextmanager
def opened(image: Path, clock: TestClock | None = None, *, writable: bool = True) -> Iterator[Mounted]:
    with image_file(image, writable=writable) as volume, mounted(
        FatFormat(), volume, writable=writable, clock=clock or JumpingClock(), page_cache=new_page_cache(64 * MEBIBYTE)
    ) as here:
        yield here


def made_by_us(image: Path, size: int, variant: str) -> None:
    make_image_file(FatFormat(), image, size, FormatOptions(label="OURS", variant=variant))


def made_by_mkfs_fat(image: Path, size: int, variant: str) -> None:
    create_image(str(image), size)
    run("mkfs.fat", "-F", BITS[variant], "-n", "THEIRS", image)


MAKERS: dict[str, Callable[[Path, int, str], None]] = {"ours": made_by_us, "mkfs.fat": made_by_mkfs_fat}


def our_tree(image: Path) -> Tree:
    """The tree as we read it."""
    with opened(image, writable=False) as here:
        tree: Tree = {}
        for path, (kind, contents) in here.tree().items():
            mtime = here.vfs.stat(here.actor, path).mtime_ns // SECOND_NS
            tree[path[1:].decode()] = (None, 0) if kind & S_IFMT == S_IFDIR else (contents, mtime)
        return tree


def work(here: Mounted, count: int, dice: random.Random) -> None:
    """Make ``count`` files in flat and in deep folders, then change them at random."""
    vfs, actor = here.vfs, here.actor
    folders = [b"/flat", b"/deep"]
    folders += [b"/deep" + b"/another level" * depth for depth in range(1, 12)]
    for folder in folders:
        vfs.mkdir(actor, folder, 0o755)
    files: list[bytes] = []

    def new_name(number: int) -> bytes:
        folder = folders[0] if dice.random() < 0.6 else dice.choice(folders)
        return folder + f"/{dice.choice(WORDS)} {number}".encode()

    for number in range(count):
        path = new_name(number)
        here.put(path, dice.randbytes(dice.choice((0, 1, 100, 511, 512, 3000, 9000))))
        files.append(path)
    for number in range(count, count * 2):
        path = files.pop(dice.randrange(len(files)))
        match dice.randrange(6):
            case 0:
                vfs.unlink(actor, path)
                continue
            case 1:
                here.write(path, dice.randrange(12_000), dice.randbytes(dice.randrange(3000)))
            case 2:
                vfs.truncate(actor, path, dice.randrange(8000))
            case 3 if files:
                replaced = files.pop(dice.randrange(len(files)))
                vfs.rename(actor, path, replaced)
                path = replaced
            case 4:
                here.put(path, dice.randbytes(dice.randrange(5000)))
            case _:
                renamed = new_name(number)
                vfs.rename(actor, path, renamed)
                path = renamed
        files.append(path)


def compare(image: Path, scratch: Path, readers: list[str]) -> None:
    wanted = our_tree(image)
    assert len(wanted) > 20
    require_clean(image)
    for name in readers:
        assert differences(READERS[name](image, scratch / f"by-{name}"), wanted) == [], name


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("variant", "size", "count"), [*FEW, *MANY])
def test_they_read_what_we_write(
    variant: str, size: int, count: int, maker: str, tmp_path: Path, host_program: Callable[[str], str]
) -> None:
    for name in READERS:
        require_reader(name, host_program)
    image = tmp_path / "image"
    MAKERS[maker](image, size, variant)
    with opened(image) as here:
        work(here, count, random.Random(count))
        before = here.tree()
    with opened(image, writable=False) as here:
        assert here.tree() == before
    compare(image, tmp_path, list(READERS))


@pytest.mark.parametrize("variant", VOLUMES)
def test_they_read_our_labels_and_other_times(
    variant: str, tmp_path: Path, host_program: Callable[[str], str]
) -> None:
    host_program("mlabel")
    FATFS = pytest.importorskip("dissect.fat.fat").FATFS
    image = tmp_path / "image"
    made_by_us(image, VOLUMES[variant], variant)
    assert "OURS" in run("mlabel", "-s", "-i", image, "::")
    with opened(image) as here:
        for number in range(20):
            here.put(b"/File %d" % number, b"x")
            here.vfs.utimens(here.actor, b"/File %d" % number, (1_600_000_000 + number * 86400) * SECOND_NS, None)
    with opened(image, writable=False) as here, open(image, "rb") as file:
        entries = {entry.name: entry for entry in FATFS(file).root.iterdir() if not entry.is_volume_id()}
        for number in range(20):
            stat, entry = here.vfs.stat(here.actor, b"/File %d" % number), entries[f"File {number}"]
            assert seconds_of(entry.atime) == stat.atime_ns / SECOND_NS
            assert round(seconds_of(entry.ctime) * 100) == stat.btime_ns // 10**7


def they_write(image: Path, folder: Path, count: int) -> Tree:
    """mtools fill a volume, and change it; gives what is to be there."""
    dice = random.Random(count)
    tree: Tree = {}
    for number in range(count):
        parent = dice.choice(("flat/", "flat/", "deep/er/and deeper/")) if number % 40 else ""  # a small root on FAT16
        path = f"{parent}{dice.choice(WORDS)} {number}"
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(dice.randbytes(dice.randrange(6000)))
        seconds = 1_500_000_000 + number * 2
        os.utime(place, (seconds, seconds))
        tree[path] = (place.read_bytes(), seconds)
    run("mcopy", "-s", "-m", "-i", image, *sorted(folder.iterdir()), "::/")
    removed = dice.sample(sorted(tree), count // 5)
    run("mdel", "-i", image, *[f"::/{path}" for path in removed])
    for path in removed:
        del tree[path]
    for path in dice.sample(sorted(tree), min(count // 5, MOST_RENAMED)):
        parent, _, name = path.rpartition("/")
        run("mren", "-i", image, f"::/{path}", f"{name} renamed")
        tree[f"{parent}/{name} renamed".lstrip("/")] = tree.pop(path)
    for path in list(tree):
        while path := path.rpartition("/")[0]:
            tree[path] = (None, 0)
    return tree


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("variant", "size", "count"), [*MCOPY_FEW, *MCOPY_MANY])
def test_we_read_what_mtools_write(
    variant: str, size: int, count: int, maker: str, tmp_path: Path, host_program: Callable[[str], str]
) -> None:
    for name in READERS:
        require_reader(name, host_program)
    image = tmp_path / "image"
    MAKERS[maker](image, size, variant)
    wanted = they_write(image, tmp_path / "source", count)
    assert differences(our_tree(image), wanted) == []
    with opened(image) as here:  # and go on with it
        for number, path in enumerate(sorted(wanted)):
            if wanted[path][0] is not None and number % 3 == 0:
                here.write(b"/" + path.encode(), 100, b"changed" * 100)
    # Not dissect.fat: mtools keep short names in lower case by the flags of Windows NT, which it does not know.
    compare(image, tmp_path, ["mtools", "7zip", "sleuthkit"])


def test_we_read_what_pyfatfs_writes(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    host_program("mkfs.fat")
    pyfatfs = pytest.importorskip("pyfatfs.PyFatFS")
    image = tmp_path / "image"
    made_by_us(image, VOLUMES["fat16"], "fat16")
    theirs = pyfatfs.PyFatFS(str(image), encoding="cp437", utc=True)
    theirs.makedirs("/some/folder")
    for number in range(40):
        theirs.writebytes(f"/some/folder/Long name {number}.txt", b"%d" % number * 900)
    theirs.remove("/some/folder/Long name 7.txt")
    theirs.close()
    tree = {path: contents for path, (contents, _) in our_tree(image).items() if contents is not None}
    assert tree == {f"some/folder/Long name {number}.txt": b"%d" % number * 900 for number in range(40) if number != 7}
