"""The short way through the stack for the segment that nearly every segment is (header prediction, after Van Jacobson).

    frame --Express.receive--> connection        one struct for Ethernet, IPv4, TCP and timestamps, both ways
    connection --Lane.send--> interface          everything that stays the same is laid out and summed beforehand

It is IPv4 without options or fragments, TCP with an ACK, perhaps a PSH, and timestamps at their usual place; of an
established or half-closed connection in which nothing is lost, out of order or urgent; the next octets that are
expected, or an acknowledgment of something new. Whatever is not like this goes the general way, untouched: `receive`
gives False before it has changed anything, `send` gives None. Both rely on what was found when the lane was laid, so a
change of addresses, routes or interceptors (`Paths.generation`) closes it, and the next segment lays another one.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import KernelError
from jefeos.net.checksum import ones_sum
from jefeos.net.stack import NeighbourState

from jefeos_net_inet.neighbours import SECOND_NS
from jefeos_net_inet.tcp.connection import Connection
from jefeos_net_inet.tcp.ecn import CODEPOINTS, CONGESTED
from jefeos_net_inet.tcp.options import STAMPS_BYTES, STAMPS_WORD
from jefeos_net_inet.tcp.receiver import ACK_LATER, ACK_NOW
from jefeos_net_inet.tcp.recovery import OPEN
from jefeos_net_inet.tcp.sequence import HALF, MASK
from jefeos_net_inet.tcp.states import State
from jefeos_net_inet.tcp.wire import ACK, HEADER_BYTES, PROTOCOL
from jefeos_net_inet.wire import ethernet, ipv4
from jefeos_net_inet.wire.ethernet import EtherType

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.packets import Path
    from jefeos_net_inet.stack import InetStack

LAYOUT: Final = Struct(">6s6sHBBHHHBBH4s4sHHIIHHHHIII")
"""Ethernet, IPv4, TCP, and timestamps behind two bytes of padding."""
HEADERS: Final = LAYOUT.size
_IPV4: Final = int(EtherType.IPV4)
_LINK: Final = ethernet.HEADER_BYTES
_PACKET_HEADERS: Final = HEADERS - _LINK
_SEGMENT_HEADER: Final = HEADER_BYTES + STAMPS_BYTES
_FIRST: Final = 0x45
"""Version 4, five words of header."""
_OFFSET: Final = _SEGMENT_HEADER // 4 << 12
_PLAIN: Final = _OFFSET | ACK
_NOT_PUSH: Final = 0xFFF7
_FRAGMENT: Final = ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK
_ADDRESSES_AT: Final = _LINK + 12
"""From here on the frame is what the checksum covers, but for protocol and length."""
_OFFSET_AT, _FLAGS_AT, _PROTOCOL_AT = _LINK + 32, _LINK + 33, _LINK + 9
_COPIED_BYTES: Final = 2048
_FRESH_NS: Final = 30 * SECOND_NS
_TTL: Final = "net.ipv4.ip_default_ttl"
_PACK, _UNPACK = LAYOUT.pack, LAYOUT.unpack_from
ESTABLISHED, FIN_WAIT_2, CLOSE_WAIT = State.ESTABLISHED, State.FIN_WAIT_2, State.CLOSE_WAIT
REACHABLE = NeighbourState.REACHABLE


class Lane:
    """The way of one connection's segments to the next station."""

    __slots__ = (
        "_connection", "_default_ttl", "_generation", "_ip_sum", "_ipv4", "_mac", "_most_bytes", "_neighbour",
        "_offload", "_pseudo_sum", "_settings", "_tcp_sum", "_tos", "_ttl", "interface",
    )  # fmt: skip

    def __init__(self, stack: InetStack, connection: Connection, path: Path, offload: Any) -> None:
        options = connection.options
        self._connection = connection
        self._ipv4 = stack.ipv4
        self._generation = stack.ipv4.generation
        self._settings: dict[str, Any] = stack.settings
        self.interface = path.interface
        self._mac = path.mac
        self._neighbour: Any = None
        if path.mac is None:
            self._neighbour = path.neighbour or stack.ipv4.cache.entry(path.next_hop, path.interface)
        self._offload = offload
        """What the device does: with it the checksum's place holds the pseudo header's sum."""
        self._most_bytes = path.mtu - _PACKET_HEADERS
        self._default_ttl = self._settings[_TTL]
        ttl = options.ip_ttl if options.ip_ttl > 0 else min(max(self._default_ttl, 1), 255)
        self._ttl, self._tos = ttl, max(options.ip_tos, 0)
        addresses = int.from_bytes(connection.local + connection.remote, "big")
        # Sums of 16-bit words, not folded: for longer fields the fields themselves will do (see net/checksum.py).
        self._ip_sum = (_FIRST << 8 | self._tos) + ipv4.DONT_FRAGMENT + (ttl << 8 | PROTOCOL) + addresses
        self._pseudo_sum = addresses + PROTOCOL + _SEGMENT_HEADER
        ports = connection.local_port + connection.remote_port
        self._tcp_sum = self._pseudo_sum + ports + _OFFSET + STAMPS_WORD

    def is_open(self) -> bool:
        """Whether everything is as it was. HOT."""
        return self._ipv4.generation == self._generation

    def confirm(self) -> None:
        """What was sent this way has arrived: the station is there (RFC 4861, section 7.3.1). HOT."""
        entry = self._neighbour
        if entry is not None and entry.state is not REACHABLE:
            self._ipv4.cache.confirm(entry)

    def send(
        self, now_ns: int, sequence: int, ack: int, flags: int, window: int, stamp: int, echo: int,
        payload: bytes | memoryview, mark: int,
    ) -> bool | None:  # fmt: skip
        """A segment that fits the path; numbers are those of the wire, ``mark`` is ECN's.

        False: no room. None: not this way. HOT.
        """
        family, entry, mac = self._ipv4, self._neighbour, self._mac
        if family.generation != self._generation or self._settings[_TTL] != self._default_ttl:
            self._connection.lane = None
            return None
        if mac is None:
            if entry is None or entry.state is not REACHABLE or now_ns - entry.confirmed_ns > _FRESH_NS:
                return None
            entry.used_ns = now_ns
            mac = entry.mac
        size = len(payload)
        if size > self._most_bytes:
            return None
        connection, interface = self._connection, self.interface
        local, remote, local_port, remote_port = connection.key
        family.count["OutRequests"] += 1
        family.identification = identification = (family.identification + 1) & 0xFFFF
        if self._offload is not None:
            check = (self._pseudo_sum + size - 1) % 0xFFFF + 1
        else:
            total = self._tcp_sum + sequence + ack + flags + window + stamp + echo + size
            check = 0xFFFF - (ones_sum(payload, total) if size else (total - 1) % 0xFFFF + 1)
        size += _PACKET_HEADERS
        head = _PACK(
            mac, interface.mac, _IPV4, _FIRST, self._tos | mark, size, identification, ipv4.DONT_FRAGMENT, self._ttl,
            PROTOCOL,
            0xFFFE - (self._ip_sum + mark + size + identification - 1) % 0xFFFF, local, remote,
            local_port, remote_port, sequence, ack, _OFFSET | flags, window, check, 0, STAMPS_WORD, stamp, echo,
        )  # fmt: skip
        return interface.emit_frame(head + payload, self._offload)


