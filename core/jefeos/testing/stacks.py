"""The conformance suite of network stacks: subclass `NetworkStackConformance`, say how to make a stack, pass.

    class TestMyStack(NetworkStackConformance):
        make_stack = staticmethod(jefeos_network_stack)      # the hook's implementation

Stacks on a LAN in virtual time are told what to do through `jefeos.net.stack` alone, and what they say on the wire is
looked at where it matters. What a stack leaves behind at the end of a test (timers) fails it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from jefeos.errors import Errno, KernelError
from jefeos.net.address import (
    AF_INET,
    AF_INET6,
    ANY4,
    ANY6,
    LOOPBACK4,
    LOOPBACK6,
    Address,
    SocketAddress,
    address_text,
    parse_address,
)
from jefeos.net.flags import InterfaceFlags
from jefeos.net.socket import StreamSocket
from jefeos.net.stack import (
    Change,
    Event,
    Interceptor,
    Neighbour,
    NeighbourState,
    NetworkStack,
    PendingStream,
    Route,
    RouterAdvertisement,
)
from jefeos.testing.networks import LanOfStacks, station_address, station_mac

SECOND_NS = 1_000_000_000
PROBES = 3
"""RFC 5227, section 1.1."""


def refused(errno: Errno) -> Any:
    """A context in which KernelError(errno) has to be raised."""
    return pytest.raises(KernelError, check=lambda error: error.errno == errno)


def ping(network: LanOfStacks, stack: NetworkStack, target: str, size: int = 56) -> bool:
    """Whether somebody answers an echo request within a second."""
    socket = stack.open_ping(AF_INET6 if ":" in target else AF_INET)
    kind = 128 if ":" in target else 8
    socket.send_to(bytes((kind, 0, 0, 0, 0, 0, 0, 1)) + bytes(size), SocketAddress(parse_address(target), 0))
    network.run(1.0)
    answer = socket.receive_from()
    socket.close()
    return answer is not None and len(answer.data) == size + 8


class Everybody(Interceptor):
    """Answers in the name of the whole world, with what it was sent, backwards."""

    def __init__(self, stack: NetworkStack) -> None:
        self.stack = stack
        self.streams: list[tuple[SocketAddress, StreamSocket]] = []

    def stream(self, pending: PendingStream) -> None:
        if pending.local.port == 80:
            self.streams.append((pending.local, pending.accept()))
        else:
            pending.refuse(Errno.ENETUNREACH if pending.local.port == 81 else Errno.ECONNREFUSED)

    def datagram(self, source: SocketAddress, destination: SocketAddress, data: bytes) -> None:
        if destination.port == 54:
            self.stack.send_error_as(source, destination, data, Errno.ECONNREFUSED)
        else:
            self.stack.send_as(destination, source, data[::-1])

    def echo(self, source: Address, destination: Address, identifier: int, sequence: int, data: bytes) -> None:
        self.stack.send_echo_reply_as(destination, source, identifier, sequence, data)


class NetworkStackConformance:
    """See the module's text. Stations 1 and 2 are `network.stacks` 0 and 1; their interface has the index 2."""

    make_stack: Callable[..., NetworkStack]

    @pytest.fixture
    def network(self) -> Iterator[LanOfStacks]:
        made = LanOfStacks(self.make_stack)
        made.run(3.0)
        yield made
        made.close()

    # --- tables ---------------------------------------------------------------------------------------------

    def test_routes(self, network: LanOfStacks) -> None:
        stack = network.stacks[0]
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
            with refused(errno):
                stack.add_route(route)
        stack.remove_route(Route(ANY4, 0, 0))
        assert stack.route_to(parse_address("8.8.8.8")).gateway == other
        stack.remove_route(Route(ANY4, 0, 0))
        for call in (lambda: stack.route_to(parse_address("8.8.8.8")), lambda: stack.open_datagram(AF_INET).connect(
            SocketAddress(parse_address("8.8.8.8"), 53)
        )):
            with refused(Errno.ENETUNREACH):
                call()
        with refused(Errno.ESRCH):
            stack.remove_route(Route(ANY4, 0, 0))

    def test_interfaces_up_and_down(self, network: LanOfStacks) -> None:
        stack = network.stacks[0]
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
        with refused(Errno.ENETUNREACH):
            stack.route_to(station_address(2))
        interface.set_up(True)
        network.run(3.0)
        assert [route.prefix_length for route in stack.routes()] == [24, 64], "what was set by hand is gone"
        assert ping(network, stack, "10.0.0.2")
        stop()
        events.clear()
        device = interface.device
        assert device is not None
        stack.remove_device(device)
        assert not events and not stack.routes() and [one.name for one in stack.interfaces()] == ["lo"]
        with refused(Errno.ENODEV):
            stack.interface("eth0")

    def test_addresses_have_lifetimes(self, network: LanOfStacks) -> None:
        stack = network.stacks[0]
        interface = stack.interface("eth0")
        interface.add_address(parse_address("10.5.0.1"), 24, valid_ns=30 * SECOND_NS, preferred_ns=20 * SECOND_NS)
        assert len([route for route in stack.routes() if route.destination == parse_address("10.5.0.0")]) == 1
        with refused(Errno.EEXIST):
            interface.add_address(parse_address("10.5.0.1"), 24)
        for wrong in ("224.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1"):
            with refused(Errno.EINVAL):
                interface.add_address(parse_address(wrong), 24)
        network.run(29.0)
        assert len(interface.addresses) == 3
        network.run(2.0)
        assert len(interface.addresses) == 2
        assert not [route for route in stack.routes() if route.destination == parse_address("10.5.0.0")]
        with refused(Errno.EADDRNOTAVAIL):
            interface.remove_address(parse_address("10.5.0.1"))

    def test_sources_by_rfc_6724(self, network: LanOfStacks) -> None:
        stack = network.stacks[0]
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

    # --- neighbours -----------------------------------------------------------------------------------------

    def test_the_states_of_a_neighbour(self, network: LanOfStacks) -> None:
        stack = network.stacks[0]
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
        network.stacks[1].interface("eth0").set_up(False)
        assert not ping(network, stack, "10.0.0.2")
        network.run(5.0)
        assert state() is NeighbourState.PROBE
        network.run(3.0)
        assert state() is NeighbourState.FAILED and asked()[2:] == [station_mac(2)] * 3
        stack.add_neighbour(Neighbour(station_address(2), 2, station_mac(2), NeighbourState.PERMANENT))
        network.run(100.0)
        assert state() is NeighbourState.PERMANENT
        stack.remove_neighbour(station_address(2), 2)
        with refused(Errno.ENOENT):
            stack.remove_neighbour(station_address(2), 2)

    def test_a_moved_address_is_announced(self, network: LanOfStacks) -> None:
        """Gratuitous ARP: whoever has an entry for it learns the new MAC at once."""
        first, second = network.stacks[0], network.stacks[1]
        assert ping(network, first, "10.0.0.2")
        third = network.add_stack()
        network.plug(third, 3)
        second.interface("eth0").remove_address(station_address(2))
        third.interface("eth0").add_address(station_address(2), 24)
        network.run(0.1)
        assert [one.mac for one in first.neighbours() if one.address == station_address(2)] == [station_mac(3)]
        assert ping(network, first, "10.0.0.2")

    def test_probing(self, network: LanOfStacks) -> None:
        stack = network.stacks[0]
        found: dict[Address, bytes | None] = {}
        _, frames = network.spy()
        for number in (2, 77):
            address = station_address(number)
            stack.interface("eth0").probe(address, partial(found.__setitem__, address))
        network.run(0.1)
        assert found == {station_address(2): station_mac(2)}
        network.run(10.0)
        assert found == {station_address(2): station_mac(2), station_address(77): None}
        probes = [frame for frame in frames if frame[38:42] == station_address(77)]
        assert len(probes) == PROBES and all(frame[28:32] == ANY4 for frame in probes)
        assert not network.stacks[1].neighbours(), "a probe is nobody's address"

    def test_who_connects_to_nobody_is_told(self, network: LanOfStacks) -> None:
        """As on Linux: EHOSTUNREACH once ARP or ND have given up, not a timeout of minutes later."""
        stack = network.stacks[0]
        for family, target in ((AF_INET, SocketAddress(station_address(99), 80)),
                               (AF_INET6, SocketAddress(parse_address("fe80::99"), 80, 2))):
            stream = stack.open_stream(family)
            stream.connect(target)
            network.run(4.0)
            assert stream.take_error() == Errno.EHOSTUNREACH
            stream.close()

    # --- interception ---------------------------------------------------------------------------------------

    def test_an_interceptor_is_the_world(self, network: LanOfStacks) -> None:
        guest, gateway = network.stacks[0], network.stacks[1]
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
            socket.take_error()
            socket.connect(target._replace(port=54))
            socket.send_to(b"is there anybody?")
            network.run(0.5)
            assert socket.take_error() == Errno.ECONNREFUSED
            socket.close()
            stream = guest.open_stream(family)
            stream.connect(SocketAddress(parse_address(world), 80))
            network.run(0.5)
            local, other = everybody.streams.pop()
            assert stream.state == "ESTABLISHED" and local == SocketAddress(parse_address(world), 80)
            other.send(b"from the world")
            network.run(0.5)
            assert stream.receive(100) == b"from the world"
            for end in (stream, other):
                end.close()
            for port, errno in ((81, Errno.ENETUNREACH), (82, Errno.ECONNREFUSED)):
                stream = guest.open_stream(family)
                stream.connect(SocketAddress(parse_address(world), port))
                network.run(1.0)
                assert stream.take_error() == errno, (world, port)
                stream.close()
        assert ping(network, guest, "10.0.0.2"), "its own addresses stay its own"
        gateway.intercept(2, None)
        assert not ping(network, guest, "203.0.113.7")

    def test_an_interceptor_stands_in_for_addresses_of_the_link(self, network: LanOfStacks) -> None:
        guest, gateway = network.stacks[0], network.stacks[1]
        for stack in (guest, gateway):
            stack.settings["net.ipv6.conf.all.dad_transmits"] = 0
        guest.interface("eth0").add_address(parse_address("fd00::1"), 64)
        gateway.interface("eth0").add_address(parse_address("fd00::2"), 64)
        everybody = Everybody(gateway)
        everybody.proxied = frozenset(parse_address(text) for text in ("10.0.0.99", "fd00::99"))
        gateway.intercept(2, everybody)
        assert ping(network, guest, "10.0.0.99") and ping(network, guest, "fd00::99")
        assert not ping(network, guest, "10.0.0.98") and not ping(network, guest, "fd00::98")
        gateway.intercept(2, None)

    def test_a_router_is_one_as_long_as_it_says_so(self, network: LanOfStacks) -> None:
        host, router = network.stacks[0], network.stacks[1]
        told = [RouterAdvertisement(parse_address("fd00::"), router_lifetime_s=1800, valid_s=7200, preferred_s=3600)]
        router.interface("eth0").add_address(parse_address("fd00::2"), 64)

        def is_default() -> bool:
            routes = host.routes()
            return any(route.destination == ANY6 and not route.prefix_length and route.gateway for route in routes)

        router.advertise(2, lambda: told[0] if told else None)
        network.run(20.0)
        own = [entry for entry in host.interface("eth0").addresses if entry.address[:2] == b"\xfd\0"]
        assert len(own) == 1 and not own[0].tentative and is_default()
        assert ping(network, router, address_text(own[0].address)) and ping(network, host, "fd00::2")
        network.run(2000.0)
        assert is_default(), "it says so again and again"
        told.clear()  # nothing to say: the host waits until the lifetime is over
        network.run(1900.0)
        assert not is_default()
        told.append(RouterAdvertisement(parse_address("fd00::")))
        network.run(700.0)
        assert is_default()
        router.advertise(2, None)
        network.run(1.0)
        assert not is_default(), "the last word of a router takes it back"

    # --- messages --------------------------------------------------------------------------------------------

    def test_messages_of_every_size(self, network: LanOfStacks) -> None:
        first, second = network.stacks
        taker = second.open_datagram(AF_INET6)
        taker.set_option("so_rcvbuf", 1 << 20)
        taker.bind(SocketAddress(ANY6, 7000))
        near = next(one.address for one in second.interface(2).addresses if one.address[:2] == b"\xfe\x80")
        for family, target in (
            (AF_INET, SocketAddress(station_address(2), 7000)), (AF_INET6, SocketAddress(near, 7000, 2))
        ):
            sender = first.open_datagram(family)
            for size in (0, 1, 1472, 1473, 9000, 65_000):
                data = bytes(index * 7 & 0xFF for index in range(size))
                assert sender.send_to(data, target) == size
                network.run(1.0)
                message = taker.receive_from()
                assert message is not None and message.data == data
                taker.send_to(data[::-1], message.source)
                network.run(1.0)
                answer = sender.receive_from()
                assert answer is not None and answer.data == data[::-1] and answer.source.port == 7000
            sender.close()
        taker.close()

    def test_a_message_to_myself_wakes_only_after_the_call(self, network: LanOfStacks) -> None:
        stack = network.stacks[0]
        for family, address in ((AF_INET, LOOPBACK4), (AF_INET6, LOOPBACK6), (AF_INET, station_address(1))):
            socket = stack.open_datagram(family)
            socket.bind(SocketAddress(address, 7000))
            inside: list[bool] = []
            sending = [True]
            socket.changed = lambda inside=inside, sending=sending: inside.append(sending[0])  # type: ignore[misc]
            socket.send_to(b"me", SocketAddress(address, 7000))
            sending[0] = False
            network.run(0.1)
            message = socket.receive_from()
            assert message is not None and message.source == SocketAddress(address, 7000) and inside == [False]
            socket.close()

    def test_streams(self, network: LanOfStacks) -> None:
        first, second = network.stacks
        listener = second.open_stream(AF_INET)
        listener.bind(SocketAddress(ANY4, 80))
        listener.listen(4)
        stream = first.open_stream(AF_INET)
        stream.connect(SocketAddress(station_address(2), 80))
        network.run(1.0)
        other = listener.accept()
        assert stream.state == "ESTABLISHED" and other is not None and other.remote == stream.local
        stream.send(b"there")
        other.send(b"and back")
        network.run(1.0)
        assert (other.receive(100), stream.receive(100)) == (b"there", b"and back")
        stream.close()
        network.run(1.0)
        assert other.receive(100) == b""
        other.close()
        refused_one = first.open_stream(AF_INET)
        refused_one.connect(SocketAddress(station_address(2), 81))
        network.run(1.0)
        assert refused_one.take_error() == Errno.ECONNREFUSED
        refused_one.close()
        listener.close()
        network.run(200.0)
        assert not list(first.sockets()) and not list(second.sockets())
