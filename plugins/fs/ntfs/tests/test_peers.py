"""Both directions with the NTFS of others: what we write they read, and what they write we read.

Volumes by mkntfs and by our own mkfs, with small and large clusters. A random workload is done to the volume by one
side; then the other side, and 7-Zip, Sleuth Kit and dissect, have to see the same names, contents and times, and
ntfsfix and our fsck nothing wrong. The short version runs always, the one with 20,000 files with ``--long``.
"""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from jefeos.testing.mounted import Mounted
from jefeos.testing.operations import Abilities, Held, Model, everyday, perform
from jefeos.vfs.flags import S_IFDIR, S_IFLNK, S_IFREG
from jefeos_fs_ntfs.layout import AttributeType

sys.path.insert(0, str(Path(__file__).parent))

from ntfs_images import fsck, ours

MIB = 1 << 20
CLUSTERS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
SHORT = [("make_image", 4096), ("make_foreign", 512), ("make_foreign", 65536)]
SAMPLE = 10
MOST_BY_PATH = 300
DEEPEST = 100
"""A path of the host has at most 4,096 bytes."""
ImageMaker = Callable[..., Path]
Mount = Callable[[Path], AbstractContextManager[Path]]
Tool = Callable[..., str]
Tree = dict[bytes, tuple[int, bytes]]

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]


def tree_in(folder: Path) -> Tree:
    """What the host sees below a folder."""
    found: Tree = {}
    top = os.fsencode(folder)
    for path, folders, files in os.walk(top):
        for name in [*folders, *files]:
            whole = path + b"/" + name
            kind = stat.S_IFMT(os.lstat(whole).st_mode)
            contents = b""
            if kind == S_IFLNK:
                contents = os.readlink(whole)
            elif kind == S_IFREG:
                with open(whole, "rb") as file:
                    contents = file.read()
            found[whole[len(top) :]] = kind, contents
    return found


def times_in(folder: Path, paths: list[bytes]) -> dict[bytes, int]:
    return {path: os.lstat(os.fsencode(folder) + path).st_mtime_ns for path in paths}


def our_times(here: Mounted, paths: list[bytes]) -> dict[bytes, int]:
    return {path: here.vfs.stat(here.actor, path, follow=False).mtime_ns for path in paths}


def sparse_files(image: Path) -> set[bytes]:
    with ours(image, writable=False) as here:
        stats = {path: here.vfs.stat(here.actor, path, follow=False) for path in here.tree()}
    return {path for path, one in stats.items() if one.blocks * 512 < one.size and one.mode & 0o170000 == S_IFREG}


def without_links(tree: Tree) -> Tree:
    return {path: found for path, found in tree.items() if found[0] != S_IFLNK}


def check_with_others(image: Path, tree: Tree, tool: Tool, folder: Path) -> None:
    """7-Zip, Sleuth Kit, dissect and ntfsfix on an image that nobody has mounted."""
    assert "processed successfully" in tool("ntfsfix", "-n", image)
    assert fsck(image) == []
    plain = without_links(tree)
    # 7-Zip unpacks everything but holes of less than sixteen clusters, which Windows never makes and ntfs-3g does, too.
    unpacked = folder / "unpacked"
    sparse = sparse_files(image)
    tool("7z", "x", "-y", f"-o{unpacked}", image, check=not sparse)
    theirs = tree_in(unpacked)
    for path in set(plain) - sparse:
        assert theirs[path] == plain[path], path
    subprocess.run(["rm", "-rf", unpacked], check=True)
    # Sleuth Kit lists names with the number of the record and the attribute.
    listed = {}
    for line in tool("fls", "-r", "-p", image).splitlines():
        kind, _, rest = line.partition(" ")
        number, _, name = rest.partition(":\t")
        # "-/r": it knows the file and not the entry, in index blocks smaller than a cluster (also those of ntfs-3g).
        if kind.split("/")[1][:1] in ("r", "d") and "*" not in number and ":" not in name:
            listed[b"/" + name.encode()] = number
    assert set(plain) <= set(listed)
    files = sorted(path for path, (kind, _) in plain.items() if kind == S_IFREG)
    for path in random.Random(1).sample(files, min(SAMPLE, len(files))):
        data = subprocess.run(["icat", image, listed[path]], capture_output=True, check=True).stdout
        assert data == plain[path][1], path
    # dissect reads each file, some by path, which is slow; what was never initialised it takes from the medium.
    ntfs = pytest.importorskip("dissect.ntfs")
    with image.open("rb") as file:
        volume = ntfs.NTFS(file)
        for path in files:
            by_path = len(files) < MOST_BY_PATH or random.Random(path).random() < MOST_BY_PATH / len(files)
            record = volume.mft.get(path[1:].decode() if by_path else int(listed[path].split("-")[0]))
            valid = len(plain[path][1])
            for attribute in record.attributes[AttributeType.DATA]:
                if not attribute.resident and not attribute.name:
                    valid = attribute.header.header.Form.Nonresident.ValidDataLength
                    break
            data = record.open().read()
            assert len(data) == len(plain[path][1])
            assert data[:valid] == plain[path][1][:valid], path


