"""Where the library keeps the processor: its structure in place, beside the copies that contexts are.

The library's calls give registers one by one and the whole state as a copy of 5.6 KiB. A kernel that looks at seven
registers at each system call, at three words at each fault, and changes the whole state at each task switch is served
better by the structure itself: a `memoryview` of it costs 40 ns a word where a call costs 300.

There is no call that tells where it is. But every register read of the library goes through a pointer in its engine
object, which points at the exported function ``reg_read_x86_64`` and is given the structure's address:

    uc_reg_read(engine, …)  ->  engine->reg_read(structure, …)

so `find_structure` puts a function of its own there for one read. What it finds is believed only if the general
registers are there, in the order of their encoding, and if a saved context is a copy of it behind a short header.

Where any of that fails (a library that does not export the function), `find_structure` gives None, and the engine works
on copies: slower, and it cannot change tasks inside a callback.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from attrs import frozen

from jefeos.cpu.registers import Reg
from jefeos.cpu.unicorn import library as uc

ENCODED_ORDER: Final = (
    Reg.RAX, Reg.RCX, Reg.RDX, Reg.RBX, Reg.RSP, Reg.RBP, Reg.RSI, Reg.RDI,
    Reg.R8, Reg.R9, Reg.R10, Reg.R11, Reg.R12, Reg.R13, Reg.R14, Reg.R15,
)  # fmt: skip
"""The general registers as an instruction encodes them (SDM vol. 2, table 2-4) and as the structure begins."""

_READER: Final = "reg_read_x86_64"
_SEARCHED_WORDS: Final = 64  # of the engine object, which is several KiB
_LARGEST_HEADER: Final = 256
_WORD: Final = 8
_MARK: Final = 0x5EA7_0000_0000_1001  # times a small number: no pointer, no count, never the same twice


@frozen
class Structure:
    """The processor's structure: where it is, and how a saved context is laid out."""

    address: int
    header_bytes: int
    """A context is this many bytes, and then a copy of the structure."""
    rip_word: int
    """Index of RIP in the structure, in 64-bit words."""
    cr2_word: int


def find_structure(
    library: uc.Library, handle: ctypes.c_void_p, context: ctypes.c_void_p, context_bytes: int
) -> Structure | None:
    """Look for the structure of an engine that does not run. Only ``context`` is overwritten."""
    address = _told_by_a_read(library, handle)
    if address is None:
        return None
    names = (*(uc.UcReg[register.name] for register in ENCODED_ORDER), uc.UcReg.RIP, uc.UcReg.CR2)
    marks = [(place + 1) * _MARK & (1 << 64) - 1 for place in range(len(names))]
    before = [_read(library, handle, name) for name in names]
    try:
        for name, mark in zip(names, marks, strict=True):
            _write(library, handle, name, mark)
        words = list((ctypes.c_uint64 * (context_bytes // _WORD)).from_address(address))
        library.context_save(handle, context)
    finally:
        for name, value in zip(names, before, strict=True):
            _write(library, handle, name, value)
    general = len(ENCODED_ORDER)
    if words[:general] != marks[:general] or any(words.count(mark) != 1 for mark in marks):
        return None
    assert context.value is not None
    copy = list((ctypes.c_uint64 * (context_bytes // _WORD)).from_address(context.value))
    headers = [skip for skip in range(_LARGEST_HEADER // _WORD) if copy[skip:] == words[: len(copy) - skip]]
    if len(headers) != 1:
        return None
    return Structure(address, headers[0] * _WORD, words.index(marks[general]), words.index(marks[general + 1]))


def _told_by_a_read(library: uc.Library, handle: ctypes.c_void_p) -> int | None:
    try:
        reader: Any = getattr(ctypes.CDLL(library.path), _READER)
    except (OSError, AttributeError):
        return None
    assert handle.value is not None
    pointers = (ctypes.c_uint64 * _SEARCHED_WORDS).from_address(handle.value)
    address = ctypes.cast(reader, ctypes.c_void_p).value
    places = [place for place, pointer in enumerate(pointers) if pointer == address]
    if len(places) != 1:
        return None
    told: list[int | None] = []

    def read(structure: int | None) -> int:
        told.append(structure)
        return uc.ERR_OK

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(read)
    pointers[places[0]] = ctypes.cast(callback, ctypes.c_void_p).value or 0
    try:
        _read(library, handle, uc.UcReg.RAX)
    finally:
        pointers[places[0]] = address or 0
    return told[0] if told else None


def _read(library: uc.Library, handle: ctypes.c_void_p, register: uc.UcReg) -> int:
    value = ctypes.c_uint64()
    library.read(handle, ctypes.c_int(register), ctypes.byref(value))
    return value.value


def _write(library: uc.Library, handle: ctypes.c_void_p, register: uc.UcReg, value: int) -> None:
    library.write(handle, ctypes.c_int(register), ctypes.byref(ctypes.c_uint64(value)))
