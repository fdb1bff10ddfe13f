"""The conformance suite of filesystems that live on a volume: `FilesystemConformance`, and what a medium brings.

::

    class TestExample(VolumeConformance):
        format = ExampleFormat()
        hard_links = False                    # what it cannot do: see FilesystemSuite
        promise = Promise.CONTENTS            # what a loss of power may do: see jefeos.testing.crash

Each test gets a fresh volume in memory. Every time the suite mounts anew, fsck has to find nothing. Beyond POSIX:
a full disk at every point of an operation, writes that the disk refuses, loss of power, damaged media.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from attrs import evolve

from jefeos.block.image import DiskImage
from jefeos.block.volume import FormatOptions, VolumeFormat
from jefeos.errors import Errno, KernelError
from jefeos.mm.pagecache import PageCache
from jefeos.testing.crash import Promise, Recording, check_crashes, record
from jefeos.testing.filesystems import FilesystemConformance
from jefeos.testing.fuzz import byte_campaign, campaign
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.operations import Abilities, Model, everyday, perform
from jefeos.testing.suites import TickingClock, errno_of
from jefeos.testing.volumes import (
    MemoryImage,
    TestClock,
    image_volume,
    make_volume,
    memory_volume,
    new_page_cache,
)
from jefeos.vfs.flags import S_IFDIR, S_IFREG
from jefeos.vfs.inode import Filesystem

LONG_CRASH_POINTS = 2000
CRASH_SEEDS = 4
"""Recordings that the long run is spread over."""
LONG_FUZZ_CASES = 20_000
FIRST_BYTES = 1 << 16
FREE_BLOCKS = (0, 1, 2, 3, 5, 9)


class VolumeConformance(FilesystemConformance):
    """See the module. The class attributes say what the format is, and what it can do."""

    format: VolumeFormat
    #: Volumes for the tests: small, so that they are quick, but large enough for a few hundred files.
    size_bytes = 24 << 20
    crash_bytes = 6 << 20
    full_bytes = 4 << 20
    options = FormatOptions()
    promise = Promise.CONTENTS
    #: Nothing is ever left for fsck to repair after a loss of power.
    always_clean = False
    largest_link_target = 300
    #: How much of the long campaigns each run does: losses of power, damaged volumes, each so-manieth first byte.
    crash_points = 60
    fuzz_cases = 100
    byte_step = 601

    image: MemoryImage

    # --- fixtures --------------------------------------------------------------------------------------------

    @pytest.fixture(autouse=True)
    def _forget_the_image(self) -> Iterator[None]:
        """Pytest keeps the object of each test to the end of the run: hundreds of volumes would stay with them."""
        yield
        self.__dict__.pop("image", None)

    @pytest.fixture
    def filesystem(self, page_cache: PageCache, clock: TickingClock) -> Filesystem:
        self.image = make_volume(self.format, self.size_bytes, self.seeded_options(), clock)
        return self.format.open(image_volume(self.image), writable=True, page_cache=page_cache, clock=clock)

    def seeded_options(self) -> FormatOptions:
        """Options that lead to the same volume each time."""
        return evolve(self.options, entropy=random.Random(1).randbytes)

    def reopen(self, here: Mounted) -> Mounted:
        here.unmount()
        self.require_clean(self.image)
        volume = image_volume(self.image)
        clock = here.filesystem.clock
        return Mounted.of(self.format.open(volume, writable=True, page_cache=new_page_cache(), clock=clock))

    def require_clean(self, image: MemoryImage) -> None:
        """fsck finds nothing."""
        before = bytes(image.data)
        report = self.format.check(image_volume(image), repair=False, clock=TestClock())
        assert report.problems == (), report.problems[:5]
        assert image.data == before, "fsck without repair has written"

    def abilities(self, **changes: int) -> Abilities:
        """What `everyday` may do."""
        return Abilities(hard_links=self.hard_links, symlinks=self.symlinks, **changes)

    # --- the format ------------------------------------------------------------------------------------------

    def test_a_volume_is_recognised_and_described(self, filesystem: Filesystem) -> None:
        assert self.format.recognise(image_volume(self.image))
        assert not self.format.recognise(memory_volume(self.size_bytes))
        assert not self.format.recognise(memory_volume(512))
        noise = MemoryImage(random.Random(1).randbytes(1 << 16))
        assert not self.format.recognise(image_volume(noise))
        told = self.format.describe(image_volume(self.image))
        assert told and all(isinstance(value, str | int) for value in told.values())
        assert errno_of(lambda: self.format.describe(image_volume(noise))) is not None

    def test_fsck_counts(self, here: Mounted) -> None:
        here.put(b"/f", b"x" * 100_000)
        for number in range(5):
            here.vfs.mkdir(here.actor, b"/d%d" % number, 0o755)
            here.put(b"/d%d/inside" % number, b"y")
        here.unmount()
        report = self.format.check(image_volume(self.image), repair=False, clock=TestClock())
        assert (report.problems, report.files) == ((), 6)
        assert report.directories in (5, 6)  # with or without the root
        assert report.used_bytes >= 100_000
        assert report.used_bytes + report.free_bytes <= self.size_bytes

    def test_a_read_only_mount_writes_nothing(self, here: Mounted) -> None:
        here.put(b"/f", b"contents")
        here.unmount()
        before = bytes(self.image.data)
        with mounted(self.format, image_volume(self.image), writable=False) as look:
            assert look.filesystem.read_only
            assert look.get(b"/f") == b"contents"
            assert errno_of(lambda: look.put(b"/g", b"")) == Errno.EROFS
            assert errno_of(lambda: look.vfs.unlink(look.actor, b"/f")) == Errno.EROFS
        assert self.image.data == before

    def test_nothing_changes_by_mounting_for_writing(self, here: Mounted) -> None:
        here.put(b"/f", b"contents")
        tree = here.tree()
        for _ in range(3):
            here = self.reopen(here)
            assert here.tree() == tree

    # --- a full disk -----------------------------------------------------------------------------------------

    def test_a_disk_is_filled_and_emptied(self, clock: TickingClock) -> None:
        self.image = make_volume(self.format, self.full_bytes, self.seeded_options(), clock)
        here = Mounted.of(self._open(self.image))
        here.put(b"/keep", b"kept" * 5000)
        for round_ in range(2):
            count = 0
            while errno_of(lambda: here.put(b"/fill%d" % count, b"fill" * 10_000)) is None:  # noqa: B023
                count += 1
                assert count < 10_000
            assert count > 5
            while errno_of(lambda: here.put(b"/small%d" % count, b"s" * 10)) is None and count < 10_000:  # noqa: B023
                count += 1
            assert errno_of(lambda: here.put(b"/more", b"x" * 50_000)) == Errno.ENOSPC  # noqa: B023
            assert here.get(b"/keep") == b"kept" * 5000
            here = self.reopen(here)
            assert here.get(b"/keep") == b"kept" * 5000
            for entry in here.list(b"/"):
                if entry.name != b"keep":
                    here.vfs.unlink(here.actor, b"/" + entry.name)
            assert round_ or here.tree() == {b"/keep": (S_IFREG, b"kept" * 5000)}
        here.put(b"/again", b"a" * 200_000)
        assert self.reopen(here).get(b"/again") == b"a" * 200_000

    @pytest.mark.parametrize("free", FREE_BLOCKS)
    def test_every_operation_on_a_nearly_full_disk(self, clock: TickingClock, free: int) -> None:
        """It is done, or it fails with ENOSPC and nothing has changed but what it was writing; fsck is content."""
        full = _full_volume(self.format, self.full_bytes, self.seeded_options(), free)
        for name, change in self._changes().items():
            self.image = MemoryImage(full)
            here = Mounted.of(self._open(self.image))
            before = here.tree()
            error = errno_of(lambda: change(here))  # noqa: B023
            assert error in (None, Errno.ENOSPC), name
            after = here.tree()
            touched = {b"/file", b"/new"}
            if error is not None:
                assert {path: after[path] for path in after if path not in touched} == {
                    path: before[path] for path in before if path not in touched
                }, name
            here = self.reopen(here)
            assert here.tree() == after, name
            here.vfs.unlink(here.actor, b"/filler")
            here.put(b"/after", b"there is room again" * 300)
            self.reopen(here)

    def _changes(self) -> dict[str, Callable[[Mounted], object]]:
        long = b"/" + b"long name " * 20
        changes: dict[str, Callable[[Mounted], object]] = {
            "create": lambda here: here.put(b"/new", b""),
            "create with contents": lambda here: here.put(b"/new", b"n" * 9000),
            "create with a long name": lambda here: here.put(long, b""),
            "mkdir": lambda here: here.vfs.mkdir(here.actor, b"/new", 0o755),
            "append": lambda here: here.write(b"/file", 5000, b"a" * 20_000),
            "write into": lambda here: here.write(b"/file", 0, b"w" * 5000),
            "grow": lambda here: here.vfs.truncate(here.actor, b"/file", 60_000),
            "cut": lambda here: here.vfs.truncate(here.actor, b"/file", 10),
            "rename to a longer name": lambda here: here.vfs.rename(here.actor, b"/dir/inside", long),
            "rename over": lambda here: here.vfs.rename(here.actor, b"/dir/inside", b"/file"),
            "unlink": lambda here: here.vfs.unlink(here.actor, b"/file"),
            "rmdir": lambda here: here.vfs.rmdir(here.actor, b"/empty"),
        }
        if self.symlinks:
            changes["symlink"] = lambda here: here.vfs.symlink(here.actor, b"t" * self.largest_link_target, b"/new")
        if self.hard_links:
            changes["link"] = lambda here: here.vfs.link(here.actor, b"/dir/inside", long)
        return changes

    def _open(self, image: MemoryImage) -> Filesystem:
        return self.format.open(image_volume(image), writable=True, page_cache=new_page_cache(), clock=TestClock())

    # --- a disk that refuses writes --------------------------------------------------------------------------

    @pytest.mark.parametrize("writes", [0, 1, 2, 5, 12])
    def test_a_disk_that_refuses_writes(self, clock: TickingClock, writes: int) -> None:
        """Calls fail with honest errors; what was synced is there once the disk is well."""
        self.image = make_volume(self.format, self.crash_bytes, self.seeded_options(), clock)
        with mounted(self.format, image_volume(self.image)) as here:
            here.put(b"/safe", b"safe" * 1000)
        failing = FailingImage(self.image, writes)
        here = Mounted.of(
            self.format.open(image_volume(failing, 1 << 20), writable=True, page_cache=new_page_cache(), clock=clock)
        )
        model, failed = Model(), 0
        for operation in everyday(model, random.Random(writes), 80, self.abilities()):
            error = errno_of(lambda: perform(operation, here))  # noqa: B023
            assert error in (None, Errno.EIO, Errno.EROFS, Errno.ENOENT, Errno.EEXIST), operation
            failed += error is not None
            model.apply(operation)
        error = errno_of(here.vfs.sync)
        assert error in (Errno.EIO, Errno.EROFS) or error is None and failing.writes_left
        assert errno_of(here.unmount) in (None, Errno.EIO, Errno.EROFS)
        report = self.format.check(image_volume(self.image), repair=True, clock=clock)
        assert all(problem.harmless or problem.repaired for problem in report.problems), report.problems[:5]
        with mounted(self.format, image_volume(self.image)) as again:
            assert again.get(b"/safe") == b"safe" * 1000

    # --- loss of power ---------------------------------------------------------------------------------------

    def test_loss_of_power(self) -> None:
        self._lose_power(self.crash_points, seed=1)

    @pytest.mark.long
    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("seed", range(CRASH_SEEDS))
    def test_loss_of_power_at_length(self, seed: int) -> None:
        self._lose_power(LONG_CRASH_POINTS // CRASH_SEEDS, seed=100 + seed)

    def _lose_power(self, points: int, seed: int) -> None:
        recording: Recording = record(
            self.format, self.crash_bytes, seed=seed, abilities=self.abilities(), options=self.seeded_options()
        )
        outcome = check_crashes(
            self.format,
            recording,
            points,
            seed=seed * 1000,
            promise=self.promise,
            always_clean=self.always_clean,
            invented=self.is_invented,
        )
        assert outcome.points == points

    def is_invented(self, path: bytes) -> bool:
        """Whether a repair may have made up this name."""
        return False

    # --- damaged media ---------------------------------------------------------------------------------------

    def fuzz_volume(self) -> bytes:
        """A small volume with something of everything, to be damaged."""
        return populated(self.format, self.full_bytes, self.options, self.hard_links, self.symlinks)

    def test_damaged_volumes(self) -> None:
        assert campaign(self.format, self.fuzz_volume(), range(self.fuzz_cases)).cases == self.fuzz_cases

    def test_damaged_first_bytes(self) -> None:
        byte_campaign(self.format, self.fuzz_volume(), range(0, FIRST_BYTES, self.byte_step))
        byte_campaign(self.format, self.fuzz_volume(), range(0, 512, 17))

    @pytest.mark.long
    @pytest.mark.timeout(7200)
    def test_damaged_volumes_at_length(self) -> None:
        assert campaign(self.format, self.fuzz_volume(), range(10_000, 10_000 + LONG_FUZZ_CASES)).cases > 0

    @pytest.mark.long
    @pytest.mark.timeout(7200)
    def test_every_one_of_the_first_bytes(self) -> None:
        assert byte_campaign(self.format, self.fuzz_volume(), range(FIRST_BYTES)).cases == FIRST_BYTES


class FailingImage(DiskImage):
    """An image that takes only so many writes and fails from then on."""

    def __init__(self, image: MemoryImage, writes: int) -> None:
        self.image = image
        self.path, self.size_bytes, self.read_only = image.path, image.size_bytes, image.read_only
        self.writes_left = writes

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.image.read_into(offset, buffer)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if not self.writes_left:
            raise KernelError(Errno.EIO, "the disk takes no more writes")
        self.writes_left -= 1
        self.image.write(offset, data)

    def flush(self) -> None:
        if not self.writes_left:
            raise KernelError(Errno.EIO, "the disk cannot flush")

    def close(self) -> None:
        pass


def _full_volume(kind: VolumeFormat, size_bytes: int, options: FormatOptions, free_blocks: int) -> bytes:
    """A volume with a few files and a filler that leaves so many blocks."""
    image = make_volume(kind, size_bytes, options)
    with mounted(kind, image_volume(image)) as here:
        here.put(b"/file", b"f" * 5000)
        here.vfs.mkdir(here.actor, b"/dir", 0o755)
        here.put(b"/dir/inside", b"i" * 3000)
        here.vfs.mkdir(here.actor, b"/empty", 0o755)
        here.put(b"/filler", b"")
        here.vfs.sync()
        block = here.filesystem.statfs().block_size
        size = 0
        step = 64 * block
        while step >= block:  # larger steps first
            while errno_of(lambda: here.write(b"/filler", size, b"#" * step)) is None:  # noqa: B023
                size += step
            here.vfs.truncate(here.actor, b"/filler", size)
            step //= 2
        here.vfs.truncate(here.actor, b"/filler", max(size - free_blocks * block, 0))
    return bytes(image.data)


@cache
def populated(
    kind: VolumeFormat, size_bytes: int, options: FormatOptions, hard_links: bool, symlinks: bool
) -> bytes:
    """A volume with a hundred files, most of them in one directory, and traces of removed ones."""
    image = make_volume(kind, size_bytes, evolve(options, entropy=random.Random(1).randbytes))
    with mounted(kind, image_volume(image)) as here:
        model = Model()
        abilities = Abilities(hard_links=hard_links, symlinks=symlinks, most_files=30, most_bytes=20_000)
        for operation in everyday(model, random.Random(11), 150, abilities):
            perform(operation, here)
            model.apply(operation)
        here.vfs.mkdir(here.actor, b"/many", S_IFDIR | 0o755)
        for number in range(60):
            here.put(b"/many/a name of some length %d" % number, b"%d" % number)
    return bytes(image.data)
