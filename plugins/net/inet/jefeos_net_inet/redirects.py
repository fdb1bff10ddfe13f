"""Redirects: a router says that another one on the link is nearer to a destination (RFC 1122, section 3.2.2.2; RFC
4861, section 8).

    redirect --checks--> Redirects: destination --> gateway, for five minutes    applied by `Paths` to ways it looks up

Believed is only a host's own router: the redirect comes from the very gateway that packets to the destination go to
now, over that interface, and the new gateway is a station of that link and not ours. IPv4: it quotes a packet of
something that we have open. IPv6: link-local source, and hop limit 255, which icmp6 has seen to. The new gateway has to
have answered before it is used; one that stops to answer is forgotten. Routers do not listen, and send none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, frozen
from jefeos.errors import CorruptError, KernelError
from jefeos.net.address import Address

from jefeos_net_inet.addresses import Kind, is_link_local, is_multicast
from jefeos_net_inet.neighbours import SECOND_NS, NeighbourCache
from jefeos_net_inet.packets import Packet, Path
from jefeos_net_inet.settings import number
from jefeos_net_inet.wire import icmp, ipv4, ndp, udp, udplite
from jefeos_net_inet.wire.icmp import IcmpMessage

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

MOST_REDIRECTS: Final = 256
LIFETIME_NS: Final = 300 * SECOND_NS
_LAST_CODE4: Final = 3
_TCP: Final = 6


@frozen
class Redirect:
    """A nearer way."""

    gateway: Address
    interface: InetInterface
    until_ns: int


@define(eq=False)
class Redirects:
    """The ones of a family. Bounded; the oldest makes room."""

    by_destination: dict[Address, Redirect]

    def apply(self, path: Path) -> None:
        """Change a way that was just looked up."""
        redirect = self.by_destination.get(path.destination)
        if redirect is not None and not path.is_local and path.interface is redirect.interface:
            path.next_hop = redirect.gateway

    def expire(self, now_ns: int) -> None:
        """Forget those whose time is over."""
        for destination in [to for to, redirect in self.by_destination.items() if redirect.until_ns <= now_ns]:
            del self.by_destination[destination]

    def ends(self) -> list[int]:
        """When each is over."""
        return [redirect.until_ns for redirect in self.by_destination.values()]

    def learn(self, destination: Address, redirect: Redirect) -> None:
        """A new one."""
        self.by_destination.pop(destination, None)
        while len(self.by_destination) >= MOST_REDIRECTS:
            del self.by_destination[next(iter(self.by_destination))]
        self.by_destination[destination] = redirect

    def forget_gateway(self, gateway: Address) -> bool:
        """It does not answer. Whether that changes a way."""
        gone = [to for to, redirect in self.by_destination.items() if redirect.gateway == gateway]
        for destination in gone:
            del self.by_destination[destination]
        return bool(gone)


def redirected4(stack: InetStack, packet: Packet, message: IcmpMessage) -> bool:
    """An ICMP redirect. Whether it was believed."""
    settings = stack.settings
    if not number(settings, "net.ipv4.conf.all.accept_redirects") or number(settings, "net.ipv4.ip_forward"):
        return False
    try:
        header = ipv4.parse(message.data, whole=False)
    except CorruptError:
        return False
    quoted = memoryview(message.data)[header.header_bytes :]
    if message.code > _LAST_CODE4 or len(quoted) < icmp.HEADER_BYTES or header.fragment & ipv4.OFFSET_MASK:
        return False
    if not stack.addresses.is_ours(header.source) or not _is_open(stack, header, quoted):
        return False
    gateway, interface = message.rest.to_bytes(4, "big"), packet.interface
    on_link = stack.routes4.look_up(gateway, interface.index)
    if on_link is None or on_link.gateway or stack.addresses.kind4(gateway, interface) is not Kind.OTHER:
        return False
    return _take(stack, packet, header.destination, gateway, stack.arp.cache)


def _is_open(stack: InetStack, header: ipv4.Ipv4Header, quoted: memoryview) -> bool:
    """Whether something of ours can have sent a packet that is quoted."""
    local_port, remote_port = int.from_bytes(quoted[:2], "big"), int.from_bytes(quoted[2:4], "big")
    if header.protocol == _TCP:
        return (header.source, header.destination, local_port, remote_port) in stack.tcp.layer.table
    if header.protocol in (udp.PROTOCOL, udplite.PROTOCOL):
        return local_port in (stack.udp if header.protocol == udp.PROTOCOL else stack.udplite).ports
    return any(socket.protocol == header.protocol for socket in (*stack.raw_sockets, *stack.pings.sockets.values()))


def redirected6(stack: InetStack, packet: Packet, message: IcmpMessage) -> None:
    """A redirect of Neighbour Discovery. Raises CorruptError for one that is none (RFC 4861, section 8.1)."""
    told = ndp.parse_redirect(message)
    interface = packet.interface
    if not is_link_local(packet.source) or is_multicast(told.destination):
        raise CorruptError("a redirect from afar, or for a group")
    if told.target != told.destination and not is_link_local(told.target):
        raise CorruptError("a redirect to something that is no router")
    settings = stack.settings
    if not number(settings, "net.ipv6.conf.all.accept_redirects") or number(settings, "net.ipv6.conf.all.forwarding"):
        return
    if stack.addresses.kind6(told.target, interface) is not Kind.OTHER:
        return
    cache = stack.discovery.cache
    if told.mac:
        cache.heard(told.target, interface, told.mac, create=True)
    _take(stack, packet, told.destination, told.target, cache)


def _take(
    stack: InetStack, packet: Packet, destination: Address, gateway: Address, cache: NeighbourCache
) -> bool:
    """Believe a redirect, if it is from the router that the destination's packets go to, and its gateway is there."""
    ip = stack.ip(destination)
    try:
        path = ip.path(destination)
    except KernelError:
        return False
    if path.is_local or path.kind is not Kind.HOST or path.interface is not packet.interface:
        return False
    if path.next_hop != packet.source or path.next_hop in (destination, gateway):
        return False
    entry = cache.entry(gateway, packet.interface)
    if entry is None:
        return False
    if not entry.mac:
        cache.ask(entry)  # by the time of the next redirect it is known
        return False
    ip.learn_redirect(destination, Redirect(gateway, packet.interface, stack.timers.now_ns() + LIFETIME_NS))
    return True
