"""Contexts, registers, FPU state, flags, segment bases, address spaces."""

from __future__ import annotations

import random
import struct

import pytest
from jefeos.cpu import paging
from jefeos.cpu.registers import FXSAVE_BYTES, INITIAL_FPCW, INITIAL_MXCSR, Flag, Reg, Vector
from jefeos.errors import BootError, UsageError

from .conftest import CODE, DATA, HOLE, RW, RX, STACK_TOP, SYSCALL, Guest

MASK64 = (1 << 64) - 1


def test_reset_is_a_fresh_process_start(guest: Guest) -> None:
    guest.program(b"\x0f\x57\xc0\xd9\xe8" + SYSCALL, RBX=5, FS_BASE=77)  # xorps; fld1
    guest.engine.set_fpu_state(bytes(range(24)) + bytes(FXSAVE_BYTES - 24))
    guest.engine.reset(rip=CODE, rsp=STACK_TOP - 8, cr3=guest.cr3)
    registers = guest.engine.registers()
    expected = [0] * len(registers)
    expected[Reg.RIP], expected[Reg.RSP], expected[Reg.RFLAGS] = CODE, STACK_TOP - 8, 0x202
    assert registers == expected
    image = guest.engine.fpu_state()
    assert struct.unpack_from("<HHB", image) == (INITIAL_FPCW, 0, 0)
    assert struct.unpack_from("<II", image, 24) == (INITIAL_MXCSR, 0xFFFF)
    assert image[32:] == bytes(FXSAVE_BYTES - 32)


def test_registers_round_trip(guest: Guest) -> None:
    rng = random.Random(1)
    values = [rng.getrandbits(64) for _ in Reg]
    values[Reg.RFLAGS] = int(Flag.ALWAYS_ONE | Flag.CF | Flag.ZF | Flag.DF | Flag.OF | Flag.AC)
    guest.program(SYSCALL)
    guest.engine.set_registers(values)
    assert guest.engine.registers() == values
    assert [guest.engine.get(register) for register in Reg] == values
    guest.engine.set(Reg.R12, -1)
    assert guest.engine.get(Reg.R12) == MASK64
    with pytest.raises(UsageError):
        guest.engine.set_registers([0])


def test_set_registers_restarts_elsewhere(guest: Guest) -> None:
    guest.program(SYSCALL + b"\x90" * 14 + b"\x48\xff\xc0" + SYSCALL)  # at 16: inc rax
    guest.run()
    values = guest.engine.registers()
    values[Reg.RIP], values[Reg.RAX] = CODE + 16, 41
    guest.engine.set_registers(values)
    guest.run()
    assert guest.syscalls[-1][0] == 42


def test_registers_inside_callbacks(guest: Guest) -> None:
    seen = []
    guest.on_syscall = lambda *_: seen.append(guest.engine.registers()[Reg.RDI]) or 0
    guest.on_fault = lambda *_: bool(seen.append(guest.engine.registers()[Reg.RDI]))
    guest.program(SYSCALL + b"\x8a\x07", RDI=HOLE)
    guest.run()
    assert seen == [HOLE, HOLE]


def test_fork_like_contexts(guest: Guest) -> None:
    """Save after a stopped system call, load twice, with different results and address spaces."""
    engine = guest.engine
    child_cr3 = guest.new_space()
    code = SYSCALL + b"\x48\x8b\x1c\x25" + struct.pack("<I", DATA) + SYSCALL  # mov rbx, [DATA]
    guest.program(code, RAX=57, R15=0x1515)
    parent_frame, child_frame = guest.frame(), guest.frame()
    code_frame = guest.map(CODE, RX, code)
    for cr3, frame in ((guest.cr3, parent_frame), (child_cr3, child_frame)):
        guest.set_entry(DATA, (frame << paging.PAGE_SHIFT) | RW, cr3)
        guest.set_entry(CODE, (code_frame << paging.PAGE_SHIFT) | RX, cr3)
    guest.poke(parent_frame, b"parent  ")
    guest.poke(child_frame, b"child   ")
    engine.flush_tlb()
    guest.run()
    parent, child = engine.new_context(), engine.new_context()
    engine.save(parent)
    engine.set(Reg.RAX, 0)
    engine.set_cr3(child_cr3)
    engine.save(child)
    for _ in range(3):
        for context, rax, text in ((parent, 57, b"parent  "), (child, 0, b"child   ")):
            engine.load(context)
            assert engine.current_cr3 == context.cr3
            guest.run()
            assert guest.syscalls[-1][0] == rax
            assert engine.get(Reg.RBX).to_bytes(8, "little") == text
            assert engine.get(Reg.R15) == 0x1515