def work(here: Mounted, model: Model, seed: int, count: int) -> None:
    held = Held()
    for operation in everyday(model, random.Random(seed), count, Abilities()):
        perform(operation, here, held)
        model.apply(operation)
    held.close()


@pytest.mark.parametrize(("maker", "cluster_bytes"), SHORT)
def test_what_we_write_others_read(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount, tool: Tool, tmp_path: Path
) -> None:
    image: Path = request.getfixturevalue(maker)(48 * MIB, cluster_bytes)
    model = Model()
    with ours(image) as here:
        work(here, model, cluster_bytes, 150)
        tree = here.tree()
        assert tree == model.tree()
        times = our_times(here, sorted(tree))
    check_with_others(image, tree, tool, tmp_path)
    with ntfs_3g(image) as folder:
        assert without_links(tree_in(folder)) == without_links(tree)
        plain = sorted(without_links(tree))
        assert times_in(folder, plain) == {path: times[path] for path in plain}


def their_work(folder: Path, seed: int, count: int) -> None:
    """A workload through the host's system calls."""
    dice = random.Random(seed)
    files: list[Path] = []
    folders = [folder]
    for number in range(count):
        kind = dice.random()
        if kind < 0.1:
            above = dice.choice(folders[-8:])
            folders.append((above if len(above.parts) < DEEPEST else folder) / f"Ordner {number} äöü")
            folders[-1].mkdir()
        elif kind < 0.6 or not files:
            files.append(dice.choice(folders) / f"{'x' * dice.randrange(80)} file {number} ☃😀")
            files[-1].write_bytes(dice.randbytes(int(1.3 ** dice.randrange(46))))
        elif kind < 0.72:
            with dice.choice(files).open("ab") as file:
                file.write(dice.randbytes(dice.randrange(30000)))
        elif kind < 0.78:
            os.truncate(dice.choice(files), dice.randrange(50000))
        elif kind < 0.86:
            index = dice.randrange(len(files))
            files[index] = files[index].rename(dice.choice(folders) / f"Renamed {number}")
        elif kind < 0.9:
            files.append(dice.choice(folders) / f"link {number}")
            files[-1].hardlink_to(dice.choice(files[:-1]))
        elif kind < 0.92:
            with (folder / f"sparse {number}").open("wb") as file:
                file.seek(dice.randrange(MIB))
                file.write(b"end")
        else:
            files.pop(dice.randrange(len(files))).unlink()


