"""Tiny static x86-64 Linux programs for tests, assembled by hand: no compiler is needed.

    system.write_file("/bin/nine", exits(9), 0o755)

Machine code as in the Intel SDM, volume 2; system-call numbers and registers as in the System V ABI for x86-64 (A.2).
"""

from __future__ import annotations

import struct

TEXT_ADDRESS = 0x400000
HEADERS_BYTES = 64 + 56

MOV_EAX = b"\xb8"
MOV_EDI = b"\xbf"
SYSCALL = b"\x0f\x05"
SYS_KILL = 62
SYS_EXIT = 60
SYS_GETPID = 39


def elf(code: bytes) -> bytes:
    """A static x86-64 ELF file of one segment (System V ABI: 64-byte header, one 56-byte program header)."""
    size = HEADERS_BYTES + len(code)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, TEXT_ADDRESS + HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, TEXT_ADDRESS, TEXT_ADDRESS, size, size, 0x1000)
    return ident + header + segment + code


def call(number: int) -> bytes:
    """``mov eax, number; syscall``."""
    return MOV_EAX + struct.pack("<I", number) + SYSCALL


def exits(status: int) -> bytes:
    """A program that exits with a status."""
    return elf(MOV_EDI + struct.pack("<I", status) + call(SYS_EXIT))


def kills_itself(signal: int) -> bytes:
    """A program that sends itself a signal, and exits with 0 if it survives."""
    return elf(
        call(SYS_GETPID)
        + b"\x89\xc7"  # mov edi, eax
        + b"\xbe"  # mov esi, signal
        + struct.pack("<I", signal)
        + call(SYS_KILL)
        + MOV_EDI
        + bytes(4)
        + call(SYS_EXIT)
    )


#: ``jmp .``: spins until something stops it.
SPINS = elf(b"\xeb\xfe")
