"""How runs end (ticks, stops, limits), and code that changes."""

from __future__ import annotations

import struct
import threading
import time

import pytest
from jefeos.cpu import paging
from jefeos.cpu.registers import Reg, Vector

from .conftest import CODE, DATA, HOLE, RW, RWX, RX, STACK_TOP, SYSCALL, Guest

FOREVER = b"\xeb\xfe"
COUNT_FOREVER = b"\x48\xff\xc0\xeb\xfb"  # again: inc rax; jmp again
JIT = HOLE & ~0xFFF


def returns(value: int) -> bytes:
    """mov eax, value; ret."""
    return b"\xb8" + struct.pack("<I", value) + b"\xc3"


# ---- ticks and stops ----


def test_ticks_end_runs_and_the_program_goes_on(guest: Guest) -> None:
    guest.program(COUNT_FOREVER)
    guest.engine.start_ticker(2)
    counts = [0]
    while len(set(counts)) <= 5 and len(counts) < 1000:  # on a busy host a run may get nothing done
        guest.run()
        assert guest.engine.ticked
        counts.append(guest.engine.get(Reg.RAX))
        assert guest.rip() in (CODE, CODE + 3)
    assert counts == sorted(counts) and len(set(counts)) > 5
    guest.engine.stop_ticker()


def test_ticked_is_false_when_something_else_ended_the_run(guest: Guest) -> None:
    guest.program(SYSCALL)
    guest.engine.start_ticker(1_000_000)
    guest.run()
    assert not guest.engine.ticked


def test_the_ticker_can_be_started_again(guest: Guest) -> None:
    guest.program(FOREVER)
    for _ in range(3):
        guest.engine.start_ticker(1)
        guest.run()
        assert guest.engine.ticked
        guest.engine.stop_ticker()
        time.sleep(0.003)


def test_stop_from_another_thread(guest: Guest) -> None:
    guest.program(FOREVER)
    for delay in (0.0, 0.0001, 0.001, 0.01):
        thread = threading.Timer(delay, guest.engine.stop)
        thread.start()
        guest.run()
        assert not guest.engine.ticked
        thread.join()


def test_stops_race_with_starts(guest: Guest) -> None:
    """However a stop falls, the run ends. Each thread's stop may end one run or the start of the next."""
    guest.program(FOREVER)
    for _ in range(300):
        thread = threading.Thread(target=guest.engine.stop)
        thread.start()
        guest.run()
        thread.join()
        guest.engine.stop()  # whatever is left over: this run must return at once
        guest.run()


def test_stop_before_run_ends_it_at_its_start(guest: Guest) -> None:
    guest.program(COUNT_FOREVER)
    guest.engine.stop()
    guest.run()
    assert guest.engine.get(Reg.RAX) == 0


def test_stop_inside_a_system_call(guest: Guest) -> None:
    """A handler may give a result and end the run too."""
    guest.program(SYSCALL + b"\x48\xff\xc0" + SYSCALL)

    def on_syscall(nr: int, *_: int) -> int:
        guest.engine.stop()
        return nr + 10

    guest.on_syscall = on_syscall
    guest.run()
    assert len(guest.syscalls) == 1
    assert guest.rip() == CODE + 2
    assert guest.engine.get(Reg.RAX) == 10
    guest.run()
    assert guest.syscalls[1][0] == 11


def test_stop_inside_a_page_fault(guest: Guest) -> None:
    def on_fault(address: int, code: int) -> bool:
        guest.map(address & ~0xFFF, RW)
        guest.engine.stop()
        return True

    guest.on_fault = on_fault
    guest.program(b"\x88\x07" + SYSCALL, RDI=HOLE)
    guest.run()
    assert guest.rip() == CODE and not guest.syscalls
    guest.run()
    assert len(guest.faults) == 1 and len(guest.syscalls) == 1


# ---- limits ----


def test_a_limited_run_executes_exactly_that_many_instructions(guest: Guest) -> None:
    guest.program(b"\x48\xff\xc0" * 200 + SYSCALL)
    for count in (1, 2, 10, 37):
        before = guest.engine.get(Reg.RAX)
        guest.engine.run(count)
        assert guest.engine.get(Reg.RAX) == before + count
        assert guest.rip() == CODE + 3 * (before + count)
        assert guest.engine.instructions_retired == count
    guest.run()
    assert guest.engine.get(Reg.RAX) == 200 and len(guest.syscalls) == 1


