"""Bad hardware: a logged error, the device offline, and nothing else disturbed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from jefeos.bus.pci import ConfigRegister, Status
from jefeos.bus.simulated import SimulatedMachine
from jefeos.errors import Errno, KernelError
from jefeos.net.wires.lan import Lan
from jefeos.testing.machines import bare_machine, start
from jefeos.testing.nics import MAC, PEER_MAC, NicRig, frame_to, run_with_model
from jefeos_driver_e1000 import registers as r
from jefeos_driver_e1000.driver import E1000, E1000Driver
from jefeos_driver_e1000.model import E1000Model

GENERATOR = random.Random(1)


def run(test: Callable[[NicRig, E1000Model, E1000], Awaitable[None]]) -> None:
    run_with_model(E1000Model, E1000Driver(), E1000, test)


def test_surprise_removal(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: NicRig, model: E1000Model, nic: E1000) -> None:
        assert isinstance(rig.machine, SimulatedMachine)
        rig.machine.unplug(rig.machine.devices[0].location)
        rig.machine.interrupts.raise_line(model.line, "the slot")  # a real slot may do this as the card goes
        assert await rig.until(lambda: bool(rig.manager.offline))
        assert not rig.manager.published and not rig.machine.dma.block_count
        with pytest.raises(KernelError) as failure:
            nic.transmit(frame_to(PEER_MAC, 60, GENERATOR, MAC))
        assert failure.value.errno == Errno.ENODEV
        rig.machine.interrupts.lower_line(model.line, "the slot")

    run(test)
    assert "pulled out" in caplog.text


def test_an_interrupt_storm(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: NicRig, model: E1000Model, nic: E1000) -> None:
        read = model.read
        model.read = (  # type: ignore[method-assign]
            lambda window, offset, width: r.CAUSE_RX if offset == r.Register.ICR else read(window, offset, width)
        )
        model.cause(r.CAUSE_RX)
        ticks = 0
        while not rig.manager.offline:
            ticks += 1
            await asyncio.sleep(0)
        assert ticks > 10, "nobody else got a turn"

    run(test)
    assert "switched off" in caplog.text and "offline" in caplog.text


@pytest.mark.parametrize("offset", [0, 3, 7])
def test_descriptors_to_nowhere_reach_no_memory(offset: int) -> None:
    async def test(rig: NicRig, model: E1000Model, nic: E1000) -> None:
        assert isinstance(rig.machine, SimulatedMachine)
        below = bytes(rig.machine.ram[: rig.machine.dma.base])
        for index in range(len(nic.rx.ring.view) // r.DESCRIPTOR_BYTES):
            nic.rx.ring.view[index * r.DESCRIPTOR_BYTES + offset] = 0xFF
        for _ in range(10):
            rig.peer.send(frame_to(MAC, 100, GENERATOR))
        await rig.settle()
        assert bytes(rig.machine.ram[: rig.machine.dma.base]) == below
        if offset:
            device = rig.machine.devices[0]
            assert device.read_config(ConfigRegister.STATUS, 2) & Status.RECEIVED_MASTER_ABORT

    run(test)


@pytest.mark.parametrize("seed", range(20))
def test_wrong_bits_in_descriptors_and_registers(seed: int) -> None:
    """Random bytes in rings and registers: no exception, no endless loop, and a reset brings the card back."""

    async def test(rig: NicRig, model: E1000Model, nic: E1000) -> None:
        generator = random.Random(seed)
        for _ in range(40):
            view = generator.choice([nic.rx.ring.view, nic.tx.ring.view])
            at = generator.randrange(len(view) - 16)
            view[at : at + 16] = generator.randbytes(16)
            register = generator.choice([int(register) for register in r.Register])
            if register not in (r.Register.CTRL, r.Register.RDBAL, r.Register.TDBAL):
                nic.registers.write32(register, generator.getrandbits(generator.choice([4, 8, 16, 32])))
            rig.peer.send(frame_to(MAC, generator.randrange(14, 3000), generator))
            await asyncio.sleep(0)
        device = rig.machine.devices[0]
        if device in rig.manager.bindings:
            rig.manager.unbind(device)
        assert rig.manager.bind(device)  # a reset brings it back
        rig.listen()
        good = frame_to(MAC, 100, generator)
        rig.peer.send(good)
        assert await rig.until(lambda: good in rig.received)

    run(test)


def test_a_card_with_a_broken_eeprom_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        lan = Lan(loop.call_soon, lambda delay_ns, callback: loop.call_later(delay_ns / 1e9, callback))
        model = E1000Model(MAC, lan.port())
        model.eeprom[1] ^= 1
        machine = bare_machine()
        machine.add(model)
        manager = start(machine, [E1000Driver()], loop)
        assert not manager.published and not machine.dma.block_count
        model.eeprom[1] ^= 1
        assert manager.bind(machine.devices[0])

    asyncio.run(body())
    assert "left alone" in caplog.text and "0xbaba" in caplog.text
