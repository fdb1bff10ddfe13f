"""Four-level paging of x86-64: entry bits and index arithmetic. Declarations only.

    virtual address   63..48      47..39   38..30   29..21   20..12   11..0
                      sign copy   PML4     PDPT     PD       PT       offset

Each table is one 4096-byte frame of 512 entries of 8 bytes. The kernel sees guest RAM as 64-bit words
(`Engine.ram_words`), where table ``pfn`` starts at word ``pfn * ENTRIES_PER_TABLE``.

Rules that the engine adds to the manual's:

* A page table entry that goes from not present to present needs no flush. Any other change is seen only after
  `Engine.flush_tlb` (or a load of another address space).
* A page that programs can write must be NX: see `jefeos.cpu.engine`.
* Accessed and dirty bits are set by the walk, as on hardware.

Source: Intel SDM vol. 3, 4.5 (tables 4-15 to 4-20). Large pages, PCIDs, 5 levels and protection keys: not used.
"""

from __future__ import annotations

from typing import Final

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
PAGE_MASK: Final = PAGE_SIZE - 1  # the offset bits; ``address & ~PAGE_MASK`` is the page's address

ENTRIES_PER_TABLE: Final = 512
INDEX_MASK: Final = ENTRIES_PER_TABLE - 1
WORD_BYTES: Final = 8

PT_SHIFT: Final = 12
PD_SHIFT: Final = 21
PDPT_SHIFT: Final = 30
PML4_SHIFT: Final = 39
LEVEL_SHIFTS: Final = (PML4_SHIFT, PDPT_SHIFT, PD_SHIFT, PT_SHIFT)

# Bits of an entry at every level.
PTE_PRESENT: Final = 1 << 0
PTE_WRITE: Final = 1 << 1
PTE_USER: Final = 1 << 2
PTE_WRITE_THROUGH: Final = 1 << 3
PTE_CACHE_DISABLE: Final = 1 << 4
PTE_ACCESSED: Final = 1 << 5
PTE_DIRTY: Final = 1 << 6  # leaf entries only
PTE_LARGE: Final = 1 << 7  # 2 MiB / 1 GiB leaf at PD / PDPT level: not used
PTE_GLOBAL: Final = 1 << 8
PTE_NX: Final = 1 << 63

# Bits the processor ignores: the memory manager's own.
PTE_SW_COW: Final = 1 << 9  # written by its owner: copy first
PTE_SW_SHARED: Final = 1 << 10  # the frame belongs to a page cache, not to this address space
PTE_SW_EXEC: Final = 1 << 11  # the area allows execution although the entry is NX for now

PTE_ADDRESS_MASK: Final = 0x000F_FFFF_FFFF_F000
TABLE_FLAGS: Final = PTE_PRESENT | PTE_WRITE | PTE_USER  # upper levels: leaf entries decide

TASK_SIZE: Final = 0x7FFF_FFFF_F000  # first address past user space (Linux, 4-level)
CANONICAL_LOW_END: Final = 1 << 47


def is_canonical(address: int) -> bool:
    """Whether bits 63..47 of an unsigned 64-bit address are all equal (SDM vol. 1, 3.3.7.1)."""
    top = address >> (PML4_SHIFT + 8)
    return top == 0 or top == (1 << (64 - PML4_SHIFT - 8)) - 1


def table_index(address: int, shift: int) -> int:
    """The index of ``address`` in the table of the level whose shift is given."""
    return (address >> shift) & INDEX_MASK


def pages_spanned(address: int, length: int) -> int:
    """How many pages ``length`` bytes at ``address`` touch."""
    if length <= 0:
        return 0
    return ((address + length - 1) >> PAGE_SHIFT) - (address >> PAGE_SHIFT) + 1


def walk(ram_words: memoryview, cr3: int, address: int) -> int:
    """The leaf entry that maps ``address`` with the rights of all levels folded in, or 0 if there is none.

    The result has WRITE and USER only if every level grants them and NX if any level sets it, so that one test
    of it answers as the processor would. It does not touch accessed bits. Not for hot paths.
    """
    granted = PTE_WRITE | PTE_USER
    no_execute = 0
    table = cr3 & PTE_ADDRESS_MASK
    entry = 0
    for shift in LEVEL_SHIFTS:
        word = (table >> 3) + ((address >> shift) & INDEX_MASK)
        if word >= len(ram_words):
            return 0
        entry = ram_words[word]
        if not entry & PTE_PRESENT:
            return 0
        granted &= entry
        no_execute |= entry & PTE_NX
        table = entry & PTE_ADDRESS_MASK
    return (entry & ~(PTE_WRITE | PTE_USER | PTE_NX)) | granted | no_execute
