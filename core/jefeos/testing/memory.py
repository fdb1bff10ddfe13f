"""Fakes for tests of memory management: an engine without a processor, a processor without an engine.

`FakeEngine` has RAM and counts what it is asked to do. `Processor` walks the page tables in that RAM as the
hardware does, independently of `jefeos.mm`, and calls the fault handler; it is the oracle of the memory tests.
What it walked is remembered as a TLB would, and `FakeEngine.check_tlb` tells whether a flush was forgotten.
`BytesSource` is a file in memory. Nothing here executes instructions.
"""

from __future__ import annotations

import mmap

from jefeos.cpu import paging
from jefeos.mm.faults import FAULT_FETCH, FAULT_USER, FAULT_WRITE, Fault
from jefeos.mm.space import AddressSpace

RESERVED_FRAMES = 16


class FakeEngine:
    """RAM without a processor. Counts what a real engine would have to do."""

    def __init__(self, ram_bytes: int) -> None:
        self.ram = memoryview(mmap.mmap(-1, ram_bytes))
        self.ram_words = self.ram.cast("Q")
        self.reserved_bytes = RESERVED_FRAMES * paging.PAGE_SIZE
        self.kernel_entries = ((511, 0x1003),)
        self._current_cr3 = 0
        self.tlb: dict[int, int] = {}  # page: entry with the rights of all levels, of the loaded space
        self.flushes = 0
        self.invalidated: list[tuple[int, int]] = []

    def flush_tlb(self) -> None:
        """Counted, and the TLB forgotten."""
        self.flushes += 1
        self.tlb.clear()

    @property
    def current_cr3(self) -> int:
        """The loaded top-level table. Setting it flushes."""
        return self._current_cr3

    @current_cr3.setter
    def current_cr3(self, physical_address: int) -> None:
        self._current_cr3 = physical_address
        self.tlb.clear()

    def check_tlb(self) -> None:
        """Fail if a cached translation allows more than the tables do now, or leads elsewhere."""
        for page, cached in self.tlb.items():
            entry = paging.walk(self.ram_words, self._current_cr3, page << paging.PAGE_SHIFT)
            address = paging.PTE_ADDRESS_MASK
            assert entry & paging.PTE_PRESENT, f"page {page:x} is gone, and its translation was not flushed"
            assert entry & address == cached & address, f"page {page:x} has moved without a flush"
            assert entry & paging.PTE_WRITE or not cached & paging.PTE_WRITE, f"page {page:x}: stale WRITE"
            assert not entry & paging.PTE_NX or cached & paging.PTE_NX, f"page {page:x}: stale right to execute"

    def invalidate_code(self, address: int, length: int) -> None:
        """Recorded only."""
        self.invalidated.append((address, length))

    def is_code_safe(self, frame: int) -> bool:
        """No code is dangerous to a fake."""
        return True

    def guard_code(self, address: int) -> None:
        """Never asked for."""
        raise AssertionError("no frame is suspect here")

    def forget_guards(self, cr3: int) -> None:
        """Nothing was noted."""


class Processor:
    """Accesses memory as ring-3 code does: walks the tables, takes faults, tries again. The tests' oracle."""

    def __init__(self, space: AddressSpace) -> None:
        engine = space.memory.engine
        self.engine = engine if isinstance(engine, FakeEngine) else None
        self.space = space
        self.words = engine.ram_words
        self.ram = engine.ram

    def translate(self, address: int, need: int = 0) -> int | None:
        """The physical address, or None if an access with error-code bits ``need`` would fault."""
        entry = paging.walk(self.words, self.space.cr3, address)
        if not entry & paging.PTE_PRESENT or not entry & paging.PTE_USER:
            return None
        assert entry & paging.PTE_NX or not entry & paging.PTE_WRITE, "a page is writable and executable"
        if need & FAULT_WRITE and not entry & paging.PTE_WRITE:
            return None
        if need & FAULT_FETCH and entry & paging.PTE_NX:
            return None
        if self.engine is not None and self.engine.current_cr3 == self.space.cr3:
            self.engine.tlb[address >> paging.PAGE_SHIFT] = entry
        return (entry & paging.PTE_ADDRESS_MASK) + (address & paging.PAGE_MASK)

    def access(self, address: int, need: int = 0) -> int | Fault:
        """The physical address after at most a few faults, or the fault that could not be resolved."""
        for _ in range(4):
            physical = self.translate(address, need)
            if physical is not None:
                return physical
            fault = self.space.fault(address, need | FAULT_USER)
            if fault is not Fault.OK:
                return fault
        raise AssertionError("the fault handler makes no progress")

    def load(self, address: int) -> int | Fault:
        physical = self.access(address)
        return physical if isinstance(physical, Fault) else self.ram[physical]

    def store(self, address: int, value: int) -> Fault:
        physical = self.access(address, FAULT_WRITE)
        if isinstance(physical, Fault):
            return physical
        self.ram[physical] = value
        return Fault.OK

    def fetch(self, address: int) -> int | Fault:
        physical = self.access(address, FAULT_FETCH)
        return physical if isinstance(physical, Fault) else self.ram[physical]


class BytesSource:
    """A file in a bytearray, counting what the page cache asks of it."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.reads: list[int] = []
        self.writes: list[int] = []

    def read_page(self, index: int, page: memoryview) -> None:
        self.reads.append(index)
        part = self.data[index * 4096 : (index + 1) * 4096]
        page[: len(part)] = part

    def read_pages(self, index: int, count: int) -> bytes:
        self.reads += range(index, index + count)
        return bytes(self.data[index * 4096 : (index + count) * 4096])

    def write_page(self, index: int, data: bytes) -> None:
        self.writes.append(index)
        part = data[: max(0, len(self.data) - index * 4096)]
        self.data[index * 4096 : index * 4096 + len(part)] = part
