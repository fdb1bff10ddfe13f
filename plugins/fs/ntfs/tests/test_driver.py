"""What a mounted volume has to do beyond POSIX: what others left on it, and what NTFS keeps its own way."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from jefeos.block.cache import BufferCache
from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.suites import errno_of
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume, make_volume
from jefeos.vfs.flags import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    O_RDWR,
    S_IFCHR,
    S_IFMT,
    S_IFREG,
    MountFlags,
    make_device,
)
from jefeos_fs_ntfs.boot import parse_geometry
from jefeos_fs_ntfs.compression import decompress
from jefeos_fs_ntfs.format import NtfsFormat
from jefeos_fs_ntfs.journal import Journal
from jefeos_fs_ntfs.layout import (
    NO_LOG_CLIENT,
    RESTART_VOLUME_IS_CLEAN,
    RSTR_MAGIC,
    AttributeType,
    RestartArea,
    RestartPage,
)
from jefeos_fs_ntfs.record import protect

sys.path.insert(0, str(Path(__file__).parent))

from ntfs_images import fsck, ours

FORMAT = NtfsFormat()
MIB = 1 << 20
ImageMaker = Callable[..., Path]
Mount = Callable[..., AbstractContextManager[Path]]
Tool = Callable[..., str]


def volume() -> BufferCache:
    return image_volume(make_volume(FORMAT, 16 * MIB))


def require_clean(cache: BufferCache) -> None:
    assert FORMAT.check(cache, repair=False, clock=TestClock()).problems == ()


# -- refusing to write --


def restart_page(*, clean: bool) -> bytes:
    """As Windows leaves one at the head of $LogFile."""
    page = bytearray(4096)
    page[: RestartPage.size] = RestartPage(
        magic=RSTR_MAGIC, usa_ofs=0x1E, usa_count=9, system_page_size=4096, log_page_size=4096,
        restart_area_offset=0x30, major_ver=1, minor_ver=1,
    ).pack()
    area = RestartArea(current_lsn=77, log_clients=1, client_free_list=NO_LOG_CLIENT,
                       flags=RESTART_VOLUME_IS_CLEAN if clean else 0)
    page[0x30 : 0x30 + RestartArea.size] = area.pack()
    protect(page, 5)
    return bytes(page)


@pytest.mark.parametrize(("head", "reason"), [
    (restart_page(clean=False), "Windows has not finished"),
    (restart_page(clean=True), ""),
    (bytes(4096), "neither a finished log nor an empty one"),
    (b"\xff" * 4096, ""),
])
def test_a_log_that_is_not_finished_is_not_written_to(head: bytes, reason: str) -> None:
    cache = volume()
    journal = Journal(cache, parse_geometry(cache.read(0, 512), cache.size_bytes))
    cache.write(journal.pieces[0][0], head)
    cache.flush()
    with mounted(FORMAT, cache) as here:
        assert reason in here.filesystem.read_only_reason
        assert here.filesystem.read_only is bool(reason)
        assert errno_of(lambda: here.put(b"/f", b"x")) == (Errno.EROFS if reason else None)
    log = b"".join(cache.read(place, length) for place, length in journal.pieces)
    assert log[:4096] == head if reason else set(log) == {0xFF}


def test_a_hibernated_windows_is_not_written_to() -> None:
    cache = volume()
    with mounted(FORMAT, cache) as here:
        here.put(b"/hiberfil.sys", b"hibr" + bytes(8000))
    with mounted(FORMAT, cache) as here:
        assert "hibernated" in here.filesystem.read_only_reason
        assert errno_of(lambda: here.put(b"/f", b"x")) == Errno.EROFS
        assert here.get(b"/hiberfil.sys")[:4] == b"hibr"


def test_remounting_for_writing() -> None:
    """What was opened read-only becomes writable if it would have been at once, and says why if not."""
    cache = volume()
    with mounted(FORMAT, cache, writable=False) as here:
        assert errno_of(lambda: here.put(b"/f", b"x")) == Errno.EROFS
        here.vfs.remount(here.vfs.root, 0, mount_only=True)
        assert errno_of(lambda: here.put(b"/f", b"x")) == Errno.EROFS
        here.vfs.remount(here.vfs.root, 0)
        here.put(b"/f", b"x")
        here.vfs.remount(here.vfs.root, int(MountFlags.RDONLY))
        assert errno_of(lambda: here.put(b"/f", b"y")) == Errno.EROFS
        here.vfs.remount(here.vfs.root, 0)
        here.put(b"/f", b"z")
        here.vfs.sync()
        cut_off = image_volume_of(cache)
    assert FORMAT.describe(cache)["state"] == "clean"
    with mounted(FORMAT, cut_off, writable=False) as here:  # in memory it is as it will be, on the medium it is not
        assert refusal_to_write(here) == (Errno.EROFS, "a loss of power left changes unfinished: unmount the volume "
                                                       "and mount it for writing")
        assert here.get(b"/f") == b"z"
    journal = Journal(cache, parse_geometry(cache.read(0, 512), cache.size_bytes))
    cache.write(journal.pieces[0][0], restart_page(clean=False))
    with mounted(FORMAT, cache, writable=False) as here:
        errno, reason = refusal_to_write(here)
        assert errno == Errno.EROFS and "Windows has not finished" in reason
        cache.device.read_only = True
        assert refusal_to_write(here)[0] == Errno.EACCES
        assert errno_of(lambda: here.put(b"/f", b"x")) == Errno.EROFS


def refusal_to_write(here: Mounted) -> tuple[int, str]:
    with pytest.raises(KernelError) as caught:
        here.vfs.remount(here.vfs.root, 0)
    return caught.value.errno, str(caught.value).partition(": ")[2]


def test_an_unmounted_volume_has_no_mark_and_an_empty_log() -> None:
    cache = volume()
    with mounted(FORMAT, cache) as here:
        here.put(b"/f", b"x")
        here.vfs.sync()
        assert FORMAT.describe(image_volume_of(cache))["state"] == "clean"  # seen as it will be after recovery
    assert FORMAT.describe(cache)["state"] == "clean"
    journal = Journal(cache, parse_geometry(cache.read(0, 512), cache.size_bytes))
    assert journal.state().empty


def image_volume_of(cache: BufferCache) -> BufferCache:
    """What is on the medium of a volume, copied."""
    return image_volume(MemoryImage(cache.device.read(0, cache.device.sector_count)))


def test_other_systems_leave_an_interrupted_mount_alone(tool: Tool, tmp_path: Path) -> None:
    cache = volume()
    with mounted(FORMAT, cache) as here:
        here.put(b"/f", b"x" * 5000)
        here.vfs.sync()
        image = tmp_path / "interrupted.img"
        image.write_bytes(bytes(cache.device.read(0, cache.device.sector_count)))
    assert "couldn't mount volume" in tool("ntfscp", image, image, "x", check=False)
    with ours(image) as here:
        assert (here.get(b"/f"), here.filesystem.read_only) == (b"x" * 5000, False)
    assert fsck(image) == []
    assert "processed successfully" in tool("ntfsfix", "-n", image)


# -- attributes in many records --


@pytest.mark.parametrize("cluster_bytes", [512, 4096])
def test_a_file_in_thousands_of_pieces(make_image: ImageMaker, tool: Tool, cluster_bytes: int) -> None:
    """Its runs need an attribute list, which itself leaves the record; then they come together again."""
    image = make_image(32 * MIB, cluster_bytes=cluster_bytes)
    dice = random.Random(7)
    with ours(image) as here:
        data = bytearray(dice.randbytes(3000 * cluster_bytes))
        here.put(b"/pieces", data)
        inode = here.vfs.resolve(here.actor, b"/pieces").inode
        for index in dice.sample(range(1500), 1400):
            inode.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * index * cluster_bytes, cluster_bytes)
            data[2 * index * cluster_bytes : (2 * index + 1) * cluster_bytes] = bytes(cluster_bytes)
        entry = inode.entry
        assert entry.listed
        assert len(entry.extents(AttributeType.DATA)) > 4
        assert len(entry.stream(AttributeType.DATA).runs) > 2500
        assert here.get(b"/pieces") == data
    assert fsck(image) == []
    assert tool("ntfsinfo", "-m", image)
    assert subprocess.run([shutil.which("ntfscat") or "ntfscat", image, "pieces"], capture_output=True,
                          check=True).stdout == data
    with ours(image) as here:
        assert here.get(b"/pieces") == data
        here.vfs.truncate(here.actor, b"/pieces", 5 * cluster_bytes)
        assert here.get(b"/pieces") == data[: 5 * cluster_bytes]
        assert not here.vfs.resolve(here.actor, b"/pieces").inode.entry.listed
    assert fsck(image) == []


def test_a_file_of_many_names_overflows_its_record() -> None:
    cache = volume()
    names = [b"/%03d %s" % (number, b"n" * 200) for number in range(100)]
    with mounted(FORMAT, cache) as here:
        here.put(b"/first", b"contents")
        for name in names:
            here.vfs.link(here.actor, b"/first", name)
        here.vfs.unlink(here.actor, b"/first")
        assert here.vfs.stat(here.actor, names[5]).nlink == 100
    require_clean(cache)
    with mounted(FORMAT, cache) as here:
        assert here.get(names[77]) == b"contents"
        for name in names[1:]:
            here.vfs.unlink(here.actor, name)
        entry = here.vfs.resolve(here.actor, names[0]).inode.entry
        assert not entry.others
    require_clean(cache)


# -- what others wrote --


def test_compressed_files_are_read_and_expanded_by_writing(
    make_foreign: ImageMaker, tool: Tool, ntfs_3g: Mount, host_program: Callable[[str], str]
) -> None:
    image = make_foreign(64 * MIB)
    dice = random.Random(3)
    text = b"".join(b"line %d of a text that repeats itself\n" % dice.randrange(50) for _ in range(20_000))
    files = {"text": text, "noise": dice.randbytes(200_000), "holes": text[:70_000] + bytes(400_000) + text[:100],
             "mixed": text[:100_000] + dice.randbytes(100_000) + text, "short": text[:5000]}
    with ntfs_3g(image, "compression") as folder:
        (folder / "packed").mkdir()
        os.setxattr(folder / "packed", "system.ntfs_attrib_be", (0x810).to_bytes(4, "big"))
        for name, data in files.items():
            (folder / "packed" / name).write_bytes(data)
    tool("ntfsfix", "-n", image)
    with ours(image) as here:
        inode = here.vfs.resolve(here.actor, b"/packed/text").inode
        assert inode.data.unit_clusters == 16
        assert inode.blocks * 512 < len(text) // 2
        for name, data in files.items():
            assert here.get(b"/packed/" + name.encode()) == data, name
        here.write(b"/packed/text", 1000, b"HERE")
        files["text"] = text[:1000] + b"HERE" + text[1004:]
        here.vfs.truncate(here.actor, b"/packed/mixed", 150_000)
        files["mixed"] = files["mixed"][:150_000]
        here.vfs.truncate(here.actor, b"/packed/short", 0)
        files["short"] = b""
    assert fsck(image) == []
    with ours(image, writable=False) as here:
        for name, data in files.items():
            assert here.get(b"/packed/" + name.encode()) == data, name
    for name in ("text", "mixed", "holes"):
        done = subprocess.run([host_program("ntfscat"), image, f"packed/{name}"], capture_output=True, check=True)
        assert done.stdout == files[name], name


@pytest.mark.peer
def test_short_names_go_with_their_long_ones(make_foreign: ImageMaker, ntfs_3g: Mount) -> None:
    image = make_foreign(16 * MIB)
    names = [f"a long name {number}.text" for number in range(6)]
    with ntfs_3g(image) as folder:
        for number, name in enumerate(names):
            (folder / name).write_bytes(name.encode())
            os.setxattr(folder / name, "system.ntfs_dos_name", b"ALONGN~%d.TEX" % number)
    with ours(image) as here:
        assert {entry.name.decode() for entry in here.list(b"/")} == set(names)
        assert here.vfs.stat(here.actor, names[0].encode()).nlink == 1
        assert here.get(b"/ALONGN~3.TEX") == names[3].encode()
        here.vfs.unlink(here.actor, b"/" + names[0].encode())
        here.vfs.unlink(here.actor, b"/ALONGN~1.TEX")
        here.vfs.rename(here.actor, b"/" + names[2].encode(), b"/renamed")
        here.put(b"/other", b"")
        here.vfs.rename(here.actor, b"/other", b"/" + names[3].encode())
    assert fsck(image) == []
    with ntfs_3g(image) as folder:
        assert set(os.listdir(folder)) == {"renamed", *names[3:]}
        assert (folder / "renamed").read_bytes() == names[2].encode()
        assert (folder / names[3]).read_bytes() == b""


@pytest.mark.peer
def test_streams_and_links_both_ways(make_foreign: ImageMaker, ntfs_3g: Mount) -> None:
    image = make_foreign(16 * MIB)
    large = random.Random(1).randbytes(30_000)
    with ntfs_3g(image) as folder:
        (folder / "theirs").write_bytes(b"main")
        os.setxattr(folder / "theirs", "user.small", b"value")
        os.setxattr(folder / "theirs", "user.large", large)
        (folder / "their link").symlink_to("theirs")
    with ours(image) as here:
        theirs = here.vfs.resolve(here.actor, b"/theirs").inode
        assert theirs.list_xattrs() == [b"user.large", b"user.small"]
        assert (theirs.get_xattr(b"user.small"), theirs.get_xattr(b"user.large")) == (b"value", large)
        assert here.get(b"/theirs:large") == large
        here.write(b"/theirs:small", 5, b" and more")
        assert errno_of(lambda: here.get(b"/theirs:none")) == Errno.ENOENT
        assert here.get(b"/their link") == b"theirs"
        here.put(b"/ours", b"main")
        here.put(b"/with:colon", b"an ordinary name")
        ours_inode = here.vfs.resolve(here.actor, b"/ours").inode
        ours_inode.set_xattr(b"user.ours", large, 0)
        theirs.remove_xattr(b"user.large")
        here.vfs.symlink(here.actor, b"theirs", b"/our link")
    assert fsck(image) == []
    with ntfs_3g(image) as folder:
        assert os.getxattr(folder / "theirs", "user.small") == b"value and more"
        assert "user.large" not in os.listxattr(folder / "theirs")
        assert os.getxattr(folder / "ours", "user.ours") == large
        assert (folder / "our link").readlink() == Path("theirs")
        assert (folder / "with:colon").read_bytes() == b"an ordinary name"


# -- what Linux knows and NTFS does not --


def test_modes_owners_and_devices_stay() -> None:
    cache = volume()
    device = make_device(4, 65)
    with mounted(FORMAT, cache) as here:
        here.put(b"/file", b"x")
        here.vfs.chmod(here.actor, b"/file", 0o4711)
        here.vfs.chown(here.actor, b"/file", 1000, 2000)
        here.vfs.chmod(here.actor, b"/file", 0o4711)
        here.vfs.mknod(here.actor, b"/device", S_IFCHR | 0o620, device)
        inode = here.vfs.resolve(here.actor, b"/file").inode
        inode.set_xattr(b"security.capability", b"\1\2\3", 0)
        inode.set_xattr(b"trusted.note", b"n" * 900, 0)
    require_clean(cache)
    with mounted(FORMAT, cache) as here:
        found = here.vfs.stat(here.actor, b"/file")
        assert (found.mode, found.uid, found.gid) == (S_IFREG | 0o4711, 1000, 2000)
        assert here.vfs.stat(here.actor, b"/device").rdev == device
        inode = here.vfs.resolve(here.actor, b"/file").inode
        assert inode.list_xattrs() == [b"security.capability", b"trusted.note"]
        assert inode.get_xattr(b"trusted.note") == b"n" * 900
        inode.remove_xattr(b"trusted.note")
        assert here.vfs.stat(here.actor, b"/file").uid == 1000
        assert inode.get_xattr(b"system.ntfs_acl")[:2] == b"\1\0"
    require_clean(cache)


# -- clusters --


def test_a_file_that_grows_beside_another_stays_in_few_runs() -> None:
    cache = volume()
    with mounted(FORMAT, cache) as here:
        one = here.vfs.open_file(here.actor, b"/one", O_RDWR | 0o100, 0o644)
        other = here.vfs.open_file(here.actor, b"/other", O_RDWR | 0o100, 0o644)
        for number in range(200):
            one.pwrite(b"1" * 4096, number * 4096)
            other.pwrite(b"2" * 4096, number * 4096)
        here.vfs.sync()
        runs = [len(file.inode.data.runs) for file in (one, other)]
        spare = [file.inode.data.clusters for file in (one, other)]
        one.unref()
        other.unref()
    assert max(runs) <= 12, runs
    assert spare == [200, 200]  # what was taken ahead went back
    require_clean(cache)


def test_noise_is_no_lznt1() -> None:
    for seed in range(300):
        dice = random.Random(seed)
        try:
            unpacked = decompress(dice.randbytes(dice.randrange(300)), 65536)
        except CorruptError:
            continue
        assert len(unpacked) == 65536


def test_kinds_in_a_listing_are_those_of_the_files() -> None:
    cache = volume()
    with mounted(FORMAT, cache) as here:
        here.vfs.symlink(here.actor, b"target", b"/link")
        here.vfs.mkdir(here.actor, b"/dir", 0o755)
        here.put(b"/file", b"")
    with mounted(FORMAT, cache) as here:
        for entry in here.list(b"/"):
            found = here.vfs.stat(here.actor, b"/" + entry.name, follow=False)
            assert entry.kind == found.mode & S_IFMT
