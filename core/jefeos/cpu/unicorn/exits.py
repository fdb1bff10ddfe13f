"""Where a run may be stopped: between translation blocks, and not in the middle of an instruction.

Unicorn puts a call into the translated code after every memory access, which ends the run there if a stop has been
requested. Two things are wrong with that for a kernel:

* An instruction that reads and writes memory (``add [x], 1``; ``lock xadd``; ``xchg``) can be left after its store,
  with RIP still at its start. It is then executed twice: counters count double, a lock taken by ``xchg`` looks taken
  by somebody else, and its program hangs. Measured: one tick in ten of a loop with such an instruction.
* The calls cost more than the memory accesses: without them code that works on memory is 2 to 3 times faster.

The library has a switch for it (``uc_struct.no_exit_request``, which its ARM translator sets inside IT blocks), but
no call to set it. So its place in the engine's structure is read from the code of the function that looks at it
(``check_exit_request_x86_64``, exported by the library):

    48 8b b7 <u32>      mov  rsi, [rdi + …]        TCGContext.uc
    80 be <u32> 00      cmp  byte [rsi + …], 0     uc_struct.no_exit_request

Where that code looks different (another processor or compiler), nothing is changed, `Engine.ticks_are_precise` is
False, and the kernel preempts by limited runs instead. Stops are otherwise noticed at the beginning of each
block, which every loop passes.

Counted runs need the calls: the counter stops between two instructions of a block. So the switch is set for runs
without a limit only; translated code is thrown away whenever the kind of run changes.
"""

from __future__ import annotations

import ctypes
import platform
import re
from typing import Any, Final

_FUNCTION: Final = "check_exit_request_x86_64"
_CODE_BYTES: Final = 15
_PATTERN: Final = re.compile(rb"\x48\x8b\xb7(....)\x80\xbe(....)\x00\x74", re.DOTALL)
_LARGEST_OFFSET: Final = 1 << 16
_X86_64_NAMES: Final = frozenset({"x86_64", "amd64"})


class BlockExits:
    """The switch of one engine. ``available`` tells whether it was found."""

    def __init__(self, path: str, handle: int | None) -> None:
        offset = _switch_offset(path)
        self.available = offset is not None and bool(handle)
        self._switch = (
            ctypes.c_uint8.from_address(handle + offset) if handle and offset is not None else ctypes.c_uint8()
        )
        if self._switch.value != 0:  # a flag that nobody has set yet is 0; anything else is something else
            self.available = False

    def only_between_blocks(self, wanted: bool) -> None:
        """For code translated from now on. The caller flushes what is translated already."""
        if self.available:
            self._switch.value = wanted


def _switch_offset(path: str) -> int | None:
    """Offset of the switch in the engine's structure, or None if the library's code is not as expected."""
    if platform.machine().lower() not in _X86_64_NAMES:
        return None
    try:
        function: Any = getattr(ctypes.CDLL(path), _FUNCTION)
    except (OSError, AttributeError):
        return None
    address = ctypes.cast(function, ctypes.c_void_p).value
    if not address:
        return None
    found = _PATTERN.match(ctypes.string_at(address, _CODE_BYTES))
    if found is None:
        return None
    offset = int.from_bytes(found.group(2), "little")
    return offset if offset < _LARGEST_OFFSET else None