def test_two_contexts_keep_their_fpu_state(guest: Guest) -> None:
    engine = guest.engine
    guest.program(b"\xd9\xe8\x66\x48\x0f\x6e\xc0" + SYSCALL + b"\x66\x48\x0f\x7e\xc3" + SYSCALL)
    contexts = []
    for number in (111, 222):  # fld1; movq xmm0, rax; syscall; movq rbx, xmm0; syscall
        engine.reset(rip=CODE, rsp=STACK_TOP, cr3=guest.cr3)
        engine.set(Reg.RAX, number)
        guest.run()
        image = bytearray(engine.fpu_state())
        image[24:28] = struct.pack("<I", INITIAL_MXCSR | number << 13 & 0x6000)
        engine.set_fpu_state(bytes(image))
        contexts.append(engine.new_context())
        engine.save(contexts[-1])
    images = []
    for number, context in zip((111, 222), contexts, strict=True):
        engine.load(context)
        images.append(engine.fpu_state())
        guest.run()
        assert engine.get(Reg.RBX) == number
    assert images[0] != images[1]
    assert images[0][24:28] != images[1][24:28]


def test_fpu_image_agrees_with_fxsave(guest: Guest) -> None:
    """The processor's own FXSAVE is the oracle, with three registers on the x87 stack."""
    frame = guest.map(HOLE & ~0xFFF, RW)
    loads = b"\xd9\xe8\xd9\xeb\xd9\xea"  # fld1; fldpi; fldl2e
    sse = b"\x66\x48\x0f\x6e\xf8\x66\x4c\x0f\x6e\xff"  # movq xmm7, rax; movq xmm15, rdi
    guest.program(loads + sse + b"\x0f\xae\x07" + SYSCALL, RDI=HOLE & ~0xFFF, RAX=0x1122334455667788)
    guest.run()
    ours, theirs = guest.engine.fpu_state(), guest.peek(frame, FXSAVE_BYTES)
    for start, end in ((0, 6), (24, 32), (32, 160), (160, 416)):
        assert ours[start:end] == theirs[start:end], (start, end)
    assert ours[4] == 0b1110_0000


def test_fpu_image_round_trip_and_use(guest: Guest) -> None:
    guest.program(b"\xd9\xe8\xd9\xeb" + SYSCALL + b"\xdd\x1f\xdd\x5f\x08" + SYSCALL, RDI=DATA)
    guest.run()  # fld1; fldpi; syscall; fstp qword [rdi]; fstp qword [rdi+8]
    image = guest.engine.fpu_state()
    guest.engine.set_fpu_state(bytes(FXSAVE_BYTES))
    assert guest.engine.fpu_state() != image
    guest.engine.set_fpu_state(image)
    assert guest.engine.fpu_state() == image
    frame = guest.frame()
    guest.set_entry(DATA, (frame << paging.PAGE_SHIFT) | RW)
    guest.engine.flush_tlb()
    guest.run()
    assert struct.unpack("<dd", guest.peek(frame, 16)) == (3.141592653589793, 1.0)
    with pytest.raises(UsageError):
        guest.engine.set_fpu_state(b"short")


def test_reserved_mxcsr_bits_are_dropped(guest: Guest) -> None:
    image = bytearray(FXSAVE_BYTES)
    image[24:28] = b"\xff\xff\xff\xff"
    guest.engine.set_fpu_state(bytes(image))
    assert guest.engine.fpu_state()[24:28] == b"\xff\xff\x00\x00"


def test_segment_bases_are_used_and_saved(guest: Guest) -> None:
    frame = guest.map(HOLE & ~0xFFF, RW, struct.pack("<QQ", 0x1111, 0x2222))
    code = b"\x64\x48\x8b\x04\x25\x00\x00\x00\x00" + b"\x65\x48\x8b\x1c\x25\x08\x00\x00\x00" + SYSCALL
    guest.program(code)  # mov rax, fs:[0]; mov rbx, gs:[8]
    engine = guest.engine
    with_bases, without = engine.new_context(), engine.new_context()
    engine.save(without)
    engine.set(Reg.FS_BASE, HOLE & ~0xFFF)
    engine.set(Reg.GS_BASE, HOLE & ~0xFFF)
    engine.save(with_bases)
    engine.load(without)
    assert engine.get(Reg.FS_BASE) == 0
    guest.run()
    assert guest.faults == [(0, 4)]
    engine.load(with_bases)
    guest.run()
    assert (engine.get(Reg.RAX), engine.get(Reg.RBX)) == (0x1111, 0x2222)
    assert engine.get(Reg.GS_BASE) == HOLE & ~0xFFF
    assert guest.peek(frame, 2) == b"\x11\x11"


