"""What a malicious station on the link can do: nothing that grows, nothing that breaks others."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, ANY4, BROADCAST4, SocketAddress, multicast_mac
from jefeos.net.stack import NeighbourState
from jefeos.testing.networks import LanOfStacks, station_address, station_mac
from jefeos_net_inet.fragments import Reassembler
from jefeos_net_inet.interfaces import InetInterface
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_inet.stack import InetStack
from jefeos_net_inet.wire import arp, ethernet, icmp, ipv4, ipv6, ndp
from jefeos_net_inet.wire.ethernet import EtherType
from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.ipv4 import MORE_FRAGMENTS

sys.path.insert(0, str(Path(__file__).parent))

from frames import OURS, OURS6, THEIRS, THEIRS6, echo4, frame4, frame6, message6, udp4


class Victim:
    """Station 1, and what it says."""

    def __init__(self) -> None:
        self.network = LanOfStacks(jefeos_network_stack)
        self.network.run(3.0)
        stack = self.network.stacks[0]
        assert isinstance(stack, InetStack)
        self.stack = stack
        interface = stack.interface("eth0")
        assert isinstance(interface, InetInterface)
        self.interface = interface
        self.port, self.heard = self.network.spy()

    def receive(self, *frames: bytes, ether_type: int | None = None) -> list[bytes]:
        """The packets that it sends for these frames, at once; or its frames of one type."""
        self.heard.clear()
        for frame in frames:
            self.interface.receive(frame)
        self.network.run(0.01)
        types = (EtherType.IPV4, EtherType.IPV6) if ether_type is None else (ether_type,)
        return [
            frame
            for frame in self.heard
            if frame[6:12] == self.interface.mac and int.from_bytes(frame[12:14], "big") in types
        ]


@pytest.fixture
def victim() -> Iterator[Victim]:
    made = Victim()
    yield made
    made.network.run(100.0)
    assert not made.stack.ipv4.reassembler.used_bytes and not made.stack.ipv6.reassembler.used_bytes
    made.network.close()


# --- fragments ----------------------------------------------------------------------------------------------------


def pieces(message: bytes, identification: int, step: int = 512) -> list[bytes]:
    return [
        frame4(
            1, message[start : start + step], identification=identification,
            fragment=start // 8 | (MORE_FRAGMENTS if start + step < len(message) else 0),
        )
        for start in range(0, len(message), step)
    ]  # fmt: skip


def test_fragments_in_any_order_and_twice(victim: Victim) -> None:
    for seed in range(20):
        frames = pieces(echo4(4000), seed)
        random.Random(seed).shuffle(frames)
        answers = victim.receive(*[frame for frame in frames[:-1] for _ in range(2)], frames[-1])
        payload = b"".join(
            frame[34:]
            for frame in sorted(answers, key=lambda frame: int.from_bytes(frame[20:22], "big") & 0x1FFF)
        )
        assert len(answers) == 3 and len(payload) == 4008


@pytest.mark.parametrize("shift", [-8, 8, 256])
def test_overlapping_fragments_end_their_datagram(victim: Victim, shift: int) -> None:
    frames = pieces(echo4(2000), 5)
    evil = frame4(1, b"e" * 512, identification=5, fragment=(512 + shift) // 8 | MORE_FRAGMENTS)
    assert victim.receive(frames[0], frames[1], evil, *frames[2:]) == []
    assert victim.stack.counters()["Ip"]["ReasmFails"] >= 1
    assert len(victim.receive(*pieces(echo4(2000), 6))) == 2


def test_the_ping_of_death_and_its_family(victim: Victim) -> None:
    beyond = frame4(1, bytes(1400), identification=9, fragment=65_528 // 8)
    empty = frame4(1, b"", identification=9, fragment=MORE_FRAGMENTS)
    odd = frame4(1, bytes(13), identification=9, fragment=MORE_FRAGMENTS | 5)
    behind = [
        frame4(1, bytes(64), identification=10, fragment=64),
        frame4(1, bytes(64), identification=10, fragment=8),
    ]
    assert (
        victim.receive(beyond, empty, odd, *behind, frame4(1, bytes(600), identification=10, fragment=0))
        == []
    )
    assert not victim.stack.ipv4.reassembler.used_bytes or len(victim.stack.ipv4.reassembler) <= 1


def test_floods_of_fragments_are_bounded_and_time_out(victim: Victim) -> None:
    for number in range(20_000):
        victim.interface.receive(
            frame4(
                1,
                bytes(1024),
                identification=number & 0xFFFF,
                fragment=MORE_FRAGMENTS,
                source=station_address(3),
            )
        )
    reassembler = victim.stack.ipv4.reassembler
    assert reassembler.used_bytes <= 4_194_304 and len(reassembler) > 1000
    assert len(victim.receive(*pieces(echo4(2000), 6))) == 2, "an honest datagram gets through"
    victim.heard.clear()
    victim.network.run(31.0)
    assert not len(reassembler) and reassembler.counters.timed_out > 1000
    errors = [frame for frame in victim.heard if frame[34:36] == bytes((icmp.Type.TIME_EXCEEDED, 1))]
    assert len(errors) <= 7, "time exceeded is said at a limited rate"


def test_a_datagram_of_tiny_pieces_is_given_up(victim: Victim) -> None:
    reassembler = Reassembler(victim.stack.timers, lambda: 30 * 10**9, lambda: 1 << 30)
    for number in range(5000):
        assert reassembler.add("x", number * 8, True, bytes(8)) is None
    assert reassembler.counters.failed >= 2 and reassembler.used_bytes < 1 << 20
    reassembler.close()


# --- addresses that cannot be -----------------------------------------------------------------------------------------


def test_land_and_martians(victim: Victim) -> None:
    before = victim.stack.counters()["Ip"]["InAddrErrors"]
    impossible = [OURS, b"\x7f\0\0\1", b"\xe0\0\0\1", BROADCAST4, station_address(255), ANY4]
    for source in impossible:
        assert victim.receive(frame4(1, echo4(), source=source)) == [], source
    assert victim.receive(frame4(1, echo4(), destination=b"\x7f\0\0\1")) == []
    assert victim.stack.counters()["Ip"]["InAddrErrors"] == before + len(impossible) + 1
    for source6 in (OURS6, bytes(15) + b"\1", b"\xff\2" + bytes(13) + b"\1"):
        assert victim.receive(frame6(58, message6(IcmpMessage(128, 0, 1, b"")), source=source6)) == []


def test_nobody_is_told_about_groups_and_errors(victim: Victim) -> None:
    """No echo to a broadcast, no error about an error, a broadcast, or a later fragment (RFC 1122, section 3.2.2)."""
    everybody = ethernet.BROADCAST_MAC
    assert victim.receive(frame4(1, echo4(), destination=station_address(255), mac=everybody)) == []
    assert victim.receive(frame4(17, udp4(9, b"x"), destination=station_address(255), mac=everybody)) == []
    assert victim.receive(frame4(17, udp4(9, b"x"), mac=everybody)) == []
    assert len(victim.receive(frame4(17, udp4(9, b"x")))) == 1
    error = icmp.emit(
        IcmpMessage(icmp.Type.UNREACHABLE, 3, 0, frame4(17, udp4(9, b"x"), destination=THEIRS)[14:])
    )
    assert victim.receive(frame4(1, error)) == []
    assert victim.receive(frame4(200, b"no such protocol")) != []
    assert victim.receive(frame4(200, b"no such protocol", fragment=5)) == []


def test_errors_have_a_limit(victim: Victim) -> None:
    victim.network.run(10.0)
    assert len(victim.receive(*[frame4(17, udp4(9, b"x"))] * 500)) == 6, "a burst to one peer"
    victim.network.run(10.0)
    spread = [
        frame4(17, b"\x0f\xa0\0\x09\0\x08\0\0", source=station_address(100 + number % 100))
        for number in range(500)
    ]
    for number in range(100):
        victim.stack.arp.cache.set(
            station_address(100 + number), victim.interface, bytes(6), NeighbourState.PERMANENT
        )
    assert len(victim.receive(*spread)) <= 55, "a burst to everybody together"


# --- neighbours -------------------------------------------------------------------------------------------------------


def arp_frame(
    operation: int, sender: bytes, target: bytes, mac: bytes, to: bytes = ethernet.BROADCAST_MAC
) -> bytes:
    return ethernet.emit(to, mac, EtherType.ARP) + arp.emit(
        arp.ArpPacket(operation, mac, sender, bytes(6), target)
    )


def test_arp_floods(victim: Victim) -> None:
    """Questions for us fill the cache up to its limit; answers that nobody asked for, and other talk, not at all."""
    for number in range(5000):
        sender = bytes((10, 0)) + number.to_bytes(2, "big")
        mac = b"\x02\1\0" + number.to_bytes(3, "big")
        victim.interface.receive(arp_frame(2, sender, OURS, mac, station_mac(1)))
        victim.interface.receive(arp_frame(1, sender, station_address(200), mac))
        victim.interface.receive(arp_frame(1, sender, sender, mac))
    assert len(victim.stack.neighbours()) <= 2
    for number in range(5000):
        sender = bytes((10, 1)) + number.to_bytes(2, "big")
        victim.interface.receive(arp_frame(1, sender, OURS, b"\x02\1\1" + number.to_bytes(3, "big")))
    assert 0 < len(victim.stack.neighbours()) <= 1024
    victim.network.run(0.1)
    assert len(victim.receive(frame4(1, echo4()))) == 1, "the honest neighbour is still reached"


def test_our_address_is_defended_once_in_ten_seconds(victim: Victim) -> None:
    victim.network.run(20.0)
    thief = arp_frame(1, OURS, station_address(3), station_mac(9))
    said = victim.receive(*[thief] * 50, ether_type=EtherType.ARP)
    assert len(said) == 1 and said[0][28:32] == OURS and said[0][38:42] == OURS
    victim.network.run(11.0)
    assert len(victim.receive(thief, ether_type=EtherType.ARP)) == 1


def test_silent_neighbours_hold_little(victim: Victim) -> None:
    """Packets that wait for an answer are few, and go when there is none; a socket hears of it."""
    socket = victim.stack.open_datagram(AF_INET)
    socket.set_option("ip_recverr", 1)
    for _ in range(1000):
        socket.send_to(bytes(1000), SocketAddress(station_address(77), 9))
    (entry,) = [
        entry for entry in victim.stack.arp.cache.entries.values() if entry.address == station_address(77)
    ]
    assert len(entry.waiting) == 101 and entry.waiting_bytes <= 256 << 10
    victim.network.run(4.0)
    assert entry.state is NeighbourState.FAILED and not entry.waiting
    assert socket.take_error() == Errno.EHOSTUNREACH
    error = socket.next_error()
    assert error is not None and error.destination == SocketAddress(station_address(77), 9)
    socket.close()


def test_scans_of_a_network_do_not_fill_the_cache_for_ever(victim: Victim) -> None:
    socket = victim.stack.open_datagram(AF_INET)
    victim.interface.add_address(b"\x0a\x09\0\1", 16)
    refused = set()
    for number in range(2, 3000):
        try:
            socket.send_to(b"x", SocketAddress(bytes((10, 9)) + number.to_bytes(2, "big"), 9))
        except KernelError as error:
            refused.add(error.errno)
    assert refused == {Errno.ENOBUFS} and len(victim.stack.neighbours()) <= 1024
    victim.network.run(5.0)
    socket.send_to(b"x", SocketAddress(b"\x0a\x09\x0f\xff", 9))
    socket.close()


def test_routers_cannot_fill_us(victim: Victim) -> None:
    everybody = bytes.fromhex("ff02") + bytes(13) + b"\1"
    for number in range(300):
        prefix = ndp.PREFIX.pack(
            3, 4, 64, 0xC0, 600, 300, 0, b"\xfd\0" + number.to_bytes(2, "big") + bytes(12)
        )
        router = b"\xfe\x80" + bytes(6) + number.to_bytes(8, "big")
        servers = ndp.DNS_SERVERS.pack(25, 5, 1800) + prefix[16:] + router
        message = message6(IcmpMessage(134, 0, 64 << 24 | 1800, bytes(8) + prefix + servers), router, everybody)
        victim.interface.receive(frame6(
            58, message, source=router, destination=everybody, hop_limit=255, mac=multicast_mac(everybody)
        ))  # fmt: skip
    assert len(victim.interface.addresses) <= 17
    assert 0 < len(victim.stack.name_servers) <= 8
    defaults = [
        route for route in victim.stack.routes() if len(route.destination) == 16 and not route.prefix_length
    ]
    assert len(defaults) <= 8 and len(victim.stack.routes()) <= 8 + 32 + 20
    afar = message6(IcmpMessage(134, 0, 64 << 24 | 1800, bytes(8)), THEIRS6, everybody)
    errors = victim.stack.counters()["Icmp6"]["InErrors"]
    victim.receive(
        frame6(58, afar, destination=everybody, hop_limit=64, mac=multicast_mac(everybody))
    )
    assert victim.stack.counters()["Icmp6"]["InErrors"] == errors + 1, "it came through a router"


# --- errors that nobody sent us ----------------------------------------------------------------------------------


def test_forged_errors_hit_nobody_else(victim: Victim) -> None:
    """An error has to quote what a socket really sends: its ports and its peer."""
    connected = victim.stack.open_datagram(AF_INET)
    connected.connect(SocketAddress(THEIRS, 53))
    port = connected.local.port

    def forged(source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
        quoted = ipv4.emit(8, 0, 1, 0, 64, 17, source, destination)
        quoted += source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big") + bytes(4)
        return frame4(1, icmp.emit(IcmpMessage(3, 3, 0, quoted)))

    victim.receive(
        forged(OURS, THEIRS, port, 54), forged(OURS, station_address(9), port, 53), forged(THEIRS, OURS, port, 53),
        forged(OURS, THEIRS, port ^ 1, 53),
    )  # fmt: skip
    assert not connected.pending_error
    victim.receive(forged(OURS, THEIRS, port, 53))
    assert connected.take_error() == Errno.ECONNREFUSED
    connected.close()


def test_path_mtu_has_a_floor_and_forgets(victim: Victim) -> None:
    def too_big(mtu: int) -> bytes:
        quoted = ipv4.emit(8, 0, 1, ipv4.DONT_FRAGMENT, 64, 17, OURS, THEIRS) + bytes(8)
        return frame4(1, icmp.emit(IcmpMessage(3, 4, mtu, quoted)))

    path = victim.stack.ipv4.path
    victim.receive(too_big(68))
    assert path(THEIRS).mtu == 552, "net.ipv4.route.min_pmtu"
    victim.receive(too_big(9000))
    assert path(THEIRS).mtu == 552 and path(station_address(3)).mtu == 1500
    victim.network.run(601.0)
    assert path(THEIRS).mtu == 1500
    quoted = ipv6.emit(8, 0, 0, 64, 17, OURS6, THEIRS6) + bytes(8)
    victim.receive(frame6(58, message6(IcmpMessage(2, 0, 576, quoted))))
    assert victim.stack.ipv6.path(THEIRS6, interface=2).mtu == 1500, "less than 1280 is no IPv6 path"
