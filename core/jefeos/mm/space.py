"""An address space: everything one program (and its threads) can address.

It is made of layers, one file each: `pagetable` (tables the engine walks), `faults` (page faults), `usercopy`
(the kernel's access), `areas` (mmap, munmap, mprotect), and here the rest: mremap, madvise, msync, mincore, brk,
fork, futex keys, and the end.

Reference counting: threads and vfork share one space; `ref` for each of them, `release` when one leaves. The last
`release` returns every frame, page tables included.

fork copies page tables, not pages: private pages become read-only in both spaces and share their frames until one
of them writes (`FaultingSpace` copies then).

Not here: memory locking (accepted and ignored above), swapping, huge pages, NUMA, protection keys.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from jefeos.cpu.paging import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.mm.areas import AreaSpace, page_up
from jefeos.mm.faults import FAULT_USER, FAULT_WRITE, Fault
from jefeos.mm.vma import PROT_READ, PROT_WRITE, Vma

if TYPE_CHECKING:
    from jefeos.mm.manager import MemoryManager

HEAP_NAME: Final = b"[heap]"
MS_ASYNC: Final = 1
MS_INVALIDATE: Final = 2
MS_SYNC: Final = 4


class Advice(IntEnum):
    """MADV_* of madvise(2)."""

    NORMAL = 0
    RANDOM = 1
    SEQUENTIAL = 2
    WILLNEED = 3
    DONTNEED = 4
    FREE = 8
    REMOVE = 9
    DONTFORK = 10
    DOFORK = 11
    MERGEABLE = 12
    UNMERGEABLE = 13
    HUGEPAGE = 14
    NOHUGEPAGE = 15
    DONTDUMP = 16
    DODUMP = 17
    WIPEONFORK = 18
    KEEPONFORK = 19
    COLD = 20
    PAGEOUT = 21
    POPULATE_READ = 22
    POPULATE_WRITE = 23


_KNOWN_ADVICE: Final = frozenset(int(advice) for advice in Advice)
_IN_AREAS: Final = frozenset(
    (
        Advice.DONTNEED,
        Advice.FREE,
        Advice.REMOVE,
        Advice.DONTFORK,
        Advice.DOFORK,
        Advice.WIPEONFORK,
        Advice.KEEPONFORK,
        Advice.POPULATE_READ,
        Advice.POPULATE_WRITE,
    )
)


class AddressSpace(AreaSpace):
    """See the module's text. Made by `MemoryManager.new_space`; sizes and addresses are in bytes."""

    def __init__(self, memory: MemoryManager) -> None:
        super().__init__(memory)
        self.serial = memory.next_serial()
        self.references = 1
        self._brk_start = 0
        self.brk_end = 0

    def __repr__(self) -> str:
        return f"<AddressSpace {self.serial}: {len(self._vmas)} areas, {self.resident_pages} pages>"

    # Lifetime.

    def ref(self) -> AddressSpace:
        """One more user; returns the space."""
        self.references += 1
        return self

    def release(self) -> None:
        """One user less; the last one frees everything. The engine must not run in it any more."""
        self.references -= 1
        if self.references:
            return
        vmas = self._vmas
        self._vmas = []
        self._starts = []
        for vma in vmas:
            self.zap(vma.start, vma.end)
            if vma.mapping is not None or vma.file is not None:
                self._forget(vma)
        self.virtual_bytes = 0
        if self.guarded:
            self.memory.engine.forget_guards(self.cr3)
        self.free_tables()

    def fork(self) -> AddressSpace:
        """A copy of this space for a child process. Raises KernelError(ENOMEM) with nothing changed to notice."""
        child = AddressSpace(self.memory)
        child.mmap_base = self._mmap_base
        child.stack_limit_bytes = self.stack_limit_bytes
        child.address_space_limit_bytes = self.address_space_limit_bytes
        child.data_limit_bytes = self.data_limit_bytes
        child._brk_start = self._brk_start
        child.brk_end = self.brk_end
        child.has_seals = self.has_seals
        try:
            for vma in self._vmas:
                if vma.dont_fork:
                    continue
                copy = vma.part(vma.start, vma.end)
                copy.locked = False
                child._vmas.append(copy)
                child._starts.append(copy.start)
                child.virtual_bytes += copy.end - copy.start
                if copy.mapping is not None or copy.file is not None:
                    child._adopt(copy)
                else:
                    copy.space = child
                copy.next_page = vma.next_page
                copy.previous_page = vma.previous_page
                if not vma.wipe_on_fork:
                    self.copy_entries(child, vma.start, vma.end, protect=not vma.shared)
            for page in self.guarded:  # the engine guards by address space: the child's first fetch will ask for it
                child.restrict_page(page, writable=True, executable=False)
        except BaseException:
            child.release()
            raise
        finally:
            self.flush()
        return child

    # The heap.

    @property
    def brk_start(self) -> int:
        """Where the heap begins. Setting it (once, by the loader) makes the heap empty."""
        return self._brk_start

    @brk_start.setter
    def brk_start(self, address: int) -> None:
        self._brk_start = self.brk_end = address

    def brk(self, address: int) -> int:
        """Move the end of the heap to ``address`` if that can be; returns where it is (see brk(2))."""
        if address < self._brk_start or address > TASK_SIZE:
            return self.brk_end
        old_top = page_up(self.brk_end)
        new_top = page_up(address)
        if new_top < old_top:
            self._remove(new_top, old_top)
        elif new_top > old_top:
            if not self._is_gap(old_top, new_top + PAGE_SIZE):
                return self.brk_end
            try:
                self.map(old_top, new_top - old_top, PROT_READ | PROT_WRITE, fixed=True, name=HEAP_NAME)
            except KernelError:
                return self.brk_end
        self.brk_end = address
        return address

    # mremap.

    def remap(
        self, old: int, old_length: int, new_length: int, *, may_move: bool, fixed_at: int | None = None
    ) -> int:
        """Resize or move a part of an area (see mremap(2)); returns its address.

        Raises KernelError: EINVAL, EFAULT (not one area), ENOMEM.
        """
        if old & PAGE_MASK or old < 0 or old_length < 0 or new_length <= 0:
            raise KernelError(Errno.EINVAL)
        old_length = page_up(old_length)
        new_length = page_up(new_length)
        if new_length > TASK_SIZE:
            raise KernelError(Errno.EINVAL)
        if fixed_at is not None:
            if not may_move or fixed_at & PAGE_MASK or fixed_at < 0 or fixed_at + new_length > TASK_SIZE:
                raise KernelError(Errno.EINVAL)
            if fixed_at < old + old_length and old < fixed_at + new_length:
                raise KernelError(Errno.EINVAL)
        vma = self.find(old)
        if vma is None:
            raise KernelError(Errno.EFAULT)
        if not old_length and not vma.shared:
            raise KernelError(Errno.EINVAL)
        if self.has_seals:
            self.require_unsealed(old, old + max(old_length, 1))
        if fixed_at is not None:
            self._check_fixed(fixed_at, new_length)
            self._remove(fixed_at, fixed_at + new_length)
        if old_length >= new_length:
            if old_length > new_length:
                self.unmap(old + new_length, old_length - new_length)
            if fixed_at is None:
                return old
            old_length = new_length
        vma = self.find(old)
        if vma is None or old + old_length > vma.end:
            raise KernelError(Errno.EFAULT)
        self._check_growth(new_length - old_length)
        if fixed_at is None and old_length and old + old_length == vma.end:
            if vma.end + new_length - old_length <= TASK_SIZE and self._is_gap(vma.end, old + new_length):
                self._insert(vma.part(vma.end, old + new_length))
                return old
        if fixed_at is None:
            if not may_move:
                raise KernelError(Errno.ENOMEM)
            fixed_at = self.find_gap(new_length)
        return self._move(vma, old, old_length, fixed_at, new_length)

    def _move(self, vma: Vma, old: int, old_length: int, new: int, new_length: int) -> int:
        """Make ``new`` show what ``old`` shows; an ``old_length`` of 0 leaves the original in place."""
        moved = vma.part(old, old + new_length)
        moved.start, moved.end = new, new + new_length
        moved.grows_down = False
        moved.next_page = new >> PAGE_SHIFT
        moved.previous_page = (moved.end >> PAGE_SHIFT) - 1
        if old_length:
            self.move_entries(old, new, old_length)
            for page in self.guarded:
                if old <= page < old + old_length:
                    self.restrict_page(page - old + new, writable=True, executable=False)
        self._insert(moved)
        if old_length:
            self._remove(old, old + old_length)
            self.flush()
        return new

    # madvise, msync, mincore.

    def advise(self, start: int, length: int, advice: int) -> None:
        """madvise(2). DONTNEED and FREE drop pages at once; advice that is only about speed is accepted.

        Raises KernelError: EINVAL, ENOMEM (a hole; the mapped parts are done all the same).
        """
        if start & PAGE_MASK or length < 0 or advice not in _KNOWN_ADVICE:
            raise KernelError(Errno.EINVAL)
        end = start + page_up(length)
        if end > 1 << 64:
            raise KernelError(Errno.EINVAL)
        if not length:
            return
        if advice in _IN_AREAS:
            at = start
            while at < end:
                vma = self.find(at)
                if vma is None:
                    at = self._next_start(at, end)
                    continue
                stop = min(vma.end, end)
                self._advise_area(vma, at, stop, advice)
                at = stop
            self._join(start, min(end, TASK_SIZE))
        if not self.is_mapped(start, end - start):
            raise KernelError(Errno.ENOMEM)

    def _next_start(self, at: int, end: int) -> int:
        return min((start for start in self._starts if start > at), default=end)

    def _advise_area(self, vma: Vma, start: int, stop: int, advice: int) -> None:
        if advice == Advice.DONTNEED or advice == Advice.FREE:
            if vma.sealed and not vma.shared and not vma.prot & PROT_WRITE:
                raise KernelError(Errno.EPERM)  # it would change what a program cannot write
            if vma.locked and advice == Advice.DONTNEED:
                raise KernelError(Errno.EINVAL)
            if advice == Advice.FREE and (vma.shared or vma.mapping is not None):
                raise KernelError(Errno.EINVAL)
            if self.zap(start, stop):
                self.flush()
        elif advice == Advice.REMOVE:
            if not vma.shared or vma.mapping is None or vma.mapping.source is not None:
                raise KernelError(Errno.EINVAL)
            index = (vma.offset + start - vma.start) >> PAGE_SHIFT
            vma.mapping.punch(index, index + ((stop - start) >> PAGE_SHIFT))
        elif advice == Advice.POPULATE_READ or advice == Advice.POPULATE_WRITE:
            self.populate(start, stop - start, for_write=advice == Advice.POPULATE_WRITE)
        else:
            if advice == Advice.WIPEONFORK and (vma.shared or vma.mapping is not None):
                raise KernelError(Errno.EINVAL)
            first, last = self._isolate(start, stop)
            for area in self._vmas[first:last]:
                if advice == Advice.DONTFORK or advice == Advice.DOFORK:
                    area.dont_fork = advice == Advice.DONTFORK
                else:
                    area.wipe_on_fork = advice == Advice.WIPEONFORK

    def populate(self, start: int, length: int, *, for_write: bool = False) -> None:
        """Fault the pages of a range in now (MAP_POPULATE). Raises KernelError(EFAULT, ENOMEM)."""
        error_code = FAULT_USER | FAULT_WRITE if for_write else FAULT_USER
        for address in range(start & ~PAGE_MASK, start + length, PAGE_SIZE):
            if not self.entry(address):
                fault = self.fault(address, error_code)
                if fault is not Fault.OK:
                    raise KernelError(Errno.ENOMEM if fault is Fault.NO_MEMORY else Errno.EFAULT)

    def msync(self, start: int, length: int, flags: int) -> None:
        """Write back the files mapped shared in the range (see msync(2)). Raises KernelError."""
        if start & PAGE_MASK or flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or flags & 5 == 5:
            raise KernelError(Errno.EINVAL)
        end = start + page_up(length)
        at = start
        while at < end:
            vma = self.find(at)
            if vma is None:
                break
            if vma.shared and vma.mapping is not None and flags & MS_SYNC:
                vma.mapping.writeback()
            at = vma.end
        if length and not self.is_mapped(start, end - start):
            raise KernelError(Errno.ENOMEM)

    def mincore(self, start: int, length: int) -> bytes:
        """One byte a page: 1 if it is in memory. Raises KernelError(EINVAL, ENOMEM)."""
        if start & PAGE_MASK:
            raise KernelError(Errno.EINVAL)
        if length and not self.is_mapped(start, page_up(length)):
            raise KernelError(Errno.ENOMEM)
        end = start + page_up(length)
        answer = bytearray((end - start) >> PAGE_SHIFT)  # holes cost nothing: a range may be terabytes
        for address, first, last in self.entry_runs(start, end) if length else ():
            at = (address - start) >> PAGE_SHIFT
            answer[at : at + last - first] = bytes(map(bool, self._words[first:last]))
        at = start
        while at < end and (vma := self.find(at)) is not None:
            stop = min(end, vma.end)
            if vma.mapping is not None:
                first, pages = (vma.offset + at - vma.start) >> PAGE_SHIFT, vma.mapping.pages
                indexes = range(first, first + ((stop - at) >> PAGE_SHIFT))
                base = ((at - start) >> PAGE_SHIFT) - first
                fewer, others = (indexes, pages) if len(indexes) < len(pages) else (pages, indexes)
                for index in fewer:
                    if index in others:
                        answer[base + index] = 1
            at = stop
        return bytes(answer)

    # Futexes.

    def futex_key(self, address: int) -> Hashable:
        """What identifies the futex word at ``address``: equal for all who share the word.

        Raises KernelError(EFAULT) if nothing readable is mapped there.
        """
        vma = self.find(address)
        if vma is None or not vma.prot:
            raise KernelError(Errno.EFAULT)
        if vma.shared and vma.mapping is not None:
            return ("mapping", vma.mapping.serial, vma.offset + address - vma.start)
        return ("space", self.serial, address)
