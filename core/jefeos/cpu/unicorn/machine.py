"""Bringing the processor up: an engine handle in ring 3 of long mode, and what must be learned about it.

Guest RAM below `RESERVED_BYTES` (each row one frame):

    0  unused: so that frame 0 is never anyone's
    1  the GDT
    2  top-level table of the boot address space
    3  PDPT, 4 PD, 5 PT of the kernel half, shared by all address spaces: maps these frames, supervisor only
    6  PDPT, 7 PD, 8 PT of the boot space's user half
    9  boot code and probe code
    10 boot stack
    11 top-level table of an address space without a user half

The kernel half exists because the processor reads segment descriptors through paging: a program that loads DS
or does IRETQ makes it look at the GDT. Nothing else lives there; no code ever runs in ring 0 after boot.

Steps of `Machine._boot`, in the manual's order (Intel SDM vol. 3, 9.8.5): EFER, CR3, CR4, CR0.PG, GDTR, and an
IRETQ into ring 3, which is the way to lower the privilege level that leaves every hidden part of CS and SS right.

`Machine._learn_layout` finds three words inside Unicorn's saved state. Unicorn keeps "an exception is in flight"
until an interrupt is delivered through an IDT, which never happens here: the second page fault would arrive as a
double fault. The engine clears the word itself; where it is differs by version, so three provoked exceptions are
compared.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from jefeos.cpu import paging
from jefeos.cpu.registers import (
    INITIAL_FLAGS,
    INITIAL_FPCW,
    INITIAL_MXCSR,
    USER_CODE_SELECTOR,
    USER_DATA_SELECTOR,
)
from jefeos.cpu.unicorn import library as uc
from jefeos.cpu.unicorn.live import Structure, find_structure
from jefeos.errors import BootError

RESERVED_FRAMES: Final = 16
RESERVED_BYTES: Final = RESERVED_FRAMES * paging.PAGE_SIZE

_GDT_FRAME: Final = 1
_BOOT_PML4: Final = 2
_EMPTY_PML4: Final = 11
_KERNEL_TABLES: Final = (3, 4, 5)
_USER_TABLES: Final = (6, 7, 8)
_CODE_FRAME: Final = 9
_STACK_FRAME: Final = 10

KERNEL_BASE: Final = 0xFFFF_8000_0000_0000
KERNEL_PML4_INDEX: Final = 256
EMPTY_CR3: Final = _EMPTY_PML4 * paging.PAGE_SIZE
_BOOT_USER_BASE: Final = 0x40_0000
_PROBE_HOLE: Final = 0x50_0000  # not mapped in the boot space

_MSR_EFER: Final = 0xC000_0080
_EFER_SCE, _EFER_LME, _EFER_LMA, _EFER_NXE = 1 << 0, 1 << 8, 1 << 10, 1 << 11
_CR0_PE, _CR0_MP, _CR0_ET, _CR0_NE, _CR0_WP, _CR0_PG = 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 31
_CR4_PAE, _CR4_OSFXSR, _CR4_OSXMMEXCPT = 1 << 5, 1 << 9, 1 << 10

# Segment descriptors (SDM vol. 3, 3.4.5): long-mode code and flat data, present, accessed.
_KERNEL_CODE: Final = 0x00AF_9B00_0000_FFFF
_KERNEL_DATA: Final = 0x00CF_9300_0000_FFFF
_USER_CODE: Final = 0x00AF_FB00_0000_FFFF
_USER_DATA: Final = 0x00CF_F300_0000_FFFF
_KERNEL_CODE_SELECTOR, _KERNEL_DATA_SELECTOR = 0x10, 0x18

_IRETQ: Final = b"\x48\xcf"
_PROBE_READ: Final = b"\x8a\x07"  # mov al, [rdi]
_PROBE_WRITE: Final = b"\x88\x07"  # mov [rdi], al
_PROBE_INT: Final = b"\xcd\x80"  # int 0x80

_PROBE_COUNT: Final = 5
_PROBE_LIMIT: Final = 1_234_567_891
_SEARCHED_WORDS: Final = 512

_ALL_ONES: Final = 0xFFFF_FFFF


class _ModelSpecificRegister(ctypes.Structure):
    _fields_ = (("number", ctypes.c_uint32), ("value", ctypes.c_uint64))


class _DescriptorTable(ctypes.Structure):
    _fields_ = (
        ("selector", ctypes.c_uint16),
        ("base", ctypes.c_uint64),
        ("limit", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


@frozen
class StateLayout:
    """Indexes of 32-bit words in the processor's structure (`Machine.words_of`)."""

    in_flight: int
    """The exception being delivered, or -1."""
    error_code: int
    is_software_interrupt: int
    """1 after INT n, 0 after an exception."""


