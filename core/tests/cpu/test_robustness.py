"""The host process survives whatever ring 3 does."""

from __future__ import annotations

import pytest
from jefeos.cpu import paging
from jefeos.cpu.registers import Reg, Vector
from jefeos.cpu.unicorn.guard import is_deadly, is_suspect

from .conftest import CODE, RX, SYSCALL, Guest
from .fuzzing import Fuzzer

# Instructions whose translation aborts the host process: LOCK before a bit test on a register.
DEADLY = [
    b"\xf0\x0f\xa3\xc0", b"\xf0\x0f\xab\xd9", b"\xf0\x0f\xb3\xff", b"\xf0\x0f\xbb\xc1", b"\xf0\x0f\xba\xe0\x01",
    b"\xf0\x0f\xba\xff\x07", b"\xf0\x48\x0f\xa3\xc9", b"\x66\xf0\x0f\xa3\xc9", b"\xf0\x66\x0f\xab\xc9",
    b"\xf0\xf0\x2e\xf0\x41\x0f\xa3\xc9", b"\x64\x67\xf0\xf2\x0f\xbb\xc9",
]  # fmt: skip
HARMLESS = [
    b"\x0f\xa3\xc0", b"\xf0\x0f\xa3\x07", b"\xf0\x0f\xab\x0f", b"\xf0\x0f\xba\x2f\x01", b"\xf0\x0f\xba\xc0\x01",
    b"\xf0\x0f\xb1\xc8", b"\x0f\xba\xe0\x03",
]  # fmt: skip


@pytest.mark.parametrize("code", DEADLY, ids=bytes.hex)
def test_what_would_abort_the_host_is_an_invalid_opcode(guest: Guest, code: bytes) -> None:
    assert is_deadly(code) and is_suspect(code)
    guest.program(b"\x90\x90\x90" + code + SYSCALL)
    for _ in range(2):
        guest.run()
        assert guest.exceptions[-1] == (Vector.INVALID_OPCODE, 0, CODE + 3)
    assert not guest.syscalls


@pytest.mark.parametrize("code", HARMLESS, ids=bytes.hex)
def test_its_relatives_are_left_alone(code: bytes) -> None:
    assert not is_deadly(code) and not is_suspect(code + b"\x90")


def test_jumping_between_the_prefixes_is_guarded_too(guest: Guest) -> None:
    code = b"\xf0\x66\xf0\x2e\x0f\xa3\xc9"
    guest.program(code)
    for offset, vector in ((0, 6), (1, 6), (2, 6)):
        guest.engine.set(Reg.RIP, CODE + offset)
        guest.run()
        assert guest.exceptions[-1] == (vector, 0, CODE + offset)


def test_guarded_bytes_inside_another_instruction_run(guest: Guest) -> None:
    """mov rax, imm64 whose operand looks deadly; and a jump into a harmless start that is an end address."""
    guest.program(b"\x48\xb8\xf0\x0f\xa3\xc9\x90\x90\x90\x90" + SYSCALL)
    guest.run()
    assert guest.syscalls[0][0] == 0x90909090C9A30FF0
    assert not guest.exceptions


def test_guarded_addresses_whose_bytes_changed_are_stepped_over(guest: Guest) -> None:
    frame = guest.map(CODE + 0x1000, RX, b"\xf0\x0f\xa3\xc9" + SYSCALL)
    guest.program(b"\xff\xe7", RDI=CODE + 0x1000)
    guest.run()
    assert guest.exceptions[-1][0] == Vector.INVALID_OPCODE
    guest.poke(frame, b"\x48\xff\xc0\x90")  # inc rax; nop
    guest.engine.invalidate_code(CODE + 0x1000, 4096)
    guest.run()
    assert guest.syscalls[0][0] == 1
    assert len(guest.exceptions) == 1


def test_the_deadly_instruction_across_two_pages(guest: Guest) -> None:
    """Its first page is guarded for what the next, not there yet, may hold."""

    def on_fault(address: int, code: int) -> bool:
        assert (address, code) == (CODE + 4096, 0x14)
        guest.map(CODE + 4096, RX, tail)
        return True

    guest.on_fault = on_fault
    for cut in (1, 2, 3):
        for body, expected in ((b"\xf0\x0f\xa3\xc9", 6), (b"\xf0\x0f\xab\x0f", None)):
            head, tail = body[:cut], body[cut:] + SYSCALL
            guest.set_entry(CODE + 4096, 0)
            guest.exceptions.clear()
            guest.syscalls.clear()
            guest.program(head.rjust(4096, b"\x90"), RDI=0x60_0000)
            guest.engine.invalidate_code(CODE, 4096)
            guest.engine.set(Reg.RIP, CODE + 4000)
            guest.run()
            if expected is None:
                assert len(guest.syscalls) == 1 and not guest.exceptions
            else:
                assert [vector for vector, _, _ in guest.exceptions] == [expected]


def test_end_addresses_of_a_page_that_went_away(guest: Guest) -> None:
    """Two of them used to leave a double fault in flight, and the next page fault was lost."""
    guest.program(b"\x66\xf0\x0f\xa3\xc9")
    for _ in range(3):
        guest.engine.reset(rip=CODE, rsp=0, cr3=guest.cr3)
        guest.run()
        assert guest.exceptions.pop()[0] == Vector.INVALID_OPCODE
        guest.set_entry(CODE, 0)
        guest.engine.flush_tlb()
        for _ in range(3):
            guest.run()
            assert guest.faults.pop() == (CODE, 0x14)
        guest.map(CODE, RX, b"\x66\xf0\x0f\xa3\xc9")


def test_end_addresses_belong_to_their_address_space(guest: Guest) -> None:
    other = guest.new_space()
    guest.program(b"\xf0\x0f\xa3\xc9")
    guest.map(CODE, RX, b"\x48\xff\xc0\x90" + SYSCALL, cr3=other)
    for _ in range(2):
        guest.engine.reset(rip=CODE, rsp=0, cr3=guest.cr3)
        guest.run()
        assert guest.exceptions.pop()[0] == Vector.INVALID_OPCODE
        guest.engine.reset(rip=CODE, rsp=0, cr3=other)
        guest.run()
        assert guest.syscalls[-1][0] == 1
    assert not guest.exceptions


def test_random_code() -> None:
    """A short, seeded campaign; `fuzzing.py` runs long ones."""
    fuzzer = Fuzzer()
    for seed in range(150):
        fuzzer.once(seed)
    fuzzer.once(15990)  # aborted the host before there was a guard
    fuzzer.guest.engine.close()


def test_single_instructions_of_every_opcode(guest: Guest) -> None:
    """Every one- and two-byte opcode, plain and with LOCK, in two forms."""
    frame = guest.map(CODE, RX)
    guest.map(0x60_0000, paging.TABLE_FLAGS | paging.PTE_NX)
    registers = [0x60_0040] * 16 + [CODE, 0x202, 0, 0]
    guest.engine.start_ticker(5)
    for lock in (b"", b"\xf0"):
        for opcode in [bytes((b,)) for b in range(256)] + [bytes((0x0F, b)) for b in range(256)]:
            for modrm in (0x07, 0xC8):
                guest.poke(frame, (lock + opcode + bytes((modrm, 0, 0, 0, 0, 0))).ljust(64, b"\xcc"))
                guest.engine.reset(rip=CODE, rsp=0, cr3=guest.cr3)
                guest.engine.set_registers(registers)
                guest.engine.invalidate_code(CODE, 4096)
                guest.engine.guard_code(CODE)
                guest.run()
