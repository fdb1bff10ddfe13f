"""Page faults: what happens when a program touches a page whose entry does not allow it (yet).

    no area ──────── stack below? grow it ─── else SEGV_MAPERR
    right missing in the area ─────────────── SEGV_ACCERR
    no entry:   anonymous      zeroed frames, writable at once; more of them while the touches are sequential
                file, read     the cache's frame, read-only, and its neighbours that are cached already
                file, write    private: a copy    shared: the cache's frame, marked dirty
    entry:      write          alone: make it writable      with others: copy first
                execute        make it executable, and not writable (no page is ever both)

A frame with one reference belongs to the entry that holds it, because the cache holds references too. That is
all that copy-on-write needs to know.

A flush costs the translations of all other pages as well, so there is none where an entry only comes to allow more:
the worst that an old translation can do then is to fault once more. Another frame, and the end of a right, do need it.

A writable page is NX and an executable page is read-only, also in an area that allows both: the engine needs it
for speed (ARCHITECTURE, section 3), and the flip is where stale translations are dropped.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from jefeos.cpu.paging import (
    INDEX_MASK,
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    PD_SHIFT,
    PTE_ADDRESS_MASK,
    PTE_NX,
    PTE_PRESENT,
    PTE_WRITE,
    TASK_SIZE,
)
from jefeos.errors import Errno, KernelError
from jefeos.mm.frames import CODE_LIVE, CODE_NONE, CODE_STALE
from jefeos.mm.pagetable import FRAME_FIELD, PageTable
from jefeos.mm.vma import PROT_EXEC, PROT_WRITE, Vma

if TYPE_CHECKING:
    from jefeos.mm.manager import MemoryManager
    from jefeos.mm.pagecache import FileMapping

# Error code of #PF (SDM vol. 3, figure 4-12).
FAULT_WRITE: Final = 1 << 1
FAULT_USER: Final = 1 << 2
FAULT_FETCH: Final = 1 << 4

FAULT_AROUND_PAGES: Final = 16  # file pages mapped at one fault, aligned
LARGEST_WINDOW_PAGES: Final = 64  # anonymous pages mapped at one fault of a sequential program
SCARCE_FRAMES: Final = 256  # below this many free frames nothing is mapped ahead
GUARD_GAP_BYTES: Final = 256 * PAGE_SIZE  # kept free below a stack (Linux's stack_guard_gap)
LOWEST_ADDRESS: Final = 16 * PAGE_SIZE  # nothing is mapped below it (Linux's mmap_min_addr)
DEFAULT_STACK_LIMIT_BYTES: Final = 8 << 20


class Fault(IntEnum):
    """How a page fault ended."""

    OK = 0  # the instruction can run again
    SEGV_MAPERR = 1  # nothing is mapped there
    SEGV_ACCERR = 2  # the area does not allow it
    BUS_ADRERR = 3  # past the end of the file, or its source failed
    NO_MEMORY = 4


_OK: Final = Fault.OK


class FaultingSpace(PageTable):
    """Areas over the page table, and the fault handler."""

    def __init__(self, memory: MemoryManager) -> None:
        super().__init__(memory)
        self._starts: list[int] = []  # of _vmas, for bisection
        self._vmas: list[Vma] = []
        self.stack_limit_bytes = DEFAULT_STACK_LIMIT_BYTES
        self.address_space_limit_bytes: int | None = None
        self.data_limit_bytes: int | None = None  # of private memory that may be written, the stack excepted
        self.virtual_bytes = 0
        self.fault_count = 0
        self.guarded: set[int] = set()  # pages that the engine was told to guard

    def find(self, address: int) -> Vma | None:
        """The area that contains ``address``."""
        position = bisect_right(self._starts, address) - 1
        if position >= 0:
            vma = self._vmas[position]
            if address < vma.end:
                return vma
        return None

    def fault(self, address: int, error_code: int) -> Fault:
        """Handle a fault of user code at ``address``. Never raises KernelError."""
        self.fault_count += 1
        position = bisect_right(self._starts, address) - 1
        vma = self._vmas[position] if position >= 0 else None
        if vma is None or address >= vma.end:
            vma = self._grow_stack(position + 1, address)
            if vma is None:
                return Fault.SEGV_MAPERR
        prot = vma.prot
        if error_code & FAULT_WRITE:
            if not prot & PROT_WRITE:
                return Fault.SEGV_ACCERR
        elif error_code & FAULT_FETCH:
            if not prot & PROT_EXEC:
                return Fault.SEGV_ACCERR
        elif not prot:
            return Fault.SEGV_ACCERR
        try:
            leaf = self._leaves.get(address >> PD_SHIFT)
            if leaf is None:
                leaf = self.leaf_table(address)
            word = leaf + (address >> PAGE_SHIFT & INDEX_MASK)
            entry = self._words[word]
            if entry:
                self._widen(vma, word, address, error_code)
            elif vma.mapping is None:
                self._map_anonymous(vma, word, address, error_code)
            else:
                index = (vma.offset + address - vma.start) >> PAGE_SHIFT
                if vma.mapping.is_past_end(index):
                    return Fault.BUS_ADRERR
                if not error_code & FAULT_WRITE:
                    self._map_file(vma, vma.mapping, index, word, address, error_code)
                elif vma.shared:
                    self._map_shared_for_write(vma, vma.mapping, index, word)
                else:
                    self._map_private_copy(vma, vma.mapping, index, word)
        except KernelError as error:
            return Fault.NO_MEMORY if error.errno == Errno.ENOMEM else Fault.BUS_ADRERR
        return _OK

    # No entry yet.

    def _map_anonymous(self, vma: Vma, word: int, address: int, error_code: int) -> None:
        page = address >> PAGE_SHIFT
        flags = vma.pte_write
        if not flags or error_code & FAULT_FETCH:
            flags = vma.pte_read
        frames = self._frames
        first = page
        count = 1
        if frames.free_count > SCARCE_FRAMES:
            if page == vma.next_page:
                count = min(vma.window, (vma.end >> PAGE_SHIFT) - page, INDEX_MASK + 1 - (page & INDEX_MASK))
                entries = self._words[word + 1 : word + count].tolist()
                if any(entries):
                    count = 1 + next(position for position, entry in enumerate(entries) if entry)
            elif page == vma.previous_page:
                count = min(vma.window, page + 1 - (vma.start >> PAGE_SHIFT), (page & INDEX_MASK) + 1)
                entries = self._words[word + 1 - count : word].tolist()
                if any(entries):
                    count -= 1 + max(position for position, entry in enumerate(entries) if entry)
                first = page + 1 - count
        vma.next_page = first + count
        vma.previous_page = first - 1
        if count == 1:
            pfn = frames.alloc()
            self._words[word] = pfn << PAGE_SHIFT | flags
            self.resident_pages += 1
            if flags == vma.pte_read:
                self._admit_code(vma, word, pfn, address, error_code)
            return
        if vma.window < LARGEST_WINDOW_PAGES:
            vma.window *= 2
        word += first - page
        pfns = frames.alloc_many(count)
        if not flags & PTE_WRITE:
            flags |= PTE_NX  # an executable page of zeros is of no use: let the fetch of it fault
        self._words[word : word + count] = array("Q", [pfn << PAGE_SHIFT | flags for pfn in pfns])
        self.resident_pages += count

    def _map_file(
        self, vma: Vma, mapping: FileMapping, index: int, word: int, address: int, error_code: int
    ) -> None:
        """Read or fetch: the cache's own frame, and those around it that are cached already."""
        mapping.page(index)
        words = self._words
        references = self._frames.references
        page = address >> PAGE_SHIFT
        before = min(page & (FAULT_AROUND_PAGES - 1), page - (vma.start >> PAGE_SHIFT))
        after = min(FAULT_AROUND_PAGES - (page & (FAULT_AROUND_PAGES - 1)), (vma.end >> PAGE_SHIFT) - page)
        first = word - before
        entries = words[first : word + after].tolist()
        index -= before
        cached = mapping.pages.get
        flags = vma.pte_read
        if vma.shared and mapping.source is None and vma.pte_write and not error_code & FAULT_FETCH:
            flags = vma.pte_write  # nothing to write back, so nothing to learn from a second fault
        elif not flags & PTE_NX and mapping.shared_users:
            flags |= PTE_NX  # someone may be writing here: only what is fetched becomes executable
        code = self._frames.code
        suspects = self._frames.suspects
        added = 0
        for position, entry in enumerate(entries):
            if entry:
                continue
            pfn_here = cached(index + position)
            if pfn_here is None:
                continue
            references[pfn_here] += 1
            added += 1
            entry = pfn_here << PAGE_SHIFT | flags
            if code[pfn_here] == CODE_NONE:
                if not flags & PTE_NX:
                    self._frames.admit_code(pfn_here)
                    if pfn_here in suspects:
                        entry |= PTE_NX
            elif flags & PTE_WRITE:
                entry &= ~PTE_WRITE  # someone executes this frame: a write must come through a fault
            elif code[pfn_here] == CODE_STALE or pfn_here in suspects:
                entry |= PTE_NX
            entries[position] = entry
        words[first : word + after] = array("Q", entries)
        self.resident_pages += added
        if error_code & FAULT_FETCH and words[word] & PTE_NX:
            self._widen_for_fetch(vma, word, words[word], address)

    def _map_shared_for_write(self, vma: Vma, mapping: FileMapping, index: int, word: int) -> None:
        pfn = mapping.page(index, for_write=True)
        self._frames.references[pfn] += 1
        self.resident_pages += 1
        self._stop_execution(vma, mapping, index, pfn)
        self._words[word] = pfn << PAGE_SHIFT | vma.pte_write

    def _map_private_copy(self, vma: Vma, mapping: FileMapping, index: int, word: int) -> None:
        frames = self._frames
        copy = frames.alloc_raw()  # before the source page is looked up: allocation may reclaim that
        try:
            source = mapping.page(index) << PAGE_SHIFT
        except BaseException:
            frames.unref(copy)
            raise
        target = copy << PAGE_SHIFT
        ram = self._ram
        ram[target : target + PAGE_SIZE] = ram[source : source + PAGE_SIZE]
        self._words[word] = target | vma.pte_write
        self.resident_pages += 1

    # An entry that allows too little.

    def _widen(self, vma: Vma, word: int, address: int, error_code: int) -> None:
        words = self._words
        entry = words[word]
        if error_code & FAULT_WRITE:
            if not entry & PTE_WRITE:
                pfn = entry >> PAGE_SHIFT & FRAME_FIELD
                if vma.shared:
                    if vma.mapping is not None:
                        index = (vma.offset + address - vma.start) >> PAGE_SHIFT
                        vma.mapping.mark_dirty(index)
                        self._stop_execution(vma, vma.mapping, index, pfn)
                    words[word] = entry & PTE_ADDRESS_MASK | vma.pte_write
                elif self._frames.references[pfn] == 1:
                    self.mark_written(pfn)
                    words[word] = entry & PTE_ADDRESS_MASK | vma.pte_write
                else:
                    self._copy_on_write(vma, word)
        elif error_code & FAULT_FETCH:
            if entry & PTE_NX:
                self._widen_for_fetch(vma, word, entry, address)
                return
        elif not entry & PTE_PRESENT:  # kept from a time of PROT_NONE
            words[word] = entry & PTE_ADDRESS_MASK | vma.pte_read | PTE_NX
        if not entry & PTE_NX:
            self.flush()  # the engine may still run its translations of the page without looking it up

    def _copy_on_write(self, vma: Vma, word: int) -> None:
        frames = self._frames
        copy = frames.alloc_raw()
        source = self._words[word] & PTE_ADDRESS_MASK
        if not source:  # reclaim took the page meanwhile: fault again
            frames.unref(copy)
            return
        target = copy << PAGE_SHIFT
        ram = self._ram
        ram[target : target + PAGE_SIZE] = ram[source : source + PAGE_SIZE]
        self._words[word] = target | vma.pte_write
        frames.unref(source >> PAGE_SHIFT)
        self.flush()  # not left to the instruction's second try: a signal handler might read the old frame before it

    def _widen_for_fetch(self, vma: Vma, word: int, entry: int, address: int) -> None:
        pfn = entry >> PAGE_SHIFT & FRAME_FIELD
        if vma.mapping is not None and vma.mapping.shared_users:
            index = (vma.offset + address - vma.start) >> PAGE_SHIFT
            vma.mapping.revoke(index, keep=vma, writable=False, executable=True)
        self._words[word] = entry & PTE_ADDRESS_MASK | vma.pte_read
        self._admit_code(vma, word, pfn, address, FAULT_FETCH)

    def _admit_code(self, vma: Vma, word: int, pfn: int, address: int, error_code: int) -> None:
        """The page at ``word`` is about to be executable: see that no old translation of its frame is used."""
        if vma.pte_read & PTE_NX:
            return
        code = self._frames.code
        if code[pfn] == CODE_STALE:
            if not error_code & FAULT_FETCH:  # only what the engine fetches now is loaded for sure
                self._words[word] |= PTE_NX
                return
            self._engine.invalidate_code(address & ~PAGE_MASK, PAGE_SIZE)
        frames = self._frames
        if code[pfn] != CODE_LIVE:
            frames.admit_code(pfn)
        if pfn in frames.suspects:
            if error_code & FAULT_FETCH:
                self._engine.guard_code(address)
                self.guarded.add(address & ~PAGE_MASK)
            else:
                self._words[word] |= PTE_NX
        elif address & ~PAGE_MASK in self.guarded:
            self._engine.guard_code(address)  # other content than before: forget what was guarded here
            self.guarded.discard(address & ~PAGE_MASK)

    def _stop_execution(self, vma: Vma, mapping: FileMapping, index: int, pfn: int) -> None:
        """A shared frame becomes writable here: nobody may go on executing it."""
        if self._frames.code[pfn] == CODE_LIVE:
            self._frames.code[pfn] = CODE_STALE
            mapping.revoke(index, keep=vma, writable=True, executable=False)

    # The stack.

    def _grow_stack(self, position: int, address: int) -> Vma | None:
        """Extend the area at ``position`` (the first one above ``address``) down to it, if it is a stack."""
        if position >= len(self._vmas):
            return None
        vma = self._vmas[position]
        if not vma.grows_down or address < 0 or address >= TASK_SIZE:
            return None
        start = address & ~PAGE_MASK
        growth = vma.start - start
        if vma.end - start > self.stack_limit_bytes or start < LOWEST_ADDRESS:
            return None
        limit = self.address_space_limit_bytes
        if limit is not None and self.virtual_bytes + growth > limit:
            return None
        if position:
            below = self._vmas[position - 1]
            if below.prot and not below.grows_down and start - below.end < GUARD_GAP_BYTES:
                return None
        if vma.mapping is not None:
            vma.offset -= growth
        vma.start = start
        self._starts[position] = start
        self.virtual_bytes += growth
        return vma
