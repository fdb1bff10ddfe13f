"""A DHCP DISCOVER by hand (RFC 2131) goes out through our drivers and QEMU's cards; QEMU's own network answers it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest
from jefeos.bus.machine import NicRequest
from jefeos.net.device import NetDevice, Offload
from jefeos.net.wire import Port
from jefeos.testing.machines import plugin_drivers, plugin_machine, start

pytestmark = pytest.mark.peer

MAC = bytes.fromhex("525400c0ffee")
TRANSACTION = 0x4A454645
COOKIE = 0x63825363
MESSAGE_TYPE, SERVER_IDENTIFIER, END = 53, 54, 255
DISCOVER, OFFER = 1, 2
PATIENCE_S = 60


class QemuNetwork(Port):
    """QEMU's user-mode network, cut off from the host."""

    qemu_netdev = "user,restrict=on"

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        raise AssertionError("frames do not come this way")


def discover() -> bytes:
    """The whole frame: Ethernet, IPv4, UDP (without checksum), BOOTP and one option."""
    bootp = struct.pack(">BBBBIHH16s16s192sI", 1, 1, 6, 0, TRANSACTION, 0, 0x8000, b"", MAC, b"", COOKIE)
    message = bootp + bytes([MESSAGE_TYPE, 1, DISCOVER, END])
    udp = struct.pack(">HHHH", 68, 67, 8 + len(message), 0) + message
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    total = sum(struct.unpack(">10H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
    return b"\xff" * 6 + MAC + b"\x08\x00" + header + udp


def is_for_the_client(frame: bytes) -> bool:
    """Whether it is UDP from the server's port to the client's; QEMU has more to say to its network."""
    return frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[34:38] == struct.pack(">HH", 67, 68)


def options_of(answer: bytes) -> dict[int, bytes]:
    """The options of a BOOTP message."""
    found, place = {}, 240
    while answer[place] != END:
        code, length = answer[place], answer[place + 1]
        found[code] = answer[place + 2 : place + 2 + length]
        place += 2 + length
    return found


@pytest.mark.parametrize("model", ["e1000", "tulip"])
def test_qemu_s_network_offers_an_address(host_program: Callable[[str], str], model: str) -> None:
    host_program("qemu-system-x86_64")

    async def run() -> list[bytes]:
        machine = plugin_machine("qemu", nics=[NicRequest(model, MAC, QemuNetwork())])
        loop = asyncio.get_running_loop()
        try:
            manager = start(machine, plugin_drivers(model), loop)
            (nic,) = manager.of_kind(NetDevice)
            received: list[bytes] = []
            nic.receiver = received.append
            end = loop.time() + PATIENCE_S
            while not nic.link_up and loop.time() < end:
                await asyncio.sleep(0.01)
            assert nic.transmit(discover())
            while not any(is_for_the_client(frame) for frame in received) and loop.time() < end:
                await asyncio.sleep(0.01)
            manager.unbind_all()
        finally:
            machine.stop()
        return received

    (frame,) = filter(is_for_the_client, asyncio.run(run()))
    answer = frame[42:]
    operation, transaction = answer[0], int.from_bytes(answer[4:8], "big")
    assert (operation, transaction, answer[28:34]) == (2, TRANSACTION, MAC)
    assert answer[16:20] == bytes([10, 0, 2, 15])
    options = options_of(answer)
    assert options[MESSAGE_TYPE] == bytes([OFFER]) and options[SERVER_IDENTIFIER] == bytes([10, 0, 2, 2])
