"""What arrives for addresses that are not ours and goes to an `Interceptor`: the gateway behind a `user` wire.

UDP messages and ICMP echoes are handed over as they are; a segment of TCP goes to the TCP layer, which keeps the
connections and shows new ones as `PendingStream`. Everything else is answered as a router without a route would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno
from jefeos.net.address import Address, SocketAddress
from jefeos.net.stack import Interceptor

from jefeos_net_inet import icmp4
from jefeos_net_inet.addresses import Kind, is_link_local
from jefeos_net_inet.packets import Packet
from jefeos_net_inet.wire import icmp, icmpv6, ipv4, ipv6, udp
from jefeos_net_inet.wire.icmp import Unreachable
from jefeos_net_inet.wire.ndp import solicited_group

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

TCP: Final = 6
HOPS: Final = 64
_NO_WAY: Final = (Unreachable.NETWORK, icmpv6.Unreachable.NO_ROUTE)
_CODES: Final = {
    Errno.ECONNREFUSED: (Unreachable.PORT, icmpv6.Unreachable.PORT),
    Errno.EHOSTUNREACH: (Unreachable.HOST, icmpv6.Unreachable.ADDRESS),
}
"""Of Destination Unreachable, for IPv4 and IPv6."""


class Interception:
    """The interceptors of a stack, by interface."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self.active: dict[int, Interceptor] = {}

    def set(self, interface: InetInterface, interceptor: Interceptor | None) -> None:
        """See `NetworkStack.intercept`."""
        before = self.active.pop(interface.index, None)
        if before is not None:
            for group in self._solicited_groups(before):
                self._stack.leave(interface, group)
        if interceptor is not None:
            self.active[interface.index] = interceptor
            for group in self._solicited_groups(interceptor):
                self._stack.join(interface, group)

    @staticmethod
    def _solicited_groups(interceptor: Interceptor) -> list[Address]:
        """The groups to which questions for its IPv6 addresses go."""
        return [solicited_group(address) for address in sorted(interceptor.proxied) if len(address) == 16]

    def wants(self, interface: InetInterface) -> bool:
        """Whether foreign packets of the interface are taken."""
        return interface.index in self.active

    def proxies(self, interface: InetInterface, address: Address) -> bool:
        """Whether the interceptor of the interface stands in for an address of the link."""
        interceptor = self.active.get(interface.index)
        return interceptor is not None and address in interceptor.proxied

    def packet(self, packet: Packet) -> None:
        """A whole packet for a foreign address. HOT in a gateway."""
        interceptor = self.active[packet.interface.index]
        is_v4 = len(packet.source) == 4
        if packet.to_group:
            return
        if packet.hop_limit <= 1:
            (self._stack.icmp4 if is_v4 else self._stack.icmp6).time_exceeded(packet, 0)
        elif not is_v4 and (is_link_local(packet.source) or is_link_local(packet.destination)):
            self._stack.icmp6.unreachable(packet, icmpv6.Unreachable.BEYOND_SCOPE)
        elif packet.protocol == TCP:
            self._stack.tcp.intercepted(packet, interceptor)
        elif packet.protocol == udp.PROTOCOL:
            self._datagram(packet, interceptor)
        elif packet.protocol == (icmp4.PROTOCOL if is_v4 else icmpv6.PROTOCOL):
            self._echo(packet, interceptor, is_v4)
        elif is_v4:
            self._stack.icmp4.unreachable(packet, Unreachable.NETWORK)
        else:
            self._stack.icmp6.unreachable(packet, icmpv6.Unreachable.NO_ROUTE)

    def unreachable(
        self, protocol: int, payload: bytes, source: Address, destination: Address, errno: int,
        interface: InetInterface,
    ) -> None:
        """Tell the sender of a foreign packet that it did not get there."""
        stack = self._stack
        is_v4 = len(source) == 4
        if is_v4:
            header = ipv4.emit(len(payload), 0, 0, ipv4.DONT_FRAGMENT, HOPS, protocol, source, destination)
        else:
            header = ipv6.emit(len(payload), 0, 0, HOPS, protocol, source, destination)
        whole = memoryview(header + payload)
        packet = Packet(
            source, destination, protocol, whole[len(header) :], whole, HOPS, 0, interface, Kind.OTHER, False, True,
            stack.timers.now_ns(),
        )
        (stack.icmp4 if is_v4 else stack.icmp6).unreachable(packet, _CODES.get(errno, _NO_WAY)[not is_v4])

    def _datagram(self, packet: Packet, interceptor: Interceptor) -> None:
        count = self._stack.udp.count_for(packet.source)
        try:
            header = udp.parse(packet.payload)
        except CorruptError:
            count["InErrors"] += 1
            return
        if not packet.checksum_good and not udp.verify(packet.payload, header, packet.source, packet.destination):
            count["InCsumErrors"] += 1
            count["InErrors"] += 1
            return
        count["InDatagrams"] += 1
        interceptor.datagram(
            SocketAddress(packet.source, header.source_port),
            SocketAddress(packet.destination, header.destination_port),
            bytes(packet.payload[udp.HEADER_BYTES : header.length_bytes]),
        )

    def _echo(self, packet: Packet, interceptor: Interceptor, is_v4: bool) -> None:
        """Errors that quote what an interceptor sent go nowhere: it has no way to tell of them."""
        try:
            if is_v4:
                message, wanted = icmp.parse(packet.payload), int(icmp.Type.ECHO)
            else:
                message = icmpv6.parse(packet.payload, packet.source, packet.destination)
                wanted = int(icmpv6.Type.ECHO)
        except CorruptError:
            (self._stack.icmp4 if is_v4 else self._stack.icmp6).count["InErrors"] += 1
            return
        if message.kind == wanted and not message.code:
            interceptor.echo(
                packet.source, packet.destination, message.rest >> 16, message.rest & 0xFFFF, bytes(message.data)
            )
