"""The same calls on the host's Linux and on an `AddressSpace`: same errno, same areas, same bytes.

The host side works in a range that nothing else uses and reads its own memory by process_vm_readv, which fails where
a load would kill us. Skipped where the host is not Linux on x86-64.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jefeos.errors import KernelError
from jefeos.mm.manager import MemoryManager
from jefeos.testing.memory import FakeEngine

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="the oracle is Linux on x86-64"
    ),
]

PAGE = 4096
BASE = 0x2000_0000_0000
PAGES = 40
R, W, X = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_NOREPLACE = 1, 2, 16, 32, 0x4000, 0x100000
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
SYS_PROCESS_VM_READV, SYS_PROCESS_VM_WRITEV = 310, 311


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Host:
    """The calls on this very process. Results are an address, 0, bytes, or a negative errno."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.syscall.restype = ctypes.c_long
        self.pid = ctypes.c_long(self.libc.getpid())

    def call(self, number, *arguments):
        result = self.libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(a & (1 << 64) - 1) for a in arguments))
        return -ctypes.get_errno() if result == -1 else result

    def mmap(self, address, length, prot, flags):
        return self.call(9, address, length, prot, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)

    def mprotect(self, address, length, prot):
        return self.call(10, address, length, prot)

    def munmap(self, address, length):
        return self.call(11, address, length)

    def mremap(self, old, old_length, new_length, flags, new):
        return self.call(25, old, old_length, new_length, flags, new)

    def msync(self, address, length, flags):
        return self.call(26, address, length, flags)

    def mincore(self, address, length):
        buffer = ctypes.create_string_buffer(PAGES * 4)
        return self.call(27, address, length, ctypes.addressof(buffer))

    def madvise(self, address, length, advice):
        return self.call(28, address, length, advice)

    def read(self, address, length):
        buffer = ctypes.create_string_buffer(length)
        result = self.transfer(SYS_PROCESS_VM_READV, buffer, address, length)
        return buffer.raw if result == length else -14

    def write(self, address, data):
        result = self.transfer(SYS_PROCESS_VM_WRITEV, ctypes.create_string_buffer(data, len(data)), address, len(data))
        return 0 if result == len(data) else -14

    def transfer(self, number, buffer, address, length):
        local = IoVec(ctypes.addressof(buffer), length)
        remote = IoVec(address, length)
        one = ctypes.c_ulong(1)
        return self.libc.syscall(
            ctypes.c_long(number), self.pid, ctypes.byref(local), one, ctypes.byref(remote), one, ctypes.c_ulong(0)
        )

    def areas(self):
        pages = {}
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, perms, *_ = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if BASE - (1 << 30) <= start < BASE + (1 << 30):
                pages.update(dict.fromkeys(range(start >> 12, end >> 12), perms))
        return pages

    def close(self):
        self.munmap(BASE - (64 << 20), 128 << 20)


class Guest:
    """The same on an AddressSpace."""

    def __init__(self):
        self.memory = MemoryManager(FakeEngine(8 << 20))
        self.space = self.memory.new_space()
        self.space.mmap_base = 0x7000_0000_0000

    def call(self, function, *arguments, **keywords):
        try:
            result = function(*arguments, **keywords)
            return 0 if result is None else result
        except KernelError as error:
            return -error.errno

    def mmap(self, address, length, prot, flags):
        return self.call(
            self.space.map, address, length, prot, shared=flags & 3 == MAP_SHARED, fixed=bool(flags & MAP_FIXED),
            fixed_noreplace=bool(flags & MAP_NOREPLACE), noreserve=True,
        )  # fmt: skip

    def mprotect(self, address, length, prot):
        return self.call(self.space.protect, address, length, prot)

    def munmap(self, address, length):
        return self.call(self.space.unmap, address, length)

    def mremap(self, old, old_length, new_length, flags, new):
        fixed = new if flags & MREMAP_FIXED else None
        return self.call(
            self.space.remap, old, old_length, new_length, may_move=bool(flags & MREMAP_MAYMOVE), fixed_at=fixed
        )

    def msync(self, address, length, flags):
        return self.call(self.space.msync, address, length, flags)

    def mincore(self, address, length):
        result = self.call(self.space.mincore, address, length)
        return result if isinstance(result, int) else 0

    def madvise(self, address, length, advice):
        return self.call(self.space.advise, address, length, advice)

    def read(self, address, length):
        return self.call(self.space.read, address, length)

    def write(self, address, data):
        return self.call(self.space.write, address, data)

    def areas(self):
        return {
            page: "".join(c if v.prot & b else "-" for c, b in zip("rwx", (1, 2, 4), strict=True)) + "ps"[v.shared]
            for v in self.space.vmas
            if BASE - (1 << 30) <= v.start < BASE + (1 << 30)
            for page in range(v.start >> 12, v.end >> 12)
        }

    def close(self):
        self.space.release()
        assert not any(self.memory.frames.references)


