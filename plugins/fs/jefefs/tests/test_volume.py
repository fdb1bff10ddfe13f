"""Volumes as a whole: making, describing, refusing, sizes of blocks, huge ones; fsck sees what is wrong; its repair."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from jefeos.block.cache import BufferCache
from jefeos.block.image import ImageDevice, create_image
from jefeos.block.image import open_image as open_file
from jefeos.block.volume import FormatOptions
from jefeos.errors import CorruptError, Errno, KernelError, UsageError
from jefeos.testing.crash import CrashFailure, Promise, check_crashes, record
from jefeos.testing.mounted import Mounted
from jefeos.testing.operations import Abilities
from jefeos.testing.suites import errno_of
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume, memory_volume, new_page_cache
from jefeos_fs_jefefs.directory import orphan_key
from jefeos_fs_jefefs.filesystem import JefeFilesystem
from jefeos_fs_jefefs.layout import BLOCK_BYTES_ALLOWED, EXTENT, INLINE, INODE, INODE_VALUE, item_key
from jefeos_fs_jefefs.space import Space

from .test_fuzz import something_of_everything
from .tools import FORMAT, mount, new_image, open_image, require_clean, volume_of


def test_what_is_told_of_a_volume() -> None:
    volume = memory_volume(8 << 20)
    FORMAT.make(volume, FormatOptions(label="büro", entropy=random.Random(1).randbytes), TestClock())
    told = FORMAT.describe(volume)
    assert (told["label"], told["cluster_bytes"], told["size_bytes"], told["inodes"]) == ("büro", 4096, 8 << 20, 1)
    assert len(str(told["serial"])) == 36
    assert (8 << 20) * 0.98 < int(told["free_bytes"]) < 8 << 20


@pytest.mark.parametrize("options", [
    FormatOptions(cluster_bytes=512), FormatOptions(cluster_bytes=5000), FormatOptions(cluster_bytes=1 << 17),
    FormatOptions(label="l" * 65), FormatOptions(variant="fat32"),
])
def test_what_cannot_be_made(options: FormatOptions) -> None:
    volume = memory_volume(8 << 20)
    with pytest.raises(UsageError):
        FORMAT.make(volume, options, TestClock())
    assert not FORMAT.recognise(volume)


def test_too_small_for_one() -> None:
    with pytest.raises(UsageError, match="1024 KiB"):
        FORMAT.make(memory_volume((1 << 20) - 512), FormatOptions(), TestClock())
    FORMAT.make(memory_volume(1 << 20), FormatOptions(), TestClock())


@pytest.mark.parametrize("block_bytes", BLOCK_BYTES_ALLOWED)
def test_every_size_of_a_block(block_bytes: int) -> None:
    image = new_image(300 * block_bytes + 1536, block_bytes)
    here = mount(image)
    dice = random.Random(1)
    files = {b"/%d" % size: dice.randbytes(size) for size in (0, 1, block_bytes // 4, block_bytes // 4 + 1, 200_000)}
    for path, contents in files.items():
        here.put(path, contents)
    here = reopened(here, image)
    assert {path: here.get(path) for path in files} == files


def reopened(here: Mounted, image: MemoryImage) -> Mounted:
    here.unmount()
    require_clean(image)
    return mount(image)


def test_a_volume_made_over_another_has_nothing_of_it() -> None:
    image = new_image(8 << 20)
    here = mount(image)
    for number in range(50):
        here.put(b"/old%d" % number, b"old" * 5000)
        here.vfs.sync()
    here.unmount()
    FORMAT.make(image_volume(image), FormatOptions(cluster_bytes=8192), TestClock())
    require_clean(image)
    assert mount(image).tree() == {}


@pytest.mark.parametrize("size_bytes", [200 << 30, 10 << 40])
def test_a_huge_volume(tmp_path: object, size_bytes: int) -> None:
    """Made in a moment; files at both ends of it; only what is used takes room on the host."""
    path = f"{tmp_path}/huge.img"
    try:
        create_image(path, size_bytes)
        image = open_file(path)
        probe = bytes(4096)
        image.write(size_bytes - 4096, probe)
    except (UsageError, KernelError):
        pytest.skip("the host's filesystem takes no file of that size")
    volume = BufferCache(ImageDevice(image), 8 << 20)
    FORMAT.make(volume, FormatOptions(), TestClock())
    filesystem = FORMAT.open(volume, writable=True, page_cache=new_page_cache(), clock=TestClock())
    here = Mounted.of(filesystem)
    assert here.vfs.statfs(here.actor, b"/").blocks * 4096 > size_bytes * 0.99
    here.put(b"/first", b"first" * 10_000)
    space = filesystem.store.space
    space._cursors = [space.geometry.data_end - 40] * 2
    here.put(b"/last", b"last" * 100_000)
    here.unmount()
    volume = BufferCache(ImageDevice(image), 8 << 20)
    again = Mounted.of(FORMAT.open(volume, writable=False, page_cache=new_page_cache(), clock=TestClock()))
    assert (again.get(b"/first"), again.get(b"/last")) == (b"first" * 10_000, b"last" * 100_000)
    image.close()


# --- what fsck sees -----------------------------------------------------------------------------------------------

Wrong = Callable[[JefeFilesystem], object]


def _inode(filesystem: JefeFilesystem, ino: int, index: int, value: int) -> None:
    key = item_key(ino, INODE)
    packed = filesystem.tree.get(key)
    assert packed is not None
    fields = list(INODE_VALUE.unpack(packed))
    fields[index] = value
    filesystem.tree.put(key, INODE_VALUE.pack(*fields))


WRONG: dict[str, tuple[Wrong, str]] = {
    "link count": (lambda fs: _inode(fs, 2, 3, 7), "its link count is 7, it has 2 names"),
    "size": (lambda fs: _inode(fs, 4, 4, 12), "its size is 12"),
    "blocks": (lambda fs: _inode(fs, 3, 6, 4), "it says that it has 4 blocks"),
    "kind": (lambda fs: _inode(fs, 3, 0, 0o010644), "an item of kind 6 that its mode"),
    "parent": (lambda fs: _inode(fs, 4, 11, 9), "a directory with 1 names"),
    "lost inode": (lambda fs: fs.tree.remove(item_key(2, INODE)), "a name leads to it, but it is not there"),
    "lost name": (lambda fs: fs.tree.remove(fs.root._key(b"large")), "it has 0 names"),
    "cycle": (lambda fs: fs.tree.put(item_key(5, 3, b"up"), fs.tree.get(fs.root._key(b"d")) or b""), "2 names"),
    "lost extent": (lambda fs: fs.tree.remove(item_key(3, EXTENT, bytes(8))), "it says that it has"),
    "inline": (lambda fs: fs.tree.put(item_key(3, INLINE), b"x"), "bytes in the tree, of a file"),
    "alien": (lambda fs: fs.tree.put(item_key(3, 99), b"x"), "an item of kind 99"),
    "short": (lambda fs: fs.tree.put(item_key(3, INODE), b"x"), "its item has a wrong length"),
    "inodes": (lambda fs: setattr(fs.store, "inodes", 9), "where there should be 9"),
    "leak": (lambda fs: fs.store.space.allocate(3), "3 blocks from"),
    "free": (lambda fs: fs.store.space.free_now(fs.store.files.root[0], 1), "in use, but marked free"),
}


@pytest.mark.parametrize("name", WRONG)
def test_fsck_sees(name: str) -> None:
    change, said = WRONG[name]
    image = new_image(2 << 20)
    here = mount(image)
    here.put(b"/f", b"small")
    here.put(b"/large", b"l" * 10_000)
    here.vfs.link(here.actor, b"/f", b"/again")
    here.vfs.mkdir(here.actor, b"/d", 0o755)
    here.vfs.mkdir(here.actor, b"/d/e", 0o755)
    here.unmount()
    filesystem = open_image(image)
    with filesystem.store.changing:
        change(filesystem)
    filesystem.store.commit()
    problems = FORMAT.check(image_volume(image), repair=False, clock=TestClock()).problems
    assert any(said in problem.what for problem in problems), problems


def test_fsck_reads_the_data() -> None:
    contents = bytearray(something_of_everything())
    contents[contents.index(b"changedchanged")] ^= 4
    problems = FORMAT.check(volume_of(contents), repair=False, clock=TestClock()).problems
    assert len(problems) == 1 and "checksums of the" in problems[0].what


def damage_index(contents: bytearray, filesystem: JefeFilesystem) -> None:
    space = filesystem.store.space
    contents[space.geometry.index_block(0, space.index_slots[0]) * 4096 + 5] ^= 1


def damage_bitmap(contents: bytearray, filesystem: JefeFilesystem) -> None:
    space = filesystem.store.space
    contents[space.geometry.bitmap_block(0, space.slots[0]) * 4096 + 100] ^= 1


@pytest.mark.parametrize(("damage", "writable"), [(damage_index, False), (damage_bitmap, True)])
def test_what_says_which_blocks_are_free_is_made_anew(
    damage: Callable[[bytearray, JefeFilesystem], None], writable: bool
) -> None:
    """Everything can be read without it, and nothing is given out by it; repair makes it from the trees."""
    image = MemoryImage(something_of_everything())
    here = mount(image)
    tree = {**here.tree(), **here.tree(b"/.snapshots")}
    here.unmount()
    damage(image.data, open_image(image, writable=False))
    here = mount(image)
    assert {**here.tree(), **here.tree(b"/.snapshots")} == tree
    assert here.filesystem.read_only is not writable
    assert writable or "fsck --repair" in here.filesystem.read_only_reason
    assert errno_of(lambda: here.put(b"/new", b"x" * 9000)) in (Errno.EROFS, Errno.ENOSPC)
    report = FORMAT.check(image_volume(image), repair=False, clock=TestClock())
    assert report.problems and not report.clean
    report = FORMAT.check(image_volume(image), repair=True, clock=TestClock())
    assert report.problems and report.clean
    require_clean(image)
    here = mount(image)
    assert {**here.tree(), **here.tree(b"/.snapshots")} == tree
    here.put(b"/new", b"x" * 9000)
    here.unmount()
    require_clean(image)


@pytest.mark.parametrize("name", ["leak", "free", "link count"])
def test_repair_of_what_can_be(name: str) -> None:
    image = new_image(2 << 20)
    here = mount(image)
    here.put(b"/f", b"small")
    here.unmount()
    filesystem = open_image(image)
    with filesystem.store.changing:
        WRONG[name][0](filesystem)
    filesystem.store.commit()
    report = FORMAT.check(image_volume(image), repair=True, clock=TestClock())
    assert report.problems and report.clean is (name != "link count")
    if report.clean:
        require_clean(image)
    assert mount(image).get(b"/f") == b"small"


def test_what_is_not_known_is_refused() -> None:
    image = new_image()
    assert FORMAT.recognise(image_volume(image))
    for place in (0, 4096, image.size_bytes - 8192, image.size_bytes - 4096):
        image.data[place] ^= 1
    assert not FORMAT.recognise(image_volume(image))
    with pytest.raises(CorruptError, match="superblock"):
        open_image(image)


def test_an_image_of_another_version_is_refused_in_one_line() -> None:
    """Also if it makes its checksums in another way."""
    image = new_image()
    for place in (0, 4096, image.size_bytes - 8192, image.size_bytes - 4096):
        image.data[place + 8] = 1
        image.data[place + 4088 : place + 4096] = bytes(8)
    with pytest.raises(CorruptError, match=r"version 1 of the format, known here is 2$") as raised:
        open_image(image)
    assert raised.value.errno == Errno.EOPNOTSUPP


# --- loss of power ------------------------------------------------------------------------------------------------


def lose_power_with_large_files(seed: int, points: int) -> None:
    recording = record(FORMAT, 24 << 20, seed=seed, abilities=Abilities(most_bytes=500_000, most_files=20))
    assert any(entry.data and len(entry.data) >= 128 << 10 for entry in recording.history)
    outcome = check_crashes(FORMAT, recording, points, seed=seed, promise=Promise.ATOMIC, always_clean=True)
    assert outcome.points == points


def test_loss_of_power_with_large_files() -> None:
    """Large writes go past the cache's pages, and their units are larger than a block."""
    lose_power_with_large_files(21, 60)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(30, 34))
