"""ICMP for IPv4: echoes, errors to others about their packets, errors from others about ours (RFC 792, RFC 1122 3.2.2).

An error from the network becomes a `Problem`, and goes to the protocol whose packet it quotes; what its errno is and
whether it ends a connection follows Linux's table. Errors of ours are never sent about errors, groups, broadcasts and
later fragments, and not faster than the limits of ``net.ipv4.icmp_ratelimit`` and ``icmp_msgs_per_sec``.

Redirects are ignored (``accept_redirects`` is off), source quench is (RFC 6633), and so are address mask requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.net.address import ANY4, Address

from jefeos_net_inet.addresses import Kind, is_multicast
from jefeos_net_inet.limits import RateLimit
from jefeos_net_inet.packets import Packet, Problem
from jefeos_net_inet.redirects import redirected4
from jefeos_net_inet.settings import number
from jefeos_net_inet.wire import icmp, ipv4
from jefeos_net_inet.wire.icmp import IcmpMessage, Type, Unreachable

if TYPE_CHECKING:
    from jefeos_net_inet.stack import InetStack

PROTOCOL: Final = 1
ORIGIN: Final = 2
"""SO_EE_ORIGIN_ICMP."""
QUOTED_BYTES: Final = icmp.MOST_ERROR_BYTES - ipv4.HEADER_BYTES - icmp.HEADER_BYTES
_DAY_MS: Final = 86_400_000
_MTU_PLATEAUS: Final = (32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
"""What to try next when a router does not say (RFC 1191, section 7.1)."""
_UNREACHABLE: Final[tuple[tuple[Errno, bool], ...]] = (
    (Errno.ENETUNREACH, False), (Errno.EHOSTUNREACH, False), (Errno.ENOPROTOOPT, True), (Errno.ECONNREFUSED, True),
    (Errno.EMSGSIZE, False), (Errno.EOPNOTSUPP, False), (Errno.ENETUNREACH, True), (Errno.EHOSTDOWN, True),
    (Errno.ENONET, True), (Errno.ENETUNREACH, True), (Errno.EHOSTUNREACH, True), (Errno.ENETUNREACH, False),
    (Errno.EHOSTUNREACH, False), (Errno.EHOSTUNREACH, True), (Errno.EHOSTUNREACH, True), (Errno.EHOSTUNREACH, True),
)
"""errno, and whether it is hard, by code."""


class Icmp4:
    """ICMP of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self.count = stack.counted["Icmp"]
        self.types = stack.counted["IcmpMsg"]
        self.errors: dict[int, Callable[[Problem], None]] = {}
        """By protocol: who wants to hear of errors about its packets."""
        self.echo_replied: Callable[[Packet, IcmpMessage], None] | None = None
        settings = stack.settings
        self._limit = RateLimit(
            stack.timers.now_ns,
            lambda: number(settings, "net.ipv4.icmp_msgs_per_sec"),
            lambda: number(settings, "net.ipv4.icmp_msgs_burst"),
            lambda: number(settings, "net.ipv4.icmp_ratelimit"),
        )

    # --- in --------------------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """A packet of protocol ICMP for us."""
        self.count["InMsgs"] += 1
        try:
            message = icmp.parse(packet.payload)
        except CorruptError:
            self.count["InErrors"] += 1
            if len(packet.payload) >= icmp.HEADER_BYTES:
                self.count["InCsumErrors"] += 1
            return
        self._count_type("In", message.kind)
        kind = message.kind
        if kind == Type.ECHO:
            self.count["InEchos"] += 1
            self._answer_echo(packet, message)
        elif kind == Type.ECHO_REPLY:
            self.count["InEchoReps"] += 1
            if self.echo_replied is not None:
                self.echo_replied(packet, message)
        elif kind in (Type.UNREACHABLE, Type.TIME_EXCEEDED, Type.PARAMETER_PROBLEM):
            name = {Type.UNREACHABLE: "InDestUnreachs", Type.TIME_EXCEEDED: "InTimeExcds"}.get(
                Type(kind), "InParmProbs"
            )
            self.count[name] += 1
            info = message.rest >> 24 if kind == Type.PARAMETER_PROBLEM else message.rest & 0xFFFF
            if not self.report(
                message.data, kind, message.code, info, packet.source, packet.interface.index, packet.hop_limit
            ):
                self.count["InErrors"] += 1
        elif kind == Type.REDIRECT:
            self.count["InRedirects"] += 1
            redirected4(self._stack, packet, message)
        elif kind == Type.TIMESTAMP:
            self.count["InTimestamps"] += 1
            self._answer_timestamp(packet, message)

    def _count_type(self, way: str, kind: int) -> None:
        name = f"{way}Type{kind}"
        self.types[name] = self.types.get(name, 0) + 1

    def _answer_echo(self, packet: Packet, message: IcmpMessage) -> None:
        settings = self._stack.settings
        if number(settings, "net.ipv4.icmp_echo_ignore_all"):
            return
        if packet.kind is not Kind.HOST and number(settings, "net.ipv4.icmp_echo_ignore_broadcasts"):
            return
        self._answer(packet, message._replace(kind=Type.ECHO_REPLY, code=0), "OutEchoReps")

    def _answer_timestamp(self, packet: Packet, message: IcmpMessage) -> None:
        if len(message.data) < 12 or packet.kind is not Kind.HOST or not self._limit.allows(packet.source):
            return
        now_ms = (self._stack.timers.now_ns() // 1_000_000 % _DAY_MS) | 0x8000_0000  # not of the date: say so
        times = bytes(message.data[:4]) + now_ms.to_bytes(4, "big") * 2
        self._answer(packet, message._replace(kind=Type.TIMESTAMP_REPLY, code=0, data=times), "OutTimestampReps")

    def _answer(self, packet: Packet, message: IcmpMessage, counter: str) -> None:
        source = packet.destination if packet.kind is Kind.HOST else b""
        self.send(message, packet.source, source, traffic_class=packet.traffic_class, counter=counter)

    def report(
        self, quoted: bytes | memoryview, kind: int, code: int, info: int, offender: Address, interface: int = 0,
        hop_limit: int = 0,
    ) -> bool:
        """Tell a protocol that a packet of its own came to grief. False if the quotation is no packet of ours."""
        try:
            header = ipv4.parse(quoted, whole=False)
        except CorruptError:
            return False
        stack = self._stack
        if header.fragment & ipv4.OFFSET_MASK or len(quoted) < header.header_bytes + 8:
            return header.fragment & ipv4.OFFSET_MASK != 0
        if not stack.addresses.is_ours(header.source) and not stack.interception.active:
            return False
        errno, is_hard = Errno.EPROTO, True
        if kind == Type.UNREACHABLE:
            errno, is_hard = _UNREACHABLE[min(code, len(_UNREACHABLE) - 1)]
            if code == Unreachable.FRAGMENTATION_NEEDED:
                info = self._learn_mtu(header, info)
            else:
                info = 0
        elif kind == Type.TIME_EXCEEDED:
            errno, is_hard, info = Errno.EHOSTUNREACH, False, 0
        problem = Problem(
            header.source, header.destination, memoryview(quoted)[header.header_bytes :], errno, is_hard, ORIGIN, kind,
            code, info, offender, interface, hop_limit,
        )
        if stack.raw_sockets:
            stack.raw_problem(header.protocol, problem)
        handler = self.errors.get(header.protocol)
        if handler is not None:
            handler(problem)
        return True

    def _learn_mtu(self, header: ipv4.Ipv4Header, mtu: int) -> int:
        if not mtu:
            mtu = next((step for step in _MTU_PLATEAUS if step < header.total_bytes), ipv4.HEADER_BYTES)
        self._stack.ipv4.learn_mtu(header.destination, mtu)
        return mtu

    # --- out -------------------------------------------------------------------------------------------------

    def send(
        self, message: IcmpMessage, destination: Address, source: Address = b"", *, interface: int = 0,
        traffic_class: int = 0, hop_limit: int = 0, counter: str = "",
    ) -> None:
        """Send a message; what cannot be sent is counted and forgotten."""
        try:
            path = self._stack.ipv4.path(destination, source, interface)
            self._stack.ipv4.send(
                path, PROTOCOL, (icmp.emit(message),), hop_limit=hop_limit, traffic_class=traffic_class
            )
        except KernelError:
            self.count["OutErrors"] += 1
            return
        self.count_sent(message.kind)
        if counter:
            self.count[counter] += 1

    def count_sent(self, kind: int) -> None:
        """A message went out."""
        self.count["OutMsgs"] += 1
        self._count_type("Out", kind)

    def unreachable(self, packet: Packet, code: int, mtu: int = 0) -> None:
        """Tell a packet's sender that it did not get there."""
        self._send_error(packet, Type.UNREACHABLE, code, mtu & 0xFFFF, "OutDestUnreachs")

    def time_exceeded(self, packet: Packet, code: int) -> None:
        """Code 0: on the way. 1: while we waited for fragments."""
        self._send_error(packet, Type.TIME_EXCEEDED, code, 0, "OutTimeExcds")

    def _send_error(self, packet: Packet, kind: int, code: int, rest: int, counter: str) -> None:
        stack = self._stack
        if packet.to_group or packet.kind not in (Kind.HOST, Kind.OTHER):
            return
        source = packet.source
        if source == ANY4 or is_multicast(source) or stack.addresses.is_broadcast(source):
            return
        if packet.protocol == PROTOCOL and (not packet.payload or packet.payload[0] in icmp.ERRORS):
            return
        if int.from_bytes(packet.whole[6:8], "big") & ipv4.OFFSET_MASK:
            return
        if not packet.interface.is_loopback and not self._limit.allows(source):
            self.count["OutRateLimitHost"] = self.count.get("OutRateLimitHost", 0) + 1
            return
        own = packet.destination if packet.kind is Kind.HOST else b""
        quoted = bytes(packet.whole[:QUOTED_BYTES])
        self.send(IcmpMessage(kind, code, rest, quoted), source, own, traffic_class=0xC0, counter=counter)
