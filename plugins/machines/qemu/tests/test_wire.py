"""Frames between QEMU's cards and ports: both ways, in order, none lost; the link; and QEMU's own network."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.errors import ConfigError
from jefeos_machine_qemu.machine import QemuMachine
from jefeos_machine_qemu.plugin import jefeos_wires
from jefeos_machine_qemu.wire import QemuUserPort

sys.path.insert(0, str(Path(__file__).parent))
from hardware import LINK_UP, MAC, PATIENCE_NS, PROMISCUOUS, RAL0, RCTL, SECOND, STATUS, Nic, nic

Maker = Callable[..., QemuMachine]
pytestmark = pytest.mark.peer


def frame_of(size: int) -> bytes:
    return MAC + b"\x02" * 6 + os.urandom(size - 12)


def test_frames_cross_by_dma_both_ways(boot: Maker) -> None:
    request = nic("e1000")
    card = Nic(boot(nics=[request]))
    wire = request.port
    for size in (60, 61, 512, 1514):
        frame = frame_of(size)
        card.send(frame)
        assert card.machine.wait(lambda: bool(wire.frames), PATIENCE_NS)
        assert wire.frames.pop() == frame
        wire.receiver(frame)
        assert card.receive() == frame


def test_more_than_the_ring_holds_waits_for_its_turn(boot: Maker) -> None:
    request = nic("e1000")
    machine = boot(nics=[request])
    card = Nic(machine)
    frames = [frame_of(1000) for _ in range(3000)]  # more than both sockets hold
    for frame in frames:
        request.port.receiver(frame)
    for number, frame in enumerate(frames):
        assert card.receive() == frame, number
    assert machine.bridges[0].lost_frames == 0
    assert card.receive(SECOND // 50) is None


def test_no_frame_overtakes_a_posted_write(boot: Maker) -> None:
    request = nic("e1000")
    card = Nic(boot(nics=[request]))
    card.registers.write32(RCTL, card.registers.read32(RCTL) & ~PROMISCUOUS)
    request.port.receiver(frame_of(60))
    assert card.receive()  # from now on the receiver is on
    for frame in [frame_of(100) for _ in range(100)]:
        card.registers.write32(RAL0, 0)  # the address of another, and back
        card.registers.write32(RAL0, int.from_bytes(MAC[:4], "little"))
        request.port.receiver(frame)
        assert card.receive() == frame


def test_frames_arrive_through_an_event_loop(make: Maker) -> None:
    async def run() -> tuple[list[bytes], list[bytes]]:
        request = nic("e1000")
        machine = make(nics=[request])
        machine.attach(asyncio.get_running_loop())
        machine.start()
        card = Nic(machine)
        frames = [frame_of(size) for size in (60, 700, 1514)]
        for frame in frames:
            card.send(frame)
        async with asyncio.timeout(60):
            while len(request.port.frames) < len(frames):
                await asyncio.sleep(0.01)
        machine.stop()
        return frames, request.port.frames

    sent, arrived = asyncio.run(run())
    assert sent == arrived


def test_the_link_of_the_wire_reaches_the_card(boot: Maker) -> None:
    request = nic("e1000")
    card = Nic(boot(nics=[request]))
    assert card.registers.read32(STATUS) & LINK_UP
    request.port.set_link(False)
    assert not card.registers.read32(STATUS) & LINK_UP
    request.port.set_link(True)
    # the chip negotiates again first, which takes half a second
    assert card.machine.wait(lambda: bool(card.registers.read32(STATUS) & LINK_UP), PATIENCE_NS)


def test_a_wire_that_was_out_at_the_start_is_out(boot: Maker) -> None:
    request = nic("e1000")
    request.port.link_up = False
    machine = boot(nics=[request])
    card = Nic(machine)
    request.port.receiver(frame_of(60))
    assert card.receive(SECOND // 20) is None


def test_qemu_s_own_network_answers_dhcp(boot: Maker) -> None:
    """A DISCOVER by hand (RFC 2131) and the OFFER for it."""
    card = Nic(boot(nics=[nic("e1000", QemuUserPort(restricted=True))]))
    bootp = struct.pack(">BBBBIHH16s16s192sI", 1, 1, 6, 0, 0x4A454645, 0, 0x8000, b"", MAC, b"", 0x63825363)
    udp = bootp + bytes([53, 1, 1, 255])
    udp = struct.pack(">HHHH", 68, 67, 8 + len(udp), 0) + udp
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
    card.send(b"\xff" * 6 + MAC + b"\x08\x00" + header + udp)
    offer = card.receive()
    assert offer is not None
    answer = offer[14 + 20 + 8 :]
    assert answer[0] == 2 and answer[4:8] == b"JEFE" and answer[16:20] == bytes([10, 0, 2, 15])
    assert answer[240:243] == bytes([53, 1, 2])


def test_qemu_s_network_is_a_wire_of_the_command_line() -> None:
    (wire,) = [make for kind, make in jefeos_wires().items() if kind == "qemu-user"]
    assert wire("open", None).qemu_netdev == "user,restrict=off"
    assert wire("restricted", None).qemu_netdev == "user,restrict=on"
    with pytest.raises(ConfigError, match="is open or restricted"):
        wire("10.0.0.1", None)


def test_frames_that_cannot_reach_qemu_s_network_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    port = QemuUserPort()
    port.send(frame_of(60))
    port.send(frame_of(60))
    assert [record.getMessage() for record in caplog.records] == [
        "QEMU's own network gets no frames: it is for --machine qemu only, without --pcap and --net-faults"
    ]
