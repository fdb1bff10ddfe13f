"""The simulated machine, PCI, interrupts and the driver manager, with a device of the tests' own."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest
from jefeos.bus.driver import DeviceContext, DeviceManager, PciMatch
from jefeos.bus.interrupts import STORM_LIMIT, UNHANDLED_LIMIT, InterruptController
from jefeos.bus.pci import Bar, CapabilityId, Command, ConfigRegister, PciDevice, Status, enumerate_functions
from jefeos.bus.simulated import DeviceModel, SimulatedMachine
from jefeos.errors import Errno, KernelError, UsageError
from jefeos.testing.machines import bare_machine, start

sys.path.insert(0, str(Path(__file__).parent))
from copier import SUM, Copier, CopierDriver, CopierModel, MessagingModel


def booted(*models: DeviceModel) -> tuple[SimulatedMachine, DeviceManager]:
    machine = bare_machine()
    for model in models:
        machine.add(model)
    return machine, start(machine, [CopierDriver()])


def the_copier(manager: DeviceManager) -> Copier:
    (copier,) = manager.of_kind(Copier)
    return copier


# --- configuration space ------------------------------------------------------------------------------------------


def test_a_header_is_read_and_its_bars_are_sized_and_placed() -> None:
    machine, _ = booted(CopierModel())
    (device,) = machine.devices
    assert str(device) == "00:01.0 [1234:0001]"
    assert device.class_code == 0x088000
    assert {index: (bar.size, bar.is_io) for index, bar in device.bars.items()} == {0: (256, False), 1: (32, True)}
    for bar in device.bars.values():
        assert bar.address and not bar.address % bar.size
    assert device.read_config(ConfigRegister.BASE_ADDRESS_0, 4) == device.bars[0].address


def test_a_64_bit_bar_takes_two_registers() -> None:
    class Wide(CopierModel):
        bars = (Bar(0, 1 << 20, is_io=False, is_64_bit=True, prefetchable=True), Bar(2, 256, is_io=False))

    machine, _ = booted(Wide())
    bars = machine.devices[0].bars
    assert (bars[0].size, bars[0].is_64_bit, bars[0].prefetchable, bars[2].size) == (1 << 20, True, True, 256)


def test_registers_answer_only_while_decoding_is_on() -> None:
    machine, manager = booted(CopierModel())
    (device,) = machine.devices
    manager.unbind(device)
    window = machine.map_memory(device.bars[0].address, 256)
    assert window.read32(SUM) == 0xFFFFFFFF
    device.set_command(Command.MEMORY_SPACE)
    window.write32(SUM, 5)
    window.write32(SUM, 6)
    assert window.read32(SUM) == 11
    device.set_command(0)
    window.write32(SUM, 7)
    device.set_command(Command.MEMORY_SPACE)
    assert window.read32(SUM) == 11
    with pytest.raises(UsageError):
        window.read32(256)
    with pytest.raises(UsageError):
        window.write8(0, 256)


def test_capabilities_are_found_and_a_loop_of_them_ends() -> None:
    class Loop(CopierModel):
        capabilities = (bytes([CapabilityId.VENDOR, 0x40, 4, 0]),)

    machine, _ = booted(MessagingModel(), Loop())
    messaging, loop = machine.devices
    assert [identity for identity, _ in messaging.capabilities()] == [CapabilityId.VENDOR, CapabilityId.MSI]
    assert messaging.find_capability(CapabilityId.MSI) == 0x44
    assert len(list(loop.capabilities())) < 100
    assert loop.find_capability(CapabilityId.MSI) is None


def test_an_empty_bus_has_no_functions() -> None:
    assert list(enumerate_functions(bare_machine())) == []


# --- DMA, interrupts, time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [CopierModel, MessagingModel])
def test_a_device_copies_and_interrupts(model: type[CopierModel]) -> None:
    _, manager = booted(model())
    copier = the_copier(manager)
    for text in (b"x", b"some bytes", bytes(range(256))):
        assert copier.copy(text) == text
    assert copier.interrupts == 3


def test_interrupts_arrive_through_an_event_loop() -> None:
    async def run() -> int:
        machine = bare_machine()
        machine.add(CopierModel())
        copier = the_copier(start(machine, [CopierDriver()], asyncio.get_running_loop()))
        copier.registers.write32(16, 1)
        for _ in range(1000):
            if copier.interrupts:
                break
            await asyncio.sleep(0.001)
        return copier.interrupts

    assert asyncio.run(run()) == 1


def test_dma_to_nowhere_is_a_master_abort() -> None:
    machine, manager = booted(CopierModel())
    copier = the_copier(manager)
    copier.registers.write32(4, 0xDEAD0000)
    copier.registers.write32(8, copier.buffer.address)
    copier.registers.write32(12, 4)
    copier.registers.write32(16, 1)
    assert machine.wait(lambda: copier.interrupts == 1, 10**6)
    assert bytes(copier.buffer.view[:4]) == b"\xff\xff\xff\xff"
    (device,) = machine.devices
    assert device.read_config(ConfigRegister.STATUS, 2) & Status.RECEIVED_MASTER_ABORT
    device.write_config(ConfigRegister.STATUS, 2, Status.RECEIVED_MASTER_ABORT)
    assert not device.read_config(ConfigRegister.STATUS, 2) & Status.RECEIVED_MASTER_ABORT


def test_a_device_that_is_no_bus_master_reaches_no_memory() -> None:
    machine, manager = booted(CopierModel())
    copier = the_copier(manager)
    machine.devices[0].set_command(Command.MEMORY_SPACE)
    copier.buffer.view[:4] = b"kept"
    copier.registers.write32(4, copier.buffer.address)
    copier.registers.write32(8, copier.buffer.address)
    copier.registers.write32(12, 4)
    copier.registers.write32(16, 1)
    assert machine.wait(lambda: copier.interrupts == 1, 10**6)
    assert bytes(copier.buffer.view[:4]) == b"kept"


def test_a_wait_jumps_over_the_time() -> None:
    machine = bare_machine()
    assert not machine.wait(lambda: False, 3600 * 10**9)
    assert machine.now_ns() == 3600 * 10**9


def test_a_shared_line_serves_both_devices() -> None:
    machine = bare_machine()
    machine.add(CopierModel(), slot=1)
    machine.add(CopierModel(), slot=5)  # four slots on: the same line
    manager = start(machine, [CopierDriver()])
    first, second = manager.of_kind(Copier)
    assert first.copy(b"one") == b"one"
    assert second.copy(b"two") == b"two"
    assert (first.interrupts, second.interrupts) == (1, 1)


def test_a_line_that_nobody_cares_about_is_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    controller = InterruptController()
    heard: list[str] = []
    controller.connect(5, lambda: False, heard.append)
    controller.raise_line(5)
    for _ in range(UNHANDLED_LIMIT):
        controller.dispatch()
    assert controller.lines[5].off and heard == ["its interrupt was switched off: nobody cares about it"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert not controller.dispatch()


def test_a_storm_ends_with_the_line_off_and_the_rest_runs_meanwhile() -> None:
    async def run() -> int:
        controller = InterruptController()
        controller.attach(asyncio.get_running_loop())
        controller.connect(5, lambda: True)
        controller.raise_line(5)
        turns = 0
        while not controller.lines[5].off:
            turns += 1
            await asyncio.sleep(0)
        assert controller.lines[5].count == STORM_LIMIT
        return turns

    assert asyncio.run(run()) > 100


def test_a_handler_that_raises_is_logged_and_the_others_run(caplog: pytest.LogCaptureFixture) -> None:
    controller = InterruptController()
    calls: list[int] = []

    def broken() -> bool:
        raise ValueError("no")

    def works() -> bool:
        calls.append(1)
        controller.lower_line(3)
        return True

    controller.connect(3, broken)
    controller.connect(3, works)
    controller.raise_line(3)
    controller.dispatch()
    assert calls == [1]
    assert "a handler failed" in caplog.text


# --- drivers ------------------------------------------------------------------------------------------------------


def test_unbind_and_rebind_leak_nothing() -> None:
    machine, manager = booted(CopierModel())
    (device,) = machine.devices
    free = machine.dma.free_bytes
    for _ in range(50):
        manager.unbind(device)
        assert machine.dma.block_count == 0
        assert not manager.published
        assert not any(line.handlers for line in machine.interrupts.lines.values())
        assert manager.bind(device)
        assert the_copier(manager).copy(b"again") == b"again"
        assert machine.dma.free_bytes == free
    with pytest.raises(UsageError):
        manager.bind(device)
    manager.unbind_all()
    with pytest.raises(UsageError):
        manager.unbind(device)
    assert machine.dma.free_bytes == machine.dma.size


class Failing(CopierDriver):
    """Takes all that it can and then gives up."""

    name = "failing"
    error: Exception = KernelError(Errno.EIO, "the self-test failed")

    def probe(self, context: DeviceContext) -> Copier:
        Copier(context)
        raise self.error


@pytest.mark.parametrize("error", [KernelError(Errno.EIO, "the self-test failed"), ZeroDivisionError("oh")])
def test_a_probe_that_fails_leaves_the_device_alone(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    machine = bare_machine()
    machine.add(CopierModel())
    driver = Failing()
    driver.error = error
    manager = start(machine, [driver])
    assert not manager.bindings and not manager.published
    assert machine.dma.block_count == 0
    assert machine.devices[0].read_config(ConfigRegister.COMMAND, 2) == 0
    assert "left alone" in caplog.text
    manager.drivers.append(CopierDriver())
    manager.bind_all()
    assert the_copier(manager).copy(b"the next driver") == b"the next driver"


def test_surprise_removal_takes_the_device_offline(caplog: pytest.LogCaptureFixture) -> None:
    machine, manager = booted(CopierModel())
    copier = the_copier(manager)
    (device,) = machine.devices
    assert device.is_present
    machine.unplug(device.location)
    assert not device.is_present and copier.registers.read32(SUM) == 0xFFFFFFFF
    with pytest.raises(KernelError, match="EIO"):
        copier.copy(b"?")
    assert manager.offline == {device: "no answer within a second"}
    assert not manager.published and machine.dma.block_count == 0
    assert "offline" in caplog.text


def test_a_stuck_device_goes_offline_and_comes_back_with_a_new_probe() -> None:
    model = CopierModel()
    machine, manager = booted(model)
    model.stuck = True
    with pytest.raises(KernelError):
        the_copier(manager).copy(b"?")
    model.stuck = False
    assert manager.bind(machine.devices[0])
    assert the_copier(manager).copy(b"well again") == b"well again"
    assert not manager.offline


def test_listeners_hear_of_what_comes_and_goes() -> None:
    machine, manager = booted(CopierModel())
    heard: list[tuple[str, bool]] = []
    manager.listeners.append(lambda thing, here: heard.append((type(thing).__name__, here)))
    manager.unbind(machine.devices[0])
    manager.bind_all()
    assert heard == [("Copier", False), ("Copier", True)]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (PciMatch(vendor_id=0x1234, device_id=1), True),
        (PciMatch(vendor_id=0x1234, device_id=2), False),
        (PciMatch(class_code=0x088000), True),
        (PciMatch(class_code=0x0880FF, class_mask=0xFFFF00), True),
        (PciMatch(class_code=0x010180), False),
        (PciMatch(), True),
    ],
)
def test_matching(match: PciMatch, expected: bool) -> None:
    machine = bare_machine()
    machine.add(CopierModel())
    device = PciDevice.read(machine, next(enumerate_functions(machine)).location)
    assert match.matches(device) is expected
