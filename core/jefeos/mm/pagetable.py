"""Page tables of one address space, in guest RAM, where the engine walks them.

    cr3 ─► PML4 ─► PDPT ─► PD ─► leaf table ─► frame

Python never walks from the top: a dictionary gives the word index of each leaf table, so that the entry of an
address is ``words[leaves[address >> 21] + (address >> 12 & 511)]``. Upper levels allow everything; leaf entries decide.

A leaf entry is 0 (nothing there), or holds a frame on which it has a reference. An entry with a frame but without
PRESENT belongs to an area with PROT_NONE: the content waits for better rights.

The engine caches translations: whoever changes a present entry calls `flush` before user code runs again.
Adding an entry needs no flush.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from jefeos.cpu.paging import (
    INDEX_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    PD_SHIFT,
    PDPT_SHIFT,
    PML4_SHIFT,
    PTE_ADDRESS_MASK,
    PTE_NX,
    PTE_WRITE,
    TABLE_FLAGS,
)
from jefeos.mm.frames import CODE_LIVE, CODE_STALE, ZERO_PAGE

if TYPE_CHECKING:
    from jefeos.mm.manager import MemoryManager

# A table's word index from its frame number (512 words a frame), and back.
TABLE_WORDS_SHIFT: Final = 9
LEAF_BYTES: Final = 1 << PD_SHIFT
LEAF_OFFSET_MASK: Final = LEAF_BYTES - 1
FRAME_FIELD: Final = PTE_ADDRESS_MASK >> PAGE_SHIFT


class PageTable:
    """The lowest layer of an address space: entries and frames, knowing nothing of areas."""

    def __init__(self, memory: MemoryManager) -> None:
        engine = memory.engine
        frames = memory.frames
        self.memory = memory
        self._engine = engine
        self._frames = frames
        self._ram = engine.ram
        self._words = engine.ram_words
        self._leaves: dict[int, int] = {}  # address >> 21: word index of the leaf table
        self._directories: dict[int, int] = {}  # address >> 30: of the PD
        self._pointers: dict[int, int] = {}  # address >> 39: of the PDPT
        pfn = frames.alloc()
        self.cr3 = pfn << PAGE_SHIFT
        self._top = pfn << TABLE_WORDS_SHIFT
        for index, entry in memory.kernel_entries:
            self._words[self._top + index] = entry
        self.resident_pages = 0

    @property
    def table_frames(self) -> int:
        """Frames that the tables themselves take."""
        return 1 + len(self._leaves) + len(self._directories) + len(self._pointers)

    def flush(self) -> None:
        """Make the engine forget what it cached of this address space."""
        engine = self._engine
        if engine.current_cr3 == self.cr3:
            engine.flush_tlb()

    def entry(self, address: int) -> int:
        """The leaf entry of a page, 0 if none."""
        leaf = self._leaves.get(address >> PD_SHIFT)
        return self._words[leaf + (address >> PAGE_SHIFT & INDEX_MASK)] if leaf is not None else 0

    # Growing the tree.

    def leaf_table(self, address: int) -> int:
        """Word index of the leaf table that covers ``address``, made if need be. Raises KernelError(ENOMEM)."""
        slot = address >> PD_SHIFT
        leaf = self._leaves.get(slot)
        if leaf is None:
            directory = self._directories.get(address >> PDPT_SHIFT)
            if directory is None:
                pointers = self._pointers.get(address >> PML4_SHIFT)
                if pointers is None:
                    pointers = self._new_table(self._top + (address >> PML4_SHIFT))
                    self._pointers[address >> PML4_SHIFT] = pointers
                directory = self._new_table(pointers + (address >> PDPT_SHIFT & INDEX_MASK))
                self._directories[address >> PDPT_SHIFT] = directory
            leaf = self._new_table(directory + (slot & INDEX_MASK))
            self._leaves[slot] = leaf
        return leaf

    def _new_table(self, parent_word: int) -> int:
        pfn = self._frames.alloc()
        self._words[parent_word] = pfn << PAGE_SHIFT | TABLE_FLAGS
        return pfn << TABLE_WORDS_SHIFT

    # Ranges.

    def entry_runs(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """(address, first word, word after the last) for each part of the range that has a leaf table."""
        leaves = self._leaves
        first = start >> PD_SHIFT
        last = (end - 1) >> PD_SHIFT
        if first == last:  # most areas
            leaf = leaves.get(first)
            if leaf is None:
                return []
            word = leaf + (start >> PAGE_SHIFT & INDEX_MASK)
            return [(start, word, word + (end - start >> PAGE_SHIFT))]
        slots = range(first, last + 1)
        present = (
            [slot for slot in slots if slot in leaves]
            if len(slots) <= len(leaves)
            else sorted(slot for slot in leaves if first <= slot <= last)
        )
        runs = []
        for slot in present:
            begin = max(start, slot << PD_SHIFT)
            stop = min(end, (slot + 1) << PD_SHIFT)
            word = leaves[slot] + (begin >> PAGE_SHIFT & INDEX_MASK)
            runs.append((begin, word, word + (stop - begin >> PAGE_SHIFT)))
        return runs

    def zap(self, start: int, end: int) -> int:
        """Take out every page of the range and drop the references. Returns how many; does not flush."""
        words = self._words
        ram = self._ram
        references = self._frames.references
        release = self._frames.free_list.append
        zapped = 0
        for _, first, last in self.entry_runs(start, end):
            entries = list(filter(None, words[first:last].tolist()))
            if entries:
                for entry in entries:
                    pfn = entry >> PAGE_SHIFT & FRAME_FIELD
                    left = references[pfn] - 1
                    references[pfn] = left
                    if not left:
                        release(pfn)
                zapped += len(entries)
                ram[first << 3 : last << 3] = ZERO_PAGE[: last - first << 3]
        self.resident_pages -= zapped
        return zapped

    def free_empty_tables(self, start: int, end: int) -> None:
        """Give back leaf tables of the range in which nothing is left. The caller flushes."""
        leaves = self._leaves
        for address, _, _ in self.entry_runs(start, end):
            slot = address >> PD_SHIFT
            leaf = leaves[slot]
            if self._ram[leaf << 3 : (leaf << 3) + PAGE_SIZE].tobytes() == ZERO_PAGE:
                del leaves[slot]
                self._words[self._directories[address >> PDPT_SHIFT] + (slot & INDEX_MASK)] = 0
                self._frames.unref(leaf >> TABLE_WORDS_SHIFT)

    def move_entries(self, old: int, new: int, length: int) -> None:
        """Move the pages of ``old`` to ``new`` (page aligned, not overlapping). Raises ENOMEM with nothing moved."""
        words = self._words
        for address, _, _ in self.entry_runs(old, old + length):  # all tables first
            target = address - old + new
            self.leaf_table(target)
            run_end = min(old + length, (address | LEAF_OFFSET_MASK) + 1)
            self.leaf_table(run_end - 1 - old + new)
        done = 0
        while done < length:
            source = old + done
            target = new + done
            count = min(
                length - done,
                LEAF_BYTES - (source & LEAF_OFFSET_MASK),
                LEAF_BYTES - (target & LEAF_OFFSET_MASK),
            )
            leaf = self._leaves.get(source >> PD_SHIFT)
            if leaf is not None:
                pages = count >> PAGE_SHIFT
                first = leaf + (source >> PAGE_SHIFT & INDEX_MASK)
                to = self.leaf_table(target) + (target >> PAGE_SHIFT & INDEX_MASK)
                words[to : to + pages] = words[first : first + pages]
                self._ram[first << 3 : (first + pages) << 3] = bytes(pages << 3)
            done += count

    def copy_entries(self, child: PageTable, start: int, end: int, *, protect: bool) -> None:
        """Give ``child`` the pages of the range; with ``protect`` both lose the right to write (copy-on-write).

        Raises KernelError(ENOMEM); what was copied until then stays consistent.
        """
        words = self._words
        references = self._frames.references
        not_write = ~PTE_WRITE
        for address, first, last in self.entry_runs(start, end):
            entries = words[first:last].tolist()
            if not any(entries):
                continue
            leaf = child._leaves.get(address >> PD_SHIFT)
            if leaf is None:
                leaf = child.leaf_table(address)
                entries = words[first:last].tolist()  # that allocation may have reclaimed some
            present = list(filter(None, entries))
            to = leaf + (address >> PAGE_SHIFT & INDEX_MASK)
            for entry in present:
                references[entry >> PAGE_SHIFT & FRAME_FIELD] += 1
            if protect:
                protected = array("Q", [entry & not_write for entry in entries])
                words[first:last] = protected
                words[to : to + last - first] = protected
            else:
                words[to : to + last - first] = words[first:last]
            child.resident_pages += len(present)

    # One page.

    def restrict_page(self, address: int, *, writable: bool, executable: bool) -> None:
        """Take away rights of one page if it is there; the next use that needs them faults."""
        leaf = self._leaves.get(address >> PD_SHIFT)
        if leaf is not None:
            word = leaf + (address >> PAGE_SHIFT & INDEX_MASK)
            entry = self._words[word]
            wanted = entry if writable else entry & ~PTE_WRITE
            if not executable and entry:
                wanted |= PTE_NX
            if wanted != entry:
                self._words[word] = wanted
                self.flush()

    def mark_written(self, pfn: int) -> None:
        """The content of a frame is about to change: code translated from it is no longer good."""
        code = self._frames.code
        if code[pfn] == CODE_LIVE:
            code[pfn] = CODE_STALE

    def free_tables(self) -> None:
        """Return every frame of the tables. The pages must be gone already."""
        free = [
            word >> TABLE_WORDS_SHIFT
            for level in (self._leaves, self._directories, self._pointers)
            for word in level.values()
        ]
        free.append(self._top >> TABLE_WORDS_SHIFT)
        self._frames.unref_entries(free)
        self._leaves.clear()
        self._directories.clear()
        self._pointers.clear()
        self.cr3 = 0
