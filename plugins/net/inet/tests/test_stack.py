"""The stack's tables and events, neighbours' states, VLANs, interception, groups: between stacks on a LAN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY4, ANY6, Address, SocketAddress, parse_address
from jefeos.net.stack import Change, Event, Route, RouterAdvertisement
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Lan
from jefeos.testing.networks import LanOfStacks, station_address, station_mac
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


# --- neighbours ---------------------------------------------------------------------------------------------


# --- settings -----------------------------------------------------------------------------------------------

def test_settings_may_be_nonsense(network: LanOfStacks) -> None:
    """Whoever is root may write anything: packets still go out, or are refused with an errno."""
    stack = stack_of(network, 1)
    stack.add_route(Route(parse_address("10.7.0.0"), 16, 2, station_address(2), mtu=10))
    for name, value in list(stack.settings.items()):
        if name.startswith(("net.ipv4.tcp", "net.ipv4.ip_unprivileged")):
            continue
        for wrong in (-1, 0, 1 << 31, "text", ()):
            stack.settings[name] = wrong
            for target in (SocketAddress(station_address(2), 9), SocketAddress(parse_address("10.7.0.1"), 9)):
                socket = stack.open_datagram(AF_INET)
                with suppress(KernelError):
                    socket.send_to(bytes(4000), target)
                socket.close()
            socket6 = stack.open_datagram(AF_INET6)
            with suppress(KernelError):
                socket6.send_to(bytes(4000), SocketAddress(parse_address("fe80::9"), 9, 2))
            socket6.close()
            network.run(0.01)
        stack.settings[name] = value
    network.run(60.0)
    assert ping(network, stack, "10.0.0.2")


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


def test_each_address_takes_its_group_once(network: LanOfStacks) -> None:
    """Whether it was there before the interface came up, and however often that happens."""
    stack = stack_of(network, 1)
    interface, group = stack.interface("eth0"), parse_address("ff02::1:ff00:77")
    interface.set_up(False)
    assert parse_address("224.0.0.1") not in interface.groups
    interface.add_address(parse_address("fd00::77"), 64)
    for up in (True, False, True):
        interface.set_up(up)
    always = {parse_address(one): 1 for one in ("224.0.0.1", "ff01::1", "ff02::1")}
    assert {one: interface.groups.get(one) for one in (*always, group)} == {**always, group: 1}
    assert always.items() <= stack.interface("lo").groups.items()
    interface.remove_address(parse_address("fd00::77"))
    assert group not in interface.groups


# --- name servers that routers advertise --------------------------------------------------------------------------


def test_name_servers_last_as_long_as_the_router_says(network: LanOfStacks) -> None:
    router, host = stack_of(network, 1), stack_of(network, 2)
    events: list[Event] = []
    host.watch(lambda event: events.append(event) if event.change is Change.NAME_SERVER else None)
    texts, lifetime_s = ["fd00:5::53", "fe80::53", "::1", "ff02::fb", "::ffff:10.0.0.1"], 30

    def told() -> RouterAdvertisement:
        servers = tuple(map(parse_address, texts))
        return RouterAdvertisement(parse_address("fd00:5::"), valid_s=600, preferred_s=lifetime_s, name_servers=servers)

    index = router.interface("eth0").index
    router.advertise(index, told)
    network.run(3.0)
    global_, near = SocketAddress(parse_address("fd00:5::53"), 53), SocketAddress(parse_address("fe80::53"), 53, index)
    assert host.name_servers == [global_, near], "and none that cannot be"
    texts.remove("fe80::53")
    network.run(25.0)
    assert host.name_servers == [global_, near], "it has time yet"
    network.run(25.0)
    assert host.name_servers == [global_], "one that was told again lives on"
    lifetime_s = 0
    network.run(700.0)
    assert host.name_servers == []
    assert [(event.subject, event.gone) for event in events] == [
        (global_, False), (near, False), (near, True), (global_, True),
    ]
    lifetime_s = 0xFFFF_FFFF
    network.run(700.0)
    router.advertise(index, None)
    network.run(90_000.0)
    assert host.name_servers == [global_], "for ever"
    host.interface("eth0").set_up(False)
    assert host.name_servers == [] and len(events) == 6
