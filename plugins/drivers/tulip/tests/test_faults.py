"""Bad hardware: a logged error, the device offline, and nothing else disturbed; and both kinds of descriptor list."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from jefeos.bus.simulated import SimulatedMachine
from jefeos.errors import Errno, KernelError
from jefeos.testing.nics import MAC, PEER_MAC, NicRig, frame_to, run_with_model
from jefeos_driver_tulip import registers as r
from jefeos_driver_tulip.driver import Tulip, TulipDriver
from jefeos_driver_tulip.model import TulipModel

GENERATOR = random.Random(1)


def run(
    test: Callable[[NicRig, TulipModel, Tulip], Awaitable[None]], model_type: type[TulipModel] = TulipModel
) -> None:
    run_with_model(model_type, TulipDriver(), Tulip, test)


def test_surprise_removal(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: NicRig, model: TulipModel, nic: Tulip) -> None:
        assert isinstance(rig.machine, SimulatedMachine)
        rig.machine.unplug(rig.machine.devices[0].location)
        rig.machine.interrupts.raise_line(model.line, "the slot")
        assert await rig.until(lambda: bool(rig.manager.offline))
        assert not rig.manager.published and not rig.machine.dma.block_count
        with pytest.raises(KernelError) as failure:
            nic.transmit(frame_to(PEER_MAC, 60, GENERATOR, MAC))
        assert failure.value.errno == Errno.ENODEV
        rig.machine.interrupts.lower_line(model.line, "the slot")

    run(test)
    assert "pulled out" in caplog.text


def test_a_descriptor_list_to_nowhere_is_a_bus_error(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: NicRig, model: TulipModel, nic: Tulip) -> None:
        assert isinstance(rig.machine, SimulatedMachine)
        below = bytes(rig.machine.ram[: rig.machine.dma.base])
        nic.registers.write32(r.Csr.RECEIVE_LIST, 0xFFFF_FF00)
        rig.peer.send(frame_to(MAC, 100, GENERATOR))
        assert await rig.until(lambda: bool(rig.manager.offline))
        assert bytes(rig.machine.ram[: rig.machine.dma.base]) == below
        assert rig.manager.bind(rig.machine.devices[0])  # a reset brings it back
        rig.listen()
        good = frame_to(MAC, 100, GENERATOR)
        rig.peer.send(good)
        assert await rig.until(lambda: rig.received == [good])

    run(test)
    assert "bus error" in caplog.text


def test_an_interrupt_storm(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: NicRig, model: TulipModel, nic: Tulip) -> None:
        read = model.read
        model.read = (  # type: ignore[method-assign]
            lambda window, offset, width: r.STATUS_RECEIVED | r.STATUS_NORMAL
            if offset == r.Csr.STATUS
            else read(window, offset, width)
        )
        model.lower_interrupt = lambda: None  # type: ignore[method-assign]
        model.raise_interrupt()
        ticks = 0
        while not rig.manager.offline:
            ticks += 1
            await asyncio.sleep(0)
        assert ticks > 10, "nobody else got a turn"

    run(test)
    assert "switched off" in caplog.text and "offline" in caplog.text


@pytest.mark.parametrize("seed", range(20))
def test_wrong_bits_in_descriptors_and_registers(seed: int) -> None:
    """Random bytes in lists and registers: no exception, no endless loop, and a reset brings the card back."""

    async def test(rig: NicRig, model: TulipModel, nic: Tulip) -> None:
        generator = random.Random(seed)
        for _ in range(40):
            view = generator.choice([nic._rx_ring.view, nic._tx_ring.view])
            at = generator.randrange(len(view) - 16)
            view[at : at + 16] = generator.randbytes(16)
            register = generator.choice([int(register) for register in r.Csr])
            nic.registers.write32(register, generator.getrandbits(generator.choice([4, 8, 16, 32])))
            rig.peer.send(frame_to(MAC, generator.randrange(14, 3000), generator))
            await asyncio.sleep(0)
        device = rig.machine.devices[0]
        if device in rig.manager.bindings:
            rig.manager.unbind(device)
        assert rig.manager.bind(device)
        rig.listen()
        good = frame_to(MAC, 100, generator)
        rig.peer.send(good)
        assert await rig.until(lambda: good in rig.received)

    run(test)


def test_many_groups_are_received_without_a_filter() -> None:
    async def test(rig: NicRig, model: TulipModel, nic: Tulip) -> None:
        groups = [bytes([1, 0, 0x5E, 0, 0, number]) for number in range(40)]
        nic.set_multicast(groups)
        for group in groups:
            rig.peer.send(frame_to(group, 60, GENERATOR))
        assert await rig.until(lambda: len(rig.received) == len(groups))
        nic.set_multicast(groups[:3])
        rig.received.clear()
        for group in groups:
            rig.peer.send(frame_to(group, 60, GENERATOR))
        assert await rig.until(lambda: len(rig.received) == 3)
        await rig.settle()
        assert len(rig.received) == 3

    run(test)


def test_the_older_chip_is_driven_too() -> None:
    class Older(TulipModel):
        device_id = r.DEVICE_21140

    async def test(rig: NicRig, model: TulipModel, nic: Tulip) -> None:
        assert await rig.until(lambda: nic.link_up)
        frame = frame_to(PEER_MAC, 60, GENERATOR, MAC)
        await rig.send(frame)
        assert await rig.until(lambda: rig.arrived == [frame])

    run(test, Older)


def test_frames_across_rings_with_two_buffers_and_chains() -> None:
    """The model understands both list structures, whatever the driver uses."""

    async def test(rig: NicRig, model: TulipModel, nic: Tulip) -> None:
        heap = rig.machine.dma
        memory = heap.allocate(4096)
        frame = frame_to(PEER_MAC, 300, GENERATOR, MAC)
        memory.view[1024 : 1024 + 300] = frame
        at = memory.address
        owned = r.OWNED_BY_CARD
        # a ring of two descriptors of two buffers each: 100 + 50, then 100 + 50 bytes
        for index, flags in enumerate((r.TX_FIRST, r.TX_LAST | r.END_OF_RING)):
            control = flags | 100 | 50 << r.SECOND_SIZE_SHIFT
            first = at + 1024 + 150 * index
            r.DESCRIPTOR.pack_into(memory.view, 16 * index, owned, control, first, first + 100)
        nic.registers.write32(r.Csr.TRANSMIT_LIST, at)
        nic.registers.write32(r.Csr.TRANSMIT_POLL, 1)
        assert await rig.until(lambda: rig.arrived == [frame])
        assert bytes(memory.view[:4]) == bytes(4)
        # a chain for reception: 100, 100 and 2000 bytes
        for index, size in enumerate((100, 100, 2000)):
            following = at + 16 * (index + 1) % 48
            r.DESCRIPTOR.pack_into(
                memory.view, 16 * index, owned, r.CHAINED | size, at + 1024 + 100 * index, following
            )
        nic.registers.write32(r.Csr.INTERRUPT_ENABLE, 0)
        nic.registers.write32(r.Csr.RECEIVE_LIST, at)
        back = frame_to(MAC, 500, GENERATOR)
        rig.peer.send(back)
        await rig.settle()
        assert bytes(memory.view[1024 : 1024 + 500]) == back
        last = int.from_bytes(memory.view[32:36], "little")
        assert last & r.RX_LAST and last >> r.RX_LENGTH_SHIFT & r.RX_LENGTH_MASK == 504
        heap.free(memory)

    run(test)
