"""Frames of every kind, damaged at random, into a live stack: nothing escapes, memory stays bounded, it still works."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from jefeos.errors import KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY4, ANY6, SocketAddress, multicast_mac
from jefeos.net.checksum import checksum
from jefeos.testing.networks import LanOfStacks, station_address, station_mac
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_inet.stack import InetStack
from jefeos_net_inet.wire import arp, ethernet, igmp, ipv4, ipv6, ndp
from jefeos_net_inet.wire.ethernet import EtherType
from jefeos_net_inet.wire.icmp import IcmpMessage

sys.path.insert(0, str(Path(__file__).parent))

from frames import OURS, OURS6, THEIRS, THEIRS6, echo4, frame4, frame6, message6, udp4, udp6

ALL_NODES = bytes.fromhex("ff02") + bytes(13) + b"\1"
SHORT, LONG = 4000, 400_000


def seeds() -> list[bytes]:
    """A good frame of every kind that the stack has something to do for."""
    from_us4 = frame4(17, udp4(9, b"quoted"), source=OURS, destination=THEIRS)[14:]
    from_us6 = frame6(17, udp6(9, b"quoted"), source=OURS6, destination=THEIRS6)[14:]
    prefix = ndp.PREFIX.pack(3, 4, 64, 0xC0, 600, 300, 0, bytes.fromhex("fd000001") + bytes(12))
    tcp = bytes.fromhex("0fa00050000000010000000050022000") + b"\0\0\0\0"
    fragment = ipv6.FRAGMENT.pack(17, 0, 1, 5)
    frames = [
        frame4(17, udp4(7000, b"message")),
        frame6(17, udp6(7000, b"message")),
        frame4(1, echo4(40)),
        frame6(58, message6(IcmpMessage(128, 0, 1, b"echo"))),
        frame4(6, tcp),
        frame6(6, tcp),
        frame4(17, udp4(7000, bytes(100))[:64], fragment=ipv4.MORE_FRAGMENTS),
        frame4(17, bytes(64), fragment=8),
        frame6(44, fragment + bytes(64)),
        frame6(0, bytes((60, 0, 5, 2, 0, 0, 1, 0)) + bytes((17, 0, 1, 4, 0, 0, 0, 0)) + udp6(7000, b"behind")),
        frame6(43, bytes((17, 0, 0, 0, 0, 0, 0, 0)) + udp6(7000, b"routed")),
        frame6(58, message6(ndp.solicitation(OURS6, station_mac(2))), hop_limit=255),
        frame6(58, message6(ndp.advertisement(THEIRS6, station_mac(2), 0x6000_0000)), hop_limit=255),
        frame6(
            58, message6(IcmpMessage(134, 0, 64 << 24 | 1800, bytes(8) + prefix), THEIRS6, ALL_NODES), hop_limit=255,
            destination=ALL_NODES, mac=multicast_mac(ALL_NODES),
        ),
        frame4(2, igmp.emit_old(igmp.IgmpType.QUERY, ANY4), destination=b"\xe0\0\0\1", hop_limit=1),
        frame6(
            58, message6(IcmpMessage(130, 0, 1000 << 16, bytes(20)), THEIRS6, ALL_NODES), destination=ALL_NODES,
            hop_limit=1,
        ),
        ethernet.emit(ethernet.BROADCAST_MAC, station_mac(2), EtherType.ARP)
        + arp.emit(arp.ArpPacket(1, station_mac(2), THEIRS, bytes(6), OURS)),
        ethernet.emit(station_mac(1), station_mac(2), EtherType.VLAN) + b"\0\0\x08\0" + frame4(1, echo4())[14:],
    ]  # fmt: skip
    for code in (0, 3, 4):
        frames.append(frame4(1, _sealed(bytes((3, code, 0, 0, 0, 0, 5, 0)) + from_us4)))
    for kind in (1, 2, 3, 4):
        frames.append(frame6(58, message6(IcmpMessage(kind, 0, 1300, from_us6))))
    return frames


def _sealed(message: bytes) -> bytes:
    return message[:2] + checksum(message[:2] + b"\0\0" + message[4:]).to_bytes(2, "big") + message[4:]


def damaged(frame: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut or added; the IPv4 header's checksum is often mended, so that the damage gets inside."""
    whole = bytearray(frame)
    for _ in range(draw.randrange(4)):
        whole[draw.randrange(12, len(whole))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    if draw.random() < 0.3:
        del whole[draw.randrange(len(whole)) :]
    if draw.random() < 0.2:
        whole += draw.randbytes(draw.randrange(60))
    if whole[12:14] == b"\x08\0" and len(whole) >= 34 and draw.random() < 0.8:
        whole[24:26] = b"\0\0"
        whole[24:26] = checksum(whole[14:34]).to_bytes(2, "big")
    return bytes(whole)


def campaign(seed: int, count: int) -> None:
    network = LanOfStacks(jefeos_network_stack, seed=seed)
    network.run(3.0)  # past duplicate address detection
    stack = network.stacks[0]
    assert isinstance(stack, InetStack)
    interface = stack.interface("eth0")
    interface.verifies = seed % 2 == 1  # checksums hide what is behind them: half of the runs are without
    sockets = [stack.open_datagram(AF_INET6), stack.open_raw(AF_INET, 1), stack.open_ping(AF_INET6)]
    sockets[0].bind(SocketAddress(ANY6, 7000))
    listener = stack.open_stream(AF_INET)
    listener.bind(SocketAddress(ANY4, 80))
    listener.listen(5)
    draw = random.Random(seed)
    originals = seeds()
    for frame in originals:
        interface.receive(frame)
    for number in range(count):
        interface.receive(damaged(draw.choice(originals), draw))
        if not number % 500:
            network.run(0.05)
            for socket in sockets:
                with suppress(KernelError):  # an ICMP error that was believed
                    while socket.receive_from() is not None:
                        pass
    for reassembler in (stack.ipv4.reassembler, stack.ipv6.reassembler):
        assert reassembler.used_bytes <= 4_194_304 + 65_535
    assert len(stack.neighbours()) <= 2048 and len(stack.routes()) < 100 and len(interface.addresses) <= 18
    network.run(200.0)
    assert not len(stack.ipv4.reassembler) and not stack.ipv6.reassembler.used_bytes
    interface.verifies = False
    ours = network.stacks[1].open_ping(AF_INET)
    ours.send_to(bytes((8, 0, 0, 0, 0, 0, 0, 1)) + b"alive?", SocketAddress(station_address(1), 0))
    network.run(2.0)
    answer = ours.receive_from()
    assert answer is not None and answer.data.endswith(b"alive?")
    listener.close()
    network.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_frames(seed: int) -> None:
    campaign(seed, SHORT)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(3, 7))
def test_damaged_frames_for_long(seed: int) -> None:
    campaign(seed, LONG)


def test_every_frame_cut_off_at_every_length() -> None:
    network = LanOfStacks(jefeos_network_stack)
    network.run(3.0)
    interface = network.stacks[0].interface("eth0")
    for frame in seeds():
        for length in range(len(frame)):
            interface.receive(frame[:length])  # type: ignore[attr-defined]
    network.run(70.0)
    network.close()
