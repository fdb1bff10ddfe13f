"""Raw IP sockets (raw(7)): every packet of a protocol, and packets that the program makes itself.

An IPv4 socket reads packets with their header and, with IP_HDRINCL or protocol IPPROTO_RAW, writes them so; an IPv6
socket reads and writes what follows the headers. ICMPv6 checksums are filled in by us (RFC 3542, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.net.address import AF_INET, ANY4, Address, SocketAddress
from jefeos.net.checksum import checksum
from jefeos.net.socket import Data

from jefeos_net_inet.messages import MessageSocket
from jefeos_net_inet.options import Range
from jefeos_net_inet.packets import Packet, Path, Problem
from jefeos_net_inet.wire import icmpv6, ipv4
from jefeos_net_inet.wire.udp import pseudo_sum

if TYPE_CHECKING:
    from jefeos_net_inet.stack import InetStack

IPPROTO_RAW: Final = 255
_ICMP: Final = 1
_ADDRESSES: Final = slice(12, 20)
_FILTER6_BYTES: Final = 32


class RawSocket(MessageSocket):
    """A raw socket."""

    kind = "raw"
    extra_options = {
        "ip_hdrincl": Range(0),
        "icmp_filter": Range(0, -(1 << 31), (1 << 32) - 1),
        "ipv6_checksum": Range(-1, -1, 65_534),
    }
    default_options = {"ipv6_v6only": 1}

    def __init__(self, stack: InetStack, family: int, protocol: int) -> None:
        super().__init__(stack, family, protocol)
        self.shows_header = family == AF_INET
        self.options.values["icmp6_filter"] = bytes(_FILTER6_BYTES)
        if protocol == IPPROTO_RAW:
            self.options.values["ip_hdrincl"] = 1
        if protocol == icmpv6.PROTOCOL:
            self.options.values["ipv6_checksum"] = 2
        stack.raw_sockets.append(self)

    def _claim(self, address: Address, port: int) -> None:
        self.port = 0

    def _autobind(self) -> None:
        """There are no ports."""

    def _release(self) -> None:
        if self in self._stack.raw_sockets:
            self._stack.raw_sockets.remove(self)

    def set_option(self, name: str, value: Any) -> None:
        if name == "icmp6_filter" and self.protocol == icmpv6.PROTOCOL:
            self.options.values[name] = bytes(value[:_FILTER6_BYTES]).ljust(_FILTER6_BYTES, b"\0")
        else:
            super().set_option(name, value)

    def receive(self, packet: Packet) -> bool:
        """Take a packet if it is for us; whether it was."""
        is_v4 = len(packet.source) == 4
        if packet.protocol != self.protocol or is_v4 != (self.family == AF_INET) or not self.accepts(packet):
            return False
        if packet.payload and self._is_filtered(packet.payload[0], is_v4):
            return True
        self.enqueue(packet, bytes(packet.whole if is_v4 else packet.payload), 0)
        return True

    def _is_filtered(self, kind: int, is_v4: bool) -> bool:
        """ICMP_FILTER has a bit for each of the first 32 types, ICMP6_FILTER for each of 256: set is blocked."""
        if is_v4:
            return self.protocol == _ICMP and kind < 32 and bool(self.options.values["icmp_filter"] >> kind & 1)
        if self.protocol != icmpv6.PROTOCOL:
            return False
        word = int.from_bytes(self.options.values["icmp6_filter"][(kind >> 5) * 4 :][:4], "little")
        return bool(word >> (kind & 31) & 1)

    def heard(self, protocol: int, problem: Problem) -> None:
        """An error about a packet of the protocol."""
        if protocol != self.protocol or len(problem.source) != (4 if self.family == AF_INET else 16):
            return
        if any(self.bound) and self.bound != problem.source:
            return
        if self.peer is not None and self.peer.address != problem.destination:
            return
        self.problem(problem, SocketAddress(problem.destination, 0), bytes(problem.payload))

    def _send(self, path: Path, data: Data, port: int, ancillary: Mapping[str, Any]) -> bool:
        whole = bytes(data)
        if self.family == AF_INET and self.options.values["ip_hdrincl"]:
            return self._send_with_header(path, whole)
        place = self.options.values["ipv6_checksum"]
        if self.family != AF_INET and place >= 0:
            if place + 2 > len(whole):
                raise KernelError(Errno.EINVAL)
            whole = whole[:place] + bytes(2) + whole[place + 2 :]
            total = checksum(whole, pseudo_sum(path.source, path.destination, self.protocol, len(whole)))
            whole = whole[:place] + total.to_bytes(2, "big") + whole[place + 2 :]
        self._count(whole)
        return self._transmit(path, self.protocol, (whole,), len(whole), ancillary)

    def _count(self, whole: bytes) -> None:
        """Messages of programs are ICMP messages, too."""
        if whole and self.protocol == _ICMP and self.family == AF_INET:
            self._stack.icmp4.count_sent(whole[0])
        elif whole and self.protocol == icmpv6.PROTOCOL and self.family != AF_INET:
            self._stack.icmp6.count_sent(whole[0])

    def _send_with_header(self, path: Path, whole: bytes) -> bool:
        """Length and checksum are always ours; source and identification if they are zero (raw(7))."""
        if len(whole) < ipv4.HEADER_BYTES:
            raise KernelError(Errno.EINVAL)
        if len(whole) > path.mtu:
            raise KernelError(Errno.EMSGSIZE)
        header_bytes = (whole[0] & 0xF) * 4
        source, destination = whole[12:16], whole[16:20]
        plain = bytearray(whole)
        plain[2:4] = len(whole).to_bytes(2, "big")
        if source == ANY4:
            plain[_ADDRESSES] = path.source + destination
        plain[10:12] = b"\0\0"
        plain[10:12] = checksum(plain[:header_bytes]).to_bytes(2, "big")
        try:
            return self._stack.ipv4.send_packet(bytes(plain), path)
        except CorruptError:
            raise KernelError(Errno.EINVAL) from None
