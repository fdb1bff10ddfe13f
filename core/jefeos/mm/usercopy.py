"""Usercopy: the only way the kernel reads or writes user memory.

Every function takes an address of the program and behaves as the program's own access would: pages that are not
there yet are faulted in, the area's rights hold, and what the program could not touch fails with
KernelError(EFAULT). Nothing else is ever raised, whatever the address.

The common case, all bytes in one page that is there, is a dictionary lookup, one word of the page table and one
slice of RAM. It needs no engine: the address space does not have to be the loaded one.

A write that fails half way has written the pages before the bad one, as Linux's copy_to_user does.
"""

from __future__ import annotations

from typing import Final

from jefeos.cpu.paging import (
    INDEX_MASK,
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    PD_SHIFT,
    PTE_ADDRESS_MASK,
    PTE_PRESENT,
    PTE_USER,
    PTE_WRITE,
    TASK_SIZE,
)
from jefeos.errors import Errno, KernelError
from jefeos.mm.faults import FAULT_USER, FAULT_WRITE, Fault, FaultingSpace
from jefeos.mm.frames import ZERO_PAGE

READABLE: Final = PTE_PRESENT | PTE_USER
WRITABLE: Final = PTE_PRESENT | PTE_USER | PTE_WRITE
_U32_MASK: Final = (1 << 32) - 1
_U64_MASK: Final = (1 << 64) - 1