def test_loss_of_power_with_large_files_at_length(seed: int) -> None:
    lose_power_with_large_files(seed, 400)


def _free_at_once(space: Space, address: int, count: int) -> None:
    space.free_now(address, count)


@pytest.mark.parametrize(("where", "name", "instead"), [
    (BufferCache, "order", lambda cache: None),
    (Space, "free_later", _free_at_once),
])
def test_the_order_of_writes_is_needed(
    monkeypatch: pytest.MonkeyPatch, where: type, name: str, instead: Callable[..., object]
) -> None:
    """Without it the test of losses of power fails: it is able to."""
    with monkeypatch.context() as patch:
        patch.setattr(where, name, instead)
        recordings = [record(FORMAT, 4 << 20, seed=seed) for seed in range(2)]
    with pytest.raises(CrashFailure):
        for recording in recordings:
            check_crashes(FORMAT, recording, 150, promise=Promise.ATOMIC, always_clean=True)


# --- failing half-way ---------------------------------------------------------------------------------------------


def test_rot_in_the_middle_of_a_change_ends_writing() -> None:
    image = new_image(2 << 20)
    here = mount(image)
    for number in range(300):
        here.put(b"/a name of some length, number %04d" % number, b"x" * 300)
    here.vfs.sync()
    tree = here.tree()
    here.unmount()
    leaf = open_image(image).store.files._leaf_and_bounds(item_key(150, INODE))[0].address
    image.data[leaf * 4096 + 100] ^= 1
    here = mount(image)
    refused = 0
    for number in range(300):
        try:
            here.vfs.unlink(here.actor, b"/a name of some length, number %04d" % number)
        except KernelError as error:
            refused += error.errno in (Errno.EUCLEAN, Errno.EROFS)
    assert refused > 10
    image.data[leaf * 4096 + 100] ^= 1  # as if it had never been: what is on the medium is whole
    require_clean(image)
    left = mount(image).tree()
    assert left.items() <= tree.items()


