"""System calls, page faults, exceptions: what the kernel is told, and where RIP is."""

from __future__ import annotations

import pytest
from jefeos.cpu import paging
from jefeos.cpu.registers import FaultCode, Reg, Vector

from .conftest import CODE, DATA, HOLE, RW, RX, STACK_TOP, SYSCALL, Guest, R

PRESENT, WRITE, USER, FETCH = FaultCode.PRESENT, FaultCode.WRITE, FaultCode.USER, FaultCode.FETCH


def test_syscall_passes_six_arguments_and_goes_on(guest: Guest) -> None:
    guest.on_syscall = lambda nr, *rest: -38 if nr == 5 else None
    guest.program(
        SYSCALL + b"\x48\x89\xc3" + b"\xb8\x06\x00\x00\x00" + SYSCALL,  # mov rbx, rax; mov eax, 6
        RAX=5, RDI=1, RSI=2, RDX=3, R10=4, R8=(1 << 64) - 1, R9=6,
    )  # fmt: skip
    guest.run()
    assert guest.syscalls[0] == (5, 1, 2, 3, 4, (1 << 64) - 1, 6)
    assert guest.syscalls[1][0] == 6
    assert guest.engine.get(Reg.RBX) == (1 << 64) - 38


def test_rip_after_a_stopped_syscall_is_after_it_and_rewinding_restarts_it(guest: Guest) -> None:
    guest.program(SYSCALL + b"\x90" * 4 + SYSCALL, RAX=7)
    inside = []
    guest.on_syscall = lambda *_: inside.append(guest.rip())
    guest.run()
    assert inside == [CODE + 2]
    assert guest.rip() == CODE + 2
    guest.engine.set(Reg.RIP, guest.rip() - 2)
    guest.engine.set(Reg.RAX, 7)
    guest.run()
    assert [call[0] for call in guest.syscalls] == [7, 7]
    assert guest.rip() == CODE + 2
    guest.engine.set(Reg.RAX, 99)
    guest.run()
    assert guest.syscalls[-1][0] == 99
    assert guest.rip() == CODE + 8


@pytest.mark.parametrize(
    ("code", "flags", "expected"),
    [
        (b"\x8a\x07", None, USER),  # mov al, [rdi]
        (b"\x88\x07", None, USER | WRITE),  # mov [rdi], al
        (b"\x88\x07", R, USER | WRITE | PRESENT),
        (b"\x8a\x07", paging.PTE_PRESENT | paging.PTE_WRITE, USER | PRESENT),  # supervisor page
        (b"\xff\xe7", RW, USER | FETCH | PRESENT),  # jmp rdi, to a page marked NX
        (b"\xff\xe7", None, USER | FETCH),
    ],
)
def test_error_code_of_a_page_fault(guest: Guest, code: bytes, flags: int | None, expected: int) -> None:
    if flags is not None:
        guest.map(HOLE, flags)
    guest.program(code, RDI=HOLE + 5)
    guest.run()
    assert guest.faults == [(HOLE + 5, int(expected))]
    assert guest.rip() == (HOLE + 5 if code == b"\xff\xe7" else CODE)


def demand_zero(guest: Guest, flags: int = RW) -> None:
    def on_fault(address: int, code: int) -> bool:
        guest.map(address & ~paging.PAGE_MASK, flags)
        return True

    guest.on_fault = on_fault


def test_many_faults_in_a_row_each_run_the_instruction_again(guest: Guest) -> None:
    """The second fault used to arrive as a double fault, the third as a triple fault."""
    demand_zero(guest)
    # mov ecx, 500; again: mov [rdi], ecx; add rdi, 4096; dec ecx; jnz again; syscall
    code = (
        b"\xb9\xf4\x01\x00\x00"
        + b"\x89\x0f"
        + b"\x48\x81\xc7\x00\x10\x00\x00"
        + b"\xff\xc9"
        + b"\x75\xf3"
        + SYSCALL
    )
    guest.program(code, RDI=HOLE)
    guest.run()
    assert guest.faults == [(HOLE + 4096 * i, int(USER | WRITE)) for i in range(500)]
    assert len(guest.syscalls) == 1
    assert not guest.exceptions


def test_faults_on_two_operands_of_one_instruction(guest: Guest) -> None:
    demand_zero(guest)
    guest.program(b"\xa4" + SYSCALL, RSI=HOLE, RDI=HOLE + 0x10000)  # movsb
    guest.run()
    assert guest.faults == [(HOLE, int(USER)), (HOLE + 0x10000, int(USER | WRITE))]
    assert guest.engine.get(Reg.RSI) == HOLE + 1


