"""Ping sockets (SOCK_DGRAM with IPPROTO_ICMP or ICMPv6, icmp(7)): echoes without the rights of a raw socket.

The program writes an echo request with any identifier and checksum; both are filled in here, the identifier being the
socket's port. It reads the answers to its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, Address, SocketAddress
from jefeos.net.socket import Data

from jefeos_net_inet.messages import MessageSocket
from jefeos_net_inet.packets import Packet, Path, Problem
from jefeos_net_inet.wire import icmp, icmpv6
from jefeos_net_inet.wire.icmp import IcmpMessage

if TYPE_CHECKING:
    from jefeos_net_inet.stack import InetStack

ICMP: Final = 1
_PORTS: Final = 0xFFFF


class PingSocket(MessageSocket):
    """A ping socket."""

    kind = "ping"
    default_options = {"ipv6_v6only": 1}

    def __init__(self, stack: InetStack, family: int) -> None:
        super().__init__(stack, family, ICMP if family == AF_INET else icmpv6.PROTOCOL)
        self._layer = stack.pings

    def _claim(self, address: Address, port: int) -> None:
        self._layer.claim(self, port)

    def _autobind(self) -> None:
        if not self.port:
            self._layer.claim(self, 0)

    def _release(self) -> None:
        self._layer.release(self)

    def _send(self, path: Path, data: Data, port: int, ancillary: Mapping[str, Any]) -> bool:
        if len(data) < icmp.HEADER_BYTES:
            raise KernelError(Errno.EINVAL)
        kind, code, _checksum, rest = icmp.HEADER.unpack_from(data)
        is_v4 = self.family == AF_INET
        wanted = icmp.Type.ECHO if is_v4 else icmpv6.Type.ECHO
        if (kind, code) != (wanted, 0):
            raise KernelError(Errno.EINVAL)
        self._autobind()
        message = IcmpMessage(kind, 0, self.port << 16 | (rest & 0xFFFF), bytes(data[icmp.HEADER_BYTES :]))
        if is_v4:
            whole = icmp.emit(message)
            self._stack.icmp4.count_sent(kind)
        else:
            whole = icmpv6.emit(message, path.source, path.destination)
            self._stack.icmp6.count_sent(kind)
        return self._transmit(path, self.protocol, (whole,), len(whole), ancillary)


class Pings:
    """The ping sockets of a stack, by family and identifier."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self.sockets: dict[tuple[int, int], PingSocket] = {}

    def claim(self, socket: PingSocket, port: int) -> None:
        """Give a socket an identifier. Raises KernelError(EADDRINUSE)."""
        if not port:
            start = self._stack.entropy.below(_PORTS)
            for step in range(_PORTS):
                port = 1 + (start + step) % _PORTS
                if (socket.family, port) not in self.sockets:
                    break
            else:
                raise KernelError(Errno.EAGAIN)
        elif self.sockets.get((socket.family, port), socket) is not socket:
            raise KernelError(Errno.EADDRINUSE)
        socket.port = port
        self.sockets[socket.family, port] = socket

    def release(self, socket: PingSocket) -> None:
        """A socket is closed."""
        if self.sockets.get((socket.family, socket.port)) is socket:
            del self.sockets[socket.family, socket.port]

    def replied(self, packet: Packet, message: IcmpMessage) -> None:
        """An echo reply."""
        family = AF_INET if len(packet.source) == 4 else 10
        socket = self.sockets.get((family, message.rest >> 16))
        if socket is not None and socket.accepts(packet):
            socket.enqueue(packet, bytes(packet.payload), 0)

    def problem(self, problem: Problem) -> None:
        """An error about an echo request, perhaps of one of ours."""
        family = AF_INET if len(problem.source) == 4 else 10
        identifier = int.from_bytes(problem.payload[4:6], "big")
        socket = self.sockets.get((family, identifier))
        if socket is not None and (socket.peer is None or socket.peer.address == problem.destination):
            socket.problem(problem, SocketAddress(problem.destination, 0), bytes(problem.payload[8:]))
