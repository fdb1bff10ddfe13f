"""Memory management: frames, the page cache, areas, page tables and address spaces.

    MemoryManager ── FrameAllocator     who owns which 4096-byte frame of guest RAM
          │    └──── PageCache          frames that hold file pages, by (FileMapping, index)
          └───────── AddressSpace       what one program sees; layers, lowest first:
                       PageTable        PML4 tables in guest RAM that the engine walks
                       FaultingSpace    areas, and what a page fault does
                       UserMemory       usercopy: the kernel reads and writes user memory
                       AddressSpace     mmap, munmap, mprotect, mremap, brk, fork …

Each layer is a file, and knows only those above it in this list. Start at `jefeos.mm.space`.
"""

from __future__ import annotations