class Both:
    def __init__(self):
        self.host, self.guest = Host(), Guest()
        self.host.close()
        self.moved: list[tuple[int, int, int]] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for host, _, length in self.moved:
            self.host.munmap(host, length)
        self.host.close()
        self.guest.close()

    def do(self, name, *arguments):
        host = getattr(self.host, name)(*arguments)
        guest = getattr(self.guest, name)(*arguments)
        if isinstance(host, int) and isinstance(guest, int) and host > 0 and guest > 0 and host != guest:
            # An address of each kernel's own choice, outside the range: look at it, then take it away again.
            length = (arguments[2 if name == "mremap" else 1] + PAGE - 1) & -PAGE
            assert not BASE <= guest < BASE + PAGES * PAGE, (name, arguments, hex(host), hex(guest))
            if name == "mremap":
                assert self.host.read(host, length) == self.guest.read(guest, length)
            self.host.munmap(host, length)
            self.guest.munmap(guest, length)
        else:
            assert guest == host, (name, [hex(a) if isinstance(a, int) else a for a in arguments])
        return host

    def compare(self):
        assert self.guest.areas() == self.host.areas()
        for page in range(PAGES):
            at = BASE + page * PAGE
            assert self.guest.read(at, 8) == self.host.read(at, 8), hex(at)


page = st.integers(-1, PAGES - 1).map(lambda n: BASE + n * PAGE)
odd_page = st.one_of(page, page, page, page, page.map(lambda a: a + 1))
length = st.one_of(st.integers(1, 12).map(lambda n: n * PAGE), st.sampled_from([0, 1, PAGE - 1, 5 * PAGE + 1]))
prot = st.sampled_from([0, R, R | W, R | W, R | W, R | X, R | W | X])
operations = st.one_of(
    st.tuples(
        st.just("mmap"), odd_page, length, prot,
        st.sampled_from([MAP_PRIVATE, MAP_SHARED]).flatmap(
            lambda kind: st.sampled_from([kind, kind | MAP_FIXED, kind | MAP_FIXED, kind | MAP_NOREPLACE])
        ),
    ),
    st.tuples(st.just("munmap"), odd_page, length),
    st.tuples(st.just("mprotect"), odd_page, length, prot),
    st.tuples(
        st.just("mremap"), odd_page, length, length,
        st.sampled_from([0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_FIXED]), odd_page,
    ),
    st.tuples(st.just("msync"), odd_page, length, st.sampled_from([0, 1, 2, 4, 5, 8])),
    st.tuples(st.just("mincore"), odd_page, length),
    st.tuples(st.just("madvise"), odd_page, length, st.sampled_from([0, 1, 2, 4, 4, 4, 7, 10, 11, 77])),
    st.tuples(st.just("write"), page, st.integers(1, 3 * PAGE).map(lambda n: bytes([n % 255 + 1]) * n)),
    st.tuples(st.just("read"), page, st.integers(1, 3 * PAGE)),
)  # fmt: skip


def is_same_everywhere(both, operation):
    """Leave out what differs between versions of Linux: moving several areas in one mremap (since 6.17)."""
    if operation[0] != "mremap":
        return True
    _, old, old_length, new_length, _, _ = operation
    vma = both.guest.space.find(old)
    return vma is None or (old + (old_length + PAGE - 1 & -PAGE) <= vma.end and old_length > 0 and new_length > 0)


