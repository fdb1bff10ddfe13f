"""Classic BPF (linux/filter.h): programs that are checked once, then run over packets or over system calls.

A machine with an accumulator A, an index X and 16 words of scratch memory; jumps lead only forward, so that every
program ends. The checks are Linux's (bpf_check_classic): known instructions, no word of scratch memory read that was
not written on every way there, no division by a constant 0, a RET at the end. What a program is run over, and how that
is loaded, is its subclass's: `SeccompProgram` here (kernel/seccomp.c), `SocketProgram` in socket_filters.py.

The answer of a seccomp program depends on nothing but the words that it loads, so answers are remembered by those:
most calls of a filtered program are one look into a dictionary.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import Any, Final, NamedTuple

from jefeos.errors import Errno, KernelError

INSTRUCTION: Final = struct.Struct("<HBBI")
MAX_INSTRUCTIONS: Final = 4096
SCRATCH_WORDS: Final = 16
_U32: Final = 0xFFFF_FFFF
_REMEMBERED_ANSWERS: Final = 1024

LD_W_ABS: Final = 0x20
LD_W_LEN: Final = 0x80
LDX_W_LEN: Final = 0x81
LD_IMM: Final = 0x00
LDX_IMM: Final = 0x01
LD_MEM: Final = 0x60
LDX_MEM: Final = 0x61
ST: Final = 0x02
STX: Final = 0x03
NEG: Final = 0x84
JA: Final = 0x05
RET_K: Final = 0x06
RET_A: Final = 0x16
TAX: Final = 0x07
TXA: Final = 0x87
X_SOURCE: Final = 0x08
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR = 0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xA4
JEQ, JGT, JGE, JSET = 0x15, 0x25, 0x35, 0x45
_ALU: Final = frozenset((ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, XOR))
_JUMPS: Final = frozenset((JEQ, JGT, JGE, JSET))
_PLAIN: Final = frozenset((
    LD_W_LEN, LDX_W_LEN, LD_IMM, LDX_IMM, LD_MEM, LDX_MEM, ST, STX, NEG, JA, RET_K, RET_A, TAX, TXA,
))  # fmt: skip
COMMON: Final = _PLAIN | {code | source for code in _ALU | _JUMPS for source in (0, X_SOURCE)}
"""What every kind of program may have."""


class Instruction(NamedTuple):
    """struct sock_filter."""

    code: int
    jump_true: int
    jump_false: int
    k: int


class BpfProgram(ABC):
    """A checked program. Raises KernelError(EINVAL) for a bad one."""

    known: frozenset[int]
    """The instructions that it may have."""

    def __init__(self, code: bytes) -> None:
        self.instructions = [Instruction(*fields) for fields in INSTRUCTION.iter_unpack(code)]
        if not 0 < len(self.instructions) <= MAX_INSTRUCTIONS:
            raise KernelError(Errno.EINVAL)
        for index, instruction in enumerate(self.instructions):
            self._check(index, instruction)
        if self.instructions[-1].code not in (RET_K, RET_A):
            raise KernelError(Errno.EINVAL)
        self._check_scratch()

    def __len__(self) -> int:
        return len(self.instructions)

    @abstractmethod
    def is_good_load(self, code: int, k: int) -> bool:
        """Whether an instruction that is not of `COMMON` can be."""

    @abstractmethod
    def load(self, code: int, k: int, a: int, x: int, over: Any) -> int:
        """What such an instruction loads. Raises IndexError beyond the end, which ends the program with 0."""

    @abstractmethod
    def length_of(self, over: Any) -> int:
        """The length of what it runs over."""

    # --- checks --------------------------------------------------------------------------------------------

    def _check(self, index: int, instruction: Instruction) -> None:
        code, k, left = instruction.code, instruction.k, len(self.instructions) - index - 1
        bad = code not in self.known
        if code not in COMMON:
            bad = bad or code != MOD | X_SOURCE and not (k if code == MOD else self.is_good_load(code, k))
        elif code in (LD_MEM, LDX_MEM, ST, STX):
            bad = k >= SCRATCH_WORDS
        elif code == DIV:
            bad = k == 0
        elif code in (LSH, RSH):
            bad = k >= 32
        elif code == JA:
            bad = k >= left
        elif code & ~X_SOURCE in _JUMPS:
            bad = max(instruction.jump_true, instruction.jump_false) >= left
        if bad:
            raise KernelError(Errno.EINVAL)

    def _check_scratch(self) -> None:
        """Follow every way through the program with the set of scratch words that have been written."""
        everything = (1 << SCRATCH_WORDS) - 1
        arriving = [everything] * len(self.instructions)
        written = 0
        for index, (code, jump_true, jump_false, k) in enumerate(self.instructions):
            written &= arriving[index]
            if code in (ST, STX):
                written |= 1 << k
            elif code in (LD_MEM, LDX_MEM):
                if not written & 1 << k:
                    raise KernelError(Errno.EINVAL)
            elif code == JA or code & ~X_SOURCE in _JUMPS:
                for distance in (k,) if code == JA else (jump_true, jump_false):
                    arriving[index + 1 + distance] &= written
                written = everything

    # --- execution -----------------------------------------------------------------------------------------

    def interpret(self, over: Any) -> int:
        """The value that the program returns."""
        a = x = at = 0
        scratch = [0] * SCRATCH_WORDS
        while True:
            code, jump_true, jump_false, k = self.instructions[at]
            at += 1
            operand = x if code & X_SOURCE else k
            base = code & ~X_SOURCE
            if base in _JUMPS:
                holds = (
                    a == operand if base == JEQ
                    else a > operand if base == JGT
                    else a >= operand if base == JGE
                    else a & operand != 0
                )  # fmt: skip
                at += jump_true if holds else jump_false
            elif code == RET_K:
                return k
            elif code == RET_A:
                return a
            elif code == JA:
                at += k
            elif base in _ALU or base == MOD:
                if base in (DIV, MOD) and not operand:
                    return 0  # as Linux: a division by X = 0 ends the program
                a = _calculate(base, a, operand)
            elif code == NEG:
                a = -a & _U32
            elif code == LD_IMM:
                a = k
            elif code == LDX_IMM:
                x = k
            elif code == LD_MEM:
                a = scratch[k]
            elif code == LDX_MEM:
                x = scratch[k]
            elif code == ST:
                scratch[k] = a
            elif code == STX:
                scratch[k] = x
            elif code == LD_W_LEN:
                a = self.length_of(over)
            elif code == LDX_W_LEN:
                x = self.length_of(over)
            elif code == TAX:
                x = a
            elif code == TXA:
                a = x
            else:
                try:
                    loaded = self.load(code, k, a, x, over)
                except IndexError:
                    return 0
                if code & 1:  # the class LDX
                    x = loaded
                else:
                    a = loaded


def _calculate(operation: int, a: int, operand: int) -> int:
    if operation == ADD:
        return a + operand & _U32
    if operation == SUB:
        return a - operand & _U32
    if operation == MUL:
        return a * operand & _U32
    if operation == DIV:
        return a // operand
    if operation == MOD:
        return a % operand
    if operation == OR:
        return a | operand
    if operation == AND:
        return a & operand
    if operation == XOR:
        return a ^ operand
    if operation == LSH:
        return a << (operand & 31) & _U32
    return a >> (operand & 31)


class SeccompProgram(BpfProgram):
    """A program over the words of a `struct seccomp_data` of ``data_bytes`` bytes: aligned loads inside of it only."""

    known = COMMON | {LD_W_ABS}

    def __init__(self, code: bytes, data_bytes: int) -> None:
        self._data_bytes = data_bytes
        super().__init__(code)
        self._loaded = tuple(sorted({i.k // 4 for i in self.instructions if i.code == LD_W_ABS}))
        self._answers: dict[tuple[int, ...], int] = {}

    def run(self, words: tuple[int, ...]) -> int:
        """The value that the program returns for the input, given as its 32-bit words."""
        key = tuple([words[index] for index in self._loaded])
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= _REMEMBERED_ANSWERS:
                self._answers.clear()
            answer = self._answers[key] = self.interpret(words)
        return answer

    def is_good_load(self, code: int, k: int) -> bool:
        return k < self._data_bytes and k % 4 == 0

    def load(self, code: int, k: int, a: int, x: int, over: tuple[int, ...]) -> int:
        return over[k // 4]

    def length_of(self, over: tuple[int, ...]) -> int:
        return self._data_bytes
