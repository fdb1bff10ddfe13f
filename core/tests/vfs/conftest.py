"""A small world for the tests of the Vfs: memory, a clock that is set by hand, a tree, and people to act in it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from attrs import define
from jefeos.mm.frames import FrameAllocator
from jefeos.mm.pagecache import PageCache
from jefeos.proc.credentials import Credentials
from jefeos.proc.files import FsState
from jefeos.vfs.devfs import Devfs, register_memory_devices
from jefeos.vfs.inode import Filesystem
from jefeos.vfs.overlay import OverlayFs
from jefeos.vfs.tmpfs import Tmpfs
from jefeos.vfs.vfs import Vfs

RAM_BYTES = 16 << 20


@define
class ManualClock:
    """Each look at it is a microsecond later, so that every change has its own time."""

    now_ns: int = 1_700_000_000_000_000_000

    def realtime_ns(self) -> int:
        self.now_ns += 1000
        return self.now_ns


@define
class Someone:
    """A task as the Vfs sees it."""

    fs: FsState
    creds: Credentials


@define
class World:
    """A Vfs with what it stands on."""

    clock: ManualClock
    page_cache: PageCache
    vfs: Vfs

    @property
    def root(self) -> Someone:
        return self.user(0)

    def user(self, uid: int, gid: int | None = None, groups: tuple[int, ...] = (), umask: int = 0o022) -> Someone:
        gid = uid if gid is None else gid
        creds = Credentials(uid, uid, uid, uid, gid, gid, gid, gid, groups)
        return Someone(FsState(self.vfs.root, self.vfs.root, umask), creds)

    def tmpfs(self, size_limit: int = 1 << 30) -> Tmpfs:
        return Tmpfs(self.page_cache, self.clock, size_limit)

    def overlay(self, lower: Filesystem) -> OverlayFs:
        return OverlayFs(lower, self.page_cache, self.clock)

    def sibling(self, root: Filesystem) -> World:
        """Another tree on the same memory and clock."""
        vfs = Vfs(self.clock, self.page_cache)
        vfs.mount(root, b"/")
        return World(self.clock, self.page_cache, vfs)


def make_world(ram_bytes: int = RAM_BYTES) -> World:
    clock = ManualClock()
    ram = memoryview(bytearray(ram_bytes))
    page_cache = PageCache(FrameAllocator(ram, 16 * 4096), ram)
    vfs = Vfs(clock, page_cache)
    vfs.mount(Tmpfs(page_cache, clock), b"/")
    return World(clock, page_cache, vfs)


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def new_world() -> Callable[[], World]:
    return make_world


@pytest.fixture
def world_with_dev(world: World) -> World:
    world.vfs.mkdir(world.root, b"/dev", 0o755)
    register_memory_devices(world.vfs.devices, lambda count: b"\x5a" * count)
    world.vfs.mount(Devfs(world.page_cache, world.clock, world.vfs.devices), b"/dev", 0, b"devtmpfs")
    return world


@define(eq=False)
class Sleeper:
    """Drives a kernel coroutine by hand: each `Park` is shown, and answered when its queue is woken."""

    coroutine: Coroutine[Any, Any, Any]
    woken: bool = False
    result: Any = None
    error: BaseException | None = None
    finished: bool = False
    queues: tuple[Any, ...] = ()

    def wake(self) -> bool:
        self.woken = True
        for queue in self.queues:
            queue.discard(self)
        return True

    def step(self, value: Any = True, throw: BaseException | None = None) -> Sleeper:
        """Runs the coroutine up to its next wait or its end."""
        for queue in self.queues:
            queue.discard(self)
        self.queues = ()
        self.woken = False
        try:
            token = self.coroutine.throw(throw) if throw is not None else self.coroutine.send(value)
        except StopIteration as stop:
            self.result, self.finished = stop.value, True
        except BaseException as error:
            self.error, self.finished = error, True
        else:
            self.queues = token.queues
            for queue in self.queues:
                queue.add(self)
        return self

    def run_while_woken(self) -> Sleeper:
        """Goes on as long as somebody wakes it."""
        while self.woken and not self.finished:
            self.step()
        return self


@pytest.fixture
def start() -> Callable[[Any], Sleeper]:
    """Starts a coroutine and runs it to its first wait."""

    def begin(coroutine: Any) -> Sleeper:
        return Sleeper(coroutine).step(None)

    return begin
