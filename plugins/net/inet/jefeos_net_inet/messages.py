"""What UDP, raw and ping sockets share: addresses, the receive and error queues, and the way out (options:
message_options.py).

Addresses here are as they are on the wire: an AF_INET6 socket that speaks IPv4 by mapped addresses (RFC 4291, 2.5.5.2)
holds 4 bytes inside and shows 16 outside. ``bound`` empty means any address (of both families, for dual stack).

Queues are bounded by SO_RCVBUF, each message counting its length and `OVERHEAD_BYTES`; what does not fit is dropped and
counted, as on Linux. A message that the device has no room for is refused, and `changed` follows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY4, ANY6, MAPPED_PREFIX, Address, SocketAddress
from jefeos.net.socket import Data, Datagram, Readiness, SocketError

from jefeos_net_inet.addresses import Kind, is_link_local, is_multicast
from jefeos_net_inet.filtering import filtered
from jefeos_net_inet.message_options import MessageOptions
from jefeos_net_inet.options import (
    DISCOVER_DO,
    DISCOVER_WANT,
    Membership,
)
from jefeos_net_inet.settings import number

if TYPE_CHECKING:
    from jefeos_net_inet.packets import Packet, Path, Problem
    from jefeos_net_inet.stack import InetStack

OVERHEAD_BYTES: Final = 512
MOST_ERRORS: Final = 64
ORIGIN_LOCAL: Final = 1


def nothing() -> None:
    """Nobody wants to know."""


class MessageSocket(MessageOptions):
    """See the module's text."""

    kind: str
    shows_header = False
    """Whether messages are received with their IP header."""
    header_bytes = 0
    """Of the protocol's header, where that is not received."""

    def __init__(self, stack: InetStack, family: int, protocol: int) -> None:
        super().__init__(stack, family)
        self.protocol = protocol
        self.pending_error = 0
        self.changed: Callable[[], None] = nothing
        self.owner: Any = None
        self.scope = 0
        self.is_closed = False
        self._queue: deque[Datagram] = deque()
        self._queued_bytes = 0
        self._errors: deque[SocketError] = deque()
        self.reading_shut = self.writing_shut = False
        self._blocked = False
        self.dropped = 0

    # --- addresses -------------------------------------------------------------------------------------------

    @property
    def local(self) -> SocketAddress:  # type: ignore[override]
        return SocketAddress(self._shown(self.bound or self._source), self.port, self.scope)

    @property
    def remote(self) -> SocketAddress | None:  # type: ignore[override]
        peer = self.peer
        return None if peer is None else peer._replace(address=self._shown(peer.address))

    def _shown(self, address: Address) -> Address:
        if self.family == AF_INET6:
            return MAPPED_PREFIX + address if len(address) == 4 else address or ANY6
        return address or ANY4

    def to_wire(self, address: Address) -> Address:
        """An address that the owner gave, checked. Raises KernelError: EAFNOSUPPORT, ENETUNREACH."""
        if self.family == AF_INET:
            if len(address) != 4:
                raise KernelError(Errno.EAFNOSUPPORT)
            return address
        if len(address) == 16 and address[:12] == MAPPED_PREFIX:
            address = address[12:]
        if len(address) == 4 and self.options.values["ipv6_v6only"]:
            raise KernelError(Errno.ENETUNREACH)
        return address

    def bind(self, address: SocketAddress) -> None:
        if self.port and self.kind != "raw":
            raise KernelError(Errno.EINVAL)
        wire = self.to_wire(address.address) if address.address else b""
        scope = address.scope
        if wire and any(wire):
            values = self.options.values
            group = is_multicast(wire) or (len(wire) == 4 and self._stack.addresses.is_broadcast(wire))
            if is_link_local(wire) and len(wire) == 16:
                scope = scope or self.device
                if not scope:
                    raise KernelError(Errno.EINVAL)
            free = values["ip_freebind"] or values["ip_transparent"]
            free = free or number(self._stack.settings, "net.ipv4.ip_nonlocal_bind")
            if not group and not free and not self._stack.addresses.is_ours(wire, scope):
                raise KernelError(Errno.EADDRNOTAVAIL)
        else:
            # ``::ffff:0.0.0.0`` means IPv4 alone, ``::`` both: 4 zero bytes are kept apart from none.
            wire = ANY4 if self.family == AF_INET6 and len(wire) == 4 else b""
        self._claim(wire, address.port)
        self.bound = wire
        self.scope = scope if wire and len(wire) == 16 else 0

    @abstractmethod
    def _claim(self, address: Address, port: int) -> None:
        """Take a port (0: a free one), or raise KernelError(EADDRINUSE); sets `port`."""

    @abstractmethod
    def _autobind(self) -> None:
        """Take a free port if there is none yet."""

    def connect(self, address: SocketAddress) -> bool:
        wire = self.to_wire(address.address)
        if wire == ANY4 or wire == ANY6:
            wire = b"\x7f\0\0\1" if len(wire) == 4 else bytes(15) + b"\1"
        interface, source = self._way(wire, address.scope, {})
        path = self._stack.ip(wire).path(wire, source, interface)
        if path.kind is Kind.BROADCAST and not self.options.values["so_broadcast"]:
            raise KernelError(Errno.EACCES)
        self._autobind()
        self._connecting(SocketAddress(wire, address.port, address.scope or interface, address.flow), path.source)
        self._source = path.source
        self.pending_error = 0
        return True

    def _connecting(self, peer: SocketAddress | None, source: Address) -> None:
        """The peer changes; tables may have to know."""
        self.peer = peer

    def disconnect(self) -> None:
        self._connecting(None, b"")
        self._source = b""

    def accepts(self, packet: Packet) -> bool:
        """Whether the socket's addresses and device let a packet through. HOT."""
        address = packet.destination
        if self.family == AF_INET:
            if len(address) == 16:
                return False
        elif len(address) == 4 and (self.options.values["ipv6_v6only"] or len(self.bound) == 16):
            return False
        bound = self.bound
        if bound and bound != address and not (bound == ANY4 and len(address) == 4):
            return False
        if self.device and self.device != packet.interface.index:
            return False
        if self.scope and self.scope != packet.interface.index:
            return False
        if packet.kind is Kind.MULTICAST and not self.hears(address, packet.interface.index):
            return False
        peer = self.peer
        return peer is None or peer.address == packet.source or (
            is_multicast(peer.address) and self.kind != "udp"
        )

    def hears(self, group: Address, interface: int) -> bool:
        """Whether messages to a group are for this socket."""
        if Membership(group, interface) in self.memberships:
            return True
        return bool(self.options.values["ip_multicast_all"])

    # --- sending ---------------------------------------------------------------------------------------------

    def _way(self, wire: Address, scope: int, ancillary: Mapping[str, Any]) -> tuple[int, Address]:
        """Interface and source to send to an address through, as far as the socket's owner has a say."""
        values = self.options.values
        interface = ancillary.get("interface") or self.device
        source = ancillary.get("source") or b""
        if source:
            source = self.to_wire(source)
            if not self._stack.addresses.is_ours(source) and not values["ip_freebind"]:
                raise KernelError(Errno.EINVAL)
        bound = self.bound if any(self.bound) and not is_multicast(self.bound) else b""
        if bound and len(bound) == 4 and self._stack.addresses.is_broadcast(bound):
            bound = b""
        if len(wire) == 16 and (scope or self.scope) and (is_link_local(wire) or is_multicast(wire)):
            interface = interface or scope or self.scope
        if is_multicast(wire):
            if len(wire) == 4:
                address, index = values["ip_multicast_if"]
                interface = interface or index
                if address and any(address) and not bound:
                    source = source or address
            else:
                interface = interface or values["ipv6_multicast_if"]
        source = source or bound
        if source and len(source) != len(wire):
            raise KernelError(Errno.ENETUNREACH if len(source) == 16 else Errno.EAFNOSUPPORT)
        if interface and is_link_local(wire) and len(wire) == 16 and scope and scope != interface:
            raise KernelError(Errno.EINVAL)
        return interface, source

    def send_to(
        self, data: Data, destination: SocketAddress | None = None, ancillary: Mapping[str, Any] | None = None
    ) -> int:
        if self.is_closed:
            raise KernelError(Errno.EBADF)
        if self.pending_error:
            raise KernelError(Errno(self.take_error()))
        if self.writing_shut:
            raise KernelError(Errno.EPIPE)
        if destination is None:
            destination = self.peer
            if destination is None:
                raise KernelError(Errno.EDESTADDRREQ)
            wire = destination.address
        else:
            wire = self.to_wire(destination.address)
        ancillary = ancillary or {}
        interface, source = self._way(wire, destination.scope, ancillary)
        path = self._stack.ip(wire).path(wire, source, interface)
        if path.kind is Kind.BROADCAST and not self.options.values["so_broadcast"]:
            raise KernelError(Errno.EACCES)
        try:
            sent = self._send(path, data, destination.port, ancillary)
        except KernelError as error:
            if error.errno == Errno.EMSGSIZE and self._wants_errors(len(wire)):
                self._queue_error(SocketError(
                    Errno.EMSGSIZE, ORIGIN_LOCAL, 0, 0, path.mtu, destination, SocketAddress(b"", 0), bytes(data)
                ))
            raise
        if not sent:
            self._blocked = True
            self._stack.wait_for_room(self)
            return 0
        return len(data)

    @abstractmethod
    def _send(self, path: Path, data: Data, port: int, ancillary: Mapping[str, Any]) -> bool:
        """Make a packet of a message, and send it. False: no room."""

    def _transmit(
        self, path: Path, protocol: int, parts: tuple[bytes | memoryview, ...], size: int, ancillary: Mapping[str, Any]
    ) -> bool:
        """A packet with the header fields that the socket's options say. HOT."""
        values = self.options.values
        is_group = path.kind is Kind.MULTICAST
        if len(path.destination) == 4:
            hop_limit = ancillary.get("ttl") or (values["ip_multicast_ttl"] if is_group else values["ip_ttl"])
            traffic_class = ancillary.get("tos", values["ip_tos"])
            discover = values["ip_mtu_discover"]
            loop = not is_group or values["ip_multicast_loop"]
            header_bytes = 20
        else:
            hop_limit = ancillary.get("ttl", -1)
            if hop_limit < 0:
                hop_limit = values["ipv6_multicast_hops"] if is_group else values["ipv6_unicast_hops"]
            traffic_class = ancillary.get("tos", max(values["ipv6_tclass"], 0))
            discover = values["ipv6_mtu_discover"] if not values["ipv6_dontfrag"] else DISCOVER_DO
            loop = not is_group or values["ipv6_multicast_loop"]
            header_bytes = 40
        dont_fragment = discover >= DISCOVER_DO
        if discover == DISCOVER_WANT:
            dont_fragment = header_bytes + size <= path.mtu
        return self._stack.ip(path.destination).send(
            path, protocol, parts, hop_limit=max(hop_limit, 0), traffic_class=traffic_class,
            dont_fragment=dont_fragment, loop=bool(loop),
        )

    def writable(self) -> None:
        """A device has room again."""
        if self._blocked:
            self._blocked = False
            self.changed()

    # --- receiving -------------------------------------------------------------------------------------------

    def enqueue(self, packet: Packet, data: bytes, port: int) -> bool:
        """A message has come. False: there was no room for it, or a filter refused it. HOT."""
        if self.filter is not None:
            kept = filtered(self.filter, packet, data, self.header_bytes, whole=self.shows_header)
            if kept is None:
                self.dropped += 1
                return False
            data = kept
        cost = len(data) + OVERHEAD_BYTES
        if self._queued_bytes + cost > self._receive_limit or self.reading_shut:
            self.dropped += 1
            return False
        self._queued_bytes += cost
        interface = packet.interface.index
        source = packet.source
        scope = interface if len(source) == 16 and is_link_local(source) else 0
        if self.family == AF_INET6 and len(source) == 4:
            source = MAPPED_PREFIX + source
        self._queue.append(Datagram(
            data, SocketAddress(source, port, scope), packet.destination, interface, packet.hop_limit,
            packet.traffic_class, packet.received_ns,
        ))
        self.changed()
        return True

    def receive_from(self, *, peek: bool = False) -> Datagram | None:
        if not self._queue:
            if self.pending_error:
                raise KernelError(Errno(self.take_error()))
            if self.reading_shut:
                return Datagram(b"", self.remote or SocketAddress(b"", 0), b"", 0, 0, 0, 0)
            return None
        if peek:
            return self._queue[0]
        message = self._queue.popleft()
        self._queued_bytes -= len(message.data) + OVERHEAD_BYTES
        return message

    @property
    def ready(self) -> Readiness:
        ready = Readiness(0)
        if self._queue or self.pending_error or self.reading_shut:
            ready |= Readiness.READABLE
        if not self._blocked:
            ready |= Readiness.WRITABLE
        if self.pending_error or self._errors:
            ready |= Readiness.ERROR
        if self.reading_shut:
            ready |= Readiness.PEER_CLOSED
            if self.writing_shut:
                ready |= Readiness.HANGUP
        return ready

    @property
    def received_bytes(self) -> int:
        return sum(len(message.data) for message in self._queue)

    @property
    def next_bytes(self) -> int:
        return len(self._queue[0].data) if self._queue else 0

    # --- errors ----------------------------------------------------------------------------------------------

    def _wants_errors(self, address_bytes: int) -> bool:
        return bool(self.options.values["ip_recverr" if address_bytes == 4 else "ipv6_recverr"])

    def problem(self, problem: Problem, destination: SocketAddress, payload: bytes) -> None:
        """An ICMP error about a message of ours (ip(7), IP_RECVERR; udp(7))."""
        wanted = self._wants_errors(len(problem.destination))
        name = "ip_mtu_discover" if len(problem.destination) == 4 else "ipv6_mtu_discover"
        is_hard = problem.is_hard or (problem.errno == Errno.EMSGSIZE and self.options.values[name] > 0)
        if wanted:
            shown = destination._replace(address=self._shown(destination.address))
            offender = SocketAddress(self._shown(problem.offender), 0)
            self._queue_error(SocketError(
                problem.errno, problem.origin, problem.kind, problem.code, problem.info, shown, offender, payload,
                problem.hop_limit,
            ))
        elif not is_hard or self.peer is None:
            return
        self.pending_error = problem.errno
        self.changed()

    def _queue_error(self, error: SocketError) -> None:
        if len(self._errors) < MOST_ERRORS:
            self._errors.append(error)

    def next_error(self) -> SocketError | None:
        return self._errors.popleft() if self._errors else None

    # --- the rest --------------------------------------------------------------------------------------------

    def shut_down(self, reading: bool, writing: bool) -> None:
        self.reading_shut |= reading
        self.writing_shut |= writing
        if reading:
            self._stack.timers.soon(self._tell)
        if self.peer is None:  # and yet it is done, as on Linux
            raise KernelError(Errno.ENOTCONN)

    def _tell(self) -> None:
        if not self.is_closed:
            self.changed()

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._release()
        for membership in self.memberships:
            self._stack.leave_group(membership)
        self.memberships.clear()
        self._queue.clear()
        self._queued_bytes = 0
        self._errors.clear()
        self.changed = nothing
        self._stack.forget_socket(self)

    @abstractmethod
    def _release(self) -> None:
        """Leave the tables of the protocol."""
