"""UDP (RFC 768, RFC 1122 section 4.1): sockets by port, messages in and out.

    port -> sockets bound to it        and for speed        (local, port, peer, its port) -> connected socket

A message for one host goes to the best socket: connected before bound to the address before bound to any, a socket of
the device before one of any device; among equals that share by SO_REUSEPORT the sender's hash decides, else the last
bound. A message for a group or everybody goes to every socket that takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.net.address import AF_INET, ANY4, Address, SocketAddress
from jefeos.net.socket import Data

from jefeos_net_inet.addresses import Kind
from jefeos_net_inet.messages import MessageSocket
from jefeos_net_inet.options import Range
from jefeos_net_inet.packets import Packet, Path, Problem
from jefeos_net_inet.settings import port_range
from jefeos_net_inet.wire import udp

if TYPE_CHECKING:
    from jefeos_net_inet.stack import InetStack

MOST_DATA_BYTES: Final = 65_535 - udp.HEADER_BYTES
"""IPv4 takes 20 less; `Ipv4.send` checks."""


class UdpSocket(MessageSocket):
    """A UDP socket."""

    kind = "udp"
    header_bytes = udp.HEADER_BYTES
    extra_options = {"udp_cork": Range(0, 0, 0)}

    def __init__(self, stack: InetStack, family: int, layer: Udp) -> None:
        super().__init__(stack, family, layer.protocol)
        self._layer = layer
        self.key: tuple[Address, int, Address, int] | None = None
        """In the table of connected sockets."""

    def _claim(self, address: Address, port: int) -> None:
        self._layer.claim(self, address, port)

    def _autobind(self) -> None:
        if not self.port:
            self._layer.claim(self, self.bound, 0)

    def _connecting(self, peer: SocketAddress | None, source: Address) -> None:
        self.peer = peer
        self._layer.connected(self, peer, source)

    def _release(self) -> None:
        self._layer.release(self)

    def _send(self, path: Path, data: Data, port: int, ancillary: Mapping[str, Any]) -> bool:
        if not port:
            raise KernelError(Errno.EINVAL)
        size = len(data)
        if size > MOST_DATA_BYTES:
            raise KernelError(Errno.EMSGSIZE)
        if not self.port:
            self._autobind()
        payload = data if isinstance(data, bytes) else bytes(data)
        header = self._layer.header(path, self, port, payload)
        sent = self._transmit(path, self.protocol, (header, payload), udp.HEADER_BYTES + size, ancillary)
        self._layer.count_for(path.destination)["OutDatagrams" if sent else "SndbufErrors"] += 1
        return sent


class Udp:
    """UDP of a stack, over both families."""

    protocol: int = udp.PROTOCOL
    names: tuple[str, str] = ("Udp", "Udp6")
    """Groups of counters, by family."""
    parse = staticmethod(udp.parse)
    verify = staticmethod(udp.verify)

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self.count4, self.count6 = (stack.counted[name] for name in self.names)
        self.ports: dict[int, list[UdpSocket]] = {}
        self._connected: dict[tuple[Address, int, Address, int], UdpSocket] = {}

    def count_for(self, address: Address) -> dict[str, int]:
        """The counters of the address's family."""
        return self.count4 if len(address) == 4 else self.count6

    def header(self, path: Path, socket: UdpSocket, port: int, data: bytes) -> bytes:
        """The header of a message. HOT."""
        if path.is_local or (socket.options.values["so_no_check"] and len(path.destination) == 4):
            return udp.emit_unchecked(socket.port, port, len(data))
        return udp.emit(path.source, path.destination, socket.port, port, data)

    # --- ports -----------------------------------------------------------------------------------------------

    def claim(self, socket: UdpSocket, address: Address, port: int) -> None:
        """Give a socket a port. Raises KernelError(EADDRINUSE)."""
        if not port:
            port = self._free_port(socket, address)
        elif any(self._clash(socket, address, other) for other in self.ports.get(port, ())):
            raise KernelError(Errno.EADDRINUSE)
        socket.port = port
        self.ports.setdefault(port, []).append(socket)

    def _free_port(self, socket: UdpSocket, address: Address) -> int:
        first, last = port_range(self._stack.settings)
        count = last - first + 1
        start = self._stack.entropy.below(count)
        for step in range(count):
            port = first + (start + step) % count
            if port not in self.ports:
                return port
        for port in range(first, last + 1):  # all are in use, but for other addresses perhaps
            if not any(self._clash(socket, address, other, sharing=False) for other in self.ports[port]):
                return port
        raise KernelError(Errno.EAGAIN)

    @staticmethod
    def _clash(socket: UdpSocket, address: Address, other: UdpSocket, *, sharing: bool = True) -> bool:
        if socket.device and other.device and socket.device != other.device:
            return False
        families = _families(socket, address) & _families(other, other.bound)
        if not families or (any(address) and any(other.bound) and address != other.bound):
            return False
        mine, theirs = socket.options.values, other.options.values
        if sharing and mine["so_reuseaddr"] and theirs["so_reuseaddr"]:
            return False
        return not (
            sharing and mine["so_reuseport"] and theirs["so_reuseport"] and _user(socket.owner) == _user(other.owner)
        )

    def connected(self, socket: UdpSocket, peer: SocketAddress | None, source: Address) -> None:
        """A socket's peer changed."""
        if socket.key is not None:
            if self._connected.get(socket.key) is socket:
                del self._connected[socket.key]
            socket.key = None
        if peer is not None:
            socket.key = (source, socket.port, peer.address, peer.port)
            self._connected.setdefault(socket.key, socket)

    def release(self, socket: UdpSocket) -> None:
        """A socket is closed."""
        self.connected(socket, None, b"")
        sockets = self.ports.get(socket.port)
        if sockets is not None and socket in sockets:
            sockets.remove(socket)
            if not sockets:
                del self.ports[socket.port]

    # --- in --------------------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """A packet of protocol UDP for us. HOT."""
        count = self.count4 if len(packet.source) == 4 else self.count6
        payload = packet.payload
        try:
            header = self.parse(payload)
        except CorruptError:
            count["InErrors"] += 1
            return
        if not packet.checksum_good and not self.verify(payload, header, packet.source, packet.destination):
            count["InCsumErrors"] += 1
            count["InErrors"] += 1
            return
        source_port, port = header.source_port, header.destination_port
        if packet.kind is not Kind.HOST:
            self._receive_for_many(packet, header, count)
            return
        socket = self._connected.get((packet.destination, port, packet.source, source_port))
        if socket is None or not socket.accepts(packet):
            socket = self._best(packet, port, source_port)
            if socket is None:
                count["NoPorts"] += 1
                self._stack.port_unreachable(packet)
                return
        self._give(socket, packet, header, count)

    def _give(self, socket: UdpSocket, packet: Packet, header: udp.UdpHeader, count: dict[str, int]) -> None:
        data = bytes(packet.payload[udp.HEADER_BYTES : header.length_bytes])
        if socket.enqueue(packet, data, header.source_port):
            count["InDatagrams"] += 1
        else:
            count["RcvbufErrors"] += 1
            count["InErrors"] += 1

    def _receive_for_many(self, packet: Packet, header: udp.UdpHeader, count: dict[str, int]) -> None:
        takers = [
            socket
            for socket in self.ports.get(header.destination_port, ())
            if socket.accepts(packet) and self._from_peer(socket, header.source_port)
        ]
        for socket in takers:
            self._give(socket, packet, header, count)
        if not takers:
            count["IgnoredMulti"] += 1

    @staticmethod
    def _from_peer(socket: UdpSocket, source_port: int) -> bool:
        return socket.peer is None or socket.peer.port == source_port

    def _best(self, packet: Packet, port: int, source_port: int) -> UdpSocket | None:
        sockets = self.ports.get(port)
        if sockets is None:
            return None
        if len(sockets) == 1:
            (socket,) = sockets
            return socket if socket.accepts(packet) and self._from_peer(socket, source_port) else None
        best: list[UdpSocket] = []
        best_score = -1
        for socket in sockets:
            if not socket.accepts(packet) or not self._from_peer(socket, source_port):
                continue
            score = (
                4 * (socket.peer is not None) + 4 * any(socket.bound) + 2 * bool(socket.device)
                + (socket.family == AF_INET)
            )
            if score > best_score:
                best, best_score = [socket], score
            elif score == best_score:
                best.append(socket)
        if not best:
            return None
        if len(best) > 1 and best[-1].options.values["so_reuseport"]:
            return best[(int.from_bytes(packet.source, "big") * 31 + source_port) % 65_521 % len(best)]
        return best[-1]

    def problem(self, problem: Problem) -> None:
        """An ICMP error about a message that one of our sockets sent."""
        source_port, port, *_ = udp.HEADER.unpack_from(problem.payload)
        peer = SocketAddress(problem.destination, port)
        for socket in self.ports.get(source_port, ()):
            bound = socket.bound
            if any(bound) and bound != problem.source:
                continue
            if socket.peer is not None and (socket.peer.address, socket.peer.port) != (problem.destination, port):
                continue
            if len(problem.source) not in _families(socket, bound):
                continue
            socket.problem(problem, peer, bytes(problem.payload[udp.HEADER_BYTES :]))
            return


def _families(socket: MessageSocket, bound: Address) -> frozenset[int]:
    """Lengths of the addresses that a socket takes."""
    if socket.family == AF_INET or bound == ANY4 or len(bound) == 4:
        return frozenset((4,))
    if bound or socket.options.values["ipv6_v6only"]:
        return frozenset((16,))
    return frozenset((4, 16))


def _user(owner: Any) -> Any:
    """Who owns a socket, if its owner says so."""
    return owner[0] if isinstance(owner, tuple) and owner else None