def test_rep_string_copies_over_many_missing_pages(guest: Guest) -> None:
    demand_zero(guest)
    length = 10 * 4096 + 100
    guest.program(b"\xf3\xaa" + SYSCALL, RDI=HOLE + 50, RCX=length, RAX=0x5A)  # rep stosb
    guest.run()
    assert len(guest.faults) == 11
    assert guest.engine.get(Reg.RCX) == 0
    assert guest.engine.get(Reg.RDI) == HOLE + 50 + length
    assert len(guest.syscalls) == 1


def test_store_across_two_missing_pages_is_all_or_nothing(guest: Guest) -> None:
    demand_zero(guest)
    guest.program(b"\x48\x89\x07" + SYSCALL, RDI=HOLE + 4092, RAX=0x1122334455667788)  # mov [rdi], rax
    guest.run()
    assert sorted(address for address, _ in guest.faults) == [HOLE + 4092, HOLE + 4096]
    guest.program(b"\x48\x8b\x07" + SYSCALL, RDI=HOLE + 4092)
    guest.engine.flush_tlb()
    guest.run()
    assert guest.engine.get(Reg.RAX) == 0x1122334455667788 or guest.syscalls[-1][0] == 0x1122334455667788


@pytest.mark.parametrize("code", [b"\x50", b"\xe8\x00\x00\x00\x00", b"\xff\x37", b"\xc8\x10\x00\x00"])
def test_stack_faults_leave_rsp_alone_until_resolved(guest: Guest, code: bytes) -> None:
    """push rax; call; push [rdi]; enter 16, 0."""
    stack = HOLE + 0x4000
    seen = []

    def on_fault(address: int, error: int) -> bool:
        seen.append(guest.engine.get(Reg.RSP))
        guest.map(address & ~paging.PAGE_MASK, RW)
        return True

    guest.on_fault = on_fault
    guest.program(code + SYSCALL, RSP=stack, RDI=DATA, RBP=stack)
    guest.run()
    assert set(seen) == {stack}
    assert guest.faults[0] == (stack - 8, int(USER | WRITE))
    assert len(guest.syscalls) == 1


def test_fault_refused_then_mapped_outside_then_run_again(guest: Guest) -> None:
    guest.program(b"\x8a\x07" + SYSCALL, RDI=HOLE)
    guest.run()
    assert guest.rip() == CODE
    assert len(guest.faults) == 1
    guest.map(HOLE, RW, b"\x77")
    guest.run()
    assert guest.syscalls[0][0] == 0x77
    assert len(guest.faults) == 1


def test_code_that_runs_into_a_missing_page(guest: Guest) -> None:
    guest.program(b"\x90" * 4095 + b"\xb8")  # mov eax, imm32, with its operand on the next page

    def on_fault(address: int, code: int) -> bool:
        guest.map(CODE + 4096, RX, b"\x2a\x00\x00\x00" + SYSCALL)
        return True

    guest.on_fault = on_fault
    guest.run()
    assert guest.faults == [(CODE + 4096, int(USER | FETCH))]
    assert guest.syscalls[0][0] == 42


FAULTS = [
    (b"\x31\xc9\xf7\xf1", Vector.DIVIDE_ERROR, 2),  # xor ecx, ecx; div ecx
    (b"\x0f\x0b", Vector.INVALID_OPCODE, 0),  # ud2
    (b"\x0f\xff", Vector.INVALID_OPCODE, 0),  # ud0
    (b"\x06", Vector.INVALID_OPCODE, 0),  # push es: not in long mode
    (b"\xf0\x90", Vector.INVALID_OPCODE, 0),  # lock nop
    (b"\xf1", Vector.INVALID_OPCODE, 0),  # int1: this processor has none
    (b"\x0f\x34", Vector.INVALID_OPCODE, 0),  # sysenter: no 32-bit entry here
    (b"\x0f\x01\xd0", Vector.INVALID_OPCODE, 0),  # xgetbv without XSAVE
    (b"\x0f\x01\xc1", Vector.INVALID_OPCODE, 0),  # vmcall
    (b"\xc5\xfc\x58\xc1", Vector.INVALID_OPCODE, 0),  # vaddps ymm: no AVX
    (b"\x0f\xc7\xf0", Vector.INVALID_OPCODE, 0),  # rdrand: not x86-64-v2
    (b"\xf4", Vector.GENERAL_PROTECTION, 0),  # hlt
    (b"\xfa", Vector.GENERAL_PROTECTION, 0),  # cli
    (b"\xe4\x80", Vector.GENERAL_PROTECTION, 0),  # in al, 0x80
    (b"\xe6\x80", Vector.GENERAL_PROTECTION, 0),  # out 0x80, al
    (b"\x0f\x22\xd8", Vector.GENERAL_PROTECTION, 0),  # mov cr3, rax
    (b"\x0f\x20\xd8", Vector.GENERAL_PROTECTION, 0),  # mov rax, cr3
    (b"\x0f\x32", Vector.GENERAL_PROTECTION, 0),  # rdmsr
    (b"\x0f\x30", Vector.GENERAL_PROTECTION, 0),  # wrmsr
    (b"\x0f\x01\xf8", Vector.GENERAL_PROTECTION, 0),  # swapgs
    (b"\x0f\x01\x1f", Vector.GENERAL_PROTECTION, 0),  # lidt [rdi]
    (b"\x48\x0f\x07", Vector.GENERAL_PROTECTION, 0),  # sysretq
    (b"\x0f\x08", Vector.GENERAL_PROTECTION, 0),  # invd
    (
        b"\x48\xb8\x00\x00\x00\x00\x00\x00\x00\x80\x8a\x00",
        Vector.GENERAL_PROTECTION,
        10,
    ),  # non-canonical load
    (b"\x48\xb8\x00\x00\x00\x00\x00\x80\x00\x00\x88\x00", Vector.GENERAL_PROTECTION, 10),  # first one above
]


