"""mmap, munmap and mprotect: the sorted list of areas and what changes it.

Areas never overlap, neighbours that could be one are one, and ``_starts`` mirrors ``_vmas`` for bisection.
Addresses are chosen as Linux does: the highest gap below ``mmap_base`` that is large enough, leaving the guard gap
below a stack; if there is none, the lowest gap from `LOW_SEARCH_START`.

Errors are Linux's: EINVAL for what is not page aligned or empty, ENOMEM past the end of user space, for a hole
under mprotect, past ``address_space_limit_bytes`` and for more than 65530 areas, EEXIST for MAP_FIXED_NOREPLACE,
EACCES for write access to a shared mapping of a file that is not open for writing, EPERM below `LOWEST_ADDRESS`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

from jefeos.cpu.paging import PAGE_MASK, PAGE_SHIFT, PTE_NX, PTE_PRESENT, PTE_WRITE, TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.mm.faults import GUARD_GAP_BYTES, LOWEST_ADDRESS
from jefeos.mm.frames import CODE_LIVE, CODE_STALE
from jefeos.mm.pagetable import FRAME_FIELD
from jefeos.mm.usercopy import UserMemory
from jefeos.mm.vma import PROT_EXEC, PROT_WRITE, CountedFile, Vma

if TYPE_CHECKING:
    from jefeos.mm.manager import MemoryManager
    from jefeos.mm.pagecache import FileMapping

MAX_AREAS: Final = 65530  # vm.max_map_count
MAX_FILE_OFFSET: Final = 1 << 63
DEFAULT_MMAP_BASE: Final = TASK_SIZE - (136 << 20)  # below the largest usual stack
LOW_SEARCH_START: Final = TASK_SIZE // 3 & ~PAGE_MASK


def page_up(value: int) -> int:
    """``value`` rounded up to whole pages."""
    return (value + PAGE_MASK) & ~PAGE_MASK


class AreaSpace(UserMemory):
    """An address space whose areas can be changed."""

    def __init__(self, memory: MemoryManager) -> None:
        super().__init__(memory)
        self._mmap_base = self._full_from = DEFAULT_MMAP_BASE
        self.lock_future = False
        """mlockall(MCL_FUTURE): new areas are locked."""
        self.has_seals = False

    @property
    def mmap_base(self) -> int:
        """Where the search for free addresses begins, downwards."""
        return self._mmap_base

    @mmap_base.setter
    def mmap_base(self, address: int) -> None:
        # Everything from _full_from to the base is mapped: the search can begin there, however many areas that is.
        self._mmap_base = self._full_from = address

    @property
    def vmas(self) -> list[Vma]:
        """The areas, by address. Do not change the list."""
        return self._vmas

    def is_mapped(self, start: int, length: int) -> bool:
        """Whether areas cover the whole range."""
        end = start + length
        position = bisect_right(self._starts, start) - 1
        while position >= 0 and position < len(self._vmas):
            vma = self._vmas[position]
            if vma.start > start or start >= vma.end:
                return False
            start = vma.end
            if start >= end:
                return True
            position += 1
        return False

    # mmap.

    def map(
        self,
        address: int | None,
        length: int,
        prot: int,
        *,
        shared: bool = False,
        mapping: FileMapping | None = None,
        offset: int = 0,
        fixed: bool = False,
        fixed_noreplace: bool = False,
        name: bytes = b"",
        grows_down: bool = False,
        may_write: bool = True,
        noreserve: bool = False,
        file: CountedFile | None = None,
    ) -> int:
        """Make an area; returns its address (see mmap(2)). ``address`` is a hint unless a fixed flag is set.

        ``file`` is any object with ref() and unref(), held as long as a part of the area lives. Raises KernelError.
        """
        prot = int(prot)
        if length <= 0 or offset & PAGE_MASK:
            raise KernelError(Errno.EINVAL)
        length = page_up(length)
        if length > TASK_SIZE:
            raise KernelError(Errno.ENOMEM)
        if offset < 0 or offset + length > MAX_FILE_OFFSET:
            raise KernelError(Errno.EOVERFLOW)
        if shared and not may_write and prot & PROT_WRITE:
            raise KernelError(Errno.EACCES)
        if fixed or fixed_noreplace:
            start = address or 0
            self._check_fixed(start, length)
            if fixed_noreplace and self._any_area(start, start + length):
                raise KernelError(Errno.EEXIST)
        else:
            start = self._place(address or 0, length)
        end = start + length
        replaced = self._area_bytes(start, end) if fixed else 0
        self._check_growth(length - replaced)
        if prot & PROT_WRITE and not shared and not grows_down:
            self._check_data(length)
        if not noreserve and not shared and prot & PROT_WRITE and length >> PAGE_SHIFT > self._frames.total:
            raise KernelError(Errno.ENOMEM)  # Linux's heuristic overcommit: not more at once than there is
        if replaced:
            self._remove(start, end)
        own = shared and mapping is None
        if own:
            mapping = self.memory.page_cache.new_mapping(None)
            offset = 0
        vma = Vma(
            start,
            end,
            prot,
            shared=shared,
            mapping=mapping,
            offset=offset,
            name=name,
            grows_down=grows_down,
            may_write=may_write,
            file=file,
        )
        vma.locked = self.lock_future
        self._insert(vma)
        if own and mapping is not None:
            mapping.release()  # from now on it lives as long as its areas
        return start

    def _check_fixed(self, start: int, length: int) -> None:
        if start & PAGE_MASK:
            raise KernelError(Errno.EINVAL)
        if start < 0 or start + length > TASK_SIZE:
            raise KernelError(Errno.ENOMEM)
        if start < LOWEST_ADDRESS:
            raise KernelError(Errno.EPERM)

    def _check_growth(self, growth: int) -> None:
        """ENOMEM if the space may not become ``growth`` bytes larger, or hold another area."""
        limit = self.address_space_limit_bytes
        if limit is not None and growth > 0 and self.virtual_bytes + growth > limit:
            raise KernelError(Errno.ENOMEM)
        if len(self._vmas) >= MAX_AREAS:
            raise KernelError(Errno.ENOMEM)

    def _check_data(self, growth: int) -> None:
        """ENOMEM if there may not be ``growth`` bytes more of private memory that can be written."""
        limit = self.data_limit_bytes
        if limit is not None and growth + sum(v.end - v.start for v in self._vmas if v.is_data) > limit:
            raise KernelError(Errno.ENOMEM)

    def _place(self, hint: int, length: int) -> int:
        """Choose an address for ``length`` bytes, the hint's if that is free."""
        if hint:
            hint = max(hint & ~PAGE_MASK, LOWEST_ADDRESS)
            if hint + length <= TASK_SIZE and self._is_gap(hint, hint + length):
                return hint
        return self.find_gap(length)

    def _is_gap(self, start: int, end: int) -> bool:
        position = bisect_left(self._starts, start)
        if position and self._vmas[position - 1].end > start:
            return False
        if position < len(self._vmas):
            above = self._vmas[position]
            return end <= above.start - (GUARD_GAP_BYTES if above.grows_down else 0)
        return True

    def find_gap(self, length: int) -> int:
        """The start of the highest free range below ``mmap_base``. Raises KernelError(ENOMEM)."""
        vmas = self._vmas
        top = self._full_from
        position = bisect_left(self._starts, top)
        if position < len(vmas) and vmas[position].grows_down:
            top = min(top, vmas[position].start - GUARD_GAP_BYTES)
        full = top == self._full_from
        while position:
            position -= 1
            below = vmas[position]
            if top - below.end >= length:
                return top - length
            full = full and below.end >= top and not below.grows_down
            if full:
                self._full_from = min(below.start, top)
            top = min(top, below.start - (GUARD_GAP_BYTES if below.grows_down else 0))
        if top - LOWEST_ADDRESS >= length:
            return top - length
        start = LOW_SEARCH_START
        for vma in vmas[bisect_right(self._starts, start) :]:
            if vma.start - (GUARD_GAP_BYTES if vma.grows_down else 0) - start >= length:
                return start
            start = max(start, vma.end)
        if TASK_SIZE - start >= length:
            return start
        raise KernelError(Errno.ENOMEM)

    # munmap.

    def unmap(self, start: int, length: int) -> None:
        """Remove what is mapped in the range; holes are fine. Raises KernelError(EINVAL, ENOMEM)."""
        if start & PAGE_MASK or length <= 0 or start < 0 or start + page_up(length) > TASK_SIZE:
            raise KernelError(Errno.EINVAL)
        self._remove(start, start + page_up(length))

    def _remove(self, start: int, end: int) -> None:
        """munmap of a checked range."""
        if self.has_seals:
            self.require_unsealed(start, end)
        first, last = self._isolate(start, end)
        if first == last:
            return
        if end > self._full_from:
            self._full_from = min(end, self._mmap_base)
        gone = self._vmas[first:last]
        del self._vmas[first:last]
        del self._starts[first:last]
        zapped = 0
        for vma in gone:
            zapped += self.zap(vma.start, vma.end)
            self.virtual_bytes -= vma.end - vma.start
            self._forget(vma)
        self.free_empty_tables(gone[0].start, gone[-1].end)
        if zapped:
            self.flush()

    # mprotect.

    def protect(self, start: int, length: int, prot: int) -> None:
        """Change the rights of the range. What lies before a hole or a refusal is changed, as on Linux.

        Raises KernelError: EINVAL not aligned, ENOMEM hole, EACCES shared mapping of a read-only file.
        """
        prot = int(prot)
        if start & PAGE_MASK:
            raise KernelError(Errno.EINVAL)
        end = start + page_up(length)
        if length < 0 or end > 1 << 64:
            raise KernelError(Errno.ENOMEM)
        if not length:
            return
        position = bisect_right(self._starts, start) - 1
        if position < 0 or self._vmas[position].end <= start:
            raise KernelError(Errno.ENOMEM)
        if self.has_seals:
            self.require_unsealed(start, end)
        at = start
        try:
            while at < end:
                vma = self._vmas[position] if position < len(self._vmas) else None
                if vma is None or vma.start > at:
                    raise KernelError(Errno.ENOMEM)
                if prot & PROT_WRITE and vma.shared and not vma.may_write:
                    raise KernelError(Errno.EACCES)
                if vma.prot != prot:
                    if prot & PROT_WRITE and not vma.shared and not vma.is_data:
                        self._check_data(min(vma.end, end) - at)
                    if vma.start < at:
                        position += 1
                        vma = self._split(position - 1, at)
                    if vma.end > end:
                        self._split(position, end)
                    vma.set_prot(prot)
                    self._protect_entries(vma)
                at = vma.end
                position += 1
        finally:
            self._join(start, min(at, TASK_SIZE))
            self.flush()

    def _protect_entries(self, vma: Vma) -> None:
        """Bring the entries of an area in line with its new rights.

        Execution is never granted here but by the fault of the first fetch, which checks for stale translations.
        """
        prot = vma.prot
        words = self._words
        references = self._frames.references
        code = self._frames.code
        keep = -1
        if not prot & PROT_WRITE:
            keep &= ~PTE_WRITE
        add = PTE_PRESENT if prot else 0
        if not prot:
            keep &= ~PTE_PRESENT
        if not prot & PROT_EXEC:
            add |= PTE_NX
        own_writable = bool(prot & PROT_WRITE) and not vma.shared
        for _, first, last in self.entry_runs(vma.start, vma.end):
            entries = words[first:last].tolist()
            if not any(entries):
                continue
            for position, entry in enumerate(entries):
                if entry:
                    entry = entry & keep | add
                    if own_writable and entry & PTE_NX:
                        pfn = entry >> PAGE_SHIFT & FRAME_FIELD
                        if references[pfn] == 1:
                            entry |= PTE_WRITE
                            if code[pfn] == CODE_LIVE:
                                code[pfn] = CODE_STALE
                    entries[position] = entry
            words[first:last] = array("Q", entries)

    # mlock, mseal.

    def lock(self, start: int, length: int, *, locked: bool) -> None:
        """Mark what is mapped in the range as locked in memory, or no more so."""
        end = start + page_up(length)
        first, last = self._isolate(start, end)
        for area in self._vmas[first:last]:
            area.locked = locked
        self._join(start, end)

    @property
    def locked_bytes(self) -> int:
        """How much is locked (VmLck)."""
        return sum(vma.end - vma.start for vma in self._vmas if vma.locked)

    def seal(self, start: int, length: int) -> None:
        """mseal(2): from now on the range is not unmapped, moved, replaced or given other rights (EPERM)."""
        end = start + page_up(length)
        first, last = self._isolate(start, end)
        for area in self._vmas[first:last]:
            area.sealed = True
        self.has_seals = True
        self._join(start, end)

    def require_unsealed(self, start: int, end: int) -> None:
        """EPERM if a part of the range is sealed. Asked only where ``has_seals`` says that there are any."""
        if any(vma.sealed for vma in self._vmas if vma.start < end and start < vma.end):
            raise KernelError(Errno.EPERM)

    # The list.

    def _any_area(self, start: int, end: int) -> bool:
        position = bisect_left(self._starts, end) - 1
        return position >= 0 and self._vmas[position].end > start

    def _area_bytes(self, start: int, end: int) -> int:
        """How much of the range is mapped."""
        total = 0
        position = bisect_left(self._starts, end) - 1
        while position >= 0 and self._vmas[position].end > start:
            vma = self._vmas[position]
            total += min(vma.end, end) - max(vma.start, start)
            position -= 1
        return total

    def _adopt(self, vma: Vma) -> None:
        """The area belongs to this space from now on: tell its mapping and its file."""
        vma.space = self
        if vma.mapping is not None:
            vma.mapping.add_user(vma)
        if vma.file is not None:
            vma.file.ref()

    def _forget(self, vma: Vma) -> None:
        vma.space = None
        if vma.mapping is not None:
            vma.mapping.remove_user(vma)
        if vma.file is not None:
            vma.file.unref()

    def _insert(self, vma: Vma) -> None:
        """Add an area where nothing is mapped, or extend a neighbour that fits."""
        vmas = self._vmas
        position = bisect_left(self._starts, vma.start)
        self.virtual_bytes += vma.end - vma.start
        if vma.start < self._full_from <= vma.end:
            self._full_from = vma.start
        joins_above = position < len(vmas) and vma.joins(vmas[position])
        if position and vmas[position - 1].joins(vma):
            below = vmas[position - 1]
            if joins_above:
                self._swallow(position - 1, vmas[position].end)
            else:
                below.end = vma.end
            return
        if joins_above:
            above = vmas[position]
            above.start = vma.start
            above.offset = vma.offset
            self._starts[position] = vma.start
            return
        vmas.insert(position, vma)
        self._starts.insert(position, vma.start)
        self._adopt(vma)

    def _swallow(self, position: int, end: int) -> None:
        """The area at ``position`` grows to ``end`` over its next neighbour, which it replaces."""
        above = self._vmas.pop(position + 1)
        del self._starts[position + 1]
        self._vmas[position].end = end
        self._forget(above)

    def _split(self, position: int, address: int) -> Vma:
        """Split the area at ``position``; returns the upper part, which comes to ``position + 1``."""
        vma = self._vmas[position]
        if len(self._vmas) >= MAX_AREAS:
            raise KernelError(Errno.ENOMEM)
        upper = vma.part(address, vma.end)
        self._adopt(upper)
        vma.end = address
        vma.previous_page = (address >> PAGE_SHIFT) - 1
        self._vmas.insert(position + 1, upper)
        self._starts.insert(position + 1, address)
        return upper

    def _isolate(self, start: int, end: int) -> tuple[int, int]:
        """Split areas at the ends of the range; returns the positions [first, last) of the areas inside it."""
        first = bisect_right(self._starts, start) - 1
        if first >= 0 and self._vmas[first].end > start:
            if self._vmas[first].start < start:
                self._split(first, start)
                first += 1
        else:
            first += 1
        last = bisect_left(self._starts, end)
        if last > first and self._vmas[last - 1].end > end:
            self._split(last - 1, end)
        return first, last

    def _join(self, start: int, end: int) -> None:
        """Join neighbours from the area below ``start`` to the one above ``end`` where they have become alike."""
        position = max(bisect_right(self._starts, start) - 2, 0)
        while position + 1 < len(self._vmas) and self._vmas[position].end <= end:
            if self._vmas[position].joins(self._vmas[position + 1]):
                self._swallow(position, self._vmas[position + 1].end)
            else:
                position += 1

    def zap_file_pages(self, vma: Vma, start: int, end: int, *, private_copies: bool) -> None:
        """The page cache takes pages of a mapping away; private copies only if asked (truncation)."""
        if private_copies or vma.shared:
            zapped = self.zap(start, end)
        else:
            zapped = 0
            pages = vma.mapping.pages if vma.mapping is not None else {}
            words = self._words
            unref = self._frames.unref
            for address, first, last in self.entry_runs(start, end):
                index = (vma.offset + address - vma.start) >> PAGE_SHIFT
                for position, entry in enumerate(words[first:last].tolist()):
                    if entry and pages.get(index + position) == entry >> PAGE_SHIFT & FRAME_FIELD:
                        words[first + position] = 0
                        unref(entry >> PAGE_SHIFT & FRAME_FIELD)
                        zapped += 1
            self.resident_pages -= zapped
        if zapped:
            self.flush()
