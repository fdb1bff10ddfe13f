"""ICMPv6 (RFC 4443): echoes, errors both ways; Neighbour Discovery and MLD are handed on (`ndisc`, `groups`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.net.address import ANY6, Address

from jefeos_net_inet.addresses import Kind, is_multicast
from jefeos_net_inet.limits import RateLimit
from jefeos_net_inet.packets import Packet, Problem
from jefeos_net_inet.redirects import redirected6
from jefeos_net_inet.settings import number
from jefeos_net_inet.wire import icmp, icmpv6, ipv6, ndp
from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.icmpv6 import Type

if TYPE_CHECKING:
    from jefeos_net_inet.stack import InetStack

ORIGIN: Final = 3
"""SO_EE_ORIGIN_ICMP6."""
QUOTED_BYTES: Final = icmpv6.MOST_ERROR_BYTES - ipv6.HEADER_BYTES - icmp.HEADER_BYTES
_UNREACHABLE: Final[tuple[tuple[Errno, bool], ...]] = (
    (Errno.ENETUNREACH, False), (Errno.EACCES, True), (Errno.EHOSTUNREACH, False), (Errno.EHOSTUNREACH, False),
    (Errno.ECONNREFUSED, True), (Errno.EACCES, True), (Errno.EACCES, True),
)
_COUNTERS: Final = {
    Type.UNREACHABLE: "DestUnreachs", Type.TOO_BIG: "PktTooBigs", Type.TIME_EXCEEDED: "TimeExcds",
    Type.PARAMETER_PROBLEM: "ParmProblems", Type.ECHO: "Echos", Type.ECHO_REPLY: "EchoReplies",
    Type.LISTENER_QUERY: "GroupMembQueries", Type.REDIRECT: "Redirects", Type.ROUTER_SOLICITATION: "RouterSolicits",
    Type.ROUTER_ADVERTISEMENT: "RouterAdvertisements", Type.NEIGHBOUR_SOLICITATION: "NeighborSolicits",
    Type.NEIGHBOUR_ADVERTISEMENT: "NeighborAdvertisements", Type.LISTENER_REPORT_2: "MLDv2Reports",
}
_DISCOVERY: Final = frozenset({
    Type.ROUTER_SOLICITATION, Type.ROUTER_ADVERTISEMENT, Type.NEIGHBOUR_SOLICITATION, Type.NEIGHBOUR_ADVERTISEMENT,
    Type.REDIRECT,
})


class Icmp6:
    """ICMPv6 of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self.count = stack.counted["Icmp6"]
        self.errors: dict[int, Callable[[Problem], None]] = {}
        self.handlers: dict[int, Callable[[Packet, IcmpMessage], None]] = {
            Type.ECHO: self._answer_echo, Type.REDIRECT: partial(redirected6, stack),
        }
        """By type, for messages that are not errors."""
        settings = stack.settings
        self._limit = RateLimit(
            stack.timers.now_ns,
            lambda: number(settings, "net.ipv4.icmp_msgs_per_sec"),
            lambda: number(settings, "net.ipv4.icmp_msgs_burst"),
            lambda: number(settings, "net.ipv6.icmp.ratelimit"),
        )

    # --- in --------------------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """A packet of protocol ICMPv6 for us."""
        self.count["InMsgs"] += 1
        try:
            message = icmpv6.parse(packet.payload, packet.source, packet.destination)
            if message.kind in _DISCOVERY and packet.hop_limit != ndp.HOP_LIMIT:
                raise CorruptError("Neighbour Discovery through a router")
            self._count("In", message.kind)
            handler = self.handlers.get(message.kind)
            if handler is not None:
                handler(packet, message)
            elif Type.UNREACHABLE <= message.kind <= Type.PARAMETER_PROBLEM:
                self.report(
                    message.data, message.kind, message.code, message.rest, packet.source, packet.interface.index,
                    packet.hop_limit,
                )
        except CorruptError:
            self.count["InErrors"] += 1

    def _count(self, way: str, kind: int) -> None:
        for name in (_COUNTERS.get(kind), f"Type{kind}"):  # type: ignore[call-overload]
            if name is not None:
                self.count[way + name] = self.count.get(way + name, 0) + 1

    def _answer_echo(self, packet: Packet, message: IcmpMessage) -> None:
        if number(self._stack.settings, "net.ipv6.icmp.echo_ignore_all") or packet.source == ANY6:
            return
        source = packet.destination if packet.kind is Kind.HOST else b""
        self.send(
            message._replace(kind=Type.ECHO_REPLY, code=0), packet.source, source, interface=packet.interface.index,
            traffic_class=packet.traffic_class,
        )

    def report(
        self, quoted: bytes | memoryview, kind: int, code: int, info: int, offender: Address, interface: int = 0,
        hop_limit: int = 0,
    ) -> bool:
        """Tell a protocol that a packet of its own came to grief; see `Icmp4.report`."""
        try:
            header = ipv6.parse(quoted, whole=False)
            chain = ipv6.walk(quoted, header.next_header)
        except CorruptError:
            return False
        stack = self._stack
        payload = memoryview(quoted)[chain.offset :]
        if len(payload) < 8 or (chain.fragment is not None and chain.fragment[0]):
            return False
        if not stack.addresses.is_ours(header.source) and not stack.interception.active:
            return False
        errno, is_hard = Errno.EPROTO, True
        if kind == Type.UNREACHABLE:
            errno, is_hard = _UNREACHABLE[min(code, len(_UNREACHABLE) - 1)]
            info = 0
        elif kind == Type.TOO_BIG:
            errno, is_hard = Errno.EMSGSIZE, False
            if info < ipv6.SMALLEST_MTU:  # RFC 8201, section 4: to be ignored
                return False
            stack.ipv6.learn_mtu(header.destination, info)
        elif kind == Type.TIME_EXCEEDED:
            errno, is_hard, info = Errno.EHOSTUNREACH, False, 0
        problem = Problem(
            header.source, header.destination, payload, errno, is_hard, ORIGIN, kind, code, info, offender, interface,
            hop_limit,
        )
        if stack.raw_sockets:
            stack.raw_problem(chain.protocol, problem)
        handler = self.errors.get(chain.protocol)
        if handler is not None:
            handler(problem)
        return True

    # --- out -------------------------------------------------------------------------------------------------

    def send(
        self, message: IcmpMessage, destination: Address, source: Address = b"", *, interface: int = 0,
        traffic_class: int = 0, hop_limit: int = 0, options: bytes = b"",
    ) -> None:
        """Send a message; what cannot be sent is counted and forgotten."""
        try:
            try:
                path = self._stack.ipv6.path(destination, source, interface)
            except KernelError:
                path = self._stack.ipv6.path(destination, source)
            data = icmpv6.emit(message, path.source, path.destination)
            self._stack.ipv6.send(
                path, icmpv6.PROTOCOL, (data,), hop_limit=hop_limit, traffic_class=traffic_class, options=options,
                loop=False,
            )
        except KernelError:
            self.count["OutErrors"] += 1
            return
        self.count_sent(message.kind)

    def count_sent(self, kind: int) -> None:
        """A message went out."""
        self.count["OutMsgs"] += 1
        self._count("Out", kind)

    def unreachable(self, packet: Packet, code: int) -> None:
        """Tell a packet's sender that it did not get there."""
        self._send_error(packet, Type.UNREACHABLE, code, 0)

    def time_exceeded(self, packet: Packet, code: int) -> None:
        """Code 0: on the way. 1: while we waited for fragments."""
        self._send_error(packet, Type.TIME_EXCEEDED, code, 0)

    def too_big(self, packet: Packet, mtu: int) -> None:
        """It does not fit into the next link."""
        self._send_error(packet, Type.TOO_BIG, 0, mtu)

    def parameter_problem(self, packet: Packet, code: int, pointer: int) -> None:
        """Something in a packet cannot be understood."""
        self._send_error(packet, Type.PARAMETER_PROBLEM, code, pointer)

    def _send_error(self, packet: Packet, kind: int, code: int, rest: int) -> None:
        """RFC 4443, section 2.4 e: not about errors, not to or about groups, apart from two kinds."""
        group_allowed = kind == Type.TOO_BIG or (kind == Type.PARAMETER_PROBLEM and code == 2)
        if (packet.to_group or packet.kind is Kind.MULTICAST) and not group_allowed:
            return
        if packet.source == ANY6 or is_multicast(packet.source):
            return
        if packet.protocol == icmpv6.PROTOCOL and (not packet.payload or packet.payload[0] < 128 or
                                                   packet.payload[0] == Type.REDIRECT):
            return
        if not packet.interface.is_loopback and not self._limit.allows(packet.source):
            self.count["OutRateLimitHost"] = self.count.get("OutRateLimitHost", 0) + 1
            return
        own = packet.destination if packet.kind is Kind.HOST else b""
        quoted = bytes(packet.whole[:QUOTED_BYTES])
        self.send(IcmpMessage(kind, code, rest, quoted), packet.source, own, interface=packet.interface.index)