@pytest.mark.parametrize(
    ("code", "vector", "offset"),
    FAULTS,
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_faults_stop_at_the_instruction(guest: Guest, code: bytes, vector: int, offset: int) -> None:
    guest.program(code + SYSCALL, RDI=DATA)
    guest.run()
    assert [(v, rip) for v, _, rip in guest.exceptions] == [(vector, CODE + offset)]
    assert guest.rip() == CODE + offset
    assert not guest.syscalls and not guest.faults
    guest.run()  # and it stays there
    assert len(guest.exceptions) == 2


def test_traps_stop_after_the_instruction(guest: Guest) -> None:
    guest.program(b"\xcc\x90\xcd\x03\xcd\x04" + SYSCALL)  # int3; nop; int 3; int 4
    for _ in range(3):
        guest.run()
    assert guest.exceptions == [
        (Vector.BREAKPOINT, 0, CODE + 1), (Vector.BREAKPOINT, 0, CODE + 4), (Vector.OVERFLOW, 0, CODE + 6),
    ]  # fmt: skip
    guest.run()
    assert len(guest.syscalls) == 1


@pytest.mark.parametrize("vector", [0x80, 0, 1, 6, 8, 13, 14, 255])
def test_software_interrupts_go_to_the_interrupt_handler(guest: Guest, vector: int) -> None:
    """INT 14 is no page fault and INT 6 no invalid opcode."""
    guest.on_interrupt = lambda number: 1234
    guest.program(bytes((0xCD, vector)) + SYSCALL)
    guest.run()
    assert guest.interrupts == [vector]
    assert guest.syscalls[0][0] == 1234
    assert not guest.faults and not guest.exceptions
    guest.on_interrupt = lambda number: None
    guest.engine.set(Reg.RIP, CODE)
    guest.run()
    assert guest.rip() == CODE + 2
    assert len(guest.syscalls) == 1


def test_trap_flag_single_steps(guest: Guest) -> None:
    guest.program(b"\x90" * 8 + SYSCALL)
    guest.engine.set(Reg.RFLAGS, 0x302)
    for step in range(1, 4):
        guest.run()
        assert guest.exceptions[-1] == (Vector.DEBUG, 0, CODE + step)
    guest.engine.set(Reg.RFLAGS, 0x202)
    guest.run()
    assert len(guest.exceptions) == 3 and len(guest.syscalls) == 1


def test_an_exception_in_a_callback_comes_out_of_run(guest: Guest) -> None:
    def broken(*_: int) -> int:
        raise ZeroDivisionError("handler")

    guest.program(SYSCALL + b"\x8a\x07\xcd\x80\x0f\x0b\xcc", RDI=HOLE)
    guest.on_syscall = guest.on_fault = guest.on_interrupt = broken
    with pytest.raises(ZeroDivisionError, match="handler"):
        guest.run()
    assert guest.rip() == CODE + 2
    with pytest.raises(ZeroDivisionError):
        guest.run()
    assert guest.rip() == CODE + 2  # the fault was not resolved
    guest.engine.set(Reg.RIP, CODE + 4)
    with pytest.raises(ZeroDivisionError):
        guest.run()
    guest.run()
    assert guest.exceptions[-1][0] == Vector.INVALID_OPCODE


def test_an_exception_in_the_exception_handler_comes_out_too(guest: Guest) -> None:
    def broken(vector: int, code: int) -> None:
        raise KeyError(vector)

    guest._exception = broken  # type: ignore[method-assign]
    guest.program(b"\xf4")
    # attach() took the bound method, so go through the recorded list: an unusable list raises inside.
    guest.exceptions = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        guest.run()


def test_stack_top_is_usable(guest: Guest) -> None:
    guest.program(b"\x50\x5b" + SYSCALL, RAX=0xABCDEF)  # push rax; pop rbx
    guest.run()
    assert guest.engine.get(Reg.RBX) == 0xABCDEF
    assert guest.engine.get(Reg.RSP) == STACK_TOP