def test_segment_base_written_by_a_system_call(guest: Guest) -> None:
    """arch_prctl sets FS while the program runs on."""
    guest.map(HOLE & ~0xFFF, RW, struct.pack("<Q", 0xFEED))

    def on_syscall(nr: int, *_: int) -> int | None:
        if nr == 158:
            guest.engine.set(Reg.FS_BASE, HOLE & ~0xFFF)
            return 0
        return None

    guest.on_syscall = on_syscall
    guest.program(SYSCALL + b"\x64\x48\x8b\x04\x25\x00\x00\x00\x00" + SYSCALL, RAX=158)
    guest.run()
    assert guest.syscalls[-1][0] == 0xFEED


def test_direction_and_alignment_flags(guest: Guest) -> None:
    guest.map(HOLE & ~0xFFF, RW, bytes(range(64)))
    base = HOLE & ~0xFFF
    guest.program(b"\xfd\xac" + SYSCALL + b"\xfc\xac" + SYSCALL, RSI=base + 5)  # std; lodsb; cld; lodsb
    guest.run()
    assert guest.engine.get(Reg.RFLAGS) & Flag.DF
    assert guest.engine.get(Reg.RSI) == base + 4
    context = guest.engine.new_context()
    guest.engine.save(context)
    guest.engine.reset(rip=CODE, rsp=0, cr3=guest.cr3)
    assert not guest.engine.get(Reg.RFLAGS) & Flag.DF
    guest.engine.load(context)
    assert guest.engine.get(Reg.RFLAGS) & Flag.DF
    guest.run()
    assert guest.engine.get(Reg.RSI) == base + 5
    # Alignment checking stays off (CR0.AM is clear), as under Linux.
    guest.program(b"\x48\x8b\x07" + SYSCALL, RDI=base + 1)
    guest.engine.set(Reg.RFLAGS, guest.engine.get(Reg.RFLAGS) | Flag.AC)
    guest.run()
    assert guest.syscalls[-1][0] == int.from_bytes(bytes(range(1, 9)), "little")


def test_privileged_flags_cannot_be_taken(guest: Guest) -> None:
    guest.program(b"\x68\x02\x32\x00\x00\x9d" + SYSCALL)  # push IOPL=3|IF|2 (and IF off below); popfq
    guest.run()
    assert guest.engine.get(Reg.RFLAGS) & Flag.IOPL == 0
    guest.program(b"\x6a\x02\x9d" + SYSCALL)
    guest.run()
    assert guest.engine.get(Reg.RFLAGS) & Flag.IF


def test_selectors_are_linuxs(guest: Guest) -> None:
    guest.program(b"\x8c\xc8\x8c\xd3" + SYSCALL)  # mov eax, cs; mov ebx, ss
    guest.run()
    assert guest.syscalls[-1][0] & 0xFFFF == 0x33
    assert guest.engine.get(Reg.RBX) & 0xFFFF == 0x2B


def test_segment_loads_and_iretq_work_in_user_mode(guest: Guest) -> None:
    guest.program(
        b"\xb8\x2b\x00\x00\x00\x8e\xd8\x8e\xc0" + SYSCALL
    )  # mov eax, 0x2b; mov ds, eax; mov es, eax
    guest.run()
    assert len(guest.syscalls) == 1
    target = CODE + 64
    frame = struct.pack("<QQQQQ", target, 0x33, 0x202, STACK_TOP - 8, 0x2B)
    stack = guest.frame()
    guest.poke(stack, frame, 0x800)
    guest.program((b"\x48\xcf").ljust(64, b"\x90") + SYSCALL)
    guest.set_entry(STACK_TOP - 4096, (stack << paging.PAGE_SHIFT) | RW)
    guest.engine.reset(rip=CODE, rsp=STACK_TOP - 0x800, cr3=guest.cr3)
    guest.run()
    assert guest.rip() == target + 2
    assert guest.engine.get(Reg.RSP) == STACK_TOP - 8


def test_a_space_without_the_kernel_entries_gives_a_protection_fault(guest: Guest) -> None:
    guest.program(b"\xb8\x2b\x00\x00\x00\x8e\xd8" + SYSCALL)
    for index, _ in guest.engine.kernel_entries:
        guest.engine.ram_words[(guest.cr3 >> 3) + index] = 0
    guest.engine.flush_tlb()
    guest.run()
    assert guest.exceptions == [(Vector.GENERAL_PROTECTION, 0, CODE + 5)]
    assert not guest.faults


