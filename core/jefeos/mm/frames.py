"""The frame allocator: who uses which 4096-byte frame of guest RAM.

    0        reserved      _next                 total
    | engine | handed out  | never used: known 0 |
              freed frames go on a stack and are handed out again first (their host memory is warm)

Every frame has a reference count: one for each page table entry that maps it, one for the page cache that
holds it, one for the page table it is. It is free at zero.

Each frame also has a *code* mark, since the engine keeps translations by physical address and notices no
write that the kernel makes (ARCHITECTURE, section 3):

    CODE_NONE   nothing in it was ever mapped executable
    CODE_LIVE   mapped executable, and its content has not changed since: translations are good, and shared
    CODE_STALE  its content may have changed since it was executed: `Engine.invalidate_code` before it runs

Rules: `alloc` gives zeroed frames, `alloc_raw` frames of any content (the caller overwrites all of it).
When none is left the allocator asks `reclaim(count)` once and then fails with ENOMEM. Hot paths of the
memory manager read and write `references` and `code` directly; the methods are the same thing, spelt out.

It knows no order above one frame: contiguous memory for DMA belongs to a heap of its own, which takes its frames
once, at boot, from the top (`claim_top`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from jefeos.cpu.paging import PAGE_SHIFT, PAGE_SIZE
from jefeos.errors import Errno, KernelError

CODE_NONE: Final = 0
CODE_LIVE: Final = 1
CODE_STALE: Final = 2

ZERO_PAGE: Final = bytes(PAGE_SIZE)


def _no_reclaim(count: int) -> int:
    return 0


def _always_safe(pfn: int) -> bool:
    return True


class FrameAllocator:
    """Frames ``reserved_bytes / 4096`` and up of ``ram`` (a writable memoryview of bytes)."""

    __slots__ = (
        "_is_code_safe",
        "_next",
        "_ram",
        "code",
        "first",
        "free_list",
        "limit",
        "reclaim",
        "references",
        "suspects",
    )

    def __init__(
        self, ram: memoryview, reserved_bytes: int, is_code_safe: Callable[[int], bool] = _always_safe
    ) -> None:
        frame_count = len(ram) >> PAGE_SHIFT
        self._ram = ram
        self.first = (reserved_bytes + PAGE_SIZE - 1) >> PAGE_SHIFT
        self.limit = frame_count
        self._next = self.first
        self.free_list: list[int] = []
        self.references: list[int] = [0] * frame_count
        self.code = bytearray(frame_count)
        self.reclaim: Callable[[int], int] = _no_reclaim
        self.suspects: set[int] = set()
        """Executed frames whose code the engine must guard (`Engine.is_code_safe`)."""
        self._is_code_safe = is_code_safe

    @property
    def total(self) -> int:
        """Frames that can be handed out at all."""
        return self.limit - self.first

    @property
    def free_count(self) -> int:
        """Frames free at this moment, without asking for reclaim."""
        return self.limit - self._next + len(self.free_list)

    # Hot paths: one frame.

    def admit_code(self, pfn: int) -> None:
        """The frame is mapped executable with content that never was: have the engine look through it."""
        self.code[pfn] = CODE_LIVE
        if self._is_code_safe(pfn):
            self.suspects.discard(pfn)
        else:
            self.suspects.add(pfn)

    def alloc(self) -> int:
        """A zeroed frame with one reference. Raises KernelError(ENOMEM)."""
        free = self.free_list
        if free:
            pfn = free.pop()
            address = pfn << PAGE_SHIFT
            self._ram[address : address + PAGE_SIZE] = ZERO_PAGE
            if self.code[pfn]:
                self.code[pfn] = CODE_STALE
        elif self._next < self.limit:
            pfn = self._next
            self._next = pfn + 1
        else:
            self._make_room(1)
            return self.alloc()
        self.references[pfn] = 1
        return pfn

    def alloc_raw(self) -> int:
        """A frame of undefined content with one reference. Raises KernelError(ENOMEM)."""
        free = self.free_list
        if free:
            pfn = free.pop()
            if self.code[pfn]:
                self.code[pfn] = CODE_STALE
        elif self._next < self.limit:
            pfn = self._next
            self._next = pfn + 1
        else:
            self._make_room(1)
            return self.alloc_raw()
        self.references[pfn] = 1
        return pfn

    def alloc_many(self, count: int) -> list[int]:
        """``count`` zeroed frames, or as many as are free without reclaim (at least one). Raises ENOMEM."""
        alloc = self.alloc
        if count > self.free_count:
            count = max(self.free_count, 1)
        return [alloc() for _ in range(count)]

    def alloc_raw_many(self, count: int) -> list[int]:
        """Up to ``count`` frames of undefined content, as many as are free without reclaim: neighbours if it can be."""
        free = self.free_list
        found = free[-count:] if count > 0 else []
        del free[len(free) - len(found) :]
        references, code = self.references, self.code
        for pfn in found:
            references[pfn] = 1
            if code[pfn]:
                code[pfn] = CODE_STALE
        start = self._next
        stop = min(start + count - len(found), self.limit)
        if stop > start:
            self._next = stop
            references[start:stop] = [1] * (stop - start)
            found += range(start, stop)
        return found

    def fill(self, frames: list[int], data: bytes) -> None:
        """Put contents into frames, whole ones only; into neighbours at once."""
        view = memoryview(data)
        start = 0
        for stop in range(1, len(frames) + 1):
            if stop == len(frames) or frames[stop] != frames[stop - 1] + 1:
                address, length = frames[start] << PAGE_SHIFT, (stop - start) << PAGE_SHIFT
                self._ram[address : address + length] = view[start << PAGE_SHIFT : stop << PAGE_SHIFT]
                start = stop

    def ref(self, pfn: int) -> None:
        self.references[pfn] += 1

    def unref(self, pfn: int) -> None:
        """Drop one reference; the frame is free when none is left."""
        left = self.references[pfn] - 1
        if left < 0:
            raise AssertionError(f"frame {pfn} is freed twice")
        self.references[pfn] = left
        if not left:
            self.free_list.append(pfn)

    def refcount(self, pfn: int) -> int:
        return self.references[pfn]

    def unref_entries(self, frames: Iterable[int]) -> None:
        """`unref` for many frames at once."""
        references = self.references
        release = self.free_list.append
        for pfn in frames:
            left = references[pfn] - 1
            references[pfn] = left
            if left <= 0:
                if left < 0:
                    references[pfn] = 0
                    raise AssertionError(f"frame {pfn} is freed twice")
                release(pfn)

    def reserve(self, count: int) -> None:
        """Raise ENOMEM unless ``count`` frames are free, after reclaim if need be. Reserves nothing."""
        missing = count - self.free_count
        if missing > 0:
            self.reclaim(missing)
            if self.free_count < count:
                raise KernelError(Errno.ENOMEM, "out of memory frames")

    def claim_top(self, count: int) -> int:
        """Take the ``count`` highest frames away for good; gives the first. Raises KernelError(ENOMEM)."""
        if self.limit - count < self._next:
            raise KernelError(Errno.ENOMEM, f"no {count} contiguous frames are left at the top of memory")
        self.limit -= count
        return self.limit

    def _make_room(self, count: int) -> None:
        self.reclaim(max(count, 32))  # a batch, so that the next allocations do not each search the cache
        if not self.free_count:
            raise KernelError(Errno.ENOMEM, "out of memory frames")
