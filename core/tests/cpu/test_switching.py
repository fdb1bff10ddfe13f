"""Another context loaded inside the syscall callback: an engine with `switches_inside`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from jefeos.cpu.registers import Reg

from .conftest import CODE, RX, STACK_TOP, SYSCALL, Guest

SECOND = CODE + 0x1000
#: mov rbx, rax; mov eax, 9; syscall
GOES_ON = b"\x48\x89\xc3\xb8\x09\x00\x00\x00" + SYSCALL
END = len(SYSCALL + GOES_ON)


@pytest.fixture
def two(guest: Guest) -> Guest:
    """Code in the loaded address space that makes call 1 and then call 9 with the first one's result in RBX."""
    if not guest.engine.switches_inside:
        pytest.skip("this engine cannot")
    guest.program(SYSCALL + GOES_ON, RAX=1, R12=111)
    return guest


def other_space(guest: Guest) -> int:
    """An address space with code at `SECOND` that makes call 2, and then call 9 with the result in RBX."""
    cr3 = guest.new_space()
    guest.map(SECOND, RX, SYSCALL + GOES_ON, cr3=cr3)
    return cr3


def test_each_context_goes_on_behind_its_own_call(two: Guest) -> None:
    engine = two.engine
    first, second = engine.new_context(), engine.new_context()
    engine.save(first)
    engine.reset(rip=SECOND, rsp=STACK_TOP, cr3=other_space(two))
    engine.set(Reg.RAX, 2)
    engine.set(Reg.R12, 222)
    engine.save(second)
    engine.load(first)

    def on_syscall(number: int, *_: int) -> int | None:
        if number == 1:
            engine.save(first)
            engine.load(second)
            return engine.get(Reg.RAX)  # it has not made a call yet
        if number == 2:
            engine.save(second)
            engine.load(first)
            return 0xA
        return None

    two.on_syscall = on_syscall
    two.run()
    assert [call[0] for call in two.syscalls] == [1, 2, 9]
    assert (engine.get(Reg.RBX), engine.get(Reg.R12), engine.get(Reg.RIP)) == (0xA, 111, CODE + END)
    engine.load(second)
    assert (engine.get(Reg.R12), engine.get(Reg.RIP)) == (222, SECOND + 2)
    engine.set(Reg.RAX, 0xB)
    two.run()
    assert (engine.get(Reg.RBX), engine.get(Reg.RIP)) == (0xB, SECOND + END)


def test_a_stop_after_the_switch_leaves_the_new_state_precise(two: Guest) -> None:
    engine = two.engine
    other = engine.new_context()
    cr3 = other_space(two)

    def on_syscall(number: int, *_: int) -> None:
        engine.save(other)
        engine.reset(rip=SECOND, rsp=STACK_TOP, cr3=cr3)

    two.on_syscall = on_syscall
    two.run()
    assert (engine.get(Reg.RIP), engine.get(Reg.RSP), engine.current_cr3) == (SECOND, STACK_TOP, cr3)
    engine.load(other)
    assert (engine.get(Reg.RIP), engine.current_cr3) == (CODE + 2, two.cr3)


def by_set(engine: object, rip: int) -> None:
    engine.set(Reg.RIP, rip)  # type: ignore[attr-defined]


def by_set_registers(engine: object, rip: int) -> None:
    values = engine.registers()  # type: ignore[attr-defined]
    assert values[Reg.RIP] == CODE + 2
    values[Reg.RIP] = rip
    engine.set_registers(values)  # type: ignore[attr-defined]


@pytest.mark.parametrize("jump", [by_set, by_set_registers])
def test_the_program_counter_can_be_written(two: Guest, jump: Callable[[object, int], None]) -> None:
    two.map(SECOND, RX, GOES_ON)
    two.on_syscall = lambda number, *_: jump(two.engine, SECOND) or 7 if number == 1 else None
    two.run()
    assert (two.engine.get(Reg.RBX), two.engine.get(Reg.RIP)) == (7, SECOND + len(GOES_ON))
