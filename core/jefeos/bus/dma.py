"""The DMA heap: physically contiguous memory that devices read and write by its address.

    base                                                                    base + size
    |  block A  |   free   | block B |            free             |  block C |

Free ranges are kept in address order and by where they end, so that a freed block finds both neighbours at once and
joins them. A request takes the lowest range in which it fits (first fit), from its start after alignment; what is left
on either side stays free.

Invariants, held after every call and checked by `check`: blocks and free ranges tile the heap without gap or overlap;
no two free ranges touch; starts and sizes are multiples of GRANULE_BYTES. When nothing fits, ENOMEM, and nothing has
changed. A block that is freed twice, or was never given out, is a UsageError.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from attrs import frozen

from jefeos.errors import Errno, KernelError, UsageError

GRANULE_BYTES: Final = 64
"""Smallest block and smallest alignment: a cache line, so that two blocks never share one."""


@frozen(eq=False)
class DmaBuffer:
    """A block of the heap: its physical address, and its bytes as the kernel sees them."""

    address: int
    size: int
    view: memoryview


class DmaHeap:
    """Blocks of ``ram[base : base + size]``."""

    def __init__(self, ram: memoryview, base: int, size: int) -> None:
        if base % GRANULE_BYTES or size % GRANULE_BYTES or not 0 < size <= len(ram) - base:
            raise UsageError(f"a DMA heap of {size} bytes at {base:#x} does not lie in {len(ram)} bytes of RAM")
        self.base = base
        self.size = size
        self._ram = ram
        self._starts = [base]
        self._size_at = {base: size}
        self._start_of_end = {base + size: base}
        self._blocks: dict[int, int] = {}

    @property
    def free_bytes(self) -> int:
        """Bytes that are in no block."""
        return sum(self._size_at.values())

    @property
    def block_count(self) -> int:
        """Blocks that are given out."""
        return len(self._blocks)

    def allocate(self, size: int, alignment: int = GRANULE_BYTES) -> DmaBuffer:
        """A zeroed block of at least ``size`` bytes whose address is a multiple of ``alignment`` (a power of two).

        Raises KernelError(ENOMEM) when no free range has room for it.
        """
        if size <= 0 or alignment <= 0 or alignment & (alignment - 1):
            raise UsageError(f"a DMA block of {size} bytes aligned to {alignment} makes no sense")
        whole = -(-size // GRANULE_BYTES) * GRANULE_BYTES
        alignment = max(alignment, GRANULE_BYTES)
        for start in self._starts:
            address = -(-start // alignment) * alignment
            room = start + self._size_at[start] - address
            if room >= whole:
                break
        else:
            raise KernelError(
                Errno.ENOMEM, f"no {size} contiguous bytes for DMA ({self.free_bytes} are free in pieces)"
            )
        self._remove_free(start)
        if address > start:
            self._add_free(start, address - start)
        if room > whole:
            self._add_free(address + whole, room - whole)
        self._blocks[address] = whole
        view = self._ram[address : address + size]
        view[:] = bytes(size)
        return DmaBuffer(address, size, view)

    def free(self, buffer: DmaBuffer) -> None:
        """Give a block back."""
        address = buffer.address
        size = self._blocks.pop(address, None)
        if size is None:
            raise UsageError(f"the DMA block at {address:#x} is not given out")
        before = self._start_of_end.get(address)
        if before is not None:
            size += self._size_at[before]
            self._remove_free(before)
            address = before
        after = address + size
        if after in self._size_at:
            size += self._size_at[after]
            self._remove_free(after)
        self._add_free(address, size)

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold."""
        place, was_free = self.base, False
        for start, size, is_free in sorted(
            [(start, size, True) for start, size in self._size_at.items()]
            + [(start, size, False) for start, size in self._blocks.items()]
        ):
            assert start == place, f"gap or overlap at {place:#x}"
            assert size > 0 and not size % GRANULE_BYTES and not start % GRANULE_BYTES
            assert not (was_free and is_free), f"free ranges touch at {start:#x}"
            place, was_free = start + size, is_free
        assert place == self.base + self.size, "the end is missing"
        assert self._starts == sorted(self._size_at)
        assert self._start_of_end == {start + size: start for start, size in self._size_at.items()}

    def _add_free(self, start: int, size: int) -> None:
        insort(self._starts, start)
        self._size_at[start] = size
        self._start_of_end[start + size] = start

    def _remove_free(self, start: int) -> None:
        del self._starts[bisect_left(self._starts, start)]
        del self._start_of_end[start + self._size_at.pop(start)]
