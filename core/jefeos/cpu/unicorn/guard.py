"""Keeps Unicorn from translating the instructions that abort the host process.

One family is known, from trying every opcode with every prefix and register form: LOCK with BT, BTS, BTR or BTC
on a register. The manual calls it invalid (SDM vol. 2, LOCK); the library's translator forgets to check, uses a
value it never computed, and calls ``abort``. No compiler emits it, but a hostile or a broken program can.

    F0 among the prefixes, then  0F A3|AB|B3|BB  modrm 11……        BT/BTS/BTR/BTC reg, reg
                                 0F BA           modrm 111…… (/4–7 with mod 11)   … reg, imm8

So frames are searched before they are mapped executable (`is_suspect`, a few microseconds). Where one holds such
bytes, `guard` is told where it is mapped, and each byte at which the
instruction could begin becomes an *end address* of the library: its translator stops there before it decodes.
The run ends, `UnicornEngine` looks at the bytes that are there now, and raises #UD if it is the real thing. If it
is not (the bytes belong to the middle of other instructions, or have changed since), it steps over.

End addresses are virtual, so they are kept by address space. Normal programs have none, and pay nothing.
"""

from __future__ import annotations

import ctypes
import re
from typing import Final

from jefeos.cpu.paging import PAGE_MASK
from jefeos.cpu.unicorn import library as uc

MAX_INSTRUCTION_BYTES: Final = 15

_PREFIX: Final = rb"[\x26\x2e\x36\x3e\x40-\x4f\x64-\x67\xf0\xf2\xf3]"
_BODY: Final = rb"\x0f(?:[\xa3\xab\xb3\xbb][\xc0-\xff]|\xba[\xe0-\xff])"
# The same, or as much of it as fits before the end of the page.
_BODY_OR_CUT: Final = rb"(?:" + _BODY + rb"|\x0f[\xa3\xab\xb3\xbb\xba]?\Z|\Z)"
_SUSPECT: Final = re.compile(rb"\xf0" + _PREFIX + rb"*" + _BODY_OR_CUT, re.DOTALL)
_PREFIXES: Final = re.compile(_PREFIX + rb"*", re.DOTALL)
_INSTRUCTION: Final = re.compile(rb"(" + _PREFIX + rb"*)" + _BODY, re.DOTALL)
_CUT: Final = re.compile(rb"(" + _PREFIX + rb"*)(?:\x0f[\xa3\xab\xb3\xbb\xba]?)?\Z", re.DOTALL)
_PREFIX_BYTES: Final = frozenset(
    (0x26, 0x2E, 0x36, 0x3E, *range(0x40, 0x50), *range(0x64, 0x68), 0xF0, 0xF2, 0xF3)
)
_LOCK: Final = b"\xf0"


class CodeGuard:
    """End addresses by address space, and which of them the library has now."""

    def __init__(self, library: uc.Library, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle
        self._by_space: dict[int, set[int]] = {}
        self.active: frozenset[int] = frozenset()

    @property
    def used(self) -> bool:
        """Whether any address space has end addresses, or the library still has some."""
        return bool(self._by_space or self.active)

    def guard(self, cr3: int, address: int, page: bytes) -> None:
        """Look through a page that is now executable at ``address``, and forget what was found there before."""
        found = {address + offset for match in _SUSPECT.finditer(page) for offset in _starts(page, match)}
        known = self._by_space.get(cr3, set())
        kept = {other for other in known if other & ~PAGE_MASK != address}
        if found | kept == known:
            return
        if found | kept:
            self._by_space[cr3] = found | kept
        else:
            del self._by_space[cr3]
        self.switch(cr3)

    def forget(self, cr3: int) -> None:
        """An address space is gone. What the library has of it stays until the next `switch`."""
        self._by_space.pop(cr3, None)

    def switch(self, cr3: int) -> None:
        """Give the library the end addresses of the address space that is loaded."""
        wanted = frozenset(self._by_space.get(cr3, ()))
        if wanted != self.active:
            self._set(wanted)

    def lift(self) -> None:
        """No end addresses, until the next `switch`."""
        self._set(frozenset())

    def _set(self, addresses: frozenset[int]) -> None:
        array = (ctypes.c_uint64 * len(addresses))(*sorted(addresses))
        code = self._library.control(self._handle, uc.CTL_EXITS_SET, array, ctypes.c_size_t(len(addresses)))
        self._library.check(code, "set end addresses")
        self.active = addresses


def is_suspect(page: bytes | memoryview) -> bool:
    """Whether a page must not be executable without `CodeGuard.guard`."""
    return _SUSPECT.search(page) is not None


def is_deadly(code: bytes) -> bool:
    """Whether ``code`` begins with an instruction that must not be translated."""
    match = _INSTRUCTION.match(code[:MAX_INSTRUCTION_BYTES])
    return match is not None and _LOCK in match[1]


def is_cut(code: bytes) -> bool:
    """Whether ``code``, which ends where memory does, may be the beginning of such an instruction."""
    match = _CUT.match(code)
    return len(code) < MAX_INSTRUCTION_BYTES and match is not None and _LOCK in match[1]


def _starts(page: bytes, match: re.Match[bytes]) -> range:
    """Where an instruction with a LOCK in the matched run of prefixes may begin: at any prefix up to the last LOCK."""
    first = match.start()
    while first and page[first - 1] in _PREFIX_BYTES:
        first -= 1
    end_of_prefixes = match.start() + len(_PREFIXES.match(page, match.start())[0])  # type: ignore[index]
    return range(first, page.rfind(_LOCK, match.start(), end_of_prefixes) + 1)
