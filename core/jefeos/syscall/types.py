"""The types in which system-call arguments are declared.

A register holds 64 bits; the type says what they mean, and so how the dispatcher decodes them, how a trace
prints them and what the documentation shows. The kernel's own convention (Linux's) is that a 32-bit type looks
only at the low half of its register, so that garbage in the high half is harmless.

    Fd, Int      signed 32-bit          Long          signed 64-bit
    UInt, Mode   unsigned 32-bit        ULong, Size   unsigned 64-bit
    Flags        unsigned 32-bit        UserPtr       a user address, never checked here
    Path, CStr   the NUL-terminated bytes at a user address, read before the handler runs: EFAULT where it is
                 not readable, ENAMETOOLONG past PATH_MAX
"""

from __future__ import annotations

from typing import Annotated, Final

PATH_MAX: Final = 4096
"""Longest path, its NUL included (limits.h)."""


class ArgumentKind:
    """How one register becomes an argument: the Python expression, given the name of the raw value."""

    __slots__ = ("expression", "name")

    def __init__(self, name: str, expression: str) -> None:
        self.name = name
        self.expression = expression

    def decode(self, variable: str) -> str:
        """Source text that turns the raw register ``variable`` into the argument."""
        return self.expression.format(variable)


_SIGNED_32: Final = "(({0} & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000"
_SIGNED_64: Final = "({0} ^ 0x8000000000000000) - 0x8000000000000000"
_UNSIGNED_32: Final = "{0} & 0xFFFFFFFF"

Fd = Annotated[int, ArgumentKind("fd", _SIGNED_32)]
Int = Annotated[int, ArgumentKind("int", _SIGNED_32)]
UInt = Annotated[int, ArgumentKind("uint", _UNSIGNED_32)]
Flags = Annotated[int, ArgumentKind("flags", _UNSIGNED_32)]
Mode = Annotated[int, ArgumentKind("mode", _UNSIGNED_32)]
Long = Annotated[int, ArgumentKind("long", _SIGNED_64)]
ULong = Annotated[int, ArgumentKind("ulong", "{0}")]
Size = Annotated[int, ArgumentKind("size", "{0}")]
UserPtr = Annotated[int, ArgumentKind("pointer", "{0}")]
CStr = Annotated[bytes, ArgumentKind("string", "task.mm.read_cstr({0}, 4096)")]
Path = Annotated[bytes, ArgumentKind("path", "task.mm.read_cstr({0}, 4096)")]
