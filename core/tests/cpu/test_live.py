"""The processor's structure in place: it is found, it is what the library's calls read, and doing without it works."""

from __future__ import annotations

import pytest
from jefeos.cpu.registers import Reg
from jefeos.cpu.unicorn import UnicornEngine, live

from .conftest import CODE, RAM_BYTES, STACK_TOP, Guest


@pytest.fixture
def engine() -> UnicornEngine:
    return UnicornEngine(RAM_BYTES)


def found(engine: UnicornEngine) -> live.Structure | None:
    machine = engine._machine
    context = machine.new_context()
    try:
        return live.find_structure(machine.library, machine.handle, context, machine.context_bytes)
    finally:
        machine.library.context_free(context)


def test_looking_for_it_changes_no_register(engine: UnicornEngine) -> None:
    values = [0x1000 + place for place in range(len(Reg))]
    values[Reg.RFLAGS] = 0x202
    engine.set_registers(values)
    assert found(engine) == engine._machine.structure
    assert engine.registers() == values
    engine.close()


def test_a_library_that_does_not_tell(engine: UnicornEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(engine) is not None
    for wrong in ("no_such_function", "uc_version"):  # not exported; exported, and not what the engine calls
        monkeypatch.setattr(live, "_READER", wrong)
        assert found(engine) is None
    engine.close()


def test_every_register_read_alone_is_the_one_of_the_batch(guest: Guest) -> None:
    values = [0x7000_0000 + 16 * place for place in range(len(Reg))]
    values[Reg.RFLAGS] = 0x202
    guest.engine.reset(rip=CODE, rsp=STACK_TOP, cr3=guest.cr3)
    guest.engine.set_registers(values)
    assert [guest.engine.get(register) for register in Reg] == guest.engine.registers() == values
    for register in Reg:
        if register is not Reg.RFLAGS:
            guest.engine.set(register, values[register] + 1)
            values[register] += 1
    assert guest.engine.registers() == values
