"""A DHCP DISCOVER made by hand goes out through each card of QEMU's, and QEMU's own network answers it (RFC 2131)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest
from jefeos.bus.machine import NicRequest
from jefeos.net.checksum import checksum
from jefeos.net.device import NetDevice
from jefeos.testing.machines import plugin_drivers, plugin_machine, start

pytestmark = pytest.mark.peer

MAC = bytes.fromhex("525400123456")
XID = b"\x12\x34\x56\x78"
MAGIC = b"\x63\x82\x53\x63"
DISCOVER, OFFER = 1, 2
MESSAGE_TYPE, SERVER = 53, 54


def discover() -> bytes:
    """Ethernet, IPv4 and UDP around a BOOTREQUEST with two options."""
    bootp = struct.pack(">BBBB4sHHIIII", 1, 1, 6, 0, XID, 0, 0x8000, 0, 0, 0, 0) + MAC + bytes(10 + 64 + 128)
    payload = bootp + MAGIC + bytes([MESSAGE_TYPE, 1, DISCOVER, 55, 2, 1, 3, 255])
    udp = struct.pack(">HHHH", 68, 67, 8 + len(payload), 0) + payload
    ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes(4), b"\xff" * 4))
    ip[10:12] = checksum(ip).to_bytes(2, "big")
    return b"\xff" * 6 + MAC + b"\x08\x00" + bytes(ip) + udp


def options(frame: bytes) -> dict[int, bytes]:
    """The options of the answer to `discover`; empty for any other frame."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17 or frame[34:38] != struct.pack(">HH", 67, 68):
        return {}
    bootp = frame[42:]
    if bootp[0] != 2 or bootp[4:8] != XID or bootp[28:34] != MAC or bootp[236:240] != MAGIC:
        return {}
    found, at = {}, 240
    while at < len(bootp) and bootp[at] != 255:
        if bootp[at]:
            found[bootp[at]] = bootp[at + 2 : at + 2 + bootp[at + 1]]
            at += 1 + bootp[at + 1]
        at += 1
    return found


@pytest.mark.parametrize("model", ["e1000", "tulip"])
def test_qemu_s_network_offers_a_lease(model: str, host_program: Callable[[str], str]) -> None:
    host_program("qemu-system-x86_64")
    qemu = pytest.importorskip("jefeos_machine_qemu.wire", reason="the plugin machines/qemu is not installed")

    async def body() -> tuple[bytes, dict[int, bytes]]:
        machine = plugin_machine("qemu", nics=[NicRequest(model, MAC, qemu.QemuUserPort(restricted=True))])
        try:
            manager = start(machine, plugin_drivers(model), asyncio.get_running_loop())
            (nic,) = [thing for thing in manager.published if isinstance(thing, NetDevice)]
            got: list[bytes] = []
            nic.receiver = got.append
            for _ in range(200):
                if nic.link_up:
                    break
                await asyncio.sleep(0.05)
            assert nic.transmit(discover())
            for _ in range(500):
                answers = [frame for frame in got if options(frame)]
                if answers:
                    return answers[0], options(answers[0])
                await asyncio.sleep(0.01)
            raise AssertionError(f"no answer among {len(got)} frames")
        finally:
            machine.stop()

    frame, found = asyncio.run(body())
    assert found[MESSAGE_TYPE] == bytes([OFFER])
    assert found[SERVER] == bytes([10, 0, 2, 2])
    assert frame[58:62] == bytes([10, 0, 2, 15])  # yiaddr
