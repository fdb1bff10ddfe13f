"""The accounting sees a leak of each kind: every one is planted here, and must be named."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.api import System
from jefeos.kernel import Kernel
from jefeos.proc.files import FdTable
from jefeos.proc.futex import FutexTable
from jefeos.proc.task import Task
from jefeos.sched.wait import WaitQueue
from jefeos.testing.accounting import growth, take_stock
from jefeos.vfs.flags import F_WRLCK, O_CREAT, O_RDWR, S_IFIFO
from jefeos.vfs.locks import InodeLocks
from jefeos.vfs.tmpfs import Tmpfs


def plant_frame(kernel: Kernel) -> Any:
    return kernel.memory.frames.alloc()


def plant_address_space(kernel: Kernel) -> Any:
    return kernel.memory.new_space()


def plant_process(kernel: Kernel) -> Any:
    return kernel.lifecycle._new_process(kernel.root_process, None)


def plant_thread(kernel: Kernel) -> Any:
    root = kernel.vfs.root
    from jefeos.proc.files import FsState

    task = Task(kernel, 77, kernel.root_process, FsState(root, root), FdTable())
    kernel.processes.tasks[77] = task
    return task


def plant_open_file(kernel: Kernel) -> Any:
    return kernel.vfs.open_file(kernel.vfs.as_kernel(), b"/tmp")


def plant_pipe(kernel: Kernel) -> Any:
    return kernel.vfs.pipe(kernel.vfs.as_kernel())


def plant_bytes(kernel: Kernel) -> Any:
    kernel.vfs.buffers.claim(5)


def plant_mount(kernel: Kernel) -> Any:
    return kernel.vfs.mount(Tmpfs(kernel.memory.page_cache, kernel.clock), b"/tmp")


def plant_node(kernel: Kernel) -> Any:
    kernel.vfs.mknod(kernel.vfs.as_kernel(), b"/tmp/node", S_IFIFO | 0o600)


def plant_page(kernel: Kernel) -> Any:
    file = kernel.vfs.open_file(kernel.vfs.as_kernel(), b"/tmp/page", O_CREAT | O_RDWR)
    file.write(b"x")
    file.unref()


def plant_terminal(kernel: Kernel) -> Any:
    return kernel.vfs.open_file(kernel.vfs.as_kernel(), b"/dev/ptmx", O_RDWR)


def plant_timer(kernel: Kernel) -> Any:
    return kernel.loop.call_later_ns(10**12, print)


def plant_waiter(kernel: Kernel) -> Any:
    queue = WaitQueue()
    queue.add(kernel.lifecycle)  # type: ignore[arg-type]
    return queue


def plant_futex(kernel: Kernel) -> Any:
    waiting = kernel.futexes.wait("key")
    waiting.send(None)
    return waiting


def plant_lock(kernel: Kernel) -> Any:
    locks = InodeLocks.of(kernel.vfs.resolve(kernel.vfs.as_kernel(), b"/tmp").inode)
    locks.replace(kernel, F_WRLCK, 0, 10, 1)


def plant_suspended_call(kernel: Kernel) -> Any:
    waiting = FutexTable().wait("key")
    waiting.send(None)
    return waiting


def plant_descriptor_table(kernel: Kernel) -> Any:
    return FdTable()


def plant_mapping(kernel: Kernel) -> Any:
    return kernel.memory.page_cache.new_mapping(None)


PLANTS: dict[Callable[[Kernel], Any], str] = {
    plant_frame: "1 frames",
    plant_address_space: "1 objects AddressSpace",
    plant_process: "1 processes",
    plant_thread: "1 threads",
    plant_open_file: "1 open files",
    plant_pipe: "2 objects PipeFile",
    plant_bytes: "5 bytes in pipes and sockets",
    plant_mount: "1 mounts",
    plant_node: "1 nodes in memory",
    plant_page: "1 pages of files in memory",
    plant_terminal: "1 terminals",
    plant_timer: "1 timers",
    plant_waiter: "1 waiters on queues",
    plant_futex: "1 waiters on futexes",
    plant_lock: "1 locks",
    plant_suspended_call: "1 suspended FutexTable.wait",
    plant_descriptor_table: "1 objects FdTable",
    plant_mapping: "1 mappings without a file",
}


@pytest.fixture(scope="module")
def kernel() -> Any:
    import jefeos

    system: System = jefeos.boot()
    yield system.kernel
    system.kernel.close()


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_leak_is_named(kernel: Kernel, plant: Callable[[Kernel], Any]) -> None:
    before = take_stock(kernel, census=True)
    assert not growth(before, take_stock(kernel, census=True))
    planted = plant(kernel)
    assert PLANTS[plant] in growth(before, take_stock(kernel, census=True))
    del planted
    gc.collect()
