"""Redirects: which are believed, and for how long. In tests/network the host's kernel is the router that sends them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jefeos.errors import CorruptError
from jefeos.net.address import AF_INET, SocketAddress, parse_address
from jefeos.net.stack import Neighbour, NeighbourState, Route
from jefeos.testing.networks import LanOfStacks, station_address, station_mac
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_inet.redirects import MOST_REDIRECTS
from jefeos_net_inet.stack import InetStack
from jefeos_net_inet.wire import icmp, ipv4, ndp
from jefeos_net_inet.wire.icmp import IcmpMessage

sys.path.insert(0, str(Path(__file__).parent))

from frames import OURS, THEIRS, THEIRS6, frame4, frame6, message6

FAR, OTHER = parse_address("192.0.2.9"), parse_address("192.0.2.10")
NEAR = station_address(3)
FAR6, NEAR6 = parse_address("2001:db8::9"), parse_address("fe80::99")
MAC = bytes.fromhex("525400000099")
ROUTER, NEARER = THEIRS, NEAR


class Host:
    """Station 1 with station 2 as its router, and a UDP socket."""

    def __init__(self) -> None:
        self.network = LanOfStacks(jefeos_network_stack, 4)
        self.network.run(3.0)
        stack = self.network.stacks[0]
        assert isinstance(stack, InetStack)
        self.stack = stack
        self.interface = stack.interface("eth0")
        stack.add_route(Route(bytes(4), 0, self.interface.index, ROUTER))
        stack.add_route(Route(bytes(16), 0, self.interface.index, THEIRS6))
        stack.add_neighbour(Neighbour(NEARER, self.interface.index, station_mac(3), NeighbourState.PERMANENT))
        self.socket = stack.open_datagram(AF_INET)
        self.socket.connect(SocketAddress(FAR, 53))

    def quoted(self, destination: bytes = FAR, port: int = 0, source: bytes = OURS, protocol: int = 17) -> bytes:
        """The start of a packet that the socket sent."""
        ports = (port or self.socket.local.port).to_bytes(2, "big") + (53).to_bytes(2, "big")
        return ipv4.emit(8, 0, 1, 0, 64, protocol, source, destination) + ports + bytes(4)

    def told(
        self, gateway: bytes = NEARER, quoted: bytes = b"", code: int = 1, source: bytes = ROUTER, to: bytes = FAR
    ) -> bytes:
        """The gateway to ``to`` after a redirect."""
        message = IcmpMessage(icmp.Type.REDIRECT, code, int.from_bytes(gateway, "big"), quoted or self.quoted())
        self.interface.receive(frame4(1, icmp.emit(message), source=source))
        return self.stack.route_to(to).gateway

    def told6(
        self, target: bytes = NEAR6, destination: bytes = FAR6, source: bytes = THEIRS6, hop_limit: int = 255,
        options: bytes = bytes((2, 1)) + MAC, cut: int = 0,
    ) -> bytes:
        """The same for IPv6."""
        data = target + destination + options
        message = IcmpMessage(137, 0, 0, data[: len(data) - cut])
        self.interface.receive(frame6(58, message6(message, source=source), source=source, hop_limit=hop_limit))
        return self.stack.route_to(FAR6).gateway


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.socket.close()
    made.network.close()


def test_a_nearer_router_is_taken_for_five_minutes(host: Host) -> None:
    assert host.told() == NEARER
    assert host.stack.route_to(OTHER).gateway == ROUTER
    host.network.run(299)
    assert host.stack.route_to(FAR).gateway == NEARER
    host.network.run(2)
    assert host.stack.route_to(FAR).gateway == ROUTER


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_every_code_is_for_the_host_alone(host: Host, code: int) -> None:
    assert host.told(code=code) == NEARER
    assert host.stack.route_to(OTHER).gateway == ROUTER


def test_what_is_not_believed(host: Host) -> None:
    assert host.told(source=station_address(4)) == ROUTER, "only the router itself knows"
    assert host.told(gateway=parse_address("198.51.100.1")) == ROUTER, "not on the link"
    assert host.told(gateway=OURS) == host.told(gateway=ROUTER) == ROUTER
    assert host.told(gateway=bytes(4)) == host.told(gateway=b"\xff" * 4) == ROUTER
    assert host.told(gateway=OURS[:3] + b"\xff") == host.told(gateway=parse_address("224.0.0.1")) == ROUTER
    assert host.told(code=4) == ROUTER
    assert host.told(quoted=host.quoted(source=THEIRS)) == ROUTER, "no packet of ours"
    assert host.told(quoted=host.quoted(port=host.socket.local.port ^ 1)) == ROUTER, "no socket of ours"
    assert host.told(quoted=host.quoted(protocol=6)) == host.told(quoted=host.quoted(protocol=1)) == ROUTER
    assert host.told(quoted=host.quoted()[:27]) == host.told(quoted=b"x") == ROUTER
    assert host.told(quoted=host.quoted(destination=THEIRS), to=THEIRS) == b"", "a neighbour needs no router"
    host.stack.settings["net.ipv4.ip_forward"] = 1
    assert host.told() == ROUTER, "routers do not listen"
    host.stack.settings["net.ipv4.ip_forward"] = 0
    host.stack.settings["net.ipv4.conf.all.accept_redirects"] = 0
    assert host.told() == ROUTER
    host.stack.settings["net.ipv4.conf.all.accept_redirects"] = 1
    assert host.told() == NEARER


def test_a_router_that_is_not_there_is_asked_for_first(host: Host) -> None:
    absent, present = OURS[:3] + b"\xc8", station_address(4)
    assert host.told(gateway=absent) == host.told(gateway=present) == ROUTER
    host.network.run(4)
    assert host.told(gateway=absent) == ROUTER
    assert host.told(gateway=present) == present


def test_a_router_that_goes_away_and_routes_that_change(host: Host) -> None:
    index = host.interface.index
    assert host.told() == NEARER
    host.stack.remove_neighbour(NEARER, index)
    assert host.stack.route_to(FAR).gateway == ROUTER
    host.network.run(4)
    host.told()
    host.network.run(1)
    assert host.told() == NEARER
    host.stack.remove_route(Route(bytes(4), 0, index))
    host.stack.add_route(Route(bytes(4), 0, index, station_address(4)))
    assert host.stack.route_to(FAR).gateway == station_address(4)


def test_their_number_is_bounded(host: Host) -> None:
    for number in range(MOST_REDIRECTS + 50):
        far = bytes((198, 51, number >> 8, number & 0xFF))
        assert host.told(quoted=host.quoted(destination=far), to=far) == NEARER
    assert len(host.stack.ipv4.redirects.by_destination) == MOST_REDIRECTS


def test_ipv6(host: Host) -> None:
    assert host.told6(source=parse_address("fe80::77")) == THEIRS6, "only the router itself knows"
    assert host.told6(hop_limit=254) == host.told6(source=parse_address("2001:db8::1")) == THEIRS6
    assert host.told6(target=parse_address("2001:db8::5")) == THEIRS6, "no router has such an address"
    assert host.told6(destination=parse_address("ff02::1")) == THEIRS6
    for cut in (1, 8 + 1, 8 + 16):
        assert host.told6(cut=cut) == THEIRS6
    host.stack.settings["net.ipv6.conf.all.accept_redirects"] = 0
    assert host.told6() == THEIRS6
    host.stack.settings["net.ipv6.conf.all.accept_redirects"] = 1
    assert host.told6() == NEAR6
    assert host.told6(source=NEAR6, target=FAR6) == b"", "on the link itself"


def test_a_redirect_that_is_cut_off_is_refused() -> None:
    whole = FAR6 + NEAR6 + bytes((2, 1)) + MAC
    assert ndp.parse_redirect(IcmpMessage(137, 0, 0, whole)) == ndp.Redirect(FAR6, NEAR6, MAC)
    for length in range(len(whole)):
        if length != 32:
            with pytest.raises(CorruptError):
                ndp.parse_redirect(IcmpMessage(137, 0, 0, whole[:length]))
