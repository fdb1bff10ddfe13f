"""The stack's tables and events, neighbours' states, VLANs, interception, groups: between stacks on a LAN."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY4, ANY6, Address, SocketAddress, parse_address
from jefeos.net.stack import Change, Event, Interceptor, InterfaceFlags, NeighbourState, PendingStream, Route
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Lan
from jefeos.testing.networks import LanOfStacks, station_address, station_mac
from jefeos_net_inet.arp import PROBE_COUNT
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_inet.stack import InetStack
from jefeos_net_inet.wire import igmp

SECOND_NS = 1_000_000_000


@pytest.fixture
def network() -> Iterator[LanOfStacks]:
    made = LanOfStacks(jefeos_network_stack)
    made.run(3.0)
    yield made
    made.close()


def stack_of(network: LanOfStacks, number: int) -> InetStack:
    stack = network.stacks[number - 1]
    assert isinstance(stack, InetStack)
    return stack


def refused(errno: Errno) -> object:
    return pytest.raises(KernelError, check=lambda error: error.errno == errno)


def ping(network: LanOfStacks, stack: InetStack, target: str, size: int = 56) -> bool:
    socket = stack.open_ping(AF_INET6 if ":" in target else AF_INET)
    kind = 128 if ":" in target else 8
    socket.send_to(bytes((kind, 0, 0, 0, 0, 0, 0, 1)) + bytes(size), SocketAddress(parse_address(target), 0))
    network.run(1.0)
    answer = socket.receive_from()
    socket.close()
    return answer is not None and len(answer.data) == size + 8


# --- tables -------------------------------------------------------------------------------------------------


def test_routes(network: LanOfStacks) -> None:
    stack = stack_of(network, 1)
    gateway, other = station_address(2), station_address(3)
    stack.add_route(Route(ANY4, 0, 0, gateway))
    stack.add_route(Route(ANY4, 0, 2, other, metric=100))
    stack.add_route(Route(parse_address("10.7.0.0"), 16, 2, other))
    stack.add_route(Route(parse_address("10.7.7.0"), 24, 2, gateway, source=station_address(1)))
    for destination, expected in (
        ("10.7.7.9", gateway), ("10.7.8.9", other), ("8.8.8.8", gateway), ("10.0.0.9", b""), ("127.1.2.3", b"")
    ):
        assert stack.route_to(parse_address(destination)).gateway == expected, destination
    assert stack.route_to(parse_address("8.8.8.8")).source == station_address(1)
    for route, errno in (
        (Route(ANY4, 0, 2, gateway), Errno.EEXIST),
        (Route(parse_address("10.7.7.1"), 24, 2), Errno.EINVAL),
        (Route(parse_address("10.9.0.0"), 16, 2, parse_address("172.16.0.1")), Errno.ENETUNREACH),
        (Route(parse_address("10.9.0.0"), 16, 9), Errno.ENODEV),
        (Route(parse_address("10.9.0.0"), 16, 2, source=parse_address("172.16.0.1")), Errno.EINVAL),
    ):
        with refused(errno):  # type: ignore[attr-defined]
            stack.add_route(route)
    stack.remove_route(Route(ANY4, 0, 0))
    assert stack.route_to(parse_address("8.8.8.8")).gateway == other
    stack.remove_route(Route(ANY4, 0, 0))
    for call in (lambda: stack.route_to(parse_address("8.8.8.8")), lambda: stack.open_datagram(AF_INET).connect(
        SocketAddress(parse_address("8.8.8.8"), 53)
    )):
        with refused(Errno.ENETUNREACH):  # type: ignore[attr-defined]
            call()
    with refused(Errno.ESRCH):  # type: ignore[attr-defined]
        stack.remove_route(Route(ANY4, 0, 0))


def test_interfaces_up_and_down(network: LanOfStacks) -> None:
    stack = stack_of(network, 1)
    events: list[Event] = []
    stop = stack.watch(events.append)
    interface = stack.interface("eth0")
    assert InterfaceFlags.UP | InterfaceFlags.RUNNING | InterfaceFlags.MULTICAST in interface.flags
    stack.add_route(Route(ANY4, 0, 2, station_address(2)))
    assert ping(network, stack, "10.0.0.2")
    interface.set_up(False)
    assert not stack.routes() and not stack.neighbours()
    assert [entry.address for entry in interface.addresses] == [station_address(1)], "IPv4 addresses stay"
    assert {event.change for event in events} == {Change.INTERFACE, Change.ROUTE, Change.NEIGHBOUR, Change.ADDRESS}
    with refused(Errno.ENETUNREACH):  # type: ignore[attr-defined]
        stack.route_to(station_address(2))
    interface.set_up(True)
    network.run(3.0)
    assert [route.prefix_length for route in stack.routes()] == [24, 64], "what was set by hand is gone"
    assert ping(network, stack, "10.0.0.2")
    stop()
    events.clear()
    stack.remove_device(interface.device)  # type: ignore[arg-type]
    assert not events and not stack.routes() and [one.name for one in stack.interfaces()] == ["lo"]
    with refused(Errno.ENODEV):  # type: ignore[attr-defined]
        stack.interface("eth0")


def test_addresses_have_lifetimes(network: LanOfStacks) -> None:
    stack = stack_of(network, 1)
    interface = stack.interface("eth0")
    interface.add_address(parse_address("10.5.0.1"), 24, valid_ns=30 * SECOND_NS, preferred_ns=20 * SECOND_NS)
    assert len([route for route in stack.routes() if route.destination == parse_address("10.5.0.0")]) == 1
    with refused(Errno.EEXIST):  # type: ignore[attr-defined]
        interface.add_address(parse_address("10.5.0.1"), 24)
    for wrong in ("224.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1"):
        with refused(Errno.EINVAL):  # type: ignore[attr-defined]
            interface.add_address(parse_address(wrong), 24)
    network.run(29.0)
    assert len(interface.addresses) == 3
    network.run(2.0)
    assert len(interface.addresses) == 2
    assert not [route for route in stack.routes() if route.destination == parse_address("10.5.0.0")]
    with refused(Errno.EADDRNOTAVAIL):  # type: ignore[attr-defined]
        interface.remove_address(parse_address("10.5.0.1"))


def test_sources_by_rfc_6724(network: LanOfStacks) -> None:
    stack = stack_of(network, 1)
    stack.settings["net.ipv6.conf.all.dad_transmits"] = 0
    interface = stack.interface("eth0")
    for text in ("2001:db8:1::1", "2001:db8:2::1", "fd00:1::1"):
        interface.add_address(parse_address(text), 64)
    interface.add_address(parse_address("2001:db8:2::2"), 64, preferred_ns=0)
    stack.add_route(Route(ANY6, 0, 2, parse_address("fe80::99")))
    for destination, source in (
        ("2001:db8:1::77", "2001:db8:1::1"), ("2001:db8:2::77", "2001:db8:2::1"), ("fd00:1:2::3", "fd00:1::1"),
        ("2001:db8:2:1::1", "2001:db8:2::1"),
    ):
        assert stack.route_to(parse_address(destination)).source == parse_address(source), destination
    assert stack.route_to(parse_address("fe80::1"), interface=2).source[:2] == b"\xfe\x80"
    assert stack.route_to(parse_address("ff02::1"), interface=2).source[:2] == b"\xfe\x80"


# --- neighbours ---------------------------------------------------------------------------------------------


def test_the_states_of_a_neighbour(network: LanOfStacks) -> None:
    stack = stack_of(network, 1)
    _, frames = network.spy()

    def state() -> NeighbourState:
        (neighbour,) = [one for one in stack.neighbours() if one.address == station_address(2)]
        return neighbour.state

    def asked() -> list[bytes]:
        return [frame[:6] for frame in frames if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1"
                and frame[6:12] == station_mac(1)]

    assert ping(network, stack, "10.0.0.2") and state() is NeighbourState.REACHABLE
    assert asked() == [b"\xff" * 6]
    network.run(31.0)
    assert state() is NeighbourState.STALE
    assert ping(network, stack, "10.0.0.2") and state() is NeighbourState.DELAY
    network.run(5.0)
    assert state() is NeighbourState.REACHABLE and asked()[1:] == [station_mac(2)], "asked it alone"
    network.run(31.0)
    assert len(asked()) == 2
    stack_of(network, 2).interface("eth0").set_up(False)
    assert not ping(network, stack, "10.0.0.2")
    network.run(5.0)
    assert state() is NeighbourState.PROBE
    network.run(3.0)
    assert state() is NeighbourState.FAILED and asked()[2:] == [station_mac(2)] * 3
    stack.add_neighbour(type(stack.neighbours()[0])(station_address(2), 2, station_mac(2), NeighbourState.PERMANENT))
    network.run(100.0)
    assert state() is NeighbourState.PERMANENT
    stack.remove_neighbour(station_address(2), 2)
    with refused(Errno.ENOENT):  # type: ignore[attr-defined]
        stack.remove_neighbour(station_address(2), 2)


def test_a_moved_address_is_announced(network: LanOfStacks) -> None:
    """Gratuitous ARP: whoever has an entry for it learns the new MAC at once."""
    first, second = stack_of(network, 1), stack_of(network, 2)
    assert ping(network, first, "10.0.0.2")
    third = network.add_stack()
    network.plug(third, 3)
    second.interface("eth0").remove_address(station_address(2))
    third.interface("eth0").add_address(station_address(2), 24)
    network.run(0.1)
    assert [one.mac for one in first.neighbours() if one.address == station_address(2)] == [station_mac(3)]
    assert ping(network, first, "10.0.0.2")


def test_probing(network: LanOfStacks) -> None:
    stack = stack_of(network, 1)
    found: dict[Address, bytes | None] = {}
    _, frames = network.spy()
    for number in (2, 77):
        address = station_address(number)
        stack.interface("eth0").probe(address, lambda mac, address=address: found.__setitem__(address, mac))
    network.run(0.1)
    assert found == {station_address(2): station_mac(2)}
    network.run(10.0)
    assert found == {station_address(2): station_mac(2), station_address(77): None}
    probes = [frame for frame in frames if frame[38:42] == station_address(77)]
    assert len(probes) == PROBE_COUNT and all(frame[28:32] == ANY4 for frame in probes)
    assert not stack_of(network, 2).neighbours(), "a probe is nobody's address"


def test_who_connects_to_nobody_is_told(network: LanOfStacks) -> None:
    """As on Linux: EHOSTUNREACH once ARP or ND have given up, not a timeout of minutes later."""
    stack = stack_of(network, 1)
    for family, target in ((AF_INET, SocketAddress(station_address(99), 80)),
                           (AF_INET6, SocketAddress(parse_address("fe80::99"), 80, 2))):
        stream = stack.open_stream(family)
        stream.connect(target)
        network.run(4.0)
        assert stream.take_error() == Errno.EHOSTUNREACH
        stream.close()


# --- VLAN ---------------------------------------------------------------------------------------------------


def test_vlans_are_networks_of_their_own(network: LanOfStacks) -> None:
    _, frames = network.spy()
    for number in (1, 2):
        stack = stack_of(network, number)
        for tag in (5, 6):
            vlan = stack.add_vlan(2, tag)
            vlan.add_address(parse_address(f"10.{tag}.0.{number}"), 24)
            vlan.set_up(True)
    first, second = stack_of(network, 1), stack_of(network, 2)
    assert [one.name for one in first.interfaces()] == ["lo", "eth0", "eth0.5", "eth0.6"]
    network.run(3.0)
    frames.clear()
    assert ping(network, first, "10.5.0.2") and ping(network, first, "10.6.0.2", 4000)
    assert ping(network, first, "10.0.0.2")
    tags = {frame[14:16] for frame in frames if frame[12:14] == b"\x81\0"}
    assert tags == {b"\0\5", b"\0\6"} and any(frame[12:14] == b"\x08\0" for frame in frames)
    second.interface("eth0.5").set_up(False)
    assert not ping(network, first, "10.5.0.2") and ping(network, first, "10.6.0.2")
    for tag, errno in ((5, Errno.EEXIST), (0, Errno.EINVAL), (4095, Errno.EINVAL)):
        with refused(errno):  # type: ignore[attr-defined]
            first.add_vlan(2, tag)
    first.remove_device(first.interface("eth0").device)
    assert [one.name for one in first.interfaces()] == ["lo"]


# --- forwarding ---------------------------------------------------------------------------------------------

def test_a_router_cuts_segments_that_came_whole() -> None:
    """Two segments that take large TCP segments whole, the second with a smaller MTU, and a router between them."""
    network = LanOfStacks(jefeos_network_stack)
    first, router = stack_of(network, 1), stack_of(network, 2)
    far_lan = Lan(network.loop.call_soon, network.loop.call_later_ns)
    inside = router.add_device(WireDevice(far_lan.port(), station_mac(20), mtu=1400))
    far = network.add_stack()
    outside = far.add_device(WireDevice(far_lan.port(), station_mac(21), mtu=1400))
    for interface, number in ((inside, 1), (outside, 2)):
        interface.add_address(parse_address(f"10.20.0.{number}"), 24)
        interface.add_address(parse_address(f"fd00:20::{number}"), 64)
        interface.set_up(True)
    first.interface("eth0").add_address(parse_address("fd00:10::1"), 64)
    router.interface("eth0").add_address(parse_address("fd00:10::2"), 64)
    router.settings["net.ipv4.ip_forward"] = router.settings["net.ipv6.conf.all.forwarding"] = 1
    first.add_route(Route(parse_address("10.20.0.0"), 24, 2, station_address(2)))
    first.add_route(Route(parse_address("fd00:20::"), 64, 2, parse_address("fd00:10::2")))
    far.add_route(Route(ANY4, 0, 2, parse_address("10.20.0.1")))
    far.add_route(Route(ANY6, 0, 2, parse_address("fd00:20::1")))
    network.run(4.0)
    _, frames = network.spy()
    listener = far.open_stream(AF_INET6)
    listener.bind(SocketAddress(ANY6, 80))
    listener.listen(4)
    payload = bytes(range(256)) * 4000
    for family, target in ((AF_INET, "10.20.0.2"), (AF_INET6, "fd00:20::2")):
        frames.clear()
        stream = first.open_stream(family)
        stream.connect(SocketAddress(parse_address(target), 80))
        network.run(0.5)
        other = listener.accept()
        assert other is not None
        got = bytearray()
        sent = 0
        for _ in range(400):
            sent += stream.send(payload[sent : sent + 200_000])
            network.run(0.01)
            while data := other.receive(1 << 20):
                got += data
        assert bytes(got) == payload and max(map(len, frames)) > 10_000
        stream.close()
        other.close()
    listener.close()
    network.run(200.0)
    network.close()


# --- interception -------------------------------------------------------------------------------------------


class Everybody(Interceptor):
    """Answers in the name of the whole world, with what it was sent, backwards."""

    def __init__(self, stack: InetStack) -> None:
        self.stack = stack
        self.streams: list[tuple[SocketAddress, object]] = []

    def stream(self, pending: PendingStream) -> None:
        if pending.local.port == 80:
            self.streams.append((pending.local, pending.accept()))
        else:
            pending.refuse(Errno.ENETUNREACH if pending.local.port == 81 else Errno.ECONNREFUSED)

    def datagram(self, source: SocketAddress, destination: SocketAddress, data: bytes) -> None:
        self.stack.send_as(destination, source, data[::-1])

    def echo(self, source: Address, destination: Address, identifier: int, sequence: int, data: bytes) -> None:
        self.stack.send_echo_reply_as(destination, source, identifier, sequence, data)


def test_an_interceptor_is_the_world(network: LanOfStacks) -> None:
    guest, gateway = stack_of(network, 1), stack_of(network, 2)
    for stack in (guest, gateway):
        stack.settings["net.ipv6.conf.all.dad_transmits"] = 0
    guest.interface("eth0").add_address(parse_address("fd00::1"), 64)
    gateway.interface("eth0").add_address(parse_address("fd00::2"), 64)
    guest.add_route(Route(ANY4, 0, 2, station_address(2)))
    guest.add_route(Route(ANY6, 0, 2, parse_address("fd00::2")))
    assert not ping(network, guest, "203.0.113.7")
    everybody = Everybody(gateway)
    gateway.intercept(2, everybody)
    for world, family in (("203.0.113.7", AF_INET), ("2001:db8::7", AF_INET6)):
        assert ping(network, guest, world) and ping(network, guest, world, 5000)
        socket = guest.open_datagram(family)
        target = SocketAddress(parse_address(world), 53)
        for data in (b"question", bytes(range(256)) * 20):
            socket.send_to(data, target)
            network.run(0.5)
            answer = socket.receive_from()
            assert answer is not None and (answer.source, answer.data) == (target, data[::-1])
        socket.set_option("ip_recverr" if family == AF_INET else "ipv6_recverr", 1)
        socket.send_to(b"too far", target, {"ttl": 1})
        network.run(0.5)
        error = socket.next_error()
        assert error is not None and error.errno == Errno.EHOSTUNREACH, "the gateway is a hop"
        socket.close()
        stream = guest.open_stream(family)
        stream.connect(SocketAddress(parse_address(world), 80))
        network.run(0.5)
        local, other = everybody.streams.pop()
        assert stream.state == "ESTABLISHED" and local == SocketAddress(parse_address(world), 80)
        other.send(b"from the world")  # type: ignore[attr-defined]
        network.run(0.5)
        assert stream.receive(100) == b"from the world"
        for end in (stream, other):
            end.close()  # type: ignore[attr-defined]
        for port, errno in ((81, Errno.ENETUNREACH), (82, Errno.ECONNREFUSED)):
            stream = guest.open_stream(family)
            stream.connect(SocketAddress(parse_address(world), port))
            network.run(1.0)
            assert stream.take_error() == errno, (world, port)
            stream.close()
    assert ping(network, guest, "10.0.0.2"), "its own addresses stay its own"
    gateway.intercept(2, None)
    assert not ping(network, guest, "203.0.113.7")


# --- groups -------------------------------------------------------------------------------------------------


def test_routers_hear_of_groups(network: LanOfStacks) -> None:
    """Join, answer to a query, leave: in IGMP 3, and in version 2 once a router has asked so."""
    stack = stack_of(network, 1)
    port, frames = network.spy()
    group = parse_address("239.1.2.3")
    socket = stack.open_datagram(AF_INET)

    def reports() -> list[tuple[Address, bytes]]:
        network.run(12.0)
        found = [(frame[30:34], frame[38:]) for frame in frames if frame[23] == 2 and frame[6:12] == station_mac(1)]
        assert all(
            frame[22] == 1 and frame[34:38] == bytes((148, 4, 0, 0)) for frame in frames if frame[23] == 2
            and frame[6:12] == station_mac(1)
        )  # fmt: skip
        frames.clear()
        return found

    reports()
    socket.set_option("ip_add_membership", (group, station_address(1), 0))
    routers = parse_address("224.0.0.22")
    assert reports() == [(routers, igmp.emit_report([(igmp.Record.TO_EXCLUDE, group)]))] * 2
    sender = stack_of(network, 2)
    query = igmp.emit_old(igmp.IgmpType.QUERY, ANY4)
    for message, expected in (
        (bytes.fromhex("1164ec1e0000000002 7d0000"), (routers, igmp.emit_report([(igmp.Record.IS_EXCLUDE, group)]))),
        (query, (group, igmp.emit_old(igmp.IgmpType.REPORT_2, group))),
    ):
        sender.ipv4.send(sender.ipv4.path(b"\xe0\0\0\1", interface=2), 2, (message,), hop_limit=1)
        assert reports() == [expected]
    socket.set_option("ip_drop_membership", (group, station_address(1), 0))
    assert reports() == [(parse_address("224.0.0.2"), igmp.emit_old(igmp.IgmpType.LEAVE, group))] * 2
    socket.close()
    port.close()
