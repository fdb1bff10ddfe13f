"""What a Linux program finds on its stack: arguments, environment and the auxiliary vector (getauxval(3)).

    high   8 zero bytes
           execfn, environ strings, argv strings         (in that order, downwards)
           random gap, "x86_64", 16 random bytes
           auxv … AT_NULL
           envp … NULL
           argv … NULL
    low    argc                                           <- RSP, 16-byte aligned

The limits are execve(2)'s: 128 KiB for one string; for everything together a quarter of RLIMIT_STACK, at least
128 KiB and at most 6 MiB. Past them: E2BIG.

Source: System V x86-64 psABI, 3.4.1; execve(2) on limits.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from jefeos.cpu.paging import PAGE_SIZE
from jefeos.errors import Errno, KernelError

if TYPE_CHECKING:
    from jefeos.mm.space import AddressSpace

ARGUMENT_LIMIT_BYTES: Final = 32 * PAGE_SIZE
TOTAL_FLOOR_BYTES: Final = 128 << 10
TOTAL_CEILING_BYTES: Final = 6 << 20
POINTER_BYTES: Final = 8
PLATFORM: Final = b"x86_64\0"
STACK_ALIGNMENT: Final = 16
GAP_LIMIT_BYTES: Final = 8192

HARDWARE_CAPABILITIES: Final = 0x078BFBFF
"""CPUID.1:EDX of the processor offered: FPU … SSE2 (x86-64-v2 is told by CPUID.1:ECX, which is not in auxv)."""
CLOCK_TICKS_PER_SECOND: Final = 100
MINIMUM_SIGNAL_STACK_BYTES: Final = 1440
"""Frame, FXSAVE area, alignment and red zone of one signal delivery, rounded up."""


class Aux(IntEnum):
    """AT_* of linux/auxvec.h and asm/auxvec.h."""

    NULL = 0
    PHDR = 3
    PHENT = 4
    PHNUM = 5
    PAGESZ = 6
    BASE = 7
    FLAGS = 8
    ENTRY = 9
    UID = 11
    EUID = 12
    GID = 13
    EGID = 14
    PLATFORM = 15
    HWCAP = 16
    CLKTCK = 17
    SECURE = 23
    RANDOM = 25
    HWCAP2 = 26
    EXECFN = 31
    SYSINFO_EHDR = 33
    MINSIGSTKSZ = 51


def argument_limit_bytes(stack_limit_bytes: int) -> int:
    """How many bytes strings and pointers may take together, from the soft RLIMIT_STACK."""
    return max(min(stack_limit_bytes // 4, TOTAL_CEILING_BYTES), TOTAL_FLOOR_BYTES)


def check_sizes(path: bytes, argv: list[bytes], environ: list[bytes], stack_limit_bytes: int) -> int:
    """Bytes of all strings and pointers. Raises E2BIG past execve's limits."""
    total = (max(len(argv), 1) + len(environ)) * POINTER_BYTES + len(path) + 1
    for text in (*argv, *environ):
        length = len(text) + 1
        if length > ARGUMENT_LIMIT_BYTES:
            raise KernelError(Errno.E2BIG, f"a string of {length} bytes")
        total += length
    if total > argument_limit_bytes(stack_limit_bytes):
        raise KernelError(Errno.E2BIG, f"{total} bytes of arguments and environment")
    return total


def build_stack(
    space: AddressSpace,
    top: int,
    path: bytes,
    argv: list[bytes],
    environ: list[bytes],
    entries: list[tuple[int, int]],
    random_bytes: bytes,
    gap_bytes: int,
) -> tuple[int, bytes]:
    """Write the initial stack below ``top``; gives the stack pointer and the auxiliary vector as written.

    ``entries`` are the (type, value) pairs before those that point into the stack itself (AT_RANDOM, AT_EXECFN,
    AT_PLATFORM), which are added here; ``gap_bytes`` is the random gap, below 8192.
    """
    argv = argv or [b""]
    strings = b"".join(text + b"\0" for text in (*argv, *environ, path)) + bytes(POINTER_BYTES)
    base = top - len(strings)
    space.write(base, strings)
    pointers, at = [], base
    for text in (*argv, *environ, path):
        pointers.append(at)
        at += len(text) + 1
    execfn = pointers.pop()
    below = (base - gap_bytes) & -STACK_ALIGNMENT
    platform = below - len(PLATFORM)
    space.write(platform, PLATFORM)
    random_at = platform - len(random_bytes)
    space.write(random_at, random_bytes)

    vector = [
        *entries,
        (Aux.RANDOM, random_at),
        (Aux.HWCAP2, 0),
        (Aux.EXECFN, execfn),
        (Aux.PLATFORM, platform),
        (Aux.NULL, 0),
    ]
    auxv = struct.pack(f"<{2 * len(vector)}Q", *(word for pair in vector for word in pair))
    count = len(argv)
    table = struct.pack(
        f"<{len(pointers) + 3}Q", count, *pointers[:count], 0, *pointers[count:], 0
    )
    stack_pointer = ((random_at & -STACK_ALIGNMENT) - len(table) - len(auxv)) & -STACK_ALIGNMENT
    space.write(stack_pointer, table + auxv)
    return stack_pointer, auxv
