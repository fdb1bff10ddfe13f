"""A tick never falls into the middle of an instruction (it did: read-modify-write instructions ran twice)."""

from __future__ import annotations

import struct

import pytest
from jefeos.cpu.registers import Reg
from jefeos.cpu.unicorn.exits import BlockExits

from .conftest import DATA, RW, Guest

# again: inc rax; add qword [rdi], 1; lock add qword [rdi+8], 1; mov rcx, [rdi+16]; inc rcx;
#        mov [rdi+16], rcx; jmp again
COUNT_THREE_WAYS = (
    b"\x48\xff\xc0\x48\x83\x07\x01\xf0\x48\x83\x47\x08\x01\x48\x8b\x4f\x10\x48\xff\xc1\x48\x89\x4f\x10\xeb\xe6"
)
TICKS = 150
COUNTERS = DATA + 0x1000


def test_instructions_that_read_and_write_memory_run_once(guest: Guest) -> None:
    if not guest.engine._exits.available:
        pytest.skip("this build of the library has no switch that is known here")
    frame = guest.map(COUNTERS, RW)
    guest.program(COUNT_THREE_WAYS, RDI=COUNTERS)
    guest.engine.start_ticker(1)
    for _ in range(TICKS):
        guest.run()
    guest.engine.stop_ticker()
    counts = struct.unpack("<3Q", guest.peek(frame, 24))
    whole = guest.engine.get(Reg.RAX)
    assert all(whole - 1 <= count <= whole for count in counts), (whole, counts)


def test_a_library_that_looks_different_is_left_alone(tmp_path: object) -> None:
    switch = BlockExits(str(tmp_path), 0)
    assert not switch.available
    switch.only_between_blocks(True)