def test_limited_runs_repeat_exactly(guest: Guest) -> None:
    code = b"\x48\xff\xc0\x88\x07\x48\x81\xc7\x00\x02\x00\x00\x0f\x05\xeb\xf0"

    def once() -> list[object]:
        trace: list[object] = []
        guest.on_syscall = lambda nr, *_: trace.append(nr) or nr
        guest.on_fault = lambda address, _: bool(guest.map(address & ~0xFFF, RW))
        for page in range(64):
            guest.set_entry(JIT + page * 4096, 0)
        guest.program(code, RDI=JIT)
        guest.engine.invalidate_code(CODE, 4096)
        for _ in range(20):
            guest.engine.run(17)
            trace.append(tuple(guest.engine.registers()))
        return trace

    assert once() == once()


def test_limits_and_faults_mix(guest: Guest) -> None:
    """Turning the limit off drops translations, some of code that is no longer mapped: no double fault of it."""
    guest.program(b"\xff\xe7", RDI=JIT)
    guest.map(JIT, RX, b"\x90" * 8 + SYSCALL)
    guest.engine.run(4)
    assert guest.rip() == JIT + 3
    guest.set_entry(JIT, 0)
    guest.engine.flush_tlb()
    guest.run()
    assert guest.faults == [(JIT + 3, 0x14)]
    assert not guest.exceptions


def test_switching_the_limit_on_and_off(guest: Guest) -> None:
    """Code translated in one mode used to be run in the other: limits missed, or runs that ended at once."""
    guest.program(b"\x48\xff\xc0\x48\xff\xc3\x0f\x05\xeb\xf6")  # again: inc rax; inc rbx; syscall; jmp again
    guest.on_syscall = lambda nr, *_: None if guest.engine.get(Reg.RBX) % 5 == 0 else nr
    for _ in range(10):
        guest.run()
        assert guest.engine.get(Reg.RBX) % 5 == 0
        before = guest.engine.get(Reg.RBX)
        guest.engine.run(6)  # jmp, inc, inc, syscall, jmp, inc
        assert guest.engine.get(Reg.RBX) == before + 1
        assert guest.engine.instructions_retired == 6
        guest.engine.run(1)
        assert guest.engine.get(Reg.RBX) == before + 2


def test_a_limited_run_ended_early(guest: Guest) -> None:
    guest.program(b"\x90" * 5 + SYSCALL)
    guest.engine.run(1000)
    assert len(guest.syscalls) == 1
    assert guest.rip() == CODE + 7
    assert guest.engine.instructions_retired == 6


# ---- code ----


def test_a_program_that_writes_its_own_code(guest: Guest) -> None:
    """With a page both writable and executable: slow, but right, even for the next instruction."""
    guest.map(JIT, RWX, b"\xc6\x05\x01\x00\x00\x00\x2a\xb8\x07\x00\x00\x00" + SYSCALL)
    guest.program(b"\xff\xe7", RDI=JIT)  # mov byte [rip+1], 42; mov eax, 7
    guest.run()
    assert guest.syscalls[0][0] == 42


def test_write_xor_execute_flips(guest: Guest) -> None:
    """How a JIT lives: the page is writable or executable, flipped on each fault, and stores are noticed."""
    frame = guest.frame()

    def on_fault(address: int, code: int) -> bool:
        assert address & ~0xFFF == JIT
        guest.set_entry(JIT, (frame << paging.PAGE_SHIFT) | (RX if code & 0x10 else RW))
        guest.engine.flush_tlb()
        return True

    guest.on_fault = on_fault
    # again: mov byte [rdi], 0xb8; mov [rdi+1], esi; mov byte [rdi+5], 0xc3; call rdi; cmp eax, esi; jne bad
    #        dec esi; jnz again; syscall; bad: ud2
    code = b"\xc6\x07\xb8\x89\x77\x01\xc6\x47\x05\xc3\xff\xd7\x39\xf0\x75\x06\xff\xce\x75\xec\x0f\x05\x0f\x0b"
    guest.program(code, RDI=JIT, RSI=50)
    guest.run()
    assert not guest.exceptions
    assert len(guest.syscalls) == 1
    assert len(guest.faults) == 100


@pytest.mark.parametrize("invalidate", [True, False])
def test_kernel_writes_to_code_need_invalidation(guest: Guest, invalidate: bool) -> None:
    frame = guest.map(JIT, RX, returns(1))
    guest.program(b"\xff\xd7" + SYSCALL, RDI=JIT)  # call rdi
    guest.run()
    guest.poke(frame, returns(2))
    if invalidate:
        guest.engine.invalidate_code(JIT, 4096)
    guest.engine.set(Reg.RIP, CODE)
    guest.run()
    assert guest.syscalls[-1][0] == (2 if invalidate else 1)  # without: the old translation, the known limit