@given(st.lists(operations, max_size=25))
@settings(
    max_examples=150, deadline=None, database=None, derandomize=True, phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_random_calls_do_what_linux_does(sequence):
    with Both() as both:
        for operation in sequence:
            if is_same_everywhere(both, operation):
                both.do(*operation)
                both.compare()


HUGE = 1 << 63  # not for madvise and msync, which would then work on all of this process above BASE
CASES = [
    ("mmap", BASE, 0, R, MAP_PRIVATE),
    ("mmap", BASE + 1, PAGE, R, MAP_PRIVATE | MAP_FIXED),
    ("mmap", BASE, 1 << 47, R, MAP_PRIVATE),
    ("mmap", 0x7FFFFFFFF000, PAGE, R, MAP_PRIVATE | MAP_FIXED),
    ("mmap", 0x7FFFFFFFE000, 2 * PAGE, R, MAP_PRIVATE | MAP_FIXED),
    ("mmap", HUGE, PAGE, R, MAP_PRIVATE | MAP_FIXED),
    ("mmap", BASE, HUGE, R, MAP_PRIVATE | MAP_FIXED),
    ("mmap", BASE, (1 << 64) - 1, R, MAP_PRIVATE),
    ("munmap", BASE, 0),
    ("munmap", BASE + 8, PAGE),
    ("munmap", 0x7FFFFFFFF000, PAGE),
    ("munmap", HUGE, PAGE),
    ("munmap", BASE, HUGE),
    ("munmap", BASE, (1 << 64) - 1),
    ("mprotect", BASE, 0, R),
    ("mprotect", BASE + 1, 0, R),
    ("mprotect", BASE, PAGE, R),
    ("mprotect", HUGE, PAGE, R),
    ("mprotect", BASE, (1 << 64) - 1, R),
    ("mremap", BASE, PAGE, PAGE, 0, 0),
    ("mremap", BASE, PAGE, 0, 0, 0),
    ("mremap", HUGE, PAGE, PAGE, 1, 0),
    ("mremap", BASE, HUGE, PAGE, 1, 0),
    ("mremap", BASE, PAGE, HUGE, 1, 0),
    ("mremap", BASE, PAGE, PAGE, 2, BASE + PAGE),
    ("mremap", BASE, PAGE, PAGE, 3, BASE + 1),
    ("mremap", BASE, PAGE, PAGE, 3, HUGE),
    ("mremap", BASE, PAGE, PAGE, 3, 0x7FFFFFFFF000),
    ("madvise", BASE, 0, 4),
    ("madvise", BASE, 0, 12345),
    ("madvise", BASE + 1, PAGE, 4),
    ("madvise", BASE, (1 << 64) - 1, 4),
    ("madvise", BASE, PAGE, 4),
    ("msync", BASE, 0, 4),
    ("msync", BASE, PAGE, 5),
    ("msync", BASE + 1, PAGE, 4),
    ("msync", HUGE, PAGE, 4),
    ("mincore", BASE + 1, PAGE),
    ("mincore", BASE, 0),
    ("mincore", HUGE, PAGE),
]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_extreme_arguments(case, mapped):
    with Both() as both:
        if mapped:
            both.do("mmap", BASE, 2 * PAGE, R | W, MAP_PRIVATE | MAP_FIXED)
        both.do(*case)
        both.compare()


def test_old_length_zero():
    for kind in (MAP_PRIVATE, MAP_SHARED):
        with Both() as both:
            both.do("mmap", BASE, 2 * PAGE, R | W, kind | MAP_FIXED)
            both.do("write", BASE, b"hello")
            both.do("mremap", BASE, 0, 2 * PAGE, 0, 0)
            both.do("mremap", BASE, 0, 2 * PAGE, 1, 0)
            both.do("mremap", BASE, 0, 2 * PAGE, 3, BASE + 8 * PAGE)
            both.compare()
