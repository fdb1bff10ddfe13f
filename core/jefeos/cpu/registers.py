"""Names and bits of the x86-64 registers that cross the engine's interface. Declarations only.

`Reg` is the order of `Engine.registers` and `Engine.set_registers`; it is the order in which an instruction
encodes the general registers only by accident of names, so use the names.

Source: Intel SDM vol. 1, 3.4 (general registers, RFLAGS), vol. 3, 6.15 (exceptions), 4.7 (page-fault code).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final


class Reg(IntEnum):
    """Index of a register in the list that `Engine.registers` gives."""

    RAX = 0
    RBX = 1
    RCX = 2
    RDX = 3
    RSI = 4
    RDI = 5
    RBP = 6
    RSP = 7
    R8 = 8
    R9 = 9
    R10 = 10
    R11 = 11
    R12 = 12
    R13 = 13
    R14 = 14
    R15 = 15
    RIP = 16
    RFLAGS = 17
    FS_BASE = 18
    GS_BASE = 19


REGISTER_COUNT: Final = len(Reg)


class Flag(IntFlag):
    """Bits of RFLAGS (SDM vol. 1, figure 3-8)."""

    CF = 1 << 0
    ALWAYS_ONE = 1 << 1
    PF = 1 << 2
    AF = 1 << 4
    ZF = 1 << 6
    SF = 1 << 7
    TF = 1 << 8
    IF = 1 << 9
    DF = 1 << 10
    OF = 1 << 11
    IOPL = 3 << 12
    NT = 1 << 14
    RF = 1 << 16
    VM = 1 << 17
    AC = 1 << 18
    VIF = 1 << 19
    VIP = 1 << 20
    ID = 1 << 21


# What a program may change through a signal frame or ptrace; the rest stays as the kernel set it.
USER_FLAGS: Final = int(
    Flag.CF
    | Flag.PF
    | Flag.AF
    | Flag.ZF
    | Flag.SF
    | Flag.TF
    | Flag.DF
    | Flag.OF
    | Flag.NT
    | Flag.AC
    | Flag.ID
)
INITIAL_FLAGS: Final = int(Flag.ALWAYS_ONE | Flag.IF)

INITIAL_FPCW: Final = 0x037F  # all exceptions masked, 64-bit mantissa, round to nearest (SDM vol. 1, 8.1.5)
INITIAL_MXCSR: Final = 0x1F80  # all exceptions masked, round to nearest (SDM vol. 1, 10.2.3)
FXSAVE_BYTES: Final = 512

# Selectors that a program reads back from CS and SS; Linux uses the same (arch/x86/include/asm/segment.h).
USER_CODE_SELECTOR: Final = 0x33
USER_DATA_SELECTOR: Final = 0x2B


class Vector(IntEnum):
    """Exception vectors (SDM vol. 3, table 6-1)."""

    DIVIDE_ERROR = 0
    DEBUG = 1
    NMI = 2
    BREAKPOINT = 3
    OVERFLOW = 4
    BOUND_RANGE = 5
    INVALID_OPCODE = 6
    DEVICE_NOT_AVAILABLE = 7
    DOUBLE_FAULT = 8
    INVALID_TSS = 10
    SEGMENT_NOT_PRESENT = 11
    STACK_SEGMENT = 12
    GENERAL_PROTECTION = 13
    PAGE_FAULT = 14
    FPU_ERROR = 16
    ALIGNMENT_CHECK = 17
    MACHINE_CHECK = 18
    SIMD_ERROR = 19


class FaultCode(IntFlag):
    """The error code of a page fault (SDM vol. 3, figure 4-12)."""

    PRESENT = 1 << 0  # 0: the page is not there; 1: it is, and the access is not allowed
    WRITE = 1 << 1
    USER = 1 << 2
    RESERVED = 1 << 3  # a reserved bit was set in a paging structure
    FETCH = 1 << 4  # an instruction fetch (from a page marked NX, or one that is not there)