class Refusing(MemoryImage):
    """Takes no large writes, which go past the cache: they fail at once, and not in the commit."""

    refuses = False

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.refuses and len(data) >= 128 << 10:
            raise KernelError(Errno.EIO)
        super().write(offset, data)


def test_a_write_that_fails_after_the_file_left_the_tree() -> None:
    image = Refusing(new_image().data)
    here = mount(image)
    here.put(b"/f", b"inline")
    here.vfs.sync()
    image.refuses = True
    assert errno_of(lambda: here.write(b"/f", 100_000, b"x" * 200_000)) == Errno.EIO
    image.refuses = False
    here.unmount()
    require_clean(image)
    assert mount(image).get(b"/f") == b"inline"


def test_attributes_change_on_a_full_volume() -> None:
    here = mount(new_image(1 << 20))
    count = 0
    while errno_of(lambda: here.put(b"/%d" % count, b"x" * 3000)) is None:  # noqa: B023
        count += 1
    here.vfs.chmod(here.actor, b"/0", 0o600)
    assert here.vfs.stat(here.actor, b"/0").mode & 0o777 == 0o600


def test_what_cannot_be_finished_makes_it_read_only() -> None:
    image = new_image(2 << 20)
    here = mount(image)
    here.put(b"/f", b"contents")
    here.unmount()
    filesystem = open_image(image)
    with filesystem.store.changing:
        filesystem.tree.put(orphan_key(2), b"")  # which has a name
    filesystem.store.commit()
    here = mount(image)
    assert here.filesystem.read_only
    assert "noted as an orphan" in here.filesystem.read_only_reason
    assert here.get(b"/f") == b"contents"