class Express:
    """The way in, and who lays lanes."""

    def __init__(self, stack: InetStack, layer: Any) -> None:
        self._stack = stack
        self._layer = layer
        self._table: dict[Any, Any] = layer.table
        self._now_ns = stack.timers.now_ns
        self._count = stack.ipv4.count

    def lane(self, connection: Connection, fills_in: Any, offload: Any) -> Lane | None:
        """For a connection with timestamps, over IPv4."""
        if len(connection.local) != 4 or not connection.stamps:
            return None
        try:
            path = self._stack.ipv4.path(connection.remote, connection.local, connection.options.interface)
            return Lane(self._stack, connection, path, offload if fills_in(path.interface.device) else None)
        except KernelError:
            return None

    def receive(self, interface: InetInterface, frame: bytes) -> bool:
        """A frame that came in, of any kind. True: it was taken. HOT."""
        length = len(frame)
        if length < HEADERS or frame[_OFFSET_AT] != _OFFSET >> 8 or frame[_PROTOCOL_AT] != PROTOCOL:
            return False
        (
            mac, _, kind, first, tos, total, _, fragment, _, _, _, remote, local, remote_port, local_port,
            sequence, ack, offset_flags, window, _, _, word, stamp, echo,
        ) = _UNPACK(frame)  # fmt: skip
        if (
            offset_flags & _NOT_PUSH != _PLAIN or word != STAMPS_WORD or first != _FIRST or kind != _IPV4
            or fragment & _FRAGMENT or mac != interface.mac or tos & CODEPOINTS == CONGESTED
        ):  # fmt: skip
            return False
        connection = self._table.get((local, remote, local_port, remote_port))
        if type(connection) is not Connection:
            return False
        state = connection.state
        if state is not ESTABLISHED and state is not FIN_WAIT_2 and state is not CLOSE_WAIT:
            return False
        lane, receiver, sender = connection.lane, connection.receiver, connection.sender
        if lane is None or lane.interface is not interface or not lane.is_open() or self._stack.raw_sockets:
            return False
        # What the connection expects.
        nxt, una, recovery = receiver.nxt, sender.una, sender.recovery
        ack_at = una + ((ack - una + HALF) & MASK) - HALF
        size = total - _PACKET_HEADERS
        if (
            sequence != nxt & MASK or not una <= ack_at <= sender.nxt or size < 0 or (not size and ack_at == una)
            or (stamp - connection.recent_stamp) & MASK >= HALF or nxt + size > receiver.promised
            or recovery.phase is not OPEN or recovery.flight.by_time is not None or recovery.probe_end
            or receiver.reassembly.ranges or (size and receiver.fin_at is not None) or receiver.urgent_end
            or sender.urgent_end or connection.socket is None
        ):  # fmt: skip
            return False
        # Sums: of the IP header, and of the segment, which the addresses stand in front of.
        end = _LINK + total
        if end > length or int.from_bytes(frame[_LINK : _LINK + ipv4.HEADER_BYTES], "big") % 0xFFFF:
            return False
        if not interface.verifies and total <= interface.mtu:
            if ones_sum(frame[_ADDRESSES_AT:end], PROTOCOL + size + _SEGMENT_HEADER) != 0xFFFF:
                return False
        count, layer = self._count, self._layer
        count["InReceives"] += 1
        count["InDelivers"] += 1
        layer.segments_in += 1
        layer.predicted += 1
        now_ns = self._now_ns()
        connection.heard_ns = now_ns
        if nxt <= receiver.last_ack_sent:
            connection.recent_stamp = stamp
            connection.recent_stamp_ns = now_ns
        if ack_at > una:
            sender.advance(ack_at, echo or None, now_ns)
            connection.keepalive_probes = 0
            lane.confirm()
            if connection.stalled:
                connection.room_made()
        sender.probes = 0
        sender.take_window(window << sender.scale, nxt, ack_at)
        if size:
            data = frame[HEADERS:end] if size < _COPIED_BYTES else memoryview(frame)[HEADERS:end]
            receiver.take_next(data, size, now_ns)
            connection.notify = True
        if sender.nxt < sender.queue.end:
            sender.transmit(now_ns)
        if connection.notify:
            connection.tell()  # the user may answer at once, and the acknowledgment then rides on that
            if connection.is_over:
                return True
        if receiver.ack_state == ACK_LATER:
            connection.arm(receiver.ack_at_ns)
        elif receiver.ack_state == ACK_NOW:
            connection.acknowledge(now_ns)
        return True
