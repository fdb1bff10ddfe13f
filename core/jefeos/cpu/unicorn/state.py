"""The loaded state of the Unicorn processor: registers, contexts, address space, translated code.

`UnicornState` is the half of the engine that does not run anything; `jefeos.cpu.unicorn.engine` adds the runs. A
context of the library is one flat copy of its processor structure, some 5.6 KiB, so saving and loading are memory
copies; CR3 is written after a load, because the copy does not touch the TLB.

Where the structure's own place is known (`jefeos.cpu.unicorn.live`), registers and whole states are read and written
there, inside callbacks too. The system-call callback then sees RIP two bytes short, as the library adds them when the
callback has returned: `_ahead` is what to add meanwhile.

Arguments of the library's calls are made once and reused (`_value`, `_all`): one engine belongs to one thread.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any, Final

from jefeos.cpu import paging
from jefeos.cpu.engine import CpuContext, Engine
from jefeos.cpu.registers import REGISTER_COUNT, Reg
from jefeos.cpu.unicorn import library as uc
from jefeos.cpu.unicorn.fpu import FpuAccess
from jefeos.cpu.unicorn.guard import CodeGuard, is_suspect
from jefeos.cpu.unicorn.live import ENCODED_ORDER
from jefeos.cpu.unicorn.machine import KERNEL_PML4_INDEX, RESERVED_BYTES, Machine
from jefeos.errors import BootError, UsageError

MASK64: Final = (1 << 64) - 1
_MAX_RAM_BYTES: Final = 1 << 32  # the library loads only 32 bits of CR3
_NOWHERE: Final = -1
_RIP: Final = int(Reg.RIP)
_ALL_BUT_RIP: Final = tuple(register for register in Reg if register is not Reg.RIP)
_FETCHABLE: Final = paging.PTE_PRESENT | paging.PTE_USER

_UC_OF_REG: Final = {
    register: int(uc.UcReg.RFLAGS if register is Reg.RFLAGS else uc.UcReg[register.name]) for register in Reg
}


class UnicornContext(CpuContext):
    """A context of the library. Freed with this object."""

    def __init__(
        self, free: Callable[[ctypes.c_void_p], object], pointer: ctypes.c_void_p, words: memoryview
    ) -> None:
        self.cr3 = 0
        self.pointer = pointer
        self.words = words
        """The copy of the processor's structure in it."""
        self._free = free

    def __del__(self) -> None:
        self._free(self.pointer)


