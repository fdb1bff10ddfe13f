"""What the conformance suite cannot know of FAT: its limits, its memory, the order of its free space."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from jefeos.block.cache import BufferCache
from jefeos.block.volume import FormatOptions
from jefeos.errors import Errno, KernelError
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.volumes import TestClock, image_file, make_image_file, memory_volume, new_page_cache
from jefeos.vfs.flags import RENAME_EXCHANGE
from jefeos_fs_fat32.file import FatFile
from jefeos_fs_fat32.filesystem import FatFilesystem
from jefeos_fs_fat32.format import FatFormat
from jefeos_fs_fat32.layout import MOST_FILE_BYTES, SLOT_BYTES


def new_volume(size: int, variant: str | None = None, cluster_bytes: int | None = None) -> BufferCache:
    volume = memory_volume(size)
    FatFormat().make(volume, FormatOptions(variant=variant, cluster_bytes=cluster_bytes), TestClock())
    return volume


def fat_of(here: Mounted) -> FatFilesystem:
    assert isinstance(here.filesystem, FatFilesystem)
    return here.filesystem


def errno_of(call: object) -> int | None:
    try:
        call()  # type: ignore[operator]
    except KernelError as error:
        return error.errno
    return None


def test_a_fixed_root_is_full_at_its_end() -> None:
    volume = new_volume(20 << 20, "fat16")
    with mounted(FatFormat(), volume) as here:
        for number in range(512):
            here.put(b"/F%d" % number, b"")
        assert errno_of(lambda: here.put(b"/MORE", b"")) == Errno.ENOSPC
        here.vfs.unlink(here.actor, b"/F100")
        here.put(b"/LAST", b"")
        assert len(here.list(b"/")) == 512
    assert FatFormat().check(volume, repair=False, clock=TestClock()).problems == ()


def test_a_directory_ends_at_65536_slots() -> None:
    volume = new_volume(40 << 20, "fat32", 32768)
    with mounted(FatFormat(), volume) as here:
        here.vfs.mkdir(here.actor, b"/D", 0o755)
        directory = here.vfs.resolve(here.actor, b"/D").inode
        name = "x" * 255  # 20 long slots and the short one
        count = 0
        while errno_of(lambda: directory.create(f"{count:04}{name[4:]}".encode(), 0o100644, 0, 0)) is None:  # noqa: B023
            count += 1
        assert count == (65536 - 2) // 21
        directory.refresh()
        assert directory.size == 65536 * SLOT_BYTES
    report = FatFormat().check(volume, repair=False, clock=TestClock())
    assert (report.problems, report.files) == ((), count)


def test_a_file_ends_below_four_gibibytes(tmp_path: Path) -> None:
    make_image_file(FatFormat(), tmp_path / "image", 5 << 30)
    with image_file(tmp_path / "image") as volume, mounted(FatFormat(), volume) as here:
        here.put(b"/f", b"x")
        assert errno_of(lambda: here.vfs.truncate(here.actor, b"/f", MOST_FILE_BYTES + 1)) == Errno.EFBIG
        assert errno_of(lambda: here.write(b"/f", MOST_FILE_BYTES, b"x")) == Errno.EFBIG
        assert here.get(b"/f") == b"x"


def test_a_large_volume_is_mounted_without_reading_its_fat(tmp_path: Path) -> None:
    make_image_file(FatFormat(), tmp_path / "image", 300 << 30)
    with image_file(tmp_path / "image") as volume, mounted(FatFormat(), volume) as here:
        here.put(b"/f", b"x" * 100_000)
        numbers = here.filesystem.statfs()
        assert numbers.blocks - numbers.blocks_free == 5  # the root and four of 32 KiB
        assert volume.cached_bytes < 4 << 20


def test_files_are_written_in_one_run_where_there_is_one() -> None:
    volume = new_volume(20 << 20, "fat16")
    with mounted(FatFormat(), volume) as here:
        for number in range(40):
            here.put(b"/F%d" % number, b"x" * 5000)
        for number in range(0, 40, 2):
            here.vfs.unlink(here.actor, b"/F%d" % number)
        here.vfs.sync()
        here.put(b"/BIG", b"y" * 3_000_000)
        inode = here.vfs.resolve(here.actor, b"/BIG").inode
        assert isinstance(inode, FatFile)
        assert len(inode.runs) == 1


def test_the_space_of_removed_files_is_used_again_within_one_batch() -> None:
    volume = new_volume(4 << 20, "fat12")
    with mounted(FatFormat(), volume) as here:
        for round_ in range(5):  # each fills most of the volume, and nothing is synced in between
            here.put(b"/F", bytes([round_]) * 3_500_000)
            here.vfs.unlink(here.actor, b"/F")
        here.put(b"/LAST", b"z" * 3_500_000)
        assert here.get(b"/LAST") == b"z" * 3_500_000
    assert FatFormat().check(volume, repair=False, clock=TestClock()).problems == ()


def test_pages_of_files_that_nobody_uses_are_given_back() -> None:
    volume = new_volume(20 << 20, "fat16")
    cache = new_page_cache()
    with mounted(FatFormat(), volume, page_cache=cache) as here:
        filesystem = fat_of(here)
        filesystem.most_idle = 50
        here.vfs.mkdir(here.actor, b"/D", 0o755)
        for number in range(200):
            here.put(b"/D/F%d" % number, b"%d" % number)
        here.vfs.sync()
        for _ in range(2):
            for number in range(200):
                assert here.get(b"/D/F%d" % number) == b"%d" % number
            assert len(filesystem.mapped) <= 50
            assert len(cache.mappings()) <= 50
        here.vfs.resolve(here.actor, b"/D").dentry.children.clear()
        gc.collect()
        alive = sum(isinstance(thing, FatFile) and thing.fs is filesystem for thing in gc.get_objects())
        assert alive <= 50
    assert not cache.mappings()


@pytest.mark.parametrize("garbage", [b"\xe5", b"A"])
def test_what_lies_behind_the_end_of_a_directory_stays_dead(garbage: bytes) -> None:
    volume = new_volume(20 << 20, "fat16")
    with mounted(FatFormat(), volume) as here:
        here.put(b"/ONE", b"1")
        offset = fat_of(here).geometry.root_offset
    slot = volume.read(offset, SLOT_BYTES)
    for number in (3, 20, 300):
        volume.write(offset + number * SLOT_BYTES, garbage + slot[1:])
    volume.flush()
    with mounted(FatFormat(), volume) as here:
        assert [entry.name for entry in here.list(b"/")] == [b"ONE"]
        for number in range(30):
            here.put(b"/NEW%d" % number, b"")
        assert len(here.list(b"/")) == 31
    with mounted(FatFormat(), volume) as here:
        assert len(here.list(b"/")) == 31


def test_chmod_changes_the_read_only_attribute_alone() -> None:
    volume = new_volume(4 << 20)
    with mounted(FatFormat(), volume) as here:
        here.put(b"/F", b"x")
        modes = []
        for mode in (0o644, 0o555, 0o700, 0o777, 0o444, 0o555):
            here.vfs.chmod(here.actor, b"/F", mode)
            modes.append(here.vfs.stat(here.actor, b"/F").mode & 0o777)
        assert modes == [0o755, 0o555, 0o555, 0o755, 0o755, 0o555]
        assert errno_of(lambda: here.vfs.chown(here.actor, b"/F", 5, 5)) == Errno.EPERM
    with mounted(FatFormat(), volume) as here:
        assert here.vfs.stat(here.actor, b"/F").mode & 0o777 == 0o555


def test_what_fat_cannot_do_says_so() -> None:
    volume = new_volume(4 << 20)
    with mounted(FatFormat(), volume) as here:
        here.put(b"/F", b"x")
        here.put(b"/G", b"y")
        vfs, actor = here.vfs, here.actor
        assert errno_of(lambda: vfs.symlink(actor, b"F", b"/L")) == Errno.EPERM
        assert errno_of(lambda: vfs.link(actor, b"/F", b"/L")) == Errno.EPERM
        assert errno_of(lambda: vfs.mknod(actor, b"/L", 0o010644)) == Errno.EPERM
        assert errno_of(lambda: vfs.rename(actor, b"/F", b"/G", RENAME_EXCHANGE)) == Errno.EINVAL
        inode = vfs.resolve(actor, b"/F").inode
        assert errno_of(lambda: inode.set_xattr(b"user.x", b"", 0)) == Errno.EOPNOTSUPP
        inode.allocate(0, 0, 3000)
        assert here.get(b"/F") == b"x" + bytes(2999)
