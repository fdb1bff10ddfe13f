"""What the conformance suites of filesystems stand on: what a filesystem can do, and the fixtures.

A suite is a class of tests with class attributes that say what the filesystem under test can do. A test that asks for
more is taken out of the subclass, rather than skipped each time: `needs`. `jefeos.testing.filesystems` has the suite
to subclass.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from jefeos.errors import Errno, KernelError
from jefeos.mm.frames import FrameAllocator
from jefeos.mm.pagecache import PageCache
from jefeos.testing.mounted import Mounted
from jefeos.vfs.inode import Filesystem, Inode

Test = TypeVar("Test", bound=Callable[..., Any])

RAM_BYTES = 16 << 20
SECOND_NS = 10**9


def needs(*capabilities: str) -> Callable[[Test], Test]:
    """Mark a test of a suite that makes sense only with these class attributes true (``-x``: false)."""

    def mark(test: Test) -> Test:
        test.needs = capabilities  # type: ignore[attr-defined]
        return test

    return mark


class TickingClock:
    """A clock that moves by one step each time it is read: a second, or what the filesystem can tell apart."""

    def __init__(self, step_ns: int = SECOND_NS) -> None:
        self.now_ns = 1_700_000_000 * SECOND_NS
        self.step_ns = step_ns

    def realtime_ns(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


class FilesystemSuite:
    """What a filesystem can do: set what it cannot to False. Its ``filesystem`` fixture gives an empty one."""

    read_only = False
    symlinks = True
    hard_links = True
    special_files = True
    #: Attributes that the filesystem cannot keep (owners on FAT, everything on the host as another user).
    keeps_mode = True
    keeps_set_id = True
    keeps_owner = True
    keeps_times = True
    #: Names are compared byte by byte, and any byte but ``/`` and NUL may stand in them.
    any_names = True
    #: ``a`` and ``A`` are two names.
    case_sensitive = True
    #: The parts of a file that were never written take no room.
    sparse = False
    xattrs = False
    #: Nobody else uses the space that statfs tells of.
    own_space = True
    #: Files that are bigger than the medium, as far as they are sparse.
    largest_file = 1 << 40
    #: The finest difference of two modification times that the filesystem can keep.
    time_step_ns = 1
    #: How many subdirectories and names a directory takes without growing slow beyond patience.
    many_names = 1000
    #: The longest symbolic link.
    longest_link = 1023

    def __init_subclass__(cls) -> None:
        """Take out the tests that do not apply, rather than have each of them report a skip."""
        super().__init_subclass__()
        for name in dir(cls):
            wanted = getattr(getattr(cls, name), "needs", ())
            if any(getattr(cls, word.lstrip("-")) is word.startswith("-") for word in wanted):
                setattr(cls, name, None)

    @pytest.fixture
    def clock(self) -> TickingClock:
        return TickingClock(max(SECOND_NS, self.time_step_ns))

    @pytest.fixture
    def page_cache(self) -> PageCache:
        ram = memoryview(mmap.mmap(-1, RAM_BYTES))
        return PageCache(FrameAllocator(ram, 0), ram)

    @pytest.fixture
    def filesystem(self) -> Filesystem:
        raise NotImplementedError("a conformance suite needs a `filesystem` fixture")

    @pytest.fixture
    def root(self, filesystem: Filesystem) -> Inode:
        """The root of a writable filesystem."""
        return filesystem.root

    @pytest.fixture
    def here(self, filesystem: Filesystem) -> Mounted:
        """The filesystem at the root of a Vfs, with nothing in it."""
        here = Mounted.of(filesystem)
        if not self.read_only:
            here.clear()
        return here

    def reopen(self, here: Mounted) -> Mounted:
        """Unmount and mount again, where that makes a difference: on a medium."""
        return here


def errno_of(call: Callable[[], object]) -> Errno | None:
    """The errno that a call fails with; None if it does not fail."""
    try:
        call()
    except KernelError as error:
        return Errno(error.errno)
    return None
