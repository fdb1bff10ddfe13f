"""IPv6 (RFC 8200): packets out and in, forwarded, in fragments; which source to speak from (RFC 6724).

Only senders cut packets into fragments. What cannot go on is answered with ICMPv6. Extension headers are followed and
checked, never made, apart from Fragment and, for MLD, Hop-by-Hop Options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.net.address import ANY6, LOOPBACK6, MAPPED_PREFIX, Address, multicast_mac
from jefeos.net.device import Offload
from jefeos.net.stack import InterfaceAddress

from jefeos_net_inet.addresses import SCOPE_HOST, Kind, is_link_local, is_multicast, shared_bits
from jefeos_net_inet.forwarding import Forwarding
from jefeos_net_inet.fragments import Reassembler
from jefeos_net_inet.interfaces import SMALLEST_MTU
from jefeos_net_inet.neighbours import SECOND_NS, NeighbourCache
from jefeos_net_inet.packets import Packet, Path
from jefeos_net_inet.settings import number
from jefeos_net_inet.wire import ethernet, ipv6
from jefeos_net_inet.wire.icmpv6 import Type, Unreachable
from jefeos_net_inet.wire.ipv6 import Extension, ParameterProblem

if TYPE_CHECKING:
    from jefeos_net_inet.icmp6 import Icmp6
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

Parts = tuple[bytes | memoryview, ...]
_LINK_BYTES: Final = ethernet.HEADER_BYTES
LABELS: Final = (  # Linux's: more prefixes than RFC 6724, section 2.1, has, under numbers of their own
    (LOOPBACK6, 128, 0),
    (ANY6, 96, 3),
    (MAPPED_PREFIX + bytes(4), 96, 4),
    (bytes.fromhex("20010000") + bytes(12), 32, 6),
    (bytes.fromhex("20010010") + bytes(12), 28, 7),
    (bytes.fromhex("3ffe") + bytes(14), 16, 12),
    (bytes.fromhex("2002") + bytes(14), 16, 2),
    (bytes.fromhex("fec0") + bytes(14), 10, 11),
    (bytes.fromhex("fc00") + bytes(14), 7, 5),
    (ANY6, 0, 1),
)


def label_of(address: Address) -> int:
    """The label of the policy table."""
    return next(label for prefix, length, label in LABELS if shared_bits(prefix, address) >= length)


def scope_value(address: Address) -> int:
    """The scope as a multicast scope value (RFC 6724, section 3.1)."""
    if is_multicast(address):
        return address[1] & 0xF
    return 2 if is_link_local(address) or address == LOOPBACK6 else 14


class Ipv6(Forwarding):
    """IPv6 of a stack."""

    ether_type = ethernet.EtherType.IPV6
    expires_setting = "net.ipv6.route.mtu_expires"
    header_bytes = ipv6.HEADER_BYTES
    no_route = ("InNoRoutes", Unreachable.NO_ROUTE)
    no_neighbour = Unreachable.ADDRESS
    forwarded = "OutForwDatagrams"

    def __init__(self, stack: InetStack, cache: NeighbourCache) -> None:
        super().__init__(stack)
        settings = stack.settings
        self.cache = cache
        self.count = stack.counted["Ip6"]
        self.reassembler = Reassembler(
            stack.timers,
            lambda: number(settings, "net.ipv6.ip6frag_time") * SECOND_NS,
            lambda: number(settings, "net.ipv6.ip6frag_high_thresh"),
        )
        self._identification = int.from_bytes(stack.entropy.bytes(4), "big")

    @property
    def smallest_mtu(self) -> int:
        return ipv6.SMALLEST_MTU

    def unanswered(self, quoted: bytes) -> None:
        self._stack.icmp6.report(quoted, Type.UNREACHABLE, Unreachable.ADDRESS, 0, ANY6)

    # --- out -------------------------------------------------------------------------------------------------

    def find_path(self, destination: Address, source: Address, interface: int) -> Path:
        stack = self._stack
        book = stack.addresses
        if destination == ANY6:
            destination = source or LOOPBACK6
        owner = book.owner(destination)
        if owner is not None and book.is_ours(destination, interface):
            lo = stack.lo
            return Path(
                source or destination, destination, lo, destination, Kind.HOST, lo.mtu, ethernet.NO_MAC, is_local=True
            )
        is_group = is_multicast(destination)
        is_near = is_link_local(destination) or (is_group and destination[1] & 0xF <= 2)
        if not interface and is_near:
            interface = self._scope_from(source)
        route = None if is_near and interface else stack.routes6.look_up(destination, interface)
        if route is not None:
            out, next_hop, mtu = stack.interface(route.interface), route.gateway or destination, route.mtu
            source = source or route.source
        elif interface:
            out, next_hop, mtu = stack.interface(interface), destination, 0
            if not is_near and not is_group:
                raise KernelError(Errno.ENETUNREACH)
        elif is_group:
            out, next_hop, mtu = self._first_up(), destination, 0
        else:
            raise KernelError(Errno.ENETUNREACH)
        if not out.is_up:
            raise KernelError(Errno.ENETDOWN)
        kind, mac = Kind.HOST, None
        if is_group:
            kind, mac, next_hop = Kind.MULTICAST, multicast_mac(destination), destination
        if out.is_loopback:
            mac = ethernet.NO_MAC
        mtu = max(min(mtu or out.mtu, out.mtu), SMALLEST_MTU)
        return Path(source or self.source_for(destination, out), destination, out, next_hop, kind, mtu, mac)

    def _scope_from(self, source: Address) -> int:
        """The interface of a link-local source, for a destination that does not say."""
        owner = self._stack.addresses.owner(source) if source and is_link_local(source) else None
        return owner.index if owner is not None else 0

    def _first_up(self) -> InetInterface:
        for interface in self._stack.interface_list:
            if interface.is_up and not interface.is_loopback:
                return interface
        raise KernelError(Errno.ENETUNREACH)

    def source_for(self, destination: Address, interface: InetInterface) -> Address:
        """The address to send from (RFC 6724, section 5, rules 1 to 6 and 8). ``::`` if there is none."""
        book = self._stack.addresses
        candidates = [entry for _, entry in book.usable(interface, 16)]
        if not is_link_local(destination) and not (is_multicast(destination) and destination[1] & 0xF <= 2):
            candidates += [
                entry
                for other, entry in book.usable(None, 16)
                if other is not interface and not is_link_local(entry.address) and entry.scope != SCOPE_HOST
            ]
        if not candidates:
            return ANY6
        now_ns = self._stack.timers.now_ns()
        wanted_scope, label = scope_value(destination), label_of(destination)

        def merit(entry: InterfaceAddress) -> tuple[bool, int, bool, bool, bool, int]:
            scope = scope_value(entry.address)
            fitting = scope if scope >= wanted_scope else -scope  # rule 2: the smallest that is large enough
            return (
                entry.address == destination,
                -fitting if fitting > 0 else -100 - fitting,
                entry.preferred_until_ns is None or entry.preferred_until_ns > now_ns,
                entry in interface.addresses,
                label_of(entry.address) == label,
                min(shared_bits(entry.address, destination), entry.prefix_length),
            )

        return max(candidates, key=merit).address

    def send(
        self, path: Path, protocol: int, parts: Parts, *, hop_limit: int = 0, traffic_class: int = 0,
        dont_fragment: bool = False, offload: Offload | None = None, options: bytes = b"", loop: bool = True,
    ) -> bool:
        """Send a payload of at most 65,535 bytes; see `Ipv4.send`. ``options`` is a Hop-by-Hop option. HOT."""
        size = 0
        for part in parts:
            size += len(part)
        self.count["OutRequests"] += 1
        if path.kind is Kind.MULTICAST:
            self.count["OutMcastPkts"] += 1
        if options:  # an extension header of 8 bytes, with PadN behind the option
            parts = (bytes((protocol, 0)) + options + b"\1\0", *parts)
            size, protocol = size + 8, Extension.HOP_BY_HOP
        if size > ipv6.MOST_PAYLOAD_BYTES:
            raise KernelError(Errno.EMSGSIZE)
        if not hop_limit:
            hop_limit = min(max(number(self._stack.settings, "net.ipv6.conf.all.hop_limit"), 1), 255)
        if path.kind is Kind.MULTICAST and loop and not options:
            self._loop_back(path, protocol, parts, size, hop_limit, traffic_class)
        if ipv6.HEADER_BYTES + size > path.mtu and (offload is None or not offload.segment_bytes):
            if dont_fragment:
                self.count["FragFails"] += 1
                raise KernelError(Errno.EMSGSIZE)
            return self._send_fragments(path, protocol, b"".join(parts), hop_limit, traffic_class)
        header = ipv6.emit(size, traffic_class, 0, hop_limit, protocol, path.source, path.destination)
        return self.transmit(path, (header, *parts), offload)

    def _send_fragments(
        self, path: Path, protocol: int, payload: bytes, hop_limit: int, traffic_class: int
    ) -> bool:
        self._identification = (self._identification + 1) & 0xFFFF_FFFF
        step = (path.mtu - ipv6.HEADER_BYTES - ipv6.FRAGMENT_BYTES) & ~7
        view = memoryview(payload)
        sent = True
        for start in range(0, len(view), step):
            piece = view[start : start + step]
            more = start + step < len(view)
            header = ipv6.emit(
                ipv6.FRAGMENT_BYTES + len(piece), traffic_class, 0, hop_limit, Extension.FRAGMENT, path.source,
                path.destination,
            ) + ipv6.FRAGMENT.pack(protocol, 0, start | more, self._identification)
            self.count["FragCreates"] += 1
            sent = self.transmit(path, (header, piece), None) and sent
        self.count["FragOKs"] += 1
        return sent

    def _loop_back(
        self, path: Path, protocol: int, parts: Parts, size: int, hop_limit: int, traffic_class: int
    ) -> None:
        interface = path.interface
        if interface.is_loopback or path.destination not in interface.groups:
            return
        header = ipv6.emit(size, traffic_class, 0, hop_limit, protocol, path.source, path.destination)
        whole = memoryview(b"".join((header, *parts)))
        packet = Packet(
            path.source, path.destination, protocol, whole[ipv6.HEADER_BYTES :], whole, hop_limit, traffic_class,
            interface, path.kind, True, True, self._stack.timers.now_ns(),
        )
        self._stack.timers.soon(self.deliver, packet)

    # --- in --------------------------------------------------------------------------------------------------

    def receive(self, interface: InetInterface, frame: bytes, _source: bytes) -> None:
        """A frame of EtherType IPv6. HOT."""
        count = self.count
        count["InReceives"] += 1
        whole = memoryview(frame)[_LINK_BYTES:]
        try:
            header = ipv6.parse(whole)
        except CorruptError:
            count["InHdrErrors"] += 1
            return
        if number(self._stack.settings, "net.ipv6.conf.all.disable_ipv6"):
            count["InDiscards"] += 1
            return
        source, destination = header.source, header.destination
        kind = self._stack.addresses.kind6(destination, interface)
        if not interface.is_loopback and self._is_martian(source, destination):
            count["InAddrErrors"] += 1
            return
        whole = whole[: ipv6.HEADER_BYTES + header.payload_bytes]
        packet = Packet(
            source, destination, header.next_header, whole[ipv6.HEADER_BYTES :], whole, header.hop_limit,
            header.traffic_class, interface, kind, bool(frame[0] & 1), interface.verifies, self._stack.timers.now_ns(),
        )
        if kind is Kind.OTHER and not self._stack.interception.wants(interface):
            self.forward(packet, header)
            return
        if kind is Kind.MULTICAST:
            count["InMcastPkts"] += 1
            if destination not in interface.groups:
                return
        if header.next_header not in self.protocols and not self._unwrap(packet, header.next_header):
            return
        if kind is Kind.OTHER:
            self._stack.interception.packet(packet)
        else:
            self.deliver(packet)

    def _is_martian(self, source: Address, destination: Address) -> bool:
        if source[0] == 0xFF or LOOPBACK6 in (source, destination) or destination == ANY6:
            return True
        if is_multicast(destination) and destination[1] & 0xF <= 1:
            return True
        return self._stack.addresses.owner(source) is not None

    def _unwrap(self, packet: Packet, next_header: int, *, again: bool = False) -> bool:
        """Follow the extension headers of a packet, and put fragments together. False: there is nothing to deliver."""
        try:
            chain = ipv6.walk(packet.whole, next_header)
        except ParameterProblem as problem:
            self.count["InHdrErrors"] += 1
            self._stack.icmp6.parameter_problem(packet, problem.code, problem.pointer)
            return False
        except CorruptError:
            self.count["InTruncatedPkts"] += 1
            return False
        if chain.protocol == Extension.NO_NEXT and chain.fragment is None:
            return False
        packet.protocol = chain.protocol
        packet.payload = packet.whole[chain.offset :]
        if chain.fragment is None:
            return True
        if again:  # fragments of fragments
            self.count["InHdrErrors"] += 1
            return False
        return self._reassemble(packet, chain)

    def _reassemble(self, packet: Packet, chain: ipv6.Chain) -> bool:
        assert chain.fragment is not None
        offset, more, identification = chain.fragment
        payload: bytes | None
        if more and len(packet.payload) & 7:
            self._stack.icmp6.parameter_problem(packet, 0, 4)
        if offset == 0 and not more:  # an atomic fragment stands alone (RFC 6946)
            payload = bytes(packet.payload)
        else:
            payload = self.reassembler.add(
                (packet.source, packet.destination, identification, packet.interface.index), offset, more,
                bytes(packet.payload), lambda: self._stack.icmp6.time_exceeded(packet, 1),
            )
        if payload is None:
            return False
        whole = ipv6.emit(
            len(payload), packet.traffic_class, 0, packet.hop_limit, chain.protocol, packet.source, packet.destination
        ) + payload
        packet.whole = memoryview(whole)
        packet.payload = packet.whole[ipv6.HEADER_BYTES :]
        packet.checksum_good = packet.checksum_good and packet.interface.is_loopback
        return chain.protocol in self.protocols or self._unwrap(packet, chain.protocol, again=True)

    def refuse(self, packet: Packet) -> None:
        self._stack.icmp6.parameter_problem(packet, 1, 6)

    # --- forwarding ------------------------------------------------------------------------------------------

    @property
    def control(self) -> Icmp6:
        return self._stack.icmp6

    def may_forward(self, packet: Packet) -> bool:
        far = not is_link_local(packet.source) and not is_link_local(packet.destination)
        return far and bool(number(self._stack.settings, "net.ipv6.conf.all.forwarding"))

    def piece_header(self, header: ipv6.Ipv6Header, number: int, size: int) -> bytes:
        return ipv6.emit(
            size, header.traffic_class, header.flow, header.hop_limit - 1, header.next_header, header.source,
            header.destination,
        )

    def onward(self, packet: Packet, header: ipv6.Ipv6Header) -> tuple[bytes]:
        onward = bytearray(packet.whole)
        onward[7] -= 1
        return (bytes(onward),)

    def too_long(self, packet: Packet, header: ipv6.Ipv6Header, path: Path) -> None:
        self.count["InTooBigErrors"] += 1
        self._stack.icmp6.too_big(packet, path.mtu)

    def close(self) -> None:
        """Forget fragments and timers."""
        self.reassembler.close()
        self.close_paths()