def test_a_frame_with_new_code_at_another_address_and_space(guest: Guest) -> None:
    """Frames are freed and used again by another program: invalidate through the new mapping."""
    frame = guest.map(JIT, RX, returns(1))
    guest.program(b"\xff\xd7" + SYSCALL, RDI=JIT)
    guest.run()
    guest.set_entry(JIT, 0)
    guest.poke(frame, returns(2))
    other = guest.new_space()
    guest.map(CODE, RX, b"\xff\xd7" + SYSCALL, cr3=other)
    guest.map(STACK_TOP - 4096, RW, cr3=other)
    for address in (JIT, JIT + 0x7000):
        guest.set_entry(address, (frame << paging.PAGE_SHIFT) | RX, other)
        guest.engine.reset(rip=CODE, rsp=STACK_TOP, cr3=other)
        guest.engine.invalidate_code(address, 4096)
        guest.engine.set(Reg.RDI, address)
        guest.run()
        assert guest.syscalls[-1][0] == 2


def test_code_frames_shared_by_two_spaces(guest: Guest) -> None:
    code = b"\x48\x8b\x04\x25" + struct.pack("<I", DATA) + SYSCALL  # mov rax, [DATA]
    guest.program(code)
    frame = guest.map(CODE, RX, code)
    guest.map(DATA, RW, b"1       ")
    other = guest.new_space()
    guest.map(CODE, RX, code, frame=frame, cr3=other)
    guest.map(DATA, RW, b"2       ", cr3=other)
    for _ in range(3):
        for cr3, expected in ((guest.cr3, b"1       "), (other, b"2       ")):
            guest.engine.reset(rip=CODE, rsp=STACK_TOP, cr3=cr3)
            guest.run()
            assert guest.syscalls[-1][0].to_bytes(8, "little") == expected


def test_invalidate_code_of_pages_that_cannot_run(guest: Guest) -> None:
    """Unmapped, NX and supervisor pages are passed over: they would leave a stale exception behind."""
    guest.program(SYSCALL + b"\x8a\x07" + SYSCALL, RDI=HOLE)
    guest.map(JIT + 4096, RW)
    guest.map(JIT + 8192, paging.PTE_PRESENT)

    def on_syscall(nr: int, *_: int) -> int | None:
        guest.engine.invalidate_code(JIT - 4096, 5 * 4096)
        guest.engine.invalidate_code(0xFFFF_8000_0000_0000, 4096)
        return None if len(guest.syscalls) > 1 else 0

    guest.on_syscall = on_syscall
    guest.on_fault = lambda address, code: bool(guest.map(address & ~0xFFF, RW))
    guest.run()
    assert guest.faults == [(HOLE, 4)]
    assert not guest.exceptions and len(guest.syscalls) == 2


def test_invalidating_the_page_that_is_running(guest: Guest) -> None:
    frame = guest.map(JIT, RX, SYSCALL + b"\xb8\x01\x00\x00\x00" + SYSCALL)

    def on_syscall(nr: int, *_: int) -> int | None:
        if nr == 0:
            guest.poke(frame, b"\x02", offset=3)
            guest.engine.invalidate_code(JIT, 4096)
            return 0
        return None

    guest.on_syscall = on_syscall
    guest.program(b"\xff\xe7", RDI=JIT)
    guest.run()
    assert guest.syscalls[-1][0] == 2


def test_a_new_present_entry_needs_no_flush_but_a_changed_one_does(guest: Guest) -> None:
    guest.program(b"\x8a\x07" + SYSCALL + b"\x8a\x07" + SYSCALL, RDI=JIT)
    guest.map(JIT, RW, b"\x01")
    guest.run()
    guest.map(JIT, RW, b"\x02")
    guest.engine.flush_tlb()
    guest.run()
    assert [call[0] & 0xFF for call in guest.syscalls] == [1, 2]


def test_a_call_through_null_is_a_page_fault(guest: Guest) -> None:
    """Address 0 is not an end of the run."""
    guest.program(b"\xff\xe0")
    guest.run()
    assert guest.faults == [(0, 0x14)]
    assert guest.rip() == 0


def test_jumping_to_a_non_canonical_address(guest: Guest) -> None:
    guest.program(b"\x48\xb8\x00\x00\x00\x00\x00\x00\x00\x80\xff\xe0")
    guest.run()
    assert [vector for vector, _, _ in guest.exceptions] == [Vector.GENERAL_PROTECTION]


def test_rdtsc_from_a_source(guest: Guest) -> None:
    guest.program(b"\x0f\x31" + SYSCALL + b"\x0f\x31" + SYSCALL, RAX=1 << 40)
    guest.engine.set_time_stamp_source(lambda: 0x1_2345_6789_ABCD)
    guest.run()
    assert (guest.engine.get(Reg.RAX), guest.engine.get(Reg.RDX)) == (0x6789ABCD, 0x12345)
    guest.engine.set_time_stamp_source(None)
    guest.run()
    assert guest.engine.get(Reg.RAX) != 0x6789ABCD