def test_the_kernel_half_is_out_of_reach(guest: Guest) -> None:
    guest.program(b"\x8a\x07", RDI=0xFFFF_8000_0000_1000)
    guest.run()
    assert guest.faults == [(0xFFFF_8000_0000_1000, 5)]
    guest.program(b"\xff\xe7", RDI=0xFFFF_8000_0000_9000)
    guest.run()
    assert guest.faults[-1] == (0xFFFF_8000_0000_9000, 0x15)


def test_cr3_written_inside_a_system_call(guest: Guest) -> None:
    other = guest.new_space()
    code = SYSCALL + b"\x48\x8b\x04\x25" + struct.pack("<I", DATA) + SYSCALL
    guest.program(code)
    code_frame = guest.map(CODE, RX, code)
    guest.map(CODE, RX, frame=code_frame, cr3=other, content=code)
    guest.map(DATA, RW, b"here    ")
    guest.map(DATA, RW, b"there   ", cr3=other)
    guest.engine.flush_tlb()

    def on_syscall(nr: int, *_: int) -> int | None:
        if nr == 0:
            guest.engine.set_cr3(other)
            return 0
        return None

    guest.on_syscall = on_syscall
    guest.run()
    assert guest.syscalls[-1][0].to_bytes(8, "little") == b"there   "


def test_cr3_rewritten_inside_a_page_fault(guest: Guest) -> None:
    """Copy on write: the fault handler replaces a present entry, flushes, and the store goes to the copy."""
    shared = guest.map(HOLE & ~0xFFF, RW & ~paging.PTE_WRITE, b"original")
    copy = guest.frame()

    def on_fault(address: int, code: int) -> bool:
        assert code == 7
        guest.poke(copy, guest.peek(shared, 4096))
        guest.set_entry(address & ~0xFFF, (copy << paging.PAGE_SHIFT) | RW)
        guest.engine.flush_tlb()
        return True

    guest.on_fault = on_fault
    guest.program(b"\x8a\x07\x88\x47\x01\x8a\x5f\x01" + SYSCALL, RDI=HOLE & ~0xFFF)
    guest.run()  # mov al,[rdi]; mov [rdi+1],al; mov bl,[rdi+1]
    assert guest.peek(shared, 8) == b"original"
    assert guest.peek(copy, 8) == b"ooiginal"
    assert guest.engine.get(Reg.RBX) == ord("o")


def test_accessed_and_dirty_bits(guest: Guest) -> None:
    guest.program(b"\x8a\x07\x88\x06" + SYSCALL, RDI=HOLE, RSI=HOLE + 4096)
    guest.map(HOLE & ~0xFFF, RW)
    guest.map((HOLE & ~0xFFF) + 4096, RW)
    guest.run()
    words = guest.engine.ram_words
    read = paging.walk(words, guest.cr3, HOLE)
    written = paging.walk(words, guest.cr3, HOLE + 4096)
    assert read & (paging.PTE_ACCESSED | paging.PTE_DIRTY) == paging.PTE_ACCESSED
    assert written & (paging.PTE_ACCESSED | paging.PTE_DIRTY) == paging.PTE_ACCESSED | paging.PTE_DIRTY


def test_an_entry_that_points_outside_ram_is_a_machine_check(guest: Guest) -> None:
    guest.program(b"\x8a\x07" + SYSCALL, RDI=HOLE)
    guest.set_entry(HOLE & ~0xFFF, (1 << 31) | RW)
    guest.run()
    assert [vector for vector, _, _ in guest.exceptions] == [Vector.MACHINE_CHECK]
    guest.set_entry(HOLE & ~0xFFF, 0)
    guest.engine.flush_tlb()
    guest.on_fault = lambda address, code: bool(guest.map(address & ~0xFFF, RW, b"\x09"))
    guest.engine.set(Reg.RIP, CODE)
    guest.engine.set(Reg.RDI, HOLE & ~0xFFF)
    guest.run()
    assert guest.syscalls[-1][0] & 0xFF == 9


def test_ram_sizes_that_make_no_sense() -> None:
    from jefeos.cpu.unicorn import UnicornEngine

    for size in (0, 4096, (1 << 20) + 1, 1 << 33):
        with pytest.raises(BootError):
            UnicornEngine(size)


def test_contexts_outlive_their_engine() -> None:
    made = Guest()
    context = made.engine.new_context()
    made.engine.close()
    made.engine.close()
    del context
