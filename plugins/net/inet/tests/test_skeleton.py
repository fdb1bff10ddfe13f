"""Two stacks on a LAN: ARP, echoes whole and in fragments, routes of addresses."""

from __future__ import annotations

from jefeos.testing.networks import LanOfStacks, station_address, station_mac
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_inet.wire.icmp import IcmpMessage, Type


def test_two_stations_find_each_other_and_echo() -> None:
    network = LanOfStacks(jefeos_network_stack)
    first, second = network.stacks
    replies: list[bytes] = []
    first.icmp4.echo_replied = lambda packet, message: replies.append(bytes(message.data))  # type: ignore[attr-defined]
    for size in (56, 5000, 60_000):
        first.icmp4.send(IcmpMessage(Type.ECHO, 0, 1, bytes(size)), station_address(2))  # type: ignore[attr-defined]
    network.run(1.0)
    assert sorted(map(len, replies)) == [56, 5000, 60_000]
    for stack, other in ((first, 2), (second, 1)):
        (neighbour,) = stack.neighbours()
        assert (neighbour.address, neighbour.mac) == (station_address(other), station_mac(other))
    network.close()