class UserMemory(FaultingSpace):
    """Reads and writes of user memory by the kernel."""

    # Bytes.

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes at ``address``. Raises KernelError(EFAULT)."""
        offset = address & PAGE_MASK
        if offset + length <= PAGE_SIZE:
            try:
                entry = self._words[self._leaves[address >> PD_SHIFT] + (address >> PAGE_SHIFT & INDEX_MASK)]
            except KeyError:
                entry = 0
            if entry & READABLE == READABLE:
                start = (entry & PTE_ADDRESS_MASK) + offset
                return self._ram[start : start + length].tobytes()
        return self._read_slowly(address, length)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` (bytes, or a flat memoryview of bytes) at ``address``. Raises KernelError(EFAULT)."""
        offset = address & PAGE_MASK
        length = len(data)
        if offset + length <= PAGE_SIZE:
            try:
                entry = self._words[self._leaves[address >> PD_SHIFT] + (address >> PAGE_SHIFT & INDEX_MASK)]
            except KeyError:
                entry = 0
            if entry & WRITABLE == WRITABLE:
                start = (entry & PTE_ADDRESS_MASK) + offset
                self._ram[start : start + length] = data
                return
        self._write_slowly(address, data)

    def zero(self, address: int, length: int) -> None:
        """Fill with zeros. Raises KernelError(EFAULT)."""
        self._check_range(address, length)
        end = address + length
        while address < end:
            count = min(PAGE_SIZE - (address & PAGE_MASK), end - address)
            start = self.physical(address, for_write=True)
            self._ram[start : start + count] = ZERO_PAGE[:count]
            address += count

    def read_cstr(self, address: int, limit: int) -> bytes:
        """The string at ``address`` without its NUL, which must be among the first ``limit`` bytes.

        Raises KernelError: EFAULT, or ENAMETOOLONG if there is no NUL within ``limit`` bytes.
        """
        pieces: list[bytes] = []
        left = limit
        while left > 0:
            count = PAGE_SIZE - (address & PAGE_MASK)
            if count > left:
                count = left
            try:
                entry = self._words[self._leaves[address >> PD_SHIFT] + (address >> PAGE_SHIFT & INDEX_MASK)]
            except KeyError:
                entry = 0
            if entry & READABLE == READABLE:
                start = (entry & PTE_ADDRESS_MASK) + (address & PAGE_MASK)
            else:
                start = self.physical(address)
            chunk = self._ram[start : start + count].tobytes()
            end = chunk.find(0)
            if end >= 0:
                if not pieces:
                    return chunk[:end]
                pieces.append(chunk[:end])
                return b"".join(pieces)
            pieces.append(chunk)
            address += count
            left -= count
        raise KernelError(Errno.ENAMETOOLONG)

    # Numbers, little-endian.

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address: int) -> int:
        if not address & 7:
            try:
                entry = self._words[self._leaves[address >> PD_SHIFT] + (address >> PAGE_SHIFT & INDEX_MASK)]
            except KeyError:
                entry = 0
            if entry & READABLE == READABLE:
                word: int = self._words[(entry & PTE_ADDRESS_MASK) + (address & PAGE_MASK) >> 3]
                return word
        return int.from_bytes(self.read(address, 8), "little")

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, (value & _U32_MASK).to_bytes(4, "little"))

    def write_u64(self, address: int, value: int) -> None:
        self.write(address, (value & _U64_MASK).to_bytes(8, "little"))

    def compare_exchange_u32(self, address: int, expected: int, value: int) -> int:
        """Store ``value`` if the word is ``expected``; returns what it was. Faults unless it is writable."""
        start = self.physical(address, for_write=True)
        if start & PAGE_MASK > PAGE_SIZE - 4:
            raise KernelError(Errno.EFAULT)
        old = int.from_bytes(self._ram[start : start + 4], "little")
        if old == expected:
            self._ram[start : start + 4] = (value & _U32_MASK).to_bytes(4, "little")
        return old

    # The slow side.

    def physical(self, address: int, for_write: bool = False) -> int:
        """Where in RAM the byte at ``address`` is, its page faulted in. Valid until memory is next allocated."""
        wanted = WRITABLE if for_write else READABLE
        error_code = FAULT_USER | FAULT_WRITE if for_write else FAULT_USER
        for _ in range(4):  # reclaim may take a page back while it is being faulted in, but not for ever
            entry = self.entry(address)
            if entry & wanted == wanted:
                return (entry & PTE_ADDRESS_MASK) + (address & PAGE_MASK)
            if self.fault(address, error_code) is not Fault.OK:
                break
        raise KernelError(Errno.EFAULT)

    def _check_range(self, address: int, length: int) -> None:
        if address < 0 or length < 0 or address + length > TASK_SIZE:
            raise KernelError(Errno.EFAULT)

    def _read_slowly(self, address: int, length: int) -> bytes:
        self._check_range(address, length)
        if not length:
            return b""
        ram, words, leaves = self._ram, self._words, self._leaves
        pieces = []
        while length:
            offset = address & PAGE_MASK
            count = PAGE_SIZE - offset
            if count > length:
                count = length
            leaf = leaves.get(address >> PD_SHIFT)
            entry = 0 if leaf is None else words[leaf + (address >> PAGE_SHIFT & INDEX_MASK)]
            if entry & READABLE == READABLE:
                start = (entry & PTE_ADDRESS_MASK) + offset
            else:
                start = self.physical(address)
            pieces.append(ram[start : start + count].tobytes())
            address += count
            length -= count
        return b"".join(pieces)

    def _write_slowly(self, address: int, data: bytes | bytearray | memoryview) -> None:
        length = len(data)
        self._check_range(address, length)
        ram, words, leaves = self._ram, self._words, self._leaves
        view = memoryview(data)
        position = 0
        while position < length:
            offset = address & PAGE_MASK
            count = PAGE_SIZE - offset
            if count > length - position:
                count = length - position
            leaf = leaves.get(address >> PD_SHIFT)
            entry = 0 if leaf is None else words[leaf + (address >> PAGE_SHIFT & INDEX_MASK)]
            if entry & WRITABLE == WRITABLE:
                start = (entry & PTE_ADDRESS_MASK) + offset
            else:
                start = self.physical(address, for_write=True)
            ram[start : start + count] = view[position : position + count]
            address += count
            position += count