@pytest.mark.parametrize(("maker", "cluster_bytes"), SHORT)
def test_what_others_write_we_read_and_go_on_with(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount, tool: Tool, tmp_path: Path
) -> None:
    image: Path = request.getfixturevalue(maker)(64 * MIB, cluster_bytes)
    with ntfs_3g(image) as folder:
        their_work(folder, cluster_bytes, 150)
        tree = tree_in(folder)
        times = times_in(folder, sorted(tree))
    assert fsck(image) == []
    with ours(image, writable=False) as here:
        assert here.tree() == tree
        assert our_times(here, sorted(tree)) == times
    dice = random.Random(7)
    files = sorted(path for path, (kind, _) in tree.items() if kind == S_IFREG)
    with ours(image) as here:
        for path in dice.sample(files, len(files) // 3):
            here.vfs.unlink(here.actor, path)
        for path in dice.sample([path for path in files if path in here.tree()], len(files) // 3):
            here.write(path, len(here.get(path)), b"from JefeOS" * dice.randrange(1, 500))
        here.put(b"/new", b"new")
        tree = here.tree()
    check_with_others(image, tree, tool, tmp_path)
    with ntfs_3g(image) as folder:
        assert tree_in(folder) == tree


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster_bytes", CLUSTERS)
@pytest.mark.parametrize("maker", ["make_image", "make_foreign"])
def test_twenty_thousand_files(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount, tool: Tool, tmp_path: Path
) -> None:
    """Deep and flat folders, renamed, deleted, grown and cut at random."""
    image: Path = request.getfixturevalue(maker)(900 * MIB if cluster_bytes > 16384 else 300 * MIB, cluster_bytes)
    dice = random.Random(cluster_bytes)
    tree: Tree = {}

    def put(here: Mounted, path: bytes, data: bytes) -> None:
        here.put(path, data)
        tree[path] = S_IFREG, data

    with ours(image) as here:
        folders = [b""]
        for depth in range(60):
            folders.append(folders[-1] + b"/deep %d" % depth)
        folders += [b"/flat", *[b"/many %d" % number for number in range(30)]]
        for path in folders[1:]:
            here.vfs.mkdir(here.actor, path, 0o755)
            tree[path] = S_IFDIR, b""
        for number in range(20_000):
            place = b"/flat" if number % 2 else dice.choice(folders)
            name = b"/%s %d" % (b"name" * dice.randrange(1, 12), number)
            put(here, place + name, dice.randbytes(dice.randrange(1500)))
        files = [path for path, (kind, _) in tree.items() if kind == S_IFREG]
        dice.shuffle(files)
        for path in files[:5000]:
            here.vfs.unlink(here.actor, path)
            del tree[path]
        for path in files[5000:8000]:
            other = dice.choice(folders) + b"/moved " + path.rsplit(b"/", 1)[1]
            here.vfs.rename(here.actor, path, other)
            tree[other] = tree.pop(path)
        for path in files[8000:10_000]:
            data = tree[path][1] + dice.randbytes(dice.randrange(9000))
            here.write(path, len(tree[path][1]), data[len(tree[path][1]) :])
            tree[path] = S_IFREG, data
        for path in files[10_000:12_000]:
            size = dice.randrange(len(tree[path][1]) + 1)
            here.vfs.truncate(here.actor, path, size)
            tree[path] = S_IFREG, tree[path][1][:size]
    check_with_others(image, tree, tool, tmp_path)
    with ntfs_3g(image) as folder:
        assert tree_in(folder) == tree
    with ours(image, writable=False) as here:
        assert here.tree() == tree


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster_bytes", CLUSTERS)
@pytest.mark.parametrize("maker", ["make_image", "make_foreign"])
def test_twenty_thousand_files_of_ntfs_3g(
    request: pytest.FixtureRequest, maker: str, cluster_bytes: int, ntfs_3g: Mount
) -> None:
    """The other way: they write, we read, to the byte, name and time."""
    image: Path = request.getfixturevalue(maker)(1800 * MIB, cluster_bytes)
    with ntfs_3g(image) as folder:
        their_work(folder, cluster_bytes, 20_000)
        tree = tree_in(folder)
        times = times_in(folder, sorted(tree))
    assert fsck(image) == []
    with ours(image, writable=False) as here:
        assert here.tree() == tree
        assert our_times(here, sorted(tree)) == times