class UnicornState(Engine):
    """An open processor in ring 3, with its RAM. Abstract: it cannot run."""

    def __init__(self, ram_bytes: int, ram_file: int = -1) -> None:
        if ram_bytes % paging.PAGE_SIZE or not RESERVED_BYTES < ram_bytes <= _MAX_RAM_BYTES:
            raise BootError(
                f"guest RAM must be whole pages, above {RESERVED_BYTES} bytes and at most 4 GiB: {ram_bytes}"
            )
        lib = uc.Library()
        try:
            self._ram_map = mmap.mmap(ram_file, ram_bytes)
        except (OSError, OverflowError) as error:
            raise BootError(f"no {ram_bytes} bytes of host memory for guest RAM: {error}") from error
        self.ram = memoryview(self._ram_map)
        self.ram_words = self.ram.cast("Q")
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._ram_map))
        machine = Machine(lib, address, ram_bytes, self.ram_words)
        self.reserved_bytes = RESERVED_BYTES
        self.kernel_entries = ((KERNEL_PML4_INDEX, machine.kernel_entry),)
        self.current_cr3 = 0

        self._lib = lib
        self._machine = machine
        self._handle = machine.handle
        self._value = ctypes.c_uint64()
        self._value_at = ctypes.byref(self._value)
        self._value_word = memoryview(self._value).cast("B").cast("Q")  # quicker to set than the field
        self._ids = [ctypes.c_int(_UC_OF_REG[register]) for register in Reg]
        self._all = (ctypes.c_uint64 * REGISTER_COUNT)()
        self._all_view = memoryview(self._all).cast("B").cast("Q")
        self._all_ids, self._all_places = batch(self._all, tuple(Reg))
        self._all_count = ctypes.c_int(REGISTER_COUNT)
        self._rest = (ctypes.c_uint64 * len(_ALL_BUT_RIP))()
        self._rest_view = memoryview(self._rest).cast("B").cast("Q")
        self._rest_ids, self._rest_places = batch(self._rest, _ALL_BUT_RIP)
        self._rest_count = ctypes.c_int(len(_ALL_BUT_RIP))
        self._cr3_id = ctypes.c_int(uc.UcReg.CR3)
        self._fpu = FpuAccess(lib, machine.handle)
        self._guard = CodeGuard(lib, machine.handle)
        self._scratch = machine.new_context()
        self._pristine = self._new_context()
        self._kept = machine.new_context()
        live, structure = machine.live_words(), machine.structure
        self._in_place = live is not None
        self._state = machine.words_of(self._scratch) if live is None else live
        """The processor's structure as 32-bit words, or a copy that is up to date after `context_save` only."""
        self._words = _as_64_bit(self._state)
        self._rip_word = structure.rip_word if structure is not None else _NOWHERE
        self._places = [_NOWHERE] * REGISTER_COUNT
        if structure is not None:
            for place, register in enumerate(ENCODED_ORDER):
                self._places[register] = place
            self._places[Reg.RIP] = structure.rip_word
        self._ahead = 0
        self.switches_inside = self._in_place
        self._closed = False

    def new_context(self) -> UnicornContext:
        context = self._new_context()
        ctypes.memmove(context.pointer, self._pristine.pointer, self._machine.context_bytes)
        return context

    def _new_context(self) -> UnicornContext:
        pointer = self._machine.new_context()
        return UnicornContext(self._lib.context_free, pointer, _as_64_bit(self._machine.words_of(pointer)))

    def save(self, context: CpuContext) -> None:
        assert isinstance(context, UnicornContext)
        if self._in_place:
            words = context.words
            words[:] = self._words
            if self._ahead:
                words[self._rip_word] = words[self._rip_word] + self._ahead & MASK64
        else:
            self._lib.context_save(self._handle, context.pointer)
        context.cr3 = self.current_cr3

    def load(self, context: CpuContext) -> None:
        assert isinstance(context, UnicornContext)
        self._restore(context)
        if context.cr3 != self.current_cr3:  # threads of one process keep what the TLB holds
            self.set_cr3(context.cr3)

    def _restore(self, context: UnicornContext) -> None:
        if self._in_place:
            words = self._words
            words[:] = context.words
            if self._ahead:
                words[self._rip_word] = words[self._rip_word] - self._ahead & MASK64
        else:
            self._lib.context_restore(self._handle, context.pointer)

    def reset(self, *, rip: int, rsp: int, cr3: int) -> None:
        self._restore(self._pristine)
        self.set_cr3(cr3)
        self.set(Reg.RSP, rsp)
        self.set(Reg.RIP, rip)

    def registers(self) -> list[int]:
        self._lib.read_batch(self._handle, self._all_ids, self._all_places, self._all_count)
        values = self._all_view.tolist()
        values[Reg.RIP] = values[Reg.RIP] + self._ahead & MASK64
        return values

    def set_registers(self, values: list[int]) -> None:
        if len(values) != REGISTER_COUNT:
            raise UsageError(f"{REGISTER_COUNT} registers wanted, {len(values)} given")
        for index, register in enumerate(_ALL_BUT_RIP):
            self._rest_view[index] = values[register] & MASK64
        self._lib.write_batch(self._handle, self._rest_ids, self._rest_places, self._rest_count)
        self.set(Reg.RIP, values[Reg.RIP])  # the library's own way would not do inside a callback

    def get(self, register: int) -> int:
        place = self._places[register]
        if place != _NOWHERE:
            value: int = self._words[place]
        else:
            self._lib.read(self._handle, self._ids[register], self._value_at)
            value = self._value_word[0]
        return value + self._ahead & MASK64 if register == _RIP else value

    def set(self, register: int, value: int) -> None:
        place = self._places[register]
        if register == _RIP:
            value -= self._ahead
        if place != _NOWHERE:
            self._words[place] = value & MASK64
        else:
            self._value_word[0] = value & MASK64
            self._lib.write(self._handle, self._ids[register], self._value_at)

    def fpu_state(self) -> bytes:
        return self._fpu.read()

    def set_fpu_state(self, image: bytes) -> None:
        self._fpu.write(image)

    # ---- memory -----------------------------------------------------------------------------------------

    def set_cr3(self, physical_address: int) -> None:
        self.current_cr3 = physical_address
        self._load_cr3(physical_address)
        if self._guard.used:
            self._guard.switch(physical_address)

    def flush_tlb(self) -> None:
        self._load_cr3(self.current_cr3)

    def _load_cr3(self, physical_address: int) -> None:
        self._value_word[0] = physical_address
        self._lib.write(self._handle, self._cr3_id, self._value_at)

    def invalidate_code(self, address: int, length: int) -> None:
        # The library looks the page up as an instruction fetch, and leaves an exception behind if that fails. So
        # only pages that can be fetched are given to it, with a TLB that cannot be stale.
        self.flush_tlb()
        page = address & ~paging.PAGE_MASK
        while page < address + length:
            entry = paging.walk(self.ram_words, self.current_cr3, page)
            if entry & _FETCHABLE == _FETCHABLE and not entry & paging.PTE_NX:
                first, last = ctypes.c_uint64(page), ctypes.c_uint64(page + paging.PAGE_SIZE)
                self._lib.control(self._handle, uc.CTL_TB_REMOVE_CACHE, first, last)
            page += paging.PAGE_SIZE

    def is_code_safe(self, frame: int) -> bool:
        start = frame << paging.PAGE_SHIFT
        return not is_suspect(self.ram[start : start + paging.PAGE_SIZE])

    def guard_code(self, address: int) -> None:
        page = address & ~paging.PAGE_MASK
        self._guard.guard(self.current_cr3, page, self._code_at(page, paging.PAGE_SIZE))

    def forget_guards(self, cr3: int) -> None:
        self._guard.forget(cr3)

    def _code_at(self, address: int, length: int) -> bytes:
        """Bytes that could be fetched, up to the first page that cannot."""
        parts = []
        while length:
            entry = paging.walk(self.ram_words, self.current_cr3, address)
            if entry & _FETCHABLE != _FETCHABLE or entry & paging.PTE_NX:
                break
            start = (entry & paging.PTE_ADDRESS_MASK) + (address & paging.PAGE_MASK)
            count = min(length, paging.PAGE_SIZE - (address & paging.PAGE_MASK))
            parts.append(bytes(self.ram[start : start + count]))
            address += count
            length -= count
        return b"".join(parts)

    def _free(self) -> None:
        for context in (self._scratch, self._kept):
            self._lib.context_free(context)
        self._lib.close(self._handle)


def _as_64_bit(words: memoryview) -> memoryview:
    return words.cast("B").cast("Q")


def batch(values: Any, registers: tuple[Reg, ...]) -> tuple[Any, Any]:
    """Argument arrays that read or write ``registers`` in one call, to and from the words of ``values``."""
    base = ctypes.addressof(values)
    ids = (ctypes.c_int * len(registers))(*(_UC_OF_REG[register] for register in registers))
    places = (ctypes.c_void_p * len(registers))(*(base + 8 * index for index in range(len(registers))))
    return ids, places
