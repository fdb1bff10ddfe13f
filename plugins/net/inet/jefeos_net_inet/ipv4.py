"""IPv4 (RFC 791, RFC 1122): packets out to the next station, packets in to their protocols, others forwarded.

    send(path, protocol, parts) --> header, fragments if need be --> Paths.transmit
    receive(frame) --> checks --> ours: fragments --> raw sockets, protocol
                              --> foreign: the interceptor of the interface, or forward

Malformed and martian packets are dropped and counted under the names of RFC 4293.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.net.address import ANY4, BROADCAST4, Address, multicast_mac
from jefeos.net.device import Offload

from jefeos_net_inet.addresses import SCOPE_GLOBAL, SCOPE_HOST, Kind, network_of
from jefeos_net_inet.forwarding import Forwarding
from jefeos_net_inet.fragments import Reassembler
from jefeos_net_inet.interfaces import SMALLEST_MTU
from jefeos_net_inet.neighbours import SECOND_NS
from jefeos_net_inet.packets import Packet, Path
from jefeos_net_inet.settings import number
from jefeos_net_inet.wire import ethernet, ipv4
from jefeos_net_inet.wire.icmp import Type, Unreachable
from jefeos_net_inet.wire.ipv4 import DONT_FRAGMENT, MORE_FRAGMENTS, OFFSET_MASK

if TYPE_CHECKING:
    from jefeos_net_inet.icmp4 import Icmp4
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

Parts = tuple[bytes | memoryview, ...]
_LINK_BYTES: Final = ethernet.HEADER_BYTES


class Ipv4(Forwarding):
    """IPv4 of a stack."""

    ether_type = ethernet.EtherType.IPV4
    expires_setting = "net.ipv4.route.mtu_expires"
    header_bytes = ipv4.HEADER_BYTES
    no_route = ("OutNoRoutes", Unreachable.NETWORK)
    no_neighbour = Unreachable.HOST
    forwarded = "ForwDatagrams"

    def __init__(self, stack: InetStack) -> None:
        super().__init__(stack)
        settings = stack.settings
        self.cache = stack.arp.cache
        self.count = stack.counted["Ip"]
        self.reassembler = Reassembler(
            stack.timers,
            lambda: number(settings, "net.ipv4.ipfrag_time") * SECOND_NS,
            lambda: number(settings, "net.ipv4.ipfrag_high_thresh"),
        )
        self.identification = stack.entropy.below(0x10000)

    # --- out -------------------------------------------------------------------------------------------------

    def find_path(self, destination: Address, source: Address, interface: int) -> Path:
        stack = self._stack
        book = stack.addresses
        if destination == ANY4:
            destination = source or b"\x7f\0\0\1"
        if destination[0] == 127 or (book.owner(destination) is not None):
            lo = stack.lo
            return Path(
                source or destination, destination, lo, destination, Kind.HOST, lo.mtu, ethernet.NO_MAC, is_local=True
            )
        is_group = 0xE0 <= destination[0] < 0xF0
        if not interface and source and (is_group or destination == BROADCAST4):
            owner = book.owner(source)
            interface = owner.index if owner is not None else 0
        route = stack.routes4.look_up(destination, interface)
        if route is not None:
            out, next_hop, mtu = stack.interface(route.interface), route.gateway or destination, route.mtu
            source = source or route.source
        elif interface:  # the caller knows better: on the link
            out, next_hop, mtu = stack.interface(interface), destination, 0
        else:
            raise KernelError(Errno.ENETUNREACH)
        if not out.is_up:
            raise KernelError(Errno.ENETDOWN)
        kind, mac = Kind.HOST, None
        if is_group:
            kind, mac, next_hop = Kind.MULTICAST, multicast_mac(destination), destination
        elif book.is_broadcast(destination):
            kind, mac, next_hop = Kind.BROADCAST, ethernet.BROADCAST_MAC, destination
        if out.is_loopback:
            mac = ethernet.NO_MAC
        mtu = max(min(mtu or out.mtu, out.mtu), SMALLEST_MTU)
        return Path(source or self.source_for(next_hop, out), destination, out, next_hop, kind, mtu, mac)

    def source_for(self, destination: Address, interface: InetInterface) -> Address:
        """The address to send from: one of the destination's network, else the interface's first, else any."""
        own = [entry for _, entry in self._stack.addresses.usable(interface, 4)]
        for entry in own:
            if network_of(destination, entry.prefix_length) == network_of(entry.address, entry.prefix_length):
                return entry.address
        for entry in own:
            if entry.scope == SCOPE_GLOBAL:
                return entry.address
        if own:
            return own[0].address
        for _, entry in self._stack.addresses.usable(None, 4):
            if entry.scope != SCOPE_HOST:
                return entry.address
        return ANY4

    @property
    def smallest_mtu(self) -> int:
        return max(number(self._stack.settings, "net.ipv4.route.min_pmtu"), SMALLEST_MTU)

    def send(
        self, path: Path, protocol: int, parts: Parts, *, hop_limit: int = 0, traffic_class: int = 0,
        dont_fragment: bool = False, offload: Offload | None = None, options: bytes = b"", loop: bool = True,
    ) -> bool:
        """Send a payload (in ``parts``) of at most 65,515 bytes. False: no room now. HOT.

        ``offload`` leaves the checksum, or cutting into segments, to the device; its offsets count from the frame's
        start. Raises KernelError: EMSGSIZE, ENOBUFS.
        """
        size = 0
        for part in parts:
            size += len(part)
        self.count["OutRequests"] += 1
        self.identification = identification = (self.identification + 1) & 0xFFFF
        if not hop_limit:
            hop_limit = min(max(number(self._stack.settings, "net.ipv4.ip_default_ttl"), 1), 255)
        total = ipv4.HEADER_BYTES + len(options) + size
        if total > ipv4.MOST_BYTES:
            raise KernelError(Errno.EMSGSIZE)
        is_cut = total > path.mtu and (offload is None or not offload.segment_bytes)
        if path.kind is not Kind.HOST and loop:
            self._loop_back(path, protocol, parts, size, hop_limit, traffic_class, identification)
        if is_cut:
            if dont_fragment:
                self.count["FragFails"] += 1
                raise KernelError(Errno.EMSGSIZE)
            template = (traffic_class, identification, hop_limit, protocol, options)
            return self._send_fragments(path, b"".join(parts), template, 0)
        header = ipv4.emit(
            size, traffic_class, identification, DONT_FRAGMENT if dont_fragment else 0, hop_limit, protocol,
            path.source, path.destination, options,
        )
        return self.transmit(path, (header, *parts), offload)

    def _send_fragments(
        self, path: Path, payload: bytes | memoryview, template: tuple[int, int, int, int, bytes], base: int
    ) -> bool:
        """Cut what is longer than the path takes; ``base`` is the fragment field of the whole."""
        traffic_class, identification, hop_limit, protocol, options = template
        step = (path.mtu - ipv4.HEADER_BYTES - len(options)) & ~7
        view = memoryview(payload)
        sent = True
        for start in range(0, len(view), step):
            piece = view[start : start + step]
            more = MORE_FRAGMENTS if start + step < len(view) else 0
            header = ipv4.emit(
                len(piece), traffic_class, identification, (base + (start >> 3)) | more, hop_limit, protocol,
                path.source, path.destination, options,
            )
            self.count["FragCreates"] += 1
            sent = self.transmit(path, (header, piece), None) and sent
        self.count["FragOKs"] += 1
        return sent

    def send_packet(self, packet: bytes, path: Path) -> bool:
        """A packet with a header of its own (IP_HDRINCL, forwarding), which is complete."""
        header = ipv4.parse(packet)
        if len(packet) <= path.mtu:
            return self.transmit(path, (packet,), None)
        if header.fragment & DONT_FRAGMENT:
            raise KernelError(Errno.EMSGSIZE)
        options = packet[ipv4.HEADER_BYTES : header.header_bytes]
        template = (header.traffic_class, header.identification, header.hop_limit, header.protocol, bytes(options))
        base = header.fragment & (OFFSET_MASK | MORE_FRAGMENTS)
        to = Path(header.source, header.destination, path.interface, path.next_hop, path.kind, path.mtu, path.mac)
        if base & MORE_FRAGMENTS:  # every piece of a middle piece has more behind it
            step = (path.mtu - header.header_bytes) & ~7
            sent = True
            for start in range(header.header_bytes, len(packet), step):
                piece = packet[start : start + step]
                place = base + ((start - header.header_bytes) >> 3)
                head = ipv4.emit(len(piece), template[0], template[1], place, template[2], template[3],
                                 header.source, header.destination, template[4])
                sent = self.transmit(to, (head, piece), None) and sent
            return sent
        return self._send_fragments(to, packet[header.header_bytes :], template, base)

    def unanswered(self, quoted: bytes) -> None:
        self._stack.icmp4.report(quoted, Type.UNREACHABLE, Unreachable.HOST, 0, ANY4)

    def _loop_back(
        self, path: Path, protocol: int, parts: Parts, size: int, hop_limit: int, traffic_class: int,
        identification: int,
    ) -> None:
        """We are among those whom a broadcast or multicast is for."""
        interface = path.interface
        if path.interface.is_loopback or (path.kind is Kind.MULTICAST and path.destination not in interface.groups):
            return
        header = ipv4.emit(
            size, traffic_class, identification, 0, hop_limit, protocol, path.source, path.destination
        )
        whole = b"".join((header, *parts))
        payload = memoryview(whole)[len(header) :]
        packet = Packet(
            path.source, path.destination, protocol, payload, memoryview(whole), hop_limit, traffic_class, interface,
            path.kind, True, True, self._stack.timers.now_ns(),
        )
        self._stack.timers.soon(self.deliver, packet)

    # --- in --------------------------------------------------------------------------------------------------

    def receive(self, interface: InetInterface, frame: bytes, _source: bytes) -> None:
        """A frame of EtherType IPv4. HOT."""
        count = self.count
        count["InReceives"] += 1
        whole = memoryview(frame)[_LINK_BYTES:]
        try:
            header = ipv4.parse(whole)
            if header.header_bytes > ipv4.HEADER_BYTES and ipv4.is_source_routed(
                whole[ipv4.HEADER_BYTES : header.header_bytes]
            ):
                raise CorruptError("source routes are not followed")
        except CorruptError:
            count["InHdrErrors"] += 1
            return
        kind = self._stack.addresses.kind4(header.destination, interface)
        if not interface.is_loopback and self._is_martian(header.source, header.destination, kind):
            count["InAddrErrors"] += 1
            return
        packet = Packet(
            header.source, header.destination, header.protocol,
            whole[header.header_bytes : header.total_bytes], whole[: header.total_bytes],
            header.hop_limit, header.traffic_class, interface, kind, bool(frame[0] & 1),
            interface.verifies, self._stack.timers.now_ns(),
        )
        if kind is Kind.OTHER and not self._stack.interception.wants(interface):
            self.forward(packet, header)
            return
        if header.fragment & (OFFSET_MASK | MORE_FRAGMENTS) and not self._reassemble(packet, header):
            return
        if kind is Kind.OTHER:
            self._stack.interception.packet(packet)
            return
        if kind is Kind.MULTICAST and header.destination not in interface.groups:
            return
        self.deliver(packet)

    def _is_martian(self, source: Address, destination: Address, kind: Kind) -> bool:
        """Addresses that nobody on a wire can have sent from or to (RFC 1812, section 5.3.7): ours, 127.0.0.0/8,
        groups. 0.0.0.0 may speak to everybody (DHCP)."""
        first = source[0]
        if first == 127 or first >= 0xE0 or destination[0] == 127:
            return True
        if first == 0 and source == ANY4:
            return kind is Kind.HOST or kind is Kind.OTHER
        book = self._stack.addresses
        return book.owner(source) is not None or book.is_broadcast(source)

    def _reassemble(self, packet: Packet, header: ipv4.Ipv4Header) -> bool:
        key = (header.source, header.destination, header.protocol, header.identification, packet.interface.index)
        offset = (header.fragment & OFFSET_MASK) * 8
        payload = self.reassembler.add(
            key, offset, bool(header.fragment & MORE_FRAGMENTS), bytes(packet.payload),
            lambda: self._stack.icmp4.time_exceeded(packet, 1),
        )
        if payload is None:
            return False
        if len(payload) + ipv4.HEADER_BYTES > ipv4.MOST_BYTES:
            self.count["ReasmFails"] += 1
            return False
        whole = ipv4.emit(
            len(payload), header.traffic_class, header.identification, 0, header.hop_limit, header.protocol,
            header.source, header.destination,
        ) + payload
        packet.whole = memoryview(whole)
        packet.payload = packet.whole[ipv4.HEADER_BYTES :]
        packet.checksum_good = packet.checksum_good and packet.interface.is_loopback
        return True

    def refuse(self, packet: Packet) -> None:
        self._stack.icmp4.unreachable(packet, Unreachable.PROTOCOL)

    # --- forwarding ------------------------------------------------------------------------------------------

    @property
    def control(self) -> Icmp4:
        return self._stack.icmp4

    def may_forward(self, packet: Packet) -> bool:
        return bool(number(self._stack.settings, "net.ipv4.ip_forward"))

    def piece_header(self, header: ipv4.Ipv4Header, number: int, size: int) -> bytes:
        return ipv4.emit(
            size, header.traffic_class, header.identification + number & 0xFFFF, header.fragment,
            header.hop_limit - 1, header.protocol, header.source, header.destination,
        )

    def onward(self, packet: Packet, header: ipv4.Ipv4Header) -> tuple[bytes, memoryview]:
        whole = packet.whole
        payload = whole[header.header_bytes :]
        return ipv4.emit(
            len(payload), header.traffic_class, header.identification, header.fragment, header.hop_limit - 1,
            header.protocol, header.source, header.destination, bytes(whole[ipv4.HEADER_BYTES : header.header_bytes]),
        ), payload

    def too_long(self, packet: Packet, header: ipv4.Ipv4Header, path: Path) -> None:
        self.count["ForwDatagrams"] += 1
        if header.fragment & DONT_FRAGMENT:
            self.count["FragFails"] += 1
            self._stack.icmp4.unreachable(packet, Unreachable.FRAGMENTATION_NEEDED, path.mtu)
        else:
            self.send_packet(b"".join(self.onward(packet, header)), path)

    def close(self) -> None:
        """Forget fragments and timers."""
        self.reassembler.close()
        self.close_paths()
