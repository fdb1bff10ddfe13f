"""Microbenchmarks of memory management, without an engine: ``python core/tests/mm/bench_memory.py``.

Each line is the median of several rounds, in microseconds. The engine's own part of a page fault (leaving and
re-entering translated code, some 4 µs) comes on top.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

from jefeos.mm.faults import FAULT_FETCH, FAULT_USER, FAULT_WRITE
from jefeos.mm.manager import MemoryManager
from jefeos.mm.space import AddressSpace
from jefeos.testing.memory import BytesSource, FakeEngine

PAGE = 4096
R, W, X = 1, 2, 4
DATA = 0x600000
STACK_TOP = 0x7FFF00000000


def median_us(work: Callable[[], object], count: int = 1, rounds: int = 15) -> float:
    """Time of ``work`` divided by the ``count`` of things it does."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6 / count


def repeated(call: Callable[[], object], count: int = 2000) -> float:
    def work() -> None:
        for _ in range(count):
            call()

    return median_us(work, count)


def small_program(memory: MemoryManager) -> AddressSpace:
    space = memory.new_space()
    space.map(0x400000, 40 * PAGE, R | X, fixed=True)
    space.map(DATA, 16 * PAGE, R | W, fixed=True)
    space.map(STACK_TOP - 33 * PAGE, 33 * PAGE, R | W, fixed=True, grows_down=True)
    space.write(STACK_TOP - 200, bytes(200))
    space.write(DATA, bytes(16 * PAGE))
    return space


def main() -> None:
    memory = MemoryManager(FakeEngine(256 << 20))
    small = small_program(memory)
    large = memory.new_space()
    base = large.map(None, 5000 * PAGE, R | W)
    large.populate(base, 5000 * PAGE, for_write=True)
    mapping = memory.page_cache.new_mapping(BytesSource(bytes(512 * PAGE)))
    mapping.read(0, 512 * PAGE)
    order = list(range(4000))
    random.Random(1).shuffle(order)

    def fresh() -> None:
        memory.new_space().release()

    def faults(write: bool) -> None:
        space = memory.new_space()
        at = space.map(None, 4096 * PAGE, R | W)
        for page in order if write else range(4000):
            if write or not space.entry(at + page * PAGE):
                space.fault(at + page * PAGE, FAULT_USER | FAULT_WRITE)
        space.release()

    def copies() -> None:
        child = large.fork()
        for page in order:
            child.fault(base + page * PAGE, FAULT_USER | FAULT_WRITE | 1)
        child.release()

    def file_faults() -> None:
        at = small.map(None, 512 * PAGE, R | X, mapping=mapping)
        for page in range(0, 512, 16):
            small.fault(at + page * PAGE, FAULT_USER | FAULT_FETCH)
        small.unmap(at, 512 * PAGE)

    eight, page = bytes(8), bytes(PAGE)
    small.write(DATA + 64, b"/usr/bin/true\0")
    for name, figure in (
        ("new space, release", median_us(lambda: [fresh() for _ in range(100)], 100)),
        ("fork and release, small program", median_us(lambda: [small.fork().release() for _ in range(50)], 50)),
        ("fork and release, 5000 pages", median_us(lambda: large.fork().release())),
        ("fault: zeroed page, random", median_us(lambda: faults(True), 4000, 5)),
        ("fault: zeroed pages, sequential, per page", median_us(lambda: faults(False), 4000, 5)),
        ("fault: copy on write (with its share of a fork)", median_us(copies, 4000, 5)),
        ("fault: 16 cached file pages", median_us(file_faults, 32)),
        ("mmap and munmap of two pages", repeated(lambda: small.unmap(small.map(None, 2 * PAGE, R | W), 2 * PAGE))),
        ("read 8 bytes", repeated(lambda: small.read(DATA + 8, 8))),
        ("read a page", repeated(lambda: small.read(DATA + PAGE, PAGE))),
        ("read 8 KiB, not aligned", repeated(lambda: small.read(DATA + 100, 2 * PAGE))),
        ("read_u64", repeated(lambda: small.read_u64(DATA + 8))),
        ("read_cstr", repeated(lambda: small.read_cstr(DATA + 64, PAGE))),
        ("write 8 bytes", repeated(lambda: small.write(DATA + 8, eight))),
        ("write a page", repeated(lambda: small.write(DATA + PAGE, page))),
        ("page cache: read a page", repeated(lambda: mapping.read(8 * PAGE, PAGE))),
    ):
        print(f"{figure:10.2f}  {name}")


if __name__ == "__main__":
    main()
