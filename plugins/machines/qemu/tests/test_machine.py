"""QEMU's devices seen through the machine: found, placed, read, interrupting. Datasheets are the oracle."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.bus.machine import DiskRequest
from jefeos.bus.pci import Command, ConfigRegister
from jefeos.errors import UsageError
from jefeos_machine_qemu.machine import INTERRUPT_LINES, QemuMachine

sys.path.insert(0, str(Path(__file__).parent))
from hardware import (
    CTRL,
    E1000,
    EERD,
    ICR,
    ICS,
    IDE,
    IMC,
    IMS,
    LINK_CHANGED,
    MAC,
    PATIENCE_NS,
    RAH0,
    RAL0,
    SECOND,
    SET_LINK_UP,
    STATUS,
    TULIP,
    find,
    nic,
    registers,
)

Maker = Callable[..., QemuMachine]
pytestmark = pytest.mark.peer


def test_the_bus_is_a_pc_s(boot: Maker, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    machine = boot([DiskRequest(str(image))], [nic("e1000"), nic("tulip")])
    found = {(device.vendor_id, device.device_id): device for device in machine.devices}
    assert {(0x8086, 0x1237), (0x8086, 0x7000), IDE, E1000, TULIP} <= found.keys()
    bars = {
        key: {index: (bar.size, bar.is_io) for index, bar in device.bars.items()} for key, device in found.items()
    }
    assert bars[E1000] == {0: (128 << 10, False), 1: (64, True)}
    assert bars[TULIP] == {0: (128, True), 1: (128, False)}
    assert bars[IDE] == {4: (16, True)}
    assert [found[one].class_code >> 8 for one in (IDE, E1000, TULIP)] == [0x0101, 0x0200, 0x0200]
    for device in found.values():
        for bar in device.bars.values():
            register = ConfigRegister.BASE_ADDRESS_0 + 4 * bar.index
            assert bar.address and not bar.address % bar.size
            assert device.read_config(register, 4) & ~0xF == bar.address


def test_e1000_answers_as_its_manual_says(boot: Maker) -> None:
    machine = boot(nics=[nic("e1000")])
    window = registers(machine, find(machine, E1000))
    window.write32(CTRL, window.read32(CTRL) | SET_LINK_UP)
    assert window.read32(STATUS) & 0b11 == 0b11  # full duplex, link up
    words = []
    for address in range(3):
        window.write32(EERD, address << 8 | 1)
        assert machine.wait(lambda: bool(window.read32(EERD) & 1 << 4), PATIENCE_NS)
        words.append(window.read32(EERD) >> 16)
    assert b"".join(word.to_bytes(2, "little") for word in words) == MAC
    assert window.read32(RAH0) & 0xFFFF == int.from_bytes(MAC[4:], "little")
    window.write32(RAL0, 0x33221100)
    assert window.read32(RAL0) == 0x33221100


def test_tulip_s_address_is_in_its_srom(boot: Maker) -> None:
    """Bits in and out of the MicroWire ROM by hand (21143 hardware reference, section 7)."""
    machine = boot(nics=[nic("tulip")])
    window = registers(machine, find(machine, TULIP))
    csr9, chip, clock, data_in, data_out = 0x48, 1 << 0, 1 << 1, 1 << 2, 1 << 3
    base = 1 << 14 | 1 << 11  # read, serial ROM

    def word(address: int) -> int:
        window.write32(csr9, base)
        window.write32(csr9, base | chip)
        for bit in f"110{address:06b}":
            level = base | chip | (data_in if bit == "1" else 0)
            for value in (level, level | clock, level):
                window.write32(csr9, value)
        value = 0
        for _ in range(16):
            window.write32(csr9, base | chip | clock)
            value = value << 1 | bool(window.read32(csr9) & data_out)
            window.write32(csr9, base | chip)
        window.write32(csr9, base)
        return value

    assert b"".join(word(10 + index).to_bytes(2, "little") for index in range(3)) == MAC


def test_memory_that_nobody_decodes_reads_as_ones(boot: Maker) -> None:
    machine = boot(nics=[nic("e1000")])
    device = find(machine, E1000)
    window = registers(machine, device)
    assert window.read32(STATUS) != 0xFFFF_FFFF
    device.set_command(0)
    assert (window.read8(STATUS), window.read16(STATUS), window.read32(STATUS)) == (0xFF, 0xFFFF, 0xFFFF_FFFF)
    device.set_command(Command.MEMORY_SPACE)
    assert window.read32(STATUS) != 0xFFFF_FFFF
    assert machine.map_ports(0xE000, 16).read16(4) == 0xFFFF
    for wrong in (lambda: window.read32(128 << 10), lambda: window.write8(0, 256), lambda: window.read16(-2)):
        with pytest.raises(UsageError):
            wrong()


def test_a_card_that_is_pulled_out_reads_as_ones(boot: Maker) -> None:
    machine = boot(nics=[nic("e1000"), nic("tulip")])
    device = find(machine, E1000)
    window = registers(machine, device)
    machine.unplug(device.location)
    assert not device.is_present and window.read32(STATUS) == 0xFFFF_FFFF
    window.write32(CTRL, 0)
    assert find(machine, TULIP).is_present


def test_an_interrupt_arrives_and_is_lowered_by_reading_icr(boot: Maker) -> None:
    machine = boot(nics=[nic("e1000")])
    device = find(machine, E1000)
    window = registers(machine, device)
    number = machine.interrupt_line(device)
    assert number in INTERRUPT_LINES
    causes: list[int] = []

    def handler() -> bool:
        causes.append(window.read32(ICR))
        return bool(causes[-1])

    machine.interrupts.connect(number, handler)
    window.write32(ICS, LINK_CHANGED)
    assert not machine.wait(lambda: bool(causes), SECOND // 20)  # masked
    window.write32(IMS, LINK_CHANGED)
    assert machine.wait(lambda: bool(causes), PATIENCE_NS)
    assert len(causes) == 1 and causes[0] & LINK_CHANGED
    line = machine.interrupts.lines[number]
    assert not line.asserted_by and line.count == 1
    window.write32(IMC, LINK_CHANGED)


def test_the_line_of_each_slot_is_the_one_that_is_raised(boot: Maker) -> None:
    machine = boot(nics=[nic("e1000") for _ in range(4)])
    cards = [device for device in machine.devices if device.device_id == E1000[1]]
    assert sorted(machine.interrupt_line(card) or 0 for card in cards) == sorted(INTERRUPT_LINES)
    for card in cards:
        window = registers(machine, card)
        window.write32(IMS, LINK_CHANGED)
        window.write32(ICS, LINK_CHANGED)
        window.read32(STATUS)
        up = {line.number for line in machine.interrupts.lines.values() if line.asserted_by}
        assert up & set(INTERRUPT_LINES) == {machine.interrupt_line(card)}  # the PC's timer is on another
        window.write32(IMC, LINK_CHANGED)  # the link may change by itself, too
        window.read32(ICR)


def test_an_interrupt_arrives_through_an_event_loop(make: Maker) -> None:
    async def run() -> list[int]:
        machine = make(nics=[nic("e1000")])
        machine.attach(asyncio.get_running_loop())
        machine.start()
        device = find(machine, E1000)
        window = registers(machine, device)
        causes: list[int] = []
        arrived = asyncio.Event()

        def handler() -> bool:
            causes.append(window.read32(ICR))
            arrived.set()
            return bool(causes[-1])

        machine.interrupts.connect(machine.interrupt_line(device) or 0, handler)
        window.write32(IMS, LINK_CHANGED)
        for _ in range(3):
            arrived.clear()
            window.write32(ICS, LINK_CHANGED)
            await asyncio.wait_for(arrived.wait(), 60)
        machine.stop()
        return causes

    causes = asyncio.run(run())
    assert len(causes) == 3 and all(cause & LINK_CHANGED for cause in causes)
