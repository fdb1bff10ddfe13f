"""The hot paths of the Vfs by themselves, without a program or a system call around them.

What a program pays is in bench_calls.py; the difference is the processor's and the system-call layer's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from jefeos.mm.frames import FrameAllocator
from jefeos.mm.pagecache import PageCache
from jefeos.sched.clock import RealClock
from jefeos.testing.bench import Bench, Runner, benchmark
from jefeos.vfs.flags import O_CREAT, O_RDWR
from jefeos.vfs.tmpfs import Tmpfs
from jefeos.vfs.vfs import Vfs

CALLS = 20_000
RAM_BYTES = 8 << 20
PAGE = bytes(4096)
PIECE = bytes(8192)


def each(call: Callable[[], object]) -> dict[str, Runner | None]:
    """Microseconds of one call."""

    def run() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        return (time.perf_counter() - started) / CALLS * 1e6

    return {"jefeos": run}


def small_tree() -> Vfs:
    """/a/b/c/file with 64 KB in it."""
    clock, ram = RealClock(), memoryview(bytearray(RAM_BYTES))
    vfs = Vfs(clock, PageCache(FrameAllocator(ram, len(PAGE)), ram))
    vfs.mount(Tmpfs(vfs.page_cache, clock), b"/")
    for folder in (b"/a", b"/a/b", b"/a/b/c"):
        vfs.mkdir(vfs.as_kernel(), folder, 0o755)
    vfs.open_file(vfs.as_kernel(), b"/a/b/c/file", O_RDWR | O_CREAT, 0o644).write(PAGE * 16)
    return vfs


@benchmark("Vfs: lookup of four names", unit="µs", limit=4.0)
def lookup(bench: Bench) -> dict[str, Runner | None]:
    vfs = small_tree()
    task = vfs.as_kernel()
    return each(lambda: vfs.resolve(task, b"/a/b/c/file"))


@benchmark("Vfs: open and close", unit="µs")
def open_and_close(bench: Bench) -> dict[str, Runner | None]:
    vfs = small_tree()
    task = vfs.as_kernel()
    return each(lambda: vfs.open_file(task, b"/a/b/c/file").unref())


@benchmark("Vfs: read of 4 KB", unit="µs")
def read(bench: Bench) -> dict[str, Runner | None]:
    vfs = small_tree()
    file = vfs.open_file(vfs.as_kernel(), b"/a/b/c/file")
    return each(lambda: file.pread(len(PAGE), 8192))


@benchmark("Vfs: write of 4 KB", unit="µs")
def write(bench: Bench) -> dict[str, Runner | None]:
    vfs = small_tree()
    file = vfs.open_file(vfs.as_kernel(), b"/a/b/c/file", O_RDWR)
    return each(lambda: file.pwrite(PAGE, 8192))


@benchmark("Vfs: 8 KB into a pipe and out", unit="µs")
def pipe(bench: Bench) -> dict[str, Runner | None]:
    vfs = small_tree()
    reader, writer = vfs.pipe(vfs.as_kernel())
    return each(lambda: (writer.write(PIECE), reader.read(len(PIECE))))
