"""The memory manager: one per system, behind the hook ``jefeos_memory_manager``.

It owns the frame allocator and the page cache over the engine's RAM and makes address spaces. A replacement must
offer the same attributes and methods. Of the engine it uses only what `MemoryEngine` lists.

`free_frames` is the check against leaks: with the same files cached or dropped, it is the same number whenever the
same processes live.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from jefeos.cpu.paging import PAGE_SHIFT
from jefeos.mm.frames import FrameAllocator
from jefeos.mm.pagecache import PageCache
from jefeos.mm.space import AddressSpace


class MemoryEngine(Protocol):
    """What memory management needs of an `Engine`."""

    ram: memoryview
    ram_words: memoryview
    reserved_bytes: int
    current_cr3: int

    def flush_tlb(self) -> None: ...

    def invalidate_code(self, address: int, length: int) -> None: ...

    def is_code_safe(self, frame: int) -> bool: ...

    def guard_code(self, address: int) -> None: ...

    def forget_guards(self, cr3: int) -> None: ...


@frozen
class MemoryInfo:
    """Totals for /proc/meminfo, in bytes."""

    total: int
    free: int
    available: int
    cached: int
    shared: int
    dirty: int


class MemoryManager:
    """Frames, page cache and address spaces of one system."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.kernel_entries: tuple[tuple[int, int], ...] = tuple(getattr(engine, "kernel_entries", ()))
        self.frames = FrameAllocator(engine.ram, engine.reserved_bytes, engine.is_code_safe)
        self.page_cache = PageCache(self.frames, engine.ram)
        self._serial = 0

    def next_serial(self) -> int:
        """A number for a new address space, never used again."""
        self._serial += 1
        return self._serial

    def new_space(self) -> AddressSpace:
        """An empty address space. Raises KernelError(ENOMEM)."""
        return AddressSpace(self)

    def free_frames(self) -> int:
        """Frames that are free or could be at once: clean pages of files that nobody maps."""
        return self.frames.free_count + self.page_cache.reclaimable()

    def info(self) -> MemoryInfo:
        mappings = self.page_cache.mappings()
        return MemoryInfo(
            total=self.frames.total << PAGE_SHIFT,
            free=self.frames.free_count << PAGE_SHIFT,
            available=self.free_frames() << PAGE_SHIFT,
            cached=self.page_cache.cached_pages << PAGE_SHIFT,
            shared=sum(mapping.resident for mapping in mappings if mapping.source is None) << PAGE_SHIFT,
            dirty=sum(len(mapping.dirty) for mapping in mappings) << PAGE_SHIFT,
        )