class Machine:
    """An open engine handle with RAM, in ring 3, and the layout of its saved state."""

    def __init__(self, library: uc.Library, ram_address: int, ram_bytes: int, ram_words: memoryview) -> None:
        self.library = library
        self._words = ram_words
        self.structure: Structure | None = None
        handle = ctypes.c_void_p()
        library.check(library.open(uc.ARCH_X86, uc.MODE_64, ctypes.byref(handle)), "open an x86-64 processor")
        self.handle = handle
        try:
            model = library.control(handle, uc.CTL_CPU_MODEL, ctypes.c_int(uc.CPU_X86_NEHALEM))
            library.check(model, "choose the CPU model")
            mapped = library.map_memory(
                handle,
                ctypes.c_uint64(0),
                ctypes.c_size_t(ram_bytes),
                uc.PROT_ALL,
                ctypes.c_void_p(ram_address),
            )
            library.check(mapped, "map guest RAM")
            # Without an end address: otherwise every run ends at one, and pays for its removal afterwards.
            library.check(
                library.control(handle, uc.CTL_EXITS_ENABLE, ctypes.c_int(1)), "run without an end address"
            )
            self.context_bytes: int = library.context_size(handle)
            self.kernel_entry = self._build_tables()
            self._boot()
            self.structure = self._find_structure()
            self.layout = self._learn_layout()
            self._counter_at = self._find_counter()
        except BaseException:
            library.close(handle)
            raise

    def instructions_begun(self, limit: int) -> int:
        """How many instructions the last limited run began, the one it was stopped at excepted."""
        if self._counter_at is None:
            return limit
        return min(limit, ctypes.c_uint64.from_address(self._counter_at).value)

    def new_context(self) -> ctypes.c_void_p:
        """Allocate a context of the library, filled with the present state."""
        context = ctypes.c_void_p()
        self.library.check(
            self.library.context_alloc(self.handle, ctypes.byref(context)), "allocate a context"
        )
        self.library.check(self.library.context_save(self.handle, context), "save a context")
        return context

    def words_of(self, context: ctypes.c_void_p) -> memoryview:
        """The copy of the processor's structure in a context, as 32-bit words. Valid until it is freed."""
        assert context.value is not None
        return self._words_at(context.value + self._header_bytes)

    def live_words(self) -> memoryview | None:
        """The structure itself, if its place is known."""
        return self._words_at(self.structure.address) if self.structure is not None else None

    @property
    def _header_bytes(self) -> int:
        return self.structure.header_bytes if self.structure is not None else 0

    def _words_at(self, address: int) -> memoryview:
        words = (self.context_bytes - self._header_bytes) // 4
        return memoryview((ctypes.c_uint32 * words).from_address(address)).cast("B").cast("I")

    def write(self, register: uc.UcReg, value: int) -> None:
        """Write a register of up to 64 bits."""
        self.library.check(
            self.library.write(self.handle, int(register), ctypes.byref(ctypes.c_uint64(value))),
            f"set {register.name}",
        )

    # ---- boot -------------------------------------------------------------------------------------------

    def _build_tables(self) -> int:
        """Fill GDT and boot tables; the top-level entry of the kernel half."""
        words = self._words
        for index, descriptor in (
            (_KERNEL_CODE_SELECTOR >> 3, _KERNEL_CODE),
            (_KERNEL_DATA_SELECTOR >> 3, _KERNEL_DATA),
            (USER_CODE_SELECTOR >> 3, _USER_CODE),
            (USER_DATA_SELECTOR >> 3, _USER_DATA),
        ):
            words[_word(_GDT_FRAME, index)] = descriptor
        supervisor = paging.PTE_PRESENT | paging.PTE_WRITE | paging.PTE_ACCESSED | paging.PTE_DIRTY
        user = supervisor | paging.PTE_USER
        self._link(_BOOT_PML4, _KERNEL_TABLES, KERNEL_BASE, supervisor)
        for frame in range(RESERVED_FRAMES):
            words[_word(_KERNEL_TABLES[2], frame)] = (frame << paging.PAGE_SHIFT) | supervisor
        self._link(_BOOT_PML4, _USER_TABLES, _BOOT_USER_BASE, user)
        index = paging.table_index(_BOOT_USER_BASE, paging.PT_SHIFT)
        words[_word(_USER_TABLES[2], index)] = (_CODE_FRAME << paging.PAGE_SHIFT) | user
        entry = words[_word(_BOOT_PML4, KERNEL_PML4_INDEX)]
        words[_word(_EMPTY_PML4, KERNEL_PML4_INDEX)] = entry
        return entry

    def _link(self, top: int, tables: tuple[int, int, int], address: int, flags: int) -> None:
        table = top
        for shift, child in zip(paging.LEVEL_SHIFTS[:3], tables, strict=True):
            self._words[_word(table, paging.table_index(address, shift))] = (
                child << paging.PAGE_SHIFT
            ) | flags
            table = child

    def _boot(self) -> None:
        self._write_efer(_EFER_SCE | _EFER_LME | _EFER_LMA | _EFER_NXE)
        self.write(uc.UcReg.CR3, _BOOT_PML4 << paging.PAGE_SHIFT)
        self.write(uc.UcReg.CR4, _CR4_PAE | _CR4_OSFXSR | _CR4_OSXMMEXCPT)
        self.write(uc.UcReg.CR0, _CR0_PG | _CR0_WP | _CR0_NE | _CR0_ET | _CR0_MP | _CR0_PE)
        table = _DescriptorTable(
            0, KERNEL_BASE + (_GDT_FRAME << paging.PAGE_SHIFT), USER_CODE_SELECTOR | 7, 0
        )
        self.library.check(
            self.library.write(self.handle, int(uc.UcReg.GDTR), ctypes.byref(table)),
            "load the descriptor table",
        )
        # IRETQ pops RIP, CS, RFLAGS, RSP, SS (SDM vol. 2, IRET).
        # It lands on an INT in the same frame's user mapping, which ends the run. (Not an instruction count: the
        # library's counter leaves a stale exception in flight behind when it is removed.)
        frame = (_BOOT_USER_BASE + len(_IRETQ), USER_CODE_SELECTOR, INITIAL_FLAGS, 0, USER_DATA_SELECTOR)
        for index, value in enumerate(frame):
            self._words[_word(_STACK_FRAME, index)] = value
        self._put_code(_IRETQ + _PROBE_INT)
        self.write(uc.UcReg.RSP, KERNEL_BASE + (_STACK_FRAME << paging.PAGE_SHIFT))
        self.write(uc.UcReg.RFLAGS, INITIAL_FLAGS)
        self._state_at_exception(KERNEL_BASE + (_CODE_FRAME << paging.PAGE_SHIFT))
        self.write(uc.UcReg.RSP, 0)
        self.write(uc.UcReg.FPCW, INITIAL_FPCW)
        self.write(uc.UcReg.FPTAG, 0xFFFF)  # all registers empty
        self.write(uc.UcReg.MXCSR, INITIAL_MXCSR)

    def _write_efer(self, value: int) -> None:
        register = _ModelSpecificRegister(_MSR_EFER, value)
        self.library.check(
            self.library.write(self.handle, int(uc.UcReg.MSR), ctypes.byref(register)), "set EFER"
        )

    def _put_code(self, code: bytes) -> None:
        """Write code to the code frame and forget what was translated from it before."""
        self._words[_word(_CODE_FRAME, 0)] = struct.unpack("<Q", code.ljust(8, b"\x90"))[0]
        self.library.check(self.library.control(self.handle, uc.CTL_TB_FLUSH), "flush translations")

    def _start(self, address: int, limit: int = 0) -> None:
        zero = ctypes.c_uint64(0)
        code = self.library.start(self.handle, ctypes.c_uint64(address), zero, zero, ctypes.c_size_t(limit))
        self.library.check(code, "run its boot code")

    def _find_structure(self) -> Structure | None:
        context = self.new_context()
        try:
            return find_structure(self.library, self.handle, context, self.context_bytes)
        finally:
            self.library.context_free(context)

    # ---- layout of the saved state ----------------------------------------------------------------------

    def _learn_layout(self) -> StateLayout:
        pristine = self.new_context()
        before = list(self.words_of(pristine))
        states = []
        for code in (_PROBE_READ, _PROBE_WRITE, _PROBE_INT):
            self._put_code(code)
            self.library.context_restore(self.handle, pristine)
            self.write(uc.UcReg.RDI, _PROBE_HOLE)
            states.append(self._state_at_exception(_BOOT_USER_BASE))
        read, write, software = states
        self.library.context_restore(self.handle, pristine)
        self.library.context_free(pristine)
        rows = list(enumerate(zip(before, read, write, software, strict=True)))
        none = _ALL_ONES
        in_flight = [i for i, row in rows if row == (none, 14, 14, none)]
        if len(in_flight) != 1:
            raise BootError(
                f"this Unicorn ({self.library.path}) keeps its state in an unknown way: {uc.INSTALL_HINT}"
            )
        errors = [i for i, (_, r, w, s) in rows if (r, w, s) == (4, 6, 0)]
        softs = [i for i, (_, r, w, s) in rows if (r, w, s) == (0, 0, 1)]
        if not errors or not softs:
            raise BootError(
                f"this Unicorn ({self.library.path}) keeps its state in an unknown way: {uc.INSTALL_HINT}"
            )

        def nearest(candidates: list[int]) -> int:
            return min(candidates, key=lambda index: abs(index - in_flight[0]))

        return StateLayout(in_flight[0], nearest(errors), nearest(softs))

    def _find_counter(self) -> int | None:
        """Where the library counts instructions: the pair (count, limit) near the start of its engine object.

        It has no call that tells. The object is known to be several times larger than what is searched.
        """
        pristine = self.new_context()
        self._put_code(b"\x90" * (_PROBE_COUNT - 1) + _PROBE_INT)
        self._state_at_exception(_BOOT_USER_BASE, _PROBE_LIMIT)
        self.library.context_restore(self.handle, pristine)
        self.library.context_free(pristine)
        assert self.handle.value is not None
        words = list((ctypes.c_uint64 * _SEARCHED_WORDS).from_address(self.handle.value))
        places = [i for i, pair in enumerate(pairwise(words)) if pair == (_PROBE_COUNT, _PROBE_LIMIT)]
        return self.handle.value + 8 * places[0] if len(places) == 1 else None

    def _state_at_exception(self, start: int, limit: int = 0) -> list[int]:
        """Run from ``start`` to the first exception; the saved state inside its callback, as 32-bit words."""
        seen: list[int] = []

        def callback(_handle: int | None, _vector: int) -> None:
            context = self.new_context()
            seen.extend(self.words_of(context))
            self.library.context_free(context)
            self.library.stop(self.handle)

        wrapped = uc.InterruptCallback(callback)
        hook = add_hook(self.library, self.handle, uc.HOOK_INTR, wrapped)
        self._start(start, limit)
        self.library.check(self.library.hook_delete(self.handle, hook), "remove a hook")
        if not seen:
            raise BootError(f"this Unicorn ({self.library.path}) reports no exceptions: {uc.INSTALL_HINT}")
        return seen


def add_hook(
    library: uc.Library, handle: ctypes.c_void_p, kind: int, callback: Any, instruction: int | None = None
) -> ctypes.c_size_t:
    """Add a hook for all addresses. The caller keeps ``callback`` alive."""
    hook = ctypes.c_size_t()
    extra: Iterator[ctypes.c_int] = iter(()) if instruction is None else iter((ctypes.c_int(instruction),))
    first, last = 1, 0  # a range that ends before it begins means everywhere
    code = library.hook_add(
        handle, ctypes.byref(hook), kind, ctypes.cast(callback, ctypes.c_void_p), None, first, last, *extra
    )
    library.check(code, "add a hook")
    return hook


def _word(frame: int, index: int) -> int:
    return frame * paging.ENTRIES_PER_TABLE + index
